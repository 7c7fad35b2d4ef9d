//! A report or its measurements are edited: what finds it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use heirloom::sign::PublicKey;
use heirloom::verify::{Options, by_signature_alone, verify};
use serde_json::{Value, json};

use super::{at, copy, digits, key, report_of, write_report};
use crate::run::{heirloom, text};

/// All leaves of a value, by pointer; of long lists the first and the last alone.
fn leaves(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| leaves(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), all));
        }
        Value::Array(items) => {
            let ends = items.iter().enumerate().filter(|(index, _)| items.len() <= 4 || [0, items.len() - 1].contains(index));
            ends.for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), all));
        }
        Value::Null => {}
        _ => all.push(at.to_owned()),
    }
}

/// Another value of the same kind.
fn edited(value: &Value) -> Value {
    match value {
        Value::Bool(value) => json!(!value),
        Value::Number(number) => match number.as_u64() {
            Some(whole) => json!(whole + 1),
            None => json!(number.as_f64().unwrap_or_default() * 1.5 + 0.01),
        },
        // A digest stays one.
        Value::String(text) if text.starts_with("sha256:") && text.ends_with('0') => json!(format!("{}1", &text[..text.len() - 1])),
        Value::String(text) if text.starts_with("sha256:") => json!(format!("{}0", &text[..text.len() - 1])),
        Value::String(text) => json!(format!("{text}x")),
        other => other.clone(),
    }
}

/// Every field is edited once, with all files beside the report made to fit: what judging anew finds, and what a signature alone does
/// (docs/ci.md has the table).
#[test]
fn every_edit_is_found_by_judging_anew_or_by_the_signature() {
    let folder = copy("planted");
    let report = report_of(folder.path());
    // Whoever edits a report renders it again.
    for name in ["junit.xml", "summary.md", "report.html", "badge.json"] {
        std::fs::remove_file(folder.path().join(name)).expect("removed");
    }
    let out = heirloom(&["sign", &at(&folder), "--key", &key("p256.pem")]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let signed = folder.path().join("report.sigstore.json");
    let signature = std::fs::read(&signed).expect("a signature");
    let public = PublicKey::parse(&std::fs::read_to_string(key("p256.pub")).expect("a key"), "p256.pub").expect("a key");
    let with_key = Options { key: Some(public), ..Options::default() };
    assert!(verify(folder.path(), &with_key).is_ok_and(|found| found.exit_code == 0 && found.signed));
    let mut all = Vec::new();
    leaves(&report, "", &mut all);
    assert!(all.len() > 200, "{}", all.len());
    let mut alone = BTreeSet::new();
    for pointer in &all {
        let mut changed = report.clone();
        let place = changed.pointer_mut(pointer).expect("a leaf");
        *place = edited(place);
        assert_ne!(changed, report, "{pointer}");
        write_report(folder.path(), &changed);
        std::fs::remove_file(&signed).ok();
        // A value that no report can have is found too.
        if verify(folder.path(), &Options::default()).is_ok_and(|found| found.exit_code == 0) {
            assert!(by_signature_alone(pointer), "{pointer} was edited, and nothing found it");
            std::fs::write(&signed, &signature).expect("written");
            assert!(verify(folder.path(), &with_key).is_ok_and(|found| found.exit_code == 1), "{pointer}");
            // What a run's stages are called and what they cost is another thing on every machine.
            let any: Vec<&str> = pointer.split('/').map(|part| if part.parse::<usize>().is_ok() { "*" } else { part }).collect();
            let any = if pointer.starts_with("/run/") { vec!["", "run", "**"] } else { any };
            alone.insert(any.join("/"));
        }
    }
    insta::assert_snapshot!("found_by_the_signature_alone", alone.into_iter().collect::<Vec<_>>().join("\n"));
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

fn digest(bytes: &[u8]) -> String {
    let hex = digits(bytes);
    format!("sha256:{hex}")
}

/// Measurements are edited, and the report's digests of them made to fit.
#[test]
fn edited_measurements_are_found() {
    let folder = copy("planted");
    let mut report = report_of(folder.path());
    let mut text_of = String::new();
    let file = std::fs::read(folder.path().join("measurements.json.gz")).expect("measurements");
    flate2::read::GzDecoder::new(&file[..]).read_to_string(&mut text_of).expect("unpacked");
    let measurements: Value = serde_json::from_str(&text_of).expect("JSON");
    let mut all = Vec::new();
    leaves(&measurements, "", &mut all);
    assert!(all.len() > 50, "{}", all.len());
    let of_kind = |name: &str| all.iter().rev().find(|pointer| pointer.contains(name)).cloned().unwrap_or_else(|| panic!("{name}"));
    for pointer in [
        "/rule",
        "/arm",
        "/classes/",
        "/images/",
        "/labels/",
        "/clusters/",
        "/terms",
        "/basis/checkpoint",
        "/basis/test",
        "/clean/",
        "/changed/",
    ]
    .map(of_kind)
    {
        let mut changed = measurements.clone();
        let place = changed.pointer_mut(&pointer).expect("a leaf");
        // Another class that there is.
        *place = place.as_u64().map_or_else(|| edited(place), |class| json!(u64::from(class == 0)));
        let plain = serde_json::to_vec(&changed).expect("JSON");
        let stored = packed(&plain);
        std::fs::write(folder.path().join("measurements.json.gz"), &stored).expect("written");
        let found = |folder: &Path| verify(folder, &Options::default()).map_or(2, |found| found.exit_code);
        assert_ne!(found(folder.path()), 0, "{pointer}: by its digest");
        report["measurements"]["digest"] = json!(digest(&plain));
        report["measurements"]["stored"] = json!(digest(&stored));
        write_report(folder.path(), &report);
        for name in ["junit.xml", "summary.md", "badge.json"] {
            std::fs::remove_file(folder.path().join(name)).ok();
        }
        assert_ne!(found(folder.path()), 0, "{pointer}: with its digests made to fit");
    }
}

#[test]
fn edits_are_named_with_what_was_there() {
    let folder = copy("planted");
    let mut report = report_of(folder.path());
    report["findings"][0]["verdict"] = json!("pass");
    report["exit_code"] = json!(0);
    write_report(folder.path(), &report);
    let out = heirloom(&["verify", &at(&folder)]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{said}");
    for wanted in [
        "report.json /findings/0/verdict: holds \"pass\"; the measurements give \"fail\"",
        "report.json /exit_code: holds 0; the measurements give 1",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // What lies beside it still says what was measured.
    assert!(!said.contains(" line ") && said.contains("files        same"), "{said}");
    let out = heirloom(&["verify", &at(&folder), "--format", "json"]);
    let found: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!((out.status.code(), &found["exit_code"], &found["signed"]), (Some(1), &json!(1), &json!(false)));
    assert!(
        found["differences"].as_array().is_some_and(|all| all.iter().any(|d| d["at"] == "/exit_code" && d["expected"] == 1)),
        "{found}"
    );
    // A file beside it alone.
    let folder = copy("planted");
    let badge = folder.path().join("badge.json");
    let text_of = std::fs::read_to_string(&badge).expect("a badge");
    std::fs::write(&badge, text_of.replace("fail", "pass")).expect("written");
    let said = text(&heirloom(&["verify", &at(&folder)]).stdout);
    let wanted =
        "badge.json line 4: holds \"  \\\"message\\\": \\\"pass\\\",\"; rendered anew it holds \"  \\\"message\\\": \\\"fail\\\",\"";
    assert!(said.contains(wanted), "{said}");
    // Both, made to fit each other.
    write_report(folder.path(), &report);
    let said = text(&heirloom(&["verify", &at(&folder)]).stdout);
    assert!(said.contains("report.json /exit_code: holds 0; the measurements give 1") && said.contains(wanted), "{said}");
}
