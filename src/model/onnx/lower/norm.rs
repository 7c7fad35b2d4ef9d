//! Normalisations.

use super::super::call::{Result, axis};
use super::super::shapes;
use super::super::value::Value;
use super::Lower;
use crate::graph::{Binary, Dim, Op, Reduce, Shape, Unary};

impl Lower<'_, '_> {
    pub(super) fn batch_norm(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        if super::trains_batch_norm(call) {
            return Err("it is in training mode: export the model after `model.eval()`".into());
        }
        if call.opset < 9 && call.int("spatial") == Some(0) {
            return Err("normalisation per position (`spatial` 0) is not supported".into());
        }
        let inputs = (0..5).map(|i| self.node(i)).collect::<Result<Vec<_>>>()?;
        let momentum = 1.0 - call.float("momentum").unwrap_or(0.9);
        // 1 - 0.9 is 0.1 to the digits a file can hold.
        let momentum = (momentum * 1e6).round() / 1e6;
        self.last(Op::BatchNorm { eps: call.float("epsilon").unwrap_or(1e-5), momentum }, &inputs)
    }

    pub(super) fn layer_norm(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let at = axis(call.int("axis").unwrap_or(-1), self.shape(0)?.rank())?;
        let mut inputs = vec![self.node(0)?];
        for i in 1..3 {
            if call.optional(i).is_some() {
                inputs.push(self.node(i)?);
            }
        }
        self.last(Op::LayerNorm { axis: at, eps: call.float("epsilon").unwrap_or(1e-5) }, &inputs)
    }

    pub(super) fn instance_norm(&mut self) -> Result<Vec<Value>> {
        let x = self.node(0)?;
        let rank = self.shape(0)?.rank();
        let norm = self.add("norm", Op::LayerNorm { axis: 2, eps: self.call.float("epsilon").unwrap_or(1e-5) }, &[x])?;
        let per_channel = |lower: &mut Self, i: usize| {
            let p = lower.node(i)?;
            let mut dims = lower.shape(i)?.0;
            dims.resize(rank.saturating_sub(1), Dim::Fixed(1));
            lower.add("channels", Op::Reshape { shape: Shape(dims) }, &[p])
        };
        let scale = per_channel(self, 1)?;
        let scaled = self.add("scaled", Op::Binary(Binary::Mul), &[norm, scale])?;
        let shift = per_channel(self, 2)?;
        self.last(Op::Binary(Binary::Add), &[scaled, shift])
    }

    pub(super) fn softmax(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let mut x = self.node(0)?;
        let shape = self.shape(0)?;
        let rank = shape.rank();
        let at = axis(call.int("axis").unwrap_or(if call.opset < 13 { 1 } else { -1 }), rank)?;
        // Before operator set 13 everything from the axis on is one axis.
        let merged = call.opset < 13 && at + 1 < rank;
        if merged {
            let mut dims = shape.0[..at].to_vec();
            dims.push(shapes::product(&shape.0[at..])?);
            x = self.add("merged", Op::Reshape { shape: Shape(dims) }, &[x])?;
        }
        let out = if call.op() == "Softmax" {
            if !merged {
                return self.last(Op::Softmax { axis: at }, &[x]);
            }
            self.add("softmax", Op::Softmax { axis: at }, &[x])?
        } else {
            let over = |kind: Reduce| Op::Reduce { kind, axes: vec![at], keep: true };
            let top = self.add("top", over(Reduce::Max), &[x])?;
            let below = self.add("below", Op::Binary(Binary::Sub), &[x, top])?;
            let exp = self.add("exp", Op::Unary(Unary::Exp), &[below])?;
            let sum = self.add("sum", over(Reduce::Sum), &[exp])?;
            let log = self.add("log", Op::Unary(Unary::Log), &[sum])?;
            if !merged {
                return self.last(Op::Binary(Binary::Sub), &[below, log]);
            }
            self.add("logs", Op::Binary(Binary::Sub), &[below, log])?
        };
        self.last(Op::Reshape { shape }, &[out])
    }

    /// Groups of channels normalised together; scale and shift per channel, before operator set 21 per group.
    pub(super) fn group_norm(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let x = self.node(0)?;
        let shape = self.shape(0)?;
        let groups = call.int("num_groups").and_then(|g| usize::try_from(g).ok()).filter(|g| *g > 0).ok_or("`num_groups` is missing")?;
        let (Some(&n), Some(channels)) = (shape.0.first(), shape.known(1)) else { return Err(format!("{shape} has no channels")) };
        if channels % groups != 0 {
            return Err(format!("{groups} groups do not divide {channels} channels"));
        }
        let Dim::Fixed(elements) = shapes::product(&shape.0[1..])? else { return Err("it reduces over the batch".into()) };
        let grouped = Shape(vec![n, Dim::Fixed(groups), Dim::Fixed(elements / groups)]);
        let grouped = self.add("groups", Op::Reshape { shape: grouped }, &[x])?;
        let norm = Op::LayerNorm { axis: 2, eps: call.float("epsilon").unwrap_or(1e-5) };
        let mut out = self.add("norm", norm, &[grouped])?;
        let per_group = call.opset < 21;
        let trailing = if per_group { 1 } else { shape.rank() - 2 };
        if !per_group {
            out = self.add("channels", Op::Reshape { shape: shape.clone() }, &[out])?;
        }
        for (i, kind) in [(1, Binary::Mul), (2, Binary::Add)] {
            let p = self.node(i)?;
            let mut dims = self.shape(i)?.0;
            dims.extend(vec![Dim::Fixed(1); trailing]);
            let p = self.add("parameter", Op::Reshape { shape: Shape(dims) }, &[p])?;
            if i == 2 && !per_group {
                return self.last(Op::Binary(kind), &[out, p]);
            }
            out = self.add("applied", Op::Binary(kind), &[out, p])?;
        }
        self.last(Op::Reshape { shape }, &[out])
    }
}
