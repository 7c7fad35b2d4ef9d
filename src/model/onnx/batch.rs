//! Operators that would mix the images of a batch: what one image gets must not depend on its neighbours.

use crate::graph::{Dim, Op, Shape};

/// Why an operator on inputs of these shapes mixes images, if it does.
pub(super) fn mixes(op: &Op, inputs: &[&Shape], output: &Shape) -> Option<&'static str> {
    let batched = |i: usize, axis: usize| inputs.get(i).is_some_and(|s| matches!(s.0.get(axis), Some(Dim::Batch(_))));
    let rank = inputs.first().map_or(0, |s| s.rank());
    let over_batch = match op {
        Op::Reduce { axes, .. } => axes.iter().any(|&axis| batched(0, axis)),
        Op::Softmax { axis } => batched(0, *axis),
        Op::LayerNorm { axis, .. } => (*axis..rank).any(|axis| batched(0, axis)),
        Op::BatchNorm { .. } | Op::Lrn { .. } => batched(0, 1),
        Op::MatMul | Op::Linear => batched(0, rank.saturating_sub(1)),
        _ => false,
    };
    if over_batch {
        return Some("it reduces over the batch, which would mix images");
    }
    if output.0.iter().filter(|d| matches!(d, Dim::Batch(_))).count() > 1 {
        return Some("it pairs the images of a batch with each other");
    }
    match (op, inputs) {
        (Op::Reshape { .. }, [x]) if outer(x) != outer(output) => Some("it deals the numbers of a batch out to other images"),
        _ => None,
    }
}

/// How often the elements of one image are interrupted by those of the next: the product of the axes before the batch's.
fn outer(shape: &Shape) -> Option<usize> {
    let at = shape.0.iter().position(|d| matches!(d, Dim::Batch(_)))?;
    Some(Shape(shape.0[..at].to_vec()).elements_per_item())
}
