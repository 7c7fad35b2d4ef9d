//! `ReXNet` under timm's names (Han, Yun, Heo, Yoo, arXiv 2007.00992): inverted residuals whose width grows from block to block, so that a shortcut
//! goes to the first channels only. All names of timm have the same depth and activations.

use super::config::Library;
use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Unary};

const NAMES: [&str; 10] = [
    "rexnet_100",
    "rexnet_130",
    "rexnet_150",
    "rexnet_200",
    "rexnet_300",
    "rexnetr_100",
    "rexnetr_130",
    "rexnetr_150",
    "rexnetr_200",
    "rexnetr_300",
];
/// Blocks of each stage at depth 1, and their strides.
const STAGES: [(usize, usize); 6] = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (5, 2)];
const RELU6: Unary = Unary::Clip { min: 0.0, max: 6.0 };

pub(super) static FAMILY: Family = Family {
    name: "rexnet",
    about: "ReXNet under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |name: &str| shapes.contains_key(name);
        if has("stem.conv.weight") && has("features.0.conv_pwl.conv.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    if !config.name.as_ref().is_some_and(|name| name.is_one_of(NAMES)) {
        return Err(ArchError::NeedsName {
            family: "a ReXNet",
            what: "activations and strides".into(),
            names: vec!["timm/rexnet_100".into()],
        });
    }
    let act = config.act("act_layer")?.unwrap_or(Unary::Silu);
    let inner = config.act("dw_act_layer")?.unwrap_or(RELU6);
    config.only("output_stride", 32)?;
    config.shown(&["ch_div", "final_chs", "initial_chs", "se_ratio", "width_mult"]);
    let max = match config.pooling("avg")? {
        "avg" => false,
        "max" => true,
        other => return Err(config.refused("global_pool", &other.into())),
    };
    // Behind the last block stands one convolution more.
    let last = count(shapes, "features.").saturating_sub(1);
    let strides = strides(config.number("depth_mult")?.unwrap_or(1.0), last)?;
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "stem.conv.weight", *size, 1e-5)?;
    let mut x = unit(&mut net, "stem", input, 2, Groups::One)?;
    x = net.act("stem.act", act, x)?;
    for (i, stride) in strides.into_iter().enumerate() {
        x = block(&mut net, &format!("features.{i}"), x, stride, [act, inner])?;
    }
    x = unit(&mut net, &format!("features.{last}"), x, 1, Groups::One)?;
    x = net.act("features.act", act, x)?;
    x = net.pool("head.global_pool", max, x)?;
    if has_head(shapes) {
        x = net.linear("head.fc", x)?;
    }
    let told = if [act, inner] == [Unary::Silu, RELU6] { String::new() } else { format!(", {act:?} and {inner:?}") };
    let pool = if max { ", max pooling" } else { "" };
    net.finish(x, format!("ReXNet, {last} blocks, timm names{told}{pool}"))
}

fn has_head(shapes: &Shapes) -> bool {
    shapes.keys().any(|name| name.starts_with("head.fc."))
}

/// The stride of every block, of as many as the file has.
fn strides(deeper: f64, found: usize) -> Result<Vec<usize>, ArchError> {
    let depths = STAGES.map(|(depth, _)| (depth as f64 * deeper).ceil());
    let total: f64 = depths.iter().sum();
    if depths.iter().any(|depth| *depth < 1.0) || (total - found as f64).abs() > 0.1 {
        return Err(ArchError::Unsupported(format!(
            "a ReXNet of depth {deeper} has {total} blocks, and the tensors show {found}: one of the two is of another model"
        )));
    }
    let stage = |((_, stride), depth): ((usize, usize), f64)| std::iter::once(stride).chain(std::iter::repeat_n(1, depth as usize - 1));
    Ok(STAGES.into_iter().zip(depths).flat_map(stage).collect())
}

fn unit(net: &mut Layers, name: &str, x: NodeId, stride: usize, groups: Groups) -> Result<NodeId, ArchError> {
    let x = net.conv(&format!("{name}.conv"), x, stride, groups, Padding::Half)?;
    net.norm(&format!("{name}.bn"), x)
}

fn block(net: &mut Layers, name: &str, input: NodeId, stride: usize, [act, inner]: [Unary; 2]) -> Result<NodeId, ArchError> {
    let mut x = input;
    if net.has(&format!("{name}.conv_exp.conv.weight")) {
        x = unit(net, &format!("{name}.conv_exp"), x, 1, Groups::One)?;
        x = net.act(&format!("{name}.conv_exp.act"), act, x)?;
    }
    x = unit(net, &format!("{name}.conv_dw"), x, stride, Groups::Depthwise)?;
    if net.has(&format!("{name}.se.fc1.weight")) {
        x = excited(net, &format!("{name}.se"), x)?;
    }
    x = net.act(&format!("{name}.act_dw"), inner, x)?;
    x = unit(net, &format!("{name}.conv_pwl"), x, 1, Groups::One)?;
    let [from, to] = [net.channels(input), net.channels(x)];
    if stride != 1 || from > to {
        return Ok(x);
    }
    if from == to {
        return net.sum(&format!("{name}.add"), x, input);
    }
    let first = net.slice(&format!("{name}.first"), x, 1, 0, from)?;
    let rest = net.slice(&format!("{name}.rest"), x, 1, from, to)?;
    let first = net.sum(&format!("{name}.add"), first, input)?;
    net.concat(&format!("{name}.concat"), 1, &[first, rest])
}

/// Squeeze-and-excitation with a batch norm within.
fn excited(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let mean = net.mean(&format!("{name}.mean"), x, &[2, 3], true)?;
    let less = net.conv(&format!("{name}.fc1"), mean, 1, Groups::One, Padding::Valid)?;
    let less = net.norm(&format!("{name}.bn"), less)?;
    let less = net.act(&format!("{name}.act"), Unary::Relu, less)?;
    let more = net.conv(&format!("{name}.fc2"), less, 1, Groups::One, Padding::Valid)?;
    let gate = net.act(&format!("{name}.gate"), Unary::Sigmoid, more)?;
    net.mul(&format!("{name}.mul"), x, gate)
}
