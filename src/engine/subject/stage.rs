//! A stage of a run: what it says, and what it cost.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use crate::engine::wording::Step;
use crate::engine::{EngineError, Event};
use crate::report::Stage;

/// What a stage says of itself.
pub(super) struct Done {
    pub summary: String,
    /// What of it an earlier run had kept.
    pub kept: usize,
}

/// Runs a stage, announces its end with what it says of itself, and notes what it cost; `seen` counts images meanwhile.
pub(super) fn timed<T>(
    (step, name): (Step, String),
    seen: &Rc<Cell<u64>>,
    emit: &mut dyn FnMut(Event),
    stages: &mut BTreeMap<Step, Stage>,
    work: impl FnOnce(&mut dyn FnMut(Event)) -> Result<(T, Done), EngineError>,
) -> Result<T, EngineError> {
    let seen = Rc::clone(seen);
    let (clock, before) = (Instant::now(), seen.get());
    let (result, done) = work(emit)?;
    let seconds = clock.elapsed().as_secs_f64();
    let stage = stages.entry(step).or_default();
    stage.seconds += seconds;
    stage.images += seen.get() - before;
    stage.rate = stage.images as f64 / stage.seconds.max(f64::MIN_POSITIVE);
    stage.kept += done.kept;
    stage.peak_memory = peak_memory();
    let summary = match done.summary {
        summary if summary.is_empty() && seconds >= 1.0 => format!("{:.0} images a second", (seen.get() - before) as f64 / seconds),
        summary => summary,
    };
    emit(Event::StageEnd { stage: name, summary, seconds });
    Ok(result)
}

/// The most bytes of memory that this process has held, where the system says.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}
