//! Data sets in the layouts in which they are published: one file for each says which lists it has. What a list names is read as a folder is.

pub(super) mod aircraft;
pub(super) mod birdsnap;
pub(super) mod caltech101;
pub(super) mod caltech256;
pub(super) mod cars;
pub(super) mod celeba;
pub(super) mod flowers102;
pub(super) mod food101;
pub(super) mod pets;
pub(super) mod sun397;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::format::{Format, Splits};
use super::listed::{self, Listed};
use super::matlab::{self, Value};
use super::source::Rows;
use super::texts::Texts;
use super::{DataError, DataSpec, Split, diag};
use crate::store;

/// Most bytes of a list: CelebA's attributes have 26 MB.
const MAX_LIST: u64 = 256 << 20;

/// What all of them have in common.
macro_rules! layout {
    ($name:literal, $variant:ident, $splits:expr) => {
        $crate::data::format::Format {
            name: $name,
            kind: $crate::data::format::Kind::Folder,
            splits: $splits,
            // Pillow decodes, and nothing turns.
            orientation: $crate::data::Orientation::Stored,
            loader: "torchvision",
            redirect: |_, new| $crate::data::DataSpec::$variant(new),
            read: |base, path, split, _| read(&base.join(path), split),
        }
    };
}
use layout;

/// The folder of a data set.
pub(super) struct Place {
    format: &'static str,
    root: PathBuf,
}

/// A list, line by line.
pub(super) struct List {
    /// Its path, for people.
    pub(super) name: String,
    /// Its lines that are not empty, with their numbers.
    pub(super) lines: Vec<(usize, String)>,
}

impl Place {
    /// The folder in which one of `marks` lies: `path`, or one of those `below` it.
    pub(super) fn at(format: &'static str, path: &Path, below: &[&str], marks: &[&str]) -> Result<Self, DataError> {
        // What is not there at all is said of the path itself.
        std::fs::metadata(path).map_err(|source| DataError::Read { path: path.display().to_string(), source })?;
        let mut places = [&[""], below].concat().into_iter().map(|below| if below.is_empty() { path.to_owned() } else { path.join(below) });
        match places.find(|place| marks.iter().any(|mark| place.join(mark).exists())) {
            Some(root) => Ok(Self { format, root }),
            None => Err(Self { format, root: path.to_owned() }.lacks(marks.first().copied().unwrap_or_default())),
        }
    }

    /// What is missing.
    fn lacks(&self, what: &str) -> DataError {
        DataError::Refused {
            place: self.root.display().to_string(),
            reason: format!("it has no `{what}`, which is part of `{}`", self.format),
            hint: format!("name the folder of the data set as it is published; docs/data.md says what `{}` has", self.format),
        }
    }

    /// The first of these that is there.
    fn find(&self, candidates: &[&str]) -> Result<PathBuf, DataError> {
        let found = candidates.iter().map(|name| self.root.join(name)).find(|path| path.exists());
        found.ok_or_else(|| self.lacks(candidates.first().copied().unwrap_or_default()))
    }

    /// The list of this name, or of another that it is found under.
    pub(super) fn list(&self, candidates: &[&str]) -> Result<List, DataError> {
        List::read(&self.find(candidates)?)
    }

    /// The list of this name, where there is one.
    pub(super) fn optional(&self, name: &str) -> Result<Option<List>, DataError> {
        let path = self.root.join(name);
        if path.symlink_metadata().is_ok() { List::read(&path).map(Some) } else { Ok(None) }
    }

    /// The variables of a MATLAB file, and its path for people.
    pub(super) fn matlab(&self, candidates: &[&str]) -> Result<Matlab, DataError> {
        let path = self.find(candidates)?;
        Ok(Matlab { variables: matlab::load(&path)?, name: path.display().to_string() })
    }

    /// The images of a list, which lie below the folder of one of these names. Ids begin behind it.
    pub(super) fn images(&self, candidates: &[&str], list: &str, listed: Vec<Listed>) -> Result<Rows, DataError> {
        let folder = self.find(candidates)?;
        Ok(Rows { list: listed::rows(&self.root, &folder, "", list, listed)?, ..Rows::default() })
    }
}

impl List {
    fn read(path: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let bytes = store::read(path, MAX_LIST).map_err(|source| DataError::Read { path: name.clone(), source })?;
        let text = String::from_utf8(bytes).map_err(|_| refused(&name, "it is not UTF-8", "take the list as it is published"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
        Ok(Self { lines: lines.map(|(number, line)| (number, line.to_owned())).collect(), name })
    }

    /// What is wrong with a line.
    pub(super) fn wrong(&self, number: usize, reason: impl std::fmt::Display) -> DataError {
        refused(&self.name, format!("line {number}: {reason}"), "take the list as it is published")
    }

    /// What is wrong with the list.
    pub(super) fn broken(&self, reason: impl Into<String>) -> DataError {
        refused(&self.name, reason, "take the list as it is published")
    }
}

/// A MATLAB file.
pub(super) struct Matlab {
    pub(super) name: String,
    variables: BTreeMap<String, Value>,
}

impl Matlab {
    /// What a variable holds.
    pub(super) fn variable(&self, name: &str) -> Result<&Value, DataError> {
        self.variables.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.variables.keys().map(String::as_str).collect();
            self.broken(format!("it has no variable `{name}`; it has: {}", known.join(", ")))
        })
    }

    /// Whole numbers from 1 on.
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<usize>, DataError> {
        let Value::Numbers(numbers) = self.variable(name)? else {
            return Err(self.broken(format!("its variable `{name}` holds no numbers")));
        };
        let whole = |number: &f64| {
            let is = (1.0..=1e9).contains(number) && number.fract() == 0.0;
            is.then_some(*number as usize)
                .ok_or_else(|| self.broken(format!("`{name}` holds {number}, which is no number of an image or a class")))
        };
        numbers.iter().map(whole).collect()
    }

    pub(super) fn broken(&self, reason: impl Into<String>) -> DataError {
        refused(&self.name, reason, "take the file as it is published")
    }
}

/// The data set whose files lie in a folder, if it is one of these: `there` says whether a file is.
pub(super) fn recognise(folder: &Path, there: &dyn Fn(&str) -> bool) -> Option<DataSpec> {
    let is = |names: &[&str]| names.iter().all(|name| there(name));
    let of: fn(PathBuf) -> DataSpec = if is(&["images_variant_test.txt", "images"]) {
        DataSpec::Aircraft
    } else if is(&["test_images.txt", "species.txt"]) || is(&["test_images.txt", "download/images"]) {
        DataSpec::Birdsnap
    } else if there("101_ObjectCategories") {
        DataSpec::Caltech101
    } else if there("256_ObjectCategories") {
        DataSpec::Caltech256
    } else if is(&["devkit/cars_meta.mat", "cars_train"]) {
        DataSpec::Cars
    } else if there("list_attr_celeba.txt")
        || there("Anno/list_attr_celeba.txt")
        || is(&["list_attr_celeba.csv", "list_eval_partition.csv"])
    {
        DataSpec::Celeba
    } else if is(&["imagelabels.mat", "setid.mat"]) {
        DataSpec::Flowers102
    } else if is(&["meta/train.txt", "meta/test.txt", "images"]) {
        DataSpec::Food101
    } else if is(&["annotations/trainval.txt", "annotations/test.txt", "images"]) {
        DataSpec::Pets
    } else if is(&["SUN397", "Partitions"]) || is(&["SUN397/Partitions"]) {
        DataSpec::Sun397
    } else if is(&["fairface_label_train.csv"]) {
        return Some(DataSpec::Csv(folder.join("fairface_label_{split}.csv")));
    } else {
        return None;
    };
    Some(of(folder.to_owned()))
}

/// The first number that is there twice.
pub(super) fn twice(numbers: impl IntoIterator<Item = usize>) -> Option<usize> {
    let mut seen = BTreeSet::new();
    numbers.into_iter().find(|number| !seen.insert(*number))
}

/// What is not read: where, why, and what to do.
pub(super) fn refused(place: &str, reason: impl Into<String>, hint: &str) -> DataError {
    DataError::Refused { place: place.to_owned(), reason: reason.into(), hint: hint.to_owned() }
}

#[cfg(test)]
mod tests;
