//! CSV files, read line by line within bounds.

use std::collections::BTreeSet;
use std::io::{self, Read};

/// Most lines: what is known of so many images takes a few gigabytes of memory.
const MAX_LINES: u64 = 1 << 22;
/// Most bytes of a line: a quote that is never closed would take in the rest of a file.
const MAX_LINE: u64 = 1 << 20;
/// Most columns.
const MAX_COLUMNS: usize = 1 << 10;

/// A file of lines under names of columns.
pub(super) struct Table<R> {
    reader: ::csv::Reader<Bounded<R>>,
    /// The names of the columns, in order; none is there twice.
    pub(super) header: ::csv::StringRecord,
    lines: u64,
}

impl<R: Read> Table<R> {
    /// Reads the first line. Errors say what is wrong with the file, without its name.
    pub(super) fn new(contents: R) -> Result<Self, String> {
        let mut reader = ::csv::Reader::from_reader(Bounded { inner: contents, left: MAX_LINE });
        let header = reader.headers().map_err(|error| plain(&error))?.clone();
        if header.len() > MAX_COLUMNS {
            return Err(format!("it has {} columns; at most {MAX_COLUMNS} are read", header.len()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = header.iter().find(|column| !seen.insert(*column)) {
            return Err(format!("two of its columns are called `{twice}`"));
        }
        Ok(Self { reader, header, lines: 0 })
    }

    /// Reads the next line into `record`; false at the end.
    pub(super) fn next(&mut self, record: &mut ::csv::StringRecord) -> Result<bool, String> {
        self.reader.get_mut().left = MAX_LINE;
        if !self.reader.read_record(record).map_err(|error| plain(&error))? {
            return Ok(false);
        }
        self.lines += 1;
        if self.lines > MAX_LINES {
            return Err(format!("it has more than {MAX_LINES} lines, the most that are read"));
        }
        Ok(true)
    }
}

/// A mistake without the reader's own name for it.
fn plain(error: &::csv::Error) -> String {
    match error.kind() {
        ::csv::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// A file of which so many bytes may be read before more are asked for.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let reason = format!("a line has more than {MAX_LINE} bytes, the most that are read: is a quote never closed?");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left -= read as u64;
        Ok(read)
    }
}
