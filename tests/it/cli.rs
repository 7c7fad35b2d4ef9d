//! The command line as users meet it.

use std::process::Output;

use super::run::{command, file, heirloom, text};

#[test]
fn help_of_every_command() {
    for command in [
        "",
        "certify",
        "plan",
        "validate",
        "inspect",
        "rejudge",
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
