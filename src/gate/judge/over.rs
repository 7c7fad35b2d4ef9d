//! Excesses over other networks, with their intervals.

use super::Given;
use crate::gate::{Estimate, Innocents};
use crate::probe::{self, Arm, Measurement, Setting, Table};
use crate::stats::crossed::Crossed;
use crate::tune::POOL_SHARE;

/// How intervals are made.
pub(super) const METHOD: &str = "two-way crossed seeds x clusters, widened for skewness";

/// Why there is no interval.
pub(super) const NO_INTERVAL: &str = "an interval needs at least two seeds and two clusters of images";

/// Another network, and what is known of it.
pub(super) struct Measured<'a> {
    pub given: &'a Given<'a>,
    /// Its fine-tunes if they learnt the task, else why they are not compared with.
    pub valid: Result<&'a Measurement, String>,
    /// Clean accuracy; not a number where nothing was measured.
    pub accuracy: f64,
}

/// An excess with its interval.
pub(super) struct Over {
    pub table: Table,
    pub fit: Crossed,
    /// Of references: each of them, and how far innocent ones differ.
    pub innocents: Option<Innocents>,
}

impl Over {
    pub(super) fn plain(table: Table) -> Result<Self, String> {
        let fit = table.crossed().ok_or_else(|| NO_INTERVAL.to_owned())?;
        Ok(Self { table, fit, innocents: None })
    }
}

/// The excess over one of the `valid` arms.
pub(super) fn over_arm(source: &Measurement, valid: &[&Measurement], other: &Measurement, setting: &Setting) -> Result<Table, String> {
    let over = valid.iter().position(|m| std::ptr::eq(*m, other)).unwrap_or(usize::MAX);
    probe::excess_over_arm(source, valid, over, setting).map_err(|e| e.to_string())
}

pub(super) fn over_scratch(source: &Measurement, arms: &[Measured], valid: &[&Measurement], setting: &Setting) -> Result<Over, String> {
    let scratch = arms.iter().find(|arm| arm.given.arm == Arm::Scratch).ok_or("it was not measured")?;
    Over::plain(over_arm(source, valid, scratch.valid.as_ref().map_err(String::clone)?, setting)?)
}

pub(super) fn estimate(table: &Table, fit: &Crossed, alpha: f64, pass_alpha: f64) -> Estimate {
    // Both sides are differences of shares: no excess is further from nothing than 2.
    let bounds = |fit: &Crossed| [fit.low(alpha).max(-2.0), fit.high(pass_alpha).min(2.0)];
    let [low, high] = bounds(fit);
    Estimate {
        value: fit.mean,
        low,
        high,
        another_sample: Some(bounds(&fit.on_another_sample(POOL_SHARE))),
        confidence: 1.0 - alpha - pass_alpha,
        images: table.images,
        clusters: fit.clusters,
        seeds: fit.seeds,
        method: METHOD.to_owned(),
    }
}
