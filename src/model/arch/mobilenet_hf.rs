//! `MobileNetV1` and `MobileNetV2` (arXiv 1704.04861, 1801.04381) and `EfficientNet` (arXiv 1905.11946) under the names of Hugging Face
//! Transformers.
//!
//! Their weights come from TensorFlow, and so does their padding. `MobileNet`'s is TensorFlow's SAME unless `tf_padding` is off; `EfficientNet`'s has
//! a row and a column less above and on the left wherever it strides, whatever the map's size, but in the blocks that `depthwise_padding` lists.

use super::config::{Config, Library};
use super::layers::{Conv, Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Unary};

const RELU6: Unary = Unary::Clip { min: 0.0, max: 6.0 };

pub(super) static MOBILENET: Family = Family {
    name: "mobilenet-hf",
    about: "MobileNetV1 and MobileNetV2 under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.is_one_of(["mobilenet_v1", "mobilenet_v2"]),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let stems = ["conv_stem.convolution", "conv_stem.first_conv.convolution"];
        let stem = shapes.keys().any(|name| stems.iter().any(|stem| name.ends_with(&format!("{stem}.weight"))));
        if stem { Likeness::Yes } else { Likeness::No }
    },
    build: |source| {
        transformers(&source.config, "a MobileNet", "padding", ["mobilenet_v1", "mobilenet_v2"])?;
        let second = source.shapes.keys().any(|name| name.ends_with("conv_stem.first_conv.convolution.weight"));
        if second { mobilenet_v2(source) } else { mobilenet_v1(source) }
    },
};

pub(super) static EFFICIENTNET: Family = Family {
    name: "efficientnet-hf",
    about: "EfficientNet under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.is_one_of(["efficientnet"]),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let depthwise = "encoder.blocks.0.depthwise_conv.depthwise_conv.weight";
        if shapes.keys().any(|name| name.ends_with(depthwise)) { Likeness::Yes } else { Likeness::No }
    },
    build: efficientnet,
};

/// Whose defaults hold must be said: by a configuration of Transformers or by `--arch`.
fn transformers<const N: usize>(config: &Config, what: &'static str, hidden: &str, names: [&str; N]) -> Result<(), ArchError> {
    if config.library == Library::Transformers {
        return Ok(());
    }
    Err(ArchError::NeedsName {
        family: what,
        what: hidden.into(),
        names: names.iter().map(|name| format!("transformers/{name}")).collect(),
    })
}

/// `prefix` where tensors have it: the base model saved on its own has not.
fn base(shapes: &Shapes, prefix: &'static str) -> &'static str {
    if shapes.keys().any(|name| name.starts_with(prefix)) { prefix } else { "" }
}

/// What of a `MobileNet` tensors do not show.
#[derive(Clone, Copy)]
struct Asked {
    act: Unary,
    padding: Padding,
    eps: f64,
}

impl Asked {
    fn of(config: &Config) -> Result<Self, ArchError> {
        config.shown(&["classifier_dropout_prob", "depth_divisible_by", "depth_multiplier", "expand_ratio", "finegrained_output"]);
        config.shown(&["first_layer_is_expansion", "image_size", "min_depth", "semantic_loss_ignore_index"]);
        Ok(Self {
            act: config.act("hidden_act")?.unwrap_or(RELU6),
            padding: if config.flag("tf_padding", true)? { Padding::SameUpper } else { Padding::Half },
            eps: config.number("layer_norm_eps")?.unwrap_or(1e-3),
        })
    }

    /// What makes it another network than its family's, for people.
    fn told(self) -> String {
        let act = (self.act != RELU6).then(|| format!(", {:?}", self.act));
        let padding = (self.padding == Padding::Half).then(|| ", PyTorch's padding".to_owned());
        [act, padding].into_iter().flatten().collect()
    }

    /// Convolution, batch norm and, where there is one, activation.
    fn unit(
        self,
        net: &mut Layers,
        name: &str,
        x: NodeId,
        (step, groups): ((usize, usize), Groups),
        act: bool,
    ) -> Result<NodeId, ArchError> {
        let x = net.dilated(&format!("{name}.convolution"), x, step, groups, self.padding)?;
        let x = net.norm(&format!("{name}.normalization"), x)?;
        if act { net.act(&format!("{name}.activation"), self.act, x) } else { Ok(x) }
    }
}

fn mobilenet_v1(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let asked = Asked::of(config)?;
    let base = base(shapes, "mobilenet_v1.");
    let stem = format!("{base}conv_stem");
    let (mut net, input) = Layers::new(MOBILENET.name, shapes, &format!("{stem}.convolution.weight"), *size, asked.eps)?;
    let mut x = asked.unit(&mut net, &stem, input, ((2, 1), Groups::One), true)?;
    for (i, stride) in [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1].into_iter().enumerate() {
        let [depthwise, pointwise] = [2 * i, 2 * i + 1].map(|layer| format!("{base}layer.{layer}"));
        x = asked.unit(&mut net, &depthwise, x, ((stride, 1), Groups::Depthwise), true)?;
        x = asked.unit(&mut net, &pointwise, x, ((1, 1), Groups::One), true)?;
    }
    x = classified(&mut net, shapes, base, x)?;
    net.finish(x, format!("MobileNetV1, Hugging Face names{}", asked.told()))
}

fn mobilenet_v2(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let asked = Asked::of(config)?;
    let output_stride = config.count("output_stride")?.unwrap_or(32);
    if ![4, 8, 16, 32].contains(&output_stride) {
        return Err(config.refused("output_stride", &output_stride.into()));
    }
    let base = base(shapes, "mobilenet_v2.");
    let stem = format!("{base}conv_stem");
    let (mut net, input) = Layers::new(MOBILENET.name, shapes, &format!("{stem}.first_conv.convolution.weight"), *size, asked.eps)?;
    let mut x = asked.unit(&mut net, &format!("{stem}.first_conv"), input, ((2, 1), Groups::One), true)?;
    if net.has(&format!("{stem}.expand_1x1.convolution.weight")) {
        x = asked.unit(&mut net, &format!("{stem}.expand_1x1"), x, ((1, 1), Groups::One), true)?;
    }
    x = asked.unit(&mut net, &format!("{stem}.conv_3x3"), x, ((1, 1), Groups::Depthwise), true)?;
    x = asked.unit(&mut net, &format!("{stem}.reduce_1x1"), x, ((1, 1), Groups::One), false)?;
    // From `output_stride` on layers dilate instead of striding, all but the one that would stride.
    let (mut reduced, mut dilation) = (2, 1);
    for (i, stride) in [2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1].into_iter().enumerate() {
        let step = if reduced == output_stride { (1, dilation) } else { (stride, 1) };
        if reduced == output_stride {
            dilation *= stride;
        } else {
            reduced *= stride;
        }
        let name = format!("{base}layer.{i}");
        let before = x;
        x = asked.unit(&mut net, &format!("{name}.expand_1x1"), x, ((1, 1), Groups::One), true)?;
        x = asked.unit(&mut net, &format!("{name}.conv_3x3"), x, (step, Groups::Depthwise), true)?;
        x = asked.unit(&mut net, &format!("{name}.reduce_1x1"), x, ((1, 1), Groups::One), false)?;
        if step.0 == 1 && net.channels(before) == net.channels(x) {
            x = net.sum(&format!("{name}.add"), before, x)?;
        }
    }
    x = asked.unit(&mut net, &format!("{base}conv_1x1"), x, ((1, 1), Groups::One), true)?;
    x = classified(&mut net, shapes, base, x)?;
    let stride = if output_stride == 32 { String::new() } else { format!(", output stride {output_stride}") };
    net.finish(x, format!("MobileNetV2, Hugging Face names{}{stride}", asked.told()))
}

/// The mean over all places and, where the file has it, the linear layer.
fn classified(net: &mut Layers, shapes: &Shapes, base: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let x = net.pool(&format!("{base}pooler"), false, x)?;
    if shapes.keys().any(|name| name.starts_with("classifier.")) { net.linear("classifier", x) } else { Ok(x) }
}

/// What of an `EfficientNet` tensors do not show.
struct Scaled {
    act: Unary,
    eps: f64,
    max: bool,
    /// The stride of every block, and whether it is the first of its stage.
    blocks: Vec<(usize, bool)>,
    /// Blocks that are padded alike on all sides.
    square: Vec<usize>,
}

impl Scaled {
    fn of(config: &Config, found: usize) -> Result<Self, ArchError> {
        config.shown(&["batch_norm_momentum", "depth_divisor", "drop_connect_rate", "dropout_rate", "expand_ratios", "image_size"]);
        config.shown(&["in_channels", "kernel_sizes", "num_hidden_layers", "out_channels", "squeeze_expansion_ratio", "width_coefficient"]);
        let max = match config.text("pooling_type")? {
            None | Some("mean") => false,
            Some("max") => true,
            Some(other) => return Err(config.refused("pooling_type", &other.into())),
        };
        let strides = config.counts("strides")?.unwrap_or_else(|| vec![1, 2, 2, 2, 1, 2, 1]);
        let repeats = config.counts("num_block_repeats")?.unwrap_or_else(|| vec![1, 2, 2, 3, 3, 4, 1]);
        let deeper = config.number("depth_coefficient")?.unwrap_or(3.1);
        let depths: Vec<f64> = repeats.iter().map(|&repeat| (deeper * repeat as f64).ceil()).collect();
        let total: f64 = depths.iter().sum();
        if strides.len() != repeats.len() || depths.iter().any(|depth| *depth < 1.0) || (total - found as f64).abs() > 0.1 {
            return Err(ArchError::Unsupported(format!(
                "config.json: {} strides for {} stages with {total} blocks in all, and the tensors show {found}: the two are of different models",
                strides.len(),
                repeats.len()
            )));
        }
        if let Some(stride) = strides.iter().find(|stride| ![1, 2].contains(*stride)) {
            return Err(config.refused("strides", &(*stride).into()));
        }
        // As many blocks as the file has.
        let stage = |(stride, depth): (&usize, &f64)| (0..*depth as usize).map(|b| (if b == 0 { *stride } else { 1 }, b == 0)).collect();
        let blocks: Vec<Vec<(usize, bool)>> = strides.iter().zip(&depths).map(stage).collect();
        Ok(Self {
            act: config.act("hidden_act")?.unwrap_or(Unary::Silu),
            eps: config.number("batch_norm_eps")?.unwrap_or(1e-3),
            max,
            blocks: blocks.concat(),
            square: config.counts("depthwise_padding")?.unwrap_or_default(),
        })
    }

    /// A plain convolution, batch norm and, where there is one, activation.
    fn unit(&self, net: &mut Layers, [conv, norm]: [&str; 2], x: NodeId, how: Option<Conv>, act: bool) -> Result<NodeId, ArchError> {
        let x = match how {
            None => net.conv(conv, x, 1, Groups::One, Padding::Half)?,
            Some(how) => net.conv_as(conv, x, how)?,
        };
        let x = net.norm(norm, x)?;
        if act { net.act(&format!("{norm}.act"), self.act, x) } else { Ok(x) }
    }

    fn block(&self, net: &mut Layers, shapes: &Shapes, (i, name): (usize, &str), input: NodeId) -> Result<NodeId, ArchError> {
        let (stride, first) = self.blocks.get(i).copied().unwrap_or((1, false));
        let part = |part: &str| format!("{name}.{part}");
        let mut x = input;
        if net.has(&part("expansion.expand_conv.weight")) {
            x = self.unit(net, [&part("expansion.expand_conv"), &part("expansion.expand_bn")], x, None, true)?;
        }
        let depthwise = part("depthwise_conv.depthwise_conv");
        let kernel = shapes.get(&format!("{depthwise}.weight")).and_then(|shape| shape.get(2)).copied().unwrap_or(3);
        if kernel < 2 || kernel.is_multiple_of(2) {
            return Err(ArchError::Unsupported(format!("`{depthwise}` has a kernel of {kernel}, for which no padding is known")));
        }
        let half = kernel / 2;
        let less = if stride == 2 && !self.square.contains(&i) { half - 1 } else { half };
        let how = Conv { pads: [less, less, half, half], groups: net.channels(x), ..Conv::new(stride, 0) };
        x = self.unit(net, [&depthwise, &part("depthwise_conv.depthwise_norm")], x, Some(how), true)?;
        x = net.excited([&part("squeeze_excite.reduce"), &part("squeeze_excite.expand")], x, self.act, Unary::Sigmoid)?;
        x = self.unit(net, [&part("projection.project_conv"), &part("projection.project_bn")], x, None, false)?;
        // The first block of a stage has no shortcut, though one may fit.
        if first { Ok(x) } else { net.sum(&part("add"), x, input) }
    }
}

fn efficientnet(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    transformers(config, "an EfficientNet", "strides", ["efficientnet"])?;
    let base = base(shapes, "efficientnet.");
    let blocks = format!("{base}encoder.blocks.");
    let asked = Scaled::of(config, count(shapes, &blocks))?;
    let stem = format!("{base}embeddings.convolution");
    let (mut net, input) = Layers::new(EFFICIENTNET.name, shapes, &format!("{stem}.weight"), *size, asked.eps)?;
    let how = Conv { pads: [0, 0, 1, 1], ..Conv::new(2, 0) };
    let mut x = asked.unit(&mut net, [&stem, &format!("{base}embeddings.batchnorm")], input, Some(how), true)?;
    for i in 0..asked.blocks.len() {
        x = asked.block(&mut net, shapes, (i, &format!("{blocks}{i}")), x)?;
    }
    x = asked.unit(&mut net, [&format!("{base}encoder.top_conv"), &format!("{base}encoder.top_bn")], x, None, true)?;
    // The library pools windows of `hidden_dim` places: all of them, of any map that is not as large as that.
    let [width, map] = [net.channels(x), net.size(x).into_iter().max().unwrap_or(0)];
    config.agrees_or("hidden_dim", 2560, width)?;
    if map > width && net.is_whole() {
        return Err(ArchError::Unsupported(format!("a map of {map} places a side is not pooled whole, but in windows of {width}")));
    }
    x = net.pool(&format!("{base}pooler"), asked.max, x)?;
    if shapes.keys().any(|name| name.starts_with("classifier.")) {
        x = net.linear("classifier", x)?;
    }
    let act = if asked.act == Unary::Silu { String::new() } else { format!(", {:?}", asked.act) };
    let pool = if asked.max { ", max pooling" } else { "" };
    net.finish(x, format!("EfficientNet, {} blocks, Hugging Face names{act}{pool}", asked.blocks.len()))
}
