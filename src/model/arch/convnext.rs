//! `ConvNeXt` (Liu et al., arXiv 2201.03545), `ConvNeXt` V2 (Woo et al., arXiv 2301.00808) and the `ConvNeXt` of `DINOv3`
//! (arXiv 2508.10104), under the names of timm, Hugging Face Transformers and torchvision.
//!
//! A block is a depthwise convolution, a norm over channels and a network of two layers, which V2 normalises in between (GRN). One builder
//! reads all four spellings. Where the two layers are 1x1 convolutions (timm's `conv_mlp`) the map stays as it is, else channels go last.
//! Transformers has the norms inside at 1e-6 whatever `layer_norm_eps` says: that is the last norm's alone.
//!
//! A file of this folder for each library, and here the blocks that all have.

mod hf;
mod timm;
mod torchvision;

use super::layers::{Conv, Groups, Layers, Padding, count};
use super::staged::plus;
use super::{ArchError, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Role, Unary};

pub(super) static FAMILIES: &[&Family] = &[&timm::FAMILY, &hf::FAMILY, &hf::DINOV3, &torchvision::FAMILY];

const GELU: Unary = Unary::Gelu { tanh: false };

fn likeness(is: bool) -> Likeness {
    if is { Likeness::Yes } else { Likeness::No }
}

/// How a value is normalised over its channels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Norm {
    Layer,
    Rms,
    /// Divided by the standard deviation, the mean left as it is.
    Simple,
}

/// How the tensors are called.
struct Names {
    stages: String,
    blocks: &'static str,
    /// The norm and the convolution in front of a stage.
    down: [&'static str; 2],
    conv: &'static str,
    norm: &'static str,
    layers: [&'static str; 2],
    grn: &'static str,
    scale: &'static str,
}

/// A network and what is known of all its layers.
struct Making<'n> {
    net: Layers<'n>,
    shapes: &'n Shapes,
    names: Names,
    act: Unary,
    norm: Norm,
    eps: f64,
    depths: Vec<usize>,
    dims: Vec<usize>,
    kernels: Vec<usize>,
    v2: bool,
}

impl<'n> Making<'n> {
    fn new(
        family: &'static str,
        source: &Source<'n>,
        names: Names,
        stem: &str,
        act: Unary,
        (norm, eps): (Norm, f64),
    ) -> Result<(Self, NodeId), ArchError> {
        let (net, input) = Layers::new(family, source.shapes, stem, source.size, eps)?;
        let (depths, dims, kernels) = (Vec::new(), Vec::new(), Vec::new());
        Ok((Self { net, shapes: source.shapes, names, act, norm, eps, depths, dims, kernels, v2: false }, input))
    }

    /// Height of the kernel of a convolution in the file.
    fn kernel(&self, name: &str) -> usize {
        self.shapes.get(&format!("{name}.weight")).and_then(|shape| shape.get(2)).copied().unwrap_or(0)
    }

    /// A convolution whose windows lie side by side.
    fn patches(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let weight = format!("{name}.weight");
        let Some(found) = self.net.look(&weight) else { return Ok(x) };
        let &[_, _, kh, kw] = found.as_slice() else { return Ok(self.net.misfit(&weight, &found, "[out, in, kernel, kernel]", x)) };
        if kh == 0 || kw == 0 {
            return Ok(self.net.misfit(&weight, &found, "[out, in, kernel, kernel]", x));
        }
        self.net.conv_as(name, x, Conv { stride: [kh, kw], ..Conv::new(1, 0) })
    }

    /// The norm over the last axis.
    fn normed(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let net = &mut self.net;
        match self.norm {
            Norm::Layer => {
                net.look(&format!("{name}.bias"));
                net.layer_norm(name, x, self.eps)
            }
            Norm::Rms => net.rms_norm(name, x, self.eps),
            Norm::Simple => {
                let (width, axis) = (net.width(x), net.whole(x).len().saturating_sub(1));
                let mean = net.mean(&format!("{name}.mean"), x, &[axis], true)?;
                let centred = net.sub(&format!("{name}.centred"), x, mean)?;
                let square = net.mul(&format!("{name}.square"), centred, centred)?;
                let total = net.total(&format!("{name}.total"), square, &[axis], true)?;
                // The variance of a sample, as `torch.var` has it.
                let variance = net.affine(&format!("{name}.variance"), total, 1.0 / width.saturating_sub(1).max(1) as f64, self.eps)?;
                let root = net.act(&format!("{name}.root"), Unary::Sqrt, variance)?;
                let normed = net.div(&format!("{name}.normed"), x, root)?;
                let scale = net.tensor(&format!("{name}.weight"), &[width], Role::Scale);
                net.mul(name, normed, scale)
            }
        }
    }

    /// The norm over the channels of a map.
    fn normed_map(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let last = self.net.transpose(&format!("{name}.last"), x, &[0, 2, 3, 1])?;
        let normed = self.normed(name, last)?;
        self.net.transpose(&format!("{name}.first"), normed, &[0, 3, 1, 2])
    }

    /// All stages. `place` is the number that a stage has in its names; the layers in front of it have that of `before`.
    fn stages(&mut self, mut x: NodeId, place: fn(usize) -> usize, before: fn(usize) -> usize) -> Result<NodeId, ArchError> {
        for stage in 0..self.shapes.len() {
            let prefix = format!("{}{}{}", self.names.stages, place(stage), self.names.blocks);
            let depth = count(self.shapes, &prefix);
            if depth == 0 {
                break;
            }
            let [norm, conv] = self.names.down.map(|part| format!("{}{}{part}", self.names.stages, before(stage)));
            // DINOv3 and torchvision have the stem where other stages have these.
            let stem = stage == 0 && self.shapes.get(&format!("{norm}.weight")).is_none_or(|shape| shape.len() != 1);
            if !stem {
                x = self.normed_map(&norm, x)?;
                x = self.patches(&conv, x)?;
            }
            self.depths.push(depth);
            self.dims.push(self.net.channels(x));
            self.kernels.push(self.kernel(&format!("{prefix}0.{}", self.names.conv)));
            for block in 0..depth {
                x = self.block(&format!("{prefix}{block}"), x)?;
            }
        }
        Ok(x)
    }

    fn block(&mut self, name: &str, input: NodeId) -> Result<NodeId, ArchError> {
        let [first, second] = self.names.layers.map(|layer| format!("{name}.{layer}"));
        let conv = format!("{name}.{}", self.names.conv);
        let (norm, scale) = (format!("{name}.{}", self.names.norm), format!("{name}.{}", self.names.scale));
        if self.kernel(&conv).is_multiple_of(2) && self.net.has(&format!("{conv}.weight")) {
            return Err(ArchError::Unsupported(format!("`{conv}`: a kernel of even size is not built here; export the model to ONNX")));
        }
        let mut x = self.net.conv(&conv, input, 1, Groups::Depthwise, Padding::Half)?;
        if self.shapes.get(&format!("{first}.weight")).is_some_and(|shape| shape.len() == 4) {
            x = self.normed_map(&norm, x)?;
            x = self.net.conv(&first, x, 1, Groups::One, Padding::Valid)?;
            x = self.between(name, &first, x, 1)?;
            x = self.net.conv(&second, x, 1, Groups::One, Padding::Valid)?;
        } else {
            x = self.net.transpose(&format!("{name}.last"), x, &[0, 2, 3, 1])?;
            x = self.normed(&norm, x)?;
            x = self.net.linear(&first, x)?;
            x = self.between(name, &first, x, 3)?;
            x = self.net.linear(&second, x)?;
            x = self.net.transpose(&format!("{name}.first"), x, &[0, 3, 1, 2])?;
        }
        x = self.net.scaled_map(&scale, x)?;
        self.net.sum(&format!("{name}.add"), x, input)
    }

    /// The activation between the two layers and, in V2, global response normalisation; `axis` is that of the channels.
    fn between(&mut self, name: &str, first: &str, x: NodeId, axis: usize) -> Result<NodeId, ArchError> {
        let x = self.net.act(&format!("{first}.act"), self.act, x)?;
        let grn = format!("{name}.{}", self.names.grn);
        if !self.net.has(&format!("{grn}.weight")) {
            return Ok(x);
        }
        self.v2 = true;
        let net = &mut self.net;
        let places = if axis == 1 { [2, 3] } else { [1, 2] };
        let shape = |width| if axis == 1 { vec![width, 1, 1] } else { vec![width] };
        let width = net.whole(x).get(axis).copied().unwrap_or(0);
        let square = net.mul(&format!("{grn}.square"), x, x)?;
        let total = net.total(&format!("{grn}.total"), square, &places, true)?;
        // Where a channel is 0 everywhere the gradient of the root is 0 in PyTorch, not infinite.
        let total = net.act(&format!("{grn}.least"), Unary::Clip { min: 1e-24, max: f64::INFINITY }, total)?;
        let length = net.act(&format!("{grn}.length"), Unary::Sqrt, total)?;
        let mean = net.mean(&format!("{grn}.mean"), length, &[axis], true)?;
        let mean = net.affine(&format!("{grn}.eps"), mean, 1.0, 1e-6)?;
        let share = net.div(&format!("{grn}.share"), length, mean)?;
        let mut out = net.mul(&format!("{grn}.responses"), x, share)?;
        for (part, role) in [("weight", Role::Scale), ("bias", Role::Shift)] {
            let tensor = format!("{grn}.{part}");
            let Some(found) = net.look(&tensor) else { return Ok(x) };
            if found.iter().product::<usize>() != width {
                return Ok(net.misfit(&tensor, &found, &format!("[{width}]"), x));
            }
            let value = net.tensor(&tensor, &found, role);
            let value = net.reshape_fixed(&format!("{tensor}.reshape"), value, &shape(width))?;
            let step = format!("{grn}.{part}.applied");
            out = if part == "weight" { net.mul(&step, out, value)? } else { net.sum(&step, out, value)? };
        }
        net.sum(&grn, out, x)
    }

    /// For people.
    fn told(&self, library: &str) -> String {
        let kind = if self.v2 { "ConvNeXt V2" } else { "ConvNeXt" };
        let act = if self.act == GELU { String::new() } else { format!(", {:?}", self.act) };
        let width = self.dims.first().copied().unwrap_or(0);
        format!("{kind}, {} blocks from width {width}, {library} names{act}", plus(&self.depths))
    }
}
