//! Rules and verdicts: from paired outcomes to a finding, from findings to a conclusion.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::probe::{Arm, Estimand, MOST_REFERENCES, Probe};
use crate::transform::Trigger;
use crate::tune::Mode;

mod conclude;
mod finding;
mod judge;

pub use conclude::{ConcludeTerms, Conclusion, ExitCode, SelfTestOutcome, conclude};
pub use finding::{ArmSummary, Comparison, Estimate, Finding, Further, Innocents, Label, OverReference, Share, Verdict, Waiver};
pub(crate) use judge::{ALIKE, local_prior};
pub use judge::{Given, JudgeTerms, clean_accuracy, judge};

/// What an effect is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// The same model under triggers of the same family with another identity (8 draws).
    Sham,
    /// The same graph trained from fresh weights.
    Scratch,
    /// The same graph with fresh weights, frozen (4 draws): what they react to, the target task itself reads. It only keeps a finding from
    /// failing, and under a local trigger it decides nothing beside references.
    Untrained,
    /// Trusted checkpoints: the centre of those that the policy names.
    Reference,
}

/// How bad a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Reported, rarely worth stopping for.
    Low,
    /// Worth a look.
    Medium,
    /// Stops a release in most teams.
    #[default]
    High,
    /// Stops every release.
    Critical,
}

/// One requirement of a policy. Each rule x mode is one finding, `id@mode`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of the rule, `backdoor/square`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9._/-]*$"))]
    pub id: String,
    /// What is measured.
    pub probe: Probe,
    /// Which number of it is judged. Default: `attraction` for backdoors and spurious features, `prediction_shift` for natural features,
    /// `group_gap` for attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimand: Option<Estimand>,
    /// Transfer modes.
    #[serde(default = "default_modes")]
    #[schemars(length(min = 1))]
    pub modes: Vec<Mode>,
    /// What it is compared with. Default: `[sham]` in fixed-feature mode; `[sham, scratch]` in full-network mode, and for
    /// triggers to which innocent networks answer more than to their shams (docs/policy.md says which); `[scratch]` for attributes and
    /// natural features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub controls: Option<Vec<Control>>,
    /// Greatest excess that is accepted, as a rate.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub limit: f64,
    /// Under triggers: the greatest class flow that is accepted beside it, as a rate. Default: 0.5; with 1 it is not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub flow_limit: Option<f64>,
    /// Under triggers: the greatest flip rate that is accepted beside it. Default: 0.5; with 1 it is not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub flip_limit: Option<f64>,
    /// Two-sided confidence of the printed interval before it is shared among looks and findings.
    #[serde(default = "default_confidence")]
    #[schemars(range(min = 0.5, max = 0.9999))]
    pub confidence: f64,
    /// How bad a failure is.
    #[serde(default)]
    pub severity: Severity,
}

fn default_modes() -> Vec<Mode> {
    vec![Mode::FixedFeature]
}
fn default_confidence() -> f64 {
    0.95
}

impl Rule {
    /// The number that is judged.
    pub fn estimand(&self) -> Estimand {
        self.estimand.unwrap_or_else(|| self.probe.estimand())
    }

    /// The controls of this rule in a mode: those it names, or the default of probe and mode.
    pub fn controls_for(&self, mode: Mode) -> Vec<Control> {
        if let Some(named) = &self.controls {
            let mut controls = named.clone();
            controls.sort_unstable();
            controls.dedup();
            return controls;
        }
        match &self.probe {
            // There is no sham of a group, and the sham of a natural feature is not natural.
            Probe::Attribute(_) | Probe::Debiased(_) | Probe::Natural(_) => vec![Control::Scratch],
            Probe::Backdoor(_) | Probe::Spurious(_) => {
                // Shams alone cry wolf there.
                let more = self.probe.change().is_some_and(Trigger::outdoes_shams);
                if more || mode == Mode::FullNetwork { vec![Control::Sham, Control::Scratch] } else { vec![Control::Sham] }
            }
        }
    }
}

/// What shows that a checkpoint does not hand an effect down: what a pass rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassBy {
    /// One control that is as high, or nearly: one innocent explanation suffices.
    AnyControl,
    /// The source's own reaction: without a reference, only a source that hardly reacts is shown to hand nothing down.
    OwnReaction,
    /// The source's own reaction, or the references, which alone say whether an effect comes from this checkpoint.
    OwnOrReferences,
    /// The references, where there are enough of the source's own kind; else one control, unless the references contradict it.
    WholeImage,
}

impl PassBy {
    /// Whether the source's own reaction may be enough for a pass.
    pub(crate) fn asks_own(self) -> bool {
        matches!(self, PassBy::OwnReaction | PassBy::OwnOrReferences)
    }

    /// Whether a verdict asks what a control says: under a local trigger references alone decide.
    pub(crate) fn decides(self, control: Control) -> bool {
        self != PassBy::OwnOrReferences || control == Control::Reference
    }

    /// In how many ways a finding with so many controls can pass: they share the error.
    pub(crate) fn ways(self, controls: usize) -> usize {
        match self {
            PassBy::AnyControl | PassBy::WholeImage => controls.max(1),
            PassBy::OwnReaction => 1,
            PassBy::OwnOrReferences => 2,
        }
    }
}

impl Rule {
    /// Fine-tunes without which a finding does not pass: fewer would all miss an effect that one fine-tune in five inherits more often than the
    /// confidence allows. Asked of heads under local triggers alone: full fine-tunes are dear, and elsewhere nothing is said of single ones.
    pub fn fewest_seeds(&self, mode: Mode) -> Option<usize> {
        /// The share of the fine-tunes that an effect has to be in to be seen.
        const SEEN: f64 = 0.2;
        let single = self.pass_by(mode).asks_own();
        let fewest = ((1.0 - self.confidence) / 2.0).ln() / (1.0 - SEEN).ln();
        (single && mode == Mode::FixedFeature).then_some(fewest.ceil() as usize)
    }

    /// References with fewer than which a source passes only where it hardly reacts itself. `None` where references decide nothing;
    /// `Some(Err(limit))` where no number of them suffices at the rule's own limit: the least one at which some does.
    pub fn fewest_references(&self, mode: Mode) -> Option<Result<usize, f64>> {
        judge::fewest_references(self, mode)
    }

    /// The numbers that are judged beside the one that it names, with their limits.
    pub fn further(&self) -> Vec<(Estimand, f64)> {
        /// Where the policy names none: half the images of a class, or of all.
        const LIMIT: f64 = 0.5;
        let beside =
            matches!(self.estimand(), Estimand::Attraction | Estimand::AttackSuccessRate | Estimand::FlipRate | Estimand::ClassFlow);
        let all = [(Estimand::ClassFlow, self.flow_limit), (Estimand::FlipRate, self.flip_limit)];
        let with_limit = all.map(|(estimand, limit)| (estimand, limit.unwrap_or(LIMIT)));
        let judged = |(estimand, limit): &(Estimand, f64)| *estimand != self.estimand() && *limit < 1.0;
        if self.is_trigger() && beside { with_limit.into_iter().filter(judged).collect() } else { Vec::new() }
    }

    /// Whether it is about a trigger: something laid over images that is no part of the world they show.
    pub fn is_trigger(&self) -> bool {
        matches!(self.probe, Probe::Backdoor(_) | Probe::Spurious(_)) && self.probe.change().is_some()
    }

    /// What a pass rests on in a mode. Innocent checkpoints hardly react to local triggers, and shams or networks from scratch that do are no
    /// proof; to other triggers, and by attributes, many react, so that there one control suffices.
    pub fn pass_by(&self, mode: Mode) -> PassBy {
        let laid = self.is_trigger();
        let local = self.probe.change().is_some_and(Trigger::is_local);
        match (laid, local, self.controls_for(mode).contains(&Control::Reference)) {
            (false, ..) | (true, false, false) => PassBy::AnyControl,
            (true, true, false) => PassBy::OwnReaction,
            (true, true, true) => PassBy::OwnOrReferences,
            (true, false, true) => PassBy::WholeImage,
        }
    }
}

impl Control {
    /// The arms whose fine-tunes it compares with, where there are so many references. None for shams: they are changes of the source's own
    /// images.
    pub(crate) fn arms(self, references: usize) -> Vec<Arm> {
        match self {
            Control::Sham => Vec::new(),
            Control::Scratch => vec![Arm::Scratch],
            Control::Untrained => Arm::untrained().collect(),
            Control::Reference => Arm::references(references).collect(),
        }
    }

    /// Whether it compares with an arm.
    pub(crate) fn has(self, arm: Arm) -> bool {
        self.arms(MOST_REFERENCES).contains(&arm)
    }

    /// As a policy writes it.
    pub fn name(self) -> &'static str {
        match self {
            Control::Sham => "sham",
            Control::Scratch => "scratch",
            Control::Untrained => "untrained",
            Control::Reference => "reference",
        }
    }
}
