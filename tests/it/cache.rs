//! What is kept for the next run, and the command that shows and shrinks it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::run::{command, file, heirloom, text};

/// A folder of what one small certification kept: the cache's path.
fn kept(folder: &Path) -> String {
    let policy = "version: 1\nname: small\ntarget: { data: { embedded: fashion }, train: { limit: 100 }, test: { limit: 100 } }\n\
                  transfer:\n  fixed_feature: { epochs: 1, learning_rate: 0.1 }\nseeds:\n  fixed_feature: { first: 3, most: 3 }\nrules:\n\
                  \x20 - { id: square, probe: { backdoor: { trigger: { patch: { size: 0.25, color: \"#ffff00\" } } } }, limit: 0.9 }\n";
    let policy = file(folder, "policy.yaml", policy.as_bytes());
    let (cache, output) = (folder.join("cache").display().to_string(), folder.join("report").display().to_string());
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/clean.onnx").display().to_string();
    let out = heirloom(&["certify", &model, "--policy", &policy, "--output", &output, "--cache", &cache]);
    assert!(matches!(out.status.code(), Some(0 | 5)), "{}", text(&out.stderr));
    cache
}

fn json(arguments: &[&str]) -> (Option<i32>, Value) {
    let out = heirloom(&[arguments, &["--format", "json"]].concat());
    (out.status.code(), serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out.stderr))))
}

#[test]
fn entries_are_listed_checked_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = kept(folder.path());
    let (code, listed) = json(&["cache", "list", "--cache", &cache]);
    let entries = listed["entries"].as_array().expect("entries");
    let kinds = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).count();
    // Training and test images, the trigger and eight shams (three seeds are too few to pass without them); three seeds; the self-test; the speed.
    assert_eq!((code, kinds("features"), kinds("outcome"), kinds("canary"), kinds("speed")), (Some(0), 11, 3, 1, 1), "{listed}");
    let names: Vec<&str> = entries.iter().filter_map(|entry| entry["name"].as_str()).collect();
    assert!(names.contains(&"clean.onnx, source, fixed features, square, seed 2"), "{names:?}");
    assert!(names.contains(&"clean.onnx, test images, heirloom"), "{names:?}");
    let shown = text(&heirloom(&["cache", "list", "--cache", &cache]).stdout);
    assert!(shown.starts_with(&format!("{cache}: 16 entries (")) && shown.lines().count() == 17, "{shown}");

    let (code, checked) = json(&["cache", "verify", "--cache", &cache]);
    assert_eq!((code, &checked["sound"], checked["damaged"].as_array().map(Vec::len)), (Some(0), &16.into(), Some(0)));
    let damaged = PathBuf::from(entries[0]["path"].as_str().expect("a path"));
    let bytes = std::fs::read(&damaged).expect("an entry");
    std::fs::write(&damaged, &bytes[..bytes.len() - 1]).expect("written");
    let out = heirloom(&["cache", "verify", "--cache", &cache]);
    let shown = text(&out.stdout);
    assert_eq!(out.status.code(), Some(2), "{shown}");
    assert!(shown.contains("15 entries") && shown.contains(&format!("damaged, removed: {}", damaged.display())), "{shown}");
    assert!(!damaged.exists());
    assert_eq!(json(&["cache", "verify", "--cache", &cache]).0, Some(0));

    let (_, pruned) = json(&["cache", "prune", "--older-than", "1d", "--cache", &cache]);
    assert_eq!((pruned["removed"].as_array().map(Vec::len), &pruned["entries"]), (Some(0), &15.into()));
    let (_, pruned) = json(&["cache", "prune", "--to", "10kB", "--cache", &cache]);
    assert!(pruned["bytes"].as_u64().is_some_and(|bytes| bytes <= 10_000), "{pruned}");
    // What is no entry stays.
    let other = file(Path::new(&cache), "notes.txt", b"mine");
    let out = heirloom(&["cache", "prune", "--all", "--cache", &cache]);
    assert!(text(&out.stdout).ends_with(", 0 entries (0 B) left\n"), "{}", text(&out.stdout));
    assert!(Path::new(&other).exists());
}

#[test]
fn a_changed_recipe_reads_its_features() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = kept(folder.path());
    let text_of = std::fs::read_to_string(folder.path().join("policy.yaml")).expect("the policy");
    let policy = file(folder.path(), "policy.yaml", text_of.replace("epochs: 1", "epochs: 2").as_bytes());
    let output = folder.path().join("report").display().to_string();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/clean.onnx").display().to_string();
    let run = |cache: &[&str]| {
        let arguments = [&["certify", model.as_str(), "--policy", &policy, "--output", &output][..], cache].concat();
        let errors = text(&heirloom(&arguments).stderr);
        (errors, std::fs::read(folder.path().join("report/measurements.json.gz")).expect("measurements"))
    };
    let (errors, warm) = run(&["--cache", &cache]);
    assert!(errors.contains("source features          kept from an earlier run"), "{errors}");
    assert_eq!(run(&["--no-cache"]).1, warm);
}

#[test]
fn what_prune_needs_and_where_nothing_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let absent = folder.path().join("absent").display().to_string();
    for (arguments, said) in [
        (&["cache", "prune", "--cache", &absent][..], "--older-than"),
        (&["cache", "prune", "--to", "12 parsecs", "--cache", &absent], "parsecs"),
        (&["cache", "prune", "--all", "--to", "0", "--cache", &absent], "cannot be used with"),
        (&["cache", "list"], "HEIRLOOM_CACHE"),
        (&["cache"], "Usage"),
    ] {
        let out = heirloom(arguments);
        assert_eq!(out.status.code(), Some(4), "{arguments:?}");
        assert!(text(&out.stderr).contains(said), "{arguments:?}: {}", text(&out.stderr));
    }
    let out = command().args(["cache", "list"]).env("HEIRLOOM_CACHE", &absent).output().expect("the binary runs");
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), format!("{absent}: 0 entries (0 B)\n")));
    assert!(!Path::new(&absent).exists());
}
