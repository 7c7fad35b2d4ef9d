//! The self-test inside the program: one planted and one clean source that must be told apart.
//!
//! It has its own images, policy and models, different from the fixtures. It proves the machinery on this build and
//! machine, not how sensitive a policy is.

use std::path::{Path, PathBuf};

use super::{EngineError, Settings, cache_keys, run};
use crate::data;
use crate::exec::Compute;
use crate::gate::{SelfTestOutcome, Verdict};
use crate::model::{LoadOptions, Model, safetensors};
use crate::plan::{self, Footprint, MachineProfile, Speed};
use crate::policy;
use crate::registry::{Contents, Format, ModelRef};
use crate::runtime::Runtime;
use crate::store::{Cache, Digest, MemoryBudget};

const POLICY: &str = include_str!("../../fixtures/canary/policy.yaml");
const PLANTED: &[u8] = include_bytes!("../../fixtures/canary/planted.safetensors");
const CLEAN: &[u8] = include_bytes!("../../fixtures/canary/clean.safetensors");

/// The self-test of this build on this instruction set, device and executor: run, or remembered where it was sound. An interruption is an
/// error, anything else an outcome.
pub(crate) fn check(
    runtime: Option<&Runtime>,
    compute: &Compute,
    cache: Option<&Cache>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<SelfTestOutcome, EngineError> {
    const SOUND: &[u8] = b"sound";
    let executor = runtime.map_or_else(|| "heirloom".to_owned(), Runtime::name);
    let parts = [("executor", executor.as_str()), ("device", &compute.key())];
    let kept = cache.and_then(|cache| Some((cache, cache_keys::of_build("canary", &parts)?)));
    if let Some((cache, key)) = &kept
        && cache.get(key).as_deref() == Some(SOUND)
    {
        return Ok(SelfTestOutcome::Sound);
    }
    let outcome = run_pair(runtime, compute, stop)?;
    if let (Some((cache, key)), SelfTestOutcome::Sound) = (&kept, &outcome) {
        // Not kept, it runs again next time; what hinders it is said when the first fine-tune is kept.
        let _ = cache.put(key, &format!("embedded pair, {executor}"), SOUND);
    }
    Ok(outcome)
}

fn run_pair(runtime: Option<&Runtime>, compute: &Compute, stop: &(dyn Fn() -> bool + Sync)) -> Result<SelfTestOutcome, EngineError> {
    let broken = |e: &dyn std::fmt::Display| EngineError::SelfTest(e.to_string());
    let (policy, _) =
        policy::parse(POLICY, "<embedded>/canary.yaml", Path::new("."), &policy::Options::default()).map_err(|e| broken(&e))?;
    let data = data::open(&policy.file.target, &policy.base, policy.file.seed)?;
    let resolved = plan::resolve(&policy);
    let mut wrong = Vec::new();
    for (name, bytes, wanted) in [("planted", PLANTED, Verdict::Fail), ("clean", CLEAN, Verdict::Pass)] {
        let model = embedded(name, bytes, runtime)?;
        let settings = Settings {
            resolved: &resolved,
            model: &model,
            references: &[],
            today: "1970-01-01",
            started: 0,
            report_only: false,
            max_seconds: None,
            budget: &MemoryBudget::boundless(),
            samples: false,
            compute,
            cache: None,
            self_test: SelfTestOutcome::NotRun("this is the self-test".into()),
            saver: None,
            stop,
        };
        // Fixed-feature only, and small: its cost needs no prediction.
        let profile = MachineProfile { speed: Speed { features: 1.0, whole: None }, footprint: Footprint::default(), memory: None };
        let certified = run(&settings, &data, &profile, &mut |_| {})?;
        if certified.report.interrupted() {
            return Err(EngineError::Tune(crate::tune::TuneError::Stopped));
        }
        for finding in certified.report.findings.iter().filter(|f| f.verdict != wanted) {
            wrong.push(format!("the {name} source was judged {:?} where {wanted:?} is right", finding.verdict).to_lowercase());
        }
    }
    Ok(if wrong.is_empty() { SelfTestOutcome::Sound } else { SelfTestOutcome::Failed(wrong.join("; ")) })
}

fn embedded(name: &str, bytes: &[u8], runtime: Option<&Runtime>) -> Result<Model, EngineError> {
    let path = PathBuf::from(format!("<embedded>/canary-{name}.safetensors"));
    let options = LoadOptions { runtime: runtime.cloned(), ..LoadOptions::default() };
    let contents: Contents = bytes.to_vec().into();
    let imported = safetensors::load_held(&contents, &options).map_err(|e| EngineError::SelfTest(e.to_string()))?;
    let identity = ModelRef { path, format: Format::Safetensors, digest: Digest::of(bytes), bytes: bytes.len() as u64, files: Vec::new() };
    let model = Model::assemble(identity, imported, &contents.configuration, None, &options)?;
    if let Ok(extractor) = &model.runtime {
        extractor.call(&format!("the self-test's {name} source"));
    }
    Ok(model)
}
