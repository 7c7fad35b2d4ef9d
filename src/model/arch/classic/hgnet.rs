//! PP-HGNet v1 and v2 under timm's names.
//!
//! `PaddleClas`; its distilled weights are of Cui et al. (arXiv 2103.05959). Everything follows from the tensors: which stem, separable
//! layers, the attention behind a block, and the factors learnt behind activations.

use super::{Move, head, learnt_affine, likeness, max_pooling, plain_timm, told};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Groups, Layers, Padding, count};
use crate::model::arch::{ArchError, Built, Family, Shapes, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "hgnet",
    about: "PP-HGNet v1 and v2 under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "stages.0.blocks.0.aggregation.0.conv.weight"),
    build,
};

const NAMES: [&str; 10] = [
    "hgnet_tiny",
    "hgnet_small",
    "hgnet_base",
    "hgnetv2_b0",
    "hgnetv2_b1",
    "hgnetv2_b2",
    "hgnetv2_b3",
    "hgnetv2_b4",
    "hgnetv2_b5",
    "hgnetv2_b6",
];

const RELU: Option<Unary> = Some(Unary::Relu);

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    let hidden = shapes.get("head.last_conv.0.weight").and_then(|shape| shape.first()).copied();
    if let Some(hidden) = hidden {
        config.agrees("head_hidden_size", hidden)?;
    }
    config.shown(&["head_hidden_size"]);
    config.only("use_lab", shapes.contains_key("stem.stem1.lab.scale"))?;
    let max = max_pooling(config)?;
    let second = shapes.contains_key("stem.stem1.conv.weight");
    let stem = if second { "stem.stem1.conv.weight" } else { "stem.stem.0.conv.weight" };
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, stem, size, 1e-5)?;
    x = if second { second_stem(&mut net, x)? } else { first_stem(&mut net, shapes, x)? };
    let stages = count(shapes, "stages.");
    for stage in 0..stages {
        let name = format!("stages.{stage}");
        if net.has(&format!("{name}.downsample.conv.weight")) {
            x = unit(&mut net, &format!("{name}.downsample"), x, Move::depthwise(2), None)?;
        }
        for block in 0..count(shapes, &format!("{name}.blocks.")) {
            let name = format!("{name}.blocks.{block}");
            let given = aggregated(&mut net, shapes, &name, x)?;
            x = if block > 0 { net.sum(&format!("{name}.add"), given, x)? } else { given };
        }
    }
    x = net.pool("head.global_pool", max, x)?;
    if hidden.is_some() {
        let width = net.width(x);
        x = net.reshape("head.map", x, &[width, 1, 1])?;
        x = net.conv("head.last_conv.0", x, 1, Groups::One, Padding::Half)?;
        x = net.act("head.last_conv.1", Unary::Relu, x)?;
        x = learnt_affine(&mut net, "head.last_conv.2", x)?;
        let width = net.channels(x);
        x = net.reshape("head.flatten", x, &[width])?;
    }
    x = head(&mut net, shapes, "head.fc", x)?;
    let version = if second { "v2" } else { "v1" };
    net.finish(x, format!("PP-HGNet {version}, {stages} stages, timm names{}", told(None, max)))
}

/// Convolution, batch norm, activation, and what is learnt behind that.
fn unit(net: &mut Layers, name: &str, x: NodeId, how: Move, act: Option<Unary>) -> Result<NodeId, ArchError> {
    let x = super::unit(net, name, x, how, act)?;
    learnt_affine(net, &format!("{name}.lab"), x)
}

fn first_stem(net: &mut Layers, shapes: &Shapes, x: NodeId) -> Result<NodeId, ArchError> {
    let mut x = x;
    for i in 0..count(shapes, "stem.stem.").max(1) {
        x = unit(net, &format!("stem.stem.{i}"), x, Move::half(if i == 0 { 2 } else { 1 }), RELU)?;
    }
    net.stem_pool("stem.pool", x)
}

/// Two ways of 2x2 windows, whose maps keep their size by a row and a column of zeros.
fn second_stem(net: &mut Layers, x: NodeId) -> Result<NodeId, ArchError> {
    let padded = |net: &mut Layers, name: &str, x| net.pad(name, x, vec![(0, 0), (0, 0), (0, 1), (0, 1)]);
    let x = unit(net, "stem.stem1", x, Move::half(2), RELU)?;
    let x = padded(net, "stem.pad1", x)?;
    let y = unit(net, "stem.stem2a", x, Move::valid(1), RELU)?;
    let y = padded(net, "stem.pad2", y)?;
    let y = unit(net, "stem.stem2b", y, Move::valid(1), RELU)?;
    let x = net.max_pool("stem.pool", x, 2, 1, 0)?;
    let x = net.concat("stem.concat", 1, &[x, y])?;
    let x = unit(net, "stem.stem3", x, Move::half(2), RELU)?;
    unit(net, "stem.stem4", x, Move::half(1), RELU)
}

fn aggregated(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let (mut at, mut all) = (x, vec![x]);
    for layer in 0..count(shapes, &format!("{name}.layers.")) {
        let layer = format!("{name}.layers.{layer}");
        at = if net.has(&format!("{layer}.conv1.conv.weight")) {
            let less = unit(net, &format!("{layer}.conv1"), at, Move::half(1), None)?;
            unit(net, &format!("{layer}.conv2"), less, Move::depthwise(1), RELU)?
        } else {
            unit(net, &layer, at, Move::half(1), RELU)?
        };
        all.push(at);
    }
    let joined = net.concat(&format!("{name}.concat"), 1, &all)?;
    let x = unit(net, &format!("{name}.aggregation.0"), joined, Move::half(1), RELU)?;
    let second = format!("{name}.aggregation.1");
    if net.has(&format!("{second}.bn.weight")) {
        return unit(net, &second, x, Move::half(1), RELU);
    }
    let mean = net.mean(&format!("{second}.mean"), x, &[2, 3], true)?;
    let gate = net.conv(&format!("{second}.conv"), mean, 1, Groups::One, Padding::Half)?;
    let gate = net.act(&format!("{second}.sigmoid"), Unary::Sigmoid, gate)?;
    net.mul(&second, x, gate)
}
