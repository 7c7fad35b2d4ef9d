//! Files as pyarrow and Hugging Face `datasets` write them (tests/golden/parquet/make.py).

use std::fs::File;
use std::path::PathBuf;

use super::*;
use crate::diag::Explain;
use crate::store::{MemoryBudget, SpillBuffer};

mod small;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parquet").join(name)
}

fn rows(name: &str) -> Result<Rows, DataError> {
    let budget = MemoryBudget::boundless();
    let spill = SpillBuffer::new(&budget);
    read_file(File::open(golden(name)).unwrap(), name, Want::Images(&spill))
}

#[test]
fn columns_of_every_type_are_attributes_as_python_writes_them() {
    let rows = rows("columns.parquet").unwrap();
    let expected: BTreeMap<String, Option<Vec<Option<String>>>> =
        serde_json::from_str(&std::fs::read_to_string(golden("columns.json")).unwrap()).unwrap();
    assert_eq!((rows.classes.clone(), expected.len()), (Some(vec!["cat".into(), "dog".into()]), 26));
    for (column, values) in &expected {
        let found: Vec<Option<String>> = rows.list.iter().map(|row| row.attributes.get(column).map(ToString::to_string)).collect();
        match values {
            // What is not known is an empty text.
            Some(values) => {
                let values: Vec<_> = values.iter().map(|value| Some(value.clone().unwrap_or_default())).collect();
                assert_eq!((found, rows.unusable.get(column)), (values, None), "{column}");
            }
            None => assert!(found.iter().all(Option::is_none) && rows.unusable.contains_key(column), "{column}"),
        }
    }
    let why = |column: &str| rows.unusable[column].as_str();
    assert_eq!(why("list"), "holds lists; an attribute is one value for each image");
    assert_eq!(why("struct"), "holds structs; an attribute is one value for each image");
    assert_eq!(why("map"), "holds maps; an attribute is one value for each image");
    assert_eq!(why("bytes"), "holds bytes that are no text");
    assert_eq!(why("too_few_names"), "holds the number 2 and names 2 classes");
    assert_eq!(rows.unusable.len(), 5);
}

#[test]
fn a_column_that_can_be_no_attribute_is_refused_by_name() {
    let target = |cluster: &str| crate::data::Target {
        data: DataSpec::Parquet(golden("columns.parquet")),
        label: None,
        classes: None,
        train: crate::data::ViewSpec::default(),
        test: crate::data::ViewSpec::default(),
        test_share: Some(0.5),
        train_per_class: None,
        cluster: Some(cluster.to_owned()),
        attributes: None,
        broken: 0.0,
        overlap: 1.0,
        accuracy: crate::data::Counted::Global,
        orientation: None,
    };
    let open = |cluster: &str| crate::data::open(&target(cluster), Path::new(""), 0);
    let refused = |cluster: &str| open(cluster).unwrap_err().to_string();
    assert!(refused("list").ends_with("columns.parquet: the column `list` holds lists; an attribute is one value for each image"));
    assert!(refused("bytes").ends_with("the column `bytes` holds bytes that are no text"));
    assert!(refused("lists").contains("no column is called `lists`"));
    let data = open("sex").unwrap();
    assert!(data.facts().has_attribute("date").is_ok());
    assert!(data.facts().has_attribute("struct").unwrap_err().to_string().contains("the column `struct` holds structs"));
}

#[test]
fn labels_may_be_fractions_and_bytes_that_mean_whole_numbers_and_names() {
    let labels = |name: &str| -> Vec<String> { rows(name).unwrap().list.iter().map(|row| row.label.to_string()).collect() };
    assert_eq!(labels("labels-float.parquet"), ["0", "1"]);
    assert_eq!(labels("labels-double.parquet"), ["1", "0"]);
    assert_eq!(labels("labels-decimal.parquet"), ["1", "0"]);
    assert_eq!(labels("labels-binary.parquet"), ["`dog`", "`cat`"]);
    assert_eq!(labels("labels-bool.parquet"), ["`true`", "`false`"]);
    let refused = |name: &str| rows(name).unwrap_err().to_string();
    assert_eq!(refused("labels-half.parquet"), "labels-half.parquet:0: its label 0.5 is neither a whole number nor a name");
    assert_eq!(
        refused("labels-bytes.parquet"),
        "labels-bytes.parquet:1: its label of bytes that are no text is neither a whole number nor a name"
    );
    assert_eq!(
        refused("labels-list.parquet"),
        "labels-list.parquet: its label column `label` holds lists; a label is one class for each image"
    );
}

#[test]
fn pages_are_unpacked_or_their_compression_is_named() {
    for codec in ["none", "snappy", "gzip", "zstd", "lz4"] {
        let rows = rows(&format!("{codec}-pages.parquet")).unwrap();
        assert!(rows.list.len() == 2 && rows.list[1].stored.read(Orientation::Upright).is_ok(), "{codec}");
    }
    let error = rows("brotli-pages.parquet").unwrap_err();
    assert!(error.to_string().ends_with("is compressed with Brotli, which is not read"), "{error}");
    assert!(error.hint().unwrap().contains("compression=\"zstd\""));
}

#[test]
fn pages_of_delta_encodings_are_read_where_their_size_is_bounded() {
    for name in ["delta-length-1.parquet", "delta-length-2.parquet"] {
        let rows = rows(name).unwrap();
        let notes: Vec<&str> = rows.list.iter().map(|row| &row.attributes["note"]).collect();
        assert_eq!(notes, ["one", "", "three", "three"], "{name}");
        assert!(rows.list[3].stored.read(Orientation::Upright).is_ok(), "{name}");
        // Block of 128, four parts, four values: then many more than the page has.
        let mut bytes = std::fs::read(golden(name)).unwrap();
        let at = bytes.windows(4).position(|window| window == [0x80, 1, 4, 4]).unwrap();
        bytes[at + 3] = 0x7f;
        let budget = MemoryBudget::boundless();
        let spill = SpillBuffer::new(&budget);
        let refused = read_file(bytes::Bytes::from(bytes), name, Want::Images(&spill)).unwrap_err().to_string();
        assert!(refused.ends_with("a page announces 127 values and has room for 4"), "{refused}");
    }
    let error = rows("delta-text.parquet").unwrap_err();
    assert!(error.to_string().ends_with("its column `image` has the encoding DELTA_BYTE_ARRAY, which is not read"), "{error}");
    assert!(error.hint().unwrap().contains("plain or dictionary pages"));
}

#[test]
fn footers_and_page_headers_of_every_kind_are_read() {
    for name in ["full-1.parquet", "full-2.parquet", "full-1-indexed.parquet", "full-2-indexed.parquet"] {
        let rows = rows(name).unwrap();
        let column = |name: &str| -> Vec<&str> { rows.list.iter().map(|row| &row.attributes[name]).collect() };
        assert_eq!(column("note"), ["a", "b", "", "d", "e", "f"], "{name}");
        assert_eq!(column("json"), ["{\"a\": 1}", "", "{}", "[]", "1", "2"], "{name}");
        assert_eq!(column("small"), ["0", "1", "2", "3", "4", "5"], "{name}");
        assert_eq!(column("moment")[5], "2020-01-01 05:00:00", "{name}");
        assert_eq!(rows.list.iter().map(|row| row.label.to_string()).collect::<String>(), "000111", "{name}");
        assert!(rows.list.iter().all(|row| row.stored.read(Orientation::Upright).is_ok()), "{name}");
    }
    // What is walked before it is decoded says the same as what is not.
    for entry in
        std::fs::read_dir(golden("")).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.extension().unwrap() == "parquet")
    {
        let file = File::open(&entry).unwrap();
        let whole = ::parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
        assert_eq!(pages::footer(&file).unwrap(), whole, "{}", entry.display());
    }
}

#[test]
fn every_logical_type_passes_the_walk() {
    use ::parquet::basic::{LogicalType, TimeUnit};
    let types = [
        (Physical::BYTE_ARRAY, vec![LogicalType::String, LogicalType::Enum, LogicalType::Json, LogicalType::Bson]),
        (Physical::BYTE_ARRAY, vec![LogicalType::geometry(Some("OGC:CRS84".to_owned())), LogicalType::geography(None, None)]),
        (Physical::INT32, vec![LogicalType::Date, LogicalType::integer(8, false), LogicalType::decimal(1, 5), LogicalType::Unknown]),
        (Physical::INT32, vec![LogicalType::time(true, TimeUnit::MILLIS)]),
        (Physical::INT64, vec![LogicalType::timestamp(false, TimeUnit::NANOS), LogicalType::timestamp(true, TimeUnit::MICROS)]),
        (Physical::FIXED_LEN_BYTE_ARRAY, vec![LogicalType::Uuid]),
    ];
    let columns = types.into_iter().flat_map(|(physical, logical)| logical.into_iter().map(move |logical| (physical, logical)));
    let fields = columns.map(|(physical, logical)| {
        let length = if physical == Physical::FIXED_LEN_BYTE_ARRAY { 16 } else { -1 };
        let name = format!("{logical:?}");
        let column = Type::primitive_type_builder(&name, physical).with_logical_type(Some(logical)).with_length(length).with_precision(5);
        Arc::new(column.with_scale(1).build().unwrap())
    });
    let schema = Arc::new(Type::group_type_builder("schema").with_fields(fields.collect()).build().unwrap());
    let mut bytes = Vec::new();
    ::parquet::file::writer::SerializedFileWriter::new(&mut bytes, Arc::clone(&schema), Arc::default()).unwrap().close().unwrap();
    assert_eq!(pages::footer(&bytes::Bytes::from(bytes)).unwrap().file_metadata().schema(), &*schema);
}

/// A list of two thousand million elements in a field that the format does not have, where `at` says: six bytes that the crate takes minutes for.
fn hostile(name: &str, element: u8, at: impl Fn(&::parquet::file::metadata::ParquetMetaData) -> Option<u64>) -> String {
    let mut bytes = std::fs::read(golden(name)).unwrap();
    let metadata = pages::footer(&File::open(golden(name)).unwrap()).unwrap();
    let footer = bytes.len() - 8 - u32::from_le_bytes(*bytes[..bytes.len() - 4].last_chunk().unwrap()) as usize;
    let at = at(&metadata).map_or(footer, |at| at as usize);
    bytes[at..at + 7].copy_from_slice(&[0xf9, 0xf0 | element, 0xff, 0xff, 0xff, 0xff, 7]);
    let (budget, bytes) = (MemoryBudget::boundless(), bytes::Bytes::from(bytes));
    read_file(bytes, "x.parquet", Want::Images(&SpillBuffer::new(&budget))).unwrap_err().to_string()
}

#[test]
fn a_list_that_takes_no_bytes_is_refused_before_it_is_skipped() {
    let truths = "announces a list of 2147483647 truth values, which the format does not have there";
    let start = "x.parquet: not a readable parquet file of images: ";
    for name in ["none-pages.parquet", "full-2-indexed.parquet"] {
        assert_eq!(hostile(name, 1, |_| None), format!("{start}its footer {truths}"));
        // The first page is of the dictionary where there is one.
        let first = |column: usize| {
            move |metadata: &::parquet::file::metadata::ParquetMetaData| Some(metadata.row_group(0).column(column).byte_range().0)
        };
        assert_eq!(hostile(name, 1, first(0)), format!("{start}in its column `image.bytes`, the header of a page {truths}"));
        let data = |metadata: &::parquet::file::metadata::ParquetMetaData| Some(metadata.row_group(0).column(2).data_page_offset() as u64);
        assert_eq!(hostile(name, 2, data), format!("{start}in its column `label`, the header of a page {truths}"));
        // Doubles behind the end of the file.
        assert_eq!(hostile(name, 7, data), format!("{start}in its column `label`, the header of a page ends before it is complete"));
    }
}

#[test]
fn files_that_are_no_parquet_files_are_refused_by_name() {
    let refused = |bytes: &[u8]| pages::plain(pages::footer(&bytes::Bytes::copy_from_slice(bytes)).unwrap_err());
    assert_eq!(refused(b"PAR1"), "it has 4 bytes, which is too few for a footer");
    assert_eq!(refused(b"PAR1\x01\0\0\0PAR2"), "Invalid Parquet file. Corrupt footer");
    assert_eq!(refused(b"PAR1\x01\0\0\0PARE"), "it is encrypted, and encrypted files are not read");
    assert_eq!(refused(b"PAR1\x05\0\0\0PAR1"), "it says that its footer has 5 bytes, and 4 bytes are before its last 8");
    assert_eq!(refused(b"PAR1\x15\x01\0\0\0PAR1"), "its footer needs more than the 1 bytes that it may have");
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let told = rows("two-labels.parquet").expect_err("refused").to_string();
    assert!(told.contains("two of its columns are called `label`"), "{told}");
}
