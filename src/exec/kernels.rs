//! CPU kernels on plain slices, f32 and f64 (f64 exists for the gradient checks).
//!
//! Every kernel gives the same bits for any number of threads: work is cut into pieces whose size does not
//! depend on the thread count, and partial sums are added in order.
#![allow(clippy::inline_always)] // a loop is compiled for the instruction set of the function it is inlined into

pub(super) mod attention;
pub(super) mod conv;
pub(super) mod depthwise;
pub(super) mod direct;
pub(super) mod elementwise;
pub(super) mod layout;
pub(super) mod matmul;
pub(super) mod norm;
#[cfg(test)]
mod patches;
mod pieces;
pub(super) mod pointwise;
pub(super) mod pool;
mod special;
mod tile;
pub(super) mod wide;
pub(super) mod winograd;

use std::mem::MaybeUninit;
use std::ops::{Add, AddAssign, Deref, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use candle_core::{FloatDType, Layout, Storage, Tensor};
use pulp::Simd;

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
    /// No bounds: the least and the greatest number.
    const UNBOUNDED: [Self; 2];
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
    /// A vector of numbers on one instruction set.
    type Vector<S: Simd>: Copy;
    /// Numbers in a vector.
    fn lanes<S: Simd>() -> usize;
    /// The same number in every place.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// A slice as vectors, less what fills none at its end.
    fn vectors<S: Simd>(from: &[Self]) -> &[Self::Vector<S>];
    /// The sum of a vector.
    fn total<S: Simd>(simd: S, vector: Self::Vector<S>) -> Self;
    /// The first [`Real::lanes`] numbers of a slice.
    fn load<S: Simd>(simd: S, from: &[Self]) -> Self::Vector<S>;
    /// Into the first [`Real::lanes`] places of a slice.
    fn store<S: Simd>(simd: S, to: &mut [Self], vector: Self::Vector<S>);
    /// [`Real::store`] where nothing is yet.
    fn store_new<S: Simd>(simd: S, to: &mut [MaybeUninit<Self>], vector: Self::Vector<S>);
    /// `a + b`.
    fn plus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a - b`.
    fn minus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a * b + c`, rounded once where the machine has an instruction for it.
    fn fused<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// Every number cut off at the least and the most; NaN stays.
    fn within<S: Simd>(simd: S, vector: Self::Vector<S>, bounds: [Self::Vector<S>; 2]) -> Self::Vector<S>;
    /// The greater one; NaN where either is NaN.
    #[inline(always)]
    fn at_least(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }
    /// The lesser one; NaN where either is NaN.
    #[inline(always)]
    fn at_most(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
    /// Not a number.
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.partial_cmp(&self).is_none()
    }
}

macro_rules! real {
    ($t:ty, $exp:path, $erf:path, $vector:ident, $lanes:ident, $splat:ident, $as_simd:ident, $as_mut_simd:ident,
     $as_uninit_mut_simd:ident, $fused:ident, $less:ident, $select:ident, $total:ident, $plus:ident, $minus:ident) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const UNBOUNDED: [Self; 2] = [<$t>::NEG_INFINITY, <$t>::INFINITY];
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                self.ln()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn tanh(self) -> Self {
                self.tanh()
            }
            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
            fn powf(self, exponent: Self) -> Self {
                self.powf(exponent)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            type Vector<S: Simd> = S::$vector;
            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }
            #[inline(always)]
            fn vectors<S: Simd>(from: &[Self]) -> &[S::$vector] {
                S::$as_simd(from).0
            }
            #[inline(always)]
            fn total<S: Simd>(simd: S, vector: S::$vector) -> Self {
                simd.$total(vector)
            }
            #[inline(always)]
            fn load<S: Simd>(_: S, from: &[Self]) -> S::$vector {
                S::$as_simd(from).0[0]
            }
            #[inline(always)]
            fn store<S: Simd>(_: S, to: &mut [Self], vector: S::$vector) {
                S::$as_mut_simd(to).0[0] = vector;
            }
            #[inline(always)]
            fn store_new<S: Simd>(_: S, to: &mut [MaybeUninit<Self>], vector: S::$vector) {
                S::$as_uninit_mut_simd(to).0[0].write(vector);
            }
            #[inline(always)]
            fn plus<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$plus(a, b)
            }
            #[inline(always)]
            fn minus<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$minus(a, b)
            }
            #[inline(always)]
            fn fused<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$fused(a, b, c)
            }
            #[inline(always)]
            fn within<S: Simd>(simd: S, vector: S::$vector, [least, most]: [S::$vector; 2]) -> S::$vector {
                let vector = simd.$select(simd.$less(vector, least), least, vector);
                simd.$select(simd.$less(most, vector), most, vector)
            }
        }
    };
}
real!(
    f32,
    special::exp,
    special::erf,
    f32s,
    F32_LANES,
    splat_f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    as_uninit_mut_simd_f32s,
    mul_add_e_f32s,
    less_than_f32s,
    select_f32s,
    reduce_sum_f32s,
    add_f32s,
    sub_f32s
);
real!(
    f64,
    f64::exp,
    statrs::function::erf::erf,
    f64s,
    F64_LANES,
    splat_f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    as_uninit_mut_simd_f64s,
    mul_add_e_f64s,
    less_than_f64s,
    select_f64s,
    reduce_sum_f64s,
    add_f64s,
    sub_f64s
);

/// Read access to the numbers of a contiguous CPU tensor, without a copy.
pub(crate) struct View<'a> {
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    layout: &'a Layout,
}

impl<'a> View<'a> {
    pub(crate) fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage: Box::new(storage), layout }
    }

    pub(crate) fn slice<T: Real>(&self) -> candle_core::Result<&[T]> {
        let Storage::Cpu(cpu) = &**self.storage else { candle_core::bail!("this kernel runs on the CPU only") };
        let Some((start, end)) = self.layout.contiguous_offsets() else { candle_core::bail!("this kernel needs a contiguous tensor") };
        Ok(&cpu.as_slice::<T>()?[start..end])
    }
}
