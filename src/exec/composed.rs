//! Every operator, forward and backward, out of candle's tensor operations: for devices that our kernels do not run on.
//!
//! Only operations that are right on every device are used: slices, elementwise arithmetic, sums, matrix products and forward
//! convolutions; none of candle's own gradients, no pooling, no transposed convolution. The same code is tested on the CPU.
//!
//! In mixed precision (`half`) activations are bf16. Products read bf16 and add up in f32; everything else is computed in f32 and
//! rounded to bf16 at its end, as PyTorch's kernels do.

mod conv;
mod elementwise;
mod moves;
mod norm;
mod pool;
mod product;
mod windows;

use candle_core::{DType, Result, Tensor, bail};

use super::backward::{self, Step};
use super::{Norm, Saved, forward};
use crate::graph::{Binary, Op, Reduce};

/// `half`: mixed precision.
pub(super) fn compute(op: &Op, inputs: &[&Tensor], shape: &[usize], norm: Norm, half: bool) -> Result<(Tensor, Saved)> {
    if !half {
        return exact(op, inputs, shape, norm);
    }
    let cast: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(computed_in(op))).collect::<Result<_>>()?;
    let (value, saved) = exact(op, &cast.iter().collect::<Vec<_>>(), shape, norm)?;
    Ok((value.to_dtype(DType::BF16)?, saved))
}

/// One entry per input; `None` where it was not asked for. In mixed precision they come in either type.
pub(super) fn gradients(op: &Op, step: &Step, dout: &Tensor, half: bool) -> Result<Vec<Option<Tensor>>> {
    if !half {
        return exact_gradients(op, step, &dout.contiguous()?);
    }
    let kind = computed_in(op);
    let inputs: Vec<Option<Tensor>> = step.inputs.iter().map(|t| t.map(|t| t.to_dtype(kind)).transpose()).collect::<Result<_>>()?;
    let inputs: Vec<Option<&Tensor>> = inputs.iter().map(Option::as_ref).collect();
    let output = step.output.map(|t| t.to_dtype(kind)).transpose()?;
    let step = Step { inputs: &inputs, output: output.as_ref(), ..*step };
    exact_gradients(op, &step, &dout.to_dtype(kind)?.contiguous()?)
}

/// What an operator is computed in where activations are bf16: products, and what only moves numbers both ways.
/// Depthwise and grouped convolutions are sums over taps here, not products.
fn computed_in(op: &Op) -> DType {
    match op {
        Op::Conv2d { groups: 1, .. }
        | Op::Linear
        | Op::MatMul
        | Op::Attention { .. }
        | Op::Concat { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Pad { .. } => DType::BF16,
        _ => DType::F32,
    }
}

/// Long sums in mixed precision are f32: candle adds up in the type that it is given.
fn wide(x: &Tensor) -> Result<Tensor> {
    if x.dtype() == DType::BF16 { x.to_dtype(DType::F32) } else { Ok(x.clone()) }
}

fn exact(op: &Op, inputs: &[&Tensor], shape: &[usize], norm: Norm) -> Result<(Tensor, Saved)> {
    let inputs: Vec<Tensor> = inputs.iter().map(|t| t.contiguous()).collect::<Result<_>>()?;
    let Some(x) = inputs.first() else { bail!("it has no inputs") };
    let value = match op {
        Op::Input | Op::Param(_) => bail!("it is not computed"),
        Op::Conv2d { window, groups } => conv::forward(&inputs, window, *groups, shape)?,
        Op::Linear => product::linear(&inputs, shape)?,
        Op::MatMul => product::matmul(x, &inputs[1], shape)?,
        Op::BatchNorm { eps, .. } => return norm::batch(&inputs, *eps, norm),
        Op::LayerNorm { axis, eps } => norm::layer(&inputs, *axis, *eps)?,
        Op::Lrn { size, alpha, beta, bias } => return norm::lrn(x, *size, [*alpha, *beta, *bias]),
        Op::MaxPool(window) => return pool::max(x, window, shape),
        Op::AvgPool { window, count_include_pad } => pool::average(x, window, *count_include_pad, shape)?,
        Op::Unary(function) => elementwise::forward(*function, x)?,
        Op::Binary(Binary::Add) => x.broadcast_add(&inputs[1])?,
        Op::Binary(Binary::Sub) => x.broadcast_sub(&inputs[1])?,
        Op::Binary(Binary::Mul) => x.broadcast_mul(&inputs[1])?,
        Op::Binary(Binary::Div) => x.broadcast_div(&inputs[1])?,
        Op::Binary(kind @ (Binary::Max | Binary::Min)) => elementwise::better(*kind, x, &inputs[1], shape)?,
        Op::Softmax { axis } => norm::softmax(x, *axis)?,
        Op::Attention { scale } => product::attention(&inputs, *scale)?,
        Op::Transpose { perm } => x.permute(perm.as_slice())?.contiguous()?,
        Op::Slice { axis, start, end, step } => moves::take(x, *axis, (*start..*end).step_by(*step).map(Some), 0.0)?,
        Op::Select { axis, indices } => moves::take(x, *axis, indices.iter().copied().map(Some), 0.0)?,
        Op::Pad { pads, value } => moves::pad(x, pads, *value)?,
        // candle's own operations, which are right on every device.
        Op::Reduce { .. } | Op::Concat { .. } | Op::Reshape { .. } | Op::Expand { .. } => {
            return forward::compute(op, &inputs.iter().collect::<Vec<_>>(), shape, norm, None, true);
        }
    };
    Ok((value, Saved::Nothing))
}

fn exact_gradients(op: &Op, step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let first = |gradient: Tensor| Ok(vec![Some(gradient)]);
    match op {
        Op::Input | Op::Param(_) => bail!("it has no inputs"),
        Op::Conv2d { window, groups } => conv::backward(window, *groups, step, dout),
        Op::Linear => product::linear_backward(step, dout),
        Op::MatMul => product::matmul_backward(step, dout),
        Op::BatchNorm { eps, .. } => norm::batch_backward(step, *eps, dout),
        Op::LayerNorm { axis, eps } => norm::layer_backward(step, *axis, *eps, dout),
        Op::Lrn { size, alpha, beta, .. } => first(norm::lrn_backward(step, *size, [*alpha, *beta], dout)?),
        Op::MaxPool(window) => first(pool::max_backward(step, window, dout)?),
        Op::AvgPool { window, count_include_pad } => first(pool::average_backward(step, window, *count_include_pad, dout)?),
        Op::Unary(function) => first(elementwise::backward(*function, &step.input(0)?, step.output()?, dout)?),
        Op::Softmax { axis } => first(norm::softmax_backward(step.output()?, *axis, dout)?),
        Op::Attention { scale } => product::attention_backward(step, *scale, dout),
        Op::Reduce { kind: Reduce::Max, axes, .. } => first(pool::greatest_backward(&step.input(0)?, axes, dout)?),
        Op::Concat { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Select { .. } | Op::Pad { .. } => moves::backward(op, step, dout),
        Op::Binary(_) | Op::Reduce { .. } | Op::Reshape { .. } | Op::Expand { .. } => backward::gradients(op, step, dout),
    }
}

/// `x` where `mask` holds, zero elsewhere (NaN too).
fn kept_where(mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    mask.where_cond(x, &x.zeros_like()?)
}
