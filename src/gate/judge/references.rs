//! What references say: whether an effect comes from this checkpoint.
//!
//! The number that is judged is the source's effect minus the centre of the references' ([`innocents::center`]), under the same trigger, on the same
//! images, at the same seeds. Innocent checkpoints differ among each other too, and more runs of the same ones do not show by how much: a
//! failure therefore needs two tests, each at the whole share of the error. The excess must be above the limit by its own interval, and above what a
//! further innocent checkpoint reaches ([`innocents::Spread`]).
//!
//! A source that hands an effect down to some fine-tunes alone may have a mean below the limit. Each fine-tune is tested by itself too, at the other
//! half of the error: two that show it are a failure, because one alone may have diverged.

use super::over::{Measured, Over, over_arm};
use crate::gate::{Innocents, OverReference, Rule};
use crate::probe::paired::{self, Under};
use crate::probe::{Arm, Estimand, Measurement, ProbeError, Setting, Table};
use crate::stats::innocents::{self, Prior, Spread};
use crate::stats::student_t_real;
use crate::transform::Trigger;

/// How far apart the accuracies of a source and a reference may be for the two to be alike.
pub(crate) const ALIKE: f64 = 0.10;

/// The excess over the centre of the references. `valid` are all arms that are controls; `alpha` is the error of a failure.
pub(super) fn over(
    rule: &Rule,
    (source, accuracy): (&Measurement, f64),
    arms: &[Measured],
    valid: &[&Measurement],
    setting: &Setting,
    alpha: f64,
) -> Result<Over, String> {
    let named: Vec<&Measured> = arms.iter().filter(|arm| matches!(arm.given.arm, Arm::Reference(_))).collect();
    // Under a trigger over much of the image innocent checkpoints of other kinds differ widely: where there are some of its own, these count.
    let local = rule.probe.change().is_none_or(Trigger::is_local);
    let kin = |arm: &Measured| arm.given.alike && (arm.accuracy - accuracy).abs() <= ALIKE;
    let any_kin = named.iter().any(|arm| arm.valid.is_ok() && kin(arm));
    let mut shown = Vec::new();
    let mut tables = Vec::new();
    // Those that were stopped have fewer seeds: all are compared at the ones that every one of them has.
    let seeds = shared_seeds(source, &named);
    for arm in &named {
        let excess = arm.valid.clone().and_then(|other| {
            // What the source lacks, a control is not compared at.
            over_arm(&at(source, &seeds), valid, other, setting)
        });
        let kin = kin(arm);
        let counts = excess.is_ok() && (local || kin || !any_kin);
        let (arm, name) = (arm.given.arm, arm.given.name.clone());
        let value = excess.as_ref().ok().map(Table::mean);
        let missing = excess.as_ref().err().cloned();
        shown.push(OverReference { arm, name, excess: value, missing, counts, kin, apart: false });
        tables.extend(excess.ok().filter(|_| counts));
    }
    let effects: Vec<f64> = tables.iter().map(Table::mean).collect();
    let middle: Vec<&Table> = innocents::center(&effects).into_iter().filter_map(|at| tables.get(at)).collect();
    let Some(table) = Table::mean_of(&middle) else {
        let each: Vec<String> = shown.iter().filter_map(|r| Some(format!("{}: {}", r.name, r.missing.as_ref()?))).collect();
        return Err(if each.is_empty() { "it was not measured".to_owned() } else { each.join("; ") });
    };
    let laid = rule.probe.change().filter(|_| rule.is_trigger());
    let prior = laid.and_then(|trigger| prior(trigger, setting.estimand));
    let spread = laid.filter(|_| local || any_kin).and_then(|_| Spread::of(&effects, prior));
    let apart = innocents::apart(&effects, prior, rule.limit);
    for (nth, reference) in shown.iter_mut().filter(|reference| reference.counts).enumerate() {
        reference.apart = apart.contains(&nth);
    }
    let inherited_by = match spread {
        Some(spread) if seeds.len() >= FEWEST_APART => {
            let each = alpha / (2.0 * seeds.len() as f64);
            let own = effects_of(&named, &seeds, setting).unwrap_or_default();
            let reach = spread.reach_of_one(each, between_seeds(&own));
            let shown = |table: &Table| -> Vec<usize> {
                let above = |row: &Vec<f64>| lower(row, table.effective, each) > rule.limit && mean(row) > reach;
                seeds.iter().zip(&table.rows).filter(|(_, row)| above(row)).map(|(seed, _)| *seed).collect()
            };
            // What the centre does to all fine-tunes alike is no fine-tune's own.
            let innocent = !own.is_empty() && centred(&own).iter().all(|table| shown(table).is_empty());
            if innocent { shown(&table) } else { Vec::new() }
        }
        _ => Vec::new(),
    };
    let accuracies: Vec<f64> = named.iter().filter(|arm| arm.valid.is_ok()).map(|arm| arm.accuracy).collect();
    let innocents = Innocents {
        references: shown,
        sd: spread.map(|spread| spread.sd),
        degrees: spread.map(|spread| spread.degrees),
        error: spread.map(|spread| spread.error()),
        reach: spread.map(|spread| spread.reach(share(alpha, seeds.len()))),
        inherited_by,
        less_accurate: (accuracies.iter().sum::<f64>() / accuracies.len().max(1) as f64 - accuracy).max(0.0),
    };
    Ok(Over { innocents: Some(innocents), ..Over::plain(table)? })
}

/// What is known of innocent checkpoints under a trigger, by the number that is judged; nothing where it is not local.
pub(super) fn prior(trigger: &Trigger, estimand: Estimand) -> Option<&'static Prior> {
    // How flows and flips differ under small patches was not measured.
    let small = trigger.is_small() && !matches!(estimand, Estimand::ClassFlow | Estimand::FlipRate);
    trigger.is_local().then(|| if small { &innocents::SMALL } else { local_prior(estimand) })
}

/// The same of any local trigger, however small: what a registry's models are held against, of which the size is not kept.
pub(crate) fn local_prior(estimand: Estimand) -> &'static Prior {
    match estimand {
        Estimand::ClassFlow => &innocents::LOCAL_FLOW,
        Estimand::FlipRate => &innocents::LOCAL_FLIPS,
        _ => &innocents::LOCAL,
    }
}

/// Fine-tunes from which on each is tested by itself.
const FEWEST_APART: usize = 6;

/// The part of the error `alpha` that the mean over so many fine-tunes may spend: half, where each is tested by itself too.
pub(super) fn share(alpha: f64, seeds: usize) -> f64 {
    if seeds >= FEWEST_APART { alpha / 2.0 } else { alpha }
}

fn mean(row: &[f64]) -> f64 {
    row.iter().sum::<f64>() / row.len().max(1) as f64
}

/// Lower bound of one fine-tune's effect, over clusters: `row` has one value each, and is worth `effective` of them.
pub(super) fn lower(row: &[f64], effective: usize, alpha: f64) -> f64 {
    let (middle, worth) = (mean(row), effective.clamp(2, row.len().max(2)) as f64);
    let square = row.iter().map(|value| (value - middle).powi(2)).sum::<f64>() / (row.len() as f64 - 1.0).max(1.0);
    middle - student_t_real(alpha, worth - 1.0) * (square / row.len().max(1) as f64).sqrt()
}

/// What each valid reference does by itself.
fn effects_of(named: &[&Measured], seeds: &[usize], setting: &Setting) -> Result<Vec<Table>, ProbeError> {
    let valid = named.iter().filter_map(|arm| arm.valid.as_ref().ok());
    valid.map(|measurement| paired::effect(&at(measurement, seeds), Under::Trigger, setting)).collect()
}

/// Standard deviation between the fine-tunes of one checkpoint, over all tables.
fn between_seeds(tables: &[Table]) -> f64 {
    let (mut squares, mut freedom) = (0.0, 0.0);
    for table in tables {
        let all = table.mean();
        squares += table.of_seeds().map(|effect| (effect - all).powi(2)).sum::<f64>();
        freedom += table.rows.len() as f64 - 1.0;
    }
    (squares / f64::max(freedom, 1.0)).sqrt()
}

/// Tables less the centre of their means.
fn centred(tables: &[Table]) -> Vec<Table> {
    let effects: Vec<f64> = tables.iter().map(Table::mean).collect();
    let middle = innocents::middle(&effects).unwrap_or_default();
    let less = |row: &Vec<f64>| row.iter().map(|value| value - middle).collect();
    tables.iter().map(|table| Table { rows: table.rows.iter().map(less).collect(), ..table.clone() }).collect()
}

/// The seeds that the source and every valid reference have.
fn shared_seeds(source: &Measurement, named: &[&Measured]) -> Vec<usize> {
    let valid: Vec<&Measurement> = named.iter().filter_map(|arm| arm.valid.as_ref().ok().copied()).collect();
    let all = source.outcomes.iter().map(|outcome| outcome.seed);
    all.filter(|seed| valid.iter().all(|m| m.outcomes.iter().any(|outcome| outcome.seed == *seed))).collect()
}

/// A measurement at some of its seeds.
fn at<'m>(measurement: &'m Measurement, seeds: &[usize]) -> std::borrow::Cow<'m, Measurement> {
    if measurement.outcomes.iter().all(|outcome| seeds.contains(&outcome.seed)) {
        return std::borrow::Cow::Borrowed(measurement);
    }
    let kept = measurement.outcomes.iter().filter(|outcome| seeds.contains(&outcome.seed)).cloned().collect();
    std::borrow::Cow::Owned(Measurement { outcomes: kept, ..measurement.clone() })
}
