//! A comparison as Markdown, for a release's notes or the comment on a pull request.

use std::fmt::Write;

use super::words::{counts, head, note, word};
use super::{Comparison, RuleChange, Side};
use crate::diag::count;
use crate::gate::Verdict;
use crate::report::text::{escape, estimate_of, verdict};

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
    let Comparison { old, new, rules, exit_code, .. } = comparison;
    let sign = match exit_code {
        0 => "✅",
        1 => "❌",
        _ => "⚠️",
    };
    writeln!(out, "## heirloom compare: {sign} {}\n", head(comparison))?;
    writeln!(out, "{}: {}.\n", count(rules.len(), "rule"), counts(comparison))?;
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
    writeln!(out, "\n{}", note(comparison))
}
