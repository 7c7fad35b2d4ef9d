//! Starting weights.

use std::collections::BTreeMap;

use candle_core::Tensor;
use ndarray::ArrayD;
use rand::RngExt;
use rand_distr::{Distribution, Normal};

use super::TuneError;
use crate::exec::{self, Compute, Norm, Weights};
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

/// The same weights with the running statistics of norms that batches of inputs show, the mean over batches. Every norm sees what the norms before it
/// make of their own batch.
pub(crate) fn with_statistics(
    graph: &Graph,
    mut arrays: Vec<ArrayD<f32>>,
    compute: &Compute,
    batches: impl Iterator<Item = Result<Tensor, TuneError>>,
) -> Result<Vec<ArrayD<f32>>, TuneError> {
    let momenta = momenta(graph);
    if momenta.is_empty() {
        return Ok(arrays);
    }
    let weights = Weights::on(compute, &arrays)?;
    let trains = vec![false; graph.slots().len()];
    let mut shown: BTreeMap<usize, (ArrayD<f32>, f32)> = BTreeMap::new();
    for batch in batches {
        let input = weights.place(&batch?)?;
        for (slot, moved) in exec::record(graph, &weights, &trains, Norm::Batch, &input)?.running {
            let Some((momentum, before)) = momenta.get(&slot.0).zip(arrays.get(slot.0)) else { continue };
            // Running statistics move towards those of the batch by the momentum.
            let of_batch = (exec::to_array(&moved)? - before * (1.0 - momentum)) / *momentum;
            let (sum, count) = shown.entry(slot.0).or_insert_with(|| (ArrayD::zeros(before.raw_dim()), 0.0));
            *sum += &of_batch;
            *count += 1.0;
        }
    }
    for (slot, (sum, count)) in shown {
        arrays[slot] = sum / count;
    }
    Ok(arrays)
}

/// By slot of a running statistic: by how much it moves with a batch. A momentum of 0 shows nothing of it.
fn momenta(graph: &Graph) -> BTreeMap<usize, f32> {
    let mut found = BTreeMap::new();
    for node in graph.nodes() {
        let Op::BatchNorm { momentum, .. } = node.op else { continue };
        for input in node.inputs.iter().skip(3).take(2) {
            if let Op::Param(slot) = graph.node(*input).op
                && momentum > 0.0
            {
                found.insert(slot.0, momentum as f32);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{GraphBuilder, Shape};

    /// A batch norm of one channel on two batches, by hand: means 1 and 3, unbiased variances 2 and 8.
    #[test]
    fn statistics_are_the_mean_over_batches_whatever_the_momentum() {
        for momentum in [0.1, 0.9] {
            let mut b = GraphBuilder::new();
            let x = b.input("x", Shape::batched(&[1, 1, 1])).unwrap();
            let slots = [("scale", Role::Scale), ("shift", Role::Shift), ("mean", Role::RunningMean), ("var", Role::RunningVar)];
            let mut inputs = vec![x];
            inputs.extend(slots.map(|(name, role)| b.param(name, &[1], role)));
            let bn = b.add("bn", Op::BatchNorm { eps: 1e-5, momentum }, &inputs).unwrap();
            let graph = b.finish(bn).unwrap();
            let arrays: Vec<ArrayD<f32>> = [1.0, 0.0, 0.0, 1.0].map(|v| ArrayD::from_elem(vec![1], v)).to_vec();
            let batch = |values: [f32; 2]| Ok(Tensor::from_slice(&values, (2, 1, 1, 1), &candle_core::Device::Cpu).unwrap());
            let found = with_statistics(&graph, arrays, &Compute::cpu(), [batch([0.0, 2.0]), batch([1.0, 5.0])].into_iter()).unwrap();
            let near = |slot: usize, value: f32| assert!((found[slot][[0]] - value).abs() < 1e-4, "{:?}", found[slot]);
            near(0, 1.0);
            near(2, 2.0);
            near(3, 5.0);
        }
    }
}
