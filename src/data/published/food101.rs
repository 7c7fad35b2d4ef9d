//! Food-101: `images/apple_pie/1005649.jpg`, and lists of them in `meta`.

use std::path::Path;

use super::{DataError, Format, Listed, Place, Rows, Split, Splits, layout};

pub(in crate::data) static FORMAT: Format = layout!("food101", Food101, Splits::Format);

fn read(path: &Path, split: Option<Split>) -> Result<Rows, DataError> {
    let place = Place::at(FORMAT.name, path, &["food-101"], &["meta"])?;
    let list = place.list(&[if split == Some(Split::Test) { "meta/test.txt" } else { "meta/train.txt" }])?;
    let listed = list.lines.iter().map(|(number, line)| {
        let (class, _) = line.split_once('/').ok_or_else(|| list.wrong(*number, "it is no class and image, `apple_pie/1005649`"))?;
        Ok(Listed::new(format!("{line}.jpg"), class))
    });
    place.images(&["images"], &list.name, listed.collect::<Result<_, DataError>>()?)
}
