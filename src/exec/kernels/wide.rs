//! Loops compiled for the widest vectors that the machine has.
//!
//! A program for every x86-64 machine uses 128-bit vectors; here the same plain loops are compiled for AVX2 and AVX-512
//! too and chosen at run time (`pulp`). No sum here changes its order with the width of the vectors.
//!
//! Functions are passed by value and own what they capture (`move`): through a reference, what they read could be what the loop writes, and
//! the loop would not be made of vectors.
#![allow(unsafe_code)] // results that are written before they are read

use std::mem::MaybeUninit;

use super::Real;
use super::pieces::made;
use pulp::{Arch, Simd, WithSimd};

/// Elements per piece of an elementwise loop.
const PIECE: usize = 1 << 14;

/// Runs a loop on the widest vectors.
#[inline]
pub(super) fn wide<Op: WithSimd>(op: Op) -> Op::Output {
    Arch::new().dispatch(op)
}

/// Where a number can be put: over another one, or into memory that holds nothing yet.
pub(super) trait Place<T> {
    fn put(&mut self, value: T);
}

impl<T: Real> Place<T> for T {
    #[inline(always)]
    fn put(&mut self, value: T) {
        *self = value;
    }
}

impl<T: Real> Place<T> for MaybeUninit<T> {
    #[inline(always)]
    fn put(&mut self, value: T) {
        self.write(value);
    }
}

/// `out[i] = f(x[i])`.
#[inline]
pub(super) fn map_into<T: Real, P: Place<T>>(out: &mut [P], x: &[T], f: impl Fn(T) -> T) {
    struct Map<'a, P, T, F>(&'a mut [P], &'a [T], F);
    impl<T: Real, P: Place<T>, F: Fn(T) -> T> WithSimd for Map<'_, P, T, F> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            for (out, &x) in self.0.iter_mut().zip(self.1) {
                out.put(self.2(x));
            }
        }
    }
    wide(Map(out, x, f));
}

/// [`map_into`] memory that holds nothing yet.
#[inline]
pub(super) fn map_new<'a, T: Real>(out: &'a mut [MaybeUninit<T>], x: &[T], f: impl Fn(T) -> T) -> &'a mut [T] {
    assert_eq!(out.len(), x.len(), "the result has another size");
    map_into(out, x, f);
    // SAFETY: there are as many numbers as places, and each was put into its place.
    unsafe { out.assume_init_mut() }
}

/// `x[i] = f(x[i])`.
#[inline]
pub(super) fn change<T: Real>(x: &mut [T], f: impl Fn(T) -> T) {
    struct Change<'a, T, F>(&'a mut [T], F);
    impl<T: Real, F: Fn(T) -> T> WithSimd for Change<'_, T, F> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            for x in self.0 {
                *x = self.1(*x);
            }
        }
    }
    wide(Change(x, f));
}

/// `best[i]` becomes the greater of `best[i]` and `x[i]`, NaN where either is.
#[inline]
pub(super) fn take_greater<T: Real>(best: &mut [T], x: &[T]) {
    struct Greater<'a, T>(&'a mut [T], &'a [T]);
    impl<T: Real> WithSimd for Greater<'_, T> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            for (best, &x) in self.0.iter_mut().zip(self.1) {
                *best = x.at_least(*best);
            }
        }
    }
    wide(Greater(best, x));
}

/// `at[i] = first + i * step` where `x[i]` is `best[i]` or NaN.
#[inline]
pub(super) fn mark_equal<T: Real>(at: &mut [u32], best: &[T], x: &[T], [first, step]: [u32; 2]) {
    struct Equal<'a, T>(&'a mut [u32], [&'a [T]; 2], [u32; 2]);
    impl<T: Real> WithSimd for Equal<'_, T> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Self(at, [best, x], [first, step]) = self;
            for (i, ((at, &best), &x)) in (0u32..).zip(at.iter_mut().zip(best).zip(x)) {
                let own = first.wrapping_add(i.wrapping_mul(step));
                *at = if x == best || x.is_nan() { own } else { *at };
            }
        }
    }
    wide(Equal(at, [best, x], [first, step]));
}

/// `out[i] = f(a[i], b[i])`.
#[inline]
pub(super) fn map2_into<T: Real, P: Place<T>>(out: &mut [P], a: &[T], b: &[T], f: impl Fn(T, T) -> T) {
    struct Map<'a, P, T, F>(&'a mut [P], &'a [T], &'a [T], F);
    impl<T: Real, P: Place<T>, F: Fn(T, T) -> T> WithSimd for Map<'_, P, T, F> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            for ((out, &a), &b) in self.0.iter_mut().zip(self.1).zip(self.2) {
                out.put(self.3(a, b));
            }
        }
    }
    wide(Map(out, a, b, f));
}

/// [`map2_into`] memory that holds nothing yet.
#[inline]
pub(super) fn map2_new<'a, T: Real>(out: &'a mut [MaybeUninit<T>], a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> &'a mut [T] {
    assert_eq!([out.len(); 2], [a.len(), b.len()], "the result has another size");
    map2_into(out, a, b, f);
    // SAFETY: there are as many pairs as places, and each was put into its place.
    unsafe { out.assume_init_mut() }
}

/// `out[i] = f([a[i], b[i], c[i]])`.
#[inline]
pub(super) fn map3_into<T: Real>(out: &mut [T], inputs: [&[T]; 3], f: impl Fn([T; 3]) -> T) {
    struct Map<'a, T, F>(&'a mut [T], [&'a [T]; 3], F);
    impl<T: Real, F: Fn([T; 3]) -> T> WithSimd for Map<'_, T, F> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let [a, b, c] = self.1;
            for (((out, &a), &b), &c) in self.0.iter_mut().zip(a).zip(b).zip(c) {
                *out = self.2([a, b, c]);
            }
        }
    }
    wide(Map(out, inputs, f));
}

/// `sum[i] += f([a[i], b[i]])`.
#[inline]
pub(super) fn add_into<T: Real>(sum: &mut [T], inputs: [&[T]; 2], f: impl Fn([T; 2]) -> T) {
    struct Add<'a, T, F>(&'a mut [T], [&'a [T]; 2], F);
    impl<T: Real, F: Fn([T; 2]) -> T> WithSimd for Add<'_, T, F> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let [a, b] = self.1;
            for ((sum, &a), &b) in self.0.iter_mut().zip(a).zip(b) {
                *sum += self.2([a, b]);
            }
        }
    }
    wide(Add(sum, inputs, f));
}

/// [`map_into`] a new vector, in parallel.
pub(super) fn map<T: Real>(x: &[T], f: impl Fn(T) -> T + Copy + Sync) -> Vec<T> {
    made(x.len(), PIECE, move |i, out| {
        let x = &x[i * PIECE..][..out.len()];
        map_new(out, x, f)
    })
}

/// [`map2_into`] a new vector, in parallel.
pub(super) fn map2<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Copy + Sync) -> Vec<T> {
    made(a.len(), PIECE, move |i, out| {
        let (a, b) = (&a[i * PIECE..][..out.len()], &b[i * PIECE..][..out.len()]);
        map2_new(out, a, b, f)
    })
}

/// Interleaved partial sums: they vectorise, and lose less than one running sum.
const LANES: usize = 32;

/// The sum.
#[inline]
pub(super) fn sum<T: Real>(values: &[T]) -> T {
    sum_by(values, |v| v)
}

/// The sum of `f(v)`.
#[inline]
pub(super) fn sum_by<T: Real>(values: &[T], f: impl Fn(T) -> T) -> T {
    struct Sum<'a, T, F>(&'a [T], F);
    impl<T: Real, F: Fn(T) -> T> WithSimd for Sum<'_, T, F> {
        type Output = T;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> T {
            let mut lanes = [T::ZERO; LANES];
            let (chunks, rest) = self.0.as_chunks::<LANES>();
            for chunk in chunks {
                for i in 0..LANES {
                    lanes[i] += self.1(chunk[i]);
                }
            }
            for (lane, &v) in lanes.iter_mut().zip(rest) {
                *lane += self.1(v);
            }
            fold(lanes)
        }
    }
    wide(Sum(values, f))
}

/// `x[i] = f(x[i])`, and the sum of them.
#[inline]
pub(super) fn change_and_sum<T: Real>(x: &mut [T], f: impl Fn(T) -> T) -> T {
    struct Change<'a, T, F>(&'a mut [T], F);
    impl<T: Real, F: Fn(T) -> T> WithSimd for Change<'_, T, F> {
        type Output = T;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> T {
            let mut lanes = [T::ZERO; LANES];
            let (chunks, rest) = self.0.as_chunks_mut::<LANES>();
            for chunk in chunks {
                for i in 0..LANES {
                    chunk[i] = self.1(chunk[i]);
                    lanes[i] += chunk[i];
                }
            }
            for (lane, v) in lanes.iter_mut().zip(rest) {
                *v = self.1(*v);
                *lane += *v;
            }
            fold(lanes)
        }
    }
    wide(Change(x, f))
}

/// The greatest value, NaN where there is one; the least number for none.
#[inline]
pub(super) fn greatest<T: Real>(values: &[T]) -> T {
    struct Greatest<'a, T>(&'a [T]);
    impl<T: Real> WithSimd for Greatest<'_, T> {
        type Output = T;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> T {
            let mut lanes = [T::of(f64::NEG_INFINITY); LANES];
            let (chunks, rest) = self.0.as_chunks::<LANES>();
            for chunk in chunks {
                for i in 0..LANES {
                    lanes[i] = chunk[i].at_least(lanes[i]);
                }
            }
            for (lane, &v) in lanes.iter_mut().zip(rest) {
                *lane = v.at_least(*lane);
            }
            lanes.into_iter().fold(lanes[0], |a, b| b.at_least(a))
        }
    }
    wide(Greatest(values))
}

/// The sum of `f(a, b)` over pairs.
#[inline]
pub(super) fn sum_pairs<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    struct Sum<'a, T, F>(&'a [T], &'a [T], F);
    impl<T: Real, F: Fn(T, T) -> T> WithSimd for Sum<'_, T, F> {
        type Output = T;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> T {
            let mut lanes = [T::ZERO; LANES];
            let ((xs, x_rest), (ys, y_rest)) = (self.0.as_chunks::<LANES>(), self.1.as_chunks::<LANES>());
            for (x, y) in xs.iter().zip(ys) {
                for i in 0..LANES {
                    lanes[i] += self.2(x[i], y[i]);
                }
            }
            for ((lane, &x), &y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
                *lane += self.2(x, y);
            }
            fold(lanes)
        }
    }
    wide(Sum(a, b, f))
}

/// Per place in runs of maps, the sums of both numbers of `f(place)(a, b)` over the map's pairs and over all runs.
#[inline]
pub(super) fn sum_runs<'a, T: Real, F: Fn(T, T) -> [T; 2]>(
    [places, map]: [usize; 2],
    runs: impl Iterator<Item = (&'a [T], &'a [T])>,
    f: impl Fn(usize) -> F,
) -> Vec<[T; 2]> {
    struct Sums<R, F>([usize; 2], R, F);
    impl<'a, T: Real, R: Iterator<Item = (&'a [T], &'a [T])>, G: Fn(T, T) -> [T; 2], F: Fn(usize) -> G> WithSimd for Sums<R, F> {
        type Output = Vec<[T; 2]>;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> Vec<[T; 2]> {
            let Self([places, map], runs, f) = self;
            let mut all = vec![[[T::ZERO; LANES]; 2]; places];
            for (a, b) in runs {
                for (place, (sums, (a, b))) in all.iter_mut().zip(a.chunks_exact(map).zip(b.chunks_exact(map))).enumerate() {
                    let f = f(place);
                    let [mut first, mut second] = *sums;
                    let ((xs, x_rest), (ys, y_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
                    for (x, y) in xs.iter().zip(ys) {
                        for i in 0..LANES {
                            let [a, b] = f(x[i], y[i]);
                            first[i] += a;
                            second[i] += b;
                        }
                    }
                    for (i, (&x, &y)) in x_rest.iter().zip(y_rest).enumerate() {
                        let [a, b] = f(x, y);
                        first[i] += a;
                        second[i] += b;
                    }
                    *sums = [first, second];
                }
            }
            all.into_iter().map(|sums| sums.map(fold)).collect()
        }
    }
    wide(Sums([places, map], runs, f))
}

/// `out[p][i] = f(p)(x[p][i])` for maps `p` of so many numbers, into memory that holds nothing yet.
#[inline]
pub(super) fn map_planes<'a, T: Real, F: Fn(T) -> T>(
    out: &'a mut [MaybeUninit<T>],
    x: &[T],
    map: usize,
    f: impl Fn(usize) -> F,
) -> &'a mut [T] {
    map2_planes(out, x, x, map, |plane| {
        let f = f(plane);
        move |x, _| f(x)
    })
}

/// `out[p][i] = f(p)(a[p][i], b[p][i])`, likewise.
#[inline]
pub(super) fn map2_planes<'a, T: Real, F: Fn(T, T) -> T>(
    out: &'a mut [MaybeUninit<T>],
    a: &[T],
    b: &[T],
    map: usize,
    f: impl Fn(usize) -> F,
) -> &'a mut [T] {
    struct Planes<'a, T, F>(&'a mut [MaybeUninit<T>], [&'a [T]; 2], usize, F);
    impl<T: Real, G: Fn(T, T) -> T, F: Fn(usize) -> G> WithSimd for Planes<'_, T, F> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Self(out, [a, b], map, f) = self;
            for (plane, ((out, a), b)) in out.chunks_exact_mut(map).zip(a.chunks_exact(map)).zip(b.chunks_exact(map)).enumerate() {
                let f = f(plane);
                for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                    out.write(f(a, b));
                }
            }
        }
    }
    let map = map.max(1);
    assert_eq!([out.len(); 2], [a.len(), b.len()], "the result has another size");
    assert!(out.len().is_multiple_of(map), "the result is not made of whole maps");
    wide(Planes(&mut *out, [a, b], map, f));
    // SAFETY: there are as many pairs as places, in whole maps, and each was put into its place.
    unsafe { out.assume_init_mut() }
}

#[inline(always)]
fn fold<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            let other = lanes[i + half];
            lanes[i] += other;
        }
        half /= 2;
    }
    lanes[0]
}
