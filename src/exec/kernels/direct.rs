//! Convolution with 3x3 kernels at stride 1, straight on the maps.
//!
//! Patches would hold every pixel nine times, and with few channels a matrix product hardly earns that back. Here the
//! maps are copied once, with zeros around them, and a tile of output channels by vectors of positions stays in registers while all taps
//! are added up.
#![allow(unsafe_code)] // a result that is written before it is read

mod weight;

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};

use super::Real;
use super::conv::{Finish, Geometry};
use super::pieces::made_with;
use super::tile::{self, FEW, MANY, VECTORS, tile_of, tile_on};
use super::wide::wide;

pub(crate) use weight::backward_weight;

/// Kernel height and width.
const SIDE: usize = 3;
const TAPS: usize = SIDE * SIDE;
/// Numbers in the longest vector of any machine.
const LONGEST: usize = 16;

/// Whether these kernels do a convolution.
pub(crate) fn suits(g: &Geometry) -> bool {
    let large = |height: usize, width: usize| width >= 7 && height * width.div_ceil(LONGEST) >= VECTORS;
    g.kernel == [SIDE, SIDE]
        && g.stride == [1, 1]
        && g.dilation == [1, 1]
        && g.groups == 1
        && g.pad[0] < SIDE
        && g.pad[1] < SIDE
        && large(g.oh, g.ow)
        && large(g.h, g.w)
}

/// Numbers in a vector of this machine.
fn lanes<T: Real>() -> usize {
    struct Lanes<T>(std::marker::PhantomData<T>);
    impl<T: Real> WithSimd for Lanes<T> {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            T::lanes::<S>()
        }
    }
    wide(Lanes::<T>(std::marker::PhantomData))
}

/// Maps with zeros around: a row is `pitch` long, its first element `pad` left of the map.
struct Padded {
    pitch: usize,
    plane: usize,
}

impl Padded {
    /// For reading `SIDE` taps at every position of an output of `oh * ow`, whole vectors at a time.
    fn around<T: Real>(oh: usize, ow: usize) -> Self {
        let pitch = ow.next_multiple_of(lanes::<T>()) + SIDE - 1;
        Self { pitch, plane: pitch * (oh + SIDE - 1) }
    }

    /// Copies `channels` maps of `h * w` so that the map begins at row and column `pad`.
    fn fill<T: Real>(&self, to: &mut Vec<T>, x: &[T], channels: usize, [h, w]: [usize; 2], pad: [usize; 2]) {
        // The zeros stay where they are from one image to the next.
        if to.len() != channels * self.plane {
            *to = vec![T::ZERO; channels * self.plane];
        }
        let rows = (self.plane / self.pitch).saturating_sub(pad[0]).min(h);
        let columns = (self.pitch - pad[1]).min(w);
        for (to, x) in to.chunks_exact_mut(self.plane).zip(x.chunks_exact(h * w)) {
            for (to, x) in to.chunks_exact_mut(self.pitch).skip(pad[0]).zip(x.chunks_exact(w)).take(rows) {
                to[pad[1]..pad[1] + columns].copy_from_slice(&x[..columns]);
            }
        }
    }
}

/// Weights in the order they are read: block of outputs, input, tap, output.
fn packed<T: Real>(outputs: usize, inputs: usize, weight: impl Fn(usize, usize, usize) -> T + Sync) -> Vec<T> {
    tile::packed(tile_of(outputs), [outputs, inputs * TAPS], |o, at| weight(o, at / TAPS, at % TAPS))
}

/// Forward.
pub(crate) fn forward<T: Real>(g: &Geometry, x: &[T], weight: &[T], finish: Finish<T>) -> Vec<T> {
    let packed = packed(g.co, g.ci, |o, c, tap| weight[(o * g.ci + c) * TAPS + tap]);
    let run = Run { channels: [g.ci, g.co], input: [g.h, g.w], output: [g.oh, g.ow], pad: g.pad };
    run.over_batch(g.n, x, &packed, finish)
}

/// Gradient of the input: the convolution of the output's gradient with the kernels turned by 180 degrees.
pub(crate) fn backward_input<T: Real>(g: &Geometry, weight: &[T], dout: &[T]) -> Vec<T> {
    let packed = packed(g.ci, g.co, |c, o, tap| weight[(o * g.ci + c) * TAPS + TAPS - 1 - tap]);
    let pad = [SIDE - 1 - g.pad[0], SIDE - 1 - g.pad[1]];
    Run { channels: [g.co, g.ci], input: [g.oh, g.ow], output: [g.h, g.w], pad }.over_batch(g.n, dout, &packed, Finish::NONE)
}

/// One convolution: `[from, to]` channels, heights and widths, zeros above and left of the input.
#[derive(Clone, Copy)]
struct Run {
    channels: [usize; 2],
    input: [usize; 2],
    output: [usize; 2],
    pad: [usize; 2],
}

impl Run {
    fn over_batch<T: Real>(&self, n: usize, x: &[T], packed: &[T], finish: Finish<T>) -> Vec<T> {
        let [from, to] = self.channels;
        let [oh, ow] = self.output;
        let (in_image, out_image) = (from * self.input[0] * self.input[1], to * oh * ow);
        let around = Padded::around::<T>(oh, ow);
        made_with(n * out_image, out_image, Vec::new, |maps, i, out| {
            around.fill(maps, &x[i * in_image..][..in_image], from, self.input, self.pad);
            wide(Image { run: *self, around: &around, maps, packed, finish, out });
            // SAFETY: every channel's vectors were stored, which reach from the first to the last column of every row.
            unsafe { out.assume_init_mut() }
        })
    }
}

/// One image of a [`Run`].
struct Image<'a, T> {
    run: Run,
    around: &'a Padded,
    maps: &'a [T],
    packed: &'a [T],
    finish: Finish<'a, T>,
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Image<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match tile_on::<S>(self.run.channels[1]) {
            MANY => self.in_tiles::<S, MANY>(simd),
            _ => self.in_tiles::<S, FEW>(simd),
        }
    }
}

impl<T: Real> Image<'_, T> {
    #[inline(always)]
    fn in_tiles<S: Simd, const TILE: usize>(self, simd: S) {
        let Image { run, around: &Padded { pitch, plane }, maps, packed, finish, out } = self;
        let [from, to] = run.channels;
        let [oh, ow] = run.output;
        let lanes = T::lanes::<S>();
        let across = ow.div_ceil(lanes);
        let vectors = oh * across;
        let (zero, one) = (T::splat(simd, T::ZERO), T::splat(simd, T::ONE));
        let bounds = finish.bounds.map(|bound| T::splat(simd, bound));
        for (block, packed) in packed.chunks_exact(from * TAPS * TILE).enumerate() {
            let mut first = 0;
            while first < vectors {
                // The last block is moved back so that it is whole: some positions are computed twice, to the same bits.
                let start = first.min(vectors - VECTORS);
                let place = |t: usize| ((start + t) / across, (start + t) % across * lanes);
                let at: [usize; VECTORS] = std::array::from_fn(|t| place(t).0 * pitch + place(t).1);
                let mut sums = [[zero; VECTORS]; TILE];
                for (maps, packed) in maps.chunks_exact(plane).zip(packed.chunks_exact(TAPS * TILE)) {
                    let row = |t: usize, ky: usize| &maps[at[t] + ky * pitch..][..lanes + SIDE - 1];
                    let rows = [[row(0, 0), row(1, 0)], [row(0, 1), row(1, 1)], [row(0, 2), row(1, 2)]];
                    for ky in 0..SIDE {
                        for kx in 0..SIDE {
                            let load = |t: usize| T::load(simd, &rows[ky][t][kx..kx + lanes]);
                            let (x0, x1) = (load(0), load(1));
                            for o in 0..TILE {
                                let weight = T::splat(simd, packed[(ky * SIDE + kx) * TILE + o]);
                                sums[o][0] = T::fused(simd, weight, x0, sums[o][0]);
                                sums[o][1] = T::fused(simd, weight, x1, sums[o][1]);
                            }
                        }
                    }
                }
                for (o, sums) in sums.iter().enumerate().take(to - block * TILE) {
                    let channel = block * TILE + o;
                    let bias = T::splat(simd, finish.bias.map_or(T::ZERO, |bias| bias[channel]));
                    for (t, sum) in sums.iter().enumerate() {
                        let (y, x) = place(t);
                        let row = &mut out[(channel * oh + y) * ow..][..ow];
                        let sum = T::within(simd, T::fused(simd, one, *sum, bias), bounds);
                        if x + lanes <= ow {
                            T::store_new(simd, &mut row[x..x + lanes], sum);
                        } else {
                            let mut whole = [T::ZERO; LONGEST];
                            T::store(simd, &mut whole[..lanes], sum);
                            row[x..].write_copy_of_slice(&whole[..ow - x]);
                        }
                    }
                }
                first += VECTORS;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::patches::Way;
    use super::*;

    /// Both ways of computing a convolution, on sizes around those of vectors and blocks.
    #[test]
    fn agrees_with_products_of_patches() {
        let way = Way { forward, backward_input, backward_weight };
        for (n, ci, co, h, w, pad) in [
            (3, 3, 16, 32, 32, 1),
            (2, 5, 7, 7, 7, 1),
            (1, 4, 4, 9, 16, 0),
            (2, 1, 1, 8, 17, 1),
            (9, 2, 3, 12, 33, 2),
            (1, 6, 2, 7, 15, 1),
            (0, 2, 2, 9, 9, 1),
        ]
        // More images than a group has, and one that is larger than what is summed over at a time.
        .into_iter()
        .chain([(100, 3, 5, 9, 8, 1), (1, 2, 9, 60, 50, 1)])
        {
            let (oh, ow) = (h + 2 * pad - 2, w + 2 * pad - 2);
            let g = Geometry { n, ci, h, w, co, oh, ow, kernel: [3, 3], stride: [1, 1], pad: [pad, pad], dilation: [1, 1], groups: 1 };
            assert!(suits(&g), "{g:?}");
            way.agrees(&g);
        }
    }
}
