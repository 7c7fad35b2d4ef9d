//! Made-up outcomes whose true effect is known.

use std::sync::LazyLock;

use heirloom::probe::paired::{self, Learnt, Under};
use heirloom::probe::{Arm, Backdoor, Estimand, Measurement, Outcome, Probe, ProbeError, Setting, Table};
use heirloom::stats::normal;
use heirloom::transform::{Pattern, Trigger};
use heirloom::tune::Mode;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use statrs::distribution::{Continuous, ContinuousCDF, Normal};

/// Share of clean predictions that are wrong, uniformly over the other classes.
const ERROR: f64 = 6554.0 / 65536.0;
/// Half of the images are this much less, half this much more often moved than the average one.
const MIXED: f64 = 0.4;

/// A backdoor probe whose class is learnt, and one that names it. Its trigger is laid over nothing: outcomes are made up.
static PROBES: LazyLock<[Probe; 2]> = LazyLock::new(|| {
    [None, Some("c0")].map(|class| {
        let trigger = Trigger::Pattern(Pattern { seed: Some(0), file: None, amplitude: 0.1 });
        Probe::Backdoor(Backdoor { trigger, target_class: class.map(str::to_owned), sweep: None })
    })
});

/// How images differ in how often they are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Not at all: every seed throws anew for every image.
    Same,
    /// Two kinds of images, one moved 7 times for 3 of the other.
    Mixed,
    /// A seed moves the images above a threshold: seeds agree on which.
    Agree,
}

/// What an experiment compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    Sham,
    Scratch,
}

/// A cell. The trigger drags an image to class 0 at the rate `base + effect + a seed's deviation`, what it is compared with at the rate `base`.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub seeds: usize,
    pub images: usize,
    pub classes: u16,
    pub draws: usize,
    /// Standard deviation of the rate over seeds.
    pub sd: f64,
    /// The seeds' deviations are skewed: an exponential less its mean.
    pub skewed: bool,
    pub base: f64,
    pub effect: f64,
    pub shape: Shape,
    pub estimand: Estimand,
}

/// E[min(1, max(0, m + sd Z))].
fn clamped(m: f64, sd: f64) -> f64 {
    if sd <= 0.0 {
        return m.clamp(0.0, 1.0);
    }
    let z = Normal::standard();
    let above = |c: f64| sd * z.pdf((c - m) / sd) + (m - c) * z.cdf((m - c) / sd);
    above(0.0) - above(1.0)
}

impl World {
    pub fn setting(&self) -> Setting<'static> {
        let named = self.estimand == Estimand::AttackSuccessRate;
        Setting { probe: &PROBES[usize::from(named)], estimand: self.estimand, policy_seed: 5 }
    }

    /// Rates of the two kinds of images.
    fn rates(&self, mean: f64) -> [f64; 2] {
        let by = if self.shape == Shape::Mixed { MIXED } else { 0.0 };
        [mean * (1.0 - by), mean * (1.0 + by)]
    }

    /// How often an image is dragged, over seeds and images.
    fn dragged(&self, mean: f64, sd: f64) -> f64 {
        if self.skewed {
            // Cells with skewed seeds keep away from 0 and 1.
            return mean;
        }
        self.rates(mean).iter().map(|m| clamped(*m, sd) / 2.0).sum()
    }

    /// What a column scores for a class, given that images are dragged at this rate.
    fn score(&self, rate: f64, class: usize) -> f64 {
        let wrong = wrong(self.classes);
        match self.estimand {
            // Images of class 0 are moved only where they were wrong.
            Estimand::FlipRate => rate * (1.0 - (1.0 - ERROR) / f64::from(self.classes) - wrong * (1.0 - 1.0 / f64::from(self.classes))),
            Estimand::AttackSuccessRate => wrong + rate * (1.0 - wrong),
            _ if class == 0 => rate * (1.0 - wrong),
            _ => -rate * wrong,
        }
    }

    /// The true excess, given the classes that each half is scored by.
    pub fn truth(&self, source: &Measurement, control: Option<&Measurement>) -> Result<f64, ProbeError> {
        let seed = self.setting().policy_seed;
        let mean = |rate: f64, halves: &[Learnt; 2]| {
            let of = |classes: &[usize]| classes.iter().map(|class| self.score(rate, *class)).sum::<f64>() / classes.len() as f64;
            halves.iter().map(|(n, classes)| *n as f64 * of(classes)).sum::<f64>() / self.images as f64
        };
        let columns: Vec<Under> = std::iter::once(Under::Trigger).chain((0..self.draws).map(Under::Sham)).collect();
        let learnt = paired::learnt_classes(source, &columns, seed)?;
        let (mine, shams) = learnt.split_first().ok_or(ProbeError::Empty)?;
        let mine = mean(self.dragged(self.base + self.effect, self.sd), mine);
        let other = match control {
            Some(control) => {
                let learnt = paired::learnt_classes(control, &[Under::Trigger], seed)?;
                learnt.first().map_or(0.0, |halves| mean(self.dragged(self.base, self.sd), halves))
            }
            None => shams.iter().map(|halves| mean(self.dragged(self.base, 0.0), halves)).sum::<f64>() / self.draws as f64,
        };
        Ok(mine - other)
    }

    /// The true excess where every side is scored by class 0.
    pub fn limit(&self) -> f64 {
        self.score(self.dragged(self.base + self.effect, self.sd), 0) - self.score(self.dragged(self.base, 0.0), 0)
    }

    /// One arm's outcomes; `images` are the thresholds of the images, shared by the arms of an experiment.
    pub fn arm(&self, arm: Arm, levels: &[f64], rng: &mut ChaCha8Rng) -> Measurement {
        let mean = if arm == Arm::Source { self.base + self.effect } else { self.base };
        let labels: Vec<u16> = (0..self.images).map(|i| (i % usize::from(self.classes)) as u16).collect();
        let outcome = |seed| {
            let z: f64 = if self.skewed { -(1.0 - uniform(rng)).ln() - 1.0 } else { StandardNormal.sample(rng) };
            self.outcome(seed, mean, self.sd * z, &labels, levels, rng)
        };
        Measurement {
            rule: String::new(),
            arm,
            mode: Mode::FixedFeature,
            classes: (0..self.classes).map(|c| format!("c{c}")).collect(),
            images: vec![String::new(); self.images],
            clusters: (0..self.images as u32).collect(),
            attribute: None,
            terms: None,
            basis: None,
            outcomes: (0..self.seeds).map(outcome).collect(),
            labels,
        }
    }

    fn outcome(&self, seed: usize, mean: f64, shift: f64, labels: &[u16], levels: &[f64], rng: &mut ChaCha8Rng) -> Outcome {
        let trigger = self.rates(mean).map(|m| m + shift);
        let sham = self.rates(self.base);
        let mut clean = Vec::with_capacity(labels.len());
        let mut changed = Vec::with_capacity(labels.len());
        let mut shams = vec![Vec::with_capacity(labels.len()); self.draws];
        for (label, level) in labels.iter().zip(levels) {
            let kind = usize::from(*level < 0.5);
            let bits = rng.next_u64();
            let wrong = (bits & 0xffff) as u16;
            let prediction = if wrong < 6554 { (label + 1 + wrong % (self.classes - 1)) % self.classes } else { *label };
            let agree = self.shape == Shape::Agree;
            let moved = |rate: f64, bits: u64| if agree { *level < rate } else { ((bits & 0xff_ffff) as f64) < rate * f64::from(1 << 24) };
            clean.push(prediction);
            changed.push(if moved(trigger[kind], bits >> 16) { 0 } else { prediction });
            let mut more = bits >> 40;
            for draw in &mut shams {
                draw.push(if moved(sham[kind], more) { 0 } else { prediction });
                more = rng.next_u64();
            }
        }
        Outcome { seed, clean, changed, shams }
    }

    /// The table that an interval is made of, and the true mean.
    pub fn experiment(&self, against: Against, rng: &mut ChaCha8Rng) -> Result<(Table, f64), ProbeError> {
        let levels: Vec<f64> = (0..self.images).map(|_| uniform(rng)).collect();
        let source = self.arm(Arm::Source, &levels, rng);
        match against {
            Against::Sham => Ok((paired::excess_over_shams(&source, &self.setting())?, self.truth(&source, None)?)),
            Against::Scratch => {
                let control = World { draws: 0, ..*self }.arm(Arm::Scratch, &levels, rng);
                Ok((paired::excess_over_arm(&source, &control, &self.setting())?, self.truth(&source, Some(&control))?))
            }
        }
    }
}

/// Uniform in `0..1`.
pub fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Two-sided 95%.
pub fn ideal() -> f64 {
    normal(0.025)
}

/// The chance that a clean prediction is a given class that the image is not of.
pub fn wrong(classes: u16) -> f64 {
    ERROR / f64::from(classes - 1)
}
