//! `HRNet` under timm's names: branches of several resolutions side by side, which exchange what they have.
//!
//! Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition" (arXiv 1908.07919). Everything follows from the tensors.

use super::{Move, conv_norm, head, likeness, max_pooling, plain_timm, told};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Layers, count};
use crate::model::arch::{ArchError, Built, Family, Shapes, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "hrnet",
    about: "HRNet with its classification head, under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "incre_modules.0.0.conv1.weight"),
    build,
};

const NAMES: [&str; 11] = [
    "hrnet_w18_small",
    "hrnet_w18_small_v2",
    "hrnet_w18",
    "hrnet_w30",
    "hrnet_w32",
    "hrnet_w40",
    "hrnet_w44",
    "hrnet_w48",
    "hrnet_w64",
    "hrnet_w18_ssld",
    "hrnet_w48_ssld",
];

const RELU: Option<Unary> = Some(Unary::Relu);

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    config.only("head", "classification")?;
    config.shown(&["head_conv_bias", "stem_width"]);
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "conv1.weight", size, 1e-5)?;
    for i in 1..=2 {
        x = conv_norm(&mut net, [&format!("conv{i}"), &format!("bn{i}")], x, Move::half(2), RELU)?;
    }
    x = residuals(&mut net, shapes, "layer1", x)?;
    let mut branches = vec![x];
    for stage in 2..=4 {
        branches = transition(&mut net, &format!("transition{}", stage - 1), &branches, stage)?;
        let name = format!("stage{stage}.");
        for module in 0..count(shapes, &name).max(1) {
            branches = exchanged(&mut net, shapes, &format!("{name}{module}"), &branches)?;
        }
    }
    let mut joined: Option<NodeId> = None;
    for (i, &branch) in branches.iter().enumerate() {
        let wider = residuals(&mut net, shapes, &format!("incre_modules.{i}"), branch)?;
        joined = Some(match joined {
            None => wider,
            Some(before) => {
                let name = format!("downsamp_modules.{}", i - 1);
                let down = conv_norm(&mut net, [&format!("{name}.0"), &format!("{name}.1")], before, Move::half(2), RELU)?;
                net.sum(&format!("{name}.add"), wider, down)?
            }
        });
    }
    x = conv_norm(&mut net, ["final_layer.0", "final_layer.1"], joined.unwrap_or(x), Move::half(1), RELU)?;
    x = net.pool("global_pool", max, x)?;
    x = head(&mut net, shapes, "classifier", x)?;
    let width = shapes.get("stage4.0.branches.0.0.conv1.weight").and_then(|shape| shape.first()).copied().unwrap_or(0);
    net.finish(x, format!("HRNet of width {width}, timm names{}", told(None, max)))
}

/// The branches of a stage: those there are, and a new one of half the resolution.
fn transition(net: &mut Layers, name: &str, before: &[NodeId], branches: usize) -> Result<Vec<NodeId>, ArchError> {
    let Some(&last) = before.last() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for i in 0..branches {
        let at = format!("{name}.{i}");
        let one = net.has(&format!("{at}.0.weight"));
        all.push(match before.get(i) {
            Some(_) if one => conv_norm(net, [&format!("{at}.0"), &format!("{at}.1")], last, Move::half(1), RELU)?,
            Some(as_it_is) => *as_it_is,
            None => conv_norm(net, [&format!("{at}.0.0"), &format!("{at}.0.1")], last, Move::half(2), RELU)?,
        });
    }
    Ok(all)
}

/// Blocks on every branch; then each branch becomes the sum of all, brought to its resolution.
fn exchanged(net: &mut Layers, shapes: &Shapes, name: &str, branches: &[NodeId]) -> Result<Vec<NodeId>, ArchError> {
    let mut inner = Vec::new();
    for (i, &branch) in branches.iter().enumerate() {
        inner.push(residuals(net, shapes, &format!("{name}.branches.{i}"), branch)?);
    }
    let mut all = Vec::new();
    for i in 0..inner.len() {
        let mut sum: Option<NodeId> = None;
        for (j, &branch) in inner.iter().enumerate() {
            let fuse = format!("{name}.fuse_layers.{i}.{j}");
            let brought = brought(net, &fuse, branch, [j, i])?;
            sum = Some(match sum {
                None => brought,
                Some(sum) => net.sum(&format!("{fuse}.add"), sum, brought)?,
            });
        }
        all.push(net.act(&format!("{name}.fuse_act.{i}"), Unary::Relu, sum.unwrap_or(NodeId(0)))?);
    }
    Ok(all)
}

/// A branch at the resolution and width of another.
fn brought(net: &mut Layers, name: &str, x: NodeId, [from, to]: [usize; 2]) -> Result<NodeId, ArchError> {
    let mut x = x;
    if from > to {
        x = conv_norm(net, [&format!("{name}.0"), &format!("{name}.1")], x, Move::half(1), None)?;
        let times = 1 << (from - to);
        for (axis, side) in [(2, net.size(x)[0]), (3, net.size(x)[1])] {
            x = net.select(&format!("{name}.nearest{axis}"), x, axis, (0..side * times).map(|place| place / times).collect())?;
        }
    }
    for step in from..to {
        let name = format!("{name}.{}", step - from);
        x = conv_norm(net, [&format!("{name}.0"), &format!("{name}.1")], x, Move::half(2), RELU.filter(|_| step + 1 < to))?;
    }
    Ok(x)
}

/// A ResNet's blocks, basic or bottlenecks, at one resolution.
fn residuals(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let mut x = x;
    for block in 0..count(shapes, &format!("{name}.")).max(1) {
        let name = format!("{name}.{block}");
        let convolutions = if net.has(&format!("{name}.conv3.weight")) { 3 } else { 2 };
        let mut shortcut = x;
        if net.has(&format!("{name}.downsample.0.weight")) {
            shortcut = conv_norm(net, [&format!("{name}.downsample.0"), &format!("{name}.downsample.1")], x, Move::half(1), None)?;
        }
        for i in 1..=convolutions {
            let act = RELU.filter(|_| i < convolutions);
            x = conv_norm(net, [&format!("{name}.conv{i}"), &format!("{name}.bn{i}")], x, Move::half(1), act)?;
        }
        x = net.sum(&format!("{name}.add"), x, shortcut)?;
        x = net.act(&format!("{name}.relu"), Unary::Relu, x)?;
    }
    Ok(x)
}
