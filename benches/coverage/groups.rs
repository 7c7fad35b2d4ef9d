//! Made-up accuracies of groups: two labels by two or three values, of which one group of one arm may be worse.

use heirloom::probe::{self, Arm, Attribute, Column, Estimand, Measurement, Outcome, Probe, ProbeError, Setting, Table};
use heirloom::tune::Mode;
use rand_chacha::ChaCha8Rng;

use super::world::uniform;

/// How often an image is called right.
const RIGHT: f64 = 0.8;
/// The same where it is hard for everybody.
const HARD: f64 = 0.5;

/// What else there is about groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Nothing.
    Plain,
    /// A third value whose images are hard for both arms.
    HardThird,
    /// Each seed of each arm has its own accuracy in each group: 5.8 points standard deviation.
    SeedsDiffer,
    /// The gap is the control's, and the source treats groups alike.
    OfControl,
}

impl Setup {
    pub const ALL: [Self; 4] = [Self::Plain, Self::HardThird, Self::SeedsDiffer, Self::OfControl];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "two values",
            Self::HardThird => "a third value, hard for both",
            Self::SeedsDiffer => "two values, seeds differ",
            Self::OfControl => "two values, the gap is the control's",
        }
    }
}

/// A cell.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    pub estimand: Estimand,
    pub setup: Setup,
    pub seeds: usize,
    /// Test images by group, all of equal size.
    pub each: usize,
    /// How much more seldom one group of the source (or of the control) is called right.
    pub gap: f64,
    /// Whether images are as hard for one arm as for the other. Seeds of an arm agree on three images of four.
    pub alike: bool,
}

impl Groups {
    /// The true excess. Reliance and the odds see the gap as wrong calls of the other class, parity in one of two labels. A gap of the
    /// control alone is none of the source's.
    pub fn truth(&self) -> f64 {
        match (self.setup, self.estimand) {
            (Setup::OfControl, _) => 0.0,
            (_, Estimand::DemographicParityDifference) => self.gap / 2.0,
            _ => self.gap,
        }
    }

    fn values(&self) -> usize {
        if self.setup == Setup::HardThird { 3 } else { 2 }
    }

    /// Label and value of an image.
    fn kind(&self, i: usize) -> (u16, u16) {
        ((i % 2) as u16, (i / 2 % self.values()) as u16)
    }

    /// The table that an interval is made of.
    pub fn experiment(&self, rng: &mut ChaCha8Rng) -> Result<Table, ProbeError> {
        let probe = Probe::Attribute(Attribute { attribute: "a".into(), value: None, class: None, min_group: 20 });
        let setting = Setting { probe: &probe, estimand: self.estimand, policy_seed: 5 };
        let images = 2 * self.values() * self.each;
        let worse = if self.setup == Setup::OfControl { Arm::Scratch } else { Arm::Source };
        let mut draws = |n: usize| -> Vec<f64> { (0..n).map(|_| uniform(rng)).collect() };
        let shared = [draws(images), draws(images)];
        let mut arm = |arm: Arm| {
            let hard = &shared[usize::from(arm != Arm::Source && !self.alike)];
            let outcomes = (0..self.seeds).map(|seed| {
                let own = draws(images);
                let spread = if self.setup == Setup::SeedsDiffer { 0.2 } else { 0.0 };
                let of_seed: Vec<f64> = draws(2 * self.values()).into_iter().map(|u| spread * (u - 0.5)).collect();
                let called = |i: usize| {
                    let (label, value) = self.kind(i);
                    let draw = if (i / 4).is_multiple_of(4) { own[i] } else { hard[i] };
                    let gap = if arm == worse && (label, value) == (0, 1) { self.gap } else { 0.0 };
                    let right = if value == 2 { HARD } else { RIGHT };
                    if draw < right - gap + of_seed[usize::from(2 * value + label)] { label } else { 1 - label }
                };
                Outcome { seed, clean: (0..images).map(called).collect(), changed: Vec::new(), shams: Vec::new() }
            });
            self.measured(arm, images, outcomes.collect())
        };
        let (source, control) = (arm(Arm::Source), arm(Arm::Scratch));
        probe::excess_over_arm(&source, &[&control], 0, &setting)
    }

    fn measured(&self, arm: Arm, images: usize, outcomes: Vec<Outcome>) -> Measurement {
        Measurement {
            rule: String::new(),
            arm,
            mode: Mode::FixedFeature,
            classes: vec!["c0".into(), "c1".into()],
            images: vec![String::new(); images],
            labels: (0..images).map(|i| self.kind(i).0).collect(),
            clusters: (0..images as u32).collect(),
            attribute: Some(Column {
                name: "a".into(),
                values: ["u", "v", "w"].iter().take(self.values()).map(|v| (*v).to_owned()).collect(),
                of: (0..images).map(|i| Some(u32::from(self.kind(i).1))).collect(),
            }),
            terms: None,
            basis: None,
            outcomes,
        }
    }
}
