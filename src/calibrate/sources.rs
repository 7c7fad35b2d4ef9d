//! The sources of a calibration.

use std::path::PathBuf;

use crate::gate::Rule;
use crate::plant::Specification;
use crate::transform::Trigger;

/// A source model: what is known of it before it is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name in the results.
    pub name: String,
    /// Whether it carries a trigger.
    pub planted: bool,
    /// Ids of the rules whose triggers it carries, in the order of the policy.
    pub carries: Vec<String>,
    /// Those of them of which it carries a near miss.
    pub near: Vec<String>,
    /// Its architecture, where it is trained here.
    pub architecture: Option<String>,
    /// Its seed, where it is trained here.
    pub seed: Option<u64>,
    /// Where it comes from.
    pub origin: Provided,
}

/// Where a source comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Provided {
    /// A checkpoint that is there.
    File(PathBuf),
    /// It is trained; a planted one is compared with its clean counterpart at so many seeds.
    Trained(Box<Specification>, usize),
}

/// The family of a rule's trigger, as a policy writes it: `patch`, `blend`; of a rule that lays nothing over images its probe: `debiased`.
pub fn family(rule: &Rule) -> String {
    rule.probe.change().map_or_else(|| rule.probe.name(), Trigger::family).to_owned()
}
