//! Many rows of equally many bytes: in memory while there is room, else in a file that goes with the process.
//!
//! The file has no name (on Windows: it is deleted when it is closed), so that nothing is left of it however the process ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::diag::Explain;

/// Bytes that a worker writes to a file at once; a wider row is written alone.
const PIECE: usize = 1 << 18;

/// Memory that rows may take together, and the folder for those that find none left.
#[derive(Debug)]
pub struct MemoryBudget {
    left: AtomicU64,
    folder: PathBuf,
}

impl MemoryBudget {
    /// Room for `bytes` in memory; what does not fit goes into files in `folder`.
    pub fn new(bytes: u64, folder: PathBuf) -> Self {
        Self { left: AtomicU64::new(bytes), folder }
    }

    /// Room for anything in memory.
    pub fn boundless() -> Self {
        Self::new(u64::MAX, std::env::temp_dir())
    }

    /// Where what does not fit is kept.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives back what was taken.
    pub(crate) fn give(&self, bytes: u64) {
        // The room of `boundless` must not come round to nothing.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_add(bytes)));
    }

    /// Takes `bytes` away if they are left.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// Rows of `width` bytes each.
#[derive(Debug)]
pub struct Rows {
    width: usize,
    count: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    File { file: File, folder: PathBuf },
}

impl Rows {
    /// `count` rows of zeros.
    pub(crate) fn new(count: usize, width: usize, budget: &MemoryBudget) -> Result<Self, RowsError> {
        let bytes = count.saturating_mul(width);
        let place = if budget.take(bytes as u64) {
            Place::Memory(vec![0; bytes])
        } else {
            let folder = budget.folder.clone();
            let refused = |source| RowsError { folder: folder.clone(), bytes: bytes as u64, source };
            let file = tempfile::tempfile_in(&folder).map_err(refused)?;
            file.set_len(bytes as u64).map_err(refused)?;
            tracing::info!(bytes, folder = %folder.display(), "rows on disk");
            Place::File { file, folder }
        };
        Ok(Self { width, count, place })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Bytes of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Whether they are on disk.
    pub(crate) fn on_disk(&self) -> bool {
        matches!(self.place, Place::File { .. })
    }

    /// Fills every row, in parallel, and gives what `fill` gave for each, in order. `state` is made for each worker.
    pub(crate) fn fill<S, T: Send>(
        &mut self,
        state: impl Fn() -> S + Sync + Send,
        fill: impl Fn(&mut S, usize, &mut [u8]) -> T + Sync + Send,
    ) -> Result<Vec<T>, RowsError> {
        let (width, count) = (self.width.max(1), self.count);
        match &mut self.place {
            Place::Memory(bytes) => {
                let rows = bytes.par_chunks_mut(width).enumerate();
                Ok(rows.map_init(state, |state, (i, row)| fill(state, i, row)).collect())
            }
            Place::File { file, folder } => {
                let several = (PIECE / width).max(1);
                let piece = |(buffer, state): &mut (Vec<u8>, S), nth: usize| -> io::Result<Vec<T>> {
                    let start = nth * several;
                    buffer.clear();
                    buffer.resize(several.min(count - start) * width, 0);
                    let filled = buffer.chunks_exact_mut(width).enumerate().map(|(i, row)| fill(state, start + i, row)).collect();
                    write_all_at(file, buffer, (start * width) as u64)?;
                    Ok(filled)
                };
                let pieces = (0..count.div_ceil(several)).into_par_iter().map_init(|| (Vec::new(), state()), piece);
                let bytes = (count * width) as u64;
                let pieces: io::Result<Vec<Vec<T>>> = pieces.collect();
                Ok(pieces.map_err(|source| RowsError { folder: folder.clone(), bytes, source })?.into_iter().flatten().collect())
            }
        }
    }

    /// Writes whole rows from row `start` on; what goes beyond the last is left out.
    pub(crate) fn write(&mut self, start: usize, rows: &[u8]) -> Result<(), RowsError> {
        let from = start.min(self.count) * self.width;
        let rows = &rows[..rows.len().min(self.count * self.width - from)];
        let bytes = (self.count * self.width) as u64;
        match &mut self.place {
            Place::Memory(memory) => memory[from..from + rows.len()].copy_from_slice(rows),
            Place::File { file, folder } => {
                write_all_at(file, rows, from as u64).map_err(|source| RowsError { folder: folder.clone(), bytes, source })?;
            }
        }
        Ok(())
    }

    /// Row `i`, in place or read into `buffer`; an index beyond the last is an error.
    pub(crate) fn row<'a>(&'a self, i: usize, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], RowsError> {
        let bytes = (self.count * self.width) as u64;
        let refused = |folder: &PathBuf, source| RowsError { folder: folder.clone(), bytes, source };
        let beyond = || io::Error::new(io::ErrorKind::UnexpectedEof, format!("there is no row {i}"));
        match &self.place {
            Place::Memory(memory) => {
                let row = if i < self.count { memory.get(i * self.width..(i + 1) * self.width) } else { None };
                row.ok_or_else(|| refused(&PathBuf::new(), beyond()))
            }
            Place::File { folder, .. } if i >= self.count => Err(refused(folder, beyond())),
            Place::File { file, folder } => {
                buffer.resize(self.width, 0);
                read_exact_at(file, buffer, (i * self.width) as u64).map_err(|source| refused(folder, source))?;
                Ok(buffer)
            }
        }
    }
}

#[cfg(unix)]
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => (bytes, offset) = (&bytes[n..], offset + n as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        match file.seek_read(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => (bytes, offset) = (&mut bytes[n..], offset + n as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What does not fit into memory cannot be kept on disk.
#[derive(Debug, thiserror::Error)]
#[error("{} that do not fit into memory cannot be kept in {}: {source}", super::bytes(*bytes), folder.display())]
pub struct RowsError {
    /// The folder for temporary files.
    pub folder: PathBuf,
    /// Bytes of all rows together.
    pub bytes: u64,
    /// Why.
    pub source: io::Error,
}

impl Explain for RowsError {
    fn hint(&self) -> Option<&str> {
        Some("make room there, name a folder on another disk (--cache DIR, or TMPDIR), or allow more memory with --memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(budget: &MemoryBudget, count: usize, width: usize) -> (Rows, Vec<usize>) {
        let mut rows = Rows::new(count, width, budget).unwrap();
        let got = rows.fill(
            || 0,
            |_, i, row| {
                row.iter_mut().enumerate().for_each(|(k, byte)| *byte = (i * 31 + k) as u8);
                i
            },
        );
        (rows, got.unwrap())
    }

    #[test]
    fn memory_and_disk_hold_the_same() {
        let folder = tempfile::tempdir().unwrap();
        // The last: several pieces of a file.
        for (count, width) in [(0, 5), (7, 11), (10, PIECE / 3), (3, PIECE + 1)] {
            let (memory, one) = filled(&MemoryBudget::boundless(), count, width);
            let (disk, two) = filled(&MemoryBudget::new(0, folder.path().to_owned()), count, width);
            assert_eq!(one, two);
            assert_eq!(one.len(), count);
            assert!(!memory.on_disk() && disk.on_disk() == (count > 0));
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for i in 0..count {
                assert_eq!(memory.row(i, &mut a).unwrap(), disk.row(i, &mut b).unwrap(), "row {i} of {count}x{width}");
            }
            assert!(memory.row(count, &mut a).is_err() && disk.row(count, &mut b).is_err());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn room_is_given_first_come_first_served() {
        let budget = MemoryBudget::new(100, std::env::temp_dir());
        let on_disk = [60, 60, 40].map(|bytes| Rows::new(1, bytes, &budget).unwrap().on_disk());
        assert_eq!(on_disk, [false, true, false]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let error = Rows::new(1024, 1024, &MemoryBudget::new(0, "/no/such/folder".into())).unwrap_err();
        assert!(error.to_string().starts_with("1 MiB that do not fit into memory cannot be kept in /no/such/folder: "), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_said() {
        let file = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut rows = Rows { width: 8, count: 2, place: Place::File { file, folder: "/somewhere".into() } };
        let error = rows.fill(|| (), |(), _, _| ()).unwrap_err();
        assert!(error.to_string().contains("/somewhere: No space left on device"), "{error}");
    }
}
