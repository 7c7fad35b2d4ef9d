//! The command line of heirloom; all of it is in [`cli`].

mod cli;

use std::process::ExitCode;

/// Training asks for and drops the same large buffers at every step; the system's allocator gives each back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

#[allow(unsafe_code)]
fn main() -> ExitCode {
    // A file that may not grow further (`ulimit -f`) is an error of writing it, which reports can tell of, and not the end.
    #[cfg(unix)]
    // SAFETY: ignoring a signal installs no handler, and there is no second thread yet. A worker inherits it.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
    // Memory once used is kept: having the system clear it anew at every step costs a fifth of the time of training a transformer.
    // SAFETY: this sets a number in the allocator's table of options, before there is a second thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    cli::main()
}
