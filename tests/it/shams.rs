//! Shams, and networks from scratch, are measured where a finding does not pass without them, and no verdict hangs on that.

use std::path::Path;

use serde_json::{Value, json};

use crate::run::{command, file, heirloom, text};

const TRAIN: u64 = 300;
const TEST: u64 = 300;
const SQUARE: &str = "probe: { backdoor: { trigger: { patch: { size: 0.25, at: top_left, color: \"#ffff00\" } } } }";

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(name).display().to_string()
}

fn policy(rules: &str) -> String {
    format!(
        "version: 1\nname: test\ntarget: {{ data: {{ embedded: fashion }}, train: {{ limit: {TRAIN}, balance: [label] }}, test: {{ limit: {TEST} }} }}\n\
         transfer:\n  fixed_feature: {{ epochs: 20, learning_rate: 0.1, schedule: cyclic }}\n\
         \x20 full_network: {{ epochs: 8, learning_rate: 0.02, batch_size: 32, schedule: cyclic }}\n\
         seeds:\n  fixed_feature: {{ first: 17, most: 24 }}\n  full_network: {{ first: 3, most: 3 }}\nrules:\n{rules}"
    )
}

/// Certifies into a folder of this name; the report.
fn certify(folder: &Path, name: &str, model: &str, rules: &str, more: &[&str]) -> Value {
    let policy = file(folder, "policy.yaml", policy(rules).as_bytes());
    let (model, output) = (fixture(model), folder.join(name).display().to_string());
    let out = command().args(["certify", &model, "--policy", &policy, "--output", &output]).args(more).output().expect("runs");
    let report = std::fs::read(folder.join(name).join("report.json")).unwrap_or_else(|_| panic!("{}", text(&out.stderr)));
    serde_json::from_slice(&report).expect("JSON")
}

fn passed(report: &Value, of: &str) -> (u64, u64, u64) {
    let number = |what: &str| report["run"]["images_forwarded"][of][what].as_u64().unwrap_or(u64::MAX);
    (number("evaluated"), number("trained"), number("kept"))
}

fn shams(finding: &Value) -> &Value {
    let all = finding["comparisons"].as_array().expect("comparisons");
    all.iter().find(|c| c["control"] == "sham").expect("shams are named")
}

#[test]
fn a_clean_source_passes_without_its_shams_and_a_planted_one_is_shown_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = format!("  - {{ id: square, {SQUARE}, limit: 0.25, flow_limit: 0.9 }}\n");
    let run = |name: &str, model: &str, more: &[&str]| certify(folder.path(), name, model, &rules, more);
    let clean = run("clean", "clean.onnx", &[]);
    let finding = &clean["findings"][0];
    assert_eq!(finding["verdict"], "pass", "{finding}");
    assert_eq!((&shams(finding)["spared"], &shams(finding)["excess"]), (&json!(true), &Value::Null));
    assert!(finding["own"]["high"].as_f64().is_some_and(|high| high < 0.25), "{finding}");
    assert_eq!(passed(&clean, "source"), (TRAIN + 2 * TEST, 0, 0));
    let summary = std::fs::read_to_string(folder.path().join("clean/summary.md")).expect("a summary");
    assert!(summary.contains("| own reaction |") && summary.contains("Images forwarded: 900 images through the checkpoint"), "{summary}");

    // Whoever wants the numbers gets them; all else is the same.
    let all = run("all", "clean.onnx", &["--all-controls"]);
    let finding = &all["findings"][0];
    assert!(finding["verdict"] == "pass" && shams(finding)["excess"]["value"].is_f64() && shams(finding)["spared"].is_null(), "{finding}");
    assert_eq!(finding["own"], clean["findings"][0]["own"]);
    assert_eq!(passed(&all, "source"), (TRAIN + 10 * TEST, 0, 0));

    let planted = run("planted", "planted-square.onnx", &[]);
    assert_eq!(planted["findings"][0]["verdict"], "fail", "{planted}");
    assert_eq!(passed(&planted, "source"), (TRAIN + 10 * TEST, 0, 0));
    assert_eq!(planted["run"]["stages"]["shams of square@fixed_feature"]["pictures"].as_u64().map(|images| images > 8 * TEST), Some(true));
}

/// Fine-tunes that were shown their shams later, heads and whole networks, say what they say when they are shown them at once.
#[test]
fn shams_that_are_made_up_for_are_those_that_are_measured_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = format!(
        "  - {{ id: square, {SQUARE}, modes: [fixed_feature, full_network], controls: [sham], limit: 0.4, flow_limit: 0.9 }}\n\
         \x20 - {{ id: corner, probe: {{ backdoor: {{ trigger: {{ patch: {{ size: 0.125, at: bottom_right, color: \"#ffffff\" }} }} }} }}, limit: 0.4, flow_limit: 0.9 }}\n"
    );
    let run = |name: &str, more: &[&str]| certify(folder.path(), name, "planted-square.onnx", &rules, more);
    let (later, once) = (run("later", &[]), run("once", &["--all-controls"]));
    let [Value::Array(later), Value::Array(once)] = [&later["findings"], &once["findings"]] else { panic!("findings") };
    assert_eq!(later.len(), 3);
    assert_eq!(later[..2], once[..2]);
    assert!(later[..2].iter().all(|finding| shams(finding)["spared"].is_null()), "{later:?}");
    assert_eq!((&later[2]["verdict"], &shams(&later[2])["spared"]), (&once[2]["verdict"], &json!(true)));
}

#[test]
fn what_is_kept_without_shams_is_completed_and_never_shown_to_who_needs_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules =
        format!("  - {{ id: square, {SQUARE}, modes: [fixed_feature, full_network], controls: [sham], limit: 0.4, flow_limit: 0.9 }}\n");
    let cache = folder.path().join("cache").display().to_string();
    let run = |name: &str, more: &[&str]| {
        let mut report = certify(folder.path(), name, "clean.onnx", &rules, &[&["--cache", cache.as_str()][..], more].concat());
        let passed = passed(&report, "source");
        report.as_object_mut().expect("a report").remove("run");
        (report, passed)
    };
    let trained = 3 * 8 * TRAIN * 4 / 5;
    let (first, forwarded) = run("first", &[]);
    assert_eq!(forwarded, (TRAIN + 2 * TEST + 3 * 2 * TEST, trained, 0));
    assert!(first["findings"].as_array().is_some_and(|all| all.iter().all(|finding| shams(finding)["spared"] == true)), "{first}");
    // Features and weights are there: only what is new goes through the network, and the clean images of the networks once more.
    let (all, forwarded) = run("all", &["--all-controls"]);
    assert_eq!(forwarded, (8 * TEST + 3 * 10 * TEST, 0, TRAIN + 2 * TEST + trained));
    assert!(shams(&all["findings"][0])["excess"]["value"].is_f64());
    let (again, forwarded) = run("again", &[]);
    assert_eq!(forwarded, (0, 0, TRAIN + 2 * TEST + 3 * 2 * TEST + trained));
    assert_eq!(first, again);

    // Judged by a limit at which the shams are asked for, the report cannot say.
    let strict = file(folder.path(), "strict.yaml", policy(&rules.replace("0.4", "0.0001")).as_bytes());
    let (stored, output) = (folder.path().join("again").display().to_string(), folder.path().join("judged").display().to_string());
    let out = heirloom(&["rejudge", &stored, "--policy", &strict, "--output", &output]);
    assert_eq!(out.status.code(), Some(5), "{}", text(&out.stderr));
    let judged: Value = serde_json::from_slice(&std::fs::read(Path::new(&output).join("report.json")).expect("a report")).expect("JSON");
    let finding = &judged["findings"][0];
    assert!(
        finding["reason"].as_str().is_some_and(|why| why.contains("the shams were not measured") && why.contains("certify")),
        "{finding}"
    );
}

/// Networks from scratch decide nothing where the model itself hardly reacts, and are trained where it does.
#[test]
fn a_network_from_scratch_is_trained_where_a_finding_does_not_pass_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = format!(
        "  - {{ id: square, {SQUARE}, modes: [fixed_feature, full_network], controls: [sham, scratch], limit: 0.25, flow_limit: 0.9 }}\n"
    );
    let others = |report: &Value| report["run"]["images_forwarded"]["others"]["trained"].as_u64();
    let scratch = |report: &Value, at: usize| {
        let all = report["findings"][at]["comparisons"].as_array().expect("comparisons");
        all.iter().find(|c| c["control"] == "scratch").expect("it is named").clone()
    };
    let verdicts = |report: &Value| [0, 1].map(|at| report["findings"][at]["verdict"].clone());
    let clean = certify(folder.path(), "clean", "clean.onnx", &rules, &[]);
    assert_eq!((verdicts(&clean), others(&clean)), ([json!("pass"), json!("pass")], Some(0)), "{}", clean["findings"]);
    for at in [0, 1] {
        let scratch = scratch(&clean, at);
        assert_eq!((&scratch["spared"], &scratch["excess"]), (&json!(true), &Value::Null), "{scratch}");
    }
    let all = certify(folder.path(), "all", "clean.onnx", &rules, &["--all-controls"]);
    assert_eq!((verdicts(&all), others(&all)), (verdicts(&clean), Some(3 * 8 * TRAIN * 4 / 5)));
    assert!(scratch(&all, 1)["excess"]["value"].is_f64() && scratch(&all, 1)["spared"].is_null());
    // Judged again from what was measured, it is the same finding.
    let policy = folder.path().join("policy.yaml").display().to_string();
    let (stored, output) = (folder.path().join("clean").display().to_string(), folder.path().join("again").display().to_string());
    let out = heirloom(&["rejudge", &stored, "--policy", &policy, "--output", &output]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let again: Value = serde_json::from_slice(&std::fs::read(Path::new(&output).join("report.json")).expect("a report")).expect("JSON");
    assert_eq!(again["findings"], clean["findings"]);

    let planted = certify(folder.path(), "planted", "planted-square.onnx", &rules, &[]);
    assert!(others(&planted).is_some_and(|trained| trained > 0), "{}", planted["run"]);
    assert_ne!(planted["findings"][0]["verdict"], "pass");
    assert!(scratch(&planted, 0)["excess"]["value"].is_f64(), "{}", planted["findings"]);
}

/// What the heads so far did under their shams was kept, and the further heads of the second look need the features under them.
#[test]
fn a_second_look_needs_the_shams_that_the_first_one_found_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache").display().to_string();
    let square = format!("  - {{ id: square, {SQUARE}, controls: [sham], limit: 0.4, flow_limit: 0.9 }}\n");
    let both =
        format!("{square}  - {{ id: other, {}, controls: [sham], limit: 0.9, flow_limit: 0.9 }}\n", SQUARE.replace("ffff00", "00ffff"));
    let one_look = policy(&square).replace("most: 24", "most: 17");
    let run = |name: &str, policy: &str, more: &[&str]| {
        let policy = file(folder.path(), "policy.yaml", policy.as_bytes());
        let output = folder.path().join(name).display().to_string();
        let model = fixture("planted-square.onnx");
        let out = command().args(["certify", &model, "--policy", &policy, "--output", &output]).args(more).output().expect("runs");
        let report = std::fs::read(folder.path().join(name).join("report.json")).unwrap_or_else(|_| panic!("{}", text(&out.stderr)));
        serde_json::from_slice::<Value>(&report).expect("JSON")
    };
    let first = run("first", &one_look, &["--cache", &cache]);
    assert!(first["findings"][0]["verdict"] == "inconclusive" && shams(&first["findings"][0])["spared"].is_null(), "{first}");
    let (kept, fresh) = (run("kept", &policy(&both), &["--cache", &cache]), run("fresh", &policy(&both), &[]));
    assert_eq!((&fresh["findings"][0]["look"], &fresh["findings"][0]["own"]["seeds"]), (&json!(2), &json!(24)), "{fresh}");
    assert_eq!(kept["findings"], fresh["findings"]);
}

/// What trusted checkpoints do is measured once for all that are compared with them.
#[test]
fn a_second_source_sends_nothing_through_the_references_of_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = heirloom(&["inspect", &fixture("clean.onnx"), "--format", "json"]);
    let inspected: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let rules = format!(
        "  - {{ id: square, {SQUARE}, modes: [fixed_feature, full_network], controls: [sham, reference], limit: 0.15 }}\n\
         references: [{{ model: \"{}\", digest: {} }}]\n",
        fixture("clean.onnx"),
        inspected["identity"]["digest"]
    );
    let cache = folder.path().join("cache").display().to_string();
    let run = |name: &str, model: &str| certify(folder.path(), name, model, &rules, &["--cache", &cache]);
    let first = run("first", "planted-square.onnx");
    let (evaluated, trained, kept) = passed(&first, "references");
    assert!(evaluated > 0 && trained > 0 && kept == 0, "{}", first["run"]);
    let second = run("second", OTHER);
    assert_eq!(passed(&second, "references"), (0, 0, evaluated + trained));
    let (evaluated, trained, kept) = passed(&second, "source");
    assert!(evaluated > 0 && trained > 0 && kept == 0, "{}", second["run"]);
}

/// Another source for the same images: not the reference's weights.
const OTHER: &str = "planted-square.safetensors";
