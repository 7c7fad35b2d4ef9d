//! `ShuffleNet` v2 under torchvision's names.
//!
//! Ma, Zhang, Zheng, Sun (arXiv 1807.11164). A block with two branches strides; the others leave one half of the channels as it is.

use super::{Move, conv_norm, head, likeness};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Layers, count};
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "shufflenet-v2",
    about: "ShuffleNet v2 under torchvision's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        let widths = ["shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"];
        name.may_be(Library::Torchvision) && name.is_one_of(widths)
    },
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "stage2.0.branch2.0.weight"),
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, .. } = source;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "conv1.0.weight", size, 1e-5)?;
    x = conv_norm(&mut net, ["conv1.0", "conv1.1"], x, Move::half(2), Some(Unary::Relu))?;
    x = net.stem_pool("maxpool", x)?;
    let mut blocks = 0;
    for stage in 2..=4 {
        let stage = format!("stage{stage}.");
        // That there is no block at all is found with the first.
        for block in 0..count(shapes, &stage).max(1) {
            x = shuffled(&mut net, &format!("{stage}{block}"), x)?;
            blocks += 1;
        }
    }
    x = conv_norm(&mut net, ["conv5.0", "conv5.1"], x, Move::half(1), Some(Unary::Relu))?;
    x = net.pool("avgpool", false, x)?;
    x = head(&mut net, shapes, "fc", x)?;
    net.finish(x, format!("ShuffleNet v2, {blocks} blocks, torchvision names"))
}

fn shuffled(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let strides = net.has(&format!("{name}.branch1.0.weight"));
    let stride = if strides { 2 } else { 1 };
    let branch = |net: &mut Layers, x, branch: usize, moves: &[(usize, Move, bool)]| {
        moves.iter().try_fold(x, |x, &(i, how, acts)| {
            let at = |i: usize| format!("{name}.branch{branch}.{i}");
            conv_norm(net, [&at(i), &at(i + 1)], x, how, acts.then_some(Unary::Relu))
        })
    };
    let (first, second) = if strides {
        (branch(net, x, 1, &[(0, Move::depthwise(2), false), (2, Move::half(1), true)])?, x)
    } else {
        let halves = net.split(&format!("{name}.half"), x, 1, 2)?;
        let &[first, second] = halves.as_slice() else { return Ok(x) };
        (first, second)
    };
    let second = branch(net, second, 2, &[(0, Move::half(1), true), (3, Move::depthwise(stride), false), (5, Move::half(1), true)])?;
    let joined = net.concat(&format!("{name}.concat"), 1, &[first, second])?;
    net.shuffled(&format!("{name}.shuffle"), joined, 2)
}
