//! `SelecSLS` under timm's names.
//!
//! Mehta et al., "`XNect`" (arXiv 1907.00837). A block that reads no skip connection is the first of its stage, and strides.

use super::{Move, conv_norm, head, likeness, max_pooling, plain_timm, told};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Layers, count};
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "selecsls",
    about: "SelecSLS under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        name.may_be(Library::Timm) && name.is_one_of(["selecsls42", "selecsls42b", "selecsls60", "selecsls60b", "selecsls84"])
    },
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "features.0.conv6.0.weight"),
    build,
};

/// Strides of the convolutions behind the blocks.
const HEAD: [usize; 4] = [2, 1, 2, 1];

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "stem.0.weight", size, 1e-5)?;
    x = step(&mut net, "stem", x, 2)?;
    let (blocks, mut skip) = (count(shapes, "features.").max(1), None);
    for block in 0..blocks {
        let name = format!("features.{block}");
        let side = |part: &str, axis: usize| shapes.get(&format!("{name}.{part}.0.weight")).and_then(|shape| shape.get(axis)).copied();
        let parts: Option<usize> = ["conv1", "conv3", "conv5"].into_iter().map(|part| side(part, 0)).sum();
        let first = side("conv6", 1).zip(parts).is_some_and(|(joined, parts)| joined == parts);
        if !first && skip.is_none() && net.is_whole() {
            let found = shapes.get(&format!("{name}.conv6.0.weight")).cloned().unwrap_or_default();
            net.misfit(&format!("{name}.conv6.0.weight"), &found, "the channels of the block alone: nothing came before it", x);
        }
        x = select(&mut net, &name, x, skip.filter(|_| !first))?;
        if first {
            skip = Some(x);
        }
    }
    for (i, stride) in HEAD.into_iter().enumerate() {
        x = step(&mut net, &format!("head.{i}"), x, stride)?;
    }
    x = net.pool("global_pool", max, x)?;
    x = head(&mut net, shapes, "fc", x)?;
    net.finish(x, format!("SelecSLS, {blocks} blocks, timm names{}", told(None, max)))
}

fn step(net: &mut Layers, name: &str, x: NodeId, stride: usize) -> Result<NodeId, ArchError> {
    conv_norm(net, [&format!("{name}.0"), &format!("{name}.1")], x, Move::half(stride), Some(Unary::Relu))
}

fn select(net: &mut Layers, name: &str, x: NodeId, skip: Option<NodeId>) -> Result<NodeId, ArchError> {
    let first = step(net, &format!("{name}.conv1"), x, if skip.is_none() { 2 } else { 1 })?;
    let mut parts = vec![first];
    let mut at = first;
    for [one, two] in [[2, 3], [4, 5]] {
        at = step(net, &format!("{name}.conv{one}"), at, 1)?;
        at = step(net, &format!("{name}.conv{two}"), at, 1)?;
        parts.push(at);
    }
    parts.extend(skip);
    let joined = net.concat(&format!("{name}.concat"), 1, &parts)?;
    step(net, &format!("{name}.conv6"), joined, 1)
}
