//! What an ONNX file holds, read without understanding its operators: enough for a runtime that does.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::OnnxError;
use super::import::{Entry, description, is_default, outputs, preprocessing};
use super::pb::{GraphProto, ModelProto, NodeProto, data_type};
use crate::model::{Layout, Preprocessing};

/// An ONNX file described.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What the file is, for people.
    pub description: String,
    /// Axis order of the input.
    pub layout: Layout,
    /// Channels of the input.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// Normalisation, where the file says so.
    pub preprocessing: Option<Preprocessing>,
    /// Free text in the file.
    pub metadata: BTreeMap<String, String>,
    /// Numbers in all tensors.
    pub parameters: usize,
    /// Whether some are of two bytes: sums of such numbers are right to three digits.
    pub half: bool,
    /// How many operators of each kind.
    pub operators: BTreeMap<String, usize>,
    /// What the nodes compute, by name.
    pub tensors: BTreeSet<String>,
    /// Where features leave, and how that was found.
    pub features: (String, &'static str),
    /// Widths of learnt tokens `[1, 1, width]`.
    pub tokens: BTreeSet<usize>,
}

/// Describes the ONNX file `bytes`; `size` is `[height, width]` in pixels for a file that leaves them open.
pub fn survey(bytes: &[u8], size: Option<[usize; 2]>) -> Result<Survey, OnnxError> {
    let model = ModelProto::decode(bytes).map_err(|e| OnnxError::Decode { reason: e.to_string() })?;
    let graph = model.graph.ok_or(OnnxError::NoGraph)?;
    let entry = Entry::of(&graph, size)?;
    let size = entry.size.or(size).ok_or_else(|| OnnxError::Size { name: entry.name.clone() })?;
    let metadata: BTreeMap<String, String> = model.metadata_props.into_iter().map(|p| (p.key, p.value)).collect();
    let version = model.opset_import.iter().find(|o| is_default(&o.domain)).and_then(|o| o.version).unwrap_or(1);
    let mut operators = BTreeMap::new();
    for node in graph.node.iter().filter(|node| node.op_type != "Constant") {
        *operators.entry(node.op_type.clone()).or_insert(0) += 1;
    }
    let elements = |dims: &[i64]| dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).fold(1, usize::saturating_mul);
    let tokens = graph.initializer.iter().filter_map(|tensor| match tensor.dims[..] {
        [1, 1, width] if width > 1 => usize::try_from(width).ok(),
        _ => None,
    });
    let half = |kind: Option<i32>| matches!(kind, Some(data_type::FLOAT16 | data_type::BFLOAT16));
    Ok(Survey {
        description: description(version, &model.producer_name, &model.producer_version),
        layout: entry.layout,
        channels: entry.channels,
        size,
        preprocessing: preprocessing(&metadata)?,
        metadata,
        parameters: graph.initializer.iter().map(|tensor| elements(&tensor.dims)).fold(0, usize::saturating_add),
        half: graph.initializer.iter().any(|tensor| half(tensor.data_type)),
        operators,
        tensors: graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty()).cloned().collect(),
        tokens: tokens.collect(),
        features: features(&graph, &entry.name)?,
    })
}

/// The tensor that the file calls its features, else the input of the linear layer that the output comes from, else the output.
fn features(graph: &GraphProto, input: &str) -> Result<(String, &'static str), OnnxError> {
    let (main, named) = outputs(graph)?;
    if let Some(named) = named {
        return Ok((named, "named by the file"));
    }
    let made: BTreeMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    let depends = depends(graph, input);
    let mut at = main.as_str();
    // A file whose nodes form a ring ends here too.
    for _ in 0..graph.node.len() {
        let Some(node) = made.get(at) else { break };
        let mut from = node.input.iter().map(String::as_str).filter(|name| depends.contains(name));
        let (Some(first), second) = (from.next(), from.next()) else { break };
        match node.op_type.as_str() {
            "Gemm"
            | "MatMul"
            | "QGemm"
            | "QLinearMatMul"
            | "MatMulInteger"
            | "MatMulIntegerToFloat"
            | "DynamicQuantizeMatMul"
            | "MatMulNBits"
            | "FusedMatMul"
            | "FusedGemm"
                if second.is_none() =>
            {
                return Ok((unquantised(first, &made).to_owned(), "input of the last linear layer"));
            }
            "Softmax" | "LogSoftmax" | "Sigmoid" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity" | "Cast" | "Dropout"
            | "DequantizeLinear" | "QuantizeLinear" | "Add" | "Sub" | "Mul" | "Div" | "QLinearAdd" | "QLinearSoftmax"
                if second.is_none() =>
            {
                at = first;
            }
            _ => break,
        }
    }
    Ok((main, "the output (no linear head was recognised)"))
}

/// The numbers that a quantised product was made from, where the file has them as floats.
fn unquantised<'a>(tensor: &'a str, made: &BTreeMap<&str, &'a NodeProto>) -> &'a str {
    match made.get(tensor) {
        Some(node) if matches!(node.op_type.as_str(), "QuantizeLinear" | "DynamicQuantizeLinear") => {
            node.input.first().map_or(tensor, String::as_str)
        }
        _ => tensor,
    }
}

/// Tensors that the pictures reach; a scale measured on them counts as a constant.
fn depends<'a>(graph: &'a GraphProto, input: &'a str) -> BTreeSet<&'a str> {
    let mut depends = BTreeSet::from([input]);
    for node in &graph.node {
        if node.op_type != "Shape" && node.input.iter().any(|name| depends.contains(name.as_str())) {
            let given = if node.op_type == "DynamicQuantizeLinear" { 1 } else { node.output.len() };
            depends.extend(node.output.iter().take(given).map(String::as_str).filter(|name| !name.is_empty()));
        }
    }
    depends
}
