//! The control plane: the whole tree over one store, and the way in for whoever is outside.
//!
//! A gateway turns requests into these calls and decides nothing; a library user makes them directly.

mod admission;
mod audit;
mod delivery;
mod enrollment;
mod envelope;
mod joining;
mod master_key;
mod opener;
mod operator;
mod orgs;
mod reading;
mod session;
mod signing_keys;
mod task_tokens;
pub mod unsealed;
mod warden;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{
    Address, ChildSpec, Clock, Drained, Exhausted, Faults, Permit, PermitLimits, Permits, Snapshot,
    StartError, Strategy, SupervisorSpec, System,
};
use fleetward_store::{CellId, Origin, Store};

use crate::cause::Cause;
use crate::config::Config;
use crate::error::{Error, Kind, Refusal};
use crate::fleet::alerts::notifier::Notifier;
pub use crate::fleet::alerts::notifier::{Outbound, Outgoing};
use crate::fleet::cell::{Cells, Ground, OrgCell, keeper};
use crate::fleet::presence::Presence;
use crate::id::{OrgId, TokenId};
use crate::journal::{self, Outage, Positions};
use crate::projector::{self, Progress};
use crate::seal::MasterKey;
use crate::system::directory;
use crate::system::org::Role;
use crate::system::principals::{KnownOrg, Principals};
use crate::system::reencryptor;
use crate::system::signers::Signers;
use admission::Admission;
pub use audit::{
    AuditEntry, AuditPage, AuditQuery, AuditSpan, AuditTrail, Export, KINDS_MAX, SYSTEM_RECORD,
    Start,
};
pub use delivery::Delivery;
pub use enrollment::NewEnrollmentKey;
pub use envelope::Envelope;
pub use joining::{Enrollment, KeyProof, Registered};
pub use operator::{
    AMEND_MAX, Against, Compared, DEAD_SCAN, DeadGroup, DeadGroups, DeadLetters, DeadRun,
    DeadRunGroup, DeadRuns, Explanation, FailedAttempt, FailedStep, FunctionOptions, FunctionState,
    ModelsSeen, NewRunStart, NewSubmit, Operator, Purge, Purged, Receipt, Replayed, ReplayedValue,
    RunFilter, RunPage, RunStarted, RunView, SUBMIT_MAX, SUSPECTS_MAX, SchedulePage, ScheduleView,
    SinkSecret, TaskView, TimelineEntry,
};
pub use orgs::NewOperatorToken;
pub use session::{
    CLAIM_MAX, Claim, Handed, Heartbeat, NewCheckpoint, Offer, Offers, Outcome, Part, REPORT_MAX,
    Recorded, RecordedPage, Reported, Session,
};
pub use task_tokens::{IssuedTaskToken, REVOKED_TOKENS_MAX, TaskTokenRequest, TokenText};
pub use unsealed::{Content, UNSEALED_MAX, Unsealed, UnsealedPage};

/// The cell of the directory.
pub const SYSTEM_CELL: CellId = CellId(0);
/// The organisation that exists from the start.
pub const DEFAULT_ORG: &str = "default";

/// How a control plane is started.
#[derive(Clone, Default)]
pub struct Options {
    /// Limits and terms.
    pub config: Config,
    /// The clock; the default is the real one.
    pub clock: Option<Clock>,
    /// Triggers for tests; the default has none.
    pub faults: Faults,
    /// What calls webhooks; without it there can be none.
    pub outbound: Option<Arc<dyn Outbound>>,
    /// A system token that is made good, if it is not yet.
    pub admin_token: Option<AdminToken>,
    /// What the keys in the store are sealed with. Only a store in memory does without: it gets a fresh one.
    pub master_key: Option<MasterKey>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The text of a token.
#[derive(Clone)]
pub struct AdminToken(pub String);

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken")
    }
}

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Change the configuration.
    #[error("bad configuration: {0}")]
    Config(#[from] crate::config::BadConfig),
    /// See what it says of the store.
    #[error("the actors did not start: {0}")]
    Start(#[from] StartError),
    /// Name the master key of the store, or make one for a new store, and keep it apart from the store.
    #[error("{0} needs a master key: what is secret in it is sealed with that")]
    NoMasterKey(String),
    /// Name the master key that the store was made with.
    #[error("the master key is not the one that {0} was made with")]
    WrongMasterKey(String),
    /// See what it says of the store.
    #[error("the store cannot be read: {0}")]
    Store(#[from] fleetward_store::ReadError),
    /// The first commands failed.
    #[error("the directory did not answer: {0}")]
    Directory(#[from] Error),
}

/// A running control plane. Cheap to clone.
#[derive(Clone)]
pub struct ControlPlane {
    shared: Arc<Shared>,
}

struct Shared {
    system: System,
    clock: Clock,
    config: Arc<Config>,
    store: Arc<dyn Store>,
    outage: Arc<Outage>,
    cells: Cells,
    directory: Address<directory::Message>,
    system_positions: Arc<Positions>,
    principals: Arc<Principals>,
    reencryptor: Address<reencryptor::Message>,
    signers: Arc<Signers>,
    projector: projector::Handle,
    notifier: Arc<Notifier>,
    permits: Permits<CellId>,
    master: MasterKey,
    watch: watch::Watch,
    admission: Admission,
}

/// Who asks, proved by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token.
    pub token: TokenId,
    /// What its holder may do.
    pub role: Role,
    /// In which organisation; none for a system token.
    pub org: Option<OrgId>,
    /// What the token is called.
    pub name: Arc<str>,
    /// How the record names the caller.
    pub by: Cause,
}

impl Caller {
    /// The same caller, asking by this request.
    #[must_use]
    pub fn by_request(mut self, origin: Option<Arc<Origin>>) -> Self {
        self.by = self.by.by_request(origin);
        self
    }
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlPlane")
    }
}

impl ControlPlane {
    /// Starts every actor over `store` and opens what has work.
    ///
    /// # Errors
    /// When the configuration cannot work, or the store cannot be opened.
    pub async fn start(store: Arc<dyn Store>, options: Options) -> Result<Self, BootError> {
        options.config.check()?;
        let clock = options.clock.clone().unwrap_or_else(Clock::real);
        let admin = options.admin_token.clone();
        let master = master_key::of(store.as_ref(), options.master_key.clone()).await?;
        let plane = Self { shared: Arc::new(boot(store, options, clock, master).await?) };
        plane.ensure_signer().await?;
        plane.ensure_default_org().await?;
        plane.ensure_signing_key().await?;
        if let Some(AdminToken(text)) = admin {
            plane.ensure_admin_token(&text).await?;
        }
        Ok(plane)
    }

    /// Checks an operator's token.
    ///
    /// # Errors
    /// When it is not known, or has ended.
    pub fn authenticate(&self, token: &str) -> Result<Caller, Error> {
        let now = self.shared.clock.wall_us();
        let Some(token) = self.shared.principals.token(token, now) else {
            let detail = "the bearer token is not known, was revoked or has expired";
            return Err(Refusal::new(Kind::Unauthenticated, "bad_token", detail).into());
        };
        let by = Cause::of(format!("token:{}", token.id));
        let name = token.name.as_str().into();
        Ok(Caller { token: token.id, role: token.role, org: token.org, name, by })
    }

    /// The cell of a caller's own organisation.
    pub fn cell_of(&self, caller: &Caller) -> Option<CellId> {
        let known = self.shared.principals.org(caller.org?)?;
        Some(known.org.cell())
    }

    /// The way into one organisation for a caller. A system token reaches every organisation, by default the
    /// one named `default`; an organisation's own token only its own, whatever is asked for.
    ///
    /// # Errors
    /// When there is no such organisation for this caller, or its cell does not run.
    pub async fn operator(&self, caller: &Caller, org: Option<OrgId>) -> Result<Operator, Error> {
        let principals = &self.shared.principals;
        let known = match (caller.org, org) {
            (Some(own), asked) if asked.is_none_or(|asked| asked == own) => principals.org(own),
            (Some(_), _) => None,
            (None, Some(asked)) => principals.org(asked),
            (None, None) => principals.org_named(DEFAULT_ORG),
        };
        let known = known.ok_or_else(|| Refusal::not_found("organisation"))?;
        self.cell(&known).await?;
        Ok(Operator::new(self.clone(), known, caller))
    }

    /// Whether requests can be served: the store takes writes and the directory runs.
    ///
    /// # Errors
    /// Says what is missing.
    pub async fn readiness(&self) -> Result<(), Error> {
        self.accepting()?;
        self.shared
            .store
            .ping()
            .await
            .map_err(|error| Error::Unavailable(format!("store: {error}")))?;
        if self.shared.directory.is_alive() {
            return Ok(());
        }
        Err(Error::Unavailable("the directory is starting or halted".to_owned()))
    }

    /// Organisations that are down on this server until somebody intervenes, by the number of their cell, and why.
    pub fn halted(&self) -> Vec<(CellId, String)> {
        let mut halted = self.shared.cells.halted();
        halted.sort_unstable();
        halted
    }

    /// Every actor with its state, queue and restarts.
    pub fn observe(&self) -> Vec<Snapshot> {
        self.shared.system.observe()
    }

    /// Commands in flight and their bytes.
    pub fn permits(&self) -> fleetward_runtime::Usage {
        self.shared.permits.in_use()
    }

    /// The limits and terms in force.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The clock that everything goes by.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// What the actors run in: owns background tasks of the gateway.
    pub fn system(&self) -> &System {
        &self.shared.system
    }

    /// What is stored where.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Stops in order, from the edge inwards: queues are worked off, the journal writes what it has.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        self.note_all_refused().await;
        self.shared.system.drain(deadline).await
    }

    /// The cell of an organisation, started if it is not running.
    async fn cell(&self, known: &KnownOrg) -> Result<OrgCell, Error> {
        self.shared.cells.get_or_start(known.org.cell()).await.map_err(|error| match error {
            StartError::Unavailable(why) => Error::Unavailable(why),
            StartError::Failed(why) | StartError::Halt(why) => {
                Error::Unavailable(format!("organisation {} is halted: {why}", known.org.name))
            }
        })
    }

    /// From the first failed write until one succeeds, nothing new is taken in.
    fn accepting(&self) -> Result<(), Error> {
        if self.shared.outage.is_down() {
            return Err(Error::Unavailable("the store does not take writes".to_owned()));
        }
        Ok(())
    }

    /// Lets a worker in, if it was not since this server started.
    fn admit(&self, worker: &Presence) -> Result<(), Error> {
        if !worker.is_admitted() {
            self.admit_one()?;
            worker.admit();
        }
        Ok(())
    }

    /// Takes the place of one worker among those that are let in.
    fn admit_one(&self) -> Result<(), Error> {
        self.shared.admission.take(self.shared.clock.now()).map_err(|turn| {
            metrics::counter!("fleetward_admissions_refused_total").increment(1);
            Error::Crowded(turn)
        })
    }

    /// Room for one command from outside.
    fn permit(&self, cell: CellId, bytes: usize) -> Result<Permit, Error> {
        self.accepting()?;
        Ok(self.shared.permits.take(&cell, bytes)?)
    }
}

async fn boot(
    store: Arc<dyn Store>,
    options: Options,
    clock: Clock,
    master: MasterKey,
) -> Result<Shared, StartError> {
    let config = Arc::new(options.config);
    let outage = Arc::new(Outage::default());
    let progress = Arc::new(Progress::new());
    let principals = Arc::new(Principals::default());
    let signers = Arc::new(Signers::default());
    let journal_address = Address::new("journal");
    let projector_address = Address::new("projector");
    let directory = Address::new("directory");
    let system_positions = Arc::new(Positions::default());
    let projector = projector::Handle::new(projector_address.clone());
    let notifier =
        Notifier::new(options.outbound, store.clone(), principals.clone(), clock.clone());
    let notifier = Arc::new(notifier);
    let ground = Ground {
        store: store.clone(),
        journal: journal::Handle::new(journal_address.clone(), outage.clone()),
        projector: projector.clone(),
        progress: progress.clone(),
        notifier: notifier.clone(),
        principals: principals.clone(),
        config: config.clone(),
    };
    let cells = ground.cells();
    let journal_args = journal::Args {
        store: store.clone(),
        projector: projector_address.clone(),
        outage: outage.clone(),
        config: config.clone(),
    };
    let projector_args = projector::Args { store: store.clone(), progress, config: config.clone() };
    let followers =
        ground.supervisor(Strategy::OneForOne).child(ChildSpec::actor::<projector::State>(
            "projector",
            projector_address,
            projector_args,
        ));
    let reencryptor = Address::new("reencryptor");
    let reencryptor_args = reencryptor::Args {
        directory: directory.clone(),
        principals: principals.clone(),
        cells: cells.clone(),
        store: store.clone(),
        projector: projector.clone(),
    };
    let opener_args = opener::Args { cells: cells.clone(), principals: principals.clone() };
    let warden_args = warden::Args {
        cells: cells.clone(),
        principals: principals.clone(),
        directory: directory.clone(),
        notifier: notifier.clone(),
        config: config.clone(),
    };
    let tree = SupervisorSpec::new(Strategy::RestForOne)
        .budget(config.budget)
        .backoff(config.backoff)
        .exhausted(Exhausted::Escalate)
        .child(ChildSpec::actor::<journal::State>("journal", journal_address, journal_args))
        .child(ChildSpec::supervisor("followers", followers))
        .child(ChildSpec::supervisor(
            "directory",
            system_cell(&ground, &directory, &system_positions, (&principals, &signers, &master)),
        ))
        .child(ChildSpec::family("cells", &cells))
        .child(ChildSpec::actor::<opener::State>("opener", Address::new("opener"), opener_args))
        .child(ChildSpec::actor::<reencryptor::State>(
            "reencryptor",
            reencryptor.clone(),
            reencryptor_args,
        ))
        .child(ChildSpec::actor::<warden::State>("warden", Address::new("warden"), warden_args));
    let runtime = fleetward_runtime::Options { clock: clock.clone(), faults: options.faults };
    let system = System::start("system", tree, runtime).await?;
    let permits = Permits::new(PermitLimits {
        count: config.commands,
        bytes: config.command_bytes,
        share_count: config.commands_per_org,
        share_bytes: config.command_bytes_per_org,
    });
    let admission = Admission::new(config.admit_per_second, clock.now());
    Ok(Shared {
        system,
        clock,
        config,
        store,
        outage,
        cells,
        directory,
        system_positions,
        principals,
        reencryptor,
        signers,
        projector,
        notifier,
        permits,
        master,
        watch: watch::Watch::default(),
        admission,
    })
}

/// The cell of the directory: a keeper and the directory itself.
fn system_cell(
    ground: &Ground,
    directory: &Address<directory::Message>,
    positions: &Arc<Positions>,
    (principals, signers, master): (&Arc<Principals>, &Arc<Signers>, &MasterKey),
) -> SupervisorSpec {
    let address = Address::new("directory keeper");
    let args = directory::Args {
        keeper: keeper::Handle::new(address.clone()),
        principals: principals.clone(),
        master: master.clone(),
        signers: signers.clone(),
    };
    let keeper_args = ground.keeper(SYSTEM_CELL, positions, None);
    ground
        .supervisor(Strategy::OneForAll)
        .child(ChildSpec::actor::<keeper::State>("keeper", address, keeper_args))
        .child(ChildSpec::actor::<directory::State>("directory", directory.clone(), args))
}
