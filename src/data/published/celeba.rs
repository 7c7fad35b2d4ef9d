//! CelebA: `img_align_celeba/000001.jpg`, forty attributes of each image, and which of them train. Lists are those of its authors (`.txt`), or the same
//! as tables (`.csv`).

use std::collections::BTreeMap;
use std::path::Path;

use super::{DataError, Format, List, Listed, Place, Rows, Split, Splits, Texts, diag, layout};
use crate::data::source::Label;

pub(in crate::data) static FORMAT: Format = layout!("celeba", Celeba, Splits::Format);

const PARTITION: [&str; 3] = ["list_eval_partition.txt", "Eval/list_eval_partition.txt", "list_eval_partition.csv"];
const ATTRIBUTES: [&str; 3] = ["list_attr_celeba.txt", "Anno/list_attr_celeba.txt", "list_attr_celeba.csv"];
// A copy of the archive that was unpacked into a folder of its name comes first.
const IMAGES: [&str; 4] =
    ["img_align_celeba/img_align_celeba", "img_align_celeba", "Img/img_align_celeba/img_align_celeba", "Img/img_align_celeba"];

/// Most attributes: there are 40.
const MAX_ATTRIBUTES: usize = 1 << 8;

fn read(path: &Path, split: Option<Split>) -> Result<Rows, DataError> {
    let place = Place::at(FORMAT.name, path, &["celeba", "CelebA"], &ATTRIBUTES)?;
    let (partition, list) = (place.list(&PARTITION)?, place.list(&ATTRIBUTES)?);
    let parts = parts(&partition)?;
    let (names, lines) = header(&list)?;
    if lines.len() != parts.len() {
        let reason = format!("it has {}, and {} has {}", diag::count(lines.len(), "image"), partition.name, parts.len());
        return Err(list.broken(reason));
    }
    // Those of part 1 are of a validation split, and neither train nor measure.
    let wanted = if split == Some(Split::Test) { 2 } else { 0 };
    let (mut listed, mut texts) = (Vec::new(), Texts::default());
    for (number, line) in lines {
        let mut fields = fields(line);
        let image = fields.next().unwrap_or_default();
        let part = parts.get(image).ok_or_else(|| list.wrong(*number, format!("{} has no line of `{image}`", partition.name)))?;
        let values: Vec<&str> = fields.collect();
        if values.len() != names.len() || !values.iter().all(|value| ["-1", "0", "1"].contains(value)) {
            let reason = format!("it should have {} of -1 or 1 behind the name of an image", diag::count(names.len(), "number"));
            return Err(list.wrong(*number, reason));
        }
        if *part == wanted {
            let attributes = texts.attributes(names.iter().copied().zip(values));
            listed.push(Listed { file: image.to_owned(), label: Label::Absent, attributes });
        }
    }
    place.images(&IMAGES, &list.name, listed)
}

fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| letter.is_whitespace() || letter == ',').filter(|field| !field.is_empty())
}

/// The names of the attributes, and the lines of images.
type Header<'a> = (Vec<&'a str>, &'a [(usize, String)]);

fn header(list: &List) -> Result<Header<'_>, DataError> {
    let wrong = || list.broken("it does not begin as the attributes of CelebA do: the number of images, then the names of attributes");
    let (first, rest) = list.lines.split_first().ok_or_else(wrong)?;
    let (names, lines): (Vec<&str>, _) = match first.1.parse::<usize>() {
        Ok(said) => {
            let (names, lines) = rest.split_first().ok_or_else(wrong)?;
            if said != lines.len() {
                return Err(list.broken(format!("its first line says {}, and it has {}", diag::count(said, "image"), lines.len())));
            }
            (fields(&names.1).collect(), lines)
        }
        // A table has a name for the images' column too.
        Err(_) => (fields(&first.1).skip(1).collect(), rest),
    };
    if names.is_empty() || names.len() > MAX_ATTRIBUTES || names.iter().any(|name| name.parse::<f64>().is_ok()) {
        return Err(wrong());
    }
    let mut sorted = names.clone();
    sorted.sort_unstable();
    match sorted.iter().zip(sorted.iter().skip(1)).find(|(one, other)| one == other) {
        Some((twice, _)) => Err(list.broken(format!("two of its attributes are called `{twice}`"))),
        None => Ok((names, lines)),
    }
}

/// Which part each image is of: 0 trains, 1 validates, 2 tests.
fn parts(list: &List) -> Result<BTreeMap<&str, u8>, DataError> {
    let mut parts = BTreeMap::new();
    // A table begins with names.
    for (number, line) in list.lines.iter().filter(|(number, line)| *number > 1 || !line.starts_with("image_id")) {
        let fields: Vec<&str> = fields(line).collect();
        let part = match fields.as_slice() {
            [image, part] => part.parse().ok().filter(|part| *part <= 2).map(|part| (*image, part)),
            _ => None,
        };
        let (image, part) = part.ok_or_else(|| list.wrong(*number, "it is no image and 0, 1 or 2"))?;
        if parts.insert(image, part).is_some() {
            return Err(list.wrong(*number, format!("`{image}` is there twice")));
        }
    }
    Ok(parts)
}
