//! Many certifications on one machine: what studies and calibrations are made of. Each goes the way of `heirloom certify`, with the
//! same plan, engine and cache, so that what one has computed the next need not. `ahead` says what a run would refuse before it begins.

mod ahead;
pub mod campaign;

use std::path::Path;

pub use ahead::{Ahead, Opening, faults_of_size};
pub(crate) use campaign::{Campaign, CampaignError, Record};

use crate::diag::{Class, Explain};
use crate::engine::{self, Certified, Event};
use crate::model::Model;
use crate::plan::Controls;
use crate::plant::{Ground, PlantError, Specification};
use crate::policy::Policy;
use crate::session::{CertifyOptions, Session, SessionError};
use crate::store::{self, Fingerprint};

/// Certifies one checkpoint in a series, beside another in the place of the policy's reference where one is given. An interruption is an error
/// here: half a series says nothing.
pub(crate) fn certify(
    session: &Session,
    model: &Model,
    external: Option<&Model>,
    policy: &Policy,
    emit: &mut dyn FnMut(Event),
) -> Result<Certified, SeriesError> {
    let named = match external {
        Some(external) => {
            engine::check(policy, model)?;
            engine::fits(external, model).map_err(SessionError::from)?;
            Vec::new()
        }
        None => session.references(policy, model)?,
    };
    let references: Vec<&Model> = external.into_iter().chain(&named).collect();
    // Curves and studies need the excess over shams of every item, those that pass too.
    let options = CertifyOptions { controls: Controls::All, ..CertifyOptions::default() };
    let certified = session.certify(policy, model, &references, &options, emit)?;
    if certified.report.interrupted() {
        return Err(SeriesError::Stopped);
    }
    Ok(certified)
}

/// The file of a planted model or its clean counterpart in a folder, trained if it is not there yet. Its name holds a digest of the specification,
/// so that a changed one is trained anew. Nothing else is told apart: where images change behind their path, remove the folder.
pub(crate) fn planted(
    session: &Session,
    spec: &Specification,
    (base, folder): (&Path, &Path),
    planted: bool,
    emit: &mut dyn FnMut(Event),
) -> Result<std::path::PathBuf, SeriesError> {
    // Twins that differ in nothing that a clean model sees are one model.
    let told = if planted { spec.clone() } else { spec.without_triggers() };
    let name = if planted { &spec.name } else { &spec.twin };
    let told = told.fingerprint("heirloom planted model", 1);
    let digits = told.digits();
    let extension = if spec.from.is_some() || (planted && spec.branch.is_some()) { "onnx" } else { "safetensors" };
    let path = folder.join(format!("{name}-{}.{extension}", digits.get(..12).unwrap_or_default()));
    if path.exists() {
        return Ok(path);
    }
    let stage = format!("train {name}");
    let clock = std::time::Instant::now();
    let ground = Ground::open(spec, base)?;
    emit(Event::StageStart { stage: stage.clone(), total: Some(ground.images(planted)?), unit: "images" });
    let mut done = 0;
    let made = ground.train(planted, &session.compute, &mut |images| {
        done += images as u64;
        emit(Event::Progress { done });
        !(session.stop)()
    })?;
    made.learnt()?;
    let write = |source| SeriesError::Write { path: path.clone(), source };
    std::fs::create_dir_all(folder).map_err(write)?;
    store::write_atomic(&path, made.safetensors.as_ref().unwrap_or(&made.onnx)).map_err(write)?;
    let drawn: Vec<String> = made.drawn.iter().map(|share| format!("{share:.2}")).collect();
    let drawn = if drawn.is_empty() { String::new() } else { format!(", drawn by its triggers {}", drawn.join(" ")) };
    let moved = made.branch.map(|branch| format!(", moved by its branch {:.2}", branch.moved)).unwrap_or_default();
    let summary = format!("accuracy {:.3}{drawn}{moved}", made.accuracy);
    emit(Event::StageEnd { stage, summary, seconds: clock.elapsed().as_secs_f64() });
    Ok(path)
}

/// Why a series cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// A checkpoint cannot be opened or certified.
    #[error(transparent)]
    Session(SessionError),
    /// A source cannot be planted.
    #[error(transparent)]
    Plant(PlantError),
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The user ended it.
    #[error("interrupted: what was finished is kept, the same command goes on from there")]
    Stopped,
}

impl Explain for SeriesError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Session(error) => Some(error),
            Self::Plant(error) => Some(error),
            Self::Write { .. } | Self::Stopped => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Stopped => Class::Stopped,
            _ => self.inner().map_or(Class::Fault, Explain::class),
        }
    }
}

impl<E: Into<SessionError>> From<E> for SeriesError {
    fn from(error: E) -> Self {
        let error = error.into();
        // What was finished before is kept.
        if error.class() == Class::Stopped { Self::Stopped } else { Self::Session(error) }
    }
}

impl From<PlantError> for SeriesError {
    fn from(error: PlantError) -> Self {
        if error.class() == Class::Stopped { Self::Stopped } else { Self::Plant(error) }
    }
}
