//! The formats of data sets from bytes alone, for fuzzing: as far as opening a data set goes, the images included.

use std::path::Path;
use std::sync::Arc;

use super::source::{Entry, Labels, Rows, Stored, Want, assemble};
use super::{
    Orientation, Record, attributes, bounds, cifar as binary, csv as lines, idx as plain, matlab as matrices, parquet as columns,
    webdataset as shards,
};
use crate::store::{MemoryBudget, SpillBuffer};

/// A file of any columns; rows become entries, images are decoded.
pub(crate) fn parquet(bytes: &[u8]) -> bool {
    let (budget, bytes) = (MemoryBudget::boundless(), bytes::Bytes::copy_from_slice(bytes));
    let spill = SpillBuffer::new(&budget);
    let listed = columns::read_file(bytes.clone(), "x.parquet", Want::Index).is_ok();
    columns::read_file(bytes, "x.parquet", Want::Images(&spill)).is_ok_and(opened) || listed
}

/// A shard; its samples become entries, images are decoded.
pub(crate) fn webdataset(bytes: &[u8]) -> bool {
    let budget = MemoryBudget::boundless();
    let spill = SpillBuffer::new(&budget);
    let read = |want| shards::read_shard(std::io::Cursor::new(bytes), "x.tar", want);
    let listed = read(Want::Index).is_ok();
    read(Want::Images(&spill)).is_ok_and(opened) || listed
}

/// A MATLAB file with all its variables.
pub(crate) fn matlab(bytes: &[u8]) -> bool {
    matrices::variables(bytes).is_ok_and(|variables| !variables.is_empty())
}

/// Attributes of two images, or a list of images.
pub(crate) fn csv(bytes: &[u8]) -> bool {
    let entry = |id: &str| Entry {
        record: Record { id: id.into(), label: 0, cluster: id.into(), attributes: [("there", "already")].into_iter().collect() },
        stored: Stored::Missing("it was not asked for"),
    };
    let listed = lines::parse(bytes, "x.csv", true).is_ok();
    attributes::join_from(bytes, "x.csv", &mut [vec![entry("a"), entry("b")]]).is_ok() || listed
}

/// The images or the labels of a set, by the number of dimensions that the bytes ask for, packed or plain.
pub(crate) fn idx(bytes: &[u8]) -> bool {
    let unpacked = bytes.starts_with(&[0x1f, 0x8b]);
    let most = bounds::unpacked(bytes.len() as u64);
    let read = |bytes: &mut dyn std::io::Read, three: bool| {
        if three { plain::parse::<3>(bytes, most, "x").is_ok() } else { plain::parse::<1>(bytes, most, "x").is_ok() }
    };
    [true, false].map(|three| if unpacked { read(&mut flate2::read::GzDecoder::new(bytes), three) } else { read(&mut &*bytes, three) })
        != [false, false]
}

/// Images with one or two labels each.
pub(crate) fn cifar(bytes: &[u8]) -> bool {
    let buffer: Arc<[u8]> = bytes.into();
    [1, 2].map(|labels| binary::images(&buffer, "x.bin", labels).is_ok_and(|list| opened(Rows { list, ..Rows::default() }))) != [false; 2]
}

fn opened(rows: Rows) -> bool {
    assemble(vec![rows], Labels::Own)
        .is_ok_and(|source| source.parts.iter().flatten().filter(|entry| entry.stored.read(Orientation::Upright).is_ok()).count() > 0)
}

/// Calls `read` with a folder that holds these files: what is read by its path alone.
pub(crate) fn in_a_folder<T: Default>(files: &[(&str, &[u8])], read: impl FnOnce(&Path) -> T) -> T {
    let Ok(folder) = tempfile::tempdir() else { return T::default() };
    for (name, bytes) in files {
        if std::fs::write(folder.path().join(name), bytes).is_err() {
            return T::default();
        }
    }
    read(folder.path())
}
