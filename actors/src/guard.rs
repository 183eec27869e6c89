//! Catches a panic in a deciding function: it has seen `&State` only, so nothing happened, and one bad
//! request cannot crash-loop an organisation.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fleetward_runtime::Context;

use crate::error::Error;

/// Runs `decide`; a panic becomes an internal error with an id that the log has too.
///
/// # Errors
/// What `decide` refuses, or [`Error::Internal`].
pub(crate) fn guarded<M: Send + 'static, T, E: Into<Error>>(
    cx: &Context<M>,
    what: &'static str,
    decide: impl FnOnce() -> Result<T, E>,
) -> Result<T, Error> {
    let faults = cx.faults();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        faults.hit(what);
        decide()
    }));
    match outcome {
        Ok(result) => result.map_err(Into::into),
        Err(_) => {
            let id = uuid::Uuid::now_v7().to_string();
            tracing::error!(%id, what, actor = cx.name(), "a deciding function panicked");
            metrics::counter!("fleetward_decide_panics_total", "what" => what).increment(1);
            Err(Error::Internal(id))
        }
    }
}
