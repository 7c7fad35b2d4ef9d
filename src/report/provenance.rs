//! What a reader asks beside the numbers: which build made them, on which machine, by which command, who answers for it, and since when the policy
//! is what it is. All of it is said by whoever ran the program: only a signature holds it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::Digest;

/// Who certified what with which program, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The program, beside its version (`tool`).
    pub build: Build,
    /// The machine.
    pub machine: Machine,
    /// The command line, the program's own path left out. A salt never stands in it.
    pub command: Vec<String>,
    /// Who answers for the run; absent where neither `--responsible` nor a pipeline says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responsible: Option<Responsible>,
    /// When the policy was fixed; absent where its file lies in no Git work tree, is changed there, or `git` is not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_fixed: Option<Fixed>,
}

/// Which build of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The Git commit that it was built from; absent where whoever built it did not say (`HEIRLOOM_COMMIT`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Cargo features that it was built with.
    pub features: Vec<String>,
}

/// Which machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's own name, such as `AMD EPYC 9654 96-Core Processor`; `unknown` where the system does not say.
    pub processor: String,
    /// Processors that the system shows, threads counted.
    pub cores: usize,
    /// Bytes of memory: the machine's, or the container's limit where that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// The operating system, with its version where it is known.
    pub system: String,
}

/// Who answers for a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Responsible {
    /// A name: that of `--responsible`, or of the pipeline's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who says so: `--responsible`, `GitHub Actions`, `GitLab`, `Jenkins`.
    pub said_by: String,
    /// The address of the pipeline's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// A commit that holds the policy's file as it was used: it was fixed then at the latest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// The last commit that changed the file; of a shallow clone, the oldest that is there.
    pub commit: String,
    /// When it was committed, as Git says it.
    pub date: String,
}

/// What of one kind came from the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FromCache {
    /// Entries that were read.
    pub entries: usize,
    /// Of how many it is not known when they were made: an earlier build kept them.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub undated: usize,
    /// When the first of the others was made; UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// When the last was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_none_of_them(count: &usize) -> bool {
    *count == 0
}

/// By kind (`outcome`, `features`, `weights`): what came from the cache.
pub type Kept = BTreeMap<String, FromCache>;

/// That a report is another judgement of what was measured before (`heirloom rejudge`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgedAgain {
    /// The day: waivers count by it.
    pub date: String,
    /// Name of the policy that it was measured for.
    pub measured_for: String,
    /// Digest of that policy.
    pub digest: Digest,
    /// Findings of the earlier report that the policy does not judge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}
