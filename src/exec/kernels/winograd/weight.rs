//! Gradient of the weight: F(3x3, 2x2), the transforms read backwards.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::Real;
use super::super::conv::Geometry;
use super::super::pieces::pieces;
use super::super::tile::{FEW, MANY, tile_on};
use super::super::wide::wide;
use super::{LINE, SIDE, SPOTS, Source, Spots, TAPS, Tiles, aligned, apart_by_parity};

/// Input channels beside the outputs of a tile.
const INPUTS: usize = 3;
/// Tiles of a weight gradient's products.
const LONG: usize = 1024;
/// Rows of a weight gradient that one thread multiplies.
const ROWS: usize = 2 * MANY;

/// Gradient of the weight: per spot, products of transformed inputs and transformed output gradients summed over tiles.
pub(crate) fn backward_weight<T: Real>(g: &Geometry, x: &[T], dout: &[T]) -> Vec<T> {
    let tiles = Tiles::of([g.oh, g.ow]);
    let rows = g.n * tiles.rows;
    let per_block = (LONG / tiles.columns).clamp(1, rows.max(1));
    // A channel's spots lie together, so that threads transform channels apart.
    let at = |channel: usize| Spots { spot: channel + LINE, channel: SPOTS * (channel + LINE) + LINE };
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    let mut totals = vec![T::ZERO; SPOTS * g.co * g.ci];
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
        totals.par_chunks_exact_mut(g.co * g.ci).enumerate().for_each(|(spot, totals)| {
            totals.par_chunks_mut(ROWS * g.ci).enumerate().for_each(|(block, sums)| {
                wide(Products {
                    count: filled,
                    spot: spot * at.spot,
                    at,
                    inputs,
                    outputs: &outputs[block * ROWS * at.channel..],
                    sums,
                    ci: g.ci,
                });
            });
        });
    }
    // G^T s G.
    let half = T::of(0.5);
    let together = |[a, b, c, d]: [T; 4]| [a + half * (b + c), half * (b - c), half * (b + c) + d];
    pieces(g.co * g.ci * TAPS, g.ci * TAPS, |o, dw| {
        for (c, dw) in dw.as_chunks_mut::<TAPS>().0.iter_mut().enumerate() {
            let s = |spot: usize| totals[(spot * g.co + o) * g.ci + c];
            let mut columns = [[T::ZERO; SIDE]; 4];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = together([s(j), s(4 + j), s(8 + j), s(12 + j)]);
            }
            for i in 0..SIDE {
                dw[i * SIDE..][..SIDE].copy_from_slice(&together([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]));
            }
        }
    })
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

/// Adds to `sums [outputs, ci]`, at one spot, the products of output gradients and inputs over tiles.
struct Products<'a, T> {
    count: usize,
    spot: usize,
    at: Spots,
    inputs: &'a [T],
    outputs: &'a [T],
    sums: &'a mut [T],
    ci: usize,
}

impl<T: Real> WithSimd for Products<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match tile_on::<S>(self.sums.len() / self.ci) {
            MANY => self.in_tiles::<S, MANY>(simd),
            _ => self.in_tiles::<S, FEW>(simd),
        }
    }
}

impl<T: Real> Products<'_, T> {
    #[inline(always)]
    fn in_tiles<S: Simd, const TILE: usize>(self, simd: S) {
        let Products { count, spot, at, inputs, outputs, sums, ci } = self;
        let count = count.next_multiple_of(T::lanes::<S>());
        let rows = sums.len() / ci;
        let zero = T::splat(simd, T::ZERO);
        let input = |c: usize| T::vectors::<S>(&inputs[c.min(ci - 1) * at.channel + spot..][..count]);
        let output = |o: usize| T::vectors::<S>(&outputs[o.min(rows - 1) * at.channel + spot..][..count]);
        for o in (0..rows).step_by(TILE) {
            let d: [_; TILE] = std::array::from_fn(|i| output(o + i));
            for c in (0..ci).step_by(INPUTS) {
                let mut sum = [[zero; INPUTS]; TILE];
                for (v, ((&x0, &x1), &x2)) in input(c).iter().zip(input(c + 1)).zip(input(c + 2)).enumerate() {
                    for i in 0..TILE {
                        sum[i][0] = T::fused(simd, d[i][v], x0, sum[i][0]);
                        sum[i][1] = T::fused(simd, d[i][v], x1, sum[i][1]);
                        sum[i][2] = T::fused(simd, d[i][v], x2, sum[i][2]);
                    }
                }
                for i in 0..TILE.min(rows - o) {
                    for j in 0..INPUTS.min(ci - c) {
                        sums[(o + i) * ci + c + j] += T::total(simd, sum[i][j]);
                    }
                }
            }
        }
    }
}
