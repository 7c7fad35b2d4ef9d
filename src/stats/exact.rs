//! Clopper and Pearson's exact interval for one rate (Clopper and Pearson 1934).

use statrs::function::beta::checked_beta_reg;

use super::Interval;
use super::quantile::bounded;

/// The interval of a rate of `successes` in `trials` with error of at most `alpha` on each side; `0..=1` without a trial.
///
/// Bounds are quantiles of Beta(x, n - x + 1) and Beta(x + 1, n - x). Both counts may be fractions: an effective sample
/// size seldom is a whole number (Korn and Graubard 1998). What is not a number, or negative, widens to `0..=1`.
pub(crate) fn clopper_pearson(successes: f64, trials: f64, alpha: f64) -> Interval {
    if !(successes.is_finite() && trials.is_finite() && trials > 0.0 && (0.0..=trials).contains(&successes)) {
        return Interval { low: 0.0, high: 1.0 };
    }
    let alpha = bounded(alpha);
    let failures = trials - successes;
    Interval {
        low: if successes > 0.0 { beta_quantile(successes, failures + 1.0, alpha) } else { 0.0 },
        high: if failures > 0.0 { 1.0 - beta_quantile(failures, successes + 1.0, alpha) } else { 1.0 },
    }
}

/// The point below which Beta(a, b) has probability `p`, by bisection: the distribution function is monotone, and statrs' own
/// inverse answers some inputs with a panic.
fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // Down to neighbouring numbers: a relative bound would stop too early near 0.
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        // A function without a value at a point inside would mean shapes that are not positive; then the bound moves outwards.
        if checked_beta_reg(a, b, middle).is_ok_and(|below| below < p) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::golden::{close, list, value};

    #[test]
    fn bounds_agree_with_statsmodels() {
        for case in list(&value("exact")) {
            let got = clopper_pearson(case[0], case[1], case[2]);
            assert!(close(got.low, case[3], 1e-9) && close(got.high, case[4], 1e-9), "{case:?}: {got:?}");
        }
    }

    #[test]
    fn strange_counts_widen() {
        for (x, n) in [(0.0, 0.0), (f64::NAN, 5.0), (-1.0, 5.0), (6.0, 5.0), (1.0, f64::INFINITY)] {
            let got = clopper_pearson(x, n, 0.025);
            assert_eq!((got.low, got.high), (0.0, 1.0), "{x} of {n}");
        }
        for alpha in [f64::NAN, -1.0, 0.0, 9.0] {
            let got = clopper_pearson(3.0, 7.5, alpha);
            assert!(got.low <= 0.4 && got.high >= 0.4 && got.low > 0.0 && got.high < 1.0, "{alpha}: {got:?}");
        }
    }
}
