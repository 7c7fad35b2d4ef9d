//! The innermost product: a few outputs by a few vectors of positions, summed over inputs in registers.

use pulp::Simd;

use super::Real;
use super::pieces::pieces;

/// Outputs of a tile.
pub(super) const OUTPUTS: usize = 4;
/// Vectors of positions of a tile: with four outputs, as many sums as hide the latency of a fused multiply-add.
pub(super) const VECTORS: usize = 2;

/// Kernels in the order that [`sums`] reads them: block of outputs, input, output.
pub(super) fn packed<T: Real>([outputs, inputs]: [usize; 2], weight: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
    let size = inputs * OUTPUTS;
    pieces(outputs.div_ceil(OUTPUTS) * size, size, |block, to| {
        for (input, to) in to.chunks_exact_mut(OUTPUTS).enumerate() {
            for (o, to) in to.iter_mut().enumerate().take(outputs - block * OUTPUTS) {
                *to = weight(block * OUTPUTS + o, input);
            }
        }
    })
}

/// Per output and vector, the sum over inputs of kernel times position. `kernels` holds [`OUTPUTS`] numbers for each input; the
/// positions of an input begin `apart` numbers after those of the one before.
#[inline(always)]
pub(super) fn sums<T: Real, S: Simd>(simd: S, kernels: &[T], inputs: &[T], apart: usize) -> [[T::Vector<S>; VECTORS]; OUTPUTS] {
    let together = VECTORS * T::lanes::<S>();
    let mut sums = [[T::splat(simd, T::ZERO); VECTORS]; OUTPUTS];
    for (kernels, inputs) in kernels.chunks_exact(OUTPUTS).zip(inputs.chunks(apart)) {
        let inputs = T::vectors::<S>(&inputs[..together]);
        let (x0, x1) = (inputs[0], inputs[1]);
        for o in 0..OUTPUTS {
            let kernel = T::splat(simd, kernels[o]);
            sums[o][0] = T::fused(simd, kernel, x0, sums[o][0]);
            sums[o][1] = T::fused(simd, kernel, x1, sums[o][1]);
        }
    }
    sums
}
