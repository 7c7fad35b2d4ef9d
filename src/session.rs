//! The front door: one machine, and the certifications that are made on it.
//!
//! A [`Session`] says where networks are computed, what is kept for later runs and how much memory there is. It opens a checkpoint as a
//! policy asks, says what certifying it would take, and certifies it. The command line, studies and calibrations all go this way.
//!
//! ```
//! use std::path::Path;
//!
//! use heirloom::exec::Compute;
//! use heirloom::policy;
//! use heirloom::session::{Session, OpenOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let session = Session::new(Compute::cpu());
//! let policy = policy::embedded()?;
//! let model = session.open(Path::new("fixtures/models/clean.onnx"), &policy, &OpenOptions::default())?;
//! let plan = session.plan(&policy, &model, &mut |_| {})?;
//! assert_eq!(plan.findings[0].rule, "backdoor/square");
//! # Ok(())
//! # }
//! ```
//!
//! `examples/certify.rs` goes on from there to a verdict and reports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::data::{self, DataError, Fit, TargetData};
use crate::diag::Explain;
use crate::engine::{self, Certified, EngineError, Event, ReferenceError, Save, Saver, Settings, Task};
use crate::exec::Compute;
use crate::gate::SelfTestOutcome;
use crate::model::{Extractor, LoadOptions, Model, ModelError};
use crate::plan::{self, Controls, Plan, Resolved};
use crate::policy::Policy;
use crate::registry::{self, RegistryError};
use crate::report::{self, Tool};
use crate::runtime::Runtime;
use crate::store::{Cache, MemoryBudget};

/// What certifications on one machine share.
pub struct Session<'a> {
    /// Where networks are computed.
    pub compute: Compute,
    /// Where finished fine-tunes are kept for later runs; none: nothing is kept.
    pub cache: Option<Cache>,
    /// What computes the features of frozen networks; none: heirloom itself.
    pub runtime: Option<Runtime>,
    /// Bytes of memory that may be used; what finds no room goes to disk. None: as many as there are.
    pub memory: Option<u64>,
    /// Asked between steps: whether to stop now.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// How the self-test went, by what computes frozen features.
    tested: Mutex<BTreeMap<String, SelfTestOutcome>>,
}

/// What is said of a checkpoint beside the policy.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Tensor at which features leave the network; none: it is found.
    pub features: Option<String>,
    /// Architecture of a file that holds weights only; none: it is recognised.
    pub arch: Option<String>,
}

/// How one certification is run.
#[derive(Clone, Debug, Default)]
pub struct CertifyOptions {
    /// Verdicts never change the exit code.
    pub report_only: bool,
    /// Seconds that may be spent; what does not fit is left out.
    pub max_seconds: Option<f64>,
    /// Whether sample images are wanted.
    pub samples: bool,
    /// Which controls are measured.
    pub controls: Controls,
    /// Which fine-tunes are saved, and where.
    pub save: Save,
}

impl Session<'_> {
    /// A session that keeps nothing, uses no ONNX Runtime and does not stop: its fields say otherwise.
    pub fn new(compute: Compute) -> Self {
        Self { compute, cache: None, runtime: None, memory: None, stop: &|| false, tested: Mutex::default() }
    }

    /// What makes its reports.
    pub(crate) fn tool(&self) -> Tool {
        engine::tool(&self.compute)
    }

    /// Opens a checkpoint as a policy asks.
    pub fn open(&self, path: &Path, policy: &Policy, options: &OpenOptions) -> Result<Model, SessionError> {
        let OpenOptions { features, arch } = options.clone();
        let input = policy.file.input.clone().unwrap_or_default();
        let options = LoadOptions { features, arch, input, runtime: self.runtime.clone() };
        Ok(Model::load(registry::identify(path)?, &options)?.computed_on(&self.compute)?)
    }

    /// Whether a policy suits a checkpoint, and the trusted checkpoints that it names, in its order.
    pub fn references(&self, policy: &Policy, model: &Model) -> Result<Vec<Model>, SessionError> {
        engine::check(policy, model)?;
        Ok(engine::references(policy, model, self.runtime.as_ref(), &self.compute)?)
    }

    /// What certifying a checkpoint by a policy would run. Trains nothing. What the user should know is told before a plan is refused.
    pub fn plan(&self, policy: &Policy, model: &Model, emit: &mut dyn FnMut(Event)) -> Result<Plan, SessionError> {
        self.plan_beside(policy, model, &[], emit)
    }

    /// The same beside trusted checkpoints (see [`Session::references`]): what the cache keeps of their fine-tunes is counted too.
    pub fn plan_beside(
        &self,
        policy: &Policy,
        model: &Model,
        references: &[&Model],
        emit: &mut dyn FnMut(Event),
    ) -> Result<Plan, SessionError> {
        engine::check_salt(policy).map_err(EngineError::from)?;
        let resolved = plan::resolve(policy);
        let budget = self.budget(&resolved, model)?;
        let data = opened(policy, model, &budget)?;
        let task = Task::open(&resolved, &data, model, &budget)?;
        emit(Event::Fact { topic: "executor", text: engine::executors(model, &task)? });
        let profile = engine::profile(model, &self.compute, self.memory, self.cache.as_ref(), true)?;
        let counts = engine::counts(&resolved, data.facts())?;
        let warnings = model.input.warnings().into_iter().chain(model.bypass().map(|bypass| bypass.remark())).chain(model.not_searched());
        warnings.chain(engine::remarks(&resolved, data.facts(), &counts)).for_each(|warning| emit(Event::Warning(warning)));
        let plan = plan::plan(&resolved, &counts, &profile).map_err(EngineError::from)?;
        if self.cache.is_none() {
            return Ok(plan);
        }
        let (started, today) = now();
        let settings = Settings {
            resolved: &resolved,
            model,
            references,
            today: &today,
            started,
            report_only: false,
            max_seconds: None,
            budget: &budget,
            samples: false,
            compute: &self.compute,
            cache: self.cache.as_ref(),
            saver: None,
            self_test: SelfTestOutcome::NotRun("nothing is judged".to_owned()),
            stop: self.stop,
        };
        Ok(Plan { kept: Some(engine::kept(&settings, &task, &plan)?), ..plan })
    }

    /// Whether this build tells the embedded planted source from the clean one on this machine, where frozen features are computed by `runtime`, or
    /// by heirloom itself: run once for each, and remembered.
    pub fn self_test(&self, runtime: Option<&Runtime>, emit: &mut dyn FnMut(Event)) -> Result<SelfTestOutcome, SessionError> {
        let by = runtime.map_or_else(|| "heirloom".to_owned(), Runtime::name);
        // Whoever panicked meanwhile has written nothing.
        let tested = || self.tested.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = tested().get(&by) {
            return Ok(outcome.clone());
        }
        let clock = Instant::now();
        emit(Event::StageStart { stage: "self-test".into(), total: None, unit: "images" });
        let outcome = engine::check_self_test(runtime, &self.compute, self.cache.as_ref(), self.stop)?;
        let summary = match &outcome {
            SelfTestOutcome::Sound => "planted source caught, clean source passed".to_owned(),
            SelfTestOutcome::Failed(why) | SelfTestOutcome::NotRun(why) => why.clone(),
        };
        emit(Event::StageEnd { stage: "self-test".into(), summary, seconds: clock.elapsed().as_secs_f64() });
        tested().insert(by, outcome.clone());
        Ok(outcome)
    }

    /// Certifies a checkpoint by a policy, beside trusted ones (see [`Session::references`]). Data that cannot be used are known before the
    /// self-test runs. An interruption is a report too: its exit code says so.
    pub fn certify(
        &self,
        policy: &Policy,
        model: &Model,
        references: &[&Model],
        options: &CertifyOptions,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Certified, SessionError> {
        engine::check_salt(policy).map_err(EngineError::from)?;
        let resolved = Resolved { controls: options.controls, ..plan::resolve(policy) };
        let budget = self.budget(&resolved, model)?;
        let data = opened(policy, model, &budget)?;
        let (started, today) = now();
        let saver =
            options.save.asked().then(|| Saver::begin(&options.save, &resolved, (model, references), &data, engine::tool(&self.compute)));
        let saver = saver.transpose().map_err(EngineError::from)?;
        let self_test = self.self_test(model.runtime.as_ref().ok().map(Extractor::runtime), emit)?;
        let measured = |anew| engine::profile(model, &self.compute, self.memory, self.cache.as_ref(), anew);
        let mut profile = measured(false)?;
        if let Some(most) = options.max_seconds
            && plan::plan(&resolved, &engine::counts(&resolved, data.facts())?, &profile).is_ok_and(|plan| plan.seconds[1] > most)
        {
            // What was measured while the machine was busy must not leave anything out.
            profile = measured(true)?;
        }
        let settings = Settings {
            resolved: &resolved,
            model,
            references,
            today: &today,
            started,
            report_only: options.report_only,
            max_seconds: options.max_seconds,
            budget: &budget,
            samples: options.samples,
            compute: &self.compute,
            cache: self.cache.as_ref(),
            saver: saver.as_ref(),
            self_test,
            stop: self.stop,
        };
        Ok(engine::run(&settings, &data, &profile, emit)?)
    }

    /// What the memory leaves for images and features; what finds no room goes to disk, beside the cache where there is one.
    pub(crate) fn budget(&self, resolved: &Resolved, model: &Model) -> Result<MemoryBudget, EngineError> {
        let folder: PathBuf = self.cache.as_ref().map_or_else(std::env::temp_dir, |cache| cache.folder().to_owned());
        Ok(MemoryBudget::new(plan::budget(resolved, &engine::footprint(model)?, self.memory), folder))
    }
}

/// Seconds since 1970 and the date `YYYY-MM-DD`, UTC.
pub fn now() -> (i64, String) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) as i64;
    (seconds, report::utc(seconds).chars().take(10).collect())
}

/// Why a session cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A certification cannot be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file is no checkpoint.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A checkpoint cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A reference cannot be compared with.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

impl Explain for SessionError {
    fn inner(&self) -> Option<&dyn Explain> {
        Some(match self {
            Self::Engine(error) => error,
            Self::Registry(error) => error,
            Self::Model(error) => error,
            Self::Reference(error) => error,
        })
    }
}

/// The target task's images at the model's size; as they came too, where training cuts boxes out of them.
fn opened(policy: &Policy, model: &Model, budget: &MemoryBudget) -> Result<TargetData, DataError> {
    let fit = Fit { keep: policy.cuts_boxes(), ..model.input.fit(budget) };
    data::open_fitted(&policy.file.target, &policy.base, policy.file.seed, &fit)
}

impl From<DataError> for SessionError {
    fn from(error: DataError) -> Self {
        Self::Engine(error.into())
    }
}
