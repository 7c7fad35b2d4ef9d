//! Windows over maps `[n, c, h, w]` as strided views: what one tap of a kernel sees, or all of them.

use candle_core::{Result, Tensor};

use crate::graph::Window;

/// A padded map with the window that slides over it.
pub(super) struct Windows<'a> {
    padded: Tensor,
    window: &'a Window,
    /// Output height and width.
    out: [usize; 2],
}

impl<'a> Windows<'a> {
    /// Pads a map with `fill`.
    pub(super) fn of(x: &Tensor, window: &'a Window, out: [usize; 2], fill: f64) -> Result<Self> {
        let mut padded = x.clone();
        for axis in [0, 1] {
            let (before, after) = (window.pads[axis], window.pads[axis + 2]);
            padded = pad(&padded, axis + 2, before, after, fill)?;
        }
        Ok(Self { padded, window, out })
    }

    /// Positions of the kernel, row by row.
    pub(super) fn taps(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        taps(self.window)
    }

    /// What a position of the kernel sees, for every output: a view `[n, c, out height, out width]`.
    pub(super) fn at(&self, tap: [usize; 2]) -> Result<Tensor> {
        let mut seen = self.padded.clone();
        for (axis, at) in tap.into_iter().enumerate() {
            let stride = self.window.stride[axis];
            let length = (self.out[axis] - 1) * stride + 1;
            seen = seen.narrow(axis + 2, at * self.window.dilation[axis], length)?;
            if stride > 1 {
                seen = seen.unfold(axis + 2, 1, stride)?.squeeze(4)?;
            }
        }
        Ok(seen)
    }

    /// All of them: a view `[n, c, out height, out width, kernel height, kernel width]`.
    pub(super) fn all(&self) -> Result<Tensor> {
        let mut seen = self.padded.clone();
        for axis in [0, 1] {
            let (kernel, stride, dilation) = (self.window.kernel[axis], self.window.stride[axis], self.window.dilation[axis]);
            let reach = (kernel - 1) * dilation + 1;
            seen = seen.narrow(axis + 2, 0, (self.out[axis] - 1) * stride + reach)?.unfold(axis + 2, reach, stride)?;
            if dilation > 1 {
                seen = seen.unfold(4 + axis, 1, dilation)?.squeeze(5 + axis)?;
            }
        }
        Ok(seen)
    }
}

/// Positions of a kernel, row by row.
pub(super) fn taps(window: &Window) -> impl Iterator<Item = [usize; 2]> + use<> {
    let [height, width] = window.kernel;
    (0..height).flat_map(move |y| (0..width).map(move |x| [y, x]))
}

/// The adjoint of [`Windows::at`], for maps of height and width `size`: sends what each tap got back to where it was seen, and adds up.
pub(super) fn put_back(window: &Window, size: [usize; 2], mut part: impl FnMut(usize) -> Result<Tensor>) -> Result<Option<Tensor>> {
    let mut total: Option<Tensor> = None;
    for (i, tap) in taps(window).enumerate() {
        let mut part = part(i)?;
        for axis in [0, 1] {
            let at = (tap[axis] * window.dilation[axis]).cast_signed();
            let before = at - window.pads[axis].cast_signed();
            part = spread(&part, axis + 2, window.stride[axis])?;
            let after = size[axis].cast_signed() - before - part.dim(axis + 2)?.cast_signed();
            part = frame(&part, axis + 2, before, after)?;
        }
        total = Some(match total {
            Some(total) => (total + part)?,
            None => part,
        });
    }
    Ok(total)
}

/// `stride - 1` zeros between neighbours along an axis.
pub(super) fn spread(x: &Tensor, axis: usize, stride: usize) -> Result<Tensor> {
    if stride == 1 {
        return Ok(x.clone());
    }
    let mut dims = x.dims().to_vec();
    let length = (dims[axis] - 1) * stride + 1;
    dims[axis] *= stride;
    let spread = x.unsqueeze(axis + 1)?.pad_with_zeros(axis + 1, 0, stride - 1)?;
    spread.reshape(dims)?.narrow(axis, 0, length)
}

/// Zeros before and after along an axis; negative: entries are cut off.
pub(super) fn frame(x: &Tensor, axis: usize, before: isize, after: isize) -> Result<Tensor> {
    let length = x.dim(axis)?.saturating_add_signed(before).saturating_add_signed(after);
    let padded = pad(x, axis, before.max(0).unsigned_abs(), after.max(0).unsigned_abs(), 0.0)?;
    padded.narrow(axis, before.min(0).unsigned_abs(), length)
}

fn pad(x: &Tensor, axis: usize, before: usize, after: usize, fill: f64) -> Result<Tensor> {
    if before == 0 && after == 0 {
        return Ok(x.clone());
    }
    let block = |size: usize| {
        let mut dims = x.dims().to_vec();
        dims[axis] = size;
        Tensor::full(fill, dims, x.device())?.to_dtype(x.dtype())
    };
    let (first, last) = (block(before)?, block(after)?);
    let parts: Vec<&Tensor> = [&first, x, &last].into_iter().filter(|part| part.dims()[axis] > 0).collect();
    Tensor::cat(&parts, axis)
}
