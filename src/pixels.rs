//! Images as numbers: decoded 8-bit images, and the float frames that transforms and models see.

pub(crate) mod encoded;
mod notes;

/// A decoded image: 8-bit RGB, rows from the top, pixels interleaved (`height * width * 3` bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// `height * width * 3` bytes, RGB interleaved.
    pub rgb: Vec<u8>,
}

/// An image at the model's resolution: planar RGB in `0..=1` (`3 * height * width`), before normalisation.
///
/// Triggers are laid over frames: after resizing, before normalisation, so that their size and strength
/// mean the same thing for every source image.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// `3 * height * width` values, all of red, then green, then blue.
    pub planes: Vec<f32>,
}

impl Frame {}
