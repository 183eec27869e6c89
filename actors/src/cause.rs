//! Why something happens: who wants it, and by which request. It travels with a command and ends in its events.

use std::fmt;
use std::sync::Arc;

use fleetward_store::Origin;

/// Who makes something happen, and by which request. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Cause {
    by: Arc<str>,
    origin: Option<Arc<Origin>>,
}

/// The cause of one event, as [`crate::journal::Draft::push`] takes it.
#[derive(Debug, Clone, Copy)]
pub struct CauseRef<'a> {
    pub(crate) by: &'a Arc<str>,
    pub(crate) request: Request<'a>,
}

/// Where the origin of an event comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request<'a> {
    /// The request that its whole entry is about.
    Entry,
    /// This one, or none: an entry may hold what another request waited for.
    Own(Option<&'a Arc<Origin>>),
}

impl Cause {
    /// Somebody, and no request: the system itself, or a caller within the process.
    pub fn of(by: impl Into<Arc<str>>) -> Self {
        Self { by: by.into(), origin: None }
    }

    /// Fleetward itself.
    pub fn system() -> Self {
        Self::of("system")
    }

    /// The same, by this request.
    #[must_use]
    pub fn by_request(self, origin: Option<Arc<Origin>>) -> Self {
        Self { origin, ..self }
    }

    /// How the record names who it is: `token:<id>`, `worker:<id>`, `key:<id>` or `system`.
    pub fn by(&self) -> &Arc<str> {
        &self.by
    }

    /// The request.
    pub fn origin(&self) -> Option<&Arc<Origin>> {
        self.origin.as_ref()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.by)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.by)
    }
}

impl<'a> From<&'a Cause> for CauseRef<'a> {
    fn from(cause: &'a Cause) -> Self {
        Self { by: &cause.by, request: Request::Own(cause.origin.as_ref()) }
    }
}

impl<'a> From<&'a Arc<str>> for CauseRef<'a> {
    fn from(by: &'a Arc<str>) -> Self {
        Self { by, request: Request::Entry }
    }
}
