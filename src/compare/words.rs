//! Sentences of a comparison, for every form of it. Nothing here is escaped.

use super::{Change, Comparison, RuleChange};
use crate::gate::Verdict;
use crate::report::text::trimmed;

/// Every change in the order that is told, with its name and its name beside a count.
pub(super) const ORDER: [(Change, &str, &str); 9] = [
    (Change::Broken, "broken", "broken"),
    (Change::Worse, "worse", "worse"),
    (Change::Missing, "missing", "missing"),
    (Change::Unsettled, "no longer settled", "no longer settled"),
    (Change::NotComparable, "not comparable", "not comparable"),
    (Change::Fixed, "fixed", "fixed"),
    (Change::Better, "better", "better"),
    (Change::Same, "same", "the same"),
    (Change::Added, "added", "added"),
];

/// The answer.
pub(super) fn head(comparison: &Comparison) -> &'static str {
    match comparison.exit_code {
        0 => "NO WORSE",
        1 => "WORSE",
        _ => "NOT KNOWN",
    }
}

/// How many rules became what: `1 broken, 3 the same`.
pub(super) fn counts(comparison: &Comparison) -> String {
    let all = ORDER.iter().map(|(change, _, word)| (comparison.count(*change), word)).filter(|(n, _)| *n > 0);
    let counts: Vec<String> = all.map(|(n, word)| format!("{n} {word}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

/// What became of a rule.
pub(super) fn word(rule: &RuleChange) -> &'static str {
    match (rule.change, rule.verdicts) {
        (Change::Worse, [_, Some(Verdict::Pass)]) => "worse within the limit",
        (change, _) => ORDER.iter().find(|(of, ..)| *of == change).map_or("", |(_, name, _)| name),
    }
}

/// What the differences are.
pub(super) fn note(comparison: &Comparison) -> String {
    let Comparison { margin, confidence, .. } = comparison;
    let grown =
        if *margin > 0.0 { format!(" A rule counts as worse where its interval is above {}.", trimmed(*margin)) } else { String::new() };
    format!(
        "Differences are of the checkpoints' own reactions (later minus earlier), paired by image and seed; all intervals hold at once with {}% \
         confidence.{grown} \"The same\" means that no difference is shown, not that there is none.",
        trimmed(100.0 * confidence)
    )
}
