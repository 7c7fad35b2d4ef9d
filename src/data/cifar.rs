//! The binary CIFAR files: one or two label bytes and 3072 bytes of planes per image.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{Format, Kind, Splits};
use super::source::{Label, Row, Rows, Stored};
use super::texts::{Attributes, Texts};
use super::{DataError, DataSpec, Orientation, Split};

const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;
/// Most bytes of one file: the largest, CIFAR-100's `train.bin`, has 154 MB.
const MAX_BYTES: u64 = 1 << 30;

/// Largest file of the names of classes that is read.
const MAX_NAMES: u64 = 1 << 16;

pub(super) static FORMAT: Format = Format {
    name: "cifar_binary",
    kind: Kind::Folder,
    splits: Splits::Format,
    // Pixels as they are: nothing in them asks to be turned.
    orientation: Orientation::Stored,
    loader: "torchvision",
    redirect: |_, new| DataSpec::CifarBinary(new),
    read: |base, folder, split, _| read(&base.join(folder), split.unwrap_or(Split::Train)),
};

/// Reads one split of CIFAR-10 (`data_batch_*.bin`, `test_batch.bin`) or, with fine labels, CIFAR-100 (`train.bin`, `test.bin`).
fn read(folder: &Path, split: Split) -> Result<Rows, DataError> {
    let hundred = folder.join("train.bin").is_file() || folder.join("test.bin").is_file();
    let (files, names, label_bytes) = match (hundred, split) {
        (true, Split::Train) => (vec![folder.join("train.bin")], "fine_label_names.txt", 2),
        (true, Split::Test) => (vec![folder.join("test.bin")], "fine_label_names.txt", 2),
        (false, Split::Train) => (batches(folder)?, "batches.meta.txt", 1),
        (false, Split::Test) => (vec![folder.join("test_batch.bin")], "batches.meta.txt", 1),
    };
    let mut rows = Rows { classes: class_names(&folder.join(names))?, ..Rows::default() };
    for file in files {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        rows.list.extend(images(&load(&file)?, &name, label_bytes).map_err(|reason| broken(&file, reason))?);
    }
    Ok(rows)
}

/// The batches from the first on, without a gap: a copy that lost one in the middle would train on the rest without a word.
fn batches(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let named = |i: usize| folder.join(format!("data_batch_{i}.bin"));
    // Whatever stands under the name counts, a link to nothing too: reading it then says what is wrong.
    let pickled = ["data_batch_1", "batches.meta", "meta"].into_iter().find(|name| folder.join(name).is_file());
    if let (Some(pickled), false) = (pickled, (1..=5).any(|i| named(i).symlink_metadata().is_ok())) {
        return Err(DataError::Refused {
            place: folder.display().to_string(),
            reason: format!("it is the version for Python (`{pickled}`): pickles can run code when they are read"),
            hint: "take the binary version (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz), or parquet files".to_owned(),
        });
    }
    let Some(last) = (1..=5).rev().find(|&i| named(i).symlink_metadata().is_ok()) else {
        return Err(broken(folder, "it has neither data_batch_*.bin (CIFAR-10) nor train.bin (CIFAR-100)".to_owned()));
    };
    let files: Vec<PathBuf> = (1..=last).map(named).collect();
    match (1..=last).zip(&files).find(|(_, file)| file.symlink_metadata().is_err()) {
        Some((gap, _)) => Err(broken(folder, format!("data_batch_{gap}.bin is missing, and data_batch_{last}.bin is there"))),
        None => Ok(files),
    }
}

fn load(file: &Path) -> Result<Arc<[u8]>, DataError> {
    let unreadable = |source| DataError::Read { path: file.display().to_string(), source };
    Ok(crate::store::read(file, MAX_BYTES).map_err(unreadable)?.into())
}

pub(super) fn images(buffer: &Arc<[u8]>, name: &str, label_bytes: usize) -> Result<Vec<Row>, String> {
    let size = label_bytes + PIXELS;
    if buffer.is_empty() || !buffer.len().is_multiple_of(size) {
        return Err(format!("its length {} is not a multiple of {size}, the size of one image", buffer.len()));
    }
    let mut texts = Texts::default();
    let row = |(i, bytes): (usize, &[u8])| {
        // CIFAR-100: the coarse label comes first.
        let attributes = match bytes {
            [coarse, _, ..] if label_bytes == 2 => texts.attributes([("coarse_label", coarse.to_string().as_str())]),
            _ => Attributes::default(),
        };
        let label = Label::Number(bytes.get(label_bytes - 1).copied().map_or(-1, i64::from));
        let stored = Stored::Raw { buffer: buffer.clone(), offset: i * size + label_bytes, width: SIDE, height: SIDE, channels: 3 };
        Row { id: format!("{name}:{i}"), label, attributes, stored }
    };
    Ok(buffer.chunks_exact(size).enumerate().map(row).collect())
}

/// One name a line; without the file the classes are numbers.
fn class_names(path: &Path) -> Result<Option<Vec<String>>, DataError> {
    if matches!(path.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let bytes = crate::store::read(path, MAX_NAMES).map_err(|source| DataError::Read { path: path.display().to_string(), source })?;
    let text = String::from_utf8(bytes).map_err(|_| broken(path, "it is not UTF-8".to_owned()))?;
    Ok(Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()))
}

fn broken(path: &Path, reason: String) -> DataError {
    DataError::Format { path: path.display().to_string(), reason }
}
