//! The way through an ONNX graph: inputs, nodes in order, outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::call::Call;
use super::guards::Guards;
use super::importer::Importer;
use super::node::{is_default, title};
use super::pb::{GraphProto, ModelProto, NodeProto, TypeProto, data_type};
use super::tensor::{Data, Room, decode_within, is_float};
use super::value::{Size, Value};
use super::{OnnxError, attributes, fold, kinds, lower, random, roles, spread, token_major};
use crate::graph::{NodeId, Shape};
use crate::model::{ChannelOrder, Imported, Layout, Params, Preprocessing};
use crate::registry::ExternalData;

/// Reads a network, all of it or as far as the tensor `until`.
pub(super) fn import(
    model: ModelProto,
    external: &ExternalData,
    size: Option<[usize; 2]>,
    until: Option<&str>,
) -> Result<Imported, OnnxError> {
    let graph = model.graph.ok_or(OnnxError::NoGraph)?;
    let versions: Vec<i64> = model.opset_import.iter().filter(|o| is_default(&o.domain)).map(|o| o.version.unwrap_or(0)).collect();
    let version = match versions.as_slice() {
        [] => 1,
        [one] => *one,
        _ => return Err(OnnxError::Opsets { versions }),
    };
    if !(7..=26).contains(&version) {
        return Err(OnnxError::Opset { version });
    }
    let metadata: BTreeMap<String, String> = model.metadata_props.into_iter().map(|p| (p.key, p.value)).collect();
    let entry = Entry::of(&graph, size)?;
    let (main, features) = match until {
        Some(tensor) => (tensor.to_owned(), None),
        None => outputs(&graph)?,
    };
    let wanted: Vec<String> = std::iter::once(main.clone()).chain(features.clone()).collect();
    let drawn = random::nodes(&graph, &model.functions, external, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
    if !drawn.is_empty() {
        return Err(OnnxError::Random { nodes: drawn });
    }
    let lowered = lower_graph(graph, &entry.name, &entry.shape, entry.batch, version, external, &wanted)?;
    let at = |name: &str| match lowered.values.get(name) {
        Some(Value::Node(id)) => {
            let ends = token_major::ends(&lowered.importer, *id);
            ends.map_err(|reason| OnnxError::Structure { reason: format!("output `{name}`: {reason}") }).map(|()| *id)
        }
        _ => Err(OnnxError::Structure { reason: format!("output `{name}` does not depend on the input") }),
    };
    let mut output = at(&main)?;
    let mut feature_name = None;
    let whole = lowered.importer.builder.clone();
    let finish = |output: NodeId| whole.clone().finish(output);
    let mut network = finish(output)?;
    if let Some(features) = features {
        let node = at(&features)?;
        let name = whole.node(node).name.clone();
        // Features that the other output is not computed from: the network ends there.
        if network.find(&name).is_none() {
            output = node;
            network = finish(output)?;
        }
        feature_name = Some(name);
    }
    let roles = roles::assign(&network);
    let mut builder = whole;
    for (slot, role) in roles {
        builder.set_role(slot, role);
    }
    Ok(Imported {
        description: description(version, &model.producer_name, &model.producer_version),
        graph: builder.finish(output)?.with_gelu().with_attention(feature_name.as_deref()),
        params: Params(lowered.importer.params),
        layout: entry.layout,
        channels: entry.channels,
        size: entry.size,
        usual: entry.bytes.then(as_bytes),
        features: feature_name,
        metadata,
    })
}

/// What the file is, for people.
pub(super) fn description(opset: i64, producer: &str, version: &str) -> String {
    let producer = format!("{producer} {version}");
    let producer = if producer.trim().is_empty() { String::new() } else { format!(", {}", producer.trim()) };
    format!("ONNX opset {opset}{producer}")
}

/// The one input that is not an initializer.
pub(super) struct Entry {
    pub name: String,
    pub shape: Shape,
    batch: Option<usize>,
    pub layout: Layout,
    pub channels: usize,
    pub size: Option<[usize; 2]>,
    /// Whether it takes whole numbers from 0 to 255.
    bytes: bool,
}

/// What becomes of an image where the network takes bytes, and normalises them itself.
fn as_bytes() -> Preprocessing {
    Preprocessing { mean: [0.0; 3], std: [1.0 / 255.0; 3], order: ChannelOrder::Rgb, from: "its input takes bytes, 0 to 255".into() }
}

impl Entry {
    pub fn of(graph: &GraphProto, told: Option<[usize; 2]>) -> Result<Self, OnnxError> {
        let wrong = |reason: String| OnnxError::Input { reason };
        let held: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let mut inputs = graph.input.iter().filter(|i| !held.contains(i.name.as_str()));
        let input = inputs.next().ok_or_else(|| wrong("the graph has no input".into()))?;
        let name = input.name.clone();
        if let Some(second) = inputs.next() {
            // Whoever reads a file has left out what other inputs enter (`part`).
            return Err(wrong(format!("the graph has several inputs (`{name}`, `{}`): one batch of images is needed", second.name)));
        }
        let tensor = input.r#type.as_ref().and_then(|t: &TypeProto| t.tensor_type.as_ref());
        let tensor = tensor.ok_or_else(|| wrong(format!("input `{name}` is not a tensor, or its type is not given")))?;
        let kind = tensor.elem_type.unwrap_or(0);
        let bytes = kind == data_type::UINT8;
        if !is_float(kind) && !bytes {
            return Err(wrong(format!("input `{name}` holds elements of type {kind}: floats or bytes (uint8) are needed")));
        }
        let dims: Vec<Option<usize>> = match &tensor.shape {
            Some(shape) => shape.dim.iter().map(|d| d.dim_value.and_then(|v| usize::try_from(v).ok()).filter(|v| *v > 0)).collect(),
            None => vec![None; 4],
        };
        let [batch, a, b, c] = dims[..] else {
            return Err(wrong(format!("input `{name}` has {} axes: images [N, C, H, W] or [N, H, W, C] are needed", dims.len())));
        };
        let image = |d: Option<usize>| matches!(d, Some(1 | 3));
        let (layout, channels, size) = match (a, c) {
            _ if image(a) => (Layout::Nchw, a.unwrap_or(3), (b, c)),
            _ if image(c) => (Layout::Nhwc, c.unwrap_or(3), (a, b)),
            (None, _) => (Layout::Nchw, 3, (b, c)),
            _ => return Err(wrong(format!("input `{name}` has {} channels: 1 or 3 are needed", a.unwrap_or(0)))),
        };
        let size = match size {
            (Some(h), Some(w)) => Some([h, w]),
            _ => told,
        };
        let [h, w] = size.ok_or_else(|| OnnxError::Size { name: name.clone() })?;
        if h.checked_mul(w).is_none_or(|p| p > 1 << 26) {
            return Err(wrong(format!("input `{name}` is {h} by {w} pixels: too large")));
        }
        let shape = if layout == Layout::Nchw { Shape::batched(&[channels, h, w]) } else { Shape::batched(&[h, w, channels]) };
        Ok(Self { name, shape, batch, layout, channels, size, bytes })
    }
}

/// `(classifier output, features)`.
pub(super) fn outputs(graph: &GraphProto) -> Result<(String, Option<String>), OnnxError> {
    let names: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    let like = |name: &&&str| {
        let name = name.to_lowercase();
        name.contains("feature") || name.contains("embedding")
    };
    let features = names.iter().find(|n| **n == "features").or_else(|| if names.len() > 1 { names.iter().find(like) } else { None });
    let rest = || names.iter().filter(|n| Some(*n) != features);
    let main = rest().find(|n| **n == "logits").or_else(|| rest().next()).or(features);
    let main = main.ok_or_else(|| OnnxError::Structure { reason: "the graph has no output".into() })?;
    Ok(((*main).to_owned(), features.map(|f| (*f).to_owned())))
}

pub(super) struct Lowered {
    pub importer: Importer,
    pub values: BTreeMap<String, Value>,
}

/// Lowers what `wanted` tensors need.
pub(super) fn lower_graph(
    graph: GraphProto,
    input: &str,
    shape: &Shape,
    batch: Option<usize>,
    opset: i64,
    external: &ExternalData,
    wanted: &[String],
) -> Result<Lowered, OnnxError> {
    let structure = |reason: String| OnnxError::Structure { reason };
    if let Some(sparse) = graph.sparse_initializer.first() {
        let name = sparse.values.as_ref().map_or("", |v| v.name.as_str());
        return Err(structure(format!("sparse initializer `{name}`: sparse tensors are not supported")));
    }
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        attributes::check(node, opset)?;
        for out in node.output.iter().filter(|o| !o.is_empty()) {
            if made.insert(out, i).is_some() || out == input {
                return Err(structure(format!("tensor `{out}` is computed twice")));
            }
        }
    }
    let order = order(&graph.node, &made, wanted)?;
    let guards = Guards::of(&order, &graph.node, &made, wanted);
    supported(&order, &graph.node, input, &guards)?;
    let mut readers: BTreeMap<String, usize> = BTreeMap::new();
    let read = order.iter().flat_map(|&i| reads(&graph.node[i])).chain(wanted.iter().map(String::as_str));
    for name in read {
        *readers.entry(name.to_owned()).or_default() += 1;
    }
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    let mut held: BTreeSet<String> = BTreeSet::new();
    let mut held_kinds = kinds::of_inputs(&graph.input);
    let mut room = Room::external(external);
    for proto in graph.initializer {
        let name = proto.name.clone();
        if made.contains_key(name.as_str()) || name == input {
            return Err(structure(format!("initializer `{name}` is also computed or an input")));
        }
        if !held.insert(name.clone()) {
            return Err(structure(format!("initializer `{name}` is there twice")));
        }
        if !readers.contains_key(&name) {
            continue;
        }
        held_kinds.extend(proto.data_type.map(|kind| (name.clone(), kind)));
        let value = constant(&name, decode_within(proto, external, &mut room)?);
        values.insert(name, value);
    }
    let mut importer = Importer::new(batch, readers);
    values.insert(input.to_owned(), Value::Node(importer.builder.input(input, shape.clone())?));
    let kinds = kinds::of(&order, &graph.node, held_kinds);
    let mut walk = Walk { importer, values, budget: fold::BUDGET, room, opset, external, kinds };
    for i in order {
        let node = &graph.node[i];
        if guards.holds(i) {
            let about = |reason: String| OnnxError::Node { node: title(node).into(), op: node.op_type.clone(), reason };
            let read = guards.read(i, node, &walk.values).map_err(about)?;
            walk.values.extend(read.and_then(|value| Some((node.output.first()?.clone(), value))));
            continue;
        }
        walk.node(node, 0)?;
    }
    Ok(Lowered { importer: walk.importer, values: walk.values })
}

/// Deepest nesting of branches in branches.
const MAX_DEPTH: usize = 8;

/// The way through the nodes: what has been computed so far, and what may still be used of memory.
struct Walk<'a> {
    importer: Importer,
    values: BTreeMap<String, Value>,
    budget: usize,
    room: Room,
    opset: i64,
    external: &'a ExternalData,
    kinds: BTreeMap<String, i32>,
}

impl Walk<'_> {
    /// Computes a node; `depth` is how many branches it lies in.
    fn node(&mut self, node: &NodeProto, depth: usize) -> Result<(), OnnxError> {
        let about = |reason: String| OnnxError::Node { node: title(node).into(), op: node.op_type.clone(), reason };
        let lookup = |name: &String| match self.values.get(name) {
            Some(value) => Ok(Some(value.clone())),
            None if name.is_empty() => Ok(None),
            None => Err(OnnxError::Structure {
                reason: format!("node `{}` ({}) reads `{name}`, which nothing computes", title(node), node.op_type),
            }),
        };
        let like = node.input.get(1).and_then(|name| self.kinds.get(name)).copied();
        let call = Call { node, inputs: node.input.iter().map(lookup).collect::<Result<_, _>>()?, opset: self.opset, like };
        if let Some(at) = not_a_number(&call) {
            let name = node.input.get(at).cloned().unwrap_or_default();
            return Err(OnnxError::NotANumber { node: title(node).into(), op: node.op_type.clone(), name });
        }
        let outputs = match call.tensor("value").filter(|_| call.op() == "Constant") {
            Some(proto) => match decode_within(proto.clone(), self.external, &mut self.room) {
                Ok(data) => vec![constant(call.out(), data)],
                Err(OnnxError::TooMuch { what, .. }) => return Err(OnnxError::TooMuch { name: call.out().into(), what }),
                Err(error) => return Err(about(error.to_string())),
            },
            None if call.op() == "If" => {
                let taken = call.truth().map_err(about)?;
                self.branch(node, taken, depth)?
            }
            None => convert(&mut self.importer, &call, &mut self.budget).map_err(about)?,
        };
        for (name, value) in node.output.iter().zip(outputs) {
            self.values.insert(name.clone(), value);
        }
        Ok(())
    }

    /// What the branch of an `If` gives that is taken. The other one is never looked at: it may not even fit the sizes that there are.
    fn branch(&mut self, node: &NodeProto, taken: bool, depth: usize) -> Result<Vec<Value>, OnnxError> {
        let structure = |reason: String| OnnxError::Structure { reason: format!("node `{}` (If): {reason}", title(node)) };
        if depth >= MAX_DEPTH {
            return Err(structure(format!("branches lie more than {MAX_DEPTH} deep in branches")));
        }
        let name = if taken { "then_branch" } else { "else_branch" };
        let body = node.attribute.iter().find(|a| a.name == name).and_then(|a| a.g.as_deref());
        let body = body.ok_or_else(|| structure(format!("it has no `{name}`")))?;
        let made = body.node.iter().flat_map(|inner| &inner.output).chain(body.initializer.iter().map(|held| &held.name));
        let mut own = BTreeSet::new();
        if let Some(twice) = made.filter(|name| !name.is_empty()).find(|name| self.values.contains_key(*name) || !own.insert(*name)) {
            return Err(structure(format!("tensor `{twice}` is computed twice")));
        }
        for proto in &body.initializer {
            let value = constant(&proto.name, decode_within(proto.clone(), self.external, &mut self.room)?);
            self.values.insert(proto.name.clone(), value);
        }
        for inner in &body.node {
            attributes::check(inner, self.opset)?;
            if !is_default(&inner.domain) {
                let list = vec![format!("{}.{} ({})", inner.domain, inner.op_type, title(inner))];
                return Err(OnnxError::Unsupported { list });
            }
            self.node(inner, depth + 1)?;
        }
        let given = |out: &super::pb::ValueInfoProto| {
            self.values.get(&out.name).cloned().ok_or_else(|| structure(format!("nothing computes its output `{}`", out.name)))
        };
        body.output.iter().map(given).collect()
    }
}

/// The tensors that a node reads, those that its branches take from around them included.
pub(super) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut all: Vec<&str> = node.input.iter().map(String::as_str).collect();
    let mut open: Vec<(&GraphProto, usize)> = node.attribute.iter().filter_map(|a| a.g.as_deref()).map(|body| (body, 0)).collect();
    while let Some((body, depth)) = open.pop() {
        for inner in &body.node {
            all.extend(inner.input.iter().map(String::as_str));
            if depth < MAX_DEPTH {
                open.extend(inner.attribute.iter().filter_map(|a| a.g.as_deref()).map(|body| (body, depth + 1)));
            }
        }
        all.extend(body.output.iter().map(|out| out.name.as_str()));
    }
    all
}

/// The single constant beside what the network computes that is NaN. Larger ones are weights, and are named as such on loading the model; -inf
/// stays, which masks are made of.
fn not_a_number(call: &Call) -> Option<usize> {
    let nan = |value: &Option<Value>| matches!(value, Some(Value::Float(c)) if c.array.len() == 1 && c.array.iter().any(|v| v.is_nan()));
    let computes = call.inputs.iter().flatten().any(|value| matches!(value, Value::Node(_)));
    call.inputs.iter().position(nan).filter(|_| computes)
}

fn constant(name: &str, data: Data) -> Value {
    match data {
        Data::Float(array) => Value::float(name, array),
        Data::Int(array) => Value::int(array.mapv(Size::from)),
    }
}

fn convert(importer: &mut Importer, call: &Call, budget: &mut usize) -> Result<Vec<Value>, String> {
    let training = match call.optional(2) {
        Some(Value::Int(a)) => a.iter().any(|s| *s != Size::from(0)),
        other => other.is_some(),
    };
    if call.op() == "Dropout" && training {
        return Err("it is in training mode: export the model after `model.eval()`".into());
    }
    if matches!(call.op(), "Identity" | "Dropout") {
        return Ok(vec![call.input(0)?.clone()]);
    }
    if let Some(begun) = token_major::begun(importer, call)? {
        return Ok(begun);
    }
    match token_major::converted(importer, call, |importer| plainly(importer, call, budget))? {
        Some(converted) => Ok(converted),
        None => plainly(importer, call, budget),
    }
}

fn plainly(importer: &mut Importer, call: &Call, budget: &mut usize) -> Result<Vec<Value>, String> {
    if let Some(folded) = spread::fold(importer, call, budget)? {
        return Ok(folded);
    }
    let laid = spread::laid(importer, call)?;
    let call = laid.as_ref().unwrap_or(call);
    let constant = !call.inputs.iter().flatten().any(|v| matches!(v, Value::Node(_)));
    if constant && let Some(folded) = fold::fold(call, budget)? {
        return Ok(folded);
    }
    lower::lower(importer, call)
}

/// The nodes that the wanted tensors need, inputs before users, in the file's order where that is one.
fn order(nodes: &[NodeProto], made: &BTreeMap<&str, usize>, wanted: &[String]) -> Result<Vec<usize>, OnnxError> {
    let mut needed = vec![false; nodes.len()];
    let mut open: VecDeque<usize> = wanted.iter().filter_map(|w| made.get(w.as_str()).copied()).collect();
    while let Some(i) = open.pop_front() {
        if !std::mem::replace(&mut needed[i], true) {
            open.extend(reads(&nodes[i]).into_iter().filter_map(|name| made.get(name).copied()));
        }
    }
    let mut waiting = vec![0usize; nodes.len()];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate().filter(|(i, _)| needed[*i]) {
        for before in reads(node).into_iter().filter_map(|name| made.get(name).copied()) {
            users[before].push(i);
            waiting[i] += 1;
        }
    }
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|&i| needed[i] && waiting[i] == 0).collect();
    let mut out = Vec::new();
    while let Some(i) = ready.pop_first() {
        out.push(i);
        for &user in &users[i] {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.insert(user);
            }
        }
    }
    match (0..nodes.len()).find(|&i| needed[i] && waiting[i] > 0) {
        Some(i) => Err(OnnxError::Structure {
            reason: format!("node `{}` ({}) needs its own output: the graph has a cycle", title(&nodes[i]), nodes[i].op_type),
        }),
        None => Ok(out),
    }
}

/// Every operator that is not understood, in one error.
fn supported(order: &[usize], nodes: &[NodeProto], input: &str, guards: &Guards) -> Result<(), OnnxError> {
    let mut unknown: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut depends = BTreeSet::from([input]);
    for (i, node) in order.iter().map(|&i| (i, &nodes[i])) {
        let op = node.op_type.as_str();
        let from_input = !matches!(op, "Shape" | "Size") && reads(node).iter().any(|name| depends.contains(name));
        if from_input {
            // An output left out has no name, as an input left out.
            depends.extend(node.output.iter().map(String::as_str).filter(|name| !name.is_empty()));
        }
        if guards.holds(i) {
            continue;
        }
        if !is_default(&node.domain) {
            unknown.entry(format!("{}.{op}", node.domain)).or_default().push(title(node));
        } else if from_input && ON_CONSTANTS.contains(&op) {
            unknown.entry(format!("{op}, on what depends on the image")).or_default().push(title(node));
        } else if op == "If" && !node.input.iter().any(|name| depends.contains(name.as_str())) {
            // Which branch is taken is known when the file is read.
        } else if !OPERATORS.contains(&op) && !ON_CONSTANTS.contains(&op) {
            let what = match op {
                "If" | "Loop" | "Scan" => format!("{op}, control flow"),
                op if op.to_lowercase().contains("quantize") || op.contains("Integer") || op.starts_with("QLinear") => {
                    format!("{op}, quantised")
                }
                op => op.to_owned(),
            };
            unknown.entry(what).or_default().push(title(node));
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    // A quantised network has hundreds of them.
    let some = |at: &[&str]| match at.get(NAMED..) {
        Some(rest @ [_, ..]) => format!("{} and {} more", at[..NAMED].join(", "), rest.len()),
        _ => at.join(", "),
    };
    Err(OnnxError::Unsupported { list: unknown.into_iter().map(|(op, at)| format!("{op} ({})", some(&at))).collect() })
}

/// Nodes of an unsupported operator that are named.
const NAMED: usize = 3;

#[rustfmt::skip]
pub(super) const OPERATORS: &[&str] = &[
    "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "CastLike", "Celu", "Clip", "Col2Im", "Concat", "Constant", "Conv", "ConvTranspose", "DepthToSpace",
    "Div", "Dropout", "Einsum", "Elu", "Erf", "Exp", "Expand", "Flatten", "Gather", "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
    "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu", "Log",
    "LogSoftmax", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mish", "Mul", "Neg", "PRelu", "Pad", "Pow", "Reciprocal", "ReduceL1",
    "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "Selu", "Shape", "Sigmoid",
    "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Swish", "Tanh", "Tile",
    "Transpose", "Unsqueeze", "Upsample",
];

/// Operators of shape arithmetic: computed at import, never on an image.
#[rustfmt::skip]
pub(super) const ON_CONSTANTS: &[&str] = &[
    "And", "Ceil", "ConstantOfShape", "Cos", "CumSum", "Equal", "Floor", "Greater", "GreaterOrEqual", "IsNaN", "Less", "LessOrEqual", "Mod",
    "NonZero", "Not", "Or", "Range", "ReduceProd", "Round", "ScatterElements", "ScatterND", "Sign", "Sin", "Where", "Xor",
];
