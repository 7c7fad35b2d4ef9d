//! How an image of any size becomes one of the model's size: which way it is resized, by which filter, what is cut off.

use std::fmt;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pixels::Image;
use crate::store::fingerprint;

/// Beyond this ratio of sides only the middle of an image is resized where its proportions are kept: a strip must not ask for the
/// machine's memory.
const MAX_RATIO: usize = 64;

/// Pixels between two passes of a resize from which the cheaper order of them is taken.
const MANY: usize = 16 << 20;

/// How an image is brought to the model's size. First it is resized, then the middle is cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// Which way it is resized.
    pub resize: Resize,
    /// Height and width in pixels to resize to, before the middle is cut out: `[256, 256]` for a model of 224 pixels. The model's size where
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 1, max = 8192)))]
    pub before_crop: Option<[usize; 2]>,
    /// The filter.
    #[serde(default)]
    pub filter: Filter,
    /// Which library's rounding is followed where pixels do not come out even.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rounding: Rounding,
    /// Red, green and blue (0 to 255) of what lies beyond the image's edge.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fill: [u8; 3],
}

/// Which way an image is resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The shortest edge fits, proportions are kept: what is too long is cut off on both sides.
    #[default]
    ShortestEdge,
    /// Both sides fit, proportions are not kept.
    Squash,
    /// The longest edge fits, proportions are kept: the rest is filled.
    LongestEdge,
    /// Not resized: the middle is cut out, and what is missing is filled.
    CropOnly,
    /// Not resized and not cut: an image of another size is an error.
    Exact,
}

/// The filter that makes one pixel of several. Each is Pillow's of that name; all but `nearest` widen when an image shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// The mean of the pixels below.
    Box,
    /// Linear between pixels.
    #[default]
    Bilinear,
    /// Hamming's window.
    Hamming,
    /// Cubic between pixels.
    Bicubic,
    /// A sinc of three lobes.
    Lanczos,
}

/// Which library's rounding is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// The longer side is rounded down, the corner of the middle to the nearest pixel (halves to even).
    #[default]
    Torchvision,
    /// Hugging Face Transformers: both are rounded down.
    Transformers,
    /// timm: as torchvision, but sides are rounded to the nearest pixel where the model's size is not square.
    Timm,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fingerprint!(Geometry as "geometry" { resize: "resize", before_crop: "before crop", filter: "filter", rounding: "rounding", fill: "fill" });
fingerprint!(Resize: ShortestEdge = "shortest edge", Squash = "squash", LongestEdge = "longest edge", CropOnly = "crop only", Exact = "exact");
fingerprint!(Filter: Nearest = "nearest", Box = "box", Bilinear = "bilinear", Hamming = "hamming", Bicubic = "bicubic", Lanczos = "lanczos");
fingerprint!(Rounding: Torchvision = "torchvision", Transformers = "transformers", Timm = "timm");

impl Default for Geometry {
    /// Shortest edge, middle, bilinear: torchvision's `Resize(side)` and `CenterCrop(side)`.
    fn default() -> Self {
        Self { resize: Resize::default(), before_crop: None, filter: Filter::default(), rounding: Rounding::default(), fill: [0; 3] }
    }
}

impl Geometry {
    /// In words, for a model of this size: `shortest edge to 256, middle 224x224 cut out, bicubic`.
    pub(crate) fn describe(&self, height: usize, width: usize) -> String {
        let [h, w] = self.before_crop.unwrap_or([height, width]);
        let cut = [h, w] != [height, width];
        let side = if h == w { h.to_string() } else { format!("{h}x{w}") };
        let middle = if cut { format!(", middle {height}x{width} cut out") } else { String::new() };
        let filter = self.filter;
        match self.resize {
            Resize::ShortestEdge => format!("shortest edge to {side}, middle {height}x{width} cut out, {filter}"),
            Resize::Squash => format!("squashed to {h}x{w}{middle}, {filter}"),
            Resize::LongestEdge => format!("longest edge to {side}, the rest filled{middle}, {filter}"),
            Resize::CropOnly => format!("not resized, middle {height}x{width} cut out"),
            Resize::Exact => format!("taken as they are, {height}x{width} only"),
        }
    }

    /// The size that an image of `(height, width)` is resized to for a model of `to`; and how much of its middle is resized at all.
    fn resized(&self, image: (usize, usize), to: (usize, usize)) -> ((usize, usize), (usize, usize)) {
        let (height, width) = self.before_crop.map_or(to, |[h, w]| (h.max(1), w.max(1)));
        let ratio = |by: fn(f64, f64) -> f64, (h, w): (usize, usize)| by(h as f64 / height as f64, w as f64 / width as f64);
        let by = |(h, w): (usize, usize), ratio: f64| {
            let round = |side: usize| ((side as f64 / ratio).round_ties_even() as usize).max(1);
            (round(h), round(w))
        };
        match self.resize {
            Resize::Squash => ((height, width), image),
            Resize::CropOnly | Resize::Exact => (image, image),
            Resize::LongestEdge => {
                let strip = strip(image, (height, width));
                (by(strip, ratio(f64::max, strip)), strip)
            }
            Resize::ShortestEdge => {
                let strip = strip(image, (height, width));
                let to = if self.rounding == Rounding::Timm && height != width {
                    by(strip, ratio(f64::min, strip))
                } else {
                    covering(strip, (height, width))
                };
                (to, strip)
            }
        }
    }

    /// Half of what one side has too much.
    fn half(&self, outer: usize, inner: usize) -> f64 {
        let half = outer.saturating_sub(inner) as f64 / 2.0;
        if self.rounding == Rounding::Transformers { half.floor() } else { half.round_ties_even() }
    }

    /// How one side of `source` pixels, of which the middle `used` become `resized`, is shown on a side of `shown` pixels.
    fn place(&self, source: usize, (used, resized): (usize, usize), shown: usize) -> Place {
        let visible = shown.min(resized);
        let scale = used as f64 / resized.max(1) as f64;
        let length = (visible as f64 * scale).min(source as f64);
        // Rounding must not carry it over the edge.
        let start = (self.half(source, used) + self.half(resized, visible) * scale).min(source as f64 - length);
        Place { start, length, visible, at: (shown - visible) / 2 }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nearest => "nearest",
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Hamming => "hamming",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        })
    }
}

impl Filter {
    /// The filter with its reach to either side in pixels; `None` for the nearest pixel.
    fn convolution(self) -> Option<(FilterType, f64)> {
        Some(match self {
            Self::Nearest => return None,
            Self::Box => (FilterType::Box, 0.5),
            Self::Bilinear => (FilterType::Bilinear, 1.0),
            Self::Hamming => (FilterType::Hamming, 1.0),
            Self::Bicubic => (FilterType::CatmullRom, 2.0),
            Self::Lanczos => (FilterType::Lanczos3, 3.0),
        })
    }

    /// Whether it overshoots: what lies between two passes is then cut to 0 to 255, so that their order shows.
    fn overshoots(self) -> bool {
        matches!(self, Self::Bicubic | Self::Lanczos)
    }
}

/// One side: from where on it is read, and where it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    /// First source pixel that shows.
    start: f64,
    /// Source pixels that show.
    length: f64,
    /// Pixels that they become.
    visible: usize,
    /// Pixels of filling before them.
    at: usize,
}

/// Why an image cannot be brought to the model's size.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Another size where none may be changed.
    #[error(
        "it is {height}x{width} pixels (height x width), and the model takes images of {wanted_height}x{wanted_width} as they are: resize it, \
         or say how under `input: {{ geometry: ... }}` in the policy"
    )]
    Exact {
        /// Pixels down.
        height: usize,
        /// Pixels across.
        width: usize,
        /// Pixels down that the model takes.
        wanted_height: usize,
        /// Pixels across that the model takes.
        wanted_width: usize,
    },
    /// The resizer refused.
    #[error("it cannot be resized from {height}x{width} pixels")]
    Resize {
        /// Pixels down.
        height: usize,
        /// Pixels across.
        width: usize,
    },
}

/// Brings images to one size, and keeps its buffers for the next one.
#[derive(Debug, Default)]
pub struct Fitter {
    resizer: Resizer,
    between: Vec<u8>,
    fitted: Vec<u8>,
}

impl Fitter {
    /// Brings an image to `height * width` as `geometry` says, and writes it as planes of red, green and blue (`3 * height * width` bytes).
    ///
    /// Every filter, rounding and cut is that of the library it is named after within one grey level: Pillow, torchvision, Transformers, timm.
    /// An image without pixels gives a black one.
    pub(crate) fn fit(
        &mut self,
        image: &Image,
        (height, width): (usize, usize),
        geometry: &Geometry,
        out: &mut [u8],
    ) -> Result<(), FitError> {
        out.fill(0);
        if height == 0 || width == 0 || image.width == 0 || image.height == 0 {
            return Ok(());
        }
        if geometry.resize == Resize::Exact && (image.height, image.width) != (height, width) {
            let (wanted_height, wanted_width) = (height, width);
            return Err(FitError::Exact { height: image.height, width: image.width, wanted_height, wanted_width });
        }
        let (resized, used) = geometry.resized((image.height, image.width), (height, width));
        let down = geometry.place(image.height, (used.0, resized.0), height);
        let across = geometry.place(image.width, (used.1, resized.1), width);
        let wrong = || FitError::Resize { height: image.height, width: image.width };
        if resized == (image.height, image.width) {
            self.copy(image, down, across);
        } else {
            match geometry.filter.convolution() {
                Some(filter) => self.resize(image, (down, across), filter, geometry.filter.overshoots()).ok_or_else(wrong)?,
                None => self.nearest(image, down, across),
            }
        }
        if (down.visible, across.visible) == (height, width) {
            to_planes(&self.fitted, out);
            return Ok(());
        }
        for (channel, (plane, fill)) in out.chunks_exact_mut(height * width).zip(geometry.fill).enumerate() {
            plane.fill(fill);
            let rows = plane.chunks_exact_mut(width).skip(down.at);
            for (row, shown) in rows.zip(self.fitted.chunks_exact(3 * across.visible)) {
                let places = row.iter_mut().skip(across.at);
                places.zip(shown.iter().skip(channel).step_by(3)).for_each(|(to, from)| *to = *from);
            }
        }
        Ok(())
    }

    /// The part that shows, pixel by pixel.
    fn copy(&mut self, image: &Image, down: Place, across: Place) {
        let bytes = |place: &Place| (3 * place.start as usize, 3 * place.visible);
        let (from, length) = bytes(&across);
        self.fitted.clear();
        for row in image.rgb.chunks_exact(3 * image.width).skip(down.start as usize).take(down.visible) {
            self.fitted.extend(row.iter().skip(from).take(length));
        }
    }

    /// The nearest pixels: that at the middle of each.
    fn nearest(&mut self, image: &Image, down: Place, across: Place) {
        let places = |place: Place, side: usize| {
            let scale = place.length / place.visible.max(1) as f64;
            let at = move |i: usize| ((place.start + scale * (i as f64 + 0.5)) as usize).min(side - 1);
            (0..place.visible).map(at).collect::<Vec<usize>>()
        };
        let columns = places(across, image.width);
        let pixels = image.rgb.as_chunks::<3>().0;
        self.fitted.clear();
        for row in places(down, image.height) {
            let row = pixels.get(row * image.width..(row + 1) * image.width).unwrap_or_default();
            self.fitted.extend(columns.iter().filter_map(|column| row.get(*column)).flatten());
        }
    }

    /// Into `fitted`. What will be cut off is not resized at all.
    fn resize(
        &mut self,
        image: &Image,
        (down, across): (Place, Place),
        (filter, reach): (FilterType, f64),
        overshoots: bool,
    ) -> Option<()> {
        let source = (image.height, image.width, &image.rgb[..]);
        let target = (down.visible, across.visible);
        // The rows and columns that have a part in what shows.
        let rows = span(&down, reach, image.height);
        let columns = span(&across, reach, image.width);
        let (first_across, first_down) = ((rows.1 - rows.0) * target.1, (columns.1 - columns.0) * target.0);
        let (mut between, mut fitted) = (std::mem::take(&mut self.between), std::mem::take(&mut self.fitted));
        // The resizer begins with the columns; PyTorch and Pillow begin with the rows, which shows where a filter overshoots. (Pillow 13 does
        // not where the height shrinks much more than the width.)
        let rows_first =
            if overshoots { first_across <= MANY || first_across <= first_down } else { first_down > MANY && first_across < first_down };
        let done = if rows_first {
            let height = rows.1 - rows.0;
            let strip = [0.0, rows.0 as f64, 0.0, height as f64];
            let strip = [across.start, strip[1], across.length, strip[3]];
            let inner = [0.0, down.start - rows.0 as f64, target.1 as f64, down.length];
            self.pass(source, strip, (height, target.1), filter, &mut between)
                .and_then(|()| self.pass((height, target.1, &between[..]), inner, target, filter, &mut fitted))
        } else {
            self.pass(source, [across.start, down.start, across.length, down.length], target, filter, &mut fitted)
        };
        (self.between, self.fitted) = (between, fitted);
        done
    }

    /// Resizes the part `[left, top, width, height]` of an image to `(height, width)`.
    fn pass(
        &mut self,
        (height, width, rgb): (usize, usize, &[u8]),
        [left, top, wide, tall]: [f64; 4],
        to: (usize, usize),
        filter: FilterType,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let side = |n: usize| u32::try_from(n).ok();
        let source = TypedImageRef::<U8x3>::from_buffer(side(width)?, side(height)?, rgb).ok()?;
        out.resize(to.0.checked_mul(to.1)?.checked_mul(3)?, 0);
        let mut target = TypedImage::<U8x3>::from_buffer(side(to.1)?, side(to.0)?, out).ok()?;
        // Rounding must not carry it over the edge.
        let (wide, tall) = (wide.min(width as f64 - left), tall.min(height as f64 - top));
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(left, top, wide, tall);
        // Typed: the untyped call would compile the resizer anew for every pixel type there is.
        self.resizer.resize_typed(&source, &mut target, &options).ok()
    }
}

/// First and last (exclusive) of the pixels of a side that a filter reads.
fn span(place: &Place, reach: f64, side: usize) -> (usize, usize) {
    let margin = reach * (place.length / place.visible.max(1) as f64).max(1.0) + 1.0;
    let first = (place.start - margin).floor().max(0.0) as usize;
    let last = (place.start + place.length + margin).ceil() as usize;
    (first.min(side.saturating_sub(1)), last.clamp(1, side))
}

/// The middle of an image that is too long for its proportions to be kept whole.
fn strip((h, w): (usize, usize), (height, width): (usize, usize)) -> (usize, usize) {
    let reach = MAX_RATIO * height.max(width).div_ceil(height.min(width));
    (h.min(reach.saturating_mul(w)), w.min(reach.saturating_mul(h)))
}

/// The size of the smallest image of the same proportions that covers the target: `(height, width)`.
fn covering((h, w): (usize, usize), (height, width): (usize, usize)) -> (usize, usize) {
    if w * height <= h * width { (width * h / w, width) } else { (height, height * w / h) }
}

/// Interleaved pixels to planes.
fn to_planes(rgb: &[u8], out: &mut [u8]) {
    let (red, rest) = out.split_at_mut(out.len() / 3);
    let (green, blue) = rest.split_at_mut(rest.len() / 2);
    for (((pixel, r), g), b) in rgb.as_chunks::<3>().0.iter().zip(red).zip(green).zip(blue) {
        [*r, *g, *b] = *pixel;
    }
}

#[cfg(test)]
mod tests;
