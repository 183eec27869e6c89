//! Who decides at gates: several people with tokens of their own, each of whom has one vote.

use fleetward_actors::id::RunId;
use fleetward_actors::workflows::gate::Gate;
use fleetward_actors::workflows::run::Wait;

use super::{AWAY, Stage};
use crate::fixture::code;
use crate::model::definitions::{PEOPLE, Rules};

impl Stage<'_> {
    /// They come back in each life of the server.
    pub(super) async fn meet(&mut self) {
        self.people.clear();
        for token in &self.tokens {
            let caller = self.plane.plane.authenticate(token).unwrap();
            self.people.push(self.plane.plane.operator(&caller, None).await.unwrap());
        }
    }

    /// Somebody decides about a gate of the run.
    pub(super) async fn decide(&mut self, which: usize, lost: bool) {
        let Some(run) = self.look().await else { return };
        let gates = run.waits.iter().filter_map(|(key, wait)| match wait {
            Wait::Gate(gate) => Some((key.as_str(), &**gate)),
            _ => None,
        });
        let gates: Vec<_> = gates.collect();
        if let Some(gate) = gates.get(which % gates.len().max(1)) {
            let person = u32::try_from(which % 7).unwrap() % PEOPLE;
            self.decide_at(&run.id, *gate, person, lost).await;
        }
    }

    /// Whoever has nothing to say at a gate stays away.
    pub(super) async fn decide_at(
        &mut self,
        run: &RunId,
        (key, gate): (&str, &Gate),
        person: u32,
        lost: bool,
    ) {
        let quorum = gate.approvers.quorum;
        if person >= quorum {
            return;
        }
        let rules = Rules { expires: gate.expires_at.is_some(), on_expiry: gate.on_expiry, quorum };
        let approve = self.script.vote(key, &rules, person);
        let operator = &self.people[person as usize];
        let decided = operator.decide_gate(run, key, approve, (None, None)).await;
        let settled =
            decided.as_ref().is_ok_and(|run| !run.waits.keys().any(|at| at.as_str() == key));
        let decided = code(decided);
        if decided != "ok" {
            // Of several gates one may have ended the run, and an earlier answer may not have come.
            let known =
                ["run_closed", "already_approved", "gate_settled"].contains(&decided.as_str());
            assert!(known || AWAY.contains(&decided.as_str()), "{key} is answered {decided}");
            return;
        }
        // The first decision wins, and one person is one vote.
        let other = if settled { !approve } else { approve };
        let again = code(operator.decide_gate(run, key, other, (None, None)).await);
        assert_ne!(again, "ok", "{person} decides about {key} twice");
        if !lost {
            self.tell().await;
        }
    }
}
