//! Trigger images from files, bounded before they are believed.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use image::imageops::{FilterType, resize};
use image::metadata::Orientation;
use image::{DynamicImage, Rgba32FImage};

use super::TransformError;
use crate::pixels::encoded::{self, Decoded, named};
use crate::store::Digest;

/// Largest trigger file, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// Most images of a folder.
const MAX_IMAGES: usize = 256;

/// A file's bytes, its full path, and the first 12 characters of its digest.
pub(super) struct Loaded {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl Loaded {
    /// For provenance: `hat.png (sha256:0123456789ab)`.
    pub fn name(&self) -> String {
        let file = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned();
        format!("{file} ({})", self.digest().short())
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    pub fn content(&self, reason: impl Into<String>) -> TransformError {
        TransformError::Content { path: self.path.clone(), reason: reason.into() }
    }
}

/// Reads a trigger file of bounded size.
pub(super) fn load(base: &Path, path: &Path) -> Result<Loaded, TransformError> {
    let path = base.join(path);
    match crate::store::read(&path, MAX_BYTES) {
        Ok(bytes) => Ok(Loaded { path, bytes }),
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            Err(TransformError::Content { path, reason: format!("larger than {} MiB; use a smaller file", MAX_BYTES >> 20) })
        }
        Err(source) => Err(TransformError::Read { path, source }),
    }
}

/// The image files of a folder, in the order of their names; hidden ones are left out. None where the path is no folder.
pub(crate) fn in_folder(folder: &Path) -> Result<Option<Vec<PathBuf>>, TransformError> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let failed = |source| TransformError::Read { path: folder.to_owned(), source };
    let mut images = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if named(&path) && !hidden && !path.is_dir() {
            images.push(path);
        }
        if images.len() > MAX_IMAGES {
            let reason = format!("holds more than {MAX_IMAGES} images, which is as many as one trigger may have");
            return Err(TransformError::Content { path: folder.to_owned(), reason });
        }
    }
    if images.is_empty() {
        return Err(TransformError::Content { path: folder.to_owned(), reason: "holds no images; put PNG or WebP files there".to_owned() });
    }
    images.sort_unstable();
    Ok(Some(images))
}

/// Decodes an image of any format that data may have; the format is told from the bytes.
///
/// Whoever drew a trigger saw it one way up. Where the file asks to be turned, what attackers' scripts paste is another: such a file is refused.
pub(super) fn decode(file: &Loaded) -> Result<DynamicImage, TransformError> {
    let Decoded { image, orientation } = encoded::decode(&file.bytes)
        .map_err(|e| file.content(format!("cannot be decoded: {e}; give a PNG, JPEG or WebP that opens in a viewer")))?;
    if orientation == Orientation::NoTransforms {
        return Ok(image);
    }
    let tag = orientation.to_exif();
    Err(file.content(format!(
        "is stored turned or mirrored (EXIF orientation {tag}), which not every program undoes; save it upright, without that tag"
    )))
}

/// Planar colours `[3, height, width]` and alpha `[height, width]` at another size (triangle filter, which
/// averages when shrinking); colours are weighted by their alpha, so that invisible pixels do not bleed in.
pub(super) fn resized(image: &DynamicImage, height: usize, width: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rgba: Rgba32FImage = image.to_rgba32f();
    for pixel in rgba.pixels_mut() {
        let [r, g, b, a] = pixel.0;
        pixel.0 = [r * a, g * a, b * a, a];
    }
    let small = resize(&rgba, width as u32, height as u32, FilterType::Triangle);
    let area = height * width;
    let mut planes = vec![0.0; 3 * area];
    let mut alpha = vec![0.0; area];
    for (i, (pixel, slot)) in small.pixels().zip(alpha.iter_mut()).enumerate() {
        let [r, g, b, a] = pixel.0;
        *slot = a.clamp(0.0, 1.0);
        for (c, value) in [r, g, b].into_iter().enumerate() {
            if let Some(target) = planes.get_mut(c * area + i) {
                *target = if a > 1e-6 { (value / a).clamp(0.0, 1.0) } else { 0.0 };
            }
        }
    }
    (planes, alpha)
}

/// A size given as a share: finite, above 0, at most 1.
pub(super) fn share(field: &'static str, value: f64) -> Result<f64, TransformError> {
    if value > 0.0 && value <= 1.0 { Ok(value) } else { Err(TransformError::Range { field, value, range: "above 0 and at most 1" }) }
}

/// A number in a range; `words` say which.
pub(super) fn within(field: &'static str, value: f64, range: RangeInclusive<f64>, words: &'static str) -> Result<f64, TransformError> {
    if range.contains(&value) { Ok(value) } else { Err(TransformError::Range { field, value, range: words }) }
}

/// Makes an image let through what is below, and says so in words to go on with.
pub(super) fn faded(alpha: &mut [f32], opacity: f64) -> String {
    if opacity < 1.0 {
        for a in alpha {
            *a *= opacity as f32;
        }
        format!(", opacity {opacity}")
    } else {
        String::new()
    }
}

/// The default of an opacity.
pub(super) fn full() -> f64 {
    1.0
}

/// `#rrggbb` as three numbers in `0..=1`.
pub(super) fn parse_color(family: &'static str, text: &str) -> Result<[f32; 3], TransformError> {
    let bad = || TransformError::Color { family, text: text.to_owned() };
    let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(bad)?;
    let value = u32::from_str_radix(digits, 16).map_err(|_| bad())?;
    Ok([16, 8, 0].map(|shift| ((value >> shift) & 0xff) as f32 / 255.0))
}

/// Exactly one of two fields is set.
pub(super) fn one_of(
    family: &'static str,
    (one, has_one): (&'static str, bool),
    (other, has_other): (&'static str, bool),
) -> Result<(), TransformError> {
    let given = match (has_one, has_other) {
        (true, true) => "both were given",
        (false, false) => "neither was given",
        _ => return Ok(()),
    };
    Err(TransformError::Choice { family, one, other, given })
}
