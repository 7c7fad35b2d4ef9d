//! A comparison as Markdown, for a release's notes or the comment on a pull request.

use std::fmt::Write;

use super::{Change, Comparison, RuleChange, Side};
use crate::diag::count;
use crate::gate::Verdict;
use crate::report::text::{escape, estimate_of, trimmed, verdict};

/// Most rows of the table; the rest is counted.
const MOST: usize = 200;

/// The comparison as Markdown.
pub fn render(comparison: &Comparison) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(comparison, &mut out);
    out
}

fn write(comparison: &Comparison, out: &mut String) -> std::fmt::Result {
    let Comparison { old, new, rules, margin, confidence, exit_code } = comparison;
    let head = match exit_code {
        0 => "✅ NO WORSE",
        1 => "❌ WORSE",
        _ => "⚠️ NOT KNOWN",
    };
    writeln!(out, "## heirloom compare: {head}\n")?;
    let order = [
        (Change::Broken, "broken"),
        (Change::Worse, "worse"),
        (Change::Missing, "missing"),
        (Change::Unsettled, "no longer settled"),
        (Change::NotComparable, "not comparable"),
        (Change::Fixed, "fixed"),
        (Change::Better, "better"),
        (Change::Same, "the same"),
        (Change::Added, "added"),
    ];
    let counts: Vec<String> = order
        .iter()
        .map(|(change, word)| (comparison.count(*change), word))
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    writeln!(out, "{}: {}.\n", count(rules.len(), "rule"), if counts.is_empty() { "none".to_owned() } else { counts.join(", ") })?;
    writeln!(out, "| | earlier | later |\n|---|---|---|")?;
    let mut row = |what: &str, of: &dyn Fn(&Side) -> String| writeln!(out, "| {what} | {} | {} |", of(old), of(new));
    row("model", &|side| format!("{} (`{}`)", escape(&side.model), escape(side.digest.as_str())))?;
    row("policy", &|side| format!("{} (`{}`)", escape(&side.policy), escape(side.policy_digest.as_str())))?;
    row("measured", &|side| escape(&side.started))?;
    if rules.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| rule | earlier | later | difference [interval] | change |\n|---|---|---|---|---|")?;
    let mut shown: Vec<&RuleChange> = rules.iter().collect();
    shown.sort_by_key(|rule| rule.change);
    for rule in shown.iter().take(MOST) {
        let told = |verdict_of: Option<Verdict>| verdict_of.map_or("–", verdict);
        let difference = rule.difference.as_ref().map_or_else(|| "–".to_owned(), |d| estimate_of(d.value, [d.low, d.high]));
        let reason = rule.reason.as_ref().map(|reason| format!(": {}", escape(reason))).unwrap_or_default();
        let id = escape(&format!("{}@{}", rule.rule, rule.mode));
        let [before, now] = rule.verdicts.map(told);
        writeln!(out, "| {id} | {before} | {now} | {difference} | **{}**{reason} |", word(rule))?;
    }
    if rules.len() > MOST {
        writeln!(out, "\n{} more, the least changed, are in `--format json`.", rules.len() - MOST)?;
    }
    let grown =
        if *margin > 0.0 { format!(" A rule counts as worse where its interval is above {}.", trimmed(*margin)) } else { String::new() };
    writeln!(
        out,
        "\nDifferences are of the checkpoints' own reactions (later minus earlier), paired by image and seed; all intervals hold at once with {}% \
         confidence.{grown} \"The same\" means that no difference is shown, not that there is none.",
        trimmed(100.0 * confidence)
    )
}

fn word(rule: &RuleChange) -> &'static str {
    match (rule.change, rule.verdicts) {
        (Change::Broken, _) => "broken",
        (Change::Worse, [_, Some(Verdict::Pass)]) => "worse within the limit",
        (Change::Worse, _) => "worse",
        (Change::Missing, _) => "missing",
        (Change::Unsettled, _) => "no longer settled",
        (Change::NotComparable, _) => "not comparable",
        (Change::Fixed, _) => "fixed",
        (Change::Better, _) => "better",
        (Change::Same, _) => "same",
        (Change::Added, _) => "added",
    }
}
