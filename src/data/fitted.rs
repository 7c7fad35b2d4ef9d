//! Images at one size, made once and read as often as they are trained on.

use crate::pixels::Image;
use crate::store::{MemoryBudget, Rows, RowsError};
use crate::transform::geometry::{FitError, Fitter, Geometry};

/// The size that images are brought to, and where they may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Fit<'a> {
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
    /// How they are brought to it.
    pub geometry: Geometry,
    /// Where there is memory left.
    pub budget: &'a MemoryBudget,
    /// Whether the training images are kept as they came too, for recipes that cut another box out of them at each step.
    pub keep: bool,
}

impl Fit<'_> {
    /// One image into its row.
    pub(super) fn image(&self, fitter: &mut Fitter, image: &Image, row: &mut [u8]) -> Result<(), FitError> {
        fitter.fit(image, (self.height, self.width), &self.geometry, row)
    }

    /// Rows for some images.
    pub(super) fn rows(&self, images: usize) -> Result<Rows, RowsError> {
        Rows::new(images, 3 * self.height * self.width, self.budget)
    }
}

/// Images at one size: planes of red, green and blue of `height * width` bytes each.
#[derive(Debug)]
pub(crate) struct Fitted {
    height: usize,
    width: usize,
    geometry: Geometry,
    rows: Rows,
    /// Where each image is among the rows: those that do not decode have left gaps.
    places: Vec<u32>,
}

impl Fitted {
    pub(super) fn new(fit: &Fit, rows: Rows, places: Vec<u32>) -> Self {
        Self { height: fit.height, width: fit.width, geometry: fit.geometry, rows, places }
    }

    pub(super) fn is(&self, fit: &Fit) -> bool {
        (self.height, self.width, self.geometry) == (fit.height, fit.width, fit.geometry)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The planes of image `i`, in place or read into `buffer`.
    pub(crate) fn planes<'a>(&'a self, i: usize, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], RowsError> {
        // An image that is not there is a row that is not there.
        self.rows.row(self.places.get(i).map_or(usize::MAX, |place| *place as usize), buffer)
    }
}
