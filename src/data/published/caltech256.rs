//! Caltech-256: `256_ObjectCategories`, a folder for each category. There are no splits.

use std::path::Path;

use super::{DataError, Format, Place, Rows, Split, Splits, layout};
use crate::data::folder;

pub(in crate::data) static FORMAT: Format = layout!("caltech256", Caltech256, Splits::Nobody);

const FOLDER: &str = "256_ObjectCategories";

fn read(path: &Path, _: Option<Split>) -> Result<Rows, DataError> {
    // Where the folder itself is named, it is known by its name.
    if path.file_name().is_some_and(|name| name == FOLDER) {
        return folder::images(path, path, &[]);
    }
    let place = Place::at(FORMAT.name, path, &["caltech256"], &[FOLDER])?;
    let images = place.find(&[FOLDER])?;
    folder::images(&images, &images, &[])
}
