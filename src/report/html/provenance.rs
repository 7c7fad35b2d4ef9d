//! What was run, when, on what, by which policy.

use maud::{Markup, html};
use serde_json::Value;

use super::words::{digest, line, listed, scrolled, whole};
use crate::report::{Report, SelfTestStatus, text};

/// Entries of one object or list that are shown, and how deep.
const MOST: usize = 60;
const DEEPEST: usize = 6;
const MOST_COLUMNS: usize = 12;
/// Bytes of the policy that are shown.
const MOST_POLICY: usize = 200 << 10;

/// The section.
pub(super) fn section(report: &Report) -> Markup {
    let (tool, policy) = (&report.tool, &report.policy);
    let tested = match report.self_test.status {
        SelfTestStatus::Passed => "passed",
        SelfTestStatus::Failed => "failed",
        SelfTestStatus::NotRun => "not run",
    };
    let salt = match (&policy.salt, policy.salted) {
        (Some(salt), _) => html! { "yes, known by " (digest(salt)) },
        (None, true) => html! { "yes" },
        (None, false) => html! { "no" },
    };
    let mut rows = vec![
        ("policy", html! { (line(&policy.name)) ", " (whole(&policy.source)) }),
        ("SHA-256 of the policy", digest(&policy.digest)),
        ("gates from severity", html! { (format!("{:?}", policy.fail_on).to_lowercase()) }),
        ("salt", salt),
        ("program", html! { (line(&tool.name)) " " (line(&tool.version)) }),
        ("computed on", html! { (line(&tool.computed_on())) }),
        ("self-test", html! { (tested) ": " (whole(&report.self_test.detail)) }),
    ];
    if let Some(sidecar) = &report.measurements {
        rows.push(("outcomes of every image", html! { (line(&sidecar.file)) ", " (digest(&sidecar.digest)) }));
    }
    if let Some(forwarded) = &report.run.images_forwarded {
        rows.push(("images through networks", html! { (forwarded.told(report.references.len())) }));
    }
    rows.push(("exit code", html! { (report.exit_code) }));
    // Plain data under plain names: writing it cannot fail.
    let mut run = serde_json::to_value(&report.run).unwrap_or_default();
    // Drawn in a section of its own.
    if let Some(run) = run.as_object_mut() {
        run.remove("training");
    }
    html! {
        h2 id="provenance" { "Provenance" }
        (listed(&rows))
        h3 { "The run" }
        (parts(&run))
        @if !report.triggers.is_empty() {
            h3 { "Identities of the triggers" }
            dl { @for (rule, of) in report.triggers.iter().take(MOST) { dt { (line(rule)) } dd { (digest(of)) } } }
            @if report.triggers.len() > MOST { p { "and more, in report.json" } }
        }
        @if let Some(contents) = &policy.contents {
            (whole_policy("The policy in full, defaults filled in", "policy.contents in report.json", contents))
        }
    }
}

/// A policy, folded away; `place`: where it is where it has no room here.
pub(crate) fn whole_policy(title: &str, place: &str, contents: &Value) -> Markup {
    let text = serde_json::to_string_pretty(contents).unwrap_or_default();
    html! {
        details {
            summary { (title) }
            @if text.len() <= MOST_POLICY { pre { @for said in text.lines() { (text::printable(said)) "\n" } } }
            @else { p { "It is too large for this page: see " (place) "." } }
        }
    }
}

/// The fields of an object: what is simple as rows, and each object among them by itself, as a table where all its fields are objects.
fn parts(value: &Value) -> Markup {
    let Value::Object(fields) = value else { return tree(value) };
    let simple = |value: &Value| !matches!(value, Value::Object(_));
    let plain: serde_json::Map<String, Value> = fields.iter().filter(|(_, v)| simple(v)).map(|(k, v)| (k.clone(), v.clone())).collect();
    html! {
        (tree(&Value::Object(plain)))
        @for (name, value) in fields.iter().filter(|(_, value)| !simple(value)).take(MOST) {
            h4 { (line(&name.replace('_', " "))) }
            @match value.as_object().filter(|of| !of.is_empty() && of.values().all(Value::is_object)) {
                Some(rows) => (table(name, rows)),
                None => (tree(value)),
            }
        }
    }
}

/// Objects within an object: a row each, a column for each of their fields.
fn table(name: &str, rows: &serde_json::Map<String, Value>) -> Markup {
    let mut columns: Vec<&String> = Vec::new();
    for field in rows.values().filter_map(Value::as_object).flat_map(serde_json::Map::keys) {
        if !columns.contains(&field) && columns.len() < MOST_COLUMNS {
            columns.push(field);
        }
    }
    scrolled(
        &line(name),
        &html! {
            table {
                thead { tr { th scope="col" { (line(name)) } @for column in &columns { th.n scope="col" { (line(&column.replace('_', " "))) } } } }
                tbody { @for (name, row) in rows.iter().take(MOST) {
                    tr { th scope="row" { (line(name)) }
                        @for column in &columns { td.n { @match row.get(column.as_str()) { Some(value) => (line(&scalar(value))), None => "–" } } } } } }
            }
            @if rows.len() > MOST { p { "and " (rows.len() - MOST) " more, in report.json" } }
        },
    )
}

/// Any JSON as rows: objects within objects as rows of their own.
pub(super) fn tree(value: &Value) -> Markup {
    let mut rows = Vec::new();
    flatten("", value, 0, &mut rows);
    html! { dl { @for (name, value) in &rows { dt { (line(name)) } dd { (whole(value)) } } } }
}

fn flatten(name: &str, value: &Value, depth: usize, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if depth < DEEPEST && !fields.is_empty() => {
            for (key, value) in fields.iter().take(MOST) {
                let key = text::short(&key.replace('_', " "), 80);
                let name = if name.is_empty() { key } else { format!("{name}: {key}") };
                flatten(&name, value, depth + 1, rows);
            }
            if fields.len() > MOST {
                rows.push((name.to_owned(), format!("and {} more, in report.json", fields.len() - MOST)));
            }
        }
        other => rows.push((name.to_owned(), scalar(other))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Null => "–".to_owned(),
        // A duration or a rate: more digits say nothing.
        Value::Number(number) if number.is_f64() => number.as_f64().map(rounded).unwrap_or_default(),
        Value::Array(items) => items.iter().take(MOST).map(scalar).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn rounded(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        small if small > 0.0 && small < 0.001 => format!("{value:e}"),
        _ => text::trimmed(value),
    }
}
