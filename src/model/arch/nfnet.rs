//! Networks without norms under timm's names: `NFNet`, `ECA-NFNet`, NF-ResNet, NF-RegNet.
//!
//! Brock et al., "Characterizing signal propagation to close the performance gap in unnormalized ResNets" (arXiv 2101.08692) and
//! "High-Performance Large-Scale Image Recognition Without Normalization" (arXiv 2102.06171). Every weight is standardised, times a learnt gain,
//! over the root of the number of inputs; what an activation does to the spread of values is made up for by a constant of that activation, with
//! the weight or, in `DeepMind`'s own (`dm_`), behind the activation. A block divides by the spread that is expected at its place, `beta`, and
//! adds a fifth, `alpha`, of what it computes.

use super::config::{Config, Library};
use super::layers::{Conv, Layers, count};
use super::resnet::{classified, eca, halved, mixed_up, same_counts, takes_greatest};
use super::resnetv2::same;
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Role, Unary};

pub(super) static FAMILY: Family = Family {
    name: "nfnet",
    about: "NFNet, ECA-NFNet, NF-ResNet and NF-RegNet under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| if shapes.contains_key("stages.0.0.conv1.gain") { Likeness::Yes } else { Likeness::No },
    build,
};

const NAMES: [&str; 36] = [
    "dm_nfnet_f0",
    "dm_nfnet_f1",
    "dm_nfnet_f2",
    "dm_nfnet_f3",
    "dm_nfnet_f4",
    "dm_nfnet_f5",
    "dm_nfnet_f6",
    "eca_nfnet_l0",
    "eca_nfnet_l1",
    "eca_nfnet_l2",
    "eca_nfnet_l3",
    "nf_ecaresnet26",
    "nf_ecaresnet50",
    "nf_ecaresnet101",
    "nf_regnet_b0",
    "nf_regnet_b1",
    "nf_regnet_b2",
    "nf_regnet_b3",
    "nf_regnet_b4",
    "nf_regnet_b5",
    "nf_resnet26",
    "nf_resnet50",
    "nf_resnet101",
    "nf_seresnet26",
    "nf_seresnet50",
    "nf_seresnet101",
    "nfnet_f0",
    "nfnet_f1",
    "nfnet_f2",
    "nfnet_f3",
    "nfnet_f4",
    "nfnet_f5",
    "nfnet_f6",
    "nfnet_f7",
    "nfnet_l0",
    "test_nfnet",
];

/// What tensors do not show.
struct Kind {
    act: Unary,
    /// What the activation does to the spread of values.
    gamma: f64,
    /// Whether that is made up for behind the activation, not with the weights.
    gamma_in_act: bool,
    /// Whether convolutions are padded as TensorFlow does.
    same: bool,
    /// Added to the variance of weights.
    eps: f64,
    alpha: f64,
    /// Factor of what has been weighed by attention.
    gain: f64,
    /// Whether the stem of one convolution pools.
    pools: bool,
}

impl Kind {
    fn of(config: &Config, shapes: &Shapes, depths: &[usize]) -> Result<Self, ArchError> {
        let Some(name) = config.name.as_ref().filter(|name| name.plain != FAMILY.name) else {
            let names = ["timm/nfnet_f0", "timm/dm_nfnet_f0", "timm/nf_resnet50"].map(str::to_owned).into();
            return Err(ArchError::NeedsName { family: FAMILY.name, what: "its activation".into(), names });
        };
        let begins = |start: &str| name.plain.starts_with(start);
        let (deepmind, resnet) = (begins("dm-"), ["nf-resnet", "nf-seresnet", "nf-ecaresnet"].iter().any(|start| begins(start)));
        let kernel = shapes.get("stem.conv.weight").and_then(|shape| shape.get(2).copied());
        let wanted = if resnet { Some(7) } else { begins("nf-regnet").then_some(3) };
        let skips = shapes.contains_key("stages.0.0.skipinit_gain");
        if kernel != wanted || (deepmind != skips && !config.says("skipinit")) {
            return Err(mixed_up(config));
        }
        config.only("stem_type", if resnet { "7x7_pool" } else { wanted.map_or("deep_quad", |_| "3x3") })?;
        config.shown(&[
            "channels",
            "stem_chs",
            "group_size",
            "width_factor",
            "bottle_ratio",
            "num_features",
            "ch_div",
            "extra_conv",
            "reg",
            "skipinit",
            "zero_init_fc",
        ]);
        same_counts(config, "depths", depths)?;
        config.only("output_stride", 32)?;
        let usual = match () {
            () if deepmind || begins("nfnet-f") => Unary::Gelu { tanh: false },
            () if resnet => Unary::Relu,
            () => Unary::Silu,
        };
        let act = config.act("act_layer")?.unwrap_or(usual);
        let refused = || ArchError::Unsupported(format!("networks without norms are not built with the activation {act:?}"));
        Ok(Self {
            act,
            gamma: gamma(act).ok_or_else(refused)?,
            gamma_in_act: config.flag("gamma_in_act", deepmind)?,
            same: config.flag("same_padding", deepmind)?,
            eps: config.number("std_conv_eps")?.unwrap_or(1e-5),
            alpha: config.number("alpha")?.unwrap_or(0.2),
            gain: config.number("attn_gain")?.unwrap_or(2.0),
            pools: resnet,
        })
    }
}

/// timm's constant of an activation: one over the spread that it leaves of normal values.
fn gamma(act: Unary) -> Option<f64> {
    Some(match act {
        Unary::Elu(1.0) => 1.271_600_484_848_022_5,
        Unary::Gelu { tanh: false } => 1.701_504_349_708_557_1,
        Unary::LeakyRelu(0.01) => 1.705_903_410_911_56,
        Unary::Relu => 1.713_958_859_444_664_6,
        Unary::Clip { min: 0.0, max: 6.0 } => 1.713_148_474_693_298_3,
        Unary::Sigmoid => 4.803_835_391_998_291,
        Unary::Silu => 1.788_129_329_681_396_5,
        Unary::Tanh => 1.593_911_767_005_920_4,
        _ => return None,
    })
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let depths: Vec<usize> = (0..count(shapes, "stages.")).map(|stage| count(shapes, &format!("stages.{stage}."))).collect();
    let kind = Kind::of(config, shapes, &depths)?;
    let max_pool = takes_greatest(config)?;
    let deep = shapes.contains_key("stem.conv1.weight");
    let first = if deep { "stem.conv1.weight" } else { "stem.conv.weight" };
    let (mut net, input) = Layers::new(FAMILY.name, shapes, first, *size, 1e-5)?;
    let (mut x, reduced) = stem(&mut net, input, &kind)?;
    let mut expected = 1.0;
    for (stage, &depth) in depths.iter().enumerate() {
        for block in 0..depth {
            let stride = if block == 0 && (stage > 0 || reduced == 2) { 2 } else { 1 };
            x = residual(&mut net, &format!("stages.{stage}.{block}"), x, (stride, 1.0 / f64::sqrt(expected)), &kind)?;
            if block == 0 {
                expected = 1.0;
            }
            expected += kind.alpha * kind.alpha;
        }
    }
    if net.has("final_conv.weight") {
        x = conv(&mut net, "final_conv", x, 1, &kind)?;
    }
    x = act(&mut net, "final_act", x, &kind)?;
    x = classified(&mut net, x, max_pool)?;
    let pool = if max_pool { ", max pooling" } else { "" };
    let weighed = weighed(shapes);
    net.finish(x, format!("network without norms, {} blocks, timm names{weighed}, {:?}{pool}", depths.iter().sum::<usize>(), kind.act))
}

fn weighed(shapes: &Shapes) -> &'static str {
    let has = |part: &str| ["attn", "attn_last"].iter().any(|at| shapes.contains_key(&format!("stages.0.0.{at}.{part}")));
    match (has("fc1.weight"), has("conv.weight")) {
        (true, _) => ", squeeze-and-excitation",
        (_, true) => ", ECA",
        _ => "",
    }
}

/// The stem, and how much smaller its map is than the image.
fn stem(net: &mut Layers, input: NodeId, kind: &Kind) -> Result<(NodeId, usize), ArchError> {
    if !net.has("stem.conv1.weight") {
        let x = conv(net, "stem.conv", input, 2, kind)?;
        return if kind.pools { Ok((net.max_pool("stem.pool", x, 3, 2, 1)?, 4)) } else { Ok((x, 2)) };
    }
    // Of four convolutions the last strides too.
    let last = if net.has("stem.conv4.weight") { 4 } else { 3 };
    let mut x = input;
    for i in 1..=last {
        x = conv(net, &format!("stem.conv{i}"), x, if i == 1 || i == 4 { 2 } else { 1 }, kind)?;
        if i < last {
            x = act(net, &format!("stem.act{}", i + 1), x, kind)?;
        }
    }
    Ok((x, if last == 4 { 4 } else { 2 }))
}

fn act(net: &mut Layers, name: &str, x: NodeId, kind: &Kind) -> Result<NodeId, ArchError> {
    let x = net.act(name, kind.act, x)?;
    if kind.gamma_in_act { net.affine(&format!("{name}.gamma"), x, kind.gamma, 0.0) } else { Ok(x) }
}

/// A convolution whose weight is standardised, times `name.gain` and the constants of its place.
fn conv(net: &mut Layers, name: &str, x: NodeId, stride: usize, kind: &Kind) -> Result<NodeId, ArchError> {
    let weight = format!("{name}.weight");
    let Some(found) = net.look(&weight) else { return Ok(x) };
    let &[out, each, kh, kw] = found.as_slice() else { return Ok(net.misfit(&weight, &found, "[out, in, kernel, kernel]", x)) };
    let gain = net.tensor(&format!("{name}.gain"), &[out, 1, 1, 1], Role::Scale);
    let inputs = (each * kh * kw).max(1) as f64;
    let scale = if kind.gamma_in_act { 1.0 } else { kind.gamma } / inputs.sqrt();
    let (channels, size) = (net.channels(x), net.size(x));
    let groups = channels.checked_div(each).unwrap_or(1).max(1);
    let node = net.tensor(&weight, &found, Role::Weight);
    let node = net.standardised(name, node, kind.eps)?;
    let gain = net.affine(&format!("{name}.gain.scaled"), gain, scale, 0.0)?;
    let node = net.mul(&format!("{name}.scaled"), node, gain)?;
    let along = |axis: usize, kernel: usize| if kind.same { same(size[axis], kernel, stride) } else { (kernel / 2, kernel / 2) };
    let ((top, bottom), (left, right)) = (along(0, kh), along(1, kw));
    let how = Conv { pads: [top, left, bottom, right], groups, ..Conv::new(stride, 0) };
    net.conv_by(name, x, node, &format!("{name}.bias"), how)
}

fn residual(net: &mut Layers, at: &str, input: NodeId, (stride, beta): (usize, f64), kind: &Kind) -> Result<NodeId, ArchError> {
    let mut x = act(net, &format!("{at}.act1"), input, kind)?;
    x = net.affine(&format!("{at}.beta"), x, beta, 0.0)?;
    let mut shortcut = input;
    if net.has(&format!("{at}.downsample.conv.weight")) {
        let mean = if stride == 1 { x } else { halved(net, &format!("{at}.downsample.pool"), x, stride, 1)? };
        shortcut = conv(net, &format!("{at}.downsample.conv"), mean, 1, kind)?;
    }
    x = conv(net, &format!("{at}.conv1"), x, 1, kind)?;
    x = act(net, &format!("{at}.act2"), x, kind)?;
    x = conv(net, &format!("{at}.conv2"), x, stride, kind)?;
    if net.has(&format!("{at}.conv2b.weight")) {
        x = act(net, &format!("{at}.act2b"), x, kind)?;
        x = conv(net, &format!("{at}.conv2b"), x, 1, kind)?;
    }
    x = attended(net, &format!("{at}.attn"), x, kind)?;
    x = act(net, &format!("{at}.act3"), x, kind)?;
    x = conv(net, &format!("{at}.conv3"), x, 1, kind)?;
    x = attended(net, &format!("{at}.attn_last"), x, kind)?;
    let gain = format!("{at}.skipinit_gain");
    if net.has(&gain) {
        let factor = net.tensor(&gain, &[], Role::Scale);
        let factor = net.reshape_fixed(&format!("{gain}.reshape"), factor, &[1])?;
        x = net.mul(&format!("{gain}.mul"), x, factor)?;
    }
    x = net.affine(&format!("{at}.alpha"), x, kind.alpha, 0.0)?;
    net.sum(&format!("{at}.add"), x, shortcut)
}

/// Weighed by attention, where the file has it there.
fn attended(net: &mut Layers, at: &str, x: NodeId, kind: &Kind) -> Result<NodeId, ArchError> {
    let layers = ["fc1", "fc2"].map(|part| format!("{at}.{part}"));
    let weighed = if net.has(&format!("{}.weight", layers[0])) {
        net.excited([&layers[0], &layers[1]], x, Unary::Relu, Unary::Sigmoid)?
    } else if net.has(&format!("{at}.conv.weight")) {
        eca(net, at, x)?
    } else {
        return Ok(x);
    };
    net.affine(&format!("{at}.gain"), weighed, kind.gain, 0.0)
}
