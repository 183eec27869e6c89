//! `fleetward worker run --agents`: a worker that answers tasks with models.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fleetward_worker::agent::{Agents, WorkerCredentials, with_credentials};
use fleetward_worker::{Command, Execute};

use super::error::Failed;

#[derive(Args)]
pub(crate) struct AgentArgs {
    /// Answer tasks that are agent calls, {"agent": {...}, "input": ...}, with the models of --agent-credentials; without
    /// it, of OPENAI_API_KEY, OPENAI_BASE_URL, ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL and OLLAMA_HOST. Other tasks are for
    /// --exec.
    #[arg(long, env = "FLEETWARD_WORKER_AGENTS")]
    agents: bool,
    /// Where its models are served and with which keys: a file (TOML) that only its owner can read. It stays on this
    /// machine.
    #[arg(long, value_name = "FILE", env = "FLEETWARD_WORKER_AGENT_CREDENTIALS")]
    agent_credentials: Option<PathBuf>,
}

impl AgentArgs {
    /// What runs the worker's tasks: agents, the command, or both.
    pub(crate) fn execute(
        &self,
        command: Option<Command>,
        timeout: Duration,
    ) -> Result<Box<dyn Execute>, Failed> {
        // Not clap's to check: a setting of the file counts for it as absent.
        if !self.agents {
            if self.agent_credentials.is_some() {
                return Err(Failed::refused("--agent-credentials is for --agents"));
            }
            let command = command.ok_or_else(|| {
                Failed::refused("say what runs its tasks: --exec CMD, --agents or both")
            })?;
            return Ok(Box::new(command));
        }
        let environment = |name: &str| std::env::var(name).ok();
        let credentials = match &self.agent_credentials {
            Some(file) => WorkerCredentials::load(file, environment),
            None => WorkerCredentials::from_environment(environment),
        };
        let credentials = credentials.map_err(Failed::refused)?;
        let agents = Agents::new().timeout(timeout);
        let agents = match command {
            Some(command) => agents.or(command),
            None => agents,
        };
        Ok(Box::new(with_credentials(agents, credentials).map_err(Failed::refused)?))
    }
}
