//! Where features leave if nobody says it: in front of the head of a classifier, or at the end of an encoder.

use super::{FeatureLayerError, answers_per_place, too_narrow};
use crate::graph::{Binary, Dim, Graph, NodeId, Op, Unary};

/// The tensor that holds the features, and how it was found. What answers for many places of an image, or gives scores, is refused: a
/// detector's boxes are no features.
pub(super) fn automatic(graph: &Graph) -> Result<(NodeId, &'static str), FeatureLayerError> {
    let constant = constants(graph);
    let mut heads = Vec::new();
    walk(graph, graph.output(), &constant, &mut heads);
    heads.sort_unstable();
    heads.dedup();
    let is_linear = |id: &NodeId| matches!(graph.node(*id).op, Op::Linear | Op::MatMul);
    // Heads and nothing else: were there other ways to the output, it would be that of an encoder whose last blocks add up
    // (a residual stream), and its linear layers no heads.
    let only_heads = !heads.contains(&graph.input());
    let mut read: Vec<NodeId> = heads.iter().filter_map(|id| graph.node(*id).inputs.first().copied()).collect();
    read.sort_unstable();
    read.dedup();
    match (heads.as_slice(), read.as_slice()) {
        (&[first, ..], &[one]) if only_heads => {
            for head in &heads {
                answers_once(graph, *head)?;
            }
            let how = if is_linear(&first) { "input of the last linear layer" } else { "input of the last 1x1 convolution" };
            return Ok((one, how));
        }
        (several, read) if only_heads && several.iter().all(is_linear) && common(graph, read, &constant).is_some() => {
            for head in several {
                answers_once(graph, *head)?;
            }
            let one = common(graph, read, &constant).unwrap_or(graph.output());
            return Ok((one, "what all linear heads read"));
        }
        // One reads what another gives: both add to what an encoder puts out.
        (several, _) if only_heads && several.iter().any(|head| is_read_by_another(graph, *head, several)) => {}
        (several, read) if only_heads && several.iter().filter(|id| is_linear(id)).count() > 1 => {
            let names: Vec<&str> = read.iter().map(|id| graph.node(*id).name.as_str()).collect();
            return Err(FeatureLayerError::SeveralHeads { names: names.join("\n  ") });
        }
        _ => {}
    }
    encoder(graph, &constant)?;
    Ok((graph.output(), "the output (there is no linear head)"))
}

/// Whether another of these nodes is computed from this one.
fn is_read_by_another(graph: &Graph, head: NodeId, heads: &[NodeId]) -> bool {
    let mut follows = vec![false; graph.nodes().len()];
    follows[head.0] = true;
    for (i, node) in graph.nodes().iter().enumerate() {
        follows[i] |= node.inputs.iter().any(|input| follows[input.0]);
    }
    heads.iter().any(|other| *other != head && follows[other.0])
}

/// What several heads read, where each only normalises or scales it first, or takes a token of it.
fn common(graph: &Graph, read: &[NodeId], constant: &[bool]) -> Option<NodeId> {
    let chain = |from: NodeId| {
        let (mut at, mut all) = (from, vec![from]);
        loop {
            let node = graph.node(at);
            let passes = matches!(
                node.op,
                Op::BatchNorm { .. }
                    | Op::LayerNorm { .. }
                    | Op::Reshape { .. }
                    | Op::Slice { .. }
                    | Op::Select { .. }
                    | Op::Binary(Binary::Add | Binary::Sub | Binary::Mul | Binary::Div)
                    | Op::Unary(Unary::Affine { .. } | Unary::Round(_))
            );
            match data_inputs(graph, at, constant).as_slice() {
                &[one] if passes => {
                    at = one;
                    all.push(at);
                }
                _ => return all,
            }
        }
    };
    let (first, rest) = read.split_first()?;
    let rest: Vec<Vec<NodeId>> = rest.iter().map(|from| chain(*from)).collect();
    chain(*first).into_iter().find(|node| rest.iter().all(|chain| chain.contains(node)))
}

/// Nodes that do not depend on the input.
pub(super) fn constants(graph: &Graph) -> Vec<bool> {
    let mut constant = vec![true; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        constant[i] = !matches!(node.op, Op::Input) && node.inputs.iter().all(|input| constant[input.0]);
    }
    constant
}

/// Goes back from the output through what may follow a head, to the heads. Where something else stops the walk, the input is listed.
fn walk(graph: &Graph, from: NodeId, constant: &[bool], heads: &mut Vec<NodeId>) {
    let mut stack = vec![(from, false)];
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
            | Op::Reduce { .. }
            | Op::AvgPool { .. }
            | Op::Unary(Unary::Sigmoid | Unary::Log | Unary::Exp | Unary::Neg | Unary::Affine { .. } | Unary::Round(_)) => true,
            // Between a convolution used as a head and its pooling (SqueezeNet); else an activation marks features.
            Op::Unary(Unary::Relu) | Op::Binary(Binary::Max | Binary::Min) => pooled,
            Op::Binary(_) => !is_silu(graph, at),
            _ => false,
        };
        let inputs = data_inputs(graph, at, constant);
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

/// The inputs of a node that depend on the image, each once.
fn data_inputs(graph: &Graph, at: NodeId, constant: &[bool]) -> Vec<NodeId> {
    let mut inputs: Vec<NodeId> = graph.node(at).inputs.iter().copied().filter(|input| !constant[input.0]).collect();
    inputs.dedup();
    inputs
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

/// Whether a node is `x * sigmoid(x)`, an activation.
fn is_silu(graph: &Graph, at: NodeId) -> bool {
    let node = graph.node(at);
    let gate = |gate: NodeId, of: NodeId| {
        let gate = graph.node(gate);
        matches!(gate.op, Op::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. })) && gate.inputs.first() == Some(&of)
    };
    matches!((&node.op, node.inputs.as_slice()), (Op::Binary(Binary::Mul), &[a, b]) if gate(a, b) || gate(b, a))
}

/// Refuses a head that answers for many places of an image where nothing behind it brings these to one.
fn answers_once(graph: &Graph, head: NodeId) -> Result<(), FeatureLayerError> {
    let node = graph.node(head);
    let classes = match node.op {
        Op::Conv2d { .. } => node.shape.known(1),
        _ => node.shape.known(node.shape.rank().saturating_sub(1)),
    };
    let output = graph.node(graph.output());
    let shape = node.shape.at(1);
    let why = answers_per_place(&output.name, shape.get(1..).unwrap_or(&[]), classes.unwrap_or(1), output.shape.elements_per_item());
    why.map_or(Ok(()), |why| Err(refused(graph, why)))
}

/// Refuses an output that no encoder's is: scores, what is joined out of several heads, fewer numbers than describe an image, or a sequence
/// whose last axis is not what a token is described by.
fn encoder(graph: &Graph, constant: &[bool]) -> Result<(), FeatureLayerError> {
    let output = graph.node(graph.output());
    let name = &output.name;
    let (source, turned) = source(graph, graph.output(), constant);
    let made = graph.node(source);
    let shape = output.shape.at(1);
    let per_image = shape.get(1..).unwrap_or(&[]);
    let scores = |id: NodeId| matches!(graph.node(id).op, Op::Softmax { .. } | Op::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }));
    let by = || format!("{} `{}`", made.op.name(), made.name);
    if scores(source) {
        return Err(refused(graph, format!("the output `{name}` holds scores (of {}), not features", by())));
    }
    if let Op::Concat { .. } = made.op {
        let joined = |id: &NodeId| {
            let (part, _) = self::source(graph, *id, constant);
            scores(part) || is_head(graph, part, constant)
        };
        if made.shape.rank() == 3 || made.inputs.iter().any(joined) {
            let why = format!(
                "the output `{name}` joins several parts ({}), as the answers of a detector are, not the features of an image",
                by()
            );
            return Err(refused(graph, why));
        }
    }
    if let [tokens, width] = *per_image
        && tokens > 1
    {
        // What describes a token is on the last axis; of a map it is its channels, which must have been brought there.
        let described = match made.shape.rank() {
            4 => made.shape.known(1).filter(|_| turned),
            rank => made.shape.known(rank.saturating_sub(1)),
        };
        if described != Some(width) {
            let why = format!(
                "the output `{name}` has shape {}, whose last axis does not describe a token of the image ({})",
                output.shape,
                by()
            );
            return Err(refused(graph, why));
        }
    }
    if let Some(map) = flattened_map(graph, constant) {
        let why = format!("the output `{name}` is one number for each place of the image (the map `{map}`), not features of it");
        return Err(refused(graph, why));
    }
    too_narrow(name, per_image).map_or(Ok(()), |why| Err(refused(graph, why)))
}

/// The map of one channel that the output is, flattened: a heat map's numbers describe places, not the image.
fn flattened_map(graph: &Graph, constant: &[bool]) -> Option<String> {
    let mut at = graph.output();
    loop {
        let node = graph.node(at);
        let input = || data_inputs(graph, at, constant).first().copied();
        let shape = |id: NodeId| graph.node(id).shape.at(1);
        let places = |map: &[usize]| map.len() == 4 && map[2] * map[3] > 1;
        if let one @ [_, 1, ..] = shape(at).as_slice()
            && places(one)
        {
            return Some(node.name.clone());
        }
        match &node.op {
            // Its channels are brought to one and their axis is gone.
            Op::Reduce { axes, keep: false, .. } => {
                return input().filter(|from| axes.as_slice() == [1] && places(&shape(*from))).map(|_| node.name.clone());
            }
            Op::Reshape { .. } | Op::Unary(_) => at = input()?,
            _ => return None,
        }
    }
}

/// Goes back through what moves, pools or scales numbers, to what computes them; and whether axes were exchanged on the way.
fn source(graph: &Graph, from: NodeId, constant: &[bool]) -> (NodeId, bool) {
    let (mut at, mut turned) = (from, false);
    loop {
        let node = graph.node(at);
        let passes = matches!(
            node.op,
            Op::Reshape { .. }
                | Op::Transpose { .. }
                | Op::Slice { .. }
                | Op::Select { .. }
                | Op::Expand { .. }
                | Op::Pad { .. }
                | Op::Reduce { .. }
                | Op::AvgPool { .. }
                | Op::MaxPool(_)
                | Op::Binary(Binary::Add | Binary::Sub | Binary::Mul | Binary::Div)
                | Op::Unary(Unary::Affine { .. } | Unary::Neg | Unary::Round(_))
        );
        let inputs = data_inputs(graph, at, constant);
        let &[one] = inputs.as_slice() else { return (at, turned) };
        if !passes {
            return (at, turned);
        }
        turned |= matches!(node.op, Op::Transpose { .. });
        at = one;
    }
}

/// The refusal, with the tensors that describe an image by the most numbers: where the backbone of a detector ends.
fn refused(graph: &Graph, why: String) -> FeatureLayerError {
    let map = |id: &usize| match graph.nodes()[*id].shape.0[..] {
        [Dim::Batch(1), Dim::Fixed(channels), Dim::Fixed(_), Dim::Fixed(_)] => Some(channels),
        _ => None,
    };
    let computed = |id: &usize| !matches!(graph.nodes()[*id].op, Op::Input | Op::Param(_) | Op::Reshape { .. } | Op::Transpose { .. });
    let mut maps: Vec<usize> = (0..graph.nodes().len()).filter(|id| computed(id) && map(id).is_some()).collect();
    maps.sort_by_key(|id| (std::cmp::Reverse(map(id)), std::cmp::Reverse(*id)));
    let shown = |id: &usize| format!("{} {}", graph.nodes()[*id].name, graph.nodes()[*id].shape);
    FeatureLayerError::NoFeatures { why, candidates: maps.iter().take(3).map(shown).collect() }
}
