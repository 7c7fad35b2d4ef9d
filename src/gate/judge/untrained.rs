//! Untrained networks: draws of fresh weights. How far they differ is a part of the comparison, because a further one may lie as far from their mean
//! as the source does.

use super::over::{Measured, Over, over_arm};
use crate::gate::{Innocents, OverReference};
use crate::probe::{Arm, Measurement, Setting, Table};
use crate::stats::student_t;

/// What so many draws' own comparisons say of a further one: the standard deviation, its degrees, that of a further draw's distance from their
/// mean, and how far that one lies at most with probability 1 - `alpha`. `None` for fewer than two.
fn spread(effects: &[f64], alpha: f64) -> Option<[f64; 4]> {
    let count = effects.len() as f64;
    let freedom = effects.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
    let mean = effects.iter().sum::<f64>() / count;
    let sd = (effects.iter().map(|effect| (effect - mean).powi(2)).sum::<f64>() / freedom as f64).sqrt();
    let error = sd * (1.0 + 1.0 / count).sqrt();
    Some([sd, freedom as f64, error, student_t(alpha, freedom) * error])
}

fn innocents(references: Vec<OverReference>, spread: Option<[f64; 4]>) -> Innocents {
    let [sd, degrees, error, reach] = spread.map_or([None; 4], |numbers| numbers.map(Some));
    Innocents { references, sd, degrees, error, reach, inherited_by: Vec::new(), less_accurate: 0.0 }
}

/// The excess over the mean of the untrained networks: whether the target task itself reads a trigger. They are few, so `alpha` is the error of one
/// finding.
pub(super) fn over(source: &Measurement, arms: &[Measured], valid: &[&Measurement], setting: &Setting, alpha: f64) -> Result<Over, String> {
    let (mut shown, mut tables) = (Vec::new(), Vec::new());
    for arm in arms.iter().filter(|arm| matches!(arm.given.arm, Arm::Untrained(_))) {
        let excess = arm.valid.clone().and_then(|other| over_arm(source, valid, other, setting));
        shown.push(OverReference {
            arm: arm.given.arm,
            name: arm.given.name.clone(),
            excess: excess.as_ref().ok().map(Table::mean),
            missing: excess.as_ref().err().cloned(),
            counts: excess.is_ok(),
            kin: true,
            apart: false,
        });
        tables.extend(excess);
    }
    let effects: Vec<f64> = tables.iter().map(Table::mean).collect();
    let Some(table) = Table::mean_of(&tables.iter().collect::<Vec<_>>()) else {
        let why = shown.iter().find_map(|one| one.missing.clone());
        return Err(why.unwrap_or_else(|| "it was not measured".to_owned()));
    };
    let innocents = innocents(shown, spread(&effects, alpha));
    Ok(Over { innocents: Some(innocents), ..Over::plain(table)? })
}

#[cfg(test)]
mod tests {
    use super::spread;

    /// By hand: mean 0.3, deviations 0.1 and 0; t(0.025; 3) is 3.182446 (scipy.stats.t.isf).
    #[test]
    fn draws_tell_how_far_a_further_one_lies() {
        let sd = (0.02_f64 / 3.0).sqrt();
        let found = spread(&[0.2, 0.4, 0.3, 0.3], 0.025).unwrap();
        let wanted = [sd, 3.0, sd * 1.25_f64.sqrt(), 3.182_446_305 * sd * 1.25_f64.sqrt()];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-8), "{found:?} is not {wanted:?}");
        assert_eq!(spread(&[0.2], 0.025), None);
    }
}
