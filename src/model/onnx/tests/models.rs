//! Whole networks, through [`Model::load`].

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use prost::Message;

use super::super::pb::TensorProto;
use super::super::tensor::{Data, decode};
use super::case::Case;
use crate::exec::{Weights, infer, to_array};
use crate::model::{LoadOptions, Model};
use crate::registry::{self, ExternalData};

/// Loads the model and compares its output, and its features if the file has an output for them, with those of the case.
pub(super) fn compare(path: &Path, case: &Case) -> Result<String, String> {
    let model = registry::identify(path).map_err(|e| e.to_string())?;
    let model = Model::load(model, &LoadOptions::default()).map_err(|e| e.to_string())?;
    let array = |bytes: &[u8]| match decode(TensorProto::decode(bytes).expect("a tensor"), &ExternalData::new()) {
        Ok(Data::Float(a)) => a,
        _ => panic!("{}: floats are needed", case.name),
    };
    let x = array(&case.inputs[0]);
    let input = Tensor::from_vec(x.iter().copied().collect(), x.shape(), &Device::Cpu).expect("input");
    let network = model.own().map_err(|e| e.to_string())?;
    let weights = Weights::new(&network.params.0, DType::F32).expect("weights");
    let out = infer(&network.graph, &weights, &input).and_then(|t| to_array(&t)).map_err(|e| e.to_string())?;
    let features = infer(&network.trunk, &weights, &input).and_then(|t| to_array(&t)).map_err(|e| e.to_string())?;
    let expected = array(&case.outputs[0]);
    if out.shape() != expected.shape() {
        return Err(format!("shape {:?}, expected {:?}", out.shape(), expected.shape()));
    }
    let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let apart = out.iter().zip(&expected).fold(0f32, |m, (a, b)| if (a - b).abs() >= m { (a - b).abs() } else { m }) / scale;
    let finite = out.iter().chain(&features).all(|v| v.is_finite());
    let cut = &model.feature_layer;
    let told = format!("{apart:e}; cut at {} [N, {}] ({})", cut.name, cut.width, cut.how);
    if apart <= 1e-4 && finite && features.shape() == [x.shape()[0], cut.width] { Ok(told) } else { Err(told) }
}

/// Every ONNX file of a folder and its folders: where its features leave, or why it is refused. None of those that libraries export has a way
/// around its weights.
#[test]
#[ignore = "set HEIRLOOM_ONNX_FOLDER to a folder of exported networks"]
fn a_folder_of_exports_has_no_way_around_the_weights() {
    let folder = std::env::var_os("HEIRLOOM_ONNX_FOLDER").map(std::path::PathBuf::from).expect("HEIRLOOM_ONNX_FOLDER");
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|named| !named.is_empty());
    let wanted = named.map_or(crate::runtime::Wanted::Off, |named| crate::runtime::Wanted::named(&named));
    let runtime = crate::runtime::open(&wanted, &crate::runtime::Host::Here);
    let options = LoadOptions { runtime: runtime.expect("a library that fits").runtime, ..LoadOptions::default() };
    let (mut open, mut around) = (vec![folder], Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let mut entries: Vec<_> = std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
            entries.sort();
            open.extend(entries.into_iter().rev());
        } else if path.extension().is_some_and(|extension| extension == "onnx") {
            let told = registry::identify(&path).map_err(|e| e.to_string());
            match told.and_then(|reference| Model::load(reference, &options).map_err(|e| e.to_string())) {
                Ok(model) => {
                    let cut = &model.feature_layer;
                    let who = if model.network.is_ok() { "ours" } else { "ONNX Runtime" };
                    println!("{}: {who}, {} [N, {}], {}", path.display(), cut.name, cut.width, cut.how);
                    if let Some(bypass) = model.bypass() {
                        around.push(format!("{}: {}", path.display(), bypass.remark()));
                    }
                }
                Err(reason) => println!("{}: REFUSED {reason}", path.display()),
            }
        }
    }
    assert!(around.is_empty(), "{}", around.join("\n"));
}
