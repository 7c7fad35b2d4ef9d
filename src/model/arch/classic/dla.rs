//! Deep layer aggregation (`DLA`) under timm's names.
//!
//! Yu, Wang, Shelhamer, Darrell (arXiv 1707.06484). A level is a tree of blocks, whose roots join what the blocks below them gave. Depth,
//! widths, groups and kind of block follow from the tensors; whether a root adds its first input to what it gives, only the name says.

use super::{Move, conv_norm, likeness, listed, max_pooling, plain_timm, row, same, told};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Groups, Layers, Padding};
use crate::model::arch::{ArchError, Built, Family, Shapes, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "dla",
    about: "DLA and DLA-Res2Net under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES.iter().map(|(name, _)| *name)),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "level2.tree1.conv1.weight"),
    build,
};

/// Depths of the six levels, and whether roots add their first input.
const NAMES: [(&str, ([usize; 6], bool)); 12] = [
    ("dla34", ([1, 1, 1, 2, 2, 1], false)),
    ("dla46_c", ([1, 1, 1, 2, 2, 1], false)),
    ("dla46x_c", ([1, 1, 1, 2, 2, 1], false)),
    ("dla60", ([1, 1, 1, 2, 3, 1], false)),
    ("dla60x", ([1, 1, 1, 2, 3, 1], false)),
    ("dla60x_c", ([1, 1, 1, 2, 3, 1], false)),
    ("dla60_res2net", ([1, 1, 1, 2, 3, 1], false)),
    ("dla60_res2next", ([1, 1, 1, 2, 3, 1], false)),
    ("dla102", ([1, 1, 1, 3, 4, 1], true)),
    ("dla102x", ([1, 1, 1, 3, 4, 1], true)),
    ("dla102x2", ([1, 1, 1, 3, 4, 1], true)),
    ("dla169", ([1, 1, 2, 3, 5, 1], true)),
];

/// Deepest tree that is built.
const DEEPEST: usize = 8;

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    config.shown(&["base_width", "cardinality"]);
    if let Some(block) = config.get("block") {
        return Err(config.refused("block", block));
    }
    let Some((depths, adds)) = row(config, &NAMES) else {
        let what = "whether its roots add their first input".to_owned();
        return Err(ArchError::NeedsName { family: FAMILY.name, what, names: vec!["timm/dla34".into(), "timm/dla102".into()] });
    };
    let found = levels(shapes);
    if !listed(config, "levels", &found)? {
        same(config, "levels of depth", depths, &found)?;
    }
    listed(config, "channels", &widths(shapes, &found))?;
    let adds = config.flag("shortcut_root", *adds)?;
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "base_layer.0.weight", size, 1e-5)?;
    x = conv_norm(&mut net, ["base_layer.0", "base_layer.1"], x, Move::half(1), Some(Unary::Relu))?;
    for (level, &depth) in found.iter().enumerate() {
        let name = format!("level{level}");
        if level < 2 {
            for i in 0..depth {
                let how = Move::half(if level == 1 && i == 0 { 2 } else { 1 });
                x = conv_norm(&mut net, [&format!("{name}.{}", 3 * i), &format!("{name}.{}", 3 * i + 1)], x, how, Some(Unary::Relu))?;
            }
        } else {
            let tree = Tree { depth, stride: 2, adds, joins_input: level > 2 };
            x = tree.build(&mut net, &name, x, Vec::new())?;
        }
    }
    x = net.pool("global_pool", max, x)?;
    x = classified(&mut net, x)?;
    net.finish(x, format!("DLA, levels of depth {}, timm names{}", super::words(&found), told(None, max)))
}

/// The classifier is a 1x1 convolution.
fn classified(net: &mut Layers, x: NodeId) -> Result<NodeId, ArchError> {
    if !net.has("fc.weight") {
        return Ok(x);
    }
    let width = net.width(x);
    let map = net.reshape("fc.map", x, &[width, 1, 1])?;
    let answer = net.conv("fc", map, 1, Groups::One, Padding::Half)?;
    let classes = net.channels(answer);
    net.reshape("flatten", answer, &[classes])
}

/// Convolutions in the first two levels, depth of the tree in the others.
fn levels(shapes: &Shapes) -> Vec<usize> {
    let begins = |start: &str| shapes.range(start.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(start));
    let depth = |level: usize| match level {
        0 | 1 => (0..shapes.len()).take_while(|i| begins(&format!("level{level}.{}.", 3 * i))).count().max(1),
        _ => (1..=DEEPEST).take_while(|depth| begins(&format!("level{level}{}.", ".tree1".repeat(*depth)))).count().max(1),
    };
    (0..6).map(depth).collect()
}

/// Channels that the levels give.
fn widths(shapes: &Shapes, depths: &[usize]) -> Vec<usize> {
    let last = |(level, &depth): (usize, &usize)| match level {
        0 | 1 => format!("level{level}.{}.weight", 3 * depth.saturating_sub(1)),
        _ => format!("level{level}{}.root.conv.weight", ".tree2".repeat(depth.saturating_sub(1))),
    };
    depths.iter().enumerate().map(|level| shapes.get(&last(level)).and_then(|shape| shape.first()).copied().unwrap_or(0)).collect()
}

#[derive(Clone, Copy)]
struct Tree {
    depth: usize,
    stride: usize,
    adds: bool,
    /// Whether the roots read what enters the tree too.
    joins_input: bool,
}

impl Tree {
    /// `below`: what the root reads beside the last two blocks.
    fn build(self, net: &mut Layers, name: &str, x: NodeId, mut below: Vec<NodeId>) -> Result<NodeId, ArchError> {
        let Self { depth, stride, adds, joins_input } = self;
        let mut bottom = x;
        let last = depth <= 1;
        if stride > 1 && (last || joins_input) {
            bottom = net.max_pool(&format!("{name}.downsample"), x, stride, stride, 0)?;
        }
        if joins_input {
            below.push(bottom);
        }
        let [first, second] = [format!("{name}.tree1"), format!("{name}.tree2")];
        let inner = Self { depth: depth.saturating_sub(1), joins_input: false, ..self };
        if !last {
            let x = inner.build(net, &first, x, Vec::new())?;
            below.push(x);
            return Self { stride: 1, ..inner }.build(net, &second, x, below);
        }
        let mut shortcut = bottom;
        if net.has(&format!("{name}.project.0.weight")) {
            shortcut = conv_norm(net, [&format!("{name}.project.0"), &format!("{name}.project.1")], bottom, Move::half(1), None)?;
        }
        let x1 = block(net, &first, x, shortcut, stride)?;
        let x2 = block(net, &second, x1, x1, 1)?;
        let all: Vec<NodeId> = [x2, x1].into_iter().chain(below).collect();
        let joined = net.concat(&format!("{name}.root.concat"), 1, &all)?;
        let mut x = conv_norm(net, [&format!("{name}.root.conv"), &format!("{name}.root.bn")], joined, Move::half(1), None)?;
        if adds {
            x = net.sum(&format!("{name}.root.add"), x, x2)?;
        }
        net.act(&format!("{name}.root.relu"), Unary::Relu, x)
    }
}

/// A basic block, a bottleneck, or one whose middle is split (`Res2Net`, arXiv 1904.01169).
fn block(net: &mut Layers, name: &str, x: NodeId, shortcut: NodeId, stride: usize) -> Result<NodeId, ArchError> {
    let relu = Some(Unary::Relu);
    let conv =
        |net: &mut Layers, i: usize, x, how, act| conv_norm(net, [&format!("{name}.conv{i}"), &format!("{name}.bn{i}")], x, how, act);
    let x = if net.has(&format!("{name}.convs.0.weight")) {
        let x = conv(net, 1, x, Move::half(1), relu)?;
        let x = split(net, name, x, stride)?;
        conv(net, 3, x, Move::half(1), None)?
    } else if net.has(&format!("{name}.conv3.weight")) {
        let x = conv(net, 1, x, Move::half(1), relu)?;
        let x = conv(net, 2, x, Move::grouped(stride), relu)?;
        conv(net, 3, x, Move::half(1), None)?
    } else {
        let x = conv(net, 1, x, Move::half(stride), relu)?;
        conv(net, 2, x, Move::half(1), None)?
    };
    let x = net.sum(&format!("{name}.add"), x, shortcut)?;
    net.act(&format!("{name}.relu"), Unary::Relu, x)
}

/// Parts of the channels, each but the last with a convolution; where it does not stride, each adds what the one before gave.
fn split(net: &mut Layers, name: &str, x: NodeId, stride: usize) -> Result<NodeId, ArchError> {
    let convolutions = (0..net.channels(x)).take_while(|i| net.has(&format!("{name}.convs.{i}.weight"))).count();
    let parts = net.split(&format!("{name}.split"), x, 1, convolutions + 1)?;
    let (mut given, mut before) = (Vec::new(), None);
    for (i, &part) in parts.iter().enumerate() {
        if i == convolutions {
            let last = if stride > 1 { net.avg_pool(&format!("{name}.pool"), part, 3, stride, 1, true)? } else { part };
            given.push(last);
            break;
        }
        let part = match before.filter(|_| stride == 1) {
            Some(before) => net.sum(&format!("{name}.sum{i}"), before, part)?,
            None => part,
        };
        let names = [format!("{name}.convs.{i}"), format!("{name}.bns.{i}")];
        let x = conv_norm(net, [&names[0], &names[1]], part, Move::grouped(stride), Some(Unary::Relu))?;
        before = Some(x);
        given.push(x);
    }
    net.concat(&format!("{name}.concat"), 1, &given)
}
