//! The fleet of one organisation: keys, workers, tasks, and the connections between them.

pub mod alert;
pub mod alerts;
pub mod anomaly;
pub mod cell;
pub mod certificate;
pub mod connection;
pub mod credentials;
pub mod dispatcher;
pub mod fingerprint;
pub mod input;
pub mod janitor;
pub mod key;
pub mod models;
pub mod policy;
pub mod presence;
pub mod probes;
pub mod public_key;
pub mod registry;
pub mod sink;
pub mod suspicion;
pub mod task;
pub mod watch;
pub mod worker;
