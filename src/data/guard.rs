//! Panics of other people's readers on damaged files, made errors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`guarded`].
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// What `read` gives, or nothing where code outside this crate panicked in it: a damaged file is no reason for a backtrace. A panic of our own
/// is a bug, and stays one.
pub(super) fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !(INSIDE.get() && is_foreign(panic)) {
                before(panic);
            }
        }));
    });
    let outer = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    INSIDE.set(outer);
    result.ok()
}

/// Whether the place of a panic is in another crate.
fn is_foreign(panic: &PanicHookInfo) -> bool {
    let ours = file!().trim_end_matches("guard.rs").trim_end_matches(['/', '\\']).trim_end_matches("data");
    panic.location().is_some_and(|place| !place.file().starts_with(ours))
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn what_is_read_comes_back_and_a_panic_is_nothing() {
        assert_eq!(guarded(|| 3), Some(3));
        // Of the standard library, as readers have them.
        let empty: [u8; 0] = [];
        assert_eq!(guarded(|| Vec::from(empty).swap_remove(0)), None);
        assert_eq!(guarded(|| 4), Some(4));
    }
}
