//! Probes: what is measured on a fine-tuned model. One probe, one file.
//!
//! A probe lays a change over the test images (`backdoor`, `spurious`, `natural`) and its numbers are those of `paired`, or it
//! compares groups of images as they are (`attribute`, `debiased`) and its numbers are those of `groups`. Both end in a
//! [`Table`] of seeds x clusters that an interval can be made of.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::Rebalance;
use crate::store::Digest;
use crate::transform::Trigger;
use crate::tune::Mode;

mod accuracy;
mod arm;
mod attribute;
mod backdoor;
mod debiased;
pub(crate) mod groups;
mod natural;
pub mod paired;
mod spurious;
mod table;

pub(crate) use accuracy::{clean_accuracy, of_one_answer, of_one_seed};
pub(crate) use arm::UNTRAINED;
pub use arm::{Arm, MOST_REFERENCES};
pub use attribute::Attribute;
pub use backdoor::{Backdoor, Sweep};
pub(crate) use debiased::Debiased;
pub(crate) use natural::Natural;
pub(crate) use spurious::Spurious;
pub use table::{ProbeError, Table};

/// A probe as a policy declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// Does a trigger move predictions that a sham trigger does not?
    Backdoor(Backdoor),
    /// Does a feature laid over images of some classes move their predictions?
    Spurious(Spurious),
    /// Are images treated differently by an attribute that they have by nature?
    Attribute(Attribute),
    /// The same after fine-tuning on images that are balanced over the attribute: what does the checkpoint still bring along?
    Debiased(Debiased),
    /// Which of many natural features (a fence, a hand, a caption) shift predictions? One finding for each.
    Natural(Natural),
}

impl Probe {
    /// What is laid over the test images.
    pub fn change(&self) -> Option<&Trigger> {
        match self {
            Probe::Backdoor(probe) => Some(&probe.trigger),
            Probe::Spurious(probe) => Some(&probe.feature),
            Probe::Natural(probe) => probe.feature.as_ref(),
            Probe::Attribute(_) | Probe::Debiased(_) => None,
        }
    }

    /// The groups that are compared.
    pub(crate) fn compared(&self) -> Option<groups::Compared<'_>> {
        match self {
            Probe::Attribute(probe) => Some(probe.compared()),
            Probe::Debiased(probe) => Some(probe.compared()),
            Probe::Backdoor(_) | Probe::Spurious(_) | Probe::Natural(_) => None,
        }
    }

    /// Which of the training images are used, where it is not all of them.
    pub(crate) fn rebalance(&self) -> Option<Rebalance> {
        match self {
            Probe::Debiased(probe) => Some(probe.rebalance()),
            _ => None,
        }
    }

    /// The number that is judged where the rule names none.
    pub(crate) fn estimand(&self) -> Estimand {
        match self {
            Probe::Backdoor(_) | Probe::Spurious(_) => Estimand::Attraction,
            Probe::Natural(_) => Estimand::PredictionShift,
            Probe::Attribute(_) | Probe::Debiased(_) => Estimand::GroupGap,
        }
    }

    /// Whether a number can be made of what it measures.
    pub(crate) fn gives(&self, estimand: Estimand) -> bool {
        self.compared().is_some() == estimand.compares_groups()
    }

    /// What choosing on halves adds to the variance of a number where nothing stands out, as a share of it.
    pub(crate) fn choice(&self, estimand: Estimand) -> f64 {
        match estimand {
            Estimand::FlipRate => 0.0,
            Estimand::AttackSuccessRate if self.class().is_some() => 0.0,
            Estimand::Attraction | Estimand::AttackSuccessRate | Estimand::ClassFlow => table::AMONG_CLASSES,
            _ => table::OPPOSITE,
        }
    }

    /// What it is about, for people who meet it in a report.
    pub fn about(&self) -> &'static About {
        match self {
            Probe::Backdoor(_) => &backdoor::ABOUT,
            Probe::Spurious(_) => &spurious::ABOUT,
            Probe::Attribute(_) => &attribute::ABOUT,
            Probe::Debiased(_) => &debiased::ABOUT,
            Probe::Natural(_) => &natural::ABOUT,
        }
    }

    /// Its name in a policy.
    pub fn name(&self) -> &'static str {
        match self {
            Probe::Backdoor(_) => "backdoor",
            Probe::Spurious(_) => "spurious",
            Probe::Attribute(_) => "attribute",
            Probe::Debiased(_) => "debiased",
            Probe::Natural(_) => "natural",
        }
    }

    /// All classes that the policy names.
    pub(crate) fn named_classes(&self) -> impl Iterator<Item = &String> {
        let (one, on, aligned) = match self {
            Probe::Backdoor(probe) => (probe.target_class.as_ref(), &[][..], None),
            Probe::Spurious(probe) => (probe.target_class.as_ref(), probe.on.as_slice(), None),
            Probe::Attribute(probe) => (probe.class.as_ref(), &[][..], None),
            Probe::Debiased(probe) => (probe.class.as_ref(), &[][..], probe.aligned.as_ref()),
            Probe::Natural(_) => (None, &[][..], None),
        };
        one.into_iter().chain(on).chain(aligned.into_iter().flat_map(BTreeMap::keys))
    }

    /// The class that the policy names.
    pub(crate) fn class(&self) -> Option<&str> {
        match self {
            Probe::Backdoor(probe) => probe.target_class.as_deref(),
            Probe::Spurious(probe) => probe.target_class.as_deref(),
            Probe::Attribute(probe) => probe.class.as_deref(),
            Probe::Debiased(probe) => probe.class.as_deref(),
            Probe::Natural(_) => None,
        }
    }
}

/// A probe in plain English.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// What it measures.
    pub measures: &'static str,
    /// Why that matters.
    pub matters: &'static str,
    /// What a failure means.
    pub failure: &'static str,
    /// What to do about one.
    pub remedy: &'static str,
}

/// A number that a probe measures (docs/method.md defines each).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Estimand {
    /// P(f(t(x)) = k, y != k) - P(f(x) = k, y != k) for the class k that gains most.
    Attraction,
    /// P(f(t(x)) = k given y != k).
    AttackSuccessRate,
    /// P(f(t(x)) = b given y = a) - P(f(x) = b given y = a) for the classes a and b between which it is largest.
    ClassFlow,
    /// P(f(t(x)) != f(x)).
    FlipRate,
    /// Total variation distance between the histograms of predicted classes.
    PredictionShift,
    /// How much more often a class is predicted where an attribute has one value than where it has another, averaged over the
    /// labels other than the class.
    Reliance,
    /// The widest difference in accuracy between two values of an attribute, over labels.
    GroupGap,
    /// The accuracy of the worst group (label x attribute); judged is how far a group's falls short of the same group's under the control.
    WorstGroupAccuracy,
    /// Fairlearn's: the larger of the differences in true and false positive rate between values of an attribute.
    EqualizedOddsDifference,
    /// Fairlearn's: the difference in how often a class is predicted between values of an attribute.
    DemographicParityDifference,
}

impl Estimand {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Attraction,
        Self::AttackSuccessRate,
        Self::ClassFlow,
        Self::FlipRate,
        Self::PredictionShift,
        Self::Reliance,
        Self::GroupGap,
        Self::WorstGroupAccuracy,
        Self::EqualizedOddsDifference,
        Self::DemographicParityDifference,
    ];

    /// As a policy writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attraction => "attraction",
            Self::AttackSuccessRate => "attack_success_rate",
            Self::ClassFlow => "class_flow",
            Self::FlipRate => "flip_rate",
            Self::PredictionShift => "prediction_shift",
            Self::Reliance => "reliance",
            Self::GroupGap => "group_gap",
            Self::WorstGroupAccuracy => "worst_group_accuracy",
            Self::EqualizedOddsDifference => "equalized_odds_difference",
            Self::DemographicParityDifference => "demographic_parity_difference",
        }
    }

    /// What it is called in a sentence.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Attraction => "attraction",
            Self::AttackSuccessRate => "attack success rate",
            Self::ClassFlow => "class flow",
            Self::FlipRate => "flip rate",
            Self::PredictionShift => "prediction shift",
            Self::Reliance => "reliance",
            Self::GroupGap => "group gap",
            Self::WorstGroupAccuracy => "worst group accuracy",
            Self::EqualizedOddsDifference => "equalized odds difference",
            Self::DemographicParityDifference => "demographic parity difference",
        }
    }

    /// What it is, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Attraction => "of the images of other classes, how many more are called the class that gains most",
            Self::AttackSuccessRate => "of the images of other classes, how many are called the target class under the change",
            Self::ClassFlow => "of the images of one class, how many more are called one other class, where that is most",
            Self::FlipRate => "of all images, how many are called something else under the change",
            Self::PredictionShift => "how far the histogram of predicted classes moves (total variation distance)",
            Self::Reliance => {
                "how much more often a class is predicted where the attribute has one value than where it has another, over the other labels"
            }
            Self::GroupGap => "the widest difference in accuracy between two values of the attribute, over classes",
            Self::WorstGroupAccuracy => "how far the accuracy of a group (class x value) falls short of the same group's under the control",
            Self::EqualizedOddsDifference => {
                "the larger of the differences in true and false positive rate between values (as Fairlearn has it)"
            }
            Self::DemographicParityDifference => "the difference in how often a class is predicted between values (as Fairlearn has it)",
        }
    }

    /// Whether it compares groups of images as they are, and not images with themselves, changed.
    pub fn compares_groups(self) -> bool {
        match self {
            Self::Attraction | Self::AttackSuccessRate | Self::ClassFlow | Self::FlipRate | Self::PredictionShift => false,
            Self::Reliance
            | Self::GroupGap
            | Self::WorstGroupAccuracy
            | Self::EqualizedOddsDifference
            | Self::DemographicParityDifference => true,
        }
    }
}

/// What one fine-tuned model predicted; every column has one entry per test image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Seed index, counted from 0.
    pub seed: usize,
    /// Predicted class of the image as it is.
    pub clean: Vec<u16>,
    /// Predicted class with the change; empty where the probe makes none.
    pub changed: Vec<u16>,
    /// Predicted class under each sham draw.
    pub shams: Vec<Vec<u16>>,
}

/// An attribute of the test images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values, sorted.
    pub values: Vec<String>,
    /// The value of each image, as an index into `values`; none where it is not known.
    pub of: Vec<Option<u32>>,
}

impl Column {
    /// The column of a name, from the value of every image, where it is known.
    pub(crate) fn of<'a>(name: &str, images: impl Iterator<Item = Option<&'a str>> + Clone) -> Self {
        let values: BTreeSet<&str> = images.clone().flatten().collect();
        let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
        let at = |value: &str| values.binary_search_by(|known| known.as_str().cmp(value)).ok().map(|at| at as u32);
        let of = images.map(|value| at(value?)).collect();
        Self { name: name.to_owned(), values, of }
    }
}

/// Outcomes of one probe on one arm and mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// Which rule's probe.
    pub rule: String,
    /// What the fine-tunes started from.
    pub arm: Arm,
    /// What trained (`Arm::trains`): a scratch arm is compared with in both modes, and stands here once.
    pub mode: Mode,
    /// Class names.
    pub classes: Vec<String>,
    /// Image ids.
    pub images: Vec<String>,
    /// True class per image.
    pub labels: Vec<u16>,
    /// Cluster number per image.
    pub clusters: Vec<u32>,
    /// The attribute that the probe compares by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<Column>,
    /// Digest of all in the policy that decides the outcomes: task, recipe, seed, trigger, training images. Absent in measurements of
    /// earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Digest>,
    /// What was fine-tuned, and on which images. Absent in measurements of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// One entry per seed.
    pub outcomes: Vec<Outcome>,
}

/// What a measurement was made of: it belongs to reports of this checkpoint and these images, and to no others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Basis {
    /// Digest of the checkpoint that the fine-tunes started from; none for fresh weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Digest>,
    /// Digest of the training view (docs/method.md).
    pub train: Digest,
    /// Digest of the test view.
    pub test: Digest,
}

/// Which number of a probe is estimated.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The probe.
    pub probe: &'a Probe,
    /// The number.
    pub estimand: Estimand,
    /// Seed of the policy: which images choose.
    pub policy_seed: u64,
}

impl Setting<'_> {
    /// The setting of another number of the same probe.
    #[must_use]
    pub(crate) fn with(self, estimand: Estimand) -> Self {
        Self { estimand, ..self }
    }
}

/// The excess over the sham draws of the same model, averaged over the draws.
pub(crate) fn excess_over_shams(source: &Measurement, setting: &Setting) -> Result<Table, ProbeError> {
    match setting.probe.compared() {
        Some(_) => Err(ProbeError::NoShams),
        None => paired::excess_over_shams(source, setting),
    }
}

/// The excess over one of `controls` (an index; they are all the arms that are there), paired by seed index and image. Which groups are
/// compared hangs on all controls.
pub fn excess_over_arm(source: &Measurement, controls: &[&Measurement], over: usize, setting: &Setting) -> Result<Table, ProbeError> {
    let control = controls.get(over).ok_or(ProbeError::NoControl)?;
    match setting.probe.compared() {
        Some(compared) => groups::excess_over_arm(source, controls, over, &compared, setting),
        None => paired::excess_over_arm(source, control, setting),
    }
}
