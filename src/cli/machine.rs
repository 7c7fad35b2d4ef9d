//! What this machine, or the container around the process, allows.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// As asked, or as many as the machine or the container's quota allows (the standard library reads control groups).
pub(super) fn threads(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from)
}

/// Bytes of memory that the machine has, or the container's limit where that is less. `None` where neither is known.
pub(super) fn memory() -> Option<u64> {
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram())).ok()?;
    let limits = [Some(system.total_memory()), system.cgroup_limits().map(|limits| limits.total_memory)];
    limits.into_iter().flatten().filter(|bytes| *bytes > 0).min()
}
