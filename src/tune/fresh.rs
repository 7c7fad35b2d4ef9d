//! Starting weights.

use ndarray::ArrayD;
use rand::RngExt;
use rand_distr::{Distribution, Normal};

use crate::graph::{Graph, Op, Role};
use crate::stats::stream::stream;

/// Weight `[classes, width]` and bias `[classes]` of a new head, uniform in `+-1/sqrt(width)` (PyTorch's `Linear`).
pub fn fresh_head(width: usize, classes: usize, policy_seed: u64, seed: u64) -> Vec<ArrayD<f32>> {
    let mut rng = stream(policy_seed, seed, "head");
    let bound = 1.0 / (width.max(1) as f32).sqrt();
    let mut draw = |shape: &[usize]| ArrayD::from_shape_simple_fn(shape, || rng.random_range(-bound..=bound));
    vec![draw(&[classes, width]), draw(&[classes])]
}

/// Weights drawn anew for every slot by its [`Role`]; constants keep their `current` value.
///
/// Convolutions: normal with variance `2 / fan_in` (He et al. 2015); other weights: `1 / fan_in`.
pub fn fresh_weights(graph: &Graph, current: &[ArrayD<f32>], policy_seed: u64, seed: u64) -> Vec<ArrayD<f32>> {
    let mut feeds_convolution = vec![false; graph.slots().len()];
    for node in graph.nodes() {
        if let (Op::Conv2d { .. }, Some(weight)) = (&node.op, node.inputs.get(1))
            && let Op::Param(slot) = graph.node(*weight).op
        {
            feeds_convolution[slot.0] = true;
        }
    }
    let mut rng = stream(policy_seed, seed, "fresh weights");
    let mut normal = |shape: &[usize], deviation: f32| {
        ArrayD::from_shape_simple_fn(shape, || {
            let unit: f32 = Normal::new(0.0, 1.0).map_or(0.0, |n| n.sample(&mut rng));
            unit * deviation
        })
    };
    let slots = graph.slots().iter().zip(current).enumerate();
    slots
        .map(|(i, (slot, current))| {
            let fan_in = slot.shape.iter().skip(1).product::<usize>().max(1) as f32;
            match slot.role {
                Role::Weight if feeds_convolution[i] => normal(&slot.shape, (2.0 / fan_in).sqrt()),
                Role::Weight => normal(&slot.shape, (1.0 / fan_in).sqrt()),
                Role::Embedding => normal(&slot.shape, 0.02),
                Role::Bias | Role::Shift | Role::RunningMean => ArrayD::zeros(slot.shape.as_slice()),
                Role::Scale | Role::RunningVar => ArrayD::ones(slot.shape.as_slice()),
                Role::Constant => current.clone(),
            }
        })
        .collect()
}
