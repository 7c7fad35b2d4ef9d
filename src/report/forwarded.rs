//! How many images went through networks: what a run spends its time on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text;
use crate::diag;
use crate::probe::Arm;

/// Images that went through a whole network, from its first layer on, by what it started from. Not counted: what heads do with features, and
/// what is shown to networks before the first fine-tune (a few images that executors are compared on, the statistics of untrained networks,
/// the self-test).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forwarded {
    /// The checkpoint under test and its fine-tunes.
    pub source: Passes,
    /// The trusted checkpoints and their fine-tunes.
    pub references: Passes,
    /// Networks of fresh weights: from scratch, untrained.
    pub others: Passes,
}

/// Images that went through networks of one kind; an image counts each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Passes {
    /// Evaluated: one forward pass each.
    pub evaluated: u64,
    /// Trained on: a forward pass and a backward pass each.
    pub trained: u64,
    /// Both, where an earlier run had kept what came of it: they went through no network this time.
    pub kept: u64,
}

/// Why an image went through a network, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It was evaluated.
    Evaluated,
    /// It was trained on.
    Trained,
    /// An earlier run had kept what came of it.
    Kept,
}

impl Forwarded {
    /// Counts images.
    pub(crate) fn add(&mut self, arm: Arm, passage: Passage, images: u64) {
        let passes = match arm {
            Arm::Source => &mut self.source,
            Arm::Reference(_) => &mut self.references,
            Arm::Scratch | Arm::Untrained(_) => &mut self.others,
        };
        let place = match passage {
            Passage::Evaluated => &mut passes.evaluated,
            Passage::Trained => &mut passes.trained,
            Passage::Kept => &mut passes.kept,
        };
        *place += images;
    }

    /// For people: `12,400 images through the checkpoint, 3,100 through 2 references; 900 kept from earlier runs`.
    pub(super) fn told(&self, references: usize) -> String {
        let through = |passes: &Passes| text::grouped(passes.evaluated + passes.trained);
        let mut parts = vec![format!("{} images through the checkpoint", through(&self.source))];
        if references > 0 {
            parts.push(format!("{} through {}", through(&self.references), diag::count(references, "reference")));
        }
        if self.others != Passes::default() {
            parts.push(format!("{} through networks of fresh weights", through(&self.others)));
        }
        let kept = self.source.kept + self.references.kept + self.others.kept;
        format!("{}; {} kept from earlier runs", parts.join(", "), text::grouped(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::{Forwarded, Passage};
    use crate::probe::Arm;

    #[test]
    fn what_is_told() {
        let mut all = Forwarded::default();
        all.add(Arm::Source, Passage::Evaluated, 12_000);
        all.add(Arm::Source, Passage::Trained, 400);
        assert_eq!(all.told(0), "12,400 images through the checkpoint; 0 kept from earlier runs");
        all.add(Arm::Reference(1), Passage::Evaluated, 3_100);
        all.add(Arm::Scratch, Passage::Trained, 1_234_567);
        all.add(Arm::Reference(0), Passage::Kept, 900);
        assert_eq!(
            all.told(2),
            "12,400 images through the checkpoint, 3,100 through 2 references, 1,234,567 through networks of fresh weights; 900 kept from \
             earlier runs"
        );
    }
}
