//! Pooling over windows of `[n, c, h, w]`, plane by plane.

use rayon::prelude::*;

use super::Real;
use super::conv::Geometry;
use super::layout::take_every;
use super::pieces::{pieces, pieces_with};
use super::wide::{mark_equal, take_greater};

/// Maximum and, if `places` are wanted, the position of every output's first maximum in the input plane.
pub(crate) fn max_forward<T: Real>(g: &Geometry, x: &[T], places: bool) -> (Vec<T>, Vec<u32>) {
    let map = g.out_map();
    let reach = g.ow.saturating_sub(1) * g.stride[1] + (g.kernel[1] - 1) * g.dilation[1] + 1;
    let out = pieces_with(
        g.n * g.ci * map,
        map,
        || [Vec::new(), Vec::new()],
        |[tall, column]: &mut [Vec<T>; 2], plane, out| {
            let x = &x[plane * g.in_map()..][..g.in_map()];
            for (oy, out) in out.chunks_exact_mut(g.ow).enumerate() {
                // Down first, whole rows at a time, then across, a column of the windows at a time.
                tall.clear();
                tall.resize(reach.max(g.pad[1] + g.w), T::UNBOUNDED[0]);
                for ky in 0..g.kernel[0] {
                    if let Some(y) = inside(oy, ky, 0, g) {
                        take_greater(&mut tall[g.pad[1]..], &x[y * g.w..][..g.w]);
                    }
                }
                out.fill(T::UNBOUNDED[0]);
                for kx in 0..g.kernel[1] {
                    let from = &tall[kx * g.dilation[1]..];
                    match g.stride[1] {
                        1 => take_greater(out, from),
                        stride => {
                            column.resize(g.ow, T::ZERO);
                            take_every(stride, column, from);
                            take_greater(out, column);
                        }
                    }
                }
            }
        },
    );
    let mut at = vec![0u32; if places { out.len() } else { 0 }];
    let planes = at.par_chunks_mut(map.max(1)).zip(out.par_chunks(map.max(1))).enumerate();
    planes.for_each_init(Vec::new, |column, (plane, (at, out))| {
        let x = &x[plane * g.in_map()..][..g.in_map()];
        for (oy, (at, best)) in at.chunks_exact_mut(g.ow).zip(out.chunks_exact(g.ow)).enumerate() {
            // From the last tap to the first, which so has the last word. A window never lies in the padding only: shape inference refuses that.
            for (y, kx) in
                (0..g.kernel[0]).rev().filter_map(|ky| inside(oy, ky, 0, g)).flat_map(|y| (0..g.kernel[1]).rev().map(move |kx| (y, kx)))
            {
                let shift = kx * g.dilation[1];
                let (low, high) = g.inside(1, shift);
                if low == high {
                    continue;
                }
                let first = y * g.w + low * g.stride[1] + shift - g.pad[1];
                column.resize(high - low, T::ZERO);
                take_every(g.stride[1], column, &x[first..]);
                mark_equal(&mut at[low..high], &best[low..high], column, [first as u32, g.stride[1] as u32]);
            }
        }
    });
    (out, at)
}

/// Where a tap of an output reads along an axis; `None` in the padding.
#[inline(always)]
fn inside(out: usize, tap: usize, axis: usize, g: &Geometry) -> Option<usize> {
    let size = if axis == 0 { g.h } else { g.w };
    (out * g.stride[axis] + tap * g.dilation[axis]).checked_sub(g.pad[axis]).filter(|at| *at < size)
}

/// Sends each gradient to where its maximum was.
pub(crate) fn max_backward<T: Real>(g: &Geometry, at: &[u32], dout: &[T]) -> Vec<T> {
    pieces(g.n * g.ci * g.in_map(), g.in_map(), |plane, dx| {
        let range = plane * g.out_map()..(plane + 1) * g.out_map();
        for (&i, &d) in at[range.clone()].iter().zip(&dout[range]) {
            dx[i as usize] += d;
        }
    })
}

/// Mean over windows. `count_include_pad`: padding counts as zeros; otherwise it does not count at all.
pub(crate) fn avg_forward<T: Real>(g: &Geometry, count_include_pad: bool, x: &[T]) -> Vec<T> {
    pieces(g.n * g.ci * g.out_map(), g.out_map(), |plane, out: &mut [T]| {
        let x = &x[plane * g.in_map()..][..g.in_map()];
        for (o, out) in out.iter_mut().enumerate() {
            let (mut total, mut count) = (T::ZERO, 0);
            each_input(g, o / g.ow, o % g.ow, |i| {
                total += x[i];
                count += 1;
            });
            *out = total / divisor(g, count_include_pad, count);
        }
    })
}

/// Spreads each gradient evenly over its window.
pub(crate) fn avg_backward<T: Real>(g: &Geometry, count_include_pad: bool, dout: &[T]) -> Vec<T> {
    pieces(g.n * g.ci * g.in_map(), g.in_map(), |plane, dx: &mut [T]| {
        let dout = &dout[plane * g.out_map()..][..g.out_map()];
        for (o, &d) in dout.iter().enumerate() {
            let mut count = 0;
            each_input(g, o / g.ow, o % g.ow, |_| count += 1);
            let share = d / divisor(g, count_include_pad, count);
            each_input(g, o / g.ow, o % g.ow, |i| dx[i] += share);
        }
    })
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
