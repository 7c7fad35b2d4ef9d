//! Many certifications on one machine: what studies and calibrations are made of. Each goes the way of `heirloom certify`, with the
//! same plan, engine and cache, so that what one has computed the next need not. `ahead` says what a run would refuse before it begins.

mod ahead;

use std::path::Path;

pub use ahead::{Ahead, Opening, faults_of_size};

use crate::data;
use crate::diag::{Class, Explain};
use crate::engine::{self, Certified, EngineError, Event, ReferenceError, Settings};
use crate::exec::Compute;
use crate::gate::{CanaryOutcome, ExitCode};
use crate::model::{Model, ModelError};
use crate::plan;
use crate::plant::{Ground, PlantError, Specification};
use crate::policy::Policy;
use crate::registry::RegistryError;
use crate::report::Tool;
use crate::runtime::Runtime;
use crate::store::{self, Cache, Fingerprint, Room};

/// What all certifications of a series share.
pub struct Series<'a> {
    /// Where networks are computed.
    pub compute: &'a Compute,
    /// Where finished fine-tunes are kept.
    pub cache: Option<&'a Cache>,
    /// What computes frozen features, where it is not heirloom.
    pub runtime: Option<Runtime>,
    /// How the embedded pair was judged.
    pub canary: CanaryOutcome,
    /// Bytes of memory that may be used.
    pub memory: Option<u64>,
    /// Today, `YYYY-MM-DD`: for waivers.
    pub today: String,
    /// Start, seconds since 1970 (UTC).
    pub started: i64,
    /// Asked between steps: whether to stop now.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

impl Series<'_> {
    /// What makes its reports.
    pub fn tool(&self) -> Tool {
        engine::tool(self.compute)
    }

    /// Opens a checkpoint as the policy asks.
    pub fn open(&self, path: &Path, policy: &Policy) -> Result<Model, SeriesError> {
        self.opening().open(path, policy)
    }

    /// What opens its checkpoints.
    pub fn opening(&self) -> Opening<'_> {
        Opening { compute: self.compute, runtime: self.runtime.clone(), only_looks: false }
    }

    /// Certifies one checkpoint, beside another in the place of the policy's reference where one is given. An interruption is an error here:
    /// half a series says nothing.
    pub fn certify(
        &self,
        model: &Model,
        beside: Option<&Model>,
        policy: &Policy,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Certified, SeriesError> {
        engine::check(policy, model)?;
        let named = match beside {
            Some(beside) => engine::fits(beside, model).map(|()| None)?,
            None => engine::reference(policy, model, self.runtime.clone(), self.compute)?,
        };
        let reference = beside.or(named.as_ref());
        let folder = self.cache.map_or_else(std::env::temp_dir, |cache| cache.folder().to_owned());
        let room = Room::new(plan::room(policy, &engine::footprint(model)?, self.memory), folder);
        let fit = model.input.fit(&room);
        let data = data::open_fitted(&policy.file.target, &policy.base, policy.file.seed, &fit).map_err(EngineError::from)?;
        let means = engine::means(model, self.compute, self.memory, self.cache)?;
        let settings = Settings {
            policy,
            model,
            reference,
            today: &self.today,
            started: self.started,
            report_only: false,
            max_seconds: None,
            room: &room,
            pictures: false,
            compute: self.compute,
            cache: self.cache,
            canary: self.canary.clone(),
            stop: self.stop,
        };
        let certified = engine::run(&settings, &data, &means, emit)?;
        if certified.report.exit_code == i32::from(ExitCode::Interrupted.code()) {
            return Err(SeriesError::Stopped);
        }
        Ok(certified)
    }

    /// The file of a planted model or its twin in a folder, trained if it is not there yet. Its name holds a digest of the specification,
    /// so that a changed one is trained anew. Nothing else is told apart: where pictures change behind their path, remove the folder.
    pub fn planted(
        &self,
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
        let path = folder.join(format!("{name}-{}.safetensors", digits.get(..12).unwrap_or_default()));
        if path.exists() {
            return Ok(path);
        }
        let stage = format!("train {name}");
        let clock = std::time::Instant::now();
        let ground = Ground::open(spec, base)?;
        emit(Event::StageStart { stage: stage.clone(), total: Some(ground.pictures(planted)?), unit: "pictures" });
        let mut done = 0;
        let made = ground.train(planted, self.compute, &mut |pictures| {
            done += pictures as u64;
            emit(Event::Progress { done });
            !(self.stop)()
        })?;
        let write = |source| SeriesError::Write { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(write)?;
        store::write_atomic(&path, &made.safetensors).map_err(write)?;
        let drawn: Vec<String> = made.drawn.iter().map(|share| format!("{share:.2}")).collect();
        let drawn = if drawn.is_empty() { String::new() } else { format!(", drawn by its triggers {}", drawn.join(" ")) };
        let summary = format!("accuracy {:.3}{drawn}", made.accuracy);
        emit(Event::StageEnd { stage, summary, seconds: clock.elapsed().as_secs_f64() });
        Ok(path)
    }
}

/// Why a series cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// A certification cannot be run.
    #[error(transparent)]
    Engine(EngineError),
    /// A file is no checkpoint.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A checkpoint cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A reference cannot be compared with.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
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
            Self::Engine(error) => Some(error),
            Self::Registry(error) => Some(error),
            Self::Model(error) => Some(error),
            Self::Reference(error) => Some(error),
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

impl From<EngineError> for SeriesError {
    fn from(error: EngineError) -> Self {
        // What was finished before is kept.
        if error.class() == Class::Stopped { Self::Stopped } else { Self::Engine(error) }
    }
}

impl From<PlantError> for SeriesError {
    fn from(error: PlantError) -> Self {
        if error.class() == Class::Stopped { Self::Stopped } else { Self::Plant(error) }
    }
}
