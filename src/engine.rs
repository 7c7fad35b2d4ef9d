//! Runs a certification and reports through events: the only module that orchestrates.
//!
//! `subject` fine-tunes and measures one arm, `canary` is the embedded self-test.

mod canary;
mod rejudge;
mod subject;

use std::collections::BTreeMap;
use std::time::Instant;

use thiserror::Error;

use crate::data::{self, DataError, TargetData};
use crate::gate::{self, CanaryOutcome, ConcludeTerms, Control, Finding, Rule, Terms, Verdict};
use crate::graph::GraphError;
use crate::model::{Model, ModelError};
use crate::plan::{self, Counts, Plan, PlanError, Speed};
use crate::policy::Policy;
use crate::probe::{Arm, Measurement};
use crate::report::{self, BrokenPicture, Canary, CanaryStatus, JobFacts, PlanFacts, Report, Run, SCHEMA, Tool};
use crate::transform::TransformError;
use crate::tune::{Mode, Pictures, TuneError};

pub use canary::check as check_canary;
pub use rejudge::rejudge;
pub use subject::measure_speed;

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
    /// A stage begins (`canary`, `features`, `heads`, `full-network source`).
    StageStart {
        /// Its name.
        stage: String,
        /// Units of work, where known.
        total: Option<u64>,
        /// What a unit is (`pictures`).
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
pub struct Settings<'a> {
    /// The policy.
    pub policy: &'a Policy,
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
    /// How the embedded pair was judged.
    pub canary: CanaryOutcome,
    /// Asked between steps: whether to stop now.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// A report with the outcomes it rests on.
pub struct Certified {
    /// The report.
    pub report: Report,
    /// Outcomes per rule, arm and mode.
    pub measurements: Vec<Measurement>,
}

/// The target task of a policy at a model's resolution.
pub(crate) struct Task {
    classes: Vec<String>,
    train: Pictures,
    train_labels: Vec<u16>,
    train_clusters: Vec<u32>,
    test: Pictures,
    test_ids: Vec<String>,
    test_labels: Vec<u16>,
    test_clusters: Vec<u32>,
}

impl Task {
    fn open(data: &TargetData, model: &Model) -> Result<Self, DataError> {
        let labels = |set: &data::Dataset| set.records().iter().map(|r| r.label as u16).collect();
        Ok(Self {
            classes: data.classes.clone(),
            train: Pictures::open(&data.train, &model.input)?,
            train_labels: labels(&data.train),
            train_clusters: clusters(&data.train),
            test: Pictures::open(&data.test, &model.input)?,
            test_ids: data.test.records().iter().map(|r| r.id.clone()).collect(),
            test_labels: labels(&data.test),
            test_clusters: clusters(&data.test),
        })
    }
}

/// Clusters numbered in the order of their first picture.
fn clusters(set: &data::Dataset) -> Vec<u32> {
    let mut numbers = BTreeMap::new();
    let number = |record: &data::Record| {
        let next = numbers.len() as u32;
        *numbers.entry(record.cluster.clone()).or_insert(next)
    };
    set.records().iter().map(number).collect()
}

/// How much data a policy's target has.
pub fn counts(data: &TargetData) -> Counts {
    let test_clusters = clusters(&data.test).into_iter().max().map_or(0, |last| last as usize + 1);
    Counts { train: data.train.len(), test: data.test.len(), test_clusters, classes: data.classes.len() }
}

/// A finding that waits for its verdict.
struct Open<'a> {
    rule: &'a Rule,
    mode: Mode,
    decided: Option<Finding>,
}

/// Runs every look until all findings are decided, and concludes.
pub fn run(settings: &Settings, data: &TargetData, speed: Speed, emit: &mut dyn FnMut(Event)) -> Result<Certified, EngineError> {
    let clock = Instant::now();
    let Settings { policy, model, .. } = settings;
    let plan = plan::plan(policy, counts(data), speed)?;
    emit(Event::Fact { topic: "plan", text: describe(&plan) });
    let mut warnings = data.warnings.clone();
    let task = Task::open(data, model)?;
    let total = plan.findings.len();
    let mut open: Vec<Open> = plan::pairs(policy).map(|(rule, mode)| Open { rule, mode, decided: None }).collect();
    let mut bench = subject::Bench::new(settings, &task)?;
    let mut stages = BTreeMap::new();
    let mut interrupted = false;
    'looks: for look in [1, 2] {
        for job in &plan.jobs {
            let needed = |o: &&Open| o.decided.is_none() && o.mode == job.mode && plan::arms(o.rule, o.mode).contains(&job.arm);
            if !open.iter().any(|o| needed(&o)) {
                continue;
            }
            let seeds = if look == 1 { job.seeds.first } else { job.seeds.most };
            let left = settings.max_seconds.map(|most| most - clock.elapsed().as_secs_f64());
            let predicted = job.once + job.each * seeds as f64;
            if left.is_some_and(|left| look == 1 && predicted > left || left <= 0.0) {
                for waiting in open.iter_mut().filter(|o| needed(&&**o)) {
                    waiting.decided = Some(not_run(policy, waiting, look, predicted));
                }
                continue;
            }
            match bench.fill(job.arm, job.mode, seeds, emit, &mut stages) {
                Ok(()) => {}
                Err(EngineError::Tune(TuneError::Stopped)) => {
                    interrupted = true;
                    break 'looks;
                }
                // What one arm cannot do voids the findings that need it; the others go on.
                Err(EngineError::Tune(error)) => {
                    for waiting in open.iter_mut().filter(|o| needed(&&**o)) {
                        let reason = format!("{:?} arm: {error}", job.arm).to_lowercase();
                        waiting.decided = Some(without_numbers(policy, waiting, look, Verdict::Error, reason));
                    }
                }
                Err(other) => return Err(other),
            }
        }
        for waiting in open.iter_mut().filter(|o| o.decided.is_none()) {
            let seeds = Plan::looks(policy, waiting.mode);
            let only_look = seeds.most <= seeds.first;
            let terms = Terms { findings: total, look, final_look: only_look || look == 2, policy_seed: policy.file.seed };
            let finding = judge(policy, &bench, waiting, &terms);
            if finding.verdict != Verdict::Inconclusive || terms.final_look {
                emit(Event::Judged(Box::new(finding.clone())));
                waiting.decided = Some(finding);
            }
        }
    }
    let findings = open
        .iter_mut()
        .map(|o| match o.decided.take() {
            Some(finding) => finding,
            None => without_numbers(policy, o, 1, Verdict::Inconclusive, "the run was interrupted".into()),
        })
        .collect();
    let conclusion = gate::conclude(
        findings,
        &ConcludeTerms {
            canary: settings.canary.clone(),
            waivers: &policy.file.waivers,
            today: settings.today,
            model: &model.identity.digest.0,
            fail_on: policy.file.fail_on,
            report_only: false,
            interrupted,
        },
    );
    warnings.sort();
    let ran = bench.ran();
    let report = Report {
        schema: SCHEMA,
        tool: Tool {
            name: "heirloom".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            instruction_set: crate::exec::instruction_set().into(),
        },
        run: Run {
            started: report::utc(settings.started),
            seconds: clock.elapsed().as_secs_f64(),
            threads: rayon::current_num_threads(),
            stages,
            findings: conclusion.findings.iter().map(|f| (f.id(), f.seconds)).collect(),
        },
        model: (*model).into(),
        policy: (*policy).into(),
        plan: PlanFacts {
            jobs: ran
                .into_iter()
                .map(|(arm, mode, seeds)| JobFacts {
                    stage: stage_name(arm, mode),
                    arm,
                    mode,
                    seeds,
                    images: plan.counts.train + plan.counts.test,
                })
                .collect(),
            left_out: Vec::new(),
        },
        canary: canary_facts(&settings.canary),
        exit_code: i32::from(conclusion.exit.code()),
        summary: String::new(),
        findings: conclusion.findings,
        waivers: policy.file.waivers.clone(),
        notes: conclusion.notes,
        warnings,
        broken: data.broken.iter().map(|b| BrokenPicture { id: b.id.clone(), reason: b.reason.clone() }).collect(),
        measurements: None,
        report_only: settings.report_only,
    };
    let summary = report.counts();
    Ok(Certified { report: Report { summary, ..report }, measurements: bench.into_measurements() })
}

fn describe(plan: &Plan) -> String {
    let c = plan.counts;
    format!(
        "{} findings, {} + {} pictures ({} clusters), about {} (up to {} if a second look is needed)",
        plan.findings.len(),
        c.train,
        c.test,
        c.test_clusters,
        duration(plan.seconds[0]),
        duration(plan.seconds[1])
    )
}

/// Seconds for people.
pub fn duration(seconds: f64) -> String {
    match seconds.round() as u64 {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        s => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

pub(crate) fn stage_name(arm: Arm, mode: Mode) -> String {
    let arm = format!("{arm:?}").to_lowercase();
    match mode {
        _ if arm == "scratch" => "from scratch".into(),
        Mode::FixedFeature => format!("{arm}, fixed features"),
        Mode::FullNetwork => format!("{arm}, full network"),
    }
}

fn canary_facts(outcome: &CanaryOutcome) -> Canary {
    let (status, detail) = match outcome {
        CanaryOutcome::Sound => (CanaryStatus::Passed, "planted source caught, clean source passed".to_owned()),
        CanaryOutcome::Failed(why) => (CanaryStatus::Failed, why.clone()),
        CanaryOutcome::NotRun(why) => (CanaryStatus::NotRun, why.clone()),
    };
    Canary { status, detail }
}

fn judge(policy: &Policy, bench: &subject::Bench, open: &Open, terms: &Terms) -> Finding {
    let clock = Instant::now();
    let origin = policy.limit_origin(&open.rule.id);
    let Some(source) = bench.measurement(&open.rule.id, Arm::Source, open.mode) else {
        return without_numbers(policy, open, terms.look, Verdict::Error, "the source arm was not measured".into());
    };
    let controls: Vec<_> = open
        .rule
        .controls_for(open.mode)
        .iter()
        .map(|&control| {
            let arm = match control {
                Control::Sham => return (control, None, None),
                Control::Scratch => Arm::Scratch,
                Control::Reference => Arm::Reference,
            };
            let measured = bench.measurement(&open.rule.id, arm, open.mode);
            let missing = measured.is_none().then(|| format!("the {} arm was not measured", control.name()));
            (control, measured, missing)
        })
        .collect();
    let mut finding = gate::judge(open.rule, open.mode, &origin, source, &controls, terms);
    finding.seconds = clock.elapsed().as_secs_f64();
    finding
}

fn not_run(policy: &Policy, open: &Open, look: usize, predicted: f64) -> Finding {
    let reason = format!("it does not fit --max-time: about {} are needed", duration(predicted));
    without_numbers(policy, open, look, Verdict::Inconclusive, reason)
}

fn without_numbers(policy: &Policy, open: &Open, look: usize, verdict: Verdict, reason: String) -> Finding {
    Finding::without_numbers(open.rule, open.mode, policy.limit_origin(&open.rule.id), look, verdict, reason)
}

/// Why a certification cannot be run at all.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The plan refuses.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A fine-tune failed.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// A trigger cannot be prepared.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// A model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A graph cannot be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The embedded self-test cannot be read.
    #[error("the embedded self-test cannot be run: {0}")]
    Canary(String),
    /// A rule needs the reference, and none was given.
    #[error("a rule compares with `reference`, and the policy names no reference model")]
    NoReference,
}

impl From<crate::exec::ExecError> for EngineError {
    fn from(error: crate::exec::ExecError) -> Self {
        EngineError::Tune(error.into())
    }
}
