//! One certification, look by look.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::Instant;

use super::counts::{counts, remarks};
use super::event::Event;
use super::facts::{from_cache, ranked, self_test_facts, spent, tool};
use super::pending::{CLOSINGS, Missing, Pending};
use super::saved::Saver;
use super::settings::{Certified, Settings};
use super::task::Task;
use super::wording::{self, Step, describe, stage_name};
use super::{EngineError, accuracy, agree, reference, subject, untrained, waivers};
use crate::data::TargetData;
use crate::exec;
use crate::gate::{self, ConcludeTerms};
use crate::model::{Bypass, Model};
use crate::plan::{self, MachineProfile, Tuning};
use crate::report::{self, BrokenImage, Executor, JobFacts, ModelFacts, PlanFacts, Report, Run, SCHEMA, TargetFacts, ViewFacts};
use crate::store::Cache;
use crate::tune::TuneError;

/// What came of work that may be stopped, or fail by itself.
enum Came {
    Through,
    Interrupted,
    /// The time does not suffice.
    Late,
    Failed(String),
}

/// What one arm cannot do voids what rests on it, and the others go on; an error is what ends the run.
fn came(result: Result<(), EngineError>, stop: &(dyn Fn() -> bool + Sync)) -> Result<Came, EngineError> {
    match result {
        Ok(()) => Ok(Came::Through),
        Err(EngineError::Tune(TuneError::Stopped)) if stop() => Ok(Came::Interrupted),
        Err(EngineError::Tune(TuneError::Stopped)) => Ok(Came::Late),
        // What ONNX Runtime would have given is not known: no control is left out for that.
        Err(EngineError::Tune(error)) if error.is_end() => Err(error.into()),
        Err(EngineError::Tune(error)) => Ok(Came::Failed(error.to_string())),
        Err(other) => Err(other),
    }
}

/// Does work that needs so many seconds, if they are left.
fn within(left: Option<f64>, needed: f64, work: impl FnOnce() -> Result<(), EngineError>) -> Result<(), EngineError> {
    if left.is_some_and(|left| needed > left.max(0.0)) { Err(EngineError::Tune(TuneError::Stopped)) } else { work() }
}

/// Says why something is left out. What would come on top is no reason where the first did not fit.
fn left_out(missing: &mut BTreeMap<Tuning, Missing>, tuning: Tuning, reason: String, emit: &mut dyn FnMut(Event)) {
    if let Entry::Vacant(place) = missing.entry(tuning) {
        emit(Event::Warning(reason.clone()));
        place.insert(Missing::NotRun(reason));
    }
}

/// Runs every look until all findings are settled, and concludes.
pub(crate) fn run(
    settings: &Settings,
    data: &TargetData,
    profile: &MachineProfile,
    emit: &mut dyn FnMut(Event),
) -> Result<Certified, EngineError> {
    let clock = Instant::now();
    let Settings { resolved, model, .. } = settings;
    let policy = resolved.policy;
    // What was read before, by the self-test, is no part of what is judged.
    let _ = settings.cache.map(Cache::take_read);
    let plan = plan::plan(resolved, &counts(resolved, data.facts())?, profile)?;
    emit(Event::Fact { topic: "plan", text: describe(&plan, settings.cache.is_some()) });
    let mut warnings = remarks(resolved, data.facts(), &plan.counts);
    warnings.extend(settings.compute.note().map(str::to_owned));
    warnings.extend(settings.model.input.warnings());
    warnings.extend(waivers::of_weights(policy, &model.identity));
    // What the policy says of the input holds for all.
    for reference in settings.references {
        let name = reference.identity.name();
        warnings.extend(reference.input.warnings().iter().map(|warning| format!("the reference {name}: {warning}")));
        warnings.extend(reference::resized_otherwise(reference, model));
    }
    let task = Task::open(resolved, data, model, settings.budget)?;
    // Each by itself: what saves fine-tunes is of one thread, and whether to stop is asked from others too.
    let (most_seconds, asked) = (settings.max_seconds, settings.stop);
    let late = || most_seconds.is_some_and(|most| clock.elapsed().as_secs_f64() >= most);
    let stop = || asked() || late();
    let agreement = agree::check(model, &task.train)?;
    emit(Event::Fact { topic: "executor", text: agree::fact(model, agreement.as_ref()) });
    for reference in settings.references {
        agree::check(reference, &task.train.seen_by(&reference.input))?;
    }
    let untrained = untrained::models(settings, &task)?;
    let mut bench = subject::Bench::new(settings, (&task, &untrained), &stop)?;
    let mut stages = BTreeMap::new();
    let bypass = model.bypass();
    warnings.extend(bypass.as_ref().map(Bypass::remark));
    warnings.extend(model.not_searched());
    warnings.extend(without_batch_norm(settings));
    let references = reference::facts(settings.references, &settings.resolved.policy.file.references, model);
    let mut pending = Pending::new(resolved, bypass.as_ref().map(Bypass::reason), &references);
    let mut missing: BTreeMap<Tuning, Missing> = BTreeMap::new();
    let views = &resolved.views;
    'looks: for look in [1, 2] {
        let mut through = BTreeSet::new();
        for job in &plan.jobs {
            if pending.needs(job)
                && let Some(reason) = bench.impossible(job)
            {
                missing.insert(job.tuning, Missing::Impossible(reason));
            } else if pending.needs(job) {
                let left = settings.max_seconds.map(|most| most - clock.elapsed().as_secs_f64());
                let needed = bench.seconds_to(job, look);
                let result = within(left, needed, || bench.fill(job, look, emit, &mut stages));
                let name = stage_name(views, job.tuning);
                match came(result, settings.stop)? {
                    Came::Through => {}
                    Came::Interrupted => break 'looks,
                    Came::Late => {
                        let reason =
                            wording::late(&name, look, (bench.missing(job, look), job.seeds_at(look)), needed, settings.cache.is_some());
                        left_out(&mut missing, job.tuning, reason, emit);
                    }
                    Came::Failed(error) => {
                        missing.insert(job.tuning, Missing::Failed(format!("{name}: {error}")));
                    }
                }
            }
            through.insert(job.tuning);
            loop {
                let measured = |rule: &str, tuning| {
                    // What failed on the way to a second look is no first look: which seeds fail may hang on what they show.
                    if let Some(failed @ Missing::Failed(_)) = missing.get(&tuning) {
                        return Err(failed.clone());
                    }
                    bench.measurement(&plan, rule, tuning).ok_or_else(|| {
                        let unknown = || Missing::Failed(format!("{} was not measured", stage_name(views, tuning)));
                        missing.get(&tuning).cloned().unwrap_or_else(unknown)
                    })
                };
                let asking = pending.judge(look, &through, &measured, emit);
                if asking.is_empty() {
                    break;
                }
                for at in asking {
                    let Some((question, job)) = plan.of_source(resolved, at) else { continue };
                    let needed = bench.seconds_under_shams(question, job);
                    let left = settings.max_seconds.map(|most| most - clock.elapsed().as_secs_f64());
                    let result = within(left, needed, || bench.show_shams(at, emit, &mut stages));
                    let name = Step::Shams(at).name(resolved);
                    match came(result, settings.stop)? {
                        Came::Through => {}
                        Came::Interrupted => break 'looks,
                        Came::Late => {
                            left_out(&mut missing, job.tuning, wording::late_shams(&name, needed, settings.cache.is_some()), emit);
                        }
                        Came::Failed(error) => {
                            missing.insert(job.tuning, Missing::Failed(format!("{name}: {error}")));
                        }
                    }
                }
            }
            bench.forget(&|tuning| !pending.may_ask(tuning));
        }
    }
    let (accuracy, doubts) = accuracy::of(settings, &task, &bench, emit)?;
    for doubt in &doubts {
        emit(Event::Warning(doubt.clone()));
    }
    warnings.extend(doubts);
    let interrupted = (settings.stop)();
    let [by_user, by_time] = CLOSINGS;
    let findings = pending.close(if interrupted { by_user } else { by_time });
    let left_out = missing.values().map(|missing| missing.reason().to_owned()).collect();
    let conclusion = gate::conclude(
        findings,
        &ConcludeTerms {
            self_test: settings.self_test.clone(),
            waivers: &policy.file.waivers,
            today: settings.today,
            model: &model.identity.digest,
            fail_on: policy.file.fail_on,
            report_only: false,
            interrupted,
        },
    );
    warnings.sort();
    let ran = bench.ran();
    let spent = spent(resolved, &plan, &stages);
    let report = Report {
        schema: SCHEMA,
        tool: tool(settings.compute),
        run: Run {
            started: report::utc(settings.started),
            seconds: clock.elapsed().as_secs_f64(),
            threads: rayon::current_num_threads(),
            stages: stages.into_iter().map(|(step, stage)| (step.name(resolved), stage)).collect(),
            training: bench.training(),
            cached: bench.cached(),
            images_forwarded: Some(bench.forwarded()),
            findings: conclusion.findings.iter().map(|f| (f.id(), f.seconds + spent.get(&f.id()).copied().unwrap_or(0.0))).collect(),
            from_cache: settings.cache.map(Cache::take_read).unwrap_or_default().into_iter().map(from_cache).collect(),
            provenance: None,
            judged_again: None,
        },
        model: ModelFacts { executor: Executor { agreement, ..ModelFacts::from(*model).executor }, ..(*model).into() },
        references: references.clone(),
        policy: policy.into(),
        target: Some(TargetFacts {
            data: policy.file.target.data.to_string(),
            source: Some(policy.file.target.data.clone()),
            classes: data.classes.clone(),
            accuracy: policy.file.target.accuracy,
            train: ViewFacts { images: data.train.len(), digest: data.train.digest().clone() },
            test: ViewFacts { images: data.test.len(), digest: data.test.digest().clone() },
        }),
        changes: bench.changes(|trigger| trigger.provenance().to_owned()),
        triggers: bench.changes(|trigger| trigger.identity().clone()),
        plan: PlanFacts {
            jobs: ran
                .into_iter()
                .map(|(tuning, seeds)| JobFacts {
                    stage: stage_name(views, tuning),
                    arm: tuning.arm,
                    mode: tuning.mode,
                    seeds,
                    images: plan.counts.views.get(tuning.view).copied().unwrap_or(plan.counts.train) + plan.counts.test,
                })
                .collect(),
            left_out,
        },
        self_test: self_test_facts(&settings.self_test),
        exit_code: i32::from(conclusion.exit.code()),
        summary: String::new(),
        findings: ranked(policy, conclusion.findings),
        accuracy,
        waivers: policy.file.waivers.clone(),
        notes: conclusion.notes,
        warnings,
        broken: data.broken.iter().map(|b| BrokenImage { id: b.id.clone(), reason: b.reason.clone() }).collect(),
        measurements: None,
        sheets: Vec::new(),
        report_only: settings.report_only,
    };
    let summary = report.counts();
    let sheets = if settings.samples { bench.sheets()? } else { Vec::new() };
    let saved = settings.saver.map(Saver::saved).unwrap_or_default();
    Ok(Certified { report: Report { summary, ..report }, measurements: bench.into_measurements(), sheets, saved })
}

/// Where a policy asks for batch norm in training mode, and a network has none.
fn without_batch_norm(settings: &Settings) -> Vec<String> {
    let asked = settings.resolved.policy.file.transfer.fixed_feature.as_ref().is_some_and(|recipe| !recipe.on_features());
    let networks = std::iter::once(settings.model).chain(settings.references.iter().copied()).filter(|_| asked);
    let without = networks.filter(|model| model.own().is_ok_and(|network| !exec::has_batch_norm(&network.trunk)));
    let warning = |model: &Model| {
        format!(
            "`batch_norm: train`: {} has no batch norm, or one that was merged into other layers, so that every step passes the backbone for nothing",
            model.identity.name()
        )
    };
    without.map(warning).collect()
}
