//! Convolution and pooling.

use super::super::call::Result;
use super::super::value::Value;
use super::Lower;
use crate::graph::{Dim, Op, Reduce, Window};

impl Lower<'_, '_> {
    /// Kernel, strides, dilations and padding, `auto_pad` resolved.
    pub(super) fn window(&mut self, kernel: [usize; 2]) -> Result<Window> {
        let call = self.call;
        let two = |name: &str| match call.ints(name) {
            Some(&[a, b]) if (1..1 << 16).contains(&a) && (1..1 << 16).contains(&b) => Ok([a as usize, b as usize]),
            None | Some([]) => Ok([1, 1]),
            Some(other) => Err(format!("`{name}` is {other:?}: two sizes of at least 1 are needed")),
        };
        let (stride, dilation) = (two("strides")?, two("dilations")?);
        let mut pads = match call.ints("pads") {
            Some(&[a, b, c, d]) if [a, b, c, d].iter().all(|p| (0..1 << 16).contains(p)) => [a, b, c, d].map(|p| p as usize),
            None | Some([]) => [0; 4],
            Some(other) => return Err(format!("`pads` is {other:?}: four sizes of at least 0 are needed")),
        };
        let shape = self.shape(0)?;
        match call.text("auto_pad") {
            None | Some("NOTSET" | "") => {}
            Some("VALID") => pads = [0; 4],
            Some(mode @ ("SAME_UPPER" | "SAME_LOWER")) => {
                for i in 0..2 {
                    let size = shape.known(i + 2).ok_or("the input must be [N, C, height, width]")?;
                    let reach = dilation[i].saturating_mul(kernel[i].saturating_sub(1)).saturating_add(1);
                    let total = ((size.div_ceil(stride[i])).saturating_sub(1) * stride[i]).saturating_add(reach).saturating_sub(size);
                    let less = total / 2;
                    (pads[i], pads[i + 2]) = if mode == "SAME_UPPER" { (less, total - less) } else { (total - less, less) };
                }
            }
            Some(mode) => return Err(format!("`auto_pad` is `{mode}`")),
        }
        Ok(Window { kernel, stride, pads, dilation })
    }

    pub(super) fn conv(&mut self) -> Result<Vec<Value>> {
        let (x, weight) = (self.node(0)?, self.node(1)?);
        let shape = self.shape(1)?;
        let [_, _, Dim::Fixed(h), Dim::Fixed(w)] = shape.0[..] else {
            return Err(format!("its weight is {shape}: convolutions over images have [out, in, height, width]"));
        };
        if !(1..1 << 16).contains(&h) || !(1..1 << 16).contains(&w) {
            return Err(format!("a window of {h} by {w} is not supported"));
        }
        if let Some(said) = self.call.ints("kernel_shape").filter(|said| !said.is_empty())
            && *said != [h as i64, w as i64]
        {
            return Err(format!("`kernel_shape` is {said:?}, and its weight has windows of {h} by {w}"));
        }
        let window = self.window([h, w])?;
        let groups = usize::try_from(self.call.int("group").unwrap_or(1)).map_err(|_| "`group` is negative")?;
        let mut inputs = vec![x, weight];
        if self.call.optional(2).is_some() {
            inputs.push(self.node(2)?);
        }
        self.last(Op::Conv2d { window, groups }, &inputs)
    }

    pub(super) fn pool(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let kernel = match call.ints("kernel_shape") {
            Some(&[a, b]) if (1..1 << 16).contains(&a) && (1..1 << 16).contains(&b) => [a as usize, b as usize],
            other => return Err(format!("`kernel_shape` is {other:?}: two sizes are needed")),
        };
        let mut window = self.window(kernel)?;
        let shape = self.shape(0)?;
        let mut x = self.node(0)?;
        let mut count = call.int("count_include_pad") == Some(1);
        let mut extra = [0; 2];
        if call.int("ceil_mode") == Some(1) {
            for i in 0..2 {
                let size = shape.known(i + 2).ok_or("the input must be [N, C, height, width]")?;
                let (before, after) = (window.pads[i], window.pads[i + 2]);
                let reach = window.dilation[i] * (kernel[i] - 1) + 1;
                let padded = size + before + after;
                // A window larger than the image takes all of it, if its stride says that one step is left.
                let over = reach.saturating_sub(padded);
                if over >= window.stride[i] {
                    return Err("the window is larger than the image".into());
                }
                extra[i] = over;
                let free = padded.saturating_sub(reach);
                let mut steps = free.div_ceil(window.stride[i]);
                // A window that would begin beyond the image and its leading pad is dropped.
                if steps > 0 && steps * window.stride[i] >= size + before {
                    steps -= 1;
                }
                extra[i] += (steps * window.stride[i]).saturating_sub(free);
            }
        }
        if call.op() == "AveragePool" && count && extra != [0; 2] {
            // The file's own pads count in the divisor, those of the ceiling do not: the former become part of the image.
            let [top, left, bottom, right] = window.pads;
            x = self.add("pad", Op::Pad { pads: vec![(0, 0), (0, 0), (top, bottom), (left, right)], value: 0.0 }, &[x])?;
            window.pads = [0; 4];
            count = false;
        }
        let whole = |i: usize| window.pads[i] == 0 && window.pads[i + 2] == 0 && shape.known(i + 2).is_some_and(|size| size <= kernel[i]);
        if call.op() == "AveragePool" && whole(0) && whole(1) && window.dilation == [1, 1] && !count {
            return self.last(Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep: true }, &[x]);
        }
        window.pads[2] += extra[0];
        window.pads[3] += extra[1];
        let op = if call.op() == "MaxPool" { Op::MaxPool(window) } else { Op::AvgPool { window, count_include_pad: count } };
        self.last(op, &[x])
    }
}
