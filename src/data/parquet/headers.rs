//! A file as the parquet crate reads it page by page: the header of each page walked, and what it is packed to held against the room that is left.
//!
//! The crate reserves memory for as many bytes as a header says that a page unpacks to. Of gzip and of one way of LZ4 it takes as many as come.

use std::io::{Cursor, Error, ErrorKind, Read, copy, sink};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::bounds::Room;
use super::format;
use super::thrift::{Note, Walked, walk};

/// The longest header of a page, in bytes: as long as Arrow's readers allow. Statistics, that is, whole values, may be in it.
const LONGEST_HEADER: usize = 16 << 20;

/// What frames of LZ4 begin with, of which two kinds are there. Only old versions of the crate itself wrote pages so.
const LZ4_FRAMES: [[u8; 4]; 2] = [[0x04, 0x22, 0x4d, 0x18], [0x02, 0x21, 0x4c, 0x18]];

/// A file whose readers give the header of a page, walked, and no more. The crate reads pages themselves as bytes.
pub(super) struct Headers<R> {
    file: Arc<R>,
    room: Arc<Room>,
    packed: Compression,
    /// Bytes in front of the page whose header was read last that are not packed.
    levels: Arc<AtomicUsize>,
}

impl<R> Headers<R> {
    pub(super) fn new(file: Arc<R>, room: Arc<Room>, packed: Compression) -> Self {
        Self { file, room, packed, levels: Arc::default() }
    }
}

impl<R: Length> Length for Headers<R> {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl<R: ChunkReader> ChunkReader for Headers<R> {
    type T = Header<R::T>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let input = Some(self.file.get_read(start)?);
        Ok(Header { input, walked: Cursor::default(), room: Arc::clone(&self.room), levels: Arc::clone(&self.levels) })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.file.get_bytes(start, length)?;
        let packed = bytes.get(self.levels.load(Ordering::Relaxed)..).unwrap_or_default();
        match self.packed {
            Compression::GZIP(_) => {
                let mut unpacked = MultiGzDecoder::new(packed).take(self.room.left().saturating_add(1));
                // Where it cannot be unpacked, the crate says so.
                if let Ok(count) = copy(&mut unpacked, &mut sink()) {
                    self.room.has(count).map_err(ParquetError::General)?;
                }
            }
            Compression::LZ4 if packed.first_chunk().is_some_and(|first| LZ4_FRAMES.contains(first)) => {
                return Err(ParquetError::General("a page is packed in frames of LZ4, which are not read".to_owned()));
            }
            _ => {}
        }
        Ok(bytes)
    }
}

pub(super) struct Header<T> {
    /// None once it is walked: only what is read is a header, and the crate opens more than it reads.
    input: Option<T>,
    walked: Cursor<Vec<u8>>,
    room: Arc<Room>,
    levels: Arc<AtomicUsize>,
}

impl<T: Read> Read for Header<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Some(input) = self.input.take() {
            let of_page = |error: Error| Error::new(error.kind(), format!("the header of a page {error}"));
            let header = walk(input, format::PAGE_HEADER, LONGEST_HEADER).map_err(of_page)?;
            let (unpacked, levels) = sizes(&header).map_err(of_page)?;
            self.room.has(unpacked).map_err(Error::other)?;
            self.levels.store(levels, Ordering::Relaxed);
            self.walked = Cursor::new(header.bytes);
        }
        self.walked.read(buffer)
    }
}

/// The bytes that a page unpacks to, and those in front of it that are not packed. What is negative the crate refuses.
fn sizes(header: &Walked) -> std::io::Result<(u64, usize)> {
    let (unpacked, levels) = (header.noted(Note::Unpacked), header.noted(Note::Levels));
    // Which of them the crate takes is not known.
    if unpacked.clone().count() > 1 || levels.clone().count() > 2 {
        return Err(Error::new(ErrorKind::InvalidData, "says twice how many bytes the page has"));
    }
    let levels = levels.map(|length| usize::try_from(length).unwrap_or_default()).fold(0, usize::saturating_add);
    Ok((unpacked.map(|size| u64::try_from(size).unwrap_or_default()).sum(), levels))
}
