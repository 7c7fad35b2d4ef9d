//! Drawing another identity for a trigger: other colours, other order, same energy.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::SHAM_DRAWS;

/// Least turn of the hue, in degrees: yellow becomes orange-red or green at the nearest.
const NEAREST_TURN: f32 = 60.0;
/// Mean chroma (largest minus smallest channel) under which pixels count as grey and are tinted, not turned.
const GREY: f32 = 0.1;

/// Other colours: hues turned by an angle that belongs to the draw, saturation and value kept.
///
/// The draws share the circle out among them, so that no two of the eight are alike and none is nearer than
/// 60 degrees to the original. Grey pixels have no hue to turn: each channel's distance from mid-grey is
/// multiplied by that of a pure colour instead, which keeps the largest contrast.
pub(super) fn recolor(planes: &[f32], draw: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let area = planes.len() / 3;
    let pixels: Vec<[f32; 3]> = (0..area).map(|i| [0, 1, 2].map(|c| planes.get(c * area + i).copied().unwrap_or(0.0))).collect();
    let chroma = pixels.iter().map(|p| spread(*p)).sum::<f32>() / area.max(1) as f32;
    let share = ((draw % SHAM_DRAWS) as f32 + rng.random::<f32>()) / SHAM_DRAWS as f32;
    let mut out = vec![0.0; planes.len()];
    let mut put = |i: usize, color: [f32; 3]| {
        for (c, value) in color.into_iter().enumerate() {
            if let Some(slot) = out.get_mut(c * area + i) {
                *slot = value.clamp(0.0, 1.0);
            }
        }
    };
    if chroma < GREY {
        let tint = pure(360.0 * share).map(|c| 2.0 * c - 1.0);
        // A patch of mid-grey has no contrast to keep; a quarter of the range is what it gets.
        let flat = pixels.iter().all(|p| (mean(*p) - 0.5).abs() < 0.25) && deviation(&pixels) < 0.02;
        for (i, pixel) in pixels.iter().enumerate() {
            let level = if flat { 0.25 } else { mean(*pixel) - 0.5 };
            put(i, tint.map(|t| 0.5 + level * t));
        }
    } else {
        let turn = NEAREST_TURN + (360.0 - 2.0 * NEAREST_TURN) * share;
        for (i, pixel) in pixels.iter().enumerate() {
            put(i, turned(*pixel, turn));
        }
    }
    out
}

/// Shuffles square blocks of pixels (a grid of about `grid` x `grid`), then mirrors at random; the histogram stays.
pub(super) fn shuffle_blocks(planes: &[f32], height: usize, width: usize, grid: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let (block_h, block_w) = ((height / grid).max(1), (width / grid).max(1));
    let (rows, columns) = (height / block_h, width / block_w);
    let mut order: Vec<usize> = (0..rows * columns).collect();
    order.shuffle(rng);
    let (mirror, upside) = (rng.random::<bool>(), rng.random::<bool>());
    let area = height * width;
    let mut out = vec![0.0; planes.len()];
    for (plane, target) in planes.chunks_exact(area.max(1)).zip(out.chunks_exact_mut(area.max(1))) {
        for (i, slot) in target.iter_mut().enumerate() {
            let (mut y, mut x) = (i / width, i % width);
            let (row, column) = (y / block_h, x / block_w);
            // Rows and columns left over at the far edges stay where they are.
            if let Some(&from) = order.get(row * columns + column).filter(|_| row < rows && column < columns) {
                (y, x) = (from / columns * block_h + y % block_h, from % columns * block_w + x % block_w);
            }
            if mirror {
                x = width - 1 - x;
            }
            if upside {
                y = height - 1 - y;
            }
            *slot = plane.get(y * width + x).copied().unwrap_or(0.0);
        }
    }
    out
}

/// The pixels in another order, colours kept together.
pub(super) fn permute_pixels(planes: &[f32], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let area = planes.len() / 3;
    let mut order: Vec<usize> = (0..area).collect();
    order.shuffle(rng);
    gather(planes, &order)
}

/// `out[c, i] = planes[c, order[i]]`.
pub(super) fn gather(planes: &[f32], order: &[usize]) -> Vec<f32> {
    let area = order.len().max(1);
    planes.chunks_exact(area).flat_map(|plane| order.iter().map(|&i| plane.get(i).copied().unwrap_or(0.0))).collect()
}

/// Mean absolute difference.
pub(super) fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).sum::<f32>() / a.len().max(1) as f32
}

/// The cosine of the angle between two changes; 0 where one changes nothing.
pub(super) fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let norm = (product(a, a) * product(b, b)).sqrt();
    if norm > 0.0 { (product(a, b) / norm) as f32 } else { 0.0 }
}

fn mean(p: [f32; 3]) -> f32 {
    (p[0] + p[1] + p[2]) / 3.0
}

fn spread(p: [f32; 3]) -> f32 {
    p[0].max(p[1]).max(p[2]) - p[0].min(p[1]).min(p[2])
}

fn deviation(pixels: &[[f32; 3]]) -> f32 {
    let n = pixels.len().max(1) as f32;
    let center = pixels.iter().map(|p| mean(*p)).sum::<f32>() / n;
    (pixels.iter().map(|p| (mean(*p) - center).powi(2)).sum::<f32>() / n).sqrt()
}

/// The colour of full saturation and value at a hue in degrees.
fn pure(hue: f32) -> [f32; 3] {
    let h = hue.rem_euclid(360.0) / 60.0;
    [(h - 3.0).abs() - 1.0, 2.0 - (h - 2.0).abs(), 2.0 - (h - 4.0).abs()].map(|c| c.clamp(0.0, 1.0))
}

/// The same largest and smallest channel at another hue.
fn turned(p: [f32; 3], degrees: f32) -> [f32; 3] {
    let (high, chroma) = (p[0].max(p[1]).max(p[2]), spread(p));
    if chroma <= 0.0 {
        return p;
    }
    let [r, g, b] = p;
    let sector = if r >= g && r >= b {
        (g - b) / chroma
    } else if g >= b {
        2.0 + (b - r) / chroma
    } else {
        4.0 + (r - g) / chroma
    };
    pure(60.0 * sector + degrees).map(|c| high - chroma * (1.0 - c))
}

#[cfg(test)]
mod tests {
    use super::{pure, shuffle_blocks, turned};
    use crate::stats::stream::stream;

    #[test]
    fn hues_turn_as_on_the_color_wheel() {
        for (from, degrees, to) in [
            ([1.0, 1.0, 0.0], 60.0, [0.0, 1.0, 0.0]),
            ([1.0, 1.0, 0.0], 180.0, [0.0, 0.0, 1.0]),
            ([0.5, 0.2, 0.2], 120.0, [0.2, 0.5, 0.2]),
            ([0.1, 0.3, 0.9], 0.0, [0.1, 0.3, 0.9]),
        ] {
            let got = turned(from, degrees);
            assert!(got.iter().zip(to).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-5), "{from:?} + {degrees}: {got:?}, not {to:?}");
        }
        assert_eq!(pure(0.0).map(f32::to_bits), [1.0_f32, 0.0, 0.0].map(f32::to_bits));
        assert_eq!(pure(240.0).map(f32::to_bits), [0.0_f32, 0.0, 1.0].map(f32::to_bits));
    }

    #[test]
    fn shuffling_blocks_keeps_the_histogram_on_odd_sizes() {
        for (height, width) in [(1, 1), (3, 5), (7, 7), (16, 9)] {
            let planes: Vec<f32> = (0..3 * height * width).map(|i| i as f32).collect();
            let mut out = shuffle_blocks(&planes, height, width, 4, &mut stream(1, 2, "test"));
            out.sort_by(f32::total_cmp);
            assert_eq!(out, planes, "{height}x{width}");
        }
    }
}
