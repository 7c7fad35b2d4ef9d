//! SUN397: `SUN397/a/abbey/sun_....jpg`, and ten ways to split the images in `Partitions`, of which the first is taken.

use std::path::Path;

use super::{DataError, Format, Listed, Place, Rows, Split, Splits, layout};

pub(in crate::data) static FORMAT: Format = layout!("sun397", Sun397, Splits::Format);

fn read(path: &Path, split: Option<Split>) -> Result<Rows, DataError> {
    let place = Place::at(FORMAT.name, path, &["sun397"], &["SUN397"])?;
    let name = if split == Some(Split::Test) { "Testing_01.txt" } else { "Training_01.txt" };
    let list = place.list(&[&format!("Partitions/{name}"), &format!("SUN397/Partitions/{name}"), &format!("SUN397/{name}"), name])?;
    let listed = list.lines.iter().map(|(number, line)| {
        let wrong = || list.wrong(*number, "it is no path of an image, `/a/abbey/sun_aaalbzqrimafwbiv.jpg`");
        let file = line.strip_prefix('/').ok_or_else(wrong)?;
        // The first part is the first letter; a category may have two parts (`apartment_building/outdoor`).
        let (class, _) = file.split_once('/').and_then(|(_, rest)| rest.rsplit_once('/')).ok_or_else(wrong)?;
        Ok(Listed::new(file, class))
    });
    place.images(&["SUN397"], &list.name, listed.collect::<Result<_, DataError>>()?)
}
