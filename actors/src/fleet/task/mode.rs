//! How a step or task is executed, in one word: sugar over the level of isolation. Pure.

use serde::{Deserialize, Serialize};

use super::Sandbox;

/// How something is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By the worker, without isolation: as where nothing is said.
    Bare,
    /// Isolated: at least in a process with fewer rights than the worker.
    Sandboxed,
    /// In a sandbox with an identity of its own. Not available.
    Identity,
    /// In a sandbox with credentials of an agent. Not available.
    Agent,
    /// In a sandbox with credentials that are made for the attempt. Not available.
    AgentJit,
}

impl Mode {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Sandboxed => "sandboxed",
            Self::Identity => "identity",
            Self::Agent => "agent",
            Self::AgentJit => "agent_jit",
        }
    }

    /// What is wrong with it, beside what is said of the sandbox (none: nothing).
    pub fn wrong(self, sandbox: Option<Sandbox>) -> Option<String> {
        let (word, none) = (self.as_str(), Some(Sandbox::None));
        match self {
            Self::Bare if sandbox.is_some_and(|level| !level.is_none()) => Some(
                "`bare` asks for no sandbox, and `sandbox` for one; leave one of them out".into(),
            ),
            Self::Sandboxed if sandbox == none => Some(
                "`sandboxed` asks for a sandbox, and `sandbox` for none; leave one of them out"
                    .into(),
            ),
            Self::Bare | Self::Sandboxed => None,
            Self::Identity | Self::Agent | Self::AgentJit => Some(format!(
                "the mode `{word}` needs secrets that are lent to sandboxes, which do not exist yet; write `sandboxed`, and let \
                 the worker hold the credentials"
            )),
        }
    }

    /// The least isolation that it means, beside what is said of the sandbox.
    pub fn least(self, sandbox: Sandbox) -> Sandbox {
        match self {
            Self::Bare => sandbox,
            _ => sandbox.max(Sandbox::Process),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_is_the_least_isolation_and_contradicts_nothing() {
        use Mode::{Agent, AgentJit, Bare, Identity, Sandboxed};
        let table = [
            (Bare, None, Some(Sandbox::None)),
            (Bare, Some(Sandbox::None), Some(Sandbox::None)),
            (Bare, Some(Sandbox::Process), None),
            (Sandboxed, None, Some(Sandbox::Process)),
            (Sandboxed, Some(Sandbox::None), None),
            (Sandboxed, Some(Sandbox::Vm), Some(Sandbox::Vm)),
            (Identity, None, None),
            (Agent, Some(Sandbox::Vm), None),
            (AgentJit, None, None),
        ];
        for (mode, said, expected) in table {
            let least = mode.least(said.unwrap_or_default());
            let found = mode.wrong(said).is_none().then_some(least);
            assert_eq!(found, expected, "{mode:?} {said:?}");
        }
    }
}
