//! How well each arm does the target task, beside a linear head that sees the images themselves, shrunk to 8x8.
//!
//! What a checkpoint hands down can only show in models that learnt something through it. An arm that is no better than a head on 192
//! pixels has features that are worth no more than the colours and coarse shapes of an image.

use std::collections::BTreeMap;

use super::subject::Bench;
use super::task::Task;
use super::{EngineError, Event, Settings, stage_name};
use crate::data::Counted;
use crate::exec::Weights;
use crate::gate;
use crate::plan::Tuning;
use crate::probe::{Arm, Measurement, Outcome};
use crate::report::TaskAccuracy;
use crate::stats::Interval;
use crate::store::{MemoryBudget, Rows, RowsError};
use crate::transform::geometry;
use crate::tune::{self, Features, Feed, Images, Mode, Raw, Recipe, Standard, TuneError};

/// Side of the shrunk images.
const SIDE: usize = 8;
/// Numbers of one.
const WIDTH: usize = 3 * SIDE * SIDE;

/// The accuracy of every arm that ran and of the heads on shrunk images, and a warning where arms are not shown to do better.
pub(super) fn of(
    settings: &Settings,
    task: &Task,
    bench: &Bench,
    emit: &mut dyn FnMut(Event),
) -> Result<(Vec<TaskAccuracy>, Vec<String>), EngineError> {
    let views = &settings.resolved.views;
    let counted = settings.resolved.policy.file.target.accuracy;
    let mut arms: Vec<(Tuning, TaskAccuracy)> = Vec::new();
    // Seeds of the head, by what it trains on: as many as the arms that it stands beside have.
    let mut seeds: BTreeMap<usize, usize> = BTreeMap::new();
    for (tuning, _) in bench.ran() {
        let Some(measured) = bench.any(tuning) else { continue };
        arms.push((tuning, accuracy(stage_name(views, tuning), Some(tuning.arm), (measured, counted))?));
        let most = seeds.entry(tuning.view).or_insert(0);
        *most = (*most).max(measured.outcomes.len());
    }
    let mut all: Vec<TaskAccuracy> = arms.iter().map(|(_, accuracy)| accuracy.clone()).collect();
    let mut warnings = Vec::new();
    let Some(recipe) = recipe(settings) else { return Ok((all, warnings)) };
    if arms.is_empty() || (settings.stop)() {
        return Ok((all, warnings));
    }
    let shrunk = [shrink(&task.train, settings.budget)?, shrink(&task.test, settings.budget)?];
    let [train, test] = shrunk;
    let standard = Standard::of(&train).map_err(TuneError::from)?;
    let [train, test] = [train, test].map(|raw| Features::new(raw, &standard));
    for (view, seeds) in seeds {
        let of_view = views.get(view).and_then(Option::as_ref).map(|rebalance| format!(", {rebalance}")).unwrap_or_default();
        let what = format!("linear head on images of {SIDE}x{SIDE}{of_view}");
        let clock = std::time::Instant::now();
        emit(Event::StageStart { stage: what.clone(), total: None, unit: "images" });
        let head = match heads(settings, task, (&train, &test), &recipe, view, seeds) {
            Ok(measured) => accuracy(what.clone(), None, (&measured, counted))?,
            Err(EngineError::Tune(TuneError::Stopped)) => return Ok((all, warnings)),
            Err(EngineError::Tune(error)) => {
                warnings.push(format!("{what}: {error}; whether the arms do better is not known"));
                continue;
            }
            Err(other) => return Err(other),
        };
        let summary = match counted {
            Counted::Global => format!("{:.2} of the test images called right", head.accuracy),
            Counted::MeanPerClass => format!("{:.2} of the test images of a class called right, the mean over classes", head.accuracy),
        };
        emit(Event::StageEnd { stage: what, summary, seconds: clock.elapsed().as_secs_f64() });
        // Of these nobody expects more.
        let untrained = |tuning: &Tuning| matches!(tuning.arm, Arm::Untrained(_));
        let no_better: Vec<&(Tuning, TaskAccuracy)> =
            arms.iter().filter(|(tuning, arm)| tuning.view == view && !untrained(tuning) && arm.low <= head.accuracy).collect();
        let named: Vec<&str> = no_better.iter().map(|(_, arm)| arm.what.as_str()).collect();
        // The features are not in doubt where only what they are compared with has learnt little.
        if !named.is_empty() && no_better.iter().all(|(tuning, _)| tuning.arm != Arm::Source) {
            let of = no_better.iter().map(|(_, arm)| format!("{} ({:.2})", arm.what, arm.accuracy)).collect::<Vec<_>>().join("; ");
            warnings.push(format!(
                "a control has learnt little: {of}, where a linear head on the images shrunk to {SIDE}x{SIDE} pixels has {:.2}. A comparison with it says \
                 little; more epochs or images, or another recipe for it under `transfer`, may help",
                head.accuracy
            ));
        } else if !named.is_empty() {
            // The embedded tasks are small and easy on purpose: there it says more about them than about the model.
            let advice = if settings.resolved.policy.file.target.data.is_embedded() {
                "The embedded task is too easy for a release: judge with images of your own (`target.data` in a policy, `--policy`)"
            } else {
                "What the features add is not shown: check `input` and the feature layer with `heirloom inspect`, or take a harder target task"
            };
            warnings.push(format!(
                "a linear head on the images shrunk to {SIDE}x{SIDE} pixels does the target task as well as: {}. {advice}",
                named.join("; ")
            ));
        }
        all.push(head);
    }
    Ok((all, warnings))
}

/// The recipe of the heads; where a policy has none, that of whole networks without what only images can be given.
fn recipe(settings: &Settings) -> Option<Recipe> {
    let transfer = &settings.resolved.policy.file.transfer;
    transfer.fixed_feature.as_ref().or(transfer.full_network.as_ref()).cloned()
}

fn accuracy(what: String, arm: Option<Arm>, (measured, counted): (&Measurement, Counted)) -> Result<TaskAccuracy, EngineError> {
    let (accuracy, Interval { low, high }) = gate::clean_accuracy(measured, counted).map_err(|reason| EngineError::Rule {
        rule: measured.rule.clone(),
        at: what.clone(),
        reason,
    })?;
    let clusters = measured.clusters.iter().collect::<std::collections::BTreeSet<_>>().len();
    let (seeds, images) = (measured.outcomes.len(), measured.labels.len());
    Ok(TaskAccuracy { what, arm, accuracy, low, high, seeds, images, clusters })
}

/// Every image as `3 x 8 x 8` means of its pixels.
fn shrink(images: &Images, budget: &MemoryBudget) -> Result<Raw, EngineError> {
    let one = |(): &mut (), i: usize, row: &mut [u8]| -> Result<(), RowsError> {
        let frame = images.frame(i)?;
        let small = geometry::shrink(&frame.planes, (frame.height, frame.width), SIDE);
        row.chunks_exact_mut(size_of::<f32>()).zip(small).for_each(|(bytes, value)| bytes.copy_from_slice(&value.to_le_bytes()));
        Ok(())
    };
    let mut rows = Rows::new(images.len(), WIDTH * size_of::<f32>(), budget).map_err(TuneError::from)?;
    let done = rows.fill(|| (), one).map_err(TuneError::from)?;
    done.into_iter().collect::<Result<(), _>>().map_err(TuneError::from)?;
    Ok(Raw::of_rows(rows))
}

/// Heads on shrunk images, one for each seed, trained as the arms' heads are: the same images of each seed, the same recipe.
fn heads(
    settings: &Settings,
    task: &Task,
    (train, test): (&Features, &Features),
    recipe: &Recipe,
    view: usize,
    seeds: usize,
) -> Result<Measurement, EngineError> {
    let policy = settings.resolved.policy;
    let classes = task.classes.len();
    let graph = tune::head_graph(WIDTH, classes)?;
    let of_view = task.pools.get(view).ok_or(TuneError::Empty { images: 0 })?;
    let mut tick = |_: usize| !(settings.stop)();
    let mut outcomes = Vec::with_capacity(seeds);
    for seed in 0..seeds {
        let streams = (policy.seed.value(), seed as u64);
        let pool = tune::pool(of_view, &task.train_clusters, streams.0, streams.1);
        let start = Weights::on(settings.compute, &tune::fresh_head(WIDTH, classes, streams.0, streams.1))?;
        let on = tune::TrainingSet { feed: train as &dyn Feed, labels: &task.train_labels, pool: &pool };
        let (weights, _) = tune::train(&graph, start, &[true, true], &on, recipe, streams, &mut tick)?;
        let clean = tune::predictions(&graph, &weights, test, &mut tick)?;
        // Nothing is laid over the images: changed is what is.
        outcomes.push(Outcome { seed, changed: clean.clone(), clean, shams: Vec::new() });
    }
    Ok(Measurement {
        rule: String::new(),
        arm: Arm::Scratch,
        mode: Mode::FixedFeature,
        classes: task.classes.clone(),
        images: task.test_ids.clone(),
        labels: task.test_labels.clone(),
        clusters: task.test_clusters.clone(),
        attribute: None,
        terms: None,
        basis: None,
        outcomes,
    })
}
