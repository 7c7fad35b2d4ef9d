//! Recognises GELU where it was exported as its formula.

use super::{Binary, Graph, NodeId, Op, Unary};

impl Graph {
    /// The same network with every `x (1 + erf(x / sqrt 2)) / 2` as one operator: exporters write it as five, each a pass over memory
    /// and a value to keep for the gradient.
    #[must_use]
    pub fn with_gelu(mut self) -> Self {
        let users = self.users();
        for (i, users) in users.iter().enumerate() {
            let Some((x, factor)) = self.product_with_erf(NodeId(i)) else { continue };
            // The half may be taken of any factor, or of the product.
            let halved = |id: NodeId| match self.nodes[id.0].op {
                Op::Unary(Unary::Affine { scale, shift: 0.0 }) => near(factor * scale, 0.5),
                _ => false,
            };
            let at = match users.as_slice() {
                _ if near(factor, 0.5) => i,
                &[only] if halved(only) => only.0,
                _ => continue,
            };
            if self.nodes[x.0].shape == self.nodes[at].shape {
                self.nodes[at].op = Op::Unary(Unary::Gelu { tanh: false });
                self.nodes[at].inputs = vec![x];
            }
        }
        let output = self.output;
        self.truncated(output)
    }

    /// `x` and `c` where a node is `c x (1 + erf(x / sqrt 2))`.
    fn product_with_erf(&self, id: NodeId) -> Option<(NodeId, f64)> {
        let node = &self.nodes[id.0];
        let (Op::Binary(Binary::Mul), &[a, b]) = (&node.op, node.inputs.as_slice()) else { return None };
        [(a, b), (b, a)].into_iter().find_map(|(linear, curve)| {
            let (curve, by) = self.scaled(curve);
            let (erf, factor) = match (&self.nodes[curve.0].op, self.nodes[curve.0].inputs.as_slice()) {
                (Op::Unary(Unary::Affine { scale, shift }), &[erf]) if near(*scale, *shift) => (erf, by * scale),
                _ => return None,
            };
            let (Op::Unary(Unary::Erf), &[inside]) = (&self.nodes[erf.0].op, self.nodes[erf.0].inputs.as_slice()) else { return None };
            let (x, within) = self.scaled(inside);
            // The other factor is the same number, perhaps scaled on its own.
            let (same, outside) = if linear == x { (x, 1.0) } else { self.scaled(linear) };
            (same == x && near(within, std::f64::consts::FRAC_1_SQRT_2)).then_some((x, factor * outside))
        })
    }

    /// What a node is a multiple of, and how many times.
    pub(super) fn scaled(&self, id: NodeId) -> (NodeId, f64) {
        match (&self.nodes[id.0].op, self.nodes[id.0].inputs.as_slice()) {
            (Op::Unary(Unary::Affine { scale, shift: 0.0 }), &[of]) => (of, *scale),
            _ => (id, 1.0),
        }
    }
}

/// Equal but for what an exporter rounded.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * b.abs()
}

#[cfg(test)]
mod tests {
    use super::super::{GraphBuilder, Shape};
    use super::*;

    /// `outer * ((inner x) (one + one erf(within x)))`, the product's factors in either order.
    fn exported([outer, inner, one, within]: [f64; 4], swapped: bool) -> Graph {
        let mut builder = GraphBuilder::new();
        let x = builder.input("x", Shape::batched(&[3])).unwrap();
        let mut unary = |name: &str, of: NodeId, op: Unary| builder.add(name, Op::Unary(op), &[of]).unwrap();
        let times = |scale: f64| Unary::Affine { scale, shift: 0.0 };
        let inside = unary("inside", x, times(within));
        let erf = unary("erf", inside, Unary::Erf);
        let curve = unary("curve", erf, Unary::Affine { scale: one, shift: one });
        let linear = if near(inner, 1.0) { x } else { unary("linear", x, times(inner)) };
        let inputs = if swapped { [curve, linear] } else { [linear, curve] };
        let product = builder.add("product", Op::Binary(Binary::Mul), &inputs).unwrap();
        let output = if near(outer, 1.0) { product } else { builder.add("output", Op::Unary(times(outer)), &[product]).unwrap() };
        builder.finish(output).unwrap()
    }

    #[test]
    fn every_way_of_writing_it_is_one_operator() {
        let root = 0.707_106_77;
        for factors in [[0.5, 1.0, 1.0, root], [1.0, 0.5, 1.0, root], [1.0, 1.0, 0.5, root]] {
            for swapped in [false, true] {
                let graph = exported(factors, swapped).with_gelu();
                let ops: Vec<_> = graph.nodes().iter().map(|node| &node.op).collect();
                assert_eq!(ops, [&Op::Input, &Op::Unary(Unary::Gelu { tanh: false })], "{factors:?}");
            }
        }
    }

    #[test]
    fn what_is_another_function_stays() {
        for factors in [[0.6, 1.0, 1.0, 0.707_106_77], [0.5, 1.0, 1.0, 0.8]] {
            let graph = exported(factors, false);
            assert_eq!(graph.clone().with_gelu(), graph);
        }
    }
}
