//! Damaged files: whatever is in them, the answer is a network or an error.

use prost::Message;

use super::super::import::lower_graph;
use super::super::pb::ModelProto;
use super::build::classifier;
use super::{conformance, fixture};
use crate::graph::Shape;
use crate::model::onnx::load;
use crate::registry::ExternalData;

/// Knuth's linear congruential generator (MMIX): the same damage in every run.
struct Damage(u64);

impl Damage {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }

    /// One to four bytes changed, or a piece left out.
    fn apply(&mut self, bytes: &mut Vec<u8>) {
        if self.below(8) == 0 {
            let start = self.below(bytes.len());
            let end = (start + 1 + self.below(16)).min(bytes.len());
            bytes.drain(start..end);
            return;
        }
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            bytes[at] = match self.below(3) {
                0 => bytes[at] ^ (1 << self.below(8)),
                1 => [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                _ => self.below(256) as u8,
            };
        }
    }
}

/// How often: `HEIRLOOM_FUZZ` times as much where that is set.
fn rounds(few: usize) -> usize {
    few * std::env::var("HEIRLOOM_FUZZ").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

#[test]
fn a_fixture_damaged_anywhere_is_no_panic() {
    let (_, whole) = fixture("clean.onnx");
    let mut damage = Damage(1);
    for _ in 0..rounds(300) {
        let mut bytes = whole.clone();
        damage.apply(&mut bytes);
        let _ = load(&bytes, &ExternalData::new());
    }
}

#[test]
fn a_tiny_network_damaged_anywhere_is_no_panic() {
    let whole = classifier().encode_to_vec();
    let mut damage = Damage(2);
    for _ in 0..rounds(3000) {
        let mut bytes = whole.clone();
        damage.apply(&mut bytes);
        let _ = load(&bytes, &ExternalData::new());
    }
}

#[test]
fn every_operator_damaged_anywhere_is_no_panic() {
    let mut damage = Damage(3);
    for case in conformance::committed() {
        for _ in 0..rounds(20) {
            let mut bytes = case.model.clone();
            damage.apply(&mut bytes);
            let Ok(ModelProto { graph: Some(mut graph), .. }) = ModelProto::decode(&bytes[..]) else { continue };
            let wanted: Vec<String> = graph.output.iter().map(|o| o.name.clone()).collect();
            let tensors = case.tensors();
            let Some((x, rest)) = tensors.split_first() else { continue };
            graph.initializer.extend(rest.iter().cloned());
            let sizes: Vec<usize> = x.dims.iter().map(|&d| d as usize).collect();
            for shape in [Shape::fixed(&sizes), Shape::batched(sizes.get(1..).unwrap_or_default())] {
                let _ = lower_graph(graph.clone(), &x.name, &shape, sizes.first().copied(), 17, &ExternalData::new(), &wanted);
            }
        }
    }
}
