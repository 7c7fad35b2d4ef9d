//! Matrix products.

use candle_core::{D, Result, Tensor};

use super::{norm, wide};
use crate::exec::backward::{Step, unbroadcast};

pub(super) fn linear(inputs: &[Tensor], shape: &[usize]) -> Result<Tensor> {
    let (x, weight) = (&inputs[0], &inputs[1]);
    let features = weight.dim(1)?;
    let out = x.reshape((x.elem_count() / features.max(1), features))?.matmul(&weight.t()?)?;
    match inputs.get(2) {
        Some(bias) => out.broadcast_add(bias)?.reshape(shape),
        None => out.reshape(shape),
    }
}

pub(super) fn linear_backward(step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let (x, weight) = (step.input(0)?, step.input(1)?);
    let (outputs, features) = weight.dims2()?;
    let rows = dout.elem_count() / outputs.max(1);
    let d = dout.reshape((rows, outputs))?;
    let mut out = vec![None, None];
    if step.wanted[0] {
        out[0] = Some(d.matmul(&weight)?.reshape(x.dims())?);
    }
    if step.wanted[1] {
        out[1] = Some(d.t()?.matmul(&x.reshape((rows, features))?)?);
    }
    if step.wanted.get(2) == Some(&true) {
        out.push(Some(wide(&d)?.sum(0)?));
    }
    Ok(out)
}

/// `a [..., m, k] b [..., k, n]`, leading axes broadcast to those of `shape`.
pub(super) fn matmul(a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let lead = &shape[..shape.len() - 2];
    stacked(a, lead)?.matmul(&stacked(b, lead)?)?.reshape(shape)
}

/// `da = dout b^T`, `db = a^T dout`, summed over broadcast leading axes.
pub(super) fn matmul_backward(step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let (a, b) = (step.input(0)?, step.input(1)?);
    let lead = &dout.dims()[..dout.rank() - 2];
    let d = stacked(dout, lead)?;
    let whole = |full: Tensor, of: &Tensor| {
        let shape = [lead, &of.dims()[of.rank() - 2..]].concat();
        unbroadcast(&wide(&full.reshape(shape)?)?, of.dims())
    };
    let mut out = vec![None, None];
    if step.wanted[0] {
        out[0] = Some(whole(d.matmul(&stacked(&b, lead)?.transpose(1, 2)?)?, &a)?);
    }
    if step.wanted[1] {
        out[1] = Some(whole(stacked(&a, lead)?.transpose(1, 2)?.matmul(&d)?, &b)?);
    }
    Ok(out)
}

/// Matrices repeated over the leading axes, in one stack: a product takes one leading axis on every device.
fn stacked(x: &Tensor, lead: &[usize]) -> Result<Tensor> {
    let matrix = [x.dim(D::Minus2)?, x.dim(D::Minus1)?];
    let repeated = x.broadcast_as([lead, &matrix].concat())?.contiguous()?;
    repeated.reshape((lead.iter().product::<usize>(), matrix[0], matrix[1]))
}

/// `softmax(scale q k^T) v`. Scores are f32 in mixed precision too.
pub(super) fn attention(inputs: &[Tensor], scale: f64) -> Result<Tensor> {
    let [q, k, v] = inputs else { candle_core::bail!("it needs queries, keys and values") };
    let lead = &q.dims()[..q.rank() - 2];
    let out = shares(q, k, scale)?.to_dtype(v.dtype())?.matmul(&stacked(v, lead)?)?;
    out.reshape([lead, &[q.dim(D::Minus2)?, v.dim(D::Minus1)?]].concat())
}

/// With the shares `p` computed again: `dv = p^T dout`, `ds = p (dp - sum(p dp))` where `dp = dout v^T`, `dq = scale ds k`, `dk = scale ds^T q`.
pub(super) fn attention_backward(step: &Step, scale: f64, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let (q, k, v) = (step.input(0)?, step.input(1)?, step.input(2)?);
    let kind = q.dtype();
    let lead = &q.dims()[..q.rank() - 2];
    let d = stacked(dout, lead)?;
    let p = shares(&q, &k, scale)?;
    let dp = wide(&d.matmul(&stacked(&v, lead)?.transpose(1, 2)?)?)?;
    let ds = (norm::softmax_backward(&p, 2, &dp)? * scale)?.to_dtype(kind)?;
    let dq = ds.matmul(&stacked(&k, lead)?)?.reshape(q.dims())?;
    let dk = ds.transpose(1, 2)?.matmul(&stacked(&q, lead)?)?.reshape(k.dims())?;
    let dv = p.to_dtype(kind)?.transpose(1, 2)?.matmul(&d)?.reshape(v.dims())?;
    Ok([dq, dk, dv].into_iter().zip(step.wanted).map(|(gradient, wanted)| wanted.then_some(gradient)).collect())
}

/// How much of each value a query gets, `[products of leading axes, queries, keys]`.
fn shares(q: &Tensor, k: &Tensor, scale: f64) -> Result<Tensor> {
    let lead = &q.dims()[..q.rank() - 2];
    let scores = wide(&stacked(q, lead)?.matmul(&stacked(k, lead)?.transpose(1, 2)?)?)?;
    norm::softmax(&(scores * scale)?, 2)
}
