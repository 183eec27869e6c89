//! The edge over real sockets, in front of a control plane on the memory store.
#![allow(missing_docs, clippy::unwrap_used)]

mod bad_input;
mod claims;
mod drains;
mod identity;
mod life;
mod limits;
mod older_client;
mod server;
mod visible;
