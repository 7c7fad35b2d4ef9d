//! Files as pyarrow and Hugging Face `datasets` write them (tests/golden/parquet/make.py).

use std::fs::File;
use std::path::PathBuf;

use super::*;
use crate::diag::Explain;
use crate::store::{Heap, Room};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parquet").join(name)
}

fn rows(name: &str) -> Result<Rows, DataError> {
    let room = Room::boundless();
    let heap = Heap::new(&room);
    read_file(File::open(golden(name)).unwrap(), name, Want::Pictures(&heap))
}

#[test]
fn columns_of_every_type_are_attributes_as_python_writes_them() {
    let rows = rows("columns.parquet").unwrap();
    let expected: BTreeMap<String, Option<Vec<Option<String>>>> =
        serde_json::from_str(&std::fs::read_to_string(golden("columns.json")).unwrap()).unwrap();
    assert_eq!((rows.classes.clone(), expected.len()), (Some(vec!["cat".into(), "dog".into()]), 26));
    for (column, values) in &expected {
        let found: Vec<Option<String>> = rows.list.iter().map(|row| row.attributes.get(column).cloned()).collect();
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
        data: crate::data::DataSpec::Parquet(golden("columns.parquet")),
        classes: None,
        train: crate::data::ViewSpec::default(),
        test: crate::data::ViewSpec::default(),
        test_share: Some(0.5),
        cluster: Some(cluster.to_owned()),
        attributes: None,
        broken: 0.0,
        overlap: 1.0,
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
        assert!(rows.list.len() == 2 && rows.list[1].picture.read(crate::data::Orientation::Upright).is_ok(), "{codec}");
    }
    let error = rows("brotli-pages.parquet").unwrap_err();
    assert!(error.to_string().ends_with("is compressed with Brotli, which is not read"), "{error}");
    assert!(error.hint().unwrap().contains("compression=\"zstd\""));
}

#[test]
fn pages_of_delta_encodings_are_read_where_their_size_is_bounded() {
    for name in ["delta-length-1.parquet", "delta-length-2.parquet"] {
        let rows = rows(name).unwrap();
        let notes: Vec<&str> = rows.list.iter().map(|row| row.attributes["note"].as_str()).collect();
        assert_eq!(notes, ["one", "", "three", "three"], "{name}");
        assert!(rows.list[3].picture.read(crate::data::Orientation::Upright).is_ok(), "{name}");
        // Block of 128, four parts, four values: then many more than the page has.
        let mut bytes = std::fs::read(golden(name)).unwrap();
        let at = bytes.windows(4).position(|window| window == [0x80, 1, 4, 4]).unwrap();
        bytes[at + 3] = 0x7f;
        let room = Room::boundless();
        let heap = Heap::new(&room);
        let refused = read_file(bytes::Bytes::from(bytes), name, Want::Pictures(&heap)).unwrap_err().to_string();
        assert!(refused.ends_with("a page announces 127 values and has room for 4"), "{refused}");
    }
    let error = rows("delta-text.parquet").unwrap_err();
    assert!(error.to_string().ends_with("its column `image` has the encoding DELTA_BYTE_ARRAY, which is not read"), "{error}");
    assert!(error.hint().unwrap().contains("plain or dictionary pages"));
}
