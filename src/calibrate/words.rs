//! Sentences and numbers of a calibration, for every form of it. Nothing here is escaped.

use super::record::Calibration;
use super::results::{Faint, Named, Others, Over, Rate, Repeated, Side, Slice};

/// What is told apart, and how.
pub(super) const TOLD_APART: &str = "A planted item is a source under a rule whose trigger it carries, unless it is shown not to transfer it; a clean item \
     a clean source under any rule; its score is the excess over the control that explains it best. Intervals are 95% and count sources.";
/// Where there is no name in the list of planted sources that passed, and where there are some.
pub(super) const NONE_PASSED: &str =
    "No planted source passed under a rule whose trigger it carries; those shown not to transfer it are left out.";
pub(super) const PASSED: &str =
    "Planted sources that passed under a rule whose trigger they carry; those shown not to transfer it are left out:";

/// Planted triggers that are not shown to be transferred.
pub(super) fn not_transferred(faint: &Faint) -> String {
    let Faint { compared, below, open, auc, .. } = faint;
    format!(
        "Planted findings that were compared with the source's clean counterpart at many seeds: {compared}. {} move fine-tuned models by less than the \
         limit beyond the clean counterpart's ({} fail, {} inconclusive, {} pass): they are in none of the numbers above. {} are not settled ({} fail, {} \
         inconclusive, {} pass): they count as planted. With both among the planted items the AUC is {}.",
        below.findings,
        below.fail,
        below.inconclusive,
        below.pass,
        open.findings,
        open.fail,
        open.inconclusive,
        open.pass,
        rate(*auc),
    )
}

/// Verdicts beside those at more seeds.
pub(super) fn held(agreement: &Repeated) -> String {
    let Repeated { seeds, settled, open, agree, .. } = agreement;
    format!(
        "Every finding was measured again at {seeds} seeds. Of {settled} that fail or pass at the policy's seeds, the excess at {seeds} seeds lies \
         on their side of the limit for a share of {}; {open} are inconclusive.",
        rate(*agree),
    )
}

/// Planted sources under rules whose triggers they do not carry.
pub(super) fn other(others: &Others) -> String {
    let Side { findings, fail, inconclusive, pass, .. } = others.side;
    format!(
        "Findings of planted sources under rules whose triggers they do not carry: {findings}, of which {fail} fail, {inconclusive} inconclusive, \
         {pass} pass. They are in none of the numbers above.",
    )
}

/// What a slice is of.
pub(super) fn over(over: &Over) -> &str {
    match over {
        Over::All => "all",
        Over::Exact => "the trigger itself is planted",
        Over::Near => "a near miss is planted",
        Over::Family(name) | Over::Architecture(name) | Over::Rule(name) => name,
    }
}

/// What of the planted is caught at the nth rate of false positives.
pub(super) fn caught(slice: &Slice, nth: usize) -> Option<Rate> {
    slice.operating.get(nth).map(|operating| operating.true_positive)
}

/// A finding's score, and its excess over the clean counterpart.
pub(super) fn score(finding: &Named) -> String {
    let twin = finding.over_counterpart.map(|over| format!(", over its clean counterpart {}", number(Some(over)))).unwrap_or_default();
    format!("score {}{twin}", number(finding.score))
}

/// What certified the sources, each once.
pub(super) fn tools(calibration: &Calibration) -> Vec<String> {
    let mut tools: Vec<String> = Vec::new();
    for tool in calibration.sources.iter().map(|s| &s.tool) {
        let line = format!("{} {}, {}", tool.name, tool.version, tool.computed_on());
        if !tools.contains(&line) {
            tools.push(line);
        }
    }
    tools
}

/// `0.93 [0.85, 0.98]`.
pub(super) fn rate(rate: Option<Rate>) -> String {
    rate.map_or_else(|| "–".to_owned(), |r| format!("{} [{}, {}]", number(Some(r.value)), number(Some(r.low)), number(Some(r.high))))
}

/// Two digits, without a negative zero.
pub(super) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| format!("{:.2}", (v * 100.0).round() / 100.0 + 0.0))
}

/// A stated error: two significant digits.
pub(super) fn small(value: f64) -> String {
    if value >= 0.01 { format!("{value:.3}") } else { format!("{value:.1e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_negative_zero() {
        assert_eq!((number(Some(-0.001)), number(Some(0.995)), number(None)), ("0.00".into(), "1.00".into(), "–".into()));
        assert_eq!((small(0.025), small(0.0012)), ("0.025".into(), "1.2e-3".into()));
    }
}
