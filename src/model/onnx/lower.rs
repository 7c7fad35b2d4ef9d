//! The operators of a network, one by one, as operators of the graph.

use super::call::{Call, Result, axes, axis, floats, widen};
use super::fold;
use super::import::Importer;
use super::shapes;
use super::value::{Const, Size, Value};
use crate::graph::{Binary, Dim, NodeId, Op, Reduce, Shape, Unary, Window};

/// The outputs of a node that depends on the input.
pub(super) fn lower(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let mut lower = Lower { importer, call };
    if let Some(function) = unary(call)? {
        let x = lower.node(0)?;
        return lower.last(Op::Unary(function), &[x]);
    }
    lower.one()
}

fn unary(call: &Call) -> Result<Option<Unary>> {
    let float = |name: &str, default: f64| call.float(name).unwrap_or(default);
    Ok(Some(match call.op() {
        "Relu" => Unary::Relu,
        "LeakyRelu" => Unary::LeakyRelu(float("alpha", 0.01)),
        "Elu" => Unary::Elu(float("alpha", 1.0)),
        "Clip" => {
            Unary::Clip { min: call.scalar(1, "min")?.unwrap_or(f64::NEG_INFINITY), max: call.scalar(2, "max")?.unwrap_or(f64::INFINITY) }
        }
        "Sigmoid" => Unary::Sigmoid,
        "HardSigmoid" => Unary::HardSigmoid { alpha: float("alpha", 0.2), beta: float("beta", 0.5) },
        "HardSwish" => Unary::HardSwish,
        "Tanh" => Unary::Tanh,
        "Gelu" => Unary::Gelu { tanh: call.text("approximate") == Some("tanh") },
        "Erf" => Unary::Erf,
        "Softplus" => Unary::Softplus,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Neg" => Unary::Neg,
        "Abs" => Unary::Abs,
        "Reciprocal" => Unary::Reciprocal,
        "Pow" => Unary::Pow(call.scalar(1, "exponent")?.ok_or("the exponent is missing")?),
        _ => return Ok(None),
    }))
}

struct Lower<'a, 'b> {
    importer: &'a mut Importer,
    call: &'a Call<'b>,
}

impl Lower<'_, '_> {
    fn one(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        match call.op() {
            "Cast" | "CastLike" => {
                let to = call.int("to").unwrap_or(1) as i32;
                if !super::tensor::is_float(to) && call.op() == "Cast" {
                    return Err(format!("it turns the network's numbers into type {to}; only float types are supported"));
                }
                Ok(vec![call.input(0)?.clone()])
            }
            "Shape" | "Size" => {
                let x = self.node(0)?;
                Ok(vec![fold::shape_value(call, &fold::sizes(self.importer.builder.shape(x)))?])
            }
            "Reshape" => {
                let x = self.shape(0)?;
                let target = call.sizes(1, "shape")?.ok_or("no shape is given")?;
                let shape = shapes::reshape(&x, &target, call.int("allowzero") == Some(1), self.importer.batch)?;
                self.reshaped(shape)
            }
            "Flatten" => {
                let shape = shapes::flatten(call, &self.shape(0)?)?;
                self.reshaped(shape)
            }
            "Squeeze" => {
                let shape = shapes::squeeze(call, &self.shape(0)?)?;
                self.reshaped(shape)
            }
            "Unsqueeze" => {
                let shape = shapes::unsqueeze(call, &self.shape(0)?)?;
                self.reshaped(shape)
            }
            "Expand" => {
                let x = self.node(0)?;
                let target = call.sizes(1, "shape")?.ok_or("no shape is given")?;
                let shape = shapes::expand(&self.shape(0)?, &target, self.importer.batch)?;
                self.expand(x, shape)
            }
            "Transpose" => {
                let x = self.node(0)?;
                let perm = shapes::perm(call, self.shape(0)?.rank())?;
                self.last(Op::Transpose { perm }, &[x])
            }
            "Slice" => self.slice(),
            "Split" => self.split(),
            "Gather" => self.gather(),
            "Concat" => self.concat(),
            "Pad" => self.pad(),
            "Conv" => self.conv(),
            "MaxPool" | "AveragePool" => self.pool(),
            "GlobalAveragePool" | "GlobalMaxPool" => {
                let x = self.node(0)?;
                let kind = if call.op() == "GlobalMaxPool" { Reduce::Max } else { Reduce::Mean };
                let axes = (2..self.shape(0)?.rank()).collect();
                self.last(Op::Reduce { kind, axes, keep: true }, &[x])
            }
            "BatchNormalization" => self.batch_norm(),
            "LayerNormalization" => self.layer_norm(),
            "InstanceNormalization" => self.instance_norm(),
            "LRN" => {
                let x = self.node(0)?;
                let size = call.int("size").and_then(|s| usize::try_from(s).ok()).ok_or("the size is missing")?;
                let float = |name: &str, default: f64| call.float(name).unwrap_or(default);
                self.last(Op::Lrn { size, alpha: float("alpha", 1e-4), beta: float("beta", 0.75), bias: float("bias", 1.0) }, &[x])
            }
            "Gemm" => self.gemm(),
            "MatMul" => self.matmul(),
            "Softmax" | "LogSoftmax" => self.softmax(),
            "Add" | "Sub" | "Mul" | "Div" => self.binary(),
            "Sum" | "Mean" | "Max" | "Min" => self.several(),
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceL2" | "ReduceSumSquare" => self.reduce(),
            "PRelu" => {
                let (x, slope) = (self.node(0)?, self.node(1)?);
                let positive = self.add("relu", Op::Unary(Unary::Relu), &[x])?;
                let negative = self.add("negative", Op::Binary(Binary::Sub), &[x, positive])?;
                let sloped = self.add("sloped", Op::Binary(Binary::Mul), &[negative, slope])?;
                self.last(Op::Binary(Binary::Add), &[positive, sloped])
            }
            "Selu" => {
                let x = self.node(0)?;
                let elu = self.add("elu", Op::Unary(Unary::Elu(call.float("alpha").unwrap_or(1.673_263_242_354_377_2))), &[x])?;
                let scale = call.float("gamma").unwrap_or(1.050_700_987_355_480_5);
                self.last(Op::Unary(Unary::Affine { scale, shift: 0.0 }), &[elu])
            }
            "Softsign" => {
                let x = self.node(0)?;
                let size = self.add("abs", Op::Unary(Unary::Abs), &[x])?;
                let below = self.add("below", Op::Unary(Unary::Affine { scale: 1.0, shift: 1.0 }), &[size])?;
                self.last(Op::Binary(Binary::Div), &[x, below])
            }
            "Mish" => {
                let x = self.node(0)?;
                let soft = self.add("softplus", Op::Unary(Unary::Softplus), &[x])?;
                let tanh = self.add("tanh", Op::Unary(Unary::Tanh), &[soft])?;
                self.last(Op::Binary(Binary::Mul), &[x, tanh])
            }
            _ => Err("it is supported on constants only, and here it depends on the input".into()),
        }
    }

    /// Input `i` as a node; constants become parameters.
    fn node(&mut self, i: usize) -> Result<NodeId> {
        let value = self.call.input(i)?.clone();
        self.as_node(&value)
    }

    fn as_node(&mut self, value: &Value) -> Result<NodeId> {
        match value {
            Value::Node(id) => Ok(*id),
            constant => {
                let c = floats(constant, self.call.out())?;
                self.importer.param(&c)
            }
        }
    }

    fn shape(&mut self, i: usize) -> Result<Shape> {
        let x = self.node(i)?;
        Ok(self.importer.builder.shape(x).clone())
    }

    fn add(&mut self, step: &str, op: Op, inputs: &[NodeId]) -> Result<NodeId> {
        let name = format!("{}/{step}", self.call.out());
        self.importer.builder.add(&name, op, inputs).map_err(|e| e.to_string())
    }

    fn named(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> Result<Value> {
        self.importer.builder.add(name, op, inputs).map(Value::Node).map_err(|e| e.to_string())
    }

    fn last(&mut self, op: Op, inputs: &[NodeId]) -> Result<Vec<Value>> {
        Ok(vec![self.named(self.call.out(), op, inputs)?])
    }

    fn reshaped(&mut self, shape: Shape) -> Result<Vec<Value>> {
        let x = self.node(0)?;
        self.last(Op::Reshape { shape }, &[x])
    }

    fn expand(&mut self, x: NodeId, shape: Shape) -> Result<Vec<Value>> {
        let from = self.importer.builder.shape(x).clone();
        if from == shape {
            return Ok(vec![Value::Node(x)]);
        }
        self.last(Op::Expand { shape }, &[x])
    }

    fn slice(&mut self) -> Result<Vec<Value>> {
        let mut x = self.node(0)?;
        let ranges = shapes::slices(self.call, &self.shape(0)?)?;
        let last = ranges.len().saturating_sub(1);
        for (i, range) in ranges.iter().enumerate() {
            let op = if range.step > 0 {
                Op::Slice { axis: range.axis, start: range.start as usize, end: range.end as usize, step: range.step as usize }
            } else {
                Op::Select { axis: range.axis, indices: range.indices() }
            };
            let name = if i == last { self.call.out().to_owned() } else { format!("{}/axis{}", self.call.out(), range.axis) };
            x = self.importer.builder.add(&name, op, &[x]).map_err(|e| e.to_string())?;
        }
        Ok(vec![Value::Node(x)])
    }

    fn split(&mut self) -> Result<Vec<Value>> {
        let x = self.node(0)?;
        let (axis, parts) = shapes::split(self.call, &self.shape(0)?)?;
        let part = |(i, &(start, end)): (usize, &(usize, usize))| {
            self.named(self.call.output_name(i), Op::Slice { axis, start, end, step: 1 }, &[x])
        };
        parts.iter().enumerate().map(part).collect()
    }

    fn gather(&mut self) -> Result<Vec<Value>> {
        let x = self.node(0)?;
        let shape = self.shape(0)?;
        let at = axis(self.call.int("axis").unwrap_or(0), shape.rank())?;
        let size = shape.known(at).ok_or("it picks from the batch")?;
        let (indices, given) = shapes::indices(self.call.input(1)?, size)?;
        let op = Op::Select { axis: at, indices };
        if given.len() == 1 {
            return self.last(op, &[x]);
        }
        let picked = self.add("select", op, &[x])?;
        let mut dims = shape.0;
        dims.splice(at..=at, given.into_iter().map(Dim::Fixed));
        self.last(Op::Reshape { shape: Shape(dims) }, &[picked])
    }

    fn concat(&mut self) -> Result<Vec<Value>> {
        let given: Vec<Value> = self.call.inputs.iter().flatten().cloned().collect();
        let mut nodes = given.iter().map(|v| self.as_node(v)).collect::<Result<Vec<_>>>()?;
        let shapes: Vec<Shape> = nodes.iter().map(|n| self.importer.builder.shape(*n).clone()).collect();
        let first = shapes.first().ok_or("it has no inputs")?;
        let at = axis(self.call.int("axis").unwrap_or(1), first.rank())?;
        // A token of batch 1 beside a batch (files exported with a batch of 1) is repeated.
        let batched = (0..first.rank()).find(|&i| i != at && shapes.iter().any(|s| s.0.get(i) == Some(&Dim::Batch(1))));
        if let Some(i) = batched {
            for (node, shape) in nodes.iter_mut().zip(&shapes).filter(|(_, s)| s.0.get(i) == Some(&Dim::Fixed(1))) {
                let mut to = shape.clone();
                to.0[i] = Dim::Batch(1);
                *node = self.add("expand", Op::Expand { shape: to }, &[*node])?;
            }
        }
        self.last(Op::Concat { axis: at }, &nodes)
    }

    fn pad(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        if let Some(mode) = call.text("mode").filter(|m| *m != "constant") {
            return Err(format!("padding mode `{mode}` is not supported"));
        }
        let x = self.node(0)?;
        let rank = self.shape(0)?.rank();
        let given = call.known(1, "pads")?.ok_or("no pads are given")?;
        let over = match call.known(3, "axes")? {
            Some(list) => list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>>>()?,
            None => (0..rank).collect(),
        };
        if given.len() != 2 * over.len() {
            return Err(format!("{} pads for {} axes", given.len(), over.len()));
        }
        let value = call.scalar(2, "value")?.unwrap_or(0.0);
        let mut pads = vec![(0, 0); rank];
        let size = |p: i64| usize::try_from(p).ok().filter(|p| *p < 1 << 20).ok_or_else(|| format!("a pad of {p} is not supported"));
        for (i, &at) in over.iter().enumerate() {
            pads[at] = (size(given[i])?, size(given[i + over.len()])?);
        }
        if pads.iter().all(|p| *p == (0, 0)) {
            return Ok(vec![Value::Node(x)]);
        }
        self.last(Op::Pad { pads, value }, &[x])
    }

    /// Kernel, strides, dilations and padding, `auto_pad` resolved.
    fn window(&mut self, kernel: [usize; 2]) -> Result<Window> {
        let call = self.call;
        let two = |name: &str| match call.ints(name) {
            Some(&[a, b]) if (1..1 << 16).contains(&a) && (1..1 << 16).contains(&b) => Ok([a as usize, b as usize]),
            None | Some([]) => Ok([1, 1]),
            Some(other) => Err(format!("`{name}` is {other:?}: two sizes of at least 1 are needed")),
        };
        let (stride, dilation) = (two("strides")?, two("dilations")?);
        let mut pads = match call.ints("pads") {
            Some(&[a, b, c, d]) if [a, b, c, d].iter().all(|p| (0..1 << 16).contains(p)) => [a, b, c, d].map(|p| p as usize),
            None | Some([]) => [0; 4],
            Some(other) => return Err(format!("`pads` is {other:?}: four sizes of at least 0 are needed")),
        };
        let shape = self.shape(0)?;
        match call.text("auto_pad") {
            None | Some("NOTSET" | "") => {}
            Some("VALID") => pads = [0; 4],
            Some(mode @ ("SAME_UPPER" | "SAME_LOWER")) => {
                for i in 0..2 {
                    let size = shape.known(i + 2).ok_or("the input must be [N, C, height, width]")?;
                    let reach = dilation[i] * kernel[i].saturating_sub(1) + 1;
                    let total = ((size.div_ceil(stride[i])).saturating_sub(1) * stride[i] + reach).saturating_sub(size);
                    let less = total / 2;
                    (pads[i], pads[i + 2]) = if mode == "SAME_UPPER" { (less, total - less) } else { (total - less, less) };
                }
            }
            Some(mode) => return Err(format!("`auto_pad` is `{mode}`")),
        }
        Ok(Window { kernel, stride, pads, dilation })
    }

    fn conv(&mut self) -> Result<Vec<Value>> {
        let (x, weight) = (self.node(0)?, self.node(1)?);
        let shape = self.shape(1)?;
        let [_, _, Dim::Fixed(h), Dim::Fixed(w)] = shape.0[..] else {
            return Err(format!("its weight is {shape}: convolutions over pictures have [out, in, height, width]"));
        };
        let window = self.window([h, w])?;
        let groups = usize::try_from(self.call.int("group").unwrap_or(1)).map_err(|_| "`group` is negative")?;
        let mut inputs = vec![x, weight];
        if self.call.optional(2).is_some() {
            inputs.push(self.node(2)?);
        }
        self.last(Op::Conv2d { window, groups }, &inputs)
    }

    fn pool(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let kernel = match call.ints("kernel_shape") {
            Some(&[a, b]) if (1..1 << 16).contains(&a) && (1..1 << 16).contains(&b) => [a as usize, b as usize],
            other => return Err(format!("`kernel_shape` is {other:?}: two sizes are needed")),
        };
        let mut window = self.window(kernel)?;
        let shape = self.shape(0)?;
        let mut x = self.node(0)?;
        let mut count = call.int("count_include_pad") == Some(1);
        let mut extra = [0; 2];
        if call.int("ceil_mode") == Some(1) {
            for i in 0..2 {
                let size = shape.known(i + 2).ok_or("the input must be [N, C, height, width]")?;
                let (before, after) = (window.pads[i], window.pads[i + 2]);
                let reach = window.dilation[i] * (kernel[i] - 1) + 1;
                let free = (size + before + after).checked_sub(reach).ok_or("the window is larger than the picture")?;
                let mut steps = free.div_ceil(window.stride[i]);
                // A window that would begin beyond the picture and its leading pad is dropped.
                if steps > 0 && steps * window.stride[i] >= size + before {
                    steps -= 1;
                }
                extra[i] = (steps * window.stride[i]).saturating_sub(free);
            }
        }
        if call.op() == "AveragePool" && count && extra != [0; 2] {
            // The file's own pads count in the divisor, those of the ceiling do not: the former become part of the picture.
            let [top, left, bottom, right] = window.pads;
            x = self.add("pad", Op::Pad { pads: vec![(0, 0), (0, 0), (top, bottom), (left, right)], value: 0.0 }, &[x])?;
            window.pads = [0; 4];
            count = false;
        }
        window.pads[2] += extra[0];
        window.pads[3] += extra[1];
        let op = if call.op() == "MaxPool" { Op::MaxPool(window) } else { Op::AvgPool { window, count_include_pad: count } };
        self.last(op, &[x])
    }

    fn batch_norm(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        if call.int("training_mode") == Some(1) {
            return Err("it is in training mode: export the model after `model.eval()`".into());
        }
        if call.opset < 9 && call.int("spatial") == Some(0) {
            return Err("normalisation per position (`spatial` 0) is not supported".into());
        }
        let inputs = (0..5).map(|i| self.node(i)).collect::<Result<Vec<_>>>()?;
        let momentum = 1.0 - call.float("momentum").unwrap_or(0.9);
        // 1 - 0.9 is 0.1 to the digits a file can hold.
        let momentum = (momentum * 1e6).round() / 1e6;
        self.last(Op::BatchNorm { eps: call.float("epsilon").unwrap_or(1e-5), momentum }, &inputs)
    }

    fn layer_norm(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let at = axis(call.int("axis").unwrap_or(-1), self.shape(0)?.rank())?;
        let mut inputs = vec![self.node(0)?];
        for i in 1..3 {
            if call.optional(i).is_some() {
                inputs.push(self.node(i)?);
            }
        }
        self.last(Op::LayerNorm { axis: at, eps: call.float("epsilon").unwrap_or(1e-5) }, &inputs)
    }

    fn instance_norm(&mut self) -> Result<Vec<Value>> {
        let x = self.node(0)?;
        let rank = self.shape(0)?.rank();
        let norm = self.add("norm", Op::LayerNorm { axis: 2, eps: self.call.float("epsilon").unwrap_or(1e-5) }, &[x])?;
        let per_channel = |lower: &mut Self, i: usize| {
            let p = lower.node(i)?;
            let mut dims = lower.shape(i)?.0;
            dims.resize(rank.saturating_sub(1), Dim::Fixed(1));
            lower.add("channels", Op::Reshape { shape: Shape(dims) }, &[p])
        };
        let scale = per_channel(self, 1)?;
        let scaled = self.add("scaled", Op::Binary(Binary::Mul), &[norm, scale])?;
        let shift = per_channel(self, 2)?;
        self.last(Op::Binary(Binary::Add), &[scaled, shift])
    }

    fn flipped(&mut self, i: usize) -> Result<NodeId> {
        let x = self.node(i)?;
        self.add("transpose", Op::Transpose { perm: vec![1, 0] }, &[x])
    }

    fn gemm(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let factor = |name: &str| call.float(name).unwrap_or(1.0);
        let (alpha, beta) = (factor("alpha"), factor("beta"));
        let flag = |name: &str| call.int(name).unwrap_or(0) != 0;
        let x = if flag("transA") { self.flipped(0)? } else { self.node(0)? };
        let weight = match (call.input(1)?, flag("transB")) {
            (Value::Float(c), false) if c.array.ndim() == 2 => self.importer.transposed(c)?,
            (_, true) => self.node(1)?,
            _ => self.flipped(1)?,
        };
        let width = self.importer.builder.shape(weight).known(0);
        let bias = match call.optional(2) {
            Some(Value::Float(c)) if Some(c.array.len()) == width && beta == 1.0 && alpha == 1.0 && c.array.ndim() <= 2 => {
                let flat = self.flat(c)?;
                return self.last(Op::Linear, &[x, weight, flat]);
            }
            Some(_) => Some(self.node(2)?),
            None => None,
        };
        if alpha == 1.0 && bias.is_none() {
            return self.last(Op::Linear, &[x, weight]);
        }
        let product = self.add("product", Op::Linear, &[x, weight])?;
        let scaled = |by: f64| Op::Unary(Unary::Affine { scale: by, shift: 0.0 });
        let Some(bias) = bias else { return self.last(scaled(alpha), &[product]) };
        let product = if alpha == 1.0 { product } else { self.add("alpha", scaled(alpha), &[product])? };
        let bias = if beta == 1.0 { bias } else { self.add("beta", scaled(beta), &[bias])? };
        self.last(Op::Binary(Binary::Add), &[product, bias])
    }

    /// A bias of one axis.
    fn flat(&mut self, c: &Const) -> Result<NodeId> {
        let param = self.importer.param(c)?;
        if c.array.ndim() == 1 {
            return Ok(param);
        }
        self.add("bias", Op::Reshape { shape: Shape::fixed(&[c.array.len()]) }, &[param])
    }

    fn matmul(&mut self) -> Result<Vec<Value>> {
        if let (Value::Node(x), Value::Float(c)) = (self.call.input(0)?, self.call.input(1)?)
            && c.array.ndim() == 2
        {
            let (x, weight) = (*x, self.importer.transposed(c)?);
            return self.last(Op::Linear, &[x, weight]);
        }
        let (a, b) = (self.node(0)?, self.node(1)?);
        self.last(Op::MatMul, &[a, b])
    }

    fn softmax(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let mut x = self.node(0)?;
        let shape = self.shape(0)?;
        let rank = shape.rank();
        let at = axis(call.int("axis").unwrap_or(if call.opset < 13 { 1 } else { -1 }), rank)?;
        // Before operator set 13 everything from the axis on is one axis.
        let merged = call.opset < 13 && at + 1 < rank;
        if merged {
            let mut dims = shape.0[..at].to_vec();
            dims.push(shapes::product(&shape.0[at..])?);
            x = self.add("merged", Op::Reshape { shape: Shape(dims) }, &[x])?;
        }
        let out = if call.op() == "Softmax" {
            if !merged {
                return self.last(Op::Softmax { axis: at }, &[x]);
            }
            self.add("softmax", Op::Softmax { axis: at }, &[x])?
        } else {
            let over = |kind: Reduce| Op::Reduce { kind, axes: vec![at], keep: true };
            let top = self.add("top", over(Reduce::Max), &[x])?;
            let below = self.add("below", Op::Binary(Binary::Sub), &[x, top])?;
            let exp = self.add("exp", Op::Unary(Unary::Exp), &[below])?;
            let sum = self.add("sum", over(Reduce::Sum), &[exp])?;
            let log = self.add("log", Op::Unary(Unary::Log), &[sum])?;
            if !merged {
                return self.last(Op::Binary(Binary::Sub), &[below, log]);
            }
            self.add("logs", Op::Binary(Binary::Sub), &[below, log])?
        };
        self.last(Op::Reshape { shape }, &[out])
    }

    /// The one number of a constant that does not widen the other side.
    fn lone(&mut self, i: usize, other: usize) -> Result<Option<f64>> {
        let rank = self.shape(other)?.rank();
        Ok(match self.call.input(i)? {
            Value::Float(c) if c.array.len() == 1 && c.array.ndim() <= rank => c.array.first().copied().map(widen),
            Value::Int(a) if a.len() == 1 && a.ndim() <= rank => a.first().and_then(|s: &Size| s.known()).map(|x| x as f64),
            _ => None,
        })
    }

    fn binary(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let affine = |scale: f64, shift: f64| Op::Unary(Unary::Affine { scale, shift });
        if let (Value::Node(x), Some(c)) = (call.input(0)?.clone(), self.lone(1, 0)?) {
            let op = match call.op() {
                "Add" => affine(1.0, c),
                "Sub" => affine(1.0, -c),
                "Mul" => affine(c, 0.0),
                _ => affine(1.0 / c, 0.0),
            };
            return self.last(op, &[x]);
        }
        if let (Some(c), Value::Node(x)) = (self.lone(0, 1)?, call.input(1)?.clone()) {
            let op = match call.op() {
                "Add" => affine(1.0, c),
                "Sub" => affine(-1.0, c),
                "Mul" => affine(c, 0.0),
                _ => {
                    let inverse = self.add("inverse", Op::Unary(Unary::Reciprocal), &[x])?;
                    return self.last(affine(c, 0.0), &[inverse]);
                }
            };
            return self.last(op, &[x]);
        }
        if call.op() == "Add" {
            for (i, j) in [(0, 1), (1, 0)] {
                if let Some(fused) = self.biased(i, j)? {
                    return Ok(fused);
                }
            }
        }
        let (a, b) = (self.node(0)?, self.node(1)?);
        let kind = match call.op() {
            "Add" => Binary::Add,
            "Sub" => Binary::Sub,
            "Mul" => Binary::Mul,
            _ => Binary::Div,
        };
        self.last(Op::Binary(kind), &[a, b])
    }

    /// A linear layer read only here, plus a constant vector: the layer with a bias.
    fn biased(&mut self, x: usize, bias: usize) -> Result<Option<Vec<Value>>> {
        let (Value::Node(product), Value::Float(c)) = (self.call.input(x)?.clone(), self.call.input(bias)?.clone()) else {
            return Ok(None);
        };
        let alone = self.call.node.input.get(x).and_then(|name| self.importer.readers.get(name)) == Some(&1);
        let node = self.importer.builder.node(product);
        let fits = node.op == Op::Linear
            && node.inputs.len() == 2
            && c.array.ndim() == 1
            && node.shape.0.last() == Some(&Dim::Fixed(c.array.len()));
        if !(alone && fits) {
            return Ok(None);
        }
        let mut inputs = node.inputs.clone();
        inputs.push(self.importer.param(&c)?);
        self.last(Op::Linear, &inputs).map(Some)
    }

    fn several(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let count = call.inputs.len();
        if matches!(call.op(), "Max" | "Min") && count == 2 {
            for (i, j) in [(0, 1), (1, 0)] {
                if let (Value::Node(x), Some(c)) = (call.input(i)?.clone(), self.lone(j, i)?) {
                    let (min, max) = if call.op() == "Max" { (c, f64::INFINITY) } else { (f64::NEG_INFINITY, c) };
                    return self.last(Op::Unary(Unary::Clip { min, max }), &[x]);
                }
            }
        }
        let mut total = self.node(0)?;
        for i in 1..count {
            let b = self.node(i)?;
            total = match call.op() {
                // max(a, b) = a + relu(b - a), min(a, b) = a - relu(a - b)
                "Max" | "Min" => {
                    let (from, less, join) = if call.op() == "Max" { (b, total, Binary::Add) } else { (total, b, Binary::Sub) };
                    let gap = self.add("gap", Op::Binary(Binary::Sub), &[from, less])?;
                    let over = self.add("over", Op::Unary(Unary::Relu), &[gap])?;
                    self.add(&format!("joined{i}"), Op::Binary(join), &[total, over])?
                }
                "Sum" if i + 1 == count => return self.last(Op::Binary(Binary::Add), &[total, b]),
                _ => self.add(&format!("sum{i}"), Op::Binary(Binary::Add), &[total, b])?,
            };
        }
        if call.op() == "Mean" {
            return self.last(Op::Unary(Unary::Affine { scale: 1.0 / count as f64, shift: 0.0 }), &[total]);
        }
        Ok(vec![Value::Node(total)])
    }

    fn reduce(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let mut x = self.node(0)?;
        let rank = self.shape(0)?.rank();
        let over = match call.known(1, "axes")? {
            Some(list) if !list.is_empty() => axes(&list, rank)?,
            _ if call.int("noop_with_empty_axes") == Some(1) => return Ok(vec![Value::Node(x)]),
            _ => (0..rank).collect(),
        };
        if over.iter().any(|&a| self.importer.builder.shape(x).known(a).is_none()) {
            return Err("it reduces over the batch, which would mix pictures".into());
        }
        let kind = match call.op() {
            "ReduceMean" => Reduce::Mean,
            "ReduceMax" => Reduce::Max,
            _ => Reduce::Sum,
        };
        let op = Op::Reduce { kind, axes: over, keep: call.int("keepdims").unwrap_or(1) != 0 };
        if matches!(call.op(), "ReduceL2" | "ReduceSumSquare") {
            x = self.add("square", Op::Unary(Unary::Pow(2.0)), &[x])?;
        }
        if call.op() == "ReduceL2" {
            let sum = self.add("sum", op, &[x])?;
            return self.last(Op::Unary(Unary::Sqrt), &[sum]);
        }
        self.last(op, &[x])
    }
}
