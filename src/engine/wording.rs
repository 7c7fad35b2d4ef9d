//! What stages, plans and durations are called.

use crate::plan::{Plan, Tuning};
use crate::probe::Arm;
use crate::tune::Mode;
use crate::{data, diag};

/// What is to be said of a plan's time where there is a cache.
pub const KEPT: &str = "less where the cache keeps fine-tunes or features of earlier runs";

/// The name of what is done once for an arm's frozen backbone.
pub(super) fn features_name(arm: Arm) -> String {
    format!("{} features", arm.name())
}

/// A plan in one line. What `cache` keeps is known job by job, when each begins.
pub(super) fn describe(plan: &Plan, cache: bool) -> String {
    let c = &plan.counts;
    let kept = if cache { format!("; {KEPT}") } else { String::new() };
    format!(
        "{}, {} + {} pictures ({}), about {} (up to {} if a second look is needed){kept}",
        diag::count(plan.findings.len(), "finding"),
        c.train,
        c.test,
        diag::count(c.test_clusters, "cluster"),
        duration(plan.seconds[0]),
        duration(plan.seconds[1])
    )
}

/// Seconds for people.
pub fn duration(seconds: f64) -> String {
    match seconds.round() as u64 {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        s => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// The name of fine-tunes, for people; `views` are those of [`crate::plan::views`].
pub fn stage_name(views: &[Option<data::Rebalance>], tuning: Tuning) -> String {
    let what = match (tuning.arm, tuning.mode) {
        (Arm::Scratch, _) => "from scratch".into(),
        (arm, Mode::FixedFeature) => format!("{}, fixed features", arm.name()),
        (arm, Mode::FullNetwork) => format!("{}, full network", arm.name()),
    };
    match views.get(tuning.view) {
        Some(Some(rebalance)) => format!("{what}, {rebalance}"),
        _ => what,
    }
}
