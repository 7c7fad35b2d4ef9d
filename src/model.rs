//! A checkpoint in memory: graph, parameters, how images enter, where features leave.
//!
//! Files: `onnx/` and `safetensors` read checkpoints, `arch/` holds architectures for files that carry weights
//! only, `cut` finds the features, `extract` has ONNX Runtime compute them, `rounding` says how far its numbers carry, `bypass` finds a way
//! around its weights, `preprocessing` says what images become before they enter.

pub(crate) mod arch;
pub(crate) mod feature_layer;
pub(crate) mod onnx;
pub(crate) mod preprocessing;
pub(crate) mod safetensors;

mod bypass;
mod export;
mod extract;
mod inspect;
mod load;
pub(crate) mod rounding;

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::ArrayD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::Fit;
use crate::graph::{Graph, Op};
use crate::registry::ModelRef;
use crate::runtime::Runtime;
use crate::store::{MemoryBudget, fingerprint};
use crate::transform::geometry::{Geometry, Resize};

pub use bypass::Bypass;
pub use export::Part;
pub(crate) use extract::{ExtractError, Extractor, difference, first_difference};
pub(crate) use feature_layer::FeatureLayerError;
pub use inspect::{FeatureLayerSummary, Inspection, ModeSummary, inspect};
pub use load::ModelError;

/// The numbers of a graph: one array per slot, in slot order.
#[derive(Clone, Debug, PartialEq)]
pub struct Params(pub Vec<ArrayD<f32>>);

impl Params {
    /// How many numbers of the graph may train; of a slot that no node reads none do.
    pub(crate) fn trainable(&self, graph: &Graph) -> usize {
        let mut read = vec![false; self.0.len()];
        for node in graph.nodes() {
            if let Op::Param(slot) = node.op {
                read.iter_mut().skip(slot.0).take(1).for_each(|read| *read = true);
            }
        }
        let arrays = self.0.iter().zip(graph.slots()).zip(read);
        arrays.filter(|((_, slot), read)| *read && slot.role.trains()).map(|((array, _), _)| array.len()).sum()
    }
}

/// Order of the axes of the model input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[N, C, H, W]`
    Nchw,
    /// `[N, H, W, C]`
    Nhwc,
}

/// Which colour comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red (Caffe, `OpenCV`).
    Bgr,
}

impl ChannelOrder {
    /// The colour that comes first.
    pub(crate) fn first(self) -> &'static str {
        match self {
            Self::Rgb => "red",
            Self::Bgr => "blue",
        }
    }

    /// Whether it is the usual one.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(crate) fn is_rgb(&self) -> bool {
        *self == Self::Rgb
    }
}

/// What an image becomes before it enters the model: `(value in 0..=1 - mean) / std` per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preprocessing {
    /// Subtracted, red, green, blue.
    pub mean: [f32; 3],
    /// Divided by, red, green, blue.
    pub std: [f32; 3],
    /// Which colour enters first.
    #[serde(default, skip_serializing_if = "ChannelOrder::is_rgb")]
    pub order: ChannelOrder,
    /// Where this was read from, or that it was assumed: shown to the user.
    pub from: String,
}

/// What enters the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputSpec {
    /// 1 (gray) or 3 (RGB).
    pub channels: usize,
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
    /// Axis order.
    pub layout: Layout,
    /// Normalisation.
    pub preprocessing: Preprocessing,
    /// How images of other sizes are brought to this one.
    #[serde(default)]
    pub geometry: Geometry,
    /// Where that was read from, or that it was assumed: shown to the user.
    #[serde(default)]
    pub geometry_from: String,
    /// What the policy says otherwise than the checkpoint itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overruled: Vec<Overruled>,
}

/// The usual processors cut out three quarters of an image's area and more.
const LEAST_SHARE: f64 = 0.25;

/// A word of the checkpoint that the policy's `input` contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overruled {
    /// Mean or standard deviation.
    Normalisation,
    /// Which colour comes first.
    ChannelOrder,
    /// How images are brought to the model's size.
    Geometry,
}

impl InputSpec {
    /// Warnings where the policy prepares images otherwise than the checkpoint itself says: what was measured is then another network.
    pub(crate) fn contradicted(&self) -> Vec<String> {
        let Preprocessing { mean, std, order, from } = &self.preprocessing;
        let (mean, std) = (self.each(mean), self.each(std));
        let warning = |what: &Overruled| match what {
            Overruled::Normalisation => format!("images are normalised by mean {mean:?} and std {std:?}, {from}"),
            Overruled::ChannelOrder => format!("images enter with {} first, {from}", order.first()),
            Overruled::Geometry => format!("images are resized another way: {}", self.resized()),
        };
        self.overruled.iter().map(warning).collect()
    }

    /// What is assumed of how images enter, because nobody says it: numbers, and what to write where somebody knows better.
    pub fn assumed(&self) -> Vec<String> {
        let Preprocessing { mean, std, from, .. } = &self.preprocessing;
        let values = || format!("mean {:?} and std {:?}", self.each(mean), self.each(std));
        let geometry = || self.geometry.describe(self.height, self.width);
        let assumed = |from: &str| from.starts_with(preprocessing::ASSUMED);
        [assumed(from).then(values), assumed(&self.geometry_from).then(geometry)].into_iter().flatten().collect()
    }

    /// How images are brought to the model's size, and who says so.
    pub fn resized(&self) -> String {
        let how = self.geometry.describe(self.height, self.width);
        if self.geometry_from.is_empty() { how } else { format!("{how} ({})", self.geometry_from) }
    }

    /// The numbers of the channels that the model has: a gray one is normalised by the first mean and standard deviation alone.
    fn each<'a>(&self, values: &'a [f32; 3]) -> &'a [f32] {
        values.get(..self.channels).unwrap_or(values)
    }

    /// How values become the model's numbers, and who says so: `mean 0.5 0.5 0.5, std 0.25 0.25 0.25 (config.json)`.
    pub fn normalised(&self) -> String {
        let Preprocessing { mean, std, order, from } = &self.preprocessing;
        let shown = |values| self.each(values).iter().map(f32::to_string).collect::<Vec<_>>().join(" ");
        let order = if *order == ChannelOrder::Bgr && self.channels > 1 { ", blue first" } else { "" };
        format!("mean {}, std {}{order} ({from})", shown(mean), shown(std))
    }

    /// A warning where so little of an image is cut out that it may be a mistake: less than a quarter of what it is resized to.
    pub fn cropped(&self) -> Option<String> {
        let [height, width] = self.geometry.before_crop.filter(|_| !matches!(self.geometry.resize, Resize::CropOnly | Resize::Exact))?;
        let share = (self.height * self.width) as f64 / (height * width).max(1) as f64;
        (share < LEAST_SHARE).then(|| {
            format!(
                "the network sees {:.1}% of an image's area: `before_crop` resizes images to {height}x{width}, and only the middle {}x{} is cut \
                 out ({})",
                100.0 * share,
                self.height,
                self.width,
                self.geometry_from
            )
        })
    }

    /// What a user should know of how images are prepared: [`InputSpec::contradicted`] and [`InputSpec::cropped`].
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.contradicted().into_iter().chain(self.cropped()).collect()
    }

    /// The size and geometry that a target task's images are brought to.
    pub fn fit<'a>(&self, budget: &'a MemoryBudget) -> Fit<'a> {
        Fit { height: self.height, width: self.width, geometry: self.geometry, budget, keep: false }
    }
}

/// Where features leave the network.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureLayer {
    /// The name of the tensor in the file that was chosen.
    pub name: String,
    /// Features per image.
    pub width: usize,
    /// How it was found (`input of the last linear layer`, `mean over the map`, ...).
    pub how: String,
    /// From the tensor in the file to `[N, width]`: pooling and flattening, nothing else.
    pub tail: Arc<Graph>,
}

/// A network that heirloom itself runs and trains.
#[derive(Clone, Debug)]
pub struct Network {
    /// The network as imported, head included.
    pub graph: Arc<Graph>,
    /// The network from the input to `[N, features]` (its last node); its slots are those of `graph`.
    pub trunk: Arc<Graph>,
    /// One array per slot.
    pub params: Params,
}

/// A checkpoint, ready to be measured: at least one of `network` and `runtime` is there.
#[derive(Clone, Debug)]
pub struct Model {
    /// Which file, with its digest.
    pub identity: ModelRef,
    /// What the file is, for people: `ONNX opset 17`, `safetensors, ResNet-20 (CIFAR)`.
    pub description: String,
    /// What enters.
    pub input: InputSpec,
    /// Where features leave.
    pub feature_layer: FeatureLayer,
    /// The network in operators of our own, or why it cannot be expressed in them: it cannot be trained then.
    pub network: Result<Network, Opaque>,
    /// The features computed by ONNX Runtime, or why they are not.
    pub runtime: Result<Extractor, String>,
    /// Free text in the file, and what a file of the same weights has to say to be read as this one was.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// A network that only its file's own runtime understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque {
    /// Why it cannot be expressed in our operators.
    pub reason: String,
    /// Numbers in all tensors.
    pub parameters: usize,
    /// How many operators of each kind.
    pub operators: BTreeMap<String, usize>,
}

/// What is known of the input of the model, and of a reference beside it, where the file does not say.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputOverride {
    /// Height and width in pixels, for models that take any size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// Mean per channel, of values from 0 to 1: `[0.485, 0.456, 0.406]`, not `[124, 116, 104]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 0.0, max = 1.0)))]
    pub mean: Option<[f32; 3]>,
    /// Standard deviation per channel, of the same values. A network that takes 0 to 255 has `[0.00392, 0.00392, 0.00392]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 0.002, max = 2.0)))]
    pub std: Option<[f32; 3]>,
    /// Which colour comes first. Mean and standard deviation stay those of red, green and blue, in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_order: Option<ChannelOrder>,
    /// How images of other sizes are brought to the model's size. Absent: as the checkpoint's own configuration says, because it was
    /// trained that way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry: Option<Geometry>,
}

fingerprint!(InputOverride as "input" { size: "size", mean: "mean", std: "std" } later { channel_order: "channel order", geometry: "geometry" });
fingerprint!(InputSpec as "input" {
    channels: "channels", height: "height", width: "width", layout: "layout", preprocessing: "preprocessing",
} later { geometry: "geometry" } without { geometry_from, overruled });
fingerprint!(Preprocessing as "preprocessing" { mean: "mean", std: "std" } later { order: "channel order" } without { from });
fingerprint!(ChannelOrder: Rgb = "rgb", Bgr = "bgr");
fingerprint!(Layout: Nchw = "nchw", Nhwc = "nhwc");
fingerprint!(FeatureLayer as "cut" { name: "name", width: "width", tail: "tail" } without { how });

/// What an importer read: everything but the identity and the cut.
#[derive(Clone, Debug)]
pub(crate) struct Imported {
    /// What the file is, for people.
    pub description: String,
    /// The whole network.
    pub graph: Graph,
    /// One array per slot.
    pub params: Params,
    /// Axis order of the input.
    pub layout: Layout,
    /// Channels of the input.
    pub channels: usize,
    /// Height and width, where the file fixes them or the importer was told.
    pub size: Option<[usize; 2]>,
    /// Normalisation that is part of the architecture's definition, where nothing else says.
    pub usual: Option<Preprocessing>,
    /// A tensor that the file itself calls its features (an output named `features`).
    pub features: Option<String>,
    /// Free text in the file (ONNX `metadata_props`, safetensors `__metadata__`).
    pub metadata: BTreeMap<String, String>,
}

/// What the user says about a checkpoint beyond its file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadOptions {
    /// Tensor to cut the features at (`--features`).
    pub features: Option<String>,
    /// Architecture of a weights-only file (`--arch`).
    pub arch: Option<String>,
    /// From the policy's `input`.
    pub input: InputOverride,
    /// What runs frozen networks, where there is one.
    pub runtime: Option<Runtime>,
}
