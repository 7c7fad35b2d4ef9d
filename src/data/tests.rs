//! Opening real fixtures and broken ones.

use std::path::{Path, PathBuf};

use super::*;

mod images;

fn embedded(name: &str) -> Target {
    target(DataSpec::Embedded(name.to_owned()))
}

pub(super) fn target(data: DataSpec) -> Target {
    Target {
        data,
        label: None,
        classes: None,
        train: ViewSpec::default(),
        test: ViewSpec::default(),
        test_share: None,
        train_per_class: None,
        cluster: None,
        attributes: None,
        broken: 0.0,
        overlap: 0.0,
        accuracy: Counted::Global,
        orientation: None,
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
    assert_eq!((&*record.id, &*record.cluster, &record.attributes["vendor"]), ("emoji-target-test.parquet:0", "1F988", "google"));
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
fn the_index_agrees_with_what_opens() {
    let target = Target {
        classes: Some(vec!["Boot".into(), "Bag".into()]),
        train: ViewSpec { limit: Some(25), balance: vec![] },
        test: ViewSpec { limit: Some(31), balance: vec!["label".into()] },
        ..embedded("fashion")
    };
    let data = open(&target, Path::new(""), 4).unwrap();
    let index = index(&target, Path::new(""), 4).unwrap();
    let (facts, opened) = (index.facts(), data.facts());
    assert_eq!(facts.classes, ["Boot", "Bag"]);
    assert_eq!((facts.train, facts.test, facts.test_clusters), (opened.train, opened.test, opened.test_clusters));
    assert_eq!((counts(&data.train), counts(&data.test)), (vec![13, 12], vec![15, 15]));
}

#[test]
fn the_same_files_on_disk_hold_the_same_images() {
    let disk = target(DataSpec::Parquet("emoji-target-{split}.parquet".into()));
    let disk = open(&disk, &fixtures(), 0).unwrap();
    let inside = open(&embedded("emoji"), Path::new(""), 0).unwrap();
    assert_eq!(disk.test.digest(), inside.test.digest());
    let globbed = open(&target(DataSpec::Parquet("canary-*-{split}.parquet".into())), &fixtures(), 0);
    assert!(message(globbed).contains("name their classes differently"));
}

/// A parquet file of `image` (binary, may be null) and `label` (may be null), class names `a` and `b`.
fn parquet_file(path: &Path, rows: &[(Option<&[u8]>, Option<i64>)]) {
    parquet_file_of(path, rows, Some(r#"{"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}}"#));
}

/// The same with these features declared, or none.
fn parquet_file_of(path: &Path, rows: &[(Option<&[u8]>, Option<i64>)], features: Option<&str>) {
    use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use ::parquet::file::metadata::KeyValue;
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    let schema = parse_message_type("message schema { optional binary image; optional int64 label; }").unwrap();
    let pairs = features.map(|features| vec![KeyValue::new("huggingface".to_owned(), features.to_owned())]);
    let properties = WriterProperties::builder().set_key_value_metadata(pairs).build();
    let mut writer = SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema.into(), properties.into()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let levels = |there: Vec<bool>| there.into_iter().map(i16::from).collect::<Vec<_>>();
    let images: Vec<ByteArray> = rows.iter().filter_map(|r| r.0.map(|b| ByteArray::from(b.to_vec()))).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&images, Some(&levels(rows.iter().map(|r| r.0.is_some()).collect())), None).unwrap();
    column.close().unwrap();
    let labels: Vec<i64> = rows.iter().filter_map(|r| r.1).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&labels, Some(&levels(rows.iter().map(|r| r.1.is_some()).collect())), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

fn png(width: u32, height: u32, gray: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(width, height, image::Luma([gray])).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The message of opening a parquet file of these rows as both splits.
fn opened(rows: &[(Option<&[u8]>, Option<i64>)], broken: f64) -> Result<TargetData, DataError> {
    let folder = tempfile::tempdir().unwrap();
    for split in ["train", "test"] {
        parquet_file(&folder.path().join(format!("{split}.parquet")), rows);
    }
    open(&Target { broken, overlap: 1.0, ..target(DataSpec::Parquet("{split}.parquet".into())) }, folder.path(), 0)
}

#[test]
fn labels_out_of_range_negative_or_null_are_named() {
    let ok = png(2, 2, 9);
    let with = |label| message(opened(&[(Some(&ok), Some(0)), (Some(&ok), label)], 0.0));
    assert_eq!(with(Some(2)), "train.parquet:1: its label 2 is none of the 2 classes (labels count from 0)");
    assert_eq!(with(Some(-1)), "train.parquet:1: its label -1 is none of the 2 classes (labels count from 0)");
    assert_eq!(with(None), "train.parquet:1: its label is null");
    assert_eq!(with(Some(0)), "data {split}.parquet: train: 1 class has no images (b); list the classes to use under `classes`");
}

#[test]
fn a_label_that_no_class_can_have_is_named_where_no_classes_are() {
    let ok = png(2, 2, 9);
    for (label, said) in [(-1, "-1"), (65_536, "65536")] {
        let folder = tempfile::tempdir().unwrap();
        for split in ["train", "test"] {
            parquet_file_of(&folder.path().join(format!("{split}.parquet")), &[(Some(&ok), Some(0)), (Some(&ok), Some(label))], None);
        }
        let told = message(open(&target(DataSpec::Parquet("{split}.parquet".into())), folder.path(), 0));
        assert_eq!(told, format!("train.parquet:1: its label is {said}; labels are whole numbers from 0 to 65535"));
    }
}

#[test]
fn broken_images_are_named_and_only_put_up_with_where_allowed() {
    let ok = png(2, 2, 9);
    let cut = &ok[..ok.len() / 2];
    let rows = [(Some(&ok[..]), Some(0)), (Some(&ok[..]), Some(1)), (None, Some(1)), (Some(cut), Some(0)), (Some(&b""[..]), Some(0))];
    let error = message(opened(&rows, 0.2));
    assert!(
        error.starts_with("data {split}.parquet: 6 of 10 images do not decode") && error.contains("train.parquet:2: its bytes are null"),
        "{error}"
    );
    let data = opened(&rows, 0.6).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.broken.len()), (2, 2, 6));
    assert!(data.warnings[0].contains("6 of 10"), "{:?}", data.warnings);
}

#[test]
fn images_that_ask_for_too_much_are_refused_before_they_get_it() {
    let mut bomb = png(1, 1, 0);
    // The header's width and height, and no matching checksum: the size is judged first or the checksum is.
    bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    assert!(decode::decode(&bomb, Orientation::Upright).is_err());
    let mut crc = flate2::Crc::new();
    crc.update(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let error = decode::decode(&bomb, Orientation::Upright).unwrap_err().to_string();
    assert!(error.contains("65536x65536") || error.to_lowercase().contains("limit"), "{error}");
    assert_eq!(decode::decode(b"", Orientation::Upright).unwrap_err().to_string(), "it has no bytes");
    assert!(decode::decode(b"GIF89a", Orientation::Upright).is_err());
    let error = decode::decode(b"\0\0\0\x20ftypavif", Orientation::Upright).unwrap_err().to_string();
    assert_eq!(error, "it is not a JPEG, PNG, WebP, GIF, BMP, TIFF or PNM image");
}

#[test]
fn gray_and_transparent_images_become_rgb_on_white() {
    assert_eq!(decode::decode(&png(1, 1, 7), Orientation::Upright).unwrap().0.rgb, [7, 7, 7]);
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbaImage::from_pixel(1, 1, image::Rgba([100, 0, 255, 51])).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    assert_eq!(decode::decode(bytes.get_ref(), Orientation::Upright).unwrap().0.rgb, [224, 204, 255]);
}

#[test]
fn damaged_parquet_files_give_errors() {
    let whole = std::fs::read(fixtures().join("canary-target-train.parquet")).unwrap();
    let mut panics = 0;
    for k in 0..400 {
        let mut bytes = whole.clone();
        // Half of the damage hits the footer, where sizes and offsets are.
        let at = if k % 2 == 0 { bytes.len() - 1 - (k * 7) % 1500 } else { (k * 4099) % bytes.len() };
        bytes[at] ^= 1 << (k % 8);
        let read = std::panic::catch_unwind(|| {
            parquet::read_file(bytes::Bytes::from(bytes), "x.parquet", Want::Images(&SpillBuffer::new(&MemoryBudget::boundless())))
        });
        panics += usize::from(read.is_err());
    }
    assert_eq!(panics, 0);
    for length in [0, 3, 8, whole.len() / 2, whole.len() - 1] {
        let cut = bytes::Bytes::from(whole[..length].to_vec());
        assert!(message(parquet::read_file(cut, "x.parquet", Want::Index)).starts_with("x.parquet: not a readable parquet file"));
    }
}

#[test]
fn unknown_names_say_what_there_is() {
    let with = |classes: &[&str]| Target { classes: Some(classes.iter().map(|c| (*c).to_owned()).collect()), ..embedded("emoji") };
    let here = Path::new("");
    assert_eq!(
        message(open(&with(&["Animal", "Food"]), here, 0)),
        "data embedded `emoji`: no class is called `Animal` (did you mean `Animals`?); there are: Animals, Food, Travel"
    );
    assert_eq!(message(open(&with(&["Food", "Food"]), here, 0)), "data embedded `emoji`: the class `Food` is there twice");
    assert_eq!(message(open(&embedded("emojis"), here, 0)), "no embedded data set is called `emojis`; there are: emoji, fashion");
    let column = Target { cluster: Some("nam".into()), ..embedded("emoji") };
    assert!(message(open(&column, here, 0)).contains("did you mean `name`?); there are: name, vendor"));
    let balance = Target { train: ViewSpec { balance: vec!["vendr".into()], ..ViewSpec::default() }, ..embedded("emoji") };
    assert!(message(open(&balance, here, 0)).contains("no column is called `vendr` (did you mean `vendor`?)"));
    assert!(message(open(&with(&["Food"]), here, 0)).contains("there is one class, `Food`"));
    assert!(message(open(&Target { test_share: Some(0.5), ..embedded("emoji") }, here, 0)).ends_with(&DataError::SplitTwice.to_string()));
    assert!(message(open(&target(DataSpec::Parquet("none-{split}.parquet".into())), &fixtures(), 0)).contains("none-train.parquet"));
}

#[test]
fn balance_takes_equally_many_and_the_limit_holds() {
    let view = |limit| ViewSpec { limit, balance: vec!["label".into(), "vendor".into()] };
    let target = |limit| Target { train: view(limit), ..embedded("emoji") };
    let data = open(&target(None), Path::new(""), 3).unwrap();
    assert_eq!(counts(&data.train), [118, 118, 118]);
    let small = open(&target(Some(40)), Path::new(""), 3).unwrap();
    assert_eq!(counts(&small.train), [12, 12, 12]);
    assert_eq!(small.train.records().iter().filter(|r| &r.attributes["vendor"] == "google").count(), 18);
    assert_ne!(small.train.digest(), open(&target(Some(40)), Path::new(""), 4).unwrap().train.digest());
    assert!(message(open(&target(Some(5)), Path::new(""), 3)).contains("less than the 6 groups"));
    let part = small.train.subset(&[3, 0, 99]);
    assert_eq!((part.len(), &part.records()[0]), (2, &small.train.records()[3]));
    assert!(message(part.image(2)).contains("there is no image 2"));
}

#[test]
fn data_without_splits_is_split_by_cluster_in_every_class() {
    let whole =
        Target { cluster: Some("name".into()), test_share: Some(0.3), ..target(DataSpec::Parquet("emoji-target-*.parquet".into())) };
    let data = open(&whole, &fixtures(), 5).unwrap();
    assert!(data.warnings.is_empty(), "{:?}", data.warnings);
    // 159, 131 and 218 emoji by two vendors.
    assert_eq!((counts(&data.test), counts(&data.train)), (vec![2 * 48, 2 * 39, 2 * 65], vec![2 * 111, 2 * 92, 2 * 153]));
    let torn = Target { cluster: None, ..whole.clone() };
    assert_eq!(open(&torn, &fixtures(), 5).unwrap().test.len(), 95 + 79 + 131);
    // In place of a share: so many images of each class train, clusters still whole, and all others measure.
    let counted = Target { test_share: None, train_per_class: Some(21), ..whole.clone() };
    let data = open(&counted, &fixtures(), 5).unwrap();
    assert_eq!((counts(&data.train), counts(&data.test)), (vec![22; 3], vec![2 * 159 - 22, 2 * 131 - 22, 2 * 218 - 22]));
    let names = |data: &Dataset| data.records().iter().map(|record| record.cluster.clone()).collect::<BTreeSet<_>>();
    assert!(names(&data.train).is_disjoint(&names(&data.test)));
    let most = Target { train_per_class: Some(300), ..counted };
    assert!(message(open(&most, &fixtures(), 5)).contains("test: 1 class has no images"), "{}", message(open(&most, &fixtures(), 5)));
    assert!(message(open(&Target { test_share: None, ..whole }, &fixtures(), 5)).ends_with(&DataError::NoSplits.to_string()));
}

#[test]
fn a_cluster_in_both_splits_is_pointed_out() {
    let target = Target { cluster: Some("vendor".into()), ..embedded("emoji") };
    let data = open(&target, Path::new(""), 0).unwrap();
    assert_eq!(data.warnings, ["2 clusters have images in both train and test: google, twitter"]);
}

#[test]
fn attributes_are_joined_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("a.csv");
    let with = |text: &str| {
        std::fs::write(&csv, text).unwrap();
        open(&Target { attributes: Some("a.csv".into()), ..embedded("fashion") }, folder.path(), 0)
    };
    let data = with("id,tone\ncanary-target-train.parquet:0,dark\nnobody,light\n").unwrap();
    assert_eq!(&data.train.records()[0].attributes["tone"], "dark");
    assert!(data.warnings[0].starts_with("799 images have no line") && data.warnings[1].ends_with("a.csv belongs to no image: nobody"));
    assert!(message(with("id,tone\nx,1\nx,2\n")).contains("line 3: the id `x` is there twice"));
    assert!(message(with("name,tone\nx,1\n")).contains("it has no column `id`"));
    assert!(message(with("id,tone\nx,1\n")).contains("none of its ids is one of the data's"));
}

#[test]
fn what_stands_for_a_missing_value_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<String> = (0..12).map(|i| format!("canary-target-test.parquet:{i}")).collect();
    let values = ["", "NaN", "nan", "None", "NA", "N/A", "n/a", "null", " ", "<NA>", "none", "f"];
    let lines: Vec<String> = ids.iter().zip(values).map(|(id, value)| format!("{id},{value}")).collect();
    std::fs::write(folder.path().join("a.csv"), format!("id,sex\n{}\n", lines.join("\n"))).unwrap();
    let target = Target { attributes: Some("a.csv".into()), ..embedded("fashion") };
    let data = open(&target, folder.path(), 0).unwrap();
    let known: Vec<Option<&str>> = data.test.records()[..12].iter().map(|record| record.value("sex")).collect();
    // `none` may be a value, as of a hat.
    assert_eq!(known, [vec![None; 10], vec![Some("none"), Some("f")]].concat());
    assert_eq!(index(&target, folder.path(), 0).unwrap().facts().test.iter().filter(|record| record.value("sex").is_none()).count(), 498);
    // As the name of a cluster it would tie strangers together.
    let clustered = open(&Target { cluster: Some("sex".into()), ..target.clone() }, folder.path(), 0).unwrap();
    assert_eq!(clustered.test.clusters(), (0..500).collect::<Vec<u32>>());
    // Nor is it a value to take equally many of.
    let balanced = Target { test: ViewSpec { limit: None, balance: vec!["sex".into()] }, ..target.clone() };
    let error = message(open(&balanced, folder.path(), 0));
    assert!(error.contains("classes have no images"), "{error}");
    let train = Target { train: ViewSpec { limit: None, balance: vec!["sex".into()] }, ..target };
    let error = message(open(&train, folder.path(), 0));
    assert!(error.contains("train: no image has a value in column `sex`"), "{error}");
}

#[test]
fn balance_and_rebalance_leave_out_what_is_not_known() {
    let record = |i: usize, value: &str| {
        let (id, attributes): (Arc<str>, _) = (i.to_string().into(), [("sex", value)].into_iter().collect());
        Record { cluster: id.clone(), id, label: i % 2, attributes }
    };
    let records: Vec<Record> = (0..60).map(|i| record(i, ["f", "m", ""][i / 2 % 3])).collect();
    let classes = ["a".to_owned(), "b".to_owned()];
    let spec = Rebalance { attribute: "sex".into(), correlation: None, aligned: None, limit: None };
    let kept = view::rebalanced(&records, &classes, &spec, 0).unwrap();
    assert_eq!(kept.len(), 40);
    assert!(kept.iter().all(|i| records[*i].value("sex").is_some()));
    let entries = || records.iter().map(|r| Entry { record: r.clone(), stored: source::Stored::Missing("not asked for") }).collect();
    let view = ViewSpec { limit: None, balance: vec!["label".into(), "sex".into()] };
    let mut warnings = Vec::new();
    let kept = view::apply(entries(), &view, Split::Train, &classes, 0, &mut warnings).unwrap();
    assert_eq!(kept.len(), 40);
    assert_eq!(warnings, ["`sex` is not known of 20 of 60 train images: `balance` leaves them out"]);
}

/// A folder of images by path, each of one grey.
fn greys(files: &[(&str, u8)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, grey) in files {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, png(2, 2, *grey)).unwrap();
    }
    folder
}

#[test]
fn copies_are_one_cluster_beside_those_that_are_named() {
    let folder = greys(&[
        ("train/cat/1.png", 1),
        ("train/dog/2.png", 2),
        ("test/cat/a.png", 10),
        ("test/cat/b.png", 10),
        ("test/cat/c.png", 11),
        ("test/dog/d.png", 12),
        ("test/dog/e.png", 11),
        ("test/dog/f.png", 13),
    ]);
    // A copy is one by what it shows, not by its bytes.
    let mut other = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(2, 2, image::Rgb([10; 3])).write_to(&mut other, image::ImageFormat::Png).unwrap();
    std::fs::write(folder.path().join("test/cat/b.png"), other.into_inner()).unwrap();
    let spec = target(DataSpec::Folder("{split}".into()));
    let data = open(&spec, folder.path(), 0).unwrap();
    assert_eq!(data.test.clusters(), [0, 0, 1, 2, 1, 3]);
    assert_eq!(data.warnings, ["2 of 6 test images are the same as another in every pixel: copies are one cluster"]);
    assert_eq!(data.test.subset(&[4, 2, 5]).clusters(), [0, 0, 1]);
    // b and d are of one writer: with the copies, a, b and d are one.
    std::fs::write(folder.path().join("w.csv"), "id,writer\ntest/cat/b.png,w\ntest/dog/d.png,w\n").unwrap();
    let clustered = Target { attributes: Some("w.csv".into()), cluster: Some("writer".into()), ..spec };
    assert_eq!(open(&clustered, folder.path(), 0).unwrap().test.clusters(), [0, 0, 1, 0, 1, 2]);
}

#[test]
fn test_images_that_train_are_an_error_unless_allowed() {
    let folder = greys(&[("train/cat/1.png", 1), ("train/dog/2.png", 2), ("test/cat/1.png", 1), ("test/dog/3.png", 3)]);
    let spec = target(DataSpec::Folder("{split}".into()));
    let error = message(open(&spec, folder.path(), 0));
    assert_eq!(
        error,
        "data {split}: 1 of 2 test images is a training image too, the same in every pixel, more than the share of 0 that `overlap` allows: \
         test/cat/1.png is train/cat/1.png"
    );
    let data = open(&Target { overlap: 0.5, ..spec.clone() }, folder.path(), 0).unwrap();
    assert_eq!(data.warnings, ["1 of 2 test images trains too, the same in every pixel: test/cat/1.png is train/cat/1.png"]);
    assert!(message(open(&Target { overlap: 0.4, ..spec }, folder.path(), 0)).contains("share of 0.4"));
}

#[test]
fn where_the_split_is_ours_what_measures_does_not_train() {
    let names: Vec<String> = (0..24).map(|i| format!("{}/{i}.png", ["cat", "dog"][i / 12])).collect();
    // Three of each: some copies fall on either side of any split.
    let files: Vec<(&str, u8)> = names.iter().enumerate().map(|(i, name)| (name.as_str(), (i / 3) as u8)).collect();
    let folder = greys(&files);
    let data = open(&Target { test_share: Some(0.25), ..target(DataSpec::Folder("".into())) }, folder.path(), 0).unwrap();
    let shown: BTreeSet<&Shown> = data.test.shown().iter().collect();
    assert!(data.train.shown().iter().all(|shows| !shown.contains(shows)));
    assert!(data.train.len() < 18 && data.warnings.iter().any(|w| w.contains("and are left out: ")), "{:?}", data.warnings);
}

#[test]
fn folders_are_read_and_links_out_of_them_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (file, gray) in [("train/cat/1.png", 1), ("train/dog/deep/2.PNG", 2), ("test/cat/3.png", 3), ("test/dog/4.png", 4)] {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, png(1, 1, gray)).unwrap();
    }
    std::fs::write(folder.path().join("train/cat/notes.txt"), "x").unwrap();
    let spec = target(DataSpec::Folder("{split}".into()));
    let data = open(&spec, folder.path(), 0).unwrap();
    assert_eq!((data.classes.join(","), &*data.train.records()[1].id), ("cat,dog".into(), "train/dog/deep/2.PNG"));
    assert_eq!(data.train.image(1).unwrap().rgb, [2, 2, 2]);
    let endings = "jpg, jpeg, png, ppm, bmp, pgm, tif, tiff, webp";
    assert_eq!(data.warnings, [format!("1 file does not end as images do ({endings}): train/cat/notes.txt")]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path().join("train"), folder.path().join("train/dog/loop")).unwrap();
        assert!(open(&spec, folder.path(), 0).is_ok());
        std::os::unix::fs::symlink("/etc", folder.path().join("train/dog/out")).unwrap();
        assert!(message(open(&spec, folder.path(), 0)).contains("links to a place outside"));
    }
    std::fs::create_dir(folder.path().join("train/eel")).unwrap();
    #[cfg(unix)]
    std::fs::remove_file(folder.path().join("train/dog/out")).unwrap();
    let error = message(open(&spec, folder.path(), 0));
    assert!(error.ends_with("train: 1 class has no images (eel); list the classes to use under `classes`"), "{error}");
    assert!(message(open(&target(DataSpec::Folder("nowhere/{split}".into())), folder.path(), 0)).contains("cannot read"));
}

#[test]
fn idx_files_are_read_and_their_headers_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, header: &[u8], values: &[u8]| std::fs::write(folder.path().join(name), [header, values].concat()).unwrap();
    for prefix in ["train", "t10k"] {
        write(&format!("{prefix}-images-idx3-ubyte"), &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2], &[1, 2, 3, 4]);
        write(&format!("{prefix}-labels-idx1-ubyte"), &[0, 0, 8, 1, 0, 0, 0, 2], &[0, 1]);
    }
    let spec = Target { overlap: 1.0, ..target(DataSpec::Idx("".into())) };
    let data = open(&spec, folder.path(), 0).unwrap();
    assert_eq!((data.classes.join(","), data.test.image(1).unwrap().rgb), ("0,1".into(), vec![3, 3, 3, 4, 4, 4]));
    assert_eq!(&*data.test.records()[0].id, "t10k-images-idx3-ubyte:0");
    let name = "train-images-idx3-ubyte";
    write(name, &[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255], &[1]);
    assert!(message(open(&spec, folder.path(), 0)).contains("its header says"));
    // Cut off inside its header, with a number of images of 0 in what is left.
    write(name, &[0, 0, 8, 3, 0, 0, 0], &[]);
    assert!(message(open(&spec, folder.path(), 0)).contains("it ends inside its header: 7 bytes"));
    write(name, &[0, 0, 13, 3], &[]);
    assert!(message(open(&spec, folder.path(), 0)).contains("it is no IDX file of bytes with 3 dimensions"));
    write(name, &[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2], &[1, 2]);
    assert!(message(open(&spec, folder.path(), 0)).contains("it has 1 image, the labels file has 2"));
}

#[test]
fn binary_cifar_files_are_read_plane_by_plane() {
    let folder = tempfile::tempdir().unwrap();
    let image = |label: u8| [vec![label], vec![10; 1024], vec![20; 1024], vec![30; 1024]].concat();
    let both = [image(1), image(0)].concat();
    std::fs::write(folder.path().join("data_batch_1.bin"), &both).unwrap();
    std::fs::write(folder.path().join("test_batch.bin"), &both).unwrap();
    std::fs::write(folder.path().join("batches.meta.txt"), "airplane\nautomobile\n\n").unwrap();
    let spec = Target { overlap: 1.0, ..target(DataSpec::CifarBinary("".into())) };
    let data = open(&spec, folder.path(), 0).unwrap();
    assert_eq!((data.train.records()[0].label, &*data.train.records()[1].id), (1, "data_batch_1.bin:1"));
    assert_eq!(
        (data.classes.join(","), &data.train.image(1).unwrap().rgb[..6]),
        ("airplane,automobile".into(), &[10, 20, 30, 10, 20, 30][..])
    );
    std::fs::write(folder.path().join("test_batch.bin"), &both[1..]).unwrap();
    assert!(message(open(&spec, folder.path(), 0)).contains("not a multiple of 3073"));
    std::fs::write(folder.path().join("test_batch.bin"), image(9)).unwrap();
    assert!(message(open(&spec, folder.path(), 0)).contains("test_batch.bin:0: its label 9 is none of the 2 classes"));
}

#[test]
fn the_whole_of_cifar_10_opens() {
    let Some(folder) = crate::lacks::shared("data/cifar10") else { return };
    let start = std::time::Instant::now();
    let data = open(&target(DataSpec::Parquet("{split}-*.parquet".into())), &folder, 0).unwrap();
    println!("CIFAR-10 opened in {:.2?}", start.elapsed());
    assert_eq!((data.train.len(), data.test.len(), data.classes[9].as_str()), (50_000, 10_000, "truck"));
}
