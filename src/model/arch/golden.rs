//! Every folder of `tests/golden/zoo`: what its library computes with a small network of each family, and its gradients.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde_json::json;

use crate::exec::{Norm, Weights, infer, record};
use crate::model::{InputOverride, LoadOptions, Model, Network};

/// Largest difference of numbers, as a share of the largest.
const EQUAL: f32 = 1e-4;

type Arrays = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The arrays of a file of golden values, and what it says `--arch` must be.
fn golden(path: &Path) -> (Arrays, Option<String>) {
    let bytes = std::fs::read(path).expect("golden values");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let arch = header.metadata().as_ref().and_then(|notes| notes.get("arch").cloned());
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let numbers = |data: &[u8]| data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    (file.tensors().into_iter().map(|(name, view)| (name, (view.shape().to_vec(), numbers(view.data())))).collect(), arch)
}

/// The largest difference as a share of the largest number; a constant answer would show nothing.
fn difference(name: &str, ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len(), "{name}: how many numbers");
    assert!(ours.iter().chain(theirs).all(|v| v.is_finite()), "{name}: not finite");
    let scale = theirs.iter().fold(0f32, |most, v| most.max(v.abs()));
    let varies = theirs.iter().any(|v| (v - theirs[0]).abs() > 0.0);
    assert!(scale > 1e-4 && varies, "{name}: a constant answer shows nothing");
    ours.iter().zip(theirs).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / scale
}

fn tensor((shape, values): &(Vec<usize>, Vec<f32>)) -> Tensor {
    Tensor::from_vec(values.clone(), shape.clone(), &Device::Cpu).expect("a tensor")
}

/// What is wrong with the network of a folder; nothing where it is equal to the library's.
fn wrong(folder: &Path) -> Vec<String> {
    let (golden, arch) = golden(&folder.join("io.safetensors"));
    let input = tensor(&golden["input"]);
    let size = Some([input.dims()[2], input.dims()[3]]);
    let options = LoadOptions { arch, input: InputOverride { size, ..InputOverride::default() }, ..LoadOptions::default() };
    let reference = crate::registry::identify(&folder.join("model.safetensors")).expect("identified");
    let model = match Model::load(reference, &options) {
        Ok(model) => model,
        Err(error) => return vec![format!("refused: {error}")],
    };
    let network = model.own().expect("a network");
    let weights = Weights::new(&network.params.0, DType::F32).expect("weights");
    let numbers = |tensor: &Tensor| tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("numbers");
    let mut wrong = Vec::new();
    let mut compare = |what: &str, ours: &[f32], theirs: &[f32]| {
        let apart = difference(what, ours, theirs);
        if apart > EQUAL {
            wrong.push(format!("{what} differs by {apart:e}"));
        }
    };
    compare("output", &numbers(&infer(&network.graph, &weights, &input).expect("an output")), &golden["output"].1);
    if let Some((_, features)) = golden.get("features") {
        compare("features", &numbers(&infer(&network.trunk, &weights, &input).expect("features")), features);
    }
    if let Some(direction) = golden.get("direction") {
        for (name, ours) in gradients(network, &weights, &input, &tensor(direction)) {
            match golden.get(&format!("gradient.{name}")) {
                Some((_, theirs)) => {
                    // Where the library's is nothing but rounding, ours may be other rounding.
                    let scale = theirs.iter().fold(1e-1f32, |most, v| most.max(v.abs()));
                    let apart = ours.iter().zip(theirs).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / scale;
                    if ours.len() != theirs.len() || ours.iter().any(|v| !v.is_finite()) || apart > EQUAL {
                        wrong.push(format!("gradient of {name} differs by {apart:e}"));
                    }
                }
                None => panic!("the library has no gradient of {name}"),
            }
        }
    }
    wrong
}

/// Of every slot that trains.
fn gradients(network: &Network, weights: &Weights, input: &Tensor, direction: &Tensor) -> Vec<(String, Vec<f32>)> {
    let graph = &network.graph;
    let trains: Vec<bool> = graph.slots().iter().map(|slot| slot.role.trains()).collect();
    let recording = record(graph, weights, &trains, Norm::Running, input).expect("recorded");
    let found = recording.backward(graph, direction).expect("gradients");
    let named = graph.slots().iter().zip(found).filter_map(|(slot, gradient)| {
        let numbers = gradient?.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("numbers");
        Some((slot.name.clone(), numbers))
    });
    named.collect()
}

#[test]
fn every_family_computes_what_its_library_does() {
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/zoo");
    let folders = std::fs::read_dir(&zoo).expect("the golden networks").filter_map(|entry| Some(entry.ok()?.path()));
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.join("io.safetensors").is_file()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    let told = folders.iter().flat_map(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        wrong(folder).into_iter().map(move |what| format!("{name}: {what}"))
    });
    let told: Vec<String> = told.collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// Transformers builds a network of what config.json says, and drops the tensors that have no place there, or makes those that are not there.
#[test]
fn a_configuration_that_contradicts_the_tensors_is_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/zoo");
    for (network, key, value) in [
        ("hf-convnext", "layer_scale_init_value", Some(json!(0))),
        ("dinov3-vit-hf", "mlp_bias", Some(json!(false))),
        ("dinov3-vit-hf", "rope_theta", Some(json!(-1))),
        ("dinov3-vit-hf", "layer_norm_eps", Some(json!(0))),
        ("dinov3-vit-hf-gated", "use_gated_mlp", None),
        ("hf-focalnet", "use_layerscale", Some(json!(true))),
        ("hf-focalnet-post", "use_layerscale", None),
        ("beit-hf", "num_hidden_layers", None),
        ("beit-hf-shared", "use_shared_relative_position_bias", Some(json!(false))),
        ("beit-hf-shared", "use_relative_position_bias", Some(json!(true))),
        ("data2vec-hf", "layer_scale_init_value", Some(json!(0.001))),
        ("data2vec-hf", "use_absolute_position_embeddings", None),
        ("hf-dinov2-swiglu", "use_swiglu_ffn", None),
        ("hf-bit", "hidden_sizes", Some(json!([32]))),
        ("hf-bit", "depths", None),
        ("hf-regnet", "hidden_sizes", None),
        ("hf-swin", "qkv_bias", Some(json!(false))),
        ("hf-poolformer", "use_layer_scale", Some(json!(false))),
    ] {
        let lying = tempfile::tempdir().expect("a folder");
        let path = lying.path().join("model.safetensors");
        std::fs::copy(folder.join(network).join("model.safetensors"), &path).expect("copied");
        let text = std::fs::read_to_string(folder.join(network).join("config.json")).expect("a configuration");
        let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let fields = config.as_object_mut().expect("an object");
        match value {
            Some(value) => fields.insert(key.to_owned(), value),
            None => fields.remove(key),
        };
        std::fs::write(lying.path().join("config.json"), config.to_string()).expect("written");
        let reference = crate::registry::identify(&path).expect("identified");
        let told = Model::load(reference, &LoadOptions::default()).expect_err("they are of different models").to_string();
        assert!(told.contains(&format!("`{key}`")), "{network}: {told}");
    }
}

/// A linear layer may do without a bias, and a block without a factor, so that a file that lost one could be read as another network.
#[test]
fn a_tensor_that_is_lost_is_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/zoo");
    for (network, lost) in [
        ("timm-vit-difference", "blocks.1.mlp.fc1.bias"),
        ("hf-hiera", "hiera.encoder.stages.1.layers.1.mlp.fc1.bias"),
        ("hf-swin", "swin.encoder.layers.0.blocks.1.attention.self.query.bias"),
        ("timm-swin", "layers.0.blocks.1.attn.qkv.bias"),
        ("beit-hf", "beit.encoder.layer.1.lambda_1"),
        ("beit-hf", "beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table"),
        ("hf-dinov2", "dinov2.encoder.layer.0.layer_scale1.lambda1"),
    ] {
        let bytes = std::fs::read(folder.join(network).join("model.safetensors")).expect("a checkpoint");
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let whole = file.tensors();
        let rest: Vec<_> = whole.iter().filter(|(name, _)| name != lost).map(|(name, view)| (name.as_str(), view)).collect();
        assert_eq!(rest.len() + 1, whole.len(), "{network} has {lost}");
        let damaged = tempfile::tempdir().expect("a folder");
        std::fs::copy(folder.join(network).join("config.json"), damaged.path().join("config.json")).expect("copied");
        let path = damaged.path().join("model.safetensors");
        std::fs::write(&path, safetensors::serialize(rest, None).expect("a file")).expect("written");
        let reference = crate::registry::identify(&path).expect("identified");
        let told = Model::load(reference, &LoadOptions::default()).expect_err("a tensor is lost").to_string();
        assert!(told.contains(lost), "{network}: {told}");
    }
}
