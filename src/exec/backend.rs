//! What computes the operators. There are two implementations, which share no arithmetic but candle's plainest, and check each other.

use std::fmt::Debug;

use candle_core::{DType, Device, Result, Tensor};

use super::backward::Step;
use super::forward::same_shape;
use super::{Clamp, Norm, Saved, Weights, backward, composed, forward};
use crate::graph::{Binary, Op};

/// Every operator, forward and in reverse.
pub(super) trait Backend: Debug + Sync {
    /// Whether it computes a function that cuts off values with the node before it, a batch norm with its convolution, and puts the gradients
    /// of parts together. Where it does not, each node is computed by itself, and no clamp is handed to it.
    fn fuses(&self) -> bool;

    /// The value of a node of `shape`, and what its gradient needs beside inputs and output. `clamp`: what it is cut off at; `keeps`: whether a
    /// gradient will be asked for.
    fn forward(
        &self,
        op: &Op,
        inputs: &[&Tensor],
        shape: &[usize],
        norm: Norm,
        clamp: Option<Clamp>,
        keeps: bool,
    ) -> Result<(Tensor, Saved)>;

    /// The gradients of a node's inputs, one entry per input; `None` where it was not asked for.
    fn gradients(&self, op: &Op, step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>>;

    /// The sum of two gradients of one value.
    fn sum(&self, a: Tensor, b: Tensor) -> Result<Tensor>;

    /// A gradient in the numbers that the node it goes to is computed in.
    fn handed_on(&self, gradient: Tensor, to: &Op) -> Result<Tensor>;
}

/// Our kernels, on the CPU.
#[derive(Debug)]
pub(super) struct Kernels;

/// candle's tensor operations, on any device.
#[derive(Debug)]
pub(super) struct Composed {
    /// In mixed precision: activations are bf16, weights and their gradients f32.
    pub half: bool,
}

/// The backend for weights and an input.
pub(super) fn of(weights: &Weights, input: &Tensor) -> &'static dyn Backend {
    match (input.device(), weights.1) {
        (Device::Cpu, DType::F32 | DType::F64) => &Kernels,
        (_, DType::BF16) => &Composed { half: true },
        _ => &Composed { half: false },
    }
}

impl Backend for Kernels {
    fn fuses(&self) -> bool {
        true
    }

    fn forward(
        &self,
        op: &Op,
        inputs: &[&Tensor],
        shape: &[usize],
        norm: Norm,
        clamp: Option<Clamp>,
        keeps: bool,
    ) -> Result<(Tensor, Saved)> {
        forward::compute(op, inputs, shape, norm, clamp, keeps)
    }

    fn gradients(&self, op: &Op, step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
        backward::gradients(op, step, dout)
    }

    fn sum(&self, a: Tensor, b: Tensor) -> Result<Tensor> {
        same_shape(Binary::Add, &a, &b.contiguous()?)
    }

    fn handed_on(&self, gradient: Tensor, _: &Op) -> Result<Tensor> {
        Ok(gradient)
    }
}

impl Backend for Composed {
    fn fuses(&self) -> bool {
        false
    }

    fn forward(&self, op: &Op, inputs: &[&Tensor], shape: &[usize], norm: Norm, _: Option<Clamp>, _: bool) -> Result<(Tensor, Saved)> {
        composed::compute(op, inputs, shape, norm, self.half)
    }

    fn gradients(&self, op: &Op, step: &Step, dout: &Tensor) -> Result<Vec<Option<Tensor>>> {
        composed::gradients(op, step, dout, self.half)
    }

    fn sum(&self, a: Tensor, b: Tensor) -> Result<Tensor> {
        a + b
    }

    fn handed_on(&self, gradient: Tensor, to: &Op) -> Result<Tensor> {
        match to {
            _ if !self.half => Ok(gradient),
            Op::Param(_) => gradient.to_dtype(DType::F32),
            _ => gradient.to_dtype(DType::BF16),
        }
    }
}
