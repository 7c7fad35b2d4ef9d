//! What is asked of a source beyond the policy: whether a planted trigger is transferred at all, and whether verdicts hold at more seeds.
//!
//! Training on stamped images does not always leave a mark that survives fine-tuning, and a gate that lets an inert trigger pass is
//! right. A planted source that was trained here has a clean counterpart: the same images in the same order from the same fresh weights,
//! without the trigger. The excess over fine-tunes of the clean counterpart, at many seeds, is what the trigger did. Nobody who receives a checkpoint has
//! its clean counterpart; controls stand in for it.

use super::record::{Again, FindingRecord, Transferred, Truth, score};
use crate::gate::{Control, Finding};
use crate::policy::{Looks, Policy};

/// What is added to the seed that chooses images.
const OTHER_IMAGES: u64 = 0x7472_7574_6800;

/// The policy that asks this of the rules whose triggers a source carries: the clean counterpart is their `reference`. Its seed is another one, so
/// that fine-tunes, halves and, where the data have more of them than the policy takes, images are others than the score is made of.
pub(super) fn question(policy: &Policy, carries: &[String], seeds: usize) -> Policy {
    let mut policy = policy.clone();
    policy.rules.retain(|rule| carries.contains(&rule.id));
    for rule in &mut policy.rules {
        rule.controls = Some(vec![Control::Reference]);
    }
    // There is one alone.
    policy.file.references.clear();
    policy.seed = policy.seed.other();
    // It chooses the images, with a salt as without.
    policy.file.seed = policy.file.seed.wrapping_add(OTHER_IMAGES);
    at_seeds(policy, seeds)
}

/// The same policy in a single look at so many seeds.
pub(super) fn at_seeds(mut policy: Policy, seeds: usize) -> Policy {
    let once = Some(Looks { first: seeds, most: seeds });
    policy.file.seeds.fixed_feature = once;
    policy.file.seeds.full_network = once;
    policy
}

/// Writes the answers beside the findings they are about.
pub(super) fn answer(findings: &mut [FindingRecord], answers: &[Finding], seeds: usize) {
    for answer in answers {
        let excess = answer.comparisons.iter().find(|c| c.control == Control::Reference).and_then(|c| c.excess.clone());
        // Not the verdict: that also asks how far innocent checkpoints differ, and a source and its clean counterpart differ by the trigger alone.
        let transferred = match &excess {
            Some(excess) if excess.low > answer.limit => Transferred::Yes,
            Some(excess) if excess.high < answer.limit => Transferred::No,
            _ => Transferred::Open,
        };
        for finding in findings.iter_mut().filter(|f| f.rule == answer.rule && f.mode == answer.mode) {
            finding.truth = Some(Truth { transferred, excess: excess.clone(), seeds, apart: true });
        }
    }
}

/// Writes what more seeds found beside the findings.
pub(super) fn again(findings: &mut [FindingRecord], more: &[Finding], seeds: usize) {
    for more in more {
        for finding in findings.iter_mut().filter(|f| f.rule == more.rule && f.mode == more.mode) {
            finding.again = Some(Again { seeds, verdict: more.verdict, score: score(&more.comparisons) });
        }
    }
}

/// Whether an earlier record holds what is asked for: the truth of what it carries at `truth` seeds, all findings at `more` seeds.
pub(super) fn answered(findings: &[FindingRecord], carries: &[String], truth: Option<usize>, more: Option<usize>) -> bool {
    let asked = |finding: &FindingRecord| if carries.contains(&finding.rule) { truth } else { None };
    findings.iter().all(|finding| {
        finding.truth.as_ref().map(|truth| (truth.seeds, truth.apart)) == asked(finding).map(|seeds| (seeds, true))
            && finding.again.as_ref().map(|again| again.seeds) == more
    })
}
