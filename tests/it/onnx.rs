//! Networks whose verdict would be wrong, or would not repeat. What needs ONNX Runtime runs where `ORT_DYLIB_PATH` names a library, and says
//! so elsewhere.

use std::path::Path;

use serde_json::Value;

use super::run::{file, heirloom, text};

fn golden(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/runtime/{name}.onnx")).display().to_string()
}

/// `off`, and the library that the surrounding shell names, if it does.
fn libraries() -> Vec<String> {
    let named = std::env::var("ORT_DYLIB_PATH").ok().filter(|named| !named.is_empty() && named != "off");
    if named.is_none() {
        println!("skipped: ORT_DYLIB_PATH names no ONNX Runtime library");
    }
    ["off".to_owned()].into_iter().chain(named).collect()
}

fn inspect(model: &str, library: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let out = heirloom(&[&["inspect", model, "--ort-lib", library], more].concat());
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

/// Certifies against these controls under a square in the corner; exit code, stderr, report.
fn certify(model: &str, library: &str, controls: &str) -> (Option<i32>, String, Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let policy = format!(
        "version: 1\nname: test\ntarget: {{ data: {{ embedded: fashion }}, train: {{ limit: 300 }}, test: {{ limit: 500 }} }}\n\
         transfer:\n  fixed_feature: {{ epochs: 20, learning_rate: 0.1, schedule: cyclic }}\n  full_network: {{ epochs: 1, learning_rate: 0.01 }}\n\
         seeds:\n  fixed_feature: {{ first: 17, most: 24 }}\n  full_network: {{ first: 3, most: 3 }}\nrules:\n\
         \x20 - id: square\n    limit: 0.15\n    estimand: flip_rate\n    controls: {controls}\n\
         \x20   probe: {{ backdoor: {{ trigger: {{ patch: {{ size: 0.25, at: top_left, color: \"#ffff00\" }} }} }} }}\n"
    );
    let policy = file(folder.path(), "policy.yaml", policy.as_bytes());
    let output = folder.path().join("report").display().to_string();
    let out = heirloom(&["certify", model, "--policy", &policy, "--output", &output, "--ort-lib", library]);
    let report = std::fs::read(folder.path().join("report/report.json")).unwrap_or_default();
    let judged = heirloom(&["rejudge", &output, "--policy", &policy, "--format", "json"]);
    let report: Value = serde_json::from_slice(&report).unwrap_or(Value::Null);
    if let Ok(again) = serde_json::from_slice::<Value>(&judged.stdout) {
        assert_eq!(again["findings"][0]["verdict"], report["findings"][0]["verdict"], "judged again");
        assert_eq!(again["findings"][0]["comparisons"], report["findings"][0]["comparisons"]);
    }
    (out.status.code(), text(&out.stderr), report)
}

#[test]
fn a_way_around_the_weights_is_named_and_not_excused_by_a_network_from_scratch() {
    let (code, shown, errors) = inspect(&golden("hidden-branch"), "off", &[]);
    assert_eq!(code, Some(0), "{errors}");
    let named =
        "nodes `corner`, `apart`, `square`, `distance`, `near`, `gate`, `shove`, `shoved` lead from the image to the features around";
    assert!(shown.contains(named), "{shown}");
    let (_, shown, _) = inspect(&golden("hidden-branch"), "off", &["--format", "json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["bypass"]["nodes"].as_array().map(Vec::len), Some(8));

    let (code, errors, report) = certify(&golden("hidden-branch"), "off", "[sham, scratch]");
    assert_eq!(code, Some(1), "{errors}");
    let finding = &report["findings"][0];
    assert_eq!(finding["verdict"], "fail", "{finding}");
    let scratch = &finding["comparisons"][1];
    assert_eq!((&scratch["control"], &scratch["void"], &scratch["excess"]), (&Value::from("scratch"), &Value::from(true), &Value::Null));
    assert!(scratch["missing"].as_str().is_some_and(|why| why.contains("`shoved`") && why.contains("would excuse")), "{scratch}");
    let warned = report["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    assert_eq!(warned.filter(|warning| warning.contains(named)).count(), 1, "{}", report["warnings"]);
    // Nothing was trained for a control that tells nothing.
    let trained = report["plan"]["jobs"].as_array().expect("jobs").iter().filter(|job| job["arm"] == "scratch").count();
    assert_eq!(trained, 0, "{}", report["plan"]);
    // By it alone nothing can be judged.
    let (code, errors, report) = certify(&golden("hidden-branch"), "off", "[scratch]");
    assert_eq!((code, &report["findings"][0]["verdict"]), (Some(5), &Value::from("inconclusive")), "{errors}");
}

#[test]
fn ordinary_networks_have_no_way_around_their_weights() {
    for model in ["clean.onnx", "clean.safetensors", "planted-square.onnx", "clean.half.onnx"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(model).display().to_string();
        let (code, shown, errors) = inspect(&path, "off", &["--format", "json"]);
        assert_eq!(code, Some(0), "{errors}");
        assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON").get("bypass"), None, "{model}");
    }
}

#[test]
fn a_network_that_draws_random_numbers_is_refused_by_the_name_of_its_node() {
    for library in libraries() {
        let (code, errors, _) = certify(&golden("random"), &library, "[sham]");
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains("draws random numbers (RandomNormalLike in `noise`)") && errors.contains("hint: "), "{errors}");
        // In front of it nothing is random.
        let (code, shown, errors) = inspect(&golden("random"), &library, &["--features", "conv"]);
        assert_eq!(code, Some(0), "{errors}");
        assert!(shown.contains("conv [N, 12]") && shown.contains("full_network possible"), "{shown}");
        let (code, _, errors) = inspect(&golden("random"), &library, &["--features", "relu"]);
        assert!(code == Some(2) && errors.contains("in `noise`"), "{code:?}: {errors}");
        // Nor where only ONNX Runtime understands the network.
        let (code, _, errors) = inspect(&golden("sine-random"), &library, &[]);
        assert!(code == Some(2) && errors.contains("draws random numbers (RandomUniformLike in `noise`)"), "{code:?}: {errors}");
    }
}

#[test]
fn features_that_only_onnx_runtime_can_compute_are_found_or_refused() {
    for library in libraries().into_iter().skip(1) {
        for (model, features) in [
            ("sine", "vector [N, 12], input of the last linear layer"),
            ("sine-convolution", "wave [N, 12], input of the last 1x1 convolution, mean over the map"),
            ("sine-encoder", "logits [N, 12], the output (no linear head was recognised)"),
        ] {
            let (code, shown, errors) = inspect(&golden(model), &library, &[]);
            assert_eq!(code, Some(0), "{errors}");
            assert!(shown.contains(features), "{model}: {shown}");
        }
        for (model, reasons) in [
            ("sine-two-heads", &["several linear layers", "left", "right"][..]),
            ("sine-scores", &["the output `logits` comes from Cos (`logits`)", "--features"]),
            ("sine-places", &["the output `boxes` has 2304 numbers per image, 9 for each of 256 places", "--features"]),
        ] {
            let (code, _, errors) = inspect(&golden(model), &library, &[]);
            assert_eq!(code, Some(2), "{model}: {errors}");
            assert!(reasons.iter().all(|reason| errors.contains(reason)), "{model}: {errors}");
            let (code, shown, errors) = inspect(&golden(model), &library, &["--features", "wave"]);
            assert!(code == Some(0) && shown.contains("wave [N, 12], named by the user"), "{model}: {errors}");
        }
    }
}

#[test]
fn executors_agree_as_far_as_the_numbers_of_a_network_carry() {
    for library in libraries().into_iter().skip(1) {
        // Rounded to two bytes between layers of four.
        let (code, errors, report) = certify(&golden("cast"), &library, "[sham]");
        assert!(matches!(code, Some(0 | 1 | 5)), "{errors}");
        let agreement = &report["model"]["executor"]["agreement"];
        assert!(agreement["difference"].as_f64().is_some_and(|apart| apart < 2e-2), "{agreement}");
        // Float32 keeps three digits of it, whoever computes.
        let (code, errors, report) = certify(&golden("three-digits"), &library, "[sham]");
        assert!(matches!(code, Some(0 | 1 | 5)), "{errors}");
        let agreement = &report["model"]["executor"]["agreement"];
        assert!(agreement["difference"].as_f64().is_some_and(|apart| apart > 1e-4), "{agreement}");
        assert!(agreement["rounding"].as_f64().is_some_and(|own| own > 1e-5 && own < 1e-1), "{agreement}");
        assert!(errors.contains("as far as its numbers carry"), "{errors}");
    }
}

#[test]
fn features_made_of_rounding_errors_are_refused_whoever_computes_them() {
    for library in libraries() {
        let (code, errors, report) = certify(&golden("ill-conditioned"), &library, "[sham]");
        assert_eq!((code, &report["status"]), (Some(2), &Value::from("error")), "{errors}");
        assert!(errors.contains("float32 does not hold the features of this network") && errors.contains("`difference`"), "{errors}");
    }
}
