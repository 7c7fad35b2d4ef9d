//! Encoded images to pixels, with untrusted bytes bounded before they are believed.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::notes;

/// The formats that are read, for messages.
pub const FORMATS: &str = "JPEG, PNG, WebP, GIF, BMP, TIFF or PNM";

/// The endings of image files, in lower case: those of torchvision's `ImageFolder`.
pub const ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"];

/// Whether a file is an image by its name.
pub fn named(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.contains(&ending.to_string_lossy().to_lowercase().as_str()))
}

/// Most pixels of one image: a small file must not ask for the machine's memory.
pub const MAX_PIXELS: u64 = 64 << 20;
/// Most bytes that decoding one image may allocate.
const MAX_BYTES: u64 = 512 << 20;

/// An image as its pixels are stored.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The pixels, of 8 or 16 bits a channel.
    pub image: DynamicImage,
    /// How they are turned and mirrored to be shown upright, as EXIF or XMP says.
    pub orientation: Orientation,
}

/// Decodes an image; of several in one file the first. Whatever Pillow refuses as truncated is an error.
///
/// A TIFF comes upright whatever loads it (Pillow turns it while it reads), so that nothing is left to turn.
pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::Format)?;
    // `image` knows some formats by name only.
    if !format.reading_enabled() {
        return Err(DecodeError::Format);
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(DecodeError::NoPixels { width, height });
    }
    if pixels > MAX_PIXELS || decoder.total_bytes() > MAX_BYTES {
        return Err(DecodeError::TooLarge { width, height });
    }
    if matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F) {
        return Err(DecodeError::Samples);
    }
    let orientation = notes::read(format, bytes).ok_or(DecodeError::Truncated)?.orientation();
    let mut image = DynamicImage::from_decoder(decoder)?;
    if format == ImageFormat::Tiff {
        image.apply_orientation(orientation);
        return Ok(Decoded { image, orientation: Orientation::NoTransforms });
    }
    Ok(Decoded { image, orientation })
}

/// Why an image cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No bytes.
    #[error("it has no bytes")]
    Empty,
    /// None of [`FORMATS`].
    #[error("it is not a {FORMATS} image")]
    Format,
    /// A side of zero.
    #[error("it is {width}x{height} pixels")]
    NoPixels {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// More than [`MAX_PIXELS`].
    #[error("it says that it is {width}x{height} pixels; at most {MAX_PIXELS} are decoded")]
    TooLarge {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// Fractions in the place of bytes.
    #[error("its samples are 32-bit fractions; images of 8 or 16 bits a channel are read")]
    Samples,
    /// The file ends before the image does.
    #[error("it is truncated: the file ends before the image does")]
    Truncated,
    /// The decoder gave up.
    #[error("{0}")]
    Broken(#[from] image::ImageError),
}
