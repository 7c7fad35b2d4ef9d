//! `ConvNeXt` (Liu et al., arXiv 2201.03545), `ConvNeXt` V2 (Woo et al., arXiv 2301.00808) and the `ConvNeXt` of `DINOv3`
//! (arXiv 2508.10104), under the names of timm, Hugging Face Transformers and torchvision.
//!
//! A block is a depthwise convolution, a norm over channels and a network of two layers, which V2 normalises in between (GRN). One builder
//! reads all four spellings. Where the two layers are 1x1 convolutions (timm's `conv_mlp`) the map stays as it is, else channels go last.
//! Transformers has the norms inside at 1e-6 whatever `layer_norm_eps` says: that is the last norm's alone.

use super::config::Library;
use super::layers::{Conv, Groups, Layers, Padding, count};
use super::staged::{self, plus};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Role, Unary};

const GELU: Unary = Unary::Gelu { tanh: false };

pub(super) static TIMM: Family = Family {
    name: "convnext-timm",
    about: "ConvNeXt and ConvNeXt V2 under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && staged::calls(name, &VARIANTS, |v| v.name),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |name: &str| shapes.contains_key(name);
        let split = shapes.keys().any(|name| name.contains(".xca."));
        likeness(has("stem.0.weight") && has("stages.0.blocks.0.conv_dw.weight") && has("stages.0.blocks.0.mlp.fc1.weight") && !split)
    },
    build: build_timm,
};

pub(super) static TRANSFORMERS: Family = Family {
    name: "convnext-hf",
    about: "ConvNeXt and ConvNeXt V2 under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.library == Library::Transformers && name.is_one_of(["convnext", "convnextv2"]),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes.keys().any(|name| name.ends_with("encoder.stages.0.layers.0.dwconv.weight"))),
    build: build_transformers,
};

pub(super) static DINOV3: Family = Family {
    name: "dinov3-convnext-hf",
    about: "The ConvNeXt of DINOv3 under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.library == Library::Transformers && name.is_one_of(["dinov3_convnext"]),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes.keys().any(|name| name.ends_with("stages.0.layers.0.depthwise_conv.weight"))),
    build: build_dinov3,
};

pub(super) static TORCHVISION: Family = Family {
    name: "convnext-torchvision",
    about: "ConvNeXt under torchvision's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        name.library == Library::Torchvision && name.is_one_of(["convnext_tiny", "convnext_small", "convnext_base", "convnext_large"])
    },
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes.contains_key("features.1.0.layer_scale")),
    build: build_torchvision,
};

fn likeness(is: bool) -> Likeness {
    if is { Likeness::Yes } else { Likeness::No }
}

/// How a value is normalised over its channels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Norm {
    Layer,
    Rms,
    /// Divided by the standard deviation, the mean left as it is.
    Simple,
}

/// What timm calls by a name, as far as tensors do not show it, and what they must show.
struct Variant {
    name: &'static str,
    depths: [usize; 4],
    dims: [usize; 4],
    norm: Norm,
    eps: f64,
    act: Unary,
}

const fn variant(name: &'static str, depths: [usize; 4], width: usize) -> Variant {
    Variant { name, depths, dims: [width, 2 * width, 4 * width, 8 * width], norm: Norm::Layer, eps: 1e-6, act: GELU }
}

/// All of timm's.
static VARIANTS: [Variant; 31] = [
    Variant { norm: Norm::Simple, ..variant("convnext_zepto_rms", [2, 2, 4, 2], 32) },
    Variant { norm: Norm::Simple, ..variant("convnext_zepto_rms_ols", [2, 2, 4, 2], 32) },
    variant("convnext_atto", [2, 2, 6, 2], 40),
    variant("convnext_atto_ols", [2, 2, 6, 2], 40),
    Variant { norm: Norm::Rms, ..variant("convnext_atto_rms", [2, 2, 6, 2], 40) },
    variant("convnext_femto", [2, 2, 6, 2], 48),
    variant("convnext_femto_ols", [2, 2, 6, 2], 48),
    variant("convnext_pico", [2, 2, 6, 2], 64),
    variant("convnext_pico_ols", [2, 2, 6, 2], 64),
    variant("convnext_nano", [2, 2, 8, 2], 80),
    variant("convnext_nano_ols", [2, 2, 8, 2], 80),
    variant("convnext_tiny_hnf", [3, 3, 9, 3], 96),
    variant("convnext_tiny", [3, 3, 9, 3], 96),
    variant("convnext_small", [3, 3, 27, 3], 96),
    variant("convnext_base", [3, 3, 27, 3], 128),
    variant("convnext_large", [3, 3, 27, 3], 192),
    variant("convnext_large_mlp", [3, 3, 27, 3], 192),
    variant("convnext_xlarge", [3, 3, 27, 3], 256),
    Variant { eps: 1e-5, ..variant("convnext_xxlarge", [3, 4, 30, 3], 384) },
    variant("convnextv2_atto", [2, 2, 6, 2], 40),
    variant("convnextv2_femto", [2, 2, 6, 2], 48),
    variant("convnextv2_pico", [2, 2, 6, 2], 64),
    variant("convnextv2_nano", [2, 2, 8, 2], 80),
    variant("convnextv2_tiny", [3, 3, 9, 3], 96),
    variant("convnextv2_small", [3, 3, 27, 3], 96),
    variant("convnextv2_base", [3, 3, 27, 3], 128),
    variant("convnextv2_large", [3, 3, 27, 3], 192),
    variant("convnextv2_huge", [3, 3, 27, 3], 352),
    Variant { eps: 1e-5, act: TANH, dims: [24, 32, 48, 64], ..variant("test_convnext", [1, 2, 4, 2], 24) },
    Variant { eps: 1e-5, act: TANH, dims: [32, 64, 96, 128], ..variant("test_convnext2", [1, 1, 1, 1], 32) },
    Variant { eps: 1e-5, act: Unary::Silu, dims: [32, 64, 96, 128], ..variant("test_convnext3", [1, 1, 1, 1], 32) },
];

const TANH: Unary = Unary::Gelu { tanh: true };

/// How the tensors are called.
struct Names {
    stages: String,
    blocks: &'static str,
    /// The norm and the convolution in front of a stage.
    down: [&'static str; 2],
    conv: &'static str,
    norm: &'static str,
    layers: [&'static str; 2],
    grn: &'static str,
    scale: &'static str,
}

impl Names {
    fn timm() -> Self {
        Self {
            stages: "stages.".to_owned(),
            blocks: ".blocks.",
            down: [".downsample.0", ".downsample.1"],
            conv: "conv_dw",
            norm: "norm",
            layers: ["mlp.fc1", "mlp.fc2"],
            grn: "mlp.grn",
            scale: "gamma",
        }
    }

    fn transformers(base: &str) -> Self {
        Self {
            stages: format!("{base}encoder.stages."),
            blocks: ".layers.",
            down: [".downsampling_layer.0", ".downsampling_layer.1"],
            conv: "dwconv",
            norm: "layernorm",
            layers: ["pwconv1", "pwconv2"],
            grn: "grn",
            scale: "layer_scale_parameter",
        }
    }

    fn dinov3(base: &str) -> Self {
        Self {
            stages: format!("{base}stages."),
            blocks: ".layers.",
            down: [".downsample_layers.0", ".downsample_layers.1"],
            conv: "depthwise_conv",
            norm: "layer_norm",
            layers: ["pointwise_conv1", "pointwise_conv2"],
            grn: "grn",
            scale: "gamma",
        }
    }

    fn torchvision() -> Self {
        Self {
            stages: "features.".to_owned(),
            blocks: ".",
            down: [".0", ".1"],
            conv: "block.0",
            norm: "block.2",
            layers: ["block.3", "block.5"],
            grn: "grn",
            scale: "layer_scale",
        }
    }
}

/// A network and what is known of all its layers.
struct Making<'n> {
    net: Layers<'n>,
    shapes: &'n Shapes,
    names: Names,
    act: Unary,
    norm: Norm,
    eps: f64,
    depths: Vec<usize>,
    dims: Vec<usize>,
    kernels: Vec<usize>,
    v2: bool,
}

impl<'n> Making<'n> {
    fn new(
        family: &'static str,
        source: &Source<'n>,
        names: Names,
        stem: &str,
        act: Unary,
        (norm, eps): (Norm, f64),
    ) -> Result<(Self, NodeId), ArchError> {
        let (net, input) = Layers::new(family, source.shapes, stem, source.size, eps)?;
        let (depths, dims, kernels) = (Vec::new(), Vec::new(), Vec::new());
        Ok((Self { net, shapes: source.shapes, names, act, norm, eps, depths, dims, kernels, v2: false }, input))
    }

    /// Height of the kernel of a convolution in the file.
    fn kernel(&self, name: &str) -> usize {
        self.shapes.get(&format!("{name}.weight")).and_then(|shape| shape.get(2)).copied().unwrap_or(0)
    }

    /// A convolution whose windows lie side by side.
    fn patches(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let weight = format!("{name}.weight");
        let Some(found) = self.net.look(&weight) else { return Ok(x) };
        let &[_, _, kh, kw] = found.as_slice() else { return Ok(self.net.misfit(&weight, &found, "[out, in, kernel, kernel]", x)) };
        if kh == 0 || kw == 0 {
            return Ok(self.net.misfit(&weight, &found, "[out, in, kernel, kernel]", x));
        }
        self.net.conv_as(name, x, Conv { stride: [kh, kw], ..Conv::new(1, 0) })
    }

    /// The norm over the last axis.
    fn normed(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let net = &mut self.net;
        match self.norm {
            Norm::Layer => {
                net.look(&format!("{name}.bias"));
                net.layer_norm(name, x, self.eps)
            }
            Norm::Rms => net.rms_norm(name, x, self.eps),
            Norm::Simple => {
                let (width, axis) = (net.width(x), net.whole(x).len().saturating_sub(1));
                let mean = net.mean(&format!("{name}.mean"), x, &[axis], true)?;
                let centred = net.sub(&format!("{name}.centred"), x, mean)?;
                let square = net.mul(&format!("{name}.square"), centred, centred)?;
                let total = net.total(&format!("{name}.total"), square, &[axis], true)?;
                // The variance of a sample, as `torch.var` has it.
                let variance = net.affine(&format!("{name}.variance"), total, 1.0 / width.saturating_sub(1).max(1) as f64, self.eps)?;
                let root = net.act(&format!("{name}.root"), Unary::Sqrt, variance)?;
                let normed = net.div(&format!("{name}.normed"), x, root)?;
                let scale = net.tensor(&format!("{name}.weight"), &[width], Role::Scale);
                net.mul(name, normed, scale)
            }
        }
    }

    /// The norm over the channels of a map.
    fn normed_map(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let last = self.net.transpose(&format!("{name}.last"), x, &[0, 2, 3, 1])?;
        let normed = self.normed(name, last)?;
        self.net.transpose(&format!("{name}.first"), normed, &[0, 3, 1, 2])
    }

    /// All stages. `place` is the number that a stage has in its names; the layers in front of it have that of `before`.
    fn stages(&mut self, mut x: NodeId, place: fn(usize) -> usize, before: fn(usize) -> usize) -> Result<NodeId, ArchError> {
        for stage in 0..self.shapes.len() {
            let prefix = format!("{}{}{}", self.names.stages, place(stage), self.names.blocks);
            let depth = count(self.shapes, &prefix);
            if depth == 0 {
                break;
            }
            let [norm, conv] = self.names.down.map(|part| format!("{}{}{part}", self.names.stages, before(stage)));
            // DINOv3 and torchvision have the stem where other stages have these.
            let stem = stage == 0 && self.shapes.get(&format!("{norm}.weight")).is_none_or(|shape| shape.len() != 1);
            if !stem {
                x = self.normed_map(&norm, x)?;
                x = self.patches(&conv, x)?;
            }
            self.depths.push(depth);
            self.dims.push(self.net.channels(x));
            self.kernels.push(self.kernel(&format!("{prefix}0.{}", self.names.conv)));
            for block in 0..depth {
                x = self.block(&format!("{prefix}{block}"), x)?;
            }
        }
        Ok(x)
    }

    fn block(&mut self, name: &str, input: NodeId) -> Result<NodeId, ArchError> {
        let [first, second] = self.names.layers.map(|layer| format!("{name}.{layer}"));
        let conv = format!("{name}.{}", self.names.conv);
        let (norm, scale) = (format!("{name}.{}", self.names.norm), format!("{name}.{}", self.names.scale));
        if self.kernel(&conv).is_multiple_of(2) && self.net.has(&format!("{conv}.weight")) {
            return Err(ArchError::Unsupported(format!("`{conv}`: a kernel of even size is not built here; export the model to ONNX")));
        }
        let mut x = self.net.conv(&conv, input, 1, Groups::Depthwise, Padding::Half)?;
        if self.shapes.get(&format!("{first}.weight")).is_some_and(|shape| shape.len() == 4) {
            x = self.normed_map(&norm, x)?;
            x = self.net.conv(&first, x, 1, Groups::One, Padding::Valid)?;
            x = self.between(name, &first, x, 1)?;
            x = self.net.conv(&second, x, 1, Groups::One, Padding::Valid)?;
        } else {
            x = self.net.transpose(&format!("{name}.last"), x, &[0, 2, 3, 1])?;
            x = self.normed(&norm, x)?;
            x = self.net.linear(&first, x)?;
            x = self.between(name, &first, x, 3)?;
            x = self.net.linear(&second, x)?;
            x = self.net.transpose(&format!("{name}.first"), x, &[0, 3, 1, 2])?;
        }
        x = self.net.scaled_map(&scale, x)?;
        self.net.sum(&format!("{name}.add"), x, input)
    }

    /// The activation between the two layers and, in V2, global response normalisation; `axis` is that of the channels.
    fn between(&mut self, name: &str, first: &str, x: NodeId, axis: usize) -> Result<NodeId, ArchError> {
        let x = self.net.act(&format!("{first}.act"), self.act, x)?;
        let grn = format!("{name}.{}", self.names.grn);
        if !self.net.has(&format!("{grn}.weight")) {
            return Ok(x);
        }
        self.v2 = true;
        let net = &mut self.net;
        let places = if axis == 1 { [2, 3] } else { [1, 2] };
        let shape = |width| if axis == 1 { vec![width, 1, 1] } else { vec![width] };
        let width = net.whole(x).get(axis).copied().unwrap_or(0);
        let square = net.mul(&format!("{grn}.square"), x, x)?;
        let total = net.total(&format!("{grn}.total"), square, &places, true)?;
        // Where a channel is 0 everywhere the gradient of the root is 0 in PyTorch, not infinite.
        let total = net.act(&format!("{grn}.least"), Unary::Clip { min: 1e-24, max: f64::INFINITY }, total)?;
        let length = net.act(&format!("{grn}.length"), Unary::Sqrt, total)?;
        let mean = net.mean(&format!("{grn}.mean"), length, &[axis], true)?;
        let mean = net.affine(&format!("{grn}.eps"), mean, 1.0, 1e-6)?;
        let share = net.div(&format!("{grn}.share"), length, mean)?;
        let mut out = net.mul(&format!("{grn}.responses"), x, share)?;
        for (part, role) in [("weight", Role::Scale), ("bias", Role::Shift)] {
            let tensor = format!("{grn}.{part}");
            let Some(found) = net.look(&tensor) else { return Ok(x) };
            if found.iter().product::<usize>() != width {
                return Ok(net.misfit(&tensor, &found, &format!("[{width}]"), x));
            }
            let value = net.tensor(&tensor, &found, role);
            let value = net.reshape_fixed(&format!("{tensor}.reshape"), value, &shape(width))?;
            let step = format!("{grn}.{part}.applied");
            out = if part == "weight" { net.mul(&step, out, value)? } else { net.sum(&step, out, value)? };
        }
        net.sum(&grn, out, x)
    }

    /// For people.
    fn told(&self, library: &str) -> String {
        let kind = if self.v2 { "ConvNeXt V2" } else { "ConvNeXt" };
        let act = if self.act == GELU { String::new() } else { format!(", {:?}", self.act) };
        let width = self.dims.first().copied().unwrap_or(0);
        format!("{kind}, {} blocks from width {width}, {library} names{act}", plus(&self.depths))
    }
}

fn build_timm(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, .. } = source;
    let Some(known) = staged::entry(config, &VARIANTS, |v| v.name) else {
        return Err(ArchError::NeedsName {
            family: TIMM.name,
            what: "the activation and what is added to variances".to_owned(),
            names: vec!["timm/convnext_tiny".to_owned(), "timm/convnextv2_atto".to_owned()],
        });
    };
    let norm = match config.text("norm_layer")? {
        None => known.norm,
        Some("layernorm" | "layernorm2d") => Norm::Layer,
        Some("rmsnorm" | "rmsnorm2d") => Norm::Rms,
        Some("simplenorm" | "simplenorm2d") => Norm::Simple,
        Some(other) => return Err(config.refused("norm_layer", &other.into())),
    };
    let eps = config.number("norm_eps")?.unwrap_or(known.eps);
    let act = config.act("act_layer")?.unwrap_or(known.act);
    config.shown(&["conv_bias", "conv_mlp", "head_init_scale", "ls_init_value"]);
    config.only("output_stride", 32)?;
    let max = staged::pools_max(config)?;
    let (mut making, input) = Making::new(TIMM.name, source, Names::timm(), "stem.0.weight", act, (norm, eps))?;
    let mut x = stem_timm(&mut making, source, input)?;
    x = making.stages(x, |stage| stage, |stage| stage)?;
    let norm_first = shapes.keys().any(|name| name.starts_with("norm_pre."));
    staged::switch(config, "head_norm_first", norm_first)?;
    if norm_first {
        x = making.normed_map("norm_pre", x)?;
        x = making.net.pool("head.global_pool", max, x)?;
    } else {
        x = making.net.pool("head.global_pool", max, x)?;
        x = making.normed("head.norm", x)?;
    }
    if shapes.contains_key("head.pre_logits.fc.weight") {
        x = making.net.linear("head.pre_logits.fc", x)?;
        if making.net.is_whole() {
            config.agrees("head_hidden_size", making.net.width(x))?;
        }
        x = making.net.act("head.pre_logits.act", GELU, x)?;
    }
    x = staged::head(&mut making.net, shapes, "head.fc", x)?;
    if making.net.is_whole() {
        staged::agree(config, "depths", &making.depths, Some(&known.depths))?;
        staged::agree(config, "dims", &making.dims, Some(&known.dims))?;
        staged::agree(config, "kernel_sizes", &making.kernels, None)?;
        staged::switch(config, "use_grn", making.v2)?;
    }
    let told = making.told("timm");
    let pool = if max { ", max pooling" } else { "" };
    making.net.finish(x, format!("{told}{pool}"))
}

/// Patches, or two convolutions that overlap, with an activation between where the names leave room for it.
fn stem_timm(making: &mut Making, source: &Source, input: NodeId) -> Result<NodeId, ArchError> {
    let (shapes, config) = (source.shapes, &source.config);
    let has = |name: &str| shapes.contains_key(name);
    let (kinds, norm): (&[&str], &str) = match (has("stem.3.weight"), has("stem.2.weight")) {
        (true, _) => (&["overlap_act"], "stem.3"),
        (false, true) => (&["overlap", "overlap_tiered"], "stem.2"),
        (false, false) => (&["patch"], "stem.1"),
    };
    if let Some(kind) = config.text("stem_type")?.filter(|kind| !kinds.contains(kind)) {
        return Err(config.refused("stem_type", &kind.into()));
    }
    if kinds == ["patch"] {
        let patch = making.kernel("stem.0");
        config.agrees("patch_size", patch)?;
        if patch != 2 && patch != 4 && has("stem.0.weight") {
            return Err(config.refused("patch_size", &patch.into()));
        }
        let x = making.patches("stem.0", input)?;
        return making.normed_map(norm, x);
    }
    config.shown(&["patch_size"]);
    let mut x = making.net.conv("stem.0", input, 2, Groups::One, Padding::Half)?;
    let second = if kinds == ["overlap_act"] {
        x = making.net.act("stem.act", making.act, x)?;
        "stem.2"
    } else {
        "stem.1"
    };
    x = making.net.conv(second, x, 2, Groups::One, Padding::Half)?;
    making.normed_map(norm, x)
}

fn build_transformers(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, .. } = source;
    let base = ["convnext.", "convnextv2."].map(|prefix| staged::base(shapes, prefix)).concat();
    let stem = format!("{base}embeddings");
    let act = config.act("hidden_act")?.unwrap_or(GELU);
    let last_eps = config.number("layer_norm_eps")?.unwrap_or(1e-12);
    config.shown(&["drop_path_rate", "image_size", "layer_scale_init_value"]);
    let patches = format!("{stem}.patch_embeddings");
    let names = Names::transformers(&base);
    let (mut making, input) = Making::new(TRANSFORMERS.name, source, names, &format!("{patches}.weight"), act, (Norm::Layer, 1e-6))?;
    let patch = making.kernel(&patches);
    let mut x = making.patches(&patches, input)?;
    x = making.normed_map(&format!("{stem}.layernorm"), x)?;
    x = making.stages(x, |stage| stage, |stage| stage)?;
    x = making.net.pool(&format!("{base}pooler"), false, x)?;
    x = making.net.layer_norm(&format!("{base}layernorm"), x, last_eps)?;
    x = staged::head(&mut making.net, shapes, "classifier", x)?;
    if making.net.is_whole() {
        staged::agree(config, "depths", &making.depths, Some(&[3, 3, 9, 3]))?;
        staged::agree(config, "hidden_sizes", &making.dims, Some(&[96, 192, 384, 768]))?;
        staged::agree(config, "patch_size", &[patch], Some(&[4]))?;
        config.agrees("num_stages", making.depths.len())?;
        let named_v2 = config.name.as_ref().is_some_and(|name| name.is_one_of(["convnextv2"]));
        if config.library == Library::Transformers && named_v2 != making.v2 {
            let told = making.told("Hugging Face");
            return Err(ArchError::Unsupported(format!("config.json: `model_type` is of another network than the weights, a {told}")));
        }
    }
    let told = making.told("Hugging Face");
    making.net.finish(x, told)
}

fn build_dinov3(source: &Source) -> Result<Built, ArchError> {
    let config = &source.config;
    let act = config.act("hidden_act")?.unwrap_or(GELU);
    let eps = config.number("layer_norm_eps")?.unwrap_or(1e-6);
    config.shown(&["drop_path_rate", "image_size", "layer_scale_init_value"]);
    let base = staged::base(source.shapes, "model.");
    let stem = format!("{base}stages.0.downsample_layers");
    let (mut making, input) = Making::new(DINOV3.name, source, Names::dinov3(base), &format!("{stem}.0.weight"), act, (Norm::Layer, eps))?;
    let mut x = making.patches(&format!("{stem}.0"), input)?;
    x = making.normed_map(&format!("{stem}.1"), x)?;
    x = making.stages(x, |stage| stage, |stage| stage)?;
    // Transformers puts the mean in front of the places and normalises them all; what it calls pooled is the first.
    x = making.net.pool("pool", false, x)?;
    x = making.net.layer_norm("layer_norm", x, eps)?;
    if making.net.is_whole() {
        staged::agree(config, "depths", &making.depths, Some(&[3, 3, 9, 3]))?;
        staged::agree(config, "hidden_sizes", &making.dims, Some(&[96, 192, 384, 768]))?;
    }
    let told = making.told("Hugging Face");
    making.net.finish(x, format!("DINOv3 {told}"))
}

fn build_torchvision(source: &Source) -> Result<Built, ArchError> {
    let (mut making, input) =
        Making::new(TORCHVISION.name, source, Names::torchvision(), "features.0.0.weight", GELU, (Norm::Layer, 1e-6))?;
    let mut x = making.patches("features.0.0", input)?;
    x = making.normed_map("features.0.1", x)?;
    x = making.stages(x, |stage| 2 * stage + 1, |stage| 2 * stage)?;
    x = making.net.pool("avgpool", false, x)?;
    x = making.normed("classifier.0", x)?;
    x = staged::head(&mut making.net, source.shapes, "classifier.2", x)?;
    let told = making.told("torchvision");
    making.net.finish(x, told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch::config::Name;

    #[test]
    fn names_are_those_of_their_library() {
        let called = |family: &Family, text: &str, library| (family.is_called)(&Name::of(text, library));
        assert!(called(&TIMM, "convnext_tiny.fb_in22k_ft_in1k_384", Library::Timm));
        assert!(called(&TIMM, "convnext_tiny", Library::Unknown));
        assert!(!called(&TIMM, "torchvision/convnext_tiny", Library::Unknown));
        assert!(!called(&TIMM, "convnext", Library::Transformers));
        assert!(!called(&TIMM, "convnext_tiny_dilated", Library::Timm));
        assert!(called(&TORCHVISION, "torchvision/convnext_tiny", Library::Unknown));
        assert!(called(&TRANSFORMERS, "convnextv2", Library::Transformers));
        assert!(called(&DINOV3, "dinov3_convnext", Library::Transformers));
    }
}
