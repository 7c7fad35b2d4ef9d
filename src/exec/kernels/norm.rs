//! Batch norm over channels and layer norm over trailing axes, forward and backward; softmax rows.

use rayon::prelude::*;

use super::Real;
use super::pieces::pieces;
use super::wide::{map_into, map2_into, sum, sum_by, sum_pairs};

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
pub(crate) fn batch_statistics<T: Real>(s: Channels, x: &[T]) -> (Vec<T>, Vec<T>) {
    (0..s.c)
        .into_par_iter()
        .map(|c| {
            let mean = s.planes(x, c).fold(T::ZERO, |t, plane| t + sum(plane)) / s.count();
            let square = |v: T| (v - mean) * (v - mean);
            let variance = s.planes(x, c).fold(T::ZERO, |t, plane| t + sum_by(plane, square)) / s.count();
            (mean, variance)
        })
        .unzip()
}

/// `scale (x - mean) / sqrt(variance + eps) + shift`; with `rectified`, negative values become 0.
pub(crate) fn batch_apply<T: Real>(s: Channels, x: &[T], [scale, shift, mean, variance]: [&[T]; 4], eps: f64, rectified: bool) -> Vec<T> {
    pieces(x.len(), s.map, |plane, out| {
        let (c, x) = (plane % s.c, &x[plane * s.map..][..s.map]);
        let (factor, offset) = folded(scale[c], shift[c], mean[c], variance[c], eps);
        if rectified {
            map_into(out, x, |x| relu(x * factor + offset));
        } else {
            map_into(out, x, |x| x * factor + offset);
        }
    })
}

/// A batch norm of known statistics as `factor x + offset`.
fn folded<T: Real>(scale: T, shift: T, mean: T, variance: T, eps: f64) -> (T, T) {
    let factor = scale / (variance + T::of(eps)).sqrt();
    (factor, shift - mean * factor)
}

/// `max(x, 0)`; NaN stays NaN.
#[inline(always)]
pub(crate) fn relu<T: Real>(x: T) -> T {
    if x > T::ZERO || x.is_nan() { x } else { T::ZERO }
}

/// Gradients of input, scale and shift. With `batch`, mean and variance are those of this batch and depend on the input
/// (Ioffe and Szegedy 2015, section 3); without, they are constants. With `rectified`, gradients count only where the output
/// was positive, which the input tells.
pub(crate) fn batch_backward<T: Real>(
    s: Channels,
    x: &[T],
    dout: &[T],
    [scale, shift, mean, variance]: [&[T]; 4],
    eps: f64,
    batch: bool,
    rectified: bool,
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let inverse: Vec<T> = variance.iter().map(|&v| T::ONE / (v + T::of(eps)).sqrt()).collect();
    let passed = |c: usize| {
        let (factor, offset) = folded(scale[c], shift[c], mean[c], variance[c], eps);
        move |x: T, d: T| if !rectified || x * factor + offset > T::ZERO { d } else { T::ZERO }
    };
    let (dscale, dshift): (Vec<T>, Vec<T>) = (0..s.c)
        .into_par_iter()
        .map(|c| {
            let (passed, mean) = (passed(c), mean[c]);
            let (mut with_x, mut total) = (T::ZERO, T::ZERO);
            for (x, d) in s.planes(x, c).zip(s.planes(dout, c)) {
                with_x += sum_pairs(x, d, |x, d| (x - mean) * passed(x, d));
                total += if rectified { sum_pairs(x, d, passed) } else { sum(d) };
            }
            (with_x * inverse[c], total)
        })
        .unzip();
    let dx = pieces(x.len(), s.map, |plane, dx| {
        let c = plane % s.c;
        let (x, d) = (&x[plane * s.map..][..s.map], &dout[plane * s.map..][..s.map]);
        let factor = scale[c] * inverse[c];
        let passed = passed(c);
        if batch {
            let shared = dshift[c] / s.count();
            let slope = dscale[c] * inverse[c] / s.count();
            let mean = mean[c];
            map2_into(dx, x, d, |x, d| factor * (passed(x, d) - shared - (x - mean) * slope));
        } else {
            map2_into(dx, x, d, |x, d| factor * passed(x, d));
        }
    });
    (dx, dscale, dshift)
}

/// Layer norm of rows of `width`.
pub(crate) fn layer_forward<T: Real>(width: usize, x: &[T], scale: Option<&[T]>, shift: Option<&[T]>, eps: f64) -> Vec<T> {
    let mut out = vec![T::ZERO; x.len()];
    out.par_chunks_mut(width).zip(x.par_chunks(width)).for_each(|(out, x)| {
        let (mean, inverse) = row_statistics(x, eps);
        for (i, (out, &x)) in out.iter_mut().zip(x).enumerate() {
            let normal = (x - mean) * inverse;
            *out = normal * scale.map_or(T::ONE, |s| s[i]) + shift.map_or(T::ZERO, |s| s[i]);
        }
    });
    out
}

/// Gradients of input, scale and shift (Ba, Kiros and Hinton 2016).
pub(crate) fn layer_backward<T: Real>(width: usize, x: &[T], dout: &[T], scale: Option<&[T]>, eps: f64) -> (Vec<T>, Vec<T>, Vec<T>) {
    const ROWS: usize = 256;
    let mut dx = vec![T::ZERO; x.len()];
    let parts: Vec<(Vec<T>, Vec<T>)> = dx
        .par_chunks_mut(ROWS * width)
        .zip(x.par_chunks(ROWS * width).zip(dout.par_chunks(ROWS * width)))
        .map(|(dx, (x, dout))| {
            let (mut dscale, mut dshift) = (vec![T::ZERO; width], vec![T::ZERO; width]);
            let mut scaled = vec![T::ZERO; width];
            for ((dx, x), d) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(dout.chunks_exact(width)) {
                let (mean, inverse) = row_statistics(x, eps);
                for i in 0..width {
                    scaled[i] = d[i] * scale.map_or(T::ONE, |s| s[i]);
                    dscale[i] += d[i] * (x[i] - mean) * inverse;
                    dshift[i] += d[i];
                }
                let count = T::of(width as f64);
                let shared = sum(&scaled) / count;
                let slope = sum_pairs(&scaled, x, |d, x| d * (x - mean)) * inverse * inverse / count;
                for i in 0..width {
                    dx[i] = inverse * (scaled[i] - shared - (x[i] - mean) * slope);
                }
            }
            (dscale, dshift)
        })
        .collect();
    let (mut dscale, mut dshift) = (vec![T::ZERO; width], vec![T::ZERO; width]);
    for (scale_part, shift_part) in &parts {
        for i in 0..width {
            dscale[i] += scale_part[i];
            dshift[i] += shift_part[i];
        }
    }
    (dx, dscale, dshift)
}

fn row_statistics<T: Real>(x: &[T], eps: f64) -> (T, T) {
    let count = T::of(x.len() as f64);
    let mean = sum(x) / count;
    let variance = sum_by(x, |v| (v - mean) * (v - mean)) / count;
    (mean, T::ONE / (variance + T::of(eps)).sqrt())
}

/// Softmax of rows of `width`, the greatest value subtracted first.
pub(crate) fn softmax_rows<T: Real>(width: usize, x: &[T]) -> Vec<T> {
    let mut out = vec![T::ZERO; x.len()];
    out.par_chunks_mut(width).zip(x.par_chunks(width)).for_each(|(out, x)| {
        let top = x.iter().fold(x[0], |a, &b| a.at_least(b));
        for (out, &x) in out.iter_mut().zip(x) {
            *out = (x - top).exp();
        }
        let share = T::ONE / sum(out);
        for v in out {
            *v *= share;
        }
    });
    out
}

/// Gradient of [`softmax_rows`] from its output: `y (d - sum(y d))`.
pub(crate) fn softmax_backward<T: Real>(width: usize, y: &[T], dout: &[T]) -> Vec<T> {
    let mut dx = vec![T::ZERO; y.len()];
    dx.par_chunks_mut(width).zip(y.par_chunks(width).zip(dout.par_chunks(width))).for_each(|(dx, (y, d))| {
        let shared = sum_pairs(y, d, |y, d| y * d);
        for ((dx, &y), &d) in dx.iter_mut().zip(y).zip(d) {
            *dx = y * (d - shared);
        }
    });
    dx
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
