//! `exp` and `erf` in single precision without branches or tables, so that loops over them become vector instructions.

/// `e^x`: `2^n e^r` with `|r| <= ln 2 / 2`, the polynomial for `e^r` from the Cephes library (`expf`); within 2 units in the last
/// place. Below -87.3 it gives 0, above 88.3 infinity.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let inside = if x > -87.3 { x } else { -87.3 };
    let inside = if inside < 89.0 { inside } else { 89.0 };
    let shifted = inside * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = inside - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let value = (p * r * r + r + 1.0) * power;
    let value = if x > -87.3 { value } else { 0.0 };
    if x.is_nan() { x } else { value }
}

/// The error function: `x P(x^2) / Q(x^2)` up to 3.92, 1 beyond; within 4e-7 of the truth, relatively. The coefficients have the least
/// greatest error on that interval (iteratively reweighted least squares; 1.6e-8 before rounding).
#[allow(clippy::approx_constant)] // the first comes out close to 2 / sqrt(pi), as it must, and not at it
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    const P: [f32; 6] = [1.128_379, 0.192_763_47, 0.053_060_375, 0.003_868_293_5, 0.000_287_477_26, 2.034_722_4e-6];
    const Q: [f32; 6] = [1.0, 0.504_163_86, 0.115_084_35, 0.015_172_23, 0.001_188_104_2, 3.807_039_7e-5];
    let inside = if x > -3.92 { x } else { -3.92 };
    let inside = if inside < 3.92 { inside } else { 3.92 };
    let square = inside * inside;
    let polynomial = |c: [f32; 6]| ((((c[5] * square + c[4]) * square + c[3]) * square + c[2]) * square + c[1]) * square + c[0];
    let value = inside * (polynomial(P) / polynomial(Q));
    let value = if value < 1.0 { value } else { 1.0 };
    let value = if value > -1.0 { value } else { -1.0 };
    if x.is_nan() { x } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_erf_are_right_to_single_precision() {
        // Each takes Miri a thousandth of a second.
        for i in (-120_000..=120_000_i32).step_by(if cfg!(miri) { 997 } else { 1 }) {
            let x = i as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let relative = (f64::from(exp(x)) / exact - 1.0).abs();
            assert!((-87.0..88.3).contains(&x) <= (relative < 2.5e-7), "exp({x}): {relative}");
            let exact = statrs::function::erf::erf(f64::from(x));
            let error = (f64::from(erf(x)) - exact).abs();
            assert!(error <= 5e-7 * exact.abs(), "erf({x}): {error}");
        }
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let far = [exp(-1e30), exp(1e30), exp(f32::NEG_INFINITY), exp(f32::INFINITY)];
        assert_eq!(bits(&far), bits(&[0.0, f32::INFINITY, 0.0, f32::INFINITY]));
        assert_eq!(bits(&[erf(f32::NEG_INFINITY), erf(0.0), erf(f32::INFINITY)]), bits(&[-1.0, 0.0, 1.0]));
        assert!(exp(f32::NAN).is_nan() && erf(f32::NAN).is_nan());
    }
}
