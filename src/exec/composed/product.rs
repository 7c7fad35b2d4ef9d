//! Matrix products.

use candle_core::{D, Result, Tensor};

use super::wide;
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
