//! Oxford Flowers-102: `jpg/image_00001.jpg`, the class of each image in `imagelabels.mat`, and which of them train in `setid.mat`.

use std::path::Path;

use super::{DataError, Format, Listed, Place, Rows, Split, Splits, layout, twice};

pub(in crate::data) static FORMAT: Format = layout!("flowers102", Flowers102, Splits::Format);

fn read(path: &Path, split: Option<Split>) -> Result<Rows, DataError> {
    let place = Place::at(FORMAT.name, path, &["flowers-102"], &["imagelabels.mat"])?;
    let (labels, sets) = (place.matlab(&["imagelabels.mat"])?, place.matlab(&["setid.mat"])?);
    let classes = labels.numbers("labels")?;
    // Validation images train: that is how results on this data set are told.
    let train = [sets.numbers("trnid")?, sets.numbers("valid")?].concat();
    let test = sets.numbers("tstid")?;
    let named = train.len() + test.len();
    if let Some(image) = twice(train.iter().chain(&test).copied()) {
        return Err(sets.broken(format!("it names image {image} twice")));
    }
    // Numbers that are all there, and none of them twice, go up to how many they are.
    if named != classes.len() || train.iter().chain(&test).any(|image| *image > named) {
        let reason = format!("it has {} labels, and {} names {named} images", classes.len(), sets.name);
        return Err(labels.broken(reason));
    }
    let most = classes.iter().max().copied().unwrap_or_default();
    let images = if split == Some(Split::Test) { test } else { train };
    let listed = images.into_iter().filter_map(|image| {
        let class = classes.get(image - 1)?;
        Some(Listed::new(format!("image_{image:05}.jpg"), class.to_string()))
    });
    let mut rows = place.images(&["jpg"], &sets.name, listed.collect())?;
    // In the order of their numbers, as torchvision counts them; 65536 are the most that are looked at.
    if most <= 1 << 16 {
        rows.classes = Some((1..=most).map(|class| class.to_string()).collect());
    }
    Ok(rows)
}
