//! `DarkNet`, `CSPDarkNet`, `CSPResNet` and CS3 networks under timm's names.
//!
//! Wang et al., "`CSPNet`: A New Backbone that can Enhance Learning Capability of CNN" (arXiv 1911.11929), and YOLO's `DarkNet` (Redmon, Farhadi,
//! arXiv 1804.02767). A stage widens its map, sends half of it through its blocks, and joins both. Tensors show how a stage is made (with one
//! convolution behind the blocks, CS3 has none) and of which blocks; names say how the stem strides and which activation there is.

use super::config::{Config, Library};
use super::layers::{Conv, Groups, Layers, count};
use super::resnet::{classified, mixed_up, takes_greatest, unit};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Unary};

pub(super) static FAMILY: Family = Family {
    name: "cspnet",
    about: "DarkNet, CSPDarkNet, CSPResNet and CS3 networks under timm's names",
    usual_size: [256, 256],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let parts = ["conv_exp.conv.weight", "conv_down.conv.weight", "conv_down.1.conv.weight"];
        let stage = parts.iter().any(|part| shapes.contains_key(&format!("stages.0.{part}")));
        let block = shapes.contains_key("stages.0.blocks.0.conv1.conv.weight");
        if stage && block && shapes.contains_key("stem.conv1.conv.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

const NAMES: [&str; 23] = [
    "cs3darknet_focus_l",
    "cs3darknet_focus_m",
    "cs3darknet_focus_s",
    "cs3darknet_focus_x",
    "cs3darknet_l",
    "cs3darknet_m",
    "cs3darknet_s",
    "cs3darknet_x",
    "cs3edgenet_x",
    "cs3se_edgenet_x",
    "cs3sedarknet_l",
    "cs3sedarknet_x",
    "cs3sedarknet_xdw",
    "cspdarknet53",
    "cspresnet50",
    "cspresnet50d",
    "cspresnet50w",
    "cspresnext50",
    "darknet17",
    "darknet21",
    "darknet53",
    "darknetaa53",
    "sedarknet21",
];

/// What tensors do not show.
#[derive(Clone, Copy)]
struct Kind {
    act: Unary,
    /// How the first convolution strides.
    stride: usize,
    /// Whether the stem pools.
    pools: bool,
    /// Whether what widens a stage's map has no activation.
    linear: bool,
}

impl Kind {
    fn of(config: &Config, shapes: &Shapes) -> Result<Self, ArchError> {
        let Some(name) = config.name.as_ref().filter(|name| name.plain != FAMILY.name) else {
            let names = ["timm/cspdarknet53", "timm/cspresnet50", "timm/cs3darknet_l"].map(str::to_owned).into();
            return Err(ArchError::NeedsName { family: FAMILY.name, what: "its activation and how its stem strides".into(), names });
        };
        config.only("output_stride", 32)?;
        config.only("norm_layer", "batchnorm")?;
        config.only("aa_layer", "")?;
        let (three, residual) = (name.plain.starts_with("cs3"), name.plain.starts_with("cspres"));
        let has = |part: &str| shapes.keys().any(|name| name.starts_with(&format!("stages.0.{part}.")));
        let crosses = three || name.plain.starts_with("csp");
        let joins_once = three && !name.plain.ends_with("-xdw");
        if has("conv_down") == residual || has("conv_exp") != crosses || (crosses && has("conv_transition_b") == joins_once) {
            return Err(mixed_up(config));
        }
        let usual = if three { Unary::Silu } else { Unary::LeakyRelu(0.01) };
        let act = config.act("act_layer")?.unwrap_or(usual);
        Ok(Self { act, stride: if three || residual { 2 } else { 1 }, pools: residual, linear: residual })
    }
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let kind = Kind::of(config, shapes)?;
    let max_pool = takes_greatest(config)?;
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "stem.conv1.conv.weight", *size, 1e-5)?;
    let mut x = input;
    for i in 1..=(1..8).take_while(|i| net.has(&format!("stem.conv{i}.conv.weight"))).count().max(1) {
        x = stem(&mut net, &format!("stem.conv{i}"), x, if i == 1 { kind.stride } else { 1 }, kind.act)?;
    }
    if kind.pools {
        x = net.max_pool("stem.pool", x, 3, 2, 1)?;
    }
    let mut blocks = 0;
    for stage in 0..count(shapes, "stages.") {
        let at = format!("stages.{stage}");
        let depth = count(shapes, &format!("{at}.blocks."));
        x = crossed(&mut net, &at, x, depth, kind)?;
        blocks += depth;
    }
    x = classified(&mut net, x, max_pool)?;
    let name = config.name.as_ref().map_or("", |name| name.plain.as_str());
    let what = match name {
        name if name.starts_with("cs3") => "CS3 network",
        name if name.starts_with("cspres") => "CSPResNet",
        name if name.starts_with("csp") => "CSPDarkNet",
        _ => "DarkNet",
    };
    net.finish(x, format!("{what}, {blocks} blocks, timm names, {:?}{}", kind.act, if max_pool { ", max pooling" } else { "" }))
}

/// A convolution of the stem. One of side 6 ("focus") is padded by 2, as if pixels were dealt to channels before one of side 3.
fn stem(net: &mut Layers, name: &str, x: NodeId, stride: usize, act: Unary) -> Result<NodeId, ArchError> {
    if net.look(&format!("{name}.conv.weight")).is_none_or(|shape| shape.get(2) != Some(&6)) {
        return unit(net, name, x, stride, Groups::One, Some(act));
    }
    let x = net.conv_as(&format!("{name}.conv"), x, Conv::new(stride, 2))?;
    let x = net.norm(&format!("{name}.bn"), x)?;
    net.act(&format!("{name}.act"), act, x)
}

/// A stage: what halves its map, what widens it, blocks over a half of that or over all, and what joins both halves.
fn crossed(net: &mut Layers, at: &str, input: NodeId, depth: usize, kind: Kind) -> Result<NodeId, ArchError> {
    let act = Some(kind.act);
    let mut x = input;
    if net.has(&format!("{at}.conv_down.1.conv.weight")) {
        x = net.avg_pool(&format!("{at}.conv_down.0"), x, 2, 2, 0, true)?;
        x = unit(net, &format!("{at}.conv_down.1"), x, 1, Groups::Fitting, act)?;
    } else if net.has(&format!("{at}.conv_down.conv.weight")) {
        x = unit(net, &format!("{at}.conv_down"), x, 2, Groups::Fitting, act)?;
    }
    let widened = format!("{at}.conv_exp");
    if !net.has(&format!("{widened}.conv.weight")) {
        return blocks(net, at, x, depth, kind);
    }
    x = unit(net, &widened, x, 1, Groups::One, act.filter(|_| !kind.linear))?;
    let halves = net.split(&format!("{at}.split"), x, 1, 2)?;
    let &[one, other] = halves.as_slice() else { return Ok(x) };
    let behind = format!("{at}.conv_transition_b");
    let parts = if net.has(&format!("{behind}.conv.weight")) {
        let other = blocks(net, at, other, depth, kind)?;
        [one, unit(net, &behind, other, 1, Groups::One, act)?]
    } else {
        [blocks(net, at, one, depth, kind)?, other]
    };
    let joined = net.concat(&format!("{at}.concat"), 1, &parts)?;
    unit(net, &format!("{at}.conv_transition"), joined, 1, Groups::One, act)
}

fn blocks(net: &mut Layers, at: &str, x: NodeId, depth: usize, kind: Kind) -> Result<NodeId, ArchError> {
    let mut x = x;
    for i in 0..depth {
        x = block(net, &format!("{at}.blocks.{i}"), x, kind)?;
    }
    Ok(x)
}

/// Two convolutions of which one is of side 3, or three of which the second is; attention lies behind the first or, of three, the second.
fn block(net: &mut Layers, at: &str, input: NodeId, kind: Kind) -> Result<NodeId, ArchError> {
    let act = Some(kind.act);
    let three = net.has(&format!("{at}.conv3.conv.weight"));
    let mut x = unit(net, &format!("{at}.conv1"), input, 1, Groups::Fitting, act)?;
    if !three {
        x = attended(net, &format!("{at}.attn"), x, kind)?;
    }
    x = unit(net, &format!("{at}.conv2"), x, 1, Groups::Fitting, act)?;
    if three {
        x = attended(net, &format!("{at}.attn2"), x, kind)?;
        x = unit(net, &format!("{at}.conv3"), x, 1, Groups::One, None)?;
    }
    x = net.sum(&format!("{at}.add"), x, input)?;
    if three { net.act(&format!("{at}.act3"), kind.act, x) } else { Ok(x) }
}

/// Squeeze-and-excitation, where the file has it there, with the network's activation.
fn attended(net: &mut Layers, at: &str, x: NodeId, kind: Kind) -> Result<NodeId, ArchError> {
    let layers = ["fc1", "fc2"].map(|part| format!("{at}.{part}"));
    if net.has(&format!("{}.weight", layers[0])) { net.excited([&layers[0], &layers[1]], x, kind.act, Unary::Sigmoid) } else { Ok(x) }
}
