//! One arm fine-tuned over seeds, and what every rule's probe sees of it.

mod features;
mod kept;
mod saved;
mod shams;
mod stage;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::saved::{Clock, Course};
use super::task::Task;
use super::wording::Step;
use super::{EngineError, Event, Settings, cache_keys};
use crate::exec::{self, Weights};
use crate::gate::Rule;
use crate::graph::Graph;
use crate::model::Model;
use crate::pixels::Frame;
use crate::plan::{Job, Plan, PlanError, Resolved, Tuning};
use crate::probe::{Arm, Basis, Column, Measurement, Outcome};
use crate::report::{Forwarded, Passage, Sheet, Stage, TrainingCurve};
use crate::store::{Cache, Digest, LIMIT, Rows};
use crate::transform::{PreparedTrigger, SHAM_DRAWS};
use crate::tune::{self, Epoch, Features, Mode, Recipe, Standard, TuneError};

use stage::{Done, timed};

/// A rule's change with its shams, ready to be applied.
struct Prepared<'a> {
    rule: &'a Rule,
    change: Option<(PreparedTrigger, Digest)>,
    shams: Vec<PreparedTrigger>,
    attribute: Option<&'a Column>,
}

impl Prepared<'_> {
    /// Whether fine-tunes (those that `serves` holds of) are measured by it, and if so under which shams.
    fn shams_for(&self, resolved: &Resolved, serves: impl Fn(Tuning) -> bool) -> Option<&[PreparedTrigger]> {
        let wanted = resolved.measured_with(self.rule, serves)?;
        Some(if wanted { &self.shams } else { &[] })
    }

    fn digest(&self) -> Option<&Digest> {
        self.change.as_ref().map(|(_, digest)| digest)
    }
}

/// Frozen features of one arm: made once, read by the heads of all seeds.
struct Frozen {
    standard: Standard,
    train: Features,
    test: Features,
    /// By rule that changes images: with the change, and under each sham.
    changed: BTreeMap<String, (Features, Vec<Features>)>,
}

/// All arms of a certification with what was measured so far.
pub(super) struct Bench<'a> {
    settings: &'a Settings<'a>,
    task: &'a Task,
    untrained: &'a [Model],
    stop: &'a (dyn Fn() -> bool + Sync),
    prepared: Vec<Prepared<'a>>,
    frozen: BTreeMap<Arm, Frozen>,
    measured: BTreeMap<(String, Tuning), Measurement>,
    seeds: BTreeMap<Tuning, usize>,
    /// How fine-tunes were trained, epoch by epoch: those that this run trained.
    courses: BTreeMap<Tuning, Vec<Vec<Epoch>>>,
    cache: Option<(&'a Cache, cache_keys::Shared)>,
    cached: usize,
    /// The rules whose shams were not needed so far, with the fine-tunes that are not shown them.
    spared: BTreeSet<(String, Tuning)>,
    /// Weights of fine-tunes that may be shown shams later, by seed.
    waiting: BTreeMap<(Tuning, usize), Rows>,
    /// Images (or their features) that went through a network so far.
    seen: Rc<Cell<u64>>,
    /// Images that went through whole networks.
    forwarded: Cell<Forwarded>,
}

impl<'a> Bench<'a> {
    /// `stop` is asked between steps: whether the user or the time limit ends the run.
    pub(super) fn new(
        settings: &'a Settings<'a>,
        (task, untrained): (&'a Task, &'a [Model]),
        stop: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Self, EngineError> {
        let resolved = settings.resolved;
        let policy = resolved.policy;
        let mut prepared = Vec::new();
        for rule in &policy.rules {
            let change = super::suits::change(policy, rule, [settings.model.input.height, settings.model.input.width])?;
            let with_sham = resolved.measured_with(rule, |_| true) == Some(true);
            let draws = if with_sham { SHAM_DRAWS } else { 0 };
            let seed = policy.seed.value();
            let shams = change.iter().flat_map(|trigger| (0..draws).map(move |draw| trigger.sham(draw, seed))).collect();
            let attribute = rule.probe.compared().and_then(|c| task.test_columns.iter().find(|column| column.name == c.attribute));
            let change = change.map(|trigger| {
                let digest = trigger.digest();
                (trigger, digest)
            });
            prepared.push(Prepared { rule, change, shams, attribute });
        }
        let cache = settings.cache.map(|cache| (cache, cache_keys::Shared::of(settings, [&task.views[0], &task.views[1]])));
        let tunings = resolved.fine_tunes.iter().map(|fine_tune| fine_tune.tuning);
        let of = |tuning: Tuning| resolved.sparing(tuning).map(move |question| (question.rule.id.clone(), tuning));
        Ok(Self {
            settings,
            task,
            untrained,
            stop,
            prepared,
            frozen: BTreeMap::new(),
            measured: BTreeMap::new(),
            seeds: BTreeMap::new(),
            courses: BTreeMap::new(),
            cache,
            cached: 0,
            spared: tunings.flat_map(of).collect(),
            waiting: BTreeMap::new(),
            seen: Rc::default(),
            forwarded: Cell::default(),
        })
    }

    /// What a rule's probe measured on an arm, if all seeds of the first look are there.
    pub(super) fn measurement(&self, plan: &Plan, rule: &str, tuning: Tuning) -> Option<&Measurement> {
        let job = plan.jobs.iter().find(|job| job.tuning == tuning)?;
        self.measured.get(&(rule.to_owned(), tuning)).filter(|measured| measured.outcomes.len() >= job.seeds.first)
    }

    /// What some rule's probe measured on fine-tunes: their clean predictions are the same for every rule.
    pub(super) fn any(&self, tuning: Tuning) -> Option<&Measurement> {
        self.measured.iter().filter(|((_, other), _)| *other == tuning).map(|(_, m)| m).max_by_key(|m| m.outcomes.len())
    }

    pub(super) fn into_measurements(self) -> Vec<Measurement> {
        self.measured.into_values().collect()
    }

    /// By rule that changes images: what is laid over them.
    pub(super) fn changes<T>(&self, told: impl Fn(&PreparedTrigger) -> T) -> BTreeMap<String, T> {
        let of = |p: &Prepared| Some((p.rule.id.clone(), told(&p.change.as_ref()?.0)));
        self.prepared.iter().filter_map(of).collect()
    }

    /// Fine-tunes that an earlier run had kept.
    pub(super) fn cached(&self) -> usize {
        self.cached
    }

    /// Fine-tunes with the seeds that ran.
    pub(super) fn ran(&self) -> Vec<(Tuning, usize)> {
        self.seeds.iter().map(|(&tuning, &seeds)| (tuning, seeds)).collect()
    }

    /// How fine-tunes were trained, by the name of their stage.
    pub(super) fn training(&self) -> BTreeMap<String, TrainingCurve> {
        self.courses.iter().filter_map(|(tuning, courses)| Some((self.name(*tuning), TrainingCurve::of(courses)?))).collect()
    }

    /// The name of fine-tunes, for people.
    fn name(&self, tuning: Tuning) -> String {
        self.step_name(Step::FineTune(tuning))
    }

    fn step_name(&self, step: Step) -> String {
        step.name(self.settings.resolved)
    }

    fn tuned<'b>(&'b self, tuning: Tuning, recipe: &'b Recipe, model: &'b Model, seed: usize) -> cache_keys::Tuned<'b> {
        let images = self.settings.resolved.views.get(tuning.view).and_then(Option::as_ref);
        cache_keys::Tuned { tuning, images, recipe, model, seed }
    }

    fn model(&self, arm: Arm) -> Result<&'a Model, EngineError> {
        match arm {
            Arm::Source | Arm::Scratch => Ok(self.settings.model),
            Arm::Untrained(at) => self.untrained.get(usize::from(at)).ok_or(EngineError::NoUntrained),
            Arm::Reference(at) => self.settings.references.get(usize::from(at)).copied().ok_or(EngineError::NoReference),
        }
    }

    /// Why a job cannot run, if it cannot: whatever trains needs a network of our own operators.
    pub(super) fn impossible(&self, job: &Job) -> Option<String> {
        // Networks of fresh weights are made of the source's graph.
        let of = if job.tuning.arm.is_fresh() { self.settings.model } else { self.model(job.tuning.arm).ok()? };
        let opaque = of.network.as_ref().err()?;
        let why = || format!("{}: the network cannot be trained here: {}", self.name(job.tuning), opaque.reason);
        (!self.settings.resolved.on_features(job.tuning) || job.tuning.arm.is_fresh()).then(why)
    }

    /// How many fine-tunes a job lacks at a look, beside those that an earlier run kept.
    pub(super) fn missing(&self, job: &Job, look: usize) -> usize {
        let done = self.seeds.get(&job.tuning).copied().unwrap_or(0);
        let recipe = self.settings.resolved.recipe(job.tuning);
        let kept = |seed: &usize| recipe.is_some_and(|recipe| self.kept(job.tuning, recipe, *seed).is_some());
        (done..job.seeds_at(look)).filter(|seed| !kept(seed)).count()
    }

    /// Predicted seconds to bring a job to the seeds of a look; what an earlier run kept costs nothing.
    pub(super) fn seconds_to(&self, job: &Job, look: usize) -> f64 {
        let arm = job.tuning.arm;
        let missing = self.missing(job, look);
        let once = if missing == 0 || self.all_features_kept(job.tuning) {
            0.0
        } else if self.frozen.contains_key(&arm) {
            let share = 1.0 / self.settings.resolved.sparing(job.tuning).count().max(1) as f64;
            share * job.shams.once * self.without_shams(arm).len() as f64
        } else {
            job.seconds.once
        };
        once + job.seconds.each * missing as f64
    }

    /// Brings a job to the seeds of a look.
    pub(super) fn fill(
        &mut self,
        job: &Job,
        look: usize,
        emit: &mut dyn FnMut(Event),
        stages: &mut BTreeMap<Step, Stage>,
    ) -> Result<(), EngineError> {
        let tuning = job.tuning;
        let Tuning { arm, mode, .. } = tuning;
        let first = self.seeds.get(&tuning).copied().unwrap_or(0);
        let seeds = job.seeds_at(look);
        if first >= seeds {
            return Ok(());
        }
        let recipe = self.settings.resolved.recipe(tuning).ok_or(PlanError::Recipe { arm, mode })?;
        let kept: BTreeMap<usize, Vec<(String, Outcome)>> =
            (first..seeds).filter_map(|seed| Some((seed, self.kept(tuning, recipe, seed)?))).collect();
        let missing: Vec<usize> = (first..seeds).filter(|seed| !kept.contains_key(seed)).collect();
        if self.settings.resolved.on_features(tuning) && !missing.is_empty() {
            self.make_ready(arm, emit, stages)?;
        }
        let summary = match kept.len() {
            0 => String::new(),
            all if missing.is_empty() => format!("{all} kept from an earlier run"),
            some => format!("{some} of {} kept from an earlier run", seeds - first),
        };
        let done = Done { summary, kept: kept.len() };
        let seen = Rc::clone(&self.seen);
        timed((Step::FineTune(tuning), self.name(tuning)), &seen, emit, stages, |emit| {
            for seed in first..seeds {
                let outcomes = if let Some(outcomes) = kept.get(&seed) {
                    self.cached += 1;
                    self.count_kept(tuning, recipe, seed);
                    outcomes.clone()
                } else {
                    let nth = missing.iter().take_while(|other| **other < seed).count();
                    let outcomes = self.outcomes(tuning, recipe, seed, (nth, missing.len()), emit)?;
                    self.keep(tuning, recipe, &outcomes, emit);
                    outcomes
                };
                for (rule, outcome) in outcomes {
                    self.record(&rule, tuning, outcome);
                }
                self.seeds.insert(tuning, seed + 1);
            }
            Ok(((), done))
        })?;
        Ok(())
    }

    /// The rules that measure fine-tunes, with the shams that these are shown.
    fn measuring(&self, tuning: Tuning) -> impl Iterator<Item = (&Prepared<'a>, &[PreparedTrigger])> {
        self.shown(move |other| other == tuning)
    }

    /// The rules that measure any of the fine-tunes that `serves` holds of, with the shams that these are shown: none where they are spared.
    fn shown(&self, serves: impl Fn(Tuning) -> bool + Copy) -> impl Iterator<Item = (&Prepared<'a>, &[PreparedTrigger])> {
        let resolved = self.settings.resolved;
        let of = move |p: &Prepared<'a>| {
            let spared = self.spared.iter().any(|(rule, tuning)| *rule == p.rule.id && serves(*tuning));
            p.shams_for(resolved, serves).map(|shams| if spared { 0 } else { shams.len() })
        };
        self.prepared.iter().filter_map(move |p| of(p).map(|shams| (p, &p.shams[..shams])))
    }

    fn record(&mut self, rule: &str, tuning: Tuning, outcome: Outcome) {
        let (task, resolved) = (self.task, self.settings.resolved);
        let prepared = self.prepared.iter().find(|prepared| prepared.rule.id == rule);
        let attribute = prepared.and_then(|prepared| prepared.attribute);
        let id = || prepared.map(|prepared| resolved.measurement_id(prepared.rule, tuning.arm, tuning.mode));
        let checkpoint = match tuning.arm {
            Arm::Source => Some(self.settings.model.identity.digest.clone()),
            Arm::Reference(at) => self.settings.references.get(usize::from(at)).map(|reference| reference.identity.digest.clone()),
            Arm::Scratch | Arm::Untrained(_) => None,
        };
        let [train, test] = &task.views;
        let basis = Basis { checkpoint, train: train.clone(), test: test.clone() };
        let entry = self.measured.entry((rule.to_owned(), tuning)).or_insert_with(|| Measurement {
            rule: rule.to_owned(),
            arm: tuning.arm,
            mode: tuning.mode,
            classes: task.classes.clone(),
            images: task.test_ids.clone(),
            labels: task.test_labels.clone(),
            clusters: task.test_clusters.clone(),
            attribute: attribute.cloned(),
            terms: id(),
            basis: Some(basis),
            outcomes: Vec::new(),
        });
        entry.outcomes.push(outcome);
    }

    /// Outcomes of one seed, the `nth` of `of` in this stage, for every rule that needs the job.
    fn outcomes(
        &mut self,
        tuning: Tuning,
        recipe: &Recipe,
        seed: usize,
        (nth, of): (usize, usize),
        emit: &mut dyn FnMut(Event),
    ) -> Result<Vec<(String, Outcome)>, EngineError> {
        let per_seed = (self.pool(tuning, seed)?.len() * recipe.epochs) as u64;
        if nth == 0 {
            emit(Event::StageStart { stage: self.name(tuning), total: Some(per_seed * of as u64), unit: "images" });
        }
        let fine_tuned = self.fine_tuned(tuning, recipe, seed, per_seed * nth as u64, emit)?;
        if let Some(course) = &fine_tuned.course {
            self.courses.entry(tuning).or_default().push(course.epochs.clone());
        }
        let see = |change: Option<(&Prepared, Option<usize>)>| self.predictions(&fine_tuned, tuning, change);
        let clean = see(None)?;
        self.save(tuning, seed, &fine_tuned, &clean, emit);
        let mut all = Vec::new();
        for (prepared, shams) in self.measuring(tuning) {
            let shams = (0..shams.len()).map(|draw| see(Some((prepared, Some(draw))))).collect::<Result<_, _>>()?;
            let changed = if prepared.change.is_some() { see(Some((prepared, None)))? } else { Vec::new() };
            all.push((prepared.rule.id.clone(), Outcome { seed, clean: clean.clone(), changed, shams }));
        }
        self.let_wait(tuning, seed, &fine_tuned)?;
        Ok(all)
    }

    /// The training images of a seed.
    fn pool(&self, tuning: Tuning, seed: usize) -> Result<Vec<usize>, TuneError> {
        let of_view = self.task.pools.get(tuning.view).ok_or(TuneError::Empty { images: 0 })?;
        Ok(tune::pool(of_view, &self.task.train_clusters, self.settings.resolved.policy.seed.value(), seed as u64))
    }

    /// The fine-tune of one seed: one that waits, or was kept by an earlier run, else trained. `seen`: images of this stage that went before.
    fn fine_tuned(
        &self,
        tuning: Tuning,
        recipe: &Recipe,
        seed: usize,
        mut seen: u64,
        emit: &mut dyn FnMut(Event),
    ) -> Result<FineTuned, EngineError> {
        let Tuning { arm, mode, .. } = tuning;
        let pool = self.pool(tuning, seed)?;
        let (streams, classes) = ((self.settings.resolved.policy.seed.value(), seed as u64), self.task.classes.len());
        let model = self.model(arm)?;
        let frozen = self.frozen.get(&arm).filter(|_| self.settings.resolved.on_features(tuning));
        let (graph, slots) = if frozen.is_some() {
            (tune::head_graph(model.feature_layer.width, classes)?, None)
        } else {
            let (graph, weight, bias) = model.with_head(classes)?;
            (graph, Some([weight.0, bias.0]))
        };
        if let Some(weights) = self.waited(tuning, seed, &graph)? {
            return Ok(FineTuned { graph, weights, course: None });
        }
        let mut clock = Clock::start();
        let mut tick = |images: usize| {
            clock.step();
            seen += images as u64;
            emit(Event::Progress { done: seen });
            if frozen.is_some() { self.step(images) } else { self.pass(arm, Passage::Trained, images) }
        };
        let head = tune::fresh_head(model.feature_layer.width, classes, streams.0, streams.1);
        if let Some(frozen) = frozen {
            let task = tune::TrainingSet { feed: &frozen.train, labels: &self.task.train_labels, pool: &pool };
            let start = Weights::on(self.settings.compute, &head)?;
            let (weights, epochs) = tune::train(&graph, start, &[true, true], &task, recipe, streams, &mut tick)?;
            return Ok(FineTuned { graph, weights, course: Some(clock.of(epochs)) });
        }
        let tuned = self.tuned(tuning, recipe, model, seed);
        let kept = if self.shows_course(tuning) { None } else { self.kept_weights(&tuned, &graph)? };
        if let Some(weights) = kept {
            self.count(arm, Passage::Kept, pool.len() * recipe.epochs);
            return Ok(FineTuned { graph, weights, course: None });
        }
        let network = model.own()?;
        let mut arrays = match arm {
            Arm::Scratch => tune::fresh_weights(&network.trunk, &network.params.0, streams.0, streams.1),
            Arm::Source | Arm::Untrained(_) | Arm::Reference(_) => network.params.0.clone(),
        };
        arrays.extend(head);
        let images = self.task.train.seen_by(&model.input);
        let feed = images.plain();
        let task = tune::TrainingSet { feed: &feed, labels: &self.task.train_labels, pool: &pool };
        let mut trains = exec::trainable(&graph);
        if let (Mode::FixedFeature, Some(head)) = (mode, slots) {
            trains.iter_mut().enumerate().filter(|(slot, _)| !head.contains(slot)).for_each(|(_, trains)| *trains = false);
        }
        let start = Weights::on(self.settings.compute, &arrays)?;
        let (weights, epochs) = tune::train(&graph, start, &trains, &task, recipe, streams, &mut tick)?;
        let course = Some(clock.of(epochs));
        self.keep_weights(&tuned, &weights, emit)?;
        Ok(FineTuned { graph, weights, course })
    }

    /// What a fine-tune calls the test images: as they are, or under a rule's trigger or one of its shams.
    fn predictions(
        &self,
        FineTuned { graph, weights, .. }: &FineTuned,
        tuning: Tuning,
        change: Option<(&Prepared, Option<usize>)>,
    ) -> Result<Vec<u16>, EngineError> {
        let arm = tuning.arm;
        let missing = || EngineError::Tune(TuneError::NoFeatures);
        let on_features = self.settings.resolved.on_features(tuning);
        if let Some(frozen) = self.frozen.get(&arm).filter(|_| on_features) {
            let of_rule = |prepared: &Prepared| frozen.changed.get(&prepared.rule.id);
            let features = match change {
                None => Some(&frozen.test),
                Some((prepared, None)) => of_rule(prepared).map(|(changed, _)| changed),
                Some((prepared, Some(draw))) => of_rule(prepared).and_then(|(_, shams)| shams.get(draw)),
            };
            return Ok(tune::predictions(graph, weights, features.ok_or_else(missing)?, &mut |images| self.step(images))?);
        }
        let test = self.task.test.seen_by(&self.model(arm)?.input);
        let trigger = match change {
            None => None,
            Some((prepared, None)) => Some(prepared.change.as_ref().map(|(trigger, _)| trigger).ok_or_else(missing)?),
            Some((prepared, Some(draw))) => Some(prepared.shams.get(draw).ok_or_else(missing)?),
        };
        let apply = |frame: &mut Frame| {
            if let Some(trigger) = trigger {
                trigger.apply(frame);
            }
        };
        let feed = if trigger.is_some() { test.changed(&apply) } else { test.plain() };
        Ok(tune::predictions(graph, weights, &feed, &mut |images| self.pass(arm, Passage::Evaluated, images))?)
    }

    /// Counts images that went through a network, and says whether to go on.
    fn step(&self, images: usize) -> bool {
        self.seen.set(self.seen.get() + images as u64);
        !(self.stop)()
    }

    /// The same of a whole network.
    fn pass(&self, arm: Arm, passage: Passage, images: usize) -> bool {
        self.count(arm, passage, images);
        self.step(images)
    }

    /// The first image of every class, at most four: as it is, with the trigger, under each sham.
    pub(super) fn sheets(&self) -> Result<Vec<Sheet>, TuneError> {
        const ROWS: usize = 4;
        let firsts = (0..self.task.classes.len() as u16).filter_map(|class| self.task.test_labels.iter().position(|label| *label == class));
        let samples: Vec<usize> = firsts.take(ROWS).collect();
        let row = |(trigger, shams): (&PreparedTrigger, &[PreparedTrigger]), i: usize| {
            let frame = self.task.test.frame(i)?;
            let under = |trigger: &PreparedTrigger| {
                let mut frame = frame.clone();
                trigger.apply(&mut frame);
                frame
            };
            let changed = std::iter::once(trigger).chain(shams).map(under);
            Ok(std::iter::once(frame.clone()).chain(changed).collect())
        };
        let sheet = |p: &Prepared| {
            let (trigger, _) = p.change.as_ref()?;
            let rows = samples.iter().map(|&i| row((trigger, &p.shams), i)).collect::<Result<_, TuneError>>();
            Some(rows.map(|rows| Sheet { rule: p.rule.id.clone(), rows }))
        };
        self.prepared.iter().filter_map(sheet).collect()
    }
}

/// A finished fine-tune: a head, or a whole network.
struct FineTuned {
    graph: Graph,
    weights: Weights,
    /// How training went; none where the weights were there.
    course: Option<Course>,
}

/// Bytes of the features of one arm that are kept for later runs: a quarter of what the folder holds, so that they do not drive out
/// everything else.
const MOST_KEPT: u64 = LIMIT / 4;
/// Bytes of the weights of one fine-tune that are kept for later runs.
const MOST_WEIGHTS: u64 = LIMIT / 128;
