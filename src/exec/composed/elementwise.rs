//! Elementwise functions and their derivatives, as the CPU's kernels define them: NaN stays NaN.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use candle_core::{DType, Result, Tensor};

use super::kept_where;
use crate::exec::forward::repeated;
use crate::graph::{Binary, Sixteen, Unary};

pub(super) fn forward(function: Unary, x: &Tensor) -> Result<Tensor> {
    match function {
        Unary::Relu => relu(x),
        Unary::LeakyRelu(slope) => x.gt(0.0)?.where_cond(x, &(x * slope)?),
        Unary::Elu(alpha) => x.gt(0.0)?.where_cond(x, &((x.exp()? - 1.0)? * alpha)?),
        Unary::Clip { min, max } => clip(x, min, max),
        Unary::Sigmoid => sigmoid(x),
        Unary::HardSigmoid { alpha, beta } => clip(&x.affine(alpha, beta)?, 0.0, 1.0),
        Unary::HardSwish => x * clip(&x.affine(1.0 / 6.0, 0.5)?, 0.0, 1.0)?,
        Unary::Silu => x * sigmoid(x)?,
        Unary::Tanh => x.tanh(),
        Unary::Gelu { tanh: false } => x * normal_cdf(x)?,
        Unary::Gelu { tanh: true } => (x * 0.5)? * (gelu_inner(x)?.tanh()? + 1.0)?,
        Unary::Erf => x.erf(),
        Unary::Softplus => relu(x)? + ((x.abs()?.neg()?.exp()? + 1.0)?.log()?),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt => x.sqrt(),
        Unary::Neg => x.neg(),
        Unary::Abs => x.abs(),
        Unary::Reciprocal => x.recip(),
        Unary::Pow(2.0) => x.sqr(),
        Unary::Pow(exponent) => x.powf(exponent),
        Unary::Affine { scale, shift } => x.affine(scale, shift),
        Unary::Round(kind) => {
            let half = if kind == Sixteen::Float16 { DType::F16 } else { DType::BF16 };
            x.to_dtype(half)?.to_dtype(x.dtype())
        }
    }
}

/// `f'(x) * d`; `y` is `f(x)`.
pub(super) fn backward(function: Unary, x: &Tensor, y: &Tensor, d: &Tensor) -> Result<Tensor> {
    match function {
        Unary::Relu => kept_where(&x.gt(0.0)?, d),
        Unary::LeakyRelu(slope) => x.gt(0.0)?.where_cond(d, &(d * slope)?),
        Unary::Elu(alpha) => x.gt(0.0)?.where_cond(d, &((d * alpha)? * x.exp()?)?),
        Unary::Clip { min, max } => kept_where(&x.lt(max)?, &kept_where(&x.gt(min)?, d)?),
        Unary::Sigmoid => (d * y)? * y.affine(-1.0, 1.0)?,
        Unary::HardSigmoid { alpha, .. } => kept_where(&y.lt(1.0)?, &kept_where(&y.gt(0.0)?, &(d * alpha)?)?),
        Unary::HardSwish => {
            let between = (d * x.affine(1.0 / 3.0, 0.5)?)?;
            x.ge(3.0)?.where_cond(d, &x.le(-3.0)?.where_cond(&d.zeros_like()?, &between)?)
        }
        Unary::Silu => {
            let s = sigmoid(x)?;
            d * (&s + ((x * &s)? * s.affine(-1.0, 1.0)?)?)?
        }
        Unary::Tanh => d * y.sqr()?.affine(-1.0, 1.0)?,
        Unary::Gelu { tanh: false } => d * (normal_cdf(x)? + (x * normal_density(x)?)?)?,
        Unary::Gelu { tanh: true } => {
            let t = gelu_inner(x)?.tanh()?;
            let inner = x.sqr()?.affine(sqrt_2_over_pi() * 3.0 * 0.044_715, sqrt_2_over_pi())?;
            let slope = (((x * 0.5)? * t.sqr()?.affine(-1.0, 1.0)?)? * inner)?;
            d * (t.affine(0.5, 0.5)? + slope)?
        }
        Unary::Erf => d * (x.sqr()?.neg()?.exp()? * FRAC_2_SQRT_PI)?,
        Unary::Softplus => d * sigmoid(x)?,
        Unary::Exp => d * y,
        Unary::Log => d / x,
        Unary::Sqrt => d / (y + y)?,
        Unary::Neg => d.neg(),
        Unary::Abs => kept_where(&x.gt(0.0)?, d)? - kept_where(&x.lt(0.0)?, d)?,
        Unary::Reciprocal => (d * y.sqr()?)?.neg(),
        Unary::Pow(2.0) => d * (x + x)?,
        Unary::Pow(exponent) => (d * exponent)? * x.powf(exponent - 1.0)?,
        Unary::Affine { scale, .. } => d * scale,
        Unary::Round(_) => Ok(d.clone()),
    }
}

/// `max(x, 0)`. (candle's own turns NaN into 0, and a damaged network into a sound one.)
pub(super) fn relu(x: &Tensor) -> Result<Tensor> {
    x.le(0.0)?.where_cond(&x.zeros_like()?, x)
}

/// The greater or the lesser of two, NaN where either is NaN.
pub(super) fn better(kind: Binary, a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let (a, b) = (repeated(a, shape)?, repeated(b, shape)?);
    let loses = if kind == Binary::Max { a.lt(&b)? } else { a.gt(&b)? };
    // Neither compares with NaN: the first one's stays, the second one's is put there.
    (loses + b.ne(&b)?)?.where_cond(&b, &a)
}

fn clip(x: &Tensor, min: f64, max: f64) -> Result<Tensor> {
    let bound = |value: f64| x.zeros_like()? + value;
    let raised = if min > f64::NEG_INFINITY { x.lt(min)?.where_cond(&bound(min)?, x)? } else { x.clone() };
    if max < f64::INFINITY { raised.gt(max)?.where_cond(&bound(max)?, &raised) } else { Ok(raised) }
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

fn sqrt_2_over_pi() -> f64 {
    (2.0 / PI).sqrt()
}

fn gelu_inner(x: &Tensor) -> Result<Tensor> {
    x * x.sqr()?.affine(sqrt_2_over_pi() * 0.044_715, sqrt_2_over_pi())?
}

fn normal_cdf(x: &Tensor) -> Result<Tensor> {
    (x * FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)
}

fn normal_density(x: &Tensor) -> Result<Tensor> {
    (x.sqr()? / -2.0)?.exp()? * (sqrt_2_over_pi() / 2.0)
}
