//! Elementwise functions and their derivatives.

use super::Real;
use super::wide::{map, map2};
use crate::graph::{Binary, Unary};

/// `f(x)` for every element.
pub(crate) fn forward<T: Real>(function: Unary, x: &[T]) -> Vec<T> {
    let c = T::of;
    let sigmoid = |v: T| T::ONE / (T::ONE + (-v).exp());
    match function {
        Unary::Relu => map(x, move |v| if v > T::ZERO || v.is_nan() { v } else { T::ZERO }),
        Unary::LeakyRelu(slope) => map(x, move |v| if v > T::ZERO { v } else { v * c(slope) }),
        Unary::Elu(alpha) => map(x, move |v| if v > T::ZERO { v } else { c(alpha) * (v.exp() - T::ONE) }),
        Unary::Clip { min, max } => map(x, move |v| v.at_least(c(min)).at_most(c(max))),
        Unary::Sigmoid => map(x, sigmoid),
        Unary::HardSigmoid { alpha, beta } => map(x, move |v| (c(alpha) * v + c(beta)).at_least(T::ZERO).at_most(T::ONE)),
        Unary::HardSwish => map(x, move |v| v * (v / c(6.0) + c(0.5)).at_least(T::ZERO).at_most(T::ONE)),
        Unary::Silu => map(x, move |v| v * sigmoid(v)),
        Unary::Tanh => map(x, Real::tanh),
        Unary::Gelu { tanh: false } => map(x, move |v| v * normal_cdf(v)),
        Unary::Gelu { tanh: true } => map(x, move |v| c(0.5) * v * (T::ONE + gelu_inner(v).tanh())),
        Unary::Erf => map(x, Real::erf),
        Unary::Softplus => map(x, move |v| v.at_least(T::ZERO) + (T::ONE + (-v.abs()).exp()).ln()),
        Unary::Exp => map(x, Real::exp),
        Unary::Log => map(x, Real::ln),
        Unary::Sqrt => map(x, Real::sqrt),
        Unary::Neg => map(x, move |v| -v),
        Unary::Abs => map(x, Real::abs),
        Unary::Reciprocal => map(x, move |v| T::ONE / v),
        Unary::Pow(2.0) => map(x, move |v| v * v),
        Unary::Pow(exponent) => map(x, move |v| v.powf(c(exponent))),
        Unary::Affine { scale, shift } => map(x, move |v| c(scale) * v + c(shift)),
        Unary::Round(kind) => map(x, move |v| c(kind.round(v.to_f64()))),
    }
}

/// Elementwise arithmetic on two operands of one shape.
pub(crate) fn binary<T: Real>(kind: Binary, a: &[T], b: &[T]) -> Vec<T> {
    match kind {
        Binary::Add => map2(a, b, move |a, b| a + b),
        Binary::Sub => map2(a, b, move |a, b| a - b),
        Binary::Mul => map2(a, b, move |a, b| a * b),
        Binary::Div => map2(a, b, move |a, b| a / b),
        Binary::Max => map2(a, b, Real::at_least),
        Binary::Min => map2(a, b, Real::at_most),
    }
}

/// `a + b`, cut off.
pub(crate) fn clamped_sum<T: Real>(a: &[T], b: &[T], [least, most]: [T; 2]) -> Vec<T> {
    map2(a, b, move |a, b| (a + b).at_least(least).at_most(most))
}

/// The gradient that a clamp lets through, by what came out of it.
pub(crate) fn passed<T: Real>(y: &[T], d: &[T], [least, most]: [T; 2]) -> Vec<T> {
    map2(y, d, move |y, d| if y > least && y < most { d } else { T::ZERO })
}

/// What a derivative is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Nothing: it is constant.
    Nothing,
    /// The argument.
    Input,
    /// The value.
    Output,
}

/// What [`backward`] reads.
pub(crate) fn derives_from(function: Unary) -> From {
    match function {
        Unary::Neg | Unary::Affine { .. } | Unary::Round(_) => From::Nothing,
        Unary::Relu | Unary::Sigmoid | Unary::HardSigmoid { .. } | Unary::Tanh | Unary::Exp | Unary::Sqrt | Unary::Reciprocal => {
            From::Output
        }
        _ => From::Input,
    }
}

/// `f'(x) * d` for every element. `of` is `x` or `y = f(x)`, as [`derives_from`] says.
pub(crate) fn backward<T: Real>(function: Unary, of: &[T], d: &[T]) -> Vec<T> {
    let (x, y) = (of, of);
    let c = T::of;
    let one = T::ONE;
    let sigmoid = |v: T| T::ONE / (T::ONE + (-v).exp());
    match function {
        Unary::Relu => map2(y, d, move |y, d| if y > T::ZERO { d } else { T::ZERO }),
        Unary::LeakyRelu(slope) => map2(x, d, move |x, d| if x > T::ZERO { d } else { d * c(slope) }),
        Unary::Elu(alpha) => map2(x, d, move |x, d| if x > T::ZERO { d } else { d * c(alpha) * x.exp() }),
        Unary::Clip { min, max } => map2(x, d, move |x, d| if x > c(min) && x < c(max) { d } else { T::ZERO }),
        Unary::Sigmoid => map2(y, d, move |y, d| d * y * (one - y)),
        Unary::HardSigmoid { alpha, .. } => map2(y, d, move |y, d| if y > T::ZERO && y < one { d * c(alpha) } else { T::ZERO }),
        Unary::HardSwish => map2(x, d, move |x, d| {
            if x <= c(-3.0) {
                T::ZERO
            } else if x >= c(3.0) {
                d
            } else {
                d * (x / c(3.0) + c(0.5))
            }
        }),
        Unary::Silu => map2(x, d, move |x, d| {
            let s = sigmoid(x);
            d * (s + x * s * (one - s))
        }),
        Unary::Tanh => map2(y, d, move |y, d| d * (one - y * y)),
        Unary::Gelu { tanh: false } => map2(x, d, move |x, d| d * (normal_cdf(x) + x * normal_density(x))),
        Unary::Gelu { tanh: true } => map2(x, d, move |x, d| {
            let t = gelu_inner(x).tanh();
            let inner = c(SQRT_2_OVER_PI) * (one + c(3.0 * 0.044_715) * x * x);
            d * (c(0.5) * (one + t) + c(0.5) * x * (one - t * t) * inner)
        }),
        Unary::Erf => map2(x, d, move |x, d| d * c(std::f64::consts::FRAC_2_SQRT_PI) * (-(x * x)).exp()),
        Unary::Softplus => map2(x, d, move |x, d| d * sigmoid(x)),
        Unary::Exp => map2(y, d, move |y, d| d * y),
        Unary::Log => map2(x, d, move |x, d| d / x),
        Unary::Sqrt => map2(y, d, move |y, d| d / (y + y)),
        Unary::Neg => map(d, move |d| -d),
        Unary::Abs => map2(x, d, move |x, d| {
            if x > T::ZERO {
                d
            } else if x < T::ZERO {
                -d
            } else {
                T::ZERO
            }
        }),
        Unary::Reciprocal => map2(y, d, move |y, d| -d * y * y),
        Unary::Pow(2.0) => map2(x, d, move |x, d| d * (x + x)),
        Unary::Pow(exponent) => map2(x, d, move |x, d| d * c(exponent) * x.powf(c(exponent - 1.0))),
        Unary::Affine { scale, .. } => map(d, move |d| d * c(scale)),
        Unary::Round(_) => d.to_vec(),
    }
}

const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

fn gelu_inner<T: Real>(x: T) -> T {
    T::of(SQRT_2_OVER_PI) * (x + T::of(0.044_715) * x * x * x)
}

fn normal_cdf<T: Real>(x: T) -> T {
    T::of(0.5) * (T::ONE + (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

fn normal_density<T: Real>(x: T) -> T {
    T::of(SQRT_2_OVER_PI / 2.0) * (-(x * x) / T::of(2.0)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No operand is lost beside one that is hugely negative, and what is no number stays visible on either side.
    #[test]
    fn the_greater_and_the_lesser_of_two_are_exact() {
        let (a, b) = ([f32::MIN, 5.0, -1e20, f32::NAN, 1.0, f32::NEG_INFINITY], [5.0, f32::MIN, 7.0, 1.0, f32::NAN, -3.0]);
        let max = binary(Binary::Max, &a, &b);
        assert_eq!((&max[..3], max[5]), (&[5.0, 5.0, 7.0][..], -3.0));
        let min = binary(Binary::Min, &a, &b);
        assert_eq!((&min[..3], min[5]), (&[f32::MIN, f32::MIN, -1e20][..], f32::NEG_INFINITY));
        assert!(max[3..5].iter().chain(&min[3..5]).all(|v| v.is_nan()));
    }
}
