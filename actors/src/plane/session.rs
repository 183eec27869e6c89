//! One worker's way in: it proves who it is, shows signs of life, claims ([`claim`]) and reports ([`report`]).

mod claim;
mod functions;
mod handed;
mod proof;
mod report;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_runtime::Address;
use fleetward_store::{CellId, Origin};
use subtle::ConstantTimeEq;

use super::ControlPlane;
use crate::error::{Error, Kind, Refusal};
use crate::fleet::cell::OrgCell;
use crate::fleet::connection::{self, Beat};
use crate::fleet::credentials::{self, Known};
use crate::fleet::dispatcher;
use crate::fleet::input;
use crate::fleet::probes::Seen;
use crate::fleet::registry;
use crate::fleet::worker::Standing;
use crate::id::{OrgId, TaskId, WorkerId};
use crate::system::principals::KnownOrg;
use crate::system::task_token::Scope;
pub use claim::{CLAIM_MAX, Claim, Offer, Offers};
pub use functions::{NewCheckpoint, Recorded, RecordedPage};
pub use handed::{Handed, Part};
use proof::Proof;
pub use report::{Outcome, REPORT_MAX, Reported};

/// Longest name that a worker gives a claim or a start of its process, in characters.
const TAG_MAX: usize = 64;
/// Most lost attempts of one heartbeat that are looked at.
const OVER_MAX: usize = 64;
/// Most tasks that one heartbeat names.
const HELD_MAX: usize = 4_096;

/// One authenticated worker. It may be held for long: each call looks at what is true of the worker then.
#[derive(Clone)]
pub struct Session {
    plane: ControlPlane,
    known: Arc<KnownOrg>,
    worker: WorkerId,
    proof: Proof,
    origin: Option<Arc<Origin>>,
    certificate: Option<Arc<str>>,
}

/// A sign of life.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    /// The tasks that the worker has, with attempt and claim token; `None` from older clients.
    pub held: Option<Vec<(TaskId, u32, String)>>,
    /// Which start of the worker's process this is.
    pub boot: Option<String>,
    /// Tasks completed and failed, as the worker counts them: shown, and used for nothing.
    pub counted: [Option<u64>; 2],
    /// What the worker sees of the endpoints of its models; `None`: it does not look.
    pub models: Option<Seen>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({} in {})", self.worker, self.known.org.name)
    }
}

impl ControlPlane {
    /// Checks a worker's id and secret.
    ///
    /// # Errors
    /// Unauthenticated when they do not belong together; forbidden, and final, when the worker was rejected or
    /// revoked; unavailable while its organisation starts.
    pub async fn session(&self, worker: &str, secret: &str) -> Result<Session, Error> {
        self.session_over(worker, secret, None).await
    }

    /// The same for a worker that came with a client certificate of this identity, which whoever ended the TLS
    /// connection has verified.
    ///
    /// # Errors
    /// As [`session`](Self::session); forbidden too when the worker is bound to another identity.
    pub async fn session_over(
        &self,
        worker: &str,
        secret: &str,
        certificate: Option<Arc<str>>,
    ) -> Result<Session, Error> {
        let worker: WorkerId = worker.parse().map_err(|_| unknown_worker())?;
        let cell = credentials::cell_of_secret(secret).ok_or_else(unknown_worker)?;
        let known = self.shared.principals.org_of(cell).ok_or_else(unknown_worker)?;
        let proof = Proof::Secret(credentials::hash(secret).into());
        let session =
            Session { plane: self.clone(), known, worker, proof, certificate, origin: None };
        session.enter().await?;
        Ok(session)
    }

    /// The cell that a worker's secret names, which proves nothing by itself.
    pub fn cell_of_secret(&self, secret: &str) -> Option<CellId> {
        let cell = credentials::cell_of_secret(secret)?;
        self.shared.principals.org_of(cell).map(|known| known.org.cell())
    }
}

impl Session {
    /// The same worker, asking by this request.
    #[must_use]
    pub fn by_request(self, origin: Option<Arc<Origin>>) -> Self {
        Self { origin, ..self }
    }

    /// The worker.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The cell of its organisation.
    pub fn cell_number(&self) -> CellId {
        self.known.org.cell()
    }

    /// Its organisation.
    pub fn org(&self) -> OrgId {
        self.known.org.id
    }

    /// Whether it may work, as far as it is durable.
    ///
    /// # Errors
    /// Unauthenticated or finally forbidden, as when the session was made; unavailable while its organisation
    /// starts.
    pub async fn standing(&self) -> Result<Standing, Error> {
        self.enter().await.map(|(_, known)| known.credential.standing)
    }

    /// Renews what the worker holds. Answers what it names and does not hold any more.
    ///
    /// # Errors
    /// When it names too much. A heartbeat is taken even while the store is away.
    pub async fn heartbeat(&self, beat: Heartbeat) -> Result<Vec<(TaskId, u32)>, Error> {
        let (cell, known) = self.enter().await?;
        self.proof.allows(Scope::Heartbeat)?;
        known.pulse.call();
        let clock = &self.plane.shared.clock;
        known.pulse.beat(clock.wall_us(), beat.counted);
        known.presence.come_back(|| clock.wall_us());
        if !known.credential.standing.may_work() {
            return Ok(Vec::new());
        }
        // One that holds something, or cannot say, is let through: its leases run.
        if beat.held.as_ref().is_some_and(Vec::is_empty) {
            self.plane.admit(&known.presence)?;
        }
        if let Some(boot) = &beat.boot {
            input::printable("boot_id", boot, TAG_MAX)?;
        }
        self.probed(&cell, &known, beat.models).await?;
        let named = beat.held.as_ref().map_or(0, Vec::len);
        if named > HELD_MAX {
            let detail = format!("a heartbeat names at most {HELD_MAX} tasks");
            return Err(Refusal::invalid("too_many", detail).into());
        }
        let (held, forged) = self.proved(beat.held);
        let beat = Beat { held, boot: beat.boot };
        let connection = self.connection(&cell).await?;
        let within = self.plane.shared.config.answer_within;
        let say = |reply| connection::Message::Beat { beat, reply };
        let mut lost = connection.call(within, say).await?;
        lost.extend(forged);
        Ok(lost)
    }

    /// The worker ends on purpose. Until it polls or sends a heartbeat again nobody misses it: it is not suspicious, deaf or
    /// mute. It gives back nothing by that. Known in memory only: a server that starts misses nobody either.
    ///
    /// # Errors
    /// When its organisation is not available.
    pub async fn leave(&self) -> Result<(), Error> {
        let (_, known) = self.enter().await?;
        self.proof.allows(Scope::Heartbeat)?;
        known.pulse.call();
        known.presence.leave(self.plane.shared.clock.wall_us());
        Ok(())
    }

    /// Those of the attempts that a heartbeat was answered are lost whose task is over: cancelled, say. Nobody else
    /// runs those. At most 64 are looked at.
    ///
    /// # Errors
    /// When the organisation is not available.
    pub async fn over(&self, lost: &[(TaskId, u32)]) -> Result<Vec<(TaskId, u32)>, Error> {
        let mut over = Vec::new();
        if lost.is_empty() {
            return Ok(over);
        }
        let (cell, _) = self.enter().await?;
        let within = self.plane.shared.config.answer_within;
        for (task, attempt) in lost.iter().copied().take(OVER_MAX) {
            let look = |reply| dispatcher::Message::Look { task, reply };
            // What is not in memory is closed, or never was: then it is nobody's.
            let known = cell.dispatcher.call(within, look).await?;
            if known.is_none_or(|task| task.is_closed()) {
                over.push((task, attempt));
            }
        }
        Ok(over)
    }

    /// Keeps what the worker sees of its models. The registry is told only where that changes what it can run.
    async fn probed(&self, cell: &OrgCell, known: &Known, seen: Option<Seen>) -> Result<(), Error> {
        if let Some(seen) = &seen {
            seen.check()?;
        }
        let before = known.pulse.set_models(seen);
        let now = known.pulse.models();
        let fresh = match (&before, &now) {
            (Some(before), Some(now)) => before.round != now.round,
            _ => true,
        };
        for endpoint in now.iter().filter(|_| fresh).flat_map(|now| &now.endpoints) {
            let latency = endpoint.latency_ms as f64 / 1000.0;
            metrics::histogram!("fleetward_probe_seconds", "kind" => endpoint.kind).record(latency);
        }
        let same = match (&before, &now) {
            (Some(before), Some(now)) => now.offers_as(before),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let (worker, within) = (self.worker, self.plane.shared.config.answer_within);
            let say = |reply| registry::Message::Probed { worker, reply };
            // Where that is lost, the roster that the registry tells now and then says it too.
            let _ = cell.registry.call(within, say).await;
        }
        Ok(())
    }

    async fn approved(&self) -> Result<OrgCell, Error> {
        self.enter_approved().await.map(|(cell, _)| cell)
    }

    async fn enter_approved(&self) -> Result<(OrgCell, Arc<Known>), Error> {
        let (cell, known) = self.enter().await?;
        known.pulse.call();
        let standing = known.credential.standing;
        if !standing.may_work() {
            return Err(Refusal::standing(standing.as_str()).into());
        }
        self.proof.allows(Scope::Claim)?;
        Ok((cell, known))
    }

    async fn connection(&self, cell: &OrgCell) -> Result<Address<connection::Message>, Error> {
        let started = cell.connections.get_or_start(self.worker).await;
        started.map_err(|error| Error::Unavailable(format!("connection: {error}")))
    }

    /// Proves a claim without being stored: the same after a restart.
    fn claim_token(&self, task: TaskId, attempt: u32) -> String {
        let (task, attempt) = (task.0.as_bytes(), attempt.to_be_bytes());
        let mac = self.known.key.mac("claim", &[task, &attempt, self.worker.0.as_bytes()]);
        URL_SAFE_NO_PAD.encode(mac)
    }

    fn is_proved(&self, task: TaskId, attempt: u32, token: &str) -> bool {
        self.claim_token(task, attempt).as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// What a heartbeat may name, and what it may not.
    #[expect(clippy::type_complexity, reason = "two lists of the same pairs")]
    fn proved(
        &self,
        held: Option<Vec<(TaskId, u32, String)>>,
    ) -> (Option<Vec<(TaskId, u32)>>, Vec<(TaskId, u32)>) {
        let Some(held) = held else { return (None, Vec::new()) };
        let (good, bad): (Vec<_>, Vec<_>) = held
            .into_iter()
            .partition(|(task, attempt, token)| self.is_proved(*task, *attempt, token));
        let pair = |(task, attempt, _)| (task, attempt);
        (Some(good.into_iter().map(pair).collect()), bad.into_iter().map(pair).collect())
    }
}

fn unknown_worker() -> Refusal {
    let detail = "the worker's credentials are not known here; register again";
    Refusal::new(Kind::Unauthenticated, "unknown_worker", detail)
}
