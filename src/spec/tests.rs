//! The checker against the `jsonschema` crate, on good and bad files of every kind; and what is bounded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::check::{Checker, KEYWORDS, compiled};
use super::*;
use crate::calibrate::Spec as Calibration;
use crate::plant::Specification as Planting;
use crate::policy::PolicyFile;
use crate::scan::ScanFile;
use crate::study::Study;

/// Keywords that say nothing about what is valid.
const SILENT: [&str; 7] = ["deprecated", "description", "title", "default", "format", "$schema", "$defs"];

fn schemas() -> [(&'static Kind, &'static Value); 5] {
    [
        (&POLICY, PolicyFile::schema()),
        (&STUDY, Study::schema()),
        (&CALIBRATION, Calibration::schema()),
        (&PLANT, Planting::schema()),
        (&SCAN, ScanFile::schema()),
    ]
}

/// Calls `each` with every schema inside a schema.
fn walk(schema: &Value, each: &mut dyn FnMut(&Map<String, Value>)) {
    let Value::Object(rules) = schema else {
        assert!(schema.is_boolean(), "{schema} is no schema");
        return;
    };
    each(rules);
    for (keyword, value) in rules {
        match (keyword.as_str(), value) {
            ("properties" | "$defs", Value::Object(inside)) => inside.values().for_each(|schema| walk(schema, each)),
            ("oneOf" | "anyOf", Value::Array(inside)) => inside.iter().for_each(|schema| walk(schema, each)),
            ("items" | "additionalProperties", schema) => walk(schema, each),
            _ => {}
        }
    }
}

#[test]
fn schemas_use_only_what_the_checker_knows() {
    let types = ["object", "array", "string", "number", "integer", "boolean", "null"];
    for (kind, schema) in schemas() {
        let mut count = 0;
        walk(schema, &mut |rules| {
            count += 1;
            for (keyword, value) in rules {
                assert!(KEYWORDS.contains(&keyword.as_str()) || SILENT.contains(&keyword.as_str()), "{}: {keyword}", kind.name);
                match keyword.as_str() {
                    "$ref" => {
                        let target = value.as_str().and_then(|to| schema.pointer(to.strip_prefix('#')?));
                        assert!(target.is_some(), "{}: {value}", kind.name);
                    }
                    "type" => {
                        let named: Vec<&Value> = value.as_array().map_or_else(|| vec![value], |several| several.iter().collect());
                        assert!(named.iter().all(|name| name.as_str().is_some_and(|name| types.contains(&name))), "{value}");
                    }
                    "pattern" => {
                        let pattern = value.as_str().unwrap();
                        assert!(compiled(pattern).is_some() && words::shape(pattern).is_some(), "{pattern} has no words");
                    }
                    _ => {}
                }
            }
        });
        assert!(count > 30, "{}: {count}", kind.name);
    }
}

/// The shipped files of every kind.
fn shipped() -> Vec<(usize, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["policies", "policies/paper", "policies/studies", "policies/calibration", "policies/scans", "fixtures/plant"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let kind = kind_of(&std::fs::read_to_string(&path).unwrap());
                files.push((schemas().iter().position(|(known, _)| *known == kind).unwrap(), path));
            }
        }
    }
    files.sort();
    files
}

/// The document with at most three entries in every list: more say nothing new.
fn short(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().take(3).map(short).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, short(value))).collect()),
        other => other,
    }
}

/// Every way to change one value of a document, or to add or remove a field or entry of it.
fn changed(value: &Value, changes: &mut dyn FnMut(Value)) {
    let others = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(0.5),
        json!(70_000),
        json!(""),
        json!("zzz"),
        json!([]),
        json!({}),
        json!([[1]]),
    ];
    others.into_iter().filter(|other| other != value).for_each(&mut *changes);
    match value {
        Value::Object(fields) => {
            changes(with(fields, "zzz", json!(1)));
            for (name, inside) in fields {
                let mut without = fields.clone();
                without.shift_remove(name);
                changes(Value::Object(without));
                changed(inside, &mut |inside| changes(with(fields, name, inside)));
            }
        }
        Value::Array(items) => {
            let with = |at: usize, item: Value| {
                let mut items = items.clone();
                items[at] = item;
                Value::Array(items)
            };
            for (at, inside) in items.iter().enumerate().take(2) {
                let mut without = items.clone();
                without.remove(at);
                changes(Value::Array(without));
                changes(Value::Array([items.as_slice(), std::slice::from_ref(inside)].concat()));
                changed(inside, &mut |inside| changes(with(at, inside)));
            }
        }
        _ => {}
    }
}

fn with(fields: &Map<String, Value>, name: &str, value: Value) -> Value {
    let mut fields = fields.clone();
    fields.insert(name.to_owned(), value);
    Value::Object(fields)
}

/// The same document in a form that is compared with `jsonschema`: what either says of it.
fn verdicts(kind: &'static Kind, schema: &'static Value, validator: &jsonschema::Validator, document: &Value) -> (bool, bool) {
    let text = serde_json::to_string_pretty(document).unwrap();
    let mut unread = Vec::new();
    let tree = yaml::read(kind, &text, &mut unread).unwrap();
    assert!(unread.is_empty(), "{text}: {unread:?}");
    assert_eq!(tree.value(), *document);
    let none = BTreeSet::new();
    (Checker::new(kind, schema, &text, &none).mistakes(&tree).is_empty(), validator.is_valid(document))
}

/// How many documents were good and bad.
fn agreed(which: usize, document: &Value) -> [usize; 2] {
    let (kind, schema) = schemas()[which];
    let validator = jsonschema::validator_for(schema).unwrap();
    let mut counts = [0; 2];
    let mut compare = |document: Value| {
        let (ours, theirs) = verdicts(kind, schema, &validator, &document);
        assert_eq!(ours, theirs, "{}: {document}", kind.name);
        counts[usize::from(!ours)] += 1;
    };
    compare(document.clone());
    changed(document, &mut compare);
    counts
}

#[test]
fn the_checker_agrees_with_jsonschema() {
    let mut counts = [[0; 2]; 5];
    for (which, path) in shipped() {
        let text = std::fs::read_to_string(&path).unwrap();
        let document = short(yaml::read(schemas()[which].0, &text, &mut Vec::new()).unwrap().value());
        let [good, bad] = agreed(which, &document);
        assert!(good > 0, "{}", path.display());
        counts[which] = [counts[which][0] + good, counts[which][1] + bad];
    }
    for (which, text) in [
        (0, RICH_POLICY),
        (
            2,
            "{ version: 1, name: n, policy: p, models: m, again_seeds: 3, \
             plant: { base: { data: { idx: d }, size: [8, 8], recipe: { epochs: 1, learning_rate: 1 } }, \
             seeds: [1], deal: in_turn, reference: { seed: 2, architecture: a }, groups: [[{ rule: r, on: [a], share: 1, decoys: 0.5, relabel: b }]] } }",
        ),
        (
            4,
            "{ version: 1, name: n, description: d, sources: [{ folder: f }, { folder: g }], rules: [{ match: { name: [a, b], source: s, size: { at_least: 1B, at_most: 2GiB }, \
             format: onnx }, policy: p, tier: features }, { skip: why }], budget: { time: 1h, bytes: 2GB, models: 3 }, recheck_after: 90d, fail_on: new, \
             allow_not_reached: true, output: o }",
        ),
        (
            3,
            "{ version: 1, name: n, twin: t, data: { folder: d }, attributes: a, classes: [a, b], \
             architecture: a, size: [8, 8], recipe: { epochs: 1, learning_rate: 1 }, rebalance: { attribute: a, correlation: 0.5, aligned: { a: b }, limit: 3 } }",
        ),
        (
            1,
            "{ version: 1, name: n, question: q, sources: { a: { model: m }, b: { twin: f }, \
             c: { planted: { version: 1, name: n, data: { folder: d }, architecture: a, size: [8, 8], recipe: { epochs: 1, learning_rate: 1 } } } }, \
             policy: p, vary: [{ name: a, set: [/a], to: [1, { name: n, value: 2 }, [], { name: 3 }] }] }",
        ),
    ] {
        let document = yaml::read(schemas()[which].0, text, &mut Vec::new()).unwrap().value();
        let [good, bad] = agreed(which, &document);
        assert!(good > 0 && bad > 0, "{text}");
    }
    for ((kind, _), [good, bad]) in schemas().into_iter().zip(counts) {
        assert!(good > 20 && bad > 100, "{}: {good} good, {bad} bad", kind.name);
    }
}

const RICH_POLICY: &str = r##"{ version: 1, name: n, description: d, fail_on: high, seed: 3,
  target: { data: { cifar_binary: c }, classes: [a, b], train: { limit: 3, balance: [label] }, test_share: 0.5, orientation: upright },
  input: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], channel_order: rgb },
  transfer: { fixed_feature: { epochs: 1, learning_rate: 0.1, optimizer: { sgd: { momentum: 0.9 } }, label_smoothing: 0.1, augment: { flip: true, shift: 0.1 } } },
  seeds: { fixed_feature: { first: 2, most: 3 } }, reference: { model: m, digest: d },
  waivers: [{ rule: a, model: "sha256:0123456789ab", reason: r, owner: o, expires: 2027-01-31 }],
  rules: [{ id: a/b, limit: 0.1, severity: low, modes: [fixed_feature], controls: [sham], estimand: flip_rate, confidence: 0.9,
    probe: { backdoor: { sweep: { size: [0.1, 0.2] }, trigger: { all: [{ patch: { size: 0.1, color: "#ffff00", at: grid, opacity: 0.5 } }, { text: { text: a, size: 0.5 } },
      { sinusoid: { amplitude: 0.1, periods: 3, direction: vertical, phase: 10 } }, { warp: { seed: 1, grid: 4, strength: 0.5 } }, { quantize: { levels: 4 } }] } } } }] }"##;

#[test]
fn kinds_are_told_by_their_fields() {
    for (which, path) in shipped() {
        let folder = path.parent().unwrap();
        let expected = if folder.ends_with("studies") {
            1
        } else if folder.ends_with("plant") {
            3
        } else if folder.ends_with("calibration") && !std::fs::read_to_string(&path).unwrap().contains("\nrules:") {
            2
        } else if folder.ends_with("scans") {
            4
        } else {
            0
        };
        assert_eq!(which, expected, "{}", path.display());
    }
    assert_eq!(kind_of("nothing: known"), &POLICY);
    assert_eq!(kind_of("{ not yaml"), &POLICY);
}

#[test]
fn kinds_are_told_from_texts_with_mistakes() {
    for (kind, schema) in schemas() {
        for field in kind.own {
            assert!(schema["properties"].get(*field).is_some(), "{}: {field}", kind.name);
        }
    }
    for (text, kind) in [
        ("version: 1\nsorces: { a: { model: m } }\npolicy: p.yaml\n", &STUDY),
        ("version: 1\nsources:\n  a: { model: m\npolicy: p.yaml\n", &STUDY),
        ("policy: p.yaml\nplants: {}\n", &CALIBRATION),
        ("version: 1\npolicy: p.yaml\nmodels: [\n", &CALIBRATION),
        ("architecture: a\nrecip: { epochs: 1 }\nsize: [8, 8]\n", &PLANT),
        ("target: {}\nrulez: []\n", &POLICY),
        ("# sources: none\ntarget: {\nrules: []\n", &POLICY),
        ("name: n\n", &POLICY),
        ("[sources, policy]", &POLICY),
        ("", &POLICY),
    ] {
        assert_eq!(kind_of(text), kind, "{text}");
    }
}

/// Calls `each` with the JSON pointer to every value inside a document.
fn pointers(value: &Value, at: &str, each: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inside)| {
            each(&below(at, name));
            pointers(inside, &below(at, name), each);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(nth, inside)| {
            each(&format!("{at}/{nth}"));
            pointers(inside, &format!("{at}/{nth}"), each);
        }),
        _ => {}
    }
}

/// A mistake is pointed at where it is, however often the same word stands elsewhere: every value of a policy in turn becomes `odd`, and
/// then every field is called so, in a document full of that word.
#[test]
fn mistakes_point_at_that_very_value_or_field() {
    let document = yaml::read(&POLICY, RICH_POLICY, &mut Vec::new()).unwrap().value();
    let document = with(document.as_object().unwrap(), "description", json!("odd odd"));
    let said = |document: &Value| {
        // Around it, too.
        let text = format!("# odd\n{}\n# odd\n", serde_json::to_string_pretty(document).unwrap());
        let tree = yaml::read(&POLICY, &text, &mut Vec::new()).unwrap();
        let found = Checker::new(&POLICY, PolicyFile::schema(), &text, &BTreeSet::new()).mistakes(&tree);
        (found, tree, text)
    };
    assert!(said(&document).0.is_empty());
    let (mut values, mut fields) = (0, 0);
    let mut all = Vec::new();
    pointers(&document, "", &mut |pointer| all.push(pointer.to_owned()));
    for pointer in all {
        let mut wrong = document.clone();
        *wrong.pointer_mut(&pointer).unwrap() = json!("odd");
        let (found, tree, text) = said(&wrong);
        for mistake in &found {
            assert_eq!(mistake.span, tree.find(&pointer).unwrap().span, "{pointer}: {mistake:?}");
            assert_eq!(&text[mistake.span.clone()], "\"odd\"");
            values += 1;
        }
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let Some(Value::Object(inside)) = document.pointer(parent) else { continue };
        let renamed = inside.iter().map(|(key, value)| (if key == name { "odd".to_owned() } else { key.clone() }, value.clone())).collect();
        let mut wrong = document.clone();
        *wrong.pointer_mut(parent).unwrap() = Value::Object(renamed);
        let (found, tree, text) = said(&wrong);
        let unknown = found.iter().filter(|mistake| mistake.message.contains("`odd`"));
        for mistake in unknown {
            assert_eq!(Some(&mistake.span), tree.find(&below(parent, "odd")).unwrap().key.as_ref(), "{pointer}: {mistake:?}");
            assert_eq!(&text[mistake.span.clone()], "\"odd\"");
            fields += 1;
        }
    }
    assert!(values > 60 && fields > 60, "{values} values, {fields} fields");
}

#[test]
fn what_an_alias_repeats_is_wrong_once_and_where_it_is_written() {
    let text = "version: 1\nname: n\npolicy: p\nsources: { a: { model: m } }\nvary:\n  - &axis { name: a, set: [/seed], to: [1], odd: 2 }\n  - *axis\n";
    let found = said(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].message.as_str(), found[0].span.start), ("unknown field `odd`", text.find("odd").unwrap()));
}

#[test]
fn a_colour_in_a_comment_is_not_what_is_wrong() {
    for (text, message) in [
        ("name: { a: 1, color: #ffff00 }\nb: 2\n", "`#` begins a comment here"),
        ("name: { a: \"x # y\", color: #ffff00 }\nb: 2\n", "`#` begins a comment here"),
        ("# such as { color: #ffff00 }\nname: [\n", "not valid YAML"),
        ("name: [a # { color: #ffff00 }\n", "not valid YAML"),
        ("name: \"{ color: #ffff00 }\"\nb: [\n", "not valid YAML"),
    ] {
        let found = said(text);
        assert!(found[0].message.starts_with(message), "{text}: {found:?}");
    }
}

/// What is said of a text that should be a study.
#[test]
fn a_tab_that_the_parser_does_not_take_is_named_at_its_place() {
    for (text, tabs, mark) in
        [("version: 1\nname:\tx\n", 16..17, ':'), ("rules: [{ id:\t\tx }]", 13..15, ':'), ("rules:\n  -\t- x\n", 10..11, '-')]
    {
        let found = said_of::<PolicyFile>(text);
        let place = (found[0].span.clone(), found[0].message.as_str(), found[0].hint.as_deref());
        let message = format!("a tab behind `{mark}`");
        assert_eq!((found.len(), place), (1, (tabs, message.as_str(), Some("replace the tab by spaces"))), "{text}");
    }
    // What the parser takes is taken, and a tab elsewhere is not what is wrong.
    assert!(
        said_of::<PolicyFile>("version: 1\nname:\t\"x\"\ndescription: \"a\tb\"\t# c\n").iter().all(|found| !found.message.contains("tab"))
    );
    assert!(said_of::<PolicyFile>("name: \"a:\tb\nrules: ]\n").iter().all(|found| !found.message.contains("tab")));
}

#[test]
fn mistakes_are_on_the_line_that_yaml_counts() {
    let text = "version: 1\nname: x\nfoo: 2\ntarget: {}\nrules: }\n";
    for ends in ["\n", "\r", "\r\n"] {
        let lines = |text: &str| -> Vec<usize> { said_of::<PolicyFile>(text).iter().map(|found| found.located(text, "f").line).collect() };
        assert_eq!(lines(&text.replace('\n', ends)), [5], "{ends:?}");
        let parsed = text.replace("rules: }\n", "").replace('\n', ends);
        assert_eq!(lines(&parsed), [1, 1, 3, 4], "{ends:?}");
    }
}

#[test]
fn an_unknown_field_hides_no_other_mistake() {
    let messages = |text: &str| -> Vec<String> { said_of::<PolicyFile>(text).into_iter().map(|found| found.message).collect() };
    let frame = |rest: &str| format!("version: 1\nname: x\ntransfer: {{ fixed_feature: {{ epochs: 1, learning_rate: 1 }} }}\n{rest}\n");
    let target = "target: { data: { embedded: quick } }";
    // Behind a misspelt name is what the right one would hold; behind an unknown one nobody knows.
    assert_eq!(
        messages(&frame("targe: { dta: { parquet: 3, foo: 1 }, classes: 3, frob: { a: 1 } }\nrules: 3")),
        [
            "unknown field `targe`",
            "unknown field `dta`",
            "`parquet` is 3, it must be text",
            "`data` cannot be `foo`",
            "`classes` is 3, it must be a list",
            "unknown field `frob`",
            "`rules` is 3, it must be a list"
        ]
    );
    // In a choice too, and where two of it are given at once.
    let rule = |probe: &str| messages(&frame(&format!("{target}\nrules: [{{ id: r, estimand: excess, modes: 3, probe: {probe} }}]")));
    let inner = "{ trigger: { patch: { color: 3 } } }";
    let alone = rule(&format!("{{ backdoor: {inner} }}"));
    assert!(alone.len() > 2, "{alone:?}");
    for (probe, more) in [
        (format!("{{ backdoor: {inner}, foo: 2 }}"), "`probe` cannot be `foo`"),
        (format!("{{ backdor: {inner} }}"), "`probe` cannot be `backdor`"),
    ] {
        let mut found = rule(&probe);
        assert!(found.iter().any(|message| message == more), "{found:?}");
        found.retain(|message| message != more);
        assert_eq!(found, alone);
    }
    let both = rule(&format!("{{ backdoor: {inner}, natural: {{ folder: 3 }} }}"));
    assert!(alone.iter().all(|message| both.contains(message)), "{both:?}");
    // Where the right one is there too, only the other is wrong.
    assert_eq!(
        messages(&frame(&format!("{target}\nrules: []\ntargets: 3"))).iter().filter(|message| message.contains("target")).count(),
        1
    );
}

fn said(text: &str) -> Vec<Diagnostic> {
    said_of::<Study>(text)
}

fn said_of<T: Form>(text: &str) -> Vec<Diagnostic> {
    match parse::<T>(text, "s.yaml", |_, _, _| ()) {
        Ok(_) => Vec::new(),
        Err(SpecError::Invalid { diagnostics, .. }) => diagnostics,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_message_names_the_kind_of_file() {
    for (text, message) in [
        ("", "the study is empty"),
        ("[1]", "the study is a list, it must be a map of fields"),
        ("{}", "the study has no field `version`"),
        ("!a b", "studies have no tags of their own"),
        ("architecture: a\nrecipe: b\n", "this is the specification of a planted source, and not a study"),
    ] {
        let said = said(text);
        assert_eq!(said[0].message, message, "{text}");
        assert!(said[0].code.starts_with("study::"), "{text}");
    }
    let large = parse::<Study>(&"#".repeat(LIMIT + 1), "s.yaml", |_, _, _| ()).unwrap_err();
    assert_eq!(large.to_string(), "s.yaml is larger than 1 MiB: it is not a study");
    let missing = text(&PLANT, Path::new("/nowhere/p.yaml")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the planted source /nowhere/p.yaml: "), "{missing}");
}

#[test]
fn mistakes_are_bounded() {
    let many = (0..50_000).map(|nth| format!("z{nth}: 1\n")).collect::<Vec<_>>().concat();
    let found = said(&many);
    assert_eq!(found.len(), SHOWN + 1);
    assert!(found.last().is_some_and(|last| last.message.contains("more mistakes")), "{:?}", found.last());
    let twice = "a: 1\n".repeat(50_000);
    assert_eq!(said(&twice).len(), SHOWN + 1);
    // Aliases do not make more of them than there are bytes to read.
    let list = format!("version: &a [{}]\nname: [{}]\n", vec!["{}"; 300].join(", "), vec!["*a"; 300].join(", "));
    assert!(!said(&list).is_empty());
}

#[test]
fn nesting_is_bounded_however_it_is_written() {
    for deep in [
        format!("version: {}", "[".repeat(5000)),
        format!("version: {}", "{a: ".repeat(5000)),
        format!("version:\n {}1", "- ".repeat(5000)),
    ] {
        let found = said(&deep);
        assert!(found.iter().any(|mistake| mistake.message == "nested deeper than 64 levels"), "{found:?}");
    }
}

#[test]
fn a_bomb_of_aliases_is_refused_at_the_alias() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ('b'..='i').zip('a'..) {
        text.push_str(&[&format!("{name}: &{name} ["), &*vec![format!("*{before}"); 9].join(", "), "]\n"].concat());
    }
    let found = said(&text);
    assert!(found.iter().any(|mistake| mistake.message == "the study grows too large here"), "{found:?}");
}
