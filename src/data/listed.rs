//! Images that a list names: each is one file, inside the folder that the list speaks of.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::FileType;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::attributes::first;
use super::folder::list;
use super::source::{Label, Row, Stored};
use super::texts::{Attributes, Texts};
use super::{DataError, diag};
use crate::store::hub;

/// An image as a list names it.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Its file, as the list has it: with forward slashes, below the folder.
    pub(super) file: String,
    pub(super) label: Label,
    pub(super) attributes: Attributes,
}

impl Listed {
    /// An image of a class, of which nothing else is known.
    pub(super) fn new(file: impl Into<String>, class: impl Into<Arc<str>>) -> Self {
        Self { file: file.into(), label: Label::Name(class.into()), attributes: Attributes::default() }
    }
}

/// The images of a list, below `folder`, in the order of their ids; `prefix` is what ids begin with, and `list` what the list is called. Every image
/// must be there once, and lie in the folder: `root` is the folder that links may lead to places of.
pub(super) fn rows(root: &Path, folder: &Path, prefix: &str, list: &str, listed: Vec<Listed>) -> Result<Vec<Row>, DataError> {
    let refused = |reason: String, hint: &str| DataError::Refused { place: list.to_owned(), reason, hint: hint.to_owned() };
    let mut folders = Folders::new(root)?;
    let (mut seen, mut rows, mut missing) = (BTreeSet::new(), Vec::with_capacity(listed.len()), Vec::new());
    let (total, mut texts) = (listed.len(), Texts::default());
    for Listed { file, label, attributes } in listed {
        let inside = inside(&file).ok_or_else(|| {
            let reason = format!("it names `{}`, which is no path to a file inside the folder", file.escape_debug());
            refused(reason, "name each image by its path below the folder, with forward slashes and without `..`")
        })?;
        if !seen.insert(inside.clone()) {
            return Err(refused(format!("it names `{inside}` twice"), "leave one of the two lines out"));
        }
        let path = folder.join(&inside);
        if folders.holds(&path)? {
            let label = label.shared(&mut texts);
            rows.push(Row { id: format!("{prefix}{inside}"), label, attributes, stored: Stored::File(path) });
        } else {
            missing.push(inside);
        }
    }
    if !missing.is_empty() {
        let (count, are) = (missing.len(), diag::agree(&missing.len(), "is", "are"));
        let images = diag::count(total, "image");
        let reason = format!("{count} of the {images} that it names {are} not in {}: {}", folder.display(), first(&missing));
        return Err(refused(reason, "copy all images there, under the names that the list has, endings included"));
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(rows)
}

/// A path inside a folder, without what changes nothing; none where it may lead out, or nowhere.
pub(super) fn inside(file: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in Path::new(file).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    let path = parts.join("/");
    (!path.is_empty() && !path.contains('\0')).then_some(path)
}

/// What lies in the folders of a data set: each is listed once, since asking the system about every file of a large set takes long.
struct Folders {
    root: PathBuf,
    known: BTreeMap<PathBuf, BTreeMap<OsString, FileType>>,
}

impl Folders {
    fn new(root: &Path) -> Result<Self, DataError> {
        let real = root.canonicalize().map_err(|source| DataError::Read { path: root.display().to_string(), source })?;
        Ok(Self { root: real, known: BTreeMap::new() })
    }

    /// Whether a file is there. A link out of the data set is refused, whatever it points at; into the Hugging Face cache that holds the set it
    /// is not.
    fn holds(&mut self, path: &Path) -> Result<bool, DataError> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
        if !self.known.contains_key(folder) {
            let files = if folder.is_dir() {
                self.check(folder)?;
                let named = |(path, kind): (PathBuf, FileType)| Some((path.file_name()?.to_owned(), kind));
                list(folder)?.into_iter().filter_map(named).collect()
            } else {
                BTreeMap::new()
            };
            self.known.insert(folder.to_owned(), files);
        }
        match self.known.get(folder).and_then(|files| files.get(name)) {
            None => Ok(false),
            Some(kind) if kind.is_symlink() => {
                self.check(path)?;
                Ok(path.is_file())
            }
            // What is neither file nor folder is said to be so when it is read.
            Some(kind) => Ok(!kind.is_dir()),
        }
    }

    /// Refuses what lies elsewhere.
    fn check(&self, path: &Path) -> Result<(), DataError> {
        let real = path.canonicalize().map_err(|source| DataError::Read { path: path.display().to_string(), source })?;
        if hub::belongs(&self.root, &real) {
            return Ok(());
        }
        Err(DataError::Outside { path: path.display().to_string(), root: self.root.display().to_string() })
    }
}
