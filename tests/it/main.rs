//! Stories over the real binary, real HTTP, real PostgreSQL and SQLite, and kill -9.
#![allow(missing_docs, clippy::unwrap_used)]

mod admission;
mod agents;
mod alerts;
mod audit;
// It takes a minute of doing nothing, and its name lets it begin first.
mod calm;
mod canaries;
mod crash;
mod crowd;
mod demo;
mod dispatch;
mod examples;
mod fencing;
mod fixture;
mod functions;
mod halting;
mod in_process;
mod joining;
mod late;
mod leaving;
mod mistakes;
mod organisations;
mod orphans;
mod outage;
mod probing;
mod python_worker;
mod rotation;
mod schedules;
mod sealing;
mod settings;
mod sleepers;
mod task_tokens;
mod tls;
mod workflow_lint;
mod workflows;
