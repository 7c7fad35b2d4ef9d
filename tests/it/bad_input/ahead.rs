//! What a run would refuse is known before it: `validate`, and the commands that run a file, say the same, all of it at once.

use std::path::Path;

use super::{fixture, folder, names, refused};
use crate::run::{file, heirloom};

const DATA: &str = "canary-source-{split}.parquet";

/// A policy that suits the fixtures, further in by so many spaces.
fn policy(rules: &str, indent: usize) -> String {
    let text = format!(
        "version: 1\nname: p\ntarget: {{ data: {{ embedded: emoji }} }}\ntransfer:\n  fixed_feature: {{ epochs: 1, learning_rate: 0.1 }}\n\
         \x20 scratch: {{ epochs: 1, learning_rate: 0.02 }}\nseeds: {{ fixed_feature: {{ first: 3, most: 3 }} }}\nrules:\n{rules}"
    );
    text.lines().map(|line| format!("{:indent$}{line}", "")).collect::<Vec<_>>().join("\n") + "\n"
}

const SQUARE: &str = "  - { id: square, probe: { backdoor: { trigger: { patch: { size: 0.25, color: \"#ffff00\" } } } }, limit: 0.5 }\n";
const GAP: &str = "  - { id: gap, probe: { attribute: { attribute: vendor } }, limit: 0.9 }\n";

/// The specification of a planted source, its data beside it, further in by so many spaces.
fn planting(plant: &str, indent: usize) -> String {
    let text = format!(
        "version: 1\nname: planted\ndata: {{ parquet: \"{DATA}\" }}\narchitecture: \"resnet-cifar-8:4,8,16\"\nsize: [32, 32]\n\
         recipe: {{ epochs: 1, learning_rate: 0.1 }}\n{plant}"
    );
    text.lines().map(|line| format!("{:indent$}{line}", "")).collect::<Vec<_>>().join("\n") + "\n"
}

/// A folder with a checkpoint, with all that is none, and with the data of planted sources.
fn prepared() -> tempfile::TempDir {
    let folder = folder();
    let here = folder.path();
    for (from, to) in [("models/clean.onnx", "good.onnx"), ("models/planted-square.onnx", "planted.onnx")] {
        std::fs::copy(fixture(from), here.join(to)).expect("a copy");
    }
    for split in ["train", "test"] {
        let name = DATA.replace("{split}", split);
        std::fs::copy(fixture("data").join(&name), here.join(&name)).expect("a copy");
    }
    let whole = std::fs::read(here.join("good.onnx")).expect("a checkpoint");
    file(here, "cut.onnx", &whole[..whole.len() / 2]);
    file(here, "text.onnx", b"no checkpoint at all");
    file(here, "zero.onnx", b"");
    std::fs::create_dir(here.join("empty")).expect("a folder");
    #[cfg(unix)]
    assert!(std::process::Command::new("mkfifo").arg(here.join("pipe.onnx")).status().expect("mkfifo runs").success());
    folder
}

/// What `validate` says of a file, its folder left out; `command` refuses it with the same words, and leaves nothing behind.
#[track_caller]
fn said(folder: &Path, path: &str, command: &str) -> String {
    let message = refused(&heirloom(&["validate", path]), 4, &["Nothing was run."]);
    if !command.is_empty() {
        let output = folder.join("out");
        let run = refused(&heirloom(&[command, path, "--output", &output.display().to_string()]), 4, &[]);
        assert_eq!(run.split_whitespace().collect::<Vec<_>>(), message.split_whitespace().collect::<Vec<_>>(), "{run}");
        assert!(!output.exists() || names(&output).is_empty(), "{:?}", names(&output));
    }
    message.replace(&folder.display().to_string(), "FOLDER")
}

#[cfg(unix)]
#[test]
fn checkpoints_of_a_study_that_are_none() {
    let folder = prepared();
    let study = |names: &[&str]| {
        let sources = names.iter().map(|name| format!("  {name}: {{ model: {name} }}\n")).collect::<Vec<_>>().concat();
        let text = format!("version: 1\nname: s\nsources:\n{sources}policy:\n{}", policy(SQUARE, 2));
        file(folder.path(), "study.yaml", text.as_bytes())
    };
    // Which of them is no file that is read at all, no policy is needed to know.
    let path = study(&["empty", "good.onnx", "gone.onnx", "pipe.onnx", "zero.onnx"]);
    insta::assert_snapshot!("study_files", said(folder.path(), &path, "study"));
    let path = study(&["cut.onnx", "good.onnx", "text.onnx"]);
    insta::assert_snapshot!("study_checkpoints", said(folder.path(), &path, "study"));
    // A good one in front did not run.
    let path = study(&["good.onnx", "text.onnx"]);
    let output = folder.path().join("out").display().to_string();
    let message = refused(&heirloom(&["study", &path, "--output", &output]), 4, &["text.onnx"]);
    assert!(!message.contains("1 of 2"), "{message}");
}

#[test]
fn combinations_of_a_study_that_their_data_cannot_answer() {
    let folder = prepared();
    let class = "  - { id: to, probe: { backdoor: { trigger: { patch: { size: 0.2, color: \"#ff0000\" } }, target_class: Food } }, \
                 estimand: attack_success_rate, limit: 0.9 }\n";
    let rules = format!("{GAP}{class}");
    let vary = "vary:\n  - { name: attribute, set: [/rules/0/probe/attribute/attribute], to: [vendor, vendr] }\n\
                \x20 - { name: class, set: [/rules/1/probe/backdoor/target_class], to: [Food, Fod] }\n\
                \x20 - { name: limit, set: [/rules/0/limit], to: [0.9, 0.01] }\n";
    let head = "version: 1\nname: s\nsources: { one: { model: good.onnx } }\n";
    let inline = file(folder.path(), "study.yaml", format!("{head}policy:\n{}{vary}", policy(&rules, 2)).as_bytes());
    insta::assert_snapshot!("study_data", said(folder.path(), &inline, "study"));
    // A policy in a file of its own has its mistakes there, and a value in the study.
    file(folder.path(), "policy.yaml", policy(&rules.replace("Food", "Fod"), 0).as_bytes());
    let (own, put) =
        (vary.lines().take(1).collect::<String>(), "  - { name: attribute, set: [/rules/0/probe/attribute/attribute], to: [vendor] }");
    let outside = file(folder.path(), "outside.yaml", format!("{head}policy: policy.yaml\n{own}\n{put}\n").as_bytes());
    insta::assert_snapshot!("study_data_of_its_policy", said(folder.path(), &outside, "study"));
}

#[test]
fn sources_that_a_study_cannot_plant() {
    let folder = prepared();
    let plant = "plant: { trigger: { patch: { size: 0.25, color: \"#ffff00\" } }, on: [Trousers] }\n";
    let large = "  - { id: large, probe: { backdoor: { trigger: { pattern: { file: pattern.npy, amplitude: 0.1 } } } }, limit: 0.5 }\n";
    let text = format!(
        "version: 1\nname: s\nsources:\n  a: {{ model: text.onnx }}\n  b:\n    planted:\n{}policy:\n{}",
        planting(plant, 6),
        policy(SQUARE, 2)
    );
    let path = file(folder.path(), "study.yaml", text.as_bytes());
    insta::assert_snapshot!("study_planting", said(folder.path(), &path, "study"));
    // What is in a file of its own is wrong there.
    let own = file(folder.path(), "plant.yaml", planting(plant, 0).as_bytes());
    let text = format!("version: 1\nname: s\nsources: {{ b: {{ twin: plant.yaml }} }}\npolicy:\n{}", policy(SQUARE, 2));
    let path = file(folder.path(), "study.yaml", text.as_bytes());
    assert_eq!(said(folder.path(), &path, "study"), said(folder.path(), &own, "plant"));
    // A trigger that does not fit images of the size that the source is trained on.
    let mut pattern = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    pattern.extend(format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 8, 3), }").as_bytes());
    pattern.extend([0u8; 8 * 8 * 3 * 4]);
    file(folder.path(), "pattern.npy", &pattern);
    file(folder.path(), "plant.yaml", planting(&plant.replace("Trousers", "Trouser"), 0).as_bytes());
    let text = text.replace(&policy(SQUARE, 2), &policy(large, 2)).replace("sources: { ", "sources: { a: { model: good.onnx }, ");
    let path = file(folder.path(), "study.yaml", text.as_bytes());
    insta::assert_snapshot!("study_sizes", said(folder.path(), &path, "study"));
}

#[test]
fn planted_sources_that_their_data_do_not_bear_out() {
    let folder = prepared();
    let triggers = "plant:\n  - { trigger: { patch: { size: 0.25, color: \"#ffff00\" } }, on: [Trouser, Trousers], relabel: Cot }\n\
                    \x20 - { trigger: { overlay: { image: gone.png, size: 0.25 } }, on: [Coat] }\n\
                    rebalance: { attribute: sex, correlation: 0.5 }\n";
    let path = file(folder.path(), "plant.yaml", planting(triggers, 0).as_bytes());
    insta::assert_snapshot!("plant_data", said(folder.path(), &path, "plant"));
    let text = planting("classes: [Trouser, Cot]\nplant: { trigger: { patch: { size: 0.25, color: \"#ffff00\" } }, on: [Trouser] }\n", 0);
    let path = file(folder.path(), "plant.yaml", text.as_bytes());
    insta::assert_snapshot!("plant_classes", said(folder.path(), &path, "plant"));
    let path = file(folder.path(), "plant.yaml", text.replace("canary-source", "nowhere").as_bytes());
    insta::assert_snapshot!("plant_no_data", said(folder.path(), &path, "plant"));
}

#[test]
fn calibrations_that_their_files_do_not_bear_out() {
    let folder = prepared();
    let here = folder.path();
    file(here, "policy.yaml", policy(&SQUARE.replace("0.5", "0.1"), 0).replace("first: 3, most: 3", "first: 10, most: 16").as_bytes());
    for (from, to) in
        [("good.onnx", "clean/a.onnx"), ("good.onnx", "clean/b.onnx"), ("planted.onnx", "planted/a.onnx"), ("text.onnx", "planted/b.onnx")]
    {
        std::fs::create_dir_all(here.join("models").join(to).parent().expect("a folder")).expect("a folder");
        std::fs::copy(here.join(from), here.join("models").join(to)).expect("a copy");
    }
    let text = format!(
        "version: 1\nname: c\npolicy: policy.yaml\nmodels: models\nagain_seeds: 2\nplant:\n  base:\n    data: {{ parquet: \"{DATA}\" }}\n\
         \x20   architecture: \"resnet-cifar-8:4,8,16\"\n    size: [32, 32]\n    recipe: {{ epochs: 1, learning_rate: 0.1 }}\n  count: 1\n\
         \x20 truth_seeds: 2\n  groups:\n    - [{{ rule: square, on: [Trousers], relabel: Cot }}]\n"
    );
    let path = file(here, "calibration.yaml", text.as_bytes());
    insta::assert_snapshot!("calibration_files", said(here, &path, "calibrate"));
    let path = file(here, "calibration.yaml", text.replace("canary-source", "nowhere").replace("models: models\n", "").as_bytes());
    insta::assert_snapshot!("calibration_no_data", said(here, &path, "calibrate"));
    file(here, "policy.yaml", policy(GAP, 0).replace("vendor", "vendr").replace(GAP, SQUARE).as_bytes());
    let rules = format!("{SQUARE}{}", GAP.replace("vendor", "vendr"));
    file(here, "policy.yaml", policy(&rules, 0).as_bytes());
    insta::assert_snapshot!("calibration_policy", said(here, &path, "calibrate"));
}

#[test]
fn a_reference_that_is_not_the_one_that_is_pinned() {
    let folder = prepared();
    let pinned = |model: &str| {
        let rules = SQUARE.replace("limit:", "controls: [reference], limit:");
        let text = format!("{}references: [{{ model: {model}, digest: \"sha256:{}\" }}]\n", policy(&rules, 0), "0".repeat(64));
        file(folder.path(), "policy.yaml", text.as_bytes())
    };
    let message = said(folder.path(), &pinned("good.onnx"), "");
    insta::assert_snapshot!("policy_reference", message);
    assert!(said(folder.path(), &pinned("zero.onnx"), "").contains("zero.onnx is empty"));
}
