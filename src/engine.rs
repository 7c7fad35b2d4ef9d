//! Runs a certification and reports through events: the only module that orchestrates.
//!
//! `subject` fine-tunes and measures the arms, `pending` judges what rests on them, `cache_keys` says what is
//! kept for the next run, `profile` measures the machine, `agree` compares the executors, `self_test` is the embedded one.

mod accuracy;
mod agree;
mod cache_keys;
mod error;
mod pending;
mod profile;
mod reference;
mod rejudge;
mod self_test;
mod subject;
mod suits;
mod waivers;
mod wording;

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::Instant;

use crate::data::{self, Facts, TargetData};
use crate::diag;
use crate::exec::Compute;
use crate::gate::{self, ConcludeTerms, Finding, SelfTestOutcome};
use crate::model::{Bypass, Model};
use crate::plan::{self, Counts, MachineProfile, Plan, Resolved, Tuning};
use crate::policy::Policy;
use crate::probe::groups::Groups;
use crate::probe::{Column, Measurement, Probe, ProbeError};
use crate::report::{
    self, Agreement, BrokenImage, Executor, JobFacts, ModelFacts, PlanFacts, Report, Run, SCHEMA, SelfTest, SelfTestStatus, Sheet, Stage,
    TargetFacts, Tool, ViewFacts,
};
use crate::store::{Cache, Digest, MemoryBudget};
use crate::tune::{Images, Mode, TuneError};

use pending::{Missing, Pending};

pub use error::EngineError;
pub(crate) use profile::{footprint, profile};
pub(crate) use reference::{ReferenceError, fits, is_pinned, reference};
pub use rejudge::rejudge;
pub(crate) use self_test::check as check_self_test;
pub(crate) use suits::{check, check_changes};
pub(crate) use waivers::WaiverError;
pub use wording::{KEPT, duration, stage_name};
use wording::{Step, describe};

/// What happens while a certification runs; `cli` renders it, nothing else prints.
#[derive(Clone, Debug)]
pub enum Event {
    /// A one-line fact about the run (`features`, `cut at ... [N, 64]`).
    Fact {
        /// What it is about.
        topic: &'static str,
        /// The fact.
        text: String,
    },
    /// A stage begins (`self-test`, `features`, `heads`, `full-network source`).
    StageStart {
        /// Its name.
        stage: String,
        /// Units of work, where known.
        total: Option<u64>,
        /// What a unit is (`images`).
        unit: &'static str,
    },
    /// Work done in the current stage.
    Progress {
        /// Units done so far.
        done: u64,
    },
    /// The current stage ended.
    StageEnd {
        /// Its name.
        stage: String,
        /// Result in a few words.
        summary: String,
        /// Seconds it took.
        seconds: f64,
    },
    /// A finding was judged for good.
    Judged(Box<Finding>),
    /// Something the user should know that does not stop the run.
    Warning(String),
}

/// What a certification is run with.
pub(crate) struct Settings<'a> {
    /// The policy, with what it asks for.
    pub resolved: &'a Resolved<'a>,
    /// The checkpoint under test.
    pub model: &'a Model,
    /// The trusted checkpoint, where the policy names one.
    pub reference: Option<&'a Model>,
    /// Today, `YYYY-MM-DD`: for waivers.
    pub today: &'a str,
    /// Start, seconds since 1970 (UTC).
    pub started: i64,
    /// Verdicts never change the exit code.
    pub report_only: bool,
    /// Seconds that may be spent.
    pub max_seconds: Option<f64>,
    /// Where images and features may be kept.
    pub budget: &'a MemoryBudget,
    /// Whether sample images are wanted.
    pub samples: bool,
    /// Where networks are computed.
    pub compute: &'a Compute,
    /// Where finished fine-tunes are kept, if they are.
    pub cache: Option<&'a Cache>,
    /// How the embedded pair was judged.
    pub self_test: SelfTestOutcome,
    /// Asked between steps: whether to stop now.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// A report with the outcomes it rests on.
pub struct Certified {
    /// The report.
    pub report: Report,
    /// Outcomes per rule, arm and mode.
    pub measurements: Vec<Measurement>,
    /// Sample images per rule, where wanted.
    pub sheets: Vec<Sheet>,
}

/// The target task of a policy at a model's resolution. A reference sees the same images in its own way ([`Images::seen_by`]).
pub(crate) struct Task {
    classes: Vec<String>,
    train: Images,
    train_labels: Vec<u16>,
    train_clusters: Vec<u32>,
    test: Images,
    test_ids: Vec<String>,
    test_labels: Vec<u16>,
    test_clusters: Vec<u32>,
    /// Attributes of the test images that rules compare by.
    test_columns: Vec<Column>,
    /// The training images of each of [`plan::Resolved::views`].
    pools: Vec<Vec<usize>>,
    /// Digests of the training and the test view.
    views: [Digest; 2],
}

impl Task {
    fn open(resolved: &Resolved, data: &TargetData, model: &Model, budget: &MemoryBudget) -> Result<Self, EngineError> {
        let policy = resolved.policy;
        let labels = |set: &data::Dataset| set.records().iter().map(|r| r.label as u16).collect();
        Ok(Self {
            classes: data.classes.clone(),
            train: Images::open(&data.train, &model.input, budget)?,
            train_labels: labels(&data.train),
            train_clusters: data.train.clusters().to_vec(),
            test: Images::open(&data.test, &model.input, budget)?,
            test_ids: data.test.records().iter().map(|r| r.id.clone()).collect(),
            test_labels: labels(&data.test),
            test_clusters: data.test.clusters().to_vec(),
            test_columns: policy.rules.iter().filter_map(|rule| Some(column(data.facts(), rule.probe.compared()?.attribute))).collect(),
            pools: pools(resolved, data.facts())?,
            views: [data.train.digest().clone(), data.test.digest().clone()],
        })
    }
}

/// An attribute of the test images.
fn column(data: Facts, name: &str) -> Column {
    Column::of(name, data.test.iter().map(|record| &record.attributes))
}

/// The training images of each of [`plan::Resolved::views`].
fn pools(resolved: &Resolved, data: Facts) -> Result<Vec<Vec<usize>>, EngineError> {
    let policy = resolved.policy;
    let pool = |view: &Option<data::Rebalance>| match view {
        None => Ok((0..data.train.len()).collect()),
        Some(rebalance) => rebalance.of(data.train, data.classes, policy.file.seed).map_err(|source| {
            let rule = policy.rules.iter().find(|rule| rule.probe.rebalance().as_ref() == Some(rebalance));
            let rule = rule.map(|rule| rule.id.clone()).unwrap_or_default();
            EngineError::Asked { at: policy.limit_origin(&rule).to_string(), rule, source }
        }),
    };
    resolved.views.iter().map(pool).collect()
}

/// How much data a policy's target has; a class that is not there and an attribute that no groups can be made of are refused here, before anything runs.
pub(crate) fn counts(resolved: &Resolved, data: Facts) -> Result<Counts, EngineError> {
    let policy = resolved.policy;
    let test = data.test_clusters;
    let test_clusters = test.iter().max().map_or(0, |last| *last as usize + 1);
    let labels: Vec<u16> = data.test.iter().map(|r| r.label as u16).collect();
    let mut worth = BTreeMap::new();
    for rule in &policy.rules {
        let named = || (rule.id.clone(), policy.limit_origin(&rule.id).to_string());
        let refused = |reason: ProbeError| {
            let (rule, at) = named();
            EngineError::Rule { rule, at, reason }
        };
        if let Some(name) = rule.probe.named_classes().find(|name| !data.classes.contains(name)) {
            return Err(refused(ProbeError::UnknownClass { name: name.clone(), classes: data.classes.join(", ") }));
        }
        if let Probe::Spurious(probe) = &rule.probe
            && !probe.on.is_empty()
        {
            let chosen = |label: &u16| data.classes.get(usize::from(*label)).is_some_and(|name| probe.on.contains(name));
            let clusters: BTreeSet<u32> = labels.iter().zip(test).filter(|(label, _)| chosen(label)).map(|(_, at)| *at).collect();
            worth.insert(rule.id.clone(), clusters.len());
        }
        let Some(compared) = rule.probe.compared() else { continue };
        data.has_attribute(compared.attribute).map_err(|source| {
            let (rule, at) = named();
            EngineError::Asked { rule, at, source }
        })?;
        let groups = Groups::of((&labels, test), &column(data, compared.attribute), &compared, None).map_err(refused)?;
        worth.insert(rule.id.clone(), groups.effective(rule.estimand(), test));
    }
    let views = pools(resolved, data)?.iter().map(Vec::len).collect();
    Ok(Counts { train: data.train.len(), test: data.test.len(), test_clusters, classes: data.classes.len(), views, worth })
}

/// What a user should know of a policy's data before anything runs: where they are not what the policy makes one expect.
pub(crate) fn remarks(resolved: &Resolved, data: Facts, counts: &Counts) -> Vec<String> {
    let mut remarks = data.warnings.to_vec();
    for (view, images) in resolved.views.iter().zip(&counts.views) {
        // Equally many of every group: a few less than asked for are rounding.
        if let Some(view) = view
            && let Some(limit) = view.limit.filter(|limit| 10 * images < 9 * limit)
        {
            remarks.push(format!("{view}: the groups give {images} training images, not {limit}"));
        }
    }
    remarks.extend(unknown(resolved, data).into_iter().flatten().map(|(_, remark)| remark));
    remarks
}

/// Attributes, each with a remark on it.
type Remarked = Vec<(String, String)>;

/// Of the attributes that rules compare, and of those that they balance by: of how many images the value is not known, and what comes of it.
pub(crate) fn unknown(resolved: &Resolved, data: Facts) -> [Remarked; 2] {
    let lacking = |set: &[data::Record], name: &str| (set.iter().filter(|record| record.value(name).is_none()).count(), set.len());
    let compared: BTreeSet<&str> = resolved.policy.rules.iter().filter_map(|rule| Some(rule.probe.compared()?.attribute)).collect();
    let test = compared.into_iter().filter_map(|name| {
        let remark = data::unknown(name, lacking(data.test, name), "test", "they are in no group")?;
        Some((name.to_owned(), remark))
    });
    let balanced: BTreeSet<&str> = resolved.views.iter().flatten().map(|view| view.attribute.as_str()).collect();
    let train = balanced.into_iter().filter_map(|name| {
        let remark = data::unknown(name, lacking(data.train, name), "training", "the probe `debiased` leaves them out")?;
        Some((name.to_owned(), remark))
    });
    [test.collect(), train.collect()]
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
    let plan = plan::plan(resolved, &counts(resolved, data.facts())?, profile)?;
    emit(Event::Fact { topic: "plan", text: describe(&plan, settings.cache.is_some()) });
    let mut warnings = remarks(resolved, data.facts(), &plan.counts);
    warnings.extend(settings.compute.note().map(str::to_owned));
    warnings.extend(settings.model.input.warnings());
    warnings.extend(waivers::of_weights(policy, &model.identity));
    // What the policy says of the input holds for both.
    if let Some(reference) = settings.reference {
        let name = reference.identity.name();
        warnings.extend(reference.input.warnings().iter().map(|warning| format!("the reference {name}: {warning}")));
        warnings.extend(reference::resized_otherwise(reference, model));
    }
    let task = Task::open(resolved, data, model, settings.budget)?;
    let late = || settings.max_seconds.is_some_and(|most| clock.elapsed().as_secs_f64() >= most);
    let stop = || (settings.stop)() || late();
    let agreement = agree::check(model, &task.train)?;
    emit(Event::Fact { topic: "executor", text: executor_fact(model, agreement.as_ref()) });
    if let Some(reference) = settings.reference {
        agree::check(reference, &task.train.seen_by(&reference.input))?;
    }
    let mut bench = subject::Bench::new(settings, &task, &stop)?;
    let mut stages = BTreeMap::new();
    let bypass = model.bypass();
    warnings.extend(bypass.as_ref().map(Bypass::remark));
    warnings.extend(model.not_searched());
    let mut pending = Pending::new(resolved, bypass.as_ref().map(Bypass::reason));
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

/// Natural features of one rule, the largest effect first: which of many it is, is what such a rule asks. All else stays in the order of
/// the policy.
fn ranked(policy: &Policy, findings: Vec<Finding>) -> Vec<Finding> {
    let written = |finding: &Finding| match policy.rules.iter().find(|rule| rule.id == finding.rule).map(|rule| &rule.probe) {
        Some(Probe::Natural(_)) => policy.written(&finding.rule),
        _ => None,
    };
    let effect = |f: &Finding| f.comparisons.iter().filter_map(|c| c.excess.as_ref()).map(|e| e.value).fold(f64::INFINITY, f64::min);
    let mut all: Vec<Finding> = Vec::with_capacity(findings.len());
    let mut rest = findings.into_iter().peekable();
    while let Some(first) = rest.next() {
        let of = written(&first);
        let mut group = vec![first];
        while let Some(next) = rest.next_if(|next| of.is_some() && written(next) == of) {
            group.push(next);
        }
        let finite = |f: &Finding| if effect(f).is_finite() { effect(f) } else { f64::NEG_INFINITY };
        group.sort_by(|a, b| a.mode.cmp(&b.mode).then(finite(b).total_cmp(&finite(a))));
        all.append(&mut group);
    }
    all
}

/// What makes reports on a device.
pub(crate) fn tool(compute: &Compute) -> Tool {
    Tool {
        name: "heirloom".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        instruction_set: crate::exec::instruction_set().into(),
        device: compute.name().into(),
        precision: compute.precision(),
    }
}

/// Which executor computes the frozen network, and how far the other one is from it.
fn executor_fact(model: &Model, agreement: Option<&Agreement>) -> String {
    match (agreement, &model.runtime) {
        (Some(Agreement { difference, images, rounding }), _) => {
            let held = rounding.map(|own| format!(", as far as its numbers carry ({own:.0e} from float64)")).unwrap_or_default();
            format!("{} and heirloom agree to {difference:.0e} on {}{held}", model.executor(), diag::count(*images, "image"))
        }
        (None, Err(reason)) => format!("heirloom ({reason})"),
        (None, Ok(_)) => format!("{}; what trains cannot be computed", model.executor()),
    }
}

/// Compares the executors of a model on images of its target task, where there are two: what to tell the user.
pub(crate) fn executors(model: &Model, data: &TargetData) -> Result<String, EngineError> {
    let few: Vec<usize> = (0..data.train.len().min(agree::IMAGES)).collect();
    let first = || Images::open(&data.train.subset(&few), &model.input, &MemoryBudget::boundless());
    let agreement = if model.network.is_ok() { agree::check(model, &first()?)? } else { None };
    Ok(executor_fact(model, agreement.as_ref()))
}

/// Seconds that each finding's fine-tunes took; findings that share a job share its time.
fn spent(resolved: &Resolved, plan: &Plan, stages: &BTreeMap<Step, Stage>) -> BTreeMap<String, f64> {
    let mut spent = BTreeMap::new();
    for job in &plan.jobs {
        let served: Vec<_> = resolved.served_by(job.tuning).collect();
        let features = (job.tuning.mode == Mode::FixedFeature).then_some(Step::Features(job.tuning.arm));
        let steps = features.into_iter().chain([Step::FineTune(job.tuning)]);
        let seconds: f64 = steps.filter_map(|step| stages.get(&step)).map(|stage| stage.seconds).sum();
        for question in &served {
            *spent.entry(question.id()).or_insert(0.0) += seconds / served.len() as f64;
        }
    }
    spent
}

fn self_test_facts(outcome: &SelfTestOutcome) -> SelfTest {
    let (status, detail) = match outcome {
        SelfTestOutcome::Sound => (SelfTestStatus::Passed, "planted source caught, clean source passed".to_owned()),
        SelfTestOutcome::Failed(why) => (SelfTestStatus::Failed, why.clone()),
        SelfTestOutcome::NotRun(why) => (SelfTestStatus::NotRun, why.clone()),
    };
    SelfTest { status, detail }
}
