//! `PoolFormer` (Yu et al., arXiv 2111.11418), and `PoolFormer` V2, `ConvFormer` and `CAFormer` (Yu et al., arXiv 2210.13452), under timm's
//! names; `PoolFormer` under those of Hugging Face Transformers.
//!
//! Blocks differ in what mixes places: pooling, which has no tensors, a separable convolution, or attention on tokens. Norms follow it: with
//! pooling over the whole map, else over channels. The parts that a network may have or not (a bias, a factor of the shortcut or of what is
//! added to it, an activation with numbers of its own) are seen by their tensors.

use super::config::Library;
use super::layers::{Conv, Groups, Layers, Padding, count};
use super::staged::{self, plus};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Op, Role, Unary};

const GELU: Unary = Unary::Gelu { tanh: false };

pub(super) static TIMM: Family = Family {
    name: "metaformer-timm",
    about: "PoolFormer, PoolFormer V2, ConvFormer and CAFormer under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && staged::calls(name, &VARIANTS, |v| v.0),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |name: &str| shapes.contains_key(name);
        let pools = has("stages.0.blocks.0.layer_scale1.scale") || has("stages.0.blocks.0.mlp.act.scale");
        if has("stem.conv.weight") && has("stages.0.blocks.0.norm1.weight") && pools { Likeness::Yes } else { Likeness::No }
    },
    build: build_timm,
};

pub(super) static TRANSFORMERS: Family = Family {
    name: "poolformer-hf",
    about: "PoolFormer under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.library == Library::Transformers && name.is_one_of(["poolformer"]),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |end: &str| shapes.keys().any(|name| name.ends_with(end));
        if has("encoder.block.0.0.before_norm.weight") { Likeness::Yes } else { Likeness::No }
    },
    build: build_transformers,
};

const S: [usize; 4] = [64, 128, 320, 512];
const M: [usize; 4] = [96, 192, 384, 768];

/// Name, depths and widths of all of timm's.
static VARIANTS: [(&str, [usize; 4], [usize; 4]); 18] = [
    ("poolformer_s12", [2, 2, 6, 2], S),
    ("poolformer_s24", [4, 4, 12, 4], S),
    ("poolformer_s36", [6, 6, 18, 6], S),
    ("poolformer_m36", [6, 6, 18, 6], M),
    ("poolformer_m48", [8, 8, 24, 8], M),
    ("poolformerv2_s12", [2, 2, 6, 2], S),
    ("poolformerv2_s24", [4, 4, 12, 4], S),
    ("poolformerv2_s36", [6, 6, 18, 6], S),
    ("poolformerv2_m36", [6, 6, 18, 6], M),
    ("poolformerv2_m48", [8, 8, 24, 8], M),
    ("convformer_s18", [3, 3, 9, 3], S),
    ("convformer_s36", [3, 12, 18, 3], S),
    ("convformer_m36", [3, 12, 18, 3], [96, 192, 384, 576]),
    ("convformer_b36", [3, 12, 18, 3], [128, 256, 512, 768]),
    ("caformer_s18", [3, 3, 9, 3], S),
    ("caformer_s36", [3, 12, 18, 3], S),
    ("caformer_m36", [3, 12, 18, 3], [96, 192, 384, 576]),
    ("caformer_b36", [3, 12, 18, 3], [128, 256, 512, 768]),
];

/// What mixes the places of a stage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mixer {
    Pool,
    Convolution,
    Attention,
}

impl Mixer {
    fn of(shapes: &Shapes, block: &str) -> Self {
        let has = |part: &str| shapes.contains_key(&format!("{block}.token_mixer.{part}.weight"));
        match (has("pwconv1"), has("qkv")) {
            (true, _) => Self::Convolution,
            (false, true) => Self::Attention,
            (false, false) => Self::Pool,
        }
    }
}

/// What tensors do not show.
#[derive(Clone, Copy)]
struct Asked {
    /// Side of the pooling's windows.
    pool: usize,
    /// Width of a head.
    head: usize,
}

fn build_timm(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, size } = source;
    let Some((name, known_depths, known_dims)) = staged::entry(config, &VARIANTS, |v| v.0) else {
        return Err(ArchError::NeedsName {
            family: TIMM.name,
            what: "the windows of pooling and the width of heads".to_owned(),
            names: vec!["timm/poolformer_s12".to_owned(), "timm/caformer_s18".to_owned()],
        });
    };
    let asked = Asked { pool: pool_size(config.count("pool_size")?)?, head: config.count("head_dim")?.unwrap_or(32) };
    config.shown(&["layer_scale_init_values", "mlp_bias", "proj_drop_rate", "qkv_bias", "res_scale_init_values", "use_mlp_head"]);
    let max = staged::takes_greatest(config)?;
    let (mut net, input) = Layers::new(TIMM.name, shapes, "stem.conv.weight", *size, 1e-5)?;
    let mut x = net.conv_as("stem.conv", input, Conv::new(4, 2))?;
    x = channel_norm(&mut net, shapes, "stem.norm", x)?;
    let (mut depths, mut dims, mut mixers) = (Vec::new(), Vec::new(), Vec::new());
    for stage in 0..count(shapes, "stages.") {
        let prefix = format!("stages.{stage}.blocks.");
        let mixer = Mixer::of(shapes, &format!("{prefix}0"));
        let down = format!("stages.{stage}.downsample");
        if shapes.contains_key(&format!("{down}.conv.weight")) {
            x = channel_norm(&mut net, shapes, &format!("{down}.norm"), x)?;
            x = net.conv_as(&format!("{down}.conv"), x, Conv::new(2, 1))?;
        }
        depths.push(count(shapes, &prefix));
        dims.push(net.channels(x));
        mixers.push(mixer);
        let map = net.size(x);
        if mixer == Mixer::Attention {
            x = net.tokens(&format!("stages.{stage}.tokens"), x)?;
        }
        for i in 0..count(shapes, &prefix) {
            x = block(&mut net, shapes, &format!("{prefix}{i}"), x, mixer, asked)?;
        }
        if mixer == Mixer::Attention {
            x = net.map(&format!("stages.{stage}.map"), x, map)?;
        }
    }
    x = net.pool("head.global_pool", max, x)?;
    x = net.layer_norm("head.norm", x, 1e-6)?;
    if shapes.contains_key("head.fc.fc1.weight") {
        x = net.linear("head.fc.fc1", x)?;
        x = net.act("head.fc.relu", Unary::Relu, x)?;
        x = net.mul("head.fc.act", x, x)?;
        x = net.layer_norm("head.fc.norm", x, 1e-6)?;
        x = net.linear("head.fc.fc2", x)?;
    } else {
        x = staged::head(&mut net, shapes, "head.fc", x)?;
    }
    if net.is_whole() {
        staged::agree(config, "depths", &depths, Some(known_depths))?;
        staged::agree(config, "dims", &dims, Some(known_dims))?;
        check_mixers(name, &mixers)?;
    }
    let kind = match (mixers.first(), mixers.last()) {
        (_, Some(Mixer::Attention)) => "CAFormer",
        (Some(Mixer::Convolution), _) => "ConvFormer",
        _ => "PoolFormer",
    };
    let (depths, width) = (plus(&depths), dims.first().copied().unwrap_or(0));
    let pool = if max { ", max pooling" } else { "" };
    net.finish(x, format!("{kind}, {depths} blocks from width {width}, timm names{pool}"))
}

/// Pooling has no tensors: a network without any others could be another's that lost some.
fn check_mixers(name: &str, mixers: &[Mixer]) -> Result<(), ArchError> {
    let wanted: &[Mixer] = match name.split('_').next() {
        Some("convformer") => &[Mixer::Convolution; 4],
        Some("caformer") => &[Mixer::Convolution, Mixer::Convolution, Mixer::Attention, Mixer::Attention],
        _ => &[Mixer::Pool; 4],
    };
    if mixers == wanted {
        return Ok(());
    }
    Err(ArchError::Unsupported(format!("`{name}` mixes places otherwise than the weights do: the two are of different models")))
}

/// Pooling that keeps the size of a map.
fn pool_size(asked: Option<usize>) -> Result<usize, ArchError> {
    match asked.unwrap_or(3) {
        side if side % 2 == 1 && side < 64 => Ok(side),
        side => Err(ArchError::Unsupported(format!("config.json: `pool_size` is {side}, and only odd ones below 64 are built"))),
    }
}

/// A norm over the channels of a map, where the file has it. Those inside have no bias.
fn channel_norm(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    if shapes.contains_key(&format!("{name}.weight")) { net.layer_norm_map(name, x, 1e-6) } else { Ok(x) }
}

/// A norm over channels and places together, with a factor for every channel and, where the file has it, a summand.
fn whole_norm(net: &mut Layers, name: &str, x: NodeId, eps: f64) -> Result<NodeId, ArchError> {
    let channels = net.channels(x);
    let mut x = net.add(&format!("{name}.normed"), Op::LayerNorm { axis: 1, eps }, &[x])?;
    for (part, role) in [("weight", Role::Scale), ("bias", Role::Shift)] {
        let tensor = format!("{name}.{part}");
        if part == "bias" && !net.has(&tensor) {
            continue;
        }
        let value = net.tensor(&tensor, &[channels], role);
        let value = net.reshape_fixed(&format!("{tensor}.reshape"), value, &[channels, 1, 1])?;
        let step = format!("{tensor}.applied");
        x = if part == "weight" { net.mul(&step, x, value)? } else { net.sum(&step, x, value)? };
    }
    Ok(x)
}

fn block(net: &mut Layers, shapes: &Shapes, name: &str, input: NodeId, mixer: Mixer, asked: Asked) -> Result<NodeId, ArchError> {
    let mut x = input;
    for half in [1, 2] {
        let before = x;
        let norm = format!("{name}.norm{half}");
        x = match mixer {
            // GroupNorm's own eps in PoolFormer, whose norms have a bias.
            Mixer::Pool => whole_norm(net, &norm, x, if net.has(&format!("{norm}.bias")) { 1e-5 } else { 1e-6 })?,
            Mixer::Convolution => net.layer_norm_map(&norm, x, 1e-6)?,
            Mixer::Attention => net.layer_norm(&norm, x, 1e-6)?,
        };
        x = if half == 1 {
            mix(net, &format!("{name}.token_mixer"), x, mixer, asked)?
        } else {
            layers(net, shapes, &format!("{name}.mlp"), x, mixer)?
        };
        x = factor(net, &format!("{name}.layer_scale{half}.scale"), x, mixer)?;
        let shortcut = factor(net, &format!("{name}.res_scale{half}.scale"), before, mixer)?;
        x = net.sum(&format!("{name}.add{half}"), shortcut, x)?;
    }
    Ok(x)
}

fn factor(net: &mut Layers, name: &str, x: NodeId, mixer: Mixer) -> Result<NodeId, ArchError> {
    if mixer == Mixer::Attention { net.scaled(name, x) } else { net.scaled_map(name, x) }
}

fn mix(net: &mut Layers, name: &str, x: NodeId, mixer: Mixer, asked: Asked) -> Result<NodeId, ArchError> {
    match mixer {
        Mixer::Pool => {
            let pooled = net.avg_pool(&format!("{name}.pool"), x, asked.pool, 1, asked.pool / 2, false)?;
            net.sub(name, pooled, x)
        }
        Mixer::Convolution => {
            let x = net.conv(&format!("{name}.pwconv1"), x, 1, Groups::One, Padding::Valid)?;
            let x = star_relu(net, &format!("{name}.act1"), x)?;
            let x = net.conv(&format!("{name}.dwconv"), x, 1, Groups::Depthwise, Padding::Half)?;
            net.conv(&format!("{name}.pwconv2"), x, 1, Groups::One, Padding::Valid)
        }
        Mixer::Attention => {
            let heads = (net.width(x) / asked.head).max(1);
            let mixed = if net.is_whole() { net.self_attention(&format!("{name}.qkv"), x, heads, None)? } else { x };
            net.linear(&format!("{name}.proj"), mixed)
        }
    }
}

fn layers(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId, mixer: Mixer) -> Result<NodeId, ArchError> {
    let [first, second] = ["fc1", "fc2"].map(|layer| format!("{name}.{layer}"));
    let layer = |net: &mut Layers, name: &str, x: NodeId| match mixer {
        Mixer::Attention => net.linear(name, x),
        _ => net.conv(name, x, 1, Groups::One, Padding::Valid),
    };
    let x = layer(net, &first, x)?;
    let act = format!("{name}.act");
    let x = if shapes.contains_key(&format!("{act}.scale")) { star_relu(net, &act, x)? } else { net.act(&act, GELU, x)? };
    layer(net, &second, x)
}

/// `scale * relu(x)^2 + bias` with two learnt numbers.
fn star_relu(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let scale = net.tensor(&format!("{name}.scale"), &[1], Role::Scale);
    let bias = net.tensor(&format!("{name}.bias"), &[1], Role::Shift);
    let x = net.act(&format!("{name}.relu"), Unary::Relu, x)?;
    let x = net.mul(&format!("{name}.square"), x, x)?;
    let x = net.mul(&format!("{name}.scaled"), x, scale)?;
    net.sum(name, x, bias)
}

fn build_transformers(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, size } = source;
    let encoder = format!("{}encoder", staged::base(shapes, "poolformer."));
    let stem = format!("{encoder}.patch_embeddings.");
    let stages = count(shapes, &stem);
    let act = config.act("hidden_act")?.unwrap_or(GELU);
    let pool = pool_size(config.count("pool_size")?)?;
    let strides = config.counts("strides")?.unwrap_or_else(|| vec![4, 2, 2, 2]);
    let padding = config.counts("padding")?.unwrap_or_else(|| vec![2, 1, 1, 1]);
    config.shown(&["drop_path_rate", "layer_scale_init_value", "patch_size", "stride"]);
    config.widens("mlp_ratio", 4.0, shapes.get(&format!("{encoder}.block.0.0.output.conv1.weight")))?;
    let (mut net, mut x) = Layers::new(TRANSFORMERS.name, shapes, &format!("{stem}0.projection.weight"), *size, 1e-5)?;
    let (mut depths, mut dims, mut kernels) = (Vec::new(), Vec::new(), Vec::new());
    let mut scaled = 0;
    for stage in 0..stages {
        let (Some(&stride @ 1..64), Some(&pad @ 0..64)) = (strides.get(stage), padding.get(stage)) else {
            return Err(ArchError::Unsupported(format!(
                "config.json: `strides` or `padding` say nothing of stage {stage} that can be built"
            )));
        };
        let projection = format!("{stem}{stage}.projection");
        kernels.push(shapes.get(&format!("{projection}.weight")).and_then(|shape| shape.get(2)).copied().unwrap_or(0));
        x = net.conv_as(&projection, x, Conv::new(stride, pad))?;
        let prefix = format!("{encoder}.block.{stage}.");
        depths.push(count(shapes, &prefix));
        dims.push(net.channels(x));
        for i in 0..count(shapes, &prefix) {
            let name = format!("{prefix}{i}");
            scaled += usize::from(net.has(&format!("{name}.layer_scale_1")));
            let normed = whole_norm(&mut net, &format!("{name}.before_norm"), x, 1e-5)?;
            let pooled = net.avg_pool(&format!("{name}.pooling.pool"), normed, pool, 1, pool / 2, false)?;
            let mut more = net.sub(&format!("{name}.pooling"), pooled, normed)?;
            more = net.scaled_map(&format!("{name}.layer_scale_1"), more)?;
            x = net.sum(&format!("{name}.add1"), x, more)?;
            more = whole_norm(&mut net, &format!("{name}.after_norm"), x, 1e-5)?;
            more = net.conv(&format!("{name}.output.conv1"), more, 1, Groups::One, Padding::Valid)?;
            more = net.act(&format!("{name}.output.act_fn"), act, more)?;
            more = net.conv(&format!("{name}.output.conv2"), more, 1, Groups::One, Padding::Valid)?;
            more = net.scaled_map(&format!("{name}.layer_scale_2"), more)?;
            x = net.sum(&format!("{name}.add2"), x, more)?;
        }
    }
    x = whole_norm(&mut net, "norm", x, 1e-5)?;
    x = net.pool("pooled", false, x)?;
    x = staged::head(&mut net, shapes, "classifier", x)?;
    if net.is_whole() {
        staged::agree(config, "depths", &depths, Some(&[2, 2, 6, 2]))?;
        staged::agree(config, "hidden_sizes", &dims, Some(&S))?;
        staged::agree(config, "patch_sizes", &kernels, Some(&[7, 3, 3, 3]))?;
        config.agrees_or("num_encoder_blocks", 4, stages)?;
        config.tells("use_layer_scale", true, scaled > 0)?;
        config.tells("use_layer_scale", true, scaled >= depths.iter().sum())?;
    }
    let told = if act == GELU { String::new() } else { format!(", {act:?}") };
    let (depths, width) = (plus(&depths), dims.first().copied().unwrap_or(0));
    net.finish(x, format!("PoolFormer, {depths} blocks from width {width}, Hugging Face names{told}"))
}
