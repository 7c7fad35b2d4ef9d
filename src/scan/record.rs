//! What is kept of a model that was judged: a file of its own, found again by all that the verdict depends on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::Sketch;
use super::spec::Tier;
use crate::gate::{Estimate, ExitCode, Finding, Rule, Severity, Verdict, Waiver};
use crate::policy::Policy;
use crate::probe::{Arm, Estimand};
use crate::report::{self, Report, Tool};
use crate::source::Refusal;
use crate::store::{Digest, Fingerprinter};
use crate::transform::Trigger;

/// Version of the records' layout.
pub(super) const SCHEMA: u32 = 1;

/// How a model stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A rule of its policy failed.
    Fail,
    /// Something kept it from being judged.
    Error,
    /// The data do not settle a rule, or the static tier found what only a measurement can judge.
    Inconclusive,
    /// The budget did not reach it.
    NotReached,
    /// Every rule was skipped.
    NotJudged,
    /// Its file was read and nothing was found; nothing was measured.
    Inspected,
    /// Every rule passed.
    Pass,
    /// A rule of the scan leaves it out.
    LeftOut,
}

impl Outcome {
    /// All, the worst first.
    pub const ALL: [Self; 8] =
        [Self::Fail, Self::Error, Self::Inconclusive, Self::NotReached, Self::NotJudged, Self::Inspected, Self::Pass, Self::LeftOut];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Inconclusive => "inconclusive",
            Self::NotReached => "not reached",
            Self::NotJudged => "not judged",
            Self::Inspected => "inspected",
            Self::Pass => "pass",
            Self::LeftOut => "left out",
        }
    }

    /// What a certification's exit code says.
    pub(super) fn of_code(code: i32) -> Self {
        let is = |exit: ExitCode| code == i32::from(exit.code());
        if is(ExitCode::Pass) {
            Self::Pass
        } else if is(ExitCode::Fail) {
            Self::Fail
        } else if is(ExitCode::Inconclusive) {
            Self::Inconclusive
        } else if is(ExitCode::NothingJudged) {
            Self::NotJudged
        } else {
            Self::Error
        }
    }
}

/// What a verdict depends on: equal keys, equal verdicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basis {
    /// Identity of the model, its files all together.
    pub model: Digest,
    /// Digest of the policy with the place of its images and the files that it names; none where nothing is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// How far the model is looked into.
    pub tier: Tier,
    /// What tells this build of heirloom from others.
    pub build: String,
    /// What measured: version, instruction set, device, precision.
    pub tool: Tool,
    /// What computes frozen features: `ONNX Runtime 1.32.0`, or `heirloom`.
    pub executor: String,
    /// The source whose word the identity is, where only a header was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<String>,
}

impl Basis {
    /// The key of the record.
    pub(super) fn key(&self) -> Digest {
        let mut feed = Fingerprinter::new("heirloom scan record", 1);
        feed.field("model", &self.model);
        feed.field("policy", &self.policy);
        feed.field("tier", self.tier.name());
        feed.field("build", self.build.as_str());
        for (label, value) in [
            ("version", &self.tool.version),
            ("instructions", &self.tool.instruction_set),
            ("device", &self.tool.device),
            ("precision", &self.tool.precision.to_string()),
            ("executor", &self.executor),
        ] {
            feed.field(label, value.as_str());
        }
        feed.later("claimed by", &self.claimed_by);
        feed.finish()
    }

    /// Whether what was measured on another basis may be judged again on this one: the same model, on the same device.
    pub(super) fn may_judge(&self, earlier: &Self) -> bool {
        let same_machine =
            |a: &Tool, b: &Tool| (&a.instruction_set, &a.device, a.precision) == (&b.instruction_set, &b.device, b.precision);
        self.model == earlier.model
            && same_machine(&self.tool, &earlier.tool)
            && self.executor == earlier.executor
            && self.tier != Tier::Static
    }
}

/// A model that was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this layout: 1.
    pub schema: u32,
    /// What the verdict depends on.
    pub basis: Basis,
    /// What was found out without a measurement; none where the model cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// How it stands.
    pub outcome: Outcome,
    /// In one line.
    pub summary: String,
    /// Why it cannot be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Some of its weights, by which forks and copies are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Sketch>,
    /// What was found, one entry a rule and mode.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingLine>,
    /// Whether there is a report in `reports/KEY`.
    pub report: bool,
    /// When and how long: all that differs between equal records.
    pub run: RecordRun,
}

/// When a model was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordRun {
    /// When it was measured: UTC, RFC 3339.
    pub measured: String,
    /// When these measurements were judged last, where that was later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<String>,
    /// Seconds that the measurement took.
    pub seconds: f64,
}

/// What a model is, as its file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// What the file is, for people: `ONNX opset 17`.
    pub description: String,
    /// Numbers in all tensors.
    pub parameters: usize,
    /// Channels, height and width of an image that enters.
    pub input: [usize; 3],
    /// What should be known of nodes that lead around the weights, or that they could not be looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What was found by one rule in one mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingLine {
    /// `RULE@MODE`.
    pub id: String,
    /// The verdict.
    pub verdict: Verdict,
    /// How bad a failure is.
    pub severity: Severity,
    /// Whether it decides about the exit code: severe enough, and no waiver accepts it.
    pub gates: bool,
    /// The waiver that accepts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Waiver>,
    /// Why, where the numbers alone do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its excess over each control beside the limit, for people.
    pub numbers: String,
    /// How accurate fine-tunes of the model are on clean images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// What the model does under a trigger by itself, compared with nothing: this is held beside other models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

/// One number of a finding, compared with nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Which number.
    pub estimand: Estimand,
    /// Its estimate, a difference of rates.
    pub value: f64,
    /// Lower bound of its interval.
    pub low: f64,
    /// Its limit.
    pub limit: f64,
    /// Whether the trigger is one small place of the image.
    pub local: bool,
}

impl FindingLine {
    fn of(report: &Report, finding: &Finding, rules: &[Rule]) -> Self {
        let rule = rules.iter().find(|rule| rule.id == finding.rule).filter(|rule| rule.is_trigger());
        let local = rule.and_then(|rule| rule.probe.change()).is_some_and(Trigger::is_local);
        let effect = |estimand, own: &Option<Estimate>, limit| {
            let own = own.as_ref().filter(|_| rule.is_some())?;
            Some(Effect { estimand, value: own.value, low: own.low, limit, local })
        };
        let further = finding.further.iter().filter_map(|further| effect(further.estimand, &further.own, further.limit));
        let source = finding.arms.iter().find(|arm| arm.arm == Arm::Source && arm.valid);
        Self {
            id: finding.id(),
            verdict: finding.verdict,
            severity: finding.severity,
            gates: report.gates(finding),
            waived: finding.waived.clone(),
            reason: finding.reason.clone(),
            numbers: report::text::numbers(finding),
            accuracy: source.and_then(|source| source.rates.get("clean_accuracy")).copied(),
            effects: effect(finding.estimand, &finding.own, finding.limit).into_iter().chain(further).collect(),
        }
    }
}

impl Record {
    /// A record of what was measured. `judged`: when, where that is not when it was measured.
    pub(super) fn of_report(
        basis: Basis,
        (facts, weights): (Facts, Option<Sketch>),
        report: &Report,
        policy: &Policy,
        judged: Option<String>,
    ) -> Self {
        Self {
            schema: SCHEMA,
            basis,
            facts: Some(facts),
            outcome: Outcome::of_code(report.exit_code),
            summary: report.summary.clone(),
            refused: None,
            weights,
            findings: report.findings.iter().map(|finding| FindingLine::of(report, finding, &policy.rules)).collect(),
            report: true,
            run: RecordRun { measured: report.run.started.clone(), judged, seconds: report.run.seconds },
        }
    }

    /// Whether a waiver that accepts one of its findings counts no more.
    pub(super) fn has_expired(&self, today: &str) -> bool {
        // Dates of this form compare as text.
        self.findings.iter().filter_map(|finding| finding.waived.as_ref()).any(|waiver| waiver.expires.as_str() < today)
    }
}
