//! Values combined and brought to other shapes. After a tensor that does not fit these do nothing, as all layers.

use super::Layers;
use crate::graph::{Binary, Dim, NodeId, Op, Reduce, Shape, Unary};
use crate::model::arch::ArchError;

type Made = Result<NodeId, ArchError>;

impl Layers<'_> {
    /// The sizes of a value's axes but that of the batch: `[tokens, width]`, `[channels, height, width]`.
    pub(in crate::model::arch) fn dims(&self, x: NodeId) -> Vec<usize> {
        self.builder.shape(x).at(1).into_iter().skip(1).collect()
    }

    /// The size of the last axis.
    pub(in crate::model::arch) fn width(&self, x: NodeId) -> usize {
        let shape = self.builder.shape(x);
        shape.rank().checked_sub(1).and_then(|last| shape.known(last)).unwrap_or(0)
    }

    /// All sizes at a batch of one.
    pub(in crate::model::arch) fn whole(&self, x: NodeId) -> Vec<usize> {
        self.builder.shape(x).at(1)
    }

    /// The same numbers as `[N, dims...]`.
    pub(in crate::model::arch) fn reshape(&mut self, name: &str, x: NodeId, dims: &[usize]) -> Made {
        self.add(name, Op::Reshape { shape: Shape::batched(dims) }, &[x])
    }

    /// The same numbers as `[per_image N, dims...]`: windows of an image become images of their own, and back.
    pub(in crate::model::arch) fn reshape_by(&mut self, name: &str, x: NodeId, per_image: usize, dims: &[usize]) -> Made {
        let rest = dims.iter().map(|&size| Dim::Fixed(size));
        self.add(name, Op::Reshape { shape: Shape(std::iter::once(Dim::Batch(per_image)).chain(rest).collect()) }, &[x])
    }

    /// The same numbers of a value that no batch has, such as a parameter.
    pub(in crate::model::arch) fn reshape_fixed(&mut self, name: &str, x: NodeId, dims: &[usize]) -> Made {
        self.add(name, Op::Reshape { shape: Shape::fixed(dims) }, &[x])
    }

    /// Axes in another order, the batch's axis 0 included.
    pub(in crate::model::arch) fn transpose(&mut self, name: &str, x: NodeId, perm: &[usize]) -> Made {
        self.add(name, Op::Transpose { perm: perm.to_vec() }, &[x])
    }

    /// `[start, end)` along an axis.
    pub(in crate::model::arch) fn slice(&mut self, name: &str, x: NodeId, axis: usize, start: usize, end: usize) -> Made {
        self.add(name, Op::Slice { axis, start, end, step: 1 }, &[x])
    }

    /// Every `step`-th of `[start, end)` along an axis.
    pub(in crate::model::arch) fn strided(
        &mut self,
        name: &str,
        x: NodeId,
        axis: usize,
        (start, end, step): (usize, usize, usize),
    ) -> Made {
        self.add(name, Op::Slice { axis, start, end, step }, &[x])
    }

    /// Equal parts along an axis.
    pub(in crate::model::arch) fn split(&mut self, name: &str, x: NodeId, axis: usize, parts: usize) -> Result<Vec<NodeId>, ArchError> {
        let each = self.whole(x).get(axis).copied().unwrap_or(0) / parts.max(1);
        (0..parts).map(|i| self.slice(&format!("{name}.{i}"), x, axis, i * each, (i + 1) * each)).collect()
    }

    /// Entries along an axis at constant places.
    pub(in crate::model::arch) fn select(&mut self, name: &str, x: NodeId, axis: usize, indices: Vec<usize>) -> Made {
        self.add(name, Op::Select { axis, indices }, &[x])
    }

    /// One entry along an axis, which goes: the class token of `[N, tokens, width]` is `pick(.., 1, 0)`.
    pub(in crate::model::arch) fn pick(&mut self, name: &str, x: NodeId, axis: usize, index: usize) -> Made {
        let one = self.slice(&format!("{name}.slice"), x, axis, index, index + 1)?;
        let mut dims = self.dims(one);
        if axis > 0 && axis <= dims.len() {
            dims.remove(axis - 1);
        }
        self.reshape(name, one, &dims)
    }

    /// Joined along an axis.
    pub(in crate::model::arch) fn concat(&mut self, name: &str, axis: usize, parts: &[NodeId]) -> Made {
        self.add(name, Op::Concat { axis }, parts)
    }

    /// A value without a batch repeated for every image: `[1, dims...]` to `[N, dims...]`.
    pub(in crate::model::arch) fn for_each_image(&mut self, name: &str, x: NodeId) -> Made {
        let dims = self.dims(x);
        self.add(name, Op::Expand { shape: Shape::batched(&dims) }, &[x])
    }

    /// Moved along an axis by `by` places, what leaves at one end entering at the other (`torch.roll`).
    pub(in crate::model::arch) fn roll(&mut self, name: &str, x: NodeId, axis: usize, by: isize) -> Made {
        let size = self.whole(x).get(axis).copied().unwrap_or(0);
        let by = by.rem_euclid(size.max(1) as isize) as usize;
        if by == 0 {
            return Ok(x);
        }
        let tail = self.slice(&format!("{name}.tail"), x, axis, size - by, size)?;
        let front = self.slice(&format!("{name}.front"), x, axis, 0, size - by)?;
        self.concat(name, axis, &[tail, front])
    }

    /// Zeros before and behind, a pair for every axis.
    pub(in crate::model::arch) fn pad(&mut self, name: &str, x: NodeId, pads: Vec<(usize, usize)>) -> Made {
        if pads.iter().all(|pair| *pair == (0, 0)) {
            return Ok(x);
        }
        self.add(name, Op::Pad { pads, value: 0.0 }, &[x])
    }

    /// `a * b`, broadcast.
    pub(in crate::model::arch) fn mul(&mut self, name: &str, a: NodeId, b: NodeId) -> Made {
        self.add(name, Op::Binary(Binary::Mul), &[a, b])
    }

    /// `a - b`, broadcast.
    pub(in crate::model::arch) fn sub(&mut self, name: &str, a: NodeId, b: NodeId) -> Made {
        self.add(name, Op::Binary(Binary::Sub), &[a, b])
    }

    /// `a / b`, broadcast.
    pub(in crate::model::arch) fn div(&mut self, name: &str, a: NodeId, b: NodeId) -> Made {
        self.add(name, Op::Binary(Binary::Div), &[a, b])
    }

    /// `scale * x + shift` with constants.
    pub(in crate::model::arch) fn affine(&mut self, name: &str, x: NodeId, scale: f64, shift: f64) -> Made {
        self.add(name, Op::Unary(Unary::Affine { scale, shift }), &[x])
    }

    /// A matrix product, leading axes broadcast.
    pub(in crate::model::arch) fn matmul(&mut self, name: &str, a: NodeId, b: NodeId) -> Made {
        self.add(name, Op::MatMul, &[a, b])
    }

    /// Mean over axes.
    pub(in crate::model::arch) fn mean(&mut self, name: &str, x: NodeId, axes: &[usize], keep: bool) -> Made {
        self.add(name, Op::Reduce { kind: Reduce::Mean, axes: axes.to_vec(), keep }, &[x])
    }

    /// Sum over axes.
    pub(in crate::model::arch) fn total(&mut self, name: &str, x: NodeId, axes: &[usize], keep: bool) -> Made {
        self.add(name, Op::Reduce { kind: Reduce::Sum, axes: axes.to_vec(), keep }, &[x])
    }

    /// Divided by its length along the last axis, which is at least `eps` (`torch.nn.functional.normalize`).
    pub(in crate::model::arch) fn unit_length(&mut self, name: &str, x: NodeId, axis: usize, eps: f64) -> Made {
        let square = self.mul(&format!("{name}.square"), x, x)?;
        let sum = self.total(&format!("{name}.sum"), square, &[axis], true)?;
        // The least length before the root: of zeros the root's gradient is infinite, and PyTorch's is 0.
        let sum = self.act(&format!("{name}.least"), Unary::Clip { min: eps * eps, max: f64::INFINITY }, sum)?;
        let length = self.act(&format!("{name}.length"), Unary::Sqrt, sum)?;
        self.div(name, x, length)
    }
}
