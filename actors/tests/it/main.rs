//! The actors over the memory store, in paused time.
#![allow(missing_docs, clippy::unwrap_used)]

mod anomaly;
mod batches;
mod crashes;
mod drops;
mod fencing;
mod fixture;
mod folds;
mod functions;
mod halting;
mod leases;
mod life;
mod model;
mod notifying;
mod outage;
mod retention;
mod rotation;
mod runs;
mod schedules;
mod sleepers;
mod sticky;
mod watchdog;
