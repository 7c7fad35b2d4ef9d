//! The stand-ins of every layout, as torchvision reads them (tests/golden/layouts/make.py), and such as lack something.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;
use crate::data::source::{self, Labels, Source, Want};
use crate::data::tests::target;
use crate::data::{LabelSpec, Orientation, Target, index};
use crate::diag::Explain as _;

fn sets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/layouts/sets")
}

/// What another program reads of a set.
#[derive(Deserialize)]
struct Expected {
    classes: Vec<String>,
    train: Option<Vec<Image>>,
    test: Option<Vec<Image>>,
    all: Option<Vec<Image>>,
}

/// Id, label, attributes.
type Image = (String, usize, BTreeMap<String, String>);

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_str(&fs::read_to_string(sets().with_file_name("expected.json")).unwrap()).unwrap()
}

/// The specification of a stand-in whose sets lie in this folder.
fn spec(name: &str, sets: &Path) -> DataSpec {
    let place = sets.join(if name == "fairface" { "fairface/fairface_label_{split}.csv" } else { name });
    let format = if name == "fairface" { "csv" } else { name };
    serde_json::from_value(serde_json::json!({ format: place })).unwrap()
}

/// How the class is read where the data have none of their own.
fn label(name: &str) -> Option<LabelSpec> {
    let map: &[(&str, &[&str])] = match name {
        "celeba" => &[("young", &["1"]), ("old", &["-1"])],
        "fairface" => &[("young", &["0-2", "3-9", "10-19", "20-29"]), ("old", &["30-39", "40-49", "50-59", "60-69", "more than 70"])],
        _ => return None,
    };
    let column = if name == "celeba" { "Young" } else { "age" }.to_owned();
    let pairs = map.iter().flat_map(|(class, values)| values.iter().map(|value| ((*value).to_owned(), (*class).to_owned())));
    Some(LabelSpec { column, map: Some(pairs.collect()), others: None })
}

fn read(name: &str, sets: &Path) -> Result<Source, DataError> {
    let spec = spec(name, sets);
    let splits: &[Option<Split>] = if spec.has_splits() == Some(true) { &[Some(Split::Train), Some(Split::Test)] } else { &[None] };
    let labels = if label(name).is_some() { Labels::Column } else { Labels::Own };
    let mut source = source::read(&spec, splits, Path::new(""), Want::Index, labels)?;
    if let Some(label) = label(name) {
        crate::data::label::by_column(&label, &mut source)?;
    }
    Ok(source)
}

#[test]
fn every_layout_is_read_as_others_read_it() {
    let expected = expected();
    assert_eq!(expected.len(), 11);
    for (name, Expected { classes, train, test, all }) in expected {
        let source = read(&name, &sets()).unwrap();
        // torchvision gives pets and flowers names of its own.
        let plain = |name: &String| name.to_lowercase().replace('_', " ");
        assert_eq!(source.classes.iter().map(plain).collect::<Vec<_>>(), classes.iter().map(plain).collect::<Vec<_>>(), "{name}");
        let parts: Vec<Vec<Image>> = [train, test, all].into_iter().flatten().collect();
        assert_eq!(source.parts.len(), parts.len(), "{name}");
        for (ours, theirs) in source.parts.iter().zip(parts) {
            let texts = |(column, value): (&str, &str)| (column.to_owned(), value.to_owned());
            let image = |record: &crate::data::Record| {
                (record.id.to_string(), record.label, record.attributes.pairs().into_iter().map(texts).collect())
            };
            let ours: Vec<Image> = ours.iter().map(|entry| image(&entry.record)).collect();
            assert!(!theirs.is_empty() && ours == theirs, "{name}: {ours:?}\n\n{theirs:?}");
        }
        // Every image is one.
        for entry in source.parts.iter().flatten() {
            let image = entry.stored.read(Orientation::Stored).unwrap().image;
            assert_eq!((image.width, image.height), (40, 32), "{name}: {}", entry.record.id);
        }
    }
}

#[test]
fn a_layout_is_known_by_what_lies_in_it() {
    for (name, folder) in [
        ("aircraft", "aircraft/fgvc-aircraft-2013b/data"),
        ("birdsnap", "birdsnap"),
        ("caltech101", "caltech101"),
        ("caltech256", "caltech256"),
        ("cars", "cars"),
        ("celeba", "celeba"),
        ("csv", "fairface"),
        ("flowers102", "flowers102/flowers-102"),
        ("food101", "food101/food-101"),
        ("pets", "pets/oxford-iiit-pet"),
        ("sun397", "sun397"),
    ] {
        let found = crate::data::recognise(&sets().join(folder)).unwrap();
        assert_eq!(found.format(), name);
        let place = if name == "csv" { "fairface_label_{split}.csv" } else { "" };
        assert_eq!(found.on_disk().unwrap().0, sets().join(folder).join(place).components().collect::<PathBuf>());
    }
}

/// A copy of the stand-in of this name in a folder of its own.
fn copied(name: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let to = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy(&path, &to);
            } else {
                fs::copy(&path, &to).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&sets().join(name), &folder.path().join(name));
    folder
}

/// What is said of a stand-in after a change, the place of the folder left out: the message, and what to do.
fn said(name: &str, change: impl FnOnce(&Path)) -> (String, String) {
    let folder = copied(name);
    change(&folder.path().join(name));
    let error = read(name, folder.path()).map(|source| source.classes).unwrap_err();
    let hint = error.hint().unwrap_or_default().to_owned();
    (error.to_string().replace(&folder.path().join(name).display().to_string(), "SET"), hint)
}

/// The same where one list is written anew.
fn rewritten(name: &str, list: &str, change: impl FnOnce(String) -> String) -> String {
    let (said, hint) = said(name, |set| fs::write(set.join(list), change(fs::read_to_string(set.join(list)).unwrap())).unwrap());
    assert!(!hint.is_empty(), "{said}");
    said
}

#[test]
fn a_file_of_a_layout_that_is_missing_is_named() {
    for (name, file, wanted) in [
        (
            "aircraft",
            "fgvc-aircraft-2013b/data/images_variant_val.txt",
            "SET/fgvc-aircraft-2013b/data: it has no `images_variant_val.txt`, which is part of `aircraft`",
        ),
        ("birdsnap", "test_images.txt", "SET: it has no `test_images.txt`, which is part of `birdsnap`"),
        ("caltech101", "101_ObjectCategories", "SET: it has no `101_ObjectCategories`, which is part of `caltech101`"),
        ("cars", "devkit/cars_meta.mat", "SET: it has no `devkit/cars_meta.mat`, which is part of `cars`"),
        ("cars", "cars_test_annos_withlabels.mat", "SET: it has no `cars_test_annos_withlabels.mat`, which is part of `cars`"),
        ("celeba", "list_eval_partition.txt", "SET: it has no `list_eval_partition.txt`, which is part of `celeba`"),
        ("flowers102", "flowers-102/setid.mat", "SET/flowers-102: it has no `setid.mat`, which is part of `flowers102`"),
        ("food101", "food-101/meta/test.txt", "SET/food-101: it has no `meta/test.txt`, which is part of `food101`"),
        ("pets", "oxford-iiit-pet/images", "SET/oxford-iiit-pet: it has no `images`, which is part of `pets`"),
        ("sun397", "Partitions", "SET: it has no `Partitions/Training_01.txt`, which is part of `sun397`"),
    ] {
        let gone = |set: &Path| {
            let path = set.join(file);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        };
        let (message, hint) = said(name, gone);
        assert_eq!(message, wanted);
        assert_eq!(hint, format!("name the folder of the data set as it is published; docs/data.md says what `{name}` has"));
    }
    let error = read("pets", Path::new("/nowhere")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nowhere/pets:"), "{error}");
}

#[test]
fn an_image_that_a_list_names_and_that_is_not_there_is_named() {
    let (message, hint) = said("pets", |set| {
        let images = set.join("oxford-iiit-pet/images");
        let first = fs::read_to_string(set.join("oxford-iiit-pet/annotations/test.txt")).unwrap();
        fs::remove_file(images.join(format!("{}.jpg", first.split(' ').next().unwrap()))).unwrap();
    });
    assert!(message.starts_with(
        "SET/oxford-iiit-pet/annotations/test.txt: 1 of the 6 images that it names is not in SET/oxford-iiit-pet/images: Abyssinian_"
    ));
    assert!(hint.starts_with("copy all images there"));
    let message = rewritten("food101", "food-101/meta/train.txt", |list| format!("{list}apple_pie/../../../secret\n"));
    assert_eq!(
        message,
        "SET/food-101/meta/train.txt: it names `apple_pie/../../../secret.jpg`, which is no path to a file inside the folder"
    );
    let message = rewritten("sun397", "Partitions/Testing_01.txt", |list| format!("{list}/{list}"));
    assert!(
        message.contains("it is no path of an image") || message.contains("which is no path to a file") || message.contains("twice"),
        "{message}"
    );
    let message = rewritten("food101", "food-101/meta/train.txt", |list| format!("{list}{}\n", list.lines().next().unwrap()));
    assert!(message.starts_with("SET/food-101/meta/train.txt: it names `apple_pie/") && message.ends_with(".jpg` twice"), "{message}");
    // Of Birdsnap some images are gone for everybody.
    let source = read("birdsnap", &sets()).unwrap();
    assert!(source.warnings[0].starts_with("1 of the 5 test images that") && source.warnings[0].ends_with("names is not there"));
    let (message, _) = said("birdsnap", |set| fs::write(set.join("test_images.txt"), "path\nA/1.jpg\n").unwrap());
    assert_eq!(message, "SET/test_images.txt: none of the 1 image that it names is in SET/download/images (`A/1.jpg`)");
}

#[test]
fn a_row_too_many_or_of_another_kind_is_named() {
    for (name, list, line, wanted) in [
        ("celeba", "list_attr_celeba.txt", "000099.jpg 1", "SET/list_attr_celeba.txt: its first line says 24 images, and it has 25"),
        (
            "celeba",
            "list_eval_partition.txt",
            "000099.jpg 0",
            "SET/list_attr_celeba.txt: it has 24 images, and SET/list_eval_partition.txt has 25",
        ),
        ("celeba", "list_eval_partition.txt", "000001.jpg 0", "SET/list_eval_partition.txt: line 25: `000001.jpg` is there twice"),
        ("celeba", "list_eval_partition.txt", "000099.jpg 3", "SET/list_eval_partition.txt: line 25: it is no image and 0, 1 or 2"),
        (
            "pets",
            "oxford-iiit-pet/annotations/test.txt",
            "Beagle_1 1 2 1",
            "SET/oxford-iiit-pet/annotations/test.txt: line 7: class 1 is called `Abyssinian` and `Beagle`",
        ),
        (
            "pets",
            "oxford-iiit-pet/annotations/test.txt",
            "Beagle_1 1",
            "SET/oxford-iiit-pet/annotations/test.txt: line 7: it is no image with class, species and breed, `Abyssinian_100 1 1 1`",
        ),
        (
            "aircraft",
            "fgvc-aircraft-2013b/data/images_variant_test.txt",
            "102",
            "SET/fgvc-aircraft-2013b/data/images_variant_test.txt: line 7: it is no image and a variant, `1025794 707-320`",
        ),
        (
            "food101",
            "food-101/meta/test.txt",
            "apple_pie",
            "SET/food-101/meta/test.txt: line 7: it is no class and image, `apple_pie/1005649`",
        ),
    ] {
        assert_eq!(rewritten(name, list, |text| format!("{text}{line}\n")), wanted);
    }
    let cut = rewritten("celeba", "list_attr_celeba.txt", |text| text.replacen(" -1", "", 1).replacen("  1", "", 1));
    assert!(cut.ends_with("it should have 40 numbers of -1 or 1 behind the name of an image"), "{cut}");
    let none = rewritten("celeba", "list_attr_celeba.txt", |_| "24\n".into());
    assert!(none.contains("it does not begin as the attributes of CelebA do"), "{none}");
    // The labels of another set, which has more images.
    let (message, hint) = said("flowers102", |set| {
        let long = sets().with_file_name("matlab").join("long-labels.mat");
        fs::copy(long, set.join("flowers-102/imagelabels.mat")).unwrap();
    });
    let folder = "SET/flowers-102";
    assert_eq!(message, format!("{folder}/imagelabels.mat: it has 19 labels, and {folder}/setid.mat names 18 images"));
    assert_eq!(hint, "take the file as it is published");
    let (message, _) = said("cars", |set| {
        fs::copy(set.join("devkit/cars_test_annos.mat"), set.join("cars_test_annos_withlabels.mat")).unwrap();
    });
    assert_eq!(message, "SET/cars_test_annos_withlabels.mat: its annotations have no field `class`");
    let (message, _) = said("cars", |set| {
        fs::copy(set.join("devkit/cars_meta.mat"), set.join("devkit/cars_train_annos.mat")).unwrap();
    });
    assert_eq!(message, "SET/devkit/cars_train_annos.mat: it has no variable `annotations`; it has: class_names");
}

#[test]
fn tables_of_celeba_are_read_as_its_lists_are() {
    let folder = copied("celeba");
    let set = folder.path().join("celeba");
    let table = |name: &str, skip: usize, header: &str| {
        let text = fs::read_to_string(set.join(format!("{name}.txt"))).unwrap();
        let rows: Vec<String> = text.lines().skip(skip).map(|line| line.split_whitespace().collect::<Vec<_>>().join(",")).collect();
        fs::write(set.join(format!("{name}.csv")), format!("{header}{}\n", rows.join("\n"))).unwrap();
        fs::remove_file(set.join(format!("{name}.txt"))).unwrap();
    };
    let wanted = read("celeba", &sets()).unwrap();
    table("list_attr_celeba", 1, "image_id,");
    table("list_eval_partition", 0, "image_id,partition\n");
    fs::rename(set.join("img_align_celeba"), set.join("all")).unwrap();
    fs::create_dir(set.join("img_align_celeba")).unwrap();
    fs::rename(set.join("all"), set.join("img_align_celeba/img_align_celeba")).unwrap();
    let found = read("celeba", folder.path()).unwrap();
    let records = |source: &Source| source.parts.iter().flatten().map(|entry| entry.record.clone()).collect::<Vec<_>>();
    assert_eq!(records(&found), records(&wanted));
}

#[test]
fn without_a_column_celeba_has_no_classes() {
    let error = index(&target(spec("celeba", &sets())), Path::new(""), 0).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("its images have no class of their own; its columns are: 5_o_Clock_Shadow, Arched_Eyebrows,"), "{message}");
    assert_eq!(error.hint(), Some("say which column is the class: `label: { column: NAME }` under `target` in the policy"));
}

#[test]
fn photographs_of_one_class_are_refused() {
    let folder = copied("food101");
    for part in ["train", "test"] {
        let list = folder.path().join(format!("food101/food-101/meta/{part}.txt"));
        let text = fs::read_to_string(&list).unwrap();
        let of: Vec<&str> = text.lines().filter(|line| line.starts_with("apple_pie/")).collect();
        fs::write(&list, of.join("\n")).unwrap();
    }
    let error = index(&target(spec("food101", folder.path())), Path::new(""), 0).unwrap_err().to_string();
    assert!(error.ends_with("there is one class, `apple_pie`: a target task tells at least two apart"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_set_is_refused() {
    let (message, _) = said("pets", |set| {
        let images = set.join("oxford-iiit-pet/images");
        let one = fs::read_dir(&images).unwrap().next().unwrap().unwrap().path();
        let outside = set.parent().unwrap().join("elsewhere.jpg");
        fs::rename(&one, &outside).unwrap();
        std::os::unix::fs::symlink(outside, one).unwrap();
    });
    assert!(message.contains("links to a place outside"), "{message}");
}

#[test]
fn a_set_may_have_coarser_classes_by_a_column() {
    let label = LabelSpec { column: "species".into(), map: None, others: None };
    let target = Target { label: Some(label), ..target(spec("pets", &sets())) };
    let index = index(&target, Path::new(""), 0).unwrap();
    let facts = index.facts();
    assert_eq!(facts.classes, ["cat", "dog"]);
    let dogs = facts.train.iter().filter(|record| record.label == 1).count();
    assert_eq!((facts.train.len(), dogs), (12, 4));
}
