//! `GhostNet` under timm's names, its versions 1 to 3 (arXiv 1911.11907, 2211.12905, 2404.11202): half of a module's channels come of a
//! convolution, the other half of a cheap depthwise one on these.
//!
//! The tensors show all of it: a block that strides has a depthwise convolution for that. Version 3 is read as it trains, with three convolutions
//! side by side; timm's weights merged into one have other names.

use super::config::Library;
use super::layers::{Conv, Groups, Layers, Padding, count};
use super::made::Resample;
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Op, Reduce, Unary};

const NAMES: [&str; 10] = [
    "ghostnet_050",
    "ghostnet_100",
    "ghostnet_130",
    "ghostnetv2_100",
    "ghostnetv2_130",
    "ghostnetv2_160",
    "ghostnetv3_050",
    "ghostnetv3_100",
    "ghostnetv3_130",
    "ghostnetv3_160",
];

pub(super) static FAMILY: Family = Family {
    name: "ghostnet",
    about: "GhostNet V1 to V3 under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let ghost = shapes.keys().any(|name| name.starts_with("blocks.0.0.ghost1."));
        if ghost && shapes.contains_key("conv_stem.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    config.only("output_stride", 32)?;
    config.shown(&["width"]);
    if let Some(version) = config.get("version").or_else(|| config.get("cfgs")) {
        return Err(config.refused("version", version));
    }
    let kind = match config.pooling("avg")? {
        "avg" => Reduce::Mean,
        "max" => Reduce::Max,
        other => return Err(config.refused("global_pool", &other.into())),
    };
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "conv_stem.weight", *size, 1e-5)?;
    let mut x = unit(&mut net, ["conv_stem", "bn1"], input, 2, Groups::One)?;
    x = net.act("act1", Unary::Relu, x)?;
    let stages = count(shapes, "blocks.");
    let mut many = 0;
    // The last stage is one convolution.
    for s in 0..stages.saturating_sub(1) {
        for b in 0..count(shapes, &format!("blocks.{s}.")) {
            x = bottleneck(&mut net, &format!("blocks.{s}.{b}"), x)?;
            many += 1;
        }
    }
    let last = format!("blocks.{}.0", stages.saturating_sub(1));
    x = unit(&mut net, [&format!("{last}.conv"), &format!("{last}.bn1")], x, 1, Groups::One)?;
    x = net.act(&format!("{last}.act"), Unary::Relu, x)?;
    x = net.add("global_pool", Op::Reduce { kind, axes: vec![2, 3], keep: true }, &[x])?;
    x = net.conv("conv_head", x, 1, Groups::One, Padding::Valid)?;
    x = net.act("act2", Unary::Relu, x)?;
    let width = net.channels(x);
    x = net.reshape("flatten", x, &[width])?;
    if shapes.keys().any(|name| name.starts_with("classifier.")) {
        x = net.linear("classifier", x)?;
    }
    let has = |part: &str| shapes.keys().any(|name| name.contains(part));
    let version = if has("_rpr_") {
        "V3"
    } else if has(".short_conv.") {
        "V2"
    } else {
        ""
    };
    let pool = if kind == Reduce::Max { ", max pooling" } else { "" };
    net.finish(x, format!("GhostNet{version}, {many} blocks, timm names{pool}"))
}

/// Convolution and batch norm.
fn unit(net: &mut Layers, [conv, norm]: [&str; 2], x: NodeId, stride: usize, groups: Groups) -> Result<NodeId, ArchError> {
    let x = net.conv(conv, x, stride, groups, Padding::Half)?;
    net.norm(norm, x)
}

fn bottleneck(net: &mut Layers, name: &str, input: NodeId) -> Result<NodeId, ArchError> {
    let mut x = ghost(net, &format!("{name}.ghost1"), input, Some(Unary::Relu))?;
    if net.has(&format!("{name}.dw_rpr_conv.0.conv.weight")) {
        x = side_by_side(net, &format!("{name}.dw_rpr"), x, 2, Groups::Depthwise)?;
    } else if net.has(&format!("{name}.conv_dw.weight")) {
        x = unit(net, [&format!("{name}.conv_dw"), &format!("{name}.bn_dw")], x, 2, Groups::Depthwise)?;
    }
    if net.has(&format!("{name}.se.conv_reduce.weight")) {
        let gate = Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
        x = net.excited([&format!("{name}.se.conv_reduce"), &format!("{name}.se.conv_expand")], x, Unary::Relu, gate)?;
    }
    x = ghost(net, &format!("{name}.ghost2"), x, None)?;
    let mut around = input;
    if net.has(&format!("{name}.shortcut.0.weight")) {
        let halved = net.size(x) != net.size(input);
        let part = |i: usize| format!("{name}.shortcut.{i}");
        around = unit(net, [&part(0), &part(1)], input, if halved { 2 } else { 1 }, Groups::Depthwise)?;
        around = unit(net, [&part(2), &part(3)], around, 1, Groups::One)?;
    }
    net.sum(&format!("{name}.add"), x, around)
}

/// Convolutions of which the sum is taken: `NAME_conv.0`, ..., and the 1x1 one and the batch norm beside them where the file has these.
fn side_by_side(net: &mut Layers, name: &str, input: NodeId, stride: usize, groups: Groups) -> Result<NodeId, ArchError> {
    let mut branches = Vec::new();
    if net.has(&format!("{name}_scale.conv.weight")) {
        branches.push(format!("{name}_scale"));
    }
    branches.extend((0..3).map(|i| format!("{name}_conv.{i}")));
    let mut sum = None;
    if net.has(&format!("{name}_skip.weight")) {
        sum = Some(net.norm(&format!("{name}_skip"), input)?);
    }
    for branch in branches {
        let x = unit(net, [&format!("{branch}.conv"), &format!("{branch}.bn1")], input, stride, groups)?;
        sum = Some(match sum {
            None => x,
            Some(sum) => net.sum(&format!("{branch}.add"), sum, x)?,
        });
    }
    Ok(sum.unwrap_or(input))
}

/// Both halves of the channels; where the file has the convolutions for it, gated by what a map of half the size shows.
fn ghost(net: &mut Layers, name: &str, input: NodeId, act: Option<Unary>) -> Result<NodeId, ArchError> {
    let acted = |net: &mut Layers, name: String, x| act.map_or(Ok(x), |act| net.act(&name, act, x));
    let merged = net.has(&format!("{name}.primary_conv.0.weight"));
    let part = |part: &str| format!("{name}.{part}");
    let first = if merged {
        unit(net, [&part("primary_conv.0"), &part("primary_conv.1")], input, 1, Groups::One)?
    } else {
        side_by_side(net, &part("primary_rpr"), input, 1, Groups::One)?
    };
    let first = acted(net, part("primary.act"), first)?;
    let cheap = if merged {
        unit(net, [&part("cheap_operation.0"), &part("cheap_operation.1")], first, 1, Groups::Depthwise)?
    } else {
        side_by_side(net, &part("cheap_rpr"), first, 1, Groups::Depthwise)?
    };
    let cheap = acted(net, part("cheap.act"), cheap)?;
    let both = net.concat(&part("concat"), 1, &[first, cheap])?;
    if !net.has(&part("short_conv.0.weight")) {
        return Ok(both);
    }
    let mut x = net.avg_pool(&part("short_conv.pool"), input, 2, 2, 0, true)?;
    x = unit(net, [&part("short_conv.0"), &part("short_conv.1")], x, 1, Groups::One)?;
    for (conv, norm, pads) in [("short_conv.2", "short_conv.3", [0, 2, 0, 2]), ("short_conv.4", "short_conv.5", [2, 0, 2, 0])] {
        let how = Conv { pads, groups: net.channels(x), ..Conv::new(1, 0) };
        x = net.conv_as(&part(conv), x, how)?;
        x = net.norm(&part(norm), x)?;
    }
    x = net.act(&part("gate"), Unary::Sigmoid, x)?;
    let size = net.size(both);
    x = net.resize(&part("gate.resize"), x, size, Resample::Nearest)?;
    net.mul(&part("mul"), both, x)
}
