//! Pictures to frames and frames to model input: resize, crop, flip, shift, normalise.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::pixels::{Frame, Image};

/// Beyond this ratio of sides only the middle of a picture is resized: a strip must not ask for the machine's memory.
const MAX_RATIO: usize = 64;

/// Resizes so that the picture covers `height * width`, then cuts out its middle.
///
/// This is torchvision's `Resize(side)` and `CenterCrop(side)` on Pillow pictures (bilinear, antialiased; the longer side
/// truncated, the crop's corner rounded half to even); a picture of the right size is left as it is. A frame with a side of zero
/// is empty, and a picture without pixels gives a black one.
pub fn fit(image: &Image, height: usize, width: usize) -> Frame {
    let black = || Frame { width, height, planes: vec![0.0; 3 * height * width] };
    if height == 0 || width == 0 || image.width == 0 || image.height == 0 {
        return black();
    }
    if (image.height, image.width) == (height, width) {
        return Frame::from_image(image);
    }
    let reach = MAX_RATIO * height.max(width).div_ceil(height.min(width));
    let (most_high, most_wide) = (reach.saturating_mul(image.width), reach.saturating_mul(image.height));
    let strip = crop(image, image.height.min(most_high), image.width.min(most_wide));
    let (tall, wide) = covering((strip.height, strip.width), (height, width));
    match resize(&strip, tall, wide) {
        Some(resized) => Frame::from_image(&crop(&resized, height, width)),
        None => black(),
    }
}

/// The size of the smallest picture of the same proportions that covers the target: `(height, width)`.
fn covering((h, w): (usize, usize), (height, width): (usize, usize)) -> (usize, usize) {
    if w * height <= h * width { (width * h / w, width) } else { (height, height * w / h) }
}

fn resize(image: &Image, height: usize, width: usize) -> Option<Image> {
    if (image.height, image.width) == (height, width) {
        return Some(image.clone());
    }
    let side = |n: usize| u32::try_from(n).ok();
    let source = TypedImageRef::<U8x3>::from_buffer(side(image.width)?, side(image.height)?, &image.rgb).ok()?;
    let mut rgb = vec![0; height.checked_mul(width)?.checked_mul(3)?];
    let mut resized = TypedImage::<U8x3>::from_buffer(side(width)?, side(height)?, &mut rgb).ok()?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    // Typed: the untyped call would compile the resizer anew for every pixel type there is.
    Resizer::new().resize_typed(&source, &mut resized, &options).ok()?;
    Some(Image { width, height, rgb })
}

/// The middle of a picture that is at least as large.
fn crop(image: &Image, height: usize, width: usize) -> Image {
    if (image.height, image.width) == (height, width) {
        return image.clone();
    }
    // Python's `round`, which torchvision uses, rounds halves to even.
    let corner = |outer: usize, inner: usize| (outer.saturating_sub(inner) as f64 / 2.0).round_ties_even() as usize;
    let (top, left) = (corner(image.height, height), corner(image.width, width));
    let rows = image.rgb.chunks_exact(3 * image.width).skip(top).take(height);
    let rgb = rows.flat_map(|row| row.iter().skip(3 * left).take(3 * width).copied()).collect();
    Image { width, height, rgb }
}

/// Mirrors a frame left to right.
pub fn flip(frame: &mut Frame) {
    if frame.width > 0 {
        frame.planes.chunks_exact_mut(frame.width).for_each(<[f32]>::reverse);
    }
}

/// Moves a frame right by `dx` and down by `dy` pixels, black coming in: torchvision's `RandomCrop` with padding.
pub fn shift(frame: &Frame, dx: isize, dy: isize) -> Frame {
    let (height, width) = (frame.height, frame.width);
    let mut out = Frame { width, height, planes: vec![0.0; frame.planes.len()] };
    let from = |at: usize, by: isize, end: usize| at.checked_add_signed(by.checked_neg()?).filter(|&i| i < end);
    for (plane, source) in out.planes.chunks_exact_mut((height * width).max(1)).zip(frame.planes.chunks_exact((height * width).max(1))) {
        for y in 0..height {
            let Some(source_y) = from(y, dy, height) else { continue };
            for x in 0..width {
                if let Some(source_x) = from(x, dx, width) {
                    plane[y * width + x] = source[source_y * width + source_x];
                }
            }
        }
    }
    out
}

/// Writes `(value - mean) / std` in the model's axis order: `[C, H, W]`, or `[H, W, C]` where `nhwc`.
///
/// With one channel the luma of ITU-R BT.601 (`0.299 R + 0.587 G + 0.114 B`, Pillow's) is written with the first mean and
/// standard deviation. What does not fit into `out` is left out.
pub fn write_normalised(frame: &Frame, mean: [f32; 3], std: [f32; 3], channels: usize, nhwc: bool, out: &mut [f32]) {
    let area = frame.width * frame.height;
    let (red, rest) = frame.planes.split_at(area.min(frame.planes.len()));
    let (green, blue) = rest.split_at(area.min(rest.len()));
    for (i, ((&r, &g), &b)) in red.iter().zip(green).zip(blue).enumerate() {
        let pixel = if channels == 1 { [0.299 * r + 0.587 * g + 0.114 * b, 0.0, 0.0] } else { [r, g, b] };
        for (channel, value) in pixel.into_iter().enumerate().take(channels) {
            let at = if nhwc { i * channels + channel } else { channel * area + i };
            if let Some(slot) = out.get_mut(at) {
                *slot = (value - mean[channel]) / std[channel];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(height: usize, width: usize) -> Image {
        let value = |y: usize, x: usize, c: usize| ((37 * x + 91 * y + 53 * c + x * y) % 256) as u8;
        let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| value(y, x, c)))).collect();
        Image { width, height, rgb }
    }

    #[test]
    fn fitting_is_torchvision_within_one_grey_level() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/geometry");
        for (height, width, side) in
            [(32, 32, 48), (47, 61, 32), (61, 47, 32), (20, 33, 32), (33, 20, 29), (200, 150, 24), (32, 32, 32), (31, 36, 31)]
        {
            let name = format!("{height}x{width}-to-{side}.bin");
            let expected = Image { width: side, height: side, rgb: std::fs::read(folder.join(&name)).unwrap() };
            let (expected, got) = (Frame::from_image(&expected), fit(&picture(height, width), side, side));
            assert_eq!(expected.planes.len(), got.planes.len(), "{name}");
            let worst = expected.planes.iter().zip(&got.planes).map(|(a, b)| (a - b).abs() * 255.0).fold(0.0, f32::max);
            println!("{name}: {worst:.0} of 255");
            assert!(worst < 1.5, "{name}: {worst}");
        }
    }

    #[test]
    fn strips_and_empty_pictures_do_not_ask_for_much() {
        for (height, width) in [(1, 4_000_000), (4_000_000, 1)] {
            assert_eq!(fit(&Image { width, height, rgb: vec![255; 3 * width * height] }, 224, 224).planes, vec![1.0; 3 * 224 * 224]);
        }
        assert_eq!(fit(&Image { width: 0, height: 3, rgb: vec![] }, 1, 1).planes, [0.0; 3]);
        assert!(fit(&picture(3, 3), 0, 2).planes.is_empty());
        let wide = fit(&picture(8, 8), 4, 6);
        assert_eq!((wide.height, wide.width, wide.planes.len()), (4, 6, 72));
    }

    fn frame() -> Frame {
        Frame { width: 3, height: 2, planes: (0_u8..18).map(f32::from).collect() }
    }

    #[test]
    fn flipping_and_shifting_move_pixels() {
        let mut flipped = frame();
        flip(&mut flipped);
        assert_eq!(flipped.planes[..6], [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
        assert_eq!(shift(&frame(), 1, 0).planes[..6], [0.0, 0.0, 1.0, 0.0, 3.0, 4.0]);
        assert_eq!(shift(&frame(), -2, -1).planes[..6], [5.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(shift(&frame(), isize::MIN, isize::MAX).planes, [0.0; 18]);
        assert_eq!(shift(&frame(), 0, 0), frame());
    }

    #[test]
    fn normalising_writes_either_layout_and_grey() {
        let (mean, std) = ([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]);
        let mut planes = [0.0; 18];
        write_normalised(&frame(), mean, std, 3, false, &mut planes);
        assert_eq!(planes.iter().skip(1).step_by(6).copied().collect::<Vec<_>>(), [0.0, 2.5, 2.5]);
        let mut pixels = [0.0; 18];
        write_normalised(&frame(), mean, std, 3, true, &mut pixels);
        assert_eq!(pixels[3..6], [0.0, 2.5, 2.5]);
        let mut gray = [0.0; 6];
        write_normalised(&frame(), mean, std, 1, false, &mut gray);
        assert!((gray[0] - (0.587 * 6.0 + 0.114 * 12.0 - 1.0)).abs() < 1e-6);
    }
}
