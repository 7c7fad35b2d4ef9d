//! Convolution and pooling.

use super::super::call::Result;
use super::super::value::Value;
use super::Lower;
use crate::graph::{Dim, NodeId, Op, Reduce, Shape, Window};

/// In words.
const NUMBERS: [&str; 5] = ["no size", "one size", "two sizes", "three sizes", "four sizes"];

impl Lower<'_, '_> {
    /// Kernel, strides, dilations and padding over a map, `auto_pad` resolved. Along one axis, they are those of a map of one row.
    pub(super) fn window(&mut self, kernel: [usize; 2], map: &Shape, axes: usize) -> Result<Window> {
        let call = self.call;
        let (stride, dilation) = (self.sides("strides", axes)?.unwrap_or([1; 2]), self.sides("dilations", axes)?.unwrap_or([1; 2]));
        let mut pads = self.pads(axes)?;
        match call.text("auto_pad") {
            None | Some("NOTSET" | "") => {}
            Some("VALID") => pads = [0; 4],
            Some(mode @ ("SAME_UPPER" | "SAME_LOWER")) => {
                for i in 0..2 {
                    let size = map.known(i + 2).ok_or("the input must be [N, C, height, width]")?;
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

    /// The attribute `pads`: top, left, bottom, right; along one axis, of a map of one row.
    pub(super) fn pads(&self, axes: usize) -> Result<[usize; 4]> {
        let given = self.call.ints("pads").unwrap_or_default();
        let pad = |p: &i64| usize::try_from(*p).ok().filter(|p| *p < 1 << 16);
        match (given.iter().map(pad).collect::<Option<Vec<_>>>().as_deref(), axes) {
            (Some([]), _) => Ok([0; 4]),
            (Some(&[top, left, bottom, right]), 2) => Ok([top, left, bottom, right]),
            (Some(&[left, right]), 1) => Ok([0, left, 0, right]),
            _ => Err(format!("`pads` is {given:?}: {} of 0 to 65535 are needed", NUMBERS[2 * axes])),
        }
    }

    /// An attribute of one size along each of the axes of a map; along one axis, of a map of one row.
    pub(super) fn sides(&self, name: &str, axes: usize) -> Result<Option<[usize; 2]>> {
        let side = |v: i64| usize::try_from(v).ok().filter(|v| (1..1 << 16).contains(v));
        let given = self.call.ints(name).filter(|given| !given.is_empty());
        let Some(given) = given else { return Ok(None) };
        match (given.iter().map(|v| side(*v)).collect::<Option<Vec<_>>>().as_deref(), axes) {
            (Some(&[height, width]), 2) => Ok(Some([height, width])),
            (Some(&[width]), 1) => Ok(Some([1, width])),
            _ => Err(format!("`{name}` is {given:?}: {} of 1 to 65535 {} needed", NUMBERS[axes], if axes == 1 { "is" } else { "are" })),
        }
    }

    /// Input `i` as a map `[N, C, height, width]`, and along how many axes it goes: `[N, C, length]` is a map of one row.
    fn map(&mut self, i: usize) -> Result<(NodeId, usize)> {
        let x = self.node(i)?;
        let shape = self.shape(i)?;
        match shape.0[..] {
            [n, c, length] => {
                let row = Shape(vec![n, c, Dim::Fixed(1), length]);
                Ok((self.add(&format!("row{i}"), Op::Reshape { shape: row }, &[x])?, 1))
            }
            [_, _, _, _] => Ok((x, 2)),
            _ => Err(format!("its input is {shape}: [N, C, height, width] or [N, C, length] is needed")),
        }
    }

    /// The result of an operator on a map, which is a row again where a row was given.
    fn back(&mut self, op: Op, inputs: &[NodeId], axes: usize) -> Result<Vec<Value>> {
        if axes == 2 {
            return self.last(op, inputs);
        }
        let map = self.add("map", op, inputs)?;
        let mut shape = self.importer.builder.shape(map).clone();
        shape.0.remove(2);
        self.last(Op::Reshape { shape }, &[map])
    }

    pub(super) fn conv(&mut self) -> Result<Vec<Value>> {
        let (x, axes) = self.map(0)?;
        let weight = self.shape(1)?;
        if weight.rank() != axes + 2 {
            return Err(format!(
                "its weight is {weight}: convolutions have one of [out, in, height, width], or [out, in, length] along a row"
            ));
        }
        let (weight, _) = self.map(1)?;
        let shape = self.importer.builder.shape(weight).clone();
        let [_, _, Dim::Fixed(h), Dim::Fixed(w)] = shape.0[..] else {
            return Err(format!("its weight is {shape}: convolutions over images have [out, in, height, width]"));
        };
        if !(1..1 << 16).contains(&h) || !(1..1 << 16).contains(&w) {
            return Err(format!("a window of {h} by {w} is not supported"));
        }
        if let Some(said) = self.sides("kernel_shape", axes)?
            && said != [h, w]
        {
            return Err(format!("`kernel_shape` is {said:?}, and its weight has windows of {h} by {w}"));
        }
        let map = self.importer.builder.shape(x).clone();
        let window = self.window([h, w], &map, axes)?;
        let groups = usize::try_from(self.call.int("group").unwrap_or(1)).map_err(|_| "`group` is negative")?;
        let mut inputs = vec![x, weight];
        if self.call.optional(2).is_some() {
            inputs.push(self.node(2)?);
        }
        self.back(Op::Conv2d { window, groups }, &inputs, axes)
    }

    pub(super) fn pool(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let (mut x, axes) = self.map(0)?;
        let shape = self.importer.builder.shape(x).clone();
        let kernel = self.sides("kernel_shape", axes)?.ok_or("`kernel_shape` is missing")?;
        let mut window = self.window(kernel, &shape, axes)?;
        let mut count = call.int("count_include_pad") == Some(1);
        let mut extra = [0; 2];
        let ceiling = call.int("ceil_mode") == Some(1);
        for i in 0..2 {
            let size = shape.known(i + 2).ok_or("the input must be [N, C, height, width]")?;
            let (before, after) = (window.pads[i], window.pads[i + 2]);
            let reach = window.dilation[i] * (kernel[i] - 1) + 1;
            let padded = size + before + after;
            // With the ceiling a window larger than the image takes all of it, if its stride says that one step is left.
            let over = reach.saturating_sub(padded);
            if over >= if ceiling { window.stride[i] } else { 1 } {
                return Err("the window is larger than the image".into());
            }
            if !ceiling {
                continue;
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
        if call.op() == "AveragePool" && count && extra != [0; 2] {
            // The file's own pads count in the divisor, those of the ceiling do not: the former become part of the image.
            let [top, left, bottom, right] = window.pads;
            x = self.add("pad", Op::Pad { pads: vec![(0, 0), (0, 0), (top, bottom), (left, right)], value: 0.0 }, &[x])?;
            window.pads = [0; 4];
            count = false;
        }
        let whole = |i: usize| window.pads[i] == 0 && window.pads[i + 2] == 0 && shape.known(i + 2).is_some_and(|size| size <= kernel[i]);
        if call.op() == "AveragePool" && whole(0) && whole(1) && window.dilation == [1, 1] && !count {
            return self.back(Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep: true }, &[x], axes);
        }
        window.pads[2] += extra[0];
        window.pads[3] += extra[1];
        let op = if call.op() == "MaxPool" { Op::MaxPool(window) } else { Op::AvgPool { window, count_include_pad: count } };
        self.back(op, &[x], axes)
    }
}
