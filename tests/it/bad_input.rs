//! What is damaged, lies or is missing ends in one clear message, the documented exit code, and nothing half-written.

mod ahead;
mod data;
mod layouts;
mod machine;
mod models;
mod policies;
pub mod reports;

use std::path::{Path, PathBuf};
use std::process::Output;

use super::run::{file, text};

/// A committed fixture.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn clean_model() -> String {
    fixture("models/clean.onnx").display().to_string()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Ended with this code, said all of this, gave no result and did not panic. The message.
#[track_caller]
fn refused(out: &Output, code: i32, said: &[&str]) -> String {
    let message = text(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{message}");
    for part in said {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!message.contains("panicked") && !message.contains("RUST_BACKTRACE"), "{message}");
    assert!(out.stdout.is_empty(), "{}", text(&out.stdout));
    message
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    let mut names: Vec<String> = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A policy that costs little, with this target task.
fn policy(folder: &Path, target: &str) -> String {
    let text = format!(
        r##"version: 1
name: small
target: {target}
transfer:
  fixed_feature: {{ epochs: 1, learning_rate: 0.1, schedule: cyclic }}
seeds:
  fixed_feature: {{ first: 3, most: 3 }}
rules:
  - id: backdoor/square
    probe: {{ backdoor: {{ trigger: {{ patch: {{ size: 0.25, at: top_left, color: "#ffff00" }} }} }} }}
    modes: [fixed_feature]
    limit: 0.2
"##
    );
    file(folder, "policy.yaml", text.as_bytes())
}
