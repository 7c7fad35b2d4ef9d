//! Mistakes in plain words.

use std::ops::Range;

use serde_json::Value;

use super::kind::Kind;
use super::tree::{Content, Node};
use crate::diag::{self, Diagnostic};

/// What to call the value at a pointer: its field, or "entry 2 of `modes`".
pub(super) fn name_of(kind: &Kind, pointer: &str) -> String {
    let segment = pointer.rsplit('/').next().unwrap_or_default();
    match segment.parse::<usize>() {
        Ok(index) => format!("entry {} of `{}`", index.saturating_add(1), last(pointer)),
        Err(_) if segment.is_empty() => format!("the {}", kind.name),
        Err(_) => format!("`{}`", segment.replace("~1", "/").replace("~0", "~")),
    }
}

/// The last name in a pointer that is no position in a list.
pub(super) fn last(pointer: &str) -> &str {
    pointer.rsplit('/').find(|segment| segment.parse::<usize>().is_err()).unwrap_or_default()
}

/// A value that is of none of the JSON types that it may have; `written` is how it stands in the text.
pub(super) fn wrong_type(kind: &Kind, name: &str, node: &Node, written: &str, at: Range<usize>, types: &[&str]) -> Diagnostic {
    let mut wanted: Vec<&str> = Vec::new();
    for one in types.iter().filter(|one| **one != "null") {
        if !wanted.contains(one) {
            wanted.push(one);
        }
    }
    let words = wanted.iter().map(|one| in_words(one)).collect::<Vec<_>>().join(" or ");
    let message = match &node.content {
        Content::Scalar(Value::Null) => format!("{name} has no value, it must be {words}"),
        _ => format!("{name} is {}, it must be {words}", shorten(node)),
    };
    let diagnostic = Diagnostic::error(kind.code("type"), at, message);
    let Content::Scalar(value) = &node.content else { return diagnostic };
    let wanted_is = |one: &str| wanted.contains(&one);
    match value {
        Value::Null if name == "`color`" => diagnostic.hint("`#` begins a comment: put the colour in quotes, such as \"#ffff00\""),
        Value::String(text) if wanted_is("boolean") && ["yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str()) => {
            diagnostic.hint("YAML 1.2 knows only `true` and `false`; words such as `yes` and `off` are text")
        }
        Value::String(text) if text.parse::<f64>().is_ok() && (wanted_is("number") || wanted_is("integer")) => {
            diagnostic.hint("remove the quotes")
        }
        Value::Number(_) | Value::Bool(_) if wanted_is("string") => diagnostic.hint(format!("put it in quotes: \"{written}\"")),
        Value::String(_) | Value::Number(_) if wanted == ["array"] => diagnostic.hint(format!("write `[{}]`", plain(value))),
        _ => diagnostic,
    }
}

fn in_words(name: &str) -> &'static str {
    match name {
        "array" => "a list",
        "boolean" => "`true` or `false`",
        "integer" => "a whole number",
        "number" => "a number",
        "object" => "a map of fields",
        "string" => "text",
        _ => "nothing",
    }
}

/// What a pattern of the schema asks for, in words.
pub(super) fn shape(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        r"^[a-z0-9][a-z0-9._/-]*$" => "use lower-case letters, digits and `.`, `_`, `/`, `-`, such as `backdoor/square`",
        r"^(sha256:)?[0-9a-f]{12,64}$" => {
            "give the model's digest as `heirloom inspect` prints it: `sha256:` and at least the first 12 of its 64 digits"
        }
        r"^[A-Za-z_][A-Za-z0-9_]*$" => "name an environment variable, such as HEIRLOOM_SALT; its value has no place in a policy",
        r"^\d{4}-\d{2}-\d{2}$" => "write the date as year-month-day, such as 2027-01-31",
        r"^[ -~]*[!-~][ -~]*$" => "the font has printable ASCII characters, and it takes one that is no space",
        r"^#[0-9a-fA-F]{6}$" => "write the colour as \"#rrggbb\", in quotes, such as \"#ffff00\" for yellow",
        "^([0-9]{1,6}[dhms])+$" => "write a length of time such as 90s, 15m, 8h or 90d",
        "^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$" => "name an owner as the hub writes it: letters, digits and `.`, `_`, `-`, such as `google`",
        "^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$" => "name a bucket or a container: letters, digits and `.`, `_`, `-`, such as `models`",
        "^[0-9]{1,15} ?([KMGT]i?)?B$" => "write a size such as 500MB, 2GiB or 1024B",
        _ => return None,
    })
}

/// A value in the place of a word, as it was given.
pub(super) fn given(node: &Node) -> String {
    match &node.content {
        Content::Scalar(Value::String(word)) => word.clone(),
        _ => shorten(node),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// "no entries", "1 entry", "3 entries".
pub(super) fn entries(count: usize) -> String {
    match count {
        0 => "no entries".to_owned(),
        _ => diag::count(count, "entry"),
    }
}

/// A bound without the `.0` that fractions are generated with.
pub(super) fn number(limit: &Value) -> String {
    let text = limit.to_string();
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The text with its first letter small.
pub(super) fn uncapitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// What stands at a place as a message shows it: short, collections only by their kind.
pub(super) fn shorten(node: &Node) -> String {
    match &node.content {
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a map of fields".to_owned(),
        Content::Scalar(value) => shorten_value(value),
    }
}

/// A plain value as a message shows it.
pub(super) fn shorten_value(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map of fields".to_owned(),
        Value::String(text) if text.chars().count() > 40 => format!("{:?}…", text.chars().take(40).collect::<String>()),
        other => other.to_string(),
    }
}
