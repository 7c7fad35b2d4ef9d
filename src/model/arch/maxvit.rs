//! `MaxViT` (Tu et al., arXiv 2204.01697) and `CoAtNet` (Dai et al., arXiv 2106.04803) with timm's `MaxxViT`: inverted bottlenecks or `ConvNeXt`
//! blocks, and attention with a bias for every offset, within windows and over grids, or over the whole map.
//!
//! Which block a block is, its widths and heads are in the tensors. Strides, activations, what is added to variances, TensorFlow's padding
//! and the order of queries, keys and values are not: they come of the name.
//!
//! A file of this folder for each library: timm builds its blocks by what their tensors and names say, torchvision has the one network.

mod timm;
mod torchvision;

use super::Family;
use crate::graph::{NodeId, Unary};
use crate::model::arch::ArchError;

pub(super) static FAMILIES: &[&Family] = &[&timm::FAMILY, &torchvision::FAMILY];

type Made = Result<NodeId, ArchError>;

const SILU: Unary = Unary::Silu;
const GELU: Unary = Unary::Gelu { tanh: false };

/// Blocks of each stage, for people.
fn told(depths: &[usize]) -> String {
    depths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}
