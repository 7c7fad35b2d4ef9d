//! What stages, plans and durations are called.

use crate::data;
use crate::plan::{Plan, Tuning};
use crate::probe::Arm;
use crate::tune::Mode;

/// The name of what is done once for an arm's frozen backbone.
pub(super) fn features_name(arm: Arm) -> String {
    format!("{} features", arm.name())
}

pub(super) fn describe(plan: &Plan) -> String {
    let c = &plan.counts;
    format!(
        "{} finding{}, {} + {} pictures ({} clusters), about {} (up to {} if a second look is needed)",
        plan.findings.len(),
        if plan.findings.len() == 1 { "" } else { "s" },
        c.train,
        c.test,
        c.test_clusters,
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
