//! What `scan.json` holds: every model with its verdict, and what has changed since the last scan.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::{Facts, FindingLine, Outcome};
use super::spec::{FailOn, Stored, Tier};
use crate::gate::Waiver;
use crate::probe::Estimand;
use crate::report::Tool;
use crate::source::Cause;
use crate::store::Digest;

/// Version of the layout of `scan.json`.
pub(super) const SCHEMA: u32 = 1;

/// A scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// Version of this layout: 1.
    pub schema: u32,
    /// What made it.
    pub tool: Tool,
    /// What computed frozen features.
    pub executor: String,
    /// When, how long and what it took: the only part that differs between equal scans.
    pub run: ScanRun,
    /// The scan's name.
    pub name: String,
    /// Digest of the scan file.
    pub file: Digest,
    /// Policies by the path that the scan file names them by, with the digest of what they ask.
    pub policies: BTreeMap<String, Digest>,
    /// Which models change the exit code.
    pub fail_on: FailOn,
    /// Every model, the worst first.
    pub models: Vec<ModelLine>,
    /// What has changed since the last scan.
    pub changes: Changes,
    /// What the families of the scan do under each rule, where there are models to compare.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub populations: Vec<Population>,
    /// How many models there are of each outcome.
    pub counts: BTreeMap<Outcome, usize>,
    /// The exit code: 130 interrupted, 1 fail, 2 error, 5 inconclusive or not reached, 3 nothing judged, 0 pass.
    pub exit_code: i32,
    /// The conclusion in one line.
    pub summary: String,
}

/// All that differs between two scans of the same models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanRun {
    /// What tells its plan from any other.
    pub plan: Digest,
    /// When it began: UTC, RFC 3339.
    pub started: String,
    /// When the last scan began, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Seconds that it took; of shards together.
    pub seconds: f64,
    /// How many shards worked on it.
    pub shards: usize,
    /// By model: when it was measured, and what was done for it this time.
    pub models: BTreeMap<String, ModelRun>,
}

/// What was done for a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelRun {
    /// When it was measured: UTC, RFC 3339.
    pub measured: String,
    /// Seconds that the measurement took.
    pub seconds: f64,
}

/// A model of a scan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ModelId {
    /// Its source, as the scan file names it.
    pub source: String,
    /// Its name there.
    pub name: String,
}

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.source.trim_end_matches('/'), self.name)
    }
}

/// What is known of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelLine {
    /// Its source, as the scan file names it.
    pub source: String,
    /// Its name there.
    pub name: String,
    /// Its identity; none where it could not be read.
    pub digest: Option<Digest>,
    /// Bytes of its files.
    pub bytes: u64,
    /// How it is stored, by the ending of its name.
    pub format: Stored,
    /// What its file says.
    pub facts: Option<Facts>,
    /// Which rule of the scan file it matches, from 0.
    pub rule: Option<usize>,
    /// The policy that it was held against.
    pub policy: Option<String>,
    /// How far it was looked into.
    pub tier: Option<Tier>,
    /// How it stands.
    pub outcome: Outcome,
    /// Why it could not be judged, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// In one line.
    pub summary: String,
    /// One entry a rule and mode.
    pub findings: Vec<FindingLine>,
    /// The key of its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// Folder of its report, from that of the scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// Whether it stood so in the last scan.
    pub standing: bool,
    /// On a server: the state of it that was judged, such as a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl ModelLine {
    /// Which model.
    pub fn id(&self) -> ModelId {
        ModelId { source: self.source.clone(), name: self.name.clone() }
    }
}

/// What has changed since the last scan, by model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// There is no last scan to compare with.
    pub first: bool,
    /// Models that were not there.
    pub added: Vec<String>,
    /// Models that fail, or fail by another finding, and did not.
    pub new: Vec<String>,
    /// Models that failed and pass.
    pub fixed: Vec<String>,
    /// Models that were judged and cannot be any more.
    pub broken: Vec<String>,
    /// Models that are not there any more.
    pub gone: Vec<String>,
    /// Waivers that counted and have expired.
    pub expired_waivers: Vec<Expired>,
}

impl Changes {
    /// The models of every kind of change, with what it is called: what is bad comes first.
    pub(super) fn kinds(&self) -> [(&'static str, &[String]); 5] {
        [("newly failing", &self.new), ("broken", &self.broken), ("fixed", &self.fixed), ("gone", &self.gone), ("added", &self.added)]
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.kinds().iter().all(|(_, names)| names.is_empty()) && self.expired_waivers.is_empty()
    }
}

/// What the models of a scan do under one rule, one vote a family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// The policy, as the scan file names it.
    pub policy: String,
    /// How far the models were looked into.
    pub tier: Tier,
    /// `RULE@MODE`.
    pub finding: String,
    /// Which number of it.
    pub estimand: Estimand,
    /// Models that were measured.
    pub models: usize,
    /// Families among them: forks and copies of one parent are one.
    pub families: usize,
    /// The median over families.
    pub median: f64,
    /// The highest of any family.
    pub highest: f64,
}

/// A waiver that has expired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expired {
    /// The model.
    pub model: String,
    /// The waiver.
    pub waiver: Waiver,
}

/// How a model stood in the last scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// How.
    pub outcome: Outcome,
    /// Why it could not be judged.
    pub cause: Option<Cause>,
    /// The findings that made it fail.
    pub failing: Vec<String>,
    /// The waivers that counted.
    pub waived: Vec<Waiver>,
}

impl From<&ModelLine> for Before {
    fn from(line: &ModelLine) -> Self {
        Self {
            outcome: line.outcome,
            cause: line.cause,
            failing: failing(&line.findings),
            waived: line.findings.iter().filter_map(|finding| finding.waived.clone()).collect(),
        }
    }
}

/// The findings that make a model fail.
pub(super) fn failing(findings: &[FindingLine]) -> Vec<String> {
    let fails = |finding: &&FindingLine| finding.gates && finding.verdict == crate::gate::Verdict::Fail;
    findings.iter().filter(fails).map(|finding| finding.id.clone()).collect()
}
