//! Frozen networks in ONNX Runtime. What needs the library runs where `ORT_DYLIB_PATH` names one, and says so elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::lacks::lacks;
use super::run::{command, file, heirloom, text};

fn path(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

/// The library that the surrounding shell names, or a line that says what is missing.
fn library() -> Option<String> {
    let named = std::env::var("ORT_DYLIB_PATH").ok().filter(|named| !named.is_empty() && named != "off");
    if named.is_none() {
        lacks("ONNX Runtime (ORT_DYLIB_PATH names no library)");
    }
    named
}

const SQUARE: &str = "probe: { backdoor: { trigger: { patch: { size: 0.25, at: top_left, color: \"#ffff00\" } } } }";

/// A policy of the square, frozen and with everything trained.
fn policy(folder: &Path) -> String {
    let text = format!(
        "version: 1\nname: test\ntarget: {{ data: {{ embedded: fashion }}, train: {{ limit: 300 }}, test: {{ limit: 500 }} }}\n\
         transfer:\n  fixed_feature: {{ epochs: 20, learning_rate: 0.1, schedule: cyclic }}\n  full_network: {{ epochs: 1, learning_rate: 0.01 }}\n\
         seeds:\n  fixed_feature: {{ first: 17, most: 24 }}\n  full_network: {{ first: 3, most: 3 }}\nrules:\n\
         \x20 - {{ id: square, {SQUARE}, limit: 0.2 }}\n\
         \x20 - {{ id: both, {SQUARE}, controls: [sham, scratch], limit: 0.9, flow_limit: 1.0, flip_limit: 1.0 }}\n\
         \x20 - {{ id: full, {SQUARE}, modes: [full_network], limit: 0.9 }}\n"
    );
    file(folder, "policy.yaml", text.as_bytes())
}

/// Certifies; exit code, stderr, report.
fn certify(folder: &Path, model: &str, library: &str, more: &[&str]) -> (Option<i32>, String, Value) {
    let (policy, output) = (policy(folder), folder.join("report").display().to_string());
    let mut arguments = vec!["certify", model, "--policy", &policy, "--output", &output, "--ort-lib", library];
    arguments.extend(more);
    let out = heirloom(&arguments);
    let report = std::fs::read(folder.join("report/report.json")).unwrap_or_default();
    (out.status.code(), text(&out.stderr), serde_json::from_slice(&report).unwrap_or(Value::Null))
}

fn verdicts(report: &Value) -> Vec<&str> {
    report["findings"].as_array().expect("findings").iter().map(|f| f["verdict"].as_str().unwrap_or_default()).collect()
}

#[test]
fn both_executors_agree_and_the_report_says_which_made_the_features() {
    let Some(library) = library() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = Vec::new();
    for model in ["planted-square.onnx", "planted-square.safetensors"] {
        let (code, errors, report) = certify(folder.path(), &path(&format!("fixtures/models/{model}")), &library, &[]);
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains("and heirloom agree to ") && errors.contains("on 8 images"), "{errors}");
        let executor = &report["model"]["executor"];
        assert!(executor["name"].as_str().is_some_and(|name| name.starts_with("ONNX Runtime 1.")), "{executor}");
        assert!(executor["agreement"]["difference"].as_f64().is_some_and(|d| d < 1e-5), "{executor}");
        seen.push(verdicts(&report).join(" "));
    }
    let (_, errors, report) = certify(folder.path(), &path("fixtures/models/planted-square.onnx"), "off", &[]);
    assert_eq!(report["model"]["executor"]["name"], "heirloom", "{errors}");
    assert!(errors.contains("heirloom (no ONNX Runtime library is used)"), "{errors}");
    seen.push(verdicts(&report).join(" "));
    assert!(seen.iter().all(|verdicts| *verdicts == seen[0]), "{seen:?}");
}

#[test]
fn a_quantised_model_is_certified_by_its_frozen_features() {
    let Some(library) = library() else { return };
    for (model, code, square) in [("planted-square", Some(1), "fail"), ("clean", Some(0), "pass")] {
        let folder = tempfile::tempdir().expect("a folder");
        let model = path(&format!("fixtures/models/{model}.int8.onnx"));
        let (found, errors, report) = certify(folder.path(), &model, &library, &["--all-controls"]);
        assert_eq!(found, code, "{errors}");
        assert_eq!(verdicts(&report), [square, "pass", "skipped"], "{report}");
        let reason = report["findings"][2]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("cannot be trained here") && reason.contains("quantised"), "{reason}");
        let missing = &report["findings"][1]["comparisons"][1]["missing"];
        assert!(missing.as_str().is_some_and(|why| why.starts_with("from scratch: the network cannot be trained here")), "{missing}");
        // The stored report can be judged again.
        let (stored, policy) = (folder.path().join("report").display().to_string(), policy(folder.path()));
        let judged = heirloom(&["rejudge", &stored, "--policy", &policy, "--format", "json"]);
        let judged: Value = serde_json::from_slice(&judged.stdout).expect("a report");
        assert_eq!(judged["findings"][0]["verdict"], square);
        let inspected = text(&heirloom(&["inspect", &model, "--ort-lib", &library]).stdout);
        assert!(inspected.contains("fixed_feature possible") && inspected.contains("full_network not possible: "), "{inspected}");
        let planned = heirloom(&["plan", &model, "--policy", &policy, "--ort-lib", &library]);
        let (planned, remarks) = (text(&planned.stdout), text(&planned.stderr));
        // No way around the weights was found because none could be looked for.
        let not_searched = "whether nodes lead from the image to the features around the weights is not known";
        let warned = |warning: &Value| warning.as_str().is_some_and(|warning| warning.starts_with(not_searched));
        assert!(report["warnings"].as_array().is_some_and(|warnings| warnings.iter().any(warned)), "{report}");
        assert!(inspected.contains(&format!("warning     {not_searched}")), "{inspected}");
        assert!(remarks.contains(&format!("warning: {not_searched}")), "{remarks}");
        assert!(planned.contains("not possible") && planned.contains("skipped: the network cannot be trained here"), "{planned}");
    }
}

/// Files of two-byte numbers are what is often released. Heirloom computes them by itself too, in four bytes.
#[test]
fn a_model_of_half_precision_is_certified_with_and_without_the_library() {
    let libraries = ["off".to_owned()].into_iter().chain(library());
    for library in libraries {
        for (model, square) in [("planted-square", "fail"), ("clean", "pass")] {
            let folder = tempfile::tempdir().expect("a folder");
            let (_, errors, report) = certify(folder.path(), &path(&format!("fixtures/models/{model}.half.onnx")), &library, &[]);
            assert_eq!(verdicts(&report)[..2], [square, "pass"], "{library}: {errors}");
            let executor = report["model"]["executor"]["name"].as_str().unwrap_or_default();
            assert_eq!(executor.starts_with("ONNX Runtime"), library != "off", "{executor}");
        }
    }
}

#[test]
fn an_operator_that_heirloom_does_not_have() {
    let Some(library) = library() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (code, errors, report) = certify(folder.path(), &path("tests/golden/runtime/sine.onnx"), &library, &[]);
    assert!(matches!(code, Some(0 | 1 | 5)), "{code:?}: {errors}");
    assert_eq!(verdicts(&report)[2], "skipped", "{report}");
    assert_eq!(report["model"]["features"]["name"], "vector");
}

#[test]
fn weights_beside_the_file_and_a_batch_that_is_fixed() {
    let Some(library) = library() else { return };
    for model in ["external", "fixed-batch"] {
        let folder = tempfile::tempdir().expect("a folder");
        let model = path(&format!("tests/golden/runtime/{model}.onnx"));
        let (_, errors, report) = certify(folder.path(), &model, &library, &[]);
        let executor = &report["model"]["executor"];
        assert!(executor["agreement"]["difference"].as_f64().is_some_and(|d| d < 1e-5), "{executor}: {errors}");
    }
}

#[test]
fn features_that_are_a_map_are_brought_to_a_vector() {
    let Some(library) = library() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for (model, tensor) in [("tests/golden/runtime/external.onnx", "relu"), ("fixtures/models/clean.int8.onnx", "layer3.0.relu")] {
        let (code, errors, report) = certify(folder.path(), &path(model), &library, &["--features", tensor]);
        assert!(matches!(code, Some(0 | 1 | 5)), "{code:?}: {errors}");
        assert!(report["model"]["features"]["how"].as_str().is_some_and(|how| how.ends_with("mean over the map")), "{errors}");
        assert!(report["model"]["executor"]["name"].as_str().is_some_and(|name| name.starts_with("ONNX")), "{report}");
    }
}

#[test]
fn threads_do_not_change_what_onnx_runtime_answers() {
    let Some(library) = library() else { return };
    let run = |threads: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let model = path("fixtures/models/planted-square.int8.onnx");
        let (_, errors, _) = certify(folder.path(), &model, &library, &["--threads", threads]);
        std::fs::read(folder.path().join("report/measurements.json.gz")).unwrap_or_else(|_| panic!("{errors}"))
    };
    assert_eq!(run("1"), run("3"));
}

#[test]
fn features_are_kept_and_never_mixed_with_those_of_another_executor() {
    let Some(library) = library() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache").display().to_string();
    let model = path("fixtures/models/planted-square.onnx");
    let rules = |epochs: usize| {
        let text = std::fs::read_to_string(policy(folder.path())).expect("the policy");
        let end = text.find("  - { id: both").expect("a rule");
        file(folder.path(), "one.yaml", text[..end].replace("epochs: 20", &format!("epochs: {epochs}")).as_bytes())
    };
    let run = |epochs: usize, library: &str| {
        let (policy, output) = (rules(epochs), folder.path().join("report").display().to_string());
        text(&heirloom(&["certify", &model, "--policy", &policy, "--output", &output, "--ort-lib", library, "--cache", &cache]).stderr)
    };
    assert!(!run(20, &library).contains("kept from an earlier run"));
    // Another recipe: other heads on the same features.
    let again = run(21, &library);
    assert!(again.contains("source features") && again.contains("kept from an earlier run"), "{again}");
    let other = run(21, "off");
    assert!(!other.contains("kept from an earlier run"), "{other}");
}

#[test]
fn a_quantised_model_without_a_library() {
    let model = path("fixtures/models/clean.int8.onnx");
    for arguments in [&["inspect", model.as_str()][..], &["certify", &model], &["plan", &model]] {
        let out = heirloom(arguments);
        let message = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{message}");
        assert!(message.contains("quantised") && message.contains("hint: ") && message.contains("--ort-lib"), "{message}");
    }
}

#[test]
fn a_library_that_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let noise = file(folder.path(), "libonnxruntime.so", b"no library at all");
    let (empty, absent) = (folder.path().join("empty"), folder.path().join("absent.so").display().to_string());
    std::fs::create_dir(&empty).expect("a folder");
    let model = path("fixtures/models/clean.onnx");
    for (named, said) in [
        (absent.as_str(), "there is no ONNX Runtime library here"),
        (&empty.display().to_string(), "there is no ONNX Runtime library here"),
        (&noise, "this is not an ONNX Runtime library"),
        (&folder.path().display().to_string(), "this is not an ONNX Runtime library"),
    ] {
        for command in ["inspect", "certify", "plan"] {
            let out = heirloom(&[command, &model, "--ort-lib", named]);
            let message = text(&out.stderr);
            assert_eq!(out.status.code(), Some(4), "{command}: {message}");
            assert!(message.contains(said) && message.contains("pip install onnxruntime") && !message.contains("panicked"), "{message}");
        }
    }
    let out = command().args(["doctor"]).env("ORT_DYLIB_PATH", &absent).output().expect("the binary runs");
    assert_eq!(out.status.code(), Some(4), "{}", text(&out.stderr));
}

/// A shared library compiled from C; none where there is no compiler.
fn compiled(folder: &Path, code: &str) -> Option<PathBuf> {
    let (source, library) = (file(folder, "library.c", code.as_bytes()), folder.join("libonnxruntime.so"));
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o", &library.display().to_string(), &source]).status();
    if made.is_ok_and(|status| status.success()) {
        return Some(library);
    }
    lacks("a C compiler");
    None
}

#[test]
#[cfg(target_os = "linux")]
fn a_library_of_something_else_or_of_another_time() {
    let base = |version: &str| {
        format!(
            "static const char *version(void) {{ return \"{version}\"; }}\n\
             static const void *api(unsigned v) {{ return 0; }}\n\
             static const void *base[] = {{ api, version }};\n\
             const void *OrtGetApiBase(void) {{ return base; }}\n"
        )
    };
    for (code, said) in [
        ("int other(void) { return 1; }\n".to_owned(), "it has no `OrtGetApiBase`"),
        (base("1.17.3"), "this is ONNX Runtime 1.17.3; 1.22 or newer is needed"),
        (base("2.0.0"), "this is ONNX Runtime 2.0.0; 1.22 or newer is needed"),
        (base("what"), "this is ONNX Runtime what; 1.22 or newer is needed"),
        ("const void *OrtGetApiBase(void) { return 0; }\n".to_owned(), "it does not say its version"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(library) = compiled(folder.path(), &code) else { return };
        let out = heirloom(&["doctor", "--ort-lib", &library.display().to_string()]);
        let message = text(&out.stderr);
        assert_eq!(out.status.code(), Some(4), "{message}");
        assert!(message.contains(said) && !message.contains("panicked"), "{message}");
        // Found and not named, it is said and done without.
        let mut command = command();
        command.args(["inspect", &path("fixtures/models/clean.onnx")]).env_remove("ORT_DYLIB_PATH").env("LD_LIBRARY_PATH", folder.path());
        let out = command.env_remove("VIRTUAL_ENV").env_remove("CONDA_PREFIX").output().expect("the binary runs");
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let message = text(&out.stderr);
        assert!(message.contains(said) || text(&out.stdout).contains("ONNX Runtime 1."), "{message}");
    }
}

#[test]
fn doctor_says_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache").display().to_string();
    let out = heirloom(&["doctor", "--cache", &cache]);
    let shown = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    for part in [env!("CARGO_PKG_VERSION"), "ONNX Runtime  switched off", "CUDA", "0 entries (0 B)", &cache] {
        assert!(shown.contains(part), "`{part}` is not in: {shown}");
    }
    assert!(!Path::new(&cache).exists(), "looking changes nothing");
    let out = command().args(["doctor", "--format", "json"]).env_remove("ORT_DYLIB_PATH").output().expect("the binary runs");
    let found: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert!(found["threads"].as_u64().is_some_and(|n| n > 0) && found["cuda"]["built"] == false, "{found}");
    let runtime = &found["onnx_runtime"];
    assert!(runtime["version"].is_string() || runtime["looked"].is_array(), "{found}");
    if let Some(library) = library() {
        let shown = text(&heirloom(&["doctor", "--ort-lib", &library]).stdout);
        assert!(shown.contains("ONNX Runtime  1."), "{shown}");
    }
}
