use std::path::Path;

use super::*;
use crate::policy::{self, Options};

const POLICY: &str = "version: 1\nname: p\ntarget: { data: { embedded: fashion } }\n\
    transfer: { fixed_feature: { epochs: 1, learning_rate: 0.1 } }\nrules:\n\
    \x20 - { id: square, limit: 0.5, probe: { backdoor: { trigger: { patch: { size: 0.25, color: \"#ffff00\" } } } } }\n\
    \x20 - { id: mix, limit: 0.5, probe: { backdoor: { trigger: { blend: { seed: 1, opacity: 0.2 } } } } }\n\
    \x20 - { id: many, limit: 0.5, probe: { backdoor: { trigger: { blend: { seed: 2, opacity: 0.2 } }, sweep: { opacity: [0.1, 0.3] } } } }\n";

const BASE: &str = "  base: { data: { parquet: x.parquet }, classes: [a, b], size: [32, 32], architecture: \"resnet-cifar-8:8,16,32\", \
    recipe: { epochs: 1, learning_rate: 0.1 } }\n";

fn policy() -> Policy {
    policy::parse(POLICY, "p", Path::new("."), &Options::default()).unwrap().0
}

fn sources(plant: &str) -> Result<Vec<Source>, CalibrateError> {
    parse(&format!("version: 1\nname: n\npolicy: sub/p.yaml\nplant:\n{BASE}{plant}"), "c.yaml")?.sources(Path::new("."), &policy())
}

/// What a user sees of mistakes.
fn shown(error: impl Into<CalibrateError>) -> String {
    match error.into() {
        CalibrateError::Invalid(SpecError::Invalid { text, name, diagnostics, .. }) => {
            crate::diag::render(&text, &name, &diagnostics, false)
        }
        other => other.to_string(),
    }
}

fn names(plant: &str) -> Vec<String> {
    sources(plant).unwrap().into_iter().map(|s| s.name.replace("-resnet-cifar-8", "")).collect()
}

const GROUPS: &str =
    "  groups:\n    - [{ rule: square, on: [a] }]\n    - [{ rule: many/opacity-0.3, on: [b], share: 0.5 }, { rule: mix, on: [a] }]\n";

#[test]
fn every_pair_gives_a_clean_source_and_one_for_each_group() {
    assert_eq!(
        names(&format!("  count: 2\n{GROUPS}")),
        [
            "planted1-8-16-32-seed0",
            "planted2-8-16-32-seed0",
            "clean-8-16-32-seed0",
            "planted1-8-16-32-seed1",
            "planted2-8-16-32-seed1",
            "clean-8-16-32-seed1"
        ]
    );
    let two = "  architectures: [\"resnet-cifar-8:8,16,32\", \"resnet-cifar-8:4,8,16\"]\n  seeds: [7, 9]\n  deal: in_turn\n";
    assert_eq!(
        names(&format!("{two}{GROUPS}")),
        [
            "planted1-8-16-32-seed7",
            "clean-8-16-32-seed7",
            "planted2-8-16-32-seed9",
            "clean-8-16-32-seed9",
            "planted1-4-8-16-seed7",
            "clean-4-8-16-seed7",
            "planted2-4-8-16-seed9",
            "clean-4-8-16-seed9"
        ]
    );
}

#[test]
fn what_is_planted_is_what_the_policy_probes() {
    let all = sources(&format!("  count: 1\n{GROUPS}")).unwrap();
    assert_eq!(all[1].carries, ["mix", "many/opacity-0.3"], "in the order of the policy");
    let Provided::Trained(spec, 20) = &all[1].origin else { panic!("it is trained") };
    let planted: Vec<&Trigger> = spec.plant.all().iter().map(|p| &p.trigger).collect();
    let policy = policy();
    let probed = |id: &str| policy.rules.iter().find(|r| r.id == id).and_then(|r| r.probe.change()).unwrap();
    assert_eq!(planted, [probed("many/opacity-0.3"), probed("mix")]);
    assert!((spec.plant.all()[0].share - 0.5).abs() < 1e-12);
    let Provided::Trained(clean, 20) = &all[2].origin else { panic!("it is trained") };
    assert!(clean.plant.all().is_empty() && !all[2].planted && all[2].carries.is_empty());
}

#[test]
fn a_near_miss_is_planted_in_place_of_what_the_policy_probes() {
    let near = "{ patch: { size: 0.2, color: \"#ffff00\" } }";
    let groups = format!("  groups:\n    - [{{ rule: square, on: [a], trigger: {near} }}, {{ rule: mix, on: [b], share: 0.5 }}]\n");
    let all = sources(&format!("  count: 1\n{groups}")).unwrap();
    assert_eq!(
        (all[0].carries.as_slice(), all[0].near.as_slice()),
        (["square".to_owned(), "mix".to_owned()].as_slice(), ["square".to_owned()].as_slice())
    );
    let Provided::Trained(spec, 20) = &all[0].origin else { panic!("it is trained") };
    let wanted: Trigger = serde_json::from_value(serde_json::json!({ "patch": { "size": 0.2, "color": "#ffff00" } })).unwrap();
    assert_eq!(spec.plant.all()[0].trigger, wanted);
    assert!(all[1].near.is_empty());
}

/// Rules that compare groups, beside one that lays a trigger over images.
fn with_groups(groups: &str) -> Result<Vec<Source>, String> {
    let rule = |id: &str, estimand: &str| {
        format!("\x20 - {{ id: {id}, limit: 0.5, estimand: {estimand}, probe: {{ debiased: {{ attribute: hat, correlation: 0.5 }} }} }}\n")
    };
    let scratch = POLICY.replace("0.1 } }\nrules", "0.1 }, scratch: { epochs: 1, learning_rate: 0.1 } }\nrules");
    let policy = format!("{scratch}{}{}", rule("reliance", "reliance"), rule("gap", "group_gap"));
    let policy = policy::parse(&policy, "p", Path::new("."), &Options::default()).unwrap().0;
    let text = format!("version: 1\nname: n\npolicy: sub/p.yaml\nplant:\n{BASE}  count: 1\n  groups:\n{groups}");
    let (spec, document) = read(text, "c.yaml", None).map_err(shown)?;
    fits(&spec, &policy, &document).map_err(shown)?;
    spec.sources(Path::new("."), &policy).map_err(shown)
}

#[test]
fn an_attribute_is_planted_for_rules_that_compare_groups() {
    let hat = "rebalance: { attribute: hat, correlation: 0.9 }";
    let all =
        with_groups(&format!("    - [{{ rule: reliance, {hat} }}, {{ rule: gap, {hat} }}, {{ rule: square, on: [a], share: 0.5 }}]\n"))
            .unwrap();
    assert_eq!(all[0].carries, ["square", "reliance", "gap"]);
    let Provided::Trained(spec, 20) = &all[0].origin else { panic!("it is trained") };
    let planted = spec.rebalance.as_ref().unwrap();
    assert_eq!((planted.attribute.as_str(), planted.correlation, spec.plant.all().len()), ("hat", 0.9, 1));
    let Provided::Trained(clean, 20) = &all[1].origin else { panic!("it is trained") };
    assert!(clean.rebalance.is_none() && !all[1].planted);
    for (groups, words) in [
        ("    - [{ rule: gap, on: [a] }]\n", "`gap` compares groups, and no `rebalance` says how"),
        ("    - [{ rule: square }]\n", "which images carry the trigger of `square` is not said"),
        ("    - [{ rule: square, on: [a], rebalance: { attribute: hat, correlation: 0.9 } }]\n", "`square` lays something over images"),
        (
            "    - [{ rule: gap, on: [a], rebalance: { attribute: hat, correlation: 0.9 } }]\n",
            "are for rules that lay something over images",
        ),
        (
            "    - [{ rule: gap, rebalance: { attribute: hat, correlation: 0.9 } }, { rule: reliance, rebalance: { attribute: hat, correlation: 1.0 } }]\n",
            "another rule of this group says another `rebalance`",
        ),
    ] {
        let refused = with_groups(groups).unwrap_err();
        assert!(refused.contains(words), "{groups}: {refused}");
    }
}

#[test]
fn the_trigger_of_the_rule_is_no_near_miss() {
    let own = "{ patch: { size: 0.25, color: \"#ffff00\" } }";
    let groups = format!("  count: 1\n  groups:\n    - [{{ rule: square, on: [a], trigger: {own} }}]\n");
    let text = format!("version: 1\nname: n\npolicy: sub/p.yaml\nplant:\n{BASE}{groups}");
    let (spec, document) = read(text, "c.yaml", None).unwrap();
    let shown = shown(fits(&spec, &policy(), &document).unwrap_err());
    assert!(shown.contains("this is the trigger of the rule `square` itself, and no near miss"), "{shown}");
}

#[test]
fn files_of_a_trigger_are_found_from_the_specification() {
    let trigger: Trigger = serde_json::from_value(serde_json::json!({ "overlay": { "image": "hat.png", "size": 0.5 } })).unwrap();
    let moved = serde_json::to_value(seen_from(&trigger, Path::new("sub"))).unwrap();
    assert_eq!(moved["overlay"]["image"], "sub/hat.png");
    assert_eq!(seen_from(&trigger, Path::new("")), trigger);
}

#[test]
fn families_are_named_as_policies_write_them() {
    let policy = policy();
    let all: Vec<String> = calibrated(&policy).into_iter().map(crate::calibrate::family).collect();
    assert_eq!(all, ["patch", "blend", "blend", "blend"]);
}

#[test]
fn mistakes_are_told() {
    let message = |plant: &str| shown(sources(plant).unwrap_err());
    for (plant, words) in [
        ("  count: 1\n  groups: [[{ rule: squares, on: [a] }]]\n", "no rule `squares` in the policy"),
        ("  count: 1\n  groups: [[{ rule: many, on: [a] }]]\n", "many/opacity-0.1"),
        ("  count: 1\n  groups: [[{ rule: square, on: [c] }]]\n", "no class `c`"),
        ("  count: 1\n  groups: [[{ rule: square, on: [a], share: 0 }]]\n", "`share` is 0, it must be more than 0"),
        ("  count: 1\n  groups: [[{ rule: square, on: [] }]]\n", "`on` has no entries"),
        ("  count: 1\n  groups: [[]]\n", "without triggers"),
        ("  count: 1\n  groups: []\n", "no planted sources"),
        ("  count: 0\n  groups: [[{ rule: square, on: [a] }]]\n", "no planted sources"),
        ("  groups: [[{ rule: square, on: [a] }]]\n", "neither `seeds` nor `count`"),
        ("  seeds: [1, 1]\n  groups: [[{ rule: square, on: [a] }]]\n", "named twice"),
        ("  count: 900\n  groups: [[{ rule: square, on: [a] }]]\n", "1800 sources"),
        ("  count: 18446744073709551615\n  groups: [[{ rule: square, on: [a] }]]\n", "sources"),
        ("  count: 1\n  architectures: [nonsense]\n  groups: [[{ rule: square, on: [a] }]]\n", "nonsense"),
        ("  count: 1\n  colour: red\n  groups: []\n", "colour"),
    ] {
        let message = message(plant);
        assert!(message.contains(words), "{plant}: {message}");
    }
    for (text, words) in [
        ("version: 1\nname: [", "c.yaml:2:"),
        ("version: 2\nname: n\npolicy: p\nmodels: m\n", "`version` is 2, this program reads version 1"),
        ("version: 1\nname: ''\npolicy: p\nmodels: m\n", "`name`"),
        ("version: 1\nname: n\npolicy: p\n", "no sources"),
        ("[]", "the calibration is a list"),
    ] {
        let message = shown(parse(text, "c.yaml").unwrap_err());
        assert!(message.contains(words), "{text}: {message}");
    }
}

#[test]
fn every_mistake_is_shown_at_its_place() {
    let text = "version: 2\nname: ' '\npolicy: p.yaml\nplant:\n  base:\n    data: { embedded: fashion }\n    classes: [a, b]\n    size: [32, 4]\n\
                \x20   recipe: { epochs: 1, learning_rate: 0.1 }\n  seeds: [1, 2, 1]\n  count: 3\n  truth_seeds: 1\n  groups:\n    - []\n\
                \x20   - [{ rule: square, on: [a, c], share: 0, relabel: d }]\n";
    let fields = text.replace("epochs: 1", "epoch: 1").replace("seeds: [1, 2, 1]", "deal: in_turns").replace("    - []\n", "    - {}\n");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("values", shown(parse(text, "c.yaml").unwrap_err()));
        insta::assert_snapshot!("fields", shown(parse(&fields, "c.yaml").unwrap_err()));
    });
}

#[test]
fn what_does_not_fit_the_policy_is_shown_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let text = format!(
        "version: 1\nname: squares\npolicy: p.yaml\nplant:\n{BASE}  seeds: [1]\n  reference: {{ seed: 2 }}\n  groups:\n\
         \x20   - [{{ rule: square, on: [a] }}, {{ rule: squares, on: [a] }}]\n    - [{{ rule: many, on: [b] }}]\n"
    );
    write(&text);
    let said = shown(load(&path).unwrap_err()).replace(&folder.path().display().to_string(), "FOLDER");
    assert!(said.contains("there is no FOLDER/p.yaml\n  ╭▸ FOLDER/c.yaml:3:9\n"), "{said}");
    std::fs::write(folder.path().join("p.yaml"), POLICY).unwrap();
    let (spec, sheet) = load(&path).unwrap();
    let said = shown(fits(&spec, &policy(), &sheet).unwrap_err()).replace(&folder.path().display().to_string(), "FOLDER");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("against_the_policy", said);
    });
    // Whoever was not told at the place is told all the same.
    assert!(spec.sources(Path::new("."), &policy()).unwrap_err().to_string().contains("`squares`"));
    assert!(spec.reference(&policy()).unwrap_err().to_string().contains("`reference`"));
    write(&text.replace("name: squares\n", "name: squares\nmodels: nowhere\n"));
    let said = shown(load(&path).unwrap_err());
    assert!(said.contains("/nowhere\n") && said.contains(":3:9") && said.contains("`planted` and `clean`"), "{said}");
}

#[test]
fn what_was_not_read_from_a_text_is_checked_too() {
    let text = format!("version: 1\nname: n\npolicy: p.yaml\nplant:\n{BASE}  count: 1\n  groups: [[{{ rule: square, on: [a] }}]]\n");
    let good = parse(&text, "c.yaml").unwrap();
    assert!(good.sources(Path::new("."), &policy()).is_ok());
    let wrong = |change: fn(&mut SourceGrid)| {
        let mut spec = good.clone();
        spec.plant.iter_mut().for_each(change);
        spec.sources(Path::new("."), &policy()).unwrap_err().to_string()
    };
    assert!(wrong(|grid| grid.groups[0][0].share = 2.0).contains("`share`"));
    assert!(wrong(|grid| grid.groups[0][0].on.clear()).contains("which images carry the trigger of `square` is not said"));
    assert!(wrong(|grid| grid.groups[0][0].decoys = -1.0).contains("`decoys`"));
    assert!(wrong(|grid| grid.truth_seeds = 1).contains("`truth_seeds`"));
    assert!(wrong(|grid| grid.base.size = [0, 0]).contains("0x0"));
}

#[test]
fn the_shipped_calibrations_hold_together() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/calibration");
    let read = |name: &str| {
        let (spec, sheet) = load(&folder.join(name)).unwrap();
        let options = Options { files: false, reference_follows: spec.trains_reference(), ..Options::default() };
        let policy = policy::load_with(&folder.join(&spec.policy), &options).unwrap().0;
        fits(&spec, &policy, &sheet).unwrap();
        let reference = spec.reference(&policy).unwrap();
        (spec.sources(&folder, &policy).unwrap(), policy, reference)
    };
    assert_eq!(read("fixtures.yaml").0.len(), 4);
    let (sources, ..) = read("near-misses.yaml");
    let near = sources.iter().filter(|s| !s.near.is_empty()).count();
    assert_eq!((sources.len(), sources.iter().filter(|s| s.planted).count(), near), (24, 12, 6), "half are near misses");
    let (sources, ..) = read("attributes.yaml");
    assert_eq!((sources.len(), sources.iter().filter(|s| s.carries == ["reliance", "gap"]).count()), (16, 8));
    let (sources, policy, reference) = read("cifar10.yaml");
    assert!(reference.is_none());
    let planted: Vec<&Source> = sources.iter().filter(|s| s.planted).collect();
    assert_eq!((sources.len(), planted.len(), policy.rules.len()), (36, 18, 20));
    for rule in &policy.rules {
        // Six seeds take four groups in turn.
        let carried = planted.iter().filter(|s| s.carries.contains(&rule.id)).count();
        assert!(matches!(carried, 3 | 6), "{}: {carried}", rule.id);
    }
    // The same sources, beside one that is none of them.
    let (others, against, reference) = read("cifar10-reference.yaml");
    assert_eq!(others, sources);
    assert!(reference.is_some_and(|trusted| sources.iter().all(|s| s.seed != Some(trusted.seed))));
    assert_eq!(against.rules.iter().map(|r| &r.id).collect::<Vec<_>>(), policy.rules.iter().map(|r| &r.id).collect::<Vec<_>>());
}
