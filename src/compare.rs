//! Two reports of the same rules: what the later checkpoint hands down more, or less, than the earlier one.
//!
//! Both were measured on the same images, at the same seeds: image by image and seed by seed they are paired, and the difference of their own reactions
//! has a far narrower interval than either number. Where they were not, no difference is told, and the reason is.

mod html;
mod markdown;
mod pair;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::gate::{ExitCode, Finding, Verdict};
use crate::policy::ReadVariable;
use crate::probe::{Estimand, Measurement};
use crate::report::{ReadError, Report};
use crate::store::Digest;
use crate::tune::Mode;
use crate::verify;

pub use html::page_of;
pub use markdown::render;

/// Error of all intervals of one comparison together, on both sides.
const ERROR: f64 = 0.05;

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It fails now, and did not before.
    Broken,
    /// It fails still, or passes still, and the reaction is greater than before.
    Worse,
    /// The later report does not judge it.
    Missing,
    /// It passed, and is not settled now.
    Unsettled,
    /// It cannot be said.
    NotComparable,
    /// It passes now, and did not before.
    Fixed,
    /// The same verdict, and less of a reaction.
    Better,
    /// The same verdict, and no difference is shown.
    Same,
    /// The earlier report did not judge it.
    Added,
}

/// The later reaction minus the earlier one, over the same images and seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairedDifference {
    /// The difference, in the units of the rule's number.
    pub value: f64,
    /// Lower bound; the intervals of all rules hold together.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Images that enter.
    pub images: usize,
    /// Clusters of them.
    pub clusters: usize,
    /// Seeds that both have.
    pub seeds: usize,
}

/// One rule in one mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleChange {
    /// The rule.
    pub rule: String,
    /// The mode.
    pub mode: Mode,
    /// What became of it.
    pub change: Change,
    /// Why, where the verdicts and the difference do not say.
    pub reason: Option<String>,
    /// The number that is judged, of the later report where both have it.
    pub estimand: Estimand,
    /// The limits, earlier and later.
    pub limits: [Option<f64>; 2],
    /// The verdicts, earlier and later.
    pub verdicts: [Option<Verdict>; 2],
    /// The paired difference of the checkpoints' own reactions.
    pub difference: Option<PairedDifference>,
}

/// Which report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// The checkpoint.
    pub model: String,
    /// What it is known by.
    pub digest: Digest,
    /// The policy.
    pub policy: String,
    /// What that is known by.
    pub policy_digest: Digest,
    /// When it was measured.
    pub started: String,
    /// Its verdict.
    pub exit_code: i32,
}

/// Two reports, rule by rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The earlier report.
    pub old: Side,
    /// The later one.
    pub new: Side,
    /// Confidence that all intervals hold at once.
    pub confidence: f64,
    /// By how much a reaction may grow before a rule counts as worse.
    pub margin: f64,
    /// Every rule of either report: the later one's in its order, then those that it lacks.
    pub rules: Vec<RuleChange>,
    /// 0: no rule is worse. 1: one is broken or worse. 5: it is not known of all.
    pub exit_code: u8,
}

impl Comparison {
    /// How many rules became this.
    pub fn count(&self, change: Change) -> usize {
        self.rules.iter().filter(|rule| rule.change == change).count()
    }
}

/// A report with what it rests on.
struct Loaded {
    report: Report,
    measurements: BTreeMap<(String, Mode), Measurement>,
    policy: Result<crate::policy::Policy, String>,
}

impl Loaded {
    fn read(path: &Path, salt: Option<ReadVariable>) -> Result<Self, ReadError> {
        let report = Report::read(path)?;
        let all = report.read_measurements(path)?;
        let own = all.into_iter().filter(|m| m.arm == crate::probe::Arm::Source);
        let measurements = own.map(|m| ((m.rule.clone(), m.mode), m)).collect();
        let policy = verify::policy_inside(&report, salt);
        Ok(Self { report, measurements, policy })
    }

    fn side(&self) -> Side {
        let Report { model, policy, run, exit_code, .. } = &self.report;
        Side {
            model: model.identity.name(),
            digest: model.identity.digest.clone(),
            policy: policy.name.clone(),
            policy_digest: policy.digest.clone(),
            started: run.started.clone(),
            exit_code: *exit_code,
        }
    }

    fn findings(&self) -> BTreeMap<String, &Finding> {
        self.report.findings.iter().map(|finding| (finding.id(), finding)).collect()
    }
}

/// Compares two reports: their files, or the folders that hold them. `margin` is by how much a reaction may grow.
pub fn compare(old: &Path, new: &Path, margin: f64, salt: Option<ReadVariable>) -> Result<Comparison, ReadError> {
    let (old, new) = (Loaded::read(old, salt)?, Loaded::read(new, salt)?);
    let (before, after) = (old.findings(), new.findings());
    let both = after.keys().filter(|id| before.contains_key(*id)).count();
    // Both sides of each interval, shared among all rules.
    let alpha = ERROR / 2.0 / both.max(1) as f64;
    let sides = pair::Sides { old: &old, new: &new, alpha, margin };
    let mut rules: Vec<RuleChange> =
        new.report.findings.iter().map(|finding| sides.rule(before.get(&finding.id()).copied(), finding)).collect();
    let gone = old.report.findings.iter().filter(|finding| !after.contains_key(&finding.id()));
    rules.extend(gone.map(pair::missing));
    let any = |changes: &[Change]| rules.iter().any(|rule| changes.contains(&rule.change));
    let code = if any(&[Change::Broken, Change::Worse]) {
        ExitCode::Fail
    } else if any(&[Change::Unsettled, Change::NotComparable, Change::Missing]) || both == 0 {
        ExitCode::Inconclusive
    } else {
        ExitCode::Pass
    };
    Ok(Comparison { old: old.side(), new: new.side(), confidence: 1.0 - ERROR, margin, rules, exit_code: code.code() })
}

#[cfg(test)]
mod tests;
