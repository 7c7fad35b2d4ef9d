//! A folder with one sub-folder per class.

use std::fs::{DirEntry, FileType};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{Format, Kind, Splits, below};
use super::source::{Label, Row, Rows, Stored, relative_id, resolve};
use super::texts::Attributes;
use super::{DataError, DataSpec, Orientation, Split};
use crate::diag;
use crate::pixels::encoded::{ENDINGS, named};
use crate::store::hub;

pub(super) static FORMAT: Format = Format {
    name: "folder",
    kind: Kind::Folder,
    splits: Splits::Path,
    orientation: Orientation::Stored,
    loader: "torchvision's ImageFolder",
    redirect: |old, new| DataSpec::Folder(below(old, new)),
    read: |base, path, split, _| read(base, path, split),
};

fn read(base: &Path, path: &Path, split: Option<Split>) -> Result<Rows, DataError> {
    let (root, fixed) = resolve(&base.join(path), split);
    images(&root, &fixed, &[])
}

/// Lists the images of every class folder, in the order of their names; sub-folders of a class belong to it. Ids are relative to `fixed`. Folders
/// called as one of `left_out` are no classes.
pub(super) fn images(root: &Path, fixed: &Path, left_out: &[&str]) -> Result<Rows, DataError> {
    let unreadable = |path: &Path| {
        let path = path.display().to_string();
        move |source| DataError::Read { path, source }
    };
    let real = root.canonicalize().map_err(unreadable(root))?;
    if hub::is_repository(&real) {
        let reason = "it is a repository of the Hugging Face cache; name the folder below its `snapshots` that holds the images".to_owned();
        return Err(DataError::Format { path: root.display().to_string(), reason });
    }
    let mut rows = Rows::default();
    let mut passed_over = Vec::new();
    for (class, kind) in list(root)? {
        if hidden(&class) || !is_folder(&class, kind, &real)? {
            continue;
        }
        let name = class.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if left_out.contains(&name.as_str()) {
            continue;
        }
        let before = rows.list.len();
        let label: Arc<str> = name.as_str().into();
        // A folder that links to one above it would be walked for ever.
        let mut seen = std::collections::BTreeSet::new();
        let mut folders = vec![class];
        while let Some(folder) = folders.pop() {
            if !seen.insert(folder.canonicalize().map_err(unreadable(&folder))?) {
                continue;
            }
            for (file, kind) in list(&folder)? {
                if hidden(&file) {
                    continue;
                }
                let id = relative_id(&file, fixed);
                if is_folder(&file, kind, &real)? {
                    folders.push(file);
                } else if named(&file) {
                    let label = Label::Name(label.clone());
                    rows.list.push(Row { id, label, attributes: Attributes::default(), stored: Stored::File(file) });
                } else {
                    passed_over.push(id);
                }
            }
        }
        // Passed over in silence, a class whose images were not copied would not be missed.
        if rows.list.len() == before {
            rows.empty.push(name);
        }
    }
    let others = || {
        let (files, does) = (diag::count(passed_over.len(), "file"), diag::agree(&passed_over.len(), "does", "do"));
        format!("{files} {does} not end as images do ({}): {}", ENDINGS.join(", "), super::attributes::first(&passed_over))
    };
    if rows.list.is_empty() {
        let found = if passed_over.is_empty() { String::new() } else { format!("; {}", others()) };
        return Err(DataError::NoFolders { path: root.display().to_string(), found });
    }
    rows.list.sort_by(|a, b| a.id.cmp(&b.id));
    if !passed_over.is_empty() {
        rows.warnings.push(others());
    }
    Ok(rows)
}

pub(super) fn list(folder: &Path) -> Result<Vec<(PathBuf, FileType)>, DataError> {
    let unreadable = |source| DataError::Read { path: folder.display().to_string(), source };
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let entry = |entry: std::io::Result<DirEntry>| entry.and_then(|e| Ok((e.path(), e.file_type()?)));
    let mut paths = entries.map(entry).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    paths.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(paths)
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// Whether it is a folder. A link out of the data set is refused, whatever it points at; into the Hugging Face cache that holds the set it is not.
fn is_folder(path: &Path, kind: FileType, root: &Path) -> Result<bool, DataError> {
    // What is no link lies where its folder does; to ask the system about every file of a large set takes longer than to read the list.
    if !kind.is_symlink() {
        return Ok(kind.is_dir());
    }
    let real = path.canonicalize().map_err(|source| DataError::Read { path: path.display().to_string(), source })?;
    if hub::belongs(root, &real) {
        return Ok(real.is_dir());
    }
    Err(DataError::Outside { path: path.display().to_string(), root: root.display().to_string() })
}
