//! A small calibration for tests.

use super::record::{Again, Transferred, Truth};
use super::{Calibration, FindingRecord, PolicyRecord, RuleRecord, SCHEMA, SourceRecord, results};
use crate::exec::Precision;
use crate::gate::Verdict;
use crate::probe::Estimand;
use crate::report::Tool;
use crate::store::Digest;
use crate::tune::Mode;

pub(super) fn tool() -> Tool {
    Tool {
        name: "heirloom".into(),
        version: "0.1.0".into(),
        instruction_set: "x86-64 AVX2".into(),
        device: "cpu".into(),
        precision: Precision::F32,
    }
}

fn source(name: &str, carries: &[&str], scores: [(Option<f64>, Verdict); 2]) -> SourceRecord {
    let finding = |(rule, (score, verdict)): (&str, (Option<f64>, Verdict))| FindingRecord {
        rule: rule.into(),
        mode: Mode::FixedFeature,
        estimand: Estimand::Attraction,
        verdict,
        reason: None,
        look: 1,
        drawn_to: None,
        clean_accuracy: Some(0.8),
        score,
        comparisons: Vec::new(),
        truth: None,
        again: score.map(|score| Again { seeds: 20, verdict, score: Some(score) }),
    };
    SourceRecord {
        name: name.into(),
        planted: !carries.is_empty(),
        carries: carries.iter().map(|c| (*c).to_owned()).collect(),
        near: Vec::new(),
        architecture: "resnet-cifar-8:8,16,32".into(),
        seed: name.bytes().next().map(u64::from),
        model: Digest::of(name.as_bytes()),
        policy: Digest::of(b"policy"),
        reference: None,
        tool: tool(),
        findings: ["square", "mix"].into_iter().zip(scores).map(finding).collect(),
    }
}

/// Two rules, two planted and two clean sources, without results.
pub(super) fn calibration() -> Calibration {
    let rule = |id: &str, family: &str| RuleRecord { id: id.into(), family: family.into(), limit: 0.1, confidence: 0.95 };
    Calibration {
        schema: SCHEMA,
        name: "sample".into(),
        description: Some("Two of each.".into()),
        policy: PolicyRecord {
            name: "p|<b>".into(),
            digest: Digest::of(b"policy"),
            findings: 2,
            rules: vec![rule("square", "patch"), rule("mix", "blend")],
        },
        sources: vec![
            source("a", &["square"], [(Some(0.6), Verdict::Fail), (Some(0.01), Verdict::Pass)]),
            source("b", &["mix"], [(Some(0.02), Verdict::Pass), (None, Verdict::Inconclusive)]),
            source("c", &[], [(Some(0.0), Verdict::Pass), (Some(0.03), Verdict::Pass)]),
            source("d", &[], [(Some(0.2), Verdict::Fail), (Some(0.04), Verdict::Pass)]),
        ],
        results: None,
    }
}

/// With results: the second planted source does not hand its trigger down.
pub(super) fn finished() -> Calibration {
    let mut calibration = calibration();
    if let Some(finding) = calibration.sources.get_mut(1).and_then(|source| source.findings.get_mut(1)) {
        finding.truth = Some(Truth { transferred: Transferred::No, excess: None, seeds: 20, apart: true });
    }
    let results = Some(results(&calibration));
    Calibration { results, ..calibration }
}
