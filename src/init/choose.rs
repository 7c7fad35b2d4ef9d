//! Which policy: the most that pictures can settle and a time allows. Arithmetic on what is known of model, pictures and machine, by the planner
//! that `plan` and `certify` ask too.

use std::collections::BTreeMap;
use std::path::Path;

use super::draft::{Draft, For, LIMITS, MOST, Shape};
use super::error::InitError;
use super::pictures::{FEWEST_FULL, FEWEST_TEST, FEWEST_TRAIN, Pictures, View};
use crate::engine::EngineError;
use crate::plan::{self, Counts, MachineProfile, Plan, PlanError};
use crate::policy::{self, Policy};

/// Seconds of a run beside fine-tunes, roughly: the checkpoint is opened, its speed measured, the embedded pair certified, a linear head trained on
/// shrunk pictures.
pub(super) const BESIDE: f64 = 15.0;
/// A machine is measured at its fastest step; this much slower it may be for minutes.
const SLOWER: f64 = 1.2;
/// The chance of a pass, for a source without any effect, from which on pictures settle a limit.
const SETTLED: f64 = 0.8;

/// How much is asked, the most first.
const SHAPES: [Shape; 4] =
    [Shape { rules: 3, full: true }, Shape { rules: 3, full: false }, Shape { rules: 2, full: false }, Shape { rules: 1, full: false }];
/// Shares of these that are tried, the most first.
const SCALES: [f64; 10] = [1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.09, 0.06, 0.04];

/// What the choice rests on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    /// What it is for, and the time that may be spent.
    pub of: For<'a>,
    /// The machine.
    pub profile: &'a MachineProfile,
    /// Seconds that a picture takes to be read.
    pub reading: f64,
    /// The share of the pictures that train, and of those that measure, that counts: copies do not.
    pub distinct: [f64; 2],
}

/// A draft with the policy that it stands for.
#[derive(Debug)]
pub(super) struct Chosen {
    pub draft: Draft,
    pub policy: Policy,
}

/// The policy that asks the most, of those that fit into the time; before that, one of the least limit.
pub(super) fn choose(given: &Given) -> Result<Chosen, InitError> {
    let For { pictures, most, trains, .. } = given.of;
    let mut asked = Vec::new();
    for shape in SHAPES.into_iter().filter(|shape| trains || !shape.full) {
        let first = sized(pictures, SCALES[0], shape).map(|[train, test]| draft(shape, train, test, LIMITS[0]));
        if let Some(first) = first {
            asked.push((shape, written(&given.of, &first)?.1));
        }
    }
    let mut least = f64::INFINITY;
    for limit in LIMITS {
        for (shape, policy) in &asked {
            for [train, test] in SCALES.into_iter().map_while(|scale| sized(pictures, scale, *shape)) {
                let counts = counts(given, train, test);
                // Fewer pictures do not settle what these do not.
                let Some((plan, power)) = settled(policy, limit, &counts, given.profile)? else { break };
                let seconds = seconds(&plan, given.reading * (train.images + test.images) as f64);
                if seconds[1] > most {
                    least = least.min(seconds[1]);
                    continue;
                }
                let draft = Draft { power, seconds, ..draft(*shape, train, test, limit) };
                return Ok(Chosen { draft, policy: written(&given.of, &draft)?.1 });
            }
        }
    }
    if least.is_finite() {
        return Err(InitError::time(given.of.model, most, least));
    }
    let distinct = View::of(&pictures.test, MOST[1], FEWEST_TEST).images as f64 * given.distinct[1];
    Err(InitError::Unsettled { data: given.of.data.to_string(), distinct: distinct.floor() as usize, limit: LIMITS[LIMITS.len() - 1] })
}

/// Whether a policy is what its pictures can settle within the time, now that they were read. What was estimated before is corrected.
pub(super) fn holds(draft: &mut Draft, policy: &Policy, counts: &Counts, given: &Given) -> Result<bool, InitError> {
    let Some((plan, power)) = settled(policy, draft.limit, counts, given.profile)? else { return Ok(false) };
    draft.power = power;
    draft.seconds = seconds(&plan, given.reading * (draft.train.images + draft.test.images) as f64);
    Ok(draft.seconds[1] <= given.of.most)
}

/// The policy of a draft, as text and as it is read.
pub(super) fn written(of: &For, draft: &Draft) -> Result<(String, Policy), InitError> {
    let text = draft.text(of);
    let options = policy::Options { files: false, ..policy::Options::default() };
    let (policy, _) = policy::parse(&text, "policy.yaml", Path::new("."), &options)?;
    Ok((text, policy))
}

fn draft(shape: Shape, train: View, test: View, limit: f64) -> Draft {
    Draft { shape, train, test, limit, power: 0.0, seconds: [0.0; 2] }
}

/// The pictures that train and that measure at a scale, where these are enough.
fn sized(pictures: &Pictures, scale: f64, shape: Shape) -> Option<[View; 2]> {
    let most = MOST.map(|most| (most as f64 * scale).round() as usize);
    let [train, test] = [View::of(&pictures.train, most[0], FEWEST_TRAIN), View::of(&pictures.test, most[1], FEWEST_TEST)];
    let enough = train.rarest >= FEWEST_TRAIN && test.rarest >= FEWEST_TEST && (!shape.full || train.images >= FEWEST_FULL);
    enough.then_some([train, test])
}

/// What there is of these views.
fn counts(given: &Given, train: View, test: View) -> Counts {
    let [trains, measures] = given.distinct;
    let train = (train.images as f64 * trains).floor() as usize;
    Counts {
        train,
        test: test.images,
        test_clusters: (test.images as f64 * measures).floor() as usize,
        classes: given.of.pictures.classes.len(),
        views: vec![train],
        worth: BTreeMap::new(),
    }
}

/// The plan of a policy with this limit, where the pictures settle it, and the least chance of a pass.
fn settled(policy: &Policy, limit: f64, counts: &Counts, profile: &MachineProfile) -> Result<Option<(Plan, f64)>, InitError> {
    let mut policy = policy.clone();
    policy.rules.iter_mut().for_each(|rule| rule.limit = limit);
    match plan::plan(&plan::resolve(&policy), counts, profile) {
        Ok(plan) => {
            let power = plan.findings.iter().filter(|finding| finding.possible).map(|finding| finding.power).fold(1.0, f64::min);
            Ok((power >= SETTLED).then_some((plan, power)))
        }
        Err(PlanError::Cap { .. } | PlanError::Several(_)) => Ok(None),
        Err(other) => Err(EngineError::from(other).into()),
    }
}

/// Seconds of a run at least and at most; `reading` of them for the pictures.
fn seconds(plan: &Plan, reading: f64) -> [f64; 2] {
    plan.seconds.map(|seconds| BESIDE + reading + SLOWER * seconds)
}
