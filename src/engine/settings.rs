//! What a certification is run with, and what it ends in.

use super::saved::{Saved, Saver};
use crate::exec::Compute;
use crate::gate::SelfTestOutcome;
use crate::model::Model;
use crate::plan::Resolved;
use crate::probe::Measurement;
use crate::report::{Report, Sheet};
use crate::store::{Cache, MemoryBudget};

/// What a certification is run with.
pub(crate) struct Settings<'a> {
    /// The policy, with what it asks for.
    pub resolved: &'a Resolved<'a>,
    /// The checkpoint under test.
    pub model: &'a Model,
    /// The trusted checkpoints, in the order of the policy.
    pub references: &'a [&'a Model],
    /// Today, `YYYY-MM-DD`: for waivers.
    pub today: &'a str,
    /// Start, seconds since 1970 (UTC).
    pub started: i64,
    /// Verdicts never change the exit code.
    pub report_only: bool,
    /// Seconds that may be spent.
    pub max_seconds: Option<f64>,
    /// Where images and features may be kept.
    pub budget: &'a MemoryBudget,
    /// Whether sample images are wanted.
    pub samples: bool,
    /// Where networks are computed.
    pub compute: &'a Compute,
    /// Where finished fine-tunes are kept, if they are.
    pub cache: Option<&'a Cache>,
    /// How the embedded pair was judged.
    pub self_test: SelfTestOutcome,
    /// Where fine-tunes are saved for the user, if they are.
    pub saver: Option<&'a Saver<'a>>,
    /// Asked between steps: whether to stop now.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// A report with the outcomes it rests on.
pub struct Certified {
    /// The report.
    pub report: Report,
    /// Outcomes per rule, arm and mode.
    pub measurements: Vec<Measurement>,
    /// Sample images per rule, where wanted.
    pub sheets: Vec<Sheet>,
    /// What was saved of its fine-tunes.
    pub saved: Saved,
}
