//! Whole networks, through [`Model::load`].

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use prost::Message;

use super::super::pb::TensorProto;
use super::super::tensor::{Data, decode};
use super::case::Case;
use crate::exec::{Weights, infer, to_array};
use crate::model::{LoadOptions, Model};
use crate::registry::{self, Beside};

/// Loads the model and compares its output, and its features if the file has an output for them, with those of the case.
pub(super) fn compare(path: &Path, case: &Case) -> Result<String, String> {
    let model = registry::identify(path).map_err(|e| e.to_string())?;
    let model = Model::load(model, &LoadOptions::default()).map_err(|e| e.to_string())?;
    let array = |bytes: &[u8]| match decode(TensorProto::decode(bytes).expect("a tensor"), &Beside::new()) {
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
    let cut = &model.cut;
    let told = format!("{apart:e}; cut at {} [N, {}] ({})", cut.name, cut.width, cut.how);
    if apart <= 1e-4 && finite && features.shape() == [x.shape()[0], cut.width] { Ok(told) } else { Err(told) }
}
