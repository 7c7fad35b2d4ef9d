//! Ctrl-C and termination: the first asks the run to end in good order, the second ends it at once. So does the first where nothing asks for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::failure::{Broken, Failure};
use super::output::say;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Whether the run asks between its steps, and whether it was told.
static ASKED: AtomicBool = AtomicBool::new(false);
static TOLD: AtomicBool = AtomicBool::new(false);

/// How long a run that asks may take for one step before it is ended all the same, and one that has not asked yet.
const STEP: Duration = Duration::from_mins(1);
const BEGINNING: Duration = Duration::from_secs(3);

/// Whether the user wants the run to end; the engine asks between steps.
pub fn requested() -> bool {
    ASKED.store(true, Ordering::Relaxed);
    let requested = INTERRUPTED.load(Ordering::Relaxed);
    if requested {
        TOLD.store(true, Ordering::Relaxed);
    }
    requested
}

/// Whether the user wanted the run to end, and it came to its own end without having asked.
pub(super) fn unheard() -> bool {
    INTERRUPTED.load(Ordering::Relaxed) && !TOLD.load(Ordering::Relaxed)
}

/// Listens for Ctrl-C and termination, once per process.
pub(super) fn listen(quiet: bool) -> Result<(), Failure> {
    ctrlc::set_handler(move || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            end();
        }
        // This thread waits for the second signal; and a terminal that takes no more text must not keep the run.
        let watch = std::thread::Builder::new().spawn(watch);
        if !quiet {
            let _ = std::thread::Builder::new().spawn(|| say("interrupted: it ends after this step; Ctrl-C again ends it at once"));
        }
        if watch.is_err() {
            end();
        }
    })
    .map_err(|error| Broken::on("cannot listen for Ctrl-C")(error).into())
}

/// Ends a run that is not told: what it waits for may never come, such as a library that does not finish loading.
fn watch() {
    std::thread::sleep(if ASKED.load(Ordering::Relaxed) { STEP } else { BEGINNING });
    if !TOLD.load(Ordering::Relaxed) {
        end();
    }
}

fn end() -> ! {
    // Reports and cache entries are renamed into place when whole: nothing is left half-written.
    #[expect(clippy::disallowed_methods, reason = "the main thread may be blocked, and cannot return a code")]
    std::process::exit(130)
}
