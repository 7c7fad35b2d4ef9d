//! Whole certifications of the committed fixtures.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{command, file, heirloom, text};

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(name).display().to_string()
}

/// Certifies with a policy of its own: its file, and the report folder.
fn certify(model: &str, rules: &str, more: &[&str]) -> (Option<i32>, String, Value, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let policy = folder.path().join("policy.yaml");
    // With five minutes there is more to do than any machine can.
    let (epochs, seeds) = if more.contains(&"5m") { (1000, 100) } else { (2, 3) };
    let head = format!(
        "version: 1\nname: test\ntarget: {{ data: {{ embedded: fashion }}, train: {{ limit: 200, balance: [label] }}, test: {{ limit: 300 }} }}\n\
         transfer:\n  fixed_feature: {{ epochs: 5, learning_rate: 0.1 }}\n  full_network: {{ epochs: {epochs}, learning_rate: 0.01 }}\n\
         seeds:\n  fixed_feature: {{ first: 17, most: 24 }}\n  full_network: {{ first: {seeds}, most: {seeds} }}\nrules:\n"
    );
    std::fs::write(&policy, format!("{head}{rules}")).expect("written");
    let (policy, output) = (policy.display().to_string(), folder.path().join("report").display().to_string());
    let (model, mut arguments) = (fixture(model), vec!["certify"]);
    arguments.extend([model.as_str(), "--policy", &policy, "--output", &output]);
    arguments.extend(more);
    let out = heirloom(&arguments);
    let report = std::fs::read(folder.path().join("report/report.json")).unwrap_or_default();
    let report = serde_json::from_slice(&report).unwrap_or(Value::Null);
    (out.status.code(), text(&out.stderr), report, folder)
}

const SQUARE: &str = "probe: { backdoor: { trigger: { patch: { size: 0.25, at: top_left, color: \"#ffff00\" } } } }";

fn verdicts(report: &Value) -> Vec<(String, String, String)> {
    let field = |f: &Value, name: &str| f[name].as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().map(|f| (format!("{}@{}", field(f, "rule"), field(f, "mode")), field(f, "verdict"), field(f, "reason"))).collect()
}

#[test]
fn what_does_not_fit_the_time_is_left_out_and_the_rest_is_judged() {
    let rules = format!(
        "  - {{ id: quick, {SQUARE}, limit: 0.9 }}\n  - {{ id: slow, {SQUARE}, modes: [full_network], limit: 0.9 }}\n\
         \x20 - {{ id: both, {SQUARE}, controls: [sham, scratch], limit: 0.9 }}\n"
    );
    // Frozen features take seconds, a hundred networks of 1,000 epochs take hours.
    let (code, errors, report, _folder) = certify("clean.onnx", &rules, &["--max-time", "5m", "--all-controls"]);
    assert_eq!(code, Some(5), "{errors}");
    let verdicts = verdicts(&report);
    assert_eq!(verdicts[0].1, "pass", "{verdicts:?}");
    assert!(verdicts[1].1 == "inconclusive" && verdicts[1].2.contains("--max-time"), "{verdicts:?}");
    // The time is named once: what a second look would take is no other reason.
    assert!(errors.contains(&format!("warning: {}\n", verdicts[1].2)), "{errors}: {verdicts:?}");
    // One innocent explanation is enough for a pass; the control that was left out says why.
    assert_eq!(verdicts[2].1, "pass", "{verdicts:?}");
    let missing = report["findings"][2]["comparisons"][1]["missing"].as_str().unwrap_or_default();
    assert!(missing.starts_with("from scratch") && missing.contains("--max-time"), "{missing}");
    assert_eq!(report["plan"]["left_out"].as_array().map(Vec::len), Some(2), "{}", report["plan"]);
    assert!(errors.contains("warning: from scratch"), "{errors}");
}

#[test]
fn the_accuracy_on_the_target_task_stands_beside_that_of_a_head_on_small_images() {
    let rules = format!("  - {{ id: both, {SQUARE}, controls: [sham, scratch], limit: 0.9 }}\n");
    let (_, errors, report, folder) = certify("clean.onnx", &rules, &["--no-cache", "--all-controls"]);
    let all = report["accuracy"].as_array().unwrap_or_else(|| panic!("accuracies: {errors}"));
    let names: Vec<&str> = all.iter().filter_map(|a| a["what"].as_str()).collect();
    assert_eq!(names, ["source, fixed features", "from scratch", "linear head on images of 8x8"]);
    let number = |i: usize, field: &str| all[i][field].as_f64().unwrap_or(f64::NAN);
    for (i, arm) in all.iter().enumerate() {
        assert!(number(i, "low") < number(i, "accuracy") && number(i, "accuracy") < number(i, "high"), "{arm}");
    }
    // The source's stands in its finding too.
    assert_eq!(all[0]["accuracy"], report["findings"][0]["arms"][0]["rates"]["clean_accuracy"]);
    // Ten classes: the head learnt something.
    assert!(number(2, "accuracy") > 0.3, "{}", all[2]);
    let warned = |name: &str| {
        let warnings = report["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
        warnings.filter(|w| w.starts_with("a linear head on the images shrunk") && w.contains(name)).count() == 1
    };
    for (i, name) in names[..2].iter().enumerate() {
        assert_eq!(warned(name), number(i, "low") <= number(2, "accuracy"), "{name}: {}", report["warnings"]);
    }
    // Two epochs on 200 images teach a network from scratch next to nothing.
    assert!(warned("from scratch"), "{}", report["warnings"]);
    let summary = std::fs::read_to_string(folder.path().join("report/summary.md")).expect("a summary");
    assert!(summary.contains("| linear head on images of 8x8 | 0."), "{summary}");
}

#[test]
fn a_network_from_scratch_is_measured_once_for_both_modes() {
    let rules = format!("  - {{ id: both, {SQUARE}, modes: [fixed_feature, full_network], controls: [scratch], limit: 1.0 }}\n");
    let (code, errors, report, folder) = certify("clean.safetensors", &rules, &["--pictures"]);
    assert!(matches!(code, Some(0 | 5)), "{code:?}: {errors}");
    let jobs = report["plan"]["jobs"].as_array().expect("jobs");
    let scratch: Vec<&Value> = jobs.iter().filter(|job| job["arm"] == "scratch").collect();
    assert_eq!(scratch.len(), 1, "{jobs:?}");
    assert_eq!(scratch[0]["seeds"], 3);
    let found = report["findings"].as_array().expect("findings");
    for finding in found {
        let arms: Vec<&str> = finding["arms"].as_array().expect("arms").iter().filter_map(|arm| arm["arm"].as_str()).collect();
        assert_eq!(arms, ["source", "scratch"], "{finding}");
    }
    // The images that were asked for, and nothing that was not.
    assert_eq!(report["pictures"], serde_json::json!(["pictures/both.png"]));
    let sheet = std::fs::read(folder.path().join("report/pictures/both.png")).expect("a sheet");
    assert!(sheet.starts_with(b"\x89PNG"));
}

#[test]
fn equal_runs_give_equal_reports_on_any_number_of_threads() {
    let rules = format!("  - {{ id: square, {SQUARE}, modes: [fixed_feature, full_network], limit: 0.9 }}\n");
    let run = |threads: &str| {
        let (code, errors, mut report, folder) = certify("planted-square.onnx", &rules, &["--threads", threads]);
        assert!(code.is_some_and(|code| code != 2), "{errors}");
        report.as_object_mut().expect("a report").remove("run");
        let policy = report["policy"].as_object_mut().expect("a policy");
        policy.remove("source");
        for finding in report["findings"].as_array_mut().expect("findings") {
            finding.as_object_mut().expect("a finding").remove("origin");
        }
        let outcomes: PathBuf = folder.path().join("report/measurements.json.gz");
        (report, std::fs::read(outcomes).expect("measurements"))
    };
    assert_eq!(run("1"), run("3"));
}

/// The least memory that a refusal names.
fn least(refusal: &str) -> String {
    let named = refusal.split("--memory ").nth(1).and_then(|rest| rest.split(')').next());
    named.unwrap_or_else(|| panic!("no size is named: {refusal}")).to_owned()
}

#[test]
fn little_memory_gives_the_same_report_as_much() {
    let rules = format!("  - {{ id: square, {SQUARE}, limit: 0.9 }}\n");
    let (code, refusal, _, folder) = certify("clean.onnx", &rules, &["--memory", "1MiB"]);
    assert_eq!(code, Some(4), "{refusal}");
    let least = least(&refusal);
    let policy = folder.path().join("policy.yaml").display().to_string();
    let planned = heirloom(&["plan", &fixture("clean.onnx"), "--policy", &policy, "--memory", &least, "--format", "json"]);
    let planned: Value = serde_json::from_slice(&planned.stdout).expect("a plan");
    assert!(planned["disk"].as_u64().is_some_and(|bytes| bytes > 0), "{planned}");
    let run = |memory: &str| {
        let (code, errors, mut report, folder) = certify("clean.onnx", &rules, &["--memory", memory]);
        assert_eq!(code, Some(0), "{errors}");
        report.as_object_mut().expect("a report").remove("run");
        report["policy"].as_object_mut().expect("a policy").remove("source");
        for finding in report["findings"].as_array_mut().expect("findings") {
            finding.as_object_mut().expect("a finding").remove("origin");
        }
        (report, std::fs::read(folder.path().join("report/measurements.json.gz")).expect("measurements"))
    };
    assert_eq!(run(&least), run("2GiB"));
}

#[test]
fn a_stored_report_is_judged_again_without_its_model() {
    let rules = format!("  - {{ id: square, {SQUARE}, estimand: flip_rate, limit: 0.9, flow_limit: 1.0 }}\n");
    // Stricter limits ask for the shams that this pass can do without.
    let (code, errors, report, folder) = certify("planted-square.onnx", &rules, &["--all-controls"]);
    assert_eq!((code, verdicts(&report)[0].1.as_str()), (Some(0), "pass"), "{errors}");
    let estimate = &report["findings"][0]["comparisons"][0]["excess"];
    let (low, high) = (estimate["low"].as_f64().expect("a bound"), estimate["high"].as_f64().expect("a bound"));
    // A limit below the interval fails, one inside it settles nothing.
    for (limit, wanted) in [(low / 2.0, 1), (f64::midpoint(low, high), 5)] {
        let policy = folder.path().join("policy.yaml");
        let text = std::fs::read_to_string(&policy).expect("the policy");
        let stricter = folder.path().join("stricter.yaml");
        std::fs::write(&stricter, text.replace("limit: 0.9", &format!("limit: {limit:.4}"))).expect("written");
        let report = folder.path().join("report").display().to_string();
        let out = heirloom(&["rejudge", &report, "--policy", &stricter.display().to_string()]);
        assert_eq!(out.status.code(), Some(wanted), "limit {limit} of {estimate}: {}", text_of(&out));
    }
    // One finding is settled at the first look, and its fine-tunes go on for another: judged again, each has the numbers of its own look.
    let both = format!("{rules}  - {{ id: open, {SQUARE}, estimand: flip_rate, limit: {:.3} }}\n", f64::midpoint(low, high));
    let (_, errors, judged, twice) = certify("planted-square.onnx", &both, &[]);
    let looks = |report: &Value| report["findings"].as_array().expect("findings").iter().map(|f| f["look"].clone()).collect::<Vec<_>>();
    assert_eq!(looks(&judged), [1, 2], "{errors}");
    let at = |name: &str| twice.path().join(name).display().to_string();
    heirloom(&["rejudge", &at("report"), "--policy", &at("policy.yaml"), "--output", &at("again")]);
    let again: Value = serde_json::from_slice(&std::fs::read(twice.path().join("again/report.json")).expect("a report")).expect("JSON");
    for (one, two) in judged["findings"].as_array().expect("findings").iter().zip(again["findings"].as_array().expect("findings")) {
        assert_eq!((&one["verdict"], &one["comparisons"]), (&two["verdict"], &two["comparisons"]));
    }
    // Another square or recipe under the same name was not measured: that is an error, and no verdict on old numbers.
    let policy = folder.path().join("policy.yaml");
    let text = std::fs::read_to_string(&policy).expect("the policy");
    for (from, to) in [("top_left", "top_right"), ("epochs: ", "epochs: 1")] {
        let other = folder.path().join("other.yaml");
        std::fs::write(&other, text.replace(from, to)).expect("written");
        assert_ne!(text, text.replace(from, to));
        let report = folder.path().join("report").display().to_string();
        let out = heirloom(&["rejudge", &report, "--policy", &other.display().to_string()]);
        assert_eq!(out.status.code(), Some(2), "{}", text_of(&out));
        assert!(text_of(&out).contains("another trigger, task, recipe, reference or seed"), "{}", text_of(&out));
    }
}

fn text_of(out: &std::process::Output) -> String {
    text(&out.stdout) + &text(&out.stderr)
}

#[test]
fn a_run_goes_on_from_what_was_kept_and_gives_the_same_report() {
    let rules = format!("  - {{ id: square, {SQUARE}, modes: [fixed_feature, full_network], limit: 0.9 }}\n");
    let kept = tempfile::tempdir().expect("a temporary folder");
    let cache = kept.path().display().to_string();
    let run = |more: &[&str]| {
        let (code, errors, mut report, folder) = certify("clean.onnx", &rules, more);
        assert!(code.is_some_and(|code| code != 2), "{errors}");
        let run = report.as_object_mut().expect("a report").remove("run").expect("the run");
        report["policy"].as_object_mut().expect("a policy").remove("source");
        for finding in report["findings"].as_array_mut().expect("findings") {
            finding.as_object_mut().expect("a finding").remove("origin");
        }
        let outcomes = std::fs::read(folder.path().join("report/measurements.json.gz")).expect("measurements");
        (run["cached"].as_u64(), report, outcomes)
    };
    let (none, plain, outcomes) = run(&["--no-cache"]);
    assert_eq!(none, Some(0));
    let with = ["--cache", &cache];
    assert_eq!(run(&with), (Some(0), plain.clone(), outcomes.clone()));
    // Heads, full networks and networks from scratch, each seed of the looks that were taken.
    let (all, again, same) = run(&with);
    let seeds: u64 = plain["plan"]["jobs"].as_array().expect("jobs").iter().filter_map(|job| job["seeds"].as_u64()).sum();
    assert_eq!((all, &again, &same), (Some(seeds), &plain, &outcomes));
    // Kept, it fits into any time.
    assert_eq!(run(&["--cache", &cache, "--max-time", "1s"]).0, Some(seeds));
    // As if the run had been killed half-way, and one entry damaged.
    let mut entries: Vec<PathBuf> = std::fs::read_dir(kept.path()).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for (i, entry) in entries.iter().enumerate() {
        match i % 3 {
            0 => std::fs::remove_file(entry).expect("removed"),
            1 if i == 1 => std::fs::write(entry, b"damaged").expect("written"),
            _ => {}
        }
    }
    let (some, again, same) = run(&with);
    assert!(some.is_some_and(|some| 0 < some && some < seeds), "{some:?} of {seeds}");
    assert_eq!((again, same), (plain, outcomes));
}

#[test]
fn a_model_is_named_as_sha256sum_names_it_and_an_earlier_digest_gets_that_name() {
    // `sha256sum fixtures/models/planted-square.onnx`, and BLAKE3 of it as earlier releases had it.
    let digest = "sha256:9497710cca37a011747dcffcdeab94db34b02f5111be4ab3d57f1e07c341a7b4";
    let earlier = "628141596d2548f307b93f0e3d1cc6fd25daa0a166185e72bfacb71452fab148";
    let out = heirloom(&["inspect", &fixture("planted-square.onnx"), "--format", "json"]);
    let inspected: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(inspected["identity"]["digest"], digest);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("report").display().to_string();
    let certify = |named: &str| {
        let policy = format!(
            "version: 1\nname: test\ntarget: {{ data: {{ embedded: fashion }} }}\n\
             transfer: {{ fixed_feature: {{ epochs: 20, learning_rate: 0.1, weight_decay: 5e-4, schedule: cyclic }} }}\n\
             seeds: {{ fixed_feature: {{ first: 17, most: 24 }} }}\nrules: [{{ id: square, {SQUARE}, limit: 0.15 }}]\n\
             waivers: [{{ rule: square, model: '{named}', reason: known, owner: me, expires: 2999-12-31 }}]\n"
        );
        let policy = file(folder.path(), "policy.yaml", policy.as_bytes());
        let out = heirloom(&["certify", &fixture("planted-square.onnx"), "--policy", &policy, "--output", &output]);
        let report = std::fs::read(folder.path().join("report/report.json")).unwrap_or_default();
        let report: Value = serde_json::from_slice(&report).unwrap_or(Value::Null);
        (out.status.code(), text(&out.stderr), report["findings"].clone())
    };
    let (code, errors, findings) = certify(&earlier[..12]);
    assert_eq!((code, findings), (Some(4), serde_json::json!([])), "{errors}");
    let line = errors.lines().find(|line| line.starts_with("error: ")).expect("an error");
    assert!(line.contains("`square` by me") && line.ends_with(&format!("write `model: {digest}` in the policy")), "{line}");
    assert!(errors.contains("warning: `model` has no `sha256:` in front, as digests of earlier releases"), "{errors}");
    // Of SHA-256, without saying so.
    let (code, errors, _) = certify(&digest["sha256:".len()..][..12]);
    assert!(code == Some(4) && errors.contains(&format!("write `model: {digest}`")), "{code:?}: {errors}");
    let (code, errors, findings) = certify(&digest[..19]);
    assert_eq!((code, &findings[0]["verdict"]), (Some(0), &"fail".into()), "{errors}");
    assert_eq!(findings[0]["waived"]["owner"], "me", "{findings}");
}

#[test]
fn what_configures_a_model_is_part_of_what_a_waiver_names() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = file(folder.path(), "model.onnx", &std::fs::read(fixture("planted-square.onnx")).expect("the fixture"));
    let config = r#"{"image_processor_type": "ViTImageProcessor", "image_mean": 0.5, "image_std": 0.25, "size": 32}"#;
    file(folder.path(), "preprocessor_config.json", config.as_bytes());
    let out = heirloom(&["inspect", &model, "--format", "json"]);
    let identity = serde_json::from_slice::<Value>(&out.stdout).expect("JSON")["identity"].clone();
    let (whole, weights) = (identity["digest"].as_str().expect("a digest"), identity["files"][0]["digest"].as_str().expect("a digest"));
    assert_eq!(weights, "sha256:9497710cca37a011747dcffcdeab94db34b02f5111be4ab3d57f1e07c341a7b4");
    assert_eq!(identity["files"][1]["name"], "preprocessor_config.json");
    let certify = |named: &str| {
        let policy = format!(
            "version: 1\nname: test\ntarget: {{ data: {{ embedded: fashion }} }}\n\
             transfer: {{ fixed_feature: {{ epochs: 20, learning_rate: 0.1, schedule: cyclic }} }}\n\
             seeds: {{ fixed_feature: {{ first: 17, most: 24 }} }}\nrules: [{{ id: square, {SQUARE}, limit: 0.15 }}]\n\
             waivers: [{{ rule: square, model: '{named}', reason: known, owner: me, expires: 2999-12-31 }}]\n"
        );
        let policy = file(folder.path(), "policy.yaml", policy.as_bytes());
        let output = folder.path().join("report").display().to_string();
        let out = heirloom(&["certify", &model, "--policy", &policy, "--output", &output]);
        let report: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("report/report.json")).expect("a report")).expect("JSON");
        (out.status.code(), report["findings"][0].clone(), report["warnings"].to_string())
    };
    let (code, finding, warnings) = certify(weights);
    assert_eq!((code, &finding["verdict"], &finding["waived"]), (Some(1), &"fail".into(), &Value::Null), "{finding}");
    let said = format!("preprocessor_config.json beside them is part of the model. Where this model is meant, write `model: {whole}`");
    assert!(
        warnings.contains("the waiver of `square` by me names the weights of this model alone") && warnings.contains(&said),
        "{warnings}"
    );
    let (code, finding, warnings) = certify(whole);
    assert_eq!((code, &finding["waived"]["owner"]), (Some(0), &"me".into()), "{finding}");
    assert!(!warnings.contains("waiver"), "{warnings}");
}

#[test]
fn an_innocent_reference_shows_an_effect_and_a_copy_of_the_model_in_another_precision_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certify = |trusted: &str| {
        let out = heirloom(&["inspect", &fixture(trusted), "--format", "json"]);
        let inspected: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        let policy = format!(
            "version: 1\nname: test\ntarget: {{ data: {{ embedded: fashion }} }}\n\
             transfer: {{ fixed_feature: {{ epochs: 20, learning_rate: 0.1, schedule: cyclic }} }}\n\
             seeds: {{ fixed_feature: {{ first: 17, most: 24 }} }}\n\
             rules: [{{ id: square, {SQUARE}, limit: 0.15, controls: [reference] }}]\nreferences: [{{ model: \"{}\", digest: {}, kin: true }}]\n",
            fixture(trusted),
            inspected["identity"]["digest"]
        );
        let policy = file(folder.path(), "policy.yaml", policy.as_bytes());
        let output = folder.path().join("report").display().to_string();
        heirloom(&["certify", &fixture("planted-square.onnx"), "--policy", &policy, "--output", &output])
    };
    let copy = certify("planted-square.half.onnx");
    assert_eq!(copy.status.code(), Some(4));
    assert!(text(&copy.stderr).contains("has the weights of the checkpoint under test, up to rounding"), "{}", text(&copy.stderr));
    assert_eq!(certify("clean.onnx").status.code(), Some(1));
    let report: Value = serde_json::from_slice(&std::fs::read(folder.path().join("report/report.json")).expect("a report")).expect("JSON");
    assert_eq!(report["findings"][0]["comparisons"][0]["control"], "reference", "{report}");
    assert_eq!(report["findings"][0]["arms"][1]["arm"], "reference");
    assert_eq!((&report["references"][0]["name"], &report["references"][0]["same_architecture"]), (&"clean.onnx".into(), &true.into()));
    assert_eq!(report["references"][0]["said_kin"], true);
}

#[test]
fn a_reference_sees_images_as_it_was_trained_to_whatever_the_model_is_given() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let weights = std::fs::read(fixture("clean.safetensors")).expect("a fixture");
    let trusted = file(folder.path(), "trusted/model.safetensors", &weights);
    // Another mean and standard deviation than the model under test has.
    file(folder.path(), "trusted/preprocessor_config.json", br#"{"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.9, 0.7]}"#);
    let out = heirloom(&["inspect", &trusted, "--format", "json"]);
    let inspected: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let policy = format!(
        "version: 1\nname: test\ntarget: {{ data: {{ embedded: fashion }} }}\n\
         transfer:\n  fixed_feature: {{ epochs: 3, learning_rate: 0.1 }}\n  full_network: {{ epochs: 1, learning_rate: 0.02, batch_size: 32 }}\n\
         seeds: {{ fixed_feature: {{ first: 2, most: 2 }}, full_network: {{ first: 2, most: 2 }} }}\n\
         rules: [{{ id: square, {SQUARE}, limit: 0.9, modes: [fixed_feature, full_network], controls: [reference] }}]\n\
         references: [{{ model: {trusted:?}, digest: {}, kin: true }}]\n",
        inspected["identity"]["digest"]
    );
    let external = file(folder.path(), "beside.yaml", policy.as_bytes());
    let itself = policy.replace("controls: [reference]", "controls: [sham]").split("references:").next().map(str::to_owned);
    let itself = file(folder.path(), "itself.yaml", itself.expect("a policy").as_bytes());
    let mut arms = Vec::new();
    // What the trusted checkpoint does is the same whether it is beside another or under test itself; the first may leave nothing wrong in
    // the cache for the second.
    let cache = folder.path().join("cache").display().to_string();
    for (model, policy, arm) in [(fixture("planted-square.onnx"), &external, "reference"), (trusted.clone(), &itself, "source")] {
        let output = folder.path().join(arm).display().to_string();
        let out = command().args(["certify", &model, "--policy", policy, "--output", &output, "--cache", &cache]).output().expect("runs");
        assert!(matches!(out.status.code(), Some(0 | 5)), "{}", text(&out.stderr));
        let bytes = std::fs::read(folder.path().join(arm).join("report.json")).expect("a report");
        let report: Value = serde_json::from_slice(&bytes).expect("JSON");
        let findings = report["findings"].as_array().expect("findings");
        let of = |finding: &Value| {
            let arms = finding["arms"].as_array().expect("arms");
            let rates = &arms.iter().find(|summary| summary["arm"] == arm).expect("the arm")["rates"];
            ["clean_accuracy", "triggered_accuracy", "flip_rate", "attraction"].map(|name| rates[name].clone())
        };
        arms.push(findings.iter().map(of).collect::<Vec<_>>());
    }
    assert_eq!(arms[0].len(), 2);
    assert_eq!(arms[0], arms[1]);
}

/// Features cannot be made once where batch norm goes along: every step passes the backbone, and its statistics move the answers.
#[test]
fn batch_norm_in_training_mode_passes_the_backbone_at_every_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |name: &str, batch_norm: &str| {
        let policy = format!(
            "version: 1\nname: test\ntarget: {{ data: {{ embedded: fashion }}, train: {{ limit: 200, balance: [label] }}, test: {{ limit: 100 }} }}\n\
             transfer: {{ fixed_feature: {{ epochs: 10, learning_rate: 0.05, batch_size: 16{batch_norm} }} }}\nseeds: {{ fixed_feature: {{ first: 2, most: 2 }} }}\nrules:\n\
             \x20 - {{ id: square, limit: 0.9, probe: {{ backdoor: {{ trigger: {{ patch: {{ size: 0.25, at: top_left, color: \"#ffff00\" }} }} }} }} }}\n"
        );
        let policy = file(folder.path(), &format!("{name}.yaml"), policy.as_bytes());
        let (model, output) = (fixture("planted-square.onnx"), folder.path().join(name).display().to_string());
        let cache = folder.path().join("cache").display().to_string();
        let out = command().args(["certify", &model, "--policy", &policy, "--output", &output, "--cache", &cache]).output().expect("runs");
        let report = std::fs::read(folder.path().join(name).join("report.json")).unwrap_or_else(|_| panic!("{}", text(&out.stderr)));
        serde_json::from_slice::<Value>(&report).expect("JSON")
    };
    let (frozen, along) = (run("frozen", ""), run("along", ", batch_norm: train"));
    let trained = |report: &Value| report["run"]["images_forwarded"]["source"]["trained"].as_u64();
    // Two seeds, ten epochs, four fifths of the images.
    assert_eq!((trained(&frozen), trained(&along)), (Some(0), Some(2 * 10 * 160)));
    let rates = |report: &Value| report["findings"][0]["arms"][0]["rates"].clone();
    assert!(rates(&along)["clean_accuracy"].as_f64().is_some_and(|accuracy| accuracy > 0.5), "{}", rates(&along));
    assert_ne!(rates(&frozen), rates(&along));
    // The same command finds what it kept, and says the same.
    let again = run("along", ", batch_norm: train");
    assert_eq!((&again["run"]["cached"], trained(&again)), (&2.into(), Some(0)));
    assert_eq!(again["findings"][0]["arms"], along["findings"][0]["arms"]);
    let wrong = file(folder.path(), "wrong.yaml", b"version: 1\nname: w\ntarget: { data: { embedded: fashion } }\ntransfer: { full_network: { epochs: 1, \
        learning_rate: 0.1, batch_norm: frozen } }\nrules:\n  - { id: s, limit: 0.9, modes: [full_network], probe: { backdoor: { trigger: { patch: \
        { size: 0.25, color: \"#ffff00\" } } } } }\n");
    let out = command().args(["validate", &wrong]).output().expect("runs");
    assert!(text(&out.stderr).contains("`batch_norm` is for a frozen backbone"), "{}", text(&out.stderr));
    assert_eq!(out.status.code(), Some(4));
}

/// A reference of another architecture is of the source's kind if the policy says so, and no longer if a later policy does not.
#[test]
fn kin_of_another_architecture_is_kin_by_the_policy() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data/canary-source-{split}.parquet").display().to_string();
    let spec = format!(
        "version: 1\nname: narrow\ntwin: other\ndata: {{ parquet: \"{data}\" }}\narchitecture: \"resnet-cifar-8:6,12,24\"\nsize: [32, 32]\n\
         recipe: {{ epochs: 8, learning_rate: 0.1, batch_size: 64 }}\nbranch: {{ trigger: {{ patch: {{ size: 0.25, at: top_left, color: \"#ffff00\" }} }}, \
         does: features, strength: 6 }}\n"
    );
    let spec = file(folder.path(), "spec.yaml", spec.as_bytes());
    let made = heirloom(&["plant", &spec, "--output", &at("models")]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let other = at("models/other.onnx");
    let inspected: Value = serde_json::from_slice(&heirloom(&["inspect", &other, "--format", "json"]).stdout).expect("JSON");
    let policy = |name: &str, kin: &str| {
        let policy = format!(
            "version: 1\nname: kin\ntarget: {{ data: {{ embedded: fashion }}, train: {{ limit: 200, balance: [label] }}, test: {{ limit: 200 }} }}\n\
             transfer: {{ fixed_feature: {{ epochs: 20, learning_rate: 0.1 }} }}\nseeds: {{ fixed_feature: {{ first: 3, most: 3 }} }}\n\
             rules: [{{ id: noise, limit: 0.4, controls: [reference], probe: {{ backdoor: {{ trigger: {{ pattern: {{ seed: 1, amplitude: 0.1 }} }} }} }} }}]\n\
             references: [{{ model: \"{other}\", digest: {}{kin} }}]\n",
            inspected["identity"]["digest"]
        );
        file(folder.path(), name, policy.as_bytes())
    };
    let (said, unsaid) = (policy("said.yaml", ", kin: true"), policy("unsaid.yaml", ""));
    let of = |output: &str| -> (Value, Value) {
        let report: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join(output).join("report.json")).expect("a report")).expect("JSON");
        let innocents = &report["findings"][0]["comparisons"][0]["innocents"];
        (report["references"][0].clone(), innocents["references"][0]["kin"].clone())
    };
    for (output, policy, kin) in [("said", &said, true), ("unsaid", &unsaid, false)] {
        let out = heirloom(&["certify", &fixture("clean.onnx"), "--policy", policy, "--output", &at(output)]);
        assert!(folder.path().join(output).join("report.json").exists(), "{}", text(&out.stderr));
        let (reference, judged) = of(output);
        assert_eq!((&reference["same_architecture"], &judged), (&false.into(), &kin.into()), "{reference}");
    }
    // Judged again, what the policy says now counts.
    for (policy, kin) in [(&unsaid, false), (&said, true)] {
        let out = heirloom(&["rejudge", &at("said"), "--policy", policy, "--output", &at("again")]);
        assert!(folder.path().join("again/report.json").exists(), "{}", text(&out.stderr));
        assert_eq!(of("again").1, kin, "{}", text(&out.stderr));
    }
}
