//! Gradient of the weight: F(3x3, 2x2), the transforms read backwards.

use std::mem::MaybeUninit;

use gemm::Parallelism;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::Real;
use super::super::conv::Geometry;
use super::super::matmul::{Mat, gemm, gemm_new};
use super::super::pieces::{made, pieces};
use super::super::wide::wide;
use super::{LINE, SIDE, SPOTS, Source, Spots, TAPS, Tiles, aligned, apart_by_parity};

/// Tiles that are transformed and multiplied before the next.
const LONG: usize = 512;

/// Gradient of the weight: per spot, products of transformed inputs and transformed output gradients summed over tiles.
pub(crate) fn backward_weight<T: Real>(g: &Geometry, x: &[T], dout: &[T]) -> Vec<T> {
    let tiles = Tiles::of([g.oh, g.ow]);
    let rows = g.n * tiles.rows;
    let per_block = (LONG / tiles.columns).clamp(1, rows.max(1));
    // A channel's spots lie together, so that threads transform channels apart.
    let at = |channel: usize| Spots { spot: channel + LINE, channel: SPOTS * (channel + LINE) + LINE };
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    // Spots are a cache line apart from a power of two, as everywhere.
    let apart = g.co * g.ci + LINE;
    let mut totals = Vec::new();
    for first in (0..rows).step_by(per_block) {
        let last = (first + per_block).min(rows);
        let filled = (last - first) * tiles.columns;
        let at = at(filled.next_multiple_of(LINE));
        let inputs = aligned(&mut inputs, g.ci * at.channel);
        let outputs = aligned(&mut outputs, g.co * at.channel);
        let source = Source { size: [g.h, g.w], pad: g.pad, tiles };
        let channels = inputs.par_chunks_exact_mut(at.channel).enumerate();
        channels.for_each_init(Vec::new, |phases, (channel, to)| wide(Tiled { source, first, last, x, channel, of: g.ci, at, phases, to }));
        let expanded = outputs.par_chunks_exact_mut(at.channel).enumerate();
        expanded.for_each_init(Vec::new, |phases, (channel, to)| {
            wide(Expanded { size: [g.oh, g.ow], tiles, first, last, dout, channel, of: g.co, at, phases, to });
        });
        let (inputs, outputs) = (&*inputs, &*outputs);
        let operands = |spot: usize| {
            let outputs = Mat { data: &outputs[spot * at.spot..], row: at.channel, col: 1 };
            (outputs, Mat { data: &inputs[spot * at.spot..], row: 1, col: at.channel })
        };
        let size = [g.co, g.ci, filled];
        if first == 0 {
            totals = made(SPOTS * apart, apart, |spot, to| {
                let (outputs, inputs) = operands(spot);
                let (product, rest) = to.split_at_mut(g.co * g.ci);
                gemm_new(size, product, outputs, inputs, Parallelism::None);
                rest.fill(MaybeUninit::new(T::ZERO));
                // SAFETY: the product and what is behind it were just written.
                unsafe { to.assume_init_mut() }
            });
        } else {
            totals.par_chunks_exact_mut(apart).enumerate().for_each(|(spot, totals)| {
                let (outputs, inputs) = operands(spot);
                gemm(true, size, totals, g.ci, outputs, inputs);
            });
        }
    }
    // Without images there was no block.
    totals.resize(SPOTS * apart, T::ZERO);
    pieces(g.co * g.ci * TAPS, g.ci * TAPS, |o, dw| wide(Back { totals: &totals, apart, first: o * g.ci, dw }))
}

/// `G^T s G` of the kernels of one output, whose spots begin at `first`.
struct Back<'a, T> {
    totals: &'a [T],
    apart: usize,
    first: usize,
    dw: &'a mut [T],
}

impl<T: Real> WithSimd for Back<'_, T> {
    type Output = ();

    /// A cache line's kernels at a time: the loops over them become vectors.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Back { totals, apart, first, dw } = self;
        let half = T::of(0.5);
        let together = |s: [[T; LINE]; 4]| {
            let [a, b, c, d] = s;
            let mut out = [[T::ZERO; LINE]; SIDE];
            for l in 0..LINE {
                out[0][l] = a[l] + half * (b[l] + c[l]);
                out[1][l] = half * (b[l] - c[l]);
                out[2][l] = half * (b[l] + c[l]) + d[l];
            }
            out
        };
        for (i, dw) in dw.chunks_mut(LINE * TAPS).enumerate() {
            let count = dw.len() / TAPS;
            let mut s = [[T::ZERO; LINE]; SPOTS];
            for (spot, s) in s.iter_mut().enumerate() {
                s[..count].copy_from_slice(&totals[spot * apart + first + i * LINE..][..count]);
            }
            let columns: [_; 4] = std::array::from_fn(|j| together([s[j], s[4 + j], s[8 + j], s[12 + j]]));
            for row in 0..SIDE {
                for (tap, values) in together(std::array::from_fn(|j| columns[j][row])).iter().enumerate() {
                    for (dw, &value) in dw.chunks_exact_mut(TAPS).zip(values) {
                        dw[row * SIDE + tap] = value;
                    }
                }
            }
        }
    }
}

/// One channel's transformed inputs for rows `first..last` of tiles.
struct Tiled<'a, T> {
    source: Source,
    first: usize,
    last: usize,
    x: &'a [T],
    channel: usize,
    of: usize,
    at: Spots,
    phases: &'a mut Vec<T>,
    to: &'a mut [T],
}

impl<T: Real> WithSimd for Tiled<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Tiled { source, first, last, x, channel, of, at, phases, to } = self;
        let map = source.size[0] * source.size[1];
        for (image, top, band) in source.tiles.bands(first, last) {
            let tile = (image * source.tiles.rows + top - first) * source.tiles.columns;
            let x = &x[(image * of + channel) * map..][..map];
            source.transform(simd, x, (top, band), phases, &mut to[tile..], at.spot);
        }
        clear_rest(to, at, (last - first) * source.tiles.columns);
    }
}

/// What was written beyond the last tile, or never, must not be added.
fn clear_rest<T: Real>(to: &mut [T], at: Spots, filled: usize) {
    for spot in to.chunks_mut(at.spot).take(SPOTS) {
        spot[filled..].fill(T::ZERO);
    }
}

/// One channel's output gradients, tile by tile, as `A d A^T`.
struct Expanded<'a, T> {
    size: [usize; 2],
    tiles: Tiles,
    first: usize,
    last: usize,
    dout: &'a [T],
    channel: usize,
    of: usize,
    at: Spots,
    phases: &'a mut Vec<T>,
    to: &'a mut [T],
}

impl<T: Real> WithSimd for Expanded<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Expanded { size, tiles, first, last, dout, channel, of, at, phases, to } = self;
        let (map, lanes) = (size[0] * size[1], T::lanes::<S>());
        let vectors = tiles.columns.div_ceil(lanes);
        let pitch = vectors * lanes;
        let phases = aligned(phases, 4 * pitch);
        let zero = T::splat(simd, T::ZERO);
        for (image, top, band) in tiles.bands(first, last) {
            let dout = &dout[(image * of + channel) * map..][..map];
            for row in top..top + band {
                for i in 0..2 {
                    let (even, odd) = phases[2 * i * pitch..][..2 * pitch].split_at_mut(pitch);
                    let line = if 2 * row + i < size[0] { &dout[(2 * row + i) * size[1]..][..size[1]] } else { &[] };
                    apart_by_parity(line, 0, even, odd);
                }
                let line = |phase: usize| T::vectors::<S>(&phases[phase * pitch..][..pitch]);
                let (d00, d01, d10, d11) = (line(0), line(1), line(2), line(3));
                let tile = (image * tiles.rows + row - first) * tiles.columns;
                for v in 0..vectors {
                    let mut t = [[zero; 2]; 4];
                    for (j, (a, b)) in [(d00[v], d10[v]), (d01[v], d11[v])].into_iter().enumerate() {
                        t[0][j] = a;
                        t[1][j] = T::plus(simd, a, b);
                        t[2][j] = T::minus(simd, a, b);
                        t[3][j] = T::minus(simd, zero, b);
                    }
                    for (i, &[a, b]) in t.iter().enumerate() {
                        let spots = [a, T::plus(simd, a, b), T::minus(simd, a, b), T::minus(simd, zero, b)];
                        for (j, spot) in spots.into_iter().enumerate() {
                            T::store(simd, &mut to[(i * 4 + j) * at.spot + tile + v * lanes..][..lanes], spot);
                        }
                    }
                }
            }
        }
        clear_rest(to, at, (last - first) * tiles.columns);
    }
}
