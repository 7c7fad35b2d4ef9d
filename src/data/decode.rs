//! Encoded pictures to pixels, with untrusted bytes bounded before they are believed.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::pixels::Image;

/// Most pixels of one picture: a small file must not ask for the machine's memory.
pub const MAX_PIXELS: u64 = 64 << 20;
/// Most bytes that decoding one picture may allocate.
const MAX_ALLOC: u64 = 512 << 20;

/// Decodes a JPEG, PNG or WebP (the first frame of an animation) to 8-bit RGB.
///
/// Transparency is laid on white, grayscale is repeated, 16-bit values are rounded to 8. Orientation tags are not obeyed,
/// as torchvision's loaders do not.
pub fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::Format)?;
    if !matches!(format, ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP) {
        return Err(DecodeError::Format);
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOC);
    reader.limits(limits);
    let decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(DecodeError::NoPixels { width, height });
    }
    if pixels > MAX_PIXELS || decoder.total_bytes() > MAX_ALLOC {
        return Err(DecodeError::TooLarge { width, height });
    }
    Ok(to_rgb(DynamicImage::from_decoder(decoder)?))
}

fn to_rgb(decoded: DynamicImage) -> Image {
    let rgb = if decoded.color().has_alpha() {
        let rgba = decoded.into_rgba8();
        let size = (rgba.width(), rgba.height());
        let over_white = |color: u8, alpha: u8| {
            let (color, alpha) = (u32::from(color), u32::from(alpha));
            ((color * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        let bytes =
            rgba.pixels().flat_map(|p| [over_white(p.0[0], p.0[3]), over_white(p.0[1], p.0[3]), over_white(p.0[2], p.0[3])]).collect();
        (size, bytes)
    } else {
        let rgb = decoded.into_rgb8();
        ((rgb.width(), rgb.height()), rgb.into_raw())
    };
    let ((width, height), rgb) = rgb;
    Image { width: width as usize, height: height as usize, rgb }
}

/// Why a picture cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No bytes.
    #[error("it has no bytes")]
    Empty,
    /// Not one of the three formats.
    #[error("it is not a JPEG, PNG or WebP")]
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
    /// The decoder gave up.
    #[error("{0}")]
    Broken(#[from] image::ImageError),
}
