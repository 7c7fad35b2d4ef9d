//! How a model is fine-tuned, as a policy states it.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::diag::count;
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
    /// Training images that grow from epoch to epoch, where every step passes the network. Test images have the model's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressive_resizing: Option<ProgressiveResizing>,
    /// What batch norm does while a head trains on a frozen backbone (fixed-feature only: where everything trains, it trains too).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_norm: Option<BatchNorm>,
}

impl Recipe {
    /// Whether a head trains on features that are made once.
    pub(crate) fn on_features(&self) -> bool {
        self.batch_norm.unwrap_or_default() == BatchNorm::Frozen
    }

    /// What is wrong with it that its schema cannot tell.
    pub(crate) fn mistakes(&self) -> Vec<RecipeMistake> {
        let late = match &self.schedule {
            Schedule::Triangle(Triangle { cyclic: Peak { peak } }) if *peak > self.epochs => Some(RecipeMistake {
                at: "/schedule/cyclic/peak",
                message: format!("`peak` is {peak}, and there are {}", count(self.epochs, "epoch")),
                hint: "a rate that is still rising at the end never reaches its peak: lower `peak`, or raise `epochs`",
            }),
            _ => None,
        };
        let growing = self.progressive_resizing.iter().flat_map(|growing| growing.mistakes(self.epochs));
        late.into_iter().chain(self.augment.mistakes()).chain(growing).collect()
    }
}

/// A mistake in a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecipeMistake {
    /// JSON pointer from the recipe to the value.
    pub at: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
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
} later { batch_norm: "batch_norm", progressive_resizing: "progressive resizing" });
fingerprint!(ProgressiveResizing as "growing" { from: "from", to: "to", start: "start", end: "end", multiple: "multiple" });
fingerprint!(BatchNorm: Frozen = "frozen", Train = "train");
fingerprint!(Augment as "augment" { flip: "flip", shift: "shift" } later { random_resized_crop: "random resized crop" });
fingerprint!(RandomResizedCrop as "crop" { scale: "scale", ratio: "ratio" });
fingerprint!(Mode: FixedFeature = "fixed_feature", FullNetwork = "full_network");

fn default_batch_size() -> usize {
    64
}

/// The learning rate over time, as a factor on the peak.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(transform = with_triangle)]
pub enum Schedule {
    /// The peak throughout.
    Constant,
    /// Up from 0 to the peak after a third of the epochs, then down to 0, linearly, per step.
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
    /// `cyclic` with its peak where the recipe says: a word and a map of one name.
    #[serde(untagged)]
    #[schemars(skip)]
    Triangle(Triangle),
}

/// The triangle of Salman et al. (2022), `{ cyclic: { peak: 5 } }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triangle {
    /// Where it has its peak.
    pub cyclic: Peak,
}

/// Where the triangle has its peak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peak {
    /// Epochs after which the rate is at its peak; not more than `epochs`.
    #[schemars(range(min = 1, max = 1000))]
    pub peak: usize,
}

/// Adds the map `cyclic` behind the word `cyclic`: serde can be told of one name for both, the derive of the schema cannot.
fn with_triangle(schema: &mut Schema) {
    let fields = SchemaGenerator::default().into_root_schema_for::<Peak>();
    let mut fields = fields.to_value();
    if let Some(fields) = fields.as_object_mut() {
        for key in ["$schema", "title", "description"] {
            fields.remove(key);
        }
    }
    let branch = json!({
        "type": "object",
        "properties": { "cyclic": fields },
        "required": ["cyclic"],
        "additionalProperties": false,
        "description": "Up from 0 to the peak at the epoch `peak`, then down to 0 at the end, linearly, per step: the triangle of Salman et al. (2022), \
                        whose first step has the rate 0.",
    });
    // For a variant without a tag, though it is skipped, schemars writes `anyOf`.
    let branches = schema.remove("anyOf").or_else(|| schema.remove("oneOf"));
    if let Some(Value::Array(mut branches)) = branches {
        let word = branches.iter().position(|branch| branch.get("const") == Some(&json!("cyclic")));
        branches.insert(word.map_or(0, |at| at + 1), branch);
        let description = schema.remove("description");
        schema.insert("oneOf".to_owned(), Value::Array(branches));
        if let Some(description) = description {
            schema.insert("description".to_owned(), description);
        }
    }
}

impl Fingerprint for Schedule {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Schedule::Constant => "constant".feed(feed),
            Schedule::Cyclic => "cyclic".feed(feed),
            Schedule::Triangle(Triangle { cyclic: Peak { peak } }) => {
                feed.open("triangle");
                feed.field("peak", peak);
                feed.close();
            }
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
    /// Cut a box of random size, proportions and place out of the image as it came, and bring that to the model's size, whatever its proportions:
    /// torchvision's `RandomResizedCrop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
}

/// A random box of the image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Least and largest share of the image's area.
    #[serde(default = "default_scale")]
    #[schemars(inner(range(min = 0.0001, max = 1.0)))]
    pub scale: [f64; 2],
    /// Least and largest width over height, drawn evenly by their logarithm.
    #[serde(default = "default_ratio")]
    #[schemars(inner(range(min = 0.01, max = 100.0)))]
    pub ratio: [f64; 2],
}

/// Training images that grow from epoch to epoch: small ones at first, which take less time. As the code of Salman et al. (2022) trains its source
/// models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgressiveResizing {
    /// Side of the first images, in pixels.
    #[schemars(range(min = 4, max = 4096))]
    pub from: usize,
    /// Side of the last ones, in pixels. Default: the model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 4096))]
    pub to: Option<usize>,
    /// Epochs after which they begin to grow.
    #[serde(default)]
    #[schemars(range(max = 999))]
    pub start: usize,
    /// Epochs after which they grow no more.
    #[schemars(range(min = 1, max = 999))]
    pub end: usize,
    /// On the way, sides are rounded to a multiple of this.
    #[serde(default = "default_multiple")]
    #[schemars(range(min = 1, max = 256))]
    pub multiple: usize,
}

fn default_multiple() -> usize {
    32
}

impl ProgressiveResizing {
    /// The side of an epoch's images, in pixels, for a model whose own is `model`; epochs count from 0. As `get_resolution` of the code of Salman et
    /// al. computes it.
    pub(crate) fn side(&self, epoch: usize, model: usize) -> usize {
        let to = self.to.unwrap_or(model);
        if epoch <= self.start {
            return self.from;
        }
        if epoch >= self.end {
            return to;
        }
        let way = (epoch - self.start) as f64 / (self.end - self.start) as f64;
        let side = self.from as f64 + (to as f64 - self.from as f64) * way;
        let multiple = self.multiple.max(1);
        // What is rounded is never below the first nor above the last.
        ((side / multiple as f64).round_ties_even() as usize * multiple).clamp(self.from.min(to), to.max(self.from))
    }

    fn mistakes(&self, epochs: usize) -> Vec<RecipeMistake> {
        let shrinks = self.to.filter(|to| *to < self.from).map(|to| RecipeMistake {
            at: "/progressive_resizing/to",
            message: format!("images shrink from {} to {to} pixels", self.from),
            hint: "images grow: write the smaller side after `from`",
        });
        let early = (self.end <= self.start).then(|| RecipeMistake {
            at: "/progressive_resizing/end",
            message: format!("images grow until epoch {} and begin with epoch {}", self.end, self.start),
            hint: "`end` comes after `start`",
        });
        let late = (self.end >= epochs).then(|| RecipeMistake {
            at: "/progressive_resizing/end",
            message: format!("`end` is {}, and there are {}", self.end, count(epochs, "epoch")),
            hint: "no epoch would have images of the full size: lower `end`, or raise `epochs`",
        });
        shrinks.into_iter().chain(early).chain(late).collect()
    }
}

fn default_scale() -> [f64; 2] {
    [0.08, 1.0]
}
fn default_ratio() -> [f64; 2] {
    [3.0 / 4.0, 4.0 / 3.0]
}

impl Augment {
    /// What is wrong with it that its schema cannot tell.
    fn mistakes(&self) -> Vec<RecipeMistake> {
        let Some(RandomResizedCrop { scale, ratio }) = self.random_resized_crop else { return Vec::new() };
        let backwards = |[least, largest]: [f64; 2], at, name: &str| {
            (least > largest).then(|| RecipeMistake {
                at,
                message: format!("`{name}` goes from {least} down to {largest}"),
                hint: "write the least first, then the largest",
            })
        };
        let both = (self.shift > 0.0).then(|| RecipeMistake {
            at: "/augment/shift",
            message: "`shift` beside `random_resized_crop`: both say which part of an image is shown".to_owned(),
            hint: "keep one of them",
        });
        let scale = backwards(scale, "/augment/random_resized_crop/scale", "scale");
        let ratio = backwards(ratio, "/augment/random_resized_crop/ratio", "ratio");
        scale.into_iter().chain(ratio).chain(both).collect()
    }
}
