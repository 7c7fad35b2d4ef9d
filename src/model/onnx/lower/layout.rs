//! Operators that move elements.

use super::super::call::{Result, axis};
use super::super::shapes;
use super::super::value::Value;
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
            x = self.importer.builder.add(&name, op, &[x]).map_err(|e| e.to_string())?;
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
        if let Some(mode) = call.text("mode").filter(|m| *m != "constant") {
            return Err(format!("padding mode `{mode}` is not supported"));
        }
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
        self.last(Op::Pad { pads, value }, &[x])
    }
}
