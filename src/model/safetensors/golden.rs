//! What PyTorch, torchvision and Transformers answer (`tests/golden/arch/make.py`), and two files of one network.

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::exec::{Weights, infer};
use std::path::Path;

use crate::model::{InputOverride, Model};
use crate::registry::Configuration;

fn answer(graph: &Graph, params: &Params, input: &Tensor) -> Vec<f32> {
    let weights = Weights::new(&params.0, DType::F32).expect("weights");
    let output = infer(graph, &weights, input).expect("output");
    output.flatten_all().and_then(|flat| flat.to_vec1()).expect("numbers")
}

/// Greatest difference, relative to the greatest value. A maximum passes over what is not a number and two constant
/// answers agree for nothing, so both are ruled out first.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|v| v.is_finite()), "not finite");
    let (least, scale) = b.iter().fold((f32::MAX, 0f32), |(least, most), v| (least.min(v.abs()), most.max(v.abs())));
    assert!(scale > 1e-3 && least < scale, "a constant answer shows nothing");
    a.iter().zip(b).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / scale
}

fn tensors(path: &Path) -> (Tensor, Vec<f32>) {
    let file = Tensors::of(&std::fs::read(path).expect("golden file").into()).expect("safetensors");
    let array = |name: &str| file.by_name[name].clone().numbers(name).expect(name);
    let input = array("input");
    let shape = input.shape().to_vec();
    let input = Tensor::from_vec(input.into_raw_vec_and_offset().0, shape, &Device::Cpu).expect("input");
    (input, array("output").into_raw_vec_and_offset().0)
}

#[test]
fn residual_networks_answer_as_the_libraries_that_defined_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arch");
    let names = [
        "torchvision-basic",
        "torchvision-grouped",
        "torchvision-vgg",
        "torchvision-vgg-norms",
        "timm-vgg",
        "hugging-face-basic",
        "hugging-face-bottleneck",
    ];
    for name in names {
        let (input, expected) = tensors(&folder.join(format!("{name}.io.safetensors")));
        let path = folder.join(format!("{name}.safetensors"));
        let contents = std::fs::read(&path).expect("golden file").into();
        let [_, _, h, w] = input.dims() else { panic!("{name}: images") };
        let input_size = InputOverride { size: Some([*h, *w]), ..InputOverride::default() };
        let options = LoadOptions { input: input_size, ..LoadOptions::default() };
        let model = load_held(&contents, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        let apart = difference(&answer(&model.graph, &model.params, &input), &expected);
        println!("{name}: {apart:e}");
        assert!(apart < 1e-5, "{name}: {apart:e}");
    }
}

/// Weights with the configuration of another folder.
fn configured(weights: &Path, folder: &Path) -> Contents {
    let configuration = Configuration::read(&folder.join("model.safetensors")).expect("configuration");
    Contents { configuration, ..std::fs::read(weights).expect("golden file").into() }
}

#[test]
fn the_activation_of_config_json_stands_where_transformers_puts_it() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arch");
    for (block, act) in [("basic", "silu"), ("bottleneck", "gelu")] {
        let outputs = golden.join(format!("hugging-face-{block}-{act}.io.safetensors"));
        let (input, expected) = tensors(&outputs);
        let bytes = std::fs::read(&outputs).expect("golden file");
        let notes = Tensors::of(&bytes.into()).expect("safetensors").metadata;
        let folder = tempfile::tempdir().expect("a folder");
        let config = notes.get("config").expect("a configuration");
        std::fs::write(folder.path().join("config.json"), config).expect("written");
        let contents = configured(&golden.join(format!("hugging-face-{block}.safetensors")), folder.path());
        let input_size = InputOverride { size: Some([48, 48]), ..InputOverride::default() };
        let options = LoadOptions { input: input_size, ..LoadOptions::default() };
        let model = load_held(&contents, &options).unwrap_or_else(|e| panic!("{block} {act}: {e}"));
        let apart = difference(&answer(&model.graph, &model.params, &input), &expected);
        assert!(apart < 1e-5, "{block} {act}: {apart:e}");
        let (_, plain) = tensors(&golden.join(format!("hugging-face-{block}.io.safetensors")));
        assert!(difference(&expected, &plain) > 1e-2, "{block} {act} is no other network");
    }
}

#[test]
fn networks_that_config_json_makes_others_answer_as_timm_does() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arch");
    let mut plain = Vec::new();
    for block in ["basic", "bottleneck"] {
        let outputs = std::fs::read(golden.join(format!("timm-{block}.io.safetensors"))).expect("golden file");
        let file = Tensors::of(&outputs.into()).expect("safetensors");
        let array = |name: &str| file.by_name[name].clone().numbers(name).expect(name);
        let input = array("input");
        let shape = input.shape().to_vec();
        let input = Tensor::from_vec(input.into_raw_vec_and_offset().0, shape, &Device::Cpu).expect("input");
        let configs = file.metadata.clone();
        assert_eq!(configs.len(), 9);
        for (name, config) in configs {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join("config.json"), config).expect("written");
            let contents = configured(&golden.join(format!("timm-{block}.safetensors")), folder.path());
            let model = load_held(&contents, &LoadOptions::default()).unwrap_or_else(|e| panic!("{block} {name}: {e}"));
            let told = [("silu", ", Silu"), ("max", ", max pooling"), ("all", ", Silu, max pooling, output stride 8")];
            let told = told.into_iter().find(|(of, _)| *of == name).map_or("", |(_, told)| told);
            assert!(model.description.ends_with(&format!("torchvision names{told}")) || told.is_empty(), "{}", model.description);
            let expected = array(&name).into_raw_vec_and_offset().0;
            let apart = difference(&answer(&model.graph, &model.params, &input), &expected);
            assert!(apart < 1e-5, "{block} {name}: {apart:e}");
            if name == "plain" {
                plain = expected;
            } else if !plain.is_empty() {
                assert!(difference(&expected, &plain) > 1e-2, "{block} {name} is no other network");
            }
        }
        plain.clear();
    }
}

#[test]
fn onnx_and_safetensors_of_one_network_agree() {
    let Some(folder) = crate::lacks::shared("models") else { return };
    // The first four outputs for the first image, by ONNX Runtime: tests/golden/arch/runtime.py.
    let runtime = [
        ("resnet20-cifar10", [3.105_088, 24.759_315, -5.880_774_5, 1.623_568_4]),
        ("resnet56-cifar10", [2.245_583, 9.529_335, -4.956_752, -3.348_179]),
        ("efficientnet-lite0-imagenet", [-1.607_605_2, -0.402_297_2, -1.058_471_2, 0.007_484_257]),
    ];
    for (name, expected) in runtime {
        let open = |extension: &str| {
            let reference = crate::registry::identify(&folder.join(format!("{name}.{extension}"))).expect("identified");
            Model::load(reference, &LoadOptions::default()).unwrap_or_else(|e| panic!("{name}.{extension}: {e}"))
        };
        let (plain, onnx) = (open("safetensors"), open("onnx"));
        let (one, two) = (plain.own().expect("a network"), onnx.own().expect("a network"));
        assert_eq!(
            (plain.input.height, plain.input.width, plain.feature_layer.width),
            (onnx.input.height, onnx.input.width, onnx.feature_layer.width),
            "{name}"
        );
        let count = 2 * 3 * plain.input.height * plain.input.width;
        let pixels: Vec<f32> = (0..count).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0).collect();
        let shape = (2, 3, plain.input.height, plain.input.width);
        let input = Tensor::from_vec(pixels, shape, &Device::Cpu).expect("input");
        let here = answer(&one.graph, &one.params, &input);
        let independent = difference(&here[..4], &expected);
        let outputs = difference(&here, &answer(&two.graph, &two.params, &input));
        let features = difference(&answer(&one.trunk, &one.params, &input), &answer(&two.trunk, &two.params, &input));
        let blank = Tensor::zeros(input.dims(), DType::F32, &Device::Cpu).expect("zeros");
        let other = answer(&one.graph, &one.params, &blank);
        assert!(difference(&here, &other) > 1e-3, "{name}: the images do not matter");
        println!(
            "{name}: ONNX Runtime {independent:e}, outputs {outputs:e}, features {features:e}; cut at {} and {} ({})",
            plain.feature_layer.name, onnx.feature_layer.name, onnx.feature_layer.how
        );
        assert!(independent < 1e-4, "{name}: {independent:e} from ONNX Runtime");
        assert!(outputs < 1e-5 && features < 1e-5, "{name}: {outputs:e} {features:e}");
    }
}
