//! Windows that are laid over a map and added up where they overlap: the transposed convolution and `Col2Im`.
//!
//! Both are said by operators that there are: the entries of a map are moved apart by zeros, and a convolution or a sum of shifted maps
//! follows.

use std::sync::Arc;

use ndarray::{Axis, IxDyn};

use super::super::call::Result;
use super::super::value::{Const, Value};
use super::Lower;
use crate::graph::{Binary, Dim, NodeId, Op, Shape, Window};

/// Most shifted maps that a `Col2Im` is added up from.
const MOST_PLACES: usize = 1 << 10;

impl Lower<'_, '_> {
    /// `[N, C, H, W]` with `stride - 1` zeros between its rows and columns.
    fn apart(&mut self, name: &str, x: NodeId, stride: [usize; 2]) -> Result<NodeId> {
        let shape = self.importer.builder.shape(x).clone();
        let [n, c, Dim::Fixed(h), Dim::Fixed(w)] = shape.0[..] else { return Err(format!("{shape} is no map [N, C, height, width]")) };
        if h == 0 || w == 0 {
            return Err(format!("its input is {shape}: there is nothing in it"));
        }
        if stride == [1, 1] {
            return Ok(x);
        }
        let side = |size: usize, stride: usize| size.checked_mul(stride).filter(|all| *all < 1 << 16).ok_or("its result is too large");
        let (high, wide) = (side(h, stride[0])?, side(w, stride[1])?);
        let (cells, one) = (Dim::Fixed, Dim::Fixed(1));
        let split = Op::Reshape { shape: Shape(vec![n, c, cells(h), one, cells(w), one]) };
        let split = self.add(&format!("{name}/cells"), split, &[x])?;
        let pads = vec![(0, 0), (0, 0), (0, 0), (0, stride[0] - 1), (0, 0), (0, stride[1] - 1)];
        let padded = self.add(&format!("{name}/zeros"), Op::Pad { pads, value: 0.0 }, &[split])?;
        let joined = Op::Reshape { shape: Shape(vec![n, c, Dim::Fixed(high), Dim::Fixed(wide)]) };
        let joined = self.add(&format!("{name}/joined"), joined, &[padded])?;
        // Without the zeros behind the last row and column.
        self.cut(&format!("{name}/apart"), joined, [(0, high + 1 - stride[0]), (0, wide + 1 - stride[1])])
    }

    /// Rows and columns from `start` to `end`.
    fn cut(&mut self, name: &str, mut x: NodeId, sides: [(usize, usize); 2]) -> Result<NodeId> {
        for (axis, (start, end)) in [2, 3].into_iter().zip(sides) {
            let size = self.importer.builder.shape(x).known(axis).unwrap_or(0);
            if start >= end || end > size {
                return Err("nothing of its result would be left".into());
            }
            if (start, end) != (0, size) {
                x = self.add(&format!("{name}/side{axis}"), Op::Slice { axis, start, end, step: 1 }, &[x])?;
            }
        }
        Ok(x)
    }

    /// The rows and columns of the result, under its name.
    fn kept(&mut self, whole: NodeId, sides: [(usize, usize); 2]) -> Result<Vec<Value>> {
        let out = self.cut("kept", whole, sides)?;
        let shape = self.importer.builder.shape(out).clone();
        self.last(Op::Reshape { shape }, &[out])
    }

    /// The convolution whose gradient this is: over the map moved apart, with the weight turned round and its channels exchanged.
    pub(super) fn conv_transpose(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let x = self.node(0)?;
        let map = self.shape(0)?;
        let Value::Float(weight) = call.input(1)? else { return Err("its weight must be a constant".into()) };
        let &[inputs, outputs, h, w] = weight.array.shape() else {
            return Err(format!("its weight is {:?}: [in, out, height, width] is needed", weight.array.shape()));
        };
        let ([_, Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)], kernel) =
            (map.0.as_slice().try_into().unwrap_or([Dim::Batch(0); 4]), [h, w])
        else {
            return Err(format!("its input is {map}: [N, C, height, width] is needed"));
        };
        let groups = usize::try_from(call.int("group").unwrap_or(1)).ok().filter(|groups| *groups > 0 && inputs.is_multiple_of(*groups));
        let groups = groups.ok_or("`group` does not divide its channels")?;
        if channels != inputs || kernel.contains(&0) || kernel.iter().any(|k| *k >= 1 << 12) {
            return Err(format!("its weight is {:?}, which does not fit an input of {map}", weight.array.shape()));
        }
        if self.sides("kernel_shape", 2)?.is_some_and(|said| said != kernel) {
            return Err(format!("`kernel_shape` is not the {h} by {w} of its weight"));
        }
        let (stride, dilation) = (self.sides("strides", 2)?.unwrap_or([1; 2]), self.sides("dilations", 2)?.unwrap_or([1; 2]));
        let more = match call.ints("output_padding") {
            None | Some([]) => [0; 2],
            Some(&[a, b]) if (0..1 << 12).contains(&a) && (0..1 << 12).contains(&b) => [a as usize, b as usize],
            Some(other) => return Err(format!("`output_padding` is {other:?}: two sizes are needed")),
        };
        let reach = [0, 1].map(|i| (kernel[i] - 1).saturating_mul(dilation[i]));
        let full = [0, 1]
            .map(|i| stride[i].saturating_mul([height, width][i].saturating_sub(1)).saturating_add(reach[i]).saturating_add(1 + more[i]));
        let pads = self.taken_off(full, stride, [height, width])?;
        let apart = self.apart("map", x, stride)?;
        let turned = self.turned(weight, groups, [inputs, outputs, h, w])?;
        let mut args = vec![apart, turned];
        if call.optional(2).is_some() {
            args.push(self.node(2)?);
        }
        // As much as the window reaches, and what is taken off the result is cut afterwards.
        let around = [reach[0], reach[1], reach[0] + more[0], reach[1] + more[1]];
        let window = Window { kernel, stride: [1, 1], pads: around, dilation };
        let whole = self.add("whole", Op::Conv2d { window, groups }, &args)?;
        let end = |i: usize| full[i].saturating_sub(pads[i + 2]);
        self.kept(whole, [(pads[0], end(0)), (pads[1], end(1))])
    }

    /// What is taken off the sides of the result: top, left, bottom, right.
    fn taken_off(&self, full: [usize; 2], stride: [usize; 2], size: [usize; 2]) -> Result<[usize; 4]> {
        let call = self.call;
        let mode = call.text("auto_pad").unwrap_or("NOTSET");
        let asked = match (self.sides("output_shape", 2)?, mode) {
            (Some(asked), _) => asked,
            (None, "SAME_UPPER" | "SAME_LOWER") => [0, 1].map(|i| size[i].saturating_mul(stride[i])),
            (None, "VALID") => return Ok([0; 4]),
            (None, "NOTSET" | "") => return self.pads(2),
            (None, other) => return Err(format!("`auto_pad` is `{other}`")),
        };
        let mut pads = [0; 4];
        for i in 0..2 {
            let total = full[i].checked_sub(asked[i]).ok_or("`output_shape` is larger than its windows reach")?;
            let less = total / 2;
            (pads[i], pads[i + 2]) = if mode == "SAME_UPPER" { (less, total - less) } else { (total - less, less) };
        }
        Ok(pads)
    }

    /// `[in, out / groups, kh, kw]` as the weight `[out, in / groups, kh, kw]` of the convolution, turned round.
    fn turned(&mut self, weight: &Const, groups: usize, [inputs, outputs, h, w]: [usize; 4]) -> Result<NodeId> {
        let parts = weight.array.to_shape(IxDyn(&[groups, inputs / groups, outputs, h, w])).map_err(|e| e.to_string())?;
        let mut parts = parts.to_owned();
        parts.swap_axes(1, 2);
        parts.invert_axis(Axis(3));
        parts.invert_axis(Axis(4));
        let array = parts.as_standard_layout().into_owned();
        let array = array.into_shape_with_order(IxDyn(&[groups * outputs, inputs / groups, h, w])).map_err(|e| e.to_string())?;
        self.importer.param(&Const { name: weight.name.clone(), array: Arc::new(array) })
    }

    /// Columns of windows back to the map: every entry of a window is a map of its own, moved to its place.
    pub(super) fn col2im(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let x = self.node(0)?;
        let columns = self.shape(0)?;
        let two = |i: usize, what: &str| match call.known(i, what)?.as_deref() {
            Some(&[a, b]) if (1..1 << 14).contains(&a) && (1..1 << 14).contains(&b) => Ok([a as usize, b as usize]),
            other => Err(format!("`{what}` is {:?}: two sizes of 1 to 16383 are needed", other.unwrap_or_default())),
        };
        let (size, block) = (two(1, "image_shape")?, two(2, "block_shape")?);
        let (stride, dilation) = (self.sides("strides", 2)?.unwrap_or([1; 2]), self.sides("dilations", 2)?.unwrap_or([1; 2]));
        let pads = self.pads(2)?;
        let around = [0, 1].map(|i| size[i] + pads[i] + pads[i + 2]);
        let reach = [0, 1].map(|i| (block[i] - 1).saturating_mul(dilation[i]) + 1);
        let steps = [0, 1].map(|i| around[i].checked_sub(reach[i]).map_or(0, |free| free / stride[i] + 1));
        let places = block[0].saturating_mul(block[1]);
        let [n, Dim::Fixed(rows), Dim::Fixed(length)] = columns.0[..] else {
            return Err(format!("its input is {columns}: [N, C * block, L] is needed"));
        };
        if steps.contains(&0) || places > MOST_PLACES || !rows.is_multiple_of(places) || steps[0].checked_mul(steps[1]) != Some(length) {
            return Err(format!("its input is {columns}, which are not the windows of {block:?} of a map of {size:?}"));
        }
        let channels = rows / places;
        let sides = [channels, places, steps[0], steps[1]].map(Dim::Fixed);
        let windows = Op::Reshape { shape: Shape(std::iter::once(n).chain(sides).collect()) };
        let windows = self.add("windows", windows, &[x])?;
        let mut sum = None;
        for place in 0..places {
            let name = format!("place{place}");
            let part = self.add(&format!("{name}/part"), Op::Slice { axis: 2, start: place, end: place + 1, step: 1 }, &[windows])?;
            let shape = Shape(vec![n, Dim::Fixed(channels), Dim::Fixed(steps[0]), Dim::Fixed(steps[1])]);
            let part = self.add(&format!("{name}/map"), Op::Reshape { shape }, &[part])?;
            let part = self.apart(&name, part, stride)?;
            let at = [place / block[1] * dilation[0], place % block[1] * dilation[1]];
            let beside = |i: usize| (at[i], around[i] - at[i] - ((steps[i] - 1) * stride[i] + 1));
            let moved = Op::Pad { pads: vec![(0, 0), (0, 0), beside(0), beside(1)], value: 0.0 };
            let moved = self.add(&format!("{name}/moved"), moved, &[part])?;
            sum = Some(match sum {
                None => moved,
                Some(sum) => self.add(&format!("{name}/sum"), Op::Binary(Binary::Add), &[sum, moved])?,
            });
        }
        let whole = sum.ok_or("it has no windows")?;
        self.kept(whole, [(pads[0], pads[0] + size[0]), (pads[1], pads[1] + size[1])])
    }
}
