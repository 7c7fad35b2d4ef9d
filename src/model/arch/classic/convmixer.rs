//! `ConvMixer` under timm's names.
//!
//! Trockman, Kolter, "Patches Are All You Need?" (arXiv 2201.09792). Only the name says which activation it has.

use super::{head, likeness, max_pooling, plain_timm, row, same, told};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Conv, Groups, Layers, Padding, count};
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "convmixer",
    about: "ConvMixer under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES.iter().map(|(name, _)| *name)),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "blocks.0.0.fn.0.weight"),
    build,
};

/// Depth, sides of kernel and patch, and activation.
const NAMES: [(&str, ([usize; 3], Unary)); 3] = [
    ("convmixer_1536_20", ([20, 9, 7], Unary::Gelu { tanh: false })),
    ("convmixer_768_32", ([32, 7, 7], Unary::Relu)),
    ("convmixer_1024_20_ks9_p14", ([20, 9, 14], Unary::Gelu { tanh: false })),
];

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    let Some((said, usual)) = row(config, &NAMES) else {
        let what = "its activation".to_owned();
        let names = NAMES.iter().map(|(name, _)| format!("timm/{name}")).collect();
        return Err(ArchError::NeedsName { family: FAMILY.name, what, names });
    };
    let side = |name: &str, axis: usize| shapes.get(name).and_then(|shape| shape.get(axis)).copied().unwrap_or(0);
    let (stem, deep) = ("stem.0.weight", "blocks.0.0.fn.0.weight");
    let found = [count(shapes, "blocks."), side(deep, 2), side(stem, 2)];
    same(config, "depth, kernel and patch of", said, &found)?;
    let act = config.act("act_layer")?.unwrap_or(*usual);
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, stem, size, 1e-5)?;
    x = net.conv_as("stem.0", x, Conv::new(found[2].max(1), 0))?;
    x = normed(&mut net, ["stem.1", "stem.2"], x, act)?;
    for block in 0..found[0] {
        let name = format!("blocks.{block}");
        let spread = net.conv(&format!("{name}.0.fn.0"), x, 1, Groups::Depthwise, Padding::SameUpper)?;
        let spread = normed(&mut net, [&format!("{name}.0.fn.1"), &format!("{name}.0.fn.2")], spread, act)?;
        x = net.sum(&format!("{name}.0.add"), spread, x)?;
        x = net.conv(&format!("{name}.1"), x, 1, Groups::One, Padding::Half)?;
        x = normed(&mut net, [&format!("{name}.2"), &format!("{name}.3")], x, act)?;
    }
    x = net.pool("global_pool", max, x)?;
    x = head(&mut net, shapes, "head", x)?;
    net.finish(x, format!("ConvMixer, {} blocks of width {}, timm names{}", found[0], side(stem, 0), told(Some((*usual, act)), max)))
}

/// Activation, then batch norm.
fn normed(net: &mut Layers, [act_name, norm]: [&str; 2], x: NodeId, act: Unary) -> Result<NodeId, ArchError> {
    let x = net.act(act_name, act, x)?;
    net.norm(norm, x)
}
