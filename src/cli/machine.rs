//! What this machine, or the container around the process, allows.

use std::path::{Path, PathBuf};

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::output::Output;
use heirloom::store::{Cache, LIMIT};

/// An environment variable that a policy names.
pub(super) fn variable(name: &str) -> Result<String, std::env::VarError> {
    std::env::var(name)
}

/// As asked, or as many as the machine or the container's quota allows (the standard library reads control groups).
pub(super) fn threads(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from)
}

/// Bytes of memory that a run may use: as asked, or three quarters of what the machine or the container has, because others are there
/// too. `None` where that is not known.
pub(super) fn budget(asked: Option<u64>) -> Option<u64> {
    asked.or_else(|| memory().map(|bytes| bytes / 4 * 3))
}

/// Bytes of memory that the machine has, or the container's limit where that is less. `None` where neither is known.
pub(super) fn memory() -> Option<u64> {
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram())).ok()?;
    let limits = [Some(system.total_memory()), system.cgroup_limits().map(|limits| limits.total_memory)];
    limits.into_iter().flatten().filter(|bytes| *bytes > 0).min()
}

/// The folder that was asked for, else that of `HEIRLOOM_CACHE` (`off`: none), else the user's.
pub(super) fn cache_folder(asked: Option<&Path>) -> Option<PathBuf> {
    let named = std::env::var_os("HEIRLOOM_CACHE").filter(|folder| !folder.is_empty());
    if asked.is_none() && named.as_ref().is_some_and(|named| named == "off") {
        return None;
    }
    let users = || dirs::cache_dir().map(|folder| folder.join("heirloom"));
    asked.map(Path::to_owned).or(named.map(PathBuf::from)).or_else(users)
}

/// The cache in that folder, if there is one. A folder that cannot be used costs time and nothing else: it is said, and the run goes on
/// without.
pub(super) fn cache(asked: Option<&Path>, out: &Output) -> Option<Cache> {
    let folder = cache_folder(asked)?;
    match Cache::open(&folder, LIMIT) {
        Ok(cache) => Some(cache),
        Err(error) => {
            out.remark(&format!("warning: nothing is kept for later runs: {}: {error}", folder.display()));
            None
        }
    }
}
