//! How well a policy's rules tell planted from clean sources: every source of a calibration is certified with the whole policy, and
//! what is known of it is held against what was found.
//!
//! `spec` says which sources, `folder` finds those that are there, `truth` asks whether what was planted is transferred, `record` is what is
//! kept of each, `analysis` turns that into curves, rates and limits, `markdown`, `html` and `plots` show it
//! in the words of `words`.

use std::path::{Path, PathBuf};

use crate::diag::{Class, Explain};
use crate::engine::Event;
use crate::policy::Policy;
use crate::registry;
use crate::report::plot::PlotError;
use crate::series::{self, Campaign, CampaignError, Opening, Record, SeriesError, campaign};
use crate::session::{OpenOptions, Session};
use crate::spec::{Document, SpecError};
use crate::store::Digest;

mod analysis;
mod folder;
mod html;
mod markdown;
mod plots;
mod record;
mod results;
mod sources;
mod spec;
mod truth;
mod words;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use analysis::results;
pub use markdown::{brief, render};
pub(crate) use record::{Calibration, FindingRecord, PolicyRecord, RuleRecord, SCHEMA, SourceRecord};
pub use sources::{Provided, Source, family};
pub use spec::{Base, Carried, Deal, SourceGrid, Spec, calibrated, fits, load, parse, usable};

/// Name of the file that holds everything, once all is through.
pub(crate) const FILE: &str = "calibration.json";
/// Name of the file that holds the sources that are through, until all are.
pub(crate) const PARTIAL: &str = "calibration.partial.json";
/// What is written beside [`FILE`] at the end: a page, tables, curves and scores.
const SHOWN: [&str; 4] = ["calibration.html", "calibration.md", "roc.svg", "scores.svg"];
/// Folder of the sources that are trained, inside the output folder.
const MODELS: &str = "models";

/// What is calibrated, and where.
pub struct Request<'a> {
    /// The specification.
    pub spec: &'a Spec,
    /// As it is written.
    pub document: &'a Document,
    /// Its folder.
    pub base: &'a Path,
    /// The policy that it names.
    pub policy: &'a Policy,
    /// Where the results go.
    pub output: &'a Path,
}

/// Marks a folder as that of a calibration that has begun: see `campaign::begin`.
pub fn begin(folder: &Path) -> Result<(), CampaignError> {
    campaign::begin::<Calibration>(folder, &SHOWN)
}

/// Certifies every source and writes what is found: `PARTIAL` after each; tables, plots and `FILE` at the end. Call [`begin`] first.
///
/// A source whose model and policy have the digests of one that is there already is not certified again. Gives the calibration and the files.
pub fn run(job: &Request, session: &Session, emit: &mut dyn FnMut(Event)) -> Result<(Calibration, Vec<PathBuf>), CalibrateError> {
    let Request { spec, document, base, policy, output } = job;
    let sources = spec.sources(base, policy)?;
    let trusted = spec.reference(policy)?;
    // A broken file is told before anything is trained or certified, and so is one that is there twice.
    usable(spec, base, &sources, policy, document, &Opening { session, only_looks: false })?;
    let mut calibration = Calibration {
        schema: SCHEMA,
        name: spec.name.clone(),
        description: spec.description.clone(),
        policy: policy_record(policy),
        sources: Vec::new(),
        results: None,
    };
    let campaign = Campaign::resume(output, &calibration)?;
    let trusted = match &trusted {
        Some(spec) => {
            let path = series::planted(session, spec, (base, &output.join(MODELS)), false, emit)?;
            Some(session.open(&path, policy, &OpenOptions::default()).map_err(SeriesError::from)?)
        }
        None => None,
    };
    let reference = trusted.as_ref().map(|model| model.identity.digest.clone());
    let (asks, tool) = (policy.fingerprint(), session.tool());
    for (nth, source) in sources.iter().enumerate() {
        let place = format!("{}/{} {}", nth + 1, sources.len(), source.name);
        let path = match &source.origin {
            Provided::File(path) => path.clone(),
            Provided::Trained(spec, _) => series::planted(session, spec, (base, &output.join(MODELS)), source.planted, emit)?,
        };
        let unusable = |error: SeriesError| CalibrateError::Model { name: source.name.clone(), source: Box::new(error) };
        let digest = registry::identify(&path).map_err(|e| unusable(e.into()))?.digest;
        if reference.as_ref() == Some(&digest) {
            return Err(CalibrateError::Twice { one: "the reference".into(), two: source.name.clone() });
        }
        if let Some(twin) = calibration.sources.iter().find(|s| s.model == digest) {
            return Err(CalibrateError::Twice { one: twin.name.clone(), two: source.name.clone() });
        }
        // A planted source that is trained here has a clean counterpart to be compared with.
        let twin = match &source.origin {
            Provided::Trained(spec, seeds) if source.planted => Some((spec, *seeds)),
            _ => None,
        };
        let asked = twin.map(|(_, seeds)| seeds);
        let through = |s: &&SourceRecord| s.model == digest && s.policy == asks && s.reference == reference && s.tool == tool;
        let known =
            campaign.earlier.iter().filter(through).find(|s| truth::answered(&s.findings, &source.carries, asked, spec.again_seeds));
        let record = if let Some(known) = known {
            emit(Event::Fact { topic: "source", text: format!("{place}, kept") });
            SourceRecord {
                name: source.name.clone(),
                planted: source.planted,
                carries: source.carries.clone(),
                near: source.near.clone(),
                architecture: source.architecture.clone().unwrap_or_else(|| known.architecture.clone()),
                seed: source.seed,
                ..known.clone()
            }
        } else {
            emit(Event::Fact { topic: "source", text: place });
            let model = session.open(&path, policy, &OpenOptions::default()).map_err(|e| unusable(e.into()))?;
            let certified = series::certify(session, &model, trusted.as_ref(), policy, emit)?;
            let rules = &calibration.policy.rules;
            let judged = certified.report.findings.iter().filter(|f| rules.iter().any(|rule| rule.id == f.rule));
            let mut findings: Vec<FindingRecord> = judged.map(FindingRecord::from).collect();
            if let Some((spec, seeds)) = twin {
                let path = series::planted(session, spec, (base, &output.join(MODELS)), false, emit)?;
                let twin = session.open(&path, policy, &OpenOptions::default()).map_err(|e| unusable(e.into()))?;
                emit(Event::Fact { topic: "twin", text: format!("{} beside its clean counterpart, {seeds} seeds", source.name) });
                let question = truth::question(policy, &source.carries, seeds);
                let answers = series::certify(session, &model, Some(&twin), &question, emit)?;
                truth::answer(&mut findings, &answers.report.findings, seeds);
            }
            if let Some(seeds) = spec.again_seeds {
                emit(Event::Fact { topic: "again", text: format!("{}, {seeds} seeds", source.name) });
                let more = series::certify(session, &model, trusted.as_ref(), &truth::at_seeds((*policy).clone(), seeds), emit)?;
                truth::again(&mut findings, &more.report.findings, seeds);
            }
            SourceRecord {
                name: source.name.clone(),
                planted: source.planted,
                carries: source.carries.clone(),
                near: source.near.clone(),
                architecture: source.architecture.clone().unwrap_or_else(|| model.description.clone()),
                seed: source.seed,
                model: digest,
                policy: asks.clone(),
                reference: reference.clone(),
                tool: tool.clone(),
                findings,
            }
        };
        calibration.sources.push(record);
        campaign.keep(&calibration)?;
    }
    calibration.results = Some(results(&calibration));
    let [page, tables, roc, scores] = SHOWN.map(str::to_owned);
    let drawn = [
        (page, html::render(&calibration)),
        (tables, render(&calibration)),
        (roc, plots::roc(&calibration)?),
        (scores, plots::scores(&calibration)?),
    ];
    let files = campaign.finish(&calibration, &drawn)?;
    Ok((calibration, files))
}

fn policy_record(policy: &Policy) -> PolicyRecord {
    let rules = calibrated(policy).into_iter();
    PolicyRecord {
        name: policy.file.name.clone(),
        digest: policy.digest.clone(),
        findings: policy.rules.iter().map(|rule| rule.modes.len()).sum(),
        rules: rules.map(|r| RuleRecord { id: r.id.clone(), family: family(r), limit: r.limit, confidence: r.confidence }).collect(),
    }
}

impl Record for Calibration {
    const SCHEMA: u32 = SCHEMA;
    const FILE: &'static str = FILE;
    const PARTIAL: &'static str = PARTIAL;
    type Cell = SourceRecord;

    fn schema(&self) -> u32 {
        self.schema
    }

    fn cells(&self) -> &[SourceRecord] {
        &self.sources
    }

    fn with(&self, sources: Vec<SourceRecord>) -> Self {
        Self { sources, ..self.clone() }
    }

    fn model(source: &SourceRecord) -> &Digest {
        &source.model
    }

    fn awaits(&self, source: &SourceRecord) -> bool {
        let asked = self.sources.first().is_none_or(|first| first.policy == source.policy);
        asked && self.sources.iter().all(|s| s.model != source.model)
    }

    /// A source of another tool or policy is certified again; those of the same are of use.
    fn outdated(&self, _: &Self) -> Option<String> {
        None
    }

    fn drawn(&self) -> Vec<String> {
        SHOWN.map(str::to_owned).to_vec()
    }
}

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The file cannot be read, or has mistakes.
    #[error(transparent)]
    Invalid(#[from] SpecError),
    /// What it asks for cannot be had.
    #[error("the specification cannot be used: {0}")]
    Spec(String),
    /// A group names a rule that the policy does not have.
    #[error("there is no rule `{rule}` in the policy that can be calibrated: it has {known}")]
    UnknownRule {
        /// As written.
        rule: String,
        /// What there is.
        known: String,
    },
    /// There is nothing to calibrate.
    #[error("the policy {policy} has no rule that can be calibrated")]
    NoRules {
        /// Its name.
        policy: String,
    },
    /// One side is missing.
    #[error("there are no {kind} sources: telling planted from clean takes both")]
    NoSources {
        /// `planted` or `clean`.
        kind: &'static str,
    },
    /// A folder of sources lacks one side.
    #[error("{} has no folder `{kind}`: sources lie in `planted` and `clean` below it", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
        /// `planted` or `clean`.
        kind: &'static str,
    },
    /// A planted source of which nobody knows what it carries.
    #[error(
        "{name}: which trigger it carries is not said; put it into a folder below `planted` that is named after a rule or a family of triggers (rules: {known})"
    )]
    Unsaid {
        /// The source.
        name: String,
        /// The rules.
        known: String,
    },
    /// One model under two names.
    #[error("{one} and {two} are the same model: it would count twice")]
    Twice {
        /// The first name.
        one: String,
        /// The second.
        two: String,
    },
    /// A source cannot be used.
    #[error("{name}: {source}")]
    Model {
        /// Its name.
        name: String,
        /// Why.
        source: Box<SeriesError>,
    },
    /// What is through cannot be kept, or gone on from.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A source cannot be trained or certified, or the user ended it.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// A plot cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

impl Explain for CalibrateError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Invalid(error) => Some(error),
            Self::Series(error) => Some(error),
            Self::Campaign(error) => Some(error),
            _ => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Read { .. } | Self::Plot(_) => Class::Fault,
            Self::Invalid(error) => error.class(),
            Self::Series(error) => error.class(),
            Self::Campaign(error) => error.class(),
            // What the specification asks for cannot be had.
            _ => Class::Usage,
        }
    }
}
