//! Whether a submit is new, or a repeat under the same idempotency key. Pure.

use super::book::Book;
use super::message::{NewTask, Submitted};
use crate::error::Refusal;
use crate::fleet::task::Task;

/// Whether a submit is new (`None`), or what is known of it.
pub(super) fn decide(book: &Book, new: &NewTask) -> Result<Option<Submitted>, Refusal> {
    let Some(request) = &new.request else { return Ok(None) };
    match book.task(new.id) {
        Some(task) => same_request(task, request).map(|()| Some(Submitted::Repeated)),
        None if book.may_have_forgotten_since(new.absent_at) => Ok(Some(Submitted::LookAgain)),
        None => Ok(None),
    }
}

/// Whether a task was made by the same request.
///
/// # Errors
/// When the idempotency key was used for another request.
pub(crate) fn same_request(task: &Task, request: &str) -> Result<(), Refusal> {
    if task.request.as_deref() == Some(request) {
        return Ok(());
    }
    let detail = "this idempotency key was used for another request; use a new one";
    Err(Refusal::invalid("idempotency_key_reused", detail))
}
