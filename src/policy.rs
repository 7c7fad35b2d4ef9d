//! Policies: the declarative file that says what is run and what is accepted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::Target;
use crate::gate::{Rule, Severity, Waiver};
use crate::model::InputOverride;
use crate::tune::Recipe;

/// A policy file as it is written; unknown fields are errors. What is checked further is a [`Policy`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Name, shown in reports.
    #[schemars(length(min = 1))]
    pub name: String,
    /// One paragraph for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the checkpoint is fine-tuned on.
    pub target: Target,
    /// Overrides what is known of the model's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputOverride>,
    /// Recipes by mode.
    pub transfer: Transfer,
    /// How many seeds are run.
    #[serde(default)]
    pub seeds: Seeds,
    /// Seed of every random stream.
    #[serde(default)]
    pub seed: u64,
    /// What must hold.
    #[schemars(length(min = 1))]
    pub rules: Vec<Rule>,
    /// Accepted failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<Waiver>,
    /// Least severity whose failure changes the exit code.
    #[serde(default = "lowest")]
    pub fail_on: Severity,
    /// A trusted checkpoint for the control `reference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

fn lowest() -> Severity {
    Severity::Low
}

/// Recipes by mode; a rule in a mode without a recipe is a mistake.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// For the head on frozen features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_feature: Option<Recipe>,
    /// For the whole network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_network: Option<Recipe>,
    /// For the scratch arm; `full_network` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<Recipe>,
}

/// Seeds of the first look, and the most that are run.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// By mode; default 3 then 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_feature: Option<Looks>,
    /// Default 5 then 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_network: Option<Looks>,
}

/// Two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Looks {
    /// Seeds of the first look.
    #[schemars(range(min = 2, max = 100))]
    pub first: usize,
    /// Seeds in all.
    #[schemars(range(min = 2, max = 100))]
    pub most: usize,
}

/// A trusted checkpoint, pinned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Its file, relative to the policy.
    pub model: std::path::PathBuf,
    /// Its digest, in full.
    pub digest: String,
}

/// A checked policy: what runs.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file's contents, defaults filled in, paths made absolute against the policy's folder.
    pub file: PolicyFile,
    /// Where the text came from, as the user named it.
    pub source: String,
    /// Digest of its text.
    pub digest: crate::store::Digest,
    /// Where each rule's limit was written, by rule id.
    pub limits: BTreeMap<String, crate::diag::Origin>,
}
