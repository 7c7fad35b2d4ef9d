//! Recognises attention where it was exported as its formula.

use super::{Graph, NodeId, Op, Shape, infer};

/// Attention that was found: what it reads and by how much scores are multiplied.
struct Found {
    q: NodeId,
    /// What the keys are made of, and in which order of axes.
    k: (NodeId, Vec<usize>),
    /// The node of the transposed keys.
    columns: NodeId,
    v: NodeId,
    scale: f64,
}

impl Graph {
    /// The same network with every `softmax(scale q k^T) v` as one operator: as formula, scores and shares are values of their own, as
    /// large as the square of the number of tokens. `kept` names a node that must stay.
    ///
    /// Found where nothing else reads scores and shares, `k^T` is a transposition, and the scale a constant at the scores or at a factor.
    #[must_use]
    pub fn with_attention(mut self, kept: Option<&str>) -> Self {
        let mut users = self.users();
        for i in 0..self.nodes.len() {
            let inner = |id: NodeId| users[id.0].len() == 1 && self.output != id && kept != Some(self.nodes[id.0].name.as_str());
            let Some(Found { q, k: (source, perm), columns, v, scale }) = self.attention_at(NodeId(i), inner) else { continue };
            let moved = !perm.iter().copied().eq(0..perm.len());
            if moved {
                // Its values are other ones now: they must not be found under the name of those in the file.
                let shape = Shape(perm.iter().map(|&axis| self.nodes[source.0].shape.0[axis]).collect());
                let node = &mut self.nodes[columns.0];
                node.name.push_str("/keys");
                (node.op, node.inputs, node.shape) = (Op::Transpose { perm }, vec![source], shape);
            }
            self.nodes[i].op = Op::Attention { scale };
            self.nodes[i].inputs = vec![q, if moved { columns } else { source }, v];
            users = self.users();
        }
        let output = self.output;
        self.truncated(output)
    }

    /// What a node computes, if that is attention. `inner`: whether a value has one reader and is asked for by no one else.
    fn attention_at(&self, id: NodeId, inner: impl Fn(NodeId) -> bool) -> Option<Found> {
        let [shares, v] = self.factors(id)?;
        let Op::Softmax { axis } = self.nodes[shares.0].op else { return None };
        let &[scores] = self.nodes[shares.0].inputs.as_slice() else { return None };
        let (product, by) = self.scaled(scores);
        let [queries, keys] = self.factors(product)?;
        let (q, by_queries) = self.scaled(queries);
        let (columns, by_columns) = self.scaled(keys);
        let Op::Transpose { perm } = &self.nodes[columns.0].op else { return None };
        let &[before] = self.nodes[columns.0].inputs.as_slice() else { return None };
        let (k, by_keys) = self.scaled(before);
        if axis + 1 != self.nodes[shares.0].shape.rank() || ![shares, scores, product, keys, columns].into_iter().all(inner) {
            return None;
        }
        let scale = by * by_queries * by_columns * by_keys;
        // The transposed keys, turned round.
        let (mut perm, mut rows) = (perm.clone(), self.nodes[columns.0].shape.clone());
        let last = perm.len().checked_sub(1).filter(|last| *last > 0)?;
        perm.swap(last - 1, last);
        rows.0.swap(last - 1, last);
        let inputs = [&self.nodes[q.0].shape, &rows, &self.nodes[v.0].shape];
        let shape = infer::infer(&Op::Attention { scale }, &inputs).ok()?;
        (shape == self.nodes[id.0].shape).then_some(Found { q, k: (k, perm), columns, v, scale })
    }

    /// The factors of a matrix product.
    fn factors(&self, id: NodeId) -> Option<[NodeId; 2]> {
        match (&self.nodes[id.0].op, self.nodes[id.0].inputs.as_slice()) {
            (Op::MatMul, &[a, b]) => Some([a, b]),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Binary, GraphBuilder, Unary};
    use super::*;

    /// Where the scale is, in which order the keys' axes are moved from `[N, tokens, heads, width]`, and what else reads a value.
    fn exported(scales: [f64; 4], perm: Vec<usize>, read_twice: Option<&str>) -> Graph {
        let mut b = GraphBuilder::new();
        let x = b.input("x", Shape::batched(&[5, 2, 3])).unwrap();
        let times = |b: &mut GraphBuilder, name: &str, x: NodeId, scale: f64| match scale {
            1.0 => x,
            scale => b.add(name, Op::Unary(Unary::Affine { scale, shift: 0.0 }), &[x]).unwrap(),
        };
        let heads = || Op::Transpose { perm: vec![0, 2, 1, 3] };
        let q = b.add("q", heads(), &[x]).unwrap();
        let q = times(&mut b, "q.scaled", q, scales[0]);
        let k = times(&mut b, "k.scaled", x, scales[1]);
        let k = b.add("k", Op::Transpose { perm }, &[k]).unwrap();
        let k = times(&mut b, "columns.scaled", k, scales[2]);
        let v = b.add("v", heads(), &[x]).unwrap();
        let scores = b.add("scores", Op::MatMul, &[q, k]).unwrap();
        let scaled = times(&mut b, "scaled", scores, scales[3]);
        let shares = b.add("shares", Op::Softmax { axis: 3 }, &[scaled]).unwrap();
        let mut output = b.add("output", Op::MatMul, &[shares, v]).unwrap();
        if let Some(name) = read_twice {
            let read = NodeId(b.nodes.iter().position(|node| node.name == name).unwrap());
            let sum = Op::Reduce { kind: crate::graph::Reduce::Sum, axes: vec![1, 2, 3], keep: true };
            let sum = b.add("sum", sum, &[read]).unwrap();
            output = b.add("both", Op::Binary(Binary::Add), &[output, sum]).unwrap();
        }
        b.finish(output).unwrap()
    }

    #[test]
    fn every_way_of_writing_it_is_one_operator() {
        for scales in [[1.0; 4], [0.5, 1.0, 1.0, 1.0], [1.0, 0.5, 2.0, 0.3], [0.5, 0.5, 1.0, 1.0]] {
            let graph = exported(scales, vec![0, 2, 3, 1], None).with_attention(None);
            let names: Vec<_> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
            assert_eq!(names, ["x", "q", "k/keys", "v", "output"]);
            assert_eq!(graph.node(NodeId(2)).op, Op::Transpose { perm: vec![0, 2, 1, 3] });
            assert!(
                matches!(graph.node(graph.output()).op, Op::Attention { scale } if (scale - scales.iter().product::<f64>()).abs() < 1e-12)
            );
        }
    }

    #[test]
    fn keys_that_were_only_transposed_are_read_as_they_were() {
        let mut b = GraphBuilder::new();
        let x = b.input("x", Shape::batched(&[5, 3])).unwrap();
        let k = b.add("columns", Op::Transpose { perm: vec![0, 2, 1] }, &[x]).unwrap();
        let scores = b.add("scores", Op::MatMul, &[x, k]).unwrap();
        let shares = b.add("shares", Op::Softmax { axis: 2 }, &[scores]).unwrap();
        let output = b.add("output", Op::MatMul, &[shares, x]).unwrap();
        let graph = b.finish(output).unwrap().with_attention(None);
        assert_eq!(graph.nodes().len(), 2);
        assert_eq!(graph.node(graph.output()).inputs, [graph.input(); 3]);
    }

    #[test]
    fn what_something_else_needs_stays() {
        for name in ["shares", "scores", "scaled", "k", "columns.scaled"] {
            let scales = [1.0, 1.0, 0.5, 0.5];
            let graph = exported(scales, vec![0, 2, 3, 1], Some(name));
            assert_eq!(graph.clone().with_attention(None), graph, "{name}");
            let graph = exported(scales, vec![0, 2, 3, 1], None);
            assert_eq!(graph.clone().with_attention(Some(name)), graph, "{name}");
        }
    }

    #[test]
    fn what_is_another_function_stays() {
        let graph = exported([1.0, 1.0, 1.0, -0.5], vec![0, 2, 3, 1], None);
        assert_eq!(graph.clone().with_attention(None), graph);
    }
}
