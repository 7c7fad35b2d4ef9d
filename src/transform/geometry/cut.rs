//! A box of an image, drawn at random and brought to the model's size: torchvision's `RandomResizedCrop`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Filter, FitError, Fitter, Geometry, Resize};
use crate::pixels::Image;

/// How often a box is drawn before the middle is taken.
const TRIES: usize = 10;

/// A box inside an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Rows above it.
    pub top: usize,
    /// Columns left of it.
    pub left: usize,
    /// Its rows.
    pub height: usize,
    /// Its columns.
    pub width: usize,
}

impl Cut {
    /// A box of a share of the area between `scale`, and of a width over height between `ratio`, by its logarithm; both least first. Where ten do
    /// not fit, the middle of the nearest proportions.
    pub(crate) fn drawn((height, width): (usize, usize), scale: [f64; 2], ratio: [f64; 2], rng: &mut ChaCha8Rng) -> Self {
        let area = height as f64 * width as f64;
        let mut between = |[low, high]: [f64; 2]| low + (high - low) * rng.random::<f64>();
        let mut fitting = None;
        for _ in 0..TRIES {
            let (share, proportion) = (area * between(scale), between(ratio.map(f64::ln)).exp());
            let rounded = |side: f64| side.sqrt().round_ties_even() as usize;
            let (wide, tall) = (rounded(share * proportion), rounded(share / proportion));
            if (1..=width).contains(&wide) && (1..=height).contains(&tall) {
                fitting = Some((tall, wide));
                break;
            }
        }
        if let Some((tall, wide)) = fitting {
            let mut place = |outer: usize, inner: usize| rng.random_range(0..=outer.saturating_sub(inner) as u64) as usize;
            let (top, left) = (place(height, tall), place(width, wide));
            return Self { top, left, height: tall, width: wide };
        }
        let [least, largest] = ratio;
        let own = width as f64 / height.max(1) as f64;
        let rounded = |side: f64, most: usize| (side.round_ties_even() as usize).clamp(most.min(1), most);
        let (tall, wide) = if own < least {
            (rounded(width as f64 / least, height), width)
        } else if own > largest {
            (height, rounded(height as f64 * largest, width))
        } else {
            (height, width)
        };
        Self { top: (height - tall) / 2, left: (width - wide) / 2, height: tall, width: wide }
    }
}

impl Fitter {
    /// Brings a box of an image to `height * width`, whatever its proportions, as planes of red, green and blue (`3 * height * width` bytes). What is
    /// outside the box has no part in it. Within one grey level of torchvision's `resized_crop` with antialiasing.
    pub(crate) fn cut(&mut self, image: &Image, cut: Cut, to: (usize, usize), filter: Filter, out: &mut [u8]) -> Result<(), FitError> {
        let rows = image.rgb.chunks_exact(3 * image.width.max(1)).skip(cut.top).take(cut.height);
        let rgb: Vec<u8> = rows.flat_map(|row| row.iter().skip(3 * cut.left).take(3 * cut.width)).copied().collect();
        let part = Image { width: cut.width, height: cut.height, rgb };
        self.fit(&part, to, &Geometry { resize: Resize::Squash, filter, ..Geometry::default() }, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> ChaCha8Rng {
        crate::stats::stream::stream(3, 0, "test")
    }

    /// Means over many draws: of the share of the area, of its square, of the logarithm of the proportions, of its square, and of the places of the
    /// corner between 0 and 1. Expected ones are of `tests/golden/geometry/crops.py`.
    #[test]
    fn boxes_are_drawn_as_torchvision_draws_them() {
        const DRAWS: usize = 40_000;
        let text = include_str!("../../../tests/golden/geometry/crops.txt");
        let mut cases = 0;
        for line in text.lines() {
            let numbers: Vec<f64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
            let [height, width, low, high, narrow, wide, expected @ ..] = &numbers[..] else { panic!("{line}") };
            let size = (*height as usize, *width as usize);
            let mut rng = stream();
            let mut means = [0.0; 6];
            for _ in 0..DRAWS {
                let cut = Cut::drawn(size, [*low, *high], [*narrow, *wide], &mut rng);
                assert!(cut.top + cut.height <= size.0 && cut.left + cut.width <= size.1 && cut.height > 0 && cut.width > 0, "{cut:?}");
                let share = (cut.height * cut.width) as f64 / (size.0 * size.1) as f64;
                let proportion = (cut.width as f64 / cut.height as f64).ln();
                let place = |at: usize, outer: usize, inner: usize| if outer > inner { at as f64 / (outer - inner) as f64 } else { 0.5 };
                let (top, left) = (place(cut.top, size.0, cut.height), place(cut.left, size.1, cut.width));
                let shown = [share, share * share, proportion, proportion * proportion, top, left];
                means.iter_mut().zip(shown).for_each(|(mean, value)| *mean += value / DRAWS as f64);
            }
            for (found, wanted) in means.iter().zip(expected) {
                assert!((found - wanted).abs() < 0.01, "{line}: {means:?}");
            }
            assert_eq!(expected.len(), means.len());
            cases += 1;
        }
        assert_eq!(cases, 5);
    }

    #[test]
    fn where_no_box_fits_the_middle_is_taken() {
        let drawn = |size, scale| Cut::drawn(size, scale, [0.75, 4.0 / 3.0], &mut stream());
        // All of a strip would be needed.
        assert_eq!(drawn((10, 100), [1.0, 1.0]), Cut { top: 0, left: 43, height: 10, width: 13 });
        assert_eq!(drawn((100, 10), [1.0, 1.0]), Cut { top: 43, left: 0, height: 13, width: 10 });
        assert_eq!(drawn((1, 1), [0.0001, 0.0001]), Cut { top: 0, left: 0, height: 1, width: 1 });
        assert_eq!(drawn((0, 0), [0.5, 1.0]), Cut { top: 0, left: 0, height: 0, width: 0 });
    }

    #[test]
    fn a_box_is_resized_as_torchvision_does_it() {
        let value = |y: usize, x: usize, c: usize| ((37 * x + 91 * y + 53 * c + x * y) % 256) as u8;
        let rgb = (0..47).flat_map(|y| (0..61).flat_map(move |x| (0..3).map(move |c| value(y, x, c)))).collect();
        let image = Image { width: 61, height: 47, rgb };
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/geometry");
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            for [top, left, height, width] in [[3, 5, 40, 30], [20, 10, 9, 17], [0, 0, 47, 61]] {
                let name = format!("crop-{filter}-{top}-{left}-{height}x{width}-to-24.bin");
                let expected = std::fs::read(folder.join(&name)).unwrap();
                let mut out = vec![7; 3 * 24 * 24];
                Fitter::default().cut(&image, Cut { top, left, height, width }, (24, 24), filter, &mut out).unwrap();
                let planes = (0..3).flat_map(|channel| expected.iter().skip(channel).step_by(3));
                let worst = planes.zip(&out).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(worst <= Some(1), "{name}: {worst:?}");
            }
        }
    }
}
