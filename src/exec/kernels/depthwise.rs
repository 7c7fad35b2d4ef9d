//! Depthwise convolution (one filter per channel), straight on the maps.
//!
//! A map is split into phases, one per place within the stride, with zeros around; all phases have the output's pitch, so that a tap
//! of the kernel is one offset for every output position, and the whole map is one long row. The few positions between rows are
//! computed too and dropped.
#![allow(unsafe_code)] // a result that is written before it is read

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Real;
use super::conv::{Finish, Geometry, PARTS};
use super::layout::take_every;
use super::matmul::add_in_order;
use super::pieces::{made_with, pieces_with};
use super::wide::wide;

/// Vectors of positions whose sums stay in registers together, and as many where there are thirty-two of these: the latency of a fused
/// multiply-add is hidden by eight others.
const FEW: usize = 4;
const MANY: usize = 8;
/// Taps whose weight gradients do.
const TAPS: usize = 4;
/// Numbers in the longest vector.
const LONGEST: usize = 16;

/// Numbers of a map's row that lie a stride apart: neighbours in a phase.
struct Run {
    map: usize,
    phases: usize,
    count: usize,
}

/// How the phases of a map lie.
struct Phases {
    /// Places between a map's neighbours within a phase, and phases.
    stride: usize,
    count: usize,
    /// What a map is copied by.
    runs: Vec<Run>,
    /// Length of a row, and rows.
    pitch: usize,
    rows: usize,
    /// Numbers of a phase, with room for whole vectors behind the last row.
    plane: usize,
    /// The phase and the offset of every tap.
    taps: Vec<(usize, usize)>,
}

impl Phases {
    fn of(g: &Geometry) -> Self {
        let reach = |axis: usize| (g.kernel[axis] - 1) * g.dilation[axis] / g.stride[axis];
        let (pitch, rows) = (g.ow + reach(1), g.oh + reach(0));
        let tap = |ky: usize, kx: usize| {
            let (y, x) = (ky * g.dilation[0], kx * g.dilation[1]);
            let phase = y % g.stride[0] * g.stride[1] + x % g.stride[1];
            (phase, y / g.stride[0] * pitch + x / g.stride[1])
        };
        let taps = (0..g.kernel[0]).flat_map(|ky| (0..g.kernel[1]).map(move |kx| tap(ky, kx))).collect();
        let plane = rows * pitch + reach(1) + (MANY + 1) * LONGEST;
        let [down, across] = g.stride;
        let mut runs = Vec::new();
        for y in 0..g.h {
            let row = (y + g.pad[0]) / down;
            let phase = (y + g.pad[0]) % down * across;
            for within in 0..across {
                // The first column of this phase at or behind the padding.
                let place = g.pad[1].saturating_sub(within).div_ceil(across);
                let column = place * across + within - g.pad[1];
                // Beyond, there is what no output reads.
                if row < rows && place < pitch && column < g.w {
                    let count = (pitch - place).min((g.w - column).div_ceil(across));
                    runs.push(Run { map: y * g.w + column, phases: (phase + within) * plane + row * pitch + place, count });
                }
            }
        }
        Self { stride: across, count: down * across, runs, pitch, rows, plane, taps }
    }

    /// Copies a map into its phases; what lies between stays zero.
    #[inline(always)]
    fn split<T: Real>(&self, map: &[T], to: &mut Vec<T>) {
        if to.len() != self.count * self.plane {
            *to = vec![T::ZERO; self.count * self.plane];
        }
        for run in &self.runs {
            let (to, from) = (&mut to[run.phases..][..run.count], &map[run.map..]);
            match self.stride {
                1 => to.copy_from_slice(&from[..run.count]),
                stride => take_every(stride, to, from),
            }
        }
    }

    /// Copies phases back into a map: the inverse of [`Phases::split`].
    fn join<T: Real>(&self, phases: &[T], map: &mut [T]) {
        for run in &self.runs {
            let (to, from) = (&mut map[run.map..], &phases[run.phases..][..run.count]);
            match self.stride {
                1 => to[..run.count].copy_from_slice(from),
                stride => to.iter_mut().step_by(stride).zip(from).for_each(|(to, &from)| *to = from),
            }
        }
    }
}

/// Rows of `width` copied to rows `pitch` apart, `at` into the buffer; what lies between stays zero.
fn spaced<T: Real>(rows: &[T], width: usize, pitch: usize, at: usize, len: usize, to: &mut Vec<T>) {
    if to.len() != len {
        *to = vec![T::ZERO; len];
    }
    for (to, from) in to[at..].chunks_mut(pitch).zip(rows.chunks_exact(width)) {
        to[..width].copy_from_slice(from);
    }
}

/// Forward; `weight` is `[c, kh, kw]`.
pub(crate) fn forward<T: Real>(g: &Geometry, x: &[T], weight: &[T], finish: Finish<T>) -> Vec<T> {
    let phases = Phases::of(g);
    let taps = phases.taps.len();
    let flat = g.oh * phases.pitch;
    let at: Vec<usize> = phases.taps.iter().map(|(phase, offset)| phase * phases.plane + offset).collect();
    made_with(
        g.n * g.co * g.out_map(),
        g.out_map(),
        || (Vec::new(), vec![T::ZERO; flat + MANY * LONGEST]),
        |(split, sums), plane, out| {
            let c = plane % g.co;
            wide(Split { phases: &phases, map: &x[plane * g.in_map()..][..g.in_map()], to: split });
            let finish = (finish.bias.map_or(T::ZERO, |bias| bias[c]), finish.bounds);
            wide(Correlation { from: split, at: &at, weight: &weight[c * taps..][..taps], finish, count: flat, to: sums });
            for (out, sums) in out.chunks_exact_mut(g.ow).zip(sums.chunks(phases.pitch)) {
                out.write_copy_of_slice(&sums[..g.ow]);
            }
            // SAFETY: the output's rows were all written, whole.
            unsafe { out.assume_init_mut() }
        },
    )
}

/// [`Phases::split`] with the machine's own instructions.
struct Split<'a, T> {
    phases: &'a Phases,
    map: &'a [T],
    to: &'a mut Vec<T>,
}

impl<T: Real> WithSimd for Split<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.phases.split(self.map, self.to);
    }
}

/// `to[f] = bias + sum over taps of weight * from[f + at]`, cut off, for `count` places and up to a block more.
struct Correlation<'a, T> {
    from: &'a [T],
    at: &'a [usize],
    weight: &'a [T],
    /// What is added, and the least and the greatest value.
    finish: (T, [T; 2]),
    count: usize,
    to: &'a mut [T],
}

impl<T: Real> WithSimd for Correlation<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 && self.count > FEW * T::lanes::<S>() {
            self.in_blocks::<S, MANY>(simd);
        } else {
            self.in_blocks::<S, FEW>(simd);
        }
    }
}

impl<T: Real> Correlation<'_, T> {
    #[inline(always)]
    fn in_blocks<S: Simd, const VECTORS: usize>(self, simd: S) {
        let Correlation { from, at, weight, finish: (bias, bounds), count, to } = self;
        let lanes = T::lanes::<S>();
        let block = VECTORS * lanes;
        let bias = T::splat(simd, bias);
        let bounds = bounds.map(|bound| T::splat(simd, bound));
        for place in (0..count).step_by(block) {
            let mut sums = [bias; VECTORS];
            for (&at, &weight) in at.iter().zip(weight) {
                let weight = T::splat(simd, weight);
                let from = T::vectors::<S>(&from[at + place..][..block]);
                for v in 0..VECTORS {
                    sums[v] = T::fused(simd, weight, from[v], sums[v]);
                }
            }
            for (to, sum) in to[place..place + block].chunks_exact_mut(lanes).zip(sums) {
                T::store(simd, to, T::within(simd, sum, bounds));
            }
        }
    }
}

/// Gradient of the input: every phase is a correlation of the output's gradient with the taps that read it, turned around.
pub(crate) fn backward_input<T: Real>(g: &Geometry, weight: &[T], dout: &[T]) -> Vec<T> {
    let phases = Phases::of(g);
    let taps = phases.taps.len();
    let farthest = phases.taps.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
    let len = farthest + phases.plane + LONGEST;
    // By phase: where each of its taps reads, and which weight it is.
    let of_phase = |phase: usize| -> (Vec<usize>, Vec<usize>) {
        let own = phases.taps.iter().enumerate().filter(|(_, (of, _))| *of == phase);
        own.map(|(tap, (_, offset))| (farthest - offset, tap)).unzip()
    };
    let by_phase: Vec<_> = (0..phases.count).map(of_phase).collect();
    pieces_with(
        g.n * g.ci * g.in_map(),
        g.in_map(),
        || (Vec::new(), vec![T::ZERO; phases.count * phases.plane], Vec::new()),
        |(spread, sums, own), plane, dx| {
            let weight = &weight[plane % g.co * taps..][..taps];
            spaced(&dout[plane * g.out_map()..][..g.out_map()], g.ow, phases.pitch, farthest, len, spread);
            for ((at, which), sums) in by_phase.iter().zip(sums.chunks_exact_mut(phases.plane)) {
                own.clear();
                own.extend(which.iter().map(|&tap| weight[tap]));
                let count = phases.rows * phases.pitch;
                wide(Correlation { from: spread, at, weight: own, finish: (T::ZERO, T::UNBOUNDED), count, to: sums });
            }
            phases.join(sums, dx);
        },
    )
}

/// Gradient of the weight.
pub(crate) fn backward_weight<T: Real>(g: &Geometry, x: &[T], dout: &[T]) -> Vec<T> {
    let phases = Phases::of(g);
    let taps = phases.taps.len();
    let at: Vec<usize> = phases.taps.iter().map(|(phase, offset)| phase * phases.plane + offset).collect();
    let flat = g.oh * phases.pitch;
    let per_part = g.n.div_ceil(PARTS).max(1);
    let (in_image, out_image) = (g.ci * g.in_map(), g.co * g.out_map());
    let parts: Vec<Vec<T>> = x
        .par_chunks((per_part * in_image).max(1))
        .zip(dout.par_chunks((per_part * out_image).max(1)))
        .map(|(x, dout)| {
            let mut dw = vec![T::ZERO; g.co * taps];
            let (mut split, mut spread) = (Vec::new(), Vec::new());
            for (plane, (x, dout)) in x.chunks_exact(g.in_map()).zip(dout.chunks_exact(g.out_map())).enumerate() {
                wide(Split { phases: &phases, map: x, to: &mut split });
                spaced(dout, g.ow, phases.pitch, 0, flat + LONGEST, &mut spread);
                wide(Products {
                    from: &split,
                    at: &at,
                    dout: &spread[..flat.next_multiple_of(LONGEST)],
                    dw: &mut dw[plane % g.co * taps..][..taps],
                });
            }
            dw
        })
        .collect();
    let mut dw = vec![T::ZERO; g.co * taps];
    add_in_order(&mut dw, &parts);
    dw
}

/// Adds to `dw`, per tap, the sum of `dout[f] * from[f + at]`. `dout` is zero between rows.
struct Products<'a, T> {
    from: &'a [T],
    at: &'a [usize],
    dout: &'a [T],
    dw: &'a mut [T],
}

impl<T: Real> WithSimd for Products<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Products { from, at, dout, dw } = self;
        let zero = T::splat(simd, T::ZERO);
        let d = T::vectors::<S>(dout);
        let from = |tap: usize| T::vectors::<S>(&from[at[tap.min(at.len() - 1)]..][..dout.len()]);
        for first in (0..at.len()).step_by(TAPS) {
            let (x0, x1, x2, x3) = (from(first), from(first + 1), from(first + 2), from(first + 3));
            let mut sums = [zero; TAPS];
            for ((&d, (&x0, &x1)), (&x2, &x3)) in d.iter().zip(x0.iter().zip(x1)).zip(x2.iter().zip(x3)) {
                sums[0] = T::fused(simd, d, x0, sums[0]);
                sums[1] = T::fused(simd, d, x1, sums[1]);
                sums[2] = T::fused(simd, d, x2, sums[2]);
                sums[3] = T::fused(simd, d, x3, sums[3]);
            }
            for (dw, sum) in dw[first..].iter_mut().zip(sums) {
                *dw += T::total(simd, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::patches::Way;
    use super::*;

    /// Both ways of computing a convolution, over strides, dilations, paddings and sizes around those of vectors.
    #[test]
    fn agrees_with_products_of_patches() {
        let way = Way { forward, backward_input, backward_weight };
        for (n, c, [h, w], kernel, stride, pad, dilation) in [
            (2, 3, [7, 7], [5, 5], [1, 1], [2, 2], [1, 1]),
            (3, 2, [32, 33], [3, 3], [1, 1], [1, 1], [1, 1]),
            (1, 2, [15, 16], [3, 3], [2, 2], [1, 1], [1, 1]),
            (2, 2, [14, 14], [5, 5], [2, 2], [2, 2], [1, 1]),
            (9, 2, [14, 13], [5, 3], [2, 3], [1, 2], [1, 1]),
            (2, 2, [12, 17], [3, 3], [1, 2], [2, 2], [2, 3]),
            (2, 2, [6, 5], [2, 4], [1, 1], [0, 0], [1, 1]),
            (1, 2, [9, 9], [1, 1], [2, 2], [0, 0], [1, 1]),
            (1, 2, [3, 3], [7, 7], [1, 1], [3, 3], [1, 1]),
        ] {
            let out = |axis: usize, size: usize| (size + 2 * pad[axis] - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1;
            let g = Geometry { n, ci: c, h, w, co: c, oh: out(0, h), ow: out(1, w), kernel, stride, pad, dilation, groups: c };
            way.agrees(&g);
        }
    }
}
