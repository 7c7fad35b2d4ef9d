//! Birdsnap: a folder for each species, as `get_birdsnap.py` downloads them, and a list of those that measure.

use std::collections::BTreeSet;
use std::path::Path;

use super::{DataError, Format, Place, Rows, Split, Splits, diag, layout, refused};
use crate::data::folder;

pub(in crate::data) static FORMAT: Format = layout!("birdsnap", Birdsnap, Splits::Format);

fn read(path: &Path, split: Option<Split>) -> Result<Rows, DataError> {
    let place = Place::at(FORMAT.name, path, &["birdsnap"], &["test_images.txt"])?;
    let list = place.list(&["test_images.txt"])?;
    // Its first line says `path`.
    let tests: BTreeSet<&str> = list.lines.iter().map(|(_, line)| line.as_str()).filter(|line| *line != "path").collect();
    let images = place.find(&["download/images", "images"])?;
    let mut rows = folder::images(&images, &images, &[])?;
    let there = rows.list.iter().filter(|row| tests.contains(row.id.as_str())).count();
    if there == 0 {
        let first = tests.first().copied().unwrap_or_default();
        let reason = format!("none of the {} that it names is in {} (`{first}`)", diag::count(tests.len(), "image"), images.display());
        return Err(refused(&list.name, reason, "keep the images in the folders and under the names that `get_birdsnap.py` gives them"));
    }
    // The images are downloaded one by one from where they were found, and some are gone by now.
    let gone = tests.len() - there;
    let measures = split == Some(Split::Test);
    if measures && gone > 0 {
        let (images, are) = (diag::count(tests.len(), "test image"), diag::agree(&gone, "is", "are"));
        rows.warnings.push(format!("{gone} of the {images} that {} names {are} not there", list.name));
    }
    rows.list.retain(|row| tests.contains(row.id.as_str()) == measures);
    Ok(rows)
}
