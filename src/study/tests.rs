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
        own: None,
        comparisons: Vec::new(),
        arms: Vec::new(),
        drawn_to: None,
        label: None,
        further: Vec::new(),
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

/// Two sources at two values, with names that are none of the page's.
fn varied(name: &str) -> Results {
    let estimate = |value: f64| crate::gate::Estimate {
        value,
        low: value - 0.05,
        high: value + 0.05,
        ..crate::report::samples::fail().findings[0].comparisons[0].excess.clone().unwrap()
    };
    let one = |source: &str, at: &str, verdict: Verdict, value: f64| {
        let mut cell = cell(&[at], verdict);
        source.clone_into(&mut cell.source);
        let compared = crate::report::samples::fail().findings[0].comparisons[0].clone();
        for finding in &mut cell.findings {
            finding.rule = format!("square {name}");
            finding.reason = (verdict == Verdict::Inconclusive).then(|| format!("too few {name}"));
            finding.comparisons = vec![crate::gate::Comparison { excess: Some(estimate(value)), ..compared.clone() }];
        }
        cell
    };
    let planted = format!("planted {name}");
    Results {
        schema: SCHEMA,
        tool: crate::report::samples::fail().tool,
        name: format!("Weight decay {name}"),
        question: Some(format!("How much is enough? {name}")),
        axes: vec![axis(&format!("decay {name}"), &["0.1", name])],
        policies: vec![Combination { at: vec!["0.1".to_owned()], policy: crate::report::samples::fail().policy }],
        cells: vec![
            one("clean", "0.1", Verdict::Pass, 0.01),
            one("clean", name, Verdict::Inconclusive, 0.08),
            one(&planted, "0.1", Verdict::Fail, 0.4),
            one(&planted, name, Verdict::Pass, -0.02),
        ],
    }
}

#[test]
fn the_page_of_a_study_looks_like_this() {
    insta::assert_snapshot!(crate::report::html::tests::sound(&html::render(&varied("</b>&|"))));
}

#[test]
fn names_in_a_study_mean_nothing_to_its_page() {
    for name in crate::report::html::tests::attacks() {
        let page = html::render(&varied(&name));
        crate::report::html::tests::sound(&page);
        assert!(!page.contains('\u{202e}') && !page.contains("<img src=x") && page.len() < 1 << 20, "{}", page.len());
    }
    // The largest study there may be.
    let mut many = varied("x");
    many.cells = many.cells.into_iter().cycle().take(MOST).collect();
    let page = html::render(&many);
    crate::report::html::tests::sound(&page);
    assert!(page.len() < 2 << 20 && page.contains("the first 40 of 2000 certifications"), "{}", page.len());
}

#[test]
fn values_are_set_where_the_pointer_says() {
    let read = |text: &str| spec::tree::<PolicyFile>(text, "p.yaml", &mut Vec::new()).unwrap().unwrap();
    let mut policy = read("transfer: { full_network: { epochs: 3 } }\nrules: [{ id: a }]\n");
    let to = |text: &str| read(text).child("v").unwrap().clone();
    policy.put("/transfer/full_network/epochs", to("v: 5")).unwrap();
    policy.put("/transfer/full_network/weight_decay", to("v: 0.1")).unwrap();
    policy.put("/rules/0/id", to("v: b")).unwrap();
    assert_eq!(
        policy.value(),
        serde_json::json!({ "transfer": { "full_network": { "epochs": 5, "weight_decay": 0.1 } }, "rules": [{ "id": "b" }] })
    );
    for (pointer, part) in [
        ("epochs", "begin with"),
        ("rules/0", "begin with"),
        ("/nowhere/epochs", "/nowhere"),
        ("/rules/3", "no entry"),
        ("/rules/00", "no entry"),
        ("/rules/0/id/x", "neither"),
    ] {
        let error = policy.put(pointer, to("v: 1")).unwrap_err();
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
    let name = |steps: &Vec<usize>| axes.iter().zip(steps).map(|(axis, step)| axis.to[*step].name()).collect();
    let names: Vec<String> = combine::product(&axes).iter().map(name).collect();
    assert_eq!(names, ["1x", "1y", "1z", "2x", "2y", "2z"]);
    assert_eq!(combine::product(&[]).len(), 1);
}

/// What a user sees of a study's mistakes, its folder left out.
fn shown(error: StudyError, folder: &Path) -> String {
    let text = match error {
        StudyError::Spec(SpecError::Invalid { text, name, diagnostics, .. }) => crate::diag::render(&text, &name, &diagnostics, false),
        other => other.to_string(),
    };
    text.replace(&folder.display().to_string(), "FOLDER")
}

/// A checkpoint that can be certified.
const MODEL: &[u8] = include_bytes!("../../fixtures/models/clean.onnx");

const POLICY: &str = "policy: { version: 1, name: p, target: { data: { embedded: fashion } }, transfer: { fixed_feature: { epochs: 1, learning_rate: 0.1 } }, \
                      rules: [{ id: a, probe: { backdoor: { trigger: { pattern: { seed: 1, amplitude: 0.1 } } } }, limit: 0.2 }] }\n";

/// Line and column of what a text has between `before` and what follows.
fn place(text: &str, before: &str) -> String {
    let at = text.find(before).unwrap() + before.len();
    let line = text[..at].matches('\n').count() + 1;
    format!(":{line}:{}", at - text[..at].rfind('\n').map_or(0, |newline| newline + 1) + 1)
}

#[test]
fn mistakes_of_combinations_are_shown_where_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.yaml");
    std::fs::write(folder.path().join("m.onnx"), MODEL).unwrap();
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        shown(Grid::read(&path, None, None).map(|grid| grid.len()).unwrap_err(), folder.path())
    };
    // Two values are wrong by themselves, one only with another: all are shown, and the policy's own mistake once.
    let head = "version: 1\nname: s\nsources: { one: { model: m.onnx } }\n";
    let vary = "vary:\n  - { name: epochs, set: [/transfer/fixed_feature/epochs], to: [1, -2, { name: none, value: 0 }] }\n\
                \x20 - { name: first, set: [/seeds/fixed_feature/first], to: [3, 9] }\n";
    let policy = POLICY.replace(", transfer", ", seeds: { fixed_feature: { first: 3, most: 5 } }, transfer");
    let policy = policy.replace("embedded: fashion", "embedded: fashon");
    let inline = format!("{head}{policy}{vary}");
    let said = read(&inline);
    for (at, message) in [
        (place(&inline, "to: [1, "), "`epochs` is -2, it must be at least 1"),
        (place(&inline, "name: none, value: "), "`epochs` is 0, it must be at least 1"),
        (place(&inline, "to: [3, "), "`first` is 9, more than `most`, which is 5"),
        (place(&inline, "embedded: "), "no data set inside the program is called `fashon`"),
    ] {
        assert!(said.contains(&format!("{message}\n  ╭▸ FOLDER/study.yaml{at}\n")), "{message}, {at}: {said}");
        assert_eq!(said.matches(message).count(), 1, "{said}");
    }
    assert_eq!(said.matches("error[").count(), 4, "{said}");
    // What is wrong with the policy itself is shown there, and with which values.
    let shifted =
        inline.replace("/seeds/fixed_feature/first], to: [3, 9]", "/seeds/fixed_feature/most], to: [3, 2]").replace("fashon", "fashion");
    let shifted = shifted.replace(", -2, { name: none, value: 0 }", ", 2");
    let said = read(&shifted);
    let at = place(&shifted, "first: ");
    assert!(said.contains(&format!("`first` is 3, more than `most`, which is 2\n  ╭▸ FOLDER/study.yaml{at}\n")), "{said}");
    assert!(said.contains("with epochs 1, first 2"), "{said}");
    // A policy in a file of its own: its mistakes there, those of values in the study.
    let own = policy.replace("policy: {", "{").replace("fashon", "fashion");
    std::fs::write(folder.path().join("policy.yaml"), &own).unwrap();
    let outside = format!("{head}policy: policy.yaml\n{vary}");
    let said = read(&outside);
    for (at, message) in [
        (place(&outside, "to: [1, "), "`epochs` is -2, it must be at least 1"),
        (place(&outside, "name: none, value: "), "`epochs` is 0, it must be at least 1"),
        (place(&outside, "to: [3, "), "`first` is 9, more than `most`, which is 5"),
    ] {
        assert!(said.contains(&format!("{message}\n  ╭▸ FOLDER/study.yaml{at}\n")), "{message}, {at}: {said}");
    }
    let outside = outside.replace("/seeds/fixed_feature/first], to: [3, 9]", "/seeds/fixed_feature/most], to: [3, 2]");
    let outside = outside.replace(", -2, { name: none, value: 0 }", ", 2");
    let said = read(&outside);
    let at = place(&own, "first: ");
    assert!(said.contains(&format!("which is 2\n  ╭▸ FOLDER/policy.yaml{at}\n")) && said.contains("with epochs 1, first 2"), "{said}");
}

#[test]
fn remarks_on_the_policies_have_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.yaml");
    std::fs::write(folder.path().join("m.onnx"), MODEL).unwrap();
    let policy = POLICY.replace("learning_rate: 0.1 }", "learning_rate: 0.1, augment: { flip: true } }");
    let vary = "vary: [{ name: epochs, set: [/transfer/fixed_feature/epochs], to: [1, 2] }]\n";
    let inline =
        format!("# augment\nversion: 1\nname: s\nquestion: augment\nsources: {{ one: {{ model: m.onnx }} }}\n{policy}{vary}# augment\n");
    std::fs::write(&path, &inline).unwrap();
    let remarks = Grid::read(&path, None, None).unwrap().remarks;
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert_eq!((&remarks[0].text, remarks[0].diagnostics.len()), (&inline, 1));
    assert_eq!(remarks[0].diagnostics[0].span.start, inline.find("augment: {").unwrap());
    let own = policy.replace("policy: {", "{");
    std::fs::write(folder.path().join("policy.yaml"), &own).unwrap();
    std::fs::write(&path, format!("version: 1\nname: s\nsources: {{ one: {{ model: m.onnx }} }}\npolicy: policy.yaml\n{vary}")).unwrap();
    let remarks = Grid::read(&path, None, None).unwrap().remarks;
    assert_eq!((remarks.len(), &remarks[0].text, remarks[0].diagnostics[0].span.start), (1, &own, own.find("augment: {").unwrap()));
    assert!(remarks[0].name.ends_with("policy.yaml"));
}

/// What is kept of a study is known by these digests: reading a policy with its places must not change them.
#[test]
fn a_combination_is_known_by_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.yaml");
    std::fs::write(folder.path().join("m.onnx"), MODEL).unwrap();
    let vary = "vary: [{ name: seed, set: [/seed], to: [7] }, { name: epochs, set: [/transfer/fixed_feature/epochs], to: [2] }]\n";
    std::fs::write(&path, format!("version: 1\nname: s\nsources: {{ one: {{ model: m.onnx }} }}\n{POLICY}{vary}")).unwrap();
    let grid = Grid::read(&path, None, None).unwrap();
    let text =
        POLICY.strip_prefix("policy: ").unwrap().replace("epochs: 1", "epochs: 2").replace("limit: 0.2 }] }", "limit: 0.2 }], seed: 7 }");
    let value = spec::tree::<PolicyFile>(&text, "p.yaml", &mut Vec::new()).unwrap().unwrap().value();
    let text = serde_json::to_string_pretty(&value).unwrap();
    assert_eq!(grid.combinations[0].1.digest, Digest::of(text.as_bytes()));
    assert_eq!(
        grid.combinations[0].1.fingerprint(),
        policy::parse(&text, "p", folder.path(), &policy::Options::default()).unwrap().0.fingerprint()
    );
}

#[test]
fn mistakes_of_a_study_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let path = folder.path().join("study.yaml");
        std::fs::write(&path, text).unwrap();
        Grid::read(&path, None, None).map(|grid| grid.len())
    };
    let policy = POLICY;
    std::fs::write(folder.path().join("m.onnx"), MODEL).unwrap();
    std::fs::write(folder.path().join("plant.yaml"), "version: 1\nname: p\n").unwrap();
    let head = "version: 1\nname: s\nsources: { one: { model: m.onnx } }\n";
    let vary = |set: &str, to: &str| format!("{head}{policy}vary:\n  - {{ name: epochs, set: [{set}], to: [{to}] }}\n");
    assert_eq!(read(&format!("{head}{policy}")).unwrap(), 1);
    assert_eq!(read(&vary("/transfer/fixed_feature/epochs", "1, 2, 3")).unwrap(), 3);
    // What is put in later may be missing, or not hold as it is written.
    assert_eq!(read(&vary("/rules/0/limit", "0.1").replace(", limit: 0.2", "")).unwrap(), 1);
    assert_eq!(read(&vary("/rules/0/limit", "0.1").replace("limit: 0.2", "limit: 7")).unwrap(), 1);
    assert_eq!(read(&vary("/target/data/embedded", "fashion").replace("{ embedded: fashion }", "{}")).unwrap(), 1);
    for (text, part) in [
        (format!("version: 1\nname: s\nsources: {{}}\n{policy}"), "no sources"),
        (format!("version: 2\nname: s\nsources: {{ one: {{ model: m.onnx }} }}\n{policy}"), "`version` is 2, this program reads version 1"),
        (vary("/transfer/fixed_feature/epochs", ""), "`to` has no entries"),
        (vary("", "1"), "`set` has no entries"),
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
        (format!("version: 1\nname: s\nsources: {{ one: {{ planted: none.yaml }} }}\n{policy}"), "none.yaml (the source `one`)"),
        (
            format!("version: 1\nname: s\nsources: {{ one: {{ planted: plant.yaml }} }}\n{policy}"),
            "the planted source has no field `recipe`",
        ),
        (vary("/nowhere/epochs", "1"), "/nowhere"),
        (vary("/rules/00", "1"), "no entry `00`"),
        ("version: [".to_owned(), "study.yaml:1:"),
        (format!("{head}policy: nowhere.yaml\n"), "nowhere.yaml"),
        (format!("{head}policy: study.yaml\n"), "this is a study, and not a policy"),
        (format!("{head}{policy}colour: red\n"), "colour"),
        (format!("{head}policy: 5\n"), "the policy is 5, it must be a map of fields"),
        (policy.replace("policy: {", "{"), "this is a policy, and not a study"),
    ] {
        let error = shown(read(&text).unwrap_err(), folder.path());
        assert!(error.contains(part), "{error}");
    }
    // A combination whose policy is wrong is found before anything runs.
    assert!(matches!(read(&vary("/transfer/fixed_feature/epochs", "1, -2")), Err(StudyError::Spec(_))));
}

#[test]
fn every_mistake_is_shown_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.yaml");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        shown(Grid::read(&path, None, None).map(|grid| grid.len()).unwrap_err(), folder.path())
    };
    let policy = POLICY
        .replace(" { version: 1, name: p, ", "\n  version: 1\n  name: p\n  ")
        .replace(", transfer", "\n  transfer")
        .replace(", rules", "\n  rules");
    let policy = policy.replace("limit: 0.2 }] }", "limit: 0.2 }]");
    let text = format!(
        "version: 2\nname: s\nsources:\n  one: {{ model: none.onnx }}\n  two:\n    planted:\n      version: 1\n      name: a/b\n\
         \x20     data: {{ embedded: fashion }}\n      architecture: nonsense\n      size: [16, 16]\n      recipe: {{ epochs: 0, learning_rate: 0.1 }}\n{policy}\
         vary:\n  - {{ name: rate, set: [/transfer/fixed_feature/learning_rate, /seed], to: [0.1, 0.1] }}\n\
         \x20 - {{ name: rate, set: [/nowhere/x, /seed], to: [] }}\n"
    );
    let text = text.replace("limit: 0.2", "limit: 2").replace("pattern: {", "patern: {");
    let fields = text
        .replace("model: none.onnx", "modell: none.onnx")
        .replace("size:", "sice:")
        .replace("set: [/nowhere/x, /seed]", "sets: [/nowhere/x]")
        .replace("  name: p\n", "");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("values", read(&text));
        insta::assert_snapshot!("fields", read(&fields));
    });
}

#[test]
fn what_an_earlier_run_left_is_gone_on_from_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(PARTIAL);
    let tool = Tool {
        name: "heirloom".into(),
        version: "1".into(),
        instruction_set: "AVX2".into(),
        device: "cpu".into(),
        precision: crate::exec::Precision::F32,
    };
    let results = |cells: Vec<Cell>| Results { cells, axes: Vec::new(), policies: Vec::new(), tool: tool.clone(), ..varied("s") };
    // What is finished first must not take away what an earlier run had beyond it.
    let (one, two) = (cell(&["1"], Verdict::Pass), Cell { policy: Digest::of(b"q"), ..cell(&["2"], Verdict::Fail) });
    let resume = || Campaign::resume(folder.path(), &results(Vec::new()));
    assert_eq!(resume().unwrap().earlier, []);
    resume().unwrap().keep(&results(vec![two.clone()])).unwrap();
    resume().unwrap().keep(&results(vec![one.clone()])).unwrap();
    assert_eq!(resume().unwrap().earlier, [one, two]);
    let other = Tool { instruction_set: "AVX-512".into(), ..tool.clone() };
    let refused = Campaign::resume(folder.path(), &Results { tool: other, ..results(Vec::new()) }).err().unwrap().to_string();
    assert!(refused.contains("heirloom 1 on AVX2, this is heirloom 1 on AVX-512") && refused.contains("--output"), "{refused}");
    let whole = std::fs::read_to_string(&file).unwrap();
    for (text, part) in [
        ("{", "EOF"),
        ("", "EOF"),
        (&whole.replace("\"schema\": 1", "\"schema\": 9"), "version 9"),
        (&whole.replace("sha256:", ""), "BLAKE3"),
    ] {
        std::fs::write(&file, text).unwrap();
        let refused = resume().err().unwrap().to_string();
        assert!(refused.contains(part) && refused.contains("study.partial.json"), "{refused}");
    }
}
