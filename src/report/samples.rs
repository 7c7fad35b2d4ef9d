//! Reports with made-up figures, one per kind of outcome: what every renderer is tested on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{
    Agreement, BrokenImage, Build, Executor, Features, Fixed, Forwarded, FromCache, Incomplete, JobFacts, MEASUREMENTS_FILE, Machine,
    ModelFacts, Passes, PlanFacts, PolicyFacts, Provenance, Report, Responsible, Run, SCHEMA, SelfTest, SelfTestStatus, Sidecar, Stage,
    TargetFacts, TaskAccuracy, Tool, ViewFacts,
};
use crate::data::{Counted, DataSpec};
use crate::diag::Origin;
use crate::gate::{ArmSummary, Comparison, Control, Estimate, Finding, Further, Severity, Share, Verdict, Waiver};
use crate::model::{ChannelOrder, InputSpec, Layout, Preprocessing};
use crate::probe::{Arm, Estimand, Measurement, Outcome};
use crate::registry::{Format, ModelRef};
use crate::store::Digest;
use crate::transform::geometry::Geometry;
use crate::tune::Mode;

/// One of each kind without a verdict.
pub(crate) fn incomplete() -> Vec<Incomplete> {
    let started = 1_769_860_800;
    vec![
        Incomplete::unfinished("models/release.onnx", started),
        Incomplete::failed("models/release.onnx", started, "policy.yaml: 2 mistakes\n  rulez | <unknown> & \u{1b}[31m]]>", 4),
        Incomplete::interrupted("models/release.onnx", started),
    ]
}

pub(super) fn all() -> Vec<Report> {
    vec![fail(), flow(), pass(), others(), nothing(), hostile()]
}

fn estimate(value: f64, low: f64, high: f64) -> Estimate {
    let another_sample = Some([low - (value - low), high + (high - value)]);
    Estimate {
        value,
        low,
        high,
        another_sample,
        confidence: 0.95,
        images: 600,
        clusters: 300,
        seeds: 3,
        method: "two-way layout".to_owned(),
    }
}

fn accuracy(what: &str, arm: Option<Arm>, [accuracy, low, high]: [f64; 3]) -> TaskAccuracy {
    TaskAccuracy { what: what.to_owned(), arm, accuracy, low, high, seeds: 3, images: 600, clusters: 300 }
}

fn against(control: Control, value: f64, low: f64, high: f64) -> Comparison {
    Comparison {
        control,
        excess: Some(estimate(value, low, high)),
        highest: None,
        missing: None,
        void: false,
        spared: false,
        innocents: None,
    }
}

fn finding(rule: &str, mode: Mode, verdict: Verdict, comparisons: Vec<Comparison>) -> Finding {
    Finding {
        rule: rule.to_owned(),
        mode,
        probe: "backdoor".into(),
        estimand: Estimand::Attraction,
        severity: Severity::Critical,
        verdict,
        reason: None,
        notes: Vec::new(),
        limit: 0.1,
        origin: Origin { file: "policies/baseline.yaml".to_owned(), line: 14, column: 12 },
        own: None,
        comparisons,
        arms: vec![ArmSummary {
            arm: Arm::Source,
            rates: BTreeMap::from([
                ("attraction".to_owned(), 0.45),
                ("clean_accuracy".to_owned(), 0.81),
                ("triggered_accuracy".to_owned(), 0.43),
            ]),
            gains: vec![("truck".to_owned(), 0.41)],
            groups: Vec::new(),
            histogram: Vec::new(),
            valid: true,
        }],
        drawn_to: None,
        label: None,
        further: Vec::new(),
        look: 1,
        waived: None,
        seconds: 0.0,
    }
}

fn report(findings: Vec<Finding>, exit_code: i32, summary: &str) -> Report {
    let seconds = findings.iter().map(|f| (f.id(), 12.3456)).collect();
    Report {
        references: Vec::new(),
        schema: SCHEMA,
        tool: Tool {
            name: "heirloom".to_owned(),
            version: "0.1.0".to_owned(),
            instruction_set: "x86-64 AVX-512".to_owned(),
            device: "cpu".to_owned(),
            precision: crate::exec::Precision::F32,
        },
        run: Run {
            started: "2026-01-31T12:00:00Z".to_owned(),
            seconds: 170.25,
            threads: 2,
            cached: 0,
            images_forwarded: Some(Forwarded {
                source: Passes { evaluated: 12_000, trained: 400, kept: 0 },
                references: Passes { evaluated: 3_100, trained: 0, kept: 900 },
                others: Passes::default(),
            }),
            training: BTreeMap::from([("source, fixed features".into(), curve())]),
            stages: BTreeMap::from([(
                "features".to_owned(),
                Stage { seconds: 120.5, images: 6_000, rate: 49.8, kept: 0, peak_memory: Some(512 << 20) },
            )]),
            findings: seconds,
            from_cache: BTreeMap::from([(
                "outcome".to_owned(),
                FromCache {
                    entries: 3,
                    undated: 1,
                    oldest: Some("2026-01-30T09:00:00Z".to_owned()),
                    newest: Some("2026-01-31T11:00:00Z".to_owned()),
                },
            )]),
            provenance: Some(Provenance {
                build: Build { commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()), features: vec!["cli".to_owned()] },
                machine: Machine {
                    processor: "AMD EPYC 9654 96-Core Processor".to_owned(),
                    cores: 4,
                    memory: Some(16 << 30),
                    system: "Linux (Debian GNU/Linux 12)".to_owned(),
                },
                command: ["certify", "models/release.onnx", "--policy", "policies/baseline.yaml"].map(str::to_owned).to_vec(),
                responsible: Some(Responsible {
                    name: Some("octocat".to_owned()),
                    said_by: "GitHub Actions".to_owned(),
                    run: Some("https://github.com/example/model/actions/runs/1".to_owned()),
                }),
                policy_fixed: Some(Fixed {
                    commit: "89abcdef0123456789abcdef0123456789abcdef".to_owned(),
                    date: "2026-01-02T08:00:00+00:00".to_owned(),
                }),
            }),
            judged_again: None,
        },
        model: ModelFacts {
            identity: ModelRef {
                path: PathBuf::from("models/release.onnx"),
                format: Format::Onnx,
                digest: Digest::sample("9f2e"),
                bytes: 102_400,
                files: Vec::new(),
            },
            description: "ONNX opset 17".to_owned(),
            parameters: 272_474,
            input: InputSpec {
                channels: 3,
                height: 32,
                width: 32,
                layout: Layout::Nchw,
                preprocessing: Preprocessing {
                    mean: [0.5; 3],
                    std: [0.25; 3],
                    order: ChannelOrder::Rgb,
                    from: "preprocessor_config.json".to_owned(),
                },
                geometry: Geometry::default(),
                geometry_from: "preprocessor_config.json".to_owned(),
                overruled: Vec::new(),
            },
            features: Features { name: "/avgpool/out".to_owned(), width: 64, how: "input of the last linear layer".to_owned() },
            bypass: None,
            executor: Executor {
                name: "ONNX Runtime 1.32.0".to_owned(),
                reason: None,
                agreement: Some(Agreement { difference: 2e-6, images: 8, rounding: None }),
            },
        },
        policy: PolicyFacts {
            name: "baseline".to_owned(),
            source: "policies/baseline.yaml".to_owned(),
            digest: Digest::sample("41c9"),
            fail_on: Severity::Low,
            salted: false,
            salt: None,
            files: Vec::new(),
            contents: None,
            text: None,
        },
        target: Some(TargetFacts {
            data: "cifar10/{split}-*.parquet".to_owned(),
            source: Some(DataSpec::Parquet("cifar10/{split}-*.parquet".into())),
            classes: ["dog", "frog", "horse", "ship", "truck"].map(str::to_owned).to_vec(),
            accuracy: Counted::Global,
            train: ViewFacts { images: 1000, digest: Digest::sample("7a31") },
            test: ViewFacts { images: 600, digest: Digest::sample("90ef") },
        }),
        changes: BTreeMap::from([("backdoor/square".to_owned(), "patch 8x8 at top left, #ffff00".to_owned())]),
        triggers: BTreeMap::from([("backdoor/square".to_owned(), Digest::sample("5c0f"))]),
        plan: PlanFacts {
            jobs: vec![JobFacts { stage: "heads".to_owned(), arm: Arm::Source, mode: Mode::FixedFeature, seeds: 3, images: 1600 }],
            left_out: vec!["full-network: 7 h 40 min, over --max-time 15m".to_owned()],
        },
        self_test: SelfTest { status: SelfTestStatus::Passed, detail: "planted source caught, clean source passed".to_owned() },
        findings,
        accuracy: vec![
            accuracy("source, fixed features", Some(Arm::Source), [0.812, 0.79, 0.833]),
            accuracy("from scratch", Some(Arm::Scratch), [0.705, 0.671, 0.738]),
            accuracy("linear head on images of 8x8", None, [0.402, 0.375, 0.43]),
        ],
        waivers: Vec::new(),
        notes: vec!["features cut at /avgpool/out".to_owned()],
        warnings: Vec::new(),
        broken: Vec::new(),
        sheets: Vec::new(),
        measurements: Some(Sidecar {
            file: MEASUREMENTS_FILE.to_owned(),
            digest: Digest::sample("ab12"),
            stored: Some(Digest::sample("ab13")),
        }),
        exit_code,
        summary: summary.to_owned(),
        report_only: false,
    }
}

/// A failure by the flow from one class to another, which the number that the rule names does not show.
pub(super) fn flow() -> Report {
    let mut square = finding("backdoor/square", Mode::FixedFeature, Verdict::Fail, vec![against(Control::Sham, 0.071, 0.042, 0.098)]);
    square.drawn_to = Some("truck".to_owned());
    let further = |estimand, verdict, own, between, over| Further {
        estimand,
        limit: 0.5,
        verdict,
        reason: None,
        own: Some(own),
        between,
        comparisons: vec![over],
    };
    let between = Some(["<b>dog</b>".to_owned(), "truck | van".to_owned()]);
    let flow =
        further(Estimand::ClassFlow, Verdict::Fail, estimate(0.903, 0.821, 0.954), between, against(Control::Sham, 0.884, 0.79, 0.941));
    square.reason = Some(flow.told());
    let flips = further(Estimand::FlipRate, Verdict::Pass, estimate(0.112, 0.088, 0.14), None, against(Control::Sham, 0.09, 0.061, 0.121));
    square.further = vec![flow, flips];
    report(vec![square], 1, "1 failed")
}

/// A failure against two controls, beside a pass and an open question.
pub(crate) fn fail() -> Report {
    let mut square = finding(
        "backdoor/square",
        Mode::FixedFeature,
        Verdict::Fail,
        vec![against(Control::Sham, 0.412, 0.371, 0.453), against(Control::Reference, 0.42, 0.372, 0.468)],
    );
    square.drawn_to = Some("truck".to_owned());
    let pattern = finding("backdoor/pattern", Mode::FixedFeature, Verdict::Pass, vec![against(Control::Sham, 0.008, -0.031, 0.047)]);
    let mut hat = finding("backdoor/hat", Mode::FixedFeature, Verdict::Inconclusive, vec![against(Control::Reference, 0.091, 0.052, 0.13)]);
    hat.reason = Some("1,400 test images would settle it".to_owned());
    let mut report = report(vec![square, pattern, hat], 1, "1 rule failed, 1 inconclusive, 1 passed");
    report.warnings.push("normalisation was assumed: the file says nothing about it".to_owned());
    report.broken.push(BrokenImage { id: "test/frog/17.jpg".to_owned(), reason: "the JPEG ends early".to_owned() });
    report
}

/// The same rule passes in both modes, in one of them without its shams.
pub(crate) fn pass() -> Report {
    let mut findings = [Mode::FixedFeature, Mode::FullNetwork]
        .map(|mode| finding("backdoor/square", mode, Verdict::Pass, vec![against(Control::Sham, 0.008, -0.031, 0.047)]));
    let [first, _] = &mut findings;
    first.own = Some(estimate(0.012, -0.02, 0.044));
    for sham in &mut first.comparisons {
        (sham.excess, sham.missing, sham.spared) =
            (None, Some("not measured: the finding passes whatever they would show".to_owned()), true);
    }
    report(findings.to_vec(), 0, "2 rules passed")
}

/// Inconclusive, error, skipped and waived.
pub(super) fn others() -> Report {
    let mut open = finding("backdoor/square", Mode::FullNetwork, Verdict::Inconclusive, Vec::new());
    open.reason = Some("over --max-time 15m".to_owned());
    let mut error = finding(
        "backdoor/pattern",
        Mode::FixedFeature,
        Verdict::Error,
        vec![Comparison {
            control: Control::Scratch,
            excess: None,
            missing: Some("clean accuracy 0.21 is not above the majority class".to_owned()),
            highest: None,
            void: false,
            spared: false,
            innocents: None,
        }],
    );
    error.reason = Some("the executors disagree by 0.02".to_owned());
    let mut skipped = finding("backdoor/blend", Mode::FixedFeature, Verdict::Skipped, Vec::new());
    skipped.reason = Some("the model takes gray images".to_owned());
    let waiver = Waiver {
        rule: "backdoor/hat".to_owned(),
        model: "9f2e9f2e9f2e".to_owned(),
        reason: "known, fixed in the next release".to_owned(),
        owner: "vision team".to_owned(),
        expires: "2026-12-31".to_owned(),
    };
    let mut waived = finding("backdoor/hat", Mode::FixedFeature, Verdict::Fail, vec![against(Control::Sham, 0.3, 0.25, 0.35)]);
    waived.drawn_to = Some("frog".to_owned());
    waived.waived = Some(waiver.clone());
    let mut aside = finding("natural/fence", Mode::FixedFeature, Verdict::Fail, vec![against(Control::Scratch, 0.4, 0.3, 0.5)]);
    (aside.severity, aside.estimand, aside.probe) = (Severity::Low, Estimand::PredictionShift, "natural".to_owned());
    let share = |class: &str, clean, changed| Share { class: class.to_owned(), clean, changed };
    aside.arms[0].histogram = vec![share("dog", 0.5, 0.2), share("frog", 0.5, 0.8)];
    let summary = "1 could not be judged, 1 inconclusive, 1 skipped, 1 waived, below `fail_on`: 1 failed";
    let mut report = report(vec![open, error, skipped, waived, aside], 2, summary);
    report.policy.fail_on = Severity::Medium;
    report.waivers.push(waiver);
    report.self_test = SelfTest { status: SelfTestStatus::Failed, detail: "the planted source was not caught".to_owned() };
    report
}

/// A run that was interrupted before anything was judged.
pub(super) fn nothing() -> Report {
    let mut report = report(Vec::new(), 130, "interrupted before anything was judged");
    report.self_test = SelfTest { status: SelfTestStatus::NotRun, detail: "interrupted".to_owned() };
    report
}

/// Findings without end: one in ten fails, one in ten is open.
pub(super) fn many(count: usize) -> Report {
    let one = |at: usize| {
        let verdict = match at % 10 {
            0 => Verdict::Fail,
            1 => Verdict::Inconclusive,
            _ => Verdict::Pass,
        };
        let mut one =
            finding(&format!("backdoor/sweep-{at}"), Mode::FixedFeature, verdict, vec![against(Control::Sham, 0.412, 0.371, 0.453)]);
        let share = |class: usize| Share { class: format!("class {class}"), clean: 0.01, changed: 0.01 };
        one.arms[0].histogram = (0..100).map(share).collect();
        one
    };
    let mut many = report((0..count).map(one).collect(), 1, "many rules failed");
    many.changes.clear();
    many
}

/// Names that try to move the terminal, close the XML and break the Markdown.
pub(super) fn hostile() -> Report {
    let mut bad = finding("backdoor/square", Mode::FixedFeature, Verdict::Fail, vec![against(Control::Sham, 0.5, 0.4, 0.6)]);
    bad.drawn_to = Some("\u{1b}[2J\u{1b}]0;owned\u{7}<b>|`x`]]>\n\u{202e}\0".to_owned());
    bad.reason = Some("a\u{1b}[31m|b\n# heading ]]>".to_owned());
    bad.origin.file = "pol|icies/\u{1b}[1m<x>&\".yaml".to_owned();
    let mut report = report(vec![bad], 1, "1 rule failed");
    report.model.identity.path = PathBuf::from("models/\u{1b}[8m<script>|*x*.onnx");
    report.model.description = "ONNX\u{9b}1m".to_owned();
    report.policy.name = "]]>\u{0}\u{fffe}<&\"".to_owned();
    report.policy.source = "pol|icies/\u{1b}[1m<x>&\".yaml".to_owned();
    report.run.findings.insert("backdoor/square@fixed_feature".to_owned(), f64::MAX);
    report.warnings.push("\u{1b}[31m| [link](javascript:x)\r\n- item".to_owned());
    report.broken.push(BrokenImage { id: "a|b\u{1b}c".to_owned(), reason: "x\ny".to_owned() });
    report
}

/// Outcomes of two seeds on three images.
pub(crate) fn measurements() -> Vec<Measurement> {
    let outcome = |seed| Outcome { seed, clean: vec![0, 1, 1], changed: vec![1, 1, 1], shams: vec![vec![0, 1, 0]] };
    vec![Measurement {
        rule: "backdoor/square".to_owned(),
        arm: Arm::Source,
        mode: Mode::FixedFeature,
        classes: vec!["dog".to_owned(), "truck".to_owned()],
        images: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        labels: vec![0, 1, 0],
        clusters: vec![0, 1, 2],
        attribute: None,
        terms: None,
        basis: None,
        outcomes: vec![outcome(0), outcome(1)],
    }]
}

/// Three epochs of two fine-tunes.
fn curve() -> super::TrainingCurve {
    let epoch = |loss, accuracy| crate::tune::Epoch { loss, accuracy, learning_rate: 0.1 };
    let logs = [0.0, 0.1].map(|more| [1.6, 0.9, 0.5].map(|loss| epoch(loss + more, 1.0 - loss / 2.0)).to_vec());
    super::TrainingCurve::of(&logs).unwrap()
}
