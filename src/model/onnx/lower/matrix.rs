//! Matrix products.

use super::super::call::Result;
use super::super::value::{Const, Value};
use super::{Lower, scaled};
use crate::graph::{Binary, NodeId, Op, Shape};

impl Lower<'_, '_> {
    pub(super) fn flipped(&mut self, i: usize) -> Result<NodeId> {
        let x = self.node(i)?;
        self.add("transpose", Op::Transpose { perm: vec![1, 0] }, &[x])
    }

    #[expect(clippy::float_cmp, reason = "1 is the file's own or the default, not computed")]
    pub(super) fn gemm(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let factor = |name: &str| call.float(name).unwrap_or(1.0);
        let (alpha, beta) = (factor("alpha"), factor("beta"));
        let flag = |name: &str| call.int(name).unwrap_or(0) != 0;
        let x = if flag("transA") { self.flipped(0)? } else { self.node(0)? };
        let weight = match (call.input(1)?, flag("transB")) {
            (Value::Float(c), false) if c.array.ndim() == 2 => self.importer.transposed(c)?,
            (_, true) => self.node(1)?,
            _ => self.flipped(1)?,
        };
        let width = self.importer.builder.shape(weight).known(0);
        let bias = match call.optional(2) {
            Some(Value::Float(c)) if Some(c.array.len()) == width && beta == 1.0 && alpha == 1.0 && c.array.ndim() <= 2 => {
                let flat = self.flat(c)?;
                return self.last(Op::Linear, &[x, weight, flat]);
            }
            Some(_) => Some(self.node(2)?),
            None => None,
        };
        if alpha == 1.0 && bias.is_none() {
            return self.last(Op::Linear, &[x, weight]);
        }
        let product = self.add("product", Op::Linear, &[x, weight])?;
        let Some(bias) = bias else { return self.last(scaled(alpha), &[product]) };
        let product = if alpha == 1.0 { product } else { self.add("alpha", scaled(alpha), &[product])? };
        let bias = if beta == 1.0 { bias } else { self.add("beta", scaled(beta), &[bias])? };
        self.last(Op::Binary(Binary::Add), &[product, bias])
    }

    /// A bias of one axis.
    pub(super) fn flat(&mut self, c: &Const) -> Result<NodeId> {
        let param = self.importer.param(c)?;
        if c.array.ndim() == 1 {
            return Ok(param);
        }
        self.add("bias", Op::Reshape { shape: Shape::fixed(&[c.array.len()]) }, &[param])
    }

    pub(super) fn matmul(&mut self) -> Result<Vec<Value>> {
        if let (Value::Node(x), Value::Float(c)) = (self.call.input(0)?, self.call.input(1)?)
            && c.array.ndim() == 2
        {
            let (x, weight) = (*x, self.importer.transposed(c)?);
            return self.last(Op::Linear, &[x, weight]);
        }
        let (a, b) = (self.node(0)?, self.node(1)?);
        self.last(Op::MatMul, &[a, b])
    }
}
