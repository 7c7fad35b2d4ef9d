//! The network as a list of operators: what every importer produces and every executor runs.
//!
//! A [`Graph`] holds no numbers. A node has exactly one output; parameters are nodes too ([`Op::Param`]), so that
//! gradients flow to them as to anything else. Nodes are in topological order: an input always has a smaller
//! [`NodeId`]. Importers lower whatever they read to these operators: padding modes, ceiling modes,
//! fused activations and shape arithmetic are resolved before a node is added.

mod attention;
mod fingerprint;
mod gelu;
mod infer;
mod shape;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use shape::{Dim, MOST_AXES, MOST_ELEMENTS, Shape};

/// Index of a node in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub usize);

/// Index of a parameter in [`Graph::slots`] and in `Params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId(pub usize);

/// An elementwise function of one input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`; its derivative at 0 is 0, as in PyTorch.
    Relu,
    /// `x` where positive, `slope * x` elsewhere.
    LeakyRelu(f64),
    /// `x` where positive, `alpha * (exp(x) - 1)` elsewhere.
    Elu(f64),
    /// `x` limited to `[min, max]`.
    Clip {
        /// Least value (may be negative infinity).
        min: f64,
        /// Greatest value (may be infinity).
        max: f64,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `clip(alpha * x + beta, 0, 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f64,
        /// Value at 0.
        beta: f64,
    },
    /// `x * clip(x / 6 + 1/2, 0, 1)`.
    HardSwish,
    /// `x * sigmoid(x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// `x * Phi(x)`, exact or by the tanh approximation.
    Gelu {
        /// Use the tanh approximation.
        tanh: bool,
    },
    /// Gauss error function.
    Erf,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `exp(x)`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// `1 / x`.
    Reciprocal,
    /// `x` to a constant power.
    Pow(f64),
    /// `scale * x + shift` with constants.
    Affine {
        /// Factor.
        scale: f64,
        /// Summand.
        shift: f64,
    },
    /// Rounded to a float of two bytes and computed with as it was. The gradient passes as it is, as that of a cast does in PyTorch.
    Round(Sixteen),
}

/// A float of two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sixteen {
    /// IEEE half precision: 11 bits, up to 65504, infinite above.
    Float16,
    /// The upper half of a float of four bytes: 8 bits.
    Bfloat16,
}

impl Sixteen {
    /// The nearest number that it holds; halfway between two, the even one.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::Float16 => half::f16::from_f64(value).to_f64(),
            Self::Bfloat16 => half::bf16::from_f64(value).to_f64(),
        }
    }
}

/// An elementwise function of two inputs, broadcast as in NumPy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// The greater one; NaN where either is NaN. The gradient goes to the greater one, half to each of equals, as in PyTorch.
    Max,
    /// The lesser one; NaN where either is NaN. The gradient goes to the lesser one, half to each of equals.
    Min,
}

/// What [`Op::Reduce`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// Arithmetic mean.
    Mean,
    /// Sum.
    Sum,
    /// Greatest value; the gradient goes to the first of equals.
    Max,
}

/// Window of a convolution or pooling. Pads are `[top, left, bottom, right]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Step down and across.
    pub stride: [usize; 2],
    /// Padding `[top, left, bottom, right]`; may differ side by side (`SAME_UPPER`, ceiling mode).
    pub pads: [usize; 4],
    /// Distance between kernel taps.
    pub dilation: [usize; 2],
}

/// The closed set of operators.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The model input, `[N, ...]`. Exactly one per graph.
    Input,
    /// A parameter or constant; no inputs.
    Param(SlotId),
    /// `x [N,C,H,W], w [O,C/groups,kh,kw], (b [O])`.
    Conv2d {
        /// Geometry; `kernel` repeats the weight's.
        window: Window,
        /// Number of groups; `C` for a depthwise convolution.
        groups: usize,
    },
    /// `x [..., in], w [out, in], (b [out])` -> `[..., out]`.
    Linear,
    /// Batched matrix product `a [..., m, k], b [..., k, n]`, leading axes broadcast.
    MatMul,
    /// `x [N,C,...], scale [C], shift [C], running mean [C], running variance [C]`.
    BatchNorm {
        /// Added to the variance.
        eps: f64,
        /// Weight of the new batch in the running statistics (PyTorch's convention: 0.1).
        momentum: f64,
    },
    /// `x, (scale), (shift)`: normalised over the axes from `axis` to the last.
    LayerNorm {
        /// First normalised axis.
        axis: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// Local response normalisation over channels, as ONNX defines it.
    Lrn {
        /// Channels summed over.
        size: usize,
        /// Scale.
        alpha: f64,
        /// Exponent.
        beta: f64,
        /// Summand.
        bias: f64,
    },
    /// Maximum over windows of `x [N,C,H,W]`; padding never wins.
    MaxPool(Window),
    /// Mean over windows of `x [N,C,H,W]`.
    AvgPool {
        /// Geometry.
        window: Window,
        /// Whether padded positions count in the divisor.
        count_include_pad: bool,
    },
    /// Elementwise.
    Unary(Unary),
    /// Elementwise, broadcast.
    Binary(Binary),
    /// Reduction over axes.
    Reduce {
        /// What.
        kind: Reduce,
        /// Axes, ascending.
        axes: Vec<usize>,
        /// Keep reduced axes with size 1.
        keep: bool,
    },
    /// Softmax over one axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Scaled dot-product attention, `softmax(scale q k^T) v`: `q [..., m, d], k [..., n, d], v [..., n, e]` -> `[..., m, e]`, leading
    /// axes equal (Vaswani et al. 2017, equation 1).
    Attention {
        /// Factor of the scores, finite and positive.
        scale: f64,
    },
    /// Joins inputs along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Same elements in another shape (all dimensions given; flatten, squeeze and unsqueeze are this too).
    Reshape {
        /// The new shape.
        shape: Shape,
    },
    /// Repeats axes of size 1 to reach the shape (NumPy `broadcast_to`).
    Expand {
        /// The new shape.
        shape: Shape,
    },
    /// Reorders axes.
    Transpose {
        /// `output axis i = input axis perm[i]`.
        perm: Vec<usize>,
    },
    /// Every `step`-th entry of `[start, end)` along an axis.
    Slice {
        /// The axis.
        axis: usize,
        /// First index.
        start: usize,
        /// One past the last.
        end: usize,
        /// At least 1.
        step: usize,
    },
    /// Entries along an axis at constant indices (`[]` with `squeeze` drops the axis as a scalar ONNX Gather does).
    Select {
        /// The axis.
        axis: usize,
        /// The indices.
        indices: Vec<usize>,
    },
    /// Constant padding, `(before, after)` for every axis.
    Pad {
        /// One pair per axis.
        pads: Vec<(usize, usize)>,
        /// The fill value.
        value: f64,
    },
}

impl Op {
    /// The operator's name, for messages and tables.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input => "Input",
            Op::Param(_) => "Param",
            Op::Conv2d { .. } => "Conv2d",
            Op::Linear => "Linear",
            Op::MatMul => "MatMul",
            Op::BatchNorm { .. } => "BatchNorm",
            Op::LayerNorm { .. } => "LayerNorm",
            Op::Lrn { .. } => "Lrn",
            Op::MaxPool(_) => "MaxPool",
            Op::AvgPool { .. } => "AvgPool",
            Op::Unary(_) => "Unary",
            Op::Binary(_) => "Binary",
            Op::Reduce { .. } => "Reduce",
            Op::Softmax { .. } => "Softmax",
            Op::Attention { .. } => "Attention",
            Op::Concat { .. } => "Concat",
            Op::Reshape { .. } => "Reshape",
            Op::Expand { .. } => "Expand",
            Op::Transpose { .. } => "Transpose",
            Op::Slice { .. } => "Slice",
            Op::Select { .. } => "Select",
            Op::Pad { .. } => "Pad",
        }
    }
}

/// What a parameter is for: decides fresh weights, weight decay and what trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Weight of a convolution, linear layer or matrix product; fresh: He or LeCun normal by fan-in.
    Weight,
    /// Added bias; fresh: 0.
    Bias,
    /// Normalisation scale; fresh: 1.
    Scale,
    /// Normalisation shift; fresh: 0.
    Shift,
    /// Running mean of a batch norm: updated, never trained; fresh: 0.
    RunningMean,
    /// Running variance of a batch norm: updated, never trained; fresh: 1.
    RunningVar,
    /// A learnt token or position embedding; fresh: normal with standard deviation 0.02.
    Embedding,
    /// Part of the architecture (preprocessing, scale factors): never trained, kept when weights are drawn anew.
    Constant,
}

impl Role {
    /// Whether gradient descent may change it.
    pub fn trains(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVar | Role::Constant)
    }
}

/// A place for a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// The name in the file (`layer1.0.conv1.weight`).
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

/// One operator with its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The name of the output in the file (an ONNX tensor name), or one that reads like it.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Where its inputs come from.
    pub inputs: Vec<NodeId>,
    /// The shape of its output.
    pub shape: Shape,
}

/// A network without its numbers. Build one with [`GraphBuilder`].
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    slots: Vec<Slot>,
    input: NodeId,
    output: NodeId,
}

impl Graph {
    /// All nodes, inputs before users.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// All parameter slots.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The input node.
    pub fn input(&self) -> NodeId {
        self.input
    }

    /// The node whose value the graph returns.
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// The node of that name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|n| n.name == name).map(NodeId)
    }

    /// For every node, the nodes that read it.
    pub fn users(&self) -> Vec<Vec<NodeId>> {
        let mut users = vec![Vec::new(); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                users[input.0].push(NodeId(i));
            }
        }
        users
    }

    /// The same network up to `output`: nodes that do not reach it are dropped, slots keep their ids.
    #[must_use]
    pub fn truncated(&self, output: NodeId) -> Self {
        let mut needed = vec![false; self.nodes.len()];
        needed[output.0] = true;
        needed[self.input.0] = true;
        for i in (0..=output.0).rev() {
            if needed[i] {
                for input in &self.nodes[i].inputs {
                    needed[input.0] = true;
                }
            }
        }
        let mut new_id = vec![None; self.nodes.len()];
        let mut nodes = Vec::new();
        for (i, node) in self.nodes.iter().enumerate().filter(|(i, _)| needed[*i]) {
            new_id[i] = Some(NodeId(nodes.len()));
            let inputs = node.inputs.iter().filter_map(|input| new_id[input.0]).collect();
            nodes.push(Node { inputs, ..node.clone() });
        }
        let at = |id: NodeId| new_id[id.0].unwrap_or(NodeId(0));
        Self { nodes, slots: self.slots.clone(), input: at(self.input), output: at(output) }
    }

    /// The same network with every result rounded to two bytes: what is left of its numbers where they are kept so.
    #[must_use]
    pub fn rounded(&self, kind: Sixteen) -> Self {
        let (mut nodes, mut new_id) = (Vec::new(), Vec::new());
        for node in &self.nodes {
            let inputs: Vec<NodeId> = node.inputs.iter().filter_map(|input| new_id.get(input.0).copied()).collect();
            let computed = !inputs.is_empty();
            nodes.push(Node { inputs, ..node.clone() });
            let mut at = NodeId(nodes.len() - 1);
            if computed {
                let op = Op::Unary(Unary::Round(kind));
                nodes.push(Node { name: format!("{}/rounded", node.name), op, inputs: vec![at], shape: node.shape.clone() });
                at = NodeId(nodes.len() - 1);
            }
            new_id.push(at);
        }
        let at = |id: NodeId| new_id.get(id.0).copied().unwrap_or(NodeId(0));
        Self { nodes, slots: self.slots.clone(), input: at(self.input), output: at(self.output) }
    }

    /// A builder that starts from this graph, to append nodes to it.
    pub fn extend(self) -> GraphBuilder {
        GraphBuilder { nodes: self.nodes, slots: self.slots, input: Some(self.input) }
    }
}

/// Makes a [`Graph`] node by node, checking every shape as it goes.
#[derive(Clone, Debug, Default)]
pub struct GraphBuilder {
    nodes: Vec<Node>,
    slots: Vec<Slot>,
    input: Option<NodeId>,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// The input, whose first dimension is usually [`Dim::Batch`]`(1)`.
    pub fn input(&mut self, name: &str, shape: Shape) -> Result<NodeId, GraphError> {
        if self.input.is_some() {
            return Err(GraphError::Inputs { name: name.into() });
        }
        let id = self.push(name, Op::Input, &[], shape);
        self.input = Some(id);
        Ok(id)
    }

    /// A parameter slot and the node that reads it.
    pub fn param(&mut self, name: &str, shape: &[usize], role: Role) -> NodeId {
        let slot = SlotId(self.slots.len());
        self.slots.push(Slot { name: name.into(), shape: shape.to_vec(), role });
        self.push(name, Op::Param(slot), &[], Shape::fixed(shape))
    }

    /// An operator on earlier nodes; its shape is inferred and checked.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> Result<NodeId, GraphError> {
        let shapes: Vec<&Shape> = inputs.iter().map(|id| &self.nodes[id.0].shape).collect();
        let shape = infer::infer(&op, &shapes).map_err(|reason| GraphError::Shape {
            name: name.into(),
            op: op.name(),
            inputs: shapes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            reason,
        })?;
        Ok(self.push(name, op, inputs, shape))
    }

    /// The shape of a node added so far.
    pub fn shape(&self, id: NodeId) -> &Shape {
        &self.nodes[id.0].shape
    }

    /// A node added so far.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The slots so far.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Says what a slot is for, once its use is known.
    pub fn set_role(&mut self, slot: SlotId, role: Role) {
        self.slots[slot.0].role = role;
    }

    /// The finished graph, with unused nodes dropped.
    pub fn finish(self, output: NodeId) -> Result<Graph, GraphError> {
        let input = self.input.ok_or(GraphError::NoInput)?;
        Ok(Graph { nodes: self.nodes, slots: self.slots, input, output }.truncated(output))
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[NodeId], shape: Shape) -> NodeId {
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec(), shape });
        NodeId(self.nodes.len() - 1)
    }
}

/// Why a graph cannot be built.
#[derive(Debug, Error)]
pub enum GraphError {
    /// The inputs of an operator do not fit it.
    #[error("node `{name}` ({op}) cannot take inputs of shape {inputs}: {reason}")]
    Shape {
        /// Node.
        name: String,
        /// Operator.
        op: &'static str,
        /// The shapes it was given.
        inputs: String,
        /// What is wrong with them.
        reason: String,
    },
    /// More than one input.
    #[error("input `{name}`: a model with more than one input cannot be certified on pictures")]
    Inputs {
        /// The second input.
        name: String,
    },
    /// No input at all.
    #[error("the graph has no input")]
    NoInput,
}
