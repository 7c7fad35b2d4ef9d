//! Scans: a registry of models, each held against the policy that its rule names, night after night.
//!
//! `spec` is the file that says so, `rules` which rule a model comes under, `prepare` makes the `plan`, `work` judges one model through
//! [`crate::session::Session`], `state` keeps what the next night need not do again, `conclude` compares with the last night, `output` writes what
//! people and pipelines read, `shards` has several machines work from one plan.

mod conclude;
mod family;
mod faults;
mod output;
mod plan;
mod population;
mod prepare;
mod record;
mod repositories;
mod results;
mod rules;
mod servers;
mod shards;
mod spec;
mod state;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub use family::Sketch;
pub use output::{FILES, text};
pub use plan::{Done, Plan, PlanEntry, Work};
pub use record::{Effect, Facts, FindingLine, Outcome, Record};
pub use results::{Changes, ModelId, ModelLine, Population, Scan};
pub use shards::{Shard, jobs, merge, mergeable, shard};
pub use spec::{FailOn, Stored, Tier};

use crate::diag::{Class, Explain};
use crate::engine::Event;
use crate::net::NetError;
use crate::policy::{self, Policy, PolicyError, ReadVariable};
use crate::report::{self, WriteError};
use crate::series::Ahead;
use crate::session::{Session, SessionError, now};
use crate::source::{Access, SourceError};
use crate::spec::{Document, Remarks, SpecError};
use crate::store::{self, Digest, Fingerprinter};

use repositories::Repositories;
use servers::Servers;
pub(crate) use spec::ScanFile;
use spec::SourceSpec;
use state::State;

/// Name of the file with the plan.
pub const PLAN: &str = "plan.json";
/// Folder of the results where the scan file names none.
pub const OUTPUT: &str = "heirloom-scan";

type Written = Result<(), ScanError>;

/// A checked scan file with its policies.
pub struct ScanSpec {
    file: ScanFile,
    base: PathBuf,
    digest: Digest,
    /// By the path that the file names them by.
    policies: BTreeMap<String, Policy>,
    /// Remarks on the policies, each once.
    pub remarks: Vec<Remarks>,
}

impl ScanSpec {
    /// Reads a scan file and its policies, all of them checked with their data. `salt` gives the policies' salt, which a run needs.
    pub fn load(path: &Path, salt: Option<ReadVariable>) -> Result<Self, SpecError> {
        let text = crate::spec::text(&crate::spec::SCAN, path)?;
        Self::parse(&text, &path.display().to_string(), store::folder_of(path), salt)
    }

    fn parse(text: &str, name: &str, base: &Path, salt: Option<ReadVariable>) -> Result<Self, SpecError> {
        let (file, tree) = crate::spec::parse::<ScanFile>(text, name, |_, _, _| {})?;
        let document = Document { text: text.to_owned(), name: name.to_owned(), tree };
        document.refuse(&crate::spec::SCAN, faults::of(&file, base))?;
        let mut policies = BTreeMap::new();
        let mut remarks = Vec::new();
        for path in file.rules.iter().filter_map(|rule| rule.policy.as_ref()) {
            let named = path.display().to_string();
            if policies.contains_key(&named) {
                continue;
            }
            let options = policy::Options { salt, ..policy::Options::default() };
            let (policy, told) = Ahead::load(&joined(base, path), &options)?;
            policies.insert(named, policy);
            remarks.push(told);
        }
        let digest = Digest::of(text.as_bytes());
        Ok(Self { file, base: base.to_owned(), digest, policies, remarks })
    }

    /// What it is, in a few words.
    pub fn what(&self) -> String {
        let count = crate::diag::count;
        format!("a scan of {} with {}", count(self.file.sources.len(), "source"), count(self.file.rules.len(), "rule"))
    }

    /// Folder for results, where the file names one.
    pub fn output(&self) -> Option<PathBuf> {
        self.file.output.as_ref().map(|path| self.at(path))
    }

    /// The policy of a plan's entry, with the rules of its tier alone.
    fn policy_of(&self, entry: &PlanEntry) -> Option<Policy> {
        let policy = self.policies.get(entry.policy.as_ref()?)?;
        work::of_tier(policy, entry.tier?)
    }

    /// Seconds after which no model is begun.
    fn seconds(&self, options: &Options) -> Option<f64> {
        options.max_seconds.or_else(|| self.file.budget.time.as_deref().and_then(spec::seconds).map(|seconds| seconds as f64))
    }

    /// Where a path of the file leads: relative ones start from its own folder.
    fn at(&self, path: &Path) -> PathBuf {
        joined(&self.base, path)
    }

    /// Whether models on servers are scanned.
    pub fn asks_servers(&self) -> bool {
        self.file.sources.iter().any(|source| !matches!(source, SourceSpec::Folder(_)))
    }

    /// Where the file of a plan's entry is; none on a server.
    fn path_of(&self, entry: &PlanEntry) -> Option<PathBuf> {
        match self.file.sources.get(entry.from)? {
            SourceSpec::Folder(folder) => Some(self.at(folder).join(&entry.path)),
            _ => None,
        }
    }
}

/// How a scan is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Folder for records and reports.
    pub output: PathBuf,
    /// In place of the file's `fail_on`.
    pub fail_on: Option<FailOn>,
    /// In place of the file's budget: seconds.
    pub max_seconds: Option<f64>,
    /// In place of the file's budget: bytes.
    pub max_bytes: Option<u64>,
    /// Which hub is meant, and with which token.
    pub access: Access,
}

/// Marks a folder as that of a scan that has begun: what the last one wrote is put aside, so that none of it can be taken for this one's.
pub fn begin(folder: &Path) -> Result<(), ScanError> {
    output::begin(folder)
}

/// Makes the plan of a scan: lists the sources, reads what is new, and looks up what is known.
pub fn plan(spec: &ScanSpec, session: &Session, options: &Options, emit: &mut dyn FnMut(Event)) -> Result<Plan, ScanError> {
    let mut state = open(&options.output, emit)?;
    let mut known = Repositories::open(&options.output)?;
    let servers = Servers::of(spec, options, session.stop)?;
    let plan = prepare::plan(spec, session, options, &servers, (&mut state, &mut known), emit)?;
    // Shards may work elsewhere, and fetch what they need.
    servers.clear()?;
    Ok(plan)
}

/// Writes a plan for shards to work from.
pub fn write_plan(plan: &Plan, folder: &Path) -> Result<PathBuf, ScanError> {
    let path = folder.join(PLAN);
    let mut bytes = serde_json::to_vec_pretty(plan)?;
    bytes.push(b'\n');
    state::write(&path, &bytes)?;
    Ok(path)
}

/// Runs a scan from its list to what is written. Call [`begin`] first. Where the user ends it, what is through is kept and written.
pub fn run(spec: &ScanSpec, session: &Session, options: &Options, emit: &mut dyn FnMut(Event)) -> Result<Scan, ScanError> {
    let clock = Instant::now();
    let mut state = open(&options.output, emit)?;
    let mut known = Repositories::open(&options.output)?;
    let servers = Servers::of(spec, options, session.stop)?;
    let plan = prepare::plan(spec, session, options, &servers, (&mut state, &mut known), emit)?;
    let all: Vec<usize> = plan.entries.iter().enumerate().filter(|(_, entry)| entry.is_work()).map(|(at, _)| at).collect();
    // What ended the program before may do so again: the results of all others are there by then.
    let has_ended =
        |at: &usize| plan.entries.get(*at).and_then(|entry| entry.key.as_ref()).is_some_and(|key| state.entered.contains_key(key));
    let (suspects, others): (Vec<usize>, Vec<usize>) = all.into_iter().partition(has_ended);
    let last = output::last(&options.output)?.map(|last| last.run.started);
    let ran = |clock: &Instant| conclude::Ran { seconds: clock.elapsed().as_secs_f64(), shards: 1, last: last.clone() };
    let (mut done, mut ended) = work_through(spec, session, options, &plan, &others, (&mut state, &servers), emit)?;
    if !suspects.is_empty() && !ended {
        let why = "the program was ended while it worked on this model before: it is tried after all others";
        let waiting = || Done { outcome: Outcome::NotReached, refused: None, summary: why.to_owned(), record: false };
        let so_far: BTreeMap<usize, Done> = done.clone().into_iter().chain(suspects.iter().map(|at| (*at, waiting()))).collect();
        output::write(&conclude::scan(&plan, &so_far, &state, &ran(&clock), false), &options.output)?;
        let left = spec.seconds(options).map(|most| (most - clock.elapsed().as_secs_f64()).max(0.0));
        let options = Options { max_seconds: left, ..options.clone() };
        let (tried, stopped) = work_through(spec, session, &options, &plan, &suspects, (&mut state, &servers), emit)?;
        done.extend(tried);
        ended = stopped;
    }
    let scan = conclude::scan(&plan, &done, &state, &ran(&clock), ended);
    let there: std::collections::BTreeSet<&ModelId> = plan.entries.iter().map(|entry| &entry.id).collect();
    state.tidy(|seen| there.contains(&ModelId { source: seen.source.clone(), name: seen.name.clone() }))?;
    if !ended {
        known.conclude(&plan, &scan.models)?;
        servers.clear()?;
        // A plan from before is overtaken: no merge may take it for what is there now.
        let path = options.output.join(PLAN);
        store::remove_if_there(&path).map_err(|source| ScanError::Write { path, source })?;
    }
    output::write(&scan, &options.output)?;
    Ok(scan)
}

/// The state in a folder; damaged records are told.
fn open(folder: &Path, emit: &mut dyn FnMut(Event)) -> Result<State, ScanError> {
    let state = State::open(folder)?;
    for damaged in &state.damaged {
        emit(Event::Warning(format!("a damaged record counts as none, and the model is measured anew: {damaged}")));
    }
    Ok(state)
}

/// Works on the entries of a plan at `own`. Gives what became of each, and whether the user ended it.
fn work_through(
    spec: &ScanSpec,
    session: &Session,
    options: &Options,
    plan: &Plan,
    own: &[usize],
    (state, servers): (&mut State, &Servers),
    emit: &mut dyn FnMut(Event),
) -> Result<(BTreeMap<usize, Done>, bool), ScanError> {
    let clock = Instant::now();
    let most = spec.seconds(options);
    let mut done = BTreeMap::new();
    for (nth, at) in own.iter().enumerate() {
        let Some(entry) = plan.entries.get(*at) else { continue };
        if (session.stop)() {
            return Ok((done, true));
        }
        let remote = entry.remote.as_ref().map(|remote| work::Place::There(remote, servers));
        let place = remote.or_else(|| spec.path_of(entry).map(work::Place::Here));
        let (Some(basis), Some(place)) = (plan.basis(entry), place) else { continue };
        if most.is_some_and(|most| clock.elapsed().as_secs_f64() > most) {
            done.insert(*at, Done { outcome: Outcome::NotReached, refused: None, summary: "the time is used up".into(), record: false });
            continue;
        }
        let nth = format!("{}/{} {}", nth + 1, own.len(), entry.id);
        let tier = entry.tier.unwrap_or_default();
        emit(Event::Fact { topic: "model", text: format!("{nth} ({})", tier.name()) });
        let policy = spec.policy_of(entry);
        let key = basis.key();
        let job = work::Job { entry, place: &place, policy: policy.as_ref(), basis, oldest: plan.oldest.as_deref() };
        state.enter(&key)?;
        let told = work::work(&job, session, state, emit);
        state.leave(&key)?;
        if !matches!(told, Err(ScanError::Stopped)) {
            place.clear();
        }
        match told {
            Ok(told) => {
                let why = if told.outcome == Outcome::Pass { String::new() } else { format!(": {}", told.summary) };
                emit(Event::Fact { topic: "", text: format!("{}{why}", told.outcome.name()) });
                done.insert(*at, told);
            }
            Err(ScanError::Stopped) => return Ok((done, true)),
            Err(error) => return Err(error),
        }
    }
    Ok((done, false))
}

/// A path from a folder; from this one, the path as it is.
fn joined(base: &Path, path: &Path) -> PathBuf {
    if base == Path::new(".") { path.to_owned() } else { base.join(path) }
}

/// The time now: UTC, RFC 3339.
fn time() -> String {
    report::utc(now().0)
}

/// What tells a plan from any other: two of them may be made in one second.
fn new_id() -> Digest {
    let mut feed = Fingerprinter::new("heirloom plan of a scan", 1);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for (label, value) in [("second", time.as_secs()), ("part", time.subsec_nanos().into()), ("process", std::process::id().into())] {
        feed.field(label, &value);
    }
    feed.finish()
}

/// Why a scan cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What a later release wrote.
    #[error("{} is of a later heirloom (layout {found}): run that one, or name another folder with --output", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// A plan that cannot be worked from.
    #[error("{}: {reason}", path.display())]
    Plan {
        /// The plan.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A source cannot be listed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No connection can be had.
    #[error(transparent)]
    Net(#[from] NetError),
    /// No verdict would count.
    #[error("the self-test failed, so that no verdict would count: {0}; nothing was measured")]
    SelfTest(String),
    /// Something is wrong before any model is.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The embedded policy cannot be read.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A report cannot be written.
    #[error(transparent)]
    Report(#[from] WriteError),
    /// Something is no JSON.
    #[error("the results cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The user ended it.
    #[error("interrupted: what was finished is kept, the same command goes on from there")]
    Stopped,
}

impl Explain for ScanError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Source(error) => Some(error),
            Self::Net(error) => Some(error),
            Self::Session(error) => Some(error),
            Self::Policy(error) => Some(error),
            Self::Report(error) => Some(error),
            _ => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Stopped => Class::Stopped,
            Self::Newer { .. } | Self::Plan { .. } => Class::Usage,
            _ => self.inner().map_or(Class::Fault, Explain::class),
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Plan { .. } => Some("`heirloom scan FILE --plan-only` makes a plan"),
            _ => self.inner().and_then(Explain::hint),
        }
    }
}
