//! Grouped two-dimensional convolution through matrix products on image patches (im2col).
//!
//! Small maps are put side by side until a product has [`COLUMNS`] columns, large ones are cut into bands of rows,
//! so that the patches stay in the cache.

use rayon::prelude::*;

use super::Real;
use super::layout::take_every;
use super::matmul::{Mat, add_in_order, gemm};
use super::pieces::pieces_with;
use super::wide::{change, sum};

/// Columns of one product.
const COLUMNS: usize = 512;
/// Pieces of a batch whose weight gradients are summed apart, then added in order.
pub(super) const PARTS: usize = 8;

/// Sizes of a convolution. Maps are `[n, channels, height, width]`, weights `[co, ci / groups, kh, kw]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub n: usize,
    pub ci: usize,
    pub h: usize,
    pub w: usize,
    pub co: usize,
    pub oh: usize,
    pub ow: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Top and left; bottom and right follow from the output size.
    pub pad: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl Geometry {
    pub(crate) fn in_map(&self) -> usize {
        self.h * self.w
    }
    pub(crate) fn out_map(&self) -> usize {
        self.oh * self.ow
    }
    fn depth(&self) -> usize {
        self.ci / self.groups * self.kernel[0] * self.kernel[1]
    }
    fn patches_are_pixels(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pad == [0, 0] && self.in_map() == self.out_map()
    }
    /// Images that share one product.
    fn images_together(&self) -> usize {
        (COLUMNS / self.out_map().max(1)).clamp(1, self.n.max(1))
    }
    /// Bands of output rows when one map is larger than a product.
    fn bands(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let rows = (COLUMNS / self.ow.max(1)).clamp(1, self.oh.max(1));
        let height = self.oh;
        (0..height.div_ceil(rows)).map(move |i| (i * rows, height.min((i + 1) * rows)))
    }
    /// Output positions along one axis that read inside the input, for a kernel tap at `shift`: `[low, high)`.
    pub(crate) fn inside(&self, axis: usize, shift: usize) -> (usize, usize) {
        let (size, out) = if axis == 0 { (self.h, self.oh) } else { (self.w, self.ow) };
        let (pad, stride) = (self.pad[axis], self.stride[axis]);
        let low = pad.saturating_sub(shift).div_ceil(stride).min(out);
        let high = if size + pad > shift { ((size + pad - shift - 1) / stride + 1).min(out) } else { 0 };
        (low, high.max(low))
    }
}

/// What is done to a convolution's sums before they are stored.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a, T> {
    /// Added, per output channel.
    pub bias: Option<&'a [T]>,
    /// Least and greatest value.
    pub bounds: [T; 2],
}

impl<T: Real> Finish<'_, T> {
    /// Nothing.
    pub(crate) const NONE: Self = Self { bias: None, bounds: T::UNBOUNDED };
}

/// Forward.
pub(crate) fn forward<T: Real>(g: &Geometry, x: &[T], weight: &[T], finish: Finish<T>) -> Vec<T> {
    let (map, depth, per_group) = (g.out_map(), g.depth(), g.co / g.groups);
    let together = g.images_together();
    pieces_with(
        g.n * g.co * map,
        together * g.co * map,
        || (Vec::new(), Vec::new()),
        |(patches, product), i, out| {
            let images = out.len() / (g.co * map);
            for group in 0..g.groups {
                let weight = Mat::rows(&weight[group * per_group * depth..], depth);
                if images == 1 {
                    let x = group_of(g, x, i * together, group);
                    let out = &mut out[group * per_group * map..][..per_group * map];
                    if g.patches_are_pixels() {
                        gemm(false, [per_group, map, depth], out, map, weight, Mat::rows(x, map));
                        continue;
                    }
                    for (r0, r1) in g.bands() {
                        let width = (r1 - r0) * g.ow;
                        resize(patches, depth * width);
                        gather(g, x, (r0, r1), patches, width, 0);
                        gemm(false, [per_group, width, depth], &mut out[r0 * g.ow..], map, weight, Mat::rows(patches, width));
                    }
                } else {
                    let width = images * map;
                    resize(patches, depth * width);
                    resize(product, per_group * width);
                    for image in 0..images {
                        gather(g, group_of(g, x, i * together + image, group), (0, g.oh), patches, width, image * map);
                    }
                    gemm(false, [per_group, width, depth], product, width, weight, Mat::rows(patches, width));
                    for image in 0..images {
                        for o in 0..per_group {
                            let to = (image * g.co + group * per_group + o) * map;
                            out[to..to + map].copy_from_slice(&product[o * width + image * map..][..map]);
                        }
                    }
                }
            }
            let [least, most] = finish.bounds;
            if finish.bias.is_some() || finish.bounds != T::UNBOUNDED {
                for (i, map) in out.chunks_exact_mut(map).enumerate() {
                    let bias = finish.bias.map_or(T::ZERO, |bias| bias[i % g.co]);
                    change(map, move |v| (v + bias).at_least(least).at_most(most));
                }
            }
        },
    )
}

/// Gradient of the input.
pub(crate) fn backward_input<T: Real>(g: &Geometry, weight: &[T], dout: &[T]) -> Vec<T> {
    let (map, depth, per_group) = (g.out_map(), g.depth(), g.co / g.groups);
    let in_image = g.ci * g.in_map();
    let in_group = in_image / g.groups;
    let together = g.images_together();
    pieces_with(
        g.n * in_image,
        together * in_image,
        || (Vec::new(), Vec::new()),
        |(patches, gathered), i, dx| {
            let images = dx.len() / in_image;
            for group in 0..g.groups {
                let weight = Mat::transposed(&weight[group * per_group * depth..], depth);
                if images == 1 {
                    let dout = &dout[(i * together * g.co + group * per_group) * map..][..per_group * map];
                    let dx = &mut dx[group * in_group..][..in_group];
                    if g.patches_are_pixels() {
                        gemm(false, [depth, map, per_group], dx, map, weight, Mat::rows(dout, map));
                        continue;
                    }
                    for (r0, r1) in g.bands() {
                        let width = (r1 - r0) * g.ow;
                        resize(patches, depth * width);
                        gemm(false, [depth, width, per_group], patches, width, weight, Mat::rows(&dout[r0 * g.ow..], map));
                        scatter(g, patches, width, 0, (r0, r1), dx);
                    }
                } else {
                    let width = images * map;
                    resize(patches, depth * width);
                    gather_maps(g, dout, i * together, images, group, gathered);
                    gemm(false, [depth, width, per_group], patches, width, weight, Mat::rows(gathered, width));
                    for image in 0..images {
                        let dx = &mut dx[image * in_image + group * in_group..][..in_group];
                        scatter(g, patches, width, image * map, (0, g.oh), dx);
                    }
                }
            }
        },
    )
}

/// Gradient of the weight.
pub(crate) fn backward_weight<T: Real>(g: &Geometry, x: &[T], dout: &[T]) -> Vec<T> {
    let (map, depth, per_group) = (g.out_map(), g.depth(), g.co / g.groups);
    let size = g.co * depth;
    let per_part = g.n.div_ceil(PARTS).max(1);
    let together = g.images_together().min(per_part);
    let parts: Vec<Vec<T>> = (0..g.n.div_ceil(per_part))
        .into_par_iter()
        .map(|part| {
            let mut dw = vec![T::ZERO; size];
            let (mut patches, mut gathered) = (Vec::new(), Vec::new());
            let end = g.n.min((part + 1) * per_part);
            let mut first = part * per_part;
            while first < end {
                let images = together.min(end - first);
                for group in 0..g.groups {
                    let dw = &mut dw[group * per_group * depth..][..per_group * depth];
                    if images == 1 {
                        let x = group_of(g, x, first, group);
                        let dout = &dout[(first * g.co + group * per_group) * map..][..per_group * map];
                        if g.patches_are_pixels() {
                            gemm(true, [per_group, depth, map], dw, depth, Mat::rows(dout, map), Mat::transposed(x, map));
                            continue;
                        }
                        for (r0, r1) in g.bands() {
                            let width = (r1 - r0) * g.ow;
                            resize(&mut patches, depth * width);
                            gather(g, x, (r0, r1), &mut patches, width, 0);
                            let dout = Mat::rows(&dout[r0 * g.ow..], map);
                            gemm(true, [per_group, depth, width], dw, depth, dout, Mat::transposed(&patches, width));
                        }
                    } else {
                        let width = images * map;
                        resize(&mut patches, depth * width);
                        for image in 0..images {
                            gather(g, group_of(g, x, first + image, group), (0, g.oh), &mut patches, width, image * map);
                        }
                        gather_maps(g, dout, first, images, group, &mut gathered);
                        gemm(true, [per_group, depth, width], dw, depth, Mat::rows(&gathered, width), Mat::transposed(&patches, width));
                    }
                }
                first += images;
            }
            dw
        })
        .collect();
    let mut dw = vec![T::ZERO; size];
    add_in_order(&mut dw, &parts);
    dw
}

/// Gradient of the bias.
pub(crate) fn backward_bias<T: Real>(channels: usize, map: usize, dout: &[T]) -> Vec<T> {
    (0..channels)
        .into_par_iter()
        .map(|c| {
            let mut total = T::ZERO;
            for image in dout.chunks_exact((channels * map).max(1)) {
                total += sum(&image[c * map..][..map]);
            }
            total
        })
        .collect()
}

fn resize<T: Real>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, T::ZERO);
    }
}

fn group_of<'a, T>(g: &Geometry, x: &'a [T], image: usize, group: usize) -> &'a [T] {
    let size = g.ci / g.groups * g.in_map();
    &x[(image * g.groups + group) * size..][..size]
}

/// Output maps of several images as rows `[channel, image, position]`.
fn gather_maps<T: Real>(g: &Geometry, dout: &[T], first: usize, images: usize, group: usize, to: &mut Vec<T>) {
    let (map, per_group) = (g.out_map(), g.co / g.groups);
    resize(to, per_group * images * map);
    for o in 0..per_group {
        for image in 0..images {
            let from = ((first + image) * g.co + group * per_group + o) * map;
            to[(o * images + image) * map..][..map].copy_from_slice(&dout[from..from + map]);
        }
    }
}

/// Patches of output rows `[r0, r1)` of one image: row `(c, ky, kx)` of `patches`, which is `width` wide, from column `at`.
fn gather<T: Real>(g: &Geometry, x: &[T], (r0, r1): (usize, usize), patches: &mut [T], width: usize, at: usize) {
    let [kh, kw] = g.kernel;
    for (row, (c, ky, kx)) in taps(g.ci / g.groups, kh, kw).enumerate() {
        let x = &x[c * g.in_map()..][..g.in_map()];
        let (shift_y, shift_x) = (ky * g.dilation[0], kx * g.dilation[1]);
        let (low, high) = g.inside(1, shift_x);
        let (top, bottom) = g.inside(0, shift_y);
        let to = &mut patches[row * width + at..][..(r1 - r0) * g.ow];
        for (oy, to) in (r0..r1).zip(to.chunks_exact_mut(g.ow)) {
            if oy < top || oy >= bottom || low == high {
                to.fill(T::ZERO);
                continue;
            }
            let line = &x[(oy * g.stride[0] + shift_y - g.pad[0]) * g.w..][..g.w];
            to[..low].fill(T::ZERO);
            to[high..].fill(T::ZERO);
            let start = low * g.stride[1] + shift_x - g.pad[1];
            if g.stride[1] == 1 {
                to[low..high].copy_from_slice(&line[start..start + high - low]);
            } else {
                take_every(g.stride[1], &mut to[low..high], &line[start..]);
            }
        }
    }
}

/// Adds patches back to where they were taken from: the transpose of [`gather`].
fn scatter<T: Real>(g: &Geometry, patches: &[T], width: usize, at: usize, (r0, r1): (usize, usize), x: &mut [T]) {
    let [kh, kw] = g.kernel;
    for (row, (c, ky, kx)) in taps(g.ci / g.groups, kh, kw).enumerate() {
        let x = &mut x[c * g.in_map()..][..g.in_map()];
        let (shift_y, shift_x) = (ky * g.dilation[0], kx * g.dilation[1]);
        let (low, high) = g.inside(1, shift_x);
        let (top, bottom) = g.inside(0, shift_y);
        if low == high {
            continue;
        }
        let from = &patches[row * width + at..][..(r1 - r0) * g.ow];
        for (oy, from) in (r0..r1).zip(from.chunks_exact(g.ow)) {
            if oy < top || oy >= bottom {
                continue;
            }
            let line = &mut x[(oy * g.stride[0] + shift_y - g.pad[0]) * g.w..][..g.w];
            let start = low * g.stride[1] + shift_x - g.pad[1];
            if g.stride[1] == 1 {
                for (to, &from) in line[start..].iter_mut().zip(&from[low..high]) {
                    *to += from;
                }
            } else {
                for (to, &from) in line[start..].iter_mut().step_by(g.stride[1]).zip(&from[low..high]) {
                    *to += from;
                }
            }
        }
    }
}

fn taps(channels: usize, kh: usize, kw: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..channels).flat_map(move |c| (0..kh).flat_map(move |ky| (0..kw).map(move |kx| (c, ky, kx))))
}
