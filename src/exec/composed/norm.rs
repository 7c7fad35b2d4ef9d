//! Norms and softmax.

use candle_core::{D, Result, Tensor, bail};

use crate::exec::backward::Step;
use crate::exec::{Norm, Saved};

/// `[n, c, map]`
fn by_channel(x: &Tensor) -> Result<Tensor> {
    match x.dims() {
        [n, c, map @ ..] => x.reshape((*n, *c, map.iter().product::<usize>())),
        _ => bail!("it needs a channel axis"),
    }
}

/// The sum of every channel, `[c]`.
fn channel_sum(x: &Tensor) -> Result<Tensor> {
    x.sum(2)?.sum(0)
}

fn along_channels(x: &Tensor) -> Result<Tensor> {
    x.reshape((1, x.elem_count(), 1))
}

/// A batch norm of known statistics as `factor x + offset`.
fn folded(scale: &Tensor, shift: &Tensor, mean: &Tensor, variance: &Tensor, eps: f64) -> Result<[Tensor; 2]> {
    let factor = (scale / (variance + eps)?.sqrt()?)?;
    let offset = (shift - (mean * &factor)?)?;
    Ok([along_channels(&factor)?, along_channels(&offset)?])
}

pub(super) fn batch(inputs: &[Tensor], eps: f64, norm: Norm) -> Result<(Tensor, Saved)> {
    let x = by_channel(&inputs[0])?;
    let count = x.dim(0)? * x.dim(2)?;
    let (mean, variance) = match norm {
        Norm::Batch if count < 2 => bail!("a batch norm needs at least two values per channel to train on"),
        Norm::Batch => {
            let mean = (channel_sum(&x)? / count as f64)?;
            let variance = (channel_sum(&x.broadcast_sub(&along_channels(&mean)?)?.sqr()?)? / count as f64)?;
            (mean, variance)
        }
        Norm::Running => (inputs[3].clone(), inputs[4].clone()),
    };
    let [factor, offset] = folded(&inputs[1], &inputs[2], &mean, &variance, eps)?;
    let out = x.broadcast_mul(&factor)?.broadcast_add(&offset)?;
    Ok((out.reshape(inputs[0].dims())?, Saved::Statistics { mean, variance, batch: norm == Norm::Batch }))
}

/// Ioffe and Szegedy 2015, section 3.
pub(super) fn batch_backward(step: &Step, eps: f64, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let Saved::Statistics { mean, variance, batch } = step.saved else { bail!("its statistics were not kept") };
    let (x, scale, shift) = (by_channel(&step.input(0)?)?, step.input(1)?, step.input(2)?);
    let mut d = by_channel(dout)?;
    let [factor, _] = folded(&scale, &shift, mean, variance, eps)?;
    let inverse = (variance + eps)?.sqrt()?.recip()?;
    let centred = x.broadcast_sub(&along_channels(mean)?)?;
    let dscale = (channel_sum(&(&centred * &d)?)? * &inverse)?;
    let dshift = channel_sum(&d)?;
    if *batch {
        let count = (x.dim(0)? * x.dim(2)?) as f64;
        let shared = along_channels(&(&dshift / count)?)?;
        let slope = along_channels(&((&dscale * &inverse)? / count)?)?;
        d = (d.broadcast_sub(&shared)? - centred.broadcast_mul(&slope)?)?;
    }
    let dx = d.broadcast_mul(&factor)?.reshape(dout.dims())?;
    Ok(vec![Some(dx), Some(dscale), Some(dshift), None, None])
}

/// Rows of what is normalised over.
fn rows(x: &Tensor, axis: usize) -> Result<Tensor> {
    let width = x.dims()[axis..].iter().product::<usize>();
    x.reshape((x.elem_count() / width.max(1), width))
}

/// Centred rows, and the inverse of their standard deviation.
fn row_statistics(x: &Tensor, eps: f64) -> Result<[Tensor; 2]> {
    let centred = x.broadcast_sub(&x.mean_keepdim(1)?)?;
    let inverse = (centred.sqr()?.mean_keepdim(1)? + eps)?.sqrt()?.recip()?;
    Ok([centred, inverse])
}

pub(super) fn layer(inputs: &[Tensor], axis: usize, eps: f64) -> Result<Tensor> {
    let [centred, inverse] = row_statistics(&rows(&inputs[0], axis)?, eps)?;
    let mut out = centred.broadcast_mul(&inverse)?;
    if let Some(scale) = inputs.get(1) {
        out = out.broadcast_mul(&scale.flatten_all()?)?;
    }
    if let Some(shift) = inputs.get(2) {
        out = out.broadcast_add(&shift.flatten_all()?)?;
    }
    out.reshape(inputs[0].dims())
}

/// Ba, Kiros and Hinton 2016.
pub(super) fn layer_backward(step: &Step, axis: usize, eps: f64, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let x = step.input(0)?;
    let [centred, inverse] = row_statistics(&rows(&x, axis)?, eps)?;
    let normal = centred.broadcast_mul(&inverse)?;
    let d = rows(dout, axis)?;
    let scaled = if step.inputs.len() > 1 { d.broadcast_mul(&step.input(1)?.flatten_all()?)? } else { d.clone() };
    let slope = (&scaled * &normal)?.mean_keepdim(1)?;
    let dx = (scaled.broadcast_sub(&scaled.mean_keepdim(1)?)? - normal.broadcast_mul(&slope)?)?.broadcast_mul(&inverse)?;
    let normalised = &x.dims()[axis..];
    let mut out =
        vec![Some(dx.reshape(x.dims())?), Some((&d * &normal)?.sum(0)?.reshape(normalised)?), Some(d.sum(0)?.reshape(normalised)?)];
    out.truncate(step.inputs.len());
    Ok(out)
}

/// The sum over `before` channels before each, itself, and `after` behind it.
fn neighbours(x: &Tensor, before: usize, after: usize) -> Result<Tensor> {
    let channels = x.dim(1)?;
    let padded = x.pad_with_zeros(1, before, after)?;
    let mut total = padded.narrow(1, 0, channels)?;
    for shift in 1..=before + after {
        total = (total + padded.narrow(1, shift, channels)?)?;
    }
    Ok(total)
}

/// ONNX LRN: `x / (bias + alpha / size * sum of squares)^beta`.
pub(super) fn lrn(x: &Tensor, size: usize, [alpha, beta, bias]: [f64; 3]) -> Result<(Tensor, Saved)> {
    let squares = neighbours(&x.sqr()?, (size - 1) / 2, size / 2)?;
    let bracket = squares.affine(alpha / size as f64, bias)?;
    Ok(((x * bracket.powf(-beta)?)?, Saved::Bracket(bracket)))
}

pub(super) fn lrn_backward(step: &Step, size: usize, [alpha, beta]: [f64; 2], dout: &Tensor) -> Result<Tensor> {
    let Saved::Bracket(bracket) = step.saved else { bail!("its bracket was not kept") };
    let x = step.input(0)?;
    let through = ((dout * &x)? * bracket.powf(-beta - 1.0)?)?;
    // Who counts a channel among its neighbours lies the other way round.
    let shared = neighbours(&through, size / 2, (size - 1) / 2)?;
    (dout * bracket.powf(-beta)?)? - ((x * shared)? * (2.0 * alpha * beta / size as f64))?
}

/// The greatest value is subtracted first.
pub(super) fn softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = x.rank() - 1;
    let moved = x.transpose(axis, last)?.contiguous()?;
    let powers = moved.broadcast_sub(&moved.max_keepdim(D::Minus1)?)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?.transpose(axis, last)?.contiguous()
}

/// `y (d - sum(y d))`
pub(super) fn softmax_backward(y: &Tensor, axis: usize, dout: &Tensor) -> Result<Tensor> {
    y * dout.broadcast_sub(&(y * dout)?.sum_keepdim(axis)?)?
}
