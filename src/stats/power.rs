//! What a plan can hope for: the chance that a source without an effect passes.
//!
//! Planning values stand in for what is not known before a run; they decide nothing afterwards.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

use super::crossed::between_seeds;
use super::{student_t, wilson};

/// Share of the one-sided error that each of two looks spends.
pub const LOOK_SHARES: [f64; 2] = [0.2, 0.8];
/// Share of images on which source and control differ, assumed where nothing is known.
pub const DISCORDANCE: f64 = 0.1;
/// Standard deviation of the excess between seeds, fixed-feature mode.
pub const SEED_SD_FIXED_FEATURE: f64 = 0.02;
/// Standard deviation of the excess between seeds, full-network mode.
pub const SEED_SD_FULL_NETWORK: f64 = 0.03;

/// The same over another network: 0.03 to 0.15 was seen over networks from scratch, 0.01 to 0.03 over shams (docs/evidence/calibration.md).
pub const SEED_SD_OVER_ANOTHER: f64 = 0.1;

/// One finding of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerInput {
    /// Greatest excess that is accepted.
    pub limit: f64,
    /// Two-sided confidence of the policy, unshared.
    pub confidence: f64,
    /// In how many ways the finding can pass, which share the error. Other findings do not: a run passes only where all do.
    pub ways: usize,
    /// Seeds of the first look.
    pub first: usize,
    /// Seeds in all.
    pub most: usize,
    /// Clusters of test images (images, where each stands for itself).
    pub clusters: usize,
    /// Assumed share of images on which source and control differ ([`DISCORDANCE`]): the variance of one image's excess.
    pub discordance: f64,
    /// What choosing on halves adds to the variance of images where nothing stands out, as a share of it.
    pub choice: f64,
    /// The correlation of two halves of the seeds, where these choose for each other and nothing stands out; else 0.
    pub seeds_choose: f64,
    /// Assumed standard deviation of the excess between seeds.
    pub seed_sd: f64,
}

/// The error on one side that a finding may spend at a look.
///
/// `look` counts from 1. Where `only_look` says that the plan has a single look, it spends everything.
pub fn error_share(confidence: f64, findings: usize, look: usize, only_look: bool) -> f64 {
    let share = match look {
        _ if only_look => 1.0,
        0 | 1 => LOOK_SHARES[0],
        _ => LOOK_SHARES[1],
    };
    (1.0 - confidence) / 2.0 / findings.max(1) as f64 * share
}

/// The probability that a source whose true excess is 0 passes, at the planning values.
///
/// A lower bound: the better of the two looks alone, against one control. The chance variation of the seeds' variance
/// is averaged over (a chi-square of `S - 1` degrees), because with three seeds it decides much.
pub fn power(plan: &PowerInput) -> f64 {
    looks(plan).into_iter().map(|(seeds, alpha)| at_look(plan, seeds, alpha)).fold(0.0, f64::max)
}

/// The smallest limit that the plan can hope to pass: the half-width at the last look for planning values, below which
/// a source without an effect is more likely left undecided than passed. Plans refuse limits under it.
pub fn smallest_limit(plan: &PowerInput) -> f64 {
    looks(plan).into_iter().map(|(seeds, alpha)| half_width(plan, seeds, alpha, 1.0)).fold(f64::INFINITY, f64::min)
}

/// The fewest clusters of test images with which a plan can hope to pass its limit, if any number does with its seeds.
pub fn clusters(plan: &PowerInput) -> Option<usize> {
    /// More than anybody has.
    const MOST: usize = 10_000_000;
    let enough = |clusters: usize| smallest_limit(&PowerInput { clusters, ..*plan }) <= plan.limit;
    let (mut too_few, mut most) = (1, MOST);
    if !enough(most) {
        return None;
    }
    while most - too_few > 1 {
        let middle = usize::midpoint(too_few, most);
        if enough(middle) { most = middle } else { too_few = middle }
    }
    Some(most)
}

/// Seeds and pass-side error of each look.
fn looks(plan: &PowerInput) -> Vec<(usize, f64)> {
    let only = plan.most <= plan.first;
    let alpha = |look| error_share(plan.confidence, 1, look, only) / plan.ways.max(1) as f64;
    if only { vec![(plan.first, alpha(1))] } else { vec![(plan.first, alpha(1)), (plan.most, alpha(2))] }
}

/// Half-width when the seeds' sample variance is `ratio` times the true one.
fn half_width(plan: &PowerInput, seeds: usize, alpha: f64, ratio: f64) -> f64 {
    if seeds < 2 || plan.clusters < 2 {
        return f64::INFINITY;
    }
    let chosen = 1.0 + between_seeds(plan.seeds_choose, [seeds.div_ceil(2), seeds / 2]);
    let seed = student_t(alpha, seeds - 1).powi(2) * ratio * chosen * plan.seed_sd.powi(2) / seeds as f64;
    let image = student_t(alpha, plan.clusters - 1).powi(2) * image_variance(plan);
    (seed + image).sqrt().max(wilson(0.0, plan.clusters, alpha).high)
}

/// Variance of the excess that stems from the images.
fn image_variance(plan: &PowerInput) -> f64 {
    plan.discordance.max(0.0) * (1.0 + plan.choice) / plan.clusters as f64
}

fn at_look(plan: &PowerInput, seeds: usize, alpha: f64) -> f64 {
    /// Points of the midpoint rule over the quantiles of the variance.
    const POINTS: usize = 64;
    let freedom = seeds.saturating_sub(1) as f64;
    let Ok(spread) = ChiSquared::new(freedom.max(1.0)) else { return 0.0 };
    if seeds < 2 || plan.clusters < 2 {
        return 0.0;
    }
    let sd = (plan.seed_sd.powi(2) * (1.0 + plan.seeds_choose) / seeds as f64 + image_variance(plan)).sqrt().max(1e-9);
    let standard = Normal::standard();
    let chance = |i: usize| {
        let ratio = spread.inverse_cdf((i as f64 + 0.5) / POINTS as f64) / freedom;
        standard.cdf((plan.limit - half_width(plan, seeds, alpha, ratio)) / sd)
    };
    (0..POINTS).map(chance).sum::<f64>() / POINTS as f64
}

/// Test images at which an interval of known parts would reach `distance`, or the seeds where images do not help.
///
/// `seed` and `image` are the squared parts of [`Crossed::parts`](super::crossed::Crossed::parts).
pub fn needed(seed: f64, image: f64, distance: f64, seeds: usize, images: usize) -> Needed {
    // Closer than this and the estimate's own error decides the answer.
    if distance < 0.005 {
        return Needed::Hopeless;
    }
    let goal = distance * distance;
    if image >= seed && seed < 0.9 * goal {
        return Needed::Images((images as f64 * (image / (goal - seed)).max(1.0) * 1.1).ceil() as usize);
    }
    let count = (seeds as f64 * ((seed + image) / goal).max(1.0)).ceil() as usize;
    if count > 100 { Needed::Hopeless } else { Needed::Seeds(count.max(seeds + 1)) }
}

/// What would settle a finding, estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// This many test images.
    Images(usize),
    /// This many seeds.
    Seeds(usize),
    /// The effect is about as large as the limit.
    Hopeless,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal;

    fn plan() -> PowerInput {
        PowerInput {
            limit: 0.15,
            confidence: 0.95,
            ways: 1,
            first: 3,
            most: 6,
            clusters: 200,
            discordance: DISCORDANCE,
            choice: 0.0,
            seeds_choose: 0.0,
            seed_sd: SEED_SD_FIXED_FEATURE,
        }
    }

    #[test]
    fn the_planned_power_grows_with_everything_that_should_help() {
        let base = power(&plan());
        assert!(base > 0.99, "{base}");
        assert!(power(&PowerInput { clusters: 40, ..plan() }) < base);
        assert!(power(&PowerInput { limit: 0.05, ..plan() }) < 0.5);
        assert!(power(&PowerInput { most: 3, ..plan() }) < base);
        assert!(power(&PowerInput { seed_sd: 0.1, ..plan() }) < base);
        assert!(power(&PowerInput { ways: 2, ..plan() }) <= base);
        assert!(power(&PowerInput { limit: smallest_limit(&plan()), ..plan() }) > 0.4);
        assert!(power(&PowerInput { limit: smallest_limit(&plan()) * 0.5, ..plan() }) < 0.2);
    }

    #[test]
    fn how_many_images_would_do_is_the_fewest_that_do() {
        let strict = PowerInput { limit: 0.05, ..plan() };
        let fewest = clusters(&strict).expect("some number");
        let limit = |clusters| smallest_limit(&PowerInput { clusters, ..strict });
        assert!(limit(fewest) <= strict.limit && limit(fewest - 1) > strict.limit, "{fewest}");
        assert_eq!(clusters(&PowerInput { limit: 0.001, ..strict }), None, "seeds differ by more");
    }

    #[test]
    fn without_a_second_seed_or_image_nothing_can_pass() {
        for broken in
            [PowerInput { first: 1, most: 1, ..plan() }, PowerInput { first: 0, most: 0, ..plan() }, PowerInput { clusters: 1, ..plan() }]
        {
            assert!(power(&broken).abs() < 1e-12);
            assert!(smallest_limit(&broken).is_infinite());
        }
    }

    #[test]
    fn many_seeds_approach_the_closed_form() {
        let p = PowerInput { first: 100_000, most: 100_000, seed_sd: 0.0, clusters: 100_000, limit: 0.003, ..plan() };
        // sd 0.001, z 1.96: (0.003 - 0.00196) / 0.001 = 1.04 -> 0.851.
        assert!((power(&p) - 0.851).abs() < 0.003, "{}", power(&p));
        assert!((smallest_limit(&p) - 0.001 * normal(0.025)).abs() < 1e-5);
    }

    #[test]
    fn hints_scale_what_dominates() {
        assert_eq!(needed(0.0, 0.01, 0.05, 3, 100), Needed::Images(440));
        assert_eq!(needed(0.01, 0.0, 0.05, 3, 100), Needed::Seeds(12));
        assert_eq!(needed(0.01, 0.01, 0.001, 3, 100), Needed::Hopeless);
        assert_eq!(needed(1.0, 0.0, 0.01, 3, 100), Needed::Hopeless);
    }
}
