//! The rules of workers' task tokens. Pure.

use crate::error::{Kind, Refusal};
use crate::fleet::registry::NewTaskToken;
use crate::fleet::worker::{Event, Standing, Worker};

/// Whether a worker that proved its key gets a token, and which generation.
///
/// # Errors
/// When it may not work, names another generation than the newest, or asks too often.
pub fn issue(worker: &Worker, new: NewTaskToken, used: u32, now: i64) -> Result<Event, Refusal> {
    if !worker.standing.may_work() {
        return Err(Refusal::standing(worker.standing.as_str()));
    }
    let newest = worker.tokens.generation;
    if new.after != newest {
        return Err(passed(newest));
    }
    if worker.tokens.is_hasty(now) {
        let detail = "the worker asks for tokens too often; use the one that it has";
        return Err(Refusal::new(Kind::TooMany, "too_many_tokens", detail));
    }
    let NewTaskToken { id: token, expires_at, signed_by, .. } = new;
    Ok(Event::TokenIssued { token, generation: newest + 1, used, expires_at, signed_by })
}

/// Another request was signed over this generation: sign again over the newest, which the refusal names.
fn passed(newest: u32) -> Refusal {
    let detail = format!("the newest generation is {newest}: sign the request over that one");
    let refusal = Refusal::new(Kind::Conflict, "generation_passed", detail);
    Refusal { generation: Some(newest), ..refusal }
}

/// What it does to a worker that a copy of one of its tokens was used: nothing, where it is locked already.
pub fn lock(worker: &Worker, seen: u32, used: u32) -> Option<Event> {
    let lockable = !worker.standing.is_final() && worker.standing != Standing::Locked;
    let reason = format!("a token of generation {seen} was used after one of generation {used}");
    lockable.then_some(Event::Locked { seen, used, reason: Some(reason) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fold, Stamp};
    use crate::fleet::task::Profile;
    use crate::id::{KeyId, SigningKeyId, TaskTokenId, WorkerId};

    fn worker(standing: Standing) -> Worker {
        let registered = Event::Registered {
            worker: WorkerId::fresh(),
            name: "w".into(),
            key: KeyId::fresh(),
            profile: Box::new(Profile::default()),
            declared_models: Vec::new(),
            seats: 1,
            secret_hash: String::new(),
            certificate: None,
            public_key: None,
            key_name: None,
            in_process: false,
        };
        let worker = Worker::begin(&registered, stamp()).unwrap();
        Worker { standing, ..worker }
    }

    fn stamp() -> Stamp<'static> {
        Stamp { seq: 1, at: 1, by: "token:t" }
    }

    fn asked(after: u32) -> NewTaskToken {
        let (id, signed_by) = (TaskTokenId::fresh(), SigningKeyId::fresh());
        NewTaskToken { id, after, expires_at: 100, signed_by }
    }

    #[test]
    fn each_generation_is_issued_once_and_only_to_workers_that_may_work() {
        let mut known = worker(Standing::Approved);
        let first = issue(&known, asked(0), 0, 1).unwrap();
        known.evolve(&first, stamp());

        let again = issue(&known, asked(0), 0, 1).unwrap_err();
        assert_eq!((again.code, again.generation), ("generation_passed", Some(1)));
        assert!(issue(&known, asked(1), 1, 1).is_ok());
        for standing in [Standing::Pending, Standing::Locked, Standing::Revoked] {
            let refused = issue(&worker(standing), asked(0), 0, 1).unwrap_err();
            assert_eq!(refused.standing, Some(standing.as_str()));
        }
        assert!(issue(&worker(Standing::Quarantined), asked(0), 0, 1).is_ok());
    }

    #[test]
    fn locked_worker_is_what_it_was_once_it_is_unlocked() {
        let mut known = worker(Standing::Quarantined);
        let locked = lock(&known, 1, 2).unwrap();

        known.evolve(&locked, stamp());
        assert_eq!((known.standing, known.tokens.used), (Standing::Locked, 2));
        assert_eq!(lock(&known, 1, 2), None);
        known.evolve(&Event::Unlocked { reason: None }, stamp());
        assert_eq!(known.standing, Standing::Quarantined);
        assert_eq!(lock(&worker(Standing::Revoked), 1, 2), None);
    }
}
