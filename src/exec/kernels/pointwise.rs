//! Convolution with 1x1 kernels: a matrix product over channels.
#![allow(unsafe_code)] // a result that is written before it is read

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};

use super::Real;
use super::conv::{Finish, Geometry};
use super::pieces::{made_with, together};
use super::tile::{FEW, MANY, VECTORS, packed, sums, tile_of, tile_on};
use super::wide::wide;

/// Numbers in the longest vector.
const LONGEST: usize = 16;
/// Positions that are enough for a piece.
const LONG: usize = 1024;
/// Inputs that stay in the smallest cache while all outputs are made of them.
const NEAR: usize = 4096;

/// Whether these kernels do a convolution.
pub(crate) fn suits(g: &Geometry) -> bool {
    g.kernel == [1, 1]
        && g.stride == [1, 1]
        && g.pad == [0, 0]
        && g.groups == 1
        && g.in_map() == g.out_map()
        && g.in_map() >= VECTORS * LONGEST
}

/// Forward.
pub(crate) fn forward<T: Real>(g: &Geometry, x: &[T], weight: &[T], finish: Finish<T>) -> Vec<T> {
    over_batch([g.ci, g.co], [g.n, g.in_map()], x, &packed(tile_of(g.co), [g.co, g.ci], |o, c| weight[o * g.ci + c]), finish)
}

/// Gradient of the input: the convolution of the output's gradient with the transposed kernels.
pub(crate) fn backward_input<T: Real>(g: &Geometry, weight: &[T], dout: &[T]) -> Vec<T> {
    over_batch([g.co, g.ci], [g.n, g.in_map()], dout, &packed(tile_of(g.ci), [g.ci, g.co], |c, o| weight[o * g.ci + c]), Finish::NONE)
}

fn over_batch<T: Real>([from, to]: [usize; 2], [n, map]: [usize; 2], x: &[T], kernels: &[T], finish: Finish<T>) -> Vec<T> {
    // Small maps one behind the other, so that few panels are not whole.
    let together = together(n, LONG / map);
    made_with(n * to * map, together * to * map, Default::default, |buffers: &mut Buffers<T>, i, out| {
        let x = &x[i * together * from * map..][..out.len() / to * from];
        wide(Images { channels: [from, to], map, x, kernels, finish, buffers, out });
        // SAFETY: for every panel of positions, all of them together the maps, each channel's numbers were stored.
        unsafe { out.assume_init_mut() }
    })
}

/// What a thread keeps: panels of positions, and of each its image, position in that, and how much of it belongs to that image (the rest is
/// the next one's).
type Buffers<T> = (Vec<T>, Vec<[usize; 3]>);

/// A few images.
struct Images<'a, T> {
    channels: [usize; 2],
    map: usize,
    x: &'a [T],
    kernels: &'a [T],
    finish: Finish<'a, T>,
    buffers: &'a mut Buffers<T>,
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Images<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match tile_on::<S>(self.channels[1]) {
            MANY => self.in_tiles::<S, MANY>(simd),
            _ => self.in_tiles::<S, FEW>(simd),
        }
    }
}

impl<T: Real> Images<'_, T> {
    #[inline(always)]
    fn in_tiles<S: Simd, const TILE: usize>(self, simd: S) {
        let Images { channels: [from, to], map, x, kernels, finish, buffers: (panels, places), out } = self;
        let lanes = T::lanes::<S>();
        let bounds = finish.bounds.map(|bound| T::splat(simd, bound));
        let together = VECTORS * lanes;
        let positions = out.len() / to;
        // With few channels, panels that are done together: what is written of a channel is then a run, not a line here and a line there.
        let size = (from * together).max(1);
        let panels_together = (NEAR / size).max(1);
        panels.resize(panels_together.min(positions.div_ceil(together)) * size, T::ZERO);
        let mut next = [0, 0];
        for first in (0..positions).step_by(panels_together * together) {
            let count = panels_together.min((positions - first).div_ceil(together));
            places.clear();
            for panel in 0..count {
                // The last panel is moved back so that it is whole: some positions are computed twice, to the same bits.
                let beyond = (first + (panel + 1) * together).saturating_sub(positions);
                let [image, position] = if beyond <= next[1] { [next[0], next[1] - beyond] } else { [next[0] - 1, next[1] + map - beyond] };
                places.push([image, position, together.min(map - position)]);
                // Without a division, which would take as long as a tenth of a panel of few channels.
                next[1] += together;
                if next[1] >= map {
                    next = [next[0] + 1, next[1] - map];
                }
            }
            // Maps are too far apart to stay in the cache together.
            for (panel, &[image, position, own]) in panels.chunks_exact_mut(size).zip(&*places) {
                for (c, panel) in panel.chunks_exact_mut(together).enumerate() {
                    let x = &x[(image * from + c) * map..];
                    if own == together {
                        panel.copy_from_slice(&x[position..][..together]);
                    } else {
                        panel[..own].copy_from_slice(&x[position..][..own]);
                        panel[own..].copy_from_slice(&x[from * map..][..together - own]);
                    }
                }
            }
            let mut apart = [[T::ZERO; VECTORS * LONGEST]; TILE];
            for (block, kernels) in kernels.chunks_exact(from * TILE).enumerate() {
                for (panel, &[image, position, own]) in panels.chunks_exact(size).zip(&*places) {
                    let sums = sums::<T, S, TILE>(simd, kernels, panel, together);
                    let out = &mut out[(image * to + block * TILE) * map + position..];
                    for (o, sums) in sums.iter().enumerate().take(to - block * TILE) {
                        let bias = T::splat(simd, finish.bias.map_or(T::ZERO, |bias| bias[block * TILE + o]));
                        let first = T::within(simd, T::plus(simd, sums[0], bias), bounds);
                        let second = T::within(simd, T::plus(simd, sums[1], bias), bounds);
                        if own == together {
                            let out = &mut out[o * map..][..together];
                            T::store_new(simd, out, first);
                            T::store_new(simd, &mut out[lanes..], second);
                        } else {
                            T::store(simd, &mut apart[o], first);
                            T::store(simd, &mut apart[o][lanes..], second);
                        }
                    }
                    if own < together {
                        for (o, apart) in apart.iter().enumerate().take(to - block * TILE) {
                            out[o * map..][..own].write_copy_of_slice(&apart[..own]);
                            out[(to + o) * map - position..][..together - own].write_copy_of_slice(&apart[own..together]);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conv;
    use super::super::patches::Way;
    use super::*;

    #[test]
    fn agrees_with_products_of_patches() {
        let way = Way { forward, backward_input, backward_weight: conv::backward_weight };
        for (n, ci, co, h, w) in
            [(3, 3, 16, 7, 7), (2, 5, 7, 14, 15), (3, 4, 3, 4, 8), (1, 9, 6, 40, 13), (17, 5, 9, 6, 6), (0, 2, 2, 6, 6)]
        {
            let g = Geometry { n, ci, h, w, co, oh: h, ow: w, kernel: [1, 1], stride: [1, 1], pad: [0, 0], dilation: [1, 1], groups: 1 };
            assert!(suits(&g), "{g:?}");
            way.agrees(&g);
        }
    }
}
