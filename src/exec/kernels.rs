//! CPU kernels on plain slices, f32 and f64 (f64 exists for the gradient checks).
//!
//! Every kernel gives the same bits for any number of threads: work is cut into pieces whose size does not
//! depend on the thread count, and partial sums are added in order.

pub(super) mod conv;
pub(super) mod depthwise;
pub(super) mod elementwise;
pub(super) mod matmul;
pub(super) mod norm;
pub(super) mod pool;

use std::ops::{Add, AddAssign, Deref, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use candle_core::{FloatDType, Layout, Storage, Tensor};
use rayon::prelude::*;

/// The number types of the kernels.
pub trait Real:
    FloatDType
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
{
    /// Additive identity.
    const ZERO: Self;
    /// Multiplicative identity.
    const ONE: Self;
    /// From a double.
    fn of(value: f64) -> Self;
    /// `e^x`.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Error function.
    fn erf(self) -> Self;
    /// Power.
    fn powf(self, exponent: Self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The greater one; NaN where either is NaN.
    fn at_least(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }
    /// The lesser one; NaN where either is NaN.
    fn at_most(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
    /// Not a number.
    fn is_nan(self) -> bool {
        self.partial_cmp(&self).is_none()
    }
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            fn of(value: f64) -> Self {
                value as $t
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn ln(self) -> Self {
                self.ln()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn tanh(self) -> Self {
                self.tanh()
            }
            fn erf(self) -> Self {
                statrs::function::erf::erf(f64::from(self)) as $t
            }
            fn powf(self, exponent: Self) -> Self {
                self.powf(exponent)
            }
            fn abs(self) -> Self {
                self.abs()
            }
        }
    };
}
real!(f32);
real!(f64);

/// Elements per piece of an elementwise kernel.
const PIECE: usize = 1 << 14;

/// Read access to the numbers of a contiguous CPU tensor, without a copy.
pub(super) struct View<'a> {
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    layout: &'a Layout,
}

impl<'a> View<'a> {
    pub(super) fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage: Box::new(storage), layout }
    }

    pub(super) fn slice<T: Real>(&self) -> candle_core::Result<&[T]> {
        let Storage::Cpu(cpu) = &**self.storage else { candle_core::bail!("this kernel runs on the CPU only") };
        let Some((start, end)) = self.layout.contiguous_offsets() else { candle_core::bail!("this kernel needs a contiguous tensor") };
        Ok(&cpu.as_slice::<T>()?[start..end])
    }
}

/// Fills `out` piece by piece in parallel; `fill` gets the offset of its piece.
pub(super) fn fill_pieces<T: Real>(out: &mut [T], fill: impl Fn(usize, &mut [T]) + Sync) {
    if out.len() <= PIECE {
        fill(0, out);
    } else {
        out.par_chunks_mut(PIECE).enumerate().for_each(|(i, piece)| fill(i * PIECE, piece));
    }
}

/// The sum in sixteen interleaved partial sums: vectorises, and loses less than one running sum.
pub(super) fn sum<T: Real>(values: &[T]) -> T {
    sum_by(values, |v| v)
}

/// The sum of `f(v)`, as [`sum`].
#[inline]
pub(super) fn sum_by<T: Real>(values: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::ZERO; 16];
    let mut chunks = values.chunks_exact(16);
    for chunk in &mut chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f(v);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += f(v);
    }
    fold(lanes)
}

/// The sum of `f(a, b)` over pairs, as [`sum`].
#[inline]
pub(super) fn sum_pairs<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; 16];
    let (mut xs, mut ys) = (a.chunks_exact(16), b.chunks_exact(16));
    for (x, y) in (&mut xs).zip(&mut ys) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += f(x, y);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(xs.remainder()).zip(ys.remainder()) {
        *lane += f(x, y);
    }
    fold(lanes)
}

#[inline]
fn fold<T: Real>(mut lanes: [T; 16]) -> T {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = lanes[i] + lanes[i + half];
        }
    }
    lanes[0]
}
