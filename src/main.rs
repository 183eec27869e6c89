//! The one binary. What it does is in [`cli`].

mod cli;

use std::process::ExitCode;

/// Small and short-lived allocations on many threads are most of what a server does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First, so that nobody asks before: it can only fail where it was done already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::main()
}
