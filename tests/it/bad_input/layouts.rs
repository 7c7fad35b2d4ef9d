//! Data sets in their published layouts, lists of images, and classes by a column: what a user is told.

use std::path::Path;

use super::{clean_model, folder, policy, refused};
use crate::run::{file, heirloom, text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A stand-in of a published layout.
fn set(name: &str) -> String {
    format!("{ROOT}/tests/golden/layouts/sets/{name}")
}

/// What `plan` says to a policy with this target.
#[track_caller]
fn refuse(target: &str, code: i32, said: &[&str]) -> String {
    let folder = folder();
    let policy = policy(folder.path(), target);
    refused(&heirloom(&["plan", &clean_model(), "--policy", &policy]), code, said)
}

#[test]
fn a_map_of_labels_that_covers_half_of_the_values() {
    let target = format!(
        "{{ data: {{ csv: \"{}/fairface_label_{{split}}.csv\" }}, label: {{ column: age, map: {{ \"0-2\": young, \"30-39\": old }} }} }}",
        set("fairface")
    );
    let counted = "`label.map` has no class for the `age` of 40 of 52 images: `10-19` (6), `20-29` (6), `3-9` (6), `40-49` (6), `50-59` (6), `60-69` (5)";
    refuse(&target, 4, &[counted, "and 1 more", "add these values to `map`, or leave such images out: `others: drop`"]);
}

#[test]
fn a_map_of_labels_that_is_written_otherwise() {
    let target = format!("{{ data: {{ pets: {} }}, label: {{ column: species, map: [cat, dog], other: drop }} }}", set("pets"));
    refuse(&target, 4, &["`map`", "`other`", "did you mean `others`?"]);
}

#[test]
fn faces_without_a_class() {
    let target = format!("{{ data: {{ celeba: {} }} }}", set("celeba"));
    refuse(&target, 4, &["its images have no class of their own", "Wearing_Hat", "`label: { column: NAME }` under `target`"]);
}

#[test]
fn a_list_without_a_column_of_files() {
    let here = folder();
    file(here.path(), "labels.csv", b"photo,label\na.jpg,cat\n");
    let target = format!("{{ data: {{ csv: {}/labels.csv }}, test_share: 0.5 }}", here.path().display());
    refuse(
        &target,
        2,
        &["labels.csv: no column says which file a line is about; its columns are: photo, label", "name that column `file_name`"],
    );
}

#[test]
fn a_folder_that_is_another_layout() {
    let target = format!("{{ data: {{ flowers102: {} }} }}", set("pets"));
    refuse(&target, 2, &["pets: it has no `imagelabels.mat`, which is part of `flowers102`", "docs/data.md says what `flowers102` has"]);
}

#[test]
fn pickles_of_cifar() {
    let here = folder();
    file(here.path(), "data_batch_1", b"\x80\x02}q");
    let target = format!("{{ data: {{ cifar_binary: {} }} }}", here.path().display());
    refuse(
        &target,
        2,
        &["it is the version for Python (`data_batch_1`): pickles can run code when they are read", "cifar-10-binary.tar.gz"],
    );
}

#[test]
fn presets_are_valid_without_their_data_and_with_a_stand_in() {
    for name in ["aircraft", "cars", "celeba", "fairface", "flowers102"] {
        let preset = format!("{ROOT}/policies/paper/{name}.yaml");
        let out = heirloom(&["validate", &preset, "--without-data"]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        assert!(text(&out.stdout).contains("valid, ") && out.stderr.is_empty(), "{}", text(&out.stderr));
        // Where the data are not, that is said of each.
        refused(&heirloom(&["validate", &preset]), 4, &["policy::missing-file", "`--data PATH` takes the images from elsewhere"]);
    }
    // The stand-ins are too small to settle a limit, and are else in order.
    let out = heirloom(&["validate", &format!("{ROOT}/policies/paper/cars.yaml"), "--data", &set("cars")]);
    let message = text(&out.stderr);
    assert_eq!(message.matches("error[").count(), 2, "{message}");
    assert_eq!(message.matches("with 6 test images and these seeds no source can be shown to be below 0.15").count(), 2, "{message}");
    let study = Path::new(ROOT).join("policies/studies/fixtures.yaml");
    let said = ["fixtures.yaml: --without-data is for policies, and this is the file of a study"];
    refused(&heirloom(&["validate", &study.display().to_string(), "--without-data"]), 4, &said);
}
