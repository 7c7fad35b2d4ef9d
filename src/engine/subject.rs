//! One arm fine-tuned over seeds, and what every rule's probe sees of it.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::DType;
use ndarray::Array2;
use rand::RngExt;

use super::{EngineError, Event, Settings, Task, stage_name};
use crate::exec::{self, Weights};
use crate::gate::Control;
use crate::graph::Graph;
use crate::model::Model;
use crate::pixels::Frame;
use crate::plan::{self, Speed};
use crate::probe::{Arm, Measurement, Outcome, Probe};
use crate::stats::stream::stream;
use crate::transform::{PreparedTrigger, SHAM_DRAWS};
use crate::tune::{self, Features, Feed, Mode, Standard, TuneError};

/// A rule's trigger with its shams, ready to be applied.
struct Prepared {
    rule: String,
    modes: Vec<Mode>,
    trigger: PreparedTrigger,
    shams: Vec<PreparedTrigger>,
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
    prepared: Vec<Prepared>,
    frozen: BTreeMap<Arm, Frozen>,
    measured: BTreeMap<(String, Arm, Mode), Measurement>,
    seeds: BTreeMap<(Arm, Mode), usize>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(settings: &'a Settings<'a>, task: &'a Task) -> Result<Self, EngineError> {
        let policy = settings.policy;
        let [height, width] = [settings.model.input.height, settings.model.input.width];
        let mut prepared = Vec::new();
        for rule in &policy.file.rules {
            let Probe::Backdoor(probe) = &rule.probe;
            let trigger = PreparedTrigger::new(&probe.trigger, &policy.base, height, width)?;
            let with_sham = rule.modes.iter().any(|mode| rule.controls_for(*mode).contains(&Control::Sham));
            let draws = if with_sham { SHAM_DRAWS } else { 0 };
            let shams = (0..draws).map(|draw| trigger.sham(draw, policy.file.seed)).collect();
            prepared.push(Prepared { rule: rule.id.clone(), modes: rule.modes.clone(), trigger, shams });
        }
        Ok(Self { settings, task, prepared, frozen: BTreeMap::new(), measured: BTreeMap::new(), seeds: BTreeMap::new() })
    }

    pub(super) fn measurement(&self, rule: &str, arm: Arm, mode: Mode) -> Option<&Measurement> {
        self.measured.get(&(rule.to_owned(), arm, mode))
    }

    pub(super) fn into_measurements(self) -> Vec<Measurement> {
        self.measured.into_values().collect()
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

    /// Brings an arm to `seeds` seeds in a mode.
    pub(super) fn fill(
        &mut self,
        arm: Arm,
        mode: Mode,
        seeds: usize,
        emit: &mut dyn FnMut(Event),
        stages: &mut BTreeMap<String, f64>,
    ) -> Result<(), EngineError> {
        let done = self.seeds.get(&(arm, mode)).copied().unwrap_or(0);
        if done >= seeds {
            return Ok(());
        }
        if arm != Arm::Scratch && mode == Mode::FixedFeature && !self.frozen.contains_key(&arm) {
            let name = format!("{} features", arm_name(arm));
            let frozen = timed(&name, emit, stages, |emit| self.extract(arm, emit))?;
            self.frozen.insert(arm, frozen);
        }
        timed(&stage_name(arm, mode), emit, stages, |emit| {
            for seed in done..seeds {
                let outcomes = self.outcomes(arm, mode, seed, (seed - done, seeds - done), emit)?;
                for (rule, outcome) in outcomes {
                    self.record(&rule, arm, mode, outcome);
                }
                self.seeds.insert((arm, mode), seed + 1);
            }
            Ok(())
        })
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

    /// Outcomes of one seed, the `nth` of `of` in this stage, for every rule of the mode.
    fn outcomes(
        &self,
        arm: Arm,
        mode: Mode,
        seed: usize,
        (nth, of): (usize, usize),
        emit: &mut dyn FnMut(Event),
    ) -> Result<Vec<(String, Outcome)>, EngineError> {
        if arm == Arm::Scratch
            && let Some(other) = self.elsewhere(mode, seed)
        {
            return Ok(other);
        }
        let policy = self.settings.policy;
        let recipe = plan::recipe(policy, arm, mode).ok_or(plan::PlanError::Recipe { rule: String::new(), arm, mode })?;
        let pool = tune::pool(&self.task.train_clusters, policy.file.seed, seed as u64);
        let per_seed = (pool.len() * recipe.epochs) as u64;
        if nth == 0 {
            emit(Event::StageStart { stage: stage_name(arm, mode), total: Some(per_seed * of as u64), unit: "pictures" });
        }
        let mut seen = per_seed * nth as u64;
        let stop = self.settings.stop;
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
            let start = Weights::new(&head, DType::F32)?;
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
        let (weights, _) = tune::train(&graph, Weights::new(&arrays, DType::F32)?, &trains, &task, recipe, streams, &mut tick)?;
        self.look_at(&graph, &weights, arm, mode, seed)
    }

    fn predict(&self, graph: &Graph, weights: &Weights, feed: &dyn Feed) -> Result<Vec<u16>, TuneError> {
        Ok(tune::classes(&tune::outputs(graph, weights, feed, &mut |_| !(self.settings.stop)())?))
    }

    /// A scratch network is the same in both modes: what the other one measured is used again.
    fn elsewhere(&self, mode: Mode, seed: usize) -> Option<Vec<(String, Outcome)>> {
        let other = match mode {
            Mode::FixedFeature => Mode::FullNetwork,
            Mode::FullNetwork => Mode::FixedFeature,
        };
        let mut found = Vec::new();
        for rule in self.prepared.iter().filter(|p| p.modes.contains(&mode)) {
            let measured = self.measured.get(&(rule.rule.clone(), Arm::Scratch, other))?;
            found.push((rule.rule.clone(), measured.outcomes.iter().find(|o| o.seed == seed)?.clone()));
        }
        Some(found)
    }

    /// Predictions of a fully trained network for every rule.
    fn look_at(&self, graph: &Graph, weights: &Weights, arm: Arm, mode: Mode, seed: usize) -> Result<Vec<(String, Outcome)>, EngineError> {
        let test = &self.task.test;
        let clean = self.predict(graph, weights, &test.plain())?;
        let mut all = Vec::new();
        // A scratch network is measured for the rules of both modes, so that neither trains it again.
        for rule in self.prepared.iter().filter(|p| arm == Arm::Scratch || p.modes.contains(&mode)) {
            let under = |trigger: &PreparedTrigger| self.predict(graph, weights, &test.changed(&|frame: &mut Frame| trigger.apply(frame)));
            let shams = match arm {
                Arm::Source => rule.shams.iter().map(under).collect::<Result<_, _>>()?,
                Arm::Scratch | Arm::Reference => Vec::new(),
            };
            all.push((rule.rule.clone(), Outcome { seed, clean: clean.clone(), changed: under(&rule.trigger)?, shams }));
        }
        Ok(all)
    }

    /// Features of every picture, clean and changed.
    fn extract(&self, arm: Arm, emit: &mut dyn FnMut(Event)) -> Result<Frozen, EngineError> {
        let model = self.model(arm)?;
        let weights = Weights::new(&model.params.0, DType::F32)?;
        let rules: Vec<&Prepared> = self.prepared.iter().filter(|p| p.modes.contains(&Mode::FixedFeature)).collect();
        let with_shams = arm == Arm::Source;
        let passes: usize = rules.iter().map(|p| 1 + if with_shams { p.shams.len() } else { 0 }).sum();
        let total = self.task.train.len() + self.task.test.len() * (1 + passes);
        emit(Event::StageStart { stage: format!("{} features", arm_name(arm)), total: Some(total as u64), unit: "pictures" });
        let (mut done, stop) = (0u64, self.settings.stop);
        let mut extract = |feed: &dyn Feed| -> Result<Array2<f32>, TuneError> {
            tune::outputs(&model.trunk, &weights, feed, &mut |pictures| {
                done += pictures as u64;
                emit(Event::Progress { done });
                !stop()
            })
        };
        let train = extract(&self.task.train.plain())?;
        let standard = Standard::of(&train);
        let test = Features::new(extract(&self.task.test.plain())?, &standard);
        let mut changed = BTreeMap::new();
        for rule in rules {
            let mut under = |trigger: &PreparedTrigger| {
                let change = |frame: &mut Frame| trigger.apply(frame);
                extract(&self.task.test.changed(&change)).map(|features| Features::new(features, &standard))
            };
            let triggered = under(&rule.trigger)?;
            let shams = if with_shams { rule.shams.iter().map(under).collect::<Result<_, _>>()? } else { Vec::new() };
            changed.insert(rule.rule.clone(), (triggered, shams));
        }
        Ok(Frozen { train: Features::new(train, &standard), test, changed })
    }
}

fn arm_name(arm: Arm) -> String {
    format!("{arm:?}").to_lowercase()
}

/// Runs a stage, announces its end and notes its seconds.
fn timed<T>(
    name: &str,
    emit: &mut dyn FnMut(Event),
    stages: &mut BTreeMap<String, f64>,
    work: impl FnOnce(&mut dyn FnMut(Event)) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let clock = Instant::now();
    let result = work(emit)?;
    let seconds = clock.elapsed().as_secs_f64();
    *stages.entry(name.to_owned()).or_insert(0.0) += seconds;
    emit(Event::StageEnd { stage: name.to_owned(), summary: String::new(), seconds });
    Ok(result)
}

/// Times one batch forward and one training step on noise.
pub fn measure_speed(model: &Model) -> Result<Speed, EngineError> {
    const BATCH: usize = 32;
    let (graph, _, _) = model.with_head(2)?;
    let mut arrays = model.params.0.clone();
    arrays.extend(tune::fresh_head(model.cut.width, 2, 0, 0));
    let weights = Weights::new(&arrays, DType::F32)?;
    let shape = graph.node(graph.input()).shape.at(BATCH);
    let mut rng = stream(0, 0, "speed");
    let noise: Vec<f32> = (0..shape.iter().product::<usize>()).map(|_| rng.random_range(-1.0..1.0)).collect();
    let input = candle_core::Tensor::from_vec(noise, shape, &candle_core::Device::Cpu).map_err(exec::ExecError::from)?;
    let trains = exec::trainable(&graph);
    let forward = || exec::infer(&graph, &weights, &input).map(|_| ());
    let train = || {
        let recording = exec::record(&graph, &weights, &trains, exec::Norm::Batch, &input)?;
        let gradient = recording.output.clone();
        recording.backward(&graph, &gradient).map(|_| ())
    };
    Ok(Speed { forward: rate(BATCH, forward)?, train: rate(BATCH, train)? })
}

/// Pictures a second: once to warm up, then at least twice and for a fifth of a second.
fn rate(batch: usize, step: impl Fn() -> Result<(), exec::ExecError>) -> Result<f64, EngineError> {
    step()?;
    let clock = Instant::now();
    let mut steps = 0;
    while steps < 2 || clock.elapsed().as_secs_f64() < 0.2 {
        step()?;
        steps += 1;
    }
    Ok((batch * steps) as f64 / clock.elapsed().as_secs_f64())
}
