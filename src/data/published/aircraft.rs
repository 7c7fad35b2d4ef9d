//! FGVC-Aircraft: `images/1025794.jpg`, and lists of what each shows, by variant, family and manufacturer.

use std::collections::BTreeMap;
use std::path::Path;

use super::{DataError, Format, Listed, Place, Rows, Split, Splits, Texts, layout};

pub(in crate::data) static FORMAT: Format = layout!("aircraft", Aircraft, Splits::Format);

fn read(path: &Path, split: Option<Split>) -> Result<Rows, DataError> {
    let place = Place::at(FORMAT.name, path, &["data", "fgvc-aircraft-2013b/data"], &["images_variant_test.txt"])?;
    // Validation images train: that is how results on this data set are told.
    let parts: &[&str] = if split == Some(Split::Test) { &["test"] } else { &["train", "val"] };
    let (mut listed, mut names, mut texts) = (Vec::new(), Vec::new(), Texts::default());
    for part in parts {
        let list = place.list(&[&format!("images_variant_{part}.txt")])?;
        let coarser = ["family", "manufacturer"].map(|column| (column, format!("images_{column}_{part}.txt")));
        let mut known: Vec<(&str, BTreeMap<String, String>)> = Vec::new();
        for (column, name) in &coarser {
            if let Some(list) = place.optional(name)? {
                let pairs =
                    list.lines.iter().map(|(number, line)| pair(line).ok_or_else(|| list.wrong(*number, "it is no image and a name")));
                known.push((*column, pairs.collect::<Result<_, _>>()?));
            }
        }
        for (number, line) in &list.lines {
            let (image, variant) = pair(line).ok_or_else(|| list.wrong(*number, "it is no image and a variant, `1025794 707-320`"))?;
            let attributes = texts.attributes(known.iter().map(|(column, of)| (*column, of.get(&image).map_or("", String::as_str))));
            listed.push(Listed { attributes, ..Listed::new(format!("{image}.jpg"), variant) });
        }
        names.push(list.name);
    }
    let mut rows = place.images(&["images"], &names.join(" and "), listed)?;
    rows.classes = place.optional("variants.txt")?.map(|list| list.lines.into_iter().map(|(_, line)| line).collect());
    Ok(rows)
}

/// An image and what it shows.
fn pair(line: &str) -> Option<(String, String)> {
    let (image, name) = line.split_once(char::is_whitespace)?;
    Some((image.to_owned(), name.trim().to_owned()))
}
