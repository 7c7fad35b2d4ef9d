//! A share of hits where what is counted comes in clusters.

use super::exact::clopper_pearson;
use super::{Interval, student_t};

/// Hits and trials of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Hits, at most `trials`.
    pub hits: usize,
    /// Trials.
    pub trials: usize,
}

/// A share over clusters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Hits over trials, all clusters together.
    pub rate: f64,
    /// How many times as large as for independent trials the variance is, at least 1; the mean number of trials to a cluster
    /// where no trial or every trial is a hit.
    pub design_effect: f64,
    /// Independent trials that would be worth as much.
    pub effective: f64,
    /// Its interval.
    pub interval: Interval,
}

/// The share of hits and its interval with error `alpha` on each side: the exact interval for the effective sample size
/// (Korn and Graubard 1998), from the design effect of the ratio of hits to trials (Rao and Scott 1992).
///
/// Where nothing or everything is a hit, clusters show nothing about how alike their trials are; then each counts as one trial.
/// `None` with fewer than two clusters that have a trial, or with more hits than trials.
pub fn share(tallies: &[Tally], alpha: f64) -> Option<Share> {
    let used: Vec<&Tally> = tallies.iter().filter(|t| t.trials > 0).collect();
    let clusters = used.len();
    if clusters < 2 || tallies.iter().any(|t| t.hits > t.trials) {
        return None;
    }
    let k = clusters as f64;
    let trials = used.iter().map(|t| t.trials as f64).sum::<f64>();
    let rate = used.iter().map(|t| t.hits as f64).sum::<f64>() / trials;
    let independent = rate * (1.0 - rate) / trials;
    let (design_effect, effective) = if independent > 0.0 {
        let squares = used.iter().map(|t| (t.hits as f64 - rate * t.trials as f64).powi(2)).sum::<f64>();
        let effect = (k / (k - 1.0) * squares / trials.powi(2) / independent).max(1.0);
        // The design effect is estimated from few clusters: the ratio of quantiles pays for that.
        let freedom = student_t(alpha, trials as usize - 1) / student_t(alpha, clusters - 1);
        (effect, trials / effect * if freedom.is_finite() { freedom.powi(2).min(1.0) } else { 1.0 })
    } else {
        (trials / k, k)
    };
    Some(Share { rate, design_effect, effective, interval: clopper_pearson(rate * effective, effective, alpha) })
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::stats::golden::{close, list, value};
    use crate::stats::stream::stream;

    fn tallies(counts: &[(usize, usize)]) -> Vec<Tally> {
        counts.iter().map(|&(hits, trials)| Tally { hits, trials }).collect()
    }

    #[test]
    fn the_interval_agrees_with_the_formula_in_scipy() {
        for case in value("clustered").as_array().expect("a list") {
            let hits = list(&case["tallies"]);
            let got = share(&tallies(&hits.iter().map(|r| (r[0] as usize, r[1] as usize)).collect::<Vec<_>>()), 0.025).expect("clusters");
            let want = list(&case["want"])[0].clone();
            let all = [got.rate, got.design_effect, got.effective, got.interval.low, got.interval.high];
            assert!(all.iter().zip(&want).all(|(a, b)| close(*a, *b, 1e-9)), "{all:?} against {want:?}");
        }
    }

    #[test]
    fn clusters_that_agree_count_once() {
        let alike = share(&tallies(&[(10, 10), (0, 10), (10, 10), (0, 10), (10, 10), (0, 10)]), 0.025).expect("six clusters");
        assert!(alike.design_effect > 10.0 && alike.effective < 6.0, "{alike:?}");
        let all = share(&tallies(&[(10, 10); 6]), 0.025).expect("six clusters");
        assert!(close(all.effective, 6.0, 1e-12) && all.interval.low < 0.6, "{all:?}");
        let even = share(&tallies(&[(5, 10); 6]), 0.025).expect("six clusters");
        assert!(close(even.design_effect, 1.0, 1e-12), "a share more even than chance gains nothing: {even:?}");
    }

    #[test]
    fn too_little_is_no_share() {
        assert_eq!(share(&[], 0.025), None);
        assert_eq!(share(&tallies(&[(1, 2), (0, 0)]), 0.025), None);
        assert_eq!(share(&tallies(&[(1, 2), (3, 2)]), 0.025), None);
        let single = share(&tallies(&[(1, 1), (0, 1)]), 0.025).expect("two clusters");
        assert!(single.interval.low >= 0.0 && single.interval.high <= 1.0);
    }

    #[test]
    fn the_interval_covers_where_clusters_differ() {
        let mut rng = stream(21, 0, "clustered");
        let (runs, rate) = (600, 0.3);
        let hits = (0..runs).filter(|_| {
            // Two of three trials of a cluster share one throw.
            let one = |_| {
                let common = rng.random::<f64>() < rate;
                let hit = (0..8).filter(|i| if i % 3 == 0 { rng.random::<f64>() < rate } else { common }).count();
                Tally { hits: hit, trials: 8 }
            };
            let all: Vec<Tally> = (0..12).map(one).collect();
            share(&all, 0.025).is_some_and(|s| s.interval.low <= rate && rate <= s.interval.high)
        });
        let coverage = hits.count() as f64 / f64::from(runs);
        assert!((0.93..=1.0).contains(&coverage), "{coverage}");
    }
}
