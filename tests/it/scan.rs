//! Scans of folders: what one night leaves for the next, what a model that cannot be judged costs the others, and shards.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{file, heirloom, text};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn quick() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/quick.yaml").display().to_string()
}

/// A registry: the fixtures under names of a registry, and what else lies in one.
fn registry() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    for (from, to) in [
        ("models/planted-square.onnx", "team-a/planted.onnx"),
        ("models/planted-square.onnx", "team-b/renamed.onnx"),
        ("models/clean.safetensors", "team-a/clean.safetensors"),
    ] {
        file(at, &format!("models/{to}"), &std::fs::read(fixture(from)).expect("a fixture"));
    }
    let whole = std::fs::read(fixture("models/clean.onnx")).expect("a fixture");
    file(at, "models/team-b/cut.onnx", &whole[..whole.len() / 2]);
    file(at, "models/team-b/old.pt", b"\x80\x02}q\x00.");
    let header = br#"{"model.layers.0.self_attn.q_proj.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}"#;
    let llm = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    file(at, "models/llm/model.safetensors", &llm);
    file(at, "models/notes.txt", b"no model");
    folder
}

fn scan_file(folder: &Path, rules: &str, more: &str) -> String {
    let text = format!("version: 1\nname: nightly\nsources:\n  - folder: models\nrules:\n{rules}{more}");
    file(folder, "scan.yaml", text.as_bytes())
}

struct Night {
    code: Option<i32>,
    said: String,
    errors: String,
}

fn scan(folder: &Path, more: &[&str]) -> Night {
    let (spec, output) = (folder.join("scan.yaml").display().to_string(), folder.join("out").display().to_string());
    let mut arguments = vec!["scan", &spec, "--output", &output];
    arguments.extend(more);
    told(&arguments)
}

fn told(arguments: &[&str]) -> Night {
    let out = heirloom(arguments);
    Night { code: out.status.code(), said: text(&out.stdout), errors: text(&out.stderr) }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).expect("JSON")
}

/// `NAME outcome cause` of every model, in the order of `scan.json`.
fn outcomes(folder: &Path) -> Vec<String> {
    let scan = json(&folder.join("out/scan.json"));
    let one = |model: &Value| {
        let cause = model["cause"].as_str().map(|cause| format!(" {cause}")).unwrap_or_default();
        format!("{} {}{cause}", model["name"].as_str().expect("a name"), model["outcome"].as_str().expect("an outcome"))
    };
    scan["models"].as_array().expect("models").iter().map(one).collect()
}

/// Records that lie in the results.
fn records(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for part in std::fs::read_dir(folder.join("out/records")).expect("records").flatten() {
        found.extend(std::fs::read_dir(part.path()).expect("a folder").flatten().map(|entry| entry.path()));
    }
    found.sort();
    found
}

#[test]
fn a_registry_is_scanned_and_the_next_night_costs_nothing() {
    let folder = registry();
    let at = folder.path();
    let rules = format!(
        "  - {{ match: {{ format: onnx }}, policy: {quick}, tier: features }}\n  - {{ match: {{ name: \"team-a/*\" }}, tier: static }}\n",
        quick = quick()
    );
    scan_file(at, &rules, "");
    let first = scan(at, &[]);
    assert_eq!(first.code, Some(1), "{}", first.errors);
    assert_eq!(
        outcomes(at),
        [
            "team-a/planted.onnx fail",
            "team-b/renamed.onnx fail",
            "llm/model.safetensors error no-policy",
            "team-b/cut.onnx error damaged",
            "team-b/old.pt error pickle",
            "team-a/clean.safetensors inspected",
        ]
    );
    assert!(first.said.contains("FAIL   6 models: 2 fail, 3 error, 1 inspected"), "{}", first.said);
    assert!(first.said.contains("no policy applies"), "{}", first.said);
    for name in ["index.html", "summary.md", "junit.xml", "scan.sarif", "badge.json"] {
        let written = std::fs::read_to_string(at.join("out").join(name)).expect(name);
        assert!(written.contains("6 models") || written.contains("2 fail") || name == "junit.xml", "{name}: {written}");
    }
    let page = std::fs::read_to_string(at.join("out/index.html")).expect("a page");
    assert!(!page.contains("<script") && page.contains("prefers-color-scheme: dark") && page.contains("reports/"), "{page}");
    let junit = std::fs::read_to_string(at.join("out/junit.xml")).expect("JUnit");
    assert_eq!((junit.matches("<testsuite ").count(), junit.matches("<failure ").count()), (6, 2), "{junit}");
    // One measurement served both names.
    let scanned = json(&at.join("out/scan.json"));
    assert_eq!(scanned["models"][0]["key"], scanned["models"][1]["key"]);
    let before: Vec<_> =
        records(at).iter().map(|path| (path.clone(), std::fs::metadata(path).and_then(|m| m.modified()).expect("a time"))).collect();

    // What has no verdict of its own fails again; nothing is measured.
    let second = scan(at, &["--fail-on", "new"]);
    assert!(!second.errors.contains("self-test") && second.errors.contains("0 to do"), "{}", second.errors);
    assert_eq!(second.code, Some(0), "{}{}", second.said, second.errors);
    let after: Vec<_> =
        records(at).iter().map(|path| (path.clone(), std::fs::metadata(path).and_then(|m| m.modified()).expect("a time"))).collect();
    assert_eq!(before, after);
    // A pass over failures that stand says so, and is not green.
    assert!(second.said.contains("; none of these is new, and `fail_on: new` lets them stand"), "{}", second.said);
    assert_eq!(json(&at.join("out/badge.json"))["color"], "yellow");
    assert!(json(&at.join("out/scan.json"))["models"].as_array().expect("models").iter().all(|model| model["standing"] == true));

    // One is put right, one goes, one comes, one breaks.
    std::fs::copy(fixture("models/clean.onnx"), at.join("models/team-a/planted.onnx")).expect("a copy");
    std::fs::remove_file(at.join("models/team-b/old.pt")).expect("removed");
    std::fs::copy(fixture("models/planted-square.onnx"), at.join("models/team-c.onnx")).expect("a copy");
    std::fs::write(at.join("models/team-a/clean.safetensors"), b"\x02\0\0\0\0\0\0\0{").expect("written");
    let third = scan(at, &["--fail-on", "new"]);
    assert_eq!(third.code, Some(1), "{}{}", third.said, third.errors);
    let changes = json(&at.join("out/scan.json"))["changes"].clone();
    for (what, name) in [
        ("new", "models/team-c.onnx"),
        ("fixed", "models/team-a/planted.onnx"),
        ("gone", "models/team-b/old.pt"),
        ("added", "models/team-c.onnx"),
        ("broken", "models/team-a/clean.safetensors"),
    ] {
        assert_eq!(changes[what], serde_json::json!([name]), "{what}: {changes}");
    }
}

/// A record is of bytes: under another name it says nothing of where they lay.
#[test]
fn what_is_wrong_with_a_file_is_said_of_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    let whole = std::fs::read(fixture("models/clean.onnx")).expect("a fixture");
    file(at, "models/first.onnx", &whole[..whole.len() / 2]);
    scan_file(at, "  - { tier: static }\n", "");
    let why = |at: &Path| json(&at.join("out/scan.json"))["models"][0]["summary"].as_str().expect("a summary").to_owned();
    assert_eq!(scan(at, &["--plan-only"]).code, Some(0));
    assert_eq!(scan(at, &[]).code, Some(2));
    let before = why(at);
    assert!(before.starts_with("this is not an ONNX file"), "{before}");
    std::fs::rename(at.join("models/first.onnx"), at.join("models/second.onnx")).expect("renamed");
    let night = scan(at, &[]);
    assert_eq!((night.code, why(at)), (Some(2), before), "{}", night.said);
    assert!(night.said.contains("; since the last scan 1 gone, 1 added"), "{}", night.said);
    // The plan from before is overtaken.
    let before_merge = why(at);
    let merged = told(&["scan", "merge", &at.join("out").display().to_string()]);
    assert!(merged.code == Some(4) && merged.errors.contains("there is no plan"), "{}", merged.errors);
    // And what is there stays.
    assert_eq!(why(at), before_merge);
    assert!(at.join("out/index.html").exists());
}

#[test]
fn stored_measurements_answer_a_changed_policy_and_another_build() {
    let folder = registry();
    let at = folder.path();
    let policy = std::fs::read_to_string(quick()).expect("a policy");
    file(at, "policy.yaml", policy.as_bytes());
    scan_file(at, "  - { match: { name: \"team-a/*.onnx\" }, policy: policy.yaml, tier: features }\n  - { skip: not this time }\n", "");
    assert_eq!(scan(at, &[]).code, Some(1));
    let milder = policy.replace("severity: high", "severity: low") + "fail_on: high\n";
    assert!(milder.contains("severity: low"));
    file(at, "policy.yaml", milder.as_bytes());
    let second = scan(at, &[]);
    assert_eq!(second.code, Some(0), "{}{}", second.said, second.errors);
    // The stage of the heads is not among what was done.
    let scanned = json(&at.join("out/scan.json"));
    let report = json(&at.join("out").join(scanned["models"][0]["report"].as_str().expect("a report")).join("report.json"));
    assert!(report["notes"].to_string().contains("judged again on"), "{}", report["notes"]);

    // A record that another build wrote: its measurements are judged by this one.
    for path in records(at) {
        let mut record = json(&path);
        record["basis"]["build"] = "another".into();
        std::fs::remove_file(&path).expect("removed");
        let report = at.join("out/reports").join(path.file_stem().expect("a key"));
        let Some(key) = renamed(&record) else { continue };
        file(at, &format!("out/records/{}/{key}.json", &key[..2]), record.to_string().as_bytes());
        std::fs::rename(report, at.join("out/reports").join(key)).expect("renamed");
    }
    let third = scan(at, &[]);
    assert_eq!(third.code, Some(0), "{}{}", third.said, third.errors);
    assert!(third.errors.contains("1 to do") && !third.errors.contains("self-test"), "{}", third.errors);

    // Another trigger was not measured: that is done anew.
    file(at, "policy.yaml", policy.replace("size: 0.25", "size: 0.3").as_bytes());
    assert_eq!(scan(at, &["--plan-only"]).code, Some(0));
    let fourth = scan(at, &[]);
    assert!(matches!(fourth.code, Some(0 | 1 | 5)), "{}", fourth.errors);
    let scanned = json(&at.join("out/scan.json"));
    let report = json(&at.join("out").join(scanned["models"][0]["report"].as_str().expect("a report")).join("report.json"));
    assert!(!report["notes"].to_string().contains("judged again on"), "{}", report["notes"]);
}

/// The key of a record as `src/scan/record.rs` makes it: this is the same in another way.
fn renamed(record: &Value) -> Option<String> {
    let basis = &record["basis"];
    let mut items: Vec<u8> = Vec::new();
    let put = |items: &mut Vec<u8>, text: &str| {
        items.push(b't');
        items.extend((text.len() as u64).to_le_bytes());
        items.extend(text.as_bytes());
    };
    put(&mut items, "heirloom scan record");
    items.push(b'u');
    items.extend(1u64.to_le_bytes());
    put(&mut items, "model");
    put(&mut items, basis["model"].as_str()?);
    put(&mut items, "policy");
    items.push(b's');
    put(&mut items, basis["policy"].as_str()?);
    let tool = &basis["tool"];
    for (label, value) in [
        ("tier", &basis["tier"]),
        ("build", &basis["build"]),
        ("version", &tool["version"]),
        ("instructions", &tool["instruction_set"]),
        ("device", &tool["device"]),
        ("precision", &tool["precision"]),
        ("executor", &basis["executor"]),
    ] {
        put(&mut items, label);
        put(&mut items, value.as_str()?);
    }
    Some(heirloom::store::sha256(&items).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
}

/// A registry of files that are only looked at.
fn looked_at() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["clean.onnx", "planted-square.onnx", "clean.half.onnx", "clean.safetensors"] {
        file(folder.path(), &format!("models/{name}"), &std::fs::read(fixture("models").join(name)).expect("a fixture"));
    }
    scan_file(folder.path(), "  - { tier: static }\n", "");
    folder
}

#[test]
fn what_the_budget_does_not_reach_comes_first_the_next_night() {
    let folder = looked_at();
    let at = folder.path();
    scan_file(at, "  - { tier: static }\n", "budget: { models: 3 }\ntrusted: [\"clean*\", \"acme/*\"]\n");
    let first = scan(at, &[]);
    // Of a pattern that holds of nothing the user is told.
    assert_eq!(first.errors.matches("matches no model").count(), 1, "{}", first.errors);
    assert!(first.errors.contains("`trusted: acme/*` matches no model"), "{}", first.errors);
    assert_eq!(first.code, Some(5), "{}{}", first.said, first.errors);
    let left: Vec<String> = outcomes(at).into_iter().filter(|line| line.ends_with("not_reached")).collect();
    assert_eq!(left, ["planted-square.onnx not_reached"]);
    let planned = scan(at, &["--plan-only"]);
    assert!(planned.said.trim_start().starts_with("models/planted-square.onnx"), "{}", planned.said);
    let second = scan(at, &[]);
    // Nothing was measured, and nothing failed.
    assert_eq!(second.code, Some(3), "{}{}", second.said, second.errors);
    assert!(outcomes(at).iter().all(|line| line.ends_with(" inspected")), "{:?}", outcomes(at));
    scan_file(at, "  - { tier: static }\n", "budget: { bytes: 1B }\nallow_not_reached: true\n");
    std::fs::remove_dir_all(at.join("out")).expect("removed");
    let third = scan(at, &[]);
    assert_eq!(third.code, Some(3), "{}", third.said);
    assert!(third.said.contains("the budget of bytes is used up"), "{}", third.said);
}

#[test]
fn records_are_not_believed_blindly() {
    let folder = looked_at();
    let at = folder.path();
    assert_eq!(scan(at, &[]).code, Some(3));
    let path = records(at).remove(0);
    let whole = std::fs::read(&path).expect("a record");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let second = scan(at, &[]);
    assert!(second.errors.contains("a damaged record counts as none") && second.errors.contains("1 to do"), "{}", second.errors);
    assert_eq!(std::fs::read(&path).map(|bytes| bytes.len()).expect("written anew"), whole.len());
    // A torn last line costs nothing but reading that file again.
    let seen = at.join("out/seen.jsonl");
    let bytes = std::fs::read(&seen).expect("seen");
    std::fs::write(&seen, &bytes[..bytes.len() - 20]).expect("written");
    assert_eq!(scan(at, &[]).code, Some(3));
    let mut newer: Value = serde_json::from_slice(&whole).expect("JSON");
    newer["schema"] = 9.into();
    std::fs::write(&path, newer.to_string()).expect("written");
    let refused = scan(at, &[]);
    assert_eq!(refused.code, Some(4), "{}", refused.errors);
    assert!(refused.errors.contains("is of a later heirloom (layout 9)"), "{}", refused.errors);
}

#[cfg(unix)]
#[test]
fn two_scans_at_once_into_one_folder_are_refused() {
    let folder = looked_at();
    let at = folder.path();
    std::fs::create_dir(at.join("out")).expect("made");
    let held = heirloom::store::hold(&at.join("out")).expect("held");
    let refused = scan(at, &[]);
    assert!(refused.code == Some(2) && refused.errors.contains("another"), "{:?} {}", refused.code, refused.errors);
    drop(held);
    assert_eq!(scan(at, &[]).code, Some(3));
}

#[test]
fn four_shards_merged_are_one_scan() {
    let folder = registry();
    let at = folder.path();
    let rules = format!("  - {{ match: {{ format: onnx }}, policy: {quick}, tier: features }}\n  - {{ tier: static }}\n", quick = quick());
    let spec = scan_file(at, &rules, "");
    let one = scan(at, &[]);
    assert_eq!(one.code, Some(1), "{}", one.errors);
    let shared = at.join("shared").display().to_string();
    let elsewhere = at.join("elsewhere").display().to_string();
    let early = told(&["scan", &spec, "--output", &shared, "--shard", "1/4"]);
    assert!(early.code == Some(4) && early.errors.contains("there is no plan"), "{}", early.errors);
    assert_eq!(told(&["scan", &spec, "--output", &shared, "--plan-only"]).code, Some(0));
    let matrix = told(&["scan", "matrix", &format!("{shared}/plan.json"), "--jobs", "8"]);
    // Five files are read, of which two are one model; the pickle is not.
    assert_eq!(matrix.said, "{\"include\":[{\"shard\":\"1/4\"},{\"shard\":\"2/4\"},{\"shard\":\"3/4\"},{\"shard\":\"4/4\"}]}\n");
    // The last works in a folder of its own, as a job of a CI run does.
    std::fs::create_dir_all(&elsewhere).expect("made");
    std::fs::copy(at.join("shared/plan.json"), at.join("elsewhere/plan.json")).expect("a copy");
    for number in 1..=4 {
        let output = if number == 4 { &elsewhere } else { &shared };
        if number == 4 {
            // Before it is through, its models are missing.
            let merged = told(&["scan", "merge", &shared]);
            let missing = merged.said.contains("missing");
            assert!(missing || json(&at.join("shared/scan.json"))["exit_code"] == 1, "{}", merged.said);
        }
        let done = told(&["scan", &spec, "--output", output, "--shard", &format!("{number}/4")]);
        assert_eq!(done.code, Some(0), "{}", done.errors);
    }
    let merged = told(&["scan", "merge", &shared, &elsewhere, "--output", &at.join("merged").display().to_string()]);
    assert_eq!(merged.code, Some(1), "{}{}", merged.said, merged.errors);
    let without_run = |path: &str| {
        let mut scan = json(&at.join(path));
        scan.as_object_mut().expect("a map").remove("run");
        scan.to_string()
    };
    assert_eq!(without_run("out/scan.json"), without_run("merged/scan.json"));
    let model = json(&at.join("merged/scan.json"))["models"][0].clone();
    assert!(at.join("merged").join(model["report"].as_str().expect("a report")).join("measurements.json.gz").is_file());
}

#[test]
fn a_missing_shard_is_an_error_of_the_merge() {
    let folder = looked_at();
    let at = folder.path();
    let out = at.join("out").display().to_string();
    assert_eq!(scan(at, &["--plan-only"]).code, Some(0));
    assert_eq!(scan(at, &["--shard", "1/2"]).code, Some(0));
    let merged = told(&["scan", "merge", &out]);
    assert_eq!(merged.code, Some(2), "{}", merged.said);
    assert!(merged.said.contains("no shard has said what became of it"), "{}", merged.said);
    // The next run takes it up.
    assert_eq!(scan(at, &[]).code, Some(3));
}

#[test]
fn mistakes_of_a_scan_file_are_told_at_their_places() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    std::fs::create_dir(at.join("models")).expect("made");
    let mistakes = "  - { match: { name: \"[\" }, tier: static }\n  - { policy: nowhere.yaml }\n  - { tier: full }\n  - { tier: static }\n  - { skip: never }\n";
    let spec = scan_file(at, mistakes, "budget: { time: 8 hours }\nrecheck: 90d\n");
    let refused = told(&["validate", &spec]);
    assert_eq!(refused.code, Some(4));
    let errors = refused.errors.replace(&at.display().to_string(), "DIR");
    insta::assert_snapshot!("scan_file_with_mistakes_of_its_schema", errors);
    scan_file(at, mistakes, "budget: { time: 0s }\n");
    let refused = told(&["validate", &spec]);
    insta::assert_snapshot!("scan_file_with_mistakes", refused.errors.replace(&at.display().to_string(), "DIR"));
    let run = scan(at, &[]);
    assert!(run.code == Some(4) && run.errors.contains("Nothing was run"), "{}", run.errors);
    // One folder under two names.
    file(at, "scan.yaml", b"version: 1\nname: nightly\nsources:\n  - folder: models\n  - folder: ./models\nrules:\n  - { tier: static }\n");
    let twice = told(&["validate", &spec]);
    assert!(twice.code == Some(4) && twice.errors.contains("./models is the folder models, which stands above"), "{}", twice.errors);
    scan_file(at, "  - { tier: static }\n", "");
    let valid = told(&["validate", &spec]);
    assert!(valid.code == Some(0) && valid.said.ends_with("valid, a scan of 1 source with 1 rule\n"), "{}{}", valid.said, valid.errors);
    let empty = scan(at, &[]);
    assert!(empty.code == Some(3) && empty.said.contains("no models were found"), "{}", empty.said);
}

#[test]
fn a_model_that_ends_the_program_does_not_keep_the_others_from_their_turn() {
    let folder = looked_at();
    let at = folder.path();
    assert_eq!(scan(at, &["--plan-only"]).code, Some(0));
    let plan = json(&at.join("out/plan.json"));
    let first = &plan["entries"][0];
    assert_eq!(first["id"]["name"], "clean.half.onnx");
    let key = first["key"].as_str().and_then(|key| key.strip_prefix("sha256:")).expect("a key").to_owned();
    // As it is left where the system ends the program.
    file(at, &format!("out/working/{key}"), b"1\n");
    assert_eq!(scan(at, &["--plan-only"]).code, Some(0));
    let names = json(&at.join("out/plan.json"));
    assert_eq!(names["entries"][3]["id"]["name"], "clean.half.onnx");
    file(at, &format!("out/working/{key}"), b"5\n");
    let night = scan(at, &[]);
    assert_eq!(night.code, Some(2), "{}", night.said);
    assert!(night.said.contains("was ended 5 times while it worked on this model"), "{}", night.said);
    std::fs::remove_file(at.join("out/working").join(&key)).expect("removed");
    assert_eq!(scan(at, &[]).code, Some(3));
    assert_eq!(std::fs::read_dir(at.join("out/working")).map_or(0, Iterator::count), 0);
}
