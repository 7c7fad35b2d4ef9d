//! One arm fine-tuned over seeds, and what every rule's probe sees of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use candle_core::Tensor;

use super::{EngineError, Event, Settings, Task, features_name, kept, stage_name};
use crate::exec::{self, Weights};
use crate::gate::{Control, Rule};
use crate::graph::Graph;
use crate::model::Model;
use crate::pixels::Frame;
use crate::plan::{self, Job, Plan};
use crate::probe::{Arm, Measurement, Outcome, Probe};
use crate::report::{Sheet, Stage};
use crate::store::{self, Cache, Digest, Key, LIMIT};
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
    /// Pictures that went through a network so far.
    seen: Rc<Cell<u64>>,
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
        Ok(Self { settings, task, stop, prepared, frozen, measured, seeds, cache, cached: 0, seen: Rc::default() })
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

    /// Why a job cannot run, if it cannot: whatever trains needs a network of our own operators.
    pub(super) fn impossible(&self, job: &Job) -> Option<String> {
        let opaque = self.model(job.arm).ok()?.network.as_ref().err()?;
        let why = || format!("{}: the network cannot be trained here: {}", stage_name(job.arm, job.mode), opaque.reason);
        (job.mode == Mode::FullNetwork).then(why)
    }

    /// Predicted seconds to bring a job to the seeds of a look; what an earlier run kept costs nothing.
    pub(super) fn seconds_to(&self, job: &Job, look: usize) -> f64 {
        let done = self.seeds.get(&(job.arm, job.mode)).copied().unwrap_or(0);
        let recipe = plan::recipe(self.settings.policy, job.arm, job.mode);
        let kept = |seed: &usize| recipe.is_some_and(|recipe| self.kept(job, recipe, *seed).is_some());
        let missing = (done..job.seeds_at(look)).filter(|seed| !kept(seed)).count();
        let once = if missing == 0 || self.frozen.contains_key(&job.arm) || self.all_features_kept(job) { 0.0 } else { job.once };
        once + job.each * missing as f64
    }

    /// Brings a job to the seeds of a look.
    pub(super) fn fill(
        &mut self,
        job: &Job,
        look: usize,
        emit: &mut dyn FnMut(Event),
        stages: &mut BTreeMap<String, Stage>,
    ) -> Result<(), EngineError> {
        let (arm, mode) = (job.arm, job.mode);
        let first = self.seeds.get(&(arm, mode)).copied().unwrap_or(0);
        let seeds = job.seeds_at(look);
        if first >= seeds {
            return Ok(());
        }
        let recipe = plan::recipe(self.settings.policy, arm, mode).ok_or(plan::PlanError::Recipe { rule: String::new(), arm, mode })?;
        let kept: BTreeMap<usize, Vec<(String, Outcome)>> =
            (first..seeds).filter_map(|seed| Some((seed, self.kept(job, recipe, seed)?))).collect();
        let missing: Vec<usize> = (first..seeds).filter(|seed| !kept.contains_key(seed)).collect();
        if mode == Mode::FixedFeature && !missing.is_empty() && !self.frozen.contains_key(&arm) {
            let name = features_name(arm);
            let seen = Rc::clone(&self.seen);
            let frozen = timed(&name, &seen, emit, stages, |emit| self.extract(job, emit))?;
            self.frozen.insert(arm, frozen);
        }
        let summary = match kept.len() {
            0 => String::new(),
            all if missing.is_empty() => format!("{all} kept from an earlier run"),
            some => format!("{some} of {} kept from an earlier run", seeds - first),
        };
        let done = Done { summary, kept: kept.len() };
        let seen = Rc::clone(&self.seen);
        timed(&stage_name(arm, mode), &seen, emit, stages, |emit| {
            for seed in first..seeds {
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
            Ok(((), done))
        })?;
        Ok(())
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
            let name = format!("{}, {}, {rule}, seed {}", model.identity.name(), stage_name(job.arm, job.mode), outcome.seed);
            if let Err(error) = kept::keep(cache, &key, &name, outcome) {
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
        let mut tick = |pictures: usize| {
            seen += pictures as u64;
            emit(Event::Progress { done: seen });
            self.step(pictures)
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
        let network = model.own()?;
        let mut arrays = match arm {
            Arm::Scratch => tune::fresh_weights(&network.trunk, &network.params.0, streams.0, streams.1),
            Arm::Source | Arm::Reference => network.params.0.clone(),
        };
        arrays.extend(head);
        let feed = self.task.train.plain();
        let task = tune::Task { feed: &feed, labels: &self.task.train_labels, pool: &pool };
        let trains = exec::trainable(&graph);
        let (weights, _) = tune::train(&graph, Weights::on(self.settings.compute, &arrays)?, &trains, &task, recipe, streams, &mut tick)?;
        self.look_at(&graph, &weights, job, seed)
    }

    /// Counts pictures that went through a network, and says whether to go on.
    fn step(&self, pictures: usize) -> bool {
        self.seen.set(self.seen.get() + pictures as u64);
        !(self.stop)()
    }

    fn predict(&self, graph: &Graph, weights: &Weights, feed: &dyn Feed) -> Result<Vec<u16>, TuneError> {
        tune::predictions(graph, weights, feed, &mut |pictures| self.step(pictures))
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

    /// Every view of the pictures that the heads of a job are shown: under no trigger or one, and as which entry it is kept.
    fn views<'b>(&'b self, job: &Job) -> Vec<(&'b str, Option<&'b PreparedTrigger>)> {
        let rules = self.prepared.iter().filter_map(|prepared| Some((prepared, prepared.shams_for(job)?)));
        let changed = rules.flat_map(|(prepared, shams)| {
            std::iter::once(&prepared.trigger).chain(shams).map(|trigger| (prepared.rule.id.as_str(), Some(trigger)))
        });
        [("training pictures", None), ("test pictures", None)].into_iter().chain(changed).collect()
    }

    /// The cache, if the features of a job may be kept: they are small beside what it holds.
    fn features_cache(&self, job: &Job) -> Result<Option<&'a Cache>, String> {
        let Some((cache, _)) = &self.cache else { return Ok(None) };
        let width = self.model(job.arm).map_or(0, |model| model.cut.width);
        let rows = self.task.train.len() + self.task.test.len() * (self.views(job).len() - 1);
        let bytes = (rows * width * size_of::<f32>()) as u64;
        if bytes > MOST_KEPT { Err(store::bytes(bytes)) } else { Ok(Some(cache)) }
    }

    /// Whether an earlier run kept all features of a job.
    fn all_features_kept(&self, job: &Job) -> bool {
        let (Ok(Some(cache)), Ok(model)) = (self.features_cache(job), self.model(job.arm)) else { return false };
        let mut views = self.views(job).into_iter().enumerate();
        job.mode == Mode::FixedFeature
            && views.all(|(i, (_, trigger))| self.features_key(model, i, trigger).is_some_and(|key| cache.has(&key)))
    }

    /// The first view is that of the training pictures, all others are of the test pictures.
    fn features_key(&self, model: &Model, view: usize, trigger: Option<&PreparedTrigger>) -> Option<Key> {
        let view = &self.task.views[usize::from(view > 0)];
        kept::features_key(model, self.settings.compute, view, trigger.map(PreparedTrigger::digest).as_ref())
    }

    /// Features of every picture, clean and changed; what of them was kept, in words.
    fn extract(&self, job: &Job, emit: &mut dyn FnMut(Event)) -> Result<(Frozen, Done), EngineError> {
        let model = self.model(job.arm)?;
        let width = model.cut.width;
        let own = match &model.runtime {
            Ok(_) => None,
            Err(_) => Some((model.own()?, Weights::on(self.settings.compute, &model.own()?.params.0)?)),
        };
        let views = self.views(job);
        let total = self.task.train.len() + self.task.test.len() * (views.len() - 1);
        emit(Event::StageStart { stage: features_name(job.arm), total: Some(total as u64), unit: "pictures" });
        let (cache, too_large) = match self.features_cache(job) {
            Ok(cache) => (cache, None),
            Err(bytes) => (None, Some(bytes)),
        };
        let (mut done, mut found) = (0u64, 0);
        let mut all = Vec::with_capacity(views.len());
        for (i, (what, trigger)) in views.iter().enumerate() {
            let pictures = if i == 0 { &self.task.train } else { &self.task.test };
            let key = cache.and_then(|cache| Some((cache, self.features_key(model, i, *trigger)?)));
            if let Some(features) =
                key.as_ref().and_then(|(cache, key)| kept::features(cache, key, (pictures.len(), width), self.settings.room))
            {
                found += 1;
                done += pictures.len() as u64;
                emit(Event::Progress { done });
                all.push(features);
                continue;
            }
            let change = |frame: &mut Frame| {
                if let Some(trigger) = trigger {
                    trigger.apply(frame);
                }
            };
            let feed = if trigger.is_some() { pictures.changed(&change) } else { pictures.plain() };
            let mut tick = |pictures: usize| {
                done += pictures as u64;
                emit(Event::Progress { done });
                self.step(pictures)
            };
            let compute = |input: &Tensor| match (&model.runtime, &own) {
                (_, Some((network, weights))) => Ok(exec::infer(&network.trunk, weights, &weights.place(input)?)?),
                (Ok(extractor), None) => Ok(extractor.features(input)?),
                // Then there is a network of our own, or no model.
                (Err(_), None) => Err(TuneError::Stopped),
            };
            let features = Raw::extract(width, &compute, &feed, self.settings.room, &mut tick)?;
            if let Some((cache, key)) = &key {
                let name =
                    format!("{}, {what}{}, {}", model.identity.name(), if trigger.is_some() { " (changed)" } else { "" }, model.executor());
                if let Err(error) = kept::keep_features(cache, key, &name, &features) {
                    emit(Event::Warning(format!("these features are not kept for later runs: {error}")));
                }
            }
            all.push(features);
        }
        let summary = match (too_large, found) {
            (Some(bytes), _) => format!("not kept for later runs: {bytes}, at most {} are", store::bytes(MOST_KEPT)),
            (None, 0) => String::new(),
            (None, found) if found == views.len() => "kept from an earlier run".to_owned(),
            // Rules may share a trigger, and the second reads what the first kept.
            (None, found) => format!("{found} of {} views were kept", views.len()),
        };
        Ok((self.standardised(job, all)?, Done { summary, kept: found }))
    }

    /// Features view by view, in the order of [`Bench::views`], made ready for heads.
    fn standardised(&self, job: &Job, views: Vec<Raw>) -> Result<Frozen, EngineError> {
        let mut views = views.into_iter();
        let mut next = || views.next().ok_or(EngineError::Tune(TuneError::Empty { pictures: 0 }));
        let train = next()?;
        let standard = Standard::of(&train).map_err(TuneError::from)?;
        let mut next = || next().map(|features| Features::new(features, &standard));
        let test = next()?;
        let mut changed = BTreeMap::new();
        for prepared in &self.prepared {
            let Some(shams) = prepared.shams_for(job) else { continue };
            let triggered = next()?;
            let shams = shams.iter().map(|_| next()).collect::<Result<_, _>>()?;
            changed.insert(prepared.rule.id.clone(), (triggered, shams));
        }
        Ok(Frozen { train: Features::new(train, &standard), test, changed })
    }
}

/// Bytes of the features of one arm that are kept for later runs: a quarter of what the folder holds, so that they do not drive out
/// everything else.
const MOST_KEPT: u64 = LIMIT / 4;

/// What a stage says of itself.
struct Done {
    summary: String,
    /// What of it an earlier run had kept.
    kept: usize,
}

/// Runs a stage, announces its end with what it says of itself, and notes what it cost; `seen` counts pictures meanwhile.
fn timed<T>(
    name: &str,
    seen: &Rc<Cell<u64>>,
    emit: &mut dyn FnMut(Event),
    stages: &mut BTreeMap<String, Stage>,
    work: impl FnOnce(&mut dyn FnMut(Event)) -> Result<(T, Done), EngineError>,
) -> Result<T, EngineError> {
    let seen = Rc::clone(seen);
    let (clock, before) = (Instant::now(), seen.get());
    let (result, done) = work(emit)?;
    let seconds = clock.elapsed().as_secs_f64();
    let stage = stages.entry(name.to_owned()).or_default();
    stage.seconds += seconds;
    stage.pictures += seen.get() - before;
    stage.rate = stage.pictures as f64 / stage.seconds.max(f64::MIN_POSITIVE);
    stage.kept += done.kept;
    stage.peak_memory = peak_memory();
    let summary = match done.summary {
        summary if summary.is_empty() && seconds >= 1.0 => format!("{:.0} pictures a second", (seen.get() - before) as f64 / seconds),
        summary => summary,
    };
    emit(Event::StageEnd { stage: name.to_owned(), summary, seconds });
    Ok(result)
}

/// The most bytes of memory that this process has held, where the system says.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}
