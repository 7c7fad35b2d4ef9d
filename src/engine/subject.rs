//! One arm fine-tuned over seeds, and what every rule's probe sees of it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{EngineError, Event, Settings, Task, features_name, kept, stage_name};
use crate::exec::{self, Weights};
use crate::gate::{Control, Rule};
use crate::graph::Graph;
use crate::model::Model;
use crate::pixels::Frame;
use crate::plan::{self, Job, Plan};
use crate::probe::{Arm, Measurement, Outcome, Probe};
use crate::report::Sheet;
use crate::store::{Cache, Digest};
use crate::transform::{PreparedTrigger, SHAM_DRAWS};
use crate::tune::{self, Features, Feed, Mode, Raw, Recipe, Standard, TuneError};

/// A rule's trigger with its shams, ready to be applied.
struct Prepared<'a> {
    rule: &'a Rule,
    trigger: PreparedTrigger,
    digest: Digest,
    shams: Vec<PreparedTrigger>,
}

impl Prepared<'_> {
    /// Whether a job measures it, and if so under which shams.
    fn shams_for(&self, job: &Job) -> Option<&[PreparedTrigger]> {
        let mut modes = self.rule.modes.iter().filter(|mode| job.serves(self.rule, **mode)).peekable();
        modes.peek()?;
        let wanted = job.arm == Arm::Source && modes.any(|mode| self.rule.controls_for(*mode).contains(&Control::Sham));
        Some(if wanted { &self.shams } else { &[] })
    }
}

/// Frozen features of one arm: made once, read by the heads of all seeds.
struct Frozen {
    train: Features,
    test: Features,
    /// By rule: with the trigger, and under each sham.
    changed: BTreeMap<String, (Features, Vec<Features>)>,
}

/// All arms of a certification with what was measured so far.
pub(super) struct Bench<'a> {
    settings: &'a Settings<'a>,
    task: &'a Task,
    stop: &'a (dyn Fn() -> bool + Sync),
    prepared: Vec<Prepared<'a>>,
    frozen: BTreeMap<Arm, Frozen>,
    measured: BTreeMap<(String, Arm, Mode), Measurement>,
    seeds: BTreeMap<(Arm, Mode), usize>,
    cache: Option<(&'a Cache, kept::Shared)>,
    cached: usize,
}

impl<'a> Bench<'a> {
    /// `stop` is asked between steps: whether the user or the time limit ends the run.
    pub(super) fn new(settings: &'a Settings<'a>, task: &'a Task, stop: &'a (dyn Fn() -> bool + Sync)) -> Result<Self, EngineError> {
        let policy = settings.policy;
        let [height, width] = [settings.model.input.height, settings.model.input.width];
        let mut prepared = Vec::new();
        for rule in &policy.file.rules {
            let Probe::Backdoor(probe) = &rule.probe;
            let trigger = PreparedTrigger::new(&probe.trigger, &policy.base, height, width)?;
            let with_sham = rule.modes.iter().any(|mode| rule.controls_for(*mode).contains(&Control::Sham));
            let draws = if with_sham { SHAM_DRAWS } else { 0 };
            let shams = (0..draws).map(|draw| trigger.sham(draw, policy.file.seed)).collect();
            prepared.push(Prepared { rule, digest: trigger.digest(), trigger, shams });
        }
        let cache = settings.cache.map(|cache| (cache, kept::Shared::of(settings, [&task.views[0], &task.views[1]])));
        let (frozen, measured, seeds) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { settings, task, stop, prepared, frozen, measured, seeds, cache, cached: 0 })
    }

    /// What a rule's probe measured on an arm, if all seeds of the first look are there.
    pub(super) fn measurement(&self, plan: &Plan, rule: &str, arm: Arm, mode: Mode) -> Option<&Measurement> {
        let job = plan.jobs.iter().find(|job| job.arm == arm && job.mode == mode)?;
        self.measured.get(&(rule.to_owned(), arm, mode)).filter(|measured| measured.outcomes.len() >= job.seeds.first)
    }

    pub(super) fn into_measurements(self) -> Vec<Measurement> {
        self.measured.into_values().collect()
    }

    /// Fine-tunes that an earlier run had kept.
    pub(super) fn cached(&self) -> usize {
        self.cached
    }

    /// Arms and modes with the seeds that ran.
    pub(super) fn ran(&self) -> Vec<(Arm, Mode, usize)> {
        self.seeds.iter().map(|(&(arm, mode), &seeds)| (arm, mode, seeds)).collect()
    }

    fn model(&self, arm: Arm) -> Result<&'a Model, EngineError> {
        match arm {
            Arm::Source | Arm::Scratch => Ok(self.settings.model),
            Arm::Reference => self.settings.reference.ok_or(EngineError::NoReference),
        }
    }

    /// Predicted seconds to bring a job to the seeds of a look; what an earlier run kept costs nothing.
    pub(super) fn seconds_to(&self, job: &Job, look: usize) -> f64 {
        let done = self.seeds.get(&(job.arm, job.mode)).copied().unwrap_or(0);
        let recipe = plan::recipe(self.settings.policy, job.arm, job.mode);
        let kept = |seed: &usize| recipe.is_some_and(|recipe| self.kept(job, recipe, *seed).is_some());
        let missing = (done..job.seeds_at(look)).filter(|seed| !kept(seed)).count();
        let once = if missing == 0 || self.frozen.contains_key(&job.arm) { 0.0 } else { job.once };
        once + job.each * missing as f64
    }

    /// Brings a job to the seeds of a look.
    pub(super) fn fill(
        &mut self,
        job: &Job,
        look: usize,
        emit: &mut dyn FnMut(Event),
        stages: &mut BTreeMap<String, f64>,
    ) -> Result<(), EngineError> {
        let (arm, mode) = (job.arm, job.mode);
        let done = self.seeds.get(&(arm, mode)).copied().unwrap_or(0);
        let seeds = job.seeds_at(look);
        if done >= seeds {
            return Ok(());
        }
        let recipe = plan::recipe(self.settings.policy, arm, mode).ok_or(plan::PlanError::Recipe { rule: String::new(), arm, mode })?;
        let kept: BTreeMap<usize, Vec<(String, Outcome)>> =
            (done..seeds).filter_map(|seed| Some((seed, self.kept(job, recipe, seed)?))).collect();
        let missing: Vec<usize> = (done..seeds).filter(|seed| !kept.contains_key(seed)).collect();
        if mode == Mode::FixedFeature && !missing.is_empty() && !self.frozen.contains_key(&arm) {
            let name = features_name(arm);
            let frozen = timed(&name, String::new(), emit, stages, |emit| self.extract(job, emit))?;
            self.frozen.insert(arm, frozen);
        }
        let summary = match kept.len() {
            0 => String::new(),
            all if missing.is_empty() => format!("{all} kept from an earlier run"),
            some => format!("{some} of {} kept from an earlier run", seeds - done),
        };
        timed(&stage_name(arm, mode), summary, emit, stages, |emit| {
            for seed in done..seeds {
                let outcomes = if let Some(outcomes) = kept.get(&seed) {
                    self.cached += 1;
                    outcomes.clone()
                } else {
                    let nth = missing.iter().take_while(|other| **other < seed).count();
                    let outcomes = self.outcomes(job, recipe, seed, (nth, missing.len()), emit)?;
                    self.keep(job, recipe, &outcomes, emit);
                    outcomes
                };
                for (rule, outcome) in outcomes {
                    self.record(&rule, arm, mode, outcome);
                }
                self.seeds.insert((arm, mode), seed + 1);
            }
            Ok(())
        })
    }

    /// The outcomes of a seed that an earlier run kept, if it kept those of every rule.
    fn kept(&self, job: &Job, recipe: &Recipe, seed: usize) -> Option<Vec<(String, Outcome)>> {
        let (cache, shared) = self.cache.as_ref()?;
        let model = self.model(job.arm).ok()?;
        let rules = self.prepared.iter().filter_map(|prepared| Some((prepared, prepared.shams_for(job)?.len())));
        let find = |(prepared, shams): (&Prepared, usize)| {
            let key = shared.key((job, recipe), model, (&prepared.digest, shams), seed)?;
            Some((prepared.rule.id.clone(), kept::outcome(cache, &key)?))
        };
        rules.map(find).collect()
    }

    /// Keeps the outcomes of a seed for later runs.
    fn keep(&self, job: &Job, recipe: &Recipe, outcomes: &[(String, Outcome)], emit: &mut dyn FnMut(Event)) {
        let (Some((cache, shared)), Ok(model)) = (&self.cache, self.model(job.arm)) else { return };
        for (rule, outcome) in outcomes {
            let Some(prepared) = self.prepared.iter().find(|prepared| prepared.rule.id == *rule) else { continue };
            let Some(key) = shared.key((job, recipe), model, (&prepared.digest, outcome.shams.len()), outcome.seed) else { continue };
            if let Err(error) = kept::keep(cache, &key, outcome) {
                emit(Event::Warning(format!("this fine-tune is not kept for later runs: {error}")));
            }
        }
    }

    fn record(&mut self, rule: &str, arm: Arm, mode: Mode, outcome: Outcome) {
        let task = self.task;
        let entry = self.measured.entry((rule.to_owned(), arm, mode)).or_insert_with(|| Measurement {
            rule: rule.to_owned(),
            arm,
            mode,
            classes: task.classes.clone(),
            images: task.test_ids.clone(),
            labels: task.test_labels.clone(),
            clusters: task.test_clusters.clone(),
            outcomes: Vec::new(),
        });
        entry.outcomes.push(outcome);
    }

    /// Outcomes of one seed, the `nth` of `of` in this stage, for every rule that needs the job.
    fn outcomes(
        &self,
        job: &Job,
        recipe: &Recipe,
        seed: usize,
        (nth, of): (usize, usize),
        emit: &mut dyn FnMut(Event),
    ) -> Result<Vec<(String, Outcome)>, EngineError> {
        let (arm, mode) = (job.arm, job.mode);
        let policy = self.settings.policy;
        let pool = tune::pool(&self.task.train_clusters, policy.file.seed, seed as u64);
        let per_seed = (pool.len() * recipe.epochs) as u64;
        if nth == 0 {
            emit(Event::StageStart { stage: stage_name(arm, mode), total: Some(per_seed * of as u64), unit: "pictures" });
        }
        let mut seen = per_seed * nth as u64;
        let stop = self.stop;
        let mut tick = |pictures: usize| {
            seen += pictures as u64;
            emit(Event::Progress { done: seen });
            !stop()
        };
        let (streams, classes) = ((policy.file.seed, seed as u64), self.task.classes.len());
        let model = self.model(arm)?;
        let head = tune::fresh_head(model.cut.width, classes, streams.0, streams.1);
        if let (Mode::FixedFeature, Some(frozen)) = (mode, self.frozen.get(&arm)) {
            let graph = tune::head_graph(model.cut.width, classes)?;
            let task = tune::Task { feed: &frozen.train, labels: &self.task.train_labels, pool: &pool };
            let start = Weights::on(self.settings.compute, &head)?;
            let (weights, _) = tune::train(&graph, start, &[true, true], &task, recipe, streams, &mut tick)?;
            let predict = |feed: &Features| self.predict(&graph, &weights, feed);
            let clean = predict(&frozen.test)?;
            let mut all = Vec::new();
            for (rule, (changed, shams)) in &frozen.changed {
                let shams = shams.iter().map(predict).collect::<Result<_, _>>()?;
                all.push((rule.clone(), Outcome { seed, clean: clean.clone(), changed: predict(changed)?, shams }));
            }
            return Ok(all);
        }
        let (graph, _, _) = model.with_head(classes)?;
        let mut arrays = match arm {
            Arm::Scratch => tune::fresh_weights(&model.trunk, &model.params.0, streams.0, streams.1),
            Arm::Source | Arm::Reference => model.params.0.clone(),
        };
        arrays.extend(head);
        let feed = self.task.train.plain();
        let task = tune::Task { feed: &feed, labels: &self.task.train_labels, pool: &pool };
        let trains = exec::trainable(&graph);
        let (weights, _) = tune::train(&graph, Weights::on(self.settings.compute, &arrays)?, &trains, &task, recipe, streams, &mut tick)?;
        self.look_at(&graph, &weights, job, seed)
    }

    fn predict(&self, graph: &Graph, weights: &Weights, feed: &dyn Feed) -> Result<Vec<u16>, TuneError> {
        tune::predictions(graph, weights, feed, &mut |_| !(self.stop)())
    }

    /// Predictions of a fully trained network for every rule.
    fn look_at(&self, graph: &Graph, weights: &Weights, job: &Job, seed: usize) -> Result<Vec<(String, Outcome)>, EngineError> {
        let test = &self.task.test;
        let clean = self.predict(graph, weights, &test.plain())?;
        let mut all = Vec::new();
        for prepared in &self.prepared {
            let Some(shams) = prepared.shams_for(job) else { continue };
            let under = |trigger: &PreparedTrigger| self.predict(graph, weights, &test.changed(&|frame: &mut Frame| trigger.apply(frame)));
            let shams = shams.iter().map(under).collect::<Result<_, _>>()?;
            all.push((prepared.rule.id.clone(), Outcome { seed, clean: clean.clone(), changed: under(&prepared.trigger)?, shams }));
        }
        Ok(all)
    }

    /// The first picture of every class, at most four: as it is, with the trigger, under each sham.
    pub(super) fn sheets(&self) -> Result<Vec<Sheet>, TuneError> {
        const ROWS: usize = 4;
        let firsts = (0..self.task.classes.len() as u16).filter_map(|class| self.task.test_labels.iter().position(|label| *label == class));
        let samples: Vec<usize> = firsts.take(ROWS).collect();
        let row = |prepared: &Prepared, i: usize| {
            let frame = self.task.test.frame(i)?;
            let under = |trigger: &PreparedTrigger| {
                let mut frame = frame.clone();
                trigger.apply(&mut frame);
                frame
            };
            let changed = std::iter::once(&prepared.trigger).chain(&prepared.shams).map(under);
            Ok(std::iter::once(frame.clone()).chain(changed).collect())
        };
        let sheet = |p: &Prepared| {
            let rows = samples.iter().map(|&i| row(p, i)).collect::<Result<_, TuneError>>()?;
            Ok(Sheet { rule: p.rule.id.clone(), rows })
        };
        self.prepared.iter().map(sheet).collect()
    }

    /// Features of every picture, clean and changed.
    fn extract(&self, job: &Job, emit: &mut dyn FnMut(Event)) -> Result<Frozen, EngineError> {
        let model = self.model(job.arm)?;
        let weights = Weights::on(self.settings.compute, &model.params.0)?;
        let rules: Vec<_> = self.prepared.iter().filter_map(|p| Some((p, p.shams_for(job)?))).collect();
        let passes: usize = rules.iter().map(|(_, shams)| 1 + shams.len()).sum();
        let total = self.task.train.len() + self.task.test.len() * (1 + passes);
        emit(Event::StageStart { stage: features_name(job.arm), total: Some(total as u64), unit: "pictures" });
        let (mut done, stop) = (0u64, self.stop);
        let mut extract = |feed: &dyn Feed| -> Result<Raw, TuneError> {
            Raw::extract(&model.trunk, &weights, feed, self.settings.room, &mut |pictures| {
                done += pictures as u64;
                emit(Event::Progress { done });
                !stop()
            })
        };
        let train = extract(&self.task.train.plain())?;
        let standard = Standard::of(&train).map_err(TuneError::from)?;
        let test = Features::new(extract(&self.task.test.plain())?, &standard);
        let mut changed = BTreeMap::new();
        for (prepared, shams) in rules {
            let mut under = |trigger: &PreparedTrigger| {
                let change = |frame: &mut Frame| trigger.apply(frame);
                extract(&self.task.test.changed(&change)).map(|features| Features::new(features, &standard))
            };
            let triggered = under(&prepared.trigger)?;
            let shams = shams.iter().map(under).collect::<Result<_, _>>()?;
            changed.insert(prepared.rule.id.clone(), (triggered, shams));
        }
        Ok(Frozen { train: Features::new(train, &standard), test, changed })
    }
}

/// Runs a stage, announces its end and notes its seconds.
fn timed<T>(
    name: &str,
    summary: String,
    emit: &mut dyn FnMut(Event),
    stages: &mut BTreeMap<String, f64>,
    work: impl FnOnce(&mut dyn FnMut(Event)) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let clock = Instant::now();
    let result = work(emit)?;
    let seconds = clock.elapsed().as_secs_f64();
    *stages.entry(name.to_owned()).or_insert(0.0) += seconds;
    emit(Event::StageEnd { stage: name.to_owned(), summary, seconds });
    Ok(result)
}
