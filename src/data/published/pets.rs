//! Oxford-IIIT Pets: `images/Abyssinian_100.jpg`, and lists with class, species and breed of each.

use std::collections::BTreeMap;
use std::path::Path;

use super::{DataError, Format, List, Listed, Place, Rows, Split, Splits, Texts, layout};

pub(in crate::data) static FORMAT: Format = layout!("pets", Pets, Splits::Format);

fn read(path: &Path, split: Option<Split>) -> Result<Rows, DataError> {
    let place = Place::at(FORMAT.name, path, &["oxford-iiit-pet"], &["annotations"])?;
    let (train, test) = (place.list(&["annotations/trainval.txt"])?, place.list(&["annotations/test.txt"])?);
    // Both lists say which name goes with which number.
    let mut names = BTreeMap::new();
    let one = listed(&train, &mut names)?;
    let other = listed(&test, &mut names)?;
    let (list, listed) = if split == Some(Split::Test) { (test, other) } else { (train, one) };
    let mut rows = place.images(&["images"], &list.name, listed)?;
    // In the order of their numbers, as torchvision counts them.
    rows.classes = Some(names.into_values().collect());
    Ok(rows)
}

/// The images of a list: `Abyssinian_100 1 1 1` is an image of class 1, of species 1 (a cat).
fn listed(list: &List, names: &mut BTreeMap<u16, String>) -> Result<Vec<Listed>, DataError> {
    let (mut listed, mut texts) = (Vec::new(), Texts::default());
    for (number, line) in list.lines.iter().filter(|(_, line)| !line.starts_with('#')) {
        let wrong = || list.wrong(*number, "it is no image with class, species and breed, `Abyssinian_100 1 1 1`");
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [image, class, species, _] = fields.as_slice() else { return Err(wrong()) };
        let ((breed, _), class) = (image.rsplit_once('_').ok_or_else(wrong)?, class.parse::<u16>().map_err(|_| wrong())?);
        let species = match *species {
            "1" => "cat",
            "2" => "dog",
            _ => return Err(wrong()),
        };
        let known = names.entry(class).or_insert_with(|| breed.to_owned());
        if known != breed {
            return Err(list.wrong(*number, format!("class {class} is called `{known}` and `{breed}`")));
        }
        let attributes = texts.attributes([("species", species)]);
        listed.push(Listed { attributes, ..Listed::new(format!("{image}.jpg"), breed) });
    }
    Ok(listed)
}
