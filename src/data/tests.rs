//! Opening real fixtures and broken ones.

use std::path::{Path, PathBuf};

use super::*;

fn embedded(name: &str) -> Target {
    target(DataSpec::Embedded(name.to_owned()))
}

fn target(data: DataSpec) -> Target {
    Target {
        data,
        classes: None,
        train: ViewSpec::default(),
        test: ViewSpec::default(),
        test_share: None,
        cluster: None,
        attributes: None,
        broken: 0.0,
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data")
}

fn message<T>(result: Result<T, DataError>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_default()
}

fn counts(dataset: &Dataset) -> Vec<usize> {
    view::check_classes(dataset.records().iter().map(|r| r.label), Split::Train, dataset.classes()).unwrap()
}

#[test]
fn the_embedded_emoji_open_with_their_clusters_apart() {
    let data = open(&Target { cluster: Some("name".into()), ..embedded("emoji") }, Path::new(""), 1).unwrap();
    assert_eq!(data.classes, ["Animals", "Food", "Travel"]);
    assert_eq!((counts(&data.train), counts(&data.test)), (vec![144, 118, 196], vec![174, 144, 240]));
    assert_eq!((data.broken.len(), data.warnings.len()), (0, 0));
    let record = &data.test.records()[0];
    assert_eq!(
        (record.id.as_str(), record.cluster.as_str(), record.attributes["vendor"].as_str()),
        ("emoji-target-test.parquet:0", "1F988", "google")
    );
    let image = data.test.image(0).unwrap();
    assert_eq!((image.width, image.height, image.rgb.len(), &image.rgb[..3]), (32, 32, 3072, &[255, 255, 255][..]));
    // The digest is that of contents: it is the same on every machine and changes only with the files.
    assert_eq!(
        data.test.digest(),
        open(&Target { cluster: Some("name".into()), ..embedded("emoji") }, Path::new("/"), 9).unwrap().test.digest()
    );
    assert_ne!(data.test.digest(), open(&embedded("emoji"), Path::new(""), 1).unwrap().test.digest());
}

#[test]
fn the_summary_agrees_with_what_opens() {
    let target = Target {
        classes: Some(vec!["Boot".into(), "Bag".into()]),
        train: ViewSpec { limit: Some(25), balance: vec![] },
        test: ViewSpec { limit: Some(31), balance: vec!["label".into()] },
        ..embedded("canary")
    };
    let data = open(&target, Path::new(""), 4).unwrap();
    let summary = summary(&target, Path::new("")).unwrap();
    assert_eq!(summary.classes, ["Boot", "Bag"]);
    assert_eq!((&summary.train, &summary.test), (&counts(&data.train), &counts(&data.test)));
    assert_eq!((summary.train, summary.test), (vec![13, 12], vec![15, 15]));
}

#[test]
fn the_same_files_on_disk_hold_the_same_pictures() {
    let disk = target(DataSpec::Parquet("emoji-target-{split}.parquet".into()));
    let disk = open(&disk, &fixtures(), 0).unwrap();
    let inside = open(&embedded("emoji"), Path::new(""), 0).unwrap();
    assert_eq!(disk.test.digest(), inside.test.digest());
    let globbed = open_split(&DataSpec::Parquet("canary-*-train.parquet".into()), Split::Train, &fixtures());
    assert!(message(globbed).contains("name their classes differently"));
}
