//! Transformers in stages whose attention reads a coarser map than it answers for: PVT (Wang et al., arXiv 2102.12122), `PVTv2` (Wang et al.,
//! arXiv 2106.13797), the encoder of `SegFormer` (Xie et al., arXiv 2105.15203) and Twins (Chu et al., arXiv 2104.13840).
//!
//! All are one network under several names: each stage embeds patches of the map before it, and keys and values come of that map brought to
//! fewer places by a convolution as wide as its stride. PVT adds learnt positions, and a class token in its last stage; `PVTv2` and `SegFormer`
//! have a depthwise convolution within their MLPs instead, Twins one behind the first block of a stage. Every other block of Twins-SVT
//! attends within windows. How many heads there are no tensor shows.
//!
//! `hf` and `timm` hold the families of each library and what they call the parts, `blocks` what all are made of. `sizes` reads off tensors and
//! configurations how large all is, by what `stages` has for every list with a number for each of them.

mod blocks;
mod hf;
mod sizes;
mod stages;
mod timm;

use super::layers::Layers;
use super::{ArchError, Family, Shapes};
use crate::graph::NodeId;
pub(super) use stages::{agree, apart, base, each, needs_name, said};

pub(super) static FAMILIES: &[&Family] = &[&hf::SEGFORMER, &hf::PVT, &timm::PVT_V2, &hf::PVT_V2, &timm::TWINS];

type Made = Result<NodeId, ArchError>;

fn has(shapes: &Shapes, name: &str) -> bool {
    shapes.contains_key(name)
}

/// What a library calls the parts: `{s}` stands for the stage. A part without a name there is none of.
struct Names {
    /// Embedding of patches, and its norm, in the first stage.
    first: [&'static str; 2],
    /// In later ones.
    embedding: [&'static str; 2],
    positions: &'static str,
    class: &'static str,
    /// In front of a block's number.
    blocks: &'static str,
    norms: [&'static str; 2],
    query: &'static str,
    /// Of keys and values, in one layer or two.
    keys: &'static [&'static str],
    /// The convolution to a coarser map, and its norm.
    coarser: [&'static str; 2],
    proj: &'static str,
    mlp: [&'static str; 2],
    /// The convolution within the MLP.
    depthwise: &'static str,
    /// The convolution behind a stage's first block.
    behind_first: &'static str,
    /// Of each stage, or only of the last.
    norm: &'static str,
    head: &'static str,
}

impl Names {
    fn embedding(&self, stage: usize) -> [String; 2] {
        if stage == 0 { self.first.map(str::to_owned) } else { self.embedding.map(|name| of(name, stage)) }
    }
}

/// A name in a stage.
fn of(name: &str, stage: usize) -> String {
    name.replace("{s}", &stage.to_string())
}

/// What an architecture of this name has where nothing else is said.
struct Variant {
    name: &'static str,
    depths: [usize; 4],
    widths: [usize; 4],
    heads: [usize; 4],
    ratios: [usize; 4],
    kernels: [usize; 4],
    strides: [usize; 4],
    /// Side of the windows of every other block; none where all blocks see the whole map.
    windows: Option<usize>,
    linear: bool,
}

const V2: Variant = Variant {
    name: "",
    depths: [2, 2, 2, 2],
    widths: [64, 128, 320, 512],
    heads: [1, 2, 5, 8],
    ratios: [8, 8, 4, 4],
    kernels: [7, 3, 3, 3],
    strides: [4, 2, 2, 2],
    windows: None,
    linear: false,
};

/// The mean of all tokens, and the linear layer, where there is one.
fn pooled(net: &mut Layers, shapes: &Shapes, head: &str, x: NodeId) -> Made {
    let x = net.mean("pool", x, &[1], false)?;
    if shapes.keys().any(|name| name.starts_with(&format!("{head}."))) { net.linear(head, x) } else { Ok(x) }
}

fn linearly(linear: bool) -> &'static str {
    if linear { ", linear attention" } else { "" }
}
