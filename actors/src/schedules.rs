//! Schedules: when runs of a workflow start by themselves. What a schedule is ([`schedule`], [`spec`]), when its ticks are
//! ([`calendar`], [`cron`]) and what to do about them ([`policy`]) are pure; the [`scheduler`] of a cell applies them.
//!
//! A tick is an event, and the id of its run follows from schedule and tick: so there is one run for each tick, whatever
//! happens between the two.

pub mod calendar;
pub mod cron;
pub mod policy;
pub mod schedule;
pub mod scheduler;
pub mod spec;
