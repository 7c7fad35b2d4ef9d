//! Wilson's score interval for one rate (Wilson 1927).

use super::normal;

/// Two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Interval {}

/// The interval of a rate of `successes` in `trials` with error `alpha` on each side; `0..=1` without a trial.
///
/// `successes` may be a fraction (a mean number of successes).
pub(crate) fn wilson(successes: f64, trials: usize, alpha: f64) -> Interval {
    if trials == 0 || !successes.is_finite() {
        return Interval { low: 0.0, high: 1.0 };
    }
    let n = trials as f64;
    let p = (successes / n).clamp(0.0, 1.0);
    let z2 = normal(alpha).powi(2);
    let center = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = (z2 * (p * (1.0 - p) / n + z2 / (4.0 * n * n))).sqrt() / (1.0 + z2 / n);
    Interval { low: (center - half).clamp(0.0, p), high: (center + half).clamp(p, 1.0) }
}
