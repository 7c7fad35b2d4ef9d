//! `heirloom export`: what is written is read back as the same network.

use serde_json::Value;

use crate::run::heirloom;

fn golden(name: &str) -> String {
    format!("{}/tests/golden/zoo/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn inspected(path: &str) -> Value {
    let out = heirloom(&["inspect", path, "--format", "json", "--ort-lib", "off"]);
    assert_eq!(out.status.code(), Some(0), "{path}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

#[test]
fn what_is_exported_is_read_back_as_the_same_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    for name in ["hf-vit", "timm-swin", "timm-resnet", "hf-dinov2", "timm-efficientnet-tf"] {
        let before = inspected(&golden(name));
        for file in ["model.safetensors", "model.onnx"] {
            let out = heirloom(&["export", &golden(name), &at(file)]);
            assert_eq!(out.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&out.stderr));
            let after = inspected(&at(file));
            assert_eq!(after["cut"]["width"], before["cut"]["width"], "{name} {file}");
            for field in ["mean", "std"] {
                let sum = |from: &Value| {
                    from["input"]["preprocessing"][field].as_array().map(|v| v.iter().filter_map(Value::as_f64).sum::<f64>())
                };
                let apart = sum(&after).zip(sum(&before)).map(|(a, b)| (a - b).abs());
                assert!(apart.is_some_and(|apart| apart < 1e-6), "{name} {file}: {field}");
            }
            assert_eq!(after["input"]["geometry"], before["input"]["geometry"], "{name} {file}");
            if file.ends_with("safetensors") {
                assert_eq!(after["description"], before["description"], "{name}");
                assert_eq!(after["operators"], before["operators"], "{name}");
                assert_eq!(after["parameters"], before["parameters"], "{name}");
            }
        }
        let out = heirloom(&["export", &golden(name), &at("features.onnx"), "--only-features", "--format", "json"]);
        let told: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        assert!(
            told["bytes"].as_u64().is_some_and(|bytes| bytes > 100) && told["digest"].as_str().is_some_and(|d| d.starts_with("sha256:"))
        );
        assert_eq!(inspected(&at("features.onnx"))["cut"]["width"], before["cut"]["width"], "{name}");
    }
}

#[test]
fn an_adapter_is_merged_onto_its_base_and_certified_as_a_file_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let merged = folder.path().join("merged.safetensors").display().to_string();
    let adapter = format!("{}/tests/golden/adapter", env!("CARGO_MANIFEST_DIR"));
    let out = heirloom(&["export", &adapter, &merged, "--base", &golden("hf-vit")]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stderr).contains("the adapter names someone/small-vit"));
    assert_eq!(inspected(&merged)["description"], inspected(&golden("hf-vit"))["description"]);
    let out = heirloom(&["inspect", &format!("{adapter}/adapter_model.safetensors")]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{told}");
    assert!(told.contains("LoRA adapter for someone/small-vit") && told.contains("--base"), "{told}");
}

#[test]
fn what_cannot_be_exported_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let onnx = format!("{}/fixtures/models/planted-square.onnx", env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(&onnx, at("own.onnx")).expect("copied");
    for (arguments, wanted) in [
        (vec!["export".to_owned(), onnx.clone(), at("x.safetensors")], "is written as ONNX only"),
        (vec!["export".to_owned(), at("own.onnx"), at("own.onnx")], "is what would be read"),
        (vec!["export".to_owned(), onnx.clone(), at("x.pt")], "must end with .onnx or .safetensors"),
        (vec!["export".to_owned(), golden("hf-vit"), at("x.onnx"), "--base".to_owned(), onnx], "is an ONNX file"),
    ] {
        let out = heirloom(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(4), "{told}");
        assert!(told.contains(wanted), "{told}");
    }
    assert!(!folder.path().join("x.onnx").exists());
}

/// A checkpoint that no architecture reads comes with the lines that export it.
#[test]
fn what_is_refused_says_how_it_is_exported() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = std::fs::read(format!("{}/model.safetensors", golden("timm-vit"))).expect("weights");
    std::fs::write(folder.path().join("model.safetensors"), weights).expect("written");
    let config = r#"{"architecture": "sequencer2d_s", "num_classes": 5, "model_args": {"img_size": 32}, "pretrained_cfg": {"input_size": [3, 32, 48]}}"#;
    std::fs::write(folder.path().join("config.json"), config).expect("written");
    let out = heirloom(&["inspect", &folder.path().display().to_string()]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_ne!(out.status.code(), Some(0));
    for wanted in ["`sequencer2d_s`", "timm.create_model(\"sequencer2d_s\"", ", img_size=32", "torch.zeros(1, 3, 32, 48)"] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
}

#[test]
fn a_file_of_ours_follows_no_other_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(heirloom(&["export", &golden("hf-vit"), &at("model.safetensors")]).status.code(), Some(0));
    let own = std::fs::read_to_string(format!("{}/config.json", golden("hf-vit"))).expect("a configuration");
    std::fs::write(at("config.json"), &own).expect("written");
    assert_eq!(inspected(&at("model.safetensors"))["description"], inspected(&golden("hf-vit"))["description"]);
    let mut other: Value = serde_json::from_str(&own).expect("JSON");
    other["layer_norm_eps"] = 0.5.into();
    std::fs::write(at("config.json"), other.to_string()).expect("written");
    let out = heirloom(&["inspect", &at("model.safetensors"), "--ort-lib", "off"]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(2) && told.contains("another than the one that it was written with"), "{told}");
}
