//! How a model is fine-tuned, as a policy states it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// What trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The backbone is frozen; a new linear head trains on its features (linear probe).
    FixedFeature,
    /// Everything trains, batch norm included.
    FullNetwork,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mode::FixedFeature => "fixed_feature",
            Mode::FullNetwork => "full_network",
        })
    }
}

/// One fine-tune.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the training view.
    #[schemars(range(min = 1, max = 1000))]
    pub epochs: usize,
    /// Peak learning rate.
    #[schemars(range(min = 1e-8, max = 100.0))]
    pub learning_rate: f64,
    /// Decoupled from nothing: L2 added to the gradient for SGD, decoupled for `AdamW`.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight_decay: f64,
    /// Images per step.
    #[serde(default = "default_batch_size")]
    #[schemars(range(min = 1, max = 4096))]
    pub batch_size: usize,
    /// Learning rate over time.
    #[serde(default)]
    pub schedule: Schedule,
    /// How steps are taken.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Share of the target distribution spread evenly over all classes.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub label_smoothing: f64,
    /// Random changes to training images, where every step passes the network: in full-network mode, and with `batch_norm: train`.
    #[serde(default)]
    pub augment: Augment,
    /// What batch norm does while a head trains on a frozen backbone (fixed-feature only: where everything trains, it trains too).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_norm: Option<BatchNorm>,
}

impl Recipe {
    /// Whether a head trains on features that are made once.
    pub(crate) fn on_features(&self) -> bool {
        self.batch_norm.unwrap_or_default() == BatchNorm::Frozen
    }
}

/// What batch norm does while a head trains on a frozen backbone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchNorm {
    /// Its statistics are the checkpoint's: features are made once, and every head trains on them.
    #[default]
    Frozen,
    /// Its statistics are those of each batch, and the running ones go along, as in the code of Salman et al. (2022): every step passes the backbone.
    Train,
}

fingerprint!(Recipe as "recipe" {
    epochs: "epochs",
    learning_rate: "learning_rate",
    weight_decay: "weight_decay",
    batch_size: "batch_size",
    schedule: "schedule",
    optimizer: "optimizer",
    label_smoothing: "label_smoothing",
    augment: "augment",
} later { batch_norm: "batch_norm" });
fingerprint!(BatchNorm: Frozen = "frozen", Train = "train");
fingerprint!(Augment as "augment" { flip: "flip", shift: "shift" });
fingerprint!(Mode: FixedFeature = "fixed_feature", FullNetwork = "full_network");

fn default_batch_size() -> usize {
    64
}

/// The learning rate over time, as a factor on the peak.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The peak throughout.
    Constant,
    /// Up from 0 to the peak at the given epoch, then down to 0, linearly, per step (the paper's triangle).
    #[default]
    Cyclic,
    /// Half a cosine from the peak to 0.
    Cosine,
    /// Multiplied by `gamma` every `every` epochs.
    Step {
        /// Epochs between drops.
        #[schemars(range(min = 1, max = 1000))]
        every: usize,
        /// Factor at each drop.
        #[schemars(range(min = 0.0, max = 1.0))]
        gamma: f64,
    },
    /// Multiplied by `gamma` at each of the given epochs.
    MultiStep {
        /// Epochs at which the rate drops.
        at: Vec<usize>,
        /// Factor at each drop.
        #[schemars(range(min = 0.0, max = 1.0))]
        gamma: f64,
    },
}

impl Fingerprint for Schedule {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Schedule::Constant => "constant".feed(feed),
            Schedule::Cyclic => "cyclic".feed(feed),
            Schedule::Cosine => "cosine".feed(feed),
            Schedule::Step { every, gamma } => {
                feed.open("step");
                feed.field("every", every);
                feed.field("gamma", gamma);
                feed.close();
            }
            Schedule::MultiStep { at, gamma } => {
                feed.open("multi_step");
                feed.field("at", at);
                feed.field("gamma", gamma);
                feed.close();
            }
        }
    }
}

/// How steps are taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent as PyTorch defines it.
    Sgd {
        /// Momentum.
        #[serde(default = "default_momentum")]
        #[schemars(range(min = 0.0, max = 0.999))]
        momentum: f64,
        /// Nesterov's variant.
        #[serde(default)]
        nesterov: bool,
    },
    /// Adam with decoupled weight decay.
    Adamw {
        /// Decay of the first moment.
        #[serde(default = "default_beta1")]
        #[schemars(range(min = 0.0, max = 0.9999))]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "default_beta2")]
        #[schemars(range(min = 0.0, max = 0.9999))]
        beta2: f64,
    },
}

impl Fingerprint for Optimizer {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Optimizer::Sgd { momentum, nesterov } => {
                feed.open("sgd");
                feed.field("momentum", momentum);
                feed.field("nesterov", nesterov);
                feed.close();
            }
            Optimizer::Adamw { beta1, beta2 } => {
                feed.open("adamw");
                feed.field("beta1", beta1);
                feed.field("beta2", beta2);
                feed.close();
            }
        }
    }
}

fn default_momentum() -> f64 {
    0.9
}
fn default_beta1() -> f64 {
    0.9
}
fn default_beta2() -> f64 {
    0.999
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer::Sgd { momentum: default_momentum(), nesterov: false }
    }
}

/// Random changes to training images.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Mirror half of them left to right.
    #[serde(default)]
    pub flip: bool,
    /// Pad by this share of the side on every edge, then cut at a random place (0.125 is CIFAR's 4 of 32 pixels).
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.5))]
    pub shift: f64,
}
