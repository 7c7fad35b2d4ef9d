//! `RepVGG`, `MobileOne`, `GENet` and the larger `RegNet` Z under timm's names.
//!
//! Ding et al., "`RepVGG`" (arXiv 2101.03697), and Vasu et al., "`MobileOne`" (arXiv 2206.04040): every block sums convolutions of the same map, each
//! with its norm, and a norm of the map itself, or is the one convolution that these can be brought to (`reparam_conv`). Lin et al., "Neural
//! Architecture Design for GPU-Efficient Networks" (arXiv 2006.14090): `GENet`, blocks of two 3x3 convolutions, then bottlenecks. Dollar et al.,
//! "Fast and Accurate Model Scaling" (arXiv 2103.06877): `RegNet` Z, blocks that end without an activation. Which of these a block is its
//! tensors show; names say where stages stride. timm builds other networks of such blocks, which are not built here.

use super::config::{Config, Library};
use super::layers::{Groups, Layers, Padding, count};
use super::resnet::{classified, mixed_up, takes_greatest, unit};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Unary};

pub(super) static FAMILY: Family = Family {
    name: "byobnet",
    about: "RepVGG, MobileOne, GENet and RegNet Z of timm's byobnet",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let first = |part: &&str| shapes.contains_key(&format!("stages.0.0.{part}.weight"));
        let kinds = ["conv_kxk.conv", "conv_kxk.0.conv", "conv1_kxk.conv", "conv1_1x1.conv"];
        if kinds.iter().any(first) && shapes.contains_key("head.fc.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

const NAMES: [&str; 24] = [
    "gernet_l",
    "gernet_m",
    "gernet_s",
    "mobileone_s0",
    "mobileone_s1",
    "mobileone_s2",
    "mobileone_s3",
    "mobileone_s4",
    "regnetz_b16",
    "regnetz_c16",
    "regnetz_d8",
    "regnetz_d32",
    "regnetz_e8",
    "repvgg_a0",
    "repvgg_a1",
    "repvgg_a2",
    "repvgg_b0",
    "repvgg_b1",
    "repvgg_b1g4",
    "repvgg_b2",
    "repvgg_b2g4",
    "repvgg_b3",
    "repvgg_b3g4",
    "repvgg_d2se",
];

/// What tensors do not show.
#[derive(Clone, Copy)]
struct Kind {
    act: Unary,
    /// Whether blocks end without an activation, and have no shortcut where they change the map's shape.
    linear: bool,
    /// The stage, counted from 0, that does not stride.
    unmoved: Option<usize>,
}

impl Kind {
    fn of(config: &Config, shapes: &Shapes) -> Result<Self, ArchError> {
        let Some(name) = config.name.as_ref().filter(|name| name.plain != FAMILY.name) else {
            let names = ["timm/repvgg_a0", "timm/gernet_s", "timm/regnetz_d8"].map(str::to_owned).into();
            return Err(ArchError::NeedsName { family: FAMILY.name, what: "which of its stages stride".into(), names });
        };
        let begins = |start: &str| name.plain.starts_with(start);
        let unmoved = match () {
            () if begins("gernet") => Some(4),
            () if begins("regnetz-d") || begins("regnetz-e") => Some(0),
            () => None,
        };
        let has = |part: &str| shapes.contains_key(&format!("stages.0.0.{part}.weight"));
        let fits = match () {
            () if begins("repvgg") => has("conv_kxk.conv") || has("reparam_conv"),
            () if begins("mobileone") => has("conv_kxk.0.conv") || has("reparam_conv"),
            () if begins("gernet") => has("conv1_kxk.conv"),
            () => has("conv1_1x1.conv") && !has("shortcut.conv"),
        };
        if !fits {
            return Err(mixed_up(config));
        }
        config.only("output_stride", 32)?;
        config.only("norm_layer", "batchnorm")?;
        let linear = begins("regnetz");
        let act = config.act("act_layer")?.unwrap_or(if linear { Unary::Silu } else { Unary::Relu });
        Ok(Self { act, linear, unmoved })
    }
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let kind = Kind::of(config, shapes)?;
    let max_pool = takes_greatest(config)?;
    let stems = ["stem.conv.weight", "stem.conv1.conv.weight", "stem.conv_kxk.conv.weight", "stem.conv_kxk.0.conv.weight"];
    let first = stems.into_iter().find(|name| shapes.contains_key(*name)).unwrap_or("stem.reparam_conv.weight");
    let (mut net, input) = Layers::new(FAMILY.name, shapes, first, *size, 1e-5)?;
    let mut x = stem(&mut net, input, kind)?;
    let mut blocks = 0;
    for stage in 0..count(shapes, "stages.") {
        for i in 0..count(shapes, &format!("stages.{stage}.")) {
            let stride = if i == 0 && kind.unmoved != Some(stage) { 2 } else { 1 };
            x = block(&mut net, &format!("stages.{stage}.{i}"), x, stride, kind)?;
            blocks += 1;
        }
    }
    if net.has("final_conv.conv.weight") {
        x = unit(&mut net, "final_conv", x, 1, Groups::One, Some(kind.act))?;
    }
    x = classified(&mut net, x, max_pool)?;
    let name = config.name.as_ref().map_or("", |name| name.plain.split('-').next().unwrap_or(""));
    let what = match name {
        "repvgg" => "RepVGG",
        "mobileone" => "MobileOne",
        "gernet" => "GENet",
        _ => "RegNet Z",
    };
    let act = if kind.act == Unary::Relu { String::new() } else { format!(", {:?}", kind.act) };
    net.finish(x, format!("{what}, {blocks} blocks, timm names{act}{}", if max_pool { ", max pooling" } else { "" }))
}

fn stem(net: &mut Layers, input: NodeId, kind: Kind) -> Result<NodeId, ArchError> {
    if net.has("stem.conv.weight") {
        return unit(net, "stem", input, 2, Groups::One, Some(kind.act));
    }
    if net.has("stem.conv1.conv.weight") {
        // Three convolutions, of which the first and the last stride.
        let mut x = input;
        for (i, stride) in [(1, 2), (2, 1), (3, 2)] {
            x = unit(net, &format!("stem.conv{i}"), x, stride, Groups::One, Some(kind.act))?;
        }
        return Ok(x);
    }
    summed(net, "stem", input, 2, kind)
}

fn block(net: &mut Layers, at: &str, x: NodeId, stride: usize, kind: Kind) -> Result<NodeId, ArchError> {
    if ["conv1_kxk.conv", "conv1_1x1.conv"].iter().any(|part| net.has(&format!("{at}.{part}.weight"))) {
        residual(net, at, x, stride, kind)
    } else {
        summed(net, at, x, stride, kind)
    }
}

/// Convolutions of the same map, and the map itself, each with a norm; or the one convolution that they make.
fn summed(net: &mut Layers, at: &str, input: NodeId, stride: usize, kind: Kind) -> Result<NodeId, ArchError> {
    let one = format!("{at}.reparam_conv");
    let x = if net.has(&format!("{one}.weight")) {
        net.conv(&one, input, stride, Groups::Fitting, Padding::Half)?
    } else {
        let several = (0..64).take_while(|i| net.has(&format!("{at}.conv_kxk.{i}.conv.weight")));
        let mut names: Vec<String> = several.map(|i| format!("{at}.conv_kxk.{i}")).collect();
        if names.is_empty() {
            names.extend(["conv_1x1", "conv_kxk"].map(|part| format!("{at}.{part}")));
        } else if net.has(&format!("{at}.conv_scale.conv.weight")) {
            names.insert(0, format!("{at}.conv_scale"));
        }
        let mut sum = None;
        for name in names {
            let part = unit(net, &name, input, stride, Groups::Fitting, None)?;
            sum = Some(sum.map_or(Ok(part), |sum| net.sum(&format!("{name}.add"), sum, part))?);
        }
        let mut x = sum.unwrap_or(input);
        let same = stride == 1 && net.channels(input) == net.channels(x);
        let identity = format!("{at}.identity");
        if net.has(&format!("{identity}.weight")) || (same && net.is_whole()) {
            let itself = net.norm(&identity, input)?;
            x = net.sum(&format!("{identity}.add"), x, itself)?;
        }
        x
    };
    let x = attended(net, &format!("{at}.attn"), x)?;
    net.act(&format!("{at}.act"), kind.act, x)
}

/// Two 3x3 convolutions, or a bottleneck, and the shortcut.
fn residual(net: &mut Layers, at: &str, input: NodeId, stride: usize, kind: Kind) -> Result<NodeId, ArchError> {
    let act = Some(kind.act);
    let mut x;
    if net.has(&format!("{at}.conv1_1x1.conv.weight")) {
        x = unit(net, &format!("{at}.conv1_1x1"), input, 1, Groups::One, act)?;
        x = unit(net, &format!("{at}.conv2_kxk"), x, stride, Groups::Fitting, act)?;
        x = attended(net, &format!("{at}.attn"), x)?;
        x = unit(net, &format!("{at}.conv3_1x1"), x, 1, Groups::One, None)?;
    } else {
        x = unit(net, &format!("{at}.conv1_kxk"), input, stride, Groups::One, act)?;
        x = unit(net, &format!("{at}.conv2_kxk"), x, 1, Groups::Fitting, None)?;
        x = attended(net, &format!("{at}.attn_last"), x)?;
    }
    let changes = net.channels(input) != net.channels(x) || stride != 1;
    let shortcut = format!("{at}.shortcut");
    let other = if net.has(&format!("{shortcut}.conv.weight")) || (changes && !kind.linear && net.is_whole()) {
        Some(unit(net, &shortcut, input, stride, Groups::One, None)?)
    } else {
        (!changes).then_some(input)
    };
    if let Some(other) = other {
        x = net.sum(&format!("{at}.add"), x, other)?;
    }
    if kind.linear { Ok(x) } else { net.act(&format!("{at}.act"), kind.act, x) }
}

/// Squeeze-and-excitation, where the file has it there.
fn attended(net: &mut Layers, at: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let layers = ["fc1", "fc2"].map(|part| format!("{at}.{part}"));
    if net.has(&format!("{}.weight", layers[0])) { net.excited([&layers[0], &layers[1]], x, Unary::Relu, Unary::Sigmoid) } else { Ok(x) }
}
