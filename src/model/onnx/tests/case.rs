//! One conformance case: a model, inputs and the outputs that are right, tried in every way that the importer may meet it.

use candle_core::{DType, Device, Tensor};
use ndarray::ArrayD;
use prost::Message;

use super::super::import::lower_graph;
use super::super::pb::{GraphProto, ModelProto, TensorProto, data_type};
use super::super::tensor::{Data, decode, is_float};
use super::super::value::Value;
use crate::exec::{Weights, infer, to_array};
use crate::graph::{Dim, Shape};
use crate::registry::ExternalData;

/// A single-operator test, as the ONNX project publishes them.
pub(super) struct Case {
    pub name: String,
    pub model: Vec<u8>,
    pub inputs: Vec<Vec<u8>>,
    pub outputs: Vec<Vec<u8>>,
    pub rtol: f64,
    pub atol: f64,
}

impl Case {
    /// The inputs, under the names that the graph has for them.
    pub fn tensors(&self) -> Vec<TensorProto> {
        let mut inputs: Vec<TensorProto> = self.inputs.iter().map(|b| TensorProto::decode(&b[..]).expect("an input")).collect();
        let graph = ModelProto::decode(&self.model[..]).expect("a model").graph.expect("a graph");
        for (proto, info) in inputs.iter_mut().zip(&graph.input) {
            proto.name.clone_from(&info.name);
        }
        inputs
    }
}

pub(super) enum Outcome {
    /// In how many ways.
    Agrees(usize),
    Refused(String),
    Wrong(String),
}

/// Runs a case with every input in turn as the network's (with and without a batch axis), the others being constants, and
/// with constants only. A refusal in one way is no failure; a wrong number in any is.
pub(super) fn check(case: &Case) -> Outcome {
    let model = ModelProto::decode(&case.model[..]).expect("a model");
    let opset = model.opset_import.iter().find(|o| o.domain.is_empty()).and_then(|o| o.version).unwrap_or(1);
    let graph = model.graph.expect("a graph");
    let inputs = case.tensors();
    let (mut agreed, mut refusal) = (0, None);
    for (output, expected) in graph.output.iter().zip(&case.outputs) {
        // Eight bits of mantissa, where we compute with 24.
        let coarse = if TensorProto::decode(&expected[..]).is_ok_and(|t| t.data_type == Some(data_type::BFLOAT16)) { 1e-2 } else { 0.0 };
        let Ok(expected) = TensorProto::decode(&expected[..]).map_err(|e| e.to_string()).and_then(|t| numbers(&t)) else { continue };
        for entry in std::iter::once(None).chain((0..inputs.len()).map(Some)) {
            for batched in [false, true] {
                if entry.is_none() && batched {
                    continue;
                }
                match run(&graph, &inputs, entry, batched, &output.name, opset) {
                    Err(reason) => refusal = Some(reason),
                    Ok(None) => {}
                    Ok(Some(got)) => match difference(&got, &expected, case.rtol.max(coarse), case.atol) {
                        None => agreed += 1,
                        Some(what) => {
                            let way = entry.map_or("constants only".to_owned(), |i| format!("input {i}, batched {batched}"));
                            return Outcome::Wrong(format!("`{}` ({way}): {what}", output.name));
                        }
                    },
                }
            }
        }
    }
    if agreed > 0 { Outcome::Agrees(agreed) } else { Outcome::Refused(refusal.unwrap_or_else(|| "no way to run it".into())) }
}

pub(super) fn numbers(proto: &TensorProto) -> Result<ArrayD<f64>, String> {
    Ok(match decode(proto.clone(), &ExternalData::new()).map_err(|e| e.to_string())? {
        Data::Float(a) => a.mapv(f64::from),
        Data::Int(a) => a.mapv(|i| i as f64),
    })
}

fn run(
    graph: &GraphProto,
    inputs: &[TensorProto],
    entry: Option<usize>,
    batched: bool,
    output: &str,
    opset: i64,
) -> Result<Option<ArrayD<f64>>, String> {
    let mut graph = graph.clone();
    let mut x = None;
    for (i, proto) in inputs.iter().enumerate() {
        if Some(i) == entry {
            if !is_float(proto.data_type.unwrap_or(0)) {
                return Ok(None);
            }
            x = Some(numbers(proto)?);
        } else {
            graph.initializer.push(proto.clone());
        }
    }
    let name = entry.map_or("nothing enters".to_owned(), |i| inputs[i].name.clone());
    let x = x.unwrap_or_else(|| ArrayD::zeros(vec![1]));
    let Some(&n) = x.shape().first().filter(|_| !x.is_empty()) else { return Ok(None) };
    let mut shape = Shape::fixed(x.shape());
    if batched {
        shape.0[0] = Dim::Batch(1);
    }
    let wanted = [output.to_owned()];
    let lowered =
        lower_graph(graph, &name, &shape, batched.then_some(n), opset, &ExternalData::new(), &wanted).map_err(|e| e.to_string())?;
    match lowered.values.get(output) {
        Some(Value::Node(id)) => {
            let network = lowered.importer.builder.finish(*id).map_err(|e| e.to_string())?;
            let weights = Weights::new(&lowered.importer.params, DType::F32).map_err(|e| e.to_string())?;
            let values: Vec<f32> = x.iter().map(|v| *v as f32).collect();
            let input = Tensor::from_vec(values, x.shape(), &Device::Cpu).map_err(|e| e.to_string())?;
            let out = infer(&network, &weights, &input).and_then(|t| to_array(&t)).map_err(|e| format!("running: {e}"))?;
            Ok(Some(out.mapv(f64::from)))
        }
        Some(Value::Float(c)) => Ok(Some(c.array.mapv(f64::from))),
        Some(Value::Int(a)) => Ok(Some(a.mapv(|s| (s.fixed + s.per_item * n as i64) as f64))),
        Some(Value::Spread(_)) | None => Err("the output is not computed".into()),
    }
}

#[expect(clippy::float_cmp, reason = "infinities have no difference")]
pub(super) fn difference(got: &ArrayD<f64>, expected: &ArrayD<f64>, rtol: f64, atol: f64) -> Option<String> {
    if got.shape() != expected.shape() {
        return Some(format!("shape {:?}, expected {:?}", got.shape(), expected.shape()));
    }
    let same = |a: f64, b: f64| (a - b).abs() <= atol + rtol * b.abs() || a == b || (a.is_nan() && b.is_nan());
    let at = got.iter().zip(expected).position(|(a, b)| !same(*a, *b))?;
    Some(format!("entry {at} is {:?}, expected {:?}", got.iter().nth(at), expected.iter().nth(at)))
}
