//! The gradients of one operator with respect to its inputs.

use candle_core::{D, DType, Result, Tensor, bail};

use super::forward::{batched, bounds, by_dtype, channels, geometry, heads, is_depthwise, permute, repeated, take, tensor};
use super::kernels::matmul::{self, Mat};
use super::kernels::{Real, View, attention, conv, depthwise, direct, elementwise, norm, pointwise, pool, winograd};
use super::{Clamp, Saved};
use crate::graph::{Binary, Op, Reduce, Window};

/// What the forward pass left for one operator.
pub(super) struct Step<'a> {
    /// Input values; `None` where [`reads_inputs`] said that they are not needed.
    pub inputs: &'a [Option<&'a Tensor>],
    /// Input shapes.
    pub shapes: &'a [Vec<usize>],
    /// Output value.
    pub output: Option<&'a Tensor>,
    pub saved: &'a Saved,
    /// Inputs whose gradient is asked for.
    pub wanted: &'a [bool],
    /// What the output was cut off at (batch norms and sums only).
    pub clamp: Option<Clamp>,
}

impl Step<'_> {
    pub(super) fn input(&self, i: usize) -> Result<Tensor> {
        match self.inputs.get(i) {
            Some(Some(value)) => value.contiguous(),
            _ => bail!("input {i} was not kept for the reverse pass"),
        }
    }

    pub(super) fn output(&self) -> Result<&Tensor> {
        match self.output {
            Some(value) => Ok(value),
            None => bail!("the output was not kept for the reverse pass"),
        }
    }
}

/// Whether the gradient reads the value of input `i`, where the gradients of the inputs in `wanted` are asked for: what no gradient reads
/// is not kept.
pub(super) fn reads_input(op: &Op, i: usize, wanted: &[bool]) -> bool {
    let other = |i: usize| wanted.get(1 - i) == Some(&true);
    match op {
        Op::Conv2d { .. } | Op::Linear | Op::MatMul | Op::Binary(Binary::Mul) => i < 2 && other(i),
        Op::Binary(Binary::Div) => i == 1 || other(i),
        Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::Lrn { .. }
        | Op::Attention { .. }
        | Op::Binary(Binary::Max | Binary::Min)
        | Op::Reduce { kind: Reduce::Max, .. } => true,
        Op::Unary(function) => elementwise::derives_from(*function) == elementwise::From::Input,
        _ => false,
    }
}

/// Whether the gradient reads the operator's own value.
pub(super) fn reads_output(op: &Op) -> bool {
    match op {
        Op::Softmax { .. } => true,
        Op::Unary(function) => elementwise::derives_from(*function) == elementwise::From::Output,
        _ => false,
    }
}

/// One entry per input; `None` where it was not asked for.
pub(super) fn gradients(op: &Op, step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let dout = &dout.contiguous()?;
    let first = |gradient: Tensor| Ok(vec![Some(gradient)]);
    let shape = &step.shapes[0];
    match op {
        Op::Input | Op::Param(_) => bail!("it has no inputs"),
        Op::Conv2d { window, groups } => conv2d(window, *groups, step, dout),
        Op::Linear => linear(step, dout),
        Op::MatMul => matmul(step, dout),
        Op::BatchNorm { eps, .. } => batch_norm(step, *eps, dout),
        Op::LayerNorm { axis, eps } => layer_norm(step, *axis, *eps, dout),
        Op::Lrn { size, alpha, beta, .. } => {
            let Saved::Bracket(bracket) = step.saved else { bail!("its bracket was not kept") };
            let x = step.input(0)?;
            by_dtype!(x, T => {
                let (vx, vb, vd) = (View::of(&x), View::of(bracket), View::of(dout));
                let sizes = channels(&x)?;
                first(tensor(norm::lrn_backward::<T>(sizes, vx.slice()?, vb.slice()?, vd.slice()?, *size, [*alpha, *beta]), shape)?)
            })
        }
        Op::MaxPool(window) => {
            let Saved::Indices(at) = step.saved else { bail!("its maxima were not kept") };
            let g = geometry(window, shape, dout.dims(), 1)?;
            by_dtype!(dout, T => first(tensor(pool::max_backward::<T>(&g, at, View::of(dout).slice()?), shape)?))
        }
        Op::AvgPool { window, count_include_pad } => {
            let g = geometry(window, shape, dout.dims(), 1)?;
            by_dtype!(dout, T => first(tensor(pool::avg_backward::<T>(&g, *count_include_pad, View::of(dout).slice()?), shape)?))
        }
        Op::Unary(function) => {
            let of = match elementwise::derives_from(*function) {
                elementwise::From::Nothing => dout.clone(),
                elementwise::From::Input => step.input(0)?,
                elementwise::From::Output => step.output()?.contiguous()?,
            };
            by_dtype!(dout, T => {
                let (vo, vd) = (View::of(&of), View::of(dout));
                first(tensor(elementwise::backward::<T>(*function, vo.slice()?, vd.slice()?), shape)?)
            })
        }
        Op::Binary(kind) if step.clamp.is_some() => {
            let y = step.output()?.contiguous()?;
            let passed = by_dtype!(y, T => {
                let (vy, vd) = (View::of(&y), View::of(dout));
                tensor(elementwise::passed::<T>(vy.slice()?, vd.slice()?, bounds(step.clamp)), y.dims())?
            });
            binary(*kind, step, &passed)
        }
        Op::Binary(kind) => binary(*kind, step, dout),
        Op::Reduce { kind, axes, .. } => reduce(*kind, axes, step, dout),
        Op::Softmax { axis } => {
            let last = shape.len() - 1;
            let y = step.output()?.transpose(*axis, last)?.contiguous()?;
            let d = dout.transpose(*axis, last)?.contiguous()?;
            let width = y.dim(D::Minus1)?;
            let dx = by_dtype!(y, T => tensor(norm::softmax_backward::<T>(width, View::of(&y).slice()?, View::of(&d).slice()?), y.dims()))?;
            first(dx.transpose(*axis, last)?.contiguous()?)
        }
        Op::Attention { scale } => {
            let Saved::LogSums(sums) = step.saved else { bail!("its sums were not kept") };
            let inputs = [step.input(0)?, step.input(1)?, step.input(2)?];
            by_dtype!(dout, T => {
                let [q, k, v, sums, d] = [&inputs[0], &inputs[1], &inputs[2], sums, dout].map(View::of);
                let values = [q.slice::<T>()?, k.slice()?, v.slice()?];
                let found = attention::backward(heads(&inputs)?, values, T::of(*scale), sums.slice()?, d.slice()?);
                let tensors = found.into_iter().zip(&inputs).map(|(gradient, input)| tensor(gradient, input.dims()).map(Some));
                tensors.collect()
            })
        }
        Op::Concat { axis } => {
            let mut start = 0;
            let mut out = Vec::new();
            for (shape, wanted) in step.shapes.iter().zip(step.wanted) {
                let own: Vec<_> = (start..start + shape[*axis]).map(Some).collect();
                out.push(wanted.then(|| take(dout, *axis, &own, 0.0)).transpose()?);
                start += shape[*axis];
            }
            Ok(out)
        }
        Op::Reshape { .. } => first(dout.reshape(shape.as_slice())?),
        Op::Expand { .. } => first(unbroadcast(dout, shape)?),
        Op::Transpose { perm } => {
            let mut inverse = vec![0; perm.len()];
            for (to, &from) in perm.iter().enumerate() {
                inverse[from] = to;
            }
            first(permute(dout, &inverse)?)
        }
        Op::Slice { .. } | Op::Select { .. } => bail!("its gradient is a part of its input's"),
        Op::Pad { pads, .. } => {
            let mut out = dout.clone();
            for (axis, (before, _)) in pads.iter().enumerate() {
                out = take(&out, axis, &(*before..before + shape[axis]).map(Some).collect::<Vec<_>>(), 0.0)?;
            }
            first(out.contiguous()?)
        }
    }
}

/// Sums over the axes that broadcasting repeated.
pub(super) fn unbroadcast(gradient: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let mut out = gradient.clone();
    while out.rank() > shape.len() {
        out = out.sum(0)?;
    }
    for (axis, &size) in shape.iter().enumerate() {
        if size == 1 && out.dim(axis)? != 1 {
            out = out.sum_keepdim(axis)?;
        }
    }
    out.contiguous()
}

fn conv2d(window: &Window, groups: usize, step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let g = geometry(window, &step.shapes[0], dout.dims(), groups)?;
    // Only what is wanted was kept.
    let value = |i: usize, needed: bool| if needed { step.input(i) } else { Ok(dout.clone()) };
    let (x, weight) = (value(0, step.wanted[1])?, value(1, step.wanted[0])?);
    by_dtype!(dout, T => {
        let (vx, vw, vd) = (View::of(&x), View::of(&weight), View::of(dout));
        let d = vd.slice::<T>()?;
        let input = if is_depthwise(&g) {
            depthwise::backward_input
        } else if pointwise::suits(&g) {
            pointwise::backward_input
        } else if winograd::suits(&g) {
            winograd::backward_input
        } else if direct::suits(&g) {
            direct::backward_input
        } else {
            conv::backward_input
        };
        let kernel = if is_depthwise(&g) {
            depthwise::backward_weight
        } else if winograd::suits_weight(&g) {
            winograd::backward_weight
        } else if direct::suits(&g) {
            direct::backward_weight
        } else {
            conv::backward_weight
        };
        let mut out = Vec::new();
        out.push(if step.wanted[0] { Some(tensor::<T>(input(&g, vw.slice()?, d), &step.shapes[0])?) } else { None });
        out.push(if step.wanted[1] { Some(tensor::<T>(kernel(&g, vx.slice()?, d), &step.shapes[1])?) } else { None });
        if step.wanted.get(2) == Some(&true) {
            out.push(Some(tensor(conv::backward_bias::<T>(g.co, g.out_map(), d), &[g.co])?));
        }
        Ok(out)
    })
}

fn linear(step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let &[outputs, features] = step.shapes[1].as_slice() else { bail!("its weight is no matrix") };
    let value = |i: usize, needed: bool| if needed { step.input(i) } else { Ok(dout.clone()) };
    let (x, weight) = (value(0, step.wanted[1])?, value(1, step.wanted[0])?);
    by_dtype!(dout, T => {
        let (vx, vw, vd) = (View::of(&x), View::of(&weight), View::of(dout));
        let (x_values, w, d) = (vx.slice::<T>()?, vw.slice::<T>()?, vd.slice::<T>()?);
        let rows = d.len() / outputs.max(1);
        let mut out = vec![None, None];
        if step.wanted[0] {
            let dx = matmul::product([rows, features, outputs], Mat::rows(d, outputs), Mat::rows(w, features), None);
            out[0] = Some(tensor(dx, &step.shapes[0])?);
        }
        if step.wanted[1] {
            let dw = matmul::product([outputs, features, rows], Mat::transposed(d, outputs), Mat::rows(x_values, features), None);
            out[1] = Some(tensor(dw, &step.shapes[1])?);
        }
        if step.wanted.get(2) == Some(&true) {
            out.push(Some(tensor(norm::column_sums(outputs, d), &[outputs])?));
        }
        Ok(out)
    })
}

/// `da = dout b^T`, `db = a^T dout`, summed over broadcast leading axes.
fn matmul(step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let (a, b) = (&step.shapes[0], &step.shapes[1]);
    let (m, k, n) = (a[a.len() - 2], a[a.len() - 1], b[b.len() - 1]);
    let lead = &dout.dims()[..dout.rank() - 2];
    let mut out = vec![None, None];
    if step.wanted[0] {
        let b = step.input(1)?.broadcast_as([lead, &[k, n]].concat())?.contiguous()?;
        let full = batched([m, k, n], dout, false, &b, true, &[lead, &[m, k]].concat())?;
        out[0] = Some(unbroadcast(&full, a)?);
    }
    if step.wanted[1] {
        let a = step.input(0)?.broadcast_as([lead, &[m, k]].concat())?.contiguous()?;
        let full = batched([k, n, m], &a, true, dout, false, &[lead, &[k, n]].concat())?;
        out[1] = Some(unbroadcast(&full, b)?);
    }
    Ok(out)
}

fn batch_norm(step: &Step, eps: f64, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let Saved::Statistics { mean, variance, batch } = step.saved else { bail!("its statistics were not kept") };
    let (x, scale, shift) = (step.input(0)?, step.input(1)?, step.input(2)?);
    let sizes = channels(&x)?;
    by_dtype!(x, T => {
        let views = [View::of(&x), View::of(dout), View::of(&scale), View::of(&shift), View::of(mean), View::of(variance)];
        let statistics = [views[2].slice::<T>()?, views[3].slice()?, views[4].slice()?, views[5].slice()?];
        let (x_values, d) = (views[0].slice()?, views[1].slice()?);
        let (dx, dscale, dshift) = norm::batch_backward(sizes, x_values, d, statistics, eps, *batch, bounds(step.clamp));
        Ok(vec![Some(tensor(dx, x.dims())?), Some(tensor(dscale, &[sizes.c])?), Some(tensor(dshift, &[sizes.c])?), None, None])
    })
}

fn layer_norm(step: &Step, axis: usize, eps: f64, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let x = step.input(0)?;
    let scale = if step.inputs.len() > 1 { Some(step.input(1)?) } else { None };
    let normalised = &x.dims()[axis..];
    let width = normalised.iter().product::<usize>();
    by_dtype!(x, T => {
        let (vx, vd) = (View::of(&x), View::of(dout));
        let vs = scale.as_ref().map(View::of);
        let s = vs.as_ref().map(|v| v.slice::<T>()).transpose()?;
        let (dx, dscale, dshift) = norm::layer_backward(width, vx.slice()?, vd.slice()?, s, eps);
        let mut out = vec![Some(tensor(dx, x.dims())?), Some(tensor(dscale, normalised)?), Some(tensor(dshift, normalised)?)];
        out.truncate(step.inputs.len());
        Ok(out)
    })
}

fn binary(kind: Binary, step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let wanted = |i: usize, gradient: &dyn Fn() -> Result<Tensor>| {
        if step.wanted[i] { unbroadcast(&gradient()?, &step.shapes[i]).map(Some) } else { Ok(None) }
    };
    let (da, db) = match kind {
        Binary::Add => (wanted(0, &|| Ok(dout.clone()))?, wanted(1, &|| Ok(dout.clone()))?),
        Binary::Sub => (wanted(0, &|| Ok(dout.clone()))?, wanted(1, &|| dout.neg())?),
        Binary::Mul => (wanted(0, &|| dout.broadcast_mul(&step.input(1)?))?, wanted(1, &|| dout.broadcast_mul(&step.input(0)?))?),
        Binary::Div => {
            let b = step.input(1)?;
            let by_b = || step.input(0)?.broadcast_div(&b.sqr()?)?.neg()?.mul(dout);
            (wanted(0, &|| dout.broadcast_div(&b))?, wanted(1, &by_b)?)
        }
        Binary::Max | Binary::Min => {
            let (a, b) = (repeated(&step.input(0)?, dout.dims())?, repeated(&step.input(1)?, dout.dims())?);
            let shared = a.eq(&b)?.where_cond(&(dout * 0.5)?, dout)?;
            // What does not lose gets it: both where one is NaN, as in PyTorch.
            let to = |own: &Tensor, other: &Tensor| {
                let loses = if kind == Binary::Max { own.lt(other)? } else { own.gt(other)? };
                loses.where_cond(&dout.zeros_like()?, &shared)
            };
            (wanted(0, &|| to(&a, &b))?, wanted(1, &|| to(&b, &a))?)
        }
    };
    Ok(vec![da, db])
}

fn reduce(kind: Reduce, axes: &[usize], step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let shape = &step.shapes[0];
    let mut kept = shape.clone();
    for &axis in axes {
        kept[axis] = 1;
    }
    let dout = dout.reshape(kept.as_slice())?;
    let gradient = match kind {
        Reduce::Sum => dout.broadcast_as(shape.as_slice())?.contiguous()?,
        Reduce::Mean => {
            let count: usize = axes.iter().map(|&axis| shape[axis]).product();
            (dout.broadcast_as(shape.as_slice())?.contiguous()? / count as f64)?
        }
        Reduce::Max => return max_gradient(axes, step, &dout),
    };
    Ok(vec![Some(gradient)])
}

/// The gradient of a maximum goes to the first of equals, in the order of the reduced axes.
fn max_gradient(axes: &[usize], step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let x = step.input(0)?;
    let mut stages = vec![x.clone()];
    for &axis in axes {
        let next = stages.last().unwrap_or(&x).max_keepdim(axis)?;
        stages.push(next);
    }
    let mut gradient = dout.clone();
    for (&axis, before) in axes.iter().zip(&stages).rev() {
        let at = before.argmax_keepdim(axis)?;
        gradient = Tensor::zeros(before.dims(), before.dtype(), before.device())?.scatter_add(&at, &gradient.contiguous()?, axis)?;
    }
    Ok(vec![Some(gradient)])
}
