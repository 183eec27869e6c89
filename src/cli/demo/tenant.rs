//! One tenant of the demo, as its administrator: its tasks, its workers, its record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::processes::Stage;
use crate::cli::client::Client;
use crate::cli::error::Failed;
use crate::cli::tasks;

const TASKS: &str = "/api/v1/fleet/tasks";
/// How long the slow task takes: long enough to be caught.
const PAUSE_MS: u64 = 1_500;
/// Between two looks at a task.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Tenant {
    pub(super) name: String,
    client: Client,
    key: String,
    /// A file for tasks that are about something else.
    any_file: std::cell::RefCell<Option<PathBuf>>,
}

impl Tenant {
    pub(super) async fn create(stage: &Stage, name: &str) -> Result<Self, Failed> {
        let system = stage.client()?;
        let org = system.post("/api/v1/orgs", &json!({ "name": name })).await?;
        let client = Client::of(stage.server(), text(&org, "token"))?;
        let key = json!({ "name": "demo", "max_uses": 8, "auto_approve": true });
        let key = client.post("/api/v1/fleet/enrollment-keys", &key).await?;
        let key = text(&key, "key").to_owned();
        Ok(Self { name: name.to_owned(), client, key, any_file: Default::default() })
    }

    pub(super) fn key(&self) -> Result<String, Failed> {
        Ok(self.key.clone())
    }

    /// A task for each file; answers their ids.
    pub(super) async fn submit_all(
        &self,
        files: &[PathBuf],
    ) -> Result<BTreeMap<String, PathBuf>, Failed> {
        let mut submitted = BTreeMap::new();
        for file in files {
            self.any_file.replace(Some(file.clone()));
            submitted.insert(self.submit(json!({ "file": file }), None).await?, file.clone());
        }
        Ok(submitted)
    }

    /// A task that takes long enough for its worker to be killed.
    pub(super) async fn submit_slow(&self) -> Result<String, Failed> {
        let file = self.file()?;
        self.submit(json!({ "file": file, "pause_ms": PAUSE_MS }), None).await
    }

    pub(super) async fn submit_to_pool(&self, pool: &str) -> Result<String, Failed> {
        let file = self.file()?;
        self.submit(json!({ "file": file }), Some(pool)).await
    }

    async fn submit(&self, payload: Value, pool: Option<&str>) -> Result<String, Failed> {
        let body = json!({ "payload": payload, "pool": pool });
        let submitted = self.client.post(TASKS, &body).await?;
        Ok(text(&submitted, "run_id").to_owned())
    }

    fn file(&self) -> Result<PathBuf, Failed> {
        self.any_file.borrow().clone().ok_or_else(|| Failed::wrong("no file was submitted yet"))
    }

    pub(super) async fn task(&self, id: &str) -> Result<Value, Failed> {
        self.client.get(&format!("{TASKS}/{id}")).await
    }

    pub(super) async fn closed(&self, id: &str) -> Result<Value, Failed> {
        tasks::closed(&self.client, id).await
    }

    /// Waits until somebody works on a task; answers who, by id and by name.
    pub(super) async fn claimed_by(&self, id: &str) -> Result<(String, String), Failed> {
        loop {
            let task = self.task(id).await?;
            if task["status"] == "claimed" {
                let worker = text(&task, "worker_id").to_owned();
                let name = self.name_of(&worker).await?;
                return Ok((worker, name));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) async fn name_of(&self, worker: &str) -> Result<String, Failed> {
        let workers = self.workers().await?;
        workers
            .get(worker)
            .cloned()
            .ok_or_else(|| Failed::wrong(format!("{} has no worker {worker}", self.name)))
    }

    /// The workers of this tenant: names by id.
    pub(super) async fn workers(&self) -> Result<BTreeMap<String, String>, Failed> {
        let listed = self.client.get("/api/v1/fleet/workers").await?;
        let rows = listed["workers"].as_array().cloned().unwrap_or_default();
        Ok(rows
            .iter()
            .map(|row| (text(row, "id").to_owned(), text(row, "name").to_owned()))
            .collect())
    }

    /// Events of one kind, newest first.
    pub(super) async fn events(&self, kind: &str) -> Result<Vec<Value>, Failed> {
        let listed = self.client.get(&format!("/api/v1/fleet/audit?type={kind}&limit=200")).await?;
        Ok(listed["events"].as_array().cloned().unwrap_or_default())
    }

    /// Joins a worker by hand and looks for work once, as a worker does; answers the status.
    pub(super) async fn look_once_in_pool(&self, stage: &Stage, pool: &str) -> Result<u16, Failed> {
        let nobody = Client::of(stage.server(), "")?;
        let register = json!({ "name": "looker", "pool": pool, "enrollment_key": self.key });
        let joined = nobody.post("/api/v1/fleet/register", &register).await?;
        let answer = nobody
            .request(Method::POST, "/api/v1/fleet/claim")
            .header("X-Worker-Id", text(&joined, "worker_id"))
            .header("X-Worker-Secret", text(&joined, "worker_secret"))
            .json(&json!({ "poll_timeout": 0 }))
            .send()
            .await
            .map_err(Failed::wrong)?;
        Ok(answer.status().as_u16())
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The name of a file without its folder.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
