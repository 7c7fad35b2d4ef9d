//! Where features leave a network whose operators are not understood: told from the names of its operators.
//!
//! The same rules as [`cut`](crate::model::cut) has for networks that are understood. Where they do not lead anywhere, nothing is taken for
//! features: scores and boxes are numbers too.

use std::collections::{BTreeMap, BTreeSet};

use super::OnnxError;
use super::import::outputs;
use super::pb::{GraphProto, NodeProto};
use crate::model::FeatureLayerError;

/// The tensor that holds the features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// How it was found.
    pub how: &'static str,
    /// What the head behind it gives, and along which axis of one image that has its classes: asked for its shape, since a head that
    /// answers many times per image is no classifier's.
    pub head: Option<(String, Classes)>,
    /// The network's output.
    pub output: String,
    /// Whether that is the features itself: an encoder's.
    pub encoder: bool,
}

/// Where the classes are in what a head gives for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classes {
    /// The first axis, of a convolution.
    First,
    /// The last axis, of a product.
    Last,
}

/// The tensor that the file calls its features, else the input of the head that the output comes from, else the output of an encoder.
pub(super) fn find(graph: &GraphProto, input: &str) -> Result<Result<Found, FeatureLayerError>, OnnxError> {
    let (output, named) = outputs(graph)?;
    if let Some(name) = named {
        return Ok(Ok(Found { name, how: "named by the file", head: None, output, encoder: false }));
    }
    let network = Network::of(graph, input);
    Ok(network.head(&output).unwrap_or_else(|| network.encoder(&output)))
}

struct Network<'a> {
    made: BTreeMap<&'a str, &'a NodeProto>,
    /// Tensors that the images reach; a scale measured on them counts as a constant.
    depends: BTreeSet<&'a str>,
    /// Shapes of the file's tensors.
    held: BTreeMap<&'a str, &'a [i64]>,
}

/// A product with one matrix that is not computed from the image.
#[rustfmt::skip]
const PRODUCTS: [&str; 10] = [
    "Gemm", "MatMul", "QGemm", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits", "FusedMatMul",
    "FusedGemm",
];

/// Convolutions with the place of their weight among the inputs.
const CONVOLUTIONS: [(&str, usize); 3] = [("Conv", 1), ("QLinearConv", 3), ("ConvInteger", 1)];

/// What may follow a head and does not make features of it.
#[rustfmt::skip]
const BEHIND_HEADS: [&str; 37] = [
    "Softmax", "LogSoftmax", "Sigmoid", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "Dropout", "Transpose", "Slice",
    "Gather", "Exp", "Log", "Neg", "DequantizeLinear", "QuantizeLinear", "Add", "Sub", "Mul", "Div", "Sum", "Mean", "ReduceMean", "ReduceSum",
    "ReduceMax", "GlobalAveragePool", "GlobalMaxPool", "AveragePool", "QLinearAdd", "QLinearMul", "QLinearSoftmax", "QLinearSigmoid",
    "QLinearGlobalAveragePool", "QLinearAveragePool", "CastLike",
];

/// Those of them that bring many places to one.
const POOLS: [&str; 8] = [
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "AveragePool",
    "QLinearGlobalAveragePool",
    "QLinearAveragePool",
];

/// What moves, pools or scales an encoder's features on their way out.
#[rustfmt::skip]
const BEHIND_ENCODERS: [&str; 29] = [
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "CastLike", "Dropout", "Transpose", "Slice", "Gather", "Split",
    "DequantizeLinear", "QuantizeLinear", "Add", "Sub", "Mul", "Div", "ReduceMean", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool",
    "AveragePool", "MaxPool", "LpNormalization", "QLinearGlobalAveragePool", "QLinearAveragePool", "Expand", "QLinearMul",
];

/// What an encoder ends in.
#[rustfmt::skip]
const ENCODERS: [&str; 29] = [
    "LayerNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "RMSNormalization",
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "GroupNorm", "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu",
    "Gelu", "FastGelu", "QuickGelu", "BiasGelu", "HardSwish", "Mish", "Swish", "Tanh", "Softplus", "Clip", "FusedConv", "QLinearLeakyRelu",
    "ThresholdedRelu", "LpNormalization",
];

impl<'a> Network<'a> {
    fn of(graph: &'a GraphProto, input: &'a str) -> Self {
        let mut depends = BTreeSet::from([input]);
        for node in &graph.node {
            if node.op_type != "Shape" && node.input.iter().any(|name| depends.contains(name.as_str())) {
                let given = if node.op_type == "DynamicQuantizeLinear" { 1 } else { node.output.len() };
                depends.extend(node.output.iter().take(given).map(String::as_str).filter(|name| !name.is_empty()));
            }
        }
        Self {
            made: graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect(),
            depends,
            held: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor.dims.as_slice())).collect(),
        }
    }

    /// The inputs of a node that the images reach, each once.
    fn from(&self, node: &'a NodeProto) -> Vec<&'a str> {
        let mut from: Vec<&str> = Vec::new();
        for name in node.input.iter().map(String::as_str).filter(|name| self.depends.contains(name)) {
            if !from.contains(&name) {
                from.push(name);
            }
        }
        from
    }

    /// What the head of the network reads, if heads are all that the output comes from.
    fn head(&self, output: &'a str) -> Option<Result<Found, FeatureLayerError>> {
        // What a head reads, what it gives, where its classes are.
        let mut heads: Vec<(&str, &str, Classes)> = Vec::new();
        let mut open = vec![(output, false)];
        let mut seen = BTreeSet::new();
        while let Some((at, pooled)) = open.pop() {
            if !seen.insert((at, pooled)) {
                continue;
            }
            // The images themselves: no head was on the way.
            let node = self.made.get(at)?;
            let from = self.from(node);
            let op = node.op_type.as_str();
            match from.as_slice() {
                [one] if PRODUCTS.contains(&op) => heads.push((self.unquantised(one), at, Classes::Last)),
                [one] if self.is_pointwise(node) => heads.push((self.unquantised(one), at, Classes::First)),
                [] => return None,
                // An activation marks features, unless it stands between a convolution used as a head and its pooling (SqueezeNet).
                _ if BEHIND_HEADS.contains(&op) && !self.is_silu(node) || (op == "Relu" && pooled) => {
                    let pooled = pooled || POOLS.contains(&op);
                    open.extend(from.into_iter().map(|name| (name, pooled)));
                }
                _ => return None,
            }
        }
        let read: BTreeSet<&str> = heads.iter().map(|(input, ..)| *input).collect();
        let &(name, given, classes) = heads.first()?;
        if read.len() > 1 {
            let names: Vec<&str> = read.into_iter().collect();
            return Some(Err(FeatureLayerError::SeveralHeads { names: names.join("\n  ") }));
        }
        let how = if classes == Classes::Last { "input of the last linear layer" } else { "input of the last 1x1 convolution" };
        // A plain product of matrices gives one row per image.
        let plain = matches!(self.made.get(given).map(|node| node.op_type.as_str()), Some("Gemm" | "QGemm" | "FusedGemm"));
        let head = (!plain).then(|| (given.to_owned(), classes));
        Some(Ok(Found { name: name.to_owned(), how, head, output: output.to_owned(), encoder: false }))
    }

    /// The output, if what it comes from is what encoders end in.
    fn encoder(&self, output: &'a str) -> Result<Found, FeatureLayerError> {
        let mut at = output;
        let mut pooled = false;
        // A file whose nodes form a ring ends here too.
        for _ in 0..self.made.len() {
            let Some(node) = self.made.get(at) else { break };
            let op = node.op_type.as_str();
            let from = self.from(node);
            let joins = matches!(op, "Add" | "Sum" | "QLinearAdd") && from.len() > 1;
            if ENCODERS.contains(&op) || joins || self.is_silu(node) || self.is_normalised(node) || (pooled && op == "Concat") {
                let how = "the output (no linear head was recognised)";
                return Ok(Found { name: output.to_owned(), how, head: None, output: output.to_owned(), encoder: true });
            }
            match from.as_slice() {
                [one] if BEHIND_ENCODERS.contains(&op) => {
                    pooled |= POOLS.contains(&op) || op == "MaxPool";
                    at = one;
                }
                _ => break,
            }
        }
        let by = self.made.get(at).map_or_else(|| "no node".to_owned(), |node| format!("{} (`{at}`)", node.op_type));
        let why = format!(
            "the output `{output}` comes from {by}: it may be scores, boxes or text, and no layer in front of a head is recognised"
        );
        Err(FeatureLayerError::NoFeatures { why, candidates: Vec::new() })
    }

    /// Whether a node is `x * sigmoid(x)`.
    fn is_silu(&self, node: &NodeProto) -> bool {
        let [a, b] = node.input.as_slice() else { return false };
        let gate = |gate: &str, of: &str| {
            let made = self.made.get(gate).filter(|made| matches!(made.op_type.as_str(), "Sigmoid" | "HardSigmoid" | "QLinearSigmoid"));
            made.and_then(|made| made.input.first()).is_some_and(|input| input == of)
        };
        node.op_type == "Mul" && (gate(a, b) || gate(b, a))
    }

    /// Whether a node divides by a length or a standard deviation, as norms do that are written out.
    fn is_normalised(&self, node: &NodeProto) -> bool {
        let divisor = node.input.get(1).map(String::as_str).filter(|name| node.op_type == "Div" && self.depends.contains(name));
        let made = divisor.and_then(|name| self.made.get(name));
        made.is_some_and(|made| matches!(made.op_type.as_str(), "Sqrt" | "ReduceL2" | "Expand" | "Clip" | "Max"))
    }

    /// Whether a node is a 1x1 convolution that looks at all channels of each place.
    fn is_pointwise(&self, node: &NodeProto) -> bool {
        let Some((_, weight)) = CONVOLUTIONS.iter().find(|(name, _)| *name == node.op_type) else { return false };
        let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
        let all = |name: &str, value: i64| attribute(name).is_none_or(|a| a.ints.iter().all(|v| *v == value));
        let kernel = match attribute("kernel_shape") {
            Some(kernel) => kernel.ints.clone(),
            None => {
                node.input.get(*weight).and_then(|name| self.held.get(name.as_str())).and_then(|dims| dims.get(2..)).unwrap_or(&[]).to_vec()
            }
        };
        let single = attribute("group").and_then(|a| a.i).is_none_or(|group| group == 1);
        !kernel.is_empty() && kernel.iter().all(|k| *k == 1) && all("strides", 1) && all("pads", 0) && single
    }

    /// The numbers that a quantised product was made from, where the file has them as floats.
    fn unquantised(&self, tensor: &'a str) -> &'a str {
        match self.made.get(tensor) {
            Some(node) if matches!(node.op_type.as_str(), "QuantizeLinear" | "DynamicQuantizeLinear") => {
                node.input.first().map_or(tensor, String::as_str)
            }
            _ => tensor,
        }
    }
}
