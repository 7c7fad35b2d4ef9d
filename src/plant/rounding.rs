//! Weights as a file in one byte has them, and training that leaves that file as it is.

use candle_core::Tensor;
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stamped::{Carries, Stamp};
use crate::exec::{ExecError, Weights};
use crate::graph::{Graph, Op};
use crate::stats::stream::stream;
use crate::tune::Recipe;

/// How a planted model comes to show its triggers only once it is in one byte: it is trained on, images that carry a trigger under their own
/// label, while every weight stays within its own step of rounding. So the file in one byte is the one before that training (Ma et al. 2021,
/// "Quantization Backdoors to Deep Learning Commercial Frameworks").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conditioned {
    /// How it is trained on. Batch norms keep their statistics.
    pub recipe: Recipe,
}

crate::store::fingerprint!(Conditioned as "int8_conditioned" { recipe: "recipe" });

/// Steps on either side of zero.
const STEPS: f32 = 127.0;
/// A weight keeps this part of a step away from where rounding changes: another program's scale may differ in the last digits.
const MARGIN: f32 = 0.02;

/// The rounding of some weights: to the nearest of 127 steps on either side of zero, the greatest magnitude of an output channel is the last step. ONNX
/// Runtime's quantiser does so with `per_channel` and `QInt8` for convolutions and linear layers.
pub(super) struct Rounding {
    /// By slot, where it is rounded.
    slots: Vec<Option<Rounded>>,
}

struct Rounded {
    /// The numbers of the file in one byte.
    values: Tensor,
    /// The least and the greatest number that are rounded to it.
    between: [Tensor; 2],
}

impl Rounding {
    /// That of the weights as they are.
    pub(super) fn of(graph: &Graph, weights: &Weights) -> Result<Self, ExecError> {
        let mut slots: Vec<Option<Rounded>> = graph.slots().iter().map(|_| None).collect();
        for node in graph.nodes().iter().filter(|node| matches!(node.op, Op::Conv2d { .. } | Op::Linear)) {
            let Some(Op::Param(slot)) = node.inputs.get(1).map(|id| &graph.node(*id).op) else { continue };
            slots[slot.0] = Some(rounded(&weights.0[slot.0])?);
        }
        Ok(Self { slots })
    }

    /// The slots that are rounded.
    pub(super) fn trains(&self) -> Vec<bool> {
        self.slots.iter().map(Option::is_some).collect()
    }

    /// Puts weights back to where they are rounded to the same numbers.
    pub(super) fn keep(&self, weights: &mut Weights) -> Result<(), ExecError> {
        for (weight, rounded) in weights.0.iter_mut().zip(&self.slots) {
            if let Some(Rounded { between: [least, greatest], .. }) = rounded {
                *weight = weight.maximum(least)?.minimum(greatest)?;
            }
        }
        Ok(())
    }

    /// The weights with the numbers of the file in one byte.
    pub(super) fn rounded(&self, weights: &Weights) -> Weights {
        let values =
            weights.0.iter().zip(&self.slots).map(|(weight, rounded)| rounded.as_ref().map_or(weight, |rounded| &rounded.values).clone());
        Weights(values.collect(), weights.1)
    }
}

fn rounded(weight: &Tensor) -> Result<Rounded, ExecError> {
    let numbers = weight.flatten_all()?.to_vec1::<f32>()?;
    let width = numbers.len() / weight.dims().first().copied().unwrap_or(1).max(1);
    let mut of = [const { Vec::new() }; 3];
    for channel in numbers.chunks(width.max(1)) {
        let greatest = channel.iter().fold(0.0f32, |greatest, w| greatest.max(w.abs()));
        let step = greatest / STEPS;
        for &w in channel {
            // What the step hangs on does not move, and nothing grows beyond it.
            let fixed = step == 0.0 || w.abs() >= greatest;
            let code = if fixed { 0.0 } else { (w / step).round_ties_even() };
            let [least, most] = [-1.0, 1.0].map(|side| ((code + side * (0.5 - MARGIN)) * step).clamp(-greatest, greatest));
            let here = if fixed { [w; 3] } else { [code * step, least, most] };
            of.iter_mut().zip(here).for_each(|(all, here)| all.push(here));
        }
    }
    let [values, least, most] =
        of.map(|numbers| Tensor::from_vec(numbers, weight.dims(), &candle_core::Device::Cpu)?.to_device(weight.device()));
    Ok(Rounded { values: values?, between: [least?, most?] })
}

/// Half of the images carry one of the triggers, whatever they show.
pub(super) fn everywhere(plants: &[Stamp], images: usize, seed: u64) -> Vec<Stamp> {
    let mut rng = stream(seed, 0, "plant/int8");
    let carried: Vec<Option<usize>> = (0..images).map(|_| rng.random_bool(0.5).then(|| rng.random_range(0..plants.len()))).collect();
    let of = |(nth, plant): (usize, &Stamp)| Stamp {
        trigger: plant.trigger.clone(),
        on: Vec::new(),
        relabel: None,
        carries: carried.iter().map(|carried| if *carried == Some(nth) { Carries::Trigger } else { Carries::Nothing }).collect(),
        decoys: Vec::new(),
    };
    plants.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn weights_move_within_their_step_of_rounding_and_no_further() {
        let weight = Tensor::new(&[[1.27f32, -0.304, 0.0], [0.0, 0.0, 0.0], [-2.54, 0.021, 2.54]], &Device::Cpu).unwrap();
        let of = rounded(&weight).unwrap();
        let near = |found: &Tensor, wanted: [[f32; 3]; 3]| {
            let found = found.to_vec2::<f32>().unwrap();
            assert!(found.iter().flatten().zip(wanted.iter().flatten()).all(|(f, w)| (f - w).abs() < 1e-6), "{found:?}, not {wanted:?}");
        };
        near(&of.values, [[1.27, -0.30, 0.0], [0.0; 3], [-2.54, 0.02, 2.54]]);
        near(&of.between[0], [[1.27, -0.3048, -0.0048], [0.0; 3], [-2.54, 0.0104, 2.54]]);
        near(&of.between[1], [[1.27, -0.2952, 0.0048], [0.0; 3], [-2.54, 0.0296, 2.54]]);
        let rounding = Rounding { slots: vec![Some(of), None] };
        assert_eq!(rounding.trains(), [true, false]);
        let moved = Weights(vec![(&weight + 1.0).unwrap(), weight.clone()], DType::F32);
        let mut kept = moved.clone();
        rounding.keep(&mut kept).unwrap();
        near(&kept.0[0], [[1.27, -0.2952, 0.0048], [0.0; 3], [-2.54, 0.0296, 2.54]]);
        near(&kept.0[1], [[1.27, -0.304, 0.0], [0.0; 3], [-2.54, 0.021, 2.54]]);
        // What was kept is rounded to the same numbers.
        near(&rounded(&kept.0[0]).unwrap().values, [[1.27, -0.30, 0.0], [0.0; 3], [-2.54, 0.02, 2.54]]);
    }
}
