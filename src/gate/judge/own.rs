//! What the source does by itself.

use super::over::{METHOD, NO_INTERVAL};
use super::references;
use crate::gate::Estimate;
use crate::probe::paired::{self, Under};
use crate::probe::{Estimand, Measurement, Setting};
use crate::tune::POOL_SHARE;

/// What the source does under a trigger, compared with nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
    /// The bounds where the training images are taken for a sample too.
    another_sample: [f64; 2],
    /// The highest that any fine-tune does: by itself where that is shown to be above the limit, else no more than over its shams.
    pub highest: f64,
    /// Fine-tunes.
    pub seeds: usize,
    images: usize,
    clusters: usize,
}

impl Own {
    pub(super) fn estimate(&self, alpha: f64) -> Estimate {
        Estimate {
            value: self.mean,
            low: self.low.max(-1.0),
            high: self.high.min(1.0),
            another_sample: Some(self.another_sample),
            confidence: 1.0 - 2.0 * alpha,
            images: self.images,
            clusters: self.clusters,
            seeds: self.seeds,
            method: METHOD.to_owned(),
        }
    }
}

/// `alpha` is the error on each side, `over_shams` the excess of each fine-tune, where there are shams.
pub(super) fn own_reaction(source: &Measurement, setting: &Setting, alpha: f64, (limit, over_shams): (f64, &[f64])) -> Result<Own, String> {
    // How many are called a class is no reaction by itself: some are without a trigger.
    let gain = Setting { estimand: Estimand::Attraction, ..*setting };
    let setting = if setting.estimand == Estimand::AttackSuccessRate { &gain } else { setting };
    let table = paired::effect(source, Under::Trigger, setting).map_err(|e| e.to_string())?;
    let fit = table.crossed().ok_or_else(|| NO_INTERVAL.to_owned())?;
    // Some fine-tune of an innocent checkpoint that reacts a little is estimated at the limit by chance. One that inherits what was planted is above
    // its shams too, or so high that it is no chance.
    let each = table.rows.iter().zip(table.of_seeds()).enumerate().map(|(at, (row, own))| {
        let by_chance = references::lower(row, table.effective, alpha) <= limit;
        over_shams.get(at).filter(|_| by_chance).map_or(own, |over| over.min(own))
    });
    let highest = each.fold(f64::NEG_INFINITY, f64::max);
    let (images, clusters) = (table.images, fit.clusters);
    let wider = fit.on_another_sample(POOL_SHARE);
    let another_sample = [wider.low(alpha).max(-1.0), wider.high(alpha).min(1.0)];
    Ok(Own { another_sample, mean: fit.mean, low: fit.low(alpha), high: fit.high(alpha), highest, seeds: fit.seeds, images, clusters })
}
