//! A [`Graph`] as an ONNX file: operator set 17, IR version 8, any batch size.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::ArrayD;
use prost::Message;

use super::OnnxError;
use super::pb::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute_type, data_type,
};
use crate::graph::{Binary, Dim, Graph, Node, NodeId, Op, Reduce, Shape, Sixteen, Unary, Window};
use crate::model::{InputSpec, Params, preprocessing};

/// What protobuf can hold in one message, with room for the rest of the file.
const MOST_BYTES: usize = (1 << 31) - (1 << 24);

/// The bytes of an ONNX file that computes what `graph` does. Mean and standard deviation of `input` are kept as metadata
/// (`heirloom.mean`, `heirloom.std`), the order of colours and the geometry too where they are not the usual ones; nothing of them is put into the network.
pub fn write(graph: &Graph, params: &Params, input: &InputSpec, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, OnnxError> {
    let mut writer = Writer { nodes: Vec::new(), initializers: Vec::new(), names: Vec::new(), taken: BTreeSet::new(), bytes: 0 };
    for (i, node) in graph.nodes().iter().enumerate() {
        let mut name = node.name.clone();
        let mut n = 2;
        while name.is_empty() || !writer.taken.insert(name.clone()) {
            name = format!("{}.{n}", node.name);
            n += 1;
        }
        writer.names.push(name);
        match &node.op {
            Op::Input => {}
            Op::Param(slot) => {
                let array = params.0.get(slot.0).ok_or_else(|| fail(&node.name, "it has no numbers"))?;
                if Shape::fixed(array.shape()) != node.shape {
                    return Err(fail(&node.name, format!("its shape is {:?}, the graph says {}", array.shape(), node.shape)));
                }
                let name = writer.names[i].clone();
                writer.float(&name, array)?;
            }
            _ => writer.node(graph, NodeId(i))?,
        }
    }
    let name_of = |id: NodeId| writer.names.get(id.0).cloned().unwrap_or_default();
    let (entry, output) = (name_of(graph.input()), name_of(graph.output()));
    if matches!(graph.node(graph.output()).op, Op::Input | Op::Param(_)) {
        return Err(fail(&output, "the graph computes nothing"));
    }
    let mut all = metadata.clone();
    all.extend(preprocessing::notes(input));
    let proto = GraphProto {
        name: "heirloom".into(),
        input: vec![info(&entry, &graph.node(graph.input()).shape)],
        output: vec![info(&output, &graph.node(graph.output()).shape)],
        node: writer.nodes,
        initializer: writer.initializers,
        sparse_initializer: Vec::new(),
    };
    let model = ModelProto {
        ir_version: Some(8),
        producer_name: "heirloom".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(proto),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: Some(17) }],
        functions: Vec::new(),
        metadata_props: all.into_iter().map(|(key, value)| StringStringEntryProto { key, value }).collect(),
    };
    Ok(model.encode_to_vec())
}

fn fail(name: &str, reason: impl Into<String>) -> OnnxError {
    OnnxError::Write { name: name.into(), reason: reason.into() }
}

fn info(name: &str, shape: &Shape) -> ValueInfoProto {
    let dim = |d: &Dim| match d {
        Dim::Fixed(size) => DimensionProto { dim_value: Some(*size as i64), dim_param: None },
        Dim::Batch(1) => DimensionProto { dim_value: None, dim_param: Some("N".into()) },
        Dim::Batch(per_item) => DimensionProto { dim_value: None, dim_param: Some(format!("{per_item}N")) },
    };
    let shape = TensorShapeProto { dim: shape.0.iter().map(dim).collect() };
    let tensor = TensorTypeProto { elem_type: Some(data_type::FLOAT), shape: Some(shape) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

fn int(name: &str, i: impl TryInto<i64>) -> AttributeProto {
    let i = i.try_into().unwrap_or(i64::MAX);
    AttributeProto { name: name.into(), i: Some(i), r#type: Some(attribute_type::INT), ..Default::default() }
}

fn float(name: &str, f: f64) -> AttributeProto {
    AttributeProto { name: name.into(), f: Some(f as f32), r#type: Some(attribute_type::FLOAT), ..Default::default() }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&v| v as i64).collect();
    AttributeProto { name: name.into(), ints, r#type: Some(attribute_type::INTS), ..Default::default() }
}

fn window(w: &Window) -> Vec<AttributeProto> {
    vec![ints("kernel_shape", &w.kernel), ints("strides", &w.stride), ints("pads", &w.pads)]
}

struct Writer {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// The tensor name of every node of the graph.
    names: Vec<String>,
    taken: BTreeSet<String>,
    bytes: usize,
}

impl Writer {
    fn float(&mut self, name: &str, array: &ArrayD<f32>) -> Result<(), OnnxError> {
        self.bytes = self.bytes.saturating_add(array.len().saturating_mul(4));
        if self.bytes > MOST_BYTES {
            return Err(fail(name, "the weights exceed 2 GiB, more than one ONNX file holds"));
        }
        let raw = array.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, array.shape(), data_type::FLOAT, raw);
        Ok(())
    }

    fn tensor(&mut self, name: &str, shape: &[usize], kind: i32, raw: Vec<u8>) {
        let dims = shape.iter().map(|&d| d as i64).collect();
        self.initializers.push(TensorProto { name: name.into(), dims, data_type: Some(kind), raw_data: Some(raw), ..Default::default() });
    }

    /// A name for a tensor that the graph does not have.
    fn fresh(&mut self, base: &str, step: &str) -> String {
        let mut name = format!("{base}/{step}");
        let mut n = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{base}/{step}.{n}");
            n += 1;
        }
        name
    }

    fn scalar(&mut self, base: &str, x: f64) -> String {
        let name = self.fresh(base, "constant");
        self.tensor(&name, &[], data_type::FLOAT, (x as f32).to_le_bytes().to_vec());
        name
    }

    fn integers(&mut self, base: &str, values: &[i64]) -> String {
        let name = self.fresh(base, "sizes");
        self.tensor(&name, &[values.len()], data_type::INT64, values.iter().flat_map(|v| v.to_le_bytes()).collect());
        name
    }

    fn emit(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.nodes.push(NodeProto {
            name: output.into(),
            op_type: op.into(),
            input: inputs.iter().map(|&i| i.into()).collect(),
            output: vec![output.into()],
            attribute,
            domain: String::new(),
        });
    }

    /// An intermediate step; its tensor's name.
    fn step(&mut self, base: &str, op: &str, inputs: &[&str]) -> String {
        let name = self.fresh(base, &op.to_lowercase());
        self.emit(op, inputs, &name, Vec::new());
        name
    }

    fn node(&mut self, graph: &Graph, id: NodeId) -> Result<(), OnnxError> {
        let node = graph.node(id);
        let out = self.names[id.0].clone();
        let given: Vec<String> = node.inputs.iter().filter_map(|i| self.names.get(i.0).cloned()).collect();
        let inputs: Vec<&str> = given.iter().map(String::as_str).collect();
        let shape_of = |i: usize| node.inputs.get(i).map(|x| &graph.node(*x).shape);
        let Some(&x) = inputs.first() else { return Err(fail(&out, "it has no input")) };
        match &node.op {
            Op::Input | Op::Param(_) => {}
            Op::Conv2d { window: w, groups } => {
                let mut attributes = window(w);
                attributes.extend([ints("dilations", &w.dilation), int("group", *groups)]);
                self.emit("Conv", &inputs, &out, attributes);
            }
            Op::Linear if node.shape.rank() == 2 => self.emit("Gemm", &inputs, &out, vec![int("transB", 1)]),
            Op::Linear => {
                let transposed = self.fresh(&out, "weight");
                self.emit("Transpose", &[inputs[1]], &transposed, vec![ints("perm", &[1, 0])]);
                match inputs.get(2) {
                    Some(bias) => {
                        let product = self.step(&out, "MatMul", &[x, &transposed]);
                        self.emit("Add", &[&product, bias], &out, Vec::new());
                    }
                    None => self.emit("MatMul", &[x, &transposed], &out, Vec::new()),
                }
            }
            Op::MatMul => self.emit("MatMul", &inputs, &out, Vec::new()),
            Op::BatchNorm { eps, momentum } => {
                self.emit("BatchNormalization", &inputs, &out, vec![float("epsilon", *eps), float("momentum", 1.0 - momentum)]);
            }
            Op::LayerNorm { axis, eps } => {
                let attributes = vec![int("axis", *axis), float("epsilon", *eps)];
                if inputs.len() > 1 {
                    self.emit("LayerNormalization", &inputs, &out, attributes);
                } else {
                    // ONNX wants a scale.
                    let sizes: Vec<usize> = node.shape.at(1).into_iter().skip(*axis).collect();
                    let ones = self.fresh(&out, "ones");
                    self.float(&ones, &ArrayD::ones(sizes))?;
                    self.emit("LayerNormalization", &[x, &ones], &out, attributes);
                }
            }
            Op::Lrn { size, alpha, beta, bias } => {
                self.emit(
                    "LRN",
                    &inputs,
                    &out,
                    vec![int("size", *size), float("alpha", *alpha), float("beta", *beta), float("bias", *bias)],
                );
            }
            Op::MaxPool(w) => {
                let mut attributes = window(w);
                attributes.push(ints("dilations", &w.dilation));
                self.emit("MaxPool", &inputs, &out, attributes);
            }
            Op::AvgPool { window: w, .. } if w.dilation != [1, 1] => {
                return Err(fail(&out, "a dilated average pooling needs a newer operator set than 17"));
            }
            Op::AvgPool { window: w, count_include_pad } => {
                let mut attributes = window(w);
                attributes.push(int("count_include_pad", i64::from(*count_include_pad)));
                self.emit("AveragePool", &inputs, &out, attributes);
            }
            Op::Unary(function) => self.unary(*function, x, &out),
            Op::Binary(kind) => {
                let op = match kind {
                    Binary::Add => "Add",
                    Binary::Sub => "Sub",
                    Binary::Mul => "Mul",
                    Binary::Div => "Div",
                    Binary::Max => "Max",
                    Binary::Min => "Min",
                };
                self.emit(op, &inputs, &out, Vec::new());
            }
            Op::Reduce { kind, axes, keep } => self.reduce(*kind, axes, *keep, x, &out),
            Op::Softmax { axis } => self.emit("Softmax", &inputs, &out, vec![int("axis", *axis)]),
            Op::Attention { scale } => {
                let &[q, k, v] = inputs.as_slice() else { return Err(fail(&out, "it needs queries, keys and values")) };
                let rank = node.shape.rank();
                let mut perm: Vec<usize> = (0..rank).collect();
                perm.swap(rank - 2, rank - 1);
                let keys = self.fresh(&out, "transpose");
                self.emit("Transpose", &[k], &keys, vec![ints("perm", &perm)]);
                let scores = self.step(&out, "MatMul", &[q, &keys]);
                let scale = self.scalar(&out, *scale);
                let scores = self.step(&out, "Mul", &[&scores, &scale]);
                let shares = self.fresh(&out, "softmax");
                self.emit("Softmax", &[&scores], &shares, vec![int("axis", rank - 1)]);
                self.emit("MatMul", &[&shares, v], &out, Vec::new());
            }
            Op::Concat { axis } => self.emit("Concat", &inputs, &out, vec![int("axis", *axis)]),
            Op::Reshape { shape } => {
                let sizes: Vec<i64> = shape.0.iter().map(|d| if let Dim::Fixed(s) = d { *s as i64 } else { -1 }).collect();
                let target = self.integers(&out, &sizes);
                self.emit("Reshape", &[x, &target], &out, Vec::new());
            }
            Op::Expand { shape } => self.expand(graph, node, shape, shape_of(0), x, &out),
            Op::Transpose { perm } => self.emit("Transpose", &inputs, &out, vec![ints("perm", perm)]),
            Op::Slice { axis, start, end, step } => {
                let [start, end, axis, step] = [start, end, axis, step].map(|v| self.integers(&out, &[*v as i64]));
                self.emit("Slice", &[x, &start, &end, &axis, &step], &out, Vec::new());
            }
            Op::Select { axis, indices } => {
                let indices: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
                let indices = self.integers(&out, &indices);
                self.emit("Gather", &[x, &indices], &out, vec![int("axis", *axis)]);
            }
            Op::Pad { pads, value } => {
                let sizes: Vec<i64> = pads.iter().map(|p| p.0 as i64).chain(pads.iter().map(|p| p.1 as i64)).collect();
                let sizes = self.integers(&out, &sizes);
                let value = self.scalar(&out, *value);
                self.emit("Pad", &[x, &sizes, &value], &out, Vec::new());
            }
        }
        Ok(())
    }

    fn reduce(&mut self, kind: Reduce, axes: &[usize], keep: bool, x: &str, out: &str) {
        let keep = int("keepdims", i64::from(keep));
        match kind {
            Reduce::Mean => self.emit("ReduceMean", &[x], out, vec![ints("axes", axes), keep]),
            Reduce::Max => self.emit("ReduceMax", &[x], out, vec![ints("axes", axes), keep]),
            Reduce::Sum => {
                let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
                let axes = self.integers(out, &axes);
                self.emit("ReduceSum", &[x, &axes], out, vec![keep]);
            }
        }
    }

    fn expand(&mut self, graph: &Graph, node: &Node, shape: &Shape, from: Option<&Shape>, x: &str, out: &str) {
        let lead = |i: usize| (i + from.map_or(0, Shape::rank)).checked_sub(shape.rank()).and_then(|j| from.and_then(|f| f.0.get(j)));
        let open = shape.0.iter().enumerate().find_map(|(i, d)| match d {
            Dim::Batch(k) if lead(i) != Some(d) => Some((i, *k)),
            _ => None,
        });
        // An axis that is the batch already is left alone by a 1.
        let sizes: Vec<i64> = shape.0.iter().map(|d| if let Dim::Fixed(s) = d { *s as i64 } else { 1 }).collect();
        let mut target = self.integers(&node.name, &sizes);
        if let Some((axis, per_item)) = open {
            let entry = self.names.get(graph.input().0).cloned().unwrap_or_default();
            let batch = self.fresh(out, "batch");
            self.emit("Shape", &[&entry], &batch, vec![int("start", 0), int("end", 1)]);
            // The other sizes, and N at `axis`: sizes * (1, .., N k, .., 1).
            let (before, after) = (self.integers(out, &vec![1; axis]), self.integers(out, &vec![1; shape.rank() - axis - 1]));
            let factor = self.integers(out, &[per_item as i64]);
            let times = self.step(out, "Mul", &[&batch, &factor]);
            let all = self.fresh(out, "concat");
            self.emit("Concat", &[&before, &times, &after], &all, vec![int("axis", 0)]);
            target = self.step(out, "Mul", &[&target, &all]);
        }
        self.emit("Expand", &[x, &target], out, Vec::new());
    }

    fn unary(&mut self, function: Unary, x: &str, out: &str) {
        let plain = |op: &'static str| (op, Vec::new());
        let (op, attributes) = match function {
            Unary::Relu => plain("Relu"),
            Unary::LeakyRelu(slope) => ("LeakyRelu", vec![float("alpha", slope)]),
            Unary::Elu(alpha) => ("Elu", vec![float("alpha", alpha)]),
            Unary::HardSigmoid { alpha, beta } => ("HardSigmoid", vec![float("alpha", alpha), float("beta", beta)]),
            Unary::HardSwish => plain("HardSwish"),
            Unary::Sigmoid => plain("Sigmoid"),
            Unary::Tanh => plain("Tanh"),
            Unary::Erf => plain("Erf"),
            Unary::Softplus => plain("Softplus"),
            Unary::Exp => plain("Exp"),
            Unary::Log => plain("Log"),
            Unary::Sqrt => plain("Sqrt"),
            Unary::Neg => plain("Neg"),
            Unary::Abs => plain("Abs"),
            Unary::Reciprocal => plain("Reciprocal"),
            Unary::Clip { min, max } => {
                let bound = |writer: &mut Self, v: f64| if v.is_finite() { writer.scalar(out, v) } else { String::new() };
                let (min, max) = (bound(self, min), bound(self, max));
                return self.emit("Clip", &[x, &min, &max], out, Vec::new());
            }
            Unary::Silu => {
                let gate = self.step(out, "Sigmoid", &[x]);
                return self.emit("Mul", &[x, &gate], out, Vec::new());
            }
            Unary::Pow(exponent) => {
                let exponent = self.scalar(out, exponent);
                return self.emit("Pow", &[x, &exponent], out, Vec::new());
            }
            Unary::Affine { scale, shift } => {
                let (scale, shift) = (self.scalar(out, scale), self.scalar(out, shift));
                let scaled = self.step(out, "Mul", &[x, &scale]);
                return self.emit("Add", &[&scaled, &shift], out, Vec::new());
            }
            Unary::Round(kind) => {
                let half = self.fresh(out, "half");
                let kind = if kind == Sixteen::Float16 { data_type::FLOAT16 } else { data_type::BFLOAT16 };
                self.emit("Cast", &[x], &half, vec![int("to", kind)]);
                return self.emit("Cast", &[&half], out, vec![int("to", data_type::FLOAT)]);
            }
            Unary::Gelu { tanh } => return self.gelu(tanh, x, out),
        };
        self.emit(op, &[x], out, attributes);
    }

    /// `x/2 (1 + erf(x / sqrt 2))`, or `x/2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))` (Hendrycks and Gimpel, 2016).
    fn gelu(&mut self, tanh: bool, x: &str, out: &str) {
        let gate = if tanh {
            let (three, small) = (self.scalar(out, 3.0), self.scalar(out, 0.044_715));
            let cube = self.step(out, "Pow", &[x, &three]);
            let cube = self.step(out, "Mul", &[&cube, &small]);
            let sum = self.step(out, "Add", &[x, &cube]);
            let factor = self.scalar(out, std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
            let inner = self.step(out, "Mul", &[&sum, &factor]);
            self.step(out, "Tanh", &[&inner])
        } else {
            let root = self.scalar(out, std::f64::consts::SQRT_2);
            let inner = self.step(out, "Div", &[x, &root]);
            self.step(out, "Erf", &[&inner])
        };
        let (one, half) = (self.scalar(out, 1.0), self.scalar(out, 0.5));
        let gate = self.step(out, "Add", &[&gate, &one]);
        let product = self.step(out, "Mul", &[x, &gate]);
        self.emit("Mul", &[&product, &half], out, Vec::new());
    }
}
