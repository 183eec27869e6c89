//! Who starts units, watches them and starts them again.
//!
//! `plan` decides, and is pure; `crew` carries out what it decides on real units; `supervisor` and
//! `family` are the two units that keep others.

mod budget;
mod crew;
mod family;
mod plan;
mod spec;
mod supervisor;

pub use budget::Budget;
pub use family::{Family, FamilySpec};
pub use spec::{ChildSpec, Exhausted, Restart, Strategy, SupervisorSpec};
