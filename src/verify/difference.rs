//! What differs between what a report states and what comes out.

use serde::Serialize;
use serde_json::Value;

/// Most differences that are told one by one.
pub(crate) const MOST: usize = 1000;

/// Most characters of a value that is told.
const LONGEST: usize = 200;

/// How far two numbers may be apart: what another processor's mathematical functions make of the last digits.
const ROUNDING: f64 = 1e-9;

/// One place where they differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The file, in the report's folder.
    pub file: String,
    /// A JSON pointer, or a line.
    pub at: String,
    /// The check that found it: what the file was held against.
    pub check: &'static str,
    /// What the file holds; none where it holds nothing.
    pub found: Option<Value>,
    /// What that gives which it was held against; none where that gives nothing.
    pub expected: Option<Value>,
}

impl Difference {
    /// A difference in `report.json`.
    pub(super) fn of(at: impl Into<String>, found: Option<Value>, expected: Option<Value>) -> Self {
        let short = |value: Value| {
            let text = value.to_string();
            if text.chars().count() <= LONGEST { value } else { Value::String(text.chars().take(LONGEST).chain(['…']).collect()) }
        };
        Self { file: "report.json".to_owned(), at: at.into(), check: "", found: found.map(short), expected: expected.map(short) }
    }
}

/// All places where `found` is not `expected`, in the order of the text.
pub(super) fn between(found: &Value, expected: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    walk(found, expected, &mut String::new(), &mut all);
    all
}

fn walk(found: &Value, expected: &Value, at: &mut String, all: &mut Vec<Difference>) {
    let mut below = |part: &str, found: Option<&Value>, expected: Option<&Value>| {
        let length = at.len();
        at.push('/');
        *at += &part.replace('~', "~0").replace('/', "~1");
        match (found, expected) {
            (Some(found), Some(expected)) => walk(found, expected, at, all),
            (found, expected) => all.push(Difference::of(at.as_str(), found.cloned(), expected.cloned())),
        }
        at.truncate(length);
    };
    match (found, expected) {
        (Value::Object(one), Value::Object(other)) => {
            one.iter().for_each(|(name, value)| below(name, Some(value), other.get(name)));
            other.iter().filter(|(name, _)| !one.contains_key(*name)).for_each(|(name, value)| below(name, None, Some(value)));
        }
        (Value::Array(one), Value::Array(other)) => {
            for index in 0..one.len().max(other.len()) {
                below(&index.to_string(), one.get(index), other.get(index));
            }
        }
        _ if same(found, expected) => {}
        _ => all.push(Difference::of(at.as_str(), Some(found.clone()), Some(expected.clone()))),
    }
}

fn same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let (Some(one), Some(other)) = (one.as_f64(), other.as_f64()) else { return one == other };
            (one - other).abs() <= ROUNDING * one.abs().max(other.abs()).max(1.0)
        }
        _ => found == expected,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::between;

    #[test]
    fn places_are_named() {
        let found = json!({"a": [1, 2.0, {"x/y": true}], "b": "one", "c": null, "e": 0.1});
        let expected = json!({"a": [1, 2.5, {"x/y": false}, 4], "b": "one", "d": 1, "e": 0.1 + 1e-12});
        let all = between(&found, &expected);
        let told: Vec<String> = all.iter().map(|d| format!("{} {:?} {:?}", d.at, d.found, d.expected)).collect();
        assert_eq!(
            told,
            [
                "/a/1 Some(Number(2.0)) Some(Number(2.5))",
                "/a/2/x~1y Some(Bool(true)) Some(Bool(false))",
                "/a/3 None Some(Number(4))",
                "/c Some(Null) None",
                "/d None Some(Number(1))"
            ]
        );
        assert!(between(&found, &found).is_empty());
        let long = json!({"a": "x".repeat(1000)});
        assert_eq!(between(&long, &json!({}))[0].found.as_ref().unwrap().as_str().unwrap().chars().count(), 201);
    }
}
