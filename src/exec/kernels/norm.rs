//! Batch norm over channels and layer norm over trailing axes, forward and backward; softmax rows.

use rayon::prelude::*;

use super::Real;
use super::matmul::add_in_order;
use super::pieces::{made, pieces};
use super::wide::{add_into, greatest, map_into, map_planes, map2_into, map2_planes, map3_into, sum, sum_by, sum_pairs, sum_runs};

/// `[n, c, map]`, flattened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channels {
    pub n: usize,
    pub c: usize,
    pub map: usize,
}

impl Channels {
    fn count<T: Real>(&self) -> T {
        T::of((self.n * self.map) as f64)
    }

    /// Maps that are done together: small ones until they are worth a thread's while and lie in memory as one run.
    fn together(&self) -> usize {
        (RUN / self.map.max(1)).clamp(1, self.c.max(1))
    }

    /// Per channel, the sums of both numbers of `f(channel)(a, b)` over its maps.
    fn sums<T: Real, F: Fn(T, T) -> [T; 2]>(&self, a: &[T], b: &[T], f: impl Fn(usize) -> F + Sync) -> Vec<[T; 2]> {
        let Channels { n, c, map } = *self;
        let together = self.together();
        let runs = (0..c.div_ceil(together)).into_par_iter().map(|i| {
            let first = i * together;
            let channels = together.min(c - first);
            let run = |image: usize| (image * c + first) * map..(image * c + first + channels) * map;
            sum_runs([channels, map], (0..n).map(|image| (&a[run(image)], &b[run(image)])), |channel| f(first + channel))
        });
        runs.flatten_iter().collect()
    }
}

/// Numbers of a run of small maps.
const RUN: usize = 2048;

/// Mean and biased variance of every channel.
///
/// In one pass, as distances from the mean of the channel's first map: that is a part of what is measured, so that it is never so far from
/// the mean that the difference of squares loses more than a few digits of single precision (Chan, Golub and `LeVeque` 1983, section 3).
pub(crate) fn batch_statistics<T: Real>(s: Channels, x: &[T]) -> (Vec<T>, Vec<T>) {
    let near: Vec<T> = x.chunks_exact(s.map.max(1)).take(s.c).map(|plane| sum(plane) / T::of(s.map as f64)).collect();
    let sums = s.sums(x, x, |c| {
        let near = near[c];
        move |v, _| [v - near, (v - near) * (v - near)]
    });
    let count = s.count::<T>();
    let moments = sums.iter().zip(&near).map(|(&[total, squares], &near)| {
        let ahead = total / count;
        (near + ahead, (squares / count - ahead * ahead).at_least(T::ZERO))
    });
    moments.unzip()
}

/// `scale (x - mean) / sqrt(variance + eps) + shift`, cut off at `least` and `most`.
pub(crate) fn batch_apply<T: Real>(
    s: Channels,
    x: &[T],
    [scale, shift, mean, variance]: [&[T]; 4],
    eps: f64,
    [least, most]: [T; 2],
) -> Vec<T> {
    let lines: Vec<(T, T)> = (0..s.c).map(|c| folded(scale[c], shift[c], mean[c], variance[c], eps)).collect();
    let together = s.together();
    made(x.len(), together * s.map, |i, out| {
        let x = &x[i * together * s.map..][..out.len()];
        map_planes(out, x, s.map, |plane| {
            let (factor, offset) = lines[(i * together + plane) % s.c];
            move |x: T| (x * factor + offset).at_least(least).at_most(most)
        })
    })
}

/// A batch norm of known statistics as `factor x + offset`.
pub(crate) fn folded<T: Real>(scale: T, shift: T, mean: T, variance: T, eps: f64) -> (T, T) {
    let factor = scale / (variance + T::of(eps)).sqrt();
    (factor, shift - mean * factor)
}

/// Gradients of input, scale and shift. With `batch`, mean and variance are those of this batch and depend on the input
/// (Ioffe and Szegedy 2015, section 3); without, they are constants. Gradients count only where the output
/// was not cut off, which the input tells.
pub(crate) fn batch_backward<T: Real>(
    s: Channels,
    x: &[T],
    dout: &[T],
    [scale, shift, mean, variance]: [&[T]; 4],
    eps: f64,
    batch: bool,
    [least, most]: [T; 2],
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let lines: Vec<(T, T)> = (0..s.c).map(|c| folded(scale[c], shift[c], mean[c], variance[c], eps)).collect();
    let passed = |c: usize| {
        let (factor, offset) = lines[c];
        move |x: T, d: T| {
            let y = x * factor + offset;
            if y > least && y < most { d } else { T::ZERO }
        }
    };
    let sums = s.sums(x, dout, |c| {
        let (passed, mean) = (passed(c), mean[c]);
        move |x, d| {
            let d = passed(x, d);
            [(x - mean) * d, d]
        }
    });
    let inverse: Vec<T> = variance.iter().map(|&v| T::ONE / (v + T::of(eps)).sqrt()).collect();
    let dscale: Vec<T> = sums.iter().zip(&inverse).map(|(sums, &inverse)| sums[0] * inverse).collect();
    let dshift: Vec<T> = sums.iter().map(|sums| sums[1]).collect();
    let together = s.together();
    let dx = made(x.len(), together * s.map, |i, dx| {
        let range = i * together * s.map..i * together * s.map + dx.len();
        map2_planes(dx, &x[range.clone()], &dout[range], s.map, |plane| {
            let c = (i * together + plane) % s.c;
            let (passed, mean, factor) = (passed(c), mean[c], scale[c] * inverse[c]);
            let [shared, slope] = if batch { [dshift[c] / s.count(), dscale[c] * inverse[c] / s.count()] } else { [T::ZERO; 2] };
            move |x, d| factor * (passed(x, d) - shared - (x - mean) * slope)
        })
    });
    (dx, dscale, dshift)
}

/// Rows that are done together: many enough to be worth a thread's while, few enough to stay in the cache.
const ROWS: usize = 64;

/// Layer norm of rows of `width`.
pub(crate) fn layer_forward<T: Real>(width: usize, x: &[T], scale: Option<&[T]>, shift: Option<&[T]>, eps: f64) -> Vec<T> {
    pieces(x.len(), ROWS * width, |i, out| {
        for (out, x) in out.chunks_exact_mut(width).zip(x[i * ROWS * width..].chunks_exact(width)) {
            let (mean, inverse) = row_statistics(x, eps);
            match (scale, shift) {
                (Some(scale), Some(shift)) => {
                    map3_into(out, [x, scale, shift], move |[x, scale, shift]| (x - mean) * inverse * scale + shift);
                }
                (Some(scale), None) => map2_into(out, x, scale, move |x, scale| (x - mean) * inverse * scale),
                (None, Some(shift)) => map2_into(out, x, shift, move |x, shift| (x - mean) * inverse + shift),
                (None, None) => map_into(out, x, move |x| (x - mean) * inverse),
            }
        }
    })
}

/// Gradients of input, scale and shift (Ba, Kiros and Hinton 2016).
pub(crate) fn layer_backward<T: Real>(width: usize, x: &[T], dout: &[T], scale: Option<&[T]>, eps: f64) -> (Vec<T>, Vec<T>, Vec<T>) {
    let ones = vec![T::ONE; width];
    let scale = scale.unwrap_or(&ones);
    let count = T::of(width as f64);
    let dx = pieces(x.len(), ROWS * width, |i, dx| {
        let rows = x[i * ROWS * width..].chunks_exact(width).zip(dout[i * ROWS * width..].chunks_exact(width));
        let mut scaled = vec![T::ZERO; width];
        for (dx, (x, d)) in dx.chunks_exact_mut(width).zip(rows) {
            let (mean, inverse) = row_statistics(x, eps);
            map2_into(&mut scaled, d, scale, move |d, scale| d * scale);
            let shared = sum(&scaled) / count;
            let slope = sum_pairs(&scaled, x, move |d, x| d * (x - mean)) * inverse * inverse / count;
            map2_into(dx, &scaled, x, move |d, x| inverse * (d - shared - (x - mean) * slope));
        }
    });
    let normal = |x: &[T]| row_statistics(x, eps);
    let dscale = folded_rows(width, x, dout, |sum, x, d| {
        let (mean, inverse) = normal(x);
        add_into(sum, [x, d], move |[x, d]| d * (x - mean) * inverse);
    });
    (dx, dscale, column_sums(width, dout))
}

/// The sum of rows of `width`.
pub(crate) fn column_sums<T: Real>(width: usize, rows: &[T]) -> Vec<T> {
    folded_rows(width, rows, rows, |sum, row, _| add_into(sum, [row, row], move |[value, _]| value))
}

/// `add(sum, a, b)` for all rows of `a` and `b`: pieces of rows apart, then their sums in order.
fn folded_rows<T: Real>(width: usize, a: &[T], b: &[T], add: impl Fn(&mut [T], &[T], &[T]) + Sync) -> Vec<T> {
    let piece = (4 * ROWS * width).max(1);
    let parts: Vec<Vec<T>> = a
        .par_chunks(piece)
        .zip(b.par_chunks(piece))
        .map(|(a, b)| {
            let mut sum = vec![T::ZERO; width];
            a.chunks_exact(width).zip(b.chunks_exact(width)).for_each(|(a, b)| add(&mut sum, a, b));
            sum
        })
        .collect();
    let mut sum = vec![T::ZERO; width];
    add_in_order(&mut sum, &parts);
    sum
}

fn row_statistics<T: Real>(x: &[T], eps: f64) -> (T, T) {
    let count = T::of(x.len() as f64);
    let mean = sum(x) / count;
    let variance = sum_by(x, move |v| (v - mean) * (v - mean)) / count;
    (mean, T::ONE / (variance + T::of(eps)).sqrt())
}

/// Softmax of rows of `width`, the greatest value subtracted first.
pub(crate) fn softmax_rows<T: Real>(width: usize, x: &[T]) -> Vec<T> {
    pieces(x.len(), ROWS * width, |i, out| {
        for (out, x) in out.chunks_exact_mut(width).zip(x[i * ROWS * width..].chunks_exact(width)) {
            let top = greatest(x);
            map_into(out, x, move |x| (x - top).exp());
            let share = T::ONE / sum(out);
            for v in out {
                *v *= share;
            }
        }
    })
}

/// Gradient of [`softmax_rows`] from its output: `y (d - sum(y d))`.
pub(crate) fn softmax_backward<T: Real>(width: usize, y: &[T], dout: &[T]) -> Vec<T> {
    pieces(y.len(), ROWS * width, |i, dx| {
        let rows = y[i * ROWS * width..].chunks_exact(width).zip(dout[i * ROWS * width..].chunks_exact(width));
        for (dx, (y, d)) in dx.chunks_exact_mut(width).zip(rows) {
            let shared = sum_pairs(y, d, move |y, d| y * d);
            map2_into(dx, y, d, move |y, d| y * (d - shared));
        }
    })
}

/// Local response normalisation over channels: `x / (bias + alpha / size * sum of squares)^beta`, the sum over
/// `size` channels around each (ONNX LRN). Returns the output and the bracket, which the gradient needs.
pub(crate) fn lrn_forward<T: Real>(s: Channels, x: &[T], size: usize, [alpha, beta, bias]: [f64; 3]) -> (Vec<T>, Vec<T>) {
    let (mut out, mut bracket) = (vec![T::ZERO; x.len()], vec![T::ZERO; x.len()]);
    let image = (s.c * s.map).max(1);
    out.par_chunks_mut(image).zip(bracket.par_chunks_mut(image)).zip(x.par_chunks(image)).for_each(|((out, bracket), x)| {
        for c in 0..s.c {
            let (low, high) = neighbours(c, s.c, size);
            for i in 0..s.map {
                let mut total = T::ZERO;
                for near in low..high {
                    total += x[near * s.map + i] * x[near * s.map + i];
                }
                let at = c * s.map + i;
                bracket[at] = T::of(bias) + T::of(alpha / size as f64) * total;
                out[at] = x[at] * bracket[at].powf(T::of(-beta));
            }
        }
    });
    (out, bracket)
}

/// Gradient of [`lrn_forward`].
pub(crate) fn lrn_backward<T: Real>(s: Channels, x: &[T], bracket: &[T], dout: &[T], size: usize, [alpha, beta]: [f64; 2]) -> Vec<T> {
    let mut dx = vec![T::ZERO; x.len()];
    let image = (s.c * s.map).max(1);
    let factor = T::of(2.0 * alpha * beta / size as f64);
    dx.par_chunks_mut(image).enumerate().for_each(|(n, dx)| {
        let of = |all: &'_ [T], at: usize| all[n * image + at];
        for c in 0..s.c {
            for i in 0..s.map {
                let at = c * s.map + i;
                let mut shared = T::ZERO;
                for near in 0..s.c {
                    let (low, high) = neighbours(near, s.c, size);
                    if (low..high).contains(&c) {
                        let other = near * s.map + i;
                        shared += of(dout, other) * of(x, other) * of(bracket, other).powf(T::of(-beta - 1.0));
                    }
                }
                dx[at] = of(dout, at) * of(bracket, at).powf(T::of(-beta)) - factor * of(x, at) * shared;
            }
        }
    });
    dx
}

fn neighbours(c: usize, channels: usize, size: usize) -> (usize, usize) {
    (c.saturating_sub((size - 1) / 2), channels.min(c + size / 2 + 1))
}
