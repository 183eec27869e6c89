//! One of several.

use async_trait::async_trait;

use super::made_of;
use super::sequential::asked;
use crate::agent::{AgentContext, AgentError, Answer, Input, Respond};

type Condition = Box<dyn Fn(&Input) -> bool + Send + Sync>;

/// One of several agents: the first whose condition holds, or else the other one. Without another one, what no condition
/// holds for is refused.
pub struct Conditional {
    name: String,
    branches: Vec<(Condition, Box<dyn Respond>)>,
    otherwise: Option<Box<dyn Respond>>,
}

impl Conditional {
    /// Without a branch as yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), branches: Vec::new(), otherwise: None }
    }

    /// Where `condition` holds, and none before it, `agent` answers.
    #[must_use]
    pub fn when(
        mut self,
        condition: impl Fn(&Input) -> bool + Send + Sync + 'static,
        agent: impl Respond,
    ) -> Self {
        self.branches.push((Box::new(condition), Box::new(agent)));
        self
    }

    /// Where none holds, `agent` answers.
    #[must_use]
    pub fn otherwise(mut self, agent: impl Respond) -> Self {
        self.otherwise = Some(Box::new(agent));
        self
    }
}

#[async_trait]
impl Respond for Conditional {
    fn name(&self) -> &str {
        &self.name
    }

    async fn respond(&self, input: &Input, cx: &AgentContext) -> Result<Answer, AgentError> {
        let branch = self.branches.iter().find(|(condition, _)| condition(input));
        let agent = branch.map(|(_, agent)| agent).or(self.otherwise.as_ref());
        let Some(agent) = agent else {
            return Err(AgentError::Refused("no branch takes this input".to_owned()));
        };
        let answer = asked(&**agent, input, cx).await?;
        let parts = answer.to_parts(agent.name());
        Ok(made_of(answer, parts))
    }
}
