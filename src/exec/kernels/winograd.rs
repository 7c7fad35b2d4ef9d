//! Convolution with 3x3 kernels at stride 1 between many channels, by Winograd's minimal filtering F(2x2, 3x3).
//!
//! A tile of 4x4 inputs gives 2x2 outputs with 16 products instead of 36: inputs and kernels are transformed into 16 spots,
//! each spot is one matrix product over channels, and the products are transformed back. Formulas: Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks" (arXiv 1509.09308), section 4.1; the weight gradient is F(3x3, 2x2), the same transforms read
//! backwards. With few channels the transforms cost more than they save: `direct` does those.
#![allow(unsafe_code)] // a result that is written before it is read

mod weight;

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};

use super::Real;
use super::conv::{Finish, Geometry};
use super::pieces::{made, made_with, together};
use super::tile::{FEW, MANY, VECTORS, sums_from, tile_of, tile_on};
use super::wide::wide;

pub(crate) use weight::backward_weight;

/// Kernel height and width, and numbers in a kernel.
const SIDE: usize = 3;
const TAPS: usize = SIDE * SIDE;
/// Places of a transformed tile.
const SPOTS: usize = 16;
/// Tiles that are transformed, multiplied and transformed back before the next: what they take stays in the cache.
const BLOCK: usize = 128;
/// Input channels that are summed over before the next: of a few positions they stay in the smallest cache.
const DEEP: usize = 128;
/// Numbers in a cache line of floats, and in the longest vector.
const LINE: usize = 16;

/// Whether these kernels do a convolution.
pub(crate) fn suits(g: &Geometry) -> bool {
    g.kernel == [SIDE, SIDE]
        && g.stride == [1, 1]
        && g.dilation == [1, 1]
        && g.groups == 1
        && g.pad[0] < SIDE
        && g.pad[1] < SIDE
        && g.oh.min(g.ow).min(g.h).min(g.w) >= 4
        // Below, the transforms eat what the products save (measured).
        && g.ci * g.co >= 30 * (g.ci + g.co)
}

/// Whether the weight's gradient, too, is cheaper with tiles that are transformed: they serve as many products as there are channels on the other side.
pub(crate) fn suits_weight(g: &Geometry) -> bool {
    suits(g) && g.ci * g.co >= 50 * (g.ci + g.co)
}

/// Forward.
pub(crate) fn forward<T: Real>(g: &Geometry, x: &[T], weight: &[T], finish: Finish<T>) -> Vec<T> {
    let kernels = kernels(Kernels { outputs: [g.co, g.ci], inputs: [g.ci, 1], turned: false, weight });
    let run = Run { channels: [g.ci, g.co], input: [g.h, g.w], output: [g.oh, g.ow], pad: g.pad };
    run.over_batch(g.n, x, &kernels, finish)
}

/// Gradient of the input: the convolution of the output's gradient with the kernels turned by 180 degrees.
pub(crate) fn backward_input<T: Real>(g: &Geometry, weight: &[T], dout: &[T]) -> Vec<T> {
    let kernels = kernels(Kernels { outputs: [g.ci, 1], inputs: [g.co, g.ci], turned: true, weight });
    let pad = [SIDE - 1 - g.pad[0], SIDE - 1 - g.pad[1]];
    Run { channels: [g.co, g.ci], input: [g.oh, g.ow], output: [g.h, g.w], pad }.over_batch(g.n, dout, &kernels, Finish::NONE)
}

/// Kernels to be transformed. Of outputs and inputs: how many, and how many kernels lie between one and the next.
#[derive(Clone, Copy)]
struct Kernels<'a, T> {
    outputs: [usize; 2],
    inputs: [usize; 2],
    /// Whether they are turned by 180 degrees.
    turned: bool,
    weight: &'a [T],
}

/// Numbers of one spot of a block of kernels. A cache line more than there are keeps spots from falling on each other's places in the cache.
fn spot_of_kernels(inputs: usize, tile: usize) -> usize {
    inputs * tile + LINE
}

/// Transformed kernels in the order they are read: block of outputs, spot, input, output.
fn kernels<T: Real>(kernels: Kernels<T>) -> Vec<T> {
    let tile = tile_of(kernels.outputs[0]);
    let size = SPOTS * spot_of_kernels(kernels.inputs[0], tile);
    made(kernels.outputs[0].div_ceil(tile) * size, size, |block, to| {
        wide(Transformed { kernels, at: block, to });
        // SAFETY: every spot of every input and the line behind each spot's were written.
        unsafe { to.assume_init_mut() }
    })
}

/// A block of transformed kernels.
struct Transformed<'a, T> {
    kernels: Kernels<'a, T>,
    at: usize,
    to: &'a mut [MaybeUninit<T>],
}

impl<T: Real> WithSimd for Transformed<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match tile_on::<S>(self.kernels.outputs[0]) {
            MANY => self.in_tiles::<MANY>(),
            _ => self.in_tiles::<FEW>(),
        }
    }
}

impl<T: Real> Transformed<'_, T> {
    /// `G k G^T` of as many kernels at a time as a tile has outputs: the loops over them become vectors.
    #[inline(always)]
    fn in_tiles<const TILE: usize>(self) {
        let Transformed { kernels: Kernels { outputs: [outputs, output], inputs: [inputs, input], turned, weight }, at: block, to } = self;
        let half = T::of(0.5);
        let apart = |[a, b, c]: [[T; TILE]; SIDE]| {
            let mut out = [a, a, a, c];
            for o in 0..TILE {
                let (even, odd) = (half * (a[o] + c[o]), half * b[o]);
                (out[1][o], out[2][o]) = (even + odd, even - odd);
            }
            out
        };
        let first = block * TILE;
        let spot = spot_of_kernels(inputs, TILE);
        let mut k = [[T::ZERO; TILE]; TAPS];
        for c in 0..inputs {
            for o in 0..TILE.min(outputs - first) {
                let own = &weight[((first + o) * output + c * input) * TAPS..][..TAPS];
                for (tap, &value) in own.iter().enumerate() {
                    k[if turned { TAPS - 1 - tap } else { tap }][o] = value;
                }
            }
            let columns = [apart([k[0], k[3], k[6]]), apart([k[1], k[4], k[7]]), apart([k[2], k[5], k[8]])];
            for i in 0..4 {
                for (j, values) in apart([columns[0][i], columns[1][i], columns[2][i]]).iter().enumerate() {
                    to[(i * 4 + j) * spot + c * TILE..][..TILE].write_copy_of_slice(values);
                }
            }
        }
        for spot in to.chunks_exact_mut(spot) {
            spot[inputs * TILE..].fill(MaybeUninit::new(T::ZERO));
        }
    }
}

/// Outputs in tiles of 2x2, numbered along the rows of an image, image after image.
#[derive(Clone, Copy)]
struct Tiles {
    rows: usize,
    columns: usize,
}

impl Tiles {
    fn of([height, width]: [usize; 2]) -> Self {
        Self { rows: height.div_ceil(2), columns: width.div_ceil(2) }
    }

    /// Splits rows of tiles, counted over images, where one image ends: image, first row in it, rows.
    fn bands(self, first: usize, last: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let mut row = first;
        std::iter::from_fn(move || {
            let (image, top) = (row / self.rows, row % self.rows);
            let rows = (last - row).min(self.rows - top);
            row += rows;
            (rows > 0).then_some((image, top, rows))
        })
    }
}

/// Where transformed tiles lie: spot, channel, tile, so far apart.
#[derive(Clone, Copy)]
struct Spots {
    spot: usize,
    channel: usize,
}

/// A buffer that is kept from block to block, as a slice that begins at a cache line.
fn aligned<T: Real>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len + LINE {
        *buffer = vec![T::ZERO; len + LINE];
    }
    let start = buffer.as_ptr().align_offset(64).min(LINE);
    &mut buffer[start..start + len]
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
    fn over_batch<T: Real>(&self, n: usize, x: &[T], kernels: &[T], finish: Finish<T>) -> Vec<T> {
        let [from, to] = self.channels;
        let tiles = Tiles::of(self.output);
        let together = together(n, BLOCK / (tiles.rows * tiles.columns));
        let (in_image, out_image) = (from * self.input[0] * self.input[1], to * self.output[0] * self.output[1]);
        made_with(n * out_image, together * out_image, Buffers::default, |buffers, i, out| {
            let x = &x[i * together * in_image..][..out.len() / out_image * in_image];
            wide(Images { run: *self, tiles, x, kernels, finish, out, buffers });
            // SAFETY: the blocks hold all rows of tiles, and of each both rows of every channel were written.
            unsafe { out.assume_init_mut() }
        })
    }
}

/// What a thread keeps from one group of images to the next.
struct Buffers<T> {
    phases: Vec<T>,
    inputs: Vec<T>,
    products: Vec<T>,
    outputs: Vec<T>,
}

impl<T> Default for Buffers<T> {
    fn default() -> Self {
        Self { phases: Vec::new(), inputs: Vec::new(), products: Vec::new(), outputs: Vec::new() }
    }
}

/// A few images of a [`Run`].
struct Images<'a, T> {
    run: Run,
    tiles: Tiles,
    x: &'a [T],
    kernels: &'a [T],
    finish: Finish<'a, T>,
    out: &'a mut [MaybeUninit<T>],
    buffers: &'a mut Buffers<T>,
}

impl<T: Real> WithSimd for Images<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Images { run, tiles, x, kernels, finish, out, buffers } = self;
        let bounds = finish.bounds.map(|bound| T::splat(simd, bound));
        let [from, to] = run.channels;
        let [oh, ow] = run.output;
        let (lanes, together) = (T::lanes::<S>(), T::lanes::<S>() * VECTORS);
        let rows = out.len() / (to * oh * ow) * tiles.rows;
        let per_block = (BLOCK / tiles.columns).max(1);
        let mut first = 0;
        while first < rows {
            let last = (first + per_block).min(rows);
            let count = ((last - first) * tiles.columns).next_multiple_of(together);
            // Rows and spots are a cache line apart from a power of two, or they would fall on each other's places in the cache.
            let at = Spots { spot: from * (count + LINE) + LINE, channel: count + LINE };
            let inputs = aligned(&mut buffers.inputs, SPOTS * at.spot + LINE);
            let source = Source { size: run.input, pad: run.pad, tiles };
            for channel in 0..from {
                let map = |image: usize| &x[(image * from + channel) * run.input[0] * run.input[1]..][..run.input[0] * run.input[1]];
                let to = &mut inputs[channel * at.channel..];
                for (image, top, band) in tiles.bands(first, last) {
                    let tile = (image * tiles.rows + top - first) * tiles.columns;
                    source.transform(simd, map(image), (top, band), &mut buffers.phases, &mut to[tile..], at.spot);
                }
            }
            let product = Spots { spot: to * count + LINE, channel: count };
            let products = aligned(&mut buffers.products, SPOTS * product.spot);
            match tile_on::<S>(to) {
                MANY => multiply::<T, S, MANY>(simd, [from, to], count, kernels, (&*inputs, at), (&mut *products, product)),
                _ => multiply::<T, S, FEW>(simd, [from, to], count, kernels, (&*inputs, at), (&mut *products, product)),
            }
            let outputs = aligned(&mut buffers.outputs, 4 * count);
            for channel in 0..to {
                let bias = finish.bias.map_or(T::ZERO, |bias| bias[channel]);
                back(simd, &products[channel * product.channel..], product.spot, count / lanes, (bias, bounds), outputs);
                for (image, top, band) in tiles.bands(first, last) {
                    let tile = (image * tiles.rows + top - first) * tiles.columns;
                    let map = &mut out[(image * to + channel) * oh * ow..][..oh * ow];
                    for (y, line) in map.chunks_exact_mut(ow).enumerate().skip(2 * top).take(2 * band) {
                        let tile = tile + (y / 2 - top) * tiles.columns;
                        let at = |odd: usize| (y % 2 * 2 + odd) * count + tile;
                        let (even, odd) = (&outputs[at(0)..][..tiles.columns], &outputs[at(1)..][..tiles.columns]);
                        let (pairs, rest) = line.as_chunks_mut::<2>();
                        for (pair, (&a, &b)) in pairs.iter_mut().zip(even.iter().zip(odd)) {
                            *pair = [a, b].map(MaybeUninit::new);
                        }
                        if let ([last], Some(&value)) = (rest, even.last()) {
                            last.write(value);
                        }
                    }
                }
            }
            first = last;
        }
    }
}

/// A map whose 4x4 tiles, two apart, are transformed: `B^T d B`.
#[derive(Clone, Copy)]
struct Source {
    size: [usize; 2],
    pad: [usize; 2],
    tiles: Tiles,
}

impl Source {
    /// Rows `top..top + band` of tiles to `to[spot * apart + tile]`. Up to a vector is written beyond the last tile.
    #[inline(always)]
    fn transform<T: Real, S: Simd>(
        &self,
        simd: S,
        map: &[T],
        (top, band): (usize, usize),
        phases: &mut Vec<T>,
        to: &mut [T],
        apart: usize,
    ) {
        let lanes = T::lanes::<S>();
        let columns = self.tiles.columns;
        let vectors = columns.div_ceil(lanes);
        // Rows by parity and columns by parity: a tile's neighbours are then a vector's neighbours.
        let pitch = (vectors + 1) * lanes;
        let plane = (band + 1) * pitch;
        let phases = aligned(phases, 4 * plane);
        for row in 0..2 * (band + 1) {
            let (even, odd) = phases[row % 2 * 2 * plane..][..2 * plane].split_at_mut(plane);
            let at = row / 2 * pitch;
            let y = (2 * top + row).checked_sub(self.pad[0]).filter(|y| *y < self.size[0]);
            let line = y.map(|y| &map[y * self.size[1]..][..self.size[1]]);
            apart_by_parity(line.unwrap_or(&[]), self.pad[1], &mut even[at..][..=columns], &mut odd[at..][..=columns]);
        }
        for row in 0..band {
            let line = |i: usize, odd: usize, shift: usize| {
                T::vectors::<S>(&phases[(i % 2 * 2 + odd) * plane + (row + i / 2) * pitch + shift..][..vectors * lanes])
            };
            let mut d = [[line(0, 0, 0); 4]; 4];
            for (i, d) in d.iter_mut().enumerate() {
                *d = [line(i, 0, 0), line(i, 1, 0), line(i, 0, 1), line(i, 1, 1)];
            }
            for v in 0..vectors {
                let mut t = [[d[0][0][v]; 4]; 4];
                for j in 0..4 {
                    let (d0, d1, d2, d3) = (d[0][j][v], d[1][j][v], d[2][j][v], d[3][j][v]);
                    t[0][j] = T::minus(simd, d0, d2);
                    t[1][j] = T::plus(simd, d1, d2);
                    t[2][j] = T::minus(simd, d2, d1);
                    t[3][j] = T::minus(simd, d1, d3);
                }
                for (i, t) in t.iter().enumerate() {
                    let spots =
                        [T::minus(simd, t[0], t[2]), T::plus(simd, t[1], t[2]), T::minus(simd, t[2], t[1]), T::minus(simd, t[1], t[3])];
                    for (j, spot) in spots.into_iter().enumerate() {
                        // A row's last vector may reach over the tiles of the next row, which come later.
                        T::store(simd, &mut to[(i * 4 + j) * apart + row * columns + v * lanes..][..lanes], spot);
                    }
                }
            }
        }
    }
}

/// A line that begins after `pad` zeros, its even places in one row and its odd places in the other, zeros behind.
#[inline(always)]
fn apart_by_parity<T: Real>(line: &[T], pad: usize, even: &mut [T], odd: &mut [T]) {
    let (before, shifted) = (pad / 2, pad % 2);
    let (firsts, seconds) = if shifted == 0 { (even, odd) } else { (odd, even) };
    let (pairs, rest) = line.as_chunks::<2>();
    let whole = pairs.len().min(firsts.len().saturating_sub(before + shifted));
    firsts[..before].fill(T::ZERO);
    seconds[..before + shifted].fill(T::ZERO);
    let (first, second) = (&mut firsts[before..], &mut seconds[before + shifted..]);
    for ((first, second), pair) in first.iter_mut().zip(second.iter_mut()).zip(&pairs[..whole]) {
        *first = pair[0];
        *second = pair[1];
    }
    let last = pairs.get(whole).map(|pair| pair[0]).or(rest.first().copied());
    let (first, second) = (&mut first[whole..], &mut second[whole..]);
    first.fill(T::ZERO);
    second.fill(T::ZERO);
    if let (Some(first), Some(last)) = (first.first_mut(), last) {
        *first = last;
    }
}

/// Per spot, `products [to, count] = kernels [to, from] inputs [from, count]`.
#[inline(always)]
fn multiply<T: Real, S: Simd, const TILE: usize>(
    simd: S,
    [from, to]: [usize; 2],
    count: usize,
    kernels: &[T],
    (inputs, at): (&[T], Spots),
    (products, product): (&mut [T], Spots),
) {
    let lanes = T::lanes::<S>();
    let together = lanes * VECTORS;
    let apart = spot_of_kernels(from, TILE);
    for spot in 0..SPOTS {
        for first in (0..from).step_by(DEEP) {
            let last = from.min(first + DEEP);
            for tile in (0..count).step_by(together) {
                let inputs = &inputs[spot * at.spot + first * at.channel + tile..];
                for (block, kernels) in kernels.chunks_exact(SPOTS * apart).enumerate() {
                    let kernels = &kernels[spot * apart..][first * TILE..last * TILE];
                    let products = &mut products[spot * product.spot + block * TILE * product.channel + tile..];
                    let row = |o: usize| o.min(to - block * TILE - 1) * product.channel;
                    let mut start = [[T::splat(simd, T::ZERO); VECTORS]; TILE];
                    if first > 0 {
                        for (o, start) in start.iter_mut().enumerate() {
                            *start = [0, lanes].map(|v| T::load(simd, &products[row(o) + v..]));
                        }
                    }
                    let sums = sums_from::<T, S, TILE>(simd, start, kernels, inputs, at.channel);
                    for (o, sums) in sums.iter().enumerate().take(to - block * TILE) {
                        let products = &mut products[row(o)..][..together];
                        T::store(simd, products, sums[0]);
                        T::store(simd, &mut products[lanes..], sums[1]);
                    }
                }
            }
        }
    }
}

/// `A^T m A` of one channel, cut off: outputs `(y, x)` of all tiles to `outputs[(2 y + x) * count + tile]`.
#[inline(always)]
fn back<T: Real, S: Simd>(
    simd: S,
    products: &[T],
    apart: usize,
    vectors: usize,
    (bias, bounds): (T, [T::Vector<S>; 2]),
    outputs: &mut [T],
) {
    let count = vectors * T::lanes::<S>();
    let mut m = [T::vectors::<S>(&products[..count]); SPOTS];
    for (spot, m) in m.iter_mut().enumerate() {
        *m = T::vectors::<S>(&products[spot * apart..][..count]);
    }
    let bias = T::splat(simd, bias);
    let lanes = T::lanes::<S>();
    for v in 0..vectors {
        let mut rows = [[bias; 4]; 2];
        for j in 0..4 {
            let (m0, m1, m2, m3) = (m[j][v], m[4 + j][v], m[8 + j][v], m[12 + j][v]);
            rows[0][j] = T::plus(simd, m0, T::plus(simd, m1, m2));
            rows[1][j] = T::minus(simd, T::minus(simd, m1, m2), m3);
        }
        for (i, r) in rows.iter().enumerate() {
            let first = T::plus(simd, T::plus(simd, r[0], bias), T::plus(simd, r[1], r[2]));
            let second = T::minus(simd, T::plus(simd, T::minus(simd, r[1], r[2]), bias), r[3]);
            T::store(simd, &mut outputs[2 * i * count + v * lanes..][..lanes], T::within(simd, first, bounds));
            T::store(simd, &mut outputs[(2 * i + 1) * count + v * lanes..][..lanes], T::within(simd, second, bounds));
        }
    }
}

#[cfg(test)]
mod tests;
