use super::*;
use crate::gate::{ArmSummary, Severity, Verdict};
use crate::probe::Estimand;
use crate::tune::Mode;

fn cell(at: &[&str], verdict: Verdict) -> Cell {
    let finding = Finding {
        rule: "r".into(),
        mode: Mode::FixedFeature,
        probe: "backdoor".into(),
        estimand: Estimand::Attraction,
        severity: Severity::High,
        verdict,
        reason: None,
        notes: Vec::new(),
        limit: 0.1,
        origin: Origin { file: "s".into(), line: 1, column: 1 },
        comparisons: Vec::new(),
        arms: Vec::new(),
        drawn_to: None,
        label: None,
        look: 1,
        waived: None,
        seconds: 0.0,
    };
    let at = at.iter().map(|s| (*s).to_owned()).collect();
    Cell { source: "planted".into(), model: Digest::of(b"m"), policy: Digest::of(b"p"), at, findings: vec![finding] }
}

fn axis(name: &str, values: &[&str]) -> (String, Vec<String>) {
    (name.into(), values.iter().map(|s| (*s).to_owned()).collect())
}

#[test]
fn the_safe_region_is_said_in_words() {
    use Verdict::{Fail, Inconclusive, Pass};
    let axes = [axis("mode", &["fixed", "full"]), axis("weight decay", &["5e-4", "0.005", "0.05"])];
    let table = |fixed: [Verdict; 3], full: [Verdict; 3]| {
        let rows = [("fixed", fixed), ("full", full)];
        let cells: Vec<Cell> = rows
            .iter()
            .flat_map(|(mode, verdicts)| ["5e-4", "0.005", "0.05"].iter().zip(verdicts).map(|(wd, v)| cell(&[*mode, *wd], *v)))
            .collect();
        safe::region(&axes, &cells.iter().collect::<Vec<_>>())
    };
    assert_eq!(table([Fail; 3], [Fail, Inconclusive, Pass]), "mode full, weight decay of 0.05");
    assert_eq!(table([Fail; 3], [Pass; 3]), "mode full, weight decay of any value tried");
    assert_eq!(table([Pass, Fail, Fail], [Pass, Fail, Pass]), "mode fixed, weight decay of 5e-4; mode full, weight decay of 5e-4, 0.05");
    assert_eq!(table([Fail; 3], [Fail, Pass, Pass]), "mode full, weight decay of 0.005 to 0.05");
    assert_eq!(table([Fail; 3], [Inconclusive; 3]), "nothing that was tried: some rule does not pass in every row");
    assert_eq!(table([Pass; 3], [Pass; 3]), "all that was tried");
}

#[test]
fn each_mode_has_a_safe_region_and_says_what_was_learnt_in_it() {
    use Verdict::{Fail, Pass};
    let axes = [axis("learning rate", &["0.01", "0.1", "1"])];
    let learnt = |accuracy: f64| ArmSummary {
        arm: crate::probe::Arm::Source,
        rates: [("clean_accuracy".to_owned(), accuracy)].into(),
        gains: Vec::new(),
        groups: Vec::new(),
        histogram: Vec::new(),
        valid: true,
    };
    // Both modes in one certification: frozen features never pass, the whole network does from 0.1 on, and learns little at 1.
    let both = |rate: &str, full: Verdict, accuracy: f64| {
        let mut cell = cell(&[rate], Fail);
        let whole = Finding { mode: Mode::FullNetwork, verdict: full, arms: vec![learnt(accuracy)], ..cell.findings[0].clone() };
        cell.findings.push(whole);
        cell
    };
    let cells = [both("0.01", Fail, 0.7), both("0.1", Pass, 0.76), both("1", Pass, 0.43)];
    assert_eq!(
        safe::region(&axes, &cells.iter().collect::<Vec<_>>()),
        "frozen features: nothing that was tried: some rule does not pass in every row. \
         the whole network: learning rate of 0.1 to 1 (accuracy 0.430 to 0.760)"
    );
}

#[test]
fn values_are_set_where_the_pointer_says() {
    let mut value = serde_json::json!({ "transfer": { "full_network": { "epochs": 3 } }, "rules": [{ "id": "a" }] });
    set(&mut value, "/transfer/full_network/epochs", &5.into()).unwrap();
    set(&mut value, "/transfer/full_network/weight_decay", &0.1.into()).unwrap();
    set(&mut value, "/rules/0/id", &"b".into()).unwrap();
    assert_eq!(
        value,
        serde_json::json!({ "transfer": { "full_network": { "epochs": 5, "weight_decay": 0.1 } }, "rules": [{ "id": "b" }] })
    );
    for (pointer, part) in
        [("epochs", "begin with"), ("/nowhere/epochs", "/nowhere"), ("/rules/3", "no entry"), ("/rules/0/id/x", "neither")]
    {
        let error = set(&mut value, pointer, &1.into()).unwrap_err();
        assert!(error.contains(part), "{pointer}: {error}");
    }
}

#[test]
fn every_combination_is_run_the_last_axis_fastest() {
    let of = |name: &str, values: &[&str]| Axis {
        name: name.into(),
        set: vec!["/seed".into()],
        to: values.iter().map(|v| Step::Plain(Value::String((*v).to_owned()))).collect(),
    };
    let axes = [of("a", &["1", "2"]), of("b", &["x", "y", "z"])];
    let names: Vec<String> = product(&axes).iter().map(|steps| steps.iter().map(|(_, s)| s.name()).collect()).collect();
    assert_eq!(names, ["1x", "1y", "1z", "2x", "2y", "2z"]);
    assert_eq!(product(&[]).len(), 1);
}

#[test]
fn mistakes_of_a_study_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let path = folder.path().join("study.yaml");
        std::fs::write(&path, text).unwrap();
        Grid::read(&path, None).map(|grid| grid.len())
    };
    let policy = "policy: { version: 1, name: p, target: { data: { embedded: fashion } }, transfer: { fixed_feature: { epochs: 1, learning_rate: 0.1 } }, \
                  rules: [{ id: a, probe: { backdoor: { trigger: { pattern: { seed: 1, amplitude: 0.1 } } } }, limit: 0.2 }] }\n";
    std::fs::write(folder.path().join("m.onnx"), "").unwrap();
    let head = "version: 1\nname: s\nsources: { one: { model: m.onnx } }\n";
    let vary = |set: &str, to: &str| format!("{head}{policy}vary:\n  - {{ name: epochs, set: [{set}], to: [{to}] }}\n");
    assert_eq!(read(&format!("{head}{policy}")).unwrap(), 1);
    assert_eq!(read(&vary("/transfer/fixed_feature/epochs", "1, 2, 3")).unwrap(), 3);
    for (text, part) in [
        (format!("version: 1\nname: s\nsources: {{}}\n{policy}"), "no sources"),
        (format!("version: 2\nname: s\nsources: {{ one: {{ model: m.onnx }} }}\n{policy}"), "version 2"),
        (vary("/transfer/fixed_feature/epochs", ""), "no values"),
        (vary("/transfer/fixed_feature/epochs", "1, 2, 1"), "two values called 1"),
        (vary("/transfer/fixed_feature/epochs, /seed, /seed", "1"), "`/seed` is set twice"),
        (
            format!("{}  - {{ name: epochs, set: [/seed], to: [1] }}\n", vary("/transfer/fixed_feature/epochs", "1")),
            "two axes are called `epochs`",
        ),
        (
            vary("/transfer/fixed_feature/epochs, /transfer/fixed_feature", "1"),
            "`/transfer/fixed_feature` holds `/transfer/fixed_feature/epochs`",
        ),
        (format!("version: 1\nname: s\nsources: {{ one: {{ model: none.onnx }} }}\n{policy}"), "none.onnx (the source `one`)"),
        (vary("/nowhere/epochs", "1"), "/nowhere"),
        ("version: [".to_owned(), "line"),
        (format!("{head}policy: nowhere.yaml\n"), "nowhere.yaml"),
        (format!("{head}{policy}colour: red\n"), "colour"),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    // A combination whose policy is wrong is found before anything runs.
    assert!(matches!(read(&vary("/transfer/fixed_feature/epochs", "1, -2")), Err(StudyError::Policy(_))));
}

#[test]
fn what_an_earlier_run_left_is_gone_on_from_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(RESULTS);
    let tool = Tool {
        name: "heirloom".into(),
        version: "1".into(),
        instruction_set: "AVX2".into(),
        device: "cpu".into(),
        precision: crate::exec::Precision::F32,
    };
    assert_eq!(earlier(&file, &tool).unwrap(), []);
    let results =
        |cells: Vec<Cell>| Results { schema: SCHEMA, tool: tool.clone(), name: "s".into(), question: None, axes: Vec::new(), cells };
    // What is finished first must not take away what an earlier run had beyond it.
    let (one, two) = (cell(&["1"], Verdict::Pass), Cell { policy: Digest::of(b"q"), ..cell(&["2"], Verdict::Fail) });
    write(&file, &results(vec![one.clone()]), std::slice::from_ref(&two)).unwrap();
    assert_eq!(earlier(&file, &tool).unwrap(), [one, two]);
    let other = Tool { instruction_set: "AVX-512".into(), ..tool.clone() };
    let refused = earlier(&file, &other).unwrap_err().to_string();
    assert!(refused.contains("heirloom 1 on AVX2, this is heirloom 1 on AVX-512") && refused.contains("--output"), "{refused}");
    let whole = std::fs::read_to_string(&file).unwrap();
    for (text, part) in [
        ("{", "EOF"),
        ("", "EOF"),
        (&whole.replace("\"schema\": 1", "\"schema\": 9"), "version 9"),
        (&whole.replace("sha256:", ""), "BLAKE3"),
    ] {
        std::fs::write(&file, text).unwrap();
        let refused = earlier(&file, &tool).unwrap_err().to_string();
        assert!(refused.contains(part) && refused.contains("study.json"), "{refused}");
    }
}
