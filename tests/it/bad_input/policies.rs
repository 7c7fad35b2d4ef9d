//! Policies, and specifications of what to plant.

use super::models::with_header;
use super::{clean_model, folder, names, refused};
use crate::run::{file, heirloom, text};

#[test]
fn a_policy_with_many_mistakes_shows_them_all() {
    let folder = folder();
    let text = "version: 2\nname: ''\ntarget: { data: { embeded: fashion } }\ntransfer: {}\nrules: []\nfail_on: hihg\n";
    let policy = file(folder.path(), "policy.yaml", text.as_bytes());
    let said = ["policy.yaml:1:", "policy.yaml:2:", "`embedded`", "`high`", "5 errors. Nothing was run."];
    let message = refused(&heirloom(&["validate", &policy]), 4, &said);
    assert_eq!(message.matches("error[policy::").count(), 5, "{message}");
    refused(&heirloom(&["certify", &clean_model(), "--policy", &policy]), 4, &said);
}

#[test]
fn a_policy_that_is_too_large() {
    let folder = folder();
    let policy = file(folder.path(), "policy.yaml", &vec![b'#'; (1 << 20) + 1]);
    for arguments in [&["validate", &policy][..], &["plan", &clean_model(), "--policy", &policy]] {
        refused(&heirloom(arguments), 4, &["policy.yaml is larger than 1 MiB"]);
    }
}

#[test]
fn a_policy_that_is_no_text() {
    let folder = folder();
    let policy = file(folder.path(), "policy.yaml", b"version: 1\nname: \xff\xfe\n");
    refused(&heirloom(&["validate", &policy]), 4, &["policy.yaml:2:7", "save the file as UTF-8"]);
}

#[test]
fn a_policy_whose_files_are_missing() {
    let folder = folder();
    let policy = super::policy(folder.path(), r#"{ data: { parquet: "none-{split}.parquet" } }"#);
    let said = ["none-train.parquet", "none-test.parquet", "paths start from the policy's folder", "2 errors. Nothing was run."];
    refused(&heirloom(&["plan", &clean_model(), "--policy", &policy]), 4, &said);
}

#[test]
fn a_file_that_is_no_policy() {
    let folder = folder();
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    for (name, said, how, valid) in [
        ("policies/studies/fixtures.yaml", "this is a study", "heirloom study", "a study of 6 certifications"),
        ("policies/calibration/fixtures.yaml", "the specification of a calibration", "heirloom calibrate", "a calibration with 4 sources"),
        ("fixtures/plant/square.yaml", "the specification of a planted source", "heirloom plant", "a planted source"),
    ] {
        let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        refused(&heirloom(&["plan", &clean_model(), "--policy", &path]), 4, &[said, how, "1 error. Nothing was run."]);
        let out = heirloom(&["validate", &path]);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), format!("{path}: valid, {valid}\n")), "{}", text(&out.stderr));
    }
    let output = folder.path().join("out").display().to_string();
    for command in ["study", "calibrate", "plant"] {
        refused(&heirloom(&[command, &policy, "--output", &output]), 4, &["this is a policy", "heirloom certify"]);
    }
}

#[test]
fn files_of_every_kind_show_all_their_mistakes_at_once() {
    let folder = folder();
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let good = std::fs::read_to_string(super::fixture("plant/square.yaml")).expect("the fixture");
    let plant = good.replace("size: [32, 32]", "size: [32, 3]").replace("name: planted-square", "name: a/b").replace("twin:", "twn:");
    let study = "version: 1\nsources: { a: { model: nowhere.onnx }, b: { modle: x } }\npolicy: policy.yaml\nvari: []\n";
    let calibration = "version: 1\nname: n\npolicy: policy.yaml\nplants: {}\nagain_seeds: 1\n";
    let [plant, study, calibration] = [("plant.yaml", plant.as_str()), ("study.yaml", study), ("calibration.yaml", calibration)]
        .map(|(name, text)| file(folder.path(), name, text.as_bytes()));
    let out = heirloom(&["validate", &policy, &plant, &study, &calibration]);
    assert_eq!(out.status.code(), Some(4));
    let said = text(&out.stderr).replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!("validate_every_kind", said);
    let out = heirloom(&["validate", &study, "--format", "json"]);
    let list: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert!(list.as_array().is_some_and(|all| all.len() > 2 && all.iter().all(|one| one["file"] == study)), "{list}");
}

#[test]
fn a_normalisation_of_another_scale_or_against_the_checkpoint() {
    let folder = folder();
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let text = std::fs::read_to_string(&policy).expect("a policy");
    for (input, said) in [
        ("mean: [123, 117, 104], std: [58, 57, 57]", "entry 1 of `mean` is 123, it must be at most 1"),
        ("mean: [0.5, 0.5, 0.5], std: [0, 0, 0]", "entry 1 of `std` is 0, it must be at least 0.002"),
        ("mean: [0.5, 0.5, 0.5], std: [0.001, 0.001, 0.001]", "of `std` is 0.001, it must be at least 0.002"),
    ] {
        let policy = file(folder.path(), "scale.yaml", format!("{text}input: {{ {input} }}\n").as_bytes());
        refused(&heirloom(&["validate", &policy]), 4, &[said]);
    }
    let policy = file(folder.path(), "other.yaml", format!("{text}input: {{ mean: [0.1, 0.1, 0.1], std: [0.9, 0.9, 0.9] }}\n").as_bytes());
    let output = folder.path().join("out").display().to_string();
    let out = heirloom(&["certify", &clean_model(), "--policy", &policy, "--output", &output]);
    let report = std::fs::read_to_string(folder.path().join("out/report.json")).expect("a report");
    assert!(report.contains("the checkpoint says otherwise: mean"), "{}", crate::run::text(&out.stderr));
}

#[test]
fn a_trigger_image_that_is_none() {
    let folder = folder();
    file(folder.path(), "square.png", b"\x89PNG\r\n\x1a\n and nothing more");
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let text = std::fs::read_to_string(&policy).expect("a policy").replace("color: \"#ffff00\"", "image: square.png");
    let policy = file(folder.path(), "policy.yaml", text.as_bytes());
    refused(&heirloom(&["validate", &policy]), 4, &["policy.yaml:10:", "square.png: cannot be decoded", "give a PNG, JPEG or WebP"]);
}

#[test]
fn a_specification_of_what_to_plant_that_cannot_be_read() {
    let folder = folder();
    let output = folder.path().join("models");
    let good = std::fs::read_to_string(super::fixture("plant/square.yaml")).expect("the fixture");
    let good = good.replace("../data/", &format!("{}/", super::fixture("data").display()));
    for (text, said) in [
        ("version: 1\nname: [".to_owned(), "spec.yaml:2:"),
        (good.replace("recipe:", "recip:"), "recip"),
        (good.replace("version: 1", "version: 2"), "`version` is 2, this program reads version 1"),
        (good.replace("[Trouser]", "[Trousers]"), "there is no class `Trousers`"),
        (good.replace("resnet-cifar-8", "resnet-cifar-9"), "resnet-cifar-9"),
        (good.replace("batch_size: 64", "batch_size: 0"), "`batch_size` is 0, it must be at least 1"),
        (good.replace("epochs: ", "epochs: 9999999"), "`epochs` is 9999999"),
        (good.replace("size: [32, 32]", "size: [0, 0]"), "`size` is 0x0 pixels"),
        (good.replace("name: planted-square", "name: ../planted"), "`../planted` is no name of a file"),
        (good.replace("name: planted-square", "name: clean"), "both called `clean`"),
    ] {
        let spec = file(folder.path(), "spec.yaml", text.as_bytes());
        refused(&heirloom(&["plant", &spec, "--output", &output.display().to_string()]), 4, &["spec.yaml", said]);
        assert!(!output.exists() || names(&output).is_empty());
    }
}

#[test]
fn a_reference_that_is_another_file_or_sees_other_images() {
    let folder = folder();
    let large = with_header(|header| header["__metadata__"]["heirloom.size"] = "[48,48]".into());
    file(folder.path(), "large.safetensors", &large);
    let digest = text(&heirloom(&["inspect", &folder.path().join("large.safetensors").display().to_string(), "--format", "json"]).stdout);
    let digest: serde_json::Value = serde_json::from_str(&digest).expect("JSON");
    let digest = digest["identity"]["digest"].as_str().expect("a digest");
    let plain = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let plain = std::fs::read_to_string(&plain).expect("a policy").replace("    limit:", "    controls: [reference]\n    limit:");
    assert!(plain.contains("[reference]"), "{plain}");
    let output = folder.path().join("out").display().to_string();
    let spec = "version: 1\nname: n\npolicy: policy.yaml\nmodels: models\n";
    let spec = file(folder.path(), "spec.yaml", spec.as_bytes());
    for kind in ["planted", "clean"] {
        std::fs::create_dir_all(folder.path().join("models").join(kind)).expect("a folder");
    }
    std::fs::copy(super::fixture("models/clean.onnx"), folder.path().join("models/clean/c.onnx")).expect("a copy");
    std::fs::copy(super::fixture("models/planted-square.onnx"), folder.path().join("models/planted/p.onnx")).expect("a copy");
    let study = format!("version: 1\nname: s\nsources: {{ clean: {{ model: \"{}\" }} }}\npolicy: policy.yaml\n", clean_model());
    let study = file(folder.path(), "study.yaml", study.as_bytes());
    let itself = {
        let text = text(&heirloom(&["inspect", &clean_model(), "--format", "json"]).stdout);
        let inspected: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        inspected["identity"]["digest"].as_str().expect("a digest").to_owned()
    };
    let own = format!("{plain}references: [{{ model: \"{}\", digest: {itself} }}]\n", clean_model());
    let own = file(folder.path(), "own.yaml", own.as_bytes());
    refused(&heirloom(&["certify", &clean_model(), "--policy", &own]), 4, &["clean.onnx has the weights of the checkpoint under test"]);
    // Nor is another file with the same weights: eight spaces at the end of the header.
    let weights = std::fs::read(super::fixture("models/clean.safetensors")).expect("a fixture");
    let header = u64::from_le_bytes(weights[..8].try_into().expect("8 bytes"));
    let (before, after) = weights[8..].split_at(header as usize);
    let padded = [&(header + 8).to_le_bytes(), before, b"        ", after].concat();
    let copy = file(folder.path(), "copy.safetensors", &padded);
    let inspected = text(&heirloom(&["inspect", &copy, "--format", "json"]).stdout);
    let inspected: serde_json::Value = serde_json::from_str(&inspected).expect("JSON");
    let alike = format!("{plain}references: [{{ model: copy.safetensors, digest: {} }}]\n", inspected["identity"]["digest"]);
    let alike = file(folder.path(), "alike.yaml", alike.as_bytes());
    let original = super::fixture("models/clean.safetensors").display().to_string();
    refused(&heirloom(&["certify", &original, "--policy", &alike]), 4, &["copy.safetensors has the weights of the checkpoint under test"]);
    for (pinned, said) in [
        (format!("sha256:{}", "0".repeat(64)).as_str(), &["large.safetensors", digest, "the policy pins sha256:0000"][..]),
        // As earlier releases wrote it.
        ("0".repeat(64).as_str(), &["earlier releases", "large.safetensors is another file", digest]),
        (digest, &["large.safetensors takes images of 48x48 pixels", ".onnx of 32x32", "same size"]),
    ] {
        let text = format!("{plain}references: [{{ model: large.safetensors, digest: \"{pinned}\" }}]\n");
        let policy = file(folder.path(), "policy.yaml", text.as_bytes());
        refused(&heirloom(&["plan", &clean_model(), "--policy", &policy]), 4, said);
        refused(&heirloom(&["certify", &clean_model(), "--policy", &policy, "--output", &output]), 4, said);
        refused(&heirloom(&["study", &study, "--output", &output]), 4, said);
        // A calibration reads its policy before the files that the policy names: of an earlier digest it says no more than that.
        let said = if pinned.starts_with('0') { &said[..1] } else { said };
        refused(&heirloom(&["calibrate", &spec, "--output", &output]), 4, said);
    }
    // What configures it is part of it.
    file(folder.path(), "config.json", b"{}");
    let text = format!("{plain}references: [{{ model: large.safetensors, digest: \"{digest}\" }}]\n");
    let policy = file(folder.path(), "policy.yaml", text.as_bytes());
    let said = ["pins the weights of the reference large.safetensors alone, and config.json beside them", "write `digest: sha256:"];
    refused(&heirloom(&["plan", &clean_model(), "--policy", &policy]), 4, &said);
}

#[test]
fn findings_of_one_name() {
    let folder = folder();
    let plain = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let plain = std::fs::read_to_string(&plain).expect("a policy");
    let swept = |values: &str, more: &str| {
        let rule = plain.replace("\"#ffff00\" } } } }", &format!("\"#ffff00\" }} }}, sweep: {{ size: [{values}] }} }} }}"));
        assert!(rule.contains("sweep"), "{rule}");
        file(folder.path(), "policy.yaml", format!("{rule}{more}").as_bytes())
    };
    let second =
        "  - { id: backdoor/square/size-0.2, limit: 0.2, probe: { backdoor: { trigger: { blend: { seed: 1, opacity: 0.2 } } } } }\n";
    for (values, more) in [("0.1, 0.2, 0.1", ""), ("0.1, 0.2", second)] {
        let said = ["policy::duplicate-rule", "two findings would be called `backdoor/square/size-0."];
        refused(&heirloom(&["validate", &swept(values, more)]), 4, &said);
    }
    assert_eq!(heirloom(&["validate", &swept("0.1, 0.2", "")]).status.code(), Some(0));
}

#[test]
fn a_trigger_that_does_not_fit_the_images() {
    let folder = folder();
    let plain = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let plain = std::fs::read_to_string(&plain).expect("a policy");
    let patch = "patch: { size: 0.25, at: top_left, color: \"#ffff00\" }";
    assert!(plain.contains(patch), "{plain}");
    for (trigger, said) in [
        ("patch: { size: 0.4, at: grid, color: \"#ffff00\" }", "39x39 pixels"),
        ("sinusoid: { amplitude: 0.1, periods: 40 }", "40"),
        ("low_frequency: { seed: 1, amplitude: 0.1, cutoff: 60 }", "60"),
    ] {
        let text = plain.replace(patch, trigger).replace("    limit:", "    controls: [sham]\n    limit:");
        let policy = file(folder.path(), "policy.yaml", text.as_bytes());
        let output = folder.path().join("out").display().to_string();
        let said = ["backdoor/square (", "policy.yaml:13)", said];
        refused(&heirloom(&["plan", &clean_model(), "--policy", &policy]), 4, &said);
        let message = refused(&heirloom(&["certify", &clean_model(), "--policy", &policy, "--output", &output]), 4, &said);
        assert!(!message.contains("self-test"), "{message}");
    }
}
