//! What every family of triggers must say, for each by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::every_family;
use crate::transform::family::When;
use crate::transform::{FAMILIES, Overlay, Patch, Place, Trigger};

/// The fields of a trigger as a policy writes them.
fn fields(trigger: &Trigger) -> serde_json::Map<String, Value> {
    let written = serde_json::to_value(trigger).unwrap();
    written[trigger.family()].as_object().cloned().unwrap_or_default()
}

/// The examples of every family in a folder where their files are.
fn examples(folder: &Path) -> BTreeMap<&'static str, Vec<Trigger>> {
    let mut of: BTreeMap<&str, Vec<Trigger>> = FAMILIES.iter().map(|about| (about.name, Vec::new())).collect();
    for trigger in every_family(folder).into_iter().filter(|trigger| !matches!(trigger, Trigger::All(_))) {
        of.entry(trigger.family()).or_default().push(trigger);
    }
    of
}

#[test]
fn every_family_is_in_the_registry() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/transform");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = if path.is_file() { std::fs::read_to_string(&path).unwrap() } else { String::new() };
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if text.contains("\nimpl Family for ") {
            let known = FAMILIES.iter().any(|about| about.name == name);
            assert!(known, "{} is no line of `families!` in src/transform.rs", path.display());
        }
    }
}

#[test]
fn names_are_those_of_policies() {
    let folder = tempfile::tempdir().unwrap();
    for (name, triggers) in examples(folder.path()) {
        let about = FAMILIES.iter().find(|about| about.name == name).unwrap();
        assert_eq!(triggers.len(), about.examples.len(), "`{name}`: an example is no trigger of this family");
        assert!(!triggers.is_empty(), "`{name}` has no example");
        assert!(about.short.ends_with('.'), "`{name}`: say what it is in a sentence");
        for trigger in triggers {
            let written = serde_json::to_value(&trigger).unwrap();
            assert_eq!(written.as_object().unwrap().keys().next().unwrap(), name);
            assert_eq!(serde_json::from_value::<Trigger>(written).unwrap(), trigger);
        }
    }
}

#[test]
fn examples_have_every_field() {
    let folder = tempfile::tempdir().unwrap();
    let schema = schemars::schema_for!(Trigger).to_value();
    for (name, triggers) in examples(folder.path()) {
        let branches = schema["oneOf"].as_array().unwrap();
        let branch = branches.iter().find_map(|branch| branch["properties"].get(name)).unwrap();
        let definition = branch["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let known: BTreeSet<&String> = schema["$defs"][definition]["properties"].as_object().unwrap().keys().collect();
        let written: Vec<_> = triggers.iter().map(fields).collect();
        let shown: BTreeSet<&String> = written.iter().flat_map(serde_json::Map::keys).collect();
        let missing: Vec<_> = known.difference(&shown).collect();
        assert!(missing.is_empty(), "`{name}`: no example has {missing:?}");
    }
}

#[test]
fn files_are_known() {
    let folder = tempfile::tempdir().unwrap();
    for (name, triggers) in examples(folder.path()) {
        for trigger in triggers {
            let named: BTreeSet<String> = trigger.files().into_iter().map(|file| file.at).collect();
            let is_file = |value: &Value| value.as_str().is_some_and(|text| folder.path().join(text).exists());
            let there = fields(&trigger).iter().filter(|(_, value)| is_file(value)).map(|(field, _)| format!("/{name}/{field}")).collect();
            assert_eq!(named, there, "`{name}`: `files` names each file that a trigger reads");
            let moved = trigger.with_files(&|path| Path::new("else").join(path.file_name().unwrap()));
            assert_eq!(moved.files().len(), named.len());
            assert!(moved.files().iter().all(|file| file.path.starts_with("else")), "`{name}`");
        }
    }
}

#[test]
fn a_field_is_varied_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    for trigger in every_family(folder.path()) {
        let (name, before) = (trigger.family(), fields(&trigger));
        for field in ["opacity", "size", "amplitude"] {
            let swept = trigger.swept(field, 0.125);
            if name == "all" {
                assert!(swept.is_some(), "{field}");
                continue;
            }
            assert!(swept.is_some() || !before.contains_key(field), "`{name}`: `swept` gives no `{field}`");
            if let Some(swept) = swept {
                let after = fields(&swept);
                let changed: Vec<&String> = after.keys().filter(|key| after.get(*key) != before.get(*key)).collect();
                assert_eq!(changed.len(), 1, "`{name}`: `{field}` varies one number");
                assert_eq!(after[changed[0]], 0.125, "`{name}`");
                assert!(!before.contains_key(field) || changed[0] == field, "`{name}`: `{field}` varies {changed:?}");
            }
        }
        for field in ["seed", "at", ""] {
            assert_eq!(trigger.swept(field, 0.125), None, "`{name}` {field}");
        }
    }
    assert_eq!(Trigger::families_with("amplitude"), ["pattern", "sinusoid", "warp", "low_frequency", "noise"]);
}

#[test]
fn what_shams_do_not_explain_is_known() {
    let folder = tempfile::tempdir().unwrap();
    for (name, triggers) in examples(folder.path()) {
        let about = FAMILIES.iter().find(|about| about.name == name).unwrap();
        let answers: [(&str, When, BTreeSet<bool>); 2] = [
            ("outdoes_shams", about.outdoes_shams, triggers.iter().map(Trigger::outdoes_shams).collect()),
            ("is_local", about.is_local, triggers.iter().map(Trigger::is_local).collect()),
        ];
        for (question, said, shown) in answers {
            let wanted = match said {
                When::Never => vec![false],
                When::Always => vec![true],
                When::Where(_) => vec![false, true],
            };
            assert!(shown.into_iter().eq(wanted), "`{name}`: examples do not show that `{question}` is {said:?}");
        }
    }
    let small = |at, size| Trigger::Patch(Patch { size, at, color: Some("#ffff00".into()), image: None, opacity: 1.0 }).is_small();
    assert_eq!([small(Place::Random, 0.125), small(Place::Random, 0.126), small(Place::Grid, 0.1)], [true, false, false]);
    let overlay = |at, size| Trigger::Overlay(Overlay { image: "ring.png".into(), size, at, opacity: 1.0 }).outdoes_shams();
    assert_eq!([overlay(Place::TopRight, 0.5), overlay(Place::TopRight, 0.6)], [false, true]);
    assert_eq!([overlay(Place::Center, 0.1), overlay(Place::Random, 0.1), overlay(Place::Grid, 0.1)], [true; 3]);
}

#[test]
fn shams_are_told_apart_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = BTreeMap::new();
    for (name, triggers) in examples(folder.path()) {
        for trigger in triggers {
            let [[what, sham]] = trigger.shams()[..] else { panic!("`{name}` is one trigger") };
            assert!(!sham.is_empty() && !sham.ends_with('.'), "`{name}`: {sham}");
            assert_eq!(*seen.entry(what).or_insert(name), name, "two families are called {what}");
        }
    }
}
