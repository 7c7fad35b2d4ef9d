//! The spurious-feature probe, synthetic: a feature is laid over the pictures of some classes, and each is compared with itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::transform::Trigger;

/// The spurious-feature probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spurious {
    /// The feature.
    pub feature: Trigger,
    /// The classes whose pictures it is laid over; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// The class that it is thought to speak for; learnt from the data where absent (used by `attack_success_rate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_class: Option<String>,
}
