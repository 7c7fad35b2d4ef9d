//! Classes by columns of every kind of data.

use std::path::Path;

use super::*;
use crate::data::tests::target;
use crate::data::{DataSpec, Index, Target, index};
use crate::diag::Explain as _;

/// The task on stand-in `fairface` or another list, with this label.
fn faces(label: &str) -> Result<Index, DataError> {
    let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/layouts/sets");
    let label = Some(serde_json::from_str(label).unwrap());
    index(&Target { label, ..target(DataSpec::Csv("fairface/fairface_label_{split}.csv".into())) }, &sets, 0)
}

const YOUNG: &str = r#""0-2": "young", "3-9": "young", "10-19": "young", "20-29": "young""#;

#[test]
fn values_that_the_map_lacks_are_named_with_their_counts() {
    let error = faces(&format!(r#"{{"column": "age", "map": {{{YOUNG}, "30-39": "old"}}}}"#)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "data fairface/fairface_label_{split}.csv: `label.map` has no class for the `age` of 22 of 52 images: `40-49` (6), `50-59` (6), \
         `60-69` (5), `more than 70` (5)"
    );
    assert_eq!(error.hint(), Some("add these values to `map`, or leave such images out: `others: drop`"));
}

#[test]
fn others_are_left_out_where_that_is_said() {
    let index = faces(&format!(r#"{{"column": "age", "map": {{{YOUNG}, "30-39": "old"}}, "others": "drop"}}"#)).unwrap();
    let facts = index.facts();
    assert_eq!((facts.classes, facts.train.len(), facts.test.len()), (&["old".to_owned(), "young".to_owned()][..], 20, 10));
    assert!(facts.train.iter().all(|record| (record.value("age") == Some("30-39")) == (record.label == 0)));
    assert!(
        facts.warnings.iter().any(|warning| warning.starts_with("`others: drop` of `label`: 22 of 52 images are left out: `40-49` (6),"))
    );
}

#[test]
fn without_a_map_every_value_is_a_class() {
    let index = faces(r#"{"column": "gender"}"#).unwrap();
    assert_eq!(index.facts().classes, ["Female", "Male"]);
    let error = faces(r#"{"column": "gendr"}"#).unwrap_err().to_string();
    assert!(error.contains("no column is called `gendr` (did you mean `gender`?); there are: age, gender, race, service_test"), "{error}");
    let error = faces(r#"{"column": "label"}"#).unwrap_err().to_string();
    assert!(error.contains("no column is called `label`"), "{error}");
}

#[test]
fn a_value_of_the_map_that_no_image_has_is_told() {
    let index = faces(r#"{"column": "gender", "map": {"Male": "m", "Female": "f", "female": "f"}}"#).unwrap();
    let warnings = index.facts().warnings;
    assert!(
        warnings.contains(&"no image has `female` in `gender`, which is in `label.map`; there are: `Male` (27), `Female` (25)".to_owned()),
        "{warnings:?}"
    );
    // A class that none is of is missed as any other is.
    let error = faces(r#"{"column": "gender", "map": {"Male": "m", "Female": "f", "male": "g"}}"#).unwrap_err().to_string();
    assert!(error.contains("1 class has no images (g)"), "{error}");
}

#[test]
fn images_without_a_value_are_no_class() {
    let open = |label: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("a.csv"),
            "file,split,age\n1.jpg,train,x\n2.jpg,train,y\n3.jpg,test,x\n4.jpg,test,y\n5.jpg,test,NA\n",
        )
        .unwrap();
        (1..=5).for_each(|i| std::fs::write(folder.path().join(format!("{i}.jpg")), "").unwrap());
        index(&Target { label: Some(serde_json::from_str(label).unwrap()), ..target(DataSpec::Csv("a.csv".into())) }, folder.path(), 0)
    };
    let error = open(r#"{"column": "age"}"#).unwrap_err();
    assert_eq!(error.to_string(), "data a.csv: `age` has no value, and so gives no class, for 1 of 5 images: no value (1)");
    assert_eq!(error.hint(), Some("fill in the values, or leave such images out: `others: drop`"));
    assert_eq!(open(r#"{"column": "age", "others": "drop"}"#).unwrap().facts().test.len(), 2);
}

#[test]
fn the_classes_of_the_data_may_be_joined() {
    let join = r#"{"column": "label", "map": {"Animals": "alive", "Food": "thing", "Travel": "thing"}}"#;
    let embedded = target(DataSpec::Embedded("emoji".into()));
    let index = index(&Target { label: Some(serde_json::from_str(join).unwrap()), ..embedded }, Path::new(""), 0).unwrap();
    let facts = index.facts();
    assert_eq!(facts.classes, ["alive", "thing"]);
    let alive = facts.train.iter().filter(|record| record.label == 0).count();
    assert_eq!((facts.train.len(), alive), (458, 144));
}

#[test]
fn a_column_of_parquet_files_and_of_attributes_is_a_class() {
    // The fixture has a label too, which does not count then.
    let embedded = || target(DataSpec::Embedded("emoji".into()));
    let by_vendor = Target { label: Some(serde_json::from_str(r#"{"column": "vendor"}"#).unwrap()), ..embedded() };
    assert_eq!(index(&by_vendor, Path::new(""), 0).unwrap().facts().classes.len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<String> = index(&embedded(), Path::new(""), 0)
        .map(|index| {
            let facts = index.facts();
            facts.train.iter().chain(facts.test).map(|record| record.id.to_string()).collect()
        })
        .unwrap();
    let lines: Vec<String> = ids.iter().enumerate().map(|(i, id)| format!("{id},{}", ["odd", "even"][i % 2])).collect();
    std::fs::write(folder.path().join("a.csv"), format!("id,parity\n{}\n", lines.join("\n"))).unwrap();
    let label = Some(serde_json::from_str(r#"{"column": "parity"}"#).unwrap());
    let joined = Target { label, attributes: Some("a.csv".into()), ..embedded() };
    assert_eq!(index(&joined, folder.path(), 0).unwrap().facts().classes, ["even", "odd"]);
}
