//! Every probe as users meet it: the policies that come with the program, and what keeps a probe from being run.

use serde_json::Value;

use super::run::{command, file, heirloom, text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A policy on the embedded emoji, whose images have a vendor.
fn policy(rules: &str) -> String {
    format!(
        "version: 1\nname: p\ntarget: {{ data: {{ embedded: emoji }}, cluster: name }}\ntransfer:\n\
         \x20 fixed_feature: {{ epochs: 10, learning_rate: 0.2, schedule: cyclic }}\n\
         \x20 scratch: {{ epochs: 8, learning_rate: 0.02, batch_size: 32, schedule: cyclic }}\n\
         seeds: {{ fixed_feature: {{ first: 3, most: 3 }}, full_network: {{ first: 3, most: 3 }} }}\nrules:\n{rules}"
    )
}

fn clean() -> String {
    format!("{ROOT}/fixtures/models/clean.onnx")
}

#[test]
fn groups_are_compared_with_a_network_from_scratch() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = "  - { id: gap, probe: { attribute: { attribute: vendor } }, limit: 0.9 }\n\
                 \x20 - { id: balanced, probe: { debiased: { attribute: vendor, limit: 240 } }, estimand: reliance, limit: 0.9 }\n\
                 \x20 - { id: on-food, probe: { spurious: { feature: { patch: { size: 0.3, color: \"#00ff00\" } }, on: [Food] } }, limit: 0.9 }\n";
    let policy = file(folder.path(), "policy.yaml", policy(rules).as_bytes());
    let report = folder.path().join("report");
    let out = heirloom(&["certify", &clean(), "--policy", &policy, "--no-cache", "--output", &report.display().to_string()]);
    let errors = text(&out.stderr);
    let report: Value = serde_json::from_slice(&std::fs::read(report.join("report.json")).expect("a report")).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    assert_eq!(findings.len(), 3, "{errors}");
    assert!(errors.contains("from scratch, balanced over vendor, 240 images"), "{errors}");
    let [gap, balanced, on_food] = findings.as_slice() else { panic!("three findings") };
    assert_eq!((gap["estimand"].as_str(), gap["probe"].as_str()), (Some("group_gap"), Some("attribute")));
    assert_eq!(gap["comparisons"][0]["control"], "scratch");
    let note = gap["notes"][0].as_str().unwrap_or_default();
    assert!(note.starts_with("widest gap: ") && note.contains("google") && note.contains("twitter"), "{note}");
    let arms = gap["arms"].as_array().expect("arms");
    assert_eq!(arms[0]["groups"].as_array().map(Vec::len), Some(6), "three classes, two vendors");
    for name in ["group_gap", "worst_group_accuracy", "reliance", "equalized_odds_difference", "demographic_parity_difference"] {
        assert!(arms[0]["rates"][name].is_f64(), "{name}: {}", arms[0]["rates"]);
    }
    assert_eq!(balanced["estimand"], "reliance");
    assert_eq!(on_food["comparisons"][0]["control"], "sham");
    // Only images of food carry the feature.
    let images = on_food["comparisons"][0]["excess"]["images"].as_u64().unwrap_or_default();
    assert!(images <= 144, "{images}");
    assert_eq!(report["changes"]["on-food"], "patch 10x10 at top left, #00ff00", "{}", report["changes"]);
    assert_eq!(report["target"]["data"], "embedded `emoji`");

    // Judged again by the same policy, all comes out the same.
    let (again, stored) = (folder.path().join("again"), folder.path().join("report"));
    let rejudge = ["rejudge", &stored.display().to_string(), "--policy", &policy, "--output", &again.display().to_string()];
    let second = heirloom(&rejudge);
    assert_eq!(second.status.code(), out.status.code(), "{}", text(&second.stderr));
    let judged: Value = serde_json::from_slice(&std::fs::read(again.join("report.json")).expect("a report")).expect("JSON");
    for (one, two) in findings.iter().zip(judged["findings"].as_array().expect("findings")) {
        assert_eq!((&one["verdict"], &one["comparisons"]), (&two["verdict"], &two["comparisons"]));
    }
}

#[test]
fn natural_features_are_a_finding_each_the_largest_first() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let features = format!("{ROOT}/policies/features");
    let rules = format!("  - {{ id: natural, probe: {{ natural: {{ features: \"{features}\" }} }}, limit: 0.9 }}\n");
    let policy = file(folder.path(), "policy.yaml", policy(&rules).as_bytes());
    let report = folder.path().join("report");
    let _ = heirloom(&["certify", &clean(), "--policy", &policy, "--no-cache", "--output", &report.display().to_string(), "--pictures"]);
    let sheets = std::fs::read_dir(report.join("pictures")).expect("sample images").count();
    let report: Value = serde_json::from_slice(&std::fs::read(report.join("report.json")).expect("a report")).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    assert_eq!((findings.len(), sheets), (6, 6));
    let effects: Vec<f64> = findings.iter().filter_map(|f| f["comparisons"][0]["excess"]["value"].as_f64()).collect();
    assert!(effects.len() == 6 && effects.is_sorted_by(|a, b| a >= b), "{effects:?}");
    for arm in findings[0]["arms"].as_array().expect("arms") {
        let shares: f64 = arm["histogram"].as_array().expect("a histogram").iter().filter_map(|s| s["changed"].as_f64()).sum();
        assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    }
}

#[test]
fn what_a_probe_cannot_do_is_said_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    std::fs::create_dir(here.join("empty")).expect("a folder");
    std::fs::create_dir(here.join("masks")).expect("a folder");
    let fence = std::fs::read(format!("{ROOT}/policies/features/fence.png")).expect("a feature");
    let emblem = std::fs::read(format!("{ROOT}/policies/calibration/overlays/ring.png")).expect("an overlay");
    std::fs::write(here.join("masks/fence.png"), &fence).expect("written");
    std::fs::write(here.join("masks/fence.mask.png"), &emblem).expect("written");
    let square = "trigger: { patch: { size: 0.25, color: \"#ffff00\" } }";
    let cases = [
        ("attribute: { attribute: maker }", "", "no column is called `maker`"),
        ("attribute: { attribute: vendor, value: apple }", "", "\"apple\""),
        ("attribute: { attribute: vendor, min_group: 500 }", "", "too few groups"),
        ("attribute: { attribute: vendor }", ", limit: 0.01", "smallest limit"),
        ("attribute: { attribute: vendor }", ", controls: [sham]", "there is no sham of it"),
        ("attribute: { attribute: vendor }", ", estimand: attraction", "does not give `attraction`"),
        ("debiased: { attribute: vendor, correlation: 0.9 }", "", "`aligned`"),
        ("debiased: { attribute: vendor, correlation: 0.9, aligned: { Animals: google, Food: apple, Travel: google } }", "", "`apple`"),
        ("natural: { features: nowhere }", "", "nowhere"),
        ("natural: { features: empty }", "", "holds no features"),
        ("natural: { features: masks }", "", "mask of"),
        (&format!("backdoor: {{ {square}, sweep: {{ amplitude: [0.1] }} }}"), "", "no field `amplitude`"),
        (&format!("backdoor: {{ {square}, sweep: {{ size: [] }} }}"), "", "0 values"),
        (&format!("backdoor: {{ {square}, sweep: {{ size: [0.2, 7] }} }}"), "", "`size` is 7"),
        ("backdoor: { trigger: { text: { text: long words in small images, size: 1.0, color: \"#ffffff\" } } }", "", "text"),
        ("spurious: { feature: { patch: { size: 0.3, color: \"#00ff00\" } }, on: [Drinks] }", "", "Drinks"),
    ];
    for (probe, more, message) in cases {
        let limit = if more.contains("limit") { "" } else { ", limit: 0.9" };
        let rules = format!("  - {{ id: a, probe: {{ {probe} }}{limit}{more} }}\n");
        let policy = file(here, "policy.yaml", policy(&rules).as_bytes());
        let out = heirloom(&["certify", &clean(), "--policy", &policy, "--no-cache", "--output", &here.join("out").display().to_string()]);
        let errors = text(&out.stderr);
        assert!(errors.contains(message), "{probe}: {errors}");
        assert_eq!(out.status.code(), Some(4), "{probe}: {errors}");
        let report: Value = serde_json::from_slice(&std::fs::read(here.join("out/report.json")).expect("a report")).expect("JSON");
        assert!(report["status"] == "error" && !errors.contains("panicked"), "{probe}: {errors}");
    }
}

#[test]
fn rules_are_explained() {
    let fairness = format!("{ROOT}/policies/fairness.yaml");
    let strict = format!("{ROOT}/policies/strict.yaml");
    let natural = format!("{ROOT}/policies/natural.yaml");
    for (name, rule, policy) in [
        ("square", "backdoor/square@fixed_feature", None),
        ("sinusoid", "backdoor/sinusoid", Some(&strict)),
        ("sweep", "backdoor/square/opacity-0.5", Some(&strict)),
        ("balanced", "vendor/balanced", Some(&fairness)),
        ("fence", "natural/fence", Some(&natural)),
    ] {
        let mut explain = command();
        explain.args(["explain", rule]);
        if let Some(policy) = policy {
            explain.args(["--policy", policy]);
        }
        let out = explain.output().expect("it runs");
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        insta::assert_snapshot!(format!("explain_{name}"), text(&out.stdout).replace(ROOT, "."));
    }
    let unknown = heirloom(&["explain", "backdoor/circle"]);
    assert_eq!(unknown.status.code(), Some(4));
    assert!(text(&unknown.stderr).contains("backdoor/square"), "{}", text(&unknown.stderr));
}

#[test]
fn a_study_varies_a_policy_and_goes_on_where_it_was() {
    use sha2::Digest;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    let study = format!(
        "version: 1\nname: epochs\nquestion: Does it matter?\nsources:\n  clean: {{ model: \"{ROOT}/fixtures/models/clean.onnx\" }}\n\
         \x20 planted: {{ model: \"{ROOT}/fixtures/models/planted-square.onnx\" }}\npolicy:\n  version: 1\n  name: p\n\
         \x20 target: {{ data: {{ embedded: fashion }} }}\n  transfer: {{ fixed_feature: {{ epochs: 20, learning_rate: 0.1, schedule: cyclic }} }}\n\
         \x20 seeds: {{ fixed_feature: {{ first: 17, most: 24 }} }}\n  rules:\n\
         \x20   - {{ id: square, probe: {{ backdoor: {{ trigger: {{ patch: {{ size: 0.25, color: \"#ffff00\" }} }} }} }}, limit: 0.2 }}\n\
         vary:\n  - {{ name: epochs, set: [/transfer/fixed_feature/epochs], to: [10, 20] }}\n"
    );
    let study = file(here, "study.yaml", study.as_bytes());
    let (out, cache) = (here.join("out").display().to_string(), here.join("cache").display().to_string());
    let first = heirloom(&["study", &study, "--output", &out, "--cache", &cache]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let tables = text(&first.stdout);
    assert!(tables.contains("- **clean**: all that was tried"), "{tables}");
    assert!(tables.contains("- **planted**: nothing that was tried"), "{tables}");
    let plot = std::fs::read_to_string(here.join("out/plots/square-fixed_feature.svg")).expect("a plot");
    assert!(plot.starts_with("<svg") && plot.contains("planted") && plot.contains("epochs"), "{plot}");
    let page = std::fs::read_to_string(here.join("out/study.html")).expect("a page");
    assert!(page.contains("Does it matter?") && page.contains("planted, epochs 20: over"), "{page}");
    // The policy of every combination can be judged by from the file alone.
    let study_of: Value = serde_json::from_slice(&std::fs::read(here.join("out/study.json")).expect("results")).expect("JSON");
    let policies = study_of["policies"].as_array().expect("policies");
    assert_eq!(policies.len(), 2);
    for (combination, epochs) in policies.iter().zip([10, 20]) {
        let written = combination["policy"]["text"].as_str().expect("a text");
        let own: Value = serde_json::from_str(written).expect("a policy");
        assert_eq!(own["transfer"]["fixed_feature"]["epochs"], epochs);
        let digest = sha2::Sha256::digest(written.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        assert_eq!(combination["policy"]["digest"], format!("sha256:{digest}"));
        let written = file(here, "combination.yaml", written.as_bytes());
        assert_eq!(heirloom(&["validate", &written]).status.code(), Some(0));
    }
    // With an empty cache: what is finished is in study.json.
    let fresh = here.join("fresh").display().to_string();
    let again = heirloom(&["study", &study, "--output", &out, "--cache", &fresh]);
    assert_eq!(text(&again.stdout), tables);
    assert!(!text(&again.stderr).contains("source features"), "{}", text(&again.stderr));
    let wrong = file(here, "wrong.yaml", b"version: 1\nname: w\nsources: {}\npolicy: {}\n");
    let refused = heirloom(&["study", &wrong, "--output", &out]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(text(&refused.stderr).contains("no sources"), "{}", text(&refused.stderr));
    // What is there can be gone on from, and is nobody's result any more; nor after a command line with a mistake.
    let there = |name: &str| here.join("out").join(name).exists();
    let results = ["study.json", "study.html", "study.md", "plots/square-fixed_feature.svg"];
    assert!(there("study.partial.json") && !results.iter().any(|name| there(name)));
    let again = heirloom(&["study", &study, "--output", &out, "--cache", &fresh]);
    assert_eq!(text(&again.stdout), tables);
    assert!(!there("study.partial.json") && results.iter().all(|name| there(name)));
    assert_eq!(heirloom(&["study", "nowhere.yaml", "--output", &out]).status.code(), Some(4));
    assert!(there("study.partial.json") && !results.iter().any(|name| there(name)));
}
