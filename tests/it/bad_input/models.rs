//! Checkpoints.

use serde_json::{Map, Value, json};

use super::reports::no_verdict;
use super::{clean_model, fixture, folder, names, refused};
use crate::run::{file, heirloom, text};

/// Both commands that read a checkpoint refuse it in the same words, and the report of one says so.
#[track_caller]
fn refuse(name: &str, bytes: &[u8], said: &[&str]) -> String {
    let folder = folder();
    let model = file(folder.path(), name, bytes);
    let said: Vec<&str> = said.iter().copied().chain([name]).collect();
    let message = refused(&heirloom(&["inspect", &model]), 2, &said);
    let reports = folder.path().join("reports").display().to_string();
    assert_eq!(refused(&heirloom(&["certify", &model, "--output", &reports]), 2, &said), message);
    assert_eq!(names(folder.path()), if name < "reports" { [name, "reports"] } else { ["reports", name] });
    no_verdict(&folder.path().join("reports"), "error", 2, said[0]);
    message
}

/// The clean fixture's weights: header and data.
fn weights() -> (Map<String, Value>, Vec<u8>) {
    let bytes = std::fs::read(fixture("models/clean.safetensors")).expect("the fixture");
    let (length, rest) = bytes.split_first_chunk::<8>().expect("a header");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    (serde_json::from_slice(header).expect("JSON"), data.to_vec())
}

fn safetensors(header: &Map<String, Value>, data: &[u8]) -> Vec<u8> {
    let header = serde_json::to_vec(header).expect("JSON");
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}

/// The clean fixture with a change to its header.
pub fn with_header(change: impl FnOnce(&mut Map<String, Value>)) -> Vec<u8> {
    let (mut header, data) = weights();
    change(&mut header);
    safetensors(&header, &data)
}

#[test]
fn an_onnx_file_that_is_cut_off() {
    let bytes = std::fs::read(clean_model()).expect("the fixture");
    for length in [10, bytes.len() / 2, bytes.len() - 100] {
        refuse("cut.onnx", &bytes[..length], &["cut.onnx: "]);
    }
    refuse("cut.onnx", &bytes[..bytes.len() / 2], &["cut short", "hint: the file is damaged or was not copied in full: fetch it again"]);
}

#[test]
fn an_onnx_file_of_noise() {
    let noise: Vec<u8> = (0..4000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    refuse("noise.onnx", &noise, &["not an ONNX file", "hint: "]);
}

#[test]
fn a_safetensors_file_that_is_cut_off() {
    let bytes = std::fs::read(fixture("models/clean.safetensors")).expect("the fixture");
    refuse("cut.safetensors", &bytes[..bytes.len() / 2], &["the file is cut off", "fetch it again"]);
    refuse("cut.safetensors", &bytes[..100], &["ends after 92 of them", "fetch it again"]);
    refuse("cut.safetensors", &bytes[..5], &["neither ONNX nor safetensors", "hint: "]);
}

#[test]
fn a_safetensors_header_that_claims_to_be_huge() {
    let mut bytes = std::fs::read(fixture("models/clean.safetensors")).expect("the fixture");
    for length in [u64::MAX, 1 << 60, 1 << 34] {
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        refuse("huge.safetensors", &bytes, &[&format!("claims a header of {length} bytes"), "fetch it again"]);
    }
}

#[test]
fn safetensors_whose_data_overlap() {
    let bytes = with_header(|header| header["bn1.running_mean"]["data_offsets"] = json!([28, 60]));
    refuse("overlap.safetensors", &bytes, &["`bn1.running_mean` starts at byte 28 where 32 is expected: it overlaps", "fetch it again"]);
}

#[test]
fn safetensors_whose_type_does_not_fit_their_data() {
    let bytes = with_header(|header| header["bn1.bias"]["dtype"] = json!("F16"));
    refuse("type.safetensors", &bytes, &["`bn1.bias` is F16 of shape [8], which takes 16 bytes, and its data are bytes 0 to 32"]);
}

#[test]
fn safetensors_whose_shape_does_not_fit_their_data() {
    let bytes = with_header(|header| header["bn1.bias"]["shape"] = json!([9]));
    refuse("shape.safetensors", &bytes, &["`bn1.bias` is F32 of shape [9], which takes 36 bytes, and its data are bytes 0 to 32"]);
}

#[test]
fn weights_that_are_quantised() {
    let bytes = with_header(|header| header["bn1.bias"]["dtype"] = json!("I32"));
    refuse("int.safetensors", &bytes, &["`bn1.bias` is stored as I32", "save the unquantised weights"]);
}

#[test]
fn weights_of_the_wrong_shape() {
    let bytes = with_header(|header| header["conv1.weight"]["shape"] = json!([3, 8, 3, 3]));
    refuse("wrong.safetensors", &bytes, &["the weights do not fit", "shape    conv1.weight is [3, 8, 3, 3]", "--arch"]);
}

#[test]
fn weights_that_are_not_numbers() {
    let (header, mut data) = weights();
    for value in [f32::NAN, f32::INFINITY] {
        data[..4].copy_from_slice(&value.to_le_bytes());
        let bytes = safetensors(&header, &data);
        refuse("nan.safetensors", &bytes, &["`bn1.bias` holds values that are not finite", "before the training diverged"]);
    }
}

#[test]
fn a_missing_tensor_and_one_left_over() {
    let bytes = with_header(|header| {
        let bias = header.remove("bn1.bias").expect("there");
        header.insert("bn1.beta".into(), bias);
    });
    refuse("renamed.safetensors", &bytes, &["missing  bn1.bias", "unused   bn1.beta", "export it to ONNX"]);
}

#[test]
fn a_pickle() {
    for (name, bytes) in [("model.pt", &b"\x80\x02}q\x00."[..]), ("model.bin", b"PK\x03\x04 archive/data.pkl"), ("model.ckpt", b"x")] {
        refuse(name, bytes, &["loading it would run the code inside", "safetensors.torch.save_file", "torch.onnx.export"]);
    }
}

#[test]
fn weights_of_tensorflow_js() {
    let message =
        refuse("group1-shard1of4.bin", &[0, 1, 2, 3, 4, 5, 6, 7, 8], &["weights of TensorFlow.js", "hint: export the model to ONNX"]);
    assert!(!message.contains("pickle"), "{message}");
}

#[test]
fn one_part_of_a_checkpoint_and_a_folder_of_several() {
    let folder = folder();
    let part = file(folder.path(), "model-00001-of-00002.safetensors", b"x");
    file(folder.path(), "model.safetensors.index.json", br#"{"weight_map": {"a": "model-00002-of-00002.safetensors"}}"#);
    refused(&heirloom(&["inspect", &part]), 2, &["one of several parts", "model.safetensors.index.json"]);
    let path = folder.path().display().to_string();
    refused(&heirloom(&["inspect", &path]), 2, &["model-00002-of-00002.safetensors", "hint: fetch all parts"]);
    file(folder.path(), "model.onnx", b"x");
    refused(&heirloom(&["inspect", &path]), 2, &["several checkpoints (model.safetensors.index.json, model.onnx)"]);
}

/// The clean fixture in a folder of its own, with a file beside it.
fn external(model: &str, name: &str, content: &Value) -> (tempfile::TempDir, String) {
    let folder = folder();
    let model = file(folder.path(), model, &std::fs::read(fixture(&format!("models/{model}"))).expect("the fixture"));
    file(folder.path(), name, content.to_string().as_bytes());
    (folder, model)
}

#[test]
fn an_image_processor_that_is_not_understood() {
    for (config, said) in [
        (json!({"image_processor_type": "ViTImageProcessor", "do_grayscale": true}), "`do_grayscale` is true"),
        (json!({"image_processor_type": "PerceiverImageProcessor"}), "PerceiverImageProcessor"),
        (json!({"image_processor_type": "ViTImageProcessor", "image_mean": [123.7, 116.3, 103.5]}), "`image_mean`"),
        (json!({"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 32}}), "`longest_edge`"),
    ] {
        let (folder, model) = external("clean.onnx", "preprocessor_config.json", &config);
        let said = ["clean.onnx", "preprocessor_config.json", said, "hint: ", "input: {"];
        refused(&heirloom(&["inspect", &model]), 2, &said);
        // What the policy says is not asked of the file.
        let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
        refused(&heirloom(&["plan", &model, "--policy", &policy]), 2, &said);
        let before = std::fs::read_to_string(&policy).expect("a policy");
        let input = "input: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], geometry: { resize: squash, filter: bicubic } }\n";
        std::fs::write(&policy, format!("{before}{input}")).expect("written");
        let out = heirloom(&["plan", &model, "--policy", &policy]);
        let told = text(&out.stderr);
        assert!(out.status.success() && told.contains("squashed to 32x32, bicubic (the policy's `input`"), "{told}");
    }
}

#[test]
fn a_configuration_that_asks_for_another_network() {
    for (config, said) in [
        (json!({"architecture": "resnet20", "pretrained_cfg": {}, "model_args": {"aa_layer": "blurpool"}}), "`model_args.aa_layer`"),
        (json!({"architecture": "resnet20", "pretrained_cfg": {}, "model_args": {"output_stride": 8}}), "`model_args.output_stride` is 8"),
        (json!({"architecture": "resnet50_gn", "pretrained_cfg": {}}), "resnet50_gn"),
        (json!({"hidden_layers": 3, "activation": "mish"}), "config.json"),
    ] {
        let (_folder, model) = external("clean.safetensors", "config.json", &config);
        refused(&heirloom(&["inspect", &model]), 2, &["clean.safetensors", said]);
    }
}

#[test]
fn a_git_lfs_pointer() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
    refuse("model.onnx", pointer, &["Git LFS pointer", "`git lfs pull`"]);
}

#[test]
fn a_web_page_saved_as_a_model() {
    refuse("model.onnx", b"<!DOCTYPE html><html>404</html>", &["HTML", "download the checkpoint again"]);
}

#[test]
fn an_empty_file() {
    refuse("model.safetensors", b"", &["is empty", "fetch it again"]);
}

#[test]
fn a_folder_without_a_model() {
    let folder = folder();
    let path = folder.path().display().to_string();
    refused(&heirloom(&["inspect", &path]), 2, &[&path, "name the file"]);
}

#[test]
fn a_tensor_of_features_that_is_not_there() {
    let message = refused(&heirloom(&["inspect", &clean_model(), "--features", "nowhere"]), 4, &["clean.onnx", "no tensor `nowhere`"]);
    assert!(message.contains("nearest"), "{message}");
}

#[test]
fn an_architecture_for_a_file_that_holds_its_own() {
    refused(&heirloom(&["inspect", &clean_model(), "--arch", "resnet18"]), 4, &["clean.onnx", "leave `--arch resnet18` out"]);
}

/// Finite weights, and features that are not.
#[test]
fn weights_that_overflow() {
    let (header, mut data) = weights();
    let offsets = header["bn1.weight"]["data_offsets"].as_array().expect("offsets");
    let [from, to] = [0, 1].map(|i| offsets[i].as_u64().expect("a number") as usize);
    for chunk in data[from..to].chunks_exact_mut(4) {
        chunk.copy_from_slice(&3e38f32.to_le_bytes());
    }
    let folder = folder();
    let model = file(folder.path(), "model.safetensors", &safetensors(&header, &data));
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let output = folder.path().join("reports").display().to_string();
    let out = heirloom(&["certify", &model, "--policy", &policy, "--output", &output]);
    // The report says it: other findings, had there been any, would have been judged.
    let (code, table) = (out.status.code(), text(&out.stdout));
    let words = table.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == Some(2) && words.contains("is not finite: its weights are too large, or damaged"), "{code:?}: {table}");
}

/// What lies beside a checkpoint comes before what is inside it, in both formats.
#[test]
fn a_configuration_that_contradicts_the_checkpoint_itself() {
    let config = json!({"image_processor_type": "ViTImageProcessor", "image_mean": 0.25, "image_std": 1.0, "size": 32});
    for format in ["onnx", "safetensors"] {
        let (_folder, model) = external(&format!("clean.{format}"), "preprocessor_config.json", &config);
        let out = heirloom(&["inspect", &model]);
        let told = text(&out.stdout);
        assert!(told.contains("mean 0.25 0.25 0.25, std 1 1 1 (preprocessor_config.json)"), "{told}");
    }
}
