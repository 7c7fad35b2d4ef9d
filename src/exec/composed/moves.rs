//! Numbers in other places: slices, selections, padding, permuted axes.

use candle_core::{Result, Tensor, bail};

use crate::exec::backward::Step;
use crate::exec::forward::indices;
use crate::graph::Op;

/// Along an axis, what lies at `from`, or `fill` where there is nothing.
pub(super) fn take(x: &Tensor, axis: usize, from: impl Iterator<Item = Option<usize>>, fill: f64) -> Result<Tensor> {
    let from: Vec<Option<usize>> = from.collect();
    let chosen = x.index_select(&indices(from.iter().map(|from| from.unwrap_or(0)), x.device())?, axis)?;
    if from.iter().all(Option::is_some) {
        return Ok(chosen);
    }
    let mut shape = vec![1; x.rank()];
    shape[axis] = from.len();
    let there: Vec<u8> = from.iter().map(|from| u8::from(from.is_some())).collect();
    let there = Tensor::from_vec(there, shape, x.device())?.broadcast_as(chosen.shape())?;
    let fill = Tensor::full(fill as f32, (), x.device())?.to_dtype(x.dtype())?.broadcast_as(chosen.shape())?;
    there.where_cond(&chosen, &fill)
}

pub(super) fn pad(x: &Tensor, pads: &[(usize, usize)], value: f64) -> Result<Tensor> {
    let mut out = x.clone();
    for (axis, &(before, after)) in pads.iter().enumerate().filter(|(_, pad)| **pad != (0, 0)) {
        let size = out.dim(axis)?;
        out = take(&out, axis, (0..before + size + after).map(|i| i.checked_sub(before).filter(|i| *i < size)), value)?;
    }
    Ok(out)
}

/// Gradients of what only moves numbers: they move back.
pub(super) fn backward(op: &Op, step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let shape = &step.shapes[0];
    let gradient = match op {
        Op::Concat { axis } => {
            let mut start = 0;
            let own = step.shapes.iter().zip(step.wanted).map(|(shape, wanted)| {
                let own = wanted.then(|| dout.narrow(*axis, start, shape[*axis])?.contiguous()).transpose();
                start += shape[*axis];
                own
            });
            return own.collect();
        }
        Op::Transpose { perm } => {
            let mut inverse = vec![0; perm.len()];
            perm.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
            dout.permute(inverse)?.contiguous()?
        }
        Op::Slice { axis, start, end, step: by } => {
            let from = |i: usize| (*start..*end).contains(&i).then(|| i - start).filter(|i| i % by == 0).map(|i| i / by);
            take(dout, *axis, (0..shape[*axis]).map(from), 0.0)?
        }
        Op::Select { axis, indices: chosen } => {
            let chosen = indices(chosen.iter().copied(), dout.device())?;
            Tensor::zeros(shape.as_slice(), dout.dtype(), dout.device())?.index_add(&chosen, dout, *axis)?
        }
        Op::Pad { pads, .. } => {
            let mut out = dout.clone();
            for (axis, (before, _)) in pads.iter().enumerate() {
                out = out.narrow(axis, *before, shape[axis])?;
            }
            out.contiguous()?
        }
        _ => bail!("it does more than move numbers"),
    };
    Ok(vec![Some(gradient)])
}
