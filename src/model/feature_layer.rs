//! Where features leave a network: the input of its head, as one vector per image.

mod head;

use std::sync::Arc;

use thiserror::Error;

use super::FeatureLayer;
use crate::graph::{Dim, Graph, GraphBuilder, GraphError, NodeId, Op, Reduce, Role, Shape};

/// Finds the features: the tensor the user names, else the one the file names (`hint`, where the graph has it), else the input
/// of the head, else the output of an encoder; scores, boxes and text are none of these. Returns the network up to `[N, width]`, with the slots of `graph`.
pub(crate) fn find(graph: &Graph, hint: Option<&str>, user: Option<&str>) -> Result<(Graph, FeatureLayer), FeatureLayerError> {
    let (node, how) = if let Some(name) = user {
        (named(graph, name)?, "named by the user")
    } else if let Some(node) = hint.and_then(|name| graph.find(name)) {
        (node, "named by the file")
    } else {
        head::automatic(graph)?
    };
    pooled(graph, node, how)
}

fn named(graph: &Graph, name: &str) -> Result<NodeId, FeatureLayerError> {
    let computed = |id: &NodeId| !matches!(graph.node(*id).op, Op::Param(_) | Op::Input);
    graph.find(name).filter(computed).ok_or_else(|| {
        let computed = graph.nodes().iter().filter(|node| !matches!(node.op, Op::Param(_) | Op::Input));
        FeatureLayerError::not_found(name, computed.map(|node| node.name.as_str()))
    })
}

/// The network up to `node`, brought to `[N, width]`.
fn pooled(graph: &Graph, node: NodeId, how: &str) -> Result<(Graph, FeatureLayer), FeatureLayerError> {
    let name = graph.node(node).name.clone();
    let trunk = graph.truncated(node);
    let last = trunk.output();
    let shape = trunk.node(last).shape.clone();
    if head::constants(&trunk)[last.0] {
        return Err(FeatureLayerError::Shape { name, shape: shape.to_string() });
    }
    let class_token = shape.known(2).is_some_and(|width| has_class_token(&trunk, width));
    let mut builder = trunk.extend();
    let (at, _) = to_vector(&mut builder, last, &name, class_token)?;
    Ok((builder.finish(at)?, feature_layer(&name, shape, class_token, how)?))
}

/// The tensor `name` of `shape` as features: how it becomes one vector per image.
pub(super) fn feature_layer(name: &str, shape: Shape, class_token: bool, how: &str) -> Result<FeatureLayer, FeatureLayerError> {
    let mut builder = GraphBuilder::new();
    let input = builder.input(name, shape)?;
    let (at, then) = to_vector(&mut builder, input, name, class_token)?;
    let width = builder.shape(at).elements_per_item();
    Ok(FeatureLayer { name: name.to_owned(), width, how: format!("{how}{then}"), tail: Arc::new(builder.finish(at)?) })
}

/// Brings `from`, the tensor `name`, to `[N, width]`: a map and tokens by their mean or the class token, all else flattened.
fn to_vector(builder: &mut GraphBuilder, from: NodeId, name: &str, class_token: bool) -> Result<(NodeId, &'static str), FeatureLayerError> {
    let shape = builder.shape(from).clone();
    let bad = || FeatureLayerError::Shape { name: name.to_owned(), shape: shape.to_string() };
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
pub enum FeatureLayerError {
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
    /// Nothing says where they are.
    #[error(
        "no feature layer is found: {why}. If the network is meant for what is certified here, name the tensor that holds the features of an \
         image with --features{}",
        listed(candidates)
    )]
    NoFeatures {
        /// What the output is instead.
        why: String,
        /// Tensors that may hold them, with their shapes.
        candidates: Vec<String>,
    },
    /// Not features.
    #[error("`{name}` has shape {shape}, which holds no features of each image: name another tensor with --features")]
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

fn listed(candidates: &[String]) -> String {
    if candidates.is_empty() { String::new() } else { format!(", for instance:\n  {}", candidates.join("\n  ")) }
}

/// Why a tensor that gives `shape` for one image holds no encoder's features: fewer than this many numbers describe no image.
pub(super) fn too_narrow(name: &str, shape: &[usize]) -> Option<String> {
    const LEAST: usize = 8;
    let width = match shape {
        [] => 1,
        [channels, rest @ ..] if rest.len() == 2 => *channels,
        [.., last] => *last,
    };
    (width < LEAST).then(|| {
        let shown = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("the output `{name}` has shape [N, {shown}], which makes {width} features: too few to describe an image; it may be scores, boxes or a map")
    })
}

/// Why a head that gives `shape` for one image is no classifier's, where the output of the network has `output` numbers and the head
/// `classes` of them for each place: it answers for every place (a box, a character, a pixel), not once.
pub(super) fn answers_per_place(name: &str, shape: &[usize], classes: usize, output: usize) -> Option<String> {
    let places = shape.iter().product::<usize>() / classes.max(1);
    (places > 1 && output > classes).then(|| {
        format!(
            "the output `{name}` has {output} numbers per image, {classes} for each of {places} places (boxes, characters or pixels), not one \
             answer per image"
        )
    })
}

impl FeatureLayerError {
    /// The same once more, of those that come from names alone.
    pub(super) fn copied(&self) -> Self {
        match self {
            Self::SeveralHeads { names } => Self::SeveralHeads { names: names.clone() },
            Self::NoFeatures { why, candidates } => Self::NoFeatures { why: why.clone(), candidates: candidates.clone() },
            other => Self::NoFeatures { why: other.to_string(), candidates: Vec::new() },
        }
    }

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
