//! Steps that are durable functions: what their code asks for, which follows from their key alone.

use fleetward_actors::fleet::task::history::{Awaited, Called, Pending};
use fleetward_actors::workflows::definition::{Approvers, OnExpiry};

use super::definitions::hash;

/// What the code of a function asks for, one after the other.
pub(super) struct Program(Vec<Call>);

/// One call; the value of a step is whatever the worker that does it makes up.
pub(super) struct Call {
    pub(super) index: u32,
    pub(super) what: Called,
    pub(super) name: String,
}

impl Program {
    /// The program of a step, where that is a durable function: of every third one.
    pub(super) fn of(key: &str) -> Option<Self> {
        let mut number = hash(&("function", key));
        if !number.is_multiple_of(3) {
            return None;
        }
        let mut calls = Vec::new();
        for index in 0..1 + number / 3 % 4 {
            number /= 5;
            let what = match number % 5 {
                0 | 1 => Called::Step,
                2 => Called::Sleep,
                3 => Called::Signal,
                _ => Called::Approval,
            };
            let index = u32::try_from(index).unwrap();
            calls.push(Call { index, what, name: format!("f{index}") });
        }
        Some(Self(calls))
    }

    pub(super) fn calls(&self) -> &[Call] {
        &self.0
    }
}

impl Call {
    /// What it waits for, where it is no step.
    pub(super) fn pending(&self) -> Pending {
        let wait = match self.what {
            Called::Step | Called::Sleep => Awaited::Sleep { ms: 15_000 },
            Called::Signal => Awaited::Signal { timeout_ms: self.patience() },
            Called::Approval => Awaited::Approval {
                approvers: Approvers { requester_may_approve: true, ..Approvers::default() },
                expires_ms: self.patience(),
                on_expiry: OnExpiry::Reject,
                remind_ms: None,
            },
        };
        Pending { index: self.index, name: self.name.clone(), wait }
    }

    /// How long it waits for people.
    fn patience(&self) -> Option<u64> {
        self.index.is_multiple_of(2).then_some(25_000)
    }
}
