//! What lies at a place: which format of data set, for whoever names a folder and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use super::format::OTHER_NAMES;
use super::{DataError, DataSpec, published};

/// The data set at a path, as a policy names it: a file or a pattern by its ending, a folder by what lies in it. Nothing is read.
pub(crate) fn recognise(path: &Path) -> Result<DataSpec, DataError> {
    let ends = |ending: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
    if ends("parquet") {
        return Ok(DataSpec::Parquet(path.to_owned()));
    }
    if ends("tar") {
        return Ok(DataSpec::Webdataset(path.to_owned()));
    }
    if ends("csv") {
        return Ok(DataSpec::Csv(path.to_owned()));
    }
    if path.to_string_lossy().contains(['{', '*']) {
        return Ok(DataSpec::Folder(path.to_owned()));
    }
    let (files, folders) = names(path)?;
    let begins = |begin: &str| files.iter().any(|name| name.starts_with(begin));
    if begins("train-images-idx3-ubyte") {
        return Ok(DataSpec::Idx(path.to_owned()));
    }
    if begins("data_batch_1.bin") || (files.contains("train.bin") && files.contains("test.bin")) {
        return Ok(DataSpec::CifarBinary(path.to_owned()));
    }
    if let Some(spec) = published::recognise(path, &|name| path.join(name).exists()) {
        return Ok(spec);
    }
    if let Some(spec) = in_files(path, &files) {
        return Ok(spec);
    }
    // As data sets lie on the Hugging Face hub.
    if folders.contains("data")
        && let Some(spec) = in_files(&path.join("data"), &names(&path.join("data"))?.0)
    {
        return Ok(spec);
    }
    let has = |name: &str| folders.contains(name);
    match (has("train"), has("test"), OTHER_NAMES.into_iter().find(|name| has(name))) {
        (true, true, _) => Ok(DataSpec::Folder(path.join("{split}"))),
        // Read as it stands, `train` and `val` would be two classes.
        (true, false, Some(other)) => Err(DataError::OtherSplit { path: path.display().to_string(), found: other, wanted: "test" }),
        (true, false, None) if folders.len() == 1 => Ok(DataSpec::Folder(path.join("train"))),
        _ => Ok(DataSpec::Folder(path.to_owned())),
    }
}

/// The data set in a folder of parquet files or shards, if it is one.
fn in_files(folder: &Path, files: &BTreeSet<String>) -> Option<DataSpec> {
    let ending = [".parquet", ".tar"].into_iter().find(|ending| files.iter().any(|name| name.ends_with(ending)))?;
    let begins = |split: &str| files.iter().any(|name| name.starts_with(split) && name.ends_with(ending));
    let split = if begins("train") && begins("test") { "{split}" } else { "" };
    let place = folder.join(format!("{split}*{ending}"));
    Some(if ending == ".tar" { DataSpec::Webdataset(place) } else { DataSpec::Parquet(place) })
}

/// The names of files and of folders in a folder, hidden ones left out.
fn names(folder: &Path) -> Result<(BTreeSet<String>, BTreeSet<String>), DataError> {
    let unreadable = |source| DataError::Read { path: folder.display().to_string(), source };
    let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        // A link to a folder is one.
        if entry.path().is_dir() {
            folders.insert(name)
        } else {
            files.insert(name)
        };
    }
    Ok((files, folders))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::recognise;

    /// What is made of a folder with these files, its own path left out.
    fn of(files: &[&str]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, b"").expect("written");
        }
        match recognise(folder.path()) {
            Ok(spec) => {
                let place = spec.on_disk().expect("a place").0;
                format!("{} {}", spec.format(), place.strip_prefix(folder.path()).expect("inside").display())
            }
            Err(error) => error.to_string().replace(&folder.path().display().to_string(), "FOLDER"),
        }
    }

    #[test]
    fn a_folder_is_known_by_what_lies_in_it() {
        for (files, wanted) in [
            (&["cat/1.jpg", "dog/1.jpg"][..], "folder "),
            (&["train/cat/1.jpg", "test/cat/1.jpg"], "folder {split}"),
            (&["train/cat/1.jpg", "test/cat/1.jpg", "val/cat/1.jpg"], "folder {split}"),
            (&["train/cat/1.jpg"], "folder train"),
            (&["train-00000-of-00001.parquet", "test-00000-of-00001.parquet", "README.md"], "parquet {split}*.parquet"),
            (&["data/train-0.parquet", "data/test-0.parquet"], "parquet data/{split}*.parquet"),
            (&["a.parquet"], "parquet *.parquet"),
            (&["train-000.tar", "test-000.tar"], "webdataset {split}*.tar"),
            (&["train-images-idx3-ubyte.gz"], "idx "),
            (&["data_batch_1.bin", "test_batch.bin"], "cifar_binary "),
            (&["train.bin", "test.bin"], "cifar_binary "),
            // Found out when it is read.
            (&[".hidden/1.jpg"], "folder "),
        ] {
            assert_eq!(of(files), wanted, "{files:?}");
        }
        assert!(of(&["train/cat/1.jpg", "val/cat/1.jpg"]).starts_with("FOLDER: it has the folders `train` and `val`"));
        assert!(recognise(Path::new("nowhere")).unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn a_file_and_a_pattern_are_known_by_their_ending() {
        for (path, wanted) in [
            ("cifar10/{split}-*.parquet", "parquet"),
            ("all.PARQUET", "parquet"),
            ("faces-{split}-*.tar", "webdataset"),
            ("photos/{split}", "folder"),
        ] {
            assert_eq!(recognise(Path::new(path)).expect("known").format(), wanted);
        }
    }
}
