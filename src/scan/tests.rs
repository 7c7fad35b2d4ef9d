//! What is written of a scan, on one that holds every kind of line.

use std::collections::BTreeMap;
use std::path::Path;

use super::new_id;
use super::output::{Night, nights, render_all, schema};
use super::plan::{Plan, PlanEntry, Work};
use super::record::{Facts, FindingLine, Outcome};
use super::results::{Changes, Expired, ModelId, ModelLine, ModelRun, Population, SCHEMA, Scan, ScanRun};
use super::spec::{FailOn, ScanFile, Stored, Tier};
use crate::exec::Precision;
use crate::gate::{Severity, Verdict, Waiver};
use crate::probe::Estimand;
use crate::report::Tool;
use crate::source::Cause;
use crate::spec::Form;
use crate::store::Digest;

pub(super) fn tool() -> Tool {
    Tool {
        name: "heirloom".into(),
        version: "0.1.0".into(),
        instruction_set: "x86-64 AVX2".into(),
        device: "cpu".into(),
        precision: Precision::F32,
    }
}

fn line(name: &str, outcome: Outcome, summary: &str) -> ModelLine {
    ModelLine {
        source: "models".into(),
        name: name.into(),
        digest: Some(Digest::sample("41c9")),
        bytes: 5 << 20,
        format: Stored::Onnx,
        facts: None,
        rule: Some(0),
        policy: Some("release.yaml".into()),
        tier: Some(Tier::Full),
        outcome,
        cause: None,
        summary: summary.into(),
        findings: Vec::new(),
        key: None,
        report: None,
        standing: false,
        revision: None,
    }
}

fn waiver() -> Waiver {
    Waiver {
        rule: "backdoor/square".into(),
        model: "sha256:41c941c941c9".into(),
        reason: "it is retired".into(),
        owner: "ann".into(),
        expires: "2026-01-31".into(),
    }
}

fn finding(id: &str, verdict: Verdict, waived: Option<Waiver>) -> FindingLine {
    let gates = waived.is_none();
    FindingLine {
        id: id.into(),
        verdict,
        severity: Severity::High,
        gates,
        waived,
        reason: None,
        numbers: "excess 0.41; limit 0.15".into(),
        accuracy: Some(0.78),
        effects: Vec::new(),
    }
}

fn scan() -> Scan {
    let hostile = "team/<script>alert(1)</script>|`\u{1b}[2J\u{202e}.onnx";
    let facts = Facts {
        description: "ONNX opset 17".into(),
        parameters: 25_557_032,
        input: [3, 224, 224],
        warnings: vec!["nodes `a` lead around".into()],
    };
    let models = vec![
        ModelLine {
            findings: vec![
                finding("backdoor/square@fixed_feature", Verdict::Fail, None),
                finding("backdoor/corner@fixed_feature", Verdict::Pass, None),
                finding("spurious/text@full_network", Verdict::Inconclusive, Some(waiver())),
            ],
            report: Some("reports/41c9".into()),
            key: Some(Digest::sample("41c9")),
            facts: Some(facts),
            ..line(hostile, Outcome::Fail, "1 failed, 1 passed")
        },
        ModelLine {
            standing: true,
            cause: Some(Cause::Pickle),
            tier: None,
            policy: None,
            digest: None,
            ..line("old.pt", Outcome::Error, "old.pt is a pickled file]]>")
        },
        line("late.onnx", Outcome::NotReached, "the time is used up"),
        line("good.onnx", Outcome::Pass, "2 passed"),
        ModelLine { tier: Some(Tier::Static), ..line("looked.onnx", Outcome::Inspected, "nothing was measured") },
        ModelLine { tier: None, ..line("llm.safetensors", Outcome::LeftOut, "language models are not certified") },
    ];
    let mut counts = BTreeMap::new();
    for model in &models {
        *counts.entry(model.outcome).or_insert(0) += 1;
    }
    let measured = ModelRun { measured: "2026-02-01T22:00:00Z".into(), seconds: 12.5 };
    Scan {
        schema: SCHEMA,
        tool: tool(),
        executor: "heirloom".into(),
        run: ScanRun {
            plan: Digest::sample("0010"),
            started: "2026-02-01T22:00:00Z".into(),
            last: Some("2026-01-31T22:00:00Z".into()),
            seconds: 60.0,
            shards: 1,
            models: [("models/good.onnx".to_owned(), measured)].into(),
        },
        name: "nightly".into(),
        file: Digest::sample("7a31"),
        policies: [("release.yaml".to_owned(), Digest::sample("7a31"))].into(),
        fail_on: FailOn::Any,
        changes: Changes {
            new: vec![format!("models/{hostile}")],
            gone: vec!["models/away.onnx".into()],
            expired_waivers: vec![Expired { model: "models/good.onnx".into(), waiver: waiver() }],
            ..Changes::default()
        },
        populations: vec![Population {
            policy: "release.yaml".into(),
            tier: Tier::Full,
            finding: "backdoor/square@fixed_feature".into(),
            estimand: Estimand::Attraction,
            models: 63,
            families: 61,
            median: 0.041,
            highest: 0.612,
        }],
        models,
        counts,
        exit_code: 1,
        summary: "6 models: 1 fail, 1 error".into(),
    }
}

fn written(scan: &Scan) -> BTreeMap<&'static str, String> {
    let earlier =
        Night { plan: Digest::sample("0011"), started: "2026-01-31T22:00:00Z".into(), exit_code: 0, counts: [(Outcome::Pass, 6)].into() };
    let all = render_all(scan, &[earlier, scan.into()], Path::new("nowhere")).expect("rendered");
    all.into_iter().map(|(name, bytes)| (name, String::from_utf8(bytes).expect("UTF-8"))).collect()
}

#[test]
fn every_kind_of_line_in_every_file() {
    for (name, text) in written(&scan()) {
        // In JSON a name is as it is.
        assert!(["scan.json", "scan.sarif", "badge.json"].contains(&name) || !text.contains("<script"), "{name}: {text}");
        assert!(!text.contains('\u{1b}'), "{name}: {text}");
        insta::assert_snapshot!(format!("scan_{}", name.replace('.', "_")), text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }
    insta::assert_snapshot!("scan_on_a_terminal", super::text::render(&scan(), 100));
}

#[test]
fn two_scans_of_one_second_are_two() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = scan();
    let mut second = scan();
    second.run.plan = new_id();
    assert_ne!(new_id(), second.run.plan);
    let mut told = 0;
    // What was merged twice counts once.
    for scan in [&first, &second, &second] {
        let nights = nights::with(scan, folder.path());
        nights::keep(&nights, folder.path()).expect("kept");
        told = nights.len();
    }
    assert_eq!(told, 2);
}

#[test]
fn a_summary_is_never_too_large_for_the_page_of_a_run() {
    let mut scan = scan();
    scan.models =
        (0..20_000).map(|nth| line(&format!("deep/folder/model-{nth}.onnx"), Outcome::Fail, &"a long reason ".repeat(8))).collect();
    scan.changes.new = scan.models.iter().map(|model| model.id().to_string()).collect();
    let text = &written(&scan)["summary.md"];
    assert!(text.len() < 1 << 20 && text.len() > 900_000, "{}", text.len());
    assert!(text.contains(" more are in `scan.json`") && text.contains(" and 19800 more"));
}

#[test]
fn nothing_found_is_no_green_suite() {
    let mut scan = scan();
    scan.models.clear();
    assert!(written(&scan)["junit.xml"].contains("<error "));
}

#[test]
fn scans_satisfy_their_published_schema() {
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema()).expect("JSON")).expect("a schema");
    let text = &written(&scan())["scan.json"];
    let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let mistakes: Vec<String> = validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(mistakes.is_empty(), "{mistakes:#?}");
    let again: Scan = serde_json::from_str(text).expect("read");
    assert_eq!(again, scan());
}

#[test]
fn what_did_not_pass_satisfies_the_schema_of_sarif() {
    let schema = include_str!("../../tests/golden/schemas/sarif-2.1.0.json");
    let validator = jsonschema::validator_for(&serde_json::from_str(schema).expect("JSON")).expect("a schema");
    let mut many = scan();
    many.models = (0..6000).map(|nth| line(&format!("model-{nth}.onnx"), Outcome::Fail, "1 failed")).collect();
    for (scan, results) in [(scan(), 4), (many, 5000)] {
        let value: serde_json::Value = serde_json::from_str(&written(&scan)["scan.sarif"]).expect("JSON");
        let mistakes: Vec<String> = validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(mistakes.is_empty(), "{mistakes:#?}");
        assert_eq!(value["runs"][0]["results"].as_array().map(Vec::len), Some(results));
    }
}

/// `HEIRLOOM_BLESS=1 cargo test --lib published_schema` writes them.
#[test]
fn the_published_schemas_are_fresh() {
    let mut file = ScanFile::schema().clone();
    file["title"] = "heirloom scan file, version 1".into();
    let file = serde_json::to_string_pretty(&file).expect("JSON") + "\n";
    for (name, fresh) in [("docs/scan.schema.json", schema()), ("docs/scan-file.schema.json", file)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("HEIRLOOM_BLESS").is_some() {
            std::fs::write(&path, &fresh).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), fresh, "{name} is stale: see this test");
    }
}

fn planned(name: &str, key: &str, cost: f64, work: Work) -> PlanEntry {
    PlanEntry {
        id: ModelId { source: "models".into(), name: name.into() },
        from: 0,
        path: name.into(),
        bytes: 1,
        format: Stored::Onnx,
        rule: Some(0),
        policy: None,
        tier: Some(Tier::Static),
        digest: Some(Digest::sample(key)),
        key: Some(Digest::sample(key)),
        work,
        cost,
        before: None,
        repository: None,
        revision: None,
        remote: None,
        claimed: false,
    }
}

#[test]
fn shards_share_all_work_and_no_key() {
    let entries = vec![
        planned("a", "0001", 9.0, Work::Measure),
        planned("b", "0002", 5.0, Work::Measure),
        planned("c", "0003", 4.0, Work::Rejudge { from: Digest::sample("0009") }),
        planned("d", "0001", 9.0, Work::Measure),
        planned("e", "0004", 1.0, Work::Keep),
    ];
    let plan = Plan {
        schema: 1,
        id: Digest::sample("0010"),
        made: "2026-02-01T22:00:00Z".into(),
        name: "nightly".into(),
        file: Digest::sample("7a31"),
        policies: BTreeMap::new(),
        build: "one".into(),
        tool: tool(),
        executor: "heirloom".into(),
        trusted: Vec::new(),
        fail_on: FailOn::Any,
        allow_not_reached: false,
        oldest: None,
        entries,
        gone: Vec::new(),
        gone_repositories: Vec::new(),
    };
    assert_eq!([plan.shard(0, 2), plan.shard(1, 2)], [vec![0, 3], vec![1, 2]]);
    assert_eq!((plan.shard(0, 1), plan.shard(3, 4), plan.jobs()), (vec![0, 1, 2, 3], Vec::new(), 3));
    let text = serde_json::to_string(&plan).expect("JSON");
    assert_eq!(serde_json::from_str::<Plan>(&text).expect("read"), plan);
}
