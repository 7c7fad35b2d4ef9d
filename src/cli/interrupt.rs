//! Ctrl-C: the first asks the run to end in good order, the second ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether the user wants the run to end; the engine asks between steps.
pub fn requested() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Listens for Ctrl-C and termination, once per process.
pub(super) fn listen() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            // Reports and cache entries are renamed into place when whole: nothing is left half-written.
            #[expect(clippy::disallowed_methods, reason = "the user asked twice; the handler's thread cannot return a code from main")]
            std::process::exit(130);
        }
    })
    .context("cannot listen for Ctrl-C")
}
