//! A value that may be sent and compared by those who mean to, but never formatted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that must not appear in a log: a credential, or what a tenant's task says.
///
/// It travels as the bare value. It has no `Display` and no `PartialEq`: a credential is compared
/// in constant time by whoever [exposes](Secret::expose) it.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// Marks `value` as not to be formatted.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value. Every call of this is a place to look at in a review.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value, given up.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
