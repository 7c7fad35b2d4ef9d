//! How much of a plan earlier runs have done already.

use super::subject::Bench;
use super::task::Task;
use super::{EngineError, Settings};
use crate::plan::{Kept, Plan};

/// What the cache keeps of a plan, and the seconds that are left. Networks of fresh weights that are frozen are not looked up: making them takes long.
pub(crate) fn kept(settings: &Settings, task: &Task, plan: &Plan) -> Result<Kept, EngineError> {
    let bench = Bench::new(settings, (task, &[]), settings.stop)?;
    let mut kept = Kept { fine_tunes: 0, of: 0, seconds: [0.0; 2] };
    for job in plan.jobs.iter().filter(|job| job.possible) {
        kept.of += job.seeds.most;
        kept.fine_tunes += job.seeds.most - bench.missing(job, 2);
        if !settings.resolved.may_be_spared(job.tuning) {
            kept.seconds[0] += bench.seconds_to(job, 1);
        }
        kept.seconds[1] += bench.seconds_to(job, 2) + bench.seconds_under_spared(job);
    }
    Ok(kept)
}
