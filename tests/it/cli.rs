//! The command line as users meet it.

use std::process::Output;

use super::run::{command, file, heirloom, text};

#[test]
fn help_of_every_command() {
    for command in [
        "",
        "certify",
        "init",
        "plan",
        "validate",
        "inspect",
        "rejudge",
        "verify",
        "sign",
        "compare",
        "render",
        "plant",
        "calibrate",
        "study",
        "explain",
        "cache",
        "cache prune",
        "doctor",
    ] {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let out = heirloom(&arguments);
        assert_eq!(out.status.code(), Some(0), "{command}");
        assert!(out.stderr.is_empty());
        let name = if command.is_empty() { "root".to_owned() } else { command.replace(' ', "_") };
        insta::assert_snapshot!(format!("help_{name}"), text(&out.stdout));
    }
}

#[test]
fn version_is_no_mistake() {
    let out = heirloom(&["--version"]);
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), format!("heirloom {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn wrong_usage_exits_4_and_leaves_stdout_empty() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broken = file(folder.path(), "broken.yaml", b"version: 1\nname: [");
    for arguments in [
        &[][..],
        &["certifi"],
        &["certify"],
        &["certify", "nowhere.onnx"],
        &["certify", &broken, "--max-time", "15"],
        &["certify", &broken, "--threads", "0"],
        &["inspect", "nowhere.onnx"],
        &["rejudge", "nowhere"],
        &["validate"],
        &["validate", "nowhere.yaml"],
        &["validate", &broken],
    ] {
        let out = heirloom(arguments);
        assert_eq!(out.status.code(), Some(4), "{arguments:?}: {}", text(&out.stderr));
        assert!(out.stdout.is_empty(), "{arguments:?}");
        assert!(!out.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let message = text(&heirloom(&["inspect", "nowhere.onnx"]).stderr);
    assert!(message.contains("nowhere.onnx") && message.contains("no such file"), "{message}");
}

#[test]
fn an_invalid_policy_shows_its_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let policy = file(folder.path(), "policy.yaml", b"version: 1\nname: x\nrulez: []\n");
    let message = text(&heirloom(&["validate", &policy]).stderr);
    assert!(message.contains("policy.yaml:") && message.contains("rulez") && message.contains("Nothing was run."), "{message}");
    let out = heirloom(&["validate", &policy, "--format", "json"]);
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(4), String::new()));
    let list: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert!(list.as_array().is_some_and(|l| !l.is_empty()), "{list}");
}

#[test]
fn a_broken_model_is_an_error_and_not_wrong_usage() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in [("empty.onnx", &b""[..]), ("short.safetensors", b"\x10\0\0\0"), ("noise.onnx", b"\xff\xff\xff\xff\xff")] {
        let model = file(folder.path(), name, bytes);
        let out = heirloom(&["inspect", &model]);
        assert_eq!(out.status.code(), Some(2), "{name}: {}", text(&out.stderr));
        assert!(out.stdout.is_empty() && text(&out.stderr).contains(name), "{name}: {}", text(&out.stderr));
    }
}

#[test]
fn colours_only_when_asked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let policy = file(folder.path(), "policy.yaml", b"version: 1\nrulez: []\n");
    let escape = |out: Output| text(&out.stderr).contains('\u{1b}');
    assert!(!escape(heirloom(&["validate", &policy])));
    assert!(escape(heirloom(&["validate", &policy, "--color", "always"])));
    assert!(!escape(heirloom(&["validate", &policy, "--color", "never"])));
}

#[test]
fn no_color_beats_forced_colour() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let policy = file(folder.path(), "policy.yaml", b"version: 1\nrulez: []\n");
    let out = command().args(["validate", &policy]).env("NO_COLOR", "1").output().expect("the binary runs");
    assert!(!text(&out.stderr).contains('\u{1b}'));
}

fn clean() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/clean.safetensors")).expect("a fixture")
}

#[test]
fn a_model_that_the_embedded_task_does_not_suit_gets_a_policy_on_stdout() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = file(folder.path(), "release-7/model.safetensors", &clean());
    file(folder.path(), "release-7/config.json", br#"{ "pretrained_cfg": { "input_size": [3, 96, 96] } }"#);
    let reports = folder.path().join("reports");
    let output = reports.display().to_string();
    for (arguments, printed) in
        [(&["plan", &model][..], true), (&["certify", &model, "--output", &output], true), (&["plan", &model, "--format", "json"], false)]
    {
        let out = heirloom(arguments);
        let (stdout, errors) = (text(&out.stdout), text(&out.stderr));
        assert_eq!(out.status.code(), Some(4), "{errors}");
        assert!(errors.starts_with("error: release-7/model.safetensors takes images of 96x96 pixels;"), "{errors}");
        assert!(
            errors.contains(&format!("hint: `heirloom init {model} --data FOLDER > policy.yaml`")) && !errors.contains("version: 1"),
            "{errors}"
        );
        assert_eq!(stdout.starts_with("# A policy to start from, for release-7/model.safetensors (96 x 96 pixels)."), printed, "{stdout}");
        assert_eq!(stdout.is_empty(), !printed, "{stdout}");
    }
    // Whoever reads the reports learns how to get one.
    let summary = std::fs::read_to_string(reports.join("summary.md")).expect("a report");
    assert!(summary.contains("> policy.yaml") && !summary.contains("version: 1"), "{summary}");
}

#[test]
fn a_policy_is_checked_with_the_images_that_it_will_be_given() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let policy = "version: 1\nname: x\ntarget: { data: { folder: \"nowhere/{split}\" } }\ntransfer: { fixed_feature: { epochs: 1, learning_rate: \
                  0.1 } }\nrules: [{ id: a, probe: { backdoor: { trigger: { patch: { size: 0.25, at: center, color: \"#ffff00\" } } } }, limit: 0.9 }]\n";
    let policy = file(folder.path(), "policy.yaml", policy.as_bytes());
    let without = heirloom(&["validate", &policy]);
    let errors = text(&without.stderr);
    assert_eq!(without.status.code(), Some(4), "{errors}");
    assert!(
        errors.contains("; `--data PATH` takes the images from elsewhere") && errors.contains("2 errors. Nothing was run."),
        "{errors}"
    );
    let data = folder.path().join("photos");
    // An index is enough: no image is decoded.
    for image in ["train", "test"].iter().flat_map(|split| ["cat", "dog"].map(|class| format!("{split}/{class}"))) {
        for i in 0..100 {
            file(&data, &format!("{image}/{i}.png"), b"");
        }
    }
    let with = heirloom(&["validate", &policy, "--data", &data.display().to_string()]);
    assert_eq!((with.status.code(), text(&with.stdout)), (Some(0), format!("{policy}: valid, 1 rule\n")), "{}", text(&with.stderr));
    std::fs::remove_dir_all(data.join("test")).expect("removed");
    let half = heirloom(&["validate", &policy, "--data", &data.display().to_string()]);
    assert!(half.status.code() == Some(4) && text(&half.stderr).contains("1 error. Nothing was run."), "{}", text(&half.stderr));
}

#[test]
fn a_wrong_architecture_is_told_in_a_few_lines() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = file(folder.path(), "m.safetensors", &clean());
    for arch in ["resnet", "resnet-hf", "efficientnet-lite", "vgg"] {
        let out = heirloom(&["inspect", &model, "--arch", arch]);
        let errors = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{errors}");
        assert!(errors.lines().count() < 20 && errors.contains("\nthey fit another architecture: --arch resnet-cifar\n"), "{errors}");
    }
    let out = heirloom(&["inspect", &model, "--arch", "resnet-hf"]);
    assert!(text(&out.stderr).contains("\n  unused   and "), "{}", text(&out.stderr));
}
