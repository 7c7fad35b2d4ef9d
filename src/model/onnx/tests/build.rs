//! Small ONNX files from their messages.

use prost::Message;

use super::super::pb::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto, attribute_type, data_type,
};
use crate::model::Imported;
use crate::model::onnx::load;
use crate::registry::ExternalData;

pub(in crate::model::onnx) fn tensor(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto { name: name.into(), dims: dims.to_vec(), data_type: Some(data_type::FLOAT), raw_data: Some(raw), ..Default::default() }
}

pub(in crate::model::onnx) fn integers(name: &str, values: &[i64]) -> TensorProto {
    let dims = vec![values.len() as i64];
    TensorProto { name: name.into(), dims, data_type: Some(data_type::INT64), int64_data: values.to_vec(), ..Default::default() }
}

/// A node named as its first output; inputs and outputs are separated by blanks.
pub(in crate::model::onnx) fn node(op: &str, inputs: &str, outputs: &str) -> NodeProto {
    let list = |names: &str| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let output = list(outputs);
    NodeProto {
        name: format!("node_{}", output.first().map_or("", String::as_str)),
        op_type: op.into(),
        input: list(inputs),
        output,
        attribute: Vec::new(),
        domain: String::new(),
    }
}

pub(in crate::model::onnx) fn with_ints(mut node: NodeProto, name: &str, values: &[i64]) -> NodeProto {
    let (ints, kind) = (values.to_vec(), Some(attribute_type::INTS));
    node.attribute.push(AttributeProto { name: name.into(), ints, r#type: kind, ..Default::default() });
    node
}

pub(in crate::model::onnx) fn with_int(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    node.attribute.push(AttributeProto { name: name.into(), i: Some(value), r#type: Some(attribute_type::INT), ..Default::default() });
    node
}

/// A float tensor; dimension 0 is the batch, of any size if it is 0.
pub(in crate::model::onnx) fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&d| DimensionProto { dim_value: (d > 0).then_some(d), dim_param: None }).collect();
    let tensor = TensorTypeProto { elem_type: Some(data_type::FLOAT), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

/// From images `x` `[N, 3, 2, 2]` to `y`.
pub(in crate::model::onnx) fn model(node: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let graph =
        GraphProto { node, initializer, input: vec![value("x", &[0, 3, 2, 2])], output: vec![value("y", &[0, 2])], ..Default::default() };
    ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: Some(17) }],
        ..Default::default()
    }
}

/// A linear classifier of two classes.
pub(in crate::model::onnx) fn classifier() -> ModelProto {
    let weights = (0..24).map(|i| i as f32 / 24.0 - 0.5).collect::<Vec<_>>();
    let nodes = vec![node("Flatten", "x", "flat"), node("Gemm", "flat w b", "y")];
    model(nodes, vec![tensor("w", &[12, 2], &weights), tensor("b", &[2], &[0.5, -0.5])])
}

pub(in crate::model::onnx) fn read(model: &ModelProto) -> Result<Imported, String> {
    load(&model.encode_to_vec(), &ExternalData::new()).map_err(|e| e.to_string())
}

/// Why a model is refused.
pub(in crate::model::onnx) fn refusal(model: &ModelProto) -> String {
    match read(model) {
        Ok(imported) => panic!("it was read: {:?}", imported.graph),
        Err(reason) => reason,
    }
}

/// That a model of these nodes from `x` to `y` is refused for a reason that contains `reason`.
#[track_caller]
pub(in crate::model::onnx) fn refused(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>, reason: &str) {
    let told = refusal(&model(nodes, initializers));
    assert!(told.contains(reason), "`{told}` does not say `{reason}`");
}
