//! Which provider a call goes to, for which model, with which parameters. Pure.

use std::sync::Arc;

use super::{Dialect, Provider, WorkerCredentials};
use crate::agent::call::{Agent, Parameters};
use crate::agent::error::AgentError;

/// The name of the model that stands for those that nothing else is said about.
pub(super) const DEFAULT: &str = "default";

/// Where a call goes.
#[derive(Clone)]
pub(crate) struct Target {
    /// The provider's name.
    pub(crate) name: String,
    pub(crate) provider: Arc<Provider>,
    /// The model, by the provider's name for it.
    pub(crate) model: String,
    pub(crate) parameters: Parameters,
}

impl WorkerCredentials {
    /// Where `agent` is asked, in a task that was submitted for `task_model`.
    pub(in crate::agent) fn target(
        &self,
        agent: &Agent,
        task_model: Option<&str>,
    ) -> Result<Target, AgentError> {
        let asked = agent.model.as_deref().or(task_model).unwrap_or(DEFAULT);
        let (name, model) = match self.model_override(asked) {
            Some(local) => self.provider_of(local, None)?,
            None if asked == DEFAULT => {
                let why = "neither the call nor the task names a model, and the worker has no default: \
                           set model_overrides.default";
                return Err(AgentError::refused(why));
            }
            None => self.provider_of(asked, agent.provider.as_deref())?,
        };
        let provider = self.providers[name].clone();
        let parameters =
            agent.parameters.overridden(&self.parameters).overridden(&provider.parameters);
        Ok(Target { name: name.to_owned(), provider, model: model.to_owned(), parameters })
    }

    /// The provider of a model and the model's name there: the provider that is named, the one before the model's first
    /// slash, the only one, or the one that such models are known to come from.
    fn provider_of<'a>(
        &'a self,
        model: &'a str,
        named: Option<&str>,
    ) -> Result<(&'a str, &'a str), AgentError> {
        let known = |name: &str| self.providers.get_key_value(name).map(|(name, _)| name.as_str());
        if let Some(named) = named {
            let provider = known(named).ok_or_else(|| self.unknown(named))?;
            let own = model.split_once('/').filter(|(prefix, _)| *prefix == provider);
            return Ok((provider, own.map_or(model, |(_, rest)| rest)));
        }
        if let Some((prefix, rest)) = model.split_once('/')
            && let Some(provider) = known(prefix)
            && !rest.is_empty()
        {
            return Ok((provider, rest));
        }
        if self.providers.len() == 1 {
            return Ok((self.providers.keys().next().map_or("", String::as_str), model));
        }
        match self.likely(model) {
            Some(provider) => Ok((provider, model)),
            None => {
                let names = self.names();
                Err(AgentError::refused(format_args!(
                    "this worker has several providers ({names}): say which serves {model:?}, as PROVIDER/MODEL or as \
                     `provider`"
                )))
            }
        }
    }

    fn likely(&self, model: &str) -> Option<&str> {
        let dialect = match model {
            _ if model.starts_with("claude") => Dialect::Anthropic,
            _ if ["gpt-", "o1", "o3", "o4", "chatgpt-"]
                .iter()
                .any(|start| model.starts_with(start)) =>
            {
                Dialect::OpenAi
            }
            _ => return None,
        };
        // The one that is named like it: others with the same interface serve other models.
        self.providers.get_key_value(dialect.as_str()).map(|(name, _)| name.as_str())
    }

    fn unknown(&self, named: &str) -> AgentError {
        let names = self.names();
        AgentError::refused(format_args!("this worker has no provider {named:?}, but {names}"))
    }

    fn names(&self) -> String {
        self.providers().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "[providers.vllm]\nkind = \"openai\"";
    const THREE: &str = "[providers.openai]\n[providers.anthropic]\n[providers.ollama]";
    const OVER: &str = "[model_overrides]\n\"gpt-4o\" = \"openai/gpt-4o-mini\"\ndefault = \"ollama/llama3.2\"\n\
                        [providers.openai]\n[providers.ollama]";

    /// `PROVIDER MODEL`, or what is said instead.
    fn resolved(file: &str, model: &str, provider: &str, task_model: &str) -> String {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let credentials = WorkerCredentials::parse(file, |_| None).unwrap();
        let agent = Agent { model: some(model), provider: some(provider), ..Agent::default() };
        match credentials.target(&agent, some(task_model).as_deref()) {
            Ok(target) => format!("{} {}", target.name, target.model),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_call_finds_its_provider_and_model() {
        let table = [
            (ONE, ("qwen3", "", ""), "vllm qwen3"),
            (ONE, ("vllm/qwen3", "", ""), "vllm qwen3"),
            (ONE, ("Qwen/Qwen3-8B", "", ""), "vllm Qwen/Qwen3-8B"),
            (ONE, ("", "", "qwen3"), "vllm qwen3"),
            (ONE, ("a", "", "b"), "vllm a"),
            (ONE, ("", "", ""), "model_overrides.default"),
            (ONE, ("qwen3", "ollama", ""), "no provider \"ollama\", but vllm"),
            (THREE, ("gpt-4o", "", ""), "openai gpt-4o"),
            (THREE, ("claude-sonnet-4", "", ""), "anthropic claude-sonnet-4"),
            (THREE, ("ollama/llama3.2:1b", "", ""), "ollama llama3.2:1b"),
            (THREE, ("llama3.2", "ollama", ""), "ollama llama3.2"),
            (THREE, ("ollama/llama3.2", "ollama", ""), "ollama llama3.2"),
            (THREE, ("llama3.2", "", ""), "as PROVIDER/MODEL"),
            (OVER, ("gpt-4o", "", ""), "openai gpt-4o-mini"),
            (OVER, ("claude-sonnet-4", "anthropic", ""), "ollama llama3.2"),
            (OVER, ("", "", "gpt-4o"), "openai gpt-4o-mini"),
            (OVER, ("", "", ""), "ollama llama3.2"),
        ];
        for (file, (model, provider, task_model), wanted) in table {
            let found = resolved(file, model, provider, task_model);
            assert!(found.contains(wanted), "{model} {provider} {task_model}: {found}");
        }
    }

    #[test]
    fn parameters_of_the_provider_override_those_of_the_worker_and_these_the_calls() {
        let file = "[parameters]\ntemperature = 0.1\nmax_tokens = 7\n[providers.openai]\nparameters = { max_tokens = 8 }";
        let credentials = WorkerCredentials::parse(file, |_| None).unwrap();
        let asked =
            Parameters { temperature: Some(1.0), top_p: Some(0.5), ..Parameters::default() };

        let target =
            credentials.target(&Agent::new("a").model("m").parameters(asked), None).unwrap();

        let wanted = Parameters {
            temperature: Some(0.1),
            max_tokens: Some(8),
            top_p: Some(0.5),
            ..Parameters::default()
        };
        assert!(target.parameters == wanted);
    }
}
