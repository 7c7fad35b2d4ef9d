//! How far innocent checkpoints lie from each other, and a new one from their centre.
//!
//! Effects of K references under one trigger are a small sample of what innocent checkpoints do. Their centre is the mean of one or two of
//! them and the median of more, because one of several may have been tampered with. Their spread is that about the median, with the largest deviation
//! left out, moderated towards a prior that comes from elsewhere (Smyth 2004, doi:10.2202/1544-6115.1027):
//! `s^2 = (d0 s0^2 + f s_K^2) / (d0 + f)`. A new innocent checkpoint then lies within `t(F) s sqrt(w)` of the centre, w being one (its own variance)
//! plus the variance of the centre in units of that of one checkpoint.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::student_t_real;

/// What is known of innocent checkpoints before any is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Standard deviation between them.
    pub sd: f64,
    /// What it is worth in degrees of freedom.
    pub degrees: f64,
    /// How far from their centre one in forty of them lay: what lies nearer is an innocent's, whatever the standard deviation.
    pub least: f64,
}

/// Under local triggers: what sixty innocent networks of three architectures do under squares of a quarter of the side, on the embedded task
/// (docs/evidence/suites.md). What is measured on one task is known to ten degrees on others.
pub const LOCAL: Prior = Prior { sd: 0.06, degrees: 10.0, least: 0.20 };

/// The same of the largest flow from one class to another, which rests on the images of one class.
pub const LOCAL_FLOW: Prior = Prior { sd: 0.14, degrees: 10.0, least: 0.48 };

/// The same of the share that is called something else.
pub const LOCAL_FLIPS: Prior = Prior { sd: 0.075, degrees: 10.0, least: 0.20 };

/// The attraction under patches of one colour of at most an eighth of the side: the same sixty differ by 0.007 and lie 0.03 from their median at
/// most, thirty others by 0.014. More is taken, because a prior that is too small fails innocents (docs/decisions/shams-and-references.md).
pub const SMALL: Prior = Prior { sd: 0.02, degrees: 10.0, least: 0.10 };

/// Degrees beyond which a quantile is not narrowed: with more, innocents whose differences have heavy tails fail too often (docs/method.md).
const MOST_DEGREES: f64 = 8.0;

/// For K from 3 on: the variance of the median of K normal values in units of one's; what the sum of squared deviations from the median, the
/// largest left out, is multiplied by to estimate the variance; and the degrees of freedom of that estimate (twice its squared mean over its variance).
/// By simulation of 4 million samples each; `tests` simulates them anew.
const OF_MEDIAN: [(f64, f64, f64); 18] = [
    (0.446, 2.8917, 0.79),
    (0.298, 1.0648, 1.64),
    (0.286, 0.6193, 2.58),
    (0.215, 0.4369, 3.56),
    (0.211, 0.3197, 4.44),
    (0.168, 0.2581, 5.42),
    (0.167, 0.2109, 6.30),
    (0.138, 0.1810, 7.35),
    (0.138, 0.1549, 8.27),
    (0.118, 0.1378, 9.26),
    (0.117, 0.1223, 10.15),
    (0.102, 0.1111, 11.13),
    (0.101, 0.1002, 12.06),
    (0.090, 0.0926, 13.09),
    (0.090, 0.0849, 13.96),
    (0.081, 0.0792, 14.92),
    (0.081, 0.0736, 16.02),
    (0.074, 0.0691, 17.01),
];

/// Which of several effects make their centre, by index: both of two, the middle one or the middle two of more.
pub fn center(effects: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..effects.len()).collect();
    if order.len() < 3 {
        return order;
    }
    order.sort_by(|a, b| effects[*a].total_cmp(&effects[*b]));
    let half = order.len() / 2;
    if order.len() % 2 == 1 { vec![order[half]] } else { vec![order[half - 1], order[half]] }
}

/// The centre of several effects; none of none.
pub fn middle(effects: &[f64]) -> Option<f64> {
    let center = center(effects);
    (!center.is_empty()).then(|| mean(center.into_iter().map(|at| effects[at])))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / f64::max(count, 1.0)
}

/// Standard deviation of a new innocent checkpoint's distance from the centre of `count` references, where innocent ones differ by the standard
/// deviation `sd`; none of none, or of more than 20.
pub fn error(sd: f64, count: usize) -> Option<f64> {
    Some(sd * weight(count)?.sqrt())
}

/// One, and the variance of the centre of so many in units of that of one.
fn weight(count: usize) -> Option<f64> {
    match count {
        0 => None,
        1 => Some(2.0),
        2 => Some(1.5),
        _ => Some(1.0 + OF_MEDIAN.get(count - 3)?.0),
    }
}

/// How far a new innocent checkpoint lies from the centre of some references.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Standard deviation between innocent checkpoints, moderated.
    pub sd: f64,
    /// What it is worth in degrees of freedom.
    pub degrees: f64,
    /// One, and the variance of the centre in units of `sd` squared.
    pub weight: f64,
    /// What lies nearer than this is an innocent's whatever the standard deviation; 0 without a prior.
    pub least: f64,
}

impl Spread {
    /// The spread that the effects of references show; none where they are too few to show any and there is no prior, or one is no number.
    pub fn of(effects: &[f64], prior: Option<&Prior>) -> Option<Self> {
        let weight = weight(effects.len())?;
        let (square, own) = match effects {
            [] | [_] => (0.0, 0.0),
            [a, b] => ((a - b).powi(2) / 2.0, 1.0),
            _ => {
                let (_, scale, degrees) = *OF_MEDIAN.get(effects.len() - 3)?;
                let middle = middle(effects)?;
                let mut squares: Vec<f64> = effects.iter().map(|effect| (effect - middle).powi(2)).collect();
                squares.sort_by(f64::total_cmp);
                (scale * squares[..squares.len() - 1].iter().sum::<f64>(), degrees)
            }
        };
        let (sd, before) = prior.map_or((0.0, 0.0), |prior| (prior.sd, prior.degrees));
        let degrees = before + own;
        let sd = ((before * sd.powi(2) + own * square) / degrees).sqrt();
        let least = prior.map_or(0.0, |prior| prior.least);
        (degrees > 0.0 && sd.is_finite()).then_some(Self { sd, degrees, weight, least })
    }

    /// The standard deviation of a new innocent checkpoint's distance from the centre.
    pub fn error(&self) -> f64 {
        self.sd * self.weight.sqrt()
    }

    /// How far a new innocent checkpoint lies above the centre with probability `alpha` at most.
    pub fn reach(&self, alpha: f64) -> f64 {
        self.reach_of_one(alpha, 0.0)
    }

    /// The same of a single fine-tune, where fine-tunes of one innocent checkpoint differ by the standard deviation `seeds`.
    pub fn reach_of_one(&self, alpha: f64, seeds: f64) -> f64 {
        let error = self.error().hypot(seeds * self.weight.sqrt());
        (student_t_real(alpha, self.degrees.min(MOST_DEGREES)) * error).max(self.least)
    }
}

/// The references that lie apart from the others, by index: of two, both where they differ by more than `limit`; of more, each that is
/// farther than `limit` from the mean of the others, and farther than an innocent one would be in one set of references of a hundred.
pub fn apart(effects: &[f64], prior: Option<&Prior>, limit: f64) -> Vec<usize> {
    /// Of all references of a set together.
    const ERROR: f64 = 0.01;
    if let [a, b] = effects {
        return if (a - b).abs() > limit { vec![0, 1] } else { Vec::new() };
    }
    let (count, before) = (effects.len() as f64, prior.map_or(0.0, |prior| prior.degrees));
    let is_apart = |at: &usize| {
        let others = || effects.iter().enumerate().filter(|(other, _)| other != at).map(|(_, effect)| *effect);
        let middle = mean(others());
        let squares: f64 = others().map(|effect| (effect - middle).powi(2)).sum();
        let degrees = before + count - 2.0;
        let variance = (before * prior.map_or(0.0, |prior| prior.sd.powi(2)) + squares) / degrees * (1.0 + 1.0 / (count - 1.0));
        let distance = (effects[*at] - middle).abs();
        let Ok(t) = StudentsT::new(0.0, 1.0, degrees.min(MOST_DEGREES)) else { return false };
        distance > limit && 2.0 * t.sf(distance / variance.sqrt().max(f64::MIN_POSITIVE)) < ERROR / count
    };
    if effects.len() < 3 { Vec::new() } else { (0..effects.len()).filter(is_apart).collect() }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::stats::stream::stream;

    fn near(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() < by, "{a} is not {b}");
    }

    #[test]
    fn the_centre_is_a_median_from_three_on() {
        assert_eq!(center(&[0.3]), [0]);
        assert_eq!(center(&[0.3, 0.1]), [0, 1]);
        assert_eq!(center(&[0.3, 0.1, 0.2]), [2]);
        assert_eq!(center(&[0.3, 0.1, 0.2, 0.9]), [2, 0]);
        assert_eq!(center(&[]), [0_usize; 0]);
    }

    /// With one reference and the prior alone: t(0.01; 8) is 2.896 (scipy.stats.t.isf).
    #[test]
    fn one_reference_leaves_the_prior() {
        let one = Spread::of(&[0.02], Some(&LOCAL)).unwrap();
        near(one.sd, 0.06, 1e-12);
        near(one.degrees, 10.0, 1e-12);
        near(one.error(), 0.06 * 2_f64.sqrt(), 1e-12);
        near(one.reach(0.01), 2.896_459_446 * 0.06 * 2_f64.sqrt(), 1e-8);
        near(one.reach(0.49), 0.20, 1e-12);
        let small = Spread::of(&[0.02], Some(&SMALL)).unwrap();
        near(small.reach(0.01), 0.10, 1e-12);
        near(small.reach(0.001), 4.500_790_934 * 0.02 * 2_f64.sqrt(), 1e-8);
        assert_eq!(Spread::of(&[0.02], None), None, "nothing is known");
        assert_eq!(Spread::of(&[], Some(&LOCAL)), None);
        assert_eq!(Spread::of(&[0.1, f64::NAN], Some(&LOCAL)), None);
        assert_eq!(Spread::of(&[0.0; 21], Some(&LOCAL)), None, "more than the constants reach");
    }

    /// By hand: two at 0.1 and 0.3 have the variance 0.02; (10 x 0.0036 + 0.02) / 11.
    #[test]
    fn what_references_show_is_moderated() {
        let two = Spread::of(&[0.1, 0.3], Some(&LOCAL)).unwrap();
        near(two.sd.powi(2), 0.056 / 11.0, 1e-12);
        near(two.degrees, 11.0, 1e-12);
        near(two.weight, 1.5, 1e-12);
        // Four, of which the farthest (0.9) does not count: median 0.25, squares 0.0225, 0.0025, 0.0025.
        let four = Spread::of(&[0.1, 0.2, 0.3, 0.9], Some(&LOCAL)).unwrap();
        near(four.sd.powi(2), (10.0 * 0.0036 + 1.64 * 1.0648 * 0.0275) / 11.64, 1e-12);
        near(four.weight, 1.298, 1e-12);
        let alone = Spread::of(&[0.1, 0.2, 0.3, 0.9], None).unwrap();
        near(alone.sd.powi(2), 1.0648 * 0.0275, 1e-12);
        near(alone.degrees, 1.64, 1e-12);
        assert!(alone.least.abs() < 1e-12);
        assert!(alone.reach(0.0025) > 2.0, "so few degrees show nothing: {}", alone.reach(0.0025));
    }

    #[test]
    fn the_constants_of_the_median_are_those_of_normal_samples() {
        let mut rng = stream(19, 0, "innocents");
        for count in [3, 4, 5, 8, 13, 20] {
            let (variance, scale, degrees) = OF_MEDIAN[count - 3];
            let runs = 40_000;
            let (mut of_center, mut squares) = (0.0, Vec::with_capacity(runs));
            for _ in 0..runs {
                let sample: Vec<f64> = (0..count).map(|_| StandardNormal.sample(&mut rng)).collect();
                let middle = middle(&sample).unwrap();
                of_center += middle * middle;
                let mut of: Vec<f64> = sample.iter().map(|value| (value - middle).powi(2)).collect();
                of.sort_by(f64::total_cmp);
                squares.push(scale * of[..count - 1].iter().sum::<f64>());
            }
            let all = runs as f64;
            near(of_center / all / variance, 1.0, 0.04);
            let middle = squares.iter().sum::<f64>() / all;
            near(middle, 1.0, 0.04);
            let spread = squares.iter().map(|value| (value - middle).powi(2)).sum::<f64>() / all;
            near(2.0 / spread / degrees, 1.0, 0.08);
        }
    }

    /// Where innocents differ as the prior says, a new one lies beyond the reach no more often than stated.
    #[test]
    fn a_new_innocent_stays_within_reach() {
        let mut rng = stream(19, 1, "innocents");
        for (count, sd) in [(1, 0.05), (2, 0.05), (4, 0.05), (4, 0.1), (8, 0.1)] {
            let (runs, mut beyond) = (20_000, 0);
            for _ in 0..runs {
                let mut draw = || sd * Distribution::<f64>::sample(&StandardNormal, &mut rng);
                let others: Vec<f64> = (0..count).map(|_| draw()).collect();
                let middle = middle(&others).unwrap();
                let prior = Prior { sd, degrees: 10.0, least: 0.0 };
                beyond += usize::from(draw() - middle > Spread::of(&others, Some(&prior)).unwrap().reach(0.025));
            }
            let share = beyond as f64 / f64::from(runs);
            assert!(share < 0.029, "{count} references of sd {sd}: {share}");
            assert!(share > 0.008, "{count} references of sd {sd}: {share} shows nothing");
        }
    }

    #[test]
    fn a_poisoned_reference_lies_apart() {
        let near_each_other = [0.02, -0.01, 0.03, 0.0];
        assert_eq!(apart(&near_each_other, Some(&LOCAL), 0.15), [0_usize; 0]);
        assert_eq!(apart(&[0.02, -0.01, 0.03, 0.47], Some(&LOCAL), 0.15), [3]);
        assert_eq!(apart(&[0.02, 0.47], Some(&LOCAL), 0.15), [0, 1], "of two nobody can tell which");
        assert_eq!(apart(&[0.47], Some(&LOCAL), 0.15), [0_usize; 0]);
        assert_eq!(apart(&[0.02, -0.01, 0.03, 0.14], Some(&LOCAL), 0.15), [0_usize; 0], "no farther than the limit");
    }
}
