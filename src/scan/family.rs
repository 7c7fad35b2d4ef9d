//! Which models come from one parent: a fork, a fine-tune or a copy of it under another name. Of all that do, one counts.
//!
//! A sketch keeps some of a network's weights, at the same places for all networks of the same shapes. Weights that were drawn and trained apart
//! are not correlated; those of one parent are, whatever was fine-tuned on top.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Params;
use crate::store::{Digest, Fingerprinter};

/// Most weights that are kept.
const MOST: usize = 512;
/// Correlation from which on two are of one family. That of 512 weights that have nothing to do with each other is below 0.3 in all but one pair of 10^11.
const SAME: f32 = 0.3;
/// Steps of a kept weight within one standard deviation.
const STEPS: f64 = 32.0;

/// Some weights of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sketch {
    /// Digest of the shapes of its tensors.
    pub shapes: Digest,
    /// Weights at places that the shapes choose, each in 32nds of its tensor's standard deviation from its mean.
    pub weights: Vec<i8>,
}

impl Sketch {
    /// That of a network's weights; none where it has none of two dimensions.
    pub(super) fn of(params: &Params) -> Option<Self> {
        // Of one dimension are biases and what normalises: near 0 and 1 in all networks.
        let mut tensors: Vec<_> = params.0.iter().filter(|tensor| tensor.ndim() > 1 && tensor.len() > 1).collect();
        // In a stable order, so that a file of another format may begin elsewhere.
        tensors.sort_by(|a, b| a.shape().cmp(b.shape()));
        let mut feed = Fingerprinter::new("heirloom weight sketch", 1);
        for tensor in &tensors {
            feed.field("shape", format!("{:?}", tensor.shape()).as_str());
        }
        let all: usize = tensors.iter().map(|tensor| tensor.len()).sum();
        let count = MOST.min(all);
        let mut places = (0..count).map(|nth| ((nth as u128 * 2 + 1) * all as u128 / (2 * count as u128)) as usize).peekable();
        let (mut weights, mut before) = (Vec::with_capacity(count), 0);
        for tensor in tensors {
            let end = before + tensor.len();
            let size = tensor.len() as f64;
            let mean = tensor.iter().map(|value| f64::from(*value)).sum::<f64>() / size;
            let sd = (tensor.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / size).sqrt();
            let mut values = tensor.iter().enumerate();
            while let Some(place) = places.next_if(|place| *place < end) {
                let value = values.find(|(at, _)| before + at == place).map_or(mean, |(_, value)| f64::from(*value));
                let steps = if sd > 0.0 { (value - mean) / sd * STEPS } else { 0.0 };
                weights.push(steps.round().clamp(-127.0, 127.0) as i8);
            }
            before = end;
        }
        (count > 0).then(|| Self { shapes: feed.finish(), weights })
    }

    /// The weights with mean 0 and length 1: the product of two is their correlation.
    fn normal(&self) -> Vec<f32> {
        let values = || self.weights.iter().map(|value| f32::from(*value));
        let mean = values().sum::<f32>() / self.weights.len().max(1) as f32;
        let length = values().map(|value| (value - mean).powi(2)).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        values().map(|value| (value - mean) / length).collect()
    }
}

/// What is known of a model's family: its identity and its sketch.
pub(super) struct Member<'a> {
    pub digest: &'a Digest,
    pub sketch: Option<&'a Sketch>,
}

/// The family of each, by number. Whoever is kin to any of a family belongs to it.
pub(super) fn families(members: &[Member]) -> Vec<usize> {
    let mut family: Vec<usize> = (0..members.len()).collect();
    let mut by_digest: BTreeMap<&Digest, usize> = BTreeMap::new();
    let mut by_shapes: BTreeMap<&Digest, Vec<(usize, Vec<f32>)>> = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        if let Some(earlier) = by_digest.insert(member.digest, at) {
            unite(&mut family, at, earlier);
            continue;
        }
        let Some(sketch) = member.sketch else { continue };
        let (own, alike) = (sketch.normal(), by_shapes.entry(&sketch.shapes).or_default());
        for (earlier, other) in &*alike {
            if own.iter().zip(other).map(|(a, b)| a * b).sum::<f32>() > SAME {
                unite(&mut family, at, *earlier);
            }
        }
        alike.push((at, own));
    }
    (0..members.len()).map(|at| root(&mut family, at)).collect()
}

fn unite(family: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(family, a), root(family, b));
    family[a.max(b)] = a.min(b);
}

/// The first of a family, which all the others lead to.
fn root(family: &mut [usize], mut at: usize) -> usize {
    while family[at] != at {
        family[at] = family[family[at]];
        at = family[at];
    }
    at
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::stats::stream::stream;

    fn network(seed: u64) -> Params {
        let mut rng = stream(seed, 0, "family");
        let mut tensor = |shape: &[usize]| {
            let values = (0..shape.iter().product()).map(|_| Distribution::<f32>::sample(&StandardNormal, &mut rng)).collect();
            ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()
        };
        Params(vec![tensor(&[8, 3, 3, 3]), tensor(&[8]), tensor(&[16, 8, 3, 3]), tensor(&[5, 16])])
    }

    #[test]
    fn forks_are_one_family_and_strangers_are_not() {
        let (one, other) = (network(1), network(2));
        let mut fork = one.clone();
        for (tensor, noise) in fork.0.iter_mut().zip(&network(3).0) {
            *tensor = &*tensor * 3.0 + noise * 2.0;
        }
        // Another format holds the tensors in another order.
        let mut turned = one.clone();
        turned.0.reverse();
        let half = Params(one.0.iter().map(|tensor| tensor.mapv(|value| half::f16::from_f32(value).to_f32())).collect());
        let networks = [&one, &other, &fork, &turned, &half];
        let sketches: Vec<Sketch> = networks.iter().map(|params| Sketch::of(params).unwrap()).collect();
        assert_eq!(sketches[0].weights.len(), MOST);
        let digests: Vec<Digest> = ["0001", "0002", "0003", "0004", "0005"].map(Digest::sample).into();
        let members: Vec<Member> = digests.iter().zip(&sketches).map(|(digest, sketch)| Member { digest, sketch: Some(sketch) }).collect();
        assert_eq!(families(&members), [0, 1, 0, 0, 0]);
    }

    #[test]
    fn copies_are_one_family_without_a_sketch() {
        let digests = ["0001", "0002", "0001"].map(Digest::sample);
        let members: Vec<Member> = digests.iter().map(|digest| Member { digest, sketch: None }).collect();
        assert_eq!(families(&members), [0, 1, 0]);
        assert!(families(&[]).is_empty());
    }

    #[test]
    fn a_network_without_weights_has_no_sketch() {
        let flat = ArrayD::from_elem(IxDyn(&[4, 4]), 0.5_f32);
        assert_eq!(Sketch::of(&Params(vec![ArrayD::zeros(IxDyn(&[4]))])), None);
        assert_eq!(Sketch::of(&Params(vec![flat])).unwrap().weights, [0; 16]);
    }
}
