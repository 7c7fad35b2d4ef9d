//! Pooling, tap by tap, and the gradient of a maximum over axes.

use candle_core::{Result, Tensor, bail};

use super::kept_where;
use super::windows::{Windows, put_back, taps};
use crate::exec::Saved;
use crate::exec::backward::Step;
use crate::graph::Window;

fn map(shape: &[usize]) -> Result<[usize; 2]> {
    match shape {
        [_, _, height, width] => Ok([*height, *width]),
        _ => bail!("the maps have {} axes, not 4", shape.len()),
    }
}

/// Padding never wins; of equals the first does. NaN wins over all.
pub(super) fn max(x: &Tensor, window: &Window, shape: &[usize]) -> Result<(Tensor, Saved)> {
    let windows = Windows::of(x, window, map(shape)?, f64::NEG_INFINITY)?;
    let mut best = windows.at([0, 0])?.contiguous()?;
    let mut winner = best.zeros_like()?.to_dtype(candle_core::DType::U32)?;
    for (i, tap) in windows.taps().enumerate().skip(1) {
        let seen = windows.at(tap)?.contiguous()?;
        let wins = (seen.gt(&best)? + seen.ne(&seen)?)?;
        best = wins.where_cond(&seen, &best)?;
        winner = wins.where_cond(&Tensor::full(i as u32, shape, x.device())?, &winner)?;
    }
    Ok((best, Saved::Winner(winner)))
}

pub(super) fn max_backward(step: &Step, window: &Window, dout: &Tensor) -> Result<Tensor> {
    let Saved::Winner(winner) = step.saved else { bail!("its maxima were not kept") };
    let part = |i: usize| kept_where(&winner.eq(i as u32)?, dout);
    whole(put_back(window, map(&step.shapes[0])?, part)?)
}

pub(super) fn average(x: &Tensor, window: &Window, count_include_pad: bool, shape: &[usize]) -> Result<Tensor> {
    let windows = Windows::of(x, window, map(shape)?, 0.0)?;
    let mut total = windows.at([0, 0])?;
    for tap in windows.taps().skip(1) {
        total = (total + windows.at(tap)?)?;
    }
    total.broadcast_div(&divisor(window, count_include_pad, map(x.dims())?, map(shape)?, x)?)
}

pub(super) fn average_backward(step: &Step, window: &Window, count_include_pad: bool, dout: &Tensor) -> Result<Tensor> {
    let size = map(&step.shapes[0])?;
    let share = dout.broadcast_div(&divisor(window, count_include_pad, size, map(dout.dims())?, dout)?)?;
    whole(put_back(window, size, |_| Ok(share.clone()))?)
}

fn whole(total: Option<Tensor>) -> Result<Tensor> {
    total.map_or_else(|| bail!("the window is empty"), |total| total.contiguous())
}

/// How many numbers each output is the mean of, `[1, 1, out height, out width]`, in the type and on the device of `like`.
fn divisor(window: &Window, count_include_pad: bool, size: [usize; 2], out: [usize; 2], like: &Tensor) -> Result<Tensor> {
    let inside = |axis: usize, at: usize| (window.pads[axis]..window.pads[axis] + size[axis]).contains(&at);
    let mut counts = Vec::with_capacity(out[0] * out[1]);
    for y in 0..out[0] {
        for x in 0..out[1] {
            let counted = taps(window).filter(|tap| {
                count_include_pad || [y, x].iter().enumerate().all(|(i, o)| inside(i, o * window.stride[i] + tap[i] * window.dilation[i]))
            });
            counts.push(counted.count().max(1) as f64);
        }
    }
    Tensor::from_vec(counts, (1, 1, out[0], out[1]), &candle_core::Device::Cpu)?.to_dtype(like.dtype())?.to_device(like.device())
}

/// The gradient of a maximum over axes goes to the first of equals, axis by axis. (candle's `argmax` promises no first one on CUDA.)
pub(super) fn greatest_backward(x: &Tensor, axes: &[usize], dout: &Tensor) -> Result<Tensor> {
    let mut stages = vec![x.clone()];
    for &axis in axes {
        let next = stages.last().unwrap_or(x).max_keepdim(axis)?;
        stages.push(next);
    }
    let mut gradient = dout.reshape(stages.last().unwrap_or(x).dims())?;
    for (i, &axis) in axes.iter().enumerate().rev() {
        let (before, after) = (&stages[i], &stages[i + 1]);
        let mut line = vec![1; before.rank()];
        line[axis] = before.dims()[axis];
        let place = Tensor::arange(0, line[axis] as u32, x.device())?.reshape(line)?.broadcast_as(before.dims())?.contiguous()?;
        let none = Tensor::full(u32::MAX, before.dims(), x.device())?;
        let first = before.broadcast_eq(after)?.where_cond(&place, &none)?.min_keepdim(axis)?;
        gradient = kept_where(&place.broadcast_eq(&first)?, &gradient.broadcast_as(before.dims())?.contiguous()?)?;
    }
    Ok(gradient)
}
