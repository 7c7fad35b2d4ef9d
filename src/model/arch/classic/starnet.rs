//! `StarNet` under timm's names.
//!
//! Ma, Dai, Bai, Wang, Fu, "Rewrite the Stars" (arXiv 2403.19967). A block multiplies two maps with each other.

use super::{Move, conv_norm, head, likeness, listed, max_pooling, plain_timm, row, same, told, unit, words};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Groups, Layers, Padding, count};
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "starnet",
    about: "StarNet under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES.iter().map(|(name, _)| *name)),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "stages.0.1.dwconv2.conv.weight"),
    build,
};

/// Blocks in each stage.
const NAMES: [(&str, [usize; 4]); 7] = [
    ("starnet_s1", [2, 2, 8, 3]),
    ("starnet_s2", [1, 2, 6, 2]),
    ("starnet_s3", [2, 2, 8, 4]),
    ("starnet_s4", [3, 3, 12, 5]),
    ("starnet_s050", [1, 1, 3, 1]),
    ("starnet_s100", [1, 2, 4, 1]),
    ("starnet_s150", [1, 2, 4, 2]),
];

const RELU6: Unary = Unary::Clip { min: 0.0, max: 6.0 };

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    let width = |conv: &str| shapes.get(&format!("stages.0.{conv}.conv.weight")).and_then(|shape| shape.first()).copied();
    if let Some((base, inner)) = width("0").filter(|base| *base > 0).zip(width("1.f1")) {
        config.agrees("base_dim", base)?;
        config.agrees("mlp_ratio", inner / base)?;
    }
    config.shown(&["base_dim", "mlp_ratio"]);
    let parts: Vec<usize> = (0..count(shapes, "stages.")).map(|stage| count(shapes, &format!("stages.{stage}."))).collect();
    let blocks: Vec<usize> = parts.iter().map(|parts| parts.saturating_sub(1)).collect();
    if !listed(config, "depths", &blocks)?
        && let Some(said) = row(config, &NAMES)
    {
        same(config, "stages of this many blocks:", said, &blocks)?;
    }
    let act = config.act("act_layer")?.unwrap_or(RELU6);
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "stem.0.conv.weight", size, 1e-5)?;
    x = unit(&mut net, "stem.0", x, Move::half(2), Some(act))?;
    for (stage, &blocks) in blocks.iter().enumerate() {
        x = unit(&mut net, &format!("stages.{stage}.0"), x, Move::half(2), None)?;
        for block in 1..=blocks {
            x = star(&mut net, &format!("stages.{stage}.{block}"), x, act)?;
        }
    }
    x = net.norm("norm", x)?;
    x = net.pool("global_pool", max, x)?;
    x = head(&mut net, shapes, "head", x)?;
    net.finish(x, format!("StarNet, stages of {} blocks, timm names{}", words(&blocks), told(Some((RELU6, act)), max)))
}

fn star(net: &mut Layers, name: &str, input: NodeId, act: Unary) -> Result<NodeId, ArchError> {
    let x = unit(net, &format!("{name}.dwconv"), input, Move::depthwise(1), None)?;
    let first = net.conv(&format!("{name}.f1.conv"), x, 1, Groups::One, Padding::Half)?;
    let first = net.act(&format!("{name}.act"), act, first)?;
    let second = net.conv(&format!("{name}.f2.conv"), x, 1, Groups::One, Padding::Half)?;
    let x = net.mul(&format!("{name}.star"), first, second)?;
    let x = conv_norm(net, [&format!("{name}.g.conv"), &format!("{name}.g.bn")], x, Move::half(1), None)?;
    let x = net.conv(&format!("{name}.dwconv2.conv"), x, 1, Groups::Depthwise, Padding::Half)?;
    net.sum(&format!("{name}.add"), input, x)
}
