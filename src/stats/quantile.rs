//! Upper quantiles, safe for any input.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Smallest error on one side that is told apart from none.
const LEAST: f64 = 1e-12;

/// The point that Student's t with `freedom` degrees exceeds with probability `alpha` (one side, `0 < alpha < 0.5`;
/// what lies outside is moved inside). Infinite without a degree of freedom.
pub fn student_t(alpha: f64, freedom: usize) -> f64 {
    let alpha = bounded(alpha);
    // Beyond this many degrees it is the normal to seven digits, and the inverse of the beta function loses its footing.
    if freedom > 10_000_000 {
        return normal(alpha);
    }
    // `max(1)` only keeps the constructor from failing; no degree of freedom is answered first.
    match StudentsT::new(0.0, 1.0, freedom.max(1) as f64) {
        Ok(t) if freedom > 0 => -t.inverse_cdf(alpha),
        _ => f64::INFINITY,
    }
}

/// The point that a standard normal exceeds with probability `alpha`, bounded likewise.
pub fn normal(alpha: f64) -> f64 {
    -Normal::standard().inverse_cdf(bounded(alpha))
}

/// `NaN` becomes the smallest error, so that a broken input widens.
pub(super) fn bounded(alpha: f64) -> f64 {
    if alpha.is_nan() { LEAST } else { alpha.clamp(LEAST, 0.5) }
}
