//! What a scan will do, before any of it is done: every model with its identity, its rule and its key. Shards work from one plan, so that none
//! needs to talk to another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{Basis, Outcome};
use super::results::{Before, ModelId};
use super::spec::{FailOn, Stored, Tier};
use crate::report::Tool;
use crate::source::{Refusal, Remote};
use crate::store::Digest;

/// Version of the plan's layout.
pub(super) const SCHEMA: u32 = 1;

/// A scan before it is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this layout: 1.
    pub schema: u32,
    /// What tells it from any other plan, one made in the same second included.
    pub id: Digest,
    /// When it was made: UTC, RFC 3339.
    pub made: String,
    /// The scan's name.
    pub name: String,
    /// Digest of the scan file.
    pub file: Digest,
    /// Policies by the path that the scan file names them by, with the digest of what they ask.
    pub policies: BTreeMap<String, Digest>,
    /// What tells this build of heirloom from others.
    pub build: String,
    /// What measures.
    pub tool: Tool,
    /// What computes frozen features.
    pub executor: String,
    /// Which models change the exit code.
    pub fail_on: FailOn,
    /// Whether models that the budget did not reach leave the exit code alone.
    pub allow_not_reached: bool,
    /// Names of the models whose families count as neighbours; all where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<String>,
    /// Records of models measured before this time are not relied on: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// Models in the order in which they are worked on.
    pub entries: Vec<PlanEntry>,
    /// Models of the last scan that are not there any more.
    pub gone: Vec<ModelId>,
    /// Models on servers that were missed in several scans in a row, and are still asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone_repositories: Vec<ModelId>,
}

/// A model in a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanEntry {
    /// Which model.
    pub id: ModelId,
    /// Which of the scan file's sources, from 0.
    pub from: usize,
    /// Its file, from the folder of its source.
    pub path: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// How it is stored, by the ending of its name.
    pub format: Stored,
    /// Which rule of the scan file it matches, from 0.
    pub rule: Option<usize>,
    /// The policy, as the scan file names it.
    pub policy: Option<String>,
    /// How far it is looked into.
    pub tier: Option<Tier>,
    /// Its identity, where it was read.
    pub digest: Option<Digest>,
    /// The key of its record, where there is work to do or a record.
    pub key: Option<Digest>,
    /// What is to be done.
    pub work: Work,
    /// What that costs: seconds where they are known, else a number that only tells large models from small ones.
    pub cost: f64,
    /// How it stood in the last scan.
    pub before: Option<Before>,
    /// On a server: the model there that it is a checkpoint of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// On a server: the state of it that is judged, such as a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// On a server, where there is work to do: its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<Remote>,
    /// Whether its identity is what its server says, and only its header is looked at: what comes of that is true of this source alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
}

/// What is to be done with a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// It is measured.
    Measure,
    /// What was measured is judged again: the policy, the build or the date of a waiver has changed.
    Rejudge {
        /// The record that the measurements are of.
        from: Digest,
    },
    /// Its record stands.
    Keep,
    /// It cannot be judged.
    Refuse(Refusal),
    /// A rule leaves it out.
    LeaveOut {
        /// Why.
        why: String,
    },
    /// The budget does not reach it.
    NotReached {
        /// What is used up.
        why: String,
    },
}

impl Plan {
    /// What a verdict on an entry depends on; none where it was not read or no tier is asked.
    pub(super) fn basis(&self, entry: &PlanEntry) -> Option<Basis> {
        Some(Basis {
            model: entry.digest.clone()?,
            policy: entry.policy.as_ref().and_then(|name| self.policies.get(name)).cloned(),
            tier: entry.tier?,
            build: self.build.clone(),
            tool: self.tool.clone(),
            executor: self.executor.clone(),
            claimed_by: entry.claimed.then(|| entry.id.source.clone()),
        })
    }

    /// What the plan is known by.
    pub(super) fn digest(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&serde_json::to_vec(self)?))
    }

    /// Which entries one of `count` shards works on, by their positions: entries of one key together, the longest first, each to the shard that has
    /// least to do.
    pub(super) fn shard(&self, index: usize, count: usize) -> Vec<usize> {
        let mut groups: BTreeMap<&Digest, (f64, Vec<usize>)> = BTreeMap::new();
        for (at, entry) in self.entries.iter().enumerate() {
            if let (true, Some(key)) = (entry.is_work(), &entry.key) {
                let group = groups.entry(key).or_default();
                group.0 = group.0.max(entry.cost);
                group.1.push(at);
            }
        }
        let mut groups: Vec<(&Digest, f64, Vec<usize>)> = groups.into_iter().map(|(key, (cost, at))| (key, cost, at)).collect();
        groups.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        let mut loads = vec![0.0_f64; count.max(1)];
        let mut own = Vec::new();
        for (_, cost, at) in groups {
            let Some((least, load)) = loads.iter_mut().enumerate().min_by(|a, b| a.1.total_cmp(b.1)) else { break };
            *load += cost;
            if least == index {
                own.extend(at);
            }
        }
        own.sort_unstable();
        own
    }

    /// How many models there is work for, those of one key together.
    pub fn jobs(&self) -> usize {
        let mut keys: Vec<&Digest> = self.entries.iter().filter(|entry| entry.is_work()).filter_map(|entry| entry.key.as_ref()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.len()
    }
}

impl PlanEntry {
    /// Whether there is something to do.
    pub fn is_work(&self) -> bool {
        matches!(self.work, Work::Measure | Work::Rejudge { .. })
    }
}

/// What became of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// How it stands.
    pub outcome: Outcome,
    /// Why it could not be judged, or was not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// In one line, where there is no record that says it.
    pub summary: String,
    /// Whether there is a record of its key.
    pub record: bool,
}
