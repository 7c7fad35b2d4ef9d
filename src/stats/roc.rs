//! How well a score tells planted items from clean ones: the curve, the area under it, and rates at a threshold.
//!
//! An item is called planted where its score is at least the threshold. Triggers tried on one source model are not
//! independent; items therefore name their cluster, and what rests on clusters says so.

use super::clustered::{Tally, share};
use super::{Interval, clopper_pearson, normal, student_t};

/// One labelled item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item {
    /// Greater means more likely planted.
    pub score: f64,
    /// Whether something was planted.
    pub planted: bool,
    /// What it belongs to, the source model.
    pub cluster: u32,
}

/// Rates at one threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Scores from here on count as planted; infinite at the origin, where none does.
    pub threshold: f64,
    /// Share of clean items called planted.
    pub false_positive_rate: f64,
    /// Share of planted items called planted.
    pub true_positive_rate: f64,
}

/// The area under the curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Auc {
    /// Chance that a planted item scores higher than a clean one, ties counted half.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Interval, made on the logit scale.
    pub interval: Interval,
}

/// A threshold and what it does, the threshold taken as fixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operating {
    /// The point on the curve.
    pub point: Point,
    /// Interval of the false-positive rate.
    pub false_positive: Interval,
    /// Interval of the true-positive rate.
    pub true_positive: Interval,
}

/// The curve from (0, 0) to (1, 1), one point for each distinct score; `None` without an item of either kind, or with a score
/// that is not a number.
pub fn curve(items: &[Item]) -> Option<Vec<Point>> {
    let (planted, clean) = sorted(items)?;
    let mut scores: Vec<f64> = planted.iter().chain(&clean).copied().collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    // Not by `total_cmp`: 0 and -0 are one score.
    scores.dedup_by(|a, b| a.partial_cmp(&b).is_some_and(std::cmp::Ordering::is_eq));
    let at = |threshold: f64| Point {
        threshold,
        false_positive_rate: from(&clean, threshold) as f64 / clean.len() as f64,
        true_positive_rate: from(&planted, threshold) as f64 / planted.len() as f64,
    };
    let origin = Point { threshold: f64::INFINITY, false_positive_rate: 0.0, true_positive_rate: 0.0 };
    Some(std::iter::once(origin).chain(scores.into_iter().map(at)).collect())
}

/// The area under the curve (Mann and Whitney), with DeLong's standard error (DeLong, DeLong and Clarke-Pearson 1988, for
/// independent items) and error `alpha` on each side; `None` as for [`curve`], and with a single item of a kind.
pub fn auc(items: &[Item], alpha: f64) -> Option<Auc> {
    let placed = Placements::of(items)?;
    let (m, n) = (placed.planted as f64, placed.clean as f64);
    if placed.planted < 2 || placed.clean < 2 {
        return None;
    }
    let (mut s10, mut s01) = (0.0, 0.0);
    for (item, v) in items.iter().zip(&placed.values) {
        let square = (v - placed.area).powi(2);
        if item.planted { s10 += square / (m - 1.0) } else { s01 += square / (n - 1.0) }
    }
    let variance = s10 / m + s01 / n;
    Some(with_interval(placed.area, variance, m.min(n), normal(alpha), alpha))
}

/// The area under the curve where items of a cluster are alike (Obuchowski 1997): placements are summed by cluster.
///
/// Student's t replaces the normal, with the number of clusters of the scarcer kind less one degrees of freedom, since clusters are
/// few. `None` as for [`curve`], and where items of either kind lie in fewer than two clusters.
pub fn auc_clustered(items: &[Item], alpha: f64) -> Option<Auc> {
    #[derive(Default)]
    struct Sums {
        planted: f64,
        clean: f64,
        planted_items: usize,
        clean_items: usize,
    }
    let placed = Placements::of(items)?;
    let mut clusters: std::collections::BTreeMap<u32, Sums> = std::collections::BTreeMap::new();
    for (item, v) in items.iter().zip(&placed.values) {
        let sums = clusters.entry(item.cluster).or_default();
        if item.planted {
            sums.planted += v - placed.area;
            sums.planted_items += 1;
        } else {
            sums.clean += v - placed.area;
            sums.clean_items += 1;
        }
    }
    let of_planted = clusters.values().filter(|s| s.planted_items > 0).count();
    let of_clean = clusters.values().filter(|s| s.clean_items > 0).count();
    let least = of_planted.min(of_clean);
    if least < 2 {
        return None;
    }
    let (m, n) = (placed.planted as f64, placed.clean as f64);
    let per = |count: usize| count as f64 / (count as f64 - 1.0);
    let sum = |f: &dyn Fn(&Sums) -> f64| clusters.values().map(f).sum::<f64>();
    let s10 = per(of_planted) / m * sum(&|s| s.planted * s.planted);
    let s01 = per(of_clean) / n * sum(&|s| s.clean * s.clean);
    let s11 = per(clusters.len()) * sum(&|s| s.planted * s.clean);
    // Clusters of both kinds can make it negative in a small sample; then what covaries is left out.
    let apart = s10 / m + s01 / n;
    let variance = apart + 2.0 * s11 / (m * n);
    let variance = if variance > 0.0 { variance } else { apart };
    Some(with_interval(placed.area, variance, least as f64, student_t(alpha, least - 1), alpha))
}

/// The lowest threshold whose false-positive rate is at most `rate`, with exact intervals (independent items) at error `alpha` on
/// each side; `None` as for [`curve`]. Where no score keeps to the rate, nothing is called planted.
pub fn operating(items: &[Item], rate: f64, alpha: f64) -> Option<Operating> {
    let point = at_rate(items, rate)?;
    let interval = |planted: bool| {
        let (hits, trials) = count(items.iter().filter(|i| i.planted == planted), point.threshold);
        clopper_pearson(hits as f64, trials as f64, alpha)
    };
    Some(Operating { point, false_positive: interval(false), true_positive: interval(true) })
}

/// The same threshold, with intervals that respect clusters ([`share`]); `None` also where items of either kind lie in fewer than two.
pub fn operating_clustered(items: &[Item], rate: f64, alpha: f64) -> Option<Operating> {
    let point = at_rate(items, rate)?;
    let interval = |planted: bool| {
        let mut clusters: std::collections::BTreeMap<u32, Vec<&Item>> = std::collections::BTreeMap::new();
        items.iter().filter(|i| i.planted == planted).for_each(|i| clusters.entry(i.cluster).or_default().push(i));
        let tally = |members: &Vec<&Item>| {
            let (hits, trials) = count(members.iter().copied(), point.threshold);
            Tally { hits, trials }
        };
        Some(share(&clusters.values().map(tally).collect::<Vec<_>>(), alpha)?.interval)
    };
    Some(Operating { point, false_positive: interval(false)?, true_positive: interval(true)? })
}

fn at_rate(items: &[Item], rate: f64) -> Option<Point> {
    // Rates only rise along the curve; the origin keeps to any rate, also one that is not a number.
    curve(items)?.into_iter().enumerate().take_while(|(at, p)| *at == 0 || p.false_positive_rate <= rate).last().map(|(_, p)| p)
}

fn count<'a>(items: impl Iterator<Item = &'a Item>, threshold: f64) -> (usize, usize) {
    items.fold((0, 0), |(hits, trials), item| (hits + usize::from(item.score >= threshold), trials + 1))
}

/// Scores of planted and of clean items in ascending order.
fn sorted(items: &[Item]) -> Option<(Vec<f64>, Vec<f64>)> {
    let scores = |planted: bool| {
        let mut scores: Vec<f64> = items.iter().filter(|i| i.planted == planted).map(|i| i.score).collect();
        scores.sort_by(f64::total_cmp);
        scores
    };
    let (planted, clean) = (scores(true), scores(false));
    let sound = !planted.is_empty() && !clean.is_empty() && items.iter().all(|i| !i.score.is_nan());
    sound.then_some((planted, clean))
}

/// How many of ascending scores are at least a threshold.
fn from(scores: &[f64], threshold: f64) -> usize {
    scores.len() - scores.partition_point(|s| *s < threshold)
}

/// For every item the share of the other kind that it is told apart from (DeLong's structural components).
struct Placements {
    values: Vec<f64>,
    planted: usize,
    clean: usize,
    area: f64,
}

impl Placements {
    fn of(items: &[Item]) -> Option<Self> {
        let (planted, clean) = sorted(items)?;
        let value = |item: &Item| {
            let others = if item.planted { &clean } else { &planted };
            let below = others.partition_point(|s| *s < item.score) as f64;
            let ties = others.partition_point(|s| *s <= item.score) as f64 - below;
            let lower = (below + 0.5 * ties) / others.len() as f64;
            if item.planted { lower } else { 1.0 - lower }
        };
        let values: Vec<f64> = items.iter().map(value).collect();
        let area = items.iter().zip(&values).filter(|(i, _)| i.planted).map(|(_, v)| v).sum::<f64>() / planted.len() as f64;
        Some(Self { values, planted: planted.len(), clean: clean.len(), area })
    }
}

/// The logit interval; where the variance vanishes (every pair told apart), the exact interval for as many pairs as are independent.
fn with_interval(area: f64, variance: f64, pairs: f64, quantile: f64, alpha: f64) -> Auc {
    let standard_error = variance.max(0.0).sqrt();
    let area = area.clamp(0.0, 1.0);
    let spread = area * (1.0 - area);
    let interval = if standard_error > 1e-12 && spread > 1e-12 {
        let logit = (area / (1.0 - area)).ln();
        let bound = |sign: f64| 1.0 / (1.0 + (-(logit + sign * quantile * standard_error / spread)).exp());
        Interval { low: bound(-1.0), high: bound(1.0) }
    } else {
        clopper_pearson(area * pairs, pairs, alpha)
    };
    Auc { value: area, standard_error, interval }
}

#[cfg(test)]
mod tests;
