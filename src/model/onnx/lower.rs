//! The operators of a network, one by one, as operators of the graph.
//!
//! Files: here what is said in a line or two, beside it `layout`, `window`, `overlap`, `norm`, `matrix`, `einsum` and `arithmetic`.

mod arithmetic;
mod einsum;
mod layout;
mod matrix;
mod norm;
mod overlap;
mod window;

use super::call::{Call, Result, floats};
use super::fold;
use super::importer::Importer;
use super::shapes;
use super::value::Value;
use crate::graph::{Binary, NodeId, Op, Reduce, Shape, Unary};

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
        "Gelu" => match call.text("approximate") {
            None | Some("none") => Unary::Gelu { tanh: false },
            Some("tanh") => Unary::Gelu { tanh: true },
            Some(other) => return Err(format!("`approximate` is `{other}`: it must be `none` or `tanh`")),
        },
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

/// Whether a batch norm uses the statistics of what enters it. Before operator set 14 the sign of it is that statistics leave it.
pub(super) fn trains_batch_norm(call: &Call) -> bool {
    let more = call.node.output.iter().skip(1).any(|name| !name.is_empty());
    if call.opset < 14 { more } else { call.int("training_mode") == Some(1) }
}

fn scaled(scale: f64) -> Op {
    Op::Unary(Unary::Affine { scale, shift: 0.0 })
}

struct Lower<'a, 'b> {
    importer: &'a mut Importer,
    call: &'a Call<'b>,
}

impl Lower<'_, '_> {
    #[expect(clippy::float_cmp, reason = "1 is the file's own or the default, not computed")]
    fn one(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        match call.op() {
            "Cast" | "CastLike" => {
                let to = call.cast_to()?;
                if !super::tensor::is_float(to) {
                    return Err(format!("it turns the network's numbers into type {to}; only float types are supported"));
                }
                match super::tensor::sixteen(to) {
                    Some(kind) => {
                        let x = self.node(0)?;
                        self.last(Op::Unary(Unary::Round(kind)), &[x])
                    }
                    None => Ok(vec![call.input(0)?.clone()]),
                }
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
            "Tile" => self.tile(),
            "DepthToSpace" | "SpaceToDepth" => self.space(),
            "Gather" => self.gather(),
            "GatherND" => self.gather_nd(),
            "Concat" => self.concat(),
            "Pad" => self.pad(),
            "Conv" => self.conv(),
            "ConvTranspose" => self.conv_transpose(),
            "Col2Im" => self.col2im(),
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
            "GroupNormalization" => self.group_norm(),
            "LRN" => {
                let x = self.node(0)?;
                let size = call.int("size").and_then(|s| usize::try_from(s).ok()).ok_or("the size is missing")?;
                let float = |name: &str, default: f64| call.float(name).unwrap_or(default);
                self.last(Op::Lrn { size, alpha: float("alpha", 1e-4), beta: float("beta", 0.75), bias: float("bias", 1.0) }, &[x])
            }
            "Gemm" => self.gemm(),
            "MatMul" => self.matmul(),
            "Einsum" => self.einsum(),
            "Resize" | "Upsample" => self.resize(),
            "Softmax" | "LogSoftmax" => self.softmax(),
            "Add" | "Sub" | "Mul" | "Div" => self.binary(),
            "Sum" | "Mean" | "Max" | "Min" => self.several(),
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare" => self.reduce(),
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
                self.last(scaled(call.float("gamma").unwrap_or(1.050_700_987_355_480_5)), &[elu])
            }
            "Celu" => {
                let (x, alpha) = (self.node(0)?, call.float("alpha").unwrap_or(1.0));
                if alpha <= 0.0 {
                    return Err(format!("`alpha` is {alpha}: it must be positive"));
                }
                let inner = self.add("inner", scaled(1.0 / alpha), &[x])?;
                let elu = self.add("elu", Op::Unary(Unary::Elu(1.0)), &[inner])?;
                self.last(scaled(alpha), &[elu])
            }
            "Swish" => {
                let (x, alpha) = (self.node(0)?, call.float("alpha").unwrap_or(1.0));
                if alpha == 1.0 {
                    return self.last(Op::Unary(Unary::Silu), &[x]);
                }
                let inner = self.add("inner", scaled(alpha), &[x])?;
                let gate = self.add("gate", Op::Unary(Unary::Sigmoid), &[inner])?;
                self.last(Op::Binary(Binary::Mul), &[x, gate])
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
        self.importer.add(&name, op, inputs)
    }

    fn named(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> Result<Value> {
        self.importer.add(name, op, inputs).map(Value::Node)
    }

    fn last(&mut self, op: Op, inputs: &[NodeId]) -> Result<Vec<Value>> {
        Ok(vec![self.named(self.call.out(), op, inputs)?])
    }
}
