//! Steps of gradient descent, as PyTorch's `SGD` and `AdamW` take them.

use candle_core::Tensor;

use super::Optimizer;
use crate::exec::{ExecError, Weights};

/// An optimizer with its moments.
pub(super) struct State<'a> {
    kind: &'a Optimizer,
    weight_decay: f64,
    first: Vec<Option<Tensor>>,
    second: Vec<Option<Tensor>>,
    steps: i32,
}

impl<'a> State<'a> {
    pub(super) fn new(kind: &'a Optimizer, weight_decay: f64, slots: usize) -> Self {
        Self { kind, weight_decay, first: vec![None; slots], second: vec![None; slots], steps: 0 }
    }

    /// One step at a learning rate; slots without a gradient stay as they are.
    pub(super) fn step(&mut self, weights: &mut Weights, gradients: &[Option<Tensor>], rate: f64) -> Result<(), ExecError> {
        self.steps += 1;
        for (slot, gradient) in gradients.iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            let weight = &weights.0[slot];
            weights.0[slot] = match *self.kind {
                Optimizer::Sgd { momentum, nesterov } => {
                    let gradient = if self.weight_decay > 0.0 { (gradient + (weight * self.weight_decay)?)? } else { gradient.clone() };
                    let velocity = match &self.first[slot] {
                        Some(velocity) => ((velocity * momentum)? + &gradient)?,
                        None => gradient.clone(),
                    };
                    let direction = if nesterov { (gradient + (&velocity * momentum)?)? } else { velocity.clone() };
                    self.first[slot] = Some(velocity);
                    (weight - (direction * rate)?)?
                }
                Optimizer::Adamw { beta1, beta2 } => {
                    const EPS: f64 = 1e-8;
                    let mix = |old: &Option<Tensor>, new: Tensor, beta: f64| match old {
                        Some(old) => (old * beta)? + (new * (1.0 - beta))?,
                        None => new * (1.0 - beta),
                    };
                    let first = mix(&self.first[slot], gradient.clone(), beta1)?;
                    let second = mix(&self.second[slot], gradient.sqr()?, beta2)?;
                    let (bias1, bias2) = (1.0 - beta1.powi(self.steps), 1.0 - beta2.powi(self.steps));
                    let direction = (&first / bias1)?.div(&((&second / bias2)?.sqrt()? + EPS)?)?;
                    (self.first[slot], self.second[slot]) = (Some(first), Some(second));
                    ((weight * (1.0 - rate * self.weight_decay))? - (direction * rate)?)?
                }
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Three steps on `w = [1, -2]` with gradients `[0.5, w0, -1]`-like values; wanted values from torch.optim.
    fn run(kind: &Optimizer, weight_decay: f64) -> Vec<f32> {
        let mut weights = Weights(vec![Tensor::new(&[1.0f32, -2.0], &Device::Cpu).unwrap()]);
        let mut state = State::new(kind, weight_decay, 1);
        for gradient in [[0.5f32, -1.0], [0.25, 0.5], [-1.0, 2.0]] {
            state.step(&mut weights, &[Some(Tensor::new(&gradient, &Device::Cpu).unwrap())], 0.1).unwrap();
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
