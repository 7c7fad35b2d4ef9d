//! Inception-ResNet v2 under timm's names.
//!
//! Szegedy, Ioffe, Vanhoucke, Alemi (arXiv 1602.07261). What a block adds is scaled by a factor that its tensors do not show: it is the
//! same in all networks of this name.

use super::mixed::Step::{Down, MaxDown, Mean, Same};
use super::mixed::{Branches, mixed};
use super::{Move, head, likeness, max_pooling, plain_timm, told, unit};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Groups, Layers, Padding, count};
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "inception-resnet-v2",
    about: "Inception-ResNet v2 under timm's names",
    usual_size: [299, 299],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(["inception_resnet_v2"]),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "repeat.0.branch0.conv.weight"),
    build,
};

const MIXED_5B: Branches = &[
    &[Same("branch0")],
    &[Same("branch1.0"), Same("branch1.1")],
    &[Same("branch2.0"), Same("branch2.1"), Same("branch2.2")],
    &[Mean(false), Same("branch3.1")],
];
const MIXED_6A: Branches = &[&[Down("branch0")], &[Same("branch1.0"), Same("branch1.1"), Down("branch1.2")], &[MaxDown]];
const MIXED_7A: Branches = &[
    &[Same("branch0.0"), Down("branch0.1")],
    &[Same("branch1.0"), Down("branch1.1")],
    &[Same("branch2.0"), Same("branch2.1"), Down("branch2.2")],
    &[MaxDown],
];
const BLOCK_35: Branches =
    &[&[Same("branch0")], &[Same("branch1.0"), Same("branch1.1")], &[Same("branch2.0"), Same("branch2.1"), Same("branch2.2")]];
const BLOCK_17: Branches = &[&[Same("branch0")], &[Same("branch1.0"), Same("branch1.1"), Same("branch1.2")]];

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    let act = config.act("act_layer")?.unwrap_or(Unary::Relu);
    let eps = config.number("norm_eps")?.unwrap_or(1e-3);
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "conv2d_1a.conv.weight", size, eps)?;
    for (name, how) in [("conv2d_1a", Move::valid(2)), ("conv2d_2a", Move::valid(1)), ("conv2d_2b", Move::half(1))] {
        x = unit(&mut net, name, x, how, Some(act))?;
    }
    x = net.max_pool("maxpool_3a", x, 3, 2, 0)?;
    for name in ["conv2d_3b", "conv2d_4a"] {
        x = unit(&mut net, name, x, Move::valid(1), Some(act))?;
    }
    x = net.max_pool("maxpool_5a", x, 3, 2, 0)?;
    for (between, branches, repeat, blocks, scale) in [
        ("mixed_5b", MIXED_5B, "repeat.", BLOCK_35, 0.17),
        ("mixed_6a", MIXED_6A, "repeat_1.", BLOCK_17, 0.1),
        ("mixed_7a", MIXED_7A, "repeat_2.", BLOCK_17, 0.2),
    ] {
        x = mixed(&mut net, between, x, branches, act)?;
        for i in 0..count(shapes, repeat) {
            let name = format!("{repeat}{i}");
            x = residual(&mut net, &name, x, blocks, (scale, act))?;
            // Whatever the others are, this one is a ReLU.
            x = net.act(&format!("{name}.act"), Unary::Relu, x)?;
        }
    }
    x = residual(&mut net, "block8", x, BLOCK_17, (1.0, act))?;
    x = unit(&mut net, "conv2d_7b", x, Move::half(1), Some(act))?;
    x = net.pool("global_pool", max, x)?;
    x = head(&mut net, shapes, "classif", x)?;
    net.finish(x, format!("Inception-ResNet v2, timm names{}", told(Some((Unary::Relu, act)), max)))
}

fn residual(net: &mut Layers, name: &str, x: NodeId, branches: Branches, (scale, act): (f64, Unary)) -> Result<NodeId, ArchError> {
    let joined = mixed(net, name, x, branches, act)?;
    let added = net.conv(&format!("{name}.conv2d"), joined, 1, Groups::One, Padding::Half)?;
    let added = if (scale - 1.0f64).abs() > 0.0 { net.affine(&format!("{name}.scaled"), added, scale, 0.0)? } else { added };
    net.sum(&format!("{name}.add"), added, x)
}
