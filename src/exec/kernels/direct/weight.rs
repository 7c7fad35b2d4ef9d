//! Gradient of the weight: products of whole rows of inputs and of output gradients, long enough that what their vectors are summed to at
//! the end counts for little.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::Real;
use super::super::conv::{Geometry, PARTS};
use super::super::matmul::add_in_order;
use super::super::wide::wide;
use super::{LONGEST, SIDE, TAPS};

/// Numbers of a row, if there are as many: images of a group are one behind the other.
const ROW: usize = 1024;
/// The most numbers of a row that are summed over at a time.
const STRETCH: usize = 1280;
/// Outputs that are summed at a time.
const OUTPUTS: usize = 4;

/// Images of a group as one row a channel, zeros between: the end of one line or image is the beginning of the next, so that what is left
/// and right of a line, and above and below an image, is there once.
struct Rows {
    /// From one line, one image and one channel to the next.
    pitch: usize,
    image: usize,
    channel: usize,
}

impl Rows {
    fn of(g: &Geometry, images: usize) -> Self {
        // As far as a map reaches with the zeros before it, and as far as the last tap reaches less the zeros before the next.
        let pitch = (g.w + g.pad[1]).max(g.ow + SIDE - 1 - g.pad[1]);
        let image = (g.h + g.pad[0]).max(g.oh + SIDE - 1 - g.pad[0]) * pitch;
        // Behind the last image the taps of its last line are read. An odd number of cache lines keeps channels from falling on each other's places.
        let lines = (images * image + (SIDE - 1) * (pitch + 1)).div_ceil(LONGEST) + 1;
        Self { pitch, image, channel: (lines | 1) * LONGEST }
    }

    /// Numbers that are summed over for so many images, in whole vectors.
    fn len(&self, images: usize) -> usize {
        (images * self.image).next_multiple_of(LONGEST)
    }

    /// Copies maps `[image, channel, h, w]` so that they begin at line and column `at` of their image.
    fn fill<T: Real>(&self, to: &mut [T], maps: &[T], [h, w]: [usize; 2], at: [usize; 2]) {
        let channels = to.len() / self.channel;
        for (i, maps) in maps.chunks_exact(channels * h * w).enumerate() {
            for (to, map) in to.chunks_exact_mut(self.channel).zip(maps.chunks_exact(h * w)) {
                for (y, line) in map.chunks_exact(w).enumerate() {
                    to[i * self.image + (at[0] + y) * self.pitch + at[1]..][..w].copy_from_slice(line);
                }
            }
        }
    }
}

/// Gradient of the weight.
pub(crate) fn backward_weight<T: Real>(g: &Geometry, x: &[T], dout: &[T]) -> Vec<T> {
    let per_part = g.n.div_ceil(PARTS).max(1);
    let groups = per_part.div_ceil((ROW / Rows::of(g, 1).image).max(1));
    let together = per_part.div_ceil(groups);
    let rows = Rows::of(g, together);
    let (in_image, out_image) = (g.ci * g.in_map(), g.co * g.out_map());
    let parts: Vec<Vec<T>> = x
        .par_chunks(per_part * in_image)
        .zip(dout.par_chunks(per_part * out_image))
        .map(|(x, dout)| {
            let mut dw = vec![T::ZERO; g.co * g.ci * TAPS];
            let mut inputs = vec![T::ZERO; g.ci * rows.channel];
            let mut outputs = vec![T::ZERO; g.co * rows.channel];
            for (x, dout) in x.chunks(together * in_image).zip(dout.chunks(together * out_image)) {
                let images = x.len() / in_image;
                rows.fill(&mut inputs, x, [g.h, g.w], g.pad);
                rows.fill(&mut outputs, dout, [g.oh, g.ow], [0, 0]);
                if images < together {
                    // The gradient of images that are not there adds nothing.
                    outputs.chunks_exact_mut(rows.channel).for_each(|row| row[images * rows.image..].fill(T::ZERO));
                }
                wide(Weights {
                    pitch: rows.pitch,
                    channel: rows.channel,
                    len: rows.len(images),
                    inputs: &inputs,
                    outputs: &outputs,
                    dw: &mut dw,
                });
            }
            dw
        })
        .collect();
    let mut dw = vec![T::ZERO; g.co * g.ci * TAPS];
    add_in_order(&mut dw, &parts);
    dw
}

/// The weight gradient of a group of images, added to `dw`: products of [`Rows`] of inputs and of output gradients.
struct Weights<'a, T> {
    pitch: usize,
    channel: usize,
    len: usize,
    inputs: &'a [T],
    outputs: &'a [T],
    dw: &'a mut [T],
}

impl<T: Real> WithSimd for Weights<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many sums as there are registers for.
        if S::REGISTER_COUNT >= 32 { self.in_tiles::<S, 2>(simd) } else { self.in_tiles::<S, 1>(simd) }
    }
}

impl<T: Real> Weights<'_, T> {
    /// `INPUTS` inputs at a time.
    #[inline(always)]
    fn in_tiles<S: Simd, const INPUTS: usize>(self, simd: S) {
        let Weights { pitch, channel, len, inputs, outputs, dw } = self;
        let (ci, co) = (inputs.len() / channel, outputs.len() / channel);
        // As many outputs' stretches as are summed at a time stay in the smallest cache.
        let stretch = len.div_ceil(len.div_ceil(STRETCH)).next_multiple_of(LONGEST);
        for start in (0..len).step_by(stretch) {
            let len = stretch.min(len - start);
            for o in (0..co).step_by(OUTPUTS) {
                let mut d = [T::vectors::<S>(&outputs[..0]); OUTPUTS];
                for (i, d) in d.iter_mut().enumerate() {
                    *d = T::vectors::<S>(&outputs[(o + i).min(co - 1) * channel + start..][..len]);
                }
                for c in (0..ci).step_by(INPUTS) {
                    for ky in 0..SIDE {
                        let mut x = [[d[0]; SIDE]; INPUTS];
                        for (j, x) in x.iter_mut().enumerate() {
                            let row = (c + j).min(ci - 1) * channel + ky * pitch + start;
                            for (kx, x) in x.iter_mut().enumerate() {
                                *x = T::vectors::<S>(&inputs[row + kx..][..len]);
                            }
                        }
                        let sums = products::<T, S, INPUTS>(simd, &d, &x);
                        for i in 0..OUTPUTS.min(co - o) {
                            for j in 0..INPUTS.min(ci - c) {
                                for kx in 0..SIDE {
                                    dw[((o + i) * ci + c + j) * TAPS + ky * SIDE + kx] += T::total(simd, sums[i][j][kx]);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The innermost loop: of each output with each input, at three places, sums that are left as vectors.
#[inline(always)]
fn products<T: Real, S: Simd, const INPUTS: usize>(
    simd: S,
    d: &[&[T::Vector<S>]; OUTPUTS],
    x: &[[&[T::Vector<S>]; SIDE]; INPUTS],
) -> [[[T::Vector<S>; SIDE]; INPUTS]; OUTPUTS] {
    let mut sums = [[[T::splat(simd, T::ZERO); SIDE]; INPUTS]; OUTPUTS];
    for v in 0..d[0].len() {
        for j in 0..INPUTS {
            for kx in 0..SIDE {
                let x = x[j][kx][v];
                for i in 0..OUTPUTS {
                    sums[i][j][kx] = T::fused(simd, d[i][v], x, sums[i][j][kx]);
                }
            }
        }
    }
    sums
}
