//! Studies: a grid of certifications, sources x whatever of a policy is varied, through the same plan, engine and cache.
//!
//! `table` and `plots` render what came out, `safe` says with which recipes every rule passes.

mod plots;
mod safe;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::diag::Origin;
use crate::engine::Event;
use crate::gate::Finding;
use crate::model::{InputOverride, Model};
use crate::plant::Specification;
use crate::policy::{self, Policy, PolicyError};
use crate::report::Tool;
use crate::series::{Series, SeriesError};
use crate::store::{self, Digest};

pub use plots::plots;
pub use table::markdown;

/// Version of the results' layout.
pub const SCHEMA: u32 = 1;
/// Name of the file that holds what came out, once all is through.
pub const RESULTS: &str = "study.json";
/// Name of the file that holds what is through, until all is.
pub const PARTIAL: &str = "study.partial.json";
/// Name of the file that holds the tables.
pub const TABLES: &str = "study.md";
/// Most bytes of results that are read.
const MOST_RESULTS: u64 = 1 << 30;
/// Most certifications of one study.
const MOST: usize = 2000;

/// A study as its YAML file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Version of this format: 1.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// What it asks, for readers.
    #[serde(default)]
    pub question: Option<String>,
    /// The checkpoints, by name.
    pub sources: BTreeMap<String, Source>,
    /// The policy that is varied: a file, or the policy itself. Paths in it are relative to the study.
    pub policy: Value,
    /// What is varied; every combination is run.
    #[serde(default)]
    pub vary: Vec<Axis>,
}

/// Where a checkpoint comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A file.
    Model(PathBuf),
    /// The planted model of a specification (`heirloom plant`), trained if need be.
    Planted(Planting),
    /// Its clean twin.
    Twin(Planting),
}

/// A specification for `heirloom plant`: a file, or the specification itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Planting {
    /// A file, relative to the study.
    File(PathBuf),
    /// The specification.
    Inline(Box<Specification>),
}

/// One thing that is varied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Its name, shown in tables and plots.
    pub name: String,
    /// Where in the policy, as JSON pointers (`/transfer/full_network/weight_decay`): all get the same value.
    pub set: Vec<String>,
    /// The values.
    pub to: Vec<Step>,
}

/// One value of an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Step {
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

    fn value(&self) -> &Value {
        match self {
            Step::Named { value, .. } | Step::Plain(value) => value,
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
    /// One entry per source and combination of values, in order.
    pub cells: Vec<Cell>,
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
    /// Digest of the policy, its pictures' place and its files included.
    pub policy: Digest,
    /// The name of each axis' value.
    pub at: Vec<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A study with its policies: one for each combination of values.
pub struct Grid {
    study: Study,
    base: PathBuf,
    combinations: Vec<(Vec<String>, Policy)>,
    /// Remarks on the policies, each once.
    pub remarks: Vec<String>,
}

impl Grid {
    /// Reads a study. Every combination's policy is checked before anything runs. `data` takes the place of the policy's data.
    pub fn read(path: &Path, data: Option<&Path>) -> Result<Self, StudyError> {
        let text = policy::read_text(path).map_err(|source| StudyError::Read { path: path.to_owned(), source })?;
        let wrong = |reason: String| StudyError::Specification { path: path.to_owned(), reason };
        let study: Study = policy::specification(&text).map_err(wrong)?;
        if study.version != 1 {
            return Err(wrong(format!("version {} is not known, 1 is", study.version)));
        }
        if study.sources.is_empty() {
            return Err(wrong("there are no sources".into()));
        }
        if let Some(axis) = study.vary.iter().find(|axis| axis.to.is_empty() || axis.set.is_empty()) {
            return Err(wrong(format!("`{}` has no values, or says not what they are set to", axis.name)));
        }
        let twice =
            |names: &[String]| names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name.clone());
        if let Some(name) = twice(&study.vary.iter().map(|axis| axis.name.clone()).collect::<Vec<_>>()) {
            return Err(wrong(format!("two axes are called `{name}`: their values could not be told apart")));
        }
        if let Some(place) = twice(&study.vary.iter().flat_map(|axis| axis.set.clone()).collect::<Vec<_>>()) {
            return Err(wrong(format!("`{place}` is set twice: the later value would replace the earlier one")));
        }
        let places = || study.vary.iter().flat_map(|axis| &axis.set);
        if let Some((whole, part)) = places().find_map(|whole| Some((whole, places().find(|part| part.starts_with(&format!("{whole}/")))?)))
        {
            return Err(wrong(format!("`{whole}` holds `{part}`, which is set too: one value would replace the other")));
        }
        for axis in &study.vary {
            if let Some(name) = twice(&axis.to.iter().map(Step::name).collect::<Vec<_>>()) {
                return Err(wrong(format!("`{}` has two values called {name}", axis.name)));
            }
        }
        let count = study.vary.iter().map(|axis| axis.to.len()).chain([study.sources.len()]).fold(1usize, usize::saturating_mul);
        if count > MOST {
            return Err(wrong(format!("it has {count} certifications, {MOST} are the most")));
        }
        let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let missing = |(name, source): (&String, &Source)| match source {
            Source::Model(path) if !base.join(path).exists() => {
                Some(format!("there is no {} (the source `{name}`)", base.join(path).display()))
            }
            _ => None,
        };
        if let Some(reason) = study.sources.iter().find_map(missing) {
            return Err(wrong(reason));
        }
        let (written, policy_base) = written(&study.policy, &base)?;
        // Pictures inside the program stay where they are.
        let elsewhere = data.filter(|_| written.pointer("/target/data/embedded").is_none());
        let options = policy::Options { data: elsewhere.map(Path::to_owned), ..policy::Options::default() };
        let (mut combinations, mut remarks) = (Vec::new(), Vec::new());
        for steps in product(&study.vary) {
            let at: Vec<String> = steps.iter().map(|(_, step)| step.name()).collect();
            let mut value = written.clone();
            for (axis, step) in &steps {
                for pointer in &axis.set {
                    set(&mut value, pointer, step.value()).map_err(|reason| wrong(format!("`{}`: {reason}", axis.name)))?;
                }
            }
            // JSON is YAML: the policy is checked as every other is.
            let text = serde_json::to_string_pretty(&value).unwrap_or_default();
            let name = format!("{}: {}", path.display(), if at.is_empty() { "policy".to_owned() } else { at.join(", ") });
            let (policy, said) = policy::parse(&text, &name, &policy_base, &options).map_err(StudyError::Policy)?;
            for remark in said {
                if !remarks.contains(&remark.message) {
                    remarks.push(remark.message);
                }
            }
            combinations.push((at, policy));
        }
        Ok(Self { study, base, combinations, remarks })
    }

    /// How many certifications it takes.
    pub fn len(&self) -> usize {
        self.combinations.len() * self.study.sources.len()
    }

    /// Whether there is nothing to run; a study that was read has something.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs what is not done yet. What is through is written to [`PARTIAL`] in `folder` after every certification, so that the same call goes
    /// on from there; [`RESULTS`] is there when all is through. Call [`begin`] first.
    /// `data` takes the place of the pictures that sources are trained on.
    pub fn run(&self, series: &Series, folder: &Path, data: Option<&Path>, emit: &mut dyn FnMut(Event)) -> Result<Results, StudyError> {
        let file = folder.join(PARTIAL);
        let earlier = earlier(&file, &series.tool())?;
        let axes = self.study.vary.iter().map(|axis| (axis.name.clone(), axis.to.iter().map(Step::name).collect())).collect();
        let (name, question) = (self.study.name.clone(), self.study.question.clone());
        let mut results = Results { schema: SCHEMA, tool: series.tool(), name, question, axes, cells: Vec::new() };
        let mut done = 0;
        for (source, whence) in &self.study.sources {
            let path = self.checkpoint(series, folder, whence, data, emit)?;
            // What is known of the input can be varied too: another means another model.
            let mut opened: Option<(Option<InputOverride>, Model)> = None;
            for (at, policy) in &self.combinations {
                done += 1;
                let place = if at.is_empty() { source.clone() } else { format!("{source}, {}", at.join(", ")) };
                emit(Event::Fact { topic: "study", text: format!("{done} of {}: {place}", self.len()) });
                let digest = crate::registry::identify(&path).map_err(SeriesError::from)?.digest;
                let asks = policy.asks();
                let known = earlier.iter().find(|cell| cell.model == digest && cell.policy == asks);
                let findings = if let Some(known) = known {
                    known.findings.clone()
                } else {
                    let model = match opened.take() {
                        Some((input, model)) if input == policy.file.input => model,
                        _ => series.open(&path, policy)?,
                    };
                    let findings = series.certify(&model, None, policy, emit)?.report.findings;
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
                    write(&file, &results, &earlier)?;
                }
            }
        }
        write(&folder.join(RESULTS), &results, &[])?;
        // All of it is in the results; where it stays, the next run takes its cells from both.
        let _ = std::fs::remove_file(&file);
        Ok(results)
    }

    fn checkpoint(
        &self,
        series: &Series,
        folder: &Path,
        source: &Source,
        data: Option<&Path>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<PathBuf, StudyError> {
        let (planting, planted) = match source {
            Source::Model(path) => return Ok(self.base.join(path)),
            Source::Planted(planting) => (planting, true),
            Source::Twin(planting) => (planting, false),
        };
        let (mut spec, base) = match planting {
            Planting::Inline(spec) => {
                spec.check().map_err(SeriesError::from)?;
                ((**spec).clone(), self.base.clone())
            }
            Planting::File(path) => {
                let path = self.base.join(path);
                let text = policy::read_text(&path).map_err(|source| StudyError::Read { path: path.clone(), source })?;
                let base = path.parent().unwrap_or(Path::new(".")).to_owned();
                (crate::plant::parse(&text).map_err(SeriesError::from)?, base)
            }
        };
        if let Some(data) = data {
            spec.data.redirect(data.to_owned());
        }
        Ok(series.planted(&spec, (&base, &folder.join("sources")), planted, emit)?)
    }
}

/// Marks a folder as that of a study that has begun: earlier results become [`PARTIAL`], from which the study goes on, and what was drawn
/// from them is removed, so that nothing there can be taken for the results of this one. It needs no space.
pub fn begin(folder: &Path) -> Result<(), StudyError> {
    let failed = |path: PathBuf| move |source| StudyError::Series(SeriesError::Write { path, source });
    let results = folder.join(RESULTS);
    let drawn = match store::read(&results, MOST_RESULTS) {
        Ok(bytes) => serde_json::from_slice::<Results>(&bytes).ok().and_then(|results| plots(&results).ok()).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    for name in drawn.iter().map(|(name, _)| name.as_str()).chain([TABLES]) {
        store::remove_if_there(&folder.join(name)).map_err(failed(folder.join(name)))?;
    }
    store::rename_if_there(&results, &folder.join(PARTIAL)).map_err(failed(results))
}

/// The policy of a study as a value, and the folder that its paths start from.
fn written(policy: &Value, base: &Path) -> Result<(Value, PathBuf), StudyError> {
    let Value::String(path) = policy else { return Ok((policy.clone(), base.to_owned())) };
    let path = base.join(path);
    let text = policy::read_text(&path).map_err(|source| StudyError::Read { path: path.clone(), source })?;
    let value = policy::yaml_value(&text).map_err(|reason| StudyError::Specification { path: path.clone(), reason })?;
    Ok((value, path.parent().unwrap_or(Path::new(".")).to_owned()))
}

/// Every combination of one step of each axis, the last axis fastest.
fn product(axes: &[Axis]) -> Vec<Vec<(&Axis, &Step)>> {
    axes.iter().fold(vec![Vec::new()], |all, axis| {
        all.iter().flat_map(|before| axis.to.iter().map(move |step| [before.as_slice(), &[(axis, step)]].concat())).collect()
    })
}

/// Sets the value at a JSON pointer; its parent must be there.
fn set(value: &mut Value, pointer: &str, to: &Value) -> Result<(), String> {
    let (parent, name) = pointer.rsplit_once('/').ok_or_else(|| format!("`{pointer}` is no place: it must begin with `/`"))?;
    let holder = value.pointer_mut(parent).ok_or_else(|| format!("the policy has nothing at `{parent}`"))?;
    let name = name.replace("~1", "/").replace("~0", "~");
    match holder {
        Value::Object(fields) => {
            fields.insert(name, to.clone());
            Ok(())
        }
        Value::Array(items) => {
            let slot = name.parse().ok().and_then(|index: usize| items.get_mut(index));
            *slot.ok_or_else(|| format!("the list at `{parent}` has no entry `{name}`"))? = to.clone();
            Ok(())
        }
        _ => Err(format!("`{parent}` is neither a list nor has it fields")),
    }
}

/// A finding cites a line of a text that nobody has written: the study is what there is.
fn placed(finding: Finding, study: &str) -> Finding {
    Finding { origin: Origin { file: study.to_owned(), line: 1, column: 1 }, ..finding }
}

/// What an earlier run of this version on such a machine finished. What it left is never written over unread.
fn earlier(file: &Path, tool: &Tool) -> Result<Vec<Cell>, StudyError> {
    let bytes = match store::read(file, MOST_RESULTS) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(StudyError::Read { path: file.to_owned(), source }),
    };
    let damaged = |reason: String| StudyError::Earlier { path: file.to_owned(), reason };
    let read: Results = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if read.schema != SCHEMA {
        return Err(damaged(format!("its layout is version {}, this program writes {SCHEMA}", read.schema)));
    }
    if read.tool != *tool {
        let of = |tool: &Tool| format!("{} {} on {}", tool.name, tool.version, tool.computed_on());
        return Err(damaged(format!("it was made by {}, this is {}", of(&read.tool), of(tool))));
    }
    if read.cells.iter().any(|cell| cell.model.is_earlier()) {
        return Err(damaged(store::EARLIER.to_owned()));
    }
    Ok(read.cells)
}

/// Writes results with what an earlier run finished and this one has not come to yet.
fn write(file: &Path, results: &Results, earlier: &[Cell]) -> Result<(), StudyError> {
    let known = |cell: &&Cell| !results.cells.iter().any(|c| c.model == cell.model && c.policy == cell.policy);
    let cells = results.cells.iter().chain(earlier.iter().filter(known)).cloned().collect();
    let all = Results { cells, ..results.clone() };
    let failed = |source| StudyError::Series(SeriesError::Write { path: file.to_owned(), source });
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let text = serde_json::to_string_pretty(&all).unwrap_or_default() + "\n";
    store::write_atomic(file, text.as_bytes()).map_err(failed)
}

/// Why a study cannot be run.
#[derive(Debug, Error)]
pub enum StudyError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not say what to do.
    #[error("{path}: {reason}")]
    Specification {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What an earlier run left cannot be gone on from.
    #[error("{path} cannot be gone on from ({reason}): move it away, or name another folder with --output")]
    Earlier {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The policy of a combination has mistakes.
    #[error(transparent)]
    Policy(PolicyError),
    /// A certification cannot be run.
    #[error(transparent)]
    Series(#[from] SeriesError),
}

#[cfg(test)]
mod tests;
