//! The command line of heirloom; all of it is in [`heirloom::cli`].

use std::process::ExitCode;

/// Training asks for and drops the same large buffers at every step; the system's allocator gives each back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    heirloom::cli::main()
}
