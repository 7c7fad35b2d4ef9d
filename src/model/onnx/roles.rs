//! What every parameter of an imported network is for, told from how it is used.

use crate::graph::{Binary, Graph, NodeId, Op, Role, SlotId};

/// A role for every slot that the graph reads; the first use of a weight decides.
pub(super) fn assign(graph: &Graph) -> Vec<(SlotId, Role)> {
    let nodes = graph.nodes();
    // The parameter behind a node, seen through changes of shape.
    let mut source: Vec<Option<SlotId>> = Vec::with_capacity(nodes.len());
    // Whether a weight has been applied on the way from the input.
    let mut weighted = vec![false; nodes.len()];
    let mut role: Vec<Option<Role>> = vec![None; graph.slots().len()];
    let asked = asked_of_constants(graph);
    for (i, node) in nodes.iter().enumerate() {
        let moves = moves(&node.op);
        source.push(match (&node.op, node.inputs.first()) {
            (Op::Param(slot), _) => Some(*slot),
            (_, Some(x)) if moves => source[x.0],
            _ => None,
        });
        let weighs = matches!(node.op, Op::Conv2d { .. } | Op::Linear | Op::MatMul);
        weighted[i] = weighs || node.inputs.iter().any(|x| weighted[x.0]);
        for (k, input) in node.inputs.iter().enumerate() {
            let Some(slot) = source[input.0] else { continue };
            let own = asked[i].map(|asked| inherited(graph, asked, NodeId(i), k));
            let Some(found) = own.or_else(|| used(graph, &source, &weighted, &role, NodeId(i), k)) else { continue };
            role[slot.0].get_or_insert(found);
        }
    }
    role.into_iter().enumerate().filter_map(|(i, r)| r.map(|r| (SlotId(i), r))).collect()
}

/// For every node that is computed from parameters alone, what its result is for: a weight that is standardised before a convolution reads it
/// is a weight still.
fn asked_of_constants(graph: &Graph) -> Vec<Option<Role>> {
    let nodes = graph.nodes();
    let mut constant = vec![false; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        constant[i] = !matches!(node.op, Op::Input) && node.inputs.iter().all(|id| constant[id.0]);
    }
    let mut asked = vec![None; nodes.len()];
    for (i, node) in nodes.iter().enumerate().rev() {
        for (k, id) in node.inputs.iter().enumerate().filter(|(_, id)| constant[id.0] && !nodes[id.0].inputs.is_empty()) {
            let wanted = match (&node.op, k) {
                _ if constant[i] => asked[i].filter(|_| k == 0),
                (Op::Conv2d { .. } | Op::Linear, 1) | (Op::MatMul, _) => Some(Role::Weight),
                (Op::Conv2d { .. } | Op::Linear, 2) => Some(Role::Bias),
                _ => None,
            };
            asked[id.0] = asked[id.0].or(wanted);
        }
    }
    // Where shapes change alone, the parameter is found behind the change as elsewhere.
    for (i, node) in nodes.iter().enumerate() {
        asked[i] = asked[i].filter(|_| constant[i] && !moves(&node.op));
    }
    asked
}

/// What a parameter is for that a node turns, as its `k`-th input, into something for `asked`.
fn inherited(graph: &Graph, asked: Role, user: NodeId, k: usize) -> Role {
    let node = graph.node(user);
    let whole = |id: &NodeId| graph.node(*id).shape.elements_per_item() == node.shape.elements_per_item();
    match (&node.op, k) {
        (Op::LayerNorm { .. } | Op::BatchNorm { .. }, 1) => Role::Scale,
        (Op::LayerNorm { .. } | Op::BatchNorm { .. }, 2) => Role::Shift,
        (Op::BatchNorm { .. }, 3) => Role::RunningMean,
        (Op::BatchNorm { .. }, 4) => Role::RunningVar,
        (Op::Binary(Binary::Mul | Binary::Div), _) if node.inputs.get(k).is_some_and(|id| !whole(id)) => Role::Scale,
        (Op::Binary(Binary::Add | Binary::Sub), _) if node.inputs.get(k).is_some_and(|id| !whole(id)) => Role::Shift,
        // A bound, as those of a Clip.
        (Op::Binary(Binary::Max | Binary::Min), _) if node.inputs.get(k).is_some_and(|id| !whole(id)) => Role::Constant,
        _ => asked,
    }
}

fn moves(op: &Op) -> bool {
    matches!(op, Op::Reshape { .. } | Op::Expand { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Select { .. })
}

fn used(graph: &Graph, source: &[Option<SlotId>], weighted: &[bool], roles: &[Option<Role>], user: NodeId, k: usize) -> Option<Role> {
    let node = graph.node(user);
    let slot = source[node.inputs[k].0]?;
    let shape = &graph.slots()[slot.0].shape;
    Some(match (&node.op, k) {
        (Op::Conv2d { .. } | Op::Linear, 2) => Role::Bias,
        (Op::Conv2d { .. } | Op::Linear | Op::MatMul, _) => Role::Weight,
        (Op::BatchNorm { .. } | Op::LayerNorm { .. }, 1) => Role::Scale,
        (Op::BatchNorm { .. } | Op::LayerNorm { .. }, 2) => Role::Shift,
        (Op::BatchNorm { .. }, 3) => Role::RunningMean,
        (Op::BatchNorm { .. }, 4) => Role::RunningVar,
        (Op::Concat { .. }, _) => Role::Embedding,
        // A bound, as those of a Clip: no number that training would have drawn.
        (Op::Binary(Binary::Max | Binary::Min), _) => Role::Constant,
        (Op::Binary(kind), _) => {
            let other = *node.inputs.get(1 - k.min(1))?;
            if shape.iter().product::<usize>() <= 1 || (!weighted[other.0] && source[other.0].is_none()) {
                Role::Constant
            } else if matches!(kind, Binary::Mul | Binary::Div) {
                Role::Scale
            } else {
                added(graph, source, roles, other, shape)
            }
        }
        (Op::Reshape { .. } | Op::Expand { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Select { .. }, _) => return None,
        _ => Role::Constant,
    })
}

/// A parameter added to `other`: the shift of a decomposed norm, the bias of a layer, or an embedding.
fn added(graph: &Graph, source: &[Option<SlotId>], roles: &[Option<Role>], other: NodeId, shape: &[usize]) -> Role {
    let node = graph.node(other);
    let scaled = |input: &NodeId| source[input.0].is_some_and(|s| roles[s.0] == Some(Role::Scale));
    if matches!(node.op, Op::Binary(Binary::Mul | Binary::Div)) && node.inputs.iter().any(scaled) {
        return Role::Shift;
    }
    let extended = shape.iter().filter(|d| **d > 1).count();
    if extended > 1 {
        Role::Embedding
    } else if matches!(node.op, Op::Conv2d { .. } | Op::Linear | Op::MatMul) {
        Role::Bias
    } else {
        Role::Shift
    }
}
