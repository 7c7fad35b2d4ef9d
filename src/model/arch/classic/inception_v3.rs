//! Inception v3 under torchvision's and timm's names, which are the same.
//!
//! Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (arXiv 1512.00567). The weights that torchvision publishes come
//! with `transform_input`, which changes the normalisation of images to mean 0.5 and deviation 0.5: that is preprocessing, and
//! assumed where no file says otherwise.

use super::mixed::Step::{Down, MaxDown, Mean, Same};
use super::mixed::{Branches, mixed};
use super::{Move, head, likeness, max_pooling, plain_timm, told, unit};
use crate::graph::Unary;
use crate::model::arch::config::Library;
use crate::model::arch::layers::Layers;
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "inception-v3",
    about: "Inception v3 under torchvision's and timm's names",
    usual_size: [299, 299],
    preprocessing: super::transformed,
    is_called: |name| (name.may_be(Library::Torchvision) || name.may_be(Library::Timm)) && name.is_one_of(["inception_v3"]),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "Mixed_5b.branch3x3dbl_1.conv.weight"),
    build,
};

const A: Branches = &[
    &[Same("branch1x1")],
    &[Same("branch5x5_1"), Same("branch5x5_2")],
    &[Same("branch3x3dbl_1"), Same("branch3x3dbl_2"), Same("branch3x3dbl_3")],
    &[Mean(true), Same("branch_pool")],
];
const B: Branches = &[&[Down("branch3x3")], &[Same("branch3x3dbl_1"), Same("branch3x3dbl_2"), Down("branch3x3dbl_3")], &[MaxDown]];
const C: Branches = &[
    &[Same("branch1x1")],
    &[Same("branch7x7_1"), Same("branch7x7_2"), Same("branch7x7_3")],
    &[Same("branch7x7dbl_1"), Same("branch7x7dbl_2"), Same("branch7x7dbl_3"), Same("branch7x7dbl_4"), Same("branch7x7dbl_5")],
    &[Mean(true), Same("branch_pool")],
];
const D: Branches = &[
    &[Same("branch3x3_1"), Down("branch3x3_2")],
    &[Same("branch7x7x3_1"), Same("branch7x7x3_2"), Same("branch7x7x3_3"), Down("branch7x7x3_4")],
    &[MaxDown],
];
const E: Branches = &[
    &[Same("branch1x1")],
    &[Same("branch3x3_1"), Same("branch3x3_2a")],
    &[Same("branch3x3_1"), Same("branch3x3_2b")],
    &[Same("branch3x3dbl_1"), Same("branch3x3dbl_2"), Same("branch3x3dbl_3a")],
    &[Same("branch3x3dbl_1"), Same("branch3x3dbl_2"), Same("branch3x3dbl_3b")],
    &[Mean(true), Same("branch_pool")],
];
const BLOCKS: [(&str, Branches); 11] =
    [("5b", A), ("5c", A), ("5d", A), ("6a", B), ("6b", C), ("6c", C), ("6d", C), ("6e", C), ("7a", D), ("7b", E), ("7c", E)];

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    config.shown(&["aux_logits"]);
    let act = config.act("act_layer")?.unwrap_or(Unary::Relu);
    let eps = config.number("norm_eps")?.unwrap_or(1e-3);
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "Conv2d_1a_3x3.conv.weight", size, eps)?;
    for (name, how) in [("1a_3x3", Move::valid(2)), ("2a_3x3", Move::valid(1)), ("2b_3x3", Move::half(1))] {
        x = unit(&mut net, &format!("Conv2d_{name}"), x, how, Some(act))?;
    }
    x = net.max_pool("maxpool1", x, 3, 2, 0)?;
    for name in ["3b_1x1", "4a_3x3"] {
        x = unit(&mut net, &format!("Conv2d_{name}"), x, Move::valid(1), Some(act))?;
    }
    x = net.max_pool("maxpool2", x, 3, 2, 0)?;
    for (name, branches) in BLOCKS {
        x = mixed(&mut net, &format!("Mixed_{name}"), x, branches, act)?;
    }
    x = net.pool("global_pool", max, x)?;
    x = head(&mut net, shapes, "fc", x)?;
    net.leave_out("AuxLogits.", "the auxiliary head");
    net.finish(x, format!("Inception v3{}", told(Some((Unary::Relu, act)), max)))
}
