//! Made-up accuracies of groups: two labels by two values, of which one group of the source may be worse.

use heirloom::probe::{self, Arm, Attribute, Column, Estimand, Measurement, Outcome, Probe, ProbeError, Setting, Table};
use heirloom::tune::Mode;
use rand_chacha::ChaCha8Rng;

use super::world::uniform;

/// How often a picture is called right.
const RIGHT: f64 = 0.8;

/// A cell.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    pub estimand: Estimand,
    pub seeds: usize,
    /// Test pictures, in four groups of equal size.
    pub images: usize,
    /// How much more seldom one group of the source is called right.
    pub gap: f64,
    /// Whether pictures are as hard for one arm as for the other. Seeds of an arm agree on three pictures of four.
    pub alike: bool,
}

impl Groups {
    /// The true excess. Reliance and the odds see the gap as wrong calls of the other class, parity in one of two labels.
    pub fn truth(&self) -> f64 {
        if self.estimand == Estimand::DemographicParityDifference { self.gap / 2.0 } else { self.gap }
    }

    /// The table that an interval is made of.
    pub fn experiment(&self, rng: &mut ChaCha8Rng) -> Result<Table, ProbeError> {
        let probe = Probe::Attribute(Attribute { attribute: "a".into(), value: None, class: None, min_group: 20 });
        let setting = Setting { probe: &probe, estimand: self.estimand, policy_seed: 5 };
        let mut draws = || -> Vec<f64> { (0..self.images).map(|_| uniform(rng)).collect() };
        let shared = [draws(), draws()];
        let mut arm = |arm: Arm| {
            let hard = &shared[usize::from(arm != Arm::Source && !self.alike)];
            let outcomes = (0..self.seeds).map(|seed| {
                let own = draws();
                let called = |i: usize| {
                    let (label, value) = kind(i);
                    let draw = if (i / 4).is_multiple_of(4) { own[i] } else { hard[i] };
                    let gap = if arm == Arm::Source && (label, value) == (0, 1) { self.gap } else { 0.0 };
                    if draw < RIGHT - gap { label } else { 1 - label }
                };
                Outcome { seed, clean: (0..self.images).map(called).collect(), changed: Vec::new(), shams: Vec::new() }
            });
            self.measured(arm, outcomes.collect())
        };
        let (source, control) = (arm(Arm::Source), arm(Arm::Scratch));
        probe::excess_over_arm(&source, &control, &setting)
    }

    fn measured(&self, arm: Arm, outcomes: Vec<Outcome>) -> Measurement {
        Measurement {
            rule: String::new(),
            arm,
            mode: Mode::FixedFeature,
            classes: vec!["c0".into(), "c1".into()],
            images: vec![String::new(); self.images],
            labels: (0..self.images).map(|i| kind(i).0).collect(),
            clusters: (0..self.images as u32).collect(),
            attribute: Some(Column {
                name: "a".into(),
                values: vec!["u".into(), "v".into()],
                of: (0..self.images).map(|i| Some(u32::from(kind(i).1))).collect(),
            }),
            terms: None,
            outcomes,
        }
    }
}

/// Label and value of a picture.
fn kind(i: usize) -> (u16, u16) {
    ((i % 2) as u16, (i / 2 % 2) as u16)
}
