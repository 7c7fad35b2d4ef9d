//! What a format of data sets is. There is one of each, in its own file; [`DataSpec`] has one variant for each.

use std::path::{Component, Path, PathBuf};

use super::source::{Rows, Want};
use super::{DataError, DataSpec, Orientation, Split};

/// A format of data sets: all that is known of it.
pub(super) struct Format {
    /// What policies and fingerprints call it.
    pub(super) name: &'static str,
    /// What its data are.
    pub(super) kind: Kind,
    /// Who says which images train and which measure.
    pub(super) splits: Splits,
    /// What is done with images that ask to be turned: what `loader` does.
    pub(super) orientation: Orientation,
    /// The usual loader of such data, for people.
    pub(super) loader: &'static str,
    /// Where the data are after `--data PATH`, from where they were and the absolute path.
    pub(super) redirect: fn(&Path, PathBuf) -> DataSpec,
    /// Reads a split (none: data without splits). From the folder that paths start at, and where the data are.
    pub(super) read: fn(&Path, &Path, Option<Split>, Want) -> Result<Rows, DataError>,
}

/// What data are.
pub(super) enum Kind {
    /// Files: `*` in their path stands for anything.
    Files,
    /// A folder.
    Folder,
    /// Inside the program, under one of these names.
    Inside(fn() -> Vec<&'static str>),
}

/// Names of images that measure while a network is chosen, which stand in place of `test` where there are no others.
pub(super) const OTHER_NAMES: [&str; 4] = ["val", "valid", "validation", "dev"];

/// Who says which images train and which measure.
pub(super) enum Splits {
    /// The path does, where it has `{split}`.
    Path,
    /// The format does.
    Format,
    /// The path does, where it has `{split}`; else the file may, which only shows when it is read.
    PathOrFile,
    /// Nobody does.
    Nobody,
}

/// The new path with what tells the splits and files apart in the old one, unless the new path has it too.
pub(super) fn below(old: &Path, new: PathBuf) -> PathBuf {
    let wild = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['{', '*']);
    if new.components().any(|part| wild(&part)) {
        return new;
    }
    let kept: PathBuf = old.components().skip_while(|part| !wild(part)).collect();
    if kept.as_os_str().is_empty() { new } else { new.join(kept) }
}

/// The same, where the new path may be one file by its ending.
pub(super) fn file_or_below(old: &Path, new: PathBuf, ending: &str) -> PathBuf {
    if new.extension().is_some_and(|found| found == ending) { new } else { below(old, new) }
}
