//! One rule of two reports.

use super::{Change, Loaded, PairedDifference, RuleChange};
use crate::gate::{Finding, Verdict};
use crate::probe::{self, Arm, Measurement, Setting};

/// Both reports, and how differences are judged.
pub(super) struct Sides<'a> {
    pub old: &'a Loaded,
    pub new: &'a Loaded,
    /// Error of a bound on one side.
    pub alpha: f64,
    pub margin: f64,
}

/// A rule that the later report lacks.
pub(super) fn missing(old: &Finding) -> RuleChange {
    RuleChange {
        rule: old.rule.clone(),
        mode: old.mode,
        change: Change::Missing,
        reason: Some("the later report does not judge it".to_owned()),
        estimand: old.estimand,
        limits: [Some(old.limit), None],
        verdicts: [Some(old.verdict), None],
        difference: None,
    }
}

impl Sides<'_> {
    /// A rule of the later report.
    pub(super) fn rule(&self, old: Option<&Finding>, new: &Finding) -> RuleChange {
        let mut of = RuleChange {
            rule: new.rule.clone(),
            mode: new.mode,
            change: Change::Added,
            reason: None,
            estimand: new.estimand,
            limits: [old.map(|old| old.limit), Some(new.limit)],
            verdicts: [old.map(|old| old.verdict), Some(new.verdict)],
            difference: None,
        };
        let Some(old) = old else {
            of.reason = Some("the earlier report did not judge it".to_owned());
            return of;
        };
        let difference = self.difference(old, new);
        of.difference = difference.as_ref().ok().cloned();
        (of.change, of.reason) = match (self.verdicts_differ_in_kind(old, new), difference) {
            (Some(reason), _) | (None, Err(reason)) => (Change::NotComparable, Some(reason)),
            (None, Ok(difference)) => (self.change([old.verdict, new.verdict], &difference), None),
        };
        of
    }

    fn change(&self, verdicts: [Verdict; 2], difference: &PairedDifference) -> Change {
        match verdicts {
            [Verdict::Pass | Verdict::Inconclusive, Verdict::Fail] => Change::Broken,
            [Verdict::Pass, Verdict::Inconclusive] => Change::Unsettled,
            [Verdict::Fail | Verdict::Inconclusive, Verdict::Pass] => Change::Fixed,
            _ if difference.low > self.margin => Change::Worse,
            _ if difference.high < 0.0 => Change::Better,
            _ => Change::Same,
        }
    }

    /// Why two verdicts are no answers to one question.
    fn verdicts_differ_in_kind(&self, old: &Finding, new: &Finding) -> Option<String> {
        if old.estimand != new.estimand {
            return Some(format!("another number is judged: {} before, {} now", old.estimand.name(), new.estimand.name()));
        }
        for (finding, when) in [(old, "before"), (new, "now")] {
            if matches!(finding.verdict, Verdict::Error | Verdict::Skipped) {
                let verdict = crate::report::text::verdict(finding.verdict).to_lowercase();
                let reason = finding.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                return Some(format!("it was not judged {when} ({verdict}{reason})"));
            }
        }
        if (old.limit - new.limit).abs() > f64::EPSILON {
            return Some(format!("another limit: {} before, {} now", old.limit, new.limit));
        }
        let [before, now] = [old, new].map(|finding| finding.comparisons.iter().map(|c| c.control.name()).collect::<Vec<_>>());
        if before != now {
            return Some(format!("other controls: {} before, {} now", before.join(" and "), now.join(" and ")));
        }
        let references = |report: &crate::report::Report| report.references.iter().map(|known| known.digest.clone()).collect::<Vec<_>>();
        let beside = now.contains(&"reference");
        (beside && references(&self.old.report) != references(&self.new.report)).then(|| "other references".to_owned())
    }

    /// The later reaction minus the earlier one, or why there is none.
    fn difference(&self, old: &Finding, new: &Finding) -> Result<PairedDifference, String> {
        let policy = self.new.policy.as_ref().map_err(|reason| format!("the later report: {reason}"))?;
        let earlier = self.old.policy.as_ref().map_err(|reason| format!("the earlier report: {reason}"))?;
        let rule = policy.rules.iter().find(|rule| rule.id == new.rule).ok_or("the later report's policy has no such rule")?;
        let known = earlier.rules.iter().find(|rule| rule.id == old.rule).ok_or("the earlier report's policy has no such rule")?;
        let key = (new.rule.clone(), Arm::Source.trains(new.mode));
        let lacks = |which: &str| format!("the {which} report holds no measurement of it");
        let before = self.old.measurements.get(&key).ok_or_else(|| lacks("earlier"))?;
        let now = self.new.measurements.get(&key).ok_or_else(|| lacks("later"))?;
        if rule.probe != known.probe {
            return Err("another trigger or other groups are measured".to_owned());
        }
        if self.old.report.policy.salt != self.new.report.policy.salt {
            return Err("another salt: other halves of the images choose".to_owned());
        }
        paired_images(before, now)?;
        if before.terms.is_none() || before.terms != now.terms {
            return Err("another task, recipe, input or seed of the policy".to_owned());
        }
        let setting = Setting { probe: &rule.probe, estimand: new.estimand, policy_seed: policy.seed.value() };
        let table = probe::excess_over_arm(now, &[before], 0, &setting).map_err(|error| error.to_string())?;
        let fit = table.crossed().ok_or("an interval needs at least two seeds and two clusters of images")?;
        Ok(PairedDifference {
            value: fit.mean,
            low: fit.low(self.alpha).max(-2.0),
            high: fit.high(self.alpha).min(2.0),
            images: table.images,
            clusters: fit.clusters,
            seeds: fit.seeds,
        })
    }
}

/// Whether two measurements are of the same images, and fine-tunes of the same ones.
fn paired_images(old: &Measurement, new: &Measurement) -> Result<(), String> {
    let [before, now] = [old, new].map(|m| m.basis.as_ref());
    let (Some(before), Some(now)) = (before, now) else {
        return Err("a report of an earlier build does not say on which images it was measured".to_owned());
    };
    if before.test != now.test || old.images != new.images {
        return Err("other test images".to_owned());
    }
    if before.train != now.train {
        return Err("other training images".to_owned());
    }
    let seeds = |m: &Measurement| m.outcomes.iter().map(|outcome| outcome.seed).collect::<std::collections::BTreeSet<_>>();
    if seeds(old).is_disjoint(&seeds(new)) { Err("no seed in common".to_owned()) } else { Ok(()) }
}
