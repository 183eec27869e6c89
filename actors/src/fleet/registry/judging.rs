//! What the registry makes of what the anomaly detector saw of a worker. Pure.

use crate::fleet::anomaly::rules::Observation;
use crate::fleet::suspicion::{Finding, Kind, Silence};
use crate::fleet::worker::{Event, Standing, Worker};

/// So many different suspicions at once are enough to act without an administrator.
const ENOUGH: usize = 2;

/// What may be done without an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Powers {
    /// Nothing: suspicions are for people to look at.
    None,
    /// New work is kept from a worker; what it has runs on.
    Quarantine,
    /// A worker is thrown out.
    Revoke,
}

/// The facts that an observation gives, of a worker that may work. Harmless to repeat: what is known gives none.
pub fn judge(worker: &Worker, seen: &Observation, powers: Powers) -> Vec<Event> {
    if !worker.standing.may_work() {
        return Vec::new();
    }
    let is_known = |kind: Kind| worker.suspicions.iter().any(|s| s.finding.suspicion == kind);
    let found = |kind: Kind| seen.findings.iter().any(|finding| finding.suspicion == kind);
    let fresh = seen.findings.iter().filter(|finding| !is_known(finding.suspicion));
    let mut events: Vec<_> =
        fresh.map(|finding| Event::Suspected { finding: finding.clone() }).collect();
    // A silence ends by being heard; for everything else somebody has to look.
    let heard = seen.beating && !found(Kind::MissedHeartbeats);
    if heard && is_known(Kind::MissedHeartbeats) {
        events.push(Event::SuspicionPassed { suspicion: Kind::MissedHeartbeats });
    }
    events.extend(silences(worker, seen));
    if seen.findings.len() >= ENOUGH && worker.standing == Standing::Approved {
        let reason = Some(reason(&seen.findings, powers));
        match powers {
            Powers::None => {}
            Powers::Quarantine => events.push(Event::Quarantined { reason }),
            Powers::Revoke => events.push(Event::Revoked { reason }),
        }
    }
    events
}

fn silences(worker: &Worker, seen: &Observation) -> Vec<Event> {
    let mut events = Vec::new();
    match (&seen.deaf, worker.deaf_since) {
        (Some((since, why)), None) => {
            events.push(Event::TurnedDeaf { since: *since, why: why.clone() });
        }
        (None, Some(_)) if seen.polling => events.push(Event::Recovered { from: Silence::Deaf }),
        _ => {}
    }
    match (&seen.mute, worker.mute_since) {
        (Some((since, why)), None) => {
            events.push(Event::TurnedMute { since: *since, why: why.clone() });
        }
        (None, Some(_)) if seen.beating => events.push(Event::Recovered { from: Silence::Mute }),
        _ => {}
    }
    events
}

fn reason(findings: &[Finding], powers: Powers) -> String {
    let why: Vec<_> = findings.iter().map(|finding| finding.why.as_str()).collect();
    let why = why.join("; ");
    match powers {
        Powers::Quarantine => {
            format!(
                "suspicious in {} ways at once, and too many workers were revoked within the hour: {why}",
                findings.len()
            )
        }
        Powers::None | Powers::Revoke => {
            format!("suspicious in {} ways at once: {why}", findings.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fold, Stamp};
    use crate::fleet::task::Profile;
    use crate::id::{KeyId, WorkerId};
    use Kind::{ExcessiveFailures, MissedHeartbeats, ModelMismatch};

    fn approved() -> Worker {
        let registered = Event::Registered {
            worker: WorkerId::fresh(),
            name: "w".into(),
            key: KeyId::fresh(),
            profile: Box::new(Profile::default()),
            declared_models: Vec::new(),
            seats: 1,
            secret_hash: "s".into(),
            certificate: None,
            public_key: None,
            key_name: None,
            in_process: false,
        };
        let mut worker = Worker::begin(&registered, Stamp { seq: 1, at: 1, by: "key:k" }).unwrap();
        apply(&mut worker, &[Event::Approved { reason: None }]);
        worker
    }

    fn apply(worker: &mut Worker, events: &[Event]) {
        for event in events {
            worker.evolve(event, Stamp { seq: worker.updated + 1, at: 1, by: "system" });
        }
    }

    fn seen(kinds: &[Kind]) -> Observation {
        let finding = |kind: &Kind| Finding {
            suspicion: *kind,
            observed: 2,
            limit: 1,
            samples: 2,
            why: kind.as_str().into(),
        };
        Observation {
            worker: WorkerId::fresh(),
            findings: kinds.iter().map(finding).collect(),
            deaf: None,
            mute: None,
            polling: true,
            beating: true,
        }
    }

    fn kinds(events: &[Event]) -> Vec<&'static str> {
        events.iter().map(Worker::kind).collect()
    }

    #[test]
    fn suspicion_is_raised_once_and_ends_by_reset_or_by_being_heard() {
        let mut worker = approved();
        for (found, expected) in [
            (&[ExcessiveFailures][..], &["worker.suspected"][..]),
            (&[ExcessiveFailures], &[]),
            (&[], &[]),
            (&[MissedHeartbeats], &["worker.suspected"]),
            (&[MissedHeartbeats], &[]),
            (&[], &["worker.suspicion_passed"]),
            (&[], &[]),
        ] {
            let events = judge(&worker, &seen(found), Powers::Revoke);
            assert_eq!(kinds(&events), expected, "{found:?}");
            apply(&mut worker, &events);
        }
        assert_eq!(worker.suspicions.len(), 1);
        apply(&mut worker, &[Event::SuspicionsReset { reason: None }]);
        assert!(worker.suspicions.is_empty());
    }

    #[test]
    fn two_ways_at_once_are_enough_to_act_within_the_powers() {
        let both = seen(&[ExcessiveFailures, ModelMismatch]);
        for (powers, expected) in [
            (Powers::None, &["worker.suspected", "worker.suspected"][..]),
            (Powers::Quarantine, &["worker.suspected", "worker.suspected", "worker.quarantined"]),
            (Powers::Revoke, &["worker.suspected", "worker.suspected", "worker.revoked"]),
        ] {
            let mut worker = approved();
            let events = judge(&worker, &both, powers);
            assert_eq!(kinds(&events), expected);
            apply(&mut worker, &events);
            // A quarantined worker is for people to decide about.
            assert_eq!(
                judge(&worker, &both, Powers::Revoke).len(),
                usize::from(powers == Powers::None)
            );
        }
    }

    #[test]
    fn two_ways_one_after_the_other_are_not_enough() {
        let mut worker = approved();
        let first = judge(&worker, &seen(&[ExcessiveFailures]), Powers::Revoke);
        apply(&mut worker, &first);
        let second = judge(&worker, &seen(&[ModelMismatch]), Powers::Revoke);
        assert_eq!(kinds(&second), ["worker.suspected"]);
    }

    #[test]
    fn silence_is_one_episode_until_it_is_broken() {
        let mut worker = approved();
        let deaf = |deaf: bool, polling: bool| Observation {
            deaf: deaf.then(|| (7, "why".into())),
            polling,
            ..seen(&[])
        };
        for (observation, expected) in [
            (deaf(true, false), &["worker.deaf"][..]),
            (deaf(true, false), &[]),
            (deaf(false, false), &[]),
            (deaf(false, true), &["worker.recovered"]),
            (deaf(false, true), &[]),
        ] {
            let events = judge(&worker, &observation, Powers::Revoke);
            assert_eq!(kinds(&events), expected);
            apply(&mut worker, &events);
        }
    }

    #[test]
    fn who_may_not_work_is_not_judged() {
        let revoked = Worker { standing: Standing::Revoked, ..approved() };
        assert!(
            judge(&revoked, &seen(&[ExcessiveFailures, ModelMismatch]), Powers::Revoke).is_empty()
        );
    }
}
