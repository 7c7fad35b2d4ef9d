//! Upper quantiles, safe for any input.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Smallest error on one side that is told apart from none.
const LEAST: f64 = 1e-12;

/// The point that Student's t with `freedom` degrees exceeds with probability `alpha` (one side, `0 < alpha < 0.5`;
/// what lies outside is moved inside). Infinite without a degree of freedom.
pub fn student_t(alpha: f64, freedom: usize) -> f64 {
    student_t_real(alpha, freedom as f64)
}

/// The same for degrees that are no whole number.
pub fn student_t_real(alpha: f64, freedom: f64) -> f64 {
    let alpha = bounded(alpha);
    // Beyond this many degrees it is the normal to seven digits, and the inverse of the beta function loses its footing.
    if freedom > 1e7 {
        return normal(alpha);
    }
    match StudentsT::new(0.0, 1.0, freedom) {
        Ok(t) => -t.inverse_cdf(alpha),
        // Without a degree of freedom there is no such distribution.
        Err(_) => f64::INFINITY,
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
