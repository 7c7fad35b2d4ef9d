//! The value of one operator.

use candle_core::{D, DType, Device, Result, Tensor, bail};

use super::kernels::conv::{self, Finish, Geometry};
use super::kernels::matmul::{self, Mat};
use super::kernels::norm::{self, Channels};
use super::kernels::{Real, View, attention, depthwise, direct, elementwise, layout, pointwise, pool, winograd};
use super::{Clamp, Norm, Saved, slot_of};
use crate::graph::{Binary, Graph, Node, Op, Reduce, SlotId, Unary, Window};

/// Runs a block with `$T` standing for the tensor's number type.
macro_rules! by_dtype {
    ($tensor:expr, $T:ident => $body:expr) => {
        match $tensor.dtype() {
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F64 => {
                type $T = f64;
                $body
            }
            other => bail!("numbers of type {other:?} are not computed with"),
        }
    };
}
pub(super) use by_dtype;

/// `clamp`: what the values are cut off at (batch norms and sums only). `keeps`: whether a gradient will be asked for.
pub(super) fn compute(
    op: &Op,
    inputs: &[&Tensor],
    shape: &[usize],
    norm: Norm,
    clamp: Option<Clamp>,
    keeps: bool,
) -> Result<(Tensor, Saved)> {
    let contiguous: Vec<Tensor> = inputs.iter().map(|t| t.contiguous()).collect::<Result<_>>()?;
    let Some(x) = contiguous.first() else { bail!("it has no inputs") };
    let value = match op {
        Op::Input | Op::Param(_) => bail!("it is not computed"),
        Op::Conv2d { window, groups } => conv2d(window, *groups, &contiguous, shape)?,
        Op::Linear => linear(&contiguous, shape)?,
        Op::MatMul => matmul(x, &contiguous[1], shape)?,
        Op::BatchNorm { eps, .. } => return batch_norm(&contiguous, *eps, norm, clamp),
        Op::LayerNorm { axis, eps } => layer_norm(&contiguous, *axis, *eps)?,
        Op::Lrn { size, alpha, beta, bias } => {
            return by_dtype!(x, T => {
                let view = View::of(x);
                let (out, bracket) = norm::lrn_forward::<T>(channels(x)?, view.slice()?, *size, [*alpha, *beta, *bias]);
                Ok((tensor(out, shape)?, Saved::Bracket(tensor(bracket, shape)?)))
            });
        }
        Op::MaxPool(window) => {
            return by_dtype!(x, T => {
                let (out, at) = pool::max_forward::<T>(&geometry(window, x.dims(), shape, 1)?, View::of(x).slice()?, keeps);
                Ok((tensor(out, shape)?, Saved::Indices(at)))
            });
        }
        Op::AvgPool { window, count_include_pad } => by_dtype!(x, T => {
            let geometry = geometry(window, x.dims(), shape, 1)?;
            tensor(pool::avg_forward::<T>(&geometry, *count_include_pad, View::of(x).slice()?), shape)?
        }),
        Op::Unary(function) => unary(*function, x)?,
        Op::Binary(kind) => {
            let (a, b) = (x, &contiguous[1]);
            match kind {
                Binary::Add if clamp.is_some() => by_dtype!(a, T => {
                    let (va, vb) = (View::of(a), View::of(b));
                    tensor(elementwise::clamped_sum::<T>(va.slice()?, vb.slice()?, bounds(clamp)), shape)?
                }),
                _ if a.dims() == b.dims() => same_shape(*kind, a, b)?,
                Binary::Add => a.broadcast_add(b)?,
                Binary::Sub => a.broadcast_sub(b)?,
                Binary::Mul => a.broadcast_mul(b)?,
                Binary::Div => a.broadcast_div(b)?,
                // candle's own keep one operand where the other is NaN.
                Binary::Max | Binary::Min => same_shape(*kind, &repeated(a, shape)?, &repeated(b, shape)?)?,
            }
        }
        Op::Reduce { kind, axes, .. } => {
            let reduced = match kind {
                Reduce::Mean => x.mean_keepdim(axes.as_slice())?,
                Reduce::Sum => x.sum_keepdim(axes.as_slice())?,
                Reduce::Max => greatest(x, axes)?,
            };
            reduced.reshape(shape)?
        }
        Op::Softmax { axis } => softmax(x, *axis)?,
        Op::Attention { scale } => {
            return by_dtype!(x, T => {
                let views: Vec<View> = contiguous.iter().map(View::of).collect();
                let inputs = [views[0].slice::<T>()?, views[1].slice()?, views[2].slice()?];
                let (out, sums) = attention::forward(heads(&contiguous)?, inputs, T::of(*scale));
                Ok((tensor(out, shape)?, Saved::LogSums(tensor(sums, &shape[..shape.len() - 1])?)))
            });
        }
        Op::Concat { axis } => Tensor::cat(&contiguous, *axis)?,
        Op::Reshape { .. } => x.reshape(shape)?,
        Op::Expand { .. } => x.broadcast_as(shape)?.contiguous()?,
        Op::Transpose { perm } => permute(x, perm)?,
        Op::Slice { axis, start, end, step } => part(x, *axis, (*start..*end).step_by(*step))?,
        Op::Select { axis, indices } => part(x, *axis, indices.iter().copied())?,
        Op::Pad { pads, value } => pad(x, pads, *value)?,
    };
    Ok((value, Saved::Nothing))
}

pub(super) fn geometry(window: &Window, x: &[usize], out: &[usize], groups: usize) -> Result<Geometry> {
    let (&[n, ci, h, w], &[_, co, oh, ow]) = (x, out) else { bail!("the maps have {} axes, not 4", x.len()) };
    let pad = [window.pads[0], window.pads[1]];
    Ok(Geometry { n, ci, h, w, co, oh, ow, kernel: window.kernel, stride: window.stride, pad, dilation: window.dilation, groups })
}

pub(super) fn is_depthwise(g: &Geometry) -> bool {
    g.groups == g.ci && g.co == g.ci && g.groups > 1
}

fn conv2d(window: &Window, groups: usize, inputs: &[Tensor], shape: &[usize]) -> Result<Tensor> {
    by_dtype!(inputs[0], T => {
        let views: Vec<View> = inputs.iter().map(View::of).collect();
        let bias = views.get(2).map(|v| v.slice::<T>()).transpose()?;
        let g = geometry(window, inputs[0].dims(), shape, groups)?;
        tensor(convolve(&g, views[0].slice()?, views[1].slice()?, Finish { bias, ..Finish::NONE }), shape)
    })
}

/// A convolution by the kernel that suits it.
fn convolve<T: Real>(g: &Geometry, x: &[T], weight: &[T], finish: Finish<T>) -> Vec<T> {
    let run = if is_depthwise(g) {
        depthwise::forward
    } else if pointwise::suits(g) {
        pointwise::forward
    } else if winograd::suits(g) {
        winograd::forward
    } else if direct::suits(g) {
        direct::forward
    } else {
        conv::forward
    };
    run(g, x, weight, finish)
}

/// A convolution, the batch norm with known statistics behind it (scale, shift, mean, variance), and what that is cut off at: the norm
/// goes into kernels and bias.
pub(super) fn folded(
    (window, groups): (&Window, usize),
    inputs: &[&Tensor],
    (norm, eps): (&[&Tensor], f64),
    shape: &[usize],
    clamp: Option<Clamp>,
) -> Result<Tensor> {
    let inputs: Vec<Tensor> = inputs.iter().map(|t| t.contiguous()).collect::<Result<_>>()?;
    by_dtype!(inputs[0], T => {
        let views: Vec<View> = inputs.iter().chain(norm.iter().copied()).map(View::of).collect();
        let (own, norm) = views.split_at(inputs.len());
        let bias = own.get(2).map(|v| v.slice::<T>()).transpose()?;
        let [scale, shift, mean, variance] = [norm[0].slice::<T>()?, norm[1].slice::<T>()?, norm[2].slice::<T>()?, norm[3].slice::<T>()?];
        let mut weight = own[1].slice::<T>()?.to_vec();
        let per_output = weight.len() / scale.len().max(1);
        let mut biases = Vec::with_capacity(scale.len());
        for (c, weight) in weight.chunks_exact_mut(per_output.max(1)).enumerate() {
            let (factor, offset) = norm::folded(scale[c], shift[c], mean[c], variance[c], eps);
            for weight in weight {
                *weight *= factor;
            }
            biases.push(offset + bias.map_or(T::ZERO, |bias| bias[c]) * factor);
        }
        let g = geometry(window, inputs[0].dims(), shape, groups)?;
        tensor(convolve(&g, own[0].slice()?, &weight, Finish { bias: Some(&biases), bounds: bounds(clamp) }), shape)
    })
}

fn linear(inputs: &[Tensor], shape: &[usize]) -> Result<Tensor> {
    let (outputs, features) = inputs[1].dims2()?;
    by_dtype!(inputs[0], T => {
        let views: Vec<View> = inputs.iter().map(View::of).collect();
        let (x, weight) = (views[0].slice::<T>()?, views[1].slice::<T>()?);
        let rows = x.len() / features.max(1);
        let bias = views.get(2).map(|v| v.slice::<T>()).transpose()?;
        tensor(matmul::product([rows, outputs, features], Mat::rows(x, features), Mat::transposed(weight, features), bias), shape)
    })
}

/// `a [..., m, k] b [..., k, n]`, leading axes broadcast to those of `shape`.
fn matmul(a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let lead = &shape[..shape.len() - 2];
    let (m, k, n) = (a.dim(D::Minus2)?, a.dim(D::Minus1)?, b.dim(D::Minus1)?);
    let a = a.broadcast_as([lead, &[m, k]].concat())?.contiguous()?;
    let b = b.broadcast_as([lead, &[k, n]].concat())?.contiguous()?;
    batched([m, n, k], &a, false, &b, false, shape)
}

/// One product per leading index; `ta`, `tb`: the operand is stored transposed.
pub(super) fn batched([m, n, k]: [usize; 3], a: &Tensor, ta: bool, b: &Tensor, tb: bool, shape: &[usize]) -> Result<Tensor> {
    by_dtype!(a, T => {
        let (va, vb) = (View::of(a), View::of(b));
        tensor(matmul::batched::<T>([m, n, k], (va.slice()?, ta), (vb.slice()?, tb)), shape)
    })
}

fn batch_norm(inputs: &[Tensor], eps: f64, norm: Norm, clamp: Option<Clamp>) -> Result<(Tensor, Saved)> {
    let x = &inputs[0];
    let sizes = channels(x)?;
    by_dtype!(x, T => {
        let views: Vec<View> = inputs.iter().map(View::of).collect();
        let x_values = views[0].slice::<T>()?;
        let (mean, variance) = match norm {
            Norm::Batch if sizes.n * sizes.map < 2 => bail!("a batch norm needs at least two values per channel to train on"),
            Norm::Batch => norm::batch_statistics(sizes, x_values),
            Norm::Running => (views[3].slice::<T>()?.to_vec(), views[4].slice::<T>()?.to_vec()),
        };
        let out = norm::batch_apply(sizes, x_values, [views[1].slice()?, views[2].slice()?, &mean, &variance], eps, bounds(clamp));
        let (mean, variance) = (tensor(mean, &[sizes.c])?, tensor(variance, &[sizes.c])?);
        Ok((tensor(out, x.dims())?, Saved::Statistics { mean, variance, batch: norm == Norm::Batch }))
    })
}

/// Running statistics after a batch: moved towards the batch's mean and unbiased variance, as PyTorch does.
pub(super) fn moved_statistics(
    graph: &Graph,
    node: &Node,
    inputs: &[&Tensor],
    mean: &Tensor,
    variance: &Tensor,
) -> Result<Vec<(SlotId, Tensor)>> {
    let Op::BatchNorm { momentum, .. } = node.op else { return Ok(Vec::new()) };
    let sizes = channels(inputs[0])?;
    let count = (sizes.n * sizes.map) as f64;
    let unbiased = (variance * (count / (count - 1.0)))?;
    let mut moved = Vec::new();
    for (input, new) in [(3, mean), (4, &unbiased)] {
        if let Some(slot) = slot_of(graph, node.inputs[input]) {
            moved.push((slot, ((inputs[input] * (1.0 - momentum))? + (new * momentum)?)?));
        }
    }
    Ok(moved)
}

fn layer_norm(inputs: &[Tensor], axis: usize, eps: f64) -> Result<Tensor> {
    let x = &inputs[0];
    let width = x.dims()[axis..].iter().product::<usize>();
    by_dtype!(x, T => {
        let views: Vec<View> = inputs.iter().map(View::of).collect();
        let scale = views.get(1).map(|v| v.slice::<T>()).transpose()?;
        let shift = views.get(2).map(|v| v.slice::<T>()).transpose()?;
        tensor(norm::layer_forward(width, views[0].slice()?, scale, shift, eps), x.dims())
    })
}

/// Arithmetic on operands of one shape. (candle's own spins in threads that `--threads` does not bound.)
pub(super) fn same_shape(kind: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    by_dtype!(a, T => {
        let (va, vb) = (View::of(a), View::of(b));
        tensor(elementwise::binary::<T>(kind, va.slice()?, vb.slice()?), a.dims())
    })
}

/// The greatest along axes, which stay with size 1; NaN where there is one. (candle's own passes over NaN, and a damaged network counts as sound.)
fn greatest(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let mut out = x.clone();
    let mut unknown = x.ne(x)?.to_dtype(x.dtype())?;
    for &axis in axes {
        (out, unknown) = (out.max_keepdim(axis)?, unknown.max_keepdim(axis)?);
    }
    unknown.ne(0.0)?.where_cond(&out.zeros_like()?.affine(1.0, f64::NAN)?, &out)
}

/// Broadcast to a shape, every number in its place.
pub(super) fn repeated(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    x.broadcast_as(shape)?.contiguous()
}

fn unary(function: Unary, x: &Tensor) -> Result<Tensor> {
    by_dtype!(x, T => tensor(elementwise::forward::<T>(function, View::of(x).slice()?), x.dims()))
}

/// How many queries, keys and values attention has.
pub(super) fn heads(inputs: &[Tensor]) -> Result<attention::Sizes> {
    let [q, k, v] = inputs else { bail!("it needs queries, keys and values") };
    let (queries, width) = (q.dim(D::Minus2)?, q.dim(D::Minus1)?);
    let heads = q.dims()[..q.rank() - 2].iter().product();
    Ok(attention::Sizes { heads, queries, keys: k.dim(D::Minus2)?, width, values: v.dim(D::Minus1)? })
}

/// Softmax along any axis: moved last, done by rows, moved back.
fn softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = x.rank() - 1;
    let moved = x.transpose(axis, last)?.contiguous()?;
    let width = moved.dim(D::Minus1)?;
    let out = by_dtype!(x, T => tensor(norm::softmax_rows::<T>(width, View::of(&moved).slice()?), moved.dims()))?;
    out.transpose(axis, last)?.contiguous()
}

pub(super) fn indices(indices: impl Iterator<Item = usize>, device: &Device) -> Result<Tensor> {
    let indices: Vec<u32> = indices.map(|i| i as u32).collect();
    let len = indices.len();
    Tensor::from_vec(indices, len, device)
}

/// What lies at these places along an axis. Neighbours along the first axis that is longer than 1 are not copied.
fn part(x: &Tensor, axis: usize, places: impl Iterator<Item = usize>) -> Result<Tensor> {
    let places: Vec<usize> = places.collect();
    let neighbours = places.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    match places.first() {
        Some(&first) if neighbours && x.dims()[..axis].iter().all(|size| *size == 1) => x.narrow(axis, first, places.len()),
        _ => take(x, axis, &places.into_iter().map(Some).collect::<Vec<_>>(), 0.0),
    }
}

/// Along an axis, what lies at `from`, or `fill`.
pub(super) fn take(x: &Tensor, axis: usize, from: &[Option<usize>], fill: f64) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product());
    shape[axis] = from.len();
    by_dtype!(x, T => tensor(layout::take::<T>(View::of(x).slice()?, size, inner, from, T::of(fill)), &shape))
}

pub(super) fn permute(x: &Tensor, perm: &[usize]) -> Result<Tensor> {
    let shape: Vec<usize> = perm.iter().map(|axis| x.dims()[*axis]).collect();
    by_dtype!(x, T => tensor(layout::permute::<T>(View::of(x).slice()?, x.dims(), perm), &shape))
}

fn pad(x: &Tensor, pads: &[(usize, usize)], value: f64) -> Result<Tensor> {
    let mut out = x.clone();
    for (axis, &(before, after)) in pads.iter().enumerate().filter(|(_, pad)| **pad != (0, 0)) {
        let size = out.dim(axis)?;
        let from: Vec<_> = (0..before + size + after).map(|i| i.checked_sub(before).filter(|i| *i < size)).collect();
        out = take(&out, axis, &from, value)?;
    }
    Ok(out)
}

/// The least and the greatest value that a clamp lets through.
pub(super) fn bounds<T: Real>(clamp: Option<Clamp>) -> [T; 2] {
    clamp.map_or(T::UNBOUNDED, |clamp| [T::of(clamp.least), T::of(clamp.most)])
}

pub(super) fn channels(x: &Tensor) -> Result<Channels> {
    match x.dims() {
        [n, c, map @ ..] => Ok(Channels { n: *n, c: *c, map: map.iter().product() }),
        _ => bail!("it needs a channel axis"),
    }
}

pub(super) fn tensor<T: candle_core::WithDType>(data: Vec<T>, shape: &[usize]) -> Result<Tensor> {
    Tensor::from_vec(data, shape, &Device::Cpu)
}
