//! Inception v4 under timm's names.
//!
//! Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning" (arXiv 1602.07261).

use super::mixed::Step::{Down, MaxDown, Mean, Same, Valid};
use super::mixed::{Branches, mixed};
use super::{Move, head, likeness, max_pooling, plain_timm, told, unit};
use crate::graph::Unary;
use crate::model::arch::config::Library;
use crate::model::arch::layers::Layers;
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "inception-v4",
    about: "Inception v4 under timm's names",
    usual_size: [299, 299],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(["inception_v4"]),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "features.21.branch2_3a.conv.weight"),
    build,
};

const MIXED_3A: Branches = &[&[MaxDown], &[Down("conv")]];
const MIXED_4A: Branches =
    &[&[Same("branch0.0"), Valid("branch0.1")], &[Same("branch1.0"), Same("branch1.1"), Same("branch1.2"), Valid("branch1.3")]];
const MIXED_5A: Branches = &[&[Down("conv")], &[MaxDown]];
const A: Branches = &[
    &[Same("branch0")],
    &[Same("branch1.0"), Same("branch1.1")],
    &[Same("branch2.0"), Same("branch2.1"), Same("branch2.2")],
    &[Mean(false), Same("branch3.1")],
];
const DOWN_A: Branches = &[&[Down("branch0")], &[Same("branch1.0"), Same("branch1.1"), Down("branch1.2")], &[MaxDown]];
const B: Branches = &[
    &[Same("branch0")],
    &[Same("branch1.0"), Same("branch1.1"), Same("branch1.2")],
    &[Same("branch2.0"), Same("branch2.1"), Same("branch2.2"), Same("branch2.3"), Same("branch2.4")],
    &[Mean(false), Same("branch3.1")],
];
const DOWN_B: Branches =
    &[&[Same("branch0.0"), Down("branch0.1")], &[Same("branch1.0"), Same("branch1.1"), Same("branch1.2"), Down("branch1.3")], &[MaxDown]];
const C: Branches = &[
    &[Same("branch0")],
    &[Same("branch1_0"), Same("branch1_1a")],
    &[Same("branch1_0"), Same("branch1_1b")],
    &[Same("branch2_0"), Same("branch2_1"), Same("branch2_2"), Same("branch2_3a")],
    &[Same("branch2_0"), Same("branch2_1"), Same("branch2_2"), Same("branch2_3b")],
    &[Mean(false), Same("branch3.1")],
];
/// The blocks from `features.3` on.
const BLOCKS: [Branches; 19] = [MIXED_3A, MIXED_4A, MIXED_5A, A, A, A, A, DOWN_A, B, B, B, B, B, B, B, DOWN_B, C, C, C];

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    let act = config.act("act_layer")?.unwrap_or(Unary::Relu);
    let eps = config.number("norm_eps")?.unwrap_or(1e-3);
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "features.0.conv.weight", size, eps)?;
    for (i, how) in [Move::valid(2), Move::valid(1), Move::half(1)].into_iter().enumerate() {
        x = unit(&mut net, &format!("features.{i}"), x, how, Some(act))?;
    }
    for (i, branches) in (3..).zip(BLOCKS) {
        x = mixed(&mut net, &format!("features.{i}"), x, branches, act)?;
    }
    x = net.pool("global_pool", max, x)?;
    x = head(&mut net, shapes, "last_linear", x)?;
    net.finish(x, format!("Inception v4, timm names{}", told(Some((Unary::Relu, act)), max)))
}
