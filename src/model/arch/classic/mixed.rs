//! Blocks of the Inception networks: branches side by side on one map, joined along the channels.

use std::collections::BTreeMap;

use super::{Move, unit};
use crate::graph::{NodeId, Unary};
use crate::model::arch::ArchError;
use crate::model::arch::layers::Layers;

/// A step of a branch. A convolution brings its batch norm and activation; branches that begin with the same ones share them.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// A convolution of this name, padded by half its kernel.
    Same(&'static str),
    /// A convolution that is not padded.
    Valid(&'static str),
    /// A convolution with stride 2 that is not padded.
    Down(&'static str),
    /// The mean of 3x3; whether what is beyond the edge counts.
    Mean(bool),
    /// The greatest of 3x3.
    Max,
    /// The greatest of 3x3, with stride 2 and no padding.
    MaxDown,
}

/// Branches that all begin at the same map.
pub(super) type Branches = &'static [&'static [Step]];

/// The block `name`.
pub(super) fn mixed(net: &mut Layers, name: &str, x: NodeId, branches: Branches, act: Unary) -> Result<NodeId, ArchError> {
    let mut built: BTreeMap<&str, NodeId> = BTreeMap::new();
    let mut ends = Vec::new();
    for (i, branch) in branches.iter().enumerate() {
        let mut at = x;
        for step in *branch {
            let (part, how) = match *step {
                Step::Same(part) => (part, Move::half(1)),
                Step::Valid(part) => (part, Move::valid(1)),
                Step::Down(part) => (part, Move::valid(2)),
                Step::Mean(count) => {
                    at = net.avg_pool(&format!("{name}.mean{i}"), at, 3, 1, 1, count)?;
                    continue;
                }
                Step::Max => {
                    at = net.max_pool(&format!("{name}.max{i}"), at, 3, 1, 1)?;
                    continue;
                }
                Step::MaxDown => {
                    at = net.max_pool(&format!("{name}.max{i}"), at, 3, 2, 0)?;
                    continue;
                }
            };
            at = match built.get(part) {
                Some(node) => *node,
                None => unit(net, &format!("{name}.{part}"), at, how, Some(act))?,
            };
            built.insert(part, at);
        }
        ends.push(at);
    }
    net.concat(&format!("{name}.concat"), 1, &ends)
}
