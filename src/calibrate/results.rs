//! What a calibration found, as it is kept and published.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gate::Verdict;
use crate::stats::Interval;
use crate::tune::Mode;

/// What a calibration found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// By mode: overall, by trigger family, by architecture, by rule.
    pub slices: Vec<Slice>,
    /// By mode: how often clean sources fail, beside the error that the policy states.
    pub alarms: Vec<Alarms>,
    /// By mode: planted sources under rules whose triggers they do not carry.
    pub others: Vec<Others>,
    /// By mode: planted triggers that are not shown to be transferred.
    pub faint: Vec<Faint>,
    /// By mode, where everything was measured at more seeds too: whether verdicts hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreement: Vec<Repeated>,
}

/// What a slice is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// All items.
    All,
    /// Clean sources, and planted ones that carry the very trigger that is probed with. Only where others carry near misses.
    Exact,
    /// Clean sources, and planted ones that carry a near miss of the trigger that is probed with.
    Near,
    /// Rules whose trigger is of this family.
    Family(String),
    /// Sources of this architecture.
    Architecture(String),
    /// This rule.
    Rule(String),
}

/// How well items are told apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// The transfer mode.
    pub mode: Mode,
    /// What it is of.
    pub over: Over,
    /// Planted items.
    pub planted: Side,
    /// Clean items.
    pub clean: Side,
    /// The area under the ROC curve, with a 95% interval that counts sources; absent where one side has no item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc: Option<Rate>,
    /// What is caught where few clean items are called planted.
    pub operating: Vec<Operating>,
    /// The largest clean score: with it as limit no clean item would be above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_none: Option<f64>,
    /// The least limit that at most 5% of the clean items are above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_five_percent: Option<f64>,
    /// The smallest planted score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_planted: Option<f64>,
    /// Planted items that passed.
    pub passed: Vec<Named>,
}

/// The items of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Sources.
    pub sources: usize,
    /// Findings, those without a score included.
    pub findings: usize,
    /// Findings without any control, and so without a score: they enter no curve.
    pub unscored: usize,
    /// Findings that fail.
    pub fail: usize,
    /// Findings that are not settled.
    pub inconclusive: usize,
    /// Findings that pass.
    pub pass: usize,
    /// Findings that could not be judged.
    pub other: usize,
}

/// A finding by its names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The source.
    pub source: String,
    /// The rule.
    pub rule: String,
    /// The answer.
    pub verdict: Verdict,
    /// The score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The excess over the clean counterpart, where it was compared with one.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "over_twin")]
    pub over_counterpart: Option<f64>,
}

/// A rate with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The rate.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Rate {
    pub(super) fn new(value: f64, interval: Interval) -> Self {
        Self { value, low: interval.low, high: interval.high }
    }
}

/// A threshold and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operating {
    /// The false-positive rate that was asked for.
    pub at: f64,
    /// Scores from here on count as planted; absent where no score keeps to the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Share of clean items at or above it.
    pub false_positive: Rate,
    /// Share of planted items at or above it.
    pub true_positive: Rate,
    /// Whether the intervals count sources; else items, because there is only one source of a kind.
    pub clustered: bool,
}

/// How often clean sources fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alarms {
    /// The transfer mode.
    pub mode: Mode,
    /// Share of clean findings that fail; its interval counts sources. Absent with fewer than two clean sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Rate>,
    /// The error of a finding that the policy states, averaged over the clean findings: for effects at the limit, smaller below.
    pub stated_finding: f64,
    /// Share of clean sources with at least one finding that fails.
    pub sources: Rate,
    /// The error of a whole certification in this mode that the policy states.
    pub stated_source: f64,
    /// Clean findings that fail.
    pub failed: Vec<Named>,
}

/// Planted sources under rules whose triggers they do not carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Others {
    /// The transfer mode.
    pub mode: Mode,
    /// All of them.
    pub side: Side,
    /// Those that fail.
    pub failed: Vec<Named>,
}

/// Planted triggers of which comparison with the clean counterpart does not show that they are transferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Faint {
    /// The transfer mode.
    pub mode: Mode,
    /// Planted findings that were compared with a clean counterpart.
    pub compared: usize,
    /// Those whose trigger moves fine-tunes by less than the limit beyond the clean counterpart's.
    pub below: Side,
    /// Those that the seeds do not settle.
    pub open: Side,
    /// Both, one by one.
    pub all: Vec<Named>,
    /// The area under the ROC curve with these among the planted items too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc: Option<Rate>,
}

/// Verdicts at the policy's seeds beside the excess at more seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeated {
    /// The transfer mode.
    pub mode: Mode,
    /// The greatest number of seeds that a finding was measured at again.
    pub seeds: usize,
    /// Findings that fail or pass, of all kinds of sources.
    pub settled: usize,
    /// Findings that are not settled at the policy's seeds.
    pub open: usize,
    /// Share of the settled ones whose excess at more seeds lies on their side of the limit, with the exact interval for findings that are
    /// independent of each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agree: Option<Rate>,
    /// Those on the other side; the score is the one at more seeds.
    pub disagree: Vec<Named>,
}
