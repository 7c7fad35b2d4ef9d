//! What a file may become, held against its bytes before any of it is read: columns that repeat a value and packed pages make much of little.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use ::parquet::schema::types::TypePtr;

use super::super::bounds::{most_images, unpacked};
use super::super::{DataError, diag};
use super::thrift::{Note, Walked};

/// Most columns that are read: for each the crate keeps room for a thousand values.
const MAX_COLUMNS: usize = 1 << 10;
/// How deep columns may lie in each other. The crate goes down without end, and so would its stack.
const DEPTH: usize = 32;
/// Bytes that a part of a column's path takes beside its letters.
const PART: u64 = 24;

/// Holds the columns of a footer that was walked against each other. The crate reserves memory for as many as are announced, and keeps the path
/// of each, with all that it lies in.
///
/// # Errors
///
/// Says what is wrong, as the end of a sentence that starts with the footer.
pub(super) fn schema(footer: &Walked) -> Result<(), String> {
    let mut elements: Vec<(i64, u64)> = Vec::new();
    for (note, value) in &footer.notes {
        match (note, elements.last_mut()) {
            (Note::Element, _) => elements.push((0, 0)),
            (Note::Children, Some(last)) => last.0 = *value,
            (Note::Name, Some(last)) => last.1 = value.unsigned_abs(),
            _ => {}
        }
    }
    // What the element lies in: how many of each are still to come, and the bytes of its path.
    let (mut inside, mut paths): (Vec<(i64, u64)>, u64) = (Vec::new(), 0);
    for (at, (children, name)) in elements.iter().enumerate() {
        while inside.pop_if(|(left, _)| *left == 0).is_some() {}
        let path = inside.last().map_or(0, |(_, path)| *path).saturating_add(PART).saturating_add(*name);
        if let Some((left, _)) = inside.last_mut() {
            *left -= 1;
        }
        let follow = elements.len() - 1 - at;
        if *children > follow as i64 {
            return Err(format!("says that {children} columns lie in one of which {follow} follow"));
        }
        if *children <= 0 {
            paths = paths.saturating_add(path);
        } else if inside.len() < DEPTH {
            inside.push((*children, path));
        } else {
            return Err(format!("has columns that lie more than {DEPTH} deep in each other"));
        }
    }
    let most = unpacked(footer.bytes.len() as u64);
    if paths > most { Err(format!("has columns whose names take more than {most} bytes")) } else { Ok(()) }
}

/// Holds rows and columns against the bytes of a file, of which `others` says how many columns are read beside the image.
pub(super) fn rows(metadata: &ParquetMetaData, others: usize, bytes: u64, file: &str) -> Result<(), DataError> {
    let refused = |reason: String, hint: &str| DataError::Refused { place: file.to_owned(), reason, hint: hint.to_owned() };
    if others > MAX_COLUMNS {
        let reason = format!("it has {others} columns beside the image; at most {MAX_COLUMNS} are read");
        return Err(refused(
            reason,
            "leave out the columns that are no attributes: pq.write_table(pq.read_table(FILE, columns=[...]), FILE)",
        ));
    }
    // The crate reads as many rows of each group as it says.
    let said = metadata.file_metadata().num_rows();
    let hold = metadata.row_groups().iter().map(|group| i128::from(group.num_rows().max(0))).sum::<i128>();
    if i128::from(said) != hold {
        return Err(DataError::Parquet { file: file.to_owned(), reason: format!("it says {said} rows and holds {hold}") });
    }
    let most = most_images(bytes, others);
    if said.unsigned_abs() > most {
        let columns = diag::count(others, "further column");
        let reason = format!("it says {said} rows, each an image with {columns}, and has only {bytes} bytes: so many hold {most} at most");
        return Err(refused(reason, "leave out rows without an image, and columns that are no attributes"));
    }
    Ok(())
}

/// Every column that is read lies in the file, and no other lies there too: else the same bytes would be read again and again.
pub(super) fn places(metadata: &ParquetMetaData, fields: &[TypePtr], bytes: u64, file: &str) -> Result<(), DataError> {
    let broken = |reason| DataError::Parquet { file: file.to_owned(), reason };
    let mut places = Vec::new();
    for chunk in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let path = chunk.column_path();
        if !fields.iter().any(|field| path.parts().first().is_some_and(|root| root == field.name())) {
            continue;
        }
        let (start, length) = chunk.byte_range();
        let end = start.saturating_add(length);
        if end > bytes {
            return Err(broken(format!("it says that its column `{}` ends at byte {end}, and it has {bytes}", path.string())));
        }
        if length > 0 {
            places.push((start, end, path));
        }
    }
    places.sort_unstable_by_key(|(start, end, _)| (*start, *end));
    let pairs = places.iter().zip(places.iter().skip(1));
    match pairs.into_iter().find(|((_, end, _), (start, ..))| start < end) {
        Some(((.., one), (start, _, other))) => {
            Err(broken(format!("it says that `{}` and `{}` both have the byte {start}", one.string(), other.string())))
        }
        None => Ok(()),
    }
}

/// How many bytes what a file has may still unpack to.
#[derive(Debug)]
pub(super) struct Room {
    file: u64,
    most: u64,
    left: AtomicU64,
    refused: OnceLock<String>,
}

impl Room {
    /// Of a file of so many bytes.
    pub(super) fn new(file: u64) -> Self {
        let most = unpacked(file);
        Self { file, most, left: AtomicU64::new(most), refused: OnceLock::new() }
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes so many.
    ///
    /// # Errors
    ///
    /// They are not there; says so in a sentence.
    pub(super) fn take(&self, bytes: u64) -> Result<(), String> {
        self.has(bytes)?;
        self.left.fetch_sub(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Whether so many are left; an error as that of [`Room::take`].
    pub(super) fn has(&self, bytes: u64) -> Result<(), String> {
        if bytes <= self.left() {
            return Ok(());
        }
        let reason = || format!("its columns unpack to more than {} bytes, the most that are read of a file of {}", self.most, self.file);
        Err(self.refused.get_or_init(reason).clone())
    }

    /// Why the file is refused, where there was no room for all that it holds.
    pub(super) fn refusal(&self, file: &str) -> Option<DataError> {
        Some(DataError::Refused {
            place: file.to_owned(),
            reason: self.refused.get()?.clone(),
            hint: "write the file anew without columns of long texts that repeat, or with less compression: pq.write_table(pq.read_table(FILE), FILE)"
                .to_owned(),
        })
    }
}
