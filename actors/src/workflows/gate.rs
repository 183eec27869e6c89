//! The rules of an approval gate: who may decide, when it opens, what its time means. Pure.

use fleetward_store::Position;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::definition::{Approver, Approvers, OnExpiry};
use crate::error::{Kind, Refusal};
use crate::system::org::Role;

/// An open gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Who may decide.
    pub approvers: Approvers,
    /// Keyed digest of what is approved: the prompt, the context and the input of the gate.
    pub digest: String,
    /// When nobody has decided, it ends at this time, in microseconds UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// What that means.
    #[serde(default)]
    pub on_expiry: OnExpiry,
    /// How often it is said again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_ms: Option<u64>,
    /// When it was said again for the last time, in microseconds UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminded_at: Option<i64>,
    /// Approvals so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
    /// Position of the event that what is asked is sealed beside.
    #[serde(default)]
    pub opened: Position,
    /// When it opened, in microseconds UTC.
    #[serde(default)]
    pub opened_at: i64,
}

/// Somebody's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who, as the record names them.
    pub by: String,
    /// The name of that person's token.
    pub name: String,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who wants to decide.
#[derive(Debug, Clone)]
pub struct Voter {
    /// As the record names them.
    pub by: String,
    /// The name of their token.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What a gate's time brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It is over; this tells whether it counts as approved.
    Expired {
        /// Whether it opens.
        approved: bool,
    },
    /// It is to be said again.
    Remind,
}

impl Gate {
    /// Whether enough people approved.
    pub fn is_open(&self) -> bool {
        self.votes.len() >= self.approvers.quorum.max(1) as usize
    }

    /// When something is next due, in microseconds UTC.
    pub fn next_due(&self) -> Option<i64> {
        let remind = self.remind_ms.map(|every| {
            let last = self.reminded_at.unwrap_or(self.opened_at);
            last.saturating_add_unsigned(every.saturating_mul(1_000))
        });
        [self.expires_at, remind].into_iter().flatten().min()
    }

    /// What is due now.
    pub fn due(&self, now: i64) -> Option<Due> {
        if self.expires_at.is_some_and(|at| at <= now) {
            return Some(Due::Expired { approved: self.on_expiry == OnExpiry::Approve });
        }
        self.next_due().is_some_and(|at| at <= now).then_some(Due::Remind)
    }
}

/// What people are asked and shown, as it is sealed.
pub fn asked(prompt: &str, context: &Value) -> Vec<u8> {
    let asked = json!({ "prompt": prompt, "context": context });
    serde_json::to_vec(&asked).expect("JSON is written as JSON")
}

/// What the digest of a gate is made of: what people are asked and shown, and what they let through.
pub fn seen(asked: &[u8], input: &Value) -> Vec<u8> {
    [asked, input.to_string().as_bytes()].concat()
}

/// Whether somebody may decide about a gate of a run that `requester` started; `digest` is what they say they saw.
///
/// # Errors
/// When they may not, have approved before, or saw something else.
pub fn may_decide(
    gate: &Gate,
    voter: &Voter,
    requester: &str,
    approve: bool,
    digest: Option<&str>,
) -> Result<(), Refusal> {
    let needed = match gate.approvers.role {
        Approver::Operator => Role::Operator,
        Approver::Admin => Role::Admin,
    };
    voter.role.may(needed)?;
    let people = &gate.approvers.people;
    let forbidden = |code, detail: &str| Err(Refusal::new(Kind::Forbidden, code, detail));
    if !people.is_empty() && !people.contains(&voter.name) {
        return forbidden("not_an_approver", "you are not among the approvers of this gate");
    }
    if approve && !gate.approvers.requester_may_approve && voter.by == requester {
        let detail = "whoever started the run may not approve it; somebody else has to";
        return forbidden("requester_may_not_approve", detail);
    }
    let conflict = |code, detail: &str| Err(Refusal::new(Kind::Conflict, code, detail));
    if digest.is_some_and(|seen| seen != gate.digest) {
        let detail = "what is to be approved is not what you saw; look at it again";
        return conflict("digest_changed", detail);
    }
    if approve && gate.votes.iter().any(|vote| vote.by == voter.by) {
        return conflict("already_approved", "you have approved; somebody else is asked as well");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn gate(quorum: u32, people: &[&str]) -> Gate {
        let people: BTreeSet<_> = people.iter().map(|name| (*name).to_owned()).collect();
        Gate {
            approvers: Approvers { quorum, people, ..Approvers::default() },
            digest: "d".to_owned(),
            expires_at: Some(100),
            on_expiry: OnExpiry::Reject,
            remind_ms: None,
            reminded_at: None,
            votes: Vec::new(),
            opened: 1,
            opened_at: 0,
        }
    }

    fn voter(name: &str, role: Role) -> Voter {
        Voter { by: format!("token:{name}"), name: name.to_owned(), role }
    }

    #[test]
    fn who_may_decide_what() {
        let vote =
            |name: &str| Vote { by: format!("token:{name}"), name: name.to_owned(), reason: None };
        let voted = Gate { votes: vec![vote("ann")], ..gate(2, &[]) };
        let table = [
            // gate, who, role, approves, digest seen, outcome
            (gate(1, &[]), "ann", Role::Operator, true, None, "ok"),
            (gate(1, &[]), "ann", Role::Operator, true, Some("d"), "ok"),
            (gate(1, &[]), "ann", Role::Operator, true, Some("e"), "digest_changed"),
            (gate(1, &[]), "ann", Role::Viewer, true, None, "role"),
            (gate(1, &["bob"]), "ann", Role::Admin, true, None, "not_an_approver"),
            (gate(1, &["bob"]), "bob", Role::Operator, false, None, "ok"),
            (gate(1, &[]), "eve", Role::Operator, true, None, "requester_may_not_approve"),
            (gate(1, &[]), "eve", Role::Operator, false, None, "ok"),
            (voted.clone(), "ann", Role::Operator, true, None, "already_approved"),
            (voted.clone(), "ann", Role::Operator, false, None, "ok"),
            (voted, "bob", Role::Operator, true, None, "ok"),
        ];
        for (gate, name, role, approve, digest, expected) in table {
            let said = may_decide(&gate, &voter(name, role), "token:eve", approve, digest);
            let said = match said {
                Ok(()) => "ok",
                Err(refusal) if refusal.kind == Kind::Forbidden && expected == "role" => "role",
                Err(refusal) => refusal.code,
            };
            assert_eq!(said, expected, "{name} approves: {approve}");
        }
    }

    #[test]
    fn time_of_a_gate_brings_reminders_and_an_end() {
        let plain = gate(1, &[]);
        assert_eq!((plain.due(99), plain.next_due()), (None, Some(100)));
        assert_eq!(plain.due(100), Some(Due::Expired { approved: false }));

        let remind = Gate { remind_ms: Some(10), expires_at: Some(25_000), ..plain };
        assert_eq!(remind.next_due(), Some(10_000));
        assert_eq!(remind.due(10_000), Some(Due::Remind));
        let again = Gate { reminded_at: Some(10_000), ..remind };
        assert_eq!(again.next_due(), Some(20_000));
        assert_eq!(again.due(25_000), Some(Due::Expired { approved: false }));
        let opens = Gate { on_expiry: OnExpiry::Approve, ..again };
        assert_eq!(opens.due(30_000), Some(Due::Expired { approved: true }));
    }
}
