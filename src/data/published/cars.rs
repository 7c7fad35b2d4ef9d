//! Stanford Cars: `cars_train/00001.jpg` and `cars_test/00001.jpg`, with their classes in MATLAB files of a `devkit`.

use std::path::Path;

use super::{DataError, Format, Listed, Matlab, Place, Rows, Split, Splits, Value, layout};

pub(in crate::data) static FORMAT: Format = layout!("cars", Cars, Splits::Format);

fn read(path: &Path, split: Option<Split>) -> Result<Rows, DataError> {
    let place = Place::at(FORMAT.name, path, &["stanford_cars"], &["devkit"])?;
    let names = names(&place.matlab(&["devkit/cars_meta.mat"])?)?;
    let (folder, annotations): (_, &[&str]) = match split {
        // What the devkit itself has of them has no classes.
        Some(Split::Test) => ("cars_test", &["cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat"]),
        _ => ("cars_train", &["devkit/cars_train_annos.mat"]),
    };
    let file = place.matlab(annotations)?;
    let Value::Structs(fields) = file.variable("annotations")? else {
        return Err(file.broken("its variable `annotations` holds no structs"));
    };
    let field = |name: &str| fields.get(name).ok_or_else(|| file.broken(format!("its annotations have no field `{name}`")));
    let mut listed = Vec::new();
    for (at, (image, class)) in (1..).zip(field("fname")?.iter().zip(field("class")?)) {
        let image = image.text().ok_or_else(|| file.broken(format!("annotation {at}: its `fname` is no text")))?;
        let number = class.number().filter(|class| class.fract() == 0.0 && *class >= 1.0);
        let name = number.and_then(|class| names.get(class as usize - 1));
        let name = name.ok_or_else(|| {
            let class = class.number().map_or("no number".to_owned(), |class| class.to_string());
            file.broken(format!("annotation {at}: its `class` is {class}, and `devkit/cars_meta.mat` names 1 to {}", names.len()))
        })?;
        listed.push(Listed::new(format!("{folder}/{image}"), name.as_str()));
    }
    let images = place.find(&[folder])?;
    let beside = images.parent().unwrap_or(Path::new(""));
    let list = super::listed::rows(&place.root, beside, "", &file.name, listed)?;
    Ok(Rows { list, classes: Some(names), ..Rows::default() })
}

/// The names of the classes, in the order of their numbers.
fn names(file: &Matlab) -> Result<Vec<String>, DataError> {
    let Value::Cells(cells) = file.variable("class_names")? else {
        return Err(file.broken("its variable `class_names` holds no cells"));
    };
    let text = |cell: &Value| cell.text().map(str::to_owned).ok_or_else(|| file.broken("a name in `class_names` is no text"));
    cells.iter().map(text).collect()
}
