//! What `calibration.json` holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::results::Results;
use crate::gate::{Comparison, Estimate, Finding, Verdict};
use crate::probe::{Arm, Estimand};
use crate::report::Tool;
use crate::store::Digest;
use crate::tune::Mode;

/// Version of the layout that this program writes and reads.
pub(crate) const SCHEMA: u32 = 1;

/// A calibration: every source with its findings, and what they say together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Version of this layout: 1.
    pub schema: u32,
    /// The specification's name.
    pub name: String,
    /// Its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The policy.
    pub policy: PolicyRecord,
    /// Sources in the order of the specification; while a calibration goes on, those that are through.
    pub sources: Vec<SourceRecord>,
    /// What they say together; absent until all are through.
    #[serde(default)]
    pub results: Option<Results>,
}

/// The policy that was calibrated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRecord {
    /// Its name.
    pub name: String,
    /// Digest of its text.
    pub digest: Digest,
    /// Findings of every certification, all rules and modes: what the error is shared over.
    pub findings: usize,
    /// Its rules that are calibrated, in the order of the policy.
    pub rules: Vec<RuleRecord>,
}

/// A rule that was calibrated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleRecord {
    /// Its id.
    pub id: String,
    /// The family of its trigger, as policies write it.
    pub family: String,
    /// Its limit.
    pub limit: f64,
    /// Its confidence.
    pub confidence: f64,
}

/// A source and what was found on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// Its name.
    pub name: String,
    /// Whether it carries a trigger.
    pub planted: bool,
    /// Ids of the rules whose triggers it carries.
    pub carries: Vec<String>,
    /// Those of them of which it carries a near miss: another trigger than is probed with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
    /// Its architecture: as the specification names it, or what the file is.
    pub architecture: String,
    /// Its seed, where it was trained for the calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Digest of the checkpoint.
    pub model: Digest,
    /// Digest of the policy it was certified with, its images' place and its files included.
    pub policy: Digest,
    /// Digest of the reference that was trained for the calibration, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Digest>,
    /// What certified it.
    pub tool: Tool,
    /// One entry for each such rule and mode.
    pub findings: Vec<FindingRecord>,
}

/// The answer to one rule in one mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingRecord {
    /// The rule's id.
    pub rule: String,
    /// The transfer mode.
    pub mode: Mode,
    /// What was judged.
    pub estimand: Estimand,
    /// The answer.
    pub verdict: Verdict,
    /// Why, where the numbers alone do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The look at which it was settled.
    pub look: usize,
    /// The class that the trigger drags predictions to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn_to: Option<String>,
    /// Accuracy of the fine-tuned models on clean test images of the target task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_accuracy: Option<f64>,
    /// The excess over the control that explains it best; none where no control is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// One entry per named control.
    pub comparisons: Vec<Comparison>,
    /// Whether a trigger that the source carries is transferred; absent where it carries another or has no clean counterpart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
    /// The same at more seeds, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
}

/// A finding measured once more, at more seeds than the policy asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Again {
    /// Seeds.
    pub seeds: usize,
    /// The answer.
    pub verdict: Verdict,
    /// The excess over the control that explains it best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// What a planted source does beyond its clean counterpart, which differs from it in nothing but the trigger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// The answer.
    #[serde(rename = "handed_down")]
    pub transferred: Transferred,
    /// The excess of fine-tunes of the planted source over those of its clean counterpart, under the trigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excess: Option<Estimate>,
    /// Seeds that were asked for.
    pub seeds: usize,
    /// Whether it was measured at other seeds than the score. Absent in calibrations of earlier builds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
}

/// Whether a planted trigger is transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transferred {
    /// It moves fine-tunes by more than the rule's limit beyond the clean counterpart's.
    Yes,
    /// It moves them by less.
    No,
    /// The seeds do not settle it.
    Open,
}

impl From<&Finding> for FindingRecord {
    fn from(finding: &Finding) -> Self {
        let source = finding.arms.iter().find(|arm| arm.arm == Arm::Source);
        Self {
            rule: finding.rule.clone(),
            mode: finding.mode,
            estimand: finding.estimand,
            verdict: finding.verdict,
            reason: finding.reason.clone(),
            look: finding.look,
            drawn_to: finding.drawn_to.clone(),
            clean_accuracy: source.and_then(|arm| arm.rates.get("clean_accuracy").copied()),
            score: score(&finding.comparisons),
            comparisons: finding.comparisons.clone(),
            truth: None,
            again: None,
        }
    }
}

/// The smallest excess over the controls that are there.
pub(super) fn score(comparisons: &[Comparison]) -> Option<f64> {
    comparisons.iter().filter_map(|c| c.excess.as_ref()).map(|e| e.value).filter(|v| v.is_finite()).min_by(f64::total_cmp)
}

#[cfg(test)]
/// The JSON Schema of `calibration.json` (`docs/calibration.schema.json`).
pub(crate) fn schema() -> String {
    let mut schema = schemars::schema_for!(Calibration);
    schema.insert("title".to_owned(), "heirloom calibration, version 1".into());
    // A `Schema` is a tree of plain JSON values: writing it cannot fail, and an empty file would fail its test.
    serde_json::to_string_pretty(schema.as_value()).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::samples;
    use crate::gate::{Control, Estimate};
    use crate::series::campaign;

    #[test]
    fn the_score_is_the_excess_over_the_control_that_explains_it_best() {
        let excess = |control, value: Option<f64>| Comparison {
            control,
            excess: value.map(|value| Estimate::given(value, 0.0, 1.0)),
            missing: value.is_none().then(|| "it was not measured".to_owned()),
            highest: None,
            void: false,
            spared: false,
            innocents: None,
        };
        let (sham, scratch) = (|v| excess(Control::Sham, v), |v| excess(Control::Scratch, v));
        assert_eq!(score(&[sham(Some(0.4)), scratch(Some(0.1))]), Some(0.1));
        assert_eq!(score(&[sham(Some(0.4)), scratch(None)]), Some(0.4));
        assert_eq!(score(&[sham(None)]), None);
        assert_eq!(score(&[sham(Some(f64::NAN))]), None);
    }

    #[test]
    fn what_is_written_reads_back_and_satisfies_the_published_schema() {
        let calibration = samples::finished();
        let text = campaign::text(&calibration).unwrap();
        assert_eq!(campaign::text(&serde_json::from_str::<Calibration>(&text).unwrap()).unwrap(), text);
        let validator = jsonschema::validator_for(&serde_json::from_str(&schema()).unwrap()).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        let mistakes: Vec<String> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(mistakes.is_empty(), "{mistakes:#?}");
    }

    /// `HEIRLOOM_BLESS=1 cargo test --lib published_schema` writes it.
    #[test]
    fn the_published_schema_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/calibration.schema.json");
        if std::env::var_os("HEIRLOOM_BLESS").is_some() {
            std::fs::write(&path, schema()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), schema(), "docs/calibration.schema.json is stale: see this test");
    }
}
