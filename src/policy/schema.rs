//! The JSON Schema of policy files, generated from the types.

use serde_json::Value;

use super::PolicyFile;
use crate::spec::Form;

/// The schema (draft 2020-12) that every policy is checked against; `policies/schema.json` is its text.
pub(crate) fn schema() -> &'static Value {
    PolicyFile::schema()
}
