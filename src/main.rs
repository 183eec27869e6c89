//! The one binary. What it does is in [`cli`].

mod cli;

use std::process::ExitCode;

/// Small and short-lived allocations on many threads are most of what a server does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
