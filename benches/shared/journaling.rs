//! The journaling actor alone, without the rest of the control plane.

use std::sync::Arc;

use fleetward_actors::Config;
use fleetward_actors::journal::{self, CellLog, Outage, Positions};
use fleetward_runtime::{Address, ChildSpec, Options, Strategy, SupervisorSpec, System};
use fleetward_store::{CellId, Store};

/// The journaling actor over a store, and the log of one cell.
pub(crate) async fn start(store: Arc<dyn Store>) -> (CellLog, System) {
    let outage = Arc::new(Outage::default());
    let address = Address::new("journal");
    let args = journal::Args {
        store,
        projector: Address::new("nobody"),
        outage: outage.clone(),
        config: Arc::new(Config::default()),
    };
    let child = ChildSpec::actor::<journal::State>("journal", address.clone(), args);
    let tree = SupervisorSpec::new(Strategy::OneForOne).child(child);
    let system = System::start("bench", tree, Options::default()).await.unwrap();
    let handle = journal::Handle::new(address, outage);
    let positions = Arc::new(Positions::default());
    let log = handle.open(CellId(1), Address::new("nobody"), positions).await.unwrap();
    (log, system)
}
