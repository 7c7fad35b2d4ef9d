//! The innermost product: a few outputs by a few vectors of positions, summed over inputs in registers.

use pulp::{Simd, WithSimd};

use super::Real;
use super::pieces::pieces;
use super::wide::wide;

/// Outputs of a tile on a machine of sixteen registers: with two vectors, as many sums as hide the latency of a fused multiply-add and leave
/// registers for what is read.
pub(super) const FEW: usize = 4;
/// Outputs of a tile on a machine of thirty-two (AVX-512, NEON): what is read serves twice as many sums.
pub(super) const MANY: usize = 8;
/// Vectors of positions of a tile.
pub(super) const VECTORS: usize = 2;

/// The outputs of a tile for a kernel of so many: [`FEW`] or [`MANY`].
#[inline(always)]
pub(super) fn tile_on<S: Simd>(outputs: usize) -> usize {
    if outputs > FEW && S::REGISTER_COUNT >= 32 { MANY } else { FEW }
}

/// [`tile_on`] this machine.
pub(super) fn tile_of(outputs: usize) -> usize {
    struct Tile(usize);
    impl WithSimd for Tile {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            tile_on::<S>(self.0)
        }
    }
    wide(Tile(outputs))
}

/// Kernels in the order that [`sums`] reads them: block of outputs, input, output.
pub(super) fn packed<T: Real>(tile: usize, [outputs, inputs]: [usize; 2], weight: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
    let size = inputs * tile;
    pieces(outputs.div_ceil(tile) * size, size, |block, to| {
        for (input, to) in to.chunks_exact_mut(tile).enumerate() {
            for (o, to) in to.iter_mut().enumerate().take(outputs - block * tile) {
                *to = weight(block * tile + o, input);
            }
        }
    })
}

/// Per output and vector, the sum over inputs of kernel times position. `kernels` holds a number per output for each input; the
/// positions of an input begin `apart` numbers after those of the one before.
#[inline(always)]
pub(super) fn sums<T: Real, S: Simd, const TILE: usize>(simd: S, kernels: &[T], inputs: &[T], apart: usize) -> Sums<T, S, TILE> {
    sums_from(simd, [[T::splat(simd, T::ZERO); VECTORS]; TILE], kernels, inputs, apart)
}

/// What a tile sums: per output and vector.
pub(super) type Sums<T, S, const TILE: usize> = [[<T as Real>::Vector<S>; VECTORS]; TILE];

/// [`sums`] added to others.
#[inline(always)]
pub(super) fn sums_from<T: Real, S: Simd, const TILE: usize>(
    simd: S,
    mut sums: Sums<T, S, TILE>,
    kernels: &[T],
    inputs: &[T],
    apart: usize,
) -> Sums<T, S, TILE> {
    let together = VECTORS * T::lanes::<S>();
    for (kernels, inputs) in kernels.as_chunks::<TILE>().0.iter().zip(inputs.chunks(apart)) {
        let inputs = T::vectors::<S>(&inputs[..together]);
        let (x0, x1) = (inputs[0], inputs[1]);
        for o in 0..TILE {
            let kernel = T::splat(simd, kernels[o]);
            sums[o][0] = T::fused(simd, kernel, x0, sums[o][0]);
            sums[o][1] = T::fused(simd, kernel, x1, sums[o][1]);
        }
    }
    sums
}
