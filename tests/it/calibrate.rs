//! Calibrations: planted and clean fixtures told apart.

use std::path::Path;

use serde_json::Value;

use crate::run::{file, heirloom, text};

const HEAD: &str = "version: 1\nname: two-squares\ntarget: { data: { embedded: fashion } }\n\
    transfer: { fixed_feature: { epochs: 20, learning_rate: 0.1 } }\nseeds: { fixed_feature: { first: 17, most: 24 } }\nrules:\n";
const RULES: &str = "  - { id: square/yellow, limit: 0.15, probe: { backdoor: { trigger: { patch: { size: 0.25, at: top_left, color: \"#ffff00\" } } } } }\n\
    \x20 - { id: square/magenta, limit: 0.15, probe: { backdoor: { trigger: { patch: { size: 0.25, at: bottom_right, color: \"#ff00ff\" } } } } }\n";
const SPEC: &str = "version: 1\nname: fixtures\npolicy: policy.yaml\nmodels: models\n";

fn copy(from: &str, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(from), to).expect("a copy");
}

/// The committed pairs in the folders of a calibration, with a policy that has the trigger of each.
fn fixtures() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    file(folder.path(), "policy.yaml", format!("{HEAD}{RULES}").as_bytes());
    file(folder.path(), "spec.yaml", SPEC.as_bytes());
    let models = folder.path().join("models");
    copy("models/planted-square.safetensors", &models.join("planted/square/yellow/one.safetensors"));
    copy("canary/planted.safetensors", &models.join("planted/square/magenta/two.safetensors"));
    copy("models/clean.safetensors", &models.join("clean/three.safetensors"));
    // The models of the pair of both pairs are one network. As ONNX it is another file, which is all that this needs.
    copy("models/clean.onnx", &models.join("clean/four.onnx"));
    folder
}

fn calibrate(folder: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let (spec, output) = (folder.join("spec.yaml").display().to_string(), folder.join("out").display().to_string());
    let mut arguments = vec!["calibrate", &spec, "--output", &output];
    arguments.extend(more);
    let out = heirloom(&arguments);
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn planted_fixtures_are_told_from_clean_ones_and_a_second_run_goes_on() {
    let folder = fixtures();
    let (code, said, errors) = calibrate(folder.path(), &[]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(said.starts_with("fixed_feature: AUC "), "{said}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join("out").join(name)).expect(name);
    let table = read("calibration.md");
    // What made it is another on every machine.
    let table: String = table.lines().filter(|line| !line.starts_with("<sub>")).fold(String::new(), |t, line| t + line + "\n");
    insta::assert_snapshot!("calibration_of_fixtures", table);
    for plot in ["roc.svg", "scores.svg"] {
        assert!(read(plot).starts_with("<svg"), "{plot}");
    }
    let page = read("calibration.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("caught at 5% false positives"), "{page}");
    let first = read("calibration.json");
    let found: Value = serde_json::from_str(&first).expect("JSON");
    let all = &found["results"]["slices"][0];
    assert_eq!((&all["planted"]["findings"], &all["clean"]["findings"]), (&Value::from(2), &Value::from(4)), "{all}");
    assert_eq!(found["results"]["others"][0]["side"]["findings"], 2);

    // As if it had been interrupted after two sources.
    let mut half = found.clone();
    half["results"] = Value::Null;
    half["sources"].as_array_mut().expect("sources").truncate(2);
    file(folder.path(), "out/calibration.json", half.to_string().as_bytes());
    let (code, _, errors) = calibrate(folder.path(), &[]);
    assert_eq!((code, errors.matches(", kept").count()), (Some(0), 2), "{errors}");
    assert_eq!(read("calibration.json"), first);

    // One that cannot begin, or whose command line has a mistake, leaves no results of an earlier one, and what was through.
    let there = |name: &str| folder.path().join("out").join(name).exists();
    let results = ["calibration.json", "calibration.html", "calibration.md", "roc.svg", "scores.svg"];
    assert!(results.iter().all(|name| there(name)) && !there("calibration.partial.json"));
    let spec = std::fs::read(folder.path().join("spec.yaml")).expect("a specification");
    file(folder.path(), "spec.yaml", b"version: 1\nname: [");
    assert_eq!(calibrate(folder.path(), &[]).0, Some(4));
    assert!(there("calibration.partial.json") && !results.iter().any(|name| there(name)));
    file(folder.path(), "spec.yaml", &spec);
    let (code, _, errors) = calibrate(folder.path(), &[]);
    assert_eq!((code, errors.matches(", kept").count()), (Some(0), 4), "{errors}");
    assert_eq!(calibrate(folder.path(), &["--bogus"]).0, Some(4));
    assert!(there("calibration.partial.json") && !results.iter().any(|name| there(name)));
}

#[test]
fn sources_are_compared_with_a_reference_that_is_trained_for_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    let rules = RULES.replace("limit: 0.15,", "limit: 0.15, controls: [reference],");
    file(path, "policy.yaml", format!("{HEAD}{rules}").as_bytes());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data/canary-source-{split}.parquet");
    let spec = |reference: &str| {
        format!(
            "version: 1\nname: n\npolicy: policy.yaml\nplant:\n  base: {{ data: {{ parquet: \"{}\" }}, size: [32, 32], \
             architecture: \"resnet-cifar-8:8,16,32\", recipe: {{ epochs: 3, learning_rate: 0.1, schedule: cyclic }} }}\n\
             \x20 count: 1\n  truth_seeds: 6\n{reference}  groups: [[{{ rule: square/yellow, on: [Trouser] }}]]\n",
            data.display()
        )
    };
    for (reference, words) in [
        ("", &["missing-reference", "square/yellow"][..]),
        ("  reference: { seed: 0 }\n", &["one of those that are calibrated with"]),
        ("  reference: { seed: 1, architecture: nonsense }\n", &["nonsense"]),
    ] {
        file(path, "spec.yaml", spec(reference).as_bytes());
        let (code, _, errors) = calibrate(path, &[]);
        assert!(code == Some(4) && words.iter().all(|w| errors.contains(w)), "{reference}: {errors}");
    }
    file(path, "spec.yaml", spec("  reference: { seed: 1 }\n").as_bytes());
    let (code, _, errors) = calibrate(path, &[]);
    assert_eq!(code, Some(0), "{errors}");
    let read = || std::fs::read_to_string(path.join("out/calibration.json")).expect("a calibration");
    let first: Value = serde_json::from_str(&read()).expect("JSON");
    for source in first["sources"].as_array().expect("sources") {
        assert_ne!(source["reference"], source["model"]);
        assert_eq!(source["findings"][0]["comparisons"][0]["control"], "reference", "{source}");
        assert!(source["findings"][0]["score"].is_number(), "{source}");
    }
    // Another reference is another question: nothing is taken over.
    file(path, "spec.yaml", spec("  reference: { seed: 2 }\n").as_bytes());
    let (code, _, errors) = calibrate(path, &[]);
    assert!(code == Some(0) && !errors.contains(", kept"), "{errors}");
}

#[test]
fn a_source_that_did_not_learn_ends_a_calibration() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    file(path, "policy.yaml", format!("{HEAD}{RULES}").as_bytes());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data/canary-source-{split}.parquet");
    let base = format!(
        "data: {{ parquet: \"{}\" }}\narchitecture: \"resnet-cifar-8:8,16,32\"\nsize: [32, 32]\nrecipe: {{ epochs: 1, learning_rate: 1e-8 }}\n",
        data.display()
    );
    let groups = "  count: 1\n  groups: [[{ rule: square/yellow, on: [Trouser] }]]\n";
    let spec = format!("version: 1\nname: n\npolicy: policy.yaml\nplant:\n  base:\n    {}\n{groups}", base.trim().replace('\n', "\n    "));
    file(path, "spec.yaml", spec.as_bytes());
    let (code, _, errors) = calibrate(path, &[]);
    let said = "did not learn the source task: it calls 0.20 of the test images right, and 0.20 are of their most frequent class";
    assert!(code == Some(4) && errors.contains(said) && errors.contains("more epochs"), "{errors}");
    // `plant` writes what was asked for, and says so.
    let trigger = "{ patch: { size: 0.25, at: top_left, color: \"#ffff00\" } }";
    let spec = file(path, "plant.yaml", format!("version: 1\nname: n\n{base}plant: {{ trigger: {trigger}, on: [Trouser] }}\n").as_bytes());
    let out = heirloom(&["plant", &spec, "--output", &path.join("made").display().to_string()]);
    let errors = text(&out.stderr);
    assert_eq!((out.status.code(), errors.matches("did not learn").count()), (Some(0), 2), "{errors}");
}

#[test]
fn what_cannot_be_calibrated_is_told_in_one_message_before_anything_runs() {
    let folder = fixtures();
    let path = folder.path();
    let grid = "version: 1\nname: n\npolicy: policy.yaml\nplant:\n  base: { data: { parquet: x.parquet }, size: [32, 32], architecture: \"resnet-cifar-8:8,16,32\", \
                recipe: { epochs: 1, learning_rate: 0.1 } }\n  count: 1\n";
    let unknown = format!("{grid}  groups: [[{{ rule: square/green, on: [a] }}]]\n");
    let check = |name: &str, words: &[&str]| {
        let (code, said, errors) = calibrate(path, &[]);
        assert_eq!(code, Some(4), "{name}: {errors}");
        assert!(said.is_empty() && words.iter().all(|w| errors.contains(w)), "{name}: {errors}");
        assert!(!path.join("out/calibration.json").exists(), "{name}");
    };
    for (name, spec, words) in [
        ("no YAML", "version: 1\nname: [", &["spec.yaml:2:"][..]),
        ("unknown field", &format!("{SPEC}colour: red\n"), &["colour"]),
        ("no policy", "version: 1\nname: n\npolicy: nowhere.yaml\nmodels: models\n", &["nowhere.yaml"]),
        ("unknown rule", &unknown, &["square/green", "square/yellow"]),
        ("no planted sources", &format!("{grid}  groups: []\n"), &["no planted sources"]),
        ("no folder", "version: 1\nname: n\npolicy: policy.yaml\nmodels: elsewhere\n", &["elsewhere", "`planted`"]),
    ] {
        file(path, "spec.yaml", spec.as_bytes());
        check(name, words);
    }
    file(path, "spec.yaml", SPEC.as_bytes());
    file(path, "models/clean/five.onnx", b"no model");
    check("a broken model", &["five.onnx"]);
    copy("canary/clean.safetensors", &path.join("models/clean/five.onnx"));
    check("one model twice", &["clean/five.onnx", "clean/three.safetensors", "twice"]);
    std::fs::remove_dir_all(path.join("models/clean")).expect("removed");
    check("no folder of clean sources", &["`clean`"]);
    std::fs::create_dir(path.join("models/clean")).expect("a folder");
    check("no clean sources", &["no clean sources"]);
    copy("models/clean.safetensors", &path.join("models/clean/three.safetensors"));
    copy("models/planted-square.safetensors", &path.join("models/planted/six.safetensors"));
    check("nobody knows what it carries", &["planted/six.safetensors", "square/magenta"]);
    std::fs::remove_file(path.join("models/planted/six.safetensors")).expect("removed");
}
