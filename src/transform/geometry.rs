//! Images to the model's resolution, and that to model input: resize, crop, flip, shift, normalise.

mod cut;
mod fit;

pub(crate) use cut::Cut;
pub use fit::{Filter, FitError, Fitter, Geometry, Resize, Rounding};

/// Planes of `height * width` values as planes of `side * side` means: each is the mean of the area that it covers.
pub(crate) fn shrink(planes: &[f32], (height, width): (usize, usize), side: usize) -> Vec<f32> {
    // The pixels that a cell covers, and how much of each.
    let covered = |cell: usize, length: usize| -> Vec<(usize, f32)> {
        let (start, end) = (cell as f64 * length as f64 / side as f64, (cell + 1) as f64 * length as f64 / side as f64);
        let share = |i: usize| (end.min((i + 1) as f64) - start.max(i as f64)).max(0.0) as f32;
        (start as usize..(end.ceil() as usize).min(length)).map(|i| (i, share(i))).collect()
    };
    let cells = |length: usize| (0..side).map(|cell| covered(cell, length)).collect::<Vec<_>>();
    let (rows, columns) = (cells(height), cells(width));
    let mut out = Vec::with_capacity(planes.len() / (height * width).max(1) * side * side);
    for plane in planes.chunks_exact((height * width).max(1)) {
        for row in &rows {
            for column in &columns {
                let (mut sum, mut area) = (0.0, 0.0);
                for &(y, tall) in row {
                    for &(x, wide) in column {
                        sum += plane[y * width + x] * tall * wide;
                        area += tall * wide;
                    }
                }
                out.push(sum / area);
            }
        }
    }
    out
}

/// Mirrors planes of rows of `width` values left to right.
pub(crate) fn flip<T>(planes: &mut [T], width: usize) {
    if width > 0 {
        planes.chunks_exact_mut(width).for_each(<[T]>::reverse);
    }
}

/// Moves planes of `height * width` values right by `dx` and down by `dy`, zeros (black) coming in: torchvision's `RandomCrop` with padding.
pub(crate) fn shift<T: Copy + Default>(planes: &[T], (height, width): (usize, usize), (dx, dy): (isize, isize)) -> Vec<T> {
    let mut out = vec![T::default(); planes.len()];
    if height == 0 || width == 0 {
        return out;
    }
    // Of both sides: where what stays in sight begins, after and before.
    let ends = |by: isize, side: usize| (by.clamp(0, side as isize) as usize, by.saturating_neg().clamp(0, side as isize) as usize);
    let ((right, left), (down, up)) = (ends(dx, width), ends(dy, height));
    let (across, rows) = (width - right - left, height - down - up);
    for (out, plane) in out.chunks_exact_mut(height * width).zip(planes.chunks_exact(height * width)) {
        for (out, row) in out.chunks_exact_mut(width).skip(down).zip(plane.chunks_exact(width).skip(up)).take(rows) {
            out[right..right + across].copy_from_slice(&row[left..left + across]);
        }
    }
    out
}

/// How the values of planes become the numbers of a network's input: `(value - mean) / std` in the model's axis order, `[C, H, W]`, or
/// `[H, W, C]` where `nhwc`.
///
/// With one channel the luma of ITU-R BT.601 (`0.299 R + 0.587 G + 0.114 B`, Pillow's) is written with the first mean and
/// standard deviation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normalise {
    /// Per channel, of values in `0..=1`.
    pub mean: [f32; 3],
    /// Per channel.
    pub std: [f32; 3],
    /// 1 or 3.
    pub channels: usize,
    /// Whether channels come last.
    pub nhwc: bool,
    /// Whether blue comes first.
    pub bgr: bool,
}

impl Normalise {
    /// Writes planes of red, green and blue in `0..=1`. What does not fit into `out` is left out.
    pub(crate) fn frame(&self, planes: &[f32], out: &mut [f32]) {
        if self.channels == 1 {
            return self.luma(planes, |&value| value, out);
        }
        self.each(planes, |&value, channel| self.value(value, channel), out);
    }

    /// Writes planes of bytes: the same numbers as for planes of `byte / 255`.
    pub(crate) fn bytes(&self, planes: &[u8], out: &mut [f32]) {
        let value = |byte: u8| f32::from(byte) / 255.0;
        if self.channels == 1 {
            return self.luma(planes, |&byte| value(byte), out);
        }
        let table: [[f32; 256]; 3] = std::array::from_fn(|channel| std::array::from_fn(|byte| self.value(value(byte as u8), channel)));
        self.each(planes, |&byte, channel| table[channel][usize::from(byte)], out);
    }

    fn each<T>(&self, planes: &[T], value: impl Fn(&T, usize) -> f32, out: &mut [f32]) {
        let area = (planes.len() / 3).max(1);
        for (channel, plane) in planes.chunks_exact(area).enumerate().take(self.channels.min(3)) {
            let place = if self.bgr { 2 - channel } else { channel };
            if self.nhwc {
                let places = out.iter_mut().skip(place).step_by(self.channels);
                places.zip(plane).for_each(|(out, v)| *out = value(v, channel));
            } else {
                let places = out.iter_mut().skip(place * area);
                places.zip(plane).for_each(|(out, v)| *out = value(v, channel));
            }
        }
    }

    fn luma<T>(&self, planes: &[T], value: impl Fn(&T) -> f32, out: &mut [f32]) {
        let (red, rest) = planes.split_at(planes.len() / 3);
        let (green, blue) = rest.split_at(rest.len() / 2);
        for (((out, r), g), b) in out.iter_mut().zip(red).zip(green).zip(blue) {
            *out = self.value(0.299 * value(r) + 0.587 * value(g) + 0.114 * value(b), 0);
        }
    }

    fn value(&self, value: f32, channel: usize) -> f32 {
        (value - self.mean[channel]) / self.std[channel]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::Image;

    fn drawn(height: usize, width: usize) -> Image {
        let value = |y: usize, x: usize, c: usize| ((37 * x + 91 * y + 53 * c + x * y) % 256) as u8;
        let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| value(y, x, c)))).collect();
        Image { width, height, rgb }
    }

    fn planes(image: &Image) -> Vec<u8> {
        (0..3).flat_map(|channel| image.rgb.iter().skip(channel).step_by(3).copied()).collect()
    }

    fn frame() -> Vec<f32> {
        (0_u8..18).map(f32::from).collect()
    }

    #[test]
    fn flipping_and_shifting_move_pixels() {
        let mut flipped = frame();
        flip(&mut flipped, 3);
        assert_eq!(flipped[..6], [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
        let shift = |by| shift(&frame(), (2, 3), by);
        assert_eq!(shift((1, 0))[..6], [0.0, 0.0, 1.0, 0.0, 3.0, 4.0]);
        assert_eq!(shift((-2, -1))[..6], [5.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(shift((isize::MIN, isize::MAX)), [0.0; 18]);
        assert_eq!(shift((0, 0)), frame());
    }

    #[test]
    fn normalising_writes_either_layout_and_grey() {
        let to = |channels, nhwc| Normalise { mean: [1.0, 2.0, 3.0], std: [1.0, 2.0, 4.0], channels, nhwc, bgr: false };
        let mut planes = [0.0; 18];
        to(3, false).frame(&frame(), &mut planes);
        assert_eq!(planes.iter().skip(1).step_by(6).copied().collect::<Vec<_>>(), [0.0, 2.5, 2.5]);
        let mut pixels = [0.0; 18];
        to(3, true).frame(&frame(), &mut pixels);
        assert_eq!(pixels[3..6], [0.0, 2.5, 2.5]);
        // The mean and standard deviation belong to the colour, wherever it goes.
        let bgr = |nhwc| Normalise { bgr: true, ..to(3, nhwc) };
        bgr(false).frame(&frame(), &mut planes);
        assert_eq!(planes.iter().skip(1).step_by(6).copied().collect::<Vec<_>>(), [2.5, 2.5, 0.0]);
        bgr(true).frame(&frame(), &mut pixels);
        assert_eq!(pixels[3..6], [2.5, 2.5, 0.0]);
        let mut gray = [0.0; 6];
        to(1, false).frame(&frame(), &mut gray);
        assert!((gray[0] - (0.587 * 6.0 + 0.114 * 12.0 - 1.0)).abs() < 1e-6);
    }

    #[test]
    fn bytes_and_frames_give_the_same_bits() {
        let bytes = planes(&drawn(16, 16));
        let frame: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        for (channels, nhwc, bgr) in [(3, false, false), (3, true, true), (1, false, false), (1, true, false)] {
            let to = Normalise { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], channels, nhwc, bgr };
            let (mut one, mut two) = (vec![0.0; 256 * channels], vec![0.0; 256 * channels]);
            to.frame(&frame, &mut one);
            to.bytes(&bytes, &mut two);
            assert_eq!(one.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), two.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn shrinking_takes_the_mean_of_what_each_cell_covers() {
        // 4x6 to 2x2: blocks of 2x3.
        let plane: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let mean = |rows: [usize; 2], columns: [usize; 3]| -> f32 {
            rows.iter().flat_map(|y| columns.iter().map(move |x| (y * 6 + x) as f32)).sum::<f32>() / 6.0
        };
        let want = [mean([0, 1], [0, 1, 2]), mean([0, 1], [3, 4, 5]), mean([2, 3], [0, 1, 2]), mean([2, 3], [3, 4, 5])];
        assert_eq!(shrink(&plane, (4, 6), 2), want);
        // 3 to 2: the middle pixel counts half on either side. Two planes stay apart.
        let two = [[0.0, 3.0, 6.0].repeat(3), vec![1.0; 9]].concat();
        let small = shrink(&two, (3, 3), 2);
        assert!(small.iter().zip([1.0, 5.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{small:?}");
        // Fewer pixels than cells: each cell is the pixel that it lies in.
        assert_eq!(shrink(&[0.5], (1, 1), 8), vec![0.5; 64]);
    }
}
