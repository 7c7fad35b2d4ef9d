//! Operators that move elements.

use super::super::call::{Result, axis};
use super::super::value::Value;
use super::super::{fold, shapes};
use super::Lower;
use crate::graph::{Dim, NodeId, Op, Shape};

impl Lower<'_, '_> {
    pub(super) fn reshaped(&mut self, shape: Shape) -> Result<Vec<Value>> {
        let x = self.node(0)?;
        self.last(Op::Reshape { shape }, &[x])
    }

    pub(super) fn expand(&mut self, x: NodeId, shape: Shape) -> Result<Vec<Value>> {
        let from = self.importer.builder.shape(x).clone();
        if from == shape {
            return Ok(vec![Value::Node(x)]);
        }
        self.last(Op::Expand { shape }, &[x])
    }

    pub(super) fn slice(&mut self) -> Result<Vec<Value>> {
        let mut x = self.node(0)?;
        let ranges = shapes::slices(self.call, &self.shape(0)?)?;
        let last = ranges.len().saturating_sub(1);
        for (i, range) in ranges.iter().enumerate() {
            let op = if range.step > 0 {
                Op::Slice { axis: range.axis, start: range.start as usize, end: range.end as usize, step: range.step as usize }
            } else {
                Op::Select { axis: range.axis, indices: range.indices() }
            };
            let name = if i == last { self.call.out().to_owned() } else { format!("{}/axis{}", self.call.out(), range.axis) };
            x = self.importer.add(&name, op, &[x])?;
        }
        Ok(vec![Value::Node(x)])
    }

    pub(super) fn split(&mut self) -> Result<Vec<Value>> {
        let x = self.node(0)?;
        let (axis, parts) = shapes::split(self.call, &self.shape(0)?)?;
        let part = |(i, &(start, end)): (usize, &(usize, usize))| {
            self.named(self.call.output_name(i), Op::Slice { axis, start, end, step: 1 }, &[x])
        };
        parts.iter().enumerate().map(part).collect()
    }

    pub(super) fn gather(&mut self) -> Result<Vec<Value>> {
        let x = self.node(0)?;
        let shape = self.shape(0)?;
        let at = axis(self.call.int("axis").unwrap_or(0), shape.rank())?;
        let size = shape.known(at).ok_or("it picks from the batch")?;
        let (indices, given) = shapes::indices(self.call.input(1)?, size)?;
        let op = Op::Select { axis: at, indices };
        if given.len() == 1 {
            return self.last(op, &[x]);
        }
        let picked = self.add("select", op, &[x])?;
        let mut dims = shape.0;
        dims.splice(at..=at, given.into_iter().map(Dim::Fixed));
        self.last(Op::Reshape { shape: Shape(dims) }, &[picked])
    }

    /// Parts of a tensor at known places: entries of its leading axes laid side by side.
    pub(super) fn gather_nd(&mut self) -> Result<Vec<Value>> {
        if self.call.int("batch_dims").is_some_and(|batch| batch != 0) {
            return Err("`batch_dims` is not supported".into());
        }
        let x = self.node(0)?;
        let shape = self.shape(0)?;
        let (depth, places, outer) = fold::places(&shape, self.call.input(1)?)?;
        let rest = &shape.0[depth..];
        let leading: usize = shape.at(1).iter().take(depth).product();
        let mut flat = vec![Dim::Fixed(leading)];
        flat.extend(rest);
        let flat = self.add("leading", Op::Reshape { shape: Shape(flat) }, &[x])?;
        let picked = self.add("picked", Op::Select { axis: 0, indices: places }, &[flat])?;
        let to = outer.into_iter().map(Dim::Fixed).chain(rest.iter().copied()).collect();
        self.last(Op::Reshape { shape: Shape(to) }, &[picked])
    }

    pub(super) fn concat(&mut self) -> Result<Vec<Value>> {
        let given: Vec<Value> = self.call.inputs.iter().flatten().cloned().collect();
        let mut nodes = given.iter().map(|v| self.as_node(v)).collect::<Result<Vec<_>>>()?;
        let shapes: Vec<Shape> = nodes.iter().map(|n| self.importer.builder.shape(*n).clone()).collect();
        let first = shapes.first().ok_or("it has no inputs")?;
        let at = axis(self.call.int("axis").unwrap_or(1), first.rank())?;
        // A token of batch 1 beside a batch (files exported with a batch of 1) is repeated.
        let batched = (0..first.rank()).find(|&i| i != at && shapes.iter().any(|s| s.0.get(i) == Some(&Dim::Batch(1))));
        if let Some(i) = batched {
            for (node, shape) in nodes.iter_mut().zip(&shapes).filter(|(_, s)| s.0.get(i) == Some(&Dim::Fixed(1))) {
                let mut to = shape.clone();
                to.0[i] = Dim::Batch(1);
                *node = self.add("expand", Op::Expand { shape: to }, &[*node])?;
            }
        }
        self.last(Op::Concat { axis: at }, &nodes)
    }

    pub(super) fn pad(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let x = self.node(0)?;
        let rank = self.shape(0)?.rank();
        let given = call.known(1, "pads")?.ok_or("no pads are given")?;
        let over = match call.known(3, "axes")? {
            Some(list) => list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>>>()?,
            None => (0..rank).collect(),
        };
        if given.len() != 2 * over.len() {
            return Err(format!("{} pads for {} axes", given.len(), over.len()));
        }
        let value = call.scalar(2, "value")?.unwrap_or(0.0);
        let mut pads = vec![(0, 0); rank];
        let size = |p: i64| usize::try_from(p).ok().filter(|p| *p < 1 << 20).ok_or_else(|| format!("a pad of {p} is not supported"));
        for (i, &at) in over.iter().enumerate() {
            pads[at] = (size(given[i])?, size(given[i + over.len()])?);
        }
        if pads.iter().all(|p| *p == (0, 0)) {
            return Ok(vec![Value::Node(x)]);
        }
        match call.text("mode").unwrap_or("constant") {
            "constant" => self.last(Op::Pad { pads, value }, &[x]),
            mode => self.pad_with_own(x, &pads, mode),
        }
    }

    /// Padding with entries of the tensor itself, which is a selection along each axis.
    fn pad_with_own(&mut self, mut x: NodeId, pads: &[(usize, usize)], mode: &str) -> Result<Vec<Value>> {
        let shape = self.importer.builder.shape(x).clone();
        for (at, &(before, after)) in pads.iter().enumerate().filter(|(_, pad)| **pad != (0, 0)) {
            let size = shape.known(at).filter(|s| *s > 0).ok_or("it pads the batch")? as i64;
            let source = |i: i64| match mode {
                "edge" => Ok(i.clamp(0, size - 1)),
                "wrap" => Ok(i.rem_euclid(size)),
                // There and back without repeating the ends.
                "reflect" => {
                    let period = (2 * size - 2).max(1);
                    let i = i.rem_euclid(period);
                    Ok(i.min(period - i) % size)
                }
                _ => Err(format!("padding mode `{mode}` is not supported")),
            };
            let (before, after) = (before as i64, after as i64);
            let indices = (-before..size + after).map(|i| source(i).map(|i| i as usize)).collect::<Result<_>>()?;
            x = self.add(&format!("axis{at}"), Op::Select { axis: at, indices }, &[x])?;
        }
        Ok(vec![Value::Node(x)])
    }

    pub(super) fn tile(&mut self) -> Result<Vec<Value>> {
        let mut x = self.node(0)?;
        let shape = self.shape(0)?;
        for (at, repeats) in shapes::repeats(self.call, shape.rank())?.into_iter().enumerate().filter(|(_, r)| *r != Dim::Fixed(1)) {
            let op = match (repeats, shape.0[at]) {
                (Dim::Fixed(repeats), Dim::Fixed(size)) => Op::Select { axis: at, indices: shapes::tiled(size, repeats)? },
                // What is the same for every image, beside each of them.
                (Dim::Batch(_), Dim::Fixed(1)) => {
                    let mut to = self.importer.builder.shape(x).clone();
                    to.0[at] = repeats;
                    Op::Expand { shape: to }
                }
                (Dim::Batch(_), Dim::Fixed(size)) => return Err(format!("it repeats {size} entries along the batch")),
                (_, Dim::Batch(_)) => return Err("it repeats the batch".into()),
            };
            x = self.add(&format!("axis{at}"), op, &[x])?;
        }
        Ok(vec![Value::Node(x)])
    }

    /// Blocks of pixels to channels and back.
    pub(super) fn space(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let x = self.node(0)?;
        let shape = self.shape(0)?;
        let [n, Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)] = shape.0[..] else { return Err(format!("{shape} is no [N, C, H, W]")) };
        let b = call.int("blocksize").and_then(|b| usize::try_from(b).ok()).filter(|b| (1..1 << 10).contains(b));
        let b = b.ok_or("`blocksize` is missing or not a size")?;
        let (split, perm, to) = match (call.op(), call.text("mode").unwrap_or("DCR")) {
            ("SpaceToDepth", "DCR") => ([c, h / b, b, w / b, b], [0, 3, 5, 1, 2, 4], [c * b * b, h / b, w / b]),
            ("SpaceToDepth", "CRD") => ([c, h / b, b, w / b, b], [0, 1, 3, 5, 2, 4], [c * b * b, h / b, w / b]),
            (_, "DCR") => ([b, b, c / (b * b), h, w], [0, 3, 4, 1, 5, 2], [c / (b * b), h * b, w * b]),
            (_, "CRD") => ([c / (b * b), b, b, h, w], [0, 1, 4, 2, 5, 3], [c / (b * b), h * b, w * b]),
            (_, mode) => return Err(format!("mode `{mode}` is not supported")),
        };
        let with_batch = |sizes: &[usize]| Shape(std::iter::once(n).chain(sizes.iter().map(|&s| Dim::Fixed(s))).collect());
        let blocks = self.add("blocks", Op::Reshape { shape: with_batch(&split) }, &[x])?;
        let moved = self.add("moved", Op::Transpose { perm: perm.to_vec() }, &[blocks])?;
        self.last(Op::Reshape { shape: with_batch(&to) }, &[moved])
    }
}
