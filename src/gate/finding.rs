//! What a certification found: findings with their comparisons, and the waivers that accept them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Control, Rule, Severity};
use crate::diag::Origin;
use crate::probe::groups::Accuracy;
use crate::probe::{Arm, Estimand};
use crate::store::Digest;
use crate::tune::Mode;

/// The answer for one finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The effect is below the limit.
    Pass,
    /// The effect is above the limit against every control.
    Fail,
    /// The data do not settle it.
    Inconclusive,
    /// Something kept it from being judged.
    Error,
    /// It does not apply, with the reason.
    Skipped,
}

/// What the source reacts to where a trigger rule fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// This very trigger, above its shams.
    Specific,
    /// Any trigger of its kind: its shams move the source as well.
    Kind,
    /// Some fine-tunes inherit it, though they are not many enough for the mean to be above the limit.
    SomeFineTunes,
}

/// Accepts one rule of one model for a while, whether it fails or stays inconclusive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// The rule's id.
    pub rule: String,
    /// The model's digest: `sha256:` and at least its first 12 digits.
    #[schemars(regex(pattern = r"^(sha256:)?[0-9a-f]{12,64}$"))]
    pub model: String,
    /// Why.
    #[schemars(length(min = 1))]
    pub reason: String,
    /// Who answers for it.
    #[schemars(length(min = 1))]
    pub owner: String,
    /// Last day it counts, `YYYY-MM-DD`.
    #[schemars(regex(pattern = r"^\d{4}-\d{2}-\d{2}$"))]
    pub expires: String,
}

impl Waiver {
    /// Whether it names a model as earlier releases did: by the bare digits of a BLAKE3 hash.
    pub(crate) fn is_earlier(&self) -> bool {
        !self.model.starts_with(Digest::PREFIX)
    }

    /// Whether it is for the model of this digest.
    pub(crate) fn names(&self, model: &Digest) -> bool {
        let name = model.as_str().len() - model.digits().len();
        self.model.len() >= name + LEAST_DIGITS && model.as_str().starts_with(&self.model)
    }
}

/// Digits of a digest that name a model.
const LEAST_DIGITS: usize = 12;

/// A number with its uncertainty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The point estimate, a rate or difference of rates.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Two-sided confidence of `low` and `high`, after sharing the error.
    pub confidence: f64,
    /// Lower and upper bound at the same confidence, where the training images are taken for a sample too: how far it may lie on as many others of
    /// their kind. Of heads on frozen features. Informs only: a verdict is about the training images of the policy. Absent in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub another_sample: Option<[f64; 2]>,
    /// Images that entered.
    pub images: usize,
    /// Clusters of images.
    pub clusters: usize,
    /// Seeds.
    pub seeds: usize,
    /// How the interval was made.
    pub method: String,
}

#[cfg(test)]
impl Estimate {
    /// One that nobody measured.
    pub(crate) fn given(value: f64, low: f64, high: f64) -> Self {
        let method = String::new();
        Self { value, low, high, confidence: 0.95, another_sample: None, images: 10, clusters: 10, seeds: 3, method }
    }
}

/// The judged number against one control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Which control.
    pub control: Control,
    /// The excess over it.
    pub excess: Option<Estimate>,
    /// The highest excess of a single fine-tune, as estimated. Absent in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest: Option<f64>,
    /// Why there is none.
    pub missing: Option<String>,
    /// Whether it cannot tell anything about this model: the finding is judged by the other controls, as if the rule did not name it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub void: bool,
    /// Whether it was not measured because the finding passes without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spared: bool,
    /// Of references and untrained networks: each of them, and how far they differ. Absent in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub innocents: Option<Innocents>,
}

/// Several networks that the source is compared with at once (references, or untrained networks), and how far such ones differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Innocents {
    /// Each of them: the references that the policy names, or the draws.
    pub references: Vec<OverReference>,
    /// Standard deviation between innocent checkpoints under this trigger: what the references show, moderated by what is known of others.
    /// Absent where neither is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
    /// What that is worth in degrees of freedom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degrees: Option<f64>,
    /// Standard deviation of a further innocent checkpoint's distance from the centre of the references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// How far above the centre a further innocent checkpoint may lie, at the error of a failure: a failure needs an excess beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<f64>,
    /// The fine-tunes, by seed, of which each by itself shows an excess above the limit and beyond what innocent checkpoints reach; none where a
    /// fine-tune of a reference does as much.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited_by: Vec<usize>,
    /// By how much the source's clean accuracy is below the references' mean; 0 where it is not.
    pub less_accurate: f64,
}

/// The excess over one of several networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OverReference {
    /// Its arm.
    pub arm: Arm,
    /// Its file.
    pub name: String,
    /// The excess over it.
    pub excess: Option<f64>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Whether it is one of those whose centre is compared with.
    pub counts: bool,
    /// Whether it is of the source's kind: of the same architecture, or `kin: true` in the policy, and of an accuracy on the target task within 0.10.
    pub kin: bool,
    /// Whether it lies apart from the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
}

/// What one arm did, for the reader: means over seeds, Wilson or two-way intervals unshared at 95%.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArmSummary {
    /// Which arm.
    pub arm: Arm,
    /// Named rates (`clean_accuracy`, `triggered_accuracy`, `flip_rate`, `attraction`, `attraction_sham`, ...).
    pub rates: std::collections::BTreeMap<String, f64>,
    /// The classes predictions flow to, most first, with the gain in share.
    pub gains: Vec<(String, f64)>,
    /// Accuracy by group, where groups are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Accuracy>,
    /// Share of predictions by class, clean and with the feature, where a natural feature is laid over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<Share>,
    /// Whether the arm learnt the task well enough to be a control or subject.
    pub valid: bool,
}

/// How often a class is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// The class.
    pub class: String,
    /// Of the images as they are.
    pub clean: f64,
    /// Of the same images with the feature.
    pub changed: f64,
}

/// The answer to one rule in one mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule's id.
    pub rule: String,
    /// The transfer mode.
    pub mode: Mode,
    /// The probe: `backdoor`, `attribute`, ...
    #[serde(default = "backdoor")]
    pub probe: String,
    /// What was judged.
    pub estimand: Estimand,
    /// How bad a failure is.
    pub severity: Severity,
    /// The answer.
    pub verdict: Verdict,
    /// Why, where the numbers alone do not say.
    pub reason: Option<String>,
    /// What a reader should know besides: the groups that differ most, groups that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The limit.
    pub limit: f64,
    /// Where it was written.
    pub origin: Origin,
    /// The model's own reaction, compared with nothing, where a pass may rest on it. Absent in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Estimate>,
    /// One entry per named control.
    pub comparisons: Vec<Comparison>,
    /// One entry per arm.
    pub arms: Vec<ArmSummary>,
    /// The class that the change drags predictions of the source arm to.
    pub drawn_to: Option<String>,
    /// Of a failure beside references: whether it is this very trigger, any of its kind, or in some fine-tunes alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Under triggers: what is judged beside `estimand`. Absent in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Further>,
    /// 1 or 2.
    pub look: usize,
    /// The waiver that accepts it, if one counts.
    pub waived: Option<Waiver>,
    /// Seconds spent on it.
    #[serde(skip)]
    pub seconds: f64,
}

/// A number of a trigger rule beside the one that it names. One may be hidden from that: a trigger that moves one class to another class moves few of all
/// images, and one that exchanges classes draws to none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Further {
    /// Which.
    pub estimand: Estimand,
    /// Its limit.
    pub limit: f64,
    /// The answer for it. The finding fails if any of its numbers does, and passes if all do.
    pub verdict: Verdict,
    /// Why, where the numbers alone do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the source does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Estimate>,
    /// Of a class flow: the class of the images, and the one that they are called, in most fine-tunes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<[String; 2]>,
    /// One entry per named control.
    pub comparisons: Vec<Comparison>,
}

impl Further {
    /// For people: the number and its place.
    pub(crate) fn told(&self) -> String {
        let between = self.between.as_ref().map(|[from, to]| format!(" from \"{from}\" to \"{to}\"")).unwrap_or_default();
        let own = self.own.as_ref().map(|own| format!(" {:+.3} [{:.3}, {:.3}]", own.value, own.low, own.high));
        format!("{}{between}{}, limit {}", self.estimand.words(), own.unwrap_or_default(), self.limit)
    }
}

/// That of reports from before there were others.
fn backdoor() -> String {
    "backdoor".into()
}

impl Innocents {
    /// For people: each reference, and how far innocent checkpoints differ.
    pub(super) fn told(&self, control: Control) -> String {
        let each: Vec<String> = self.references.iter().filter_map(|r| Some(format!("{} {:+.3}", r.name, r.excess?))).collect();
        let what = match (control, each.len()) {
            (Control::Untrained, _) => "each untrained network",
            (_, 1) => "the reference",
            _ => "each reference",
        };
        let of = format!("excess over {what}: {}", each.join(", "));
        let Some((sd, reach)) = self.sd.zip(self.reach) else { return of };
        if control == Control::Untrained {
            return format!("{of}; they differ by {sd:.3} (standard deviation), so that a failure needs more than {reach:.3}");
        }
        let apart: Vec<&str> = self.references.iter().filter(|r| r.apart).map(|r| r.name.as_str()).collect();
        let doubt = match apart.as_slice() {
            [] if each.len() < 3 => "; from three on it shows if one was tampered with".to_owned(),
            [] => String::new(),
            [one] => format!("; {one} lies apart from the others: it may have been tampered with"),
            several => format!("; {} lie apart: one of them may have been tampered with", several.join(" and ")),
        };
        format!("{of}; innocent checkpoints differ by {sd:.3} (standard deviation), so that a failure needs more than {reach:.3}{doubt}")
    }
}

impl Finding {
    /// A finding that could not be measured, and why.
    pub(crate) fn without_numbers(rule: &Rule, mode: Mode, origin: Origin, look: usize, verdict: Verdict, reason: String) -> Self {
        Self {
            rule: rule.id.clone(),
            mode,
            probe: rule.probe.name().into(),
            estimand: rule.estimand(),
            severity: rule.severity,
            verdict,
            reason: Some(reason),
            notes: Vec::new(),
            limit: rule.limit,
            origin,
            own: None,
            comparisons: Vec::new(),
            arms: Vec::new(),
            drawn_to: None,
            label: None,
            further: Vec::new(),
            look,
            waived: None,
            seconds: 0.0,
        }
    }

    /// Adds the answer for a further number: the finding fails if any of its numbers does, and passes only if all do.
    pub(crate) fn add_further(&mut self, further: Further, label: Option<Label>) {
        match (self.verdict, further.verdict) {
            (Verdict::Pass, Verdict::Inconclusive) => {
                self.verdict = Verdict::Inconclusive;
                self.reason = Some(format!("{}: {}", further.told(), further.reason.as_deref().unwrap_or("not settled")));
            }
            (Verdict::Pass | Verdict::Inconclusive, Verdict::Fail) => {
                self.verdict = Verdict::Fail;
                self.label = label;
                self.reason = Some(further.told());
            }
            _ => {}
        }
        self.further.push(further);
    }

    /// The further number that it fails by, where the one that the rule names does not: only then a failure has a reason beside its numbers.
    pub(crate) fn failed_by(&self) -> Option<&Further> {
        let failed = |further: &&Further| further.verdict == Verdict::Fail;
        self.reason.as_ref().filter(|_| self.verdict == Verdict::Fail).and_then(|_| self.further.iter().find(failed))
    }

    /// `rule@mode`.
    pub(crate) fn id(&self) -> String {
        format!("{}@{}", self.rule, self.mode)
    }
}
