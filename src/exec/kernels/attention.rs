//! Attention by blocks of query rows: neither the scores nor what the softmax makes of them are ever there as a whole.
//!
//! Forward keeps the logarithm of each row's sum of powers, and backward computes the scores of a block again (FlashAttention, Dao et
//! al. 2022). A block takes all keys of its rows, unlike there: caches here hold such a block of images' tokens, the sums need no
//! correction from one block of keys to the next, and the gradient needs no output, because `sum(p dp)` is at hand.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Real;
use super::matmul::{Mat, gemm};
use super::wide::{change_and_sum, greatest, wide};

/// Query rows of a block.
const ROWS: usize = 64;
/// Interleaved partial sums, as in [`super::wide`].
const LANES: usize = 32;

/// How many of what: queries `[heads, queries, width]`, keys `[heads, keys, width]`, values `[heads, keys, values]`; images and heads
/// of a batch are one axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub width: usize,
    pub values: usize,
}

/// Queries, keys and values, or one head of each.
pub(crate) type Inputs<'a, T> = [&'a [T]; 3];

impl Sizes {
    fn head<'a, T>(&self, [q, k, v]: Inputs<'a, T>, i: usize) -> Inputs<'a, T> {
        let part = |all: &'a [T], size: usize| &all[i * size..][..size];
        [part(q, self.queries * self.width), part(k, self.keys * self.width), part(v, self.keys * self.values)]
    }

    /// The scores of the queries from `first` on, not scaled; as many as there is room for.
    fn scores<T: Real>(&self, into: &mut [T], q: &[T], first: usize, k: &[T]) {
        let q = Mat::rows(&q[first * self.width..], self.width);
        gemm(false, [into.len() / self.keys, self.keys, self.width], into, self.keys, q, Mat::transposed(k, self.width));
    }
}

/// `softmax(scale q k^T) v`, and for every query the logarithm of its sum of powers.
pub(crate) fn forward<T: Real>(s: Sizes, inputs: Inputs<T>, scale: T) -> (Vec<T>, Vec<T>) {
    let (mut out, mut sums) = (vec![T::ZERO; s.heads * s.queries * s.values], vec![T::ZERO; s.heads * s.queries]);
    if out.is_empty() || s.keys == 0 {
        return (out, sums);
    }
    let heads = out.par_chunks_mut(s.queries * s.values).zip(sums.par_chunks_mut(s.queries)).enumerate();
    heads.for_each(|(i, (out, sums))| {
        let [q, k, v] = s.head(inputs, i);
        let blocks = out.par_chunks_mut(ROWS * s.values).zip(sums.par_chunks_mut(ROWS)).enumerate();
        blocks.for_each_init(Vec::new, |scores, (block, (out, sums))| {
            scores.resize(sums.len() * s.keys, T::ZERO);
            s.scores(scores, q, block * ROWS, k);
            let mut shares = [T::ZERO; ROWS];
            for ((scores, sum), share) in scores.chunks_exact_mut(s.keys).zip(&mut *sums).zip(&mut shares) {
                let top = greatest(scores);
                let total = change_and_sum(scores, move |score| ((score - top) * scale).exp());
                *sum = top * scale + total.ln();
                *share = T::ONE / total;
            }
            gemm(false, [sums.len(), s.values, s.keys], out, s.values, Mat::rows(scores, s.keys), Mat::rows(v, s.values));
            // Divided here, not before: there are fewer values than keys.
            for (out, share) in out.chunks_exact_mut(s.values).zip(shares) {
                for out in out.iter_mut() {
                    *out *= share;
                }
            }
        });
    });
    (out, sums)
}

/// The gradients of queries, keys and values; `sums` as [`forward`] gave them.
///
/// With shares `p = exp(scale q k^T - sums)`: `dv = p^T dout`, `ds = scale p (dp - sum(p dp))` where `dp = dout v^T`, `dq = ds k`,
/// `dk = ds^T q`. One head is one piece of work: keys and values add up over its blocks, in order.
pub(crate) fn backward<T: Real>(s: Sizes, inputs: Inputs<T>, scale: T, sums: &[T], dout: &[T]) -> [Vec<T>; 3] {
    let [mut dq, mut dk, mut dv] = inputs.map(|input| vec![T::ZERO; input.len()]);
    if [&dq, &dk, &dv].into_iter().any(Vec::is_empty) {
        return [dq, dk, dv];
    }
    let Sizes { queries, keys, width, values, .. } = s;
    let gradients = dq.par_chunks_mut(queries * width).zip(dk.par_chunks_mut(keys * width)).zip(dv.par_chunks_mut(keys * values));
    gradients.enumerate().for_each_init(
        || [Vec::new(), Vec::new()],
        |[p, ds], (i, ((dq, dk), dv))| {
            let [q, k, v] = s.head(inputs, i);
            let (sums, dout) = (&sums[i * queries..][..queries], &dout[i * queries * values..][..queries * values]);
            for first in (0..queries).step_by(ROWS) {
                let rows = ROWS.min(queries - first);
                let more = first > 0;
                let q = &q[first * width..][..rows * width];
                let dout = Mat::rows(&dout[first * values..][..rows * values], values);
                for block in [&mut *p, &mut *ds] {
                    block.resize(rows * keys, T::ZERO);
                }
                s.scores(p, q, 0, k);
                gemm(false, [rows, keys, values], ds, keys, dout, Mat::transposed(v, values));
                wide(Slopes { scores: p, shares: ds, sums: &sums[first..], keys, scale });
                gemm(more, [keys, values, rows], dv, values, Mat::transposed(p, keys), dout);
                gemm(false, [rows, width, keys], &mut dq[first * width..], width, Mat::rows(ds, keys), Mat::rows(k, width));
                gemm(more, [keys, width, rows], dk, width, Mat::transposed(ds, keys), Mat::rows(q, width));
            }
        },
    );
    [dq, dk, dv]
}

/// Turns scores into shares, and the gradients of shares into those of scores, row by row.
struct Slopes<'a, T> {
    scores: &'a mut [T],
    shares: &'a mut [T],
    sums: &'a [T],
    keys: usize,
    scale: T,
}

impl<T: Real> WithSimd for Slopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.scores.chunks_exact_mut(self.keys).zip(self.shares.chunks_exact_mut(self.keys));
        for ((scores, shares), &sum) in rows.zip(self.sums) {
            let mut lanes = [T::ZERO; LANES];
            for (scores, shares) in scores.chunks_mut(LANES).zip(shares.chunks(LANES)) {
                for ((lane, score), &share) in lanes.iter_mut().zip(scores).zip(shares) {
                    *score = (*score * self.scale - sum).exp();
                    *lane += *score * share;
                }
            }
            let mean = lanes.into_iter().fold(T::ZERO, |sum, lane| sum + lane);
            for (score, share) in scores.iter().zip(shares) {
                *share = *score * (*share - mean) * self.scale;
            }
        }
    }
}
