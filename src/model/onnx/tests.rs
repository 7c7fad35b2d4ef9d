//! The committed fixtures through both importers, and bytes that are no model.

mod bad;
mod bounds;
pub(super) mod build;
mod case;
mod conformance;
mod fuzz;
mod models;
mod outside;
mod runtime;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::exec::{Weights, infer, to_array};
use crate::graph::{Graph, Role};
use crate::model::{LoadOptions, Params, safetensors};
use crate::registry::ExternalData;

fn run(graph: &Graph, params: &Params) -> Vec<f32> {
    let shape = graph.node(graph.input()).shape.at(2);
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
    let x = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    let weights = Weights::new(&params.0, DType::F32).unwrap();
    to_array(&infer(graph, &weights, &x).unwrap()).unwrap().into_raw_vec_and_offset().0
}

fn fixture(name: &str) -> (PathBuf, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(name);
    let bytes = std::fs::read(&path).unwrap();
    (path, bytes)
}

#[test]
fn both_formats_of_a_fixture_are_the_same_network() {
    for name in ["clean", "planted-square"] {
        let (_, bytes) = fixture(&format!("{name}.onnx"));
        let onnx = load(&bytes, &ExternalData::new()).unwrap();
        let (_, bytes) = fixture(&format!("{name}.safetensors"));
        let other = safetensors::load_held(&bytes.into(), &LoadOptions::default()).unwrap();
        let (a, b) = (run(&onnx.graph, &onnx.params), run(&other.graph, &other.params));
        assert_eq!(a.len(), 10);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + b.abs())), "{name}: {a:?} and {b:?}");
    }
}

/// Weights that a norm standardises before a convolution reads them are weights: they train, and from scratch they are drawn anew.
#[test]
fn weights_that_a_norm_standardises_are_weights() {
    use build::{integers, model, node, tensor};
    let nodes = vec![
        node("Reshape", "w row", "rows"),
        node("InstanceNormalization", "rows gain shift", "standard"),
        node("Reshape", "standard shape", "weight"),
        node("Conv", "x weight bias", "c"),
        node("Flatten", "c", "y"),
    ];
    let ramp: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let held = vec![
        tensor("w", &[2, 3, 2, 2], &ramp),
        integers("row", &[1, 2, 12]),
        tensor("gain", &[2], &[1.0; 2]),
        tensor("shift", &[2], &[0.0; 2]),
        integers("shape", &[2, 3, 2, 2]),
        tensor("bias", &[2], &[0.0; 2]),
    ];
    let imported = build::read(&model(nodes, held)).unwrap();
    let role = |name: &str| imported.graph.slots().iter().find(|slot| slot.name == name).map(|slot| slot.role);
    assert_eq!(["w", "gain", "shift", "bias"].map(role), [Role::Weight, Role::Scale, Role::Shift, Role::Bias].map(Some));
}

#[test]
fn a_file_cut_anywhere_is_refused_or_read_but_never_a_panic() {
    let (_, bytes) = fixture("clean.onnx");
    assert!(load(b"not a model", &ExternalData::new()).is_err());
    assert!(load(&[], &ExternalData::new()).is_err());
    for end in (0..bytes.len()).step_by(997) {
        let _ = load(&bytes[..end], &ExternalData::new());
    }
}
