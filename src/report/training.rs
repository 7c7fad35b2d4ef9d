//! How training went: loss and accuracy by epoch, over the fine-tunes of a stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tune::Epoch;

/// Most epochs that are kept of a stage: what is drawn shows no more.
const MOST: usize = 100;

/// How the fine-tunes of a stage were trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingCurve {
    /// Fine-tunes that this run trained. Those that an earlier run had kept are in none of the numbers.
    pub fine_tunes: usize,
    /// Epochs, counted from 1: all of them, or of more than 100 some, evenly, with the last.
    pub epochs: Vec<usize>,
    /// Mean loss of each of these epochs.
    pub loss: Vec<Spread>,
    /// Share of training images called right while training, in each of these epochs.
    pub accuracy: Vec<Spread>,
}

/// A number over several fine-tunes, to four decimals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Least.
    pub least: f64,
    /// Greatest.
    pub greatest: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let rounded = |value: f64| (value * 1e4).round() / 1e4;
        Self {
            mean: rounded(values.iter().sum::<f64>() / values.len().max(1) as f64),
            least: rounded(values.iter().copied().fold(f64::INFINITY, f64::min)),
            greatest: rounded(values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        }
    }
}

impl TrainingCurve {
    /// Of fine-tunes that were trained by one recipe; none where there is no fine-tune or no epoch.
    pub(crate) fn of(fine_tunes: &[Vec<Epoch>]) -> Option<Self> {
        let all = fine_tunes.iter().map(Vec::len).min().filter(|all| *all > 0)?;
        let step = all.div_ceil(MOST);
        // Counted from the end, so that the last one is among them.
        let mut epochs: Vec<usize> = (0..all).rev().step_by(step).map(|at| at + 1).collect();
        epochs.reverse();
        let over = |number: fn(&Epoch) -> f64| {
            let at = |epoch: &usize| Spread::of(&fine_tunes.iter().filter_map(|log| log.get(epoch - 1)).map(number).collect::<Vec<_>>());
            epochs.iter().map(at).collect()
        };
        let (loss, accuracy) = (over(|epoch| epoch.loss), over(|epoch| epoch.accuracy));
        Some(Self { fine_tunes: fine_tunes.len(), epochs, loss, accuracy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_means_with_their_ends() {
        let epoch = |loss, accuracy| Epoch { loss, accuracy, learning_rate: 0.1 };
        let curve = TrainingCurve::of(&[vec![epoch(1.0, 0.2), epoch(0.5, 0.6)], vec![epoch(2.0, 0.4), epoch(0.1, 0.7)]]).unwrap();
        assert_eq!((curve.fine_tunes, &curve.epochs[..]), (2, &[1, 2][..]));
        assert_eq!(curve.loss, [Spread { mean: 1.5, least: 1.0, greatest: 2.0 }, Spread { mean: 0.3, least: 0.1, greatest: 0.5 }]);
        assert_eq!(curve.accuracy[1], Spread { mean: 0.65, least: 0.6, greatest: 0.7 });
        assert!(TrainingCurve::of(&[]).is_none() && TrainingCurve::of(&[Vec::new()]).is_none());
        let long = TrainingCurve::of(&[vec![epoch(1.0, 0.5); 250]]).unwrap();
        assert!(long.epochs.len() <= MOST && long.epochs.last() == Some(&250) && long.loss.len() == long.epochs.len(), "{:?}", long.epochs);
    }
}
