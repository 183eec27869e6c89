//! Again and again.

use async_trait::async_trait;

use super::made_of;
use super::sequential::asked;
use crate::agent::{AgentContext, AgentError, Answer, Input, Respond};

/// How often an agent is asked unless it is told otherwise.
pub const ROUNDS: usize = 10;

type Until = Box<dyn Fn(&Answer, usize) -> bool + Send + Sync>;

/// One agent again and again: what it says is what it is asked next, until it is good or it was asked often enough. It
/// answers what it said last.
pub struct Loop {
    name: String,
    agent: Box<dyn Respond>,
    until: Until,
    most: usize,
}

impl Loop {
    /// Asks `agent`, [`ROUNDS`] times unless it is told otherwise.
    pub fn new(name: impl Into<String>, agent: impl Respond) -> Self {
        let until: Until = Box::new(|_, _| false);
        Self { name: name.into(), agent: Box::new(agent), until, most: ROUNDS }
    }

    /// Ends when `until` holds for an answer and the number of its round, the first being 1.
    #[must_use]
    pub fn until(mut self, until: impl Fn(&Answer, usize) -> bool + Send + Sync + 'static) -> Self {
        self.until = Box::new(until);
        self
    }

    /// Asks at most so often; at least once.
    #[must_use]
    pub fn most(mut self, rounds: usize) -> Self {
        self.most = rounds.max(1);
        self
    }
}

#[async_trait]
impl Respond for Loop {
    fn name(&self) -> &str {
        &self.name
    }

    async fn respond(&self, input: &Input, cx: &AgentContext) -> Result<Answer, AgentError> {
        let mut answer = asked(&*self.agent, input, cx).await?;
        let mut parts = answer.to_parts(self.agent.name());
        let mut round = 1;
        while round < self.most && !(self.until)(&answer, round) {
            answer = asked(&*self.agent, &answer.text.into(), cx).await?;
            parts.extend(answer.to_parts(self.agent.name()));
            round += 1;
        }
        Ok(made_of(answer, parts))
    }
}
