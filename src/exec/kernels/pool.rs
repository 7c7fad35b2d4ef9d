//! Pooling over windows of `[n, c, h, w]`, plane by plane.

use rayon::prelude::*;

use super::Real;
use super::conv::Geometry;

/// Maximum and, per output, the position of its first maximum in the input plane.
pub(crate) fn max_forward<T: Real>(g: &Geometry, x: &[T]) -> (Vec<T>, Vec<u32>) {
    let size = g.n * g.ci * g.out_map();
    let (mut out, mut at) = (vec![T::ZERO; size], vec![0u32; size]);
    let map = g.out_map().max(1);
    out.par_chunks_mut(map).zip(at.par_chunks_mut(map)).enumerate().for_each(|(plane, (out, at))| {
        let x = &x[plane * g.in_map()..][..g.in_map()];
        for (o, (out, at)) in out.iter_mut().zip(at.iter_mut()).enumerate() {
            let mut best: Option<(T, usize)> = None;
            each_input(g, o / g.ow, o % g.ow, |i| {
                let value = x[i];
                if best.is_none_or(|(b, _)| value > b || value.is_nan()) {
                    best = Some((value, i));
                }
            });
            // A window never lies in the padding only: shape inference refuses that.
            if let Some((value, i)) = best {
                (*out, *at) = (value, i as u32);
            }
        }
    });
    (out, at)
}

/// Sends each gradient to where its maximum was.
pub(crate) fn max_backward<T: Real>(g: &Geometry, at: &[u32], dout: &[T]) -> Vec<T> {
    let mut dx = vec![T::ZERO; g.n * g.ci * g.in_map()];
    dx.par_chunks_mut(g.in_map().max(1)).enumerate().for_each(|(plane, dx)| {
        let range = plane * g.out_map()..(plane + 1) * g.out_map();
        for (&i, &d) in at[range.clone()].iter().zip(&dout[range]) {
            dx[i as usize] += d;
        }
    });
    dx
}

/// Mean over windows. `count_include_pad`: padding counts as zeros; otherwise it does not count at all.
pub(crate) fn avg_forward<T: Real>(g: &Geometry, count_include_pad: bool, x: &[T]) -> Vec<T> {
    let mut out = vec![T::ZERO; g.n * g.ci * g.out_map()];
    out.par_chunks_mut(g.out_map().max(1)).enumerate().for_each(|(plane, out)| {
        let x = &x[plane * g.in_map()..][..g.in_map()];
        for (o, out) in out.iter_mut().enumerate() {
            let (mut total, mut count) = (T::ZERO, 0);
            each_input(g, o / g.ow, o % g.ow, |i| {
                total += x[i];
                count += 1;
            });
            *out = total / divisor(g, count_include_pad, count);
        }
    });
    out
}

/// Spreads each gradient evenly over its window.
pub(crate) fn avg_backward<T: Real>(g: &Geometry, count_include_pad: bool, dout: &[T]) -> Vec<T> {
    let mut dx = vec![T::ZERO; g.n * g.ci * g.in_map()];
    dx.par_chunks_mut(g.in_map().max(1)).enumerate().for_each(|(plane, dx)| {
        let dout = &dout[plane * g.out_map()..][..g.out_map()];
        for (o, &d) in dout.iter().enumerate() {
            let mut count = 0;
            each_input(g, o / g.ow, o % g.ow, |_| count += 1);
            let share = d / divisor(g, count_include_pad, count);
            each_input(g, o / g.ow, o % g.ow, |i| dx[i] += share);
        }
    });
    dx
}

fn divisor<T: Real>(g: &Geometry, count_include_pad: bool, inside: usize) -> T {
    T::of(if count_include_pad { g.kernel[0] * g.kernel[1] } else { inside.max(1) } as f64)
}

/// Calls `f` with the index of every input position under the window of output `(oy, ox)`.
#[inline]
fn each_input(g: &Geometry, oy: usize, ox: usize, mut f: impl FnMut(usize)) {
    for ky in 0..g.kernel[0] {
        let y = oy * g.stride[0] + ky * g.dilation[0];
        if y < g.pad[0] || y >= g.h + g.pad[0] {
            continue;
        }
        let row = (y - g.pad[0]) * g.w;
        for kx in 0..g.kernel[1] {
            let x = ox * g.stride[1] + kx * g.dilation[1];
            if x >= g.pad[1] && x < g.w + g.pad[1] {
                f(row + x - g.pad[1]);
            }
        }
    }
}
