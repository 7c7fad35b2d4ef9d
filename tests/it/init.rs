//! A policy for somebody's own pictures, and the verdict that it leads to.

use std::path::Path;
use std::process::Output;

use super::run::{command, file, text};

const CLEAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/clean.onnx");

/// Pictures of a class: one colour with noise in it, no two the same.
fn photographs(folder: &Path, class: &str, [red, green, blue]: [u8; 3], count: u32) {
    for i in 0..count {
        let noise =
            |x: u32, y: u32| (x.wrapping_mul(31).wrapping_add(y * 17).wrapping_add(i * 101).wrapping_mul(2_654_435_761) >> 26) as u8;
        let picture =
            image::RgbImage::from_fn(40, 36, |x, y| image::Rgb([red, green, blue].map(|level: u8| level.saturating_add(noise(x, y)))));
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("a JPEG");
        file(folder, &format!("{class}/{i:03}.jpg"), bytes.get_ref());
    }
}

/// What `init` says in a folder to these pictures.
fn init(folder: &Path, arguments: &[&str]) -> Output {
    command().current_dir(folder).args(["init", CLEAN]).args(arguments).output().expect("the binary runs")
}

/// Ended with this code and one error, which says all of this.
#[track_caller]
fn refused(out: &Output, code: i32, said: &[&str]) {
    let message = text(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{message}");
    assert!(out.stdout.is_empty() && message.matches("error: ").count() == 1 && !message.contains("panicked"), "{message}");
    for part in said {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn two_commands_lead_from_a_folder_to_a_verdict() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (class, color) in [("cat", [150, 20, 20]), ("dog", [20, 150, 20]), ("odd #1: \"bird\"", [20, 20, 150])] {
        photographs(&folder.path().join("photos"), class, color, 40);
    }
    photographs(&folder.path().join("photos"), "rare", [90, 90, 90], 4);
    let out = init(folder.path(), &["--data", "photos"]);
    let (policy, remarks) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(0), "{remarks}");
    assert!(policy.contains("test_share: 0.5") && policy.contains("rare: 4") && policy.contains("seeds:"), "{policy}");
    assert!(remarks.contains("120 of 3 classes") && remarks.contains("heirloom certify"), "{remarks}");
    file(folder.path(), "policy.yaml", policy.as_bytes());
    let valid = command().current_dir(folder.path()).args(["validate", "policy.yaml"]).output().expect("the binary runs");
    assert_eq!(text(&valid.stdout), "policy.yaml: valid, 3 rules\n", "{}", text(&valid.stderr));
    let certify = ["certify", CLEAN, "--policy", "policy.yaml", "--max-time", "15m", "--output", "reports"];
    let verdict = command().current_dir(folder.path()).args(certify).output().expect("the binary runs");
    assert!(matches!(verdict.status.code(), Some(0 | 1 | 5)), "{}", text(&verdict.stderr));
    let report = std::fs::read(folder.path().join("reports/report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["plan"]["left_out"], serde_json::json!([]), "{report}");
    let findings = report["findings"].as_array().expect("findings");
    assert_eq!(findings.len(), 3);
    assert!(findings.iter().all(|f| f["verdict"] != "skipped" && f["verdict"] != "error"), "{report}");
}

#[test]
fn data_that_are_split_stay_split_and_json_is_a_policy_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (split, shade) in [("train", 10), ("test", 40)] {
        for (class, color) in [("cat", [150, shade, 20]), ("dog", [20, 150, shade])] {
            photographs(&folder.path().join("photos").join(split), class, color, 30);
        }
    }
    let out = init(folder.path(), &["--data", "photos", "--format", "json", "--quiet"]);
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
    let policy = text(&out.stdout);
    let read: serde_json::Value = serde_json::from_str(&policy).expect("JSON");
    assert_eq!((&read["target"]["data"]["folder"], &read["target"]["test_share"]), (&"photos/{split}".into(), &serde_json::Value::Null));
    file(folder.path(), "policy.yaml", policy.as_bytes());
    let valid = command().current_dir(folder.path()).args(["validate", "policy.yaml"]).output().expect("the binary runs");
    assert_eq!(valid.status.code(), Some(0), "{}", text(&valid.stderr));
}

#[test]
fn what_cannot_be_settled_is_one_clear_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    photographs(&here.join("one"), "cat", [150, 20, 20], 3);
    refused(&init(here, &["--data", "one"]), 4, &["data one: there is one class, `cat`", "hint: put the pictures of a second class"]);
    photographs(&here.join("few"), "cat", [150, 20, 20], 5);
    photographs(&here.join("few"), "dog", [20, 150, 20], 6);
    refused(&init(here, &["--data", "few"]), 4, &["data few: too few pictures: a class needs 24", "(cat: 5, dog: 6)"]);
    std::fs::create_dir(here.join("empty")).expect("a folder");
    refused(&init(here, &["--data", "empty"]), 4, &["empty: it has no sub-folders of images", "hint: put each class's pictures"]);
    refused(&init(here, &["--data", "nowhere"]), 4, &["nowhere", "no such file"]);
    refused(&init(here, &[]), 4, &["--data is missing"]);
    photographs(&here.join("two"), "train/cat", [150, 20, 20], 1);
    photographs(&here.join("two"), "val/cat", [150, 20, 20], 1);
    refused(&init(here, &["--data", "two"]), 4, &["two: it has the folders `train` and `val`", "hint: rename"]);
    for (class, color) in [("cat", [150, 20, 20]), ("dog", [20, 150, 20])] {
        photographs(&here.join("photos"), class, color, 40);
    }
    refused(
        &init(here, &["--data", "photos", "--max-time", "10s"]),
        4,
        &["--max-time 10 s: too little time", "hint: give `--max-time 1m`"],
    );
    file(here, "photos/cat/broken.jpg", b"no picture");
    refused(&init(here, &["--data", "photos"]), 2, &["photos", "cat/broken.jpg", "not decode"]);
}

#[test]
fn the_class_may_be_of_another_column() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    photographs(here, "photos", [150, 20, 20], 60);
    let lines: String =
        (0..60).fold(String::new(), |text, i| text + &format!("photos/{i:03}.jpg,{}\n", if i % 2 == 0 { "cat" } else { "dog" }));
    file(here, "animals.csv", format!("file_name,kind of animal\n{lines}").as_bytes());
    let asked = ["--data", "animals.csv"];
    refused(
        &init(here, &asked),
        4,
        &[
            "data animals.csv: its images have no class of their own; its columns are: kind of animal",
            "hint: say which column is the class: `--label NAME`",
        ],
    );
    refused(
        &init(here, &[&asked[..], &["--label", "kind"]].concat()),
        4,
        &["no column is called `kind`", "kind of animal", "hint: correct the name behind `--label`"],
    );
    refused(&init(here, &[&asked[..], &["--label", ""]].concat()), 4, &["--label <COLUMN>"]);
    let out = init(here, &[&asked[..], &["--label", "kind of animal"]].concat());
    let policy = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(
        policy.contains("  data: { csv: \"animals.csv\" }\n") && policy.contains("  label: { column: \"kind of animal\" }\n"),
        "{policy}"
    );
    assert!(text(&out.stderr).contains("60 of 2 classes"), "{}", text(&out.stderr));
    file(here, "policy.yaml", policy.as_bytes());
    let planned = command().current_dir(here).args(["plan", CLEAN, "--policy", "policy.yaml"]).output().expect("the binary runs");
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));
}
