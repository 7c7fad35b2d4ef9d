//! One certification, look by look.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::Instant;

use super::counts::{counts, remarks};
use super::event::Event;
use super::facts::{ranked, self_test_facts, spent, tool};
use super::pending::{Missing, Pending};
use super::settings::{Certified, Settings};
use super::task::Task;
use super::wording::{self, describe, stage_name};
use super::{EngineError, accuracy, agree, reference, subject, untrained, waivers};
use crate::data::TargetData;
use crate::gate::{self, ConcludeTerms};
use crate::model::Bypass;
use crate::plan::{self, MachineProfile, Tuning};
use crate::report::{self, BrokenImage, Executor, JobFacts, ModelFacts, PlanFacts, Report, Run, SCHEMA, TargetFacts, ViewFacts};
use crate::tune::TuneError;

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
    let late = || settings.max_seconds.is_some_and(|most| clock.elapsed().as_secs_f64() >= most);
    let stop = || (settings.stop)() || late();
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
    let references = reference::facts(settings.references, model);
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
                let result = match left {
                    Some(left) if needed > left.max(0.0) => Err(EngineError::Tune(TuneError::Stopped)),
                    _ => bench.fill(job, look, emit, &mut stages),
                };
                let name = stage_name(views, job.tuning);
                match result {
                    Ok(()) => {}
                    Err(EngineError::Tune(TuneError::Stopped)) if (settings.stop)() => break 'looks,
                    Err(EngineError::Tune(TuneError::Stopped)) => {
                        let reason =
                            wording::late(&name, look, (bench.missing(job, look), job.seeds_at(look)), needed, settings.cache.is_some());
                        // What a second look would take on top is no reason where the first did not fit.
                        if let Entry::Vacant(place) = missing.entry(job.tuning) {
                            emit(Event::Warning(reason.clone()));
                            place.insert(Missing::NotRun(reason));
                        }
                    }
                    // What ONNX Runtime would have given is not known: no control is left out for that.
                    Err(EngineError::Tune(error)) if error.is_end() => return Err(error.into()),
                    // What one arm cannot do voids what rests on it; the others go on.
                    Err(EngineError::Tune(error)) => {
                        missing.insert(job.tuning, Missing::Failed(format!("{name}: {error}")));
                    }
                    Err(other) => return Err(other),
                }
            }
            through.insert(job.tuning);
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
            pending.judge(look, &through, &measured, emit);
        }
    }
    let (accuracy, doubts) = accuracy::of(settings, &task, &bench, emit)?;
    for doubt in &doubts {
        emit(Event::Warning(doubt.clone()));
    }
    warnings.extend(doubts);
    let interrupted = (settings.stop)();
    let findings = pending.close(if interrupted { "the run was interrupted" } else { "the run ended before it was judged" });
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
            stages: stages.into_iter().map(|(step, stage)| (step.name(views), stage)).collect(),
            cached: bench.cached(),
            findings: conclusion.findings.iter().map(|f| (f.id(), f.seconds + spent.get(&f.id()).copied().unwrap_or(0.0))).collect(),
        },
        model: ModelFacts { executor: Executor { agreement, ..ModelFacts::from(*model).executor }, ..(*model).into() },
        references: references.clone(),
        policy: policy.into(),
        target: Some(TargetFacts {
            data: policy.file.target.data.to_string(),
            source: Some(policy.file.target.data.clone()),
            classes: data.classes.clone(),
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
    Ok(Certified { report: Report { summary, ..report }, measurements: bench.into_measurements(), sheets })
}
