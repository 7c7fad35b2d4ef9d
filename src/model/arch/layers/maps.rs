//! The rarer layers of convolutional networks, on `[N, C, H, W]`.

use super::{Groups, Layers, Padding};
use crate::graph::{NodeId, Op, Role, Unary, Window};
use crate::model::arch::ArchError;
use crate::model::arch::made::{Resample, weights};

type Made = Result<NodeId, ArchError>;

/// How a convolution moves over its input.
#[derive(Clone, Copy)]
pub(in crate::model::arch) struct Conv {
    /// Steps down and across.
    pub stride: [usize; 2],
    /// `[top, left, bottom, right]`.
    pub pads: [usize; 4],
    /// Distance between the taps.
    pub dilation: [usize; 2],
    /// Number of groups.
    pub groups: usize,
}

impl Conv {
    /// With one stride, and padded by `pad` on every side.
    pub(in crate::model::arch) fn new(stride: usize, pad: usize) -> Self {
        Self { stride: [stride; 2], pads: [pad; 4], dilation: [1; 2], groups: 1 }
    }
}

impl Layers<'_> {
    /// A convolution `name.weight`, with `name.bias` where the file has one, moved as `how` says.
    pub(in crate::model::arch) fn conv_as(&mut self, name: &str, x: NodeId, how: Conv) -> Made {
        let weight = format!("{name}.weight");
        let Some(found) = self.look(&weight) else { return Ok(x) };
        if found.len() != 4 {
            return Ok(self.misfit(&weight, &found, "[out, in, kernel, kernel]", x));
        }
        let node = self.tensor(&weight, &found, Role::Weight);
        self.conv_by(name, x, node, &format!("{name}.bias"), how)
    }

    /// A convolution with a weight `[out, in / groups, kernel, kernel]` that may be computed, and with a bias where the file has it.
    pub(in crate::model::arch) fn conv_by(&mut self, name: &str, x: NodeId, weight: NodeId, bias: &str, how: Conv) -> Made {
        if self.stopped {
            return Ok(x);
        }
        let shape = self.whole(weight);
        let &[out, per_group, kh, kw] = shape.as_slice() else { return Ok(x) };
        let channels = self.channels(x);
        if per_group * how.groups != channels || out == 0 || !out.is_multiple_of(how.groups.max(1)) {
            let expected =
                format!("[out, {}, kernel, kernel] for {channels} channels in {} groups", channels / how.groups.max(1), how.groups);
            return Ok(self.misfit(&format!("{name}.weight"), &shape, &expected, x));
        }
        let window = Window { kernel: [kh, kw], stride: how.stride, pads: how.pads, dilation: how.dilation };
        let mut inputs = vec![x, weight];
        if self.has_bias(bias, &shape) {
            inputs.push(self.vector(bias, out, Role::Bias));
        }
        self.add(name, Op::Conv2d { window, groups: how.groups }, &inputs)
    }

    /// A weight with mean 0 and variance 1 for every output channel (weight standardisation, Qiao et al., arXiv 1903.10520).
    pub(in crate::model::arch) fn standardised(&mut self, name: &str, weight: NodeId, eps: f64) -> Made {
        let axes = [1, 2, 3];
        let mean = self.mean(&format!("{name}.mean"), weight, &axes, true)?;
        let centred = self.sub(&format!("{name}.centred"), weight, mean)?;
        let square = self.mul(&format!("{name}.square"), centred, centred)?;
        let variance = self.mean(&format!("{name}.variance"), square, &axes, true)?;
        let variance = self.affine(&format!("{name}.eps"), variance, 1.0, eps)?;
        let root = self.act(&format!("{name}.root"), Unary::Sqrt, variance)?;
        self.div(&format!("{name}.standardised"), centred, root)
    }

    /// The greatest of every window.
    pub(in crate::model::arch) fn max_pool(&mut self, name: &str, x: NodeId, kernel: usize, stride: usize, pad: usize) -> Made {
        self.add(name, Op::MaxPool(Window { kernel: [kernel; 2], stride: [stride; 2], pads: [pad; 4], dilation: [1; 2] }), &[x])
    }

    /// The mean of every window.
    pub(in crate::model::arch) fn avg_pool(
        &mut self,
        name: &str,
        x: NodeId,
        kernel: usize,
        stride: usize,
        pad: usize,
        count_include_pad: bool,
    ) -> Made {
        let window = Window { kernel: [kernel; 2], stride: [stride; 2], pads: [pad; 4], dilation: [1; 2] };
        self.add(name, Op::AvgPool { window, count_include_pad }, &[x])
    }

    /// Normalised over groups of channels and all places (Wu, He, arXiv 1803.08494), with `name.weight` and `name.bias` for every channel.
    pub(in crate::model::arch) fn group_norm(&mut self, name: &str, x: NodeId, groups: usize, eps: f64) -> Made {
        let dims = self.dims(x);
        let channels = self.channels(x);
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(ArchError::Unsupported(format!("`{name}`: {channels} channels cannot be dealt to {groups} groups")));
        }
        let rest: usize = dims.iter().skip(1).product();
        let grouped = self.reshape(&format!("{name}.grouped"), x, &[groups, channels / groups * rest])?;
        let normed = self.add(&format!("{name}.normed"), Op::LayerNorm { axis: 2, eps }, &[grouped])?;
        let normed = self.reshape(&format!("{name}.back"), normed, &dims)?;
        let mut at = normed;
        for (part, role) in [("weight", Role::Scale), ("bias", Role::Shift)] {
            let value = self.vector(&format!("{name}.{part}"), channels, role);
            let shape: Vec<usize> = std::iter::once(channels).chain(dims.iter().skip(1).map(|_| 1)).collect();
            let value = self.reshape_fixed(&format!("{name}.{part}.reshape"), value, &shape)?;
            at = if part == "weight" { self.mul(&format!("{name}.scaled"), at, value)? } else { self.sum(name, at, value)? };
        }
        Ok(at)
    }

    /// Times a learnt factor for every channel, where the file has it: as many numbers as channels, in whatever shape.
    pub(in crate::model::arch) fn scaled_map(&mut self, name: &str, x: NodeId) -> Made {
        if !self.may_have(name) {
            return Ok(x);
        }
        let channels = self.channels(x);
        let Some(found) = self.look(name).filter(|_| !self.stopped) else { return Ok(x) };
        if found.iter().product::<usize>() != channels {
            return Ok(self.misfit(name, &found, &format!("[{channels}]"), x));
        }
        let factor = self.tensor(name, &found, Role::Scale);
        let factor = self.reshape_fixed(&format!("{name}.reshape"), factor, &[channels, 1, 1])?;
        self.mul(&format!("{name}.mul"), x, factor)
    }

    /// Squeeze-and-excitation (Hu et al., arXiv 1709.01507): the map times what two 1x1 convolutions make of its mean.
    pub(in crate::model::arch) fn excited(&mut self, [reduce, expand]: [&str; 2], x: NodeId, act: Unary, gate: Unary) -> Made {
        let mean = self.mean(&format!("{reduce}.mean"), x, &[2, 3], true)?;
        let less = self.conv(reduce, mean, 1, Groups::One, Padding::Valid)?;
        let less = self.act(&format!("{reduce}.act"), act, less)?;
        let more = self.conv(expand, less, 1, Groups::One, Padding::Valid)?;
        let more = self.act(&format!("{expand}.gate"), gate, more)?;
        self.mul(&format!("{expand}.mul"), x, more)
    }

    /// A map brought to another size: two products with constant matrices.
    pub(in crate::model::arch) fn resize(&mut self, name: &str, x: NodeId, to: [usize; 2], how: Resample) -> Made {
        let [h, w] = self.size(x);
        if [h, w] == to || self.stopped {
            return Ok(x);
        }
        let down = self.constant(&format!("{name}.down"), &[to[0], h], &weights(h, to[0], how, None));
        let across = self.constant(&format!("{name}.across"), &[w, to[1]], &transposed(&weights(w, to[1], how, None), w));
        let rows = self.matmul(&format!("{name}.rows"), down, x)?;
        self.matmul(name, rows, across)
    }

    /// Channels of this many groups dealt in turn (`ShuffleNet`'s `channel_shuffle`).
    pub(in crate::model::arch) fn shuffled(&mut self, name: &str, x: NodeId, groups: usize) -> Made {
        let channels = self.channels(x);
        let order: Vec<usize> = (0..channels).map(|i| i % groups * (channels / groups) + i / groups).collect();
        self.select(name, x, 1, order)
    }
}

fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns.max(1);
    (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c))).map(|(r, c)| matrix[r * columns + c]).collect()
}
