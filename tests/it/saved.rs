//! `certify --save-checkpoints` and `--tensorboard`, as a user runs them.

use std::path::Path;

use serde_json::Value;

use crate::run::{file, heirloom, text};

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(name).display().to_string()
}

fn policy(folder: &Path) -> String {
    let text = "version: 1\nname: small\ntarget: { data: { embedded: fashion }, train: { limit: 60 }, test: { limit: 50 } }\n\
                transfer:\n  fixed_feature: { epochs: 2, learning_rate: 0.1 }\n  full_network: { epochs: 1, learning_rate: 0.01 }\n\
                seeds: { fixed_feature: { first: 2, most: 2 }, full_network: { first: 2, most: 2 } }\n\
                rules:\n  - { id: square, probe: { backdoor: { trigger: { patch: { size: 0.25, at: top_left, color: \"#ffff00\" } } } }, \
                modes: [fixed_feature, full_network], limit: 0.9 }\n";
    file(folder, "policy.yaml", text.as_bytes())
}

#[test]
fn fine_tunes_are_saved_and_certified_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let policy = policy(folder.path());
    let arguments = |model: &str, output: &str, saved: &[&str]| -> Vec<String> {
        let fixed = ["certify", model, "--policy", &policy, "--report-only", "--output", output];
        fixed.iter().chain(saved).map(ToString::to_string).collect()
    };
    let run = |arguments: &[String]| heirloom(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let (tuned, curves) = (at("tuned"), at("curves"));
    let save = ["--save-checkpoints", tuned.as_str(), "--tensorboard", &curves];
    let out = run(&arguments(&fixture("clean.onnx"), &at("report"), &save));
    let told = text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{told}");
    for wanted in [
        format!("  checkpoints      the fine-tunes of the source are saved into {tuned}\n"),
        format!("  curves           how the fine-tunes of the source are trained is saved into {curves}\n"),
        format!("  checkpoints: 4 fine-tunes saved; {tuned}/checkpoints.json lists them\n"),
        format!("  curves: 4 fine-tunes saved; `tensorboard --logdir {curves}` shows them\n"),
    ] {
        assert!(told.contains(&wanted), "`{wanted}` is not in: {told}");
    }
    let list: Value = serde_json::from_slice(&std::fs::read(at("tuned/checkpoints.json")).expect("a list")).expect("JSON");
    let files: Vec<&str> = list["checkpoints"].as_array().expect("a list").iter().filter_map(|entry| entry["file"].as_str()).collect();
    assert_eq!(
        files,
        [
            "source-fixed_feature-seed0.onnx",
            "source-fixed_feature-seed1.onnx",
            "source-full_network-seed0.onnx",
            "source-full_network-seed1.onnx"
        ]
    );
    assert!(folder.path().join("curves/source/full_network/seed1").is_dir());

    // The same command again would write over them.
    let again = run(&arguments(&fixture("clean.onnx"), &at("again"), &save));
    let told = text(&again.stderr);
    assert_eq!(again.status.code(), Some(4), "{told}");
    let first =
        format!("error: {tuned}/source-fixed_feature-seed0.onnx is there already, and what an earlier run saved is not written over\n");
    assert!(told.contains(&format!("{first}hint: remove it, or name another folder with --save-checkpoints\n")), "{told}");

    // A chain of transfer: the fine-tune is a checkpoint like any other, and what is known of its input is in its file.
    let next = run(&arguments(&at("tuned/source-full_network-seed1.onnx"), &at("next"), &[]));
    let told = text(&next.stderr);
    assert_eq!(next.status.code(), Some(0), "{told}");
    assert!(told.contains("32 features, cut at ") && told.contains("input of the last linear layer"), "{told}");
    assert!(!told.contains("assumed"), "{told}");
    let report: Value = serde_json::from_slice(&std::fs::read(at("next/report.json")).expect("a report")).expect("JSON");
    assert_eq!(report["model"]["identity"]["digest"], list["checkpoints"][3]["digest"]);
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(2), "{report}");
}

#[test]
fn what_cannot_be_saved_is_said_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (policy, model, output) = (policy(folder.path()), fixture("clean.onnx"), at("report"));
    let taken = file(folder.path(), "file", b"x");
    file(folder.path(), "curves/source/fixed_feature/seed1/events", b"x");
    let curves = at("curves");
    for (options, wanted) in [
        (&["--save-checkpoints", &taken][..], vec!["--save-checkpoints <DIR>", "is a file; name a folder"]),
        (&["--tensorboard", ""], vec!["--tensorboard <DIR>", "it is empty; name a folder"]),
        (&["--save-controls"], vec!["--save-checkpoints <DIR>|--tensorboard <DIR>"]),
        (
            &["--tensorboard", &curves],
            vec!["curves/source/fixed_feature/seed1 is there already", "hint: remove it, or name another folder with --tensorboard"],
        ),
    ] {
        let out = heirloom(&[&["certify", &model, "--policy", &policy, "--output", &output], options].concat());
        let told = text(&out.stderr);
        assert_eq!(out.status.code(), Some(4), "{told}");
        for part in wanted {
            assert!(told.contains(part), "`{part}` is not in: {told}");
        }
        let report: Value = serde_json::from_slice(&std::fs::read(at("report/report.json")).expect("a report")).expect("JSON");
        assert_eq!((&report["status"], &report["exit_code"]), (&"error".into(), &4.into()), "{options:?}");
    }
}
