//! Depthwise convolution (one filter per channel), directly: patches would be mostly copying.

use rayon::prelude::*;

use super::Real;
use super::conv::Geometry;
use super::matmul::add_in_order;
use super::wide::sum_pairs;

/// Forward; `weight` is `[c, kh, kw]`.
pub(crate) fn forward<T: Real>(g: &Geometry, x: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let mut out = vec![T::ZERO; g.n * g.co * g.out_map()];
    out.par_chunks_mut(g.out_map().max(1)).enumerate().for_each(|(plane, out)| {
        let c = plane % g.co;
        if let Some(bias) = bias {
            out.fill(bias[c]);
        }
        let x = &x[plane * g.in_map()..][..g.in_map()];
        each_line(g, |tap, oy, (low, high), line, start| {
            let weight = weight[c * g.kernel[0] * g.kernel[1] + tap];
            let out = &mut out[oy * g.ow + low..oy * g.ow + high];
            let x = &x[line * g.w + start..(line + 1) * g.w];
            if g.stride[1] == 1 {
                for (out, &x) in out.iter_mut().zip(x) {
                    *out += weight * x;
                }
            } else {
                for (out, &x) in out.iter_mut().zip(x.iter().step_by(g.stride[1])) {
                    *out += weight * x;
                }
            }
        });
    });
    out
}

/// Gradient of the input.
pub(crate) fn backward_input<T: Real>(g: &Geometry, weight: &[T], dout: &[T]) -> Vec<T> {
    let mut dx = vec![T::ZERO; g.n * g.ci * g.in_map()];
    dx.par_chunks_mut(g.in_map().max(1)).enumerate().for_each(|(plane, dx)| {
        let c = plane % g.co;
        let dout = &dout[plane * g.out_map()..][..g.out_map()];
        each_line(g, |tap, oy, (low, high), line, start| {
            let weight = weight[c * g.kernel[0] * g.kernel[1] + tap];
            let dout = &dout[oy * g.ow + low..oy * g.ow + high];
            let dx = &mut dx[line * g.w + start..(line + 1) * g.w];
            if g.stride[1] == 1 {
                for (dx, &d) in dx.iter_mut().zip(dout) {
                    *dx += weight * d;
                }
            } else {
                for (dx, &d) in dx.iter_mut().step_by(g.stride[1]).zip(dout) {
                    *dx += weight * d;
                }
            }
        });
    });
    dx
}

/// Gradient of the weight.
pub(crate) fn backward_weight<T: Real>(g: &Geometry, x: &[T], dout: &[T]) -> Vec<T> {
    let taps = g.kernel[0] * g.kernel[1];
    let parts: Vec<Vec<T>> = (0..g.n)
        .into_par_iter()
        .map(|image| {
            let mut dw = vec![T::ZERO; g.co * taps];
            for c in 0..g.co {
                let plane = image * g.co + c;
                let x = &x[plane * g.in_map()..][..g.in_map()];
                let dout = &dout[plane * g.out_map()..][..g.out_map()];
                each_line(g, |tap, oy, (low, high), line, start| {
                    let dout = &dout[oy * g.ow + low..oy * g.ow + high];
                    let x = &x[line * g.w + start..(line + 1) * g.w];
                    dw[c * taps + tap] += if g.stride[1] == 1 {
                        let reach = dout.len().min(x.len());
                        sum_pairs(&dout[..reach], &x[..reach], |d, x| d * x)
                    } else {
                        let mut total = T::ZERO;
                        for (&d, &x) in dout.iter().zip(x.iter().step_by(g.stride[1])) {
                            total += d * x;
                        }
                        total
                    };
                });
            }
            dw
        })
        .collect();
    let mut dw = vec![T::ZERO; g.co * taps];
    add_in_order(&mut dw, &parts);
    dw
}

/// Calls `f(tap, output row, output columns, input row, first input column)` for every line that a tap reads.
fn each_line(g: &Geometry, mut f: impl FnMut(usize, usize, (usize, usize), usize, usize)) {
    for ky in 0..g.kernel[0] {
        let shift_y = ky * g.dilation[0];
        let (top, bottom) = g.inside(0, shift_y);
        for kx in 0..g.kernel[1] {
            let shift_x = kx * g.dilation[1];
            let (low, high) = g.inside(1, shift_x);
            if low == high {
                continue;
            }
            let start = low * g.stride[1] + shift_x - g.pad[1];
            for oy in top..bottom {
                let line = oy * g.stride[0] + shift_y - g.pad[0];
                f(ky * g.kernel[1] + kx, oy, (low, high), line, start);
            }
        }
    }
}
