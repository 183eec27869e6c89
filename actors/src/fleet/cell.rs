//! The cell of one organisation: its supervised subtree, and what callers hold of it. No path leads from one
//! cell to another.

pub mod keeper;

use std::sync::Arc;

use fleetward_runtime::{
    Address, ChildSpec, Exhausted, Family, FamilySpec, Restart, Strategy, SupervisorSpec,
};
use fleetward_store::{CellId, Store};

use super::alerts::{self, courier, notifier::Notifier};
use super::anomaly;
use super::connection::{self, Connections};
use super::credentials::Credentials;
use super::models::ModelNames;
use super::{dispatcher, janitor, registry};
use crate::config::Config;
use crate::id::{RunId, WorkerId};
use crate::journal::{self, Positions};
use crate::projector::{self, Progress};
use crate::schedules::scheduler;
use crate::system::principals::Principals;
use crate::workflows::conductor::{self, Runs, Siblings};
use crate::workflows::nursery::Nursery;
use crate::workflows::shelf::Shelf;
use crate::workflows::{catalogue, clockwork};

/// The cells of this server, by number.
pub type Cells = Family<CellId, OrgCell>;

/// What the cells are made from.
#[derive(Clone)]
pub struct Ground {
    /// Where they are read.
    pub store: Arc<dyn Store>,
    /// Where they are written.
    pub journal: journal::Handle,
    /// Follows them.
    pub projector: projector::Handle,
    /// How far each has come.
    pub progress: Arc<Progress>,
    /// Takes alerts out of the process.
    pub notifier: Arc<Notifier>,
    /// Who the organisations are, with their keys.
    pub principals: Arc<Principals>,
    /// Limits and terms.
    pub config: Arc<Config>,
}

/// What callers hold of a cell. Outlives the lives of its actors.
#[derive(Debug, Clone)]
pub struct OrgCell {
    /// Its number.
    pub cell: CellId,
    /// Keys and workers.
    pub registry: Address<registry::Message>,
    /// Tasks.
    pub dispatcher: Address<dispatcher::Message>,
    /// Alerts and sinks.
    pub alerts: Address<alerts::Message>,
    /// Workers' connections.
    pub connections: Connections,
    /// What requests of workers are checked against.
    pub credentials: Arc<Credentials>,
    /// What names of models are read by.
    pub models: Arc<ModelNames>,
    /// Workflows and their runs.
    pub workflows: Workflows,
    /// Deletes what is kept long enough.
    pub janitor: Address<janitor::Message>,
    /// How far it has come.
    pub positions: Arc<Positions>,
}

/// What callers hold of an organisation's workflows.
#[derive(Debug, Clone)]
pub struct Workflows {
    /// Takes new definitions.
    pub catalogue: Address<catalogue::Message>,
    /// What is in it.
    pub shelf: Arc<Shelf>,
    /// Conductors of runs.
    pub runs: Runs,
    /// Where runs that are about to be started are announced.
    pub nursery: Arc<Nursery>,
    /// Starts runs by itself.
    pub scheduler: Address<scheduler::Message>,
}

impl Ground {
    /// The family of cells. A cell that spends its budget halts; the others notice nothing.
    pub fn cells(&self) -> Cells {
        let ground = self.clone();
        let (budget, backoff) = (self.config.budget, self.config.backoff);
        let spec = FamilySpec { budget, backoff, exhausted: Exhausted::Halt };
        Family::new(spec, move |cell| ground.cell(*cell))
    }

    /// What starts the keeper of a cell; `alarm` is told of the alerts that its events raise.
    pub fn keeper(
        &self,
        cell: CellId,
        positions: &Arc<Positions>,
        alarm: Option<Address<alerts::Message>>,
    ) -> keeper::Args {
        keeper::Args {
            cell,
            journal: self.journal.clone(),
            store: self.store.clone(),
            positions: positions.clone(),
            progress: self.progress.clone(),
            projector: self.projector.clone(),
            alarm,
            fate: keeper::Fate::default(),
        }
    }

    /// The supervisor of a cell: any crash in its core ends the life of all of it, and any crash at all
    /// stays in it.
    pub fn supervisor(&self, strategy: Strategy) -> SupervisorSpec {
        SupervisorSpec::new(strategy)
            .budget(self.config.budget)
            .backoff(self.config.backoff)
            .exhausted(Exhausted::Halt)
    }

    fn cell(&self, cell: CellId) -> (OrgCell, ChildSpec) {
        let positions = Arc::new(Positions::default());
        let (credentials, models) = (Arc::<Credentials>::default(), Arc::<ModelNames>::default());
        let keeper_address = Address::new(format!("cell {cell} keeper"));
        let keeper = keeper::Handle::new(keeper_address.clone());
        let registry = Address::new(format!("cell {cell} registry"));
        let dispatcher = Address::new(format!("cell {cell} dispatcher"));
        let anomaly = Address::new(format!("cell {cell} anomaly"));
        let connections = self.connections(cell, &keeper, &registry, &dispatcher);
        let registry_args = registry::Args {
            keeper: keeper.clone(),
            dispatcher: dispatcher.clone(),
            connections: connections.clone(),
            credentials: credentials.clone(),
            models: models.clone(),
            anomaly: anomaly.clone(),
            config: self.config.clone(),
        };
        let anomaly_args = anomaly::Args {
            dispatcher: dispatcher.clone(),
            registry: registry.clone(),
            credentials: credentials.clone(),
            outage: self.journal.outage().clone(),
            config: self.config.clone(),
        };
        let alerts_keeper = keeper.clone();
        let (workflows, staff) = self.workflows(cell, &keeper, &dispatcher, &models);
        let dispatcher_args = dispatcher::Args {
            keeper,
            registry: registry.clone(),
            connections: connections.clone(),
            anomaly: anomaly.clone(),
            runs: workflows.runs.clone(),
            config: self.config.clone(),
            cell: cell.to_string(),
        };
        let alerts = Address::new(format!("cell {cell} alerts"));
        let courier = Address::new(format!("cell {cell} courier"));
        let alerts_args = alerts::Args { keeper: alerts_keeper, courier: courier.clone() };
        let courier_args = self.courier(cell, &alerts);
        let keeper_args = self.keeper(cell, &positions, Some(alerts.clone()));
        let janitor = Address::new(format!("cell {cell} janitor"));
        let janitor_args = janitor::Args {
            cell,
            keeper: alerts_args.keeper.clone(),
            registry: registry.clone(),
            dispatcher: dispatcher.clone(),
            runs: workflows.runs.clone(),
            store: self.store.clone(),
            projector: self.projector.clone(),
            config: self.config.clone(),
        };
        let spec = self
            .supervisor(Strategy::OneForAll)
            .child(ChildSpec::actor::<keeper::State>("keeper", keeper_address, keeper_args))
            .child(ChildSpec::actor::<registry::State>("registry", registry.clone(), registry_args))
            .child(ChildSpec::actor::<dispatcher::State>(
                "dispatcher",
                dispatcher.clone(),
                dispatcher_args,
            ))
            .child(ChildSpec::actor::<alerts::State>("alerts", alerts.clone(), alerts_args))
            .child(ChildSpec::family("connections", &connections))
            .children(staff)
            .child(ChildSpec::supervisor(
                "watch",
                self.watch((anomaly, anomaly_args), (courier, courier_args)).child(
                    ChildSpec::actor::<janitor::State>("janitor", janitor.clone(), janitor_args),
                ),
            ));
        let handle = OrgCell {
            cell,
            registry,
            dispatcher,
            alerts,
            connections,
            credentials,
            models,
            workflows,
            janitor,
            positions,
        };
        (handle, ChildSpec::supervisor(cell.to_string(), spec))
    }

    /// The catalogue of workflows, the conductors of runs, and what starts those.
    fn workflows(
        &self,
        cell: CellId,
        keeper: &keeper::Handle,
        dispatcher: &Address<dispatcher::Message>,
        models: &Arc<ModelNames>,
    ) -> (Workflows, Vec<ChildSpec>) {
        let shelf = Arc::<Shelf>::default();
        let nursery = Arc::new(Nursery::new(self.config.used_ids_after));
        let siblings = Siblings::default();
        let clockwork = Address::new(format!("cell {cell} clockwork"));
        let scheduler = Address::new(format!("cell {cell} scheduler"));
        let args = conductor::Args {
            run: RunId::none(),
            cell,
            keeper: keeper.clone(),
            dispatcher: dispatcher.clone(),
            scheduler: scheduler.clone(),
            runs: siblings.clone(),
            clockwork: clockwork.clone(),
            nursery: nursery.clone(),
            shelf: shelf.clone(),
            models: models.clone(),
            principals: self.principals.clone(),
            store: self.store.clone(),
            projector: self.projector.clone(),
            config: self.config.clone(),
        };
        let (budget, backoff) = (self.config.budget, self.config.backoff);
        let spec = FamilySpec { budget, backoff, exhausted: Exhausted::Halt };
        let runs = Family::new(spec, move |run: &RunId| {
            let address = Address::new(format!("cell {cell} run {run}"));
            let args = conductor::Args { run: run.clone(), ..args.clone() };
            let child = ChildSpec::actor::<conductor::State>("run", address.clone(), args);
            (address, child.restart(Restart::Transient))
        });
        // The first and only time: this cell is made once.
        let _ = siblings.set(runs.clone());
        let catalogue = Address::new(format!("cell {cell} catalogue"));
        let catalogue_args = catalogue::Args { keeper: keeper.clone(), shelf: shelf.clone() };
        let clockwork_args = clockwork::Args {
            cell,
            keeper: keeper.clone(),
            store: self.store.clone(),
            projector: self.projector.clone(),
            nursery: nursery.clone(),
            runs: runs.clone(),
        };
        let scheduler_args = scheduler::Args {
            cell,
            keeper: keeper.clone(),
            runs: runs.clone(),
            shelf: shelf.clone(),
            principals: self.principals.clone(),
            store: self.store.clone(),
            config: self.config.clone(),
        };
        let staff = vec![
            ChildSpec::actor::<catalogue::State>("catalogue", catalogue.clone(), catalogue_args),
            ChildSpec::family("runs", &runs),
            ChildSpec::actor::<clockwork::State>("clockwork", clockwork, clockwork_args),
            ChildSpec::actor::<scheduler::State>("scheduler", scheduler.clone(), scheduler_args),
        ];
        (Workflows { catalogue, shelf, runs, nursery, scheduler }, staff)
    }

    /// Those that own no events: a crash of one restarts it alone.
    fn watch(
        &self,
        (anomaly, anomaly_args): (Address<anomaly::Message>, anomaly::Args),
        (courier, courier_args): (Address<courier::Message>, courier::Args),
    ) -> SupervisorSpec {
        self.supervisor(Strategy::OneForOne)
            .child(ChildSpec::actor::<anomaly::State>("anomaly", anomaly, anomaly_args))
            .child(ChildSpec::actor::<courier::State>("courier", courier, courier_args))
    }

    fn courier(&self, cell: CellId, alerts: &Address<alerts::Message>) -> courier::Args {
        let (notifier, config) = (self.notifier.clone(), self.config.clone());
        courier::Args { cell, alerts: alerts.clone(), notifier, config }
    }

    fn connections(
        &self,
        cell: CellId,
        keeper: &keeper::Handle,
        registry: &Address<registry::Message>,
        dispatcher: &Address<dispatcher::Message>,
    ) -> Connections {
        let args = connection::Args {
            worker: WorkerId(uuid::Uuid::nil()),
            keeper: keeper.clone(),
            registry: registry.clone(),
            dispatcher: dispatcher.clone(),
            outage: self.journal.outage().clone(),
            config: self.config.clone(),
        };
        let (budget, backoff) = (self.config.budget, self.config.backoff);
        let spec = FamilySpec { budget, backoff, exhausted: Exhausted::Halt };
        Family::new(spec, move |worker: &WorkerId| {
            let address = Address::new(format!("cell {cell} connection {worker}"));
            let args = connection::Args { worker: *worker, ..args.clone() };
            let child = ChildSpec::actor::<connection::State>("connection", address.clone(), args);
            (address, child.restart(Restart::Transient))
        })
    }
}
