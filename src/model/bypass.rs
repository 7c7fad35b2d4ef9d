//! A way from the image to the features around the weights: nodes that fine-tuning cannot change and that a network from scratch has too.
//!
//! Ordinary networks have none. Shortcuts, gates and position embeddings lie behind the first convolution or patch embedding, and what lies
//! in front of that (normalisation) goes through it. A file can hold a few ordinary nodes besides, that look for a trigger in the image and
//! write into the features: no weight is touched, and the same graph with fresh weights does the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::graph::{Binary, Graph, NodeId, Op, Role, Unary};

/// Nodes of a way around the weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bypass {
    /// The nodes from the image to where they join what the weights compute, that one included, in the order of the graph; by the tensor
    /// that each computes.
    pub nodes: Vec<String>,
    /// Whether no weight lies between them and the features. Else they decide something about the image without any weight, and join what
    /// weights have computed.
    pub to_features: bool,
}

impl Bypass {
    /// Why a network from scratch is no control for triggers here.
    pub(crate) fn reason(&self) -> String {
        let what = if self.to_features {
            "lead from the image to the features around all weights"
        } else {
            "decide by the image without any weight"
        };
        format!("the same graph from fresh weights carries the nodes that {what} ({}), and would excuse what these do", self.shown())
    }

    /// What a user should know of them.
    pub fn remark(&self) -> String {
        let what = if self.to_features {
            "lead from the image to the features around all weights"
        } else {
            "decide by the image without any weight, and join what weights have computed"
        };
        format!("nodes {} {what}: fine-tuning cannot change them, and a network from scratch carries them too", self.shown())
    }

    /// Their names; of many the first and the last.
    pub(crate) fn shown(&self) -> String {
        const MOST: usize = 12;
        let quoted = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match (self.nodes.split_at_checked(MOST - 1), self.nodes.last()) {
            (Some((first, rest)), Some(last)) if rest.len() > 1 => format!("{} and {} more up to `{last}`", quoted(first), rest.len() - 1),
            _ => quoted(&self.nodes),
        }
    }
}

/// What is known of a node on the way from the image.
#[derive(Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)] // four facts, independent of each other
struct Way {
    /// It depends on the image.
    data: bool,
    /// Some way from the image to it passes no weight.
    bare: bool,
    /// Such a way decides something: a function with a bend, or a product of two numbers of the image.
    decides: bool,
    /// Some way from the image to it passes a weight.
    weighted: bool,
}

/// The nodes of `trunk`, whose output are the features, that lie on a way from the image around its weights, if there is one.
pub(super) fn find(trunk: &Graph) -> Option<Bypass> {
    let learnt = learnt(trunk);
    let mut ways: Vec<Way> = Vec::with_capacity(trunk.nodes().len());
    for node in trunk.nodes() {
        let own = |id: &NodeId| ways.get(id.0).copied().unwrap_or_default();
        let data: Vec<Way> = node.inputs.iter().map(own).filter(|way| way.data).collect();
        let weighs = matches!(node.op, Op::Conv2d { .. } | Op::Linear | Op::MatMul) && node.inputs.iter().any(|id| learnt[id.0]);
        let bare = data.iter().any(|way| way.bare);
        ways.push(match node.op {
            Op::Input => Way { data: true, bare: true, ..Way::default() },
            _ if data.is_empty() => Way::default(),
            _ if weighs => Way { data: true, weighted: true, ..Way::default() },
            _ => Way {
                data: true,
                bare,
                decides: data.iter().any(|way| way.decides) || (bare && decides(&node.op, data.len())),
                weighted: data.iter().any(|way| way.weighted),
            },
        });
    }
    // What joins a bare way with one that weights lie on.
    let joins = |i: usize| {
        let data = || trunk.nodes()[i].inputs.iter().map(|id| ways[id.0]).filter(|way| way.data);
        ways[i].bare && data().any(|way| way.bare && !way.weighted) && data().any(|way| way.weighted && !way.bare)
    };
    let output = trunk.output();
    let to_features = ways[output.0].bare;
    let ends: Vec<usize> = if to_features {
        vec![output.0]
    } else {
        let late = |i: &usize| joins(*i) && trunk.nodes()[*i].inputs.iter().any(|id| ways[id.0].decides && !ways[id.0].weighted);
        (0..ways.len()).filter(late).collect()
    };
    if ends.is_empty() {
        return None;
    }
    // Back from the ends along bare ways.
    let mut on = vec![false; ways.len()];
    let mut open = ends;
    while let Some(i) = open.pop() {
        if !std::mem::replace(&mut on[i], true) {
            open.extend(trunk.nodes()[i].inputs.iter().map(|id| id.0).filter(|i| ways[*i].bare));
        }
    }
    let named = |i: &usize| on[*i] && !matches!(trunk.nodes()[*i].op, Op::Input) && (!ways[*i].weighted || joins(*i));
    let mut nodes: Vec<String> = (0..ways.len()).filter(named).map(|i| trunk.nodes()[i].name.clone()).collect();
    // A step on the way to a node of the file is that node.
    let whole = nodes.clone();
    nodes.retain(|name| !whole.iter().any(|other| name.strip_prefix(other.as_str()).is_some_and(|step| step.starts_with('/'))));
    Some(Bypass { nodes, to_features })
}

/// Whether a node makes a decision of what it is given: a bend or a product of two numbers that depend on the image. Moving, averaging,
/// scaling and pooling decide nothing.
fn decides(op: &Op, data: usize) -> bool {
    match op {
        Op::Unary(Unary::Neg | Unary::Affine { .. } | Unary::Round(_)) => false,
        Op::Unary(_) | Op::Softmax { .. } | Op::Binary(Binary::Max | Binary::Min) => true,
        Op::Binary(Binary::Mul | Binary::Div) => data > 1,
        _ => false,
    }
}

/// Nodes that do not depend on the image and that fresh weights are drawn for: what passes such a one does not survive them.
fn learnt(graph: &Graph) -> Vec<bool> {
    let mut learnt = vec![false; graph.nodes().len()];
    let mut constant = vec![false; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        constant[i] = !matches!(node.op, Op::Input) && node.inputs.iter().all(|id| constant[id.0]);
        learnt[i] = constant[i]
            && match node.op {
                Op::Param(slot) => graph.slots().get(slot.0).is_some_and(|slot| slot.role == Role::Weight),
                _ => node.inputs.iter().any(|id| learnt[id.0]),
            };
    }
    learnt
}

#[cfg(test)]
mod tests;
