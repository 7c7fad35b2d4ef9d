//! The report: versioned findings with full provenance, all that any renderer needs.
//!
//! Renderers are pure and take only [`Material`], a report with what lies beside it: those of files are listed in `formats`, and `table` is for
//! terminals. `stored` reads the material of a report that was written before. The outcomes of every
//! image are in a compressed file beside it, linked by digest, so that a report can be judged again without running anything.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::{Counted, DataSpec};
use crate::exec::Precision;
use crate::gate::{ExitCode, Finding, Severity, Verdict, Waiver};
use crate::policy::Policy;
use crate::probe::Arm;
use crate::registry::FileRef;
use crate::store::Digest;
use crate::tune::Mode;

mod annotations;
mod badge;
mod base64;
mod clock;
mod cyclonedx;
mod error;
pub(crate) mod format;
pub(crate) mod formats;
mod forwarded;
pub(crate) mod html;
pub(crate) mod in_toto;
mod incomplete;
pub mod json;
pub(crate) mod junit;
pub(crate) mod links;
mod material;
mod model;
mod model_index;
pub(crate) mod plot;
mod provenance;
mod read;
pub(crate) mod sarif;
mod sheets;
mod stored;
pub(crate) mod summary;
mod svr;
pub mod table;
pub mod text;
mod training;
mod write;

#[cfg(test)]
pub(crate) mod samples;

pub use clock::utc;
pub use error::WriteError;
pub use format::Made;
pub use formats::{Chosen, files, formats};
pub use forwarded::{Forwarded, Passage, Passes};
pub use incomplete::{Incomplete, Status};
pub use material::{Material, Picture};
pub use model::{Agreement, Executor, Features, ModelFacts, ReferenceFacts};
pub use provenance::{Build, Fixed, FromCache, JudgedAgain, Kept, Machine, Provenance, Responsible};
pub use read::ReadError;
pub(crate) use sheets::Sheet;
pub use stored::Stored;
pub(crate) use stored::pictures_beside;
pub use text::{percent, printable};
pub use training::{Spread, TrainingCurve};
pub use write::{begin, write_all, write_incomplete};

/// Version of the report's layout that this program writes and reads.
pub(crate) const SCHEMA: u32 = 1;

/// Name of the file beside `report.json` that holds the outcome of every image.
pub(crate) const MEASUREMENTS_FILE: &str = "measurements.json.gz";

/// Name of the file beside `report.json` that holds its signature, where `heirloom sign` wrote one.
pub const SIGNATURE_FILE: &str = "report.sigstore.json";

/// What a certification found, with all that is needed to render it; judging it again needs its measurements too.
///
/// Two runs with the same inputs on the same instruction set and device differ in nothing but [`Report::run`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Version of this layout: 1.
    pub schema: u32,
    /// What made the report.
    pub tool: Tool,
    /// When, how long and on how many threads: the only part that differs between equal runs.
    pub run: Run,
    /// The checkpoint under test.
    pub model: ModelFacts,
    /// The trusted checkpoints that it was compared with, in the order of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<ReferenceFacts>,
    /// The policy it was judged by.
    pub policy: PolicyFacts,
    /// The target task's images. Absent in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetFacts>,
    /// By rule that lays something over images: what, at the model's size.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<String, String>,
    /// By rule that lays something over images: the identity of it, made of what the policy says, the size and the digests of its files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub triggers: BTreeMap<String, Digest>,
    /// What was run.
    pub plan: PlanFacts,
    /// Whether the machinery caught the planted example and let the clean one through.
    #[serde(rename = "canary")]
    pub self_test: SelfTest,
    /// One entry per rule and mode, in the order of the policy.
    pub findings: Vec<Finding>,
    /// How well each arm does the target task, and a linear head on the images shrunk to 8x8 beside them. Empty in reports of earlier
    /// builds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accuracy: Vec<TaskAccuracy>,
    /// The policy's waivers, counted or not; a finding names the one that accepts it.
    pub waivers: Vec<Waiver>,
    /// What a reader should know that is not a problem.
    pub notes: Vec<String>,
    /// What a reader should know that may be one.
    pub warnings: Vec<String>,
    /// Images that could not be read and were left out.
    pub broken: Vec<BrokenImage>,
    /// Where the outcomes of every image are; absent until the report is written.
    pub measurements: Option<Sidecar>,
    /// Sheets of sample images in the report's folder (`--pictures`): a row an image, as it is, with the trigger, under each sham.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "pictures")]
    pub sheets: Vec<String>,
    /// The exit code that the findings call for: 130 interrupted, 4 usage, 1 fail, 2 error, 5 inconclusive, 3 nothing
    /// judged, 0 pass.
    pub exit_code: i32,
    /// The conclusion in one line.
    pub summary: String,
    /// `--report-only`: the process exits 0 whatever was found.
    pub report_only: bool,
}

/// What made a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `heirloom`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Instruction set of the numbers: `x86-64 AVX-512`, `x86-64 AVX2`, ... Equal inputs give equal bits on equal sets.
    pub instruction_set: String,
    /// What the networks were computed on: `cpu`, or the name of a card (`cuda NVIDIA H100 80GB HBM3`).
    #[serde(default = "cpu")]
    pub device: String,
    /// The numbers of its matrix products.
    #[serde(default)]
    pub precision: Precision,
}

fn cpu() -> String {
    "cpu".into()
}

impl Tool {
    /// What decides the bits of its numbers, for people.
    pub(crate) fn computed_on(&self) -> String {
        match self.device.as_str() {
            "cpu" => self.instruction_set.clone(),
            card => format!("{card}, {}", self.precision),
        }
    }
}

/// All that differs between two runs with the same inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// UTC, RFC 3339, whole seconds: `2026-01-31T12:00:00Z`.
    pub started: String,
    /// Seconds from start to verdict.
    pub seconds: f64,
    /// Worker threads.
    pub threads: usize,
    /// What each stage cost.
    pub stages: BTreeMap<String, Stage>,
    /// How fine-tunes were trained, by stage: those that this run trained. Absent where it trained none, and in reports of earlier builds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub training: BTreeMap<String, TrainingCurve>,
    /// Fine-tunes that an earlier run had kept.
    #[serde(default)]
    pub cached: usize,
    /// Images that went through whole networks. Absent in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_forwarded: Option<Forwarded>,
    /// Seconds by finding (`rule@mode`).
    pub findings: BTreeMap<String, f64>,
    /// What came from the cache, and when it was measured, by kind. Absent where nothing did, and in reports of earlier builds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub from_cache: Kept,
    /// Build, machine, command and person. Absent where another program than the command line certified, and in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// Where stored measurements were judged again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_again: Option<JudgedAgain>,
}

/// What a stage cost: the features of an arm, or its fine-tunes with their evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Seconds.
    pub seconds: f64,
    /// Images (or their features) that went through a network, trained on or evaluated.
    #[serde(rename = "pictures")]
    pub images: u64,
    /// Images a second.
    pub rate: f64,
    /// Views or fine-tunes that an earlier run had kept.
    pub kept: usize,
    /// The most memory in bytes that the process had held when the stage ended, where the system says (Linux). ONNX Runtime has a process of
    /// its own, which is not in it.
    pub peak_memory: Option<u64>,
}

/// The policy a report was judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFacts {
    /// Its name.
    pub name: String,
    /// Its file as the user named it, or `<embedded>/quick.yaml`.
    pub source: String,
    /// Digest of its text: `sha256sum policy.yaml`.
    pub digest: Digest,
    /// Least severity whose failure changes the exit code.
    pub fail_on: Severity,
    /// Whether an operator's salt decided with the policy's seed which shams, halves and fine-tunes there are. False in reports of earlier builds.
    #[serde(default)]
    pub salted: bool,
    /// What the salt is known by: numbers of two reports can be compared one by one only where it is the same, or neither has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Digest>,
    /// The other files that it names, trigger images and attributes, as they were: each path as the policy writes it. Images of the target task and
    /// references have digests of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRef>,
    /// All that it says, defaults filled in, paths as they are written. Absent in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<serde_json::Value>,
    /// Its text, which `digest` is of: `heirloom verify` judges by it. Absent in reports of earlier builds, and of policies that a study put together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The images of the target task that were used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetFacts {
    /// Where they came from, for people.
    pub data: String,
    /// The same as the policy says it, or `--data`. Absent in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<DataSpec>,
    /// Class names, by number.
    pub classes: Vec<String>,
    /// How accuracy is counted in [`Report::accuracy`]. Absent: the share of the test images.
    #[serde(default, skip_serializing_if = "Counted::is_global")]
    pub accuracy: Counted,
    /// The images that train.
    pub train: ViewFacts,
    /// The images that measure.
    pub test: ViewFacts,
}

/// Which images of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ViewFacts {
    /// How many.
    #[serde(rename = "pictures")]
    pub images: usize,
    /// Digest of their contents, labels and order (docs/method.md).
    pub digest: Digest,
}

impl From<&Policy> for PolicyFacts {
    fn from(policy: &Policy) -> Self {
        let file = &policy.file;
        // Plain data under plain names: writing it cannot fail.
        let contents = serde_json::to_value(file).ok();
        let salt = policy.seed.salt().cloned();
        Self {
            name: file.name.clone(),
            source: policy.source.clone(),
            digest: policy.digest.clone(),
            fail_on: file.fail_on,
            salted: salt.is_some(),
            salt,
            files: policy.named_files(),
            contents,
            text: policy.text.clone(),
        }
    }
}

/// How often fine-tunes call the test images, as they are, right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskAccuracy {
    /// What was trained: `source, fixed features`, `from scratch`, `linear head on images of 8x8`.
    pub what: String,
    /// The arm; none for the head on shrunk images.
    pub arm: Option<Arm>,
    /// Share of the test images, or the mean over classes of their shares (`target.accuracy`), the mean over seeds.
    pub accuracy: f64,
    /// Lower bound, 95% on two sides over seeds and clusters of images, not shared among findings.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Seeds.
    pub seeds: usize,
    /// Test images.
    pub images: usize,
    /// Clusters of them.
    pub clusters: usize,
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanFacts {
    /// The jobs that ran, in order.
    pub jobs: Vec<JobFacts>,
    /// What the policy asks for and the plan left out, each with its reason.
    pub left_out: Vec<String>,
}

/// One stage of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobFacts {
    /// Its name: `features`, `heads`, `full-network`.
    pub stage: String,
    /// What the fine-tunes start from.
    pub arm: Arm,
    /// The transfer mode.
    pub mode: Mode,
    /// Fine-tunes, one per seed.
    pub seeds: usize,
    /// Images trained on and measured.
    pub images: usize,
}

/// How the embedded self-test went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// Whether it went as it must.
    pub status: SelfTestStatus,
    /// In a few words: `planted source caught, clean source passed`.
    pub detail: String,
}

/// Whether the self-test went as it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SelfTestStatus {
    /// The planted source was caught and the clean one passed.
    Passed,
    /// It did not: no pass is given.
    Failed,
    /// It did not run: no pass is given.
    NotRun,
}

/// An image that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokenImage {
    /// Its identifier in the data.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The file beside the report that holds the outcome of every image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// Its name, in the report's own folder.
    pub file: String,
    /// Digest of its uncompressed bytes: `gunzip -c measurements.json.gz | sha256sum`.
    pub digest: Digest,
    /// Digest of the file as it is stored: `sha256sum measurements.json.gz`. Absent in reports of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Digest>,
}

impl Report {
    /// Whether a finding changes the exit code: it is severe enough for `fail_on`, and no waiver accepts it.
    pub(crate) fn gates(&self, finding: &Finding) -> bool {
        finding.severity >= self.policy.fail_on && !text::is_waived(finding)
    }

    /// How many findings that gate have a verdict.
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|f| f.verdict == verdict && self.gates(f)).count()
    }

    /// Findings with a verdict that `fail_on` leaves aside.
    pub(crate) fn aside(&self, verdict: Verdict) -> usize {
        let aside = |f: &&Finding| f.verdict == verdict && f.severity < self.policy.fail_on && !text::is_waived(f);
        self.findings.iter().filter(aside).count()
    }

    /// How many findings are waived.
    pub(crate) fn waived(&self) -> usize {
        self.findings.iter().filter(|f| text::is_waived(f)).count()
    }

    /// The findings in a few words, for a summary: `1 failed, 1 inconclusive, 1 passed`.
    pub(crate) fn counts(&self) -> String {
        text::counts(self)
    }

    /// Whether the user ended the run.
    pub(crate) fn interrupted(&self) -> bool {
        self.exit_code == i32::from(ExitCode::Interrupted.code())
    }

    /// The code the process exits with: [`Report::exit_code`], or 0 under `--report-only`. An interruption is not a
    /// verdict and keeps its code.
    pub fn process_code(&self) -> i32 {
        if self.report_only && !self.interrupted() { 0 } else { self.exit_code }
    }
}
