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
mod op;
mod shape;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use op::{Binary, Op, Reduce, Sixteen, Unary, Window};
pub use shape::{Dim, MOST_AXES, MOST_ELEMENTS, Shape};

/// Index of a node in `Graph::nodes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub usize);

/// Index of a parameter in [`Graph::slots`] and in `Params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId(pub usize);

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
    pub(crate) fn trains(self) -> bool {
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
    pub(crate) fn nodes(&self) -> &[Node] {
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
    pub(crate) fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|n| n.name == name).map(NodeId)
    }

    /// The same graph for an input of another shape: every other shape is inferred anew. Parameters keep their slots. An error where a node takes
    /// inputs of one shape only, or where the output would have another one.
    pub(crate) fn with_input(&self, shape: &Shape) -> Result<Self, GraphError> {
        let mut builder = GraphBuilder { nodes: Vec::with_capacity(self.nodes.len()), slots: self.slots.clone(), input: Some(self.input) };
        for node in &self.nodes {
            match node.op {
                Op::Input => builder.push(&node.name, Op::Input, &[], shape.clone()),
                Op::Param(_) => builder.push(&node.name, node.op.clone(), &[], node.shape.clone()),
                _ => builder.add(&node.name, self.elsewhere(node, &builder), &node.inputs)?,
            };
        }
        let (before, after) = (&self.node(self.output).shape, builder.shape(self.output));
        if before != after {
            let (name, op) = (self.node(self.output).name.clone(), self.node(self.output).op.name());
            let reason = format!("the network's output would have shape {after} in place of {before}");
            return Err(GraphError::Shape { name, op, inputs: shape.to_string(), reason });
        }
        Ok(Self { nodes: builder.nodes, slots: builder.slots, input: self.input, output: self.output })
    }

    /// A node's operator where its input may have another shape: a slice to the end of an axis still goes to its end.
    fn elsewhere(&self, node: &Node, builder: &GraphBuilder) -> Op {
        let mut op = node.op.clone();
        if let (Op::Slice { axis, end, .. }, Some(input)) = (&mut op, node.inputs.first())
            && self.node(*input).shape.0.get(*axis) == Some(&Dim::Fixed(*end))
            && let Some(Dim::Fixed(side)) = builder.shape(*input).0.get(*axis)
        {
            *end = *side;
        }
        op
    }

    /// For every node, the nodes that read it.
    pub(crate) fn users(&self) -> Vec<Vec<NodeId>> {
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
    pub(crate) fn truncated(&self, output: NodeId) -> Self {
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
    pub(crate) fn rounded(&self, kind: Sixteen) -> Self {
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
    pub(crate) fn extend(self) -> GraphBuilder {
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
    pub(crate) fn shape(&self, id: NodeId) -> &Shape {
        &self.nodes[id.0].shape
    }

    /// A node added so far.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Says what a slot is for, once its use is known.
    pub(crate) fn set_role(&mut self, slot: SlotId, role: Role) {
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
    #[error("input `{name}`: a model with more than one input cannot be certified on images")]
    Inputs {
        /// The second input.
        name: String,
    },
    /// No input at all.
    #[error("the graph has no input")]
    NoInput,
}
