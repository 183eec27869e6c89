//! All at once.

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::made_of;
use super::sequential::asked;
use crate::agent::{AgentContext, AgentError, Answer, Input, Respond};

/// How the texts of several answers become one.
type Merge = Box<dyn Fn(&[Answer]) -> String + Send + Sync>;

/// Agents that are all asked the same at once. It answers with all they say, in the order in which they were added.
/// The first that fails ends the others.
pub struct Parallel {
    name: String,
    agents: Vec<Box<dyn Respond>>,
    merge: Merge,
    at_once: usize,
}

impl Parallel {
    /// Asks `first`.
    pub fn new(name: impl Into<String>, first: impl Respond) -> Self {
        let agents: Vec<Box<dyn Respond>> = vec![Box::new(first)];
        Self { name: name.into(), agents, merge: Box::new(joined), at_once: usize::MAX }
    }

    /// And `another`.
    #[must_use]
    pub fn and(mut self, another: impl Respond) -> Self {
        self.agents.push(Box::new(another));
        self
    }

    /// At most so many at the same time; at least one.
    #[must_use]
    pub fn at_once(mut self, most: usize) -> Self {
        self.at_once = most.max(1);
        self
    }

    /// Makes one text of their answers; without it, [`joined`].
    #[must_use]
    pub fn merge(mut self, merge: impl Fn(&[Answer]) -> String + Send + Sync + 'static) -> Self {
        self.merge = Box::new(merge);
        self
    }
}

/// The texts of answers, with an empty line between them.
pub fn joined(answers: &[Answer]) -> String {
    answers.iter().map(|answer| answer.text.as_str()).collect::<Vec<_>>().join("\n\n")
}

#[async_trait]
impl Respond for Parallel {
    fn name(&self) -> &str {
        &self.name
    }

    async fn respond(&self, input: &Input, cx: &AgentContext) -> Result<Answer, AgentError> {
        let asking: Vec<_> = self.agents.iter().map(|agent| asked(&**agent, input, cx)).collect();
        let at_once = self.at_once.min(self.agents.len());
        let answers: Vec<Answer> = stream::iter(asking).buffered(at_once).try_collect().await?;
        let text = (self.merge)(&answers);
        let mut parts = Vec::new();
        for (agent, answer) in self.agents.iter().zip(&answers) {
            parts.extend(answer.to_parts(agent.name()));
        }
        let last = answers.into_iter().next_back().unwrap_or_default();
        Ok(made_of(Answer { text, json: None, ..last }, parts))
    }
}
