//! Images of a target task.

use std::io::{Cursor, Write};
use std::path::Path;

use super::{clean_model, fixture, folder, policy, refused};
use crate::run::{file, heirloom};

/// What `plan`, which opens the data as `certify` does, says to a policy with this target.
#[track_caller]
fn refuse(folder: &Path, target: &str, code: i32, said: &[&str]) -> String {
    let policy = policy(folder, target);
    refused(&heirloom(&["plan", &clean_model(), "--policy", &policy]), code, said)
}

fn png(width: u32, height: u32) -> Vec<u8> {
    grey(width, height, 9)
}

fn grey(width: u32, height: u32, level: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::GrayImage::from_pixel(width, height, image::Luma([level])).write_to(&mut bytes, image::ImageFormat::Png).expect("a PNG");
    bytes.into_inner()
}

/// `per_class` images of cats and of dogs for each split, no two the same.
fn images(folder: &Path, per_class: usize) {
    let mut level = 0;
    for split in ["train", "test"] {
        for class in ["cat", "dog"] {
            for i in 0..per_class {
                level += 1;
                file(folder, &format!("{split}/{class}/{i}.png"), &grey(2, 2, level));
            }
        }
    }
}

/// A parquet file of one column of images under this name and one of labels.
fn parquet(folder: &Path, name: &str, column: &str, label: i64) {
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;

    let schema = format!("message schema {{ required binary {column}; required int64 label; }}");
    let schema = parquet::schema::parser::parse_message_type(&schema).expect("a schema");
    let names = r#"{"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}}"#;
    let names = KeyValue::new("huggingface".to_owned(), names.to_owned());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![names])).build();
    let file = std::fs::File::create(folder.join(name)).expect("a file");
    let mut writer = SerializedFileWriter::new(file, schema.into(), properties.into()).expect("a writer");
    let mut group = writer.next_row_group().expect("a group");
    let images = [ByteArray::from(png(2, 2)), ByteArray::from(png(2, 2))];
    let mut next = group.next_column().expect("written").expect("images");
    next.typed::<ByteArrayType>().write_batch(&images, None, None).expect("written");
    next.close().expect("closed");
    let mut next = group.next_column().expect("written").expect("labels");
    next.typed::<Int64Type>().write_batch(&[0, label], None, None).expect("written");
    next.close().expect("closed");
    group.close().expect("closed");
    writer.close().expect("closed");
}

#[test]
fn a_parquet_file_that_is_cut_off() {
    let folder = folder();
    for split in ["train", "test"] {
        let bytes = std::fs::read(fixture(&format!("data/canary-target-{split}.parquet"))).expect("the fixture");
        file(folder.path(), &format!("{split}.parquet"), &bytes[..bytes.len() / 2]);
    }
    refuse(folder.path(), r#"{ data: { parquet: "{split}.parquet" } }"#, 2, &["train.parquet: not a readable parquet", "fetch it again"]);
}

#[test]
fn a_parquet_file_that_is_none() {
    let folder = folder();
    for split in ["train", "test"] {
        file(folder.path(), &format!("{split}.parquet"), b"id,label\n");
    }
    refuse(folder.path(), r#"{ data: { parquet: "{split}.parquet" } }"#, 2, &["train.parquet: not a readable parquet", "fetch it again"]);
}

#[test]
fn a_parquet_file_without_images() {
    let folder = folder();
    for split in ["train", "test"] {
        parquet(folder.path(), &format!("{split}.parquet"), "photo", 1);
    }
    let said = ["train.parquet: there is no usable column image or img; its columns are: photo, label", "rename the column"];
    refuse(folder.path(), r#"{ data: { parquet: "{split}.parquet" } }"#, 2, &said);
}

#[test]
fn a_label_that_is_no_class() {
    let folder = folder();
    for (label, shown) in [(2, "2"), (-1, "-1"), (i64::MAX, "9223372036854775807")] {
        for split in ["train", "test"] {
            parquet(folder.path(), &format!("{split}.parquet"), "image", label);
        }
        let said = format!("train.parquet:1: its label {shown} is none of the 2 classes");
        refuse(folder.path(), r#"{ data: { parquet: "{split}.parquet" } }"#, 2, &[&said, "correct the label"]);
    }
}

/// A pair of IDX files of two images of one pixel.
fn idx(folder: &Path) {
    for prefix in ["train", "t10k"] {
        file(folder, &format!("{prefix}-images-idx3-ubyte"), &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7, 8]);
        file(folder, &format!("{prefix}-labels-idx1-ubyte"), &[0, 0, 8, 1, 0, 0, 0, 2, 0, 1]);
    }
}

#[test]
fn an_idx_header_that_lies() {
    let folder = folder();
    idx(folder.path());
    let name = "train-images-idx3-ubyte";
    file(folder.path(), name, &[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    refuse(folder.path(), "{ data: { idx: . } }", 2, &[name, "its header says [4294967295, 4294967295, 4294967295]", "fetch it again"]);
}

#[test]
fn a_packed_idx_file_that_is_cut_off() {
    let folder = folder();
    idx(folder.path());
    let name = "train-images-idx3-ubyte";
    std::fs::remove_file(folder.path().join(name)).expect("removed");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let values: Vec<u8> = (0..20_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    packed.write_all(&values).expect("packed");
    let packed = packed.finish().expect("packed");
    file(folder.path(), &format!("{name}.gz"), &packed[..packed.len() / 2]);
    refuse(folder.path(), "{ data: { idx: . } }", 2, &["train-images-idx3-ubyte.gz: it cannot be read", "fetch it again"]);
}

#[test]
fn a_parquet_file_at_which_its_reader_panics() {
    let folder = folder();
    // Found by fuzzing: a column that begins before the file.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parquet/found-negative-offset");
    for split in ["train", "test"] {
        file(folder.path(), &format!("{split}.parquet"), &std::fs::read(&path).expect("a file of the corpus"));
    }
    refuse(folder.path(), r#"{ data: { parquet: "{split}.parquet" } }"#, 2, &["train.parquet", "its pages contradict its footer"]);
}

#[test]
fn an_idx_file_that_ends_inside_its_header() {
    let folder = folder();
    for prefix in ["train", "t10k"] {
        file(folder.path(), &format!("{prefix}-images-idx3-ubyte"), &[0, 0, 8, 3, 0, 0, 0]);
        file(folder.path(), &format!("{prefix}-labels-idx1-ubyte"), &[0, 0, 8, 1, 0, 0, 0, 0]);
    }
    refuse(folder.path(), "{ data: { idx: . } }", 2, &["train-images-idx3-ubyte", "it ends inside its header: 7 bytes"]);
}

#[test]
fn a_cifar_file_of_the_wrong_length() {
    let folder = folder();
    file(folder.path(), "data_batch_1.bin", &[0; 3072]);
    file(folder.path(), "test_batch.bin", &[0; 3073]);
    let said = ["data_batch_1.bin: its length 3072 is not a multiple of 3073", "fetch it again"];
    refuse(folder.path(), "{ data: { cifar_binary: . } }", 2, &said);
}

#[test]
fn a_missing_cifar_batch_is_named() {
    let folder = folder();
    for batch in [1, 2, 4] {
        file(folder.path(), &format!("data_batch_{batch}.bin"), &[0; 3073]);
    }
    file(folder.path(), "test_batch.bin", &[0; 3073]);
    refuse(folder.path(), "{ data: { cifar_binary: . } }", 2, &["data_batch_3.bin is missing, and data_batch_4.bin is there"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", folder.path().join("data_batch_3.bin")).unwrap();
        refuse(folder.path(), "{ data: { cifar_binary: . } }", 2, &["data_batch_3.bin"]);
    }
}

#[test]
fn a_broken_image_is_named_and_fatal_above_the_share_allowed() {
    let folder = folder();
    images(folder.path(), 25);
    file(folder.path(), "train/cat/broken.jpg", b"\xff\xd8\xff\xe0 and nothing more");
    let target = |broken: &str| format!(r#"{{ data: {{ folder: "{{split}}" }}, broken: {broken} }}"#);
    let said = ["1 of 101 images does not decode", "train/cat/broken.jpg", "or raise `target.broken`"];
    refuse(folder.path(), &target("0.005"), 2, &said);
    // The same data above the share: it is left out, and said.
    let policy = policy(folder.path(), &target("0.02"));
    let out = heirloom(&["plan", &clean_model(), "--policy", &policy]);
    let said = crate::run::text(&out.stderr);
    assert!(said.contains("warning: 1 of 101 images does not decode and is left out: train/cat/broken.jpg"), "{said}");
    assert!(!said.contains("raise"), "{said}");
}

#[test]
fn test_images_that_train() {
    let folder = folder();
    for (split, class, i) in
        ["train", "test"].iter().flat_map(|split| [("cat", 0), ("cat", 1), ("dog", 0), ("dog", 1)].map(|(c, i)| (split, c, i)))
    {
        file(folder.path(), &format!("{split}/{class}/{i}.png"), &png(2, 2));
    }
    let target = |overlap: &str| format!(r#"{{ data: {{ folder: "{{split}}" }}{overlap} }}"#);
    let said = ["data {split}: 4 of 4 test images are training images too", "test/cat/0.png is train/", "raise `target.overlap`"];
    refuse(folder.path(), &target(""), 2, &said);
    refuse(folder.path(), &target(", overlap: 0.9"), 2, &said);
    let policy = policy(folder.path(), &target(", overlap: 1.0"));
    let said = crate::run::text(&heirloom(&["plan", &clean_model(), "--policy", &policy]).stderr);
    for warning in ["4 of 4 test images train too", "3 of 4 test images are the same as another in every pixel: copies are one cluster"] {
        assert!(said.contains(&format!("warning: {warning}")), "{said}");
    }
}

/// What a run would refuse is known without one.
#[test]
fn validate_refuses_what_the_data_cannot_answer() {
    let folder = folder();
    let text = |target: &str, probe: &str, limit: &str| {
        format!(
            "version: 1\nname: p\ntarget: {{ data: {{ embedded: emoji }}{target} }}\ntransfer:\n  fixed_feature: {{ epochs: 1, learning_rate: 0.2 }}\n\
             \x20 scratch: {{ epochs: 1, learning_rate: 0.02 }}\nrules:\n  - {{ id: gap, probe: {{ {probe} }}, limit: {limit} }}\n"
        )
    };
    let vendor = "attribute: { attribute: vendor }";
    file(folder.path(), "unknown.csv", b"id,sex\nemoji-target-test.parquet:0,\n");
    file(folder.path(), "others.csv", b"id,sex\nnobody,f\n");
    for (target, probe, limit, said, line) in [
        ("", "attribute: { attribute: vendr }", "0.9", "no column is called `vendr` (did you mean `vendor`?)", 8),
        ("", "attribute: { attribute: vendor, class: Fod }", "0.9", "the class \"Fod\", which is not a class", 8),
        (
            "",
            "backdoor: { trigger: { patch: { size: 0.2, color: '#ffff00' } }, target_class: Fod }",
            "0.9",
            "the class \"Fod\", which is not a class",
            8,
        ),
        (", cluster: nam", vendor, "0.9", "no column is called `nam` (did you mean `name`?)", 3),
        (", classes: [Food, Anmals]", vendor, "0.9", "no class is called `Anmals`", 3),
        (", test: { balance: [vendr] }", vendor, "0.9", "no column is called `vendr`", 3),
        (", attributes: others.csv", vendor, "0.9", "none of its ids is one of the data's", 3),
        (", attributes: unknown.csv", "attribute: { attribute: sex }", "0.9", "`sex`", 8),
        (", cluster: name", vendor, "0.01", "the smallest limit is", 8),
    ] {
        let policy = file(folder.path(), "policy.yaml", text(target, probe, limit).as_bytes());
        let message = refused(&heirloom(&["validate", &policy]), 4, &[said, &format!("policy.yaml:{line}:")]);
        assert!(message.contains("1 error"), "{message}");
        let planned = heirloom(&["plan", &clean_model(), "--policy", &policy]);
        let planned = (planned.status.code(), crate::run::text(&planned.stderr));
        assert!(planned.0.is_some_and(|code| code != 0) && planned.1.contains(said), "{target}{probe}: {planned:?}");
    }
    let policy = file(folder.path(), "policy.yaml", text(", cluster: name", vendor, "0.9").as_bytes());
    assert_eq!(heirloom(&["validate", &policy]).status.code(), Some(0));
    // Every limit that the data cannot settle, not the first alone.
    let two = text(", cluster: name", vendor, "0.01") + "  - { id: more, probe: { attribute: { attribute: vendor } }, limit: 0.02 }\n";
    let policy = file(folder.path(), "policy.yaml", two.as_bytes());
    refused(&heirloom(&["validate", &policy]), 4, &["gap@fixed_feature", "more@fixed_feature", "policy.yaml:9:", "2 errors"]);
}

#[test]
fn an_attribute_that_is_not_known_of_all_images() {
    let folder = folder();
    let ids = |split: &str, all: usize| (0..all).map(|i| format!("emoji-target-{split}.parquet:{i}")).collect::<Vec<_>>();
    let line = |(i, id): (usize, &String)| format!("{id},{}\n", ["f", "m", "NaN", "None"][i % 4]);
    let lines: String = [ids("train", 458), ids("test", 558)].iter().flat_map(|ids| ids.iter().enumerate().map(line)).collect();
    file(folder.path(), "sex.csv", format!("id,sex\n{lines}").as_bytes());
    let text = "version: 1\nname: p\ntarget: { data: { embedded: emoji }, cluster: name, attributes: sex.csv }\ntransfer:\n\
                \x20 fixed_feature: { epochs: 1, learning_rate: 0.2 }\n  scratch: { epochs: 1, learning_rate: 0.02 }\nrules:\n\
                \x20 - { id: gap, probe: { attribute: { attribute: sex } }, limit: 0.9 }\n\
                \x20 - { id: balanced, probe: { debiased: { attribute: sex } }, limit: 0.9 }\n\
                description: not known of sex and target\n";
    let policy = file(folder.path(), "policy.yaml", text.as_bytes());
    let out = heirloom(&["validate", &policy]);
    let said = crate::run::text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    for remark in [
        "`sex` is not known of 278 of 558 test images: they are in no group",
        "`sex` is not known of 228 of 458 training images: the probe `debiased` leaves them out",
    ] {
        assert!(said.contains(remark), "{said}");
    }
    // Each is said where the rule that it is about names the attribute, and not where the word comes last.
    assert!(said.contains("policy.yaml:8:49\n") && said.contains("policy.yaml:9:53\n"), "{said}");
    let out = heirloom(&["plan", &clean_model(), "--policy", &policy]);
    let said = crate::run::text(&out.stderr);
    assert!(said.contains("warning: `sex` is not known of 278 of 558 test images: they are in no group"), "{said}");
}

#[test]
fn a_image_that_claims_to_be_huge() {
    let folder = folder();
    images(folder.path(), 1);
    let mut bomb = png(1, 1);
    bomb[16..24].copy_from_slice(&[0, 0, 234, 96, 0, 0, 234, 96]);
    let mut sum = flate2::Crc::new();
    sum.update(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    file(folder.path(), "train/cat/bomb.png", &bomb);
    let said = ["train/cat/bomb.png: it says that it is 60000x60000 pixels", "repair or remove"];
    refuse(folder.path(), r#"{ data: { folder: "{split}" } }"#, 2, &said);
}

#[test]
fn a_class_without_images() {
    let folder = folder();
    images(folder.path(), 1);
    for split in ["train", "test"] {
        std::fs::create_dir(folder.path().join(split).join("eel")).expect("a folder");
    }
    let said = ["data {split}: train: 1 class has no images (eel)", "list the classes to use under `classes`"];
    refuse(folder.path(), r#"{ data: { folder: "{split}" } }"#, 2, &said);
}

/// Listing one of them would lack the other.
#[test]
fn a_class_that_is_written_otherwise_in_test() {
    let folder = folder();
    images(folder.path(), 1);
    file(folder.path(), "train/eel/1.png", &png(2, 2));
    file(folder.path(), "test/Eel/1.png", &png(3, 3));
    let said = ["train: 1 class has no images (Eel)", "`Eel` and `eel` are two classes here", "write it the same in train and test"];
    refuse(folder.path(), r#"{ data: { folder: "{split}" } }"#, 2, &said);
    refuse(
        folder.path(),
        r#"{ data: { folder: "{split}" }, test: { balance: [lable] } }"#,
        4,
        &["no column is called `lable`", "did you mean `label`?"],
    );
}

#[test]
fn a_data_set_of_one_class() {
    let folder = folder();
    for split in ["train", "test"] {
        file(folder.path(), &format!("{split}/cat/1.png"), &png(2, 2));
    }
    let said = ["data {split}: there is one class, `cat`", "add a second class"];
    refuse(folder.path(), r#"{ data: { folder: "{split}" } }"#, 2, &said);
}

#[test]
fn a_data_set_of_one_image() {
    let folder = folder();
    file(folder.path(), "images/cat/1.png", &png(2, 2));
    std::fs::create_dir_all(folder.path().join("images/dog")).expect("a folder");
    refuse(folder.path(), "{ data: { folder: images }, test_share: 0.5 }", 2, &["data images: ", "no images"]);
}

#[test]
fn a_class_that_does_not_exist() {
    let folder = folder();
    let said = ["data embedded `fashion`: no class is called `Bags` (did you mean `Bag`?)", "Sandal", "under `target`"];
    refuse(folder.path(), "{ data: { embedded: fashion }, classes: [Bags, Shirt] }", 4, &said);
}

#[test]
fn a_column_to_balance_that_does_not_exist() {
    let folder = folder();
    let said = ["data embedded `emoji`: no column is called `vendr` (did you mean `vendor`?)", "under `target`"];
    refuse(folder.path(), "{ data: { embedded: emoji }, train: { balance: [label, vendr] } }", 4, &said);
}

#[test]
fn a_group_to_balance_that_does_not_exist() {
    let folder = folder();
    images(folder.path(), 1);
    let lines = "id,tone\ntrain/cat/0.png,dark\ntrain/dog/0.png,light\ntest/cat/0.png,dark\ntest/dog/0.png,light\n";
    file(folder.path(), "tones.csv", lines.as_bytes());
    let target = r#"{ data: { folder: "{split}" }, attributes: tones.csv, train: { balance: [label, tone] } }"#;
    let said = ["data {split}: train: no image has label = cat, tone = light", "take a column out of `balance`"];
    refuse(folder.path(), target, 4, &said);
}

#[test]
fn attributes_that_cannot_be_joined() {
    let folder = folder();
    for (text, said) in [
        (&b"id,tone\nx,1,2\n"[..], "line: 2"),
        (b"name,tone\nx,1\n", "it has no column `id`"),
        (b"", "it has no column `id`"),
        (b"id,tone\nx,\xff\n", "invalid utf-8"),
        (b"id,tone\nx,1\nx,2\n", "line 3: the id `x` is there twice"),
    ] {
        file(folder.path(), "tones.csv", text);
        let target = "{ data: { embedded: fashion }, attributes: tones.csv }";
        refuse(folder.path(), target, 2, &["tones.csv", said, "starts with a line of column names"]);
    }
    // In good order, and of other images.
    file(folder.path(), "tones.csv", b"id,tone\nx,1\n");
    let target = "{ data: { embedded: fashion }, attributes: tones.csv }";
    refuse(folder.path(), target, 4, &["tones.csv", "none of its ids is one of the data's", "write the ids as the data have them"]);
}

#[test]
fn data_that_cannot_be_opened_leave_no_verdict() {
    let folder = folder();
    let policy = policy(folder.path(), "{ data: { embedded: fashion }, classes: [Bags, Shirt] }");
    let reports = folder.path().join("reports").display().to_string();
    refused(&heirloom(&["certify", &clean_model(), "--policy", &policy, "--output", &reports]), 4, &["no class is called `Bags`"]);
    super::reports::no_verdict(&folder.path().join("reports"), "error", 4, "no class is called `Bags`");
}

/// A file that Pillow, pyarrow or `datasets` wrote (tests/golden).
fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).expect("a golden file")
}

#[test]
fn truncated_images() {
    for name in ["baseline.jpg", "progressive.jpg"] {
        let folder = folder();
        images(folder.path(), 1);
        let bytes = golden(&format!("images/files/{name}"));
        file(folder.path(), &format!("test/dog/{name}"), &bytes[..bytes.len() * 3 / 4]);
        let said = ["1 of 5 images does not decode", &format!("test/dog/{name}: it is truncated: the file ends before the image does")];
        refuse(folder.path(), r#"{ data: { folder: "{split}" } }"#, 2, &said);
    }
}

#[test]
fn a_parquet_file_compressed_in_a_way_that_is_not_read() {
    let folder = folder();
    for split in ["train", "test"] {
        file(folder.path(), &format!("{split}.parquet"), &golden("parquet/brotli-pages.parquet"));
    }
    let said = ["is compressed with Brotli, which is not read", "compression=\"zstd\""];
    refuse(folder.path(), r#"{ data: { parquet: "{split}.parquet" } }"#, 2, &said);
}

#[test]
fn columns_that_can_be_no_attribute_or_no_label() {
    let folder = folder();
    let write = |name: &str| {
        for split in ["train", "test"] {
            file(folder.path(), &format!("{split}.parquet"), &golden(&format!("parquet/{name}.parquet")));
        }
    };
    write("columns");
    for (column, why) in [("list", "holds lists"), ("struct", "holds structs"), ("bytes", "holds bytes that are no text")] {
        let target = format!(r#"{{ data: {{ parquet: "{{split}}.parquet" }}, cluster: {column} }}"#);
        refuse(folder.path(), &target, 4, &[&format!("the column `{column}` {why}"), "a column of text or numbers"]);
    }
    write("labels-list");
    let said = ["train.parquet: its label column `label` holds lists; a label is one class for each image"];
    refuse(folder.path(), r#"{ data: { parquet: "{split}.parquet" } }"#, 2, &said);
    write("labels-half");
    refuse(
        folder.path(),
        r#"{ data: { parquet: "{split}.parquet" } }"#,
        2,
        &["train.parquet:0: its label 0.5 is neither a whole number nor a name"],
    );
}

/// Shards as the Python package webdataset writes them; then as they come to grief.
#[test]
fn shards_of_webdataset() {
    let folder = folder();
    let golden = |name: &str| {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/webdataset").join(name)).expect("a golden shard")
    };
    for name in ["train-000000.tar", "train-000001.tar", "test-000000.tar"] {
        file(folder.path(), name, &golden(name));
    }
    let target = r#"{ data: { webdataset: "{split}-*.tar" } }"#;
    let path = policy(folder.path(), target);
    let validated = heirloom(&["validate", &path]);
    let said = crate::run::text(&validated.stderr);
    // Three test images settle no limit, and that is all that is wrong.
    assert!(said.contains("3 test images") && said.contains("1 error"), "{said}");
    let said =
        refuse(folder.path(), r#"{ data: { webdataset: "{split}-*.tar" }, train: { balance: [boxes] } }"#, 4, &["`boxes` holds lists"]);
    assert!(!said.contains("fetch it again"), "{said}");
    file(folder.path(), "a.csv", b"id,light\ntrain-000001.tar:cats.of/a/0001,day\ntest-000000.tar:0000,night\nnobody,day\n");
    let attributes = r#"{ data: { webdataset: "{split}-*.tar" }, attributes: a.csv }"#;
    let text = std::fs::read_to_string(policy(folder.path(), attributes)).expect("a policy").replace("limit: 0.2", "limit: 0.95");
    let path = file(folder.path(), "policy.yaml", text.as_bytes());
    let planned = heirloom(&["plan", &clean_model(), "--policy", &path]);
    let said = crate::run::text(&planned.stderr);
    assert_eq!(planned.status.code(), Some(0), "{said}");
    assert!(said.contains("7 images have no line in") && said.contains("belongs to no image: nobody"), "{said}");
    let whole = golden("test-000000.tar");
    for (bytes, said) in [
        (&whole[..2600], &["test-000000.tar: it says that `0000.png` has", "fetch it again"][..]),
        (&[&[0x1f, 0x8b][..], &whole].concat(), &["test-000000.tar: the archive is packed with gzip", "gunzip test-000000.tar"]),
    ] {
        file(folder.path(), "test-000000.tar", bytes);
        refuse(folder.path(), target, 2, said);
    }
    let said = ["absent-train-*.tar for the split `train`", "`--data PATH` takes the images from elsewhere"];
    refuse(folder.path(), r#"{ data: { webdataset: "absent-{split}-*.tar" } }"#, 4, &said);
}
