//! Convolution: matrix products of patches, or candle's forward convolution where it serves.
//!
//! The gradient of the input is a forward convolution too: of the output's gradient, zeros between its entries for a stride, with the
//! kernel turned round. The gradient of the weight is a product of that gradient with the patches.

use candle_core::{DType, Result, Tensor, bail};

use super::wide;
use super::windows::{Windows, frame, spread};
use crate::exec::backward::Step;
use crate::graph::Window;

/// Numbers in the patches of one product: bounds memory, and candle's kernels count in 32 bits. Small in tests, so that they see pieces.
const MOST_PATCHES: usize = if cfg!(test) { 1 << 9 } else { 1 << 29 };

pub(super) fn forward(inputs: &[Tensor], window: &Window, groups: usize, shape: &[usize]) -> Result<Tensor> {
    let out = convolve(&inputs[0], &inputs[1], window, groups, out_map(shape)?)?;
    match inputs.get(2) {
        Some(bias) => out.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?),
        None => Ok(out),
    }
}

pub(super) fn backward(window: &Window, groups: usize, step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let (x, weight) = (step.input(0)?, step.input(1)?);
    let mut out = vec![None, None];
    if step.wanted[0] {
        out[0] = Some(input_gradient(&weight, window, groups, x.dims(), dout)?);
    }
    if step.wanted[1] {
        out[1] = Some(weight_gradient(&x, weight.dims(), window, groups, dout)?);
    }
    if step.wanted.get(2) == Some(&true) {
        out.push(Some(wide(dout)?.flatten_from(2)?.sum(2)?.sum(0)?));
    }
    Ok(out)
}

fn out_map(shape: &[usize]) -> Result<[usize; 2]> {
    match shape {
        [_, _, height, width] => Ok([*height, *width]),
        _ => bail!("the maps have {} axes, not 4", shape.len()),
    }
}

/// One filter per channel.
fn is_depthwise(x: &Tensor, weight: &Tensor, groups: usize) -> Result<bool> {
    Ok(groups > 1 && groups == x.dim(1)? && groups == weight.dim(0)?)
}

/// What candle's convolution does: one group, the same window down and across. Its CPU convolution knows no bf16.
fn is_native(x: &Tensor, window: &Window, groups: usize) -> bool {
    let square = |pair: [usize; 2]| pair[0] == pair[1];
    groups == 1
        && window.kernel != [1, 1]
        && square(window.stride)
        && square(window.dilation)
        && !(x.device().is_cpu() && x.dtype() == DType::BF16)
}

/// Start and length of the pieces of a batch whose patches take `each` numbers an image.
fn pieces(n: usize, each: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = (MOST_PATCHES / each.max(1)).clamp(1, n.max(1));
    (0..n).step_by(size).map(move |start| (start, size.min(n - start)))
}

fn convolve(x: &Tensor, weight: &Tensor, window: &Window, groups: usize, out: [usize; 2]) -> Result<Tensor> {
    if is_depthwise(x, weight, groups)? {
        return depthwise(x, weight, window, out);
    }
    let each = x.dim(1)? * window.kernel.iter().chain(&out).product::<usize>();
    let part = |(start, length)| product(&x.narrow(0, start, length)?, weight, window, groups, out);
    let parts = pieces(x.dim(0)?, each).map(part).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&parts, 0)
}

fn depthwise(x: &Tensor, weight: &Tensor, window: &Window, out: [usize; 2]) -> Result<Tensor> {
    let windows = Windows::of(x, window, out, 0.0)?;
    let filters = weight.flatten_from(1)?;
    let mut total: Option<Tensor> = None;
    for (i, tap) in windows.taps().enumerate() {
        let part = windows.at(tap)?.broadcast_mul(&filters.narrow(1, i, 1)?.reshape((1, weight.dim(0)?, 1, 1))?)?;
        total = Some(match total {
            Some(total) => (total + part)?,
            None => part,
        });
    }
    total.map_or_else(|| bail!("the kernel is empty"), Ok)
}

fn product(x: &Tensor, weight: &Tensor, window: &Window, groups: usize, out: [usize; 2]) -> Result<Tensor> {
    let (n, outputs) = (x.dim(0)?, weight.dim(0)?);
    if is_native(x, window, groups) {
        let [top, left, bottom, right] = window.pads;
        let (stride, dilation) = (window.stride[0], window.dilation[0]);
        if [left, bottom, right] == [top; 3] {
            return x.conv2d(weight, top, stride, dilation, 1);
        }
        let framed = frame(x, 2, top.cast_signed(), bottom.cast_signed())?;
        return frame(&framed, 3, left.cast_signed(), right.cast_signed())?.contiguous()?.conv2d(weight, 0, stride, dilation, 1);
    }
    let windows = Windows::of(x, window, out, 0.0)?;
    // [n, groups, channels of a group x taps, positions]
    let taps = window.kernel[0] * window.kernel[1];
    let depth = x.dim(1)? / groups * taps;
    let positions = out[0] * out[1];
    let patches = windows.all()?.permute((0, 1, 4, 5, 2, 3))?.contiguous()?.reshape((n * groups, depth, positions))?;
    let weight = weight.reshape((1, groups, outputs / groups, depth))?;
    let weight = weight.broadcast_as((n, groups, outputs / groups, depth))?;
    // With one group the weight is read n times where it lies; a product takes one leading axis only.
    let weight = if groups == 1 { weight.squeeze(1)? } else { weight.contiguous()?.reshape((n * groups, outputs / groups, depth))? };
    weight.matmul(&patches)?.reshape((n, outputs, out[0], out[1]))
}

fn input_gradient(weight: &Tensor, window: &Window, groups: usize, x: &[usize], dout: &Tensor) -> Result<Tensor> {
    let mut d = dout.clone();
    let mut pads = [[0isize; 2]; 2];
    for axis in [0, 1] {
        d = spread(&d, axis + 2, window.stride[axis])?;
        let reach = (window.kernel[axis] - 1) * window.dilation[axis];
        let before = reach.cast_signed() - window.pads[axis].cast_signed();
        let after = x[axis + 2].cast_signed() + reach.cast_signed() - d.dim(axis + 2)?.cast_signed() - before;
        pads[axis] = [before, after];
    }
    let mut round = Window { stride: [1, 1], pads: [0; 4], ..*window };
    if pads.as_flattened().iter().all(|pad| *pad >= 0) {
        round.pads = [pads[0][0], pads[1][0], pads[0][1], pads[1][1]].map(isize::unsigned_abs);
    } else {
        d = frame(&frame(&d, 2, pads[0][0], pads[0][1])?, 3, pads[1][0], pads[1][1])?;
    }
    convolve(&d.contiguous()?, &turned(weight, groups)?, &round, groups, [x[2], x[3]])
}

/// `[O, C/groups, kh, kw]` to `[C, O/groups, kh, kw]`, every kernel turned by 180 degrees.
fn turned(weight: &Tensor, groups: usize) -> Result<Tensor> {
    let (outputs, depth, height, width) = weight.dims4()?;
    let taps = (height * width) as u32;
    let reversed = Tensor::from_vec((0..taps).rev().collect(), taps as usize, weight.device())?;
    let turned = weight.reshape((groups, outputs / groups, depth, height * width))?.index_select(&reversed, 3)?;
    turned.transpose(1, 2)?.contiguous()?.reshape((groups * depth, outputs / groups, height, width))
}

fn weight_gradient(x: &Tensor, weight: &[usize], window: &Window, groups: usize, dout: &Tensor) -> Result<Tensor> {
    let (n, outputs, height, width) = dout.dims4()?;
    if groups > 1 && groups == outputs && groups == x.dim(1)? {
        let windows = Windows::of(x, window, [height, width], 0.0)?;
        let taps = windows.taps().map(|tap| (dout * windows.at(tap)?)?.flatten_from(2)?.sum(2)?.sum(0)).collect::<Result<Vec<_>>>()?;
        return Tensor::stack(&taps, 1)?.reshape(weight);
    }
    let depth = weight[1..].iter().product::<usize>();
    let mut total: Option<Tensor> = None;
    for (start, length) in pieces(n, groups * depth * height * width) {
        let positions = length * height * width;
        let (d, x) = (dout.narrow(0, start, length)?, x.narrow(0, start, length)?);
        let d = d.transpose(0, 1)?.contiguous()?.reshape((groups, outputs / groups, positions))?;
        let windows = Windows::of(&x, window, [height, width], 0.0)?;
        let patches = windows.all()?.permute((1, 4, 5, 0, 2, 3))?.contiguous()?.reshape((groups, depth, positions))?;
        let part = d.matmul(&patches.transpose(1, 2)?)?;
        let part = wide(&part)?;
        total = Some(match total {
            Some(total) => (total + part)?,
            None => part,
        });
    }
    total.map_or_else(|| bail!("the batch is empty"), |total| total.reshape(weight))
}
