//! How far a network's own numbers carry: two programs that compute it agree to that, and no further.

use candle_core::{DType, Tensor};

use super::Network;
use crate::exec::{self, ExecError, Weights};
use crate::graph::{Graph, NodeId, Op, Sixteen};

/// Rounding of float32 comes out at 1e-7 to 1e-5 of the largest number, the deeper the network the more; a wrong padding, mode or constant
/// shows at 1e-2 and above.
pub const LEAST: f64 = 1e-4;

/// How often the network's own rounding two programs may be apart: each adds up in an order of its own.
const SPREAD: f64 = 10.0;

/// What float16 holds where the network's own rounding to it is no number (beyond 65504 it is infinite).
const HALF: f64 = 2e-2;

/// The largest difference of `found` from `exact`, relative to the largest of these; infinite where one is no number.
pub fn distance(found: &[f32], exact: &[f64]) -> f64 {
    let scale = exact.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    let apart = found.iter().zip(exact).map(|(a, b)| (f64::from(*a) - b).abs());
    let apart = apart.fold(0.0, |most: f64, v| if v.is_finite() { most.max(v) } else { f64::INFINITY });
    if found.len() != exact.len() {
        f64::INFINITY
    } else if apart == 0.0 {
        0.0
    } else {
        apart / scale
    }
}

/// Whether two computations differ by rounding alone, each as far from the exact one as given: none may be much farther than the other,
/// unless both are within `least`.
pub fn same(ours: f64, theirs: f64, least: f64) -> bool {
    theirs <= least.max(SPREAD * ours) && ours <= least.max(SPREAD * theirs)
}

impl Network {
    /// What the network up to `graph`, a part of it, makes of a batch in numbers of eight bytes.
    pub fn exactly(&self, graph: &Graph, batch: &Tensor) -> Result<Vec<f64>, ExecError> {
        let weights = Weights::new(&self.params.0, DType::F64)?;
        let out = exec::infer(graph, &weights, &batch.to_dtype(DType::F64)?)?;
        Ok(out.flatten_all()?.to_vec1::<f64>()?)
    }

    /// The same in four bytes, as everything else is computed.
    pub fn singly(&self, graph: &Graph, batch: &Tensor) -> Result<Vec<f32>, ExecError> {
        let weights = Weights::new(&self.params.0, DType::F32)?;
        Ok(exec::infer(graph, &weights, batch)?.flatten_all()?.to_vec1::<f32>()?)
    }

    /// How far apart two programs may be that compute the trunk on `batch`, whatever else they do: `LEAST`, or for a file of two-byte numbers
    /// what these hold.
    pub fn least(&self, half: Option<Sixteen>, batch: &Tensor) -> Result<f64, ExecError> {
        let Some(kind) = half else { return Ok(LEAST) };
        let whole: Vec<f64> = self.singly(&self.trunk, batch)?.into_iter().map(f64::from).collect();
        let own = distance(&self.singly(&self.trunk.rounded(kind), batch)?, &whole);
        Ok(if own.is_finite() { (SPREAD * own).clamp(LEAST, SPREAD * HALF) } else { HALF })
    }

    /// The first node of the trunk whose values in four bytes are more than `limit` of the largest from those in eight, found by halving.
    pub fn first_inexact(&self, batch: &Tensor, limit: f64) -> Result<Option<String>, ExecError> {
        let nodes: Vec<NodeId> = (0..self.trunk.nodes().len())
            .map(NodeId)
            .filter(|id| !matches!(self.trunk.node(*id).op, Op::Input | Op::Param(_)) && self.trunk.node(*id).shape.is_batched())
            .collect();
        let (mut exact, mut inexact) = (0, nodes.len());
        while exact < inexact {
            let middle = usize::midpoint(exact, inexact);
            let part = self.trunk.truncated(nodes[middle]);
            if distance(&self.singly(&part, batch)?, &self.exactly(&part, batch)?) > limit {
                inexact = middle;
            } else {
                exact = middle + 1;
            }
        }
        Ok(nodes.get(inexact).map(|id| self.trunk.node(*id).name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::{distance, same};

    #[test]
    fn distances_are_relative_to_the_largest_exact_number() {
        assert!((distance(&[4.0, 1.4], &[4.0, 1.0]) - 0.1).abs() < 1e-6);
        assert!(distance(&[0.0], &[0.0]) < f64::MIN_POSITIVE);
        for (found, exact) in [(&[1.0, f32::NAN][..], &[1.0, 1.0][..]), (&[1.0], &[1.0, 2.0]), (&[1.0], &[0.0])] {
            assert!(distance(found, exact).is_infinite());
        }
    }

    #[test]
    fn what_is_rounding_for_one_is_rounding_for_the_other() {
        let least = 1e-4;
        assert!(same(1e-7, 5e-5, least));
        // Ill-conditioned: both are far from the exact numbers, by about as much.
        assert!(same(2e-3, 9e-3, least) && same(9e-3, 2e-3, least));
        // One of them computes something else.
        assert!(!same(1e-6, 2e-3, least) && !same(2e-3, 1e-6, least) && !same(1e-3, 0.5, least));
        assert!(!same(f64::NAN, f64::NAN, least) && !same(1e-6, f64::INFINITY, least));
    }
}
