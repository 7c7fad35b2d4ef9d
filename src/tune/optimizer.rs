//! Steps of gradient descent, as PyTorch's `SGD` and `AdamW` take them.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::Optimizer;
use crate::exec::{ExecError, View, Weights};

/// Numbers per piece of a parallel step.
const PIECE: usize = 1 << 15;

/// Added to the root of the second moment (`AdamW`).
const EPS: f32 = 1e-8;

/// An optimizer with its moments, one vector per slot that trains.
pub(super) struct State<'a> {
    kind: &'a Optimizer,
    weight_decay: f32,
    moments: Vec<[Vec<f32>; 2]>,
    /// The same where the weights are not on the CPU.
    tensors: Vec<[Option<Tensor>; 2]>,
    steps: i32,
}

impl<'a> State<'a> {
    pub(super) fn new(kind: &'a Optimizer, weight_decay: f64, slots: usize) -> Self {
        Self {
            kind,
            weight_decay: weight_decay as f32,
            moments: vec![Default::default(); slots],
            tensors: vec![[None, None]; slots],
            steps: 0,
        }
    }

    /// One step at a learning rate; slots without a gradient stay as they are.
    pub(super) fn step(&mut self, weights: &mut Weights, gradients: &[Option<Tensor>], rate: f64) -> Result<(), ExecError> {
        self.steps += 1;
        for (slot, gradient) in gradients.iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            weights.0[slot] = if gradient.device().is_cpu() {
                let moved = self.moved(slot, &weights.0[slot], &gradient.contiguous()?, rate as f32)?;
                Tensor::from_vec(moved, gradient.dims(), &Device::Cpu)?
            } else {
                self.composed(slot, &weights.0[slot], gradient, rate)?
            };
        }
        Ok(())
    }

    /// The weight after a step, all in one pass over the numbers.
    fn moved(&mut self, slot: usize, weight: &Tensor, gradient: &Tensor, rate: f32) -> Result<Vec<f32>, ExecError> {
        let (weight, gradient) = (View::of(weight), View::of(gradient));
        let (weight, gradient) = (weight.slice::<f32>()?, gradient.slice::<f32>()?);
        let mut moved = weight.to_vec();
        let decay = self.weight_decay;
        let [first, second] = &mut self.moments[slot];
        first.resize(weight.len(), 0.0);
        let pieces = moved.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE)).zip(first.par_chunks_mut(PIECE));
        match *self.kind {
            Optimizer::Sgd { momentum, nesterov } => {
                let momentum = momentum as f32;
                pieces.for_each(|((moved, gradient), velocity)| {
                    for ((w, &g), v) in moved.iter_mut().zip(gradient).zip(velocity) {
                        let g = g + decay * *w;
                        *v = momentum * *v + g;
                        *w -= rate * if nesterov { g + momentum * *v } else { *v };
                    }
                });
            }
            Optimizer::Adamw { beta1, beta2 } => {
                let bias = [beta1, beta2].map(|beta| (1.0 - beta.powi(self.steps)) as f32);
                let (beta1, beta2) = (beta1 as f32, beta2 as f32);
                second.resize(weight.len(), 0.0);
                pieces.zip(second.par_chunks_mut(PIECE)).for_each(|(((moved, gradient), mean), square)| {
                    for (((w, &g), m), s) in moved.iter_mut().zip(gradient).zip(mean).zip(square) {
                        *m = beta1 * *m + (1.0 - beta1) * g;
                        *s = beta2 * *s + (1.0 - beta2) * g * g;
                        *w = *w * (1.0 - rate * decay) - rate * (*m / bias[0]) / ((*s / bias[1]).sqrt() + EPS);
                    }
                });
            }
        }
        Ok(moved)
    }

    /// The same out of tensor operations, on any device.
    fn composed(&mut self, slot: usize, weight: &Tensor, gradient: &Tensor, rate: f64) -> Result<Tensor, ExecError> {
        let decay = f64::from(self.weight_decay);
        let [first, second] = &mut self.tensors[slot];
        let before = |moment: &mut Option<Tensor>| moment.take().map_or_else(|| weight.zeros_like(), Ok);
        Ok(match *self.kind {
            Optimizer::Sgd { momentum, nesterov } => {
                let gradient = (gradient + (weight * decay)?)?;
                let velocity = ((before(first)? * momentum)? + &gradient)?;
                let step = if nesterov { (gradient + (&velocity * momentum)?)? } else { velocity.clone() };
                *first = Some(velocity);
                (weight - (step * rate)?)?
            }
            Optimizer::Adamw { beta1, beta2 } => {
                let mean = ((before(first)? * beta1)? + (gradient * (1.0 - beta1))?)?;
                let square = ((before(second)? * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
                let bias = [beta1, beta2].map(|beta| 1.0 - beta.powi(self.steps));
                let step = ((&mean / bias[0])? / ((&square / bias[1])?.sqrt()? + f64::from(EPS))?)?;
                (*first, *second) = (Some(mean), Some(square));
                ((weight * (1.0 - rate * decay))? - (step * rate)?)?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;

    /// Three steps on `w = [1, -2]` with gradients `[0.5, w0, -1]`-like values; wanted values from torch.optim.
    fn run(kind: &Optimizer, weight_decay: f64) -> Vec<f32> {
        let by_kernel = run_by(kind, weight_decay, |state, weights, gradient| {
            state.step(weights, &[Some(gradient.clone())], 0.1).unwrap();
        });
        let composed = run_by(kind, weight_decay, |state, weights, gradient| {
            state.steps += 1;
            weights.0[0] = state.composed(0, &weights.0[0], gradient, 0.1).unwrap();
        });
        assert!(by_kernel.iter().zip(&composed).all(|(a, b)| (a - b).abs() < 1e-5), "{by_kernel:?}, composed {composed:?}");
        by_kernel
    }

    fn run_by(kind: &Optimizer, weight_decay: f64, step: impl Fn(&mut State, &mut Weights, &Tensor)) -> Vec<f32> {
        let mut weights = Weights(vec![Tensor::new(&[1.0f32, -2.0], &Device::Cpu).unwrap()], DType::F32);
        let mut state = State::new(kind, weight_decay, 1);
        for gradient in [[0.5f32, -1.0], [0.25, 0.5], [-1.0, 2.0]] {
            step(&mut state, &mut weights, &Tensor::new(&gradient, &Device::Cpu).unwrap());
        }
        weights.0[0].to_vec1().unwrap()
    }

    fn close(found: &[f32], wanted: [f32; 2]) {
        assert!(found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 1e-5), "{found:?}, PyTorch has {wanted:?}");
    }

    #[test]
    fn sgd_agrees_with_pytorch() {
        close(&run(&Optimizer::Sgd { momentum: 0.9, nesterov: false }, 0.01), SGD);
        close(&run(&Optimizer::Sgd { momentum: 0.9, nesterov: true }, 0.01), NESTEROV);
    }

    #[test]
    fn adamw_agrees_with_pytorch() {
        close(&run(&Optimizer::Adamw { beta1: 0.9, beta2: 0.999 }, 0.01), ADAMW);
    }

    // tests/golden/tune/make.py prints these.
    const SGD: [f32; 2] = [0.911_610, -2.013_119];
    const NESTEROV: [f32; 2] = [0.942_870, -2.156_379];
    const ADAMW: [f32; 2] = [0.824_714, -1.913_332];
}
