//! What stages, plans and durations are called.

use crate::plan::{Plan, Question, Resolved, Tuning};
use crate::probe::Arm;
use crate::tune::Mode;
use crate::{data, diag};

/// What is to be said of a plan's time where there is a cache.
pub const KEPT: &str = "less where the cache keeps fine-tunes or features of earlier runs";

/// What is left to do where there is a cache.
const ON: &str = "; the same command goes on from what is finished";

/// What a run spends its time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The features of an arm's frozen backbone, once.
    Features(Arm),
    /// Fine-tunes.
    FineTune(Tuning),
    /// What the fine-tunes of a question (an index into [`Resolved::questions`]) do under its shams, where these are needed.
    Shams(usize),
}

impl Step {
    /// Its name, for people.
    pub(super) fn name(self, resolved: &Resolved) -> String {
        match self {
            Self::Features(arm) => format!("{arm} features"),
            Self::FineTune(tuning) => stage_name(&resolved.views, tuning),
            Self::Shams(question) => format!("shams of {}", resolved.questions.get(question).map(Question::id).unwrap_or_default()),
        }
    }
}

/// A plan in one line. What `cache` keeps is known job by job, when each begins.
pub(super) fn describe(plan: &Plan, cache: bool) -> String {
    let c = &plan.counts;
    let kept = if cache { format!("; {KEPT}") } else { String::new() };
    format!(
        "{}, {} + {} images ({}), about {} (up to {} if a second look and every control are needed){kept}",
        diag::count(plan.findings.len(), "finding"),
        c.train,
        c.test,
        diag::count(c.test_clusters, "cluster"),
        duration(plan.seconds[0]),
        duration(plan.seconds[1])
    )
}

/// Why fine-tunes are left out: so many are missing of so many that a look asks for, and take so many seconds more. `kept`: whether the next run
/// finds what is through.
pub(super) fn late(name: &str, look: usize, (missing, all): (usize, usize), seconds: f64, kept: bool) -> String {
    let look = if look > 1 { ", second look" } else { "" };
    let what = match all.saturating_sub(missing) {
        0 => format!("{} need about {}", diag::count(all, "fine-tune"), duration(seconds)),
        there => format!("{there} of {} are there, and the others need about {}", diag::count(all, "fine-tune"), duration(seconds)),
    };
    let on = if kept { ON } else { "" };
    format!("{name}{look}: {what}, which --max-time does not leave{on}")
}

/// Why shams are left out: they take so many seconds. `kept`: whether the next run finds what is through.
pub(super) fn late_shams(name: &str, seconds: f64, kept: bool) -> String {
    let on = if kept { ON } else { "" };
    format!("{name}: they need about {}, which --max-time does not leave{on}", duration(seconds))
}

/// Seconds for people.
pub fn duration(seconds: f64) -> String {
    match seconds.round() as u64 {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        s => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// The name of fine-tunes, for people; `views` are those of [`crate::plan::Resolved`].
pub fn stage_name(views: &[Option<data::Rebalance>], tuning: Tuning) -> String {
    let what = match (tuning.arm, tuning.mode) {
        (Arm::Scratch, _) => "from scratch".into(),
        (arm, Mode::FixedFeature) => format!("{arm}, fixed features"),
        (arm, Mode::FullNetwork) => format!("{arm}, full network"),
    };
    match views.get(tuning.view) {
        Some(Some(rebalance)) => format!("{what}, {rebalance}"),
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use super::late;

    #[test]
    fn what_is_left_out_says_how_much_is_there() {
        assert_eq!(
            late("from scratch", 1, (3, 3), 587.0, false),
            "from scratch: 3 fine-tunes need about 9 min 47 s, which --max-time does not leave"
        );
        assert_eq!(
            late("source, full network", 2, (2, 6), 84.0, true),
            "source, full network, second look: 4 of 6 fine-tunes are there, and the others need about 1 min 24 s, which --max-time does not leave; \
             the same command goes on from what is finished"
        );
    }
}
