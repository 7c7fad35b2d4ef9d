//! Lists of images as people write them.

use std::collections::BTreeSet;
use std::fs;

use super::*;
use crate::data::tests::target;
use crate::data::{Index, Target, index};
use crate::diag::Explain as _;
use crate::store::Digest;

/// A folder of these files, and images of these names.
fn folder(files: &[(&str, &str)], images: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files.iter().copied().chain(images.iter().map(|name| (*name, "not read here"))) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

const IMAGES: [&str; 4] = ["a.jpg", "b.jpg", "c.jpg", "deep/d.jpg"];

/// What is known of the images of a list with this text, beside four images.
fn listed(text: &str, share: Option<f64>) -> Result<Index, DataError> {
    let folder = folder(&[("labels.csv", text)], &IMAGES);
    index(&Target { test_share: share, ..target(DataSpec::Csv("labels.csv".into())) }, folder.path(), 0)
}

/// The message and what to do, the path left out.
fn said(text: &str) -> (String, String) {
    let folder = folder(&[("labels.csv", text)], &IMAGES);
    let error =
        index(&target(DataSpec::Csv("labels.csv".into())), folder.path(), 0).map(|index| index.facts().classes.to_vec()).unwrap_err();
    (error.to_string().replace(&format!("{}/", folder.path().display()), ""), error.hint().unwrap_or_default().to_owned())
}

fn ids(records: &[crate::data::Record]) -> Vec<&str> {
    records.iter().map(|record| &*record.id).collect()
}

#[test]
fn a_list_names_images_with_class_split_and_attributes() {
    let text = "file_name,label,split,light\n./deep/d.jpg,cat,training,day\nb.jpg,dog,train,\na.jpg,cat, Test ,night\nc.jpg,dog,test,day\n";
    let index = listed(text, None).unwrap();
    let facts = index.facts();
    assert_eq!(facts.classes, ["cat", "dog"]);
    assert_eq!((ids(facts.train), ids(facts.test)), (vec!["b.jpg", "deep/d.jpg"], vec!["a.jpg", "c.jpg"]));
    assert_eq!((facts.train[0].value("light"), facts.test[0].value("light")), (None, Some("night")));
    assert_eq!(facts.test[0].attributes.columns().collect::<Vec<_>>(), ["light"]);
    assert!(facts.warnings.is_empty(), "{:?}", facts.warnings);
}

#[test]
fn validation_measures_where_nothing_else_does() {
    let of = |c: &str, d: &str| format!("image,label,split\na.jpg,x,train\nb.jpg,y,train\nc.jpg,x,{c}\ndeep/d.jpg,y,{d}\n");
    for word in ["val", "valid", "validation", "dev"] {
        let index = listed(&of(word, word), None).unwrap();
        assert_eq!(ids(index.facts().test), ["c.jpg", "deep/d.jpg"], "{word}");
    }
    let both = format!("{}e.jpg,x,val\n", of("test", "test"));
    let folder = folder(&[("labels.csv", &both)], &["a.jpg", "b.jpg", "c.jpg", "deep/d.jpg", "e.jpg"]);
    let index = index(&target(DataSpec::Csv("labels.csv".into())), folder.path(), 0).unwrap();
    assert_eq!(index.facts().warnings, ["1 of 5 images is of a validation split and neither trains nor measures"]);
}

#[test]
fn a_path_may_have_a_file_for_each_split() {
    let files =
        [("faces_train.csv", "file,label\ntrain/1.jpg,x\ntrain/2.jpg,y\n"), ("faces_val.csv", "file,label\nval/1.jpg,x\nval/2.jpg,y\n")];
    let one = folder(&files, &["train/1.jpg", "train/2.jpg", "val/1.jpg", "val/2.jpg"]);
    let open = |path: &str, base: &Path| index(&target(DataSpec::Csv(path.into())), base, 0);
    let found = open("faces_{split}.csv", one.path()).unwrap();
    let facts = found.facts();
    assert_eq!((ids(facts.train), ids(facts.test)), (vec!["train/1.jpg", "train/2.jpg"], vec!["val/1.jpg", "val/2.jpg"]));
    let test = one.path().join("faces_test.csv");
    assert_eq!(facts.warnings, [format!("there is no {}: what `val` names measures", test.display())]);
    // As Hugging Face's `imagefolder` has it.
    let text = "file_name,label\n1.jpg,x\n2.jpg,y\n";
    let files = [("train/metadata.csv", text), ("test/metadata.csv", text)];
    let two = folder(&files, &["train/1.jpg", "train/2.jpg", "test/1.jpg", "test/2.jpg"]);
    let found = open("{split}/metadata.csv", two.path()).unwrap();
    assert_eq!((ids(found.facts().train), ids(found.facts().test)), (vec!["train/1.jpg", "train/2.jpg"], vec!["test/1.jpg", "test/2.jpg"]));
    assert!(found.facts().warnings.is_empty());
    let error = open("nothing_{split}.csv", two.path()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read") && error.contains("nothing_train.csv"), "{error}");
    let error = open("{split}/*.csv", two.path()).unwrap_err().to_string();
    assert!(error.ends_with("`*` stands for nothing in the path of a CSV file"), "{error}");
}

#[test]
fn a_list_without_splits_needs_a_share_and_no_other() {
    let (plain, split) = ("file,label\na.jpg,x\nb.jpg,x\nc.jpg,y\ndeep/d.jpg,y\n", "file,label,split\na.jpg,x,train\nb.jpg,y,test\n");
    let index = listed(plain, Some(0.5)).unwrap();
    assert_eq!((index.facts().train.len(), index.facts().test.len()), (2, 2));
    let message = |text, share| listed(text, share).unwrap_err().to_string();
    assert_eq!(
        message(plain, None),
        "data labels.csv: the file does not say which images train and which measure: give it a column `split` (train, test), or give `test_share` or `train_per_class`"
    );
    assert_eq!(
        message(split, Some(0.5)),
        "data labels.csv: the data has train and test splits of its own: leave `test_share` and `train_per_class` out"
    );
    let census = |text: &str| {
        let folder = folder(&[("labels.csv", text)], &IMAGES);
        crate::data::census(&DataSpec::Csv("labels.csv".into()), None, folder.path()).unwrap().parts
    };
    assert_eq!((census(plain), census(split)), (vec![vec![2, 2]], vec![vec![1, 0], vec![0, 1]]));
}

#[test]
fn the_column_of_files_is_known_by_its_name() {
    for name in ["file_name", "file", "filename", "path", "image", "id", "image_id"] {
        let text = format!("{name},label,split\na.jpg,x,train\nb.jpg,y,train\nc.jpg,x,test\ndeep/d.jpg,y,test\n");
        assert_eq!(ids(listed(&text, None).unwrap().facts().test), ["c.jpg", "deep/d.jpg"], "{name}");
    }
    // Beside a better name `id` is an attribute like any other.
    let index = listed("id,file,label,split\n7,a.jpg,x,train\n8,b.jpg,y,train\n7,c.jpg,x,test\n9,deep/d.jpg,y,test\n", None).unwrap();
    assert_eq!(index.facts().train[0].value("id"), Some("7"));
    assert_eq!(
        said("photo,label,split\na.jpg,x,train\n"),
        (
            "labels.csv: no column says which file a line is about; its columns are: photo, label, split".into(),
            "name that column `file_name` (file, filename, path, image and id, image_id are known too)".into()
        )
    );
    assert_eq!(
        said("path,image,label,split\na.jpg,a.jpg,x,train\n"),
        ("labels.csv: `path` and `image` may each say which file a line is about".into(), "give those that do not another name".into())
    );
}

#[test]
fn lines_that_cannot_be_meant_are_named() {
    let path = "name each image by its path below that folder, with forward slashes and without `..`";
    let there = "copy all images there, under the names that the list has, endings included";
    for (line, wanted, hint) in [
        ("a.jpg,y,test", "labels.csv: line 3: `a.jpg` is there twice", "leave one of the two lines out"),
        ("./a.jpg,y,train", "labels.csv: line 3: `a.jpg` is there twice", "leave one of the two lines out"),
        ("../b.jpg,y,train", "labels.csv: line 3: `../b.jpg` is no path to a file in the folder of the list", path),
        ("/etc/passwd,y,train", "labels.csv: line 3: `/etc/passwd` is no path to a file in the folder of the list", path),
        (" ,y,train", "labels.csv: line 3 names no file", "fill in the column, or leave the line out"),
        (
            "b.jpg,y,tset",
            "labels.csv: line 3: its `split` is `tset`",
            "write train, test or val (or training, testing, valid, validation, dev)",
        ),
        ("b.jpg,y,", "labels.csv: line 3: its `split` is ``", "write train, test or val (or training, testing, valid, validation, dev)"),
        ("b.jpg,,train", "b.jpg: its label is null", "correct the label in the file, or the class names it declares"),
        ("e.jpg,y,train", "labels.csv: 1 of the 2 images that it names is not in FOLDER: e.jpg", there),
        ("deep,y,train", "labels.csv: 1 of the 2 images that it names is not in FOLDER: deep", there),
    ] {
        let folder = folder(&[("labels.csv", &format!("file,label,split\na.jpg,x,train\n{line}\nc.jpg,x,test\n"))], &IMAGES);
        let error = index(&target(DataSpec::Csv("labels.csv".into())), folder.path(), 0).unwrap_err();
        let path = folder.path().display().to_string();
        assert_eq!(error.to_string().replace(&format!("{path}/"), "").replace(&path, "FOLDER"), wanted);
        assert_eq!(error.hint(), Some(hint));
    }
    let short = said("file,label,split\na.jpg,x,train\nb.jpg,y\n").0;
    assert!(short.ends_with("found record with 2 fields, but the previous record has 3 fields"), "{short}");
    assert_eq!(said("file,label,split\n").0, "labels.csv: it names no image");
    assert_eq!(said("").0, "labels.csv: no column says which file a line is about; its columns are: ");
    assert_eq!(said("file,label,file\n").0, "labels.csv: two of its columns are called `file`");
    let one = "file,label,split\na.jpg,x,train\nb.jpg,x,test\n";
    assert_eq!(said(one).0, "data labels.csv: there is one class, `x`: a target task tells at least two apart");
}

#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    /// So many times the same, without holding any of it.
    struct Repeated(&'static [u8], u64, u64);
    impl Read for Repeated {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let (mut done, length) = (0, self.0.len() as u64);
            while done < buffer.len() && self.2 < self.1 * length {
                buffer[done] = self.0[(self.2 % length) as usize];
                (done, self.2) = (done + 1, self.2 + 1);
            }
            Ok(done)
        }
    }
    let reason = |begin: &'static [u8], of: &'static [u8], times| {
        parse(begin.chain(Repeated(of, times, 0)), "x.csv", true).map(|lines| lines.len()).unwrap_err().to_string()
    };
    // A quote that is never closed, and a line that never ends, of a terabyte.
    for begin in [&b"file,label\na.jpg,\""[..], b"file,label\na.jpg,", b"file,"] {
        let reason = reason(begin, b"0123456789abcdef", 1 << 36);
        assert_eq!(reason, "x.csv: a line has more than 1048576 bytes, the most that are read: is a quote never closed?");
    }
    let wide = format!("file{}\n", ",a".repeat(2000));
    assert!(parse(wide.as_bytes(), "x.csv", true).unwrap_err().to_string().contains("it has 2001 columns; at most 1024 are read"));
    // Ten million lines.
    let mut table = Table::new(b"file\n".chain(Repeated(b"a\n", 10_000_000, 0))).unwrap();
    let mut record = ::csv::StringRecord::new();
    let told = loop {
        if let Err(told) = table.next(&mut record) {
            break told;
        }
    };
    assert_eq!(told, "it has more than 4194304 lines, the most that are read");
}

#[test]
fn led_elsewhere_a_list_keeps_its_name() {
    let led = |old: &str, new: &str| redirected(Path::new(old), new.into());
    assert_eq!(led("photos/labels.csv", "/else"), Path::new("/else/labels.csv"));
    assert_eq!(led("photos/labels.csv", "/else/other.CSV"), Path::new("/else/other.CSV"));
    assert_eq!(led("fairface/fairface_label_{split}.csv", "/else"), Path::new("/else/fairface_label_{split}.csv"));
    assert_eq!(led("a/{split}/metadata.csv", "/else"), Path::new("/else/{split}/metadata.csv"));
}

#[test]
fn the_task_is_known_by_its_label_where_it_has_one() {
    let plain = target(DataSpec::Csv("labels.csv".into()));
    let of = |label: &str| -> Digest {
        let label = Some(serde_json::from_str(label).unwrap());
        crate::store::Fingerprint::fingerprint(&Target { label, ..plain.clone() }, "test", 1)
    };
    let all = [
        crate::store::Fingerprint::fingerprint(&plain, "test", 1),
        of(r#"{"column": "age"}"#),
        of(r#"{"column": "sex"}"#),
        of(r#"{"column": "age", "others": "drop"}"#),
        of(r#"{"column": "age", "map": {"1": "a"}}"#),
        of(r#"{"column": "age", "map": {"1": "b"}}"#),
    ];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}
