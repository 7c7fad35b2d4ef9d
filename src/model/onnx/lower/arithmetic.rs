//! Arithmetic between tensors, and reductions.

use super::super::call::{Result, axes, widen};
use super::super::value::{Size, Value};
use super::Lower;
use crate::graph::{Binary, Dim, Op, Reduce, Unary};

impl Lower<'_, '_> {
    /// The one number of a constant that does not widen the other side.
    pub(super) fn lone(&mut self, i: usize, other: usize) -> Result<Option<f64>> {
        let rank = self.shape(other)?.rank();
        Ok(match self.call.input(i)? {
            Value::Float(c) if c.array.len() == 1 && c.array.ndim() <= rank => c.array.first().copied().map(widen),
            Value::Int(a) if a.len() == 1 && a.ndim() <= rank => a.first().and_then(|s: &Size| s.known()).map(|x| x as f64),
            _ => None,
        })
    }

    pub(super) fn binary(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let affine = |scale: f64, shift: f64| Op::Unary(Unary::Affine { scale, shift });
        if let (Value::Node(x), Some(c)) = (call.input(0)?.clone(), self.lone(1, 0)?) {
            let op = match call.op() {
                "Add" => affine(1.0, c),
                "Sub" => affine(1.0, -c),
                "Mul" => affine(c, 0.0),
                _ => affine(1.0 / c, 0.0),
            };
            return self.last(op, &[x]);
        }
        if let (Some(c), Value::Node(x)) = (self.lone(0, 1)?, call.input(1)?.clone()) {
            let op = match call.op() {
                "Add" => affine(1.0, c),
                "Sub" => affine(-1.0, c),
                "Mul" => affine(c, 0.0),
                _ => {
                    let inverse = self.add("inverse", Op::Unary(Unary::Reciprocal), &[x])?;
                    return self.last(affine(c, 0.0), &[inverse]);
                }
            };
            return self.last(op, &[x]);
        }
        if call.op() == "Add" {
            for (i, j) in [(0, 1), (1, 0)] {
                if let Some(fused) = self.biased(i, j)? {
                    return Ok(fused);
                }
            }
        }
        let (a, b) = (self.node(0)?, self.node(1)?);
        let kind = match call.op() {
            "Add" => Binary::Add,
            "Sub" => Binary::Sub,
            "Mul" => Binary::Mul,
            _ => Binary::Div,
        };
        self.last(Op::Binary(kind), &[a, b])
    }

    /// A linear layer read only here, plus a constant vector: the layer with a bias.
    pub(super) fn biased(&mut self, x: usize, bias: usize) -> Result<Option<Vec<Value>>> {
        let (Value::Node(product), Value::Float(c)) = (self.call.input(x)?.clone(), self.call.input(bias)?.clone()) else {
            return Ok(None);
        };
        let alone = self.call.node.input.get(x).and_then(|name| self.importer.readers.get(name)) == Some(&1);
        let node = self.importer.builder.node(product);
        let fits = node.op == Op::Linear
            && node.inputs.len() == 2
            && c.array.ndim() == 1
            && node.shape.0.last() == Some(&Dim::Fixed(c.array.len()));
        if !(alone && fits) {
            return Ok(None);
        }
        let mut inputs = node.inputs.clone();
        inputs.push(self.importer.param(&c)?);
        self.last(Op::Linear, &inputs).map(Some)
    }

    pub(super) fn several(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let count = call.inputs.len();
        if matches!(call.op(), "Max" | "Min") && count == 2 {
            for (i, j) in [(0, 1), (1, 0)] {
                if let (Value::Node(x), Some(c)) = (call.input(i)?.clone(), self.lone(j, i)?) {
                    let (min, max) = if call.op() == "Max" { (c, f64::INFINITY) } else { (f64::NEG_INFINITY, c) };
                    return self.last(Op::Unary(Unary::Clip { min, max }), &[x]);
                }
            }
        }
        let kind = match call.op() {
            "Max" => Binary::Max,
            "Min" => Binary::Min,
            _ => Binary::Add,
        };
        let mut total = self.node(0)?;
        for i in 1..count {
            let b = self.node(i)?;
            if i + 1 == count && call.op() != "Mean" {
                return self.last(Op::Binary(kind), &[total, b]);
            }
            total = self.add(&format!("sum{i}"), Op::Binary(kind), &[total, b])?;
        }
        if call.op() == "Mean" {
            return self.last(Op::Unary(Unary::Affine { scale: 1.0 / count as f64, shift: 0.0 }), &[total]);
        }
        Ok(vec![Value::Node(total)])
    }

    pub(super) fn reduce(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let mut x = self.node(0)?;
        let rank = self.shape(0)?.rank();
        let over = match call.known(1, "axes")? {
            Some(list) if !list.is_empty() => axes(&list, rank)?,
            // Nothing is reduced, but what is done to every number is done all the same: the sum of one square is a square.
            _ if call.int("noop_with_empty_axes") == Some(1) => {
                return match call.op() {
                    "ReduceL1" | "ReduceL2" => self.last(Op::Unary(Unary::Abs), &[x]),
                    "ReduceSumSquare" => self.last(Op::Unary(Unary::Pow(2.0)), &[x]),
                    _ => Ok(vec![Value::Node(x)]),
                };
            }
            _ => (0..rank).collect(),
        };
        let kind = match call.op() {
            "ReduceMean" => Reduce::Mean,
            "ReduceMax" | "ReduceMin" => Reduce::Max,
            _ => Reduce::Sum,
        };
        let op = Op::Reduce { kind, axes: over, keep: call.int("keepdims").unwrap_or(1) != 0 };
        // What is done to every number before, and to the result.
        let (before, after) = match call.op() {
            "ReduceMin" => (Some(Unary::Neg), Some(Unary::Neg)),
            "ReduceL1" => (Some(Unary::Abs), None),
            "ReduceL2" => (Some(Unary::Pow(2.0)), Some(Unary::Sqrt)),
            "ReduceSumSquare" => (Some(Unary::Pow(2.0)), None),
            _ => (None, None),
        };
        if let Some(function) = before {
            x = self.add("each", Op::Unary(function), &[x])?;
        }
        if let Some(function) = after {
            let reduced = self.add("reduced", op, &[x])?;
            return self.last(Op::Unary(function), &[reduced]);
        }
        self.last(op, &[x])
    }
}
