//! A calibration as Markdown.

use std::fmt::Write;

use super::record::Calibration;
use super::results::{Alarms, Faint, Named, Others, Over, Repeated, Results, Side, Slice};
use super::words::{self, number, rate, small};
use crate::diag;
use crate::report::text::{self, escape};
use crate::tune::Mode;

/// Most findings that are listed one by one; all are in `calibration.json`.
pub(super) const LISTED: usize = 40;

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
    writeln!(out, "<sub>{}</sub>", escape(&words::tools(calibration).join("; ")))
}

fn mode(results: &Results, alarms: &Alarms, out: &mut String) -> std::fmt::Result {
    let mode = alarms.mode;
    let slices: Vec<&Slice> = results.slices.iter().filter(|s| s.mode == mode).collect();
    let (rules, groups): (Vec<&Slice>, Vec<&Slice>) = slices.into_iter().partition(|s| matches!(s.over, Over::Rule(_)));
    writeln!(out, "## {mode}\n")?;
    writeln!(out, "### Told apart\n")?;
    writeln!(out, "{}\n", words::TOLD_APART)?;
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
        writeln!(out, "\n{}", words::NONE_PASSED)?;
    } else {
        writeln!(out, "\n{}\n", words::PASSED)?;
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
    writeln!(out, "\n### Planted triggers that are not shown to be transferred\n")?;
    writeln!(out, "{}", words::not_transferred(faint))?;
    if !faint.all.is_empty() {
        writeln!(out)?;
        list(&faint.all.iter().collect::<Vec<_>>(), out)?;
    }
    Ok(())
}

fn held(agreement: &Repeated, out: &mut String) -> std::fmt::Result {
    let Repeated { seeds, disagree, .. } = agreement;
    writeln!(out, "\n### Verdicts held against more seeds\n")?;
    writeln!(out, "{}", words::held(agreement))?;
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
    writeln!(out, "\n### Other triggers on planted sources\n")?;
    writeln!(out, "{}", words::other(others))?;
    if !others.failed.is_empty() {
        writeln!(out)?;
        list(&others.failed.iter().collect::<Vec<_>>(), out)?;
    }
    Ok(())
}

fn list(named: &[&Named], out: &mut String) -> std::fmt::Result {
    for finding in named.iter().take(LISTED) {
        writeln!(out, "- {}: {} ({})", escape(&finding.source), escape(&finding.rule), words::score(finding))?;
    }
    if named.len() > LISTED {
        writeln!(out, "- and {} more, in calibration.json", named.len() - LISTED)?;
    }
    Ok(())
}

fn over(over: &Over) -> String {
    if *over == Over::All { "**all**".to_owned() } else { escape(words::over(over)) }
}

fn caught(slice: &Slice, nth: usize) -> String {
    rate(words::caught(slice, nth))
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
}
