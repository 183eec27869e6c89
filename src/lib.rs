//! Fleetward.
