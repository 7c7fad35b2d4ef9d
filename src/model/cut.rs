//! Where features leave a network: the input of its head, as one vector per picture.

use std::sync::Arc;

use thiserror::Error;

use super::Cut;
use crate::graph::{Dim, Graph, GraphBuilder, GraphError, NodeId, Op, Reduce, Role, Shape, Unary};

/// Finds the features: the tensor the user names, else the one the file names (`hint`, where the graph has it), else the input
/// of the head. Returns the network up to `[N, width]`, with the slots of `graph`.
pub fn find(graph: &Graph, hint: Option<&str>, user: Option<&str>) -> Result<(Graph, Cut), CutError> {
    let (node, how) = if let Some(name) = user {
        (named(graph, name)?, "named by the user")
    } else if let Some(node) = hint.and_then(|name| graph.find(name)) {
        (node, "named by the file")
    } else {
        automatic(graph)?
    };
    pooled(graph, node, how)
}

fn named(graph: &Graph, name: &str) -> Result<NodeId, CutError> {
    let computed = |id: &NodeId| !matches!(graph.node(*id).op, Op::Param(_) | Op::Input);
    graph.find(name).filter(computed).ok_or_else(|| {
        let computed = graph.nodes().iter().filter(|node| !matches!(node.op, Op::Param(_) | Op::Input));
        CutError::not_found(name, computed.map(|node| node.name.as_str()))
    })
}

fn automatic(graph: &Graph) -> Result<(NodeId, &'static str), CutError> {
    let mut heads = Vec::new();
    walk(graph, graph.output(), false, &constants(graph), &mut heads);
    heads.sort_unstable();
    heads.dedup();
    let is_linear = |id: &NodeId| matches!(graph.node(*id).op, Op::Linear | Op::MatMul);
    match heads.as_slice() {
        [one] => match (&graph.node(*one).op, graph.node(*one).inputs.first()) {
            (Op::Linear | Op::MatMul, Some(input)) => return Ok((*input, "input of the last linear layer")),
            (Op::Conv2d { .. }, Some(input)) => return Ok((*input, "input of the last 1x1 convolution")),
            _ => {}
        },
        // Heads and nothing else: were there other ways to the output, it would be that of an encoder whose last blocks add up
        // (a residual stream), and its linear layers no heads.
        several if !several.contains(&graph.input()) && several.iter().filter(|id| is_linear(id)).count() > 1 => {
            let inputs = several.iter().filter_map(|id| graph.node(*id).inputs.first());
            let names: Vec<&str> = inputs.map(|id| graph.node(*id).name.as_str()).collect();
            return Err(CutError::SeveralHeads { names: names.join("\n  ") });
        }
        _ => {}
    }
    Ok((graph.output(), "the output (there is no linear head)"))
}

/// Nodes that do not depend on the input.
fn constants(graph: &Graph) -> Vec<bool> {
    let mut constant = vec![true; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        constant[i] = !matches!(node.op, Op::Input) && node.inputs.iter().all(|input| constant[input.0]);
    }
    constant
}

/// Goes back from the output through what may follow a head, to the heads. Whatever else stops the walk is listed too.
fn walk(graph: &Graph, from: NodeId, pooled: bool, constant: &[bool], heads: &mut Vec<NodeId>) {
    let mut stack = vec![(from, pooled)];
    let mut seen = vec![[false; 2]; graph.nodes().len()];
    while let Some((at, pooled)) = stack.pop() {
        if std::mem::replace(&mut seen[at.0][usize::from(pooled)], true) {
            continue;
        }
        let node = graph.node(at);
        let passes = match &node.op {
            Op::Softmax { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Select { .. }
            | Op::Binary(_)
            | Op::Reduce { .. }
            | Op::AvgPool { .. }
            | Op::Unary(Unary::Sigmoid | Unary::Log | Unary::Exp | Unary::Neg | Unary::Affine { .. }) => true,
            // Between a convolution used as a head and its pooling (SqueezeNet); else an activation marks features.
            Op::Unary(Unary::Relu) => pooled,
            _ => false,
        };
        let inputs: Vec<NodeId> = node.inputs.iter().copied().filter(|input| !constant[input.0]).collect();
        if passes && !inputs.is_empty() {
            let pools = matches!(node.op, Op::Reduce { .. } | Op::AvgPool { .. });
            stack.extend(inputs.into_iter().map(|input| (input, pooled || pools)));
        } else if is_head(graph, at, constant) {
            heads.push(at);
        } else {
            heads.push(graph.input());
        }
    }
}

/// A linear layer, a product with a constant, or a 1x1 convolution.
fn is_head(graph: &Graph, id: NodeId, constant: &[bool]) -> bool {
    let node = graph.node(id);
    match &node.op {
        Op::Linear => true,
        Op::MatMul => matches!(node.inputs.as_slice(), [a, b] if !constant[a.0] && constant[b.0]),
        Op::Conv2d { window, groups } => window.kernel == [1, 1] && *groups == 1 && window.stride == [1, 1] && window.pads == [0; 4],
        _ => false,
    }
}

/// The network up to `node`, brought to `[N, width]`.
fn pooled(graph: &Graph, node: NodeId, how: &str) -> Result<(Graph, Cut), CutError> {
    let name = graph.node(node).name.clone();
    let trunk = graph.truncated(node);
    let last = trunk.output();
    let shape = trunk.node(last).shape.clone();
    if constants(&trunk)[last.0] {
        return Err(CutError::Shape { name, shape: shape.to_string() });
    }
    let class_token = shape.known(2).is_some_and(|width| has_class_token(&trunk, width));
    let mut builder = trunk.extend();
    let (at, _) = to_vector(&mut builder, last, &name, class_token)?;
    Ok((builder.finish(at)?, cut(&name, shape, class_token, how)?))
}

/// The tensor `name` of `shape` as features: how it becomes one vector per picture.
pub(super) fn cut(name: &str, shape: Shape, class_token: bool, how: &str) -> Result<Cut, CutError> {
    let mut builder = GraphBuilder::new();
    let input = builder.input(name, shape)?;
    let (at, then) = to_vector(&mut builder, input, name, class_token)?;
    let width = builder.shape(at).elements_per_item();
    Ok(Cut { name: name.to_owned(), width, how: format!("{how}{then}"), tail: Arc::new(builder.finish(at)?) })
}

/// Brings `from`, the tensor `name`, to `[N, width]`: a map and tokens by their mean or the class token, all else flattened.
fn to_vector(builder: &mut GraphBuilder, from: NodeId, name: &str, class_token: bool) -> Result<(NodeId, &'static str), CutError> {
    let shape = builder.shape(from).clone();
    let bad = || CutError::Shape { name: name.to_owned(), shape: shape.to_string() };
    if shape.0.first() != Some(&Dim::Batch(1)) {
        return Err(bad());
    }
    let sizes = shape.0[1..].iter().map(|dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None });
    let sizes: Vec<usize> = sizes.collect::<Option<_>>().filter(|sizes: &Vec<usize>| !sizes.contains(&0)).ok_or_else(bad)?;
    let (kind, then) = match sizes[..] {
        [_] => (None, ""),
        [_, h, w] if h * w > 1 => (Some(Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep: false }), ", mean over the map"),
        [_, _] if class_token => (Some(Op::Select { axis: 1, indices: vec![0] }), ", class token"),
        [_, _] => (Some(Op::Reduce { kind: Reduce::Mean, axes: vec![1], keep: false }), ", mean over the tokens"),
        [] => return Err(bad()),
        _ => (None, ", flattened"),
    };
    let mut at = from;
    if let Some(op) = kind {
        at = builder.add("heirloom.pool", op, &[at])?;
    }
    if builder.shape(at).rank() > 2 {
        let width = builder.shape(at).elements_per_item();
        at = builder.add("heirloom.flatten", Op::Reshape { shape: Shape::batched(&[width]) }, &[at])?;
    }
    builder.shape(at).known(1).ok_or_else(bad)?;
    Ok((at, then))
}

/// Whether a learnt token `[1, 1, width]` is put in front of the sequence.
fn has_class_token(graph: &Graph, width: usize) -> bool {
    let token = |mut id: NodeId| {
        while matches!(graph.node(id).op, Op::Expand { .. } | Op::Reshape { .. }) {
            let Some(input) = graph.node(id).inputs.first() else { return false };
            id = *input;
        }
        let Op::Param(slot) = graph.node(id).op else { return false };
        graph.slots().get(slot.0).is_some_and(|slot| slot.shape == [1, 1, width] && slot.role != Role::Constant)
    };
    graph.nodes().iter().any(|node| {
        matches!(node.op, Op::Concat { axis: 1 }) && node.shape.rank() == 3 && node.inputs.first().is_some_and(|first| token(*first))
    })
}

/// Why no features are found.
#[derive(Debug, Error)]
pub enum CutError {
    /// No tensor of that name.
    #[error("no tensor `{name}` is computed in this network; nearest:\n  {near}")]
    NotFound {
        /// As given.
        name: String,
        /// A few that there are.
        near: String,
    },
    /// More than one head.
    #[error("the output comes from several linear layers: say with --features which of their inputs holds the features:\n  {names}")]
    SeveralHeads {
        /// Names of their inputs.
        names: String,
    },
    /// Not features.
    #[error("`{name}` has shape {shape}, which holds no features of each picture: name another tensor with --features")]
    Shape {
        /// Tensor.
        name: String,
        /// Its shape.
        shape: String,
    },
    /// The graph cannot be extended.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl CutError {
    /// With the names that come nearest.
    pub(super) fn not_found<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Self {
        let mut near: Vec<(f64, &str)> = all.map(|other| (strsim::jaro_winkler(name, other), other)).collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let near: Vec<&str> = near.iter().take(5).map(|(_, name)| *name).collect();
        Self::NotFound { name: name.into(), near: near.join("\n  ") }
    }
}

#[cfg(test)]
mod tests;
