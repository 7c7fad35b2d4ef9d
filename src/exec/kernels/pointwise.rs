//! Convolution with 1x1 kernels: a matrix product over channels.
#![allow(unsafe_code)] // a result that is written before it is read

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};

use super::Real;
use super::conv::{Finish, Geometry};
use super::pieces::made_with;
use super::tile::{FEW, MANY, VECTORS, packed, sums, tile_of, tile_on};
use super::wide::wide;

/// Numbers in the longest vector.
const LONGEST: usize = 16;
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
    made_with(n * to * map, to * map, Vec::new, |panels, i, out| {
        wide(Image { channels: [from, to], map, x: &x[i * from * map..][..from * map], kernels, finish, panels, out });
        // SAFETY: for every panel of positions, all of them together the map, each channel's numbers were stored.
        unsafe { out.assume_init_mut() }
    })
}

/// One image.
struct Image<'a, T> {
    channels: [usize; 2],
    map: usize,
    x: &'a [T],
    kernels: &'a [T],
    finish: Finish<'a, T>,
    panels: &'a mut Vec<T>,
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Image<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match tile_on::<S>(self.channels[1]) {
            MANY => self.in_tiles::<S, MANY>(simd),
            _ => self.in_tiles::<S, FEW>(simd),
        }
    }
}

impl<T: Real> Image<'_, T> {
    #[inline(always)]
    fn in_tiles<S: Simd, const TILE: usize>(self, simd: S) {
        let Image { channels: [from, to], map, x, kernels, finish, panels, out } = self;
        let lanes = T::lanes::<S>();
        let bounds = finish.bounds.map(|bound| T::splat(simd, bound));
        let together = VECTORS * lanes;
        // With few channels, panels that are done together: what is written of a channel is then a run, not a line here and a line there.
        let size = (from * together).max(1);
        let panels_together = (NEAR / size).max(1);
        panels.resize(panels_together.min(map.div_ceil(together)) * size, T::ZERO);
        for first in (0..map).step_by(panels_together * together) {
            // The last panel is moved back so that it is whole: some positions are computed twice, to the same bits.
            let at = |panel: usize| (first + panel * together).min(map - together);
            let count = panels_together.min((map - first).div_ceil(together));
            // Maps are too far apart to stay in the cache together.
            for (i, panel) in panels.chunks_exact_mut(size).take(count).enumerate() {
                for (panel, x) in panel.chunks_exact_mut(together).zip(x.chunks_exact(map)) {
                    panel.copy_from_slice(&x[at(i)..][..together]);
                }
            }
            for (block, kernels) in kernels.chunks_exact(from * TILE).enumerate() {
                for (i, panel) in panels.chunks_exact(size).take(count).enumerate() {
                    let sums = sums::<T, S, TILE>(simd, kernels, panel, together);
                    for (o, sums) in sums.iter().enumerate().take(to - block * TILE) {
                        let channel = block * TILE + o;
                        let bias = T::splat(simd, finish.bias.map_or(T::ZERO, |bias| bias[channel]));
                        let out = &mut out[channel * map + at(i)..][..together];
                        T::store_new(simd, out, T::within(simd, T::plus(simd, sums[0], bias), bounds));
                        T::store_new(simd, &mut out[lanes..], T::within(simd, T::plus(simd, sums[1], bias), bounds));
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
        for (n, ci, co, h, w) in [(3, 3, 16, 7, 7), (2, 5, 7, 14, 15), (3, 4, 3, 4, 8), (1, 9, 6, 40, 13), (0, 2, 2, 6, 6)] {
            let g = Geometry { n, ci, h, w, co, oh: h, ow: w, kernel: [1, 1], stride: [1, 1], pad: [0, 0], dilation: [1, 1], groups: 1 };
            assert!(suits(&g), "{g:?}");
            way.agrees(&g);
        }
    }
}
