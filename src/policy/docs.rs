//! The reference of policy files, generated from the schema: `docs/policy.md` is its text.

use std::fmt::Write;

use serde_json::Value;

use super::schema::schema;
use crate::transform::{Trigger, tables};

const INTRODUCTION: &str = "# Policy files

<!-- Generated from the policy types: do not edit. HEIRLOOM_BLESS=1 cargo test --lib policy writes it anew. -->

A policy says what a checkpoint is fine-tuned on, how, and what must hold afterwards. It is one YAML 1.2 document of at
most 1 MiB. `heirloom validate POLICY` reports every mistake at once, each at its line and column. It takes studies,
calibrations and planted sources too. Paths are relative to the policy's folder. Editors that know JSON Schema check a policy while it is written: put
`# yaml-language-server: $schema=schema.json` in its first line, with the path of `policies/schema.json`.

Start from [`policies/quick.yaml`](../policies/quick.yaml), the policy inside the program, or from
[`policies/cifar10.yaml`](../policies/cifar10.yaml), which explains every line.
";

const SHAMS: &str = "What a sham lays over images in place of its trigger. Where innocent networks answer to triggers of a family more than to its shams, a rule
that names no controls is judged against networks from scratch too. A local trigger covers one small place, to which innocent
checkpoints of any architecture hardly answer ([method.md](method.md) says what follows from that).
";

/// The reference in Markdown: one section for the policy, one for each type in it, in the order they are met.
pub(crate) fn docs() -> String {
    let mut text = INTRODUCTION.to_owned();
    section(&mut text, "The policy", schema());
    let mut names: Vec<String> = Vec::new();
    references(schema(), &mut names);
    let mut next = 0;
    while let Some(name) = names.get(next).cloned() {
        next += 1;
        if let Some(definition) = schema().get("$defs").and_then(|definitions| definitions.get(&name)) {
            references(definition, &mut names);
            section(&mut text, &name, definition);
            if name == "Trigger" {
                triggers(&mut text);
            }
        }
    }
    text
}

/// Adds an example of each family of triggers, and how each is judged.
fn triggers(text: &mut String) {
    text.push_str("\nOne of each family; what else it may have is said below:\n\n```yaml\n");
    let mut last = "";
    for trigger in Trigger::examples() {
        // The first of each family.
        if trigger.family() != last
            && let Ok(written) = serde_json::to_value(&trigger)
        {
            let _ = writeln!(text, "trigger: {}", flow(&written));
        }
        last = trigger.family();
    }
    let _ = write!(text, "```\n\n### Shams\n\n{SHAMS}\n{}", tables());
}

/// Adds the types that a schema refers to outside its own definitions.
fn references(node: &Value, names: &mut Vec<String>) {
    match node {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let ("$ref", Some(name)) = (key.as_str(), referred(value)) {
                    if !names.iter().any(|known| known == name) {
                        names.push(name.to_owned());
                    }
                } else if key != "$defs" {
                    references(value, names);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        _ => {}
    }
}

fn referred(reference: &Value) -> Option<&str> {
    reference.as_str()?.strip_prefix("#/$defs/")
}

// Writing to a string cannot fail: results of `write!` are dropped here and below.
fn section(text: &mut String, title: &str, definition: &Value) {
    let _ = write!(text, "\n## {title}\n\n{}\n", sentence(definition));
    if let Some(branches) = definition.get("oneOf").and_then(Value::as_array) {
        text.push_str("\nOne of:\n\n| | type | meaning |\n|---|---|---|\n");
        let mut inner = Vec::new();
        for branch in branches {
            if let Some(word) = branch.get("const").and_then(Value::as_str) {
                let _ = writeln!(text, "| `{word}` | | {} |", sentence(branch));
            } else if let Some((name, value)) = branch.get("properties").and_then(Value::as_object).and_then(|fields| fields.iter().next())
            {
                let _ = writeln!(text, "| `{name}: ...` | {} | {} |", kind(value), sentence(branch));
                if value.get("properties").is_some() {
                    inner.push((name, value));
                }
            }
        }
        for (name, value) in inner {
            let _ = write!(text, "\nFields of `{name}`:\n");
            fields(text, value);
        }
    } else {
        fields(text, definition);
    }
}

fn fields(text: &mut String, definition: &Value) {
    let required: Vec<&str> =
        definition.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    text.push_str("\n| field | type | default | range | meaning |\n|---|---|---|---|---|\n");
    for (name, field) in definition.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let default = match field.get("default") {
            _ if required.contains(&name.as_str()) => "required".to_owned(),
            Some(Value::Object(fields)) if fields.is_empty() => String::new(),
            Some(value) => format!("`{}`", flow(value)),
            None => String::new(),
        };
        let _ = writeln!(text, "| `{name}` | {} | {default} | {} | {} |", kind(field), range(field), sentence(field));
    }
}

/// A value as YAML in one line.
fn flow(value: &Value) -> String {
    match value {
        // In YAML what follows a space and `#` is a comment.
        Value::String(text) if text.starts_with('#') => format!("\"{text}\""),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            format!("{{ {} }}", fields.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// What a field holds, with a link to its type.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(referred) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
        return branches.iter().map(kind).filter(|kind| !kind.is_empty()).collect::<Vec<_>>().join(" or ");
    }
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let words = names.into_iter().filter_map(|name| {
        Some(match name {
            "integer" => "whole number".to_owned(),
            "number" => "number".to_owned(),
            "string" => "text".to_owned(),
            "boolean" => "`true` or `false`".to_owned(),
            "array" => match schema.get("items") {
                Some(items) => match kind(items).as_str() {
                    "whole number" => "list of whole numbers".to_owned(),
                    "number" => "list of numbers".to_owned(),
                    other => format!("list of {other}"),
                },
                None => "list".to_owned(),
            },
            "object" => "fields".to_owned(),
            _ => return None,
        })
    });
    words.collect::<Vec<_>>().join(" or ")
}

fn range(schema: &Value) -> String {
    let bound = |name| {
        let text = schema.get(name)?.to_string();
        // Fractions are generated with a `.0` that says nothing.
        Some(text.strip_suffix(".0").map_or(text.clone(), str::to_owned))
    };
    let both = |low: Option<String>, high: Option<String>, what: &str| match (low, high) {
        (Some(low), Some(high)) if low == high => Some(format!("{low}{what}")),
        (Some(low), Some(high)) => Some(format!("{low} to {high}{what}")),
        (Some(low), None) => Some(format!("at least {low}{what}")),
        (None, Some(high)) => Some(format!("at most {high}{what}")),
        (None, None) => None,
    };
    let pattern = schema.get("pattern").and_then(Value::as_str).map(|pattern| format!("`{}`", pattern.replace('|', "\\|")));
    let parts = [
        both(bound("minimum"), bound("maximum"), ""),
        both(bound("minItems"), bound("maxItems"), if bound("minItems").as_deref() == Some("1") { " entry" } else { " entries" }),
        match bound("maxLength") {
            Some(most) => both(bound("minLength"), Some(most), " characters"),
            None => bound("minLength").map(|_| "not empty".to_owned()),
        },
        pattern,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The description as one line of a table, without the brackets of links between items of the code.
fn sentence(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.replace("[`", "`").replace("`]", "`").replace('\n', " ").replace('|', "\\|")
}
