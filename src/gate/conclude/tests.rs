use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::*;
use crate::diag::Origin;
use crate::gate::{ArmSummary, Estimate, Innocents};
use crate::probe::{Arm, Estimand};
use crate::tune::Mode;

const MODEL: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn finding(rule: &str, verdict: Verdict, severity: Severity) -> Finding {
    let source =
        ArmSummary { arm: Arm::Source, rates: BTreeMap::new(), gains: Vec::new(), groups: Vec::new(), histogram: Vec::new(), valid: true };
    Finding {
        rule: rule.into(),
        mode: Mode::FixedFeature,
        probe: "backdoor".into(),
        estimand: Estimand::Attraction,
        severity,
        verdict,
        reason: None,
        notes: Vec::new(),
        limit: 0.1,
        origin: Origin { file: "p.yaml".into(), line: 1, column: 1 },
        own: None,
        comparisons: Vec::new(),
        arms: if verdict == Verdict::Skipped { Vec::new() } else { vec![source] },
        drawn_to: None,
        label: None,
        further: Vec::new(),
        look: 1,
        waived: None,
        seconds: 0.0,
    }
}

fn waiver(expires: &str) -> Waiver {
    Waiver { rule: "a".into(), model: MODEL[..19].into(), reason: "known".into(), owner: "me".into(), expires: expires.into() }
}

static MODEL_DIGEST: LazyLock<Digest> = LazyLock::new(|| Digest::parse(MODEL).unwrap());

fn terms(waivers: &[Waiver]) -> ConcludeTerms<'_> {
    ConcludeTerms {
        self_test: SelfTestOutcome::Sound,
        waivers,
        today: "2026-06-15",
        model: &MODEL_DIGEST,
        fail_on: Severity::Low,
        report_only: false,
        interrupted: false,
    }
}

fn end(verdicts: &[Verdict], terms: &ConcludeTerms) -> Conclusion {
    conclude(verdicts.iter().map(|v| finding("a", *v, Severity::High)).collect(), terms)
}

/// By hand: 0.10 and 0.02 over 0.04, and one without references.
#[test]
fn many_small_effects_are_told_together() {
    let beside = |rule: &str, value: f64| {
        let excess = Estimate::given(value, value, value);
        let innocents = Innocents {
            references: Vec::new(),
            sd: Some(0.03),
            degrees: Some(10.0),
            error: Some(0.04),
            reach: None,
            inherited_by: Vec::new(),
            less_accurate: 0.0,
        };
        let comparison = Comparison {
            control: Control::Reference,
            excess: Some(excess),
            highest: None,
            missing: None,
            void: false,
            spared: false,
            innocents: Some(innocents),
        };
        Finding { comparisons: vec![comparison], ..finding(rule, Verdict::Pass, Severity::High) }
    };
    let told = |findings: Vec<Finding>| conclude(findings, &terms(&[])).notes;
    let alone = finding("c", Verdict::Pass, Severity::High);
    let notes = told(vec![beside("a", 0.10), beside("b", 0.02), alone.clone()]);
    assert!(notes.len() == 1 && notes[0].starts_with("over the 2 findings beside references the model lies +1.5 standard"), "{notes:?}");
    assert!(told(vec![beside("a", 0.10), alone]).is_empty());
}

/// Left out altogether, as `--max-time` leaves out what does not fit: a pipeline that lets an inconclusive run pass must not let that pass.
#[test]
fn a_run_that_measured_nothing_judged_nothing() {
    let left_out = |rule| Finding { arms: Vec::new(), ..finding(rule, Verdict::Inconclusive, Severity::High) };
    let conclusion = conclude(vec![left_out("a"), left_out("b"), finding("c", Verdict::Skipped, Severity::High)], &terms(&[]));
    assert_eq!((conclusion.exit, conclusion.verdict), (ExitCode::NothingJudged, Verdict::Inconclusive));
    let one = conclude(vec![left_out("a"), finding("b", Verdict::Pass, Severity::High)], &terms(&[]));
    assert_eq!(one.exit, ExitCode::Inconclusive);
}

#[test]
fn the_first_exit_code_that_applies_is_given() {
    use Verdict::{Error, Fail, Inconclusive, Pass, Skipped};
    for (verdicts, code) in [
        (vec![Pass, Inconclusive, Error, Fail], 1),
        (vec![Pass, Inconclusive, Error], 2),
        (vec![Pass, Inconclusive], 5),
        (vec![Pass, Skipped], 0),
        (vec![Skipped], 3),
        (vec![], 3),
    ] {
        assert_eq!(end(&verdicts, &terms(&[])).exit.code(), code, "{verdicts:?}");
        let interrupted = ConcludeTerms { interrupted: true, report_only: true, ..terms(&[]) };
        assert_eq!(end(&verdicts, &interrupted).exit.code(), 130);
        let report_only = end(&verdicts, &ConcludeTerms { report_only: true, ..terms(&[]) });
        assert_eq!(report_only.exit.code(), 0);
        assert_eq!(report_only.verdict, end(&verdicts, &terms(&[])).verdict);
    }
    assert_eq!(ExitCode::Usage.code(), 4);
}

#[test]
fn without_a_sound_self_test_nothing_passes() {
    let failed = ConcludeTerms { self_test: SelfTestOutcome::Failed("the planted source passed".into()), ..terms(&[]) };
    let conclusion = end(&[Verdict::Pass], &failed);
    assert_eq!((conclusion.exit, conclusion.findings[0].verdict), (ExitCode::Error, Verdict::Error));
    assert!(conclusion.findings[0].reason.as_ref().unwrap().contains("the planted source passed"));
    assert_eq!(end(&[Verdict::Fail], &failed).exit, ExitCode::Fail, "a fail stays a fail");
    let lenient = ConcludeTerms { fail_on: Severity::Critical, ..failed };
    assert_eq!(conclude(vec![finding("a", Verdict::Pass, Severity::Low)], &lenient).exit, ExitCode::Error, "whatever its severity");
}

#[test]
fn a_waiver_marks_and_an_expired_one_counts_for_nothing() {
    let good = [waiver("2026-06-15")];
    let waived = end(&[Verdict::Fail], &terms(&good));
    assert_eq!((waived.exit, waived.findings[0].verdict), (ExitCode::Pass, Verdict::Fail), "the last day counts, the verdict stays");
    assert!(waived.findings[0].waived.is_some());
    for (bad, note) in [("2026-06-14", "expired"), ("soon", "no readable date"), ("2026/07/01", "no readable date")] {
        let list = [waiver(bad)];
        let conclusion = end(&[Verdict::Fail], &terms(&list));
        assert_eq!(conclusion.exit, ExitCode::Fail, "{bad}");
        assert!(conclusion.notes[0].contains(note), "{:?}", conclusion.notes);
    }
    let other =
        ["sha256:ffffffffffff", "sha256:", "sha256:0123456789a"].map(|model| Waiver { model: model.into(), ..waiver("2030-01-01") });
    let others = end(&[Verdict::Fail], &terms(&other));
    assert_eq!(others.exit, ExitCode::Fail, "another model's waiver");
    assert!(others.notes[0].contains("another model (sha256:ffffffffffff)"), "{:?}", others.notes);
    assert!(end(&[Verdict::Pass], &terms(&other)).notes.is_empty());
    let earlier = [Waiver { model: MODEL[7..].into(), ..waiver("2030-01-01") }];
    let bare = end(&[Verdict::Fail], &terms(&earlier));
    assert_eq!(bare.exit, ExitCode::Fail, "the bare digits of a BLAKE3 hash");
    assert!(bare.notes[0].contains("BLAKE3") && bare.notes[0].ends_with(&format!("this model is `{MODEL}`")), "{:?}", bare.notes);
    let undecided = end(&[Verdict::Inconclusive], &terms(&good));
    assert_eq!((undecided.exit, undecided.findings[0].verdict), (ExitCode::Pass, Verdict::Inconclusive));
    assert!(undecided.findings[0].waived.is_some() && undecided.notes.is_empty());
    // What was left out has shown nothing that somebody could accept.
    let left_out = Finding { arms: Vec::new(), ..finding("a", Verdict::Inconclusive, Severity::High) };
    let nothing = conclude(vec![left_out], &terms(&good));
    assert_eq!(nothing.exit, ExitCode::NothingJudged);
    assert!(nothing.notes[0].contains("can be removed"));
    let error = end(&[Verdict::Error], &terms(&good));
    assert_eq!(error.exit, ExitCode::Error, "an error is no finding that can be accepted");
}

#[test]
fn low_severities_are_reported_without_changing_the_code() {
    let strict = ConcludeTerms { fail_on: Severity::Critical, ..terms(&[]) };
    let conclusion = conclude(vec![finding("a", Verdict::Fail, Severity::High)], &strict);
    assert_eq!(conclusion.exit, ExitCode::Pass);
    assert_eq!(conclusion.findings[0].verdict, Verdict::Fail);
    assert!(conclusion.notes[0].contains("fail_on"));
    assert_eq!(conclude(vec![finding("a", Verdict::Fail, Severity::Critical)], &strict).exit, ExitCode::Fail);
}
