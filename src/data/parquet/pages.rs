//! What the parquet crate decodes, checked before it does.
//!
//! A footer or the header of a page may keep the crate busy for minutes (see `thrift`), so both are walked first. And the crate reserves memory for
//! as many values as a page announces, and aborts where there is not so much. So what a page announces is held against the bytes that it has, and
//! all pages against the bytes of the file (`bounds`).

use std::sync::Arc;

use parquet::basic::{Encoding, Type as Physical};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, RowGroupReader, SerializedPageReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, Type};

use super::bounds::{self, Room};
use super::format;
use super::headers::Headers;
use super::thrift::walk;

/// The number of bytes of a footer, and what the file is.
const TAIL: usize = 8;

/// Bytes that a value of a dictionary takes at most, beside those that the page has: where each begins and ends.
const ENTRY: u64 = 32;

/// What is wrong, without the name of the crate's kind of error.
pub(super) fn plain(error: ParquetError) -> String {
    match error {
        ParquetError::General(why) | ParquetError::EOF(why) | ParquetError::NYI(why) => why,
        ParquetError::External(inner) => inner.to_string(),
        other => other.to_string(),
    }
}

/// The footer of a file.
pub(super) fn footer(file: &impl ChunkReader) -> Result<ParquetMetaData> {
    let refused = |why: String| Err(ParquetError::General(why));
    let Some(end) = file.len().checked_sub(TAIL as u64) else {
        return refused(format!("it has {} bytes, which is too few for a footer", file.len()));
    };
    let tail = FooterTail::try_from(&file.get_bytes(end, TAIL)?[..])?;
    if tail.is_encrypted_footer() {
        return refused("it is encrypted, and encrypted files are not read".to_owned());
    }
    let length = tail.metadata_length();
    let Some(start) = end.checked_sub(length as u64) else {
        return refused(format!("it says that its footer has {length} bytes, and {end} bytes are before its last {TAIL}"));
    };
    let wrong = |why: String| ParquetError::General(format!("its footer {why}"));
    let walked = walk(&file.get_bytes(start, length)?[..], format::FOOTER, length).map_err(|error| wrong(error.to_string()))?;
    bounds::schema(&walked).map_err(wrong)?;
    ParquetMetaDataReader::decode_metadata(&walked.bytes)
}

/// A row group of a file, whose pages are checked.
pub(super) struct Checked<'a, R> {
    pub file: Arc<R>,
    pub metadata: &'a RowGroupMetaData,
    pub room: &'a Arc<Room>,
}

impl<R: ChunkReader + 'static> RowGroupReader for Checked<'_, R> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        let chunk = self.metadata.column(i);
        let headers = Arc::new(Headers::new(Arc::clone(&self.file), Arc::clone(self.room), chunk.compression()));
        let rows = usize::try_from(self.metadata.num_rows())?;
        let pages = SerializedPageReader::new(headers, chunk, rows, None)?;
        Ok(Box::new(Pages { inner: pages, column: chunk.column_descr_ptr(), rows: rows as u64, room: Arc::clone(self.room) }))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

struct Pages<P> {
    inner: P,
    column: ColumnDescPtr,
    /// Of the row group.
    rows: u64,
    room: Arc<Room>,
}

impl<P> Pages<P> {
    fn named<T>(&self, read: Result<T>) -> Result<T> {
        read.map_err(|error| ParquetError::General(format!("in its column `{}`, {}", self.column.path().string(), plain(error))))
    }
}

impl<P: PageReader> PageReader for Pages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page().and_then(|page| {
            if let Some(page) = &page {
                check(page, &self.column, self.rows)?;
                let entries = if page.is_dictionary_page() { u64::from(page.num_values()) } else { 0 };
                self.room.take(page.buffer().len() as u64 + ENTRY * entries).map_err(ParquetError::General)?;
            }
            Ok(page)
        });
        self.named(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let page = self.inner.peek_next_page();
        self.named(page)
    }

    fn skip_next_page(&mut self) -> Result<()> {
        let skipped = self.inner.skip_next_page();
        self.named(skipped)
    }
}

impl<P: PageReader> Iterator for Pages<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

fn check(page: &Page, column: &ColumnDescriptor, rows: u64) -> Result<()> {
    // No column that is read has lists: a row has one value, known or not.
    if page.is_data_page() && u64::from(page.num_values()) > rows {
        let said = page.num_values();
        return Err(ParquetError::General(format!("a page announces {said} values and its row group has {rows} rows")));
    }
    let announced = match page {
        Page::DictionaryPage { buf, num_values, .. } => {
            let shortest = match column.physical_type() {
                Physical::INT64 | Physical::DOUBLE => 8,
                Physical::INT96 => 12,
                // The number of bytes of a text comes first.
                Physical::INT32 | Physical::FLOAT | Physical::BYTE_ARRAY => 4,
                Physical::FIXED_LEN_BYTE_ARRAY => usize::try_from(column.type_length()).unwrap_or(0).max(1),
                Physical::BOOLEAN => 1,
            };
            return at_most(u64::from(*num_values), (buf.len() / shortest) as u64);
        }
        Page::DataPage { buf, encoding, .. } if delta(*encoding)? => values_of(after_levels(buf, column)?),
        Page::DataPageV2 { buf, encoding, def_levels_byte_len, rep_levels_byte_len, .. } if delta(*encoding)? => {
            values_of(skip(buf, u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len))?)
        }
        Page::DataPage { .. } | Page::DataPageV2 { .. } => return Ok(()),
    };
    at_most(announced.ok_or_else(short)?, u64::from(page.num_values()))
}

fn at_most(announced: u64, most: u64) -> Result<()> {
    if announced <= most {
        return Ok(());
    }
    Err(ParquetError::General(format!("a page announces {announced} values and has room for {most}")))
}

fn short() -> ParquetError {
    ParquetError::EOF("a page is shorter than it says".to_owned())
}

/// Whether a page of that encoding says itself how many lengths it holds.
fn delta(encoding: Encoding) -> Result<bool> {
    match encoding {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => Ok(true),
        // A text may begin as the one before it does: n bytes make n^2, and the column was to be refused by its footer.
        Encoding::DELTA_BYTE_ARRAY => Err(ParquetError::General("a page has another encoding than its column's footer says".to_owned())),
        _ => Ok(false),
    }
}

/// The values of a version 1 page: what follows its repetition and definition levels, each of which is preceded by its length.
fn after_levels<'a>(mut page: &'a [u8], column: &ColumnDescriptor) -> Result<&'a [u8]> {
    for highest in [column.max_rep_level(), column.max_def_level()] {
        if highest > 0 {
            let (length, rest) = page.split_first_chunk().ok_or_else(short)?;
            page = skip(rest, u64::from(u32::from_le_bytes(*length)))?;
        }
    }
    Ok(page)
}

fn skip(bytes: &[u8], count: u64) -> Result<&[u8]> {
    usize::try_from(count).ok().and_then(|count| bytes.get(count..)).ok_or_else(short)
}

/// The third number of a block of delta-encoded whole numbers: how many there are (after the block's size and its number of parts).
fn values_of(mut block: &[u8]) -> Option<u64> {
    let mut number = || {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = block.split_first()?;
            block = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    number()?;
    number()?;
    number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_seven_bits_a_byte() {
        assert_eq!(values_of(&[0x80, 0x01, 4, 0xe5, 0x8e, 0x26, 0]), Some(624_485));
        assert_eq!(values_of(&[0x80, 0x01, 4]), None);
        assert_eq!(values_of(&[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Some(u64::MAX));
        assert_eq!(values_of(&[0xff; 30]), None);
    }

    #[test]
    fn a_page_cannot_hold_more_than_its_bytes_or_its_values() {
        assert!(at_most(3, 3).is_ok());
        let said = at_most(4, 3).unwrap_err().to_string();
        assert!(said.ends_with("a page announces 4 values and has room for 3"), "{said}");
        assert!(skip(&[0; 3], 4).is_err() && skip(&[0; 3], u64::MAX).is_err());
        assert_eq!(skip(&[0; 3], 3).unwrap(), &[0u8; 0]);
    }
}
