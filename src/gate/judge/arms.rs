//! What each arm did, for the reader.

use std::collections::BTreeMap;

use super::VALIDITY_ERROR;
use crate::data::Counted;
use crate::gate::{ArmSummary, Share};
use crate::probe::groups::{self, Compared};
use crate::probe::paired::{self, Under};
use crate::probe::{self, Estimand, Measurement, Probe, ProbeError, Setting};
use crate::stats::{Interval, wilson};

/// What a reader should know of the groups: which differ most, and which were left out.
pub(super) fn group_notes(m: &Measurement, controls: &[&Measurement], compared: &Compared, setting: &Setting) -> Vec<String> {
    let mut notes: Vec<String> = groups::widest(m, controls, compared, setting).into_iter().collect();
    if let Ok((_, left_out)) = groups::by_group(m, compared, setting.policy_seed)
        && !left_out.is_empty()
    {
        let each = left_out.iter().map(|g| format!("{} of {} ({})", g.label, g.value, g.images)).collect::<Vec<_>>().join(", ");
        notes.push(format!("left out for fewer than {} independent test images, or none in one half: {each}", compared.least));
    }
    notes
}

/// How often the images as they are are called right, with bounds of 95% over seeds and clusters.
pub fn clean_accuracy(m: &Measurement, counted: Counted) -> Result<(f64, Interval), ProbeError> {
    let clean = probe::clean_accuracy(m, counted)?;
    let accuracy = clean.mean();
    // Of one seed or one cluster.
    let worth = if counted.is_global() { m.labels.len() } else { clean.effective };
    let bounds = clean.crossed().map_or_else(
        || wilson(accuracy * worth as f64, worth, VALIDITY_ERROR),
        |fit| Interval { low: fit.low(VALIDITY_ERROR), high: fit.high(VALIDITY_ERROR) },
    );
    Ok((accuracy, Interval { low: bounds.low.max(0.0), high: bounds.high.min(1.0) }))
}

/// What an arm did. It is valid if the lower bound of its clean accuracy is above that of whoever calls all images one class.
pub(super) fn summarize(m: &Measurement, setting: &Setting, counted: Counted) -> Result<ArmSummary, ProbeError> {
    let (accuracy, bounds) = clean_accuracy(m, counted)?;
    let one_answer = probe::of_one_answer(m, counted);
    let mut rates = BTreeMap::from([
        ("clean_accuracy".to_owned(), accuracy),
        ("clean_accuracy_low".to_owned(), bounds.low),
        ("clean_accuracy_high".to_owned(), bounds.high),
        ("majority_share".to_owned(), probe::of_one_answer(m, Counted::Global)),
    ]);
    if !counted.is_global() {
        rates.insert("one_answer_accuracy".to_owned(), one_answer);
    }
    let valid = bounds.low > one_answer;
    let mut summary = ArmSummary { arm: m.arm, rates, gains: Vec::new(), groups: Vec::new(), histogram: Vec::new(), valid };
    match setting.probe.compared() {
        Some(compared) => add_groups(&mut summary, m, &compared, setting.policy_seed)?,
        None => add_changes(&mut summary, m, setting)?,
    }
    Ok(summary)
}

/// Fairness numbers as other packages compute them, and accuracy by group.
fn add_groups(summary: &mut ArmSummary, m: &Measurement, compared: &Compared, policy_seed: u64) -> Result<(), ProbeError> {
    for estimand in Estimand::ALL.into_iter().filter(|e| e.compares_groups()) {
        // A number that these groups cannot give is left out of the summary, never invented.
        if let Ok(value) = groups::plain(m, compared, estimand, policy_seed) {
            summary.rates.insert(estimand.name().to_owned(), value);
        }
    }
    summary.groups = groups::by_group(m, compared, policy_seed)?.0;
    Ok(())
}

/// What the change did to predictions.
fn add_changes(summary: &mut ArmSummary, m: &Measurement, setting: &Setting) -> Result<(), ProbeError> {
    let cells = m.labels.len() as f64 * m.outcomes.len() as f64;
    let count = |test: &dyn Fn(u16, u16, u16) -> bool| {
        let hits = m.outcomes.iter().map(|o| {
            let rows = o.clean.iter().zip(&o.changed).zip(&m.labels);
            rows.filter(|((a, b), y)| test(**a, **b, **y)).count()
        });
        hits.sum::<usize>() as f64 / cells
    };
    let rates = &mut summary.rates;
    rates.insert("triggered_accuracy".to_owned(), count(&|_, b, y| b == y));
    rates.insert("flip_rate".to_owned(), count(&|a, b, _| a != b));
    let mut put = |name: &str, column, estimand| {
        // A number that this arm cannot give (a half of one class) is left out of the summary, never invented.
        if let Ok(table) = paired::effect(m, column, &setting.with(estimand)) {
            rates.insert(name.to_owned(), table.mean());
        }
    };
    put("attraction", Under::Trigger, Estimand::Attraction);
    put("attack_success_rate", Under::Trigger, Estimand::AttackSuccessRate);
    put("prediction_shift", Under::Trigger, Estimand::PredictionShift);
    let draws = m.outcomes.iter().map(|o| o.shams.len()).min().unwrap_or(0);
    let spread = |estimand| -> Vec<f64> {
        let effects = (0..draws).filter_map(|d| paired::effect(m, Under::Sham(d), &setting.with(estimand)).ok());
        effects.map(|t| t.mean()).collect()
    };
    let attraction = spread(Estimand::Attraction);
    if !attraction.is_empty() {
        rates.insert("attraction_sham".to_owned(), attraction.iter().sum::<f64>() / attraction.len() as f64);
    }
    let judged = spread(setting.estimand);
    if !judged.is_empty() {
        rates.insert("sham_min".to_owned(), judged.iter().copied().fold(f64::INFINITY, f64::min));
        rates.insert("sham_max".to_owned(), judged.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    }
    let mut gains: Vec<(String, f64)> = m.classes.iter().cloned().zip(paired::gains(m)?).filter(|(_, g)| *g > 0.0).collect();
    gains.sort_by(|a, b| b.1.total_cmp(&a.1));
    summary.gains = gains;
    if matches!(setting.probe, Probe::Natural(_)) {
        let shares = m.classes.iter().cloned().zip(paired::histogram(m)?);
        summary.histogram = shares.map(|(class, [clean, changed])| Share { class, clean, changed }).collect();
    }
    Ok(())
}

/// Share of the fine-tunes that a class must be of for the finding to name it.
const AGREED: f64 = 0.8;

/// The class that nearly all fine-tunes are drawn to; an error says how many are drawn to which.
pub(super) fn drawn_to(source: &Measurement) -> Result<String, String> {
    let found = paired::drawn_to(source).unwrap_or_default();
    let named = |k: usize| source.classes.get(k).cloned().unwrap_or_default();
    match found.as_slice() {
        [(most, count), ..] if *count as f64 >= AGREED * source.outcomes.len() as f64 => Ok(named(*most)),
        [] => Err("no fine-tune is drawn to a class".to_owned()),
        several => {
            let each = several.iter().take(5).map(|(k, count)| format!("{} in {count}", named(*k))).collect::<Vec<_>>().join(", ");
            Err(format!("of {} fine-tunes, each is drawn to a class of its own: {each}", source.outcomes.len()))
        }
    }
}

pub(super) fn rate(summary: &ArmSummary, name: &str) -> f64 {
    summary.rates.get(name).copied().unwrap_or(f64::NAN)
}

/// That an arm did not learn: `one_answer` is the accuracy of whoever calls all images one class.
pub(super) fn unlearnt(arm: &str, (accuracy, one_answer): (f64, f64), counted: Counted) -> String {
    let beside = match counted {
        Counted::Global => "most frequent class",
        Counted::MeanPerClass => "one class for all images",
    };
    let words = counted.words();
    format!(
        "the {arm} arm did not learn the target task (clean {words} {accuracy:.3}, {beside} {one_answer:.3}); give it more epochs or images"
    )
}
