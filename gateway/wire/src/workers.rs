//! Workers: how one joins, stays alive, and is looked at and decided about by operators.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::suspicions::SuspicionView;
use crate::{Labels, Secret, Timestamp, null_is_default};

/// `POST /api/v1/fleet/register`: a process asks to become a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Register {
    /// A name for people; need not be unique.
    pub name: String,
    /// Models it can run, as it calls them. Empty: it declares none.
    #[serde(deserialize_with = "null_is_default")]
    pub models: Vec<String>,
    /// The pool it wants to serve.
    pub pool: String,
    /// What it says about itself. A `project_id` in here is never trusted.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: Labels,
    /// How well it isolates what it runs. Absent: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxLevel>,
    /// Sandbox images that it can run; one that ends with `*` stands for all that begin so.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Handlers that it has registered; one that ends with `*` stands for all that begin so.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub handlers: Vec<String>,
    /// Network policies that it can enforce.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkPolicy>,
    /// How many tasks it takes at once.
    pub max_concurrent: u32,
    /// The key that lets it in; also accepted as the header `X-Enrollment-Key`.
    pub enrollment_key: Option<Secret>,
    /// The public half of its key pair: the 32 bytes of an Ed25519 key in base64url. With one it gets no secret, but
    /// task tokens; without, it goes on with the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Proof that it has the other half: its signature over [`registration_text`](crate::task_tokens::registration_text),
    /// in base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Default for Register {
    fn default() -> Self {
        Self {
            name: "worker".to_owned(),
            models: Vec::new(),
            pool: "default".to_owned(),
            labels: Labels::new(),
            sandbox: None,
            images: Vec::new(),
            handlers: Vec::new(),
            networks: Vec::new(),
            max_concurrent: 1,
            enrollment_key: None,
            public_key: None,
            signature: None,
        }
    }
}

/// How much a worker isolates what it runs, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxLevel {
    /// Not at all.
    None,
    /// A process with fewer rights than the worker.
    Process,
    /// A container.
    Container,
    /// A virtual machine.
    Vm,
}

/// What a sandbox can reach, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkPolicy {
    /// Nothing.
    None,
    /// What an allow-list names.
    Restricted,
    /// Everything.
    Open,
}

/// The answer to [`Register`], 201.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registered {
    /// Who the worker is from now on: header `X-Worker-Id`.
    pub worker_id: String,
    /// Proof of it, shown this once: header `X-Worker-Secret`. A worker with a key pair has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_secret: Option<Secret>,
    /// Its organisation; older control planes do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_id: Option<String>,
    /// Pending, or approved if the key says so.
    pub status: WorkerStatus,
    /// What it was let in with: never more than it declared or its key allows.
    pub capabilities: Capabilities,
    /// How often to send a heartbeat, in seconds.
    pub heartbeat_seconds: f64,
    /// How long an attempt stays its own without one, in seconds.
    pub lease_seconds: f64,
}

/// What a worker was let in with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Capabilities {
    /// Models it may be given.
    pub models: Vec<String>,
    /// The pool it serves.
    pub pool: String,
    /// Its labels, those of its key included.
    pub labels: Labels,
    /// How many tasks it takes at once.
    pub max_concurrent: u32,
}

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerStatus {
    /// Waits for an operator.
    Pending,
    /// May take tasks.
    Approved,
    /// Was never let in. Final.
    Rejected,
    /// Was let in and thrown out. Final.
    Revoked,
    /// Gets no new work; what it holds runs on.
    Quarantined,
    /// A copy of one of its tokens was used: it gets nothing until an operator unlocks it.
    Locked,
    /// A status of a newer server that this build has no word for. The server never sends it.
    #[serde(other)]
    Unknown,
}

/// `POST /api/v1/fleet/heartbeat`: the worker is alive and still runs these tasks.
///
/// Every field may be absent: older workers send `{}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// Free-form figures of the worker's pool. For display.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_stats: Option<Value>,
    /// The worker's clock, as it writes it. For display: leases use the server's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Value>,
    /// Tasks completed since the worker started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_completed: Option<u64>,
    /// Tasks failed since the worker started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_failed: Option<u64>,
    /// Different in every life of the worker's process: a new one ends the attempts of the old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// All it holds. Absent means that it does not say (an older worker), empty means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<HeldTask>>,
    /// What it sees of the endpoints of its models. Absent: it does not look, and has all models that it declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<ModelsSeen>,
}

/// Most models of one endpoint that a heartbeat may name.
pub const ENDPOINT_MODELS_MAX: usize = 512;
/// Longest name of a model, in characters.
pub const MODEL_NAME_MAX: usize = 128;

/// What a worker saw when it last asked the endpoints of its models. A model that it declared and that no endpoint names is
/// not asked of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelsSeen {
    /// Which look of this process: higher than the one before.
    pub round: u64,
    /// How long ago it looked, in seconds.
    pub age_seconds: f64,
    /// Each endpoint.
    pub endpoints: Vec<EndpointSeen>,
}

/// One endpoint, as a worker sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndpointSeen {
    /// What kind of server it is.
    pub kind: EndpointKind,
    /// How people call it: its URL without what may be secret.
    pub endpoint: String,
    /// Whether it answered with its models.
    pub available: bool,
    /// How long that took, in milliseconds.
    pub latency_ms: u64,
    /// Its models, as it calls them.
    #[serde(default)]
    pub models: Vec<String>,
    /// Why there is no answer.
    #[serde(default)]
    pub error: Option<String>,
}

/// What kind of server names the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointKind {
    /// Ollama: `/api/tags`.
    Ollama,
    /// One with OpenAI's interface: `/v1/models`.
    OpenAi,
    /// A kind of a newer worker that this build has no word for.
    #[serde(other)]
    Other,
}

/// One attempt that a worker says it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldTask {
    /// The task.
    pub run_id: String,
    /// Which claim of it.
    pub attempt: u32,
    /// Proof of the claim.
    pub claim_token: Secret,
}

/// The answer to [`Heartbeat`], 200; given to pending workers too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// Always true; older workers look at nothing else.
    pub ok: bool,
    /// Where the worker stands now.
    pub status: WorkerStatus,
    /// How long to wait before the next heartbeat, in seconds.
    pub heartbeat_seconds: f64,
    /// Attempts named in the request that the worker no longer holds. It must stop them.
    #[serde(default)]
    pub lost: Vec<LostTask>,
    /// Those of `lost` whose task is over: cancelled, or past its deadline. Nobody else has them, so what runs may be
    /// given a moment to clean up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<LostTask>,
    /// The server wants this worker to finish what it holds, claim nothing more, and end.
    #[serde(default)]
    pub drain: bool,
}

/// An attempt that is somebody else's now, or nobody's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LostTask {
    /// The task.
    pub run_id: String,
    /// The claim of it that ended.
    pub attempt: u32,
}

/// One worker in `GET /api/v1/fleet/workers`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// The organisation it belongs to.
    pub org_id: String,
    /// The project it is bound to. None never means any.
    pub project_id: Option<String>,
    /// What it may be given.
    pub capabilities: CapabilitiesView,
    /// Where it stands.
    pub approval_status: WorkerStatus,
    /// When it last sent a heartbeat, since the server started.
    pub last_heartbeat: Option<Timestamp>,
    /// How long ago that was, in seconds, on the server's clock.
    #[serde(default)]
    pub heartbeat_age_seconds: Option<f64>,
    /// When it last asked for work, since the server started: now, while a poll of it waits.
    #[serde(default)]
    pub last_poll: Option<Timestamp>,
    /// How long ago that was, in seconds, on the server's clock.
    #[serde(default)]
    pub poll_age_seconds: Option<f64>,
    /// When it said goodbye, if it was not heard of since: it ended on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Timestamp>,
    /// When it last looked at the endpoints of its models.
    pub last_probe_at: Option<Timestamp>,
    /// What it saw: `ok`, `degraded` (an endpoint or a declared model is missing) or `down` (no endpoint answers).
    pub probe_status: Option<String>,
    /// When it joined.
    pub registered_at: Timestamp,
    /// When it was approved.
    pub approved_at: Option<Timestamp>,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Why it stands where it stands, in the words of whoever decided last.
    #[serde(default)]
    pub reason: Option<String>,
    /// It gets no new tasks for now.
    #[serde(default)]
    pub paused: bool,
    /// What is suspicious of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspicions: Vec<SuspicionView>,
    /// Since when it sends heartbeats and asks for no work, though it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deaf_since: Option<Timestamp>,
    /// Since when it asks for work and sends no heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute_since: Option<Timestamp>,
    /// The identity of the client certificate that it is bound to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// How it proves who it is.
    #[serde(default, flatten)]
    pub proof: WorkerProof,
}

/// How a worker proves who it is, for those who decide about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerProof {
    /// The fingerprint of its public key: `sha256:` and the SHA-256 of its 32 bytes, hex. None: it has a secret.
    pub fingerprint: Option<String>,
    /// The enrollment key that it came with.
    pub enrollment_key_id: Option<String>,
    /// What that key is called.
    pub enrollment_key_name: Option<String>,
    /// The newest generation of its task tokens; 0: it never had one.
    pub token_generation: u32,
}

/// What a worker may be given, as listings show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CapabilitiesView {
    /// Models as the worker calls them.
    pub models_supported: Vec<String>,
    /// The same models by their canonical names.
    pub models_canonical: Vec<String>,
    /// How many tasks it takes at once.
    pub max_concurrent: u32,
    /// Its labels.
    pub labels: Labels,
    /// The pool it serves.
    pub pool: String,
    /// Version of the worker's software, where it says so.
    pub sdk_version: Option<String>,
}

/// `GET /api/v1/fleet/workers`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerList {
    /// The workers of the caller's organisation.
    pub workers: Vec<WorkerView>,
    /// How many there are.
    pub total: u64,
    /// Where the next page begins (`?before=`); none on the last one.
    #[serde(default)]
    pub next: Option<u64>,
}

/// `GET /api/v1/fleet/workers/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerDetail {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// The project it is bound to. None never means any.
    pub project_id: Option<String>,
    /// Where it stands.
    pub status: WorkerStatus,
    /// The pool it serves.
    pub pool: String,
    /// Models it may be given.
    pub models: Vec<String>,
    /// Its labels.
    pub labels: Labels,
    /// How many tasks it takes at once.
    pub max_concurrent: u32,
    /// When it last sent a heartbeat, since the server started.
    pub last_heartbeat: Option<Timestamp>,
    /// How long ago that was, in seconds, on the server's clock.
    #[serde(default)]
    pub heartbeat_age_seconds: Option<f64>,
    /// When it last asked for work, since the server started: now, while a poll of it waits.
    #[serde(default)]
    pub last_poll: Option<Timestamp>,
    /// How long ago that was, in seconds, on the server's clock.
    #[serde(default)]
    pub poll_age_seconds: Option<f64>,
    /// When it said goodbye, if it was not heard of since: it ended on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Timestamp>,
    /// When it joined.
    pub registered_at: Timestamp,
    /// It gets no new tasks for now.
    #[serde(default)]
    pub paused: bool,
    /// What is suspicious of it.
    #[serde(default)]
    pub suspicions: Vec<SuspicionView>,
    /// Since when it sends heartbeats and asks for no work, though it could.
    #[serde(default)]
    pub deaf_since: Option<Timestamp>,
    /// Since when it asks for work and sends no heartbeats.
    #[serde(default)]
    pub mute_since: Option<Timestamp>,
    /// Tasks completed since it started, as it counts them itself. For display.
    #[serde(default)]
    pub tasks_completed: Option<u64>,
    /// Tasks failed since it started, as it counts them itself. For display.
    #[serde(default)]
    pub tasks_failed: Option<u64>,
    /// When it last looked at the endpoints of its models.
    #[serde(default)]
    pub last_probe_at: Option<Timestamp>,
    /// What it saw: `ok`, `degraded` or `down`. None: it does not look.
    #[serde(default)]
    pub probe_status: Option<String>,
    /// Each endpoint as it saw it, without the names of its models.
    #[serde(default)]
    pub probes: Vec<EndpointSeen>,
    /// Models that it declared and that no endpoint of it offers now, by their canonical names.
    #[serde(default)]
    pub models_gone: Vec<String>,
    /// The identity of the client certificate that it is bound to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Why it stands where it stands, in the words of whoever decided last.
    #[serde(default)]
    pub reason: Option<String>,
    /// How it proves who it is.
    #[serde(default, flatten)]
    pub proof: WorkerProof,
}

/// Body of `POST` or `PATCH /api/v1/fleet/workers/{id}/approve`, `/reject`, `/revoke`, and of `POST .../pause`,
/// `/resume`. May be empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// Why, for the record.
    pub reason: Option<String>,
}

/// The answer to a [`Decision`]: where the worker stands after it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// Where it stands.
    pub status: WorkerStatus,
    /// Which worker.
    pub worker_id: String,
}
