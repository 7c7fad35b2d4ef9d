//! One model: looked at, measured, or judged again from what was measured. What goes wrong with it is its own line of the scan.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::ScanError;
use super::family::Sketch;
use super::plan::{Done, PlanEntry, Work};
use super::record::{Basis, Facts, Outcome, Record, RecordRun, SCHEMA};
use super::servers::Servers;
use super::spec::Tier;
use super::state::State;
use crate::diag::{Class, Explain};
use crate::engine::{self, Event};
use crate::gate::{SelfTestOutcome, Verdict};
use crate::model::onnx::OnnxError;
use crate::model::safetensors::SafetensorsError;
use crate::model::{Extractor, Model, ModelError};
use crate::policy::{self, Policy};
use crate::report::{self, Report};
use crate::session::{CertifyOptions, OpenOptions, Session, SessionError, now};
use crate::source::{Cause, Refusal, Remote};
use crate::store::Digest;
use crate::tune::Mode;

/// A model whose verdict is wanted.
pub(super) struct Job<'a> {
    /// The plan's words.
    pub entry: &'a PlanEntry,
    /// Its files.
    pub place: &'a Place<'a>,
    /// The policy, with the rules of the tier alone; none where nothing is measured and none is named.
    pub policy: Option<&'a Policy>,
    /// What the verdict depends on.
    pub basis: Basis,
    /// Before when a measurement is not relied on.
    pub oldest: Option<&'a str>,
}

/// Where the files of a model are.
pub(super) enum Place<'a> {
    /// On this machine.
    Here(PathBuf),
    /// On a server, from where they are fetched if they are needed.
    There(&'a Remote, &'a Servers<'a>),
}

impl Place<'_> {
    /// The checkpoint's path.
    fn path(&self, emit: &mut dyn FnMut(Event)) -> Result<PathBuf, Failed> {
        let Self::There(remote, servers) = self else { return Ok(self.here().to_owned()) };
        let net = servers.net().map_err(|error| Failed::Stop(Box::new(error)))?;
        emit(Event::StageStart { stage: "download".into(), total: Some(remote.bytes()), unit: "bytes" });
        let clock = Instant::now();
        let path = remote.fetch(net, &servers.folder(remote), &mut |done| emit(Event::Progress { done }));
        emit(Event::StageEnd { stage: "download".into(), summary: String::new(), seconds: clock.elapsed().as_secs_f64() });
        path.map_err(|refused| if servers.stopped() { Failed::Stop(Box::new(ScanError::Stopped)) } else { Failed::Model(refused) })
    }

    /// The path of a checkpoint on a server without its weights, where its headers say what it is.
    fn headers(&self) -> Result<Option<PathBuf>, Failed> {
        let Self::There(remote, servers) = self else { return Ok(None) };
        let net = servers.net().map_err(|error| Failed::Stop(Box::new(error)))?;
        match remote.fetch_headers(net, &servers.folder(remote)) {
            Err(_) if servers.stopped() => Err(Failed::Stop(Box::new(ScanError::Stopped))),
            // The whole file tells why.
            found => Ok(found.unwrap_or_default()),
        }
    }

    fn here(&self) -> &Path {
        if let Self::Here(path) = self { path } else { Path::new("") }
    }

    /// What the model is called in its report, where that is not its path.
    fn address(&self) -> Option<PathBuf> {
        if let Self::There(remote, _) = self { Some(remote.address().into()) } else { None }
    }

    /// How messages name it.
    fn called(&self) -> String {
        self.address().map_or_else(|| self.here().display().to_string(), |address| address.display().to_string())
    }

    /// A refusal that names files by where they belong.
    fn told(&self, refused: Refusal) -> Refusal {
        match self {
            Self::Here(_) => refused,
            Self::There(remote, servers) => remote.told(&refused, &servers.folder(remote)),
        }
    }

    /// Removes what was fetched.
    pub fn clear(&self) {
        if let Self::There(remote, servers) = self {
            servers.remove(remote);
        }
    }
}

/// Whether a record was measured lately enough.
pub(super) fn is_young(record: &Record, oldest: Option<&str>) -> bool {
    // Times of this form compare as text.
    oldest.is_none_or(|oldest| record.run.measured.as_str() >= oldest)
}

/// Whether a record says what is so today.
pub(super) fn stands(record: &Record, oldest: Option<&str>, today: &str) -> bool {
    is_young(record, oldest) && !record.has_expired(today)
}

/// The policy that a tier asks, if any of its rules is left.
pub(super) fn of_tier(policy: &Policy, tier: Tier) -> Option<Policy> {
    let mut policy = policy.clone();
    if tier == Tier::Features {
        for rule in &mut policy.rules {
            rule.modes.retain(|mode| *mode == Mode::FixedFeature);
        }
        policy.rules.retain(|rule| !rule.modes.is_empty());
    }
    (!policy.rules.is_empty()).then_some(policy)
}

/// Does what the plan asks for a model, and keeps the record. An error ends the scan: the user stopped it, or nothing can be written.
pub(super) fn work(job: &Job, session: &Session, state: &mut State, emit: &mut dyn FnMut(Event)) -> Result<Done, ScanError> {
    let key = job.basis.key();
    // Two models of one key, or one that an ended scan had measured.
    if let (Work::Measure, Some(record)) = (&job.entry.work, state.again(&key))
        && stands(record, job.oldest, &now().1)
    {
        return Ok(done(record));
    }
    if let Work::Rejudge { from } = &job.entry.work
        && let Some(policy) = job.policy
        && let Some(record) = rejudge(job, policy, from, &key, state)?
    {
        let told = done(&record);
        state.keep(record)?;
        return Ok(told);
    }
    // A fault of the program on one model must not take the verdicts on the others away.
    let measured = catch_unwind(AssertUnwindSafe(|| measure(job, session, state, &key, emit)));
    let refused = match measured {
        Ok(Ok(record)) => {
            let told = done(&record);
            state.keep(record)?;
            return Ok(told);
        }
        Ok(Err(Failed::Stop(error))) => return Err(*error),
        Ok(Err(Failed::Model(refused))) => refused,
        Err(_) => Refusal::new(Cause::Error, "heirloom itself failed on this model: please report it"),
    };
    let refused = job.place.told(refused);
    if refused.cause.is_settled() {
        let refused = refused.anywhere(&job.place.called());
        let (seconds, _) = now();
        let run = RecordRun { measured: report::utc(seconds), judged: None, seconds: 0.0 };
        let (basis, summary) = (job.basis.clone(), refused.reason.clone());
        let outcome = Outcome::Error;
        let refused = Some(refused);
        let (facts, weights, findings) = (None, None, Vec::new());
        let record = Record { schema: SCHEMA, basis, facts, outcome, summary, refused, weights, findings, report: false, run };
        let told = done(&record);
        state.keep(record)?;
        return Ok(told);
    }
    Ok(Done { outcome: Outcome::Error, summary: refused.reason.clone(), refused: Some(refused), record: false })
}

/// What a record says.
pub(super) fn done(record: &Record) -> Done {
    Done { outcome: record.outcome, refused: record.refused.clone(), summary: record.summary.clone(), record: true }
}

enum Failed {
    /// The scan ends.
    Stop(Box<ScanError>),
    /// The model cannot be judged.
    Model(Refusal),
}

impl From<SessionError> for Failed {
    fn from(error: SessionError) -> Self {
        if error.class() == Class::Stopped {
            return Self::Stop(Box::new(ScanError::Stopped));
        }
        Self::Model(refusal(&error))
    }
}

fn measure(job: &Job, session: &Session, state: &State, key: &Digest, emit: &mut dyn FnMut(Event)) -> Result<Record, Failed> {
    let (started, _) = now();
    let embedded = policy::embedded().map_err(|error| Failed::Model(Refusal::new(Cause::Error, error.to_string())))?;
    let policy = job.policy.unwrap_or(&embedded);
    if job.basis.tier == Tier::Static
        && let Some(path) = job.place.headers()?
    {
        match session.open(&path, policy, &OpenOptions::default()) {
            Ok(model) => return Ok(inspected(job.basis.clone(), facts(&model), &model, true, started)),
            Err(error) if error.class() == Class::Stopped => return Err(error.into()),
            // Some are told from others by numbers that are in them: then the whole file is read.
            Err(_) => {}
        }
    }
    let path = job.place.path(emit)?;
    let model = session.open(&path, policy, &OpenOptions::default())?;
    if model.identity.digest != job.basis.model {
        let reason = format!("{} changed since it was listed: it is scanned again the next time", path.display());
        return Err(Failed::Model(Refusal::new(Cause::Changed, reason)));
    }
    let facts = facts(&model);
    if job.basis.tier == Tier::Static {
        return Ok(inspected(job.basis.clone(), facts, &model, false, started));
    }
    let references = session.references(policy, &model)?;
    // After a failed one every pass would be an error, and kept as one.
    match session.self_test(model.runtime.as_ref().ok().map(Extractor::runtime), emit)? {
        SelfTestOutcome::Sound => {}
        SelfTestOutcome::Failed(why) | SelfTestOutcome::NotRun(why) => return Err(Failed::Stop(Box::new(ScanError::SelfTest(why)))),
    }
    let references: Vec<&Model> = references.iter().collect();
    let mut certified = session.certify(policy, &model, &references, &CertifyOptions::default(), emit)?;
    if certified.report.interrupted() {
        return Err(Failed::Stop(Box::new(ScanError::Stopped)));
    }
    if let Some(address) = job.place.address() {
        certified.report.model.identity.path = address;
    }
    let folder = state.report(key);
    report::write_all(&certified.report, &certified.measurements, &certified.sheets, &folder)
        .map_err(|error| Failed::Stop(Box::new(error.into())))?;
    let weights = model.network.as_ref().ok().and_then(|network| Sketch::of(&network.params));
    Ok(Record::of_report(job.basis.clone(), (facts, weights), &certified.report, policy, None))
}

/// What the file itself says.
fn facts(model: &Model) -> Facts {
    let inspection = model.inspection();
    let input = &inspection.input;
    let warnings = inspection.bypass.iter().map(crate::model::Bypass::remark).chain(inspection.not_searched.clone()).collect();
    Facts {
        description: inspection.description.clone(),
        parameters: inspection.parameters,
        input: [input.channels, input.height, input.width],
        warnings,
    }
}

/// A model that was looked at. Nodes around its weights are no proof of anything, and nothing that ordinary networks have.
fn inspected(basis: Basis, facts: Facts, model: &Model, header: bool, started: i64) -> Record {
    let (outcome, summary) = match model.inspection().bypass {
        Some(bypass) => {
            (Outcome::Inconclusive, format!("{}; a measurement (tier `features` or `full`) tells what they do", bypass.remark()))
        }
        None => match facts.warnings.first() {
            Some(warning) => (Outcome::Inconclusive, warning.clone()),
            None if header => (Outcome::Inspected, "its header was read, not its weights; nothing was measured".to_owned()),
            None => (Outcome::Inspected, "no nodes lead around the weights; nothing was measured".to_owned()),
        },
    };
    let run = RecordRun { measured: report::utc(started), judged: None, seconds: 0.0 };
    let (facts, weights, findings) = (Some(facts), None, Vec::new());
    Record { schema: SCHEMA, basis, facts, outcome, summary, refused: None, weights, findings, report: false, run }
}

/// The verdict from stored measurements; none where they do not answer what is asked now.
fn rejudge(job: &Job, policy: &Policy, from: &Digest, key: &Digest, state: &State) -> Result<Option<Record>, ScanError> {
    let folder = state.report(from);
    let Some(record) = state.records.get(from) else { return Ok(None) };
    let Some(facts) = record.facts.clone() else { return Ok(None) };
    let facts = (facts, record.weights.clone());
    let Ok(report) = Report::read(&folder) else { return Ok(None) };
    if report.model.identity.digest != job.basis.model || !is_of_images(&report, policy, record.basis.policy == job.basis.policy) {
        return Ok(None);
    }
    let Ok(measurements) = report.read_measurements(&folder) else { return Ok(None) };
    let (seconds, today) = now();
    let Ok(judged) = engine::rejudge(&report, &measurements, policy, &today, false) else { return Ok(None) };
    if judged.findings.iter().any(|finding| finding.verdict == Verdict::Error) {
        return Ok(None);
    }
    report::write_all(&judged, &measurements, &[], &state.report(key))?;
    Ok(Some(Record::of_report(job.basis.clone(), facts, &judged, policy, Some(report::utc(seconds)))))
}

/// Whether a report is of the images that a policy names. `same`: it is of this policy, files that it names included.
fn is_of_images(report: &Report, policy: &Policy, same: bool) -> bool {
    let target = &policy.file.target;
    let measured = report.target.as_ref().and_then(|target| target.source.as_ref());
    // What another attribute file says of the images is in no measurement.
    measured == Some(&target.data) && (same || target.attributes.is_none())
}

/// Height and width of the images that a checkpoint takes.
pub(super) fn sides(session: &Session, path: &Path) -> Result<[usize; 2], Refusal> {
    let embedded = policy::embedded().map_err(|error| Refusal::new(Cause::Error, error.to_string()))?;
    let model = session.open(path, &embedded, &OpenOptions::default()).map_err(|error| refusal(&error))?;
    Ok([model.input.height, model.input.width])
}

/// Why a model cannot be judged.
fn refusal(error: &SessionError) -> Refusal {
    match error {
        SessionError::Registry(error) => error.into(),
        SessionError::Model(error) => of_model(error, &error.to_string()).hinted(error.hint()),
        SessionError::Reference(error) => Refusal::new(Cause::PolicyMisfit, error.to_string()),
        SessionError::Engine(error) => {
            let cause = if error.class() == Class::Usage { Cause::PolicyMisfit } else { Cause::Error };
            Refusal::new(cause, error.to_string())
        }
    }
}

fn of_model(error: &ModelError, told: &str) -> Refusal {
    if error.is_end() {
        return Refusal::new(Cause::Error, told);
    }
    let cause = match error {
        ModelError::File { source, .. } => return of_model(source, told),
        ModelError::Registry(error) => return error.into(),
        ModelError::FixedSize { .. } | ModelError::NoSize | ModelError::Onnx(OnnxError::Size { .. }) => Cause::PolicyMisfit,
        ModelError::Processor { .. } | ModelError::Runtime(_) => Cause::Error,
        ModelError::Invalid { .. }
        | ModelError::NotFinite { .. }
        | ModelError::Safetensors(SafetensorsError::Malformed(_) | SafetensorsError::NoTensors)
        | ModelError::Onnx(
            OnnxError::Decode { .. }
            | OnnxError::NoGraph
            | OnnxError::Attribute { .. }
            | OnnxError::Tensor { .. }
            | OnnxError::ExternalData { .. },
        ) => Cause::Damaged,
        _ => Cause::Unsupported,
    };
    Refusal::new(cause, told)
}
