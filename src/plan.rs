//! What would run: pure arithmetic on a policy, counts of data and a speed, before any training. `resolve` says what the policy asks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data;
use crate::diag::{Class, Explain, count};
use crate::gate::{Control, Rule};
use crate::policy::Looks;
use crate::probe::{Arm, UNTRAINED};
use crate::stats::power::{self, PowerInput};
use crate::store::bytes;
use crate::transform::SHAM_DRAWS;
use crate::tune::{EVALUATION_BATCH, Mode, POOL_SHARE, Recipe};

mod resolve;

pub use resolve::{Controls, FineTune, Question, Resolved, resolve};

/// How much data a target task has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Clusters of test images.
    pub test_clusters: usize,
    /// Classes.
    pub classes: usize,
    /// Training images of each of [`Resolved::views`], the whole first.
    pub views: Vec<usize>,
    /// By rule that does not rest on all test images: the independent test clusters that its comparison is worth.
    pub worth: BTreeMap<String, usize>,
}

/// How fast a network runs on this machine, in images a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Features of the frozen network, by what computes them.
    pub features: f64,
    /// Of the whole network; `None` where it cannot be trained.
    pub whole: Option<Whole>,
}

impl Speed {
    /// The greater of two measurements, number by number.
    #[must_use]
    pub(crate) fn faster(self, other: Self) -> Self {
        let whole = match (self.whole, other.whole) {
            (Some(a), Some(b)) => Some(Whole { forward: a.forward.max(b.forward), train: a.train.max(b.train) }),
            (one, other) => one.or(other),
        };
        Self { features: self.features.max(other.features), whole }
    }
}

/// How fast a network that trains is, in images a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    /// Evaluated.
    pub forward: f64,
    /// Trained on, all of it.
    pub train: f64,
}

/// What a model takes in memory, in numbers of four bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Footprint {
    /// Of an image at the model's resolution, in bytes.
    pub image: usize,
    /// Features of an image.
    pub features: usize,
    /// The largest tensor of an image on its way through the network.
    pub largest: usize,
    /// All tensors of an image together, which training keeps.
    pub activations: usize,
    /// Weights.
    pub weights: usize,
}

/// What a machine has for a model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct MachineProfile {
    /// How fast it is.
    pub speed: Speed,
    /// What the model takes.
    pub footprint: Footprint,
    /// Bytes of memory that may be used, where known.
    pub memory: Option<u64>,
}

/// Which fine-tunes: all that tells them apart but the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Tuning {
    /// What they start from.
    pub arm: Arm,
    /// What trains. A network from scratch trains fully, and one job serves the rules of both modes.
    pub mode: Mode,
    /// What they see, as an index into [`Resolved::views`].
    pub view: usize,
}

/// What something costs: once, and for each seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Once: features of a frozen backbone.
    pub once: f64,
    /// For each seed.
    pub each: f64,
}

impl Cost {
    fn at(self, seeds: usize) -> f64 {
        self.once + self.each * seeds as f64
    }
}

/// Fine-tunes of one kind, for all rules that need them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Job {
    /// Which.
    #[serde(flatten)]
    pub tuning: Tuning,
    /// Seeds of the first look, and in all.
    pub seeds: Looks,
    /// Seconds, without the shams that are spared where findings pass without them.
    #[serde(flatten)]
    pub seconds: Cost,
    /// Seconds of these shams.
    pub shams: Cost,
    /// Images that go through the whole network, trained on or evaluated, without these shams.
    pub images: Cost,
    /// The images of these shams.
    pub sham_images: Cost,
    /// Whether it can run: a network that only its own runtime understands cannot be trained.
    pub possible: bool,
}

impl Job {
    /// Its seeds after a look (1 or 2).
    pub(crate) fn seeds_at(&self, look: usize) -> usize {
        if look == 1 { self.seeds.first } else { self.seeds.most }
    }

    /// Predicted seconds until it has `seeds` seeds, where no spared sham is needed.
    pub fn seconds(&self, seeds: usize) -> f64 {
        self.seconds.at(seeds)
    }
}

/// One finding to come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedFinding {
    /// The rule.
    pub rule: String,
    /// The mode.
    pub mode: Mode,
    /// Its controls.
    pub controls: Vec<Control>,
    /// Its limit.
    pub limit: f64,
    /// Whether it can be judged: else it is skipped.
    pub possible: bool,
    /// Chance that a source without any effect passes, at planning values.
    pub power: f64,
    /// No limit below this one can be passed with these seeds and images.
    pub smallest_limit: f64,
}

/// What earlier runs kept of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Kept {
    /// Fine-tunes of the second look that need not run again.
    pub fine_tunes: usize,
    /// Of so many.
    pub of: usize,
    /// Predicted seconds that are left, in the two cases of [`Plan::seconds`].
    pub seconds: [f64; 2],
}

/// All that a certification would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The data.
    pub counts: Counts,
    /// The speed that the predictions rest on.
    pub speed: Speed,
    /// One entry per rule and mode, in the order of the policy.
    pub findings: Vec<PlannedFinding>,
    /// Fine-tunes, equal requests merged.
    pub jobs: Vec<Job>,
    /// Predicted seconds if the first look settles everything without the shams that may be spared, and if it settles nothing.
    pub seconds: [f64; 2],
    /// Images that go through a whole network, trained on or evaluated, in these two cases.
    pub images: [u64; 2],
    /// Predicted bytes of memory at the peak.
    pub memory: u64,
    /// Predicted bytes of images and features that do not fit into memory and are kept on disk meanwhile.
    pub disk: u64,
    /// What earlier runs kept of it; none where that was not looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

impl Plan {
    /// A question by its index, with the job that fine-tunes the source for it.
    pub(crate) fn of_source<'r, 'p>(&self, resolved: &'r Resolved<'p>, at: usize) -> Option<(&'r Question<'p>, &Job)> {
        let question = resolved.questions.get(at)?;
        let tuning = question.tuning(Arm::Source)?;
        Some((question, self.jobs.iter().find(|job| job.tuning == tuning)?))
    }
}

/// What is judged, one finding for each question. `trains`: the network can be trained here. An error where the data and the seeds cannot
/// settle a limit: all such limits together.
pub(crate) fn findings(resolved: &Resolved, counts: &Counts, trains: bool) -> Result<Vec<PlannedFinding>, PlanError> {
    let mut planned = Vec::new();
    let mut refused = Vec::new();
    for question in &resolved.questions {
        match finding(resolved, counts, question, trains) {
            Ok(finding) => planned.push(finding),
            Err(error) => refused.push(error),
        }
    }
    match refused.pop() {
        None => Ok(planned),
        Some(only) if refused.is_empty() => Err(only),
        Some(last) => Err(PlanError::Several(refused.into_iter().chain([last]).collect())),
    }
}

/// All limits that the data and the seeds cannot settle.
pub(crate) fn unsettled(resolved: &Resolved, counts: &Counts) -> Vec<PlanError> {
    // That the network trains is the harder case: all findings are looked at.
    resolved.questions.iter().filter_map(|question| finding(resolved, counts, question, true).err()).collect()
}

fn finding(resolved: &Resolved, counts: &Counts, question: &Question, trains: bool) -> Result<PlannedFinding, PlanError> {
    let Question { rule, mode, ref controls, .. } = *question;
    // A control of fewer seeds is paired with the source's first ones; the control of most seeds is the one to reckon with.
    let paired = controls.iter().map(|control| resolved.paired(question, *control));
    let seeds = paired.max_by_key(|seeds| (seeds.most, seeds.first)).unwrap_or(question.looks);
    let input = PowerInput {
        limit: rule.limit,
        confidence: rule.confidence,
        ways: rule.pass_by(mode).ways(controls.len()),
        first: seeds.first,
        most: seeds.most,
        clusters: counts.worth.get(&rule.id).copied().unwrap_or(counts.test_clusters),
        discordance: power::DISCORDANCE,
        choice: rule.probe.choice(rule.estimand()),
        seeds_choose: if rule.estimand().compares_groups() { rule.probe.choice(rule.estimand()) } else { 0.0 },
        seed_sd: match mode {
            Mode::FixedFeature => power::SEED_SD_FIXED_FEATURE,
            Mode::FullNetwork => power::SEED_SD_FULL_NETWORK,
        },
    };
    // Networks differ among each other more than one does from itself; a limit is not refused for what is not known before the run.
    let over_another = (!controls.contains(&Control::Sham)).then_some(power::SEED_SD_OVER_ANOTHER);
    let smallest_limit = power::smallest_limit(&input);
    if rule.limit < smallest_limit {
        return Err(PlanError::Cap {
            rule: rule.id.clone(),
            mode,
            limit: rule.limit,
            smallest: smallest_limit,
            test: counts.test,
            clusters: input.clusters,
            enough: power::clusters(&input).map(|clusters| (counts.test * clusters).div_ceil(input.clusters.max(1))),
        });
    }
    Ok(PlannedFinding {
        rule: rule.id.clone(),
        mode,
        controls: controls.clone(),
        limit: rule.limit,
        possible: question.tuning(Arm::Source).is_some_and(|tuning| resolved.on_features(tuning)) || trains,
        power: match rule.fewest_seeds(mode) {
            Some(fewest) if question.looks.most < fewest => 0.0,
            _ => power::power(&PowerInput { seed_sd: over_another.unwrap_or(input.seed_sd), ..input }),
        },
        smallest_limit,
    })
}

/// Plans a certification.
pub(crate) fn plan(resolved: &Resolved, counts: &Counts, profile: &MachineProfile) -> Result<Plan, PlanError> {
    let speed = profile.speed;
    let findings = findings(resolved, counts, speed.whole.is_some())?;
    let job = |fine_tune: &FineTune| {
        let FineTune { tuning, seeds, recipe } = *fine_tune;
        let recipe = recipe.ok_or(PlanError::Recipe { arm: tuning.arm, mode: tuning.mode })?;
        let free = Cost::default();
        let job = Job { tuning, seeds, seconds: free, shams: free, images: free, sham_images: free, possible: true };
        Ok(cost(resolved, job, recipe, counts, speed).unwrap_or(Job { possible: false, ..job }))
    };
    let mut jobs: Vec<Job> = resolved.fine_tunes.iter().map(job).collect::<Result<_, PlanError>>()?;
    // The cheap ones first: what they settle is settled whatever happens to the others. Last those that nobody may need.
    let spared = |job: &Job| resolved.may_be_spared(job.tuning);
    let first = |job: &Job| job.seconds(job.seeds.first);
    jobs.sort_by(|a, b| spared(a).cmp(&spared(b)).then(first(a).total_cmp(&first(b))));
    let (least, most) = (|job: &Job| job.seeds_at(1), |job: &Job| job.seeds_at(2));
    let seconds = [
        jobs.iter().filter(|job| !spared(job)).map(|job| job.seconds(least(job))).sum(),
        jobs.iter().map(|job| job.seconds(most(job)) + job.shams.at(most(job))).sum(),
    ];
    let images = [
        jobs.iter().filter(|job| !spared(job)).map(|job| job.images.at(least(job)).round() as u64).sum(),
        jobs.iter().map(|job| (job.images.at(most(job)) + job.sham_images.at(most(job))).round() as u64).sum(),
    ];
    let possible: Vec<Job> = jobs.iter().copied().filter(|job| job.possible).collect();
    let [memory, disk] = memory(resolved, &possible, counts, profile)?;
    Ok(Plan { counts: counts.clone(), speed, findings, jobs, seconds, images, memory, disk, kept: None })
}

/// Bytes of a number.
const NUMBER: usize = 4;
/// Bytes of the program itself, with what its threads decode and compute in.
const PROGRAM: u64 = 64 << 20;

/// Bytes that a run takes whatever the number of images: the program, weights, and the largest step of any fine-tune.
fn fixed(resolved: &Resolved, footprint: &Footprint) -> u64 {
    /// Of one inference batch: an operator's input and output, a patch buffer, a shortcut that waits.
    const AT_ONCE: usize = 4;
    // One batch is computed while the next is made.
    let batch = |images: usize| 2 * images * footprint.image * NUMBER;
    let evaluated = EVALUATION_BATCH * AT_ONCE * footprint.largest * NUMBER + batch(EVALUATION_BATCH);
    let whole = resolved.fine_tunes.iter().filter(|fine_tune| !resolved.on_features(fine_tune.tuning));
    // Values and gradients; weights, their gradients and their moments.
    let step = |r: &Recipe| (r.batch_size * 2 * footprint.activations + 4 * footprint.weights) * NUMBER + batch(r.batch_size);
    let largest = whole.filter_map(|fine_tune| fine_tune.recipe).map(step).max().unwrap_or(0).max(evaluated);
    // References and untrained networks wait beside the checkpoint under test.
    let untrained = resolved.fine_tunes.iter().filter(|fine_tune| matches!(fine_tune.tuning.arm, Arm::Untrained(_))).count();
    let networks = 1 + resolved.policy.file.references.len() + untrained.min(UNTRAINED);
    PROGRAM + (largest + networks * footprint.weights * NUMBER) as u64
}

/// Bytes of memory that images and features may take: what `memory` has beside all else. Those that do not fit are kept on disk.
pub(crate) fn budget(resolved: &Resolved, footprint: &Footprint, memory: Option<u64>) -> u64 {
    memory.map_or(u64::MAX, |memory| memory.saturating_sub(fixed(resolved, footprint)))
}

/// Predicted bytes in memory and on disk at the peak, with the room given away in the order in which it is asked for.
fn memory(resolved: &Resolved, jobs: &[Job], counts: &Counts, profile: &MachineProfile) -> Result<[u64; 2], PlanError> {
    let footprint = &profile.footprint;
    let least = fixed(resolved, footprint) + (counts.train + counts.test) as u64 * data::RECORD;
    if let Some(available) = profile.memory.filter(|available| least > *available) {
        return Err(PlanError::Memory { needed: least, available });
    }
    let features = |job: &Job| {
        let each = footprint.features * NUMBER;
        // Images that are rebalanced are some of those whose features are there.
        let train = if job.tuning.view == 0 { counts.train } else { 0 };
        std::iter::once(train * each).chain(std::iter::repeat_n(counts.test * each, 1 + looks_at(resolved, job.tuning)))
    };
    let images = [counts.train, counts.test].map(|count| count * footprint.image);
    // Fine-tuned networks wait until it is known whether they are to be shown shams.
    let waits = |job: &&Job| !resolved.on_features(job.tuning) && resolved.sparing(job.tuning).next().is_some();
    let tuned = jobs.iter().filter(waits).flat_map(|job| std::iter::repeat_n(footprint.weights * NUMBER, job.seeds.first));
    let frozen = jobs.iter().filter(|job| resolved.on_features(job.tuning)).flat_map(features);
    let mut left = profile.memory.map_or(u64::MAX, |memory| memory - least);
    let (mut held, mut disk) = (least, 0);
    for rows in images.into_iter().chain(frozen).chain(tuned).map(|rows| rows as u64) {
        if let Some(rest) = left.checked_sub(rows) {
            (left, held) = (rest, held + rows);
        } else {
            disk += rows;
        }
    }
    Ok([held, disk])
}

/// Views of the test images under a trigger or sham that fine-tunes are shown.
fn looks_at(resolved: &Resolved, tuning: Tuning) -> usize {
    let views = |rule: &Rule| {
        let shams = resolved.measured_with(rule, |other| other == tuning)?;
        rule.probe.change().map(|_| 1 + if shams { SHAM_DRAWS } else { 0 })
    };
    resolved.policy.rules.iter().filter_map(views).sum()
}

/// A job with what it costs, for all rules that share it; `None` where it cannot run.
fn cost(resolved: &Resolved, job: Job, recipe: &Recipe, counts: &Counts, speed: Speed) -> Option<Job> {
    let tuning = job.tuning;
    let spared = resolved.sparing(tuning).count() * SHAM_DRAWS;
    let shams = (counts.test * spared) as f64;
    let evaluated = (counts.test * (1 + looks_at(resolved, tuning) - spared)) as f64;
    let train = counts.views.get(tuning.view).copied().unwrap_or(counts.train) as f64;
    let trained = train * POOL_SHARE * recipe.epochs as f64;
    let (once, each) = (|once| Cost { once, each: 0.0 }, |each| Cost { once: 0.0, each });
    if resolved.on_features(tuning) {
        let images = evaluated + counts.train as f64;
        Some(Job {
            seconds: Cost { once: images / speed.features, each: trained / HEAD_SPEED },
            shams: once(shams / speed.features),
            images: once(images),
            sham_images: once(shams),
            ..job
        })
    } else {
        speed.whole.map(|whole| Job {
            seconds: each(trained / whole.train + evaluated / whole.forward),
            shams: each(shams / whole.forward),
            images: each(trained + evaluated),
            sham_images: each(shams),
            ..job
        })
    }
}

/// Images a second that a head alone trains on, roughly: heads are never what takes long.
const HEAD_SPEED: f64 = 100_000.0;

/// Bytes in whole MiB, rounded up: as `--memory` takes it.
fn whole(bytes: u64) -> String {
    format!("{}MiB", bytes.div_ceil(1 << 20))
}

/// The images of a comparison, and how many independent ones they are worth where that is another number: it is no count of any images.
fn sample(test: usize, worth: usize) -> String {
    let images = count(test, "test image");
    if worth == test { images } else { format!("{images} (effective sample size {worth})") }
}

/// Why a policy cannot be run as it stands.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Not enough data or seeds for the limit.
    #[error(
        "{rule}@{mode}: with {} and these seeds no source can be shown to be below {limit} (the smallest limit is {smallest:.3}): {}, or raise \
         the limit",
        sample(*test, *clusters),
        match enough {
            Some(enough) => format!("add test images (about {enough} would do) or seeds"),
            None => "add seeds".to_owned(),
        }
    )]
    Cap {
        /// The rule.
        rule: String,
        /// The mode.
        mode: Mode,
        /// Its limit.
        limit: f64,
        /// What could be reached.
        smallest: f64,
        /// Test images.
        test: usize,
        /// The effective sample size: independent clusters that the comparison is worth.
        clusters: usize,
        /// Test images that would do with these seeds, if any number does.
        enough: Option<usize>,
    },
    /// Not enough data or seeds for several limits.
    #[error("{} cannot be settled:\n  {}", count(.0.len(), "limit"), .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
    Several(Vec<PlanError>),
    /// More memory than there is.
    #[error(
        "at least {} of memory are needed, {} may be used: lower `batch_size` or the `limit` of the views, or allow more (--memory {})",
        bytes(*needed),
        bytes(*available),
        whole(*needed)
    )]
    Memory {
        /// Bytes that would do.
        needed: u64,
        /// Bytes that may be used.
        available: u64,
    },
    /// A mode without a recipe.
    #[error("the arm {arm} in mode {mode} has no recipe: add it under `transfer:`")]
    Recipe {
        /// The arm.
        arm: Arm,
        /// The mode.
        mode: Mode,
    },
}

/// Another policy can be run.
impl Explain for PlanError {
    fn class(&self) -> Class {
        Class::Usage
    }
}

#[cfg(test)]
mod identities;
#[cfg(test)]
mod tests;
