//! Xception under timm's names: `legacy_xception`, and the aligned one of `DeepLab` v3+ (`xception41` and its like).
//!
//! Chollet (arXiv 1610.02357); Chen, Zhu, Papandreou, Schroff, Adam (arXiv 1802.02611). In the first a block with a convolution beside it
//! strides. In the second the name says which blocks do, and how much is added to variances.

use super::{Move, conv_norm, head, likeness, max_pooling, plain_timm, row, same, told, unit};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Groups, Layers, Padding, count};
use crate::model::arch::{ArchError, Built, Family, Shapes, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "xception",
    about: "Xception under timm's names (`legacy_xception`)",
    usual_size: [299, 299],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(["legacy_xception"]),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "block2.rep.1.conv1.weight"),
    build,
};

pub(in crate::model::arch) static ALIGNED: Family = Family {
    name: "xception-aligned",
    about: "Modified aligned Xception under timm's names (`xception41`, 65, 71, 41p, 65p)",
    usual_size: [299, 299],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES.iter().map(|(name, _)| *name)),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "blocks.0.stack.conv1.conv_dw.weight"),
    build: aligned,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    let max = max_pooling(config)?;
    let act = Some(Unary::Relu);
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "conv1.weight", size, 1e-5)?;
    x = conv_norm(&mut net, ["conv1", "bn1"], x, Move::valid(2), act)?;
    x = conv_norm(&mut net, ["conv2", "bn2"], x, Move::valid(1), act)?;
    for block in 1..=12 {
        x = residual(&mut net, shapes, &format!("block{block}"), x)?;
    }
    for i in [3, 4] {
        x = separable(&mut net, [&format!("conv{i}"), &format!("bn{i}")], x)?;
        x = net.act(&format!("act{i}"), Unary::Relu, x)?;
    }
    x = net.pool("global_pool", max, x)?;
    x = head(&mut net, shapes, "fc", x)?;
    net.finish(x, format!("Xception, timm names{}", told(None, max)))
}

/// A convolution for each channel, one that mixes them, and a batch norm.
fn separable(net: &mut Layers, [conv, norm]: [&str; 2], x: NodeId) -> Result<NodeId, ArchError> {
    let x = net.conv(&format!("{conv}.conv1"), x, 1, Groups::Depthwise, Padding::Half)?;
    conv_norm(net, [&format!("{conv}.pointwise"), norm], x, Move::half(1), None)
}

fn residual(net: &mut Layers, shapes: &Shapes, name: &str, input: NodeId) -> Result<NodeId, ArchError> {
    // An activation has a number of its own before each convolution, but the first of all.
    let first = usize::from(!net.has(&format!("{name}.rep.0.conv1.weight")));
    let there = |i: &usize| shapes.contains_key(&format!("{name}.rep.{}.conv1.weight", first + 3 * i));
    let mut x = input;
    for i in 0..(0..shapes.len()).take_while(there).count().max(1) {
        let at = first + 3 * i;
        if at > 0 {
            x = net.act(&format!("{name}.rep.{}", at - 1), Unary::Relu, x)?;
        }
        x = separable(net, [&format!("{name}.rep.{at}"), &format!("{name}.rep.{}", at + 1)], x)?;
    }
    let mut shortcut = input;
    if net.has(&format!("{name}.skip.weight")) {
        x = net.max_pool(&format!("{name}.pool"), x, 3, 2, 1)?;
        shortcut = conv_norm(net, [&format!("{name}.skip"), &format!("{name}.skipbn")], input, Move::half(2), None)?;
    }
    net.sum(&format!("{name}.add"), x, shortcut)
}

/// What an aligned Xception's tensors do not show.
struct Variant {
    blocks: usize,
    /// The blocks before the last two that stride.
    strides: &'static [usize],
    eps: f64,
}

const NAMES: [(&str, Variant); 5] = [
    ("xception41", Variant { blocks: 13, strides: &[0, 1, 2], eps: 1e-3 }),
    ("xception65", Variant { blocks: 21, strides: &[0, 1, 2], eps: 1e-3 }),
    ("xception71", Variant { blocks: 23, strides: &[0, 2, 4], eps: 1e-3 }),
    ("xception41p", Variant { blocks: 13, strides: &[0, 1, 2], eps: 1e-5 }),
    ("xception65p", Variant { blocks: 21, strides: &[0, 1, 2], eps: 1e-3 }),
];

fn aligned(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    let Some(variant) = row(config, &NAMES) else {
        let what = "which of its blocks stride".to_owned();
        return Err(ArchError::NeedsName {
            family: ALIGNED.name,
            what,
            names: NAMES.iter().map(|(name, _)| format!("timm/{name}")).collect(),
        });
    };
    let before = shapes.contains_key("blocks.0.norm.weight");
    config.only("preact", before)?;
    let blocks = count(shapes, "blocks.");
    same(config, "this many blocks:", &[variant.blocks], &[blocks])?;
    let act = config.act("act_layer")?.unwrap_or(Unary::Relu);
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(ALIGNED.name, shapes, "stem.0.conv.weight", size, variant.eps)?;
    x = unit(&mut net, "stem.0", x, Move::half(2), Some(act))?;
    x = if before { net.conv("stem.1", x, 1, Groups::One, Padding::Half)? } else { unit(&mut net, "stem.1", x, Move::half(1), Some(act))? };
    for block in 0..blocks {
        let name = format!("blocks.{block}");
        let stride = if variant.strides.contains(&block) || block + 2 == blocks { 2 } else { 1 };
        let last = block + 1 == blocks;
        x = if before {
            acts_before(&mut net, &name, x, stride, (act, last))?
        } else {
            acts_behind(&mut net, &name, x, stride, (act, last))?
        };
    }
    if before {
        x = net.act("act", act, x)?;
    }
    x = net.pool("head.global_pool", max, x)?;
    x = head(&mut net, shapes, "head.fc", x)?;
    net.finish(x, format!("aligned Xception, {blocks} blocks, timm names{}", told(Some((Unary::Relu, act)), max)))
}

/// A block of three separable convolutions, each with batch norms behind it. The last block of the network has nothing beside it, and its
/// activations stand behind the norms, not before the convolutions.
fn acts_behind(net: &mut Layers, name: &str, input: NodeId, stride: usize, (act, last): (Unary, bool)) -> Result<NodeId, ArchError> {
    let mut x = input;
    for i in 1..=3 {
        let conv = format!("{name}.stack.conv{i}");
        if !last {
            x = net.act(&format!("{name}.stack.act{i}"), act, x)?;
        }
        let stride = if i == 3 { stride } else { 1 };
        for (part, how) in [("dw", Move::depthwise(stride)), ("pw", Move::half(1))] {
            x = conv_norm(net, [&format!("{conv}.conv_{part}"), &format!("{conv}.bn_{part}")], x, how, last.then_some(act))?;
        }
    }
    if last {
        return Ok(x);
    }
    let mut shortcut = input;
    if stride > 1 || net.has(&format!("{name}.shortcut.conv.weight")) {
        shortcut = unit(net, &format!("{name}.shortcut"), input, Move::half(stride), None)?;
    }
    net.sum(&format!("{name}.add"), x, shortcut)
}

/// The same with norm and activation before each separable convolution; what is added is what comes out of the first norm.
fn acts_before(net: &mut Layers, name: &str, input: NodeId, stride: usize, (act, last): (Unary, bool)) -> Result<NodeId, ArchError> {
    let normed = |net: &mut Layers, name: &str, x| {
        let x = net.norm(name, x)?;
        net.act(&format!("{name}.act"), act, x)
    };
    let begun = normed(net, &format!("{name}.norm"), input)?;
    let mut x = begun;
    for i in 1..=3 {
        let conv = format!("{name}.stack.conv{i}");
        if i > 1 {
            x = normed(net, &format!("{conv}.norm"), x)?;
        }
        let stride = if i == 3 { stride } else { 1 };
        x = net.conv(&format!("{conv}.conv_dw"), x, stride, Groups::Depthwise, Padding::Half)?;
        x = net.conv(&format!("{conv}.conv_pw"), x, 1, Groups::One, Padding::Half)?;
    }
    if last {
        return Ok(x);
    }
    let mut shortcut = begun;
    if stride > 1 || net.has(&format!("{name}.shortcut.weight")) {
        shortcut = net.conv(&format!("{name}.shortcut"), begun, stride, Groups::One, Padding::Half)?;
    }
    net.sum(&format!("{name}.add"), x, shortcut)
}
