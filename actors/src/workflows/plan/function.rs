//! What comes next of a durable function that waits. Pure.

use std::sync::Arc;

use serde_json::Value;

use super::flow::{Flow, Stop};
use super::{Begin, Rules, Waits, Walk};
use crate::fleet::task::history::{Awaited, Pending};
use crate::workflows::run::{Function, Key, Wait};

impl<'a> Walk<'a> {
    /// Whether a step is a function that waits, and has no reason to go on: then its waits begin, or take what there is.
    pub(super) fn is_suspended(&mut self, key: &Key) -> bool {
        let run = self.run;
        let Some(function) = run.functions.get(key) else { return false };
        let over = |wait: &Pending| run.done.contains_key(&key.within(wait.index, &wait.name));
        if function.waits.iter().any(over) {
            return false;
        }
        for wait in &function.waits {
            let at = key.within(wait.index, &wait.name);
            match run.waits.get(&at) {
                Some(Wait::Signal { name, .. }) => {
                    self.take(at, name);
                }
                Some(_) => {}
                None => self.begin_wait(at, wait, function),
            }
        }
        !function.waits.is_empty()
    }

    fn begin_wait(&mut self, key: Key, wait: &'a Pending, function: &'a Function) {
        if self.room == 0 {
            return;
        }
        let what = match &wait.wait {
            Awaited::Sleep { ms } => Waits::For(*ms),
            Awaited::Until { at } => Waits::Until(*at),
            Awaited::Signal { timeout_ms } => {
                if self.take(key.clone(), &wait.name) {
                    return;
                }
                Waits::Signal { name: &wait.name, timeout_ms: *timeout_ms }
            }
            Awaited::Approval { approvers, expires_ms, on_expiry, remind_ms } => {
                let (expires_ms, on_expiry, remind_ms) = (*expires_ms, *on_expiry, *remind_ms);
                let rules = Rules { approvers, expires_ms, on_expiry, remind_ms };
                // What is missing is read, and then this is asked again.
                let Ok((prompt, context)) = self.asked(wait, function) else { return };
                Waits::Gate { rules, prompt, context, input: Arc::new(Value::Null) }
            }
        };
        self.room -= 1;
        self.plan.wait.push(Begin { key, what });
    }

    /// What people are asked.
    fn asked(&mut self, wait: &Pending, function: &Function) -> Result<(String, Arc<Value>), Stop> {
        let Some(place) = &function.asked else { return Ok(Default::default()) };
        let asked = self.value(&Flow::At(place.clone()))?;
        let asked = asked.get(wait.index.to_string()).unwrap_or(&Value::Null);
        let part = |name: &str| asked.get(name).cloned().unwrap_or_default();
        let prompt = match part("prompt") {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        Ok((prompt, Arc::new(part("context"))))
    }
}
