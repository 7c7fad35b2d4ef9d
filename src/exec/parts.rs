//! Gradients of tensors that are read in parts.
//!
//! Queries, keys and values are parts of one product. A gradient of full size for each of them, zeros but for its own part, would be
//! written and added three times; so parts are collected, and put together when the turn of the whole comes.

use candle_core::{DType, Result, Tensor, bail};

use super::backend::Backend;
use super::forward::{by_dtype, tensor};
use super::kernels::{View, layout};
use crate::graph::Op;

/// The gradient of some places along one axis.
pub(super) struct Part {
    axis: usize,
    places: Vec<usize>,
    gradient: Tensor,
}

impl Part {
    /// The gradient that goes through an operator which reads its input in part, and reads it as it is.
    pub(super) fn of(op: &Op, gradient: &Tensor) -> Result<Option<Self>> {
        let (axis, places) = match op {
            Op::Slice { axis, start, end, step } => (*axis, (*start..*end).step_by(*step).collect()),
            Op::Select { axis, indices } => (*axis, indices.clone()),
            _ => return Ok(None),
        };
        Ok(Some(Self { axis, places, gradient: gradient.contiguous()? }))
    }
}

/// What is known so far of the gradient of one value.
#[derive(Default)]
pub(super) struct Gradient {
    whole: Option<Tensor>,
    parts: Vec<Part>,
}

impl Gradient {
    /// Adds a gradient of full size.
    pub(super) fn add(&mut self, backend: &dyn Backend, gradient: Tensor) -> Result<()> {
        self.whole = Some(match self.whole.take() {
            Some(sum) => backend.sum(sum, gradient)?,
            None => gradient,
        });
        Ok(())
    }

    /// Adds the gradient of a part.
    pub(super) fn add_part(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// The sum of all, `None` for none; `shape` is that of the value.
    pub(super) fn take(&mut self, backend: &dyn Backend, shape: &[usize]) -> Result<Option<Tensor>> {
        let mut parts = std::mem::take(&mut self.parts);
        while let Some(axis) = parts.first().map(|part| part.axis) {
            let (along, others): (Vec<Part>, _) = parts.into_iter().partition(|part| part.axis == axis);
            self.add(backend, together(shape, axis, &along)?)?;
            parts = others;
        }
        Ok(self.whole.take())
    }
}

fn together(shape: &[usize], axis: usize, parts: &[Part]) -> Result<Tensor> {
    let inner = shape[axis + 1..].iter().product();
    by_dtype!(parts[0].gradient, T => {
        let views: Vec<View> = parts.iter().map(|part| View::of(&part.gradient)).collect();
        let placed = views.iter().zip(parts).map(|(view, part)| Ok((view.slice::<T>()?, part.places.as_slice()))).collect::<Result<Vec<_>>>()?;
        tensor(layout::put(shape[axis], inner, &placed), shape)
    })
}
