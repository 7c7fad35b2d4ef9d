//! The policies of the paper's target tasks, each on a stand-in of its data (tests/golden/layouts/make.py).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::{Options, load_with};
use crate::data;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the stand-in of a task is. The two of CIFAR are made in `folder`.
fn stand_in(name: &str, folder: &Path) -> PathBuf {
    let sets = root().join("tests/golden/layouts/sets");
    let (files, classes, labels): (&[&str], u8, usize) = match name {
        "cifar10" => (&["data_batch_1.bin", "test_batch.bin"], 10, 1),
        "cifar100" => (&["train.bin", "test.bin"], 100, 2),
        _ => return sets.join(name),
    };
    for (at, file) in files.iter().enumerate() {
        let image = |class: u8| [&[class / 5, class][2 - labels..], &[class + at as u8; 3072]].concat();
        std::fs::write(folder.join(file), (0..classes).flat_map(image).collect::<Vec<u8>>()).unwrap();
    }
    folder.to_owned()
}

#[test]
fn every_preset_opens_its_stand_in() {
    // Classes, images that train and that measure, attributes.
    let expected: BTreeMap<&str, (usize, usize, usize, usize)> = [
        ("aircraft", (3, 9, 6, 2)),
        ("birdsnap", (2, 8, 4, 0)),
        ("caltech101", (3, 6, 6, 0)),
        ("caltech256", (3, 6, 6, 0)),
        ("cars", (3, 12, 6, 0)),
        ("celeba", (2, 12, 8, 40)),
        ("cifar10", (10, 10, 10, 0)),
        ("cifar100", (100, 100, 100, 1)),
        ("fairface", (2, 36, 16, 4)),
        ("flowers102", (3, 12, 6, 0)),
        ("food101", (3, 12, 6, 0)),
        ("pets", (3, 12, 6, 1)),
        ("sun397", (3, 12, 6, 0)),
    ]
    .into();
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("policies/paper")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = tempfile::tempdir().unwrap();
        let data = Some(stand_in(&name, folder.path()));
        let (mut policy, remarks) = load_with(&path, &Options { data, ..Options::default() }).unwrap();
        assert!(remarks.is_empty(), "{name}: {remarks:?}");
        // A stand-in has four images of each class.
        if let Some(count) = &mut policy.file.target.train_per_class {
            assert_eq!(*count, if name == "caltech101" { 30 } else { 60 });
            *count = 2;
        }
        let index = data::index(&policy.file.target, &policy.base, 0).unwrap();
        let facts = index.facts();
        for rule in &policy.rules {
            if let Some(attribute) = rule.probe.compared() {
                facts.has_attribute(attribute.attribute).unwrap();
            }
        }
        let attributes = facts.test[0].attributes.columns().count();
        found.insert(name, (facts.classes.len(), facts.train.len(), facts.test.len(), attributes));
    }
    let found: BTreeMap<&str, _> = found.iter().map(|(name, counts)| (name.as_str(), *counts)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_preset_is_valid_where_its_data_are_not() {
    for entry in std::fs::read_dir(root().join("policies/paper")).unwrap() {
        let path = entry.unwrap().path();
        let (policy, remarks) = load_with(&path, &Options { without_data: true, ..Options::default() }).unwrap();
        assert!(remarks.is_empty() && policy.rules.len() >= 2, "{}: {remarks:?}", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for part in ["# Get the data: ", "# The folder: ", "# Change: ", &name] {
            assert!(text.contains(part), "{name}: {part}");
        }
        // The paper's: all but the rate, and how long.
        for recipe in [&policy.file.transfer.fixed_feature, &policy.file.transfer.full_network, &policy.file.transfer.scratch] {
            let recipe = recipe.as_ref().unwrap();
            let of_scratch = recipe == policy.file.transfer.scratch.as_ref().unwrap();
            assert_eq!(serde_json::to_value(&recipe.schedule).unwrap(), serde_json::json!({ "cyclic": { "peak": 5 } }), "{name}");
            assert_eq!((recipe.batch_size, recipe.weight_decay), (1024, if of_scratch { 1e-2 } else { 5e-4 }), "{name}");
        }
    }
}
