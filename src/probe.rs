//! Probes: what is measured on a fine-tuned model. One probe, one file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::transform::Trigger;
use crate::tune::Mode;

pub mod backdoor;

/// A probe as a policy declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// Does a trigger move predictions that a sham trigger does not?
    Backdoor(Backdoor),
}

/// The backdoor probe: every test picture with and without a trigger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backdoor {
    /// The trigger.
    pub trigger: Trigger,
    /// The target class an attacker would name; learnt from the data where absent (used by `attack_success_rate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_class: Option<String>,
}

/// What a fine-tune starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The checkpoint under test.
    Source,
    /// The same graph from fresh weights.
    Scratch,
    /// A trusted checkpoint.
    Reference,
}

impl Arm {
    /// What trains of this arm for a rule of a mode: a network from scratch has nothing to freeze and trains fully.
    pub fn trains(self, mode: Mode) -> Mode {
        match self {
            Arm::Source | Arm::Reference => mode,
            Arm::Scratch => Mode::FullNetwork,
        }
    }
}

/// A number that a probe measures (docs/method.md defines each).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Estimand {
    /// P(f(t(x)) = k, y != k) - P(f(x) = k, y != k) for the class k that gains most.
    Attraction,
    /// P(f(t(x)) = k given y != k).
    AttackSuccessRate,
    /// P(f(t(x)) != f(x)).
    FlipRate,
    /// Total variation distance between the histograms of predicted classes.
    PredictionShift,
}

/// What one fine-tuned model predicted; every column has one entry per test picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Seed index, counted from 0.
    pub seed: usize,
    /// Predicted class of the picture as it is.
    pub clean: Vec<u16>,
    /// Predicted class with the trigger.
    pub changed: Vec<u16>,
    /// Predicted class under each sham draw.
    pub shams: Vec<Vec<u16>>,
}

/// Paired outcomes of one probe on one arm and mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// Which rule's probe.
    pub rule: String,
    /// What the fine-tunes started from.
    pub arm: Arm,
    /// What trained ([`Arm::trains`]): a scratch arm is compared with in both modes, and stands here once.
    pub mode: Mode,
    /// Class names.
    pub classes: Vec<String>,
    /// Picture ids.
    pub images: Vec<String>,
    /// True class per picture.
    pub labels: Vec<u16>,
    /// Cluster number per picture.
    pub clusters: Vec<u32>,
    /// One entry per seed.
    pub outcomes: Vec<Outcome>,
}
