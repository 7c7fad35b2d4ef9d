//! Small files that would become large.

use std::io::Write as _;

use ::parquet::basic::{GzipLevel, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use ::parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use bytes::Bytes;

use super::*;

/// A file of one row group: an image of each row, or none of any, its class, and what a column `note` says.
fn file(rows: usize, image: Option<&[u8]>, note: Option<&str>, compression: Compression, dictionaries: bool) -> Vec<u8> {
    let note_column = if note.is_some() { "required binary note (utf8);" } else { "" };
    let schema = format!("message m {{ optional binary image; required int64 label; {note_column} }}");
    let properties = WriterProperties::builder().set_compression(compression).set_dictionary_enabled(dictionaries).build();
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = |values: &Column| {
        let mut next = group.next_column().unwrap().unwrap();
        match values {
            Column::Bytes(values, levels) => write::<ByteArrayType>(&mut next, values, levels.as_deref()),
            Column::Numbers(values) => write::<Int64Type>(&mut next, values, None),
        }
        next.close().unwrap();
    };
    let repeated = |bytes: &[u8]| vec![ByteArray::from(bytes.to_vec()); rows];
    column(&Column::Bytes(image.map(repeated).unwrap_or_default(), Some(vec![i16::from(image.is_some()); rows])));
    column(&Column::Numbers((0..rows as i64).map(|row| row % 2).collect()));
    if let Some(note) = note {
        column(&Column::Bytes(repeated(note.as_bytes()), None));
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

enum Column {
    Bytes(Vec<ByteArray>, Option<Vec<i16>>),
    Numbers(Vec<i64>),
}

fn write<T: DataType>(column: &mut ::parquet::file::writer::SerializedColumnWriter, values: &[T::T], levels: Option<&[i16]>) {
    column.typed::<T>().write_batch(values, levels, None).unwrap();
}

/// The same file with other row groups in its footer, which says as many rows as they do.
fn with_groups(bytes: &[u8], change: impl FnOnce(Vec<RowGroupMetaData>) -> Vec<RowGroupMetaData>) -> Vec<u8> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&Bytes::copy_from_slice(bytes)).unwrap();
    let footer = bytes.len() - 8 - u32::from_le_bytes(*bytes[..bytes.len() - 4].last_chunk().unwrap()) as usize;
    let of = metadata.file_metadata();
    let groups = change(metadata.row_groups().to_vec());
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    let changed = FileMetaData::new(of.version(), rows, None, None, of.schema_descr_ptr(), None);
    let mut out = bytes[..footer].to_vec();
    ParquetMetaDataWriter::new(&mut out, &ParquetMetaData::new(changed, groups)).finish().unwrap();
    out
}

/// The same file, of four rows in one group, whose footer says another number of rows: of field 3, before the list of groups in field 4.
fn with_rows(bytes: &[u8], rows: i8) -> Vec<u8> {
    let at = bytes.windows(4).rposition(|four| four == [0x16, 4 << 1, 0x19, 0x1c]).unwrap();
    let mut out = bytes.to_vec();
    out[at + 1] = ((rows << 1) ^ (rows >> 7)) as u8;
    out
}

fn read(bytes: Vec<u8>) -> Result<Rows, DataError> {
    let budget = MemoryBudget::boundless();
    read_file(Bytes::from(bytes), "x.parquet", Want::Images(&SpillBuffer::new(&budget)))
}

fn refused(bytes: Vec<u8>) -> String {
    read(bytes).unwrap_err().to_string()
}

const ZSTD: fn() -> Compression = || Compression::ZSTD(ZstdLevel::default());
const GZIP: fn() -> Compression = || Compression::GZIP(GzipLevel::default());

#[test]
fn more_rows_than_its_bytes_can_hold_are_refused_before_any_is_read() {
    let bytes = file(100_000, None, Some("x"), ZSTD(), true);
    let said = format!(
        "x.parquet: it says 100000 rows, each an image with 2 further columns, and has only {} bytes: so many hold {} at most",
        bytes.len(),
        (bytes.len() + 65536) * 4 / 34
    );
    let error = read(bytes).unwrap_err();
    assert_eq!(error.to_string(), said);
    assert_eq!(error.hint(), Some("leave out rows without an image, and columns that are no attributes"));
    // The same number of rows, each with an image.
    let rows = read(file(20_000, Some(&[7; 64]), None, Compression::UNCOMPRESSED, false)).unwrap();
    assert_eq!(rows.list.len(), 20_000);
}

#[test]
fn a_text_that_repeats_is_kept_once() {
    let text = "x".repeat(4000);
    let rows = read(file(5000, None, Some(&text), ZSTD(), true)).unwrap();
    let note = |row: &Row| row.attributes.get("note").unwrap().clone();
    assert_eq!((rows.list.len(), &*note(&rows.list[0])), (5000, text.as_str()));
    assert!(rows.list.iter().all(|row| Arc::ptr_eq(&note(row), &note(&rows.list[0]))));
}

#[test]
fn row_groups_hold_what_the_footer_says() {
    let bytes = file(4, Some(b"image"), None, ZSTD(), true);
    let start = "x.parquet: not a readable parquet file of images: ";
    assert_eq!(refused(with_rows(&bytes, 3)), format!("{start}it says 3 rows and holds 4"));
    assert_eq!(refused(with_rows(&bytes, -1)), format!("{start}it says -1 rows and holds 4"));
    // Fewer rows than the pages have: as many values would be read.
    let fewer = |groups: Vec<RowGroupMetaData>| vec![groups[0].clone().into_builder().set_num_rows(2).build().unwrap()];
    let said = refused(with_groups(&bytes, fewer));
    assert_eq!(said, format!("{start}in its column `label`, a page announces 4 values and its row group has 2 rows"));
    // The same bytes again.
    let twice = |groups: Vec<RowGroupMetaData>| [groups.clone(), groups].concat();
    assert_eq!(refused(with_groups(&bytes, twice)), format!("{start}it says that `image` and `image` both have the byte 4"));
    let longer = |groups: Vec<RowGroupMetaData>| {
        let columns = groups[0].columns().iter().map(|c| c.clone().into_builder().set_total_compressed_size(1 << 40).build().unwrap());
        vec![groups[0].clone().into_builder().set_column_metadata(columns.collect()).build().unwrap()]
    };
    let changed = with_groups(&bytes, longer);
    let said = format!("{start}it says that its column `image` ends at byte {}, and it has {}", (1_u64 << 40) + 4, changed.len());
    assert_eq!(refused(changed), said);
}

#[test]
fn what_unpacks_to_far_more_than_the_file_has_is_refused() {
    let text = "x".repeat(90 << 20);
    for compression in [ZSTD(), GZIP()] {
        let bytes = file(1, None, Some(&text), compression, false);
        let most = (64 << 20) + 100 * bytes.len();
        let length = bytes.len();
        let error = read(bytes).unwrap_err();
        let said = format!("x.parquet: its columns unpack to more than {most} bytes, the most that are read of a file of {length}");
        assert_eq!(error.to_string(), said, "{compression}");
        assert!(error.hint().unwrap().contains("without columns of long texts that repeat"));
    }
    // An image that a dictionary gives to every row.
    let image: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bytes = file(5000, Some(&image), None, Compression::UNCOMPRESSED, true);
    assert!(bytes.len() < 200_000, "{}", bytes.len());
    assert!(refused(bytes.clone()).contains("its columns unpack to more than"));
    assert_eq!(read_file(Bytes::from(bytes), "x.parquet", Want::Index).unwrap().list.len(), 5000);
}

#[test]
fn a_page_that_unpacks_to_more_than_its_header_says_is_not_unpacked() {
    use super::super::bounds::Room;
    use super::super::headers::Headers;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&vec![0; 66 << 20]).unwrap();
    let page = |bytes: Vec<u8>, compression| {
        Headers::new(Arc::new(Bytes::from(bytes.clone())), Arc::new(Room::new(0)), compression).get_bytes(0, bytes.len())
    };
    let said = |page: Result<Bytes, ParquetError>| pages::plain(page.unwrap_err());
    let bytes = packed.finish().unwrap();
    assert_eq!(said(page(bytes.clone(), GZIP())), "its columns unpack to more than 67108864 bytes, the most that are read of a file of 0");
    assert!(page(bytes, ZSTD()).is_ok());
    let frame = vec![0x04, 0x22, 0x4d, 0x18, 0, 0];
    assert_eq!(said(page(frame.clone(), Compression::LZ4)), "a page is packed in frames of LZ4, which are not read");
    assert!(page(frame, Compression::LZ4_RAW).is_ok());
}

#[test]
fn columns_that_lie_in_each_other_without_end_are_refused() {
    use super::super::bounds::schema;
    // A footer of these elements: the name and the number of columns that lie in it.
    let said = |elements: &[(&str, i64)]| {
        let mut footer = vec![0x29, 0xfc];
        let varint = |mut value: u64, out: &mut Vec<u8>| {
            while value > 0x7f {
                out.push(value as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        };
        varint(elements.len() as u64, &mut footer);
        for (name, children) in elements {
            footer.push(0x48);
            varint(name.len() as u64, &mut footer);
            footer.extend_from_slice(name.as_bytes());
            footer.push(0x15);
            varint((*children as u64) << 1, &mut footer);
            footer.push(0);
        }
        footer.push(0);
        schema(&thrift::walk(&footer[..], format::FOOTER, footer.len()).unwrap()).err().unwrap_or_default()
    };
    assert_eq!(said(&[("m", 2), ("a", 1), ("b", 0), ("c", 0)]), "");
    assert_eq!(said(&[("m", 3), ("a", 0), ("b", 0)]), "says that 3 columns lie in one of which 2 follow");
    assert_eq!(said(&[("m", 1), ("a", 2_000_000_000)]), "says that 2000000000 columns lie in one of which 0 follow");
    let chain = |length: usize| [vec![("a", 1); length], vec![("b", 0)]].concat();
    assert_eq!((said(&chain(32)), said(&chain(33))), (String::new(), "has columns that lie more than 32 deep in each other".to_owned()));
    let name = "n".repeat(1 << 20);
    let long: Vec<(&str, i64)> = [vec![("m", 1), (&name, 400)], vec![("b", 0); 400]].concat();
    assert!(said(&long).starts_with("has columns whose names take more than"), "{}", said(&long));
}
