//! IDX files, as MNIST and Fashion-MNIST come: `train-images-idx3-ubyte` and the like, plain or gzipped.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::bounds::{most_images, unpacked};
use super::format::{Format, Kind, Splits};
use super::source::{Label, Row, Rows, Stored};
use super::texts::Attributes;
use super::{DataError, DataSpec, Orientation, Split};
use crate::diag;

/// Most bytes of one file, unpacked.
const MAX_BYTES: u64 = 4 << 30;

pub(super) static FORMAT: Format = Format {
    name: "idx",
    kind: Kind::Folder,
    splits: Splits::Format,
    // Pixels as they are: nothing in them asks to be turned.
    orientation: Orientation::Stored,
    loader: "torchvision",
    redirect: |_, new| DataSpec::Idx(new),
    read: |base, folder, split, _| read(&base.join(folder), split.unwrap_or(Split::Train)),
};

/// Reads the pair of files of one split.
fn read(folder: &Path, split: Split) -> Result<Rows, DataError> {
    let prefix = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let name = format!("{prefix}-images-idx3-ubyte");
    let (sizes, images, bytes) = load::<3>(folder, &name)?;
    let ([labels], values, further) = load::<1>(folder, &format!("{prefix}-labels-idx1-ubyte"))?;
    let [count, height, width] = sizes;
    if count != labels {
        let path = folder.join(&name).display().to_string();
        return Err(DataError::Format { path, reason: format!("it has {}, the labels file has {labels}", diag::count(count, "image")) });
    }
    let most = most_images(bytes.saturating_add(further), 0);
    if count as u64 > most {
        return Err(DataError::Refused {
            place: folder.join(&name).display().to_string(),
            reason: format!("it has {count} images of {width}x{height} pixels, and so small a file holds {most} at most"),
            hint: "images of fewer than 8 pixels are not read; where they are larger, unpack the file: gunzip FILE".to_owned(),
        });
    }
    let buffer: Arc<[u8]> = images.into();
    let area = width * height;
    let rows = values.iter().enumerate().map(|(i, &label)| Row {
        id: format!("{name}:{i}"),
        label: Label::Number(i64::from(label)),
        attributes: Attributes::default(),
        stored: Stored::Raw { buffer: buffer.clone(), offset: i * area, width, height, channels: 1 },
    });
    Ok(Rows { list: rows.collect(), ..Rows::default() })
}

/// The sizes and values of one file of bytes with `N` dimensions, and how many bytes the file has.
fn load<const N: usize>(folder: &Path, name: &str) -> Result<([usize; N], Vec<u8>, u64), DataError> {
    let (plain, packed) = (folder.join(name), folder.join(format!("{name}.gz")));
    let path = if plain.is_file() || !packed.is_file() { &plain } else { &packed };
    let unreadable = |source| DataError::Read { path: path.display().to_string(), source };
    let file = crate::store::open(path).map_err(unreadable)?;
    let (bytes, place) = (file.metadata().map_err(unreadable)?.len(), path.display().to_string());
    let (sizes, values) = if path == &packed {
        parse(flate2::read::GzDecoder::new(std::io::BufReader::new(file)), unpacked(bytes), &place)?
    } else {
        parse(file, MAX_BYTES, &place)?
    };
    Ok((sizes, values, bytes))
}

/// The sizes and values in `input`, which may have so many bytes.
pub(super) fn parse<const N: usize>(input: impl Read, most: u64, path: &str) -> Result<([usize; N], Vec<u8>), DataError> {
    let most = most.min(MAX_BYTES);
    let broken = |reason: String| DataError::Format { path: path.to_owned(), reason };
    let mut bytes = Vec::new();
    input.take(most + 1).read_to_end(&mut bytes).map_err(|e| broken(format!("it cannot be read: {e}")))?;
    if bytes.len() as u64 > most {
        return Err(DataError::Refused {
            place: path.to_owned(),
            reason: format!("it holds more than {most} bytes, the most that are read of so small a file"),
            hint: "where it is packed, unpack it: gunzip FILE".to_owned(),
        });
    }
    // Two zeros, the type (8: unsigned bytes), the number of dimensions; then the sizes, big-endian.
    if bytes.get(..4) != Some(&[0, 0, 8, N as u8]) {
        return Err(broken(format!("it is no IDX file of bytes with {N} dimensions (its first bytes should be 00 00 08 {N:02})")));
    }
    let header = bytes.get(4..4 + 4 * N).ok_or_else(|| broken(format!("it ends inside its header: {} bytes", bytes.len())))?;
    let mut sizes = [0; N];
    for (size, chunk) in sizes.iter_mut().zip(header.as_chunks::<4>().0) {
        *size = u32::from_be_bytes(*chunk) as usize;
    }
    let needed = sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
    let held = bytes.len() - (4 + 4 * N);
    if needed != Some(held) {
        return Err(broken(format!("its header says {sizes:?} values, it holds {held} bytes")));
    }
    bytes.drain(..4 + 4 * N);
    Ok((sizes, bytes))
}

#[cfg(test)]
mod tests;
