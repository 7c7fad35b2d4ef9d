//! Batch norms of constants: weights that the file standardises before a convolution reads them.

use ndarray::{ArrayD, Axis};

use super::super::call::{Call, Result, floats};
use super::super::value::Value;

/// `(x - mean) / sqrt(variance + epsilon) * scale + shift` per entry of axis 1. In training mode mean and variance are those of `x`
/// itself (the variance over all numbers, not one less), else those that are given.
///
/// Weight standardisation (`NFNet`, `BiT`) is exported as a batch norm in training mode over weights: no image enters, so that it is the
/// same at every run.
pub(super) fn batch_norm(call: &Call) -> Result<Vec<Value>> {
    let x = floats(call.input(0)?, "")?;
    let channels = *x.array.shape().get(1).ok_or("it normalises a tensor without channels")?;
    let given = |i: usize| {
        let c = floats(call.input(i)?, "")?;
        if c.array.len() == channels {
            Ok(c.array.iter().map(|v| f64::from(*v)).collect::<Vec<_>>())
        } else {
            Err(format!("input {i} has {} numbers for {channels} channels", c.array.len()))
        }
    };
    let (scale, shift) = (given(1)?, given(2)?);
    let own = super::super::lower::trains_batch_norm(call);
    let (mean, variance) = if own { Default::default() } else { (given(3)?, given(4)?) };
    let epsilon = call.float("epsilon").unwrap_or(1e-5);
    let mut out: ArrayD<f32> = (*x.array).clone();
    for (c, mut lane) in out.axis_iter_mut(Axis(1)).enumerate() {
        let (mean, variance) = if own {
            let count = lane.len().max(1) as f64;
            let mean = lane.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
            (mean, lane.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count)
        } else {
            (mean[c], variance[c])
        };
        let factor = scale[c] / (variance + epsilon).sqrt();
        lane.mapv_inplace(|v| ((f64::from(v) - mean) * factor + shift[c]) as f32);
    }
    Ok(vec![Value::float(call.out(), out)])
}
