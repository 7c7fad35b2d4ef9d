//! Cross-entropy with label smoothing (Szegedy et al. 2016), as PyTorch's `CrossEntropyLoss` with mean reduction.

use candle_core::{DType, Device, Tensor};

use crate::exec::ExecError;

pub(super) struct Outcome {
    /// Mean over the batch.
    pub loss: f64,
    /// With respect to the logits, `[n, classes]`.
    pub gradient: Tensor,
    /// How many greatest logits are the label's.
    pub right: usize,
}

pub(super) fn cross_entropy(logits: &Tensor, labels: &[u16], smoothing: f64) -> Result<Outcome, ExecError> {
    let rows = logits.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let (n, classes) = (rows.len(), rows.first().map_or(0, Vec::len));
    let mut gradient = Vec::with_capacity(n * classes);
    let (mut loss, mut right) = (0.0, 0);
    for (row, &label) in rows.iter().zip(labels) {
        let label = usize::from(label);
        let top = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(f64::from(b)));
        let log_total = row.iter().map(|&v| (f64::from(v) - top).exp()).sum::<f64>().ln() + top;
        let even = smoothing / classes as f64;
        for (k, &v) in row.iter().enumerate() {
            let log_p = f64::from(v) - log_total;
            let wanted = even + if k == label { 1.0 - smoothing } else { 0.0 };
            if wanted > 0.0 {
                loss -= wanted * log_p;
            }
            gradient.push(((log_p.exp() - wanted) / n as f64) as f32);
        }
        right += usize::from(row.iter().enumerate().all(|(k, &v)| k == label || v < row[label]));
    }
    let gradient = Tensor::from_vec(gradient, (n, classes), &Device::Cpu)?;
    Ok(Outcome { loss: loss / n as f64, gradient, right })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_pytorch() {
        // torch.nn.functional.cross_entropy(torch.tensor([[1.,2.,.5],[0.,-1.,3.]]), torch.tensor([0,2]), label_smoothing=s)
        let logits = Tensor::new(&[[1.0f32, 2.0, 0.5], [0.0, -1.0, 3.0]], &Device::Cpu).unwrap();
        for (smoothing, wanted) in [(0.0, 0.765_126), (0.1, 0.873_460)] {
            let outcome = cross_entropy(&logits, &[0, 2], smoothing).unwrap();
            assert!((outcome.loss - wanted).abs() < 1e-5, "{} at smoothing {smoothing}", outcome.loss);
            assert_eq!(outcome.right, 1);
            let sums = outcome.gradient.sum(1).unwrap().to_vec1::<f32>().unwrap();
            assert!(sums.iter().all(|s| s.abs() < 1e-6), "{sums:?}");
        }
    }
}
