//! Studies: a grid of certifications, sources x whatever of a policy is varied, through the same plan, engine and cache.
//!
//! `faults` says what is wrong with a study that its schema cannot say, `combine` puts the policies together, `table`, `html` and `plots`
//! render what came out, `safe` says with which recipes every rule passes.

mod combine;
mod faults;
mod html;
mod plots;
mod rates;
mod safe;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::diag::{Diagnostic, Explain, Origin};
use crate::engine::Event;
use crate::exec::Compute;
use crate::gate::Finding;
use crate::model::{InputOverride, Model};
use crate::plant::{self, Specification};
use crate::policy::{self, Policy, PolicyFile, ReadVariable};
use crate::report::plot::PlotError;
use crate::report::{PolicyFacts, Tool};
use crate::series::{self, Campaign, CampaignError, Opening, Record, SeriesError, campaign};
use crate::session::{OpenOptions, Session};
use crate::spec::{self, Document, Node, Remarks, SpecError};
use crate::store::{self, Digest};

use combine::{Combined, Written};
pub(crate) use plots::plots;
pub use table::markdown;

/// Version of the results' layout.
pub(crate) const SCHEMA: u32 = 1;
/// Name of the file that holds what came out, once all is through.
pub const RESULTS: &str = "study.json";
/// Name of the file that holds what is through, until all is.
pub(crate) const PARTIAL: &str = "study.partial.json";
/// Name of the file that holds the tables.
pub const TABLES: &str = "study.md";
/// Name of the file that is a page for people.
pub const PAGE: &str = "study.html";
/// Most certifications of one study.
const MOST: usize = 2000;

/// A study as its YAML file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Study {
    /// Version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Its name.
    pub name: String,
    /// What it asks, for readers.
    #[serde(default)]
    pub question: Option<String>,
    /// The checkpoints, by name.
    pub sources: BTreeMap<String, SourceSpec>,
    /// The policy that is varied: a file, or the policy itself. Paths in it are relative to the study.
    pub policy: Value,
    /// What is varied; every combination is run.
    #[serde(default)]
    pub vary: Vec<Axis>,
}

/// Where a checkpoint comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum SourceSpec {
    /// A file.
    Model(PathBuf),
    /// The planted model of a specification (`heirloom plant`), trained if need be.
    Planted(Planting),
    /// Its clean counterpart.
    Twin(Planting),
}

/// A specification for `heirloom plant`: a file, or the specification itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Planting {
    /// A file, relative to the study.
    File(PathBuf),
    /// The specification.
    Inline(Box<Specification>),
}

/// One thing that is varied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Axis {
    /// Its name, shown in tables and plots.
    pub name: String,
    /// Where in the policy, as JSON pointers (`/transfer/full_network/weight_decay`): all get the same value.
    #[schemars(length(min = 1))]
    pub set: Vec<String>,
    /// The values.
    #[schemars(length(min = 1))]
    pub to: Vec<Step>,
}

/// One value of an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Step {
    /// A value with a name of its own.
    Named {
        /// Its name.
        name: String,
        /// The value.
        value: Value,
    },
    /// A value that is its own name.
    Plain(Value),
}

impl Step {
    fn name(&self) -> String {
        match self {
            Step::Named { name, .. } | Step::Plain(Value::String(name)) => name.clone(),
            Step::Plain(value) => value.to_string(),
        }
    }
}

/// What a study found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Version of this layout.
    pub schema: u32,
    /// What made it.
    pub tool: Tool,
    /// The study's name.
    pub name: String,
    /// What it asks.
    pub question: Option<String>,
    /// Names of what was varied, with the names of their values, in order.
    pub axes: Vec<(String, Vec<String>)>,
    /// The policy of each combination of values, in order: with its text, so that any certification can be run again from this file. Not there until
    /// all are through, and in results of earlier builds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Combination>,
    /// One entry per source and combination of values, in order.
    pub cells: Vec<Cell>,
}

/// A policy that the study put together. Paths in it start from the folder of the policy's file, or of the study where the policy stands in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Combination {
    /// The name of each axis' value.
    pub at: Vec<String>,
    /// The policy.
    pub policy: PolicyFacts,
}

impl Results {
    /// Findings (`rule@mode`), each once, in order.
    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for id in self.cells.iter().flat_map(|cell| cell.findings.iter().map(Finding::id)) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }
}

/// One certification of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The source's name.
    pub source: String,
    /// Digest of its file.
    pub model: Digest,
    /// Digest of the policy, its images' place and its files included.
    pub policy: Digest,
    /// The name of each axis' value.
    pub at: Vec<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}

spec::form!(Study, spec::STUDY);

impl Study {
    /// The files that say what to plant.
    fn plantings(&self) -> impl Iterator<Item = &PathBuf> {
        self.sources.values().filter_map(|source| match source {
            SourceSpec::Planted(Planting::File(file)) | SourceSpec::Twin(Planting::File(file)) => Some(file),
            _ => None,
        })
    }
}

/// A study with its policies: one for each combination of values.
pub struct Grid {
    study: Study,
    document: Document,
    base: PathBuf,
    combinations: Vec<(Vec<String>, Policy)>,
    /// Remarks on the policies, each once.
    pub remarks: Vec<Remarks>,
}

impl Grid {
    /// Reads a study. Its checkpoints, what it plants and every combination's policy are checked with their data before anything runs. `data`
    /// takes the place of the policy's data, and of those that sources are trained on; `salt` gives the policy's salt, which a run needs.
    pub fn read(path: &Path, data: Option<&Path>, salt: Option<ReadVariable>) -> Result<Self, StudyError> {
        let text = spec::text(&spec::STUDY, path)?;
        let base = store::folder_of(path).to_owned();
        let name = path.display().to_string();
        let mut read = None;
        let (study, tree) = spec::parse(&text, &name, |study: Option<&Study>, tree, found| {
            inside(&text, tree, found);
            let Some(study) = study else { return };
            let mut faults = faults::of(study, &base);
            let written = Written::of(study, tree, &base);
            if let Ok(written) = &written {
                faults.extend(faults::of_places(study, &written.tree));
            }
            read = Some(written);
            found.extend(faults.into_iter().map(|fault| fault.placed(&spec::STUDY, tree)));
        })?;
        let written = read.unwrap_or_else(|| Written::of(&study, &tree, &base))?;
        for file in study.plantings() {
            plant::load(&base.join(file), data)?;
        }
        // Images inside the program stay where they are.
        let elsewhere = data.filter(|_| written.tree.find("/target/data/embedded").is_none());
        let options = policy::Options { data: elsewhere.map(Path::to_owned), salt, ..policy::Options::default() };
        let document = Document { text, name, tree };
        let (session, mut unknown) = (Session::new(Compute::cpu()), None);
        let opening = Opening { session: &session, only_looks: true };
        let further = |policies: &[(Vec<String>, Policy)]| {
            let policies: Vec<&Policy> = policies.iter().map(|(_, policy)| policy).collect();
            let models = faults::of_models(&study, &base, &policies, &opening).unwrap_or_else(|error| {
                unknown = Some(error);
                Vec::new()
            });
            models.into_iter().chain(faults::of_plantings(&study, &base, &policies, data)).collect()
        };
        let combined = written.combined(&study, &document, &options, further);
        if let Some(error) = unknown {
            return Err(error.into());
        }
        let Combined { policies: combinations, remarks } = combined?;
        Ok(Self { study, document, base, combinations, remarks })
    }

    /// How many certifications it takes.
    pub fn len(&self) -> usize {
        self.combinations.len() * self.study.sources.len()
    }

    /// Whether there is nothing to run; a study that was read has something.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs what is not done yet. What is through is written to `PARTIAL` in `folder` after every certification, so that the same call goes
    /// on from there; [`RESULTS`] is there when all is through. Call [`begin`] first.
    /// `data` takes the place of the images that sources are trained on.
    pub fn run(&self, session: &Session, folder: &Path, data: Option<&Path>, emit: &mut dyn FnMut(Event)) -> Result<Results, StudyError> {
        // With the library of this run, and however large they are: what is wrong with the last must not show after the others ran.
        let policies: Vec<&Policy> = self.combinations.iter().map(|(_, policy)| policy).collect();
        self.document
            .refuse(&spec::STUDY, faults::of_models(&self.study, &self.base, &policies, &Opening { session, only_looks: false })?)?;
        let axes = self.study.vary.iter().map(|axis| (axis.name.clone(), axis.to.iter().map(Step::name).collect())).collect();
        let (name, question) = (self.study.name.clone(), self.study.question.clone());
        let policies = self.combinations.iter().map(|(at, policy)| Combination { at: at.clone(), policy: policy.into() }).collect();
        let mut results = Results { schema: SCHEMA, tool: session.tool(), name, question, axes, policies, cells: Vec::new() };
        let campaign = Campaign::resume(folder, &results)?;
        let mut done = 0;
        for (source, whence) in &self.study.sources {
            let path = self.checkpoint(session, folder, whence, data, emit)?;
            // What is known of the input can be varied too: another means another model.
            let mut opened: Option<(Option<InputOverride>, Model)> = None;
            for (at, policy) in &self.combinations {
                done += 1;
                let place = if at.is_empty() { source.clone() } else { format!("{source}, {}", at.join(", ")) };
                emit(Event::Fact { topic: "study", text: format!("{done} of {}: {place}", self.len()) });
                let digest = crate::registry::identify(&path).map_err(SeriesError::from)?.digest;
                let asks = policy.fingerprint();
                let known = campaign.earlier.iter().find(|cell| cell.model == digest && cell.policy == asks);
                let findings = if let Some(known) = known {
                    known.findings.clone()
                } else {
                    let model = match opened.take() {
                        Some((input, model)) if input == policy.file.input => model,
                        _ => session.open(&path, policy, &OpenOptions::default()).map_err(SeriesError::from)?,
                    };
                    let findings = series::certify(session, &model, None, policy, emit)?.report.findings;
                    opened = Some((policy.file.input.clone(), model));
                    findings
                };
                results.cells.push(Cell {
                    source: source.clone(),
                    model: digest,
                    policy: asks,
                    at: at.clone(),
                    findings: findings.into_iter().map(|f| placed(f, &self.study.name)).collect(),
                });
                if known.is_none() {
                    campaign.keep(&results)?;
                }
            }
        }
        let drawn = plots(&results)?.into_iter().chain(pages(&results)).collect::<Vec<_>>();
        campaign.finish(&results, &drawn)?;
        Ok(results)
    }

    fn checkpoint(
        &self,
        session: &Session,
        folder: &Path,
        source: &SourceSpec,
        data: Option<&Path>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<PathBuf, StudyError> {
        let (planting, planted) = match source {
            SourceSpec::Model(path) => return Ok(self.base.join(path)),
            SourceSpec::Planted(planting) => (planting, true),
            SourceSpec::Twin(planting) => (planting, false),
        };
        let (spec, base) = match planting {
            Planting::Inline(spec) => (spec.with_data(data), self.base.clone()),
            Planting::File(path) => {
                let path = self.base.join(path);
                let base = store::folder_of(&path).to_owned();
                (plant::load(&path, data)?, base)
            }
        };
        Ok(series::planted(session, &spec, (&base, &folder.join("sources")), planted, emit)?)
    }
}

/// Marks a folder as that of a study that has begun: see `campaign::begin`.
pub fn begin(folder: &Path) -> Result<(), CampaignError> {
    campaign::begin::<Results>(folder, &[TABLES, PAGE])
}

/// The results for people, by the names of their files.
fn pages(results: &Results) -> [(String, String); 2] {
    [(TABLES.to_owned(), markdown(results)), (PAGE.to_owned(), html::render(results))]
}

impl Record for Results {
    const SCHEMA: u32 = SCHEMA;
    const FILE: &'static str = RESULTS;
    const PARTIAL: &'static str = PARTIAL;
    type Cell = Cell;

    fn schema(&self) -> u32 {
        self.schema
    }

    fn cells(&self) -> &[Cell] {
        &self.cells
    }

    fn with(&self, cells: Vec<Cell>) -> Self {
        // Written after every certification: what the study says anyway is not.
        Self { cells, policies: Vec::new(), ..self.clone() }
    }

    fn model(cell: &Cell) -> &Digest {
        &cell.model
    }

    fn awaits(&self, cell: &Cell) -> bool {
        !self.cells.iter().any(|c| c.model == cell.model && c.policy == cell.policy)
    }

    fn outdated(&self, earlier: &Self) -> Option<String> {
        let of = |tool: &Tool| format!("{} {} on {}", tool.name, tool.version, tool.computed_on());
        (earlier.tool != self.tool).then(|| format!("it was made by {}, this is {}", of(&earlier.tool), of(&self.tool)))
    }

    fn drawn(&self) -> Vec<String> {
        plots(self).unwrap_or_default().into_iter().map(|(name, _)| name).collect()
    }
}

/// Adds what is wrong with a policy inside a study, as it is written there; what will be put in is left to the combinations.
fn inside(text: &str, tree: &Node, found: &mut Vec<Diagnostic>) {
    let Some(policy) = tree.child("policy").filter(|policy| !policy.value().is_string()) else { return };
    let axes = tree.child("vary").map(Node::value).unwrap_or_default();
    let sets = axes.as_array().into_iter().flatten().filter_map(|axis| axis.get("set")?.as_array());
    let later = sets.flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    spec::check::<PolicyFile>(text, policy, &later, found);
}

/// A finding cites a line of a text that nobody has written: the study is what there is.
fn placed(finding: Finding, study: &str) -> Finding {
    Finding { origin: Origin { file: study.to_owned(), line: 1, column: 1 }, ..finding }
}

/// Why a study cannot be run.
#[derive(Debug, Error)]
pub enum StudyError {
    /// The study, its policy or what it plants cannot be read, or has mistakes.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// What is through cannot be kept, or gone on from.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// A plot cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A certification cannot be run.
    #[error(transparent)]
    Series(#[from] SeriesError),
}

impl Explain for StudyError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Spec(error) => Some(error),
            Self::Series(error) => Some(error),
            Self::Campaign(error) => Some(error),
            Self::Plot(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
