//! Dual path networks (`DPN`) under timm's names.
//!
//! Chen, Li, Xiao, Jin, Yan, Feng (arXiv 1707.01629). A block adds to the first channels (as a residual network does) and appends others (as
//! a dense one does); how many of each follows from the tensors. The activation that the name says is that of the stem and behind the last
//! block alone, as timm builds it; within blocks it is a ReLU.

use super::{Move, likeness, max_pooling, plain_timm, told, unit};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Groups, Layers, Padding};
use crate::model::arch::{ArchError, Built, Family, Shapes, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "dpn",
    about: "DPN under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "features.conv2_1.c1x1_a.conv.weight"),
    build,
};

const NAMES: [&str; 7] = ["dpn48b", "dpn68", "dpn68b", "dpn92", "dpn98", "dpn107", "dpn131"];

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    // timm lets the activation of the stem win over this one.
    config.only("b", shapes.contains_key("features.conv2_1.c1x1_c1.weight"))?;
    config.shown(&["fc_act_layer", "groups", "inc_sec", "k_r", "num_init_features", "small"]);
    let Some(name) = config.name.as_ref().filter(|name| name.is_one_of(NAMES)) else {
        let what = "its activation".to_owned();
        return Err(ArchError::NeedsName { family: FAMILY.name, what, names: NAMES.iter().map(|name| format!("timm/{name}")).collect() });
    };
    let usual = if name.is_one_of(["dpn48b"]) { Unary::Silu } else { Unary::Relu };
    let act = config.act("act_layer")?.unwrap_or(usual);
    let max = max_pooling(config)?;
    let blocks: Vec<usize> = (2..=5).map(|stage| blocks(shapes, stage)).collect();
    super::listed(config, "k_sec", &blocks)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "features.conv1_1.conv.weight", size, 1e-3)?;
    x = unit(&mut net, "features.conv1_1", x, Move::half(2), Some(act))?;
    x = net.stem_pool("features.conv1_pool", x)?;
    for (stage, &blocks) in (2..).zip(&blocks) {
        // That the first is not there is found with it.
        for block in 1..=blocks.max(1) {
            x = dual(&mut net, shapes, &format!("features.conv{stage}_{block}"), x, [stage, block])?;
        }
    }
    x = net.norm("features.conv5_bn_ac.bn", x)?;
    x = net.act("features.conv5_bn_ac.act", act, x)?;
    x = net.pool("global_pool", max, x)?;
    if net.has("classifier.weight") {
        let width = net.width(x);
        x = net.reshape("classifier.map", x, &[width, 1, 1])?;
        x = net.conv("classifier", x, 1, Groups::One, Padding::Half)?;
        let classes = net.channels(x);
        x = net.reshape("flatten", x, &[classes])?;
    }
    net.finish(x, format!("DPN, stages of {} blocks, timm names{}", super::words(&blocks), told(Some((usual, act)), max)))
}

fn blocks(shapes: &Shapes, stage: usize) -> usize {
    (1..=shapes.len()).take_while(|block| shapes.contains_key(&format!("features.conv{stage}_{block}.c1x1_a.conv.weight"))).count()
}

/// Batch norm, ReLU and convolution.
fn before(net: &mut Layers, name: &str, x: NodeId, stride: usize) -> Result<NodeId, ArchError> {
    let x = net.norm(&format!("{name}.bn"), x)?;
    let x = net.act(&format!("{name}.act"), Unary::Relu, x)?;
    net.conv(&format!("{name}.conv"), x, stride, Groups::Fitting, Padding::Half)
}

fn dual(net: &mut Layers, shapes: &Shapes, name: &str, input: NodeId, [stage, block]: [usize; 2]) -> Result<NodeId, ArchError> {
    let out = |part: &str| shapes.get(&format!("{name}.{part}.weight")).and_then(|shape| shape.first()).copied().unwrap_or(0);
    let begins = block == 1;
    let stride = if begins && stage > 2 { 2 } else { 1 };
    let mut carried = input;
    if begins {
        carried = before(net, &format!("{name}.c1x1_w_s{stride}"), input, stride)?;
    }
    let x = before(net, &format!("{name}.c1x1_a"), input, 1)?;
    let x = before(net, &format!("{name}.c3x3_b"), x, stride)?;
    let (added, appended) = if net.has(&format!("{name}.c1x1_c1.weight")) {
        let x = net.norm(&format!("{name}.c1x1_c.bn"), x)?;
        let x = net.act(&format!("{name}.c1x1_c.act"), Unary::Relu, x)?;
        let part = |net: &mut Layers, part: &str| net.conv(&format!("{name}.{part}"), x, 1, Groups::One, Padding::Half);
        (part(net, "c1x1_c1")?, part(net, "c1x1_c2")?)
    } else {
        let x = before(net, &format!("{name}.c1x1_c"), x, 1)?;
        // The first block of a stage carries what is added to and twice what is appended.
        let first = format!("features.conv{stage}_1");
        let carries = ["s1", "s2"].map(|s| shapes.get(&format!("{first}.c1x1_w_{s}.conv.weight")).and_then(|shape| shape.first()).copied());
        let carries = carries.into_iter().flatten().next().unwrap_or(0);
        let all = out("c1x1_c.conv");
        let width = (2 * all).saturating_sub(carries);
        if net.is_whole() && (width == 0 || width >= all) {
            let found = [all];
            net.misfit(&format!("{name}.c1x1_c.conv.weight"), &found, &format!("less than the {carries} channels that are carried"), x);
        }
        (net.slice(&format!("{name}.added"), x, 1, 0, width)?, net.slice(&format!("{name}.appended"), x, 1, width, all)?)
    };
    let (width, all) = (net.channels(added), net.channels(carried));
    let residual = net.slice(&format!("{name}.residual"), carried, 1, 0, width)?;
    let dense = net.slice(&format!("{name}.dense"), carried, 1, width, all)?;
    let residual = net.sum(&format!("{name}.add"), residual, added)?;
    net.concat(&format!("{name}.concat"), 1, &[residual, dense, appended])
}
