//! One after the other.

use async_trait::async_trait;

use super::made_of;
use crate::agent::{AgentContext, AgentError, Answer, Input, Respond};

/// Agents one after the other: what one says is what the next is asked. It answers what the last one says.
pub struct Sequential {
    name: String,
    first: Box<dyn Respond>,
    then: Vec<Box<dyn Respond>>,
}

impl Sequential {
    /// Begins with `first`.
    pub fn new(name: impl Into<String>, first: impl Respond) -> Self {
        Self { name: name.into(), first: Box::new(first), then: Vec::new() }
    }

    /// Goes on with `next`.
    #[must_use]
    pub fn then(mut self, next: impl Respond) -> Self {
        self.then.push(Box::new(next));
        self
    }
}

#[async_trait]
impl Respond for Sequential {
    fn name(&self) -> &str {
        &self.name
    }

    async fn respond(&self, input: &Input, cx: &AgentContext) -> Result<Answer, AgentError> {
        let mut answer = asked(&*self.first, input, cx).await?;
        let mut parts = answer.to_parts(self.first.name());
        for next in &self.then {
            answer = asked(&**next, &answer.text.into(), cx).await?;
            parts.extend(answer.to_parts(next.name()));
        }
        Ok(made_of(answer, parts))
    }
}

/// What an agent answers; its errors say whose they are.
pub(super) async fn asked(
    agent: &dyn Respond,
    input: &Input,
    cx: &AgentContext,
) -> Result<Answer, AgentError> {
    agent.respond(input, cx).await.map_err(|error| error.of(agent.name()))
}
