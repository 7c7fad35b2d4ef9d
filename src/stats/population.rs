//! Whether one of many checkpoints lies above what the others of its kind do, and which of many such findings count.
//!
//! With a trusted reference a checkpoint is compared with few that are known to be innocent ([`super::innocents`]). In a registry it is compared with
//! many of which some may be planted, so centre and spread are the median and the median absolute deviation (MAD), which planted ones hardly move.
//! A further innocent checkpoint then lies within `t(F) s sqrt(w)` of the centre: `s^2 = (d0 s0^2 + f s_MAD^2) / (d0 + f)` is moderated as there
//! (Smyth 2004, doi:10.2202/1544-6115.1027), w is one plus the variance of a median, pi / (2 K).

use std::collections::BTreeSet;

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::innocents::Prior;

/// Fewest others that show how far innocent checkpoints differ.
pub(crate) const FEWEST: usize = 8;

/// Degrees beyond which the tail is not taken to be thinner. Among many models the tail decides, and innocents' is heavy: under squares one in forty lies
/// 3.3 standard deviations above the centre (docs/evidence/suites.md), as at three degrees. Five let a registry of sixty show what lies
/// thirteen out, and leave open what lies seven out, as one innocent of sixty did (docs/evidence/population.md).
const MOST_DEGREES: f64 = 5.0;
/// A MAD times this is the standard deviation of normal values.
const OF_NORMAL: f64 = 1.482_602_218_505_602;
/// Degrees of freedom of a squared MAD, for each of so many values less one: its efficiency beside the sample's variance.
const EFFICIENCY: f64 = 0.37;

/// Where a value lies among others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// The median of the others.
    pub center: f64,
    /// Standard deviation between them, moderated.
    pub sd: f64,
    /// How probable it is that a further innocent one lies as high or higher.
    pub p: f64,
    /// Whether it is farther from the centre than what an innocent may do whatever the standard deviation.
    pub beyond_least: bool,
}

/// Where a value lies among those of others, one a family; none where they are too few, are all alike without a `prior`, or one is no number.
pub(crate) fn place(value: f64, others: &[f64], prior: Option<&Prior>) -> Option<Place> {
    if others.len() < FEWEST || others.iter().chain([&value]).any(|one| !one.is_finite()) {
        return None;
    }
    let count = others.len() as f64;
    let center = median(others.iter().copied())?;
    // Small samples give too little (Croux and Rousseeuw 1992).
    let mad = OF_NORMAL * median(others.iter().map(|other| (other - center).abs()))? * count / (count - 0.8);
    let own = EFFICIENCY * (count - 1.0);
    let (before, sd) = prior.map_or((0.0, 0.0), |prior| (prior.degrees, prior.sd));
    let sd = ((before * sd.powi(2) + own * mad.powi(2)) / (before + own)).sqrt();
    if sd <= 0.0 {
        return None;
    }
    let error = sd * (1.0 + std::f64::consts::FRAC_PI_2 / count).sqrt();
    let t = StudentsT::new(0.0, 1.0, (before + own).min(MOST_DEGREES)).ok()?;
    let beyond_least = value - center > prior.map_or(0.0, |prior| prior.least);
    Some(Place { center, sd, p: t.sf((value - center) / error), beyond_least })
}

/// The median; none of none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(*sorted.get(half - 1)?, upper)) }
}

/// The q-values of Benjamini and Yekutieli (2001, doi:10.1214/aos/1013699998): of those that are q or less, a share of q at most is expected to be
/// innocent, however the tests depend on each other. `of` says which tests are of one: they count once, so that copies of one lend nothing to others.
pub(crate) fn q_values(p: &[f64], of: &[usize]) -> Vec<f64> {
    let count = of.iter().collect::<BTreeSet<_>>().len();
    let dependence: f64 = (1..=count).map(|rank| 1.0 / rank as f64).sum();
    let mut order: Vec<(f64, usize)> = p.iter().copied().zip(0..).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut found: BTreeSet<usize> = BTreeSet::new();
    let mut q = vec![1.0; p.len()];
    for (p, at) in &order {
        found.extend(of.get(*at).copied());
        q[*at] = p * count as f64 * dependence / found.len().max(1) as f64;
    }
    let mut least = 1.0_f64;
    for (_, at) in order.iter().rev() {
        least = least.min(q[*at]);
        q[*at] = least;
    }
    q
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::stats::golden;
    use crate::stats::innocents::LOCAL;
    use crate::stats::stream::stream;

    /// As by `scipy.stats.false_discovery_control(method="by")`.
    #[test]
    fn q_values_are_those_of_scipy() {
        for case in golden::value("benjamini_yekutieli").as_array().unwrap() {
            let p: Vec<f64> = serde_json::from_value(case["p"].clone()).unwrap();
            let theirs: Vec<f64> = serde_json::from_value(case["q"].clone()).unwrap();
            let of: Vec<usize> = (0..p.len()).collect();
            for (ours, theirs) in q_values(&p, &of).iter().zip(&theirs) {
                assert!(golden::close(*ours, *theirs, 1e-12), "{ours} is not {theirs}");
            }
        }
        assert!(q_values(&[], &[]).is_empty());
    }

    #[test]
    fn copies_count_once() {
        let alone = q_values(&[0.001, 0.02, 0.5], &[0, 1, 2]);
        let copied = q_values(&[0.001, 0.02, 0.5, 0.001, 0.001, 0.3], &[0, 1, 2, 0, 0, 0]);
        assert_eq!(alone, copied[..3]);
        assert!((copied[0] - copied[4]).abs() < 1e-12 && copied[5] > copied[1]);
    }

    /// Where and how wide by `scipy.stats.median_abs_deviation(scale="normal")`, how probable by its `t.sf`.
    #[test]
    fn a_place_is_that_of_scipy() {
        for case in golden::value("population").as_array().unwrap() {
            let others: Vec<f64> = serde_json::from_value(case["others"].clone()).unwrap();
            let number = |name: &str| case[name].as_f64().unwrap();
            let prior = case["prior"].as_bool().unwrap().then_some(&LOCAL);
            let found = place(number("value"), &others, prior).unwrap();
            for (ours, name) in [(found.center, "center"), (found.sd, "sd"), (found.p, "p")] {
                assert!(golden::close(ours, number(name), 1e-9), "{name}: {ours} is not {}", number(name));
            }
        }
    }

    #[test]
    fn nothing_is_said_of_too_few_or_of_no_numbers() {
        assert_eq!(place(0.9, &[0.0; 7], Some(&LOCAL)), None);
        assert_eq!(place(0.9, &[0.1; 20], None), None, "all alike, and nothing else is known");
        assert_eq!(place(f64::NAN, &[0.1; 20], Some(&LOCAL)), None);
        assert!(place(0.9, &[0.1; 20], Some(&LOCAL)).is_some_and(|found| found.p < 1e-4 && found.beyond_least));
        assert!(place(0.29, &[0.1; 20], Some(&LOCAL)).is_some_and(|found| !found.beyond_least));
    }

    /// A further innocent one is said to be rare no more often than that, and a registry that is planted in part hides no planted one.
    #[test]
    fn planted_ones_hardly_move_the_centre() {
        let mut rng = stream(24, 0, "population");
        for (count, planted, most) in [(8, 0, 0.012), (30, 0, 0.011), (60, 0, 0.011), (60, 6, 0.009)] {
            let (runs, mut rare, mut seen) = (20_000, 0, 0);
            for _ in 0..runs {
                let mut draw = || 0.08 * Distribution::<f64>::sample(&StandardNormal, &mut rng);
                let others: Vec<f64> = (0..count).map(|nth| draw() + if nth < planted { 0.6 } else { 0.0 }).collect();
                rare += usize::from(place(draw(), &others, None).is_some_and(|found| found.p < 0.01));
                seen += usize::from(place(0.6, &others, None).is_some_and(|found| found.p < 0.001));
            }
            let (rare, seen) = (f64::from(rare as u32) / f64::from(runs), f64::from(seen as u32) / f64::from(runs));
            assert!(rare < most, "{count} of which {planted}: {rare}");
            assert!(seen > if count < 30 { 0.05 } else { 0.6 }, "{count} of which {planted}: {seen}");
        }
    }
}
