//! The JSON Schema of policy files, generated from the types, and look-ups in it.

use std::sync::LazyLock;

use serde_json::Value;

use super::PolicyFile;

/// The schema (draft 2020-12) that every policy is checked against; `policies/schema.json` is its text.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(PolicyFile).to_value());
    &SCHEMA
}

/// `node`, or what it refers to.
pub(super) fn follow(node: &Value) -> &Value {
    let mut node = node;
    // References do not chain in what schemars writes; the bound is against a loop.
    for _ in 0..8 {
        match node.get("$ref").and_then(Value::as_str).and_then(|reference| schema().pointer(reference.strip_prefix('#')?)) {
            Some(target) => node = target,
            None => break,
        }
    }
    node
}
