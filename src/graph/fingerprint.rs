//! What tells one network from another: operators, shapes, parameters and how they hang together.

use super::{Binary, Dim, Graph, Node, NodeId, Op, Reduce, Role, Shape, Sixteen, Slot, SlotId, Unary, Window};
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

fingerprint!(Graph as "graph" { nodes: "nodes", slots: "slots", input: "input", output: "output" });
fingerprint!(Node as "node" { name: "name", op: "op", inputs: "inputs", shape: "shape" });
fingerprint!(Slot as "slot" { name: "name", shape: "shape", role: "role" });
fingerprint!(Window as "window" { kernel: "kernel", stride: "stride", pads: "pads", dilation: "dilation" });
fingerprint!(Binary: Add = "add", Sub = "sub", Mul = "mul", Div = "div", Max = "max", Min = "min");
fingerprint!(Reduce: Mean = "mean", Sum = "sum", Max = "max");
fingerprint!(Role:
    Weight = "weight",
    Bias = "bias",
    Scale = "scale",
    Shift = "shift",
    RunningMean = "running_mean",
    RunningVar = "running_var",
    Embedding = "embedding",
    Constant = "constant",
);

impl Fingerprint for NodeId {
    fn feed(&self, feed: &mut Fingerprinter) {
        self.0.feed(feed);
    }
}

impl Fingerprint for SlotId {
    fn feed(&self, feed: &mut Fingerprinter) {
        self.0.feed(feed);
    }
}

impl Fingerprint for Shape {
    fn feed(&self, feed: &mut Fingerprinter) {
        self.0.feed(feed);
    }
}

impl Fingerprint for Dim {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Dim::Fixed(size) => size.feed(feed),
            Dim::Batch(each) => feed.choice("batch", each),
        }
    }
}

impl Fingerprint for Unary {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Unary::Relu => "relu".feed(feed),
            Unary::LeakyRelu(slope) => feed.choice("leaky_relu", slope),
            Unary::Elu(alpha) => feed.choice("elu", alpha),
            Unary::Clip { min, max } => feed.choice("clip", &[*min, *max]),
            Unary::Sigmoid => "sigmoid".feed(feed),
            Unary::HardSigmoid { alpha, beta } => feed.choice("hard_sigmoid", &[*alpha, *beta]),
            Unary::HardSwish => "hard_swish".feed(feed),
            Unary::Silu => "silu".feed(feed),
            Unary::Tanh => "tanh".feed(feed),
            Unary::Gelu { tanh } => feed.choice("gelu", tanh),
            Unary::Erf => "erf".feed(feed),
            Unary::Softplus => "softplus".feed(feed),
            Unary::Exp => "exp".feed(feed),
            Unary::Log => "log".feed(feed),
            Unary::Sqrt => "sqrt".feed(feed),
            Unary::Neg => "neg".feed(feed),
            Unary::Abs => "abs".feed(feed),
            Unary::Reciprocal => "reciprocal".feed(feed),
            Unary::Pow(power) => feed.choice("pow", power),
            Unary::Affine { scale, shift } => feed.choice("affine", &[*scale, *shift]),
            Unary::Round(Sixteen::Float16) => "round_float16".feed(feed),
            Unary::Round(Sixteen::Bfloat16) => "round_bfloat16".feed(feed),
        }
    }
}

impl Fingerprint for Op {
    fn feed(&self, feed: &mut Fingerprinter) {
        feed.open(self.name());
        match self {
            Op::Input | Op::Linear | Op::MatMul => {}
            Op::Param(slot) => feed.field("slot", slot),
            Op::Conv2d { window, groups } => {
                feed.field("window", window);
                feed.field("groups", groups);
            }
            Op::BatchNorm { eps, momentum } => {
                feed.field("eps", eps);
                feed.field("momentum", momentum);
            }
            Op::LayerNorm { axis, eps } => {
                feed.field("axis", axis);
                feed.field("eps", eps);
            }
            Op::Lrn { size, alpha, beta, bias } => {
                feed.field("size", size);
                feed.field("alpha", alpha);
                feed.field("beta", beta);
                feed.field("bias", bias);
            }
            Op::MaxPool(window) => feed.field("window", window),
            Op::AvgPool { window, count_include_pad } => {
                feed.field("window", window);
                feed.field("count_include_pad", count_include_pad);
            }
            Op::Unary(kind) => feed.field("kind", kind),
            Op::Binary(kind) => feed.field("kind", kind),
            Op::Reduce { kind, axes, keep } => {
                feed.field("kind", kind);
                feed.field("axes", axes);
                feed.field("keep", keep);
            }
            Op::Softmax { axis } | Op::Concat { axis } => feed.field("axis", axis),
            Op::Attention { scale } => feed.field("scale", scale),
            Op::Reshape { shape } | Op::Expand { shape } => feed.field("shape", shape),
            Op::Transpose { perm } => feed.field("perm", perm),
            Op::Slice { axis, start, end, step } => {
                feed.field("axis", axis);
                feed.field("start", start);
                feed.field("end", end);
                feed.field("step", step);
            }
            Op::Select { axis, indices } => {
                feed.field("axis", axis);
                feed.field("indices", indices);
            }
            Op::Pad { pads, value } => {
                feed.field("pads", &pads.iter().map(|&(before, after)| [before, after]).collect::<Vec<_>>());
                feed.field("value", value);
            }
        }
        feed.close();
    }
}
