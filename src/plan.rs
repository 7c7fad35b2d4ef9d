//! What would run: pure arithmetic on a policy, counts of data and a speed, before any training.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data::{self, Rebalance};
use crate::diag::{Class, Explain, count};
use crate::gate::{Control, Rule};
use crate::policy::{Looks, Policy};
use crate::probe::Arm;
use crate::stats::power::{self, PowerInput};
use crate::store::{Digest, Fingerprinter, bytes};
use crate::transform::SHAM_DRAWS;
use crate::tune::{EVALUATION_BATCH, Mode, POOL_SHARE, Recipe};

/// How much data a target task has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Training pictures.
    pub train: usize,
    /// Test pictures.
    pub test: usize,
    /// Clusters of test pictures.
    pub test_clusters: usize,
    /// Classes.
    pub classes: usize,
    /// Training pictures of each of [`views`], the whole first.
    pub views: Vec<usize>,
    /// By rule that does not rest on all test pictures: the independent test clusters that its comparison is worth.
    pub worth: BTreeMap<String, usize>,
}

/// How fast a network runs on this machine, in pictures a second.
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
    pub fn faster(self, other: Self) -> Self {
        let whole = match (self.whole, other.whole) {
            (Some(a), Some(b)) => Some(Whole { forward: a.forward.max(b.forward), train: a.train.max(b.train) }),
            (one, other) => one.or(other),
        };
        Self { features: self.features.max(other.features), whole }
    }
}

/// How fast a network that trains is, in pictures a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    /// Evaluated.
    pub forward: f64,
    /// Trained on, all of it.
    pub train: f64,
}

/// What a model takes in memory, in numbers of four bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Of a picture at the model's resolution, in bytes.
    pub picture: usize,
    /// Features of a picture.
    pub features: usize,
    /// The largest tensor of a picture on its way through the network.
    pub largest: usize,
    /// All tensors of a picture together, which training keeps.
    pub activations: usize,
    /// Weights.
    pub weights: usize,
}

/// What a machine has for a model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Means {
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
    /// What they see, as an index into [`views`].
    pub view: usize,
}

/// Fine-tunes of one kind, for all rules that need them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Job {
    /// Which.
    #[serde(flatten)]
    pub tuning: Tuning,
    /// Seeds of the first look, and in all.
    pub seeds: Looks,
    /// Seconds once (features of a frozen backbone).
    pub once: f64,
    /// Seconds per seed.
    pub each: f64,
    /// Whether it can run: a network that only its own runtime understands cannot be trained.
    pub possible: bool,
}

impl Job {
    /// Whether a rule in a mode needs it.
    pub fn serves(&self, policy: &Policy, rule: &Rule, mode: Mode) -> bool {
        arms(rule, mode).into_iter().any(|arm| tuning(policy, rule, arm, mode) == self.tuning)
    }

    /// Its seeds after a look (1 or 2).
    pub fn seeds_at(&self, look: usize) -> usize {
        if look == 1 { self.seeds.first } else { self.seeds.most }
    }

    /// Predicted seconds until it has `seeds` seeds.
    pub fn seconds(&self, seeds: usize) -> f64 {
        self.once + self.each * seeds as f64
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
    /// No limit below this one can be passed with these seeds and pictures.
    pub smallest_limit: f64,
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
    /// Predicted seconds if the first look settles everything, and if it settles nothing.
    pub seconds: [f64; 2],
    /// Predicted bytes of memory at the peak.
    pub memory: u64,
    /// Predicted bytes of pictures and features that do not fit into memory and are kept on disk meanwhile.
    pub disk: u64,
}

/// The seeds that rules of a mode ask for.
pub fn looks(policy: &Policy, mode: Mode) -> Looks {
    let seeds = &policy.file.seeds;
    match mode {
        Mode::FixedFeature => seeds.fixed_feature.unwrap_or(Looks { first: 3, most: 6 }),
        Mode::FullNetwork => seeds.full_network.unwrap_or(Looks { first: 5, most: 10 }),
    }
}

/// The seeds of an arm for rules of a mode. Heads are cheap and networks from scratch are not: these never take more
/// seeds than full-network rules do, and are paired with the source's first ones.
pub fn seeds(policy: &Policy, arm: Arm, mode: Mode) -> Looks {
    let asked = looks(policy, mode);
    let most = looks(policy, arm.trains(mode));
    Looks { first: asked.first.min(most.first), most: asked.most.min(most.most) }
}

/// The seeds that fine-tunes are run with: the most that any rule which they serve asks for.
pub fn asked(policy: &Policy, tuning: Tuning) -> Looks {
    let Tuning { arm, mode: trained, view } = tuning;
    let view = views(policy).into_iter().nth(view).flatten();
    let serves = |rule: &Rule, mode: Mode| arms(rule, mode).contains(&arm) && arm.trains(mode) == trained && rule.probe.rebalance() == view;
    let served = pairs(policy).filter(|(rule, mode)| serves(rule, *mode)).map(|(_, mode)| seeds(policy, arm, mode));
    served.fold(Looks { first: 0, most: 0 }, |all, seeds| Looks { first: all.first.max(seeds.first), most: all.most.max(seeds.most) })
}

/// Every rule in each of its modes, in the order of the policy.
pub fn pairs(policy: &Policy) -> impl Iterator<Item = (&Rule, Mode)> {
    policy.rules.iter().flat_map(|rule| rule.modes.iter().map(move |mode| (rule, *mode)))
}

/// The training pictures that fine-tunes see: all of them (`None`), and one entry for each way in which a rule rebalances them.
pub fn views(policy: &Policy) -> Vec<Option<Rebalance>> {
    let mut views = vec![None];
    for rebalance in policy.rules.iter().filter_map(|rule| rule.probe.rebalance()) {
        if !views.contains(&Some(rebalance.clone())) {
            views.push(Some(rebalance));
        }
    }
    views
}

/// The fine-tunes of an arm that a rule needs in a mode.
pub fn tuning(policy: &Policy, rule: &Rule, arm: Arm, mode: Mode) -> Tuning {
    let view = views(policy).iter().position(|view| *view == rule.probe.rebalance()).unwrap_or(0);
    Tuning { arm, mode: arm.trains(mode), view }
}

/// Fingerprint of all in a policy that decides what an arm does under a rule: whoever changes it asks for another measurement. Where the
/// pictures lie is left out, because data move; so are limits, controls and what groups are made of the same predictions.
pub fn terms(policy: &Policy, rule: &Rule, arm: Arm, mode: Mode) -> Digest {
    let file = &policy.file;
    let trusted = file.reference.as_ref().filter(|_| arm == Arm::Reference).map(|reference| &reference.digest);
    let mut feed = Fingerprinter::new("heirloom measurement", 1);
    feed.field("task", &file.target);
    feed.field("change", &rule.probe.change());
    feed.field("training pictures", &rule.probe.rebalance());
    feed.field("attribute", &rule.probe.compared().map(|compared| compared.attribute));
    feed.field("recipe", &recipe(policy, arm, mode));
    feed.field("seed", &file.seed);
    feed.field("reference", &trusted);
    feed.field("input", &file.input);
    feed.finish()
}

/// The arms that a rule needs in a mode: the source, and one per control that is another network.
pub fn arms(rule: &Rule, mode: Mode) -> Vec<Arm> {
    let controls = rule.controls_for(mode);
    let mut arms = vec![Arm::Source];
    arms.extend(controls.iter().filter_map(|control| match control {
        Control::Sham => None,
        Control::Scratch => Some(Arm::Scratch),
        Control::Reference => Some(Arm::Reference),
    }));
    arms
}

/// The recipe of an arm in a mode: a network from scratch trains fully in both.
pub fn recipe(policy: &Policy, arm: Arm, mode: Mode) -> Option<&Recipe> {
    let transfer = &policy.file.transfer;
    match (arm, mode) {
        (Arm::Scratch, _) => transfer.scratch.as_ref().or(transfer.full_network.as_ref()),
        (_, Mode::FixedFeature) => transfer.fixed_feature.as_ref(),
        (_, Mode::FullNetwork) => transfer.full_network.as_ref(),
    }
}

/// What is judged, one finding for each rule and mode. `trains`: the network can be trained here. An error where the data and the seeds cannot
/// settle a limit.
pub fn findings(policy: &Policy, counts: &Counts, trains: bool) -> Result<Vec<PlannedFinding>, PlanError> {
    pairs(policy).map(|(rule, mode)| finding(policy, counts, rule, mode, trains)).collect()
}

/// All limits that the data and the seeds cannot settle.
pub fn unsettled(policy: &Policy, counts: &Counts) -> Vec<PlanError> {
    // That the network trains is the harder case: all findings are looked at.
    pairs(policy).filter_map(|(rule, mode)| finding(policy, counts, rule, mode, true).err()).collect()
}

fn finding(policy: &Policy, counts: &Counts, rule: &Rule, mode: Mode, trains: bool) -> Result<PlannedFinding, PlanError> {
    let total = pairs(policy).count();
    let controls = rule.controls_for(mode);
    // A control of fewer seeds is paired with the source's first ones; the control of most seeds is the one to reckon with.
    let other = |control: &Control| match control {
        Control::Sham => Arm::Source,
        Control::Scratch => Arm::Scratch,
        Control::Reference => Arm::Reference,
    };
    let paired = controls.iter().map(|control| seeds(policy, other(control), mode));
    let seeds = paired.max_by_key(|seeds| (seeds.most, seeds.first)).unwrap_or(looks(policy, mode));
    let input = PowerInput {
        limit: rule.limit,
        confidence: rule.confidence,
        findings: total,
        controls: controls.len(),
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
    let over_another = (!rule.controls_for(mode).contains(&Control::Sham)).then_some(power::SEED_SD_OVER_ANOTHER);
    let smallest_limit = power::smallest_limit(&input);
    if rule.limit < smallest_limit {
        return Err(PlanError::Cap {
            rule: rule.id.clone(),
            mode,
            limit: rule.limit,
            smallest: smallest_limit,
            test: counts.test,
            clusters: input.clusters,
        });
    }
    Ok(PlannedFinding {
        rule: rule.id.clone(),
        mode,
        controls,
        limit: rule.limit,
        possible: mode == Mode::FixedFeature || trains,
        power: power::power(&PowerInput { seed_sd: over_another.unwrap_or(input.seed_sd), ..input }),
        smallest_limit,
    })
}

/// Plans a certification.
pub fn plan(policy: &Policy, counts: &Counts, means: &Means) -> Result<Plan, PlanError> {
    let speed = means.speed;
    let findings = findings(policy, counts, speed.whole.is_some())?;
    let mut jobs: Vec<Job> = Vec::new();
    for (rule, mode) in pairs(policy) {
        for arm in arms(rule, mode) {
            let recipe = recipe(policy, arm, mode).ok_or_else(|| PlanError::Recipe { rule: rule.id.clone(), arm, mode })?;
            let tuning = tuning(policy, rule, arm, mode);
            if jobs.iter().all(|job| job.tuning != tuning) {
                let cost = cost(policy, tuning, recipe, counts, speed);
                let (once, each) = cost.unwrap_or_default();
                jobs.push(Job { tuning, seeds: asked(policy, tuning), once, each, possible: cost.is_some() });
            }
        }
    }
    // The cheap ones first: what they settle is settled whatever happens to the others.
    jobs.sort_by(|a, b| a.seconds(a.seeds.first).total_cmp(&b.seconds(b.seeds.first)));
    let seconds = [1, 2].map(|look| jobs.iter().map(|job| job.seconds(job.seeds_at(look))).sum());
    let possible: Vec<Job> = jobs.iter().copied().filter(|job| job.possible).collect();
    let [memory, disk] = memory(policy, &possible, counts, means)?;
    Ok(Plan { counts: counts.clone(), speed, findings, jobs, seconds, memory, disk })
}

/// Bytes of a number.
const NUMBER: usize = 4;
/// Bytes of the program itself, with what its threads decode and compute in.
const PROGRAM: u64 = 64 << 20;

/// Bytes that a run takes whatever the number of pictures: the program, weights, and the largest step of any fine-tune.
fn fixed(policy: &Policy, footprint: &Footprint) -> u64 {
    /// Of one inference batch: an operator's input and output, a patch buffer, a shortcut that waits.
    const AT_ONCE: usize = 4;
    // One batch is computed while the next is made.
    let batch = |pictures: usize| 2 * pictures * footprint.picture * NUMBER;
    let evaluated = EVALUATION_BATCH * AT_ONCE * footprint.largest * NUMBER + batch(EVALUATION_BATCH);
    let step = |(rule, mode): (&Rule, Mode)| {
        let trained = arms(rule, mode).into_iter().filter(|arm| arm.trains(mode) == Mode::FullNetwork);
        let recipes = trained.filter_map(|arm| recipe(policy, arm, arm.trains(mode)));
        // Values and gradients; weights, their gradients and their moments.
        let bytes = |r: &Recipe| (r.batch_size * 2 * footprint.activations + 4 * footprint.weights) * NUMBER + batch(r.batch_size);
        recipes.map(bytes).max().unwrap_or(0)
    };
    let largest = pairs(policy).map(step).max().unwrap_or(0).max(evaluated);
    PROGRAM + (largest + footprint.weights * NUMBER) as u64
}

/// Bytes of memory that pictures and features may take: what `memory` has beside all else. Those that do not fit are kept on disk.
pub fn room(policy: &Policy, footprint: &Footprint, memory: Option<u64>) -> u64 {
    memory.map_or(u64::MAX, |memory| memory.saturating_sub(fixed(policy, footprint)))
}

/// Predicted bytes in memory and on disk at the peak, with the room given away in the order in which it is asked for.
fn memory(policy: &Policy, jobs: &[Job], counts: &Counts, means: &Means) -> Result<[u64; 2], PlanError> {
    let footprint = &means.footprint;
    let least = fixed(policy, footprint) + (counts.train + counts.test) as u64 * data::RECORD;
    if let Some(available) = means.memory.filter(|available| least > *available) {
        return Err(PlanError::Memory { needed: least, available });
    }
    let features = |job: &Job| {
        let each = footprint.features * NUMBER;
        // Pictures that are rebalanced are some of those whose features are there.
        let train = if job.tuning.view == 0 { counts.train } else { 0 };
        std::iter::once(train * each).chain(std::iter::repeat_n(counts.test * each, 1 + looks_at(policy, job.tuning)))
    };
    let pictures = [counts.train, counts.test].map(|count| count * footprint.picture);
    let frozen = jobs.iter().filter(|job| job.tuning.mode == Mode::FixedFeature).flat_map(features);
    let mut left = means.memory.map_or(u64::MAX, |memory| memory - least);
    let (mut held, mut disk) = (least, 0);
    for rows in pictures.into_iter().chain(frozen).map(|rows| rows as u64) {
        if let Some(rest) = left.checked_sub(rows) {
            (left, held) = (rest, held + rows);
        } else {
            disk += rows;
        }
    }
    Ok([held, disk])
}

/// Views of the test pictures under a trigger or sham that fine-tunes are shown.
fn looks_at(policy: &Policy, tuned: Tuning) -> usize {
    let rules: BTreeMap<&str, usize> = pairs(policy)
        .filter(|(rule, mode)| arms(rule, *mode).into_iter().any(|arm| tuning(policy, rule, arm, *mode) == tuned))
        .map(|(rule, mode)| {
            let shams = if tuned.arm == Arm::Source && rule.controls_for(mode).contains(&Control::Sham) { SHAM_DRAWS } else { 0 };
            (rule.id.as_str(), if rule.probe.change().is_some() { 1 + shams } else { 0 })
        })
        .collect();
    rules.values().sum()
}

/// Seconds that a job costs once and for each seed, for all rules that share it; `None` where it cannot run.
fn cost(policy: &Policy, tuning: Tuning, recipe: &Recipe, counts: &Counts, speed: Speed) -> Option<(f64, f64)> {
    let evaluated = (counts.test * (1 + looks_at(policy, tuning))) as f64;
    let train = counts.views.get(tuning.view).copied().unwrap_or(counts.train) as f64;
    let trained = train * POOL_SHARE * recipe.epochs as f64;
    match tuning.mode {
        Mode::FixedFeature => Some(((evaluated + counts.train as f64) / speed.features, trained / HEAD_SPEED)),
        Mode::FullNetwork => speed.whole.map(|whole| (0.0, trained / whole.train + evaluated / whole.forward)),
    }
}

/// Pictures a second that a head alone trains on, roughly: heads are never what takes long.
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
        "{rule}@{mode}: with {} and these seeds no source can be shown to be below {limit} (the smallest limit is {smallest:.3}): add test \
         images or seeds, or raise the limit",
        sample(*test, *clusters)
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
        /// Test pictures.
        test: usize,
        /// The effective sample size: independent clusters that the comparison is worth.
        clusters: usize,
    },
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
    #[error("{rule}: the arm {arm:?} in mode {mode} has no recipe: add it under `transfer:`")]
    Recipe {
        /// The rule.
        rule: String,
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
