//! What would run: pure arithmetic on a policy, counts of data and a speed, before any training.

use serde::Serialize;
use thiserror::Error;

use crate::gate::{Control, Rule};
use crate::policy::{Looks, Policy};
use crate::probe::Arm;
use crate::stats::power::{self, PowerInput};
use crate::transform::SHAM_DRAWS;
use crate::tune::{Mode, POOL_SHARE, Recipe};

/// How much data a target task has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Training pictures.
    pub train: usize,
    /// Test pictures.
    pub test: usize,
    /// Clusters of test pictures.
    pub test_clusters: usize,
    /// Classes.
    pub classes: usize,
}

/// How fast a network runs on this machine, in pictures a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Evaluated.
    pub forward: f64,
    /// Trained on, all of the network.
    pub train: f64,
}

/// Fine-tunes of one arm in one mode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Job {
    /// What they start from.
    pub arm: Arm,
    /// What trains.
    pub mode: Mode,
    /// Seeds of the first look, and in all.
    pub seeds: Looks,
    /// Seconds once (features of a frozen backbone).
    pub once: f64,
    /// Seconds per seed.
    pub each: f64,
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
}

impl Plan {
    /// The seeds of a mode.
    pub fn looks(policy: &Policy, mode: Mode) -> Looks {
        let seeds = &policy.file.seeds;
        match mode {
            Mode::FixedFeature => seeds.fixed_feature.unwrap_or(Looks { first: 3, most: 6 }),
            Mode::FullNetwork => seeds.full_network.unwrap_or(Looks { first: 5, most: 10 }),
        }
    }
}

/// Every rule in each of its modes, in the order of the policy.
pub fn pairs(policy: &Policy) -> impl Iterator<Item = (&Rule, Mode)> {
    policy.file.rules.iter().flat_map(|rule| rule.modes.iter().map(move |mode| (rule, *mode)))
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

/// Plans a certification.
pub fn plan(policy: &Policy, counts: Counts, speed: Speed) -> Result<Plan, PlanError> {
    let total = pairs(policy).count();
    let mut findings = Vec::new();
    let mut jobs: Vec<Job> = Vec::new();
    for (rule, mode) in pairs(policy) {
        let seeds = Plan::looks(policy, mode);
        let controls = rule.controls_for(mode).to_vec();
        let input = PowerInput {
            limit: rule.limit,
            confidence: rule.confidence,
            findings: total,
            controls: controls.len(),
            first: seeds.first,
            most: seeds.most,
            clusters: counts.test_clusters,
            discordance: power::DISCORDANCE,
            seed_sd: match mode {
                Mode::FixedFeature => power::SEED_SD_FIXED_FEATURE,
                Mode::FullNetwork => power::SEED_SD_FULL_NETWORK,
            },
        };
        let smallest_limit = power::smallest_limit(&input);
        if rule.limit < smallest_limit {
            return Err(PlanError::Cap { finding: format!("{}@{mode}", rule.id), limit: rule.limit, smallest: smallest_limit, counts });
        }
        findings.push(PlannedFinding {
            rule: rule.id.clone(),
            mode,
            controls,
            limit: rule.limit,
            power: power::power(&input),
            smallest_limit,
        });
        for arm in arms(rule, mode) {
            let recipe = recipe(policy, arm, mode).ok_or_else(|| PlanError::Recipe { rule: rule.id.clone(), arm, mode })?;
            if !jobs.iter().any(|job| job.arm == arm && job.mode == mode) {
                jobs.push(Job { arm, mode, seeds, once: 0.0, each: 0.0 });
            }
            cost(policy, &mut jobs, arm, mode, recipe, counts, speed);
        }
    }
    let seconds = [0, 1].map(|look| {
        let seeds = |job: &Job| if look == 0 { job.seeds.first } else { job.seeds.most };
        jobs.iter().map(|job| job.once + job.each * seeds(job) as f64).sum()
    });
    Ok(Plan { counts, speed, findings, jobs, seconds })
}

/// Fills in what a job costs, given all rules that share it.
fn cost(policy: &Policy, jobs: &mut [Job], arm: Arm, mode: Mode, recipe: &Recipe, counts: Counts, speed: Speed) {
    let sharing = pairs(policy).filter(|(rule, m)| *m == mode && arms(rule, mode).contains(&arm));
    let looks_at: usize = sharing
        .map(|(rule, _)| if arm == Arm::Source && rule.controls_for(mode).contains(&Control::Sham) { 1 + SHAM_DRAWS } else { 1 })
        .sum();
    let evaluate = (counts.test * (1 + looks_at)) as f64 / speed.forward;
    let trained = counts.train as f64 * POOL_SHARE * recipe.epochs as f64;
    // A scratch network that full-network rules train anyway serves fixed-feature rules too.
    let shared = arm == Arm::Scratch && mode == Mode::FixedFeature && jobs.iter().any(|j| j.arm == arm && j.mode == Mode::FullNetwork);
    let Some(job) = jobs.iter_mut().find(|job| job.arm == arm && job.mode == mode) else { return };
    (job.once, job.each) = match (arm, mode) {
        _ if shared => (0.0, 0.0),
        (Arm::Source | Arm::Reference, Mode::FixedFeature) => (evaluate + counts.train as f64 / speed.forward, trained / HEAD_SPEED),
        _ => (0.0, trained / speed.train + evaluate),
    };
}

/// Pictures a second that a head alone trains on, roughly: heads are never what takes long.
const HEAD_SPEED: f64 = 100_000.0;

/// Why a policy cannot be run as it stands.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Not enough data or seeds for the limit.
    #[error(
        "{finding}: with {} test pictures in {} clusters and these seeds no source can be shown to be below {limit} (the smallest limit is \
         {smallest:.3}): add test pictures or seeds, or raise the limit",
        counts.test,
        counts.test_clusters
    )]
    Cap {
        /// `rule@mode`.
        finding: String,
        /// Its limit.
        limit: f64,
        /// What could be reached.
        smallest: f64,
        /// The data.
        counts: Counts,
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
