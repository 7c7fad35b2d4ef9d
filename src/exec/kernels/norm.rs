//! Batch norm over channels and layer norm over trailing axes, forward and backward; softmax rows.

use rayon::prelude::*;

use super::Real;
use super::matmul::add_in_order;
use super::pieces::{made, pieces};
use super::wide::{add_into, greatest, map_into, map_new, map2_into, map2_new, map3_into, sum, sum_by, sum_pairs, sum_pairs_twice};

/// `[n, c, map]`, flattened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channels {
    pub n: usize,
    pub c: usize,
    pub map: usize,
}

impl Channels {
    fn planes<'a, T>(&self, x: &'a [T], c: usize) -> impl Iterator<Item = &'a [T]> + use<'a, T> {
        let Channels { n, c: channels, map } = *self;
        (0..n).map(move |image| &x[(image * channels + c) * map..][..map])
    }
    fn count<T: Real>(&self) -> T {
        T::of((self.n * self.map) as f64)
    }
}

/// Mean and biased variance of every channel.
///
/// Two passes over one map while it is in the cache, then maps put together (Chan, Golub and `LeVeque` 1983): memory is read once, and nothing is
/// lost to the difference of large squares.
pub(crate) fn batch_statistics<T: Real>(s: Channels, x: &[T]) -> (Vec<T>, Vec<T>) {
    let map = T::of(s.map as f64);
    (0..s.c)
        .into_par_iter()
        .map(|c| {
            let (mut mean, mut squares) = (T::ZERO, T::ZERO);
            for (i, plane) in s.planes(x, c).enumerate() {
                let own = sum(plane) / map;
                let (before, ahead) = (T::of(i as f64), own - mean);
                squares += sum_by(plane, move |v| (v - own) * (v - own)) + ahead * ahead * map * before / (before + T::ONE);
                mean += ahead / (before + T::ONE);
            }
            (mean, squares / s.count())
        })
        .unzip()
}

/// `scale (x - mean) / sqrt(variance + eps) + shift`, cut off at `least` and `most`.
pub(crate) fn batch_apply<T: Real>(
    s: Channels,
    x: &[T],
    [scale, shift, mean, variance]: [&[T]; 4],
    eps: f64,
    [least, most]: [T; 2],
) -> Vec<T> {
    made(x.len(), s.map, |plane, out| {
        let (c, x) = (plane % s.c, &x[plane * s.map..][..s.map]);
        let (factor, offset) = folded(scale[c], shift[c], mean[c], variance[c], eps);
        map_new(out, x, move |x| (x * factor + offset).at_least(least).at_most(most))
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
    let inverse: Vec<T> = variance.iter().map(|&v| T::ONE / (v + T::of(eps)).sqrt()).collect();
    let passed = |c: usize| {
        let (factor, offset) = folded(scale[c], shift[c], mean[c], variance[c], eps);
        move |x: T, d: T| {
            let y = x * factor + offset;
            if y > least && y < most { d } else { T::ZERO }
        }
    };
    let (dscale, dshift): (Vec<T>, Vec<T>) = (0..s.c)
        .into_par_iter()
        .map(|c| {
            let (passed, mean) = (passed(c), mean[c]);
            let (mut with_x, mut total) = (T::ZERO, T::ZERO);
            for (x, d) in s.planes(x, c).zip(s.planes(dout, c)) {
                let [first, second] = sum_pairs_twice(x, d, move |x, d| {
                    let d = passed(x, d);
                    [(x - mean) * d, d]
                });
                with_x += first;
                total += second;
            }
            (with_x * inverse[c], total)
        })
        .unzip();
    let dx = made(x.len(), s.map, |plane, dx| {
        let c = plane % s.c;
        let (x, d) = (&x[plane * s.map..][..s.map], &dout[plane * s.map..][..s.map]);
        let factor = scale[c] * inverse[c];
        let passed = passed(c);
        if batch {
            let shared = dshift[c] / s.count();
            let slope = dscale[c] * inverse[c] / s.count();
            let mean = mean[c];
            map2_new(dx, x, d, move |x, d| factor * (passed(x, d) - shared - (x - mean) * slope))
        } else {
            map2_new(dx, x, d, move |x, d| factor * passed(x, d))
        }
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
