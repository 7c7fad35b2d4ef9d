//! A calibration as Markdown.

use std::fmt::Write;

use super::record::Calibration;
use super::results::{Alarms, Faint, Named, Others, Over, Rate, Repeated, Results, Side, Slice};
use crate::diag;
use crate::report::text::{self, escape};
use crate::tune::Mode;

/// Most findings that are listed one by one; all are in `calibration.json`.
const LISTED: usize = 40;

/// The calibration as Markdown. Rates and scores have two digits: more are in `calibration.json`.
pub fn render(calibration: &Calibration) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(calibration, &mut out);
    out
}

fn write(calibration: &Calibration, out: &mut String) -> std::fmt::Result {
    let policy = &calibration.policy;
    writeln!(out, "# Calibration: {}\n", escape(&calibration.name))?;
    if let Some(description) = &calibration.description {
        writeln!(out, "{}\n", escape(description))?;
    }
    let count = |planted: bool| calibration.sources.iter().filter(|s| s.planted == planted).count();
    writeln!(
        out,
        "Policy **{}** (`{}`), {}. {} planted and {}.\n",
        escape(&policy.name),
        escape(policy.digest.as_str()),
        diag::count(policy.rules.len(), "rule"),
        count(true),
        diag::count(count(false), "clean source"),
    )?;
    if let Some(reference) = calibration.sources.iter().find_map(|s| s.reference.as_ref()) {
        writeln!(
            out,
            "Rules that name `reference` compare with a clean source that was trained for this (`{}`).\n",
            escape(reference.short())
        )?;
    }
    let Some(results) = &calibration.results else {
        return writeln!(out, "Not all sources are through.");
    };
    for alarms in &results.alarms {
        mode(results, alarms, out)?;
    }
    let mut tools: Vec<String> = Vec::new();
    for tool in calibration.sources.iter().map(|s| &s.tool) {
        let line = format!("{} {}, {}", tool.name, tool.version, tool.computed_on());
        if !tools.contains(&line) {
            tools.push(line);
        }
    }
    writeln!(out, "<sub>{}</sub>", escape(&tools.join("; ")))
}

fn mode(results: &Results, alarms: &Alarms, out: &mut String) -> std::fmt::Result {
    let mode = alarms.mode;
    let slices: Vec<&Slice> = results.slices.iter().filter(|s| s.mode == mode).collect();
    let (rules, groups): (Vec<&Slice>, Vec<&Slice>) = slices.into_iter().partition(|s| matches!(s.over, Over::Rule(_)));
    writeln!(out, "## {mode}\n")?;
    writeln!(out, "### Told apart\n")?;
    writeln!(
        out,
        "A planted item is a source under a rule whose trigger it carries, unless it is shown not to transfer it; a clean item a clean source under any rule; its \
         score is the excess over the control that explains it best. Intervals are 95% and count sources.\n"
    )?;
    writeln!(
        out,
        "| | planted (sources) | clean (sources) | AUC | caught at 5% false positives | at 10% | limit with no clean item above | with 5% | smallest planted score |"
    )?;
    writeln!(out, "|---|---:|---:|---|---|---|---:|---:|---:|")?;
    for slice in &groups {
        writeln!(
            out,
            "| {} | {} ({}) | {} ({}) | {} | {} | {} | {} | {} | {} |",
            over(&slice.over),
            slice.planted.findings - slice.planted.unscored,
            slice.planted.sources,
            slice.clean.findings - slice.clean.unscored,
            slice.clean.sources,
            rate(slice.auc),
            caught(slice, 0),
            caught(slice, 1),
            number(slice.limit_none),
            number(slice.limit_five_percent),
            number(slice.smallest_planted),
        )?;
    }
    for slice in groups.iter().filter(|s| s.over == Over::All) {
        let unscored = slice.planted.unscored + slice.clean.unscored;
        if unscored > 0 {
            writeln!(out, "\nFindings without any control, and so without a score, in no curve but in the verdicts below: {unscored}.")?;
        }
    }
    writeln!(out, "\n### Verdicts at the policy's limits\n")?;
    writeln!(
        out,
        "| | planted: fail | inconclusive | pass | clean: fail | inconclusive | pass | smallest planted score | largest clean score |"
    )?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|---:|---:|---:|")?;
    for slice in groups.iter().chain(&rules) {
        let cells = |side: &Side| format!("{} | {} | {}", side.fail, side.inconclusive, side.pass);
        let scores = [number(slice.smallest_planted), number(slice.limit_none)].join(" | ");
        writeln!(out, "| {} | {} | {} | {scores} |", over(&slice.over), cells(&slice.planted), cells(&slice.clean))?;
    }
    let broken: usize = groups.iter().filter(|s| s.over == Over::All).map(|s| s.planted.other + s.clean.other).sum();
    if broken > 0 {
        writeln!(out, "\nFindings that could not be judged: {broken}.")?;
    }
    let passed: Vec<&Named> = groups.iter().filter(|s| s.over == Over::All).flat_map(|s| &s.passed).collect();
    if passed.is_empty() {
        writeln!(out, "\nNo planted source passed under a rule whose trigger it carries; those shown not to transfer it are left out.")?;
    } else {
        writeln!(
            out,
            "\nPlanted sources that passed under a rule whose trigger they carry; those shown not to transfer it are left out:\n"
        )?;
        list(&passed, out)?;
    }
    for faint in results.faint.iter().filter(|f| f.mode == mode && f.compared > 0) {
        not_transferred(faint, out)?;
    }
    clean(alarms, out)?;
    for agreement in results.agreement.iter().filter(|a| a.mode == mode) {
        held(agreement, out)?;
    }
    for others in results.others.iter().filter(|o| o.mode == mode && o.side.findings > 0) {
        other(others, out)?;
    }
    writeln!(out)
}

fn clean(alarms: &Alarms, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n### Clean sources that fail\n")?;
    writeln!(out, "| | share that fails | error that the policy states, at most |")?;
    writeln!(out, "|---|---|---:|")?;
    writeln!(out, "| findings | {} | {} |", rate(alarms.findings), small(alarms.stated_finding))?;
    writeln!(out, "| sources, any finding | {} | {} |", rate(Some(alarms.sources)), small(alarms.stated_source))?;
    if !alarms.failed.is_empty() {
        writeln!(out)?;
        list(&alarms.failed.iter().collect::<Vec<_>>(), out)?;
    }
    Ok(())
}

fn not_transferred(faint: &Faint, out: &mut String) -> std::fmt::Result {
    let Faint { compared, below, open, all, auc, .. } = faint;
    writeln!(out, "\n### Planted triggers that are not shown to be transferred\n")?;
    writeln!(
        out,
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
    )?;
    if !all.is_empty() {
        writeln!(out)?;
        list(&all.iter().collect::<Vec<_>>(), out)?;
    }
    Ok(())
}

fn held(agreement: &Repeated, out: &mut String) -> std::fmt::Result {
    let Repeated { seeds, settled, open, agree, disagree, .. } = agreement;
    writeln!(out, "\n### Verdicts held against more seeds\n")?;
    writeln!(
        out,
        "Every finding was measured again at {seeds} seeds. Of {settled} that fail or pass at the policy's seeds, the excess at {seeds} seeds lies \
         on their side of the limit for a share of {}; {open} are inconclusive.",
        rate(*agree),
    )?;
    if !disagree.is_empty() {
        writeln!(out, "\nOn the other side, with the score at {seeds} seeds:\n")?;
        for finding in disagree.iter().take(LISTED) {
            let (source, rule, verdict) = (escape(&finding.source), escape(&finding.rule), text::verdict(finding.verdict));
            writeln!(out, "- {source}: {rule}, {verdict} (score {})", number(finding.score))?;
        }
    }
    Ok(())
}

fn other(others: &Others, out: &mut String) -> std::fmt::Result {
    let Side { findings, fail, inconclusive, pass, .. } = others.side;
    writeln!(out, "\n### Other triggers on planted sources\n")?;
    writeln!(
        out,
        "Findings of planted sources under rules whose triggers they do not carry: {findings}, of which {fail} fail, {inconclusive} inconclusive, \
         {pass} pass. They are in none of the numbers above.",
    )?;
    if !others.failed.is_empty() {
        writeln!(out)?;
        list(&others.failed.iter().collect::<Vec<_>>(), out)?;
    }
    Ok(())
}

fn list(named: &[&Named], out: &mut String) -> std::fmt::Result {
    for finding in named.iter().take(LISTED) {
        let twin = finding.over_counterpart.map(|over| format!(", over its clean counterpart {}", number(Some(over)))).unwrap_or_default();
        writeln!(out, "- {}: {} (score {}{twin})", escape(&finding.source), escape(&finding.rule), number(finding.score))?;
    }
    if named.len() > LISTED {
        writeln!(out, "- and {} more, in calibration.json", named.len() - LISTED)?;
    }
    Ok(())
}

fn over(over: &Over) -> String {
    match over {
        Over::All => "**all**".to_owned(),
        Over::Exact => "the trigger itself is planted".to_owned(),
        Over::Near => "a near miss is planted".to_owned(),
        Over::Family(name) | Over::Architecture(name) | Over::Rule(name) => escape(name),
    }
}

fn caught(slice: &Slice, nth: usize) -> String {
    rate(slice.operating.get(nth).map(|o| o.true_positive))
}

/// `0.93 [0.85, 0.98]`.
fn rate(rate: Option<Rate>) -> String {
    rate.map_or_else(|| "–".to_owned(), |r| format!("{} [{}, {}]", number(Some(r.value)), number(Some(r.low)), number(Some(r.high))))
}

/// Two digits, without a negative zero.
fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| format!("{:.2}", (v * 100.0).round() / 100.0 + 0.0))
}

/// A stated error: two significant digits.
fn small(value: f64) -> String {
    if value >= 0.01 { format!("{value:.3}") } else { format!("{value:.1e}") }
}

/// The modes in a few lines, for a terminal.
pub fn brief(calibration: &Calibration) -> String {
    let mut out = String::new();
    let line = |mode: Mode, slice: &Slice| {
        format!(
            "{mode}: AUC {}, caught at 5% false positives {}; of {} planted {} fail, {} pass; of {} clean {} fail\n",
            rate(slice.auc),
            caught(slice, 0),
            slice.planted.findings,
            slice.planted.fail,
            slice.planted.pass,
            slice.clean.findings,
            slice.clean.fail
        )
    };
    for slice in calibration.results.iter().flat_map(|r| &r.slices).filter(|s| s.over == Over::All) {
        out.push_str(&line(slice.mode, slice));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::samples;

    #[test]
    fn tables() {
        insta::assert_snapshot!(render(&samples::finished()));
    }

    #[test]
    fn one_that_is_not_through_says_so() {
        let text = render(&samples::calibration());
        assert!(text.contains("Not all sources are through.") && text.contains("p\\|&lt;b&gt;"), "{text}");
        assert_eq!(brief(&samples::calibration()), "");
        assert!(brief(&samples::finished()).starts_with("fixed_feature: AUC "), "{}", brief(&samples::finished()));
    }

    #[test]
    fn numbers_have_no_negative_zero() {
        assert_eq!((number(Some(-0.001)), number(Some(0.995)), number(None)), ("0.00".into(), "1.00".into(), "–".into()));
        assert_eq!((small(0.025), small(0.0012)), ("0.025".into(), "1.2e-3".into()));
    }
}
