//! Nodes that draw random numbers: a network with one computes another thing at every run, so that no verdict on it repeats.

use std::collections::{BTreeMap, BTreeSet};

use super::node::title;
use super::pb::{FunctionProto, GraphProto, NodeProto, TensorProto};
use super::tensor::{Data, decode};
use crate::registry::ExternalData;

/// Operators that draw.
const DRAWS: [&str; 6] = ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];

/// Operators that draw where an input of this number says that the network is trained. ONNX Runtime has more than one.
const DROPOUTS: [(&str, usize); 5] =
    [("Dropout", 2), ("BitmaskDropout", 2), ("TrainableDropout", 2), ("BiasDropout", 4), ("BitmaskBiasDropout", 4)];

/// The nodes that draw random numbers among those that the tensors `wanted` are computed from: `type in node`, in the file's order. A node
/// whose branches, loop body or own definition draw counts. `beside` holds the files that the model keeps tensors in.
pub(super) fn nodes(graph: &GraphProto, functions: &[FunctionProto], external: &ExternalData, wanted: &[&str]) -> Vec<String> {
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        made.extend(node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.as_str(), i)));
    }
    let off = off(graph, external);
    let drawing = drawing(functions);
    let mut needed = BTreeSet::new();
    let mut open: Vec<usize> = wanted.iter().filter_map(|name| made.get(name).copied()).collect();
    while let Some(i) = open.pop() {
        if needed.insert(i) {
            // A branch or loop body reads what is computed around it by name.
            let inner = within(&graph.node[i]);
            let read = inner.iter().flat_map(|node| &node.input);
            open.extend(read.filter_map(|name| made.get(name.as_str()).copied()));
        }
    }
    let drawn = needed.into_iter().map(|i| &graph.node[i]).filter_map(|node| {
        let called = |inner: &&NodeProto| drawing.contains(&(inner.domain.as_str(), inner.op_type.as_str()));
        let found = within(node).into_iter().find(|inner| draws(inner, &off) || called(inner))?;
        Some(if std::ptr::eq(found, node) {
            format!("{} in `{}`", node.op_type, title(node))
        } else {
            format!("{} in `{}`, within {} `{}`", found.op_type, title(found), node.op_type, title(node))
        })
    });
    drawn.collect()
}

/// A node and all nodes of its branches or loop bodies.
fn within(node: &NodeProto) -> Vec<&NodeProto> {
    let (mut all, mut open) = (Vec::new(), vec![node]);
    while let Some(node) = open.pop() {
        all.push(node);
        let bodies = node.attribute.iter().flat_map(|a| a.g.as_deref().into_iter().chain(&a.graphs));
        open.extend(bodies.flat_map(|body| &body.node));
    }
    all
}

/// The operators that the file defines itself and that draw, by domain and name: of their own or by calling one that does.
fn drawing(functions: &[FunctionProto]) -> BTreeSet<(&str, &str)> {
    let none = BTreeSet::new();
    let mut callers: BTreeMap<(&str, &str), Vec<(&str, &str)>> = BTreeMap::new();
    let mut open = Vec::new();
    for function in functions {
        let own = (function.domain.as_str(), function.name.as_str());
        for node in function.node.iter().flat_map(within) {
            callers.entry((node.domain.as_str(), node.op_type.as_str())).or_default().push(own);
            if draws(node, &none) {
                open.push(own);
            }
        }
    }
    let mut drawing = BTreeSet::new();
    while let Some(one) = open.pop() {
        if drawing.insert(one) {
            open.extend(callers.get(&one).into_iter().flatten());
        }
    }
    drawing
}

/// The tensors that say no: one zero each, in the file or beside it, those of its constants included.
fn off<'a>(graph: &'a GraphProto, external: &ExternalData) -> BTreeSet<&'a str> {
    let held = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
    let nodes = graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(|node| {
        let value = node.attribute.iter().find(|a| a.name == "value").and_then(|a| a.t.as_ref())?;
        Some((node.output.first()?.as_str(), value))
    });
    held.chain(nodes).filter(|(_, tensor)| is_false(tensor, external)).map(|(name, _)| name).collect()
}

fn draws(node: &NodeProto, off: &BTreeSet<&str>) -> bool {
    if DRAWS.contains(&node.op_type.as_str()) {
        return true;
    }
    let trained =
        DROPOUTS.iter().find(|(name, _)| *name == node.op_type).and_then(|(_, i)| node.input.get(*i)).filter(|name| !name.is_empty());
    // What is not known to be off may be on.
    trained.is_some_and(|name| !off.contains(name.as_str()))
}

fn is_false(tensor: &TensorProto, external: &ExternalData) -> bool {
    tensor.dims.iter().all(|d| *d == 1)
        && match decode(tensor.clone(), external) {
            Ok(Data::Float(value)) => value.iter().all(|v| *v == 0.0),
            Ok(Data::Int(value)) => value.iter().all(|v| *v == 0),
            Err(_) => false,
        }
}

#[cfg(test)]
mod tests;
