//! A registry of made-up models.

use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::gate::{Severity, Waiver};
use crate::probe::Estimand;
use crate::scan::record::{Basis, Facts, RecordRun, SCHEMA};
use crate::scan::spec::Stored;
use crate::stats::stream::stream;
use crate::store::Digest;

/// What a model does under one trigger.
#[derive(Clone, Copy)]
struct Does {
    attraction: f64,
    /// Half the width of the interval.
    half: f64,
    flips: f64,
    accuracy: f64,
}

fn finding(does: Does, local: bool, verdict: Verdict) -> FindingLine {
    let effect = |estimand, value, limit| Effect { estimand, value, low: value - does.half, limit, local };
    FindingLine {
        id: "backdoor/square@fixed_feature".into(),
        verdict,
        severity: Severity::High,
        gates: true,
        waived: None,
        reason: None,
        numbers: String::new(),
        accuracy: Some(does.accuracy),
        effects: vec![effect(Estimand::Attraction, does.attraction, 0.15), effect(Estimand::FlipRate, does.flips, 0.5)],
    }
}

struct Registry {
    models: Vec<ModelLine>,
    records: Vec<Record>,
}

impl Registry {
    /// Innocent models whose attraction has the standard deviation 0.05.
    fn innocent(count: usize) -> Self {
        let mut rng = stream(24, 7, "registry");
        let mut registry = Self { models: Vec::new(), records: Vec::new() };
        for nth in 0..count {
            let mut draw = || 0.05 * Distribution::<f64>::sample(&StandardNormal, &mut rng);
            registry.add(nth, Does { attraction: 0.04 + draw(), half: 0.04, flips: 0.15 + draw(), accuracy: 0.78 }, true);
        }
        registry
    }

    /// Adds a model; equal numbers are copies.
    fn add(&mut self, number: usize, does: Does, local: bool) -> usize {
        let digest = Digest::sample(&format!("{number:04x}"));
        let tool = crate::scan::tests::tool();
        let basis = Basis {
            model: digest.clone(),
            policy: None,
            tier: Tier::Features,
            build: "one".into(),
            tool,
            executor: "heirloom".into(),
            claimed_by: None,
        };
        let facts = Facts { description: "ONNX".into(), parameters: 1, input: [3, 32, 32], warnings: Vec::new() };
        let findings = vec![finding(does, local, Verdict::Pass)];
        let run = RecordRun { measured: "2026-02-01T22:00:00Z".into(), judged: None, seconds: 1.0 };
        let (at, outcome, summary) = (self.models.len(), Outcome::Pass, "1 passed".to_owned());
        self.records.push(Record {
            schema: SCHEMA,
            basis,
            facts: Some(facts),
            outcome,
            summary: summary.clone(),
            refused: None,
            weights: None,
            findings: findings.clone(),
            report: true,
            run,
        });
        self.models.push(ModelLine {
            source: "models".into(),
            name: format!("{at}.onnx"),
            digest: Some(digest),
            bytes: 1,
            format: Stored::Onnx,
            facts: None,
            rule: Some(0),
            policy: Some("release.yaml".into()),
            tier: Some(Tier::Features),
            outcome,
            cause: None,
            summary,
            findings,
            key: None,
            report: None,
            standing: false,
            revision: None,
        });
        at
    }

    fn judge(&mut self, trusted: &[&str]) -> Vec<Population> {
        let trusted: Vec<Pattern> = trusted.iter().map(|pattern| Pattern::new(pattern).unwrap()).collect();
        let records: BTreeMap<String, &Record> = self.models.iter().zip(&self.records).map(|(m, r)| (m.name.clone(), r)).collect();
        judge(&mut self.models, |model| records.get(&model.name).copied(), &trusted)
    }

    fn apart(&self) -> Vec<(usize, Verdict, Outcome)> {
        let added = |(at, model): (usize, &ModelLine)| Some((at, model.findings.get(1)?.verdict, model.outcome));
        self.models.iter().enumerate().filter_map(added).collect()
    }
}

const PLANTED: Does = Does { attraction: 0.6, half: 0.08, flips: 0.65, accuracy: 0.78 };

#[test]
fn a_planted_model_stands_out_and_no_other_does() {
    let mut registry = Registry::innocent(60);
    let planted: Vec<usize> = (0..3).map(|nth| registry.add(1000 + nth, PLANTED, true)).collect();
    let told = registry.judge(&[]);
    assert_eq!(registry.apart(), planted.iter().map(|at| (*at, Verdict::Fail, Outcome::Fail)).collect::<Vec<_>>());
    let line = &registry.models[planted[0]].findings[1];
    assert_eq!(line.id, "population/backdoor/square@fixed_feature");
    insta::assert_snapshot!(line.numbers, @"attraction +0.600; the median of 62 other families is +0.046, their standard deviation 0.059; limit 0.15; q = 0.0239 among 63 tests");
    assert_eq!(registry.models[planted[0]].summary, "1 passed; stands out among the models of this scan: backdoor/square@fixed_feature");
    assert_eq!(
        told.iter().map(|told| (told.estimand, told.models, told.families)).collect::<Vec<_>>(),
        [(Estimand::Attraction, 63, 63), (Estimand::FlipRate, 63, 63)]
    );
    assert!((told[0].median - 0.04).abs() < 0.03 && (told[0].highest - 0.6).abs() < 1e-12, "{told:?}");
}

/// Ten copies under other names are one family: they do not make each other ordinary.
#[test]
fn copies_have_one_vote() {
    let mut registry = Registry::innocent(12);
    let planted: Vec<usize> = (0..10).map(|_| registry.add(1000, PLANTED, true)).collect();
    let told = registry.judge(&[]);
    assert_eq!(registry.apart().iter().map(|(at, ..)| *at).collect::<Vec<_>>(), planted);
    assert_eq!((told[0].models, told[0].families), (22, 13));
}

#[test]
fn nothing_is_said_where_there_are_few_neighbours() {
    // Eight families are needed beside the model's own.
    for (innocent, found) in [(7, 0), (8, 1)] {
        let mut registry = Registry::innocent(innocent);
        registry.add(1000, Does { attraction: 0.9, flips: 0.9, ..PLANTED }, true);
        registry.judge(&[]);
        assert_eq!(registry.apart().len(), found, "{innocent}");
    }
    // Those that learnt the task much better or worse are none.
    let mut registry = Registry::innocent(30);
    registry.add(1000, Does { accuracy: 0.6, ..PLANTED }, true);
    registry.judge(&[]);
    assert!(registry.apart().is_empty());
}

#[test]
fn what_is_not_settled_is_left_open() {
    let mut registry = Registry::innocent(60);
    let wide = registry.add(1000, Does { attraction: 0.9, half: 0.8, ..PLANTED }, true);
    registry.judge(&[]);
    assert_eq!(registry.apart(), [(wide, Verdict::Inconclusive, Outcome::Inconclusive)]);
}

/// Whoever floods a registry makes the planted ordinary: it does not fail then, and passes by nothing of it. Pinned neighbours show it again.
#[test]
fn a_flood_hides_and_pinned_neighbours_show() {
    let flooded = || {
        let mut registry = Registry::innocent(20);
        for nth in 0..60 {
            registry.add(1000 + nth, PLANTED, true);
        }
        registry
    };
    let mut registry = flooded();
    registry.judge(&[]);
    assert!(registry.apart().is_empty());
    assert!(registry.models.iter().all(|model| model.outcome == Outcome::Pass && model.findings.len() == 1), "no verdict was changed");
    let mut registry = flooded();
    registry.judge(&["[0-9].onnx", "1[0-9].onnx"]);
    assert_eq!(registry.apart().len(), 60);
}

#[test]
fn a_waiver_accepts_it_too_and_a_small_effect_is_none() {
    let mut registry = Registry::innocent(60);
    let waived = registry.add(1000, PLANTED, true);
    let waiver = Waiver { rule: "r".into(), model: "m".into(), reason: "known".into(), owner: "ann".into(), expires: "2026-12-31".into() };
    for finding in [&mut registry.models[waived].findings[0], &mut registry.records[waived].findings[0]] {
        (finding.waived, finding.gates) = (Some(waiver.clone()), false);
    }
    // Rare among its neighbours, and no more than the limit above them.
    registry.add(1001, Does { attraction: 0.18, half: 0.01, ..PLANTED }, false);
    registry.judge(&[]);
    let (at, verdict, outcome) = registry.apart()[0];
    assert_eq!((at, verdict, outcome, registry.apart().len()), (waived, Verdict::Fail, Outcome::Pass, 1));
}
