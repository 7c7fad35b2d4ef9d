//! The report as Markdown, for the step summary of a pipeline and the comment on a pull request.

use std::fmt::Write;

use super::format::Format;
use super::text::printable;
use super::{Incomplete, Report, SelfTestStatus, Status, text};
use crate::diag;
use crate::gate::{Finding, Verdict};

pub(super) const FORMAT: Format = Format {
    name: "markdown",
    file: "summary.md",
    about: "the step summary of a pipeline, a comment on a pull request",
    usual: true,
    beside: false,
    report: |of| Ok(render(of.report).into()),
    incomplete: |of| Ok(incomplete(of).into()),
};

/// Most bytes: GitHub takes no larger step summary.
const MOST: usize = 1 << 20;
/// Findings up to which each has its row.
const MOST_FINDINGS: usize = 300;
/// Failures up to which each has its section.
const MOST_SECTIONS: usize = 30;

/// The report as Markdown.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(report, &mut out);
    bounded(out)
}

/// A text that is no longer than a step summary may be: cut after a line, and said so.
fn bounded(mut out: String) -> String {
    const REST: &str = "\n\nCut here: the rest is in report.html and report.json.\n";
    if out.len() > MOST {
        let most = out.floor_char_boundary(MOST - REST.len());
        let end = out.get(..most).and_then(|text| text.rfind('\n')).unwrap_or(most);
        out.truncate(end);
        out += REST;
    }
    out
}

/// The findings that are told: all, or of many those that did not pass.
fn told(report: &Report) -> Vec<&Finding> {
    let all = report.findings.iter();
    if report.findings.len() <= MOST_FINDINGS {
        return all.collect();
    }
    all.filter(|finding| !matches!(finding.verdict, Verdict::Pass | Verdict::Skipped)).take(MOST_FINDINGS).collect()
}

/// What stands in the place of a report without a verdict.
pub fn incomplete(incomplete: &Incomplete) -> String {
    let head = match incomplete.status {
        Status::Unfinished => "NOT FINISHED",
        Status::Error => "ERROR",
        Status::Interrupted => "INTERRUPTED",
    };
    let subject = text::escape(&incomplete.subject);
    let mut out = format!("## heirloom: ⚠️ {head}\n\n**{subject}** has no verdict: {}\n", text::escape(&incomplete.summary));
    if incomplete.error.lines().count() > 1 {
        // Indented by four, lines stay as they are, whatever they hold.
        let lines = incomplete.error.lines().map(|line| format!("    {}\n", printable(line)));
        out.push('\n');
        out.extend(lines);
    }
    bounded(out) + &format!("\n<sub>heirloom {}, began {}</sub>\n", text::escape(&incomplete.version), text::escape(&incomplete.started))
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(out, "## heirloom: {} {}\n", mark(report.exit_code), text::headline(report))?;
    writeln!(out, "{}\n", text::escape(&report.summary))?;
    if report.report_only {
        writeln!(out, "Reported only (`--report-only`): whatever was found, the process exits 0.\n")?;
    }
    let model = &report.model;
    writeln!(
        out,
        "Model **{}** (`{}`, {}), features by {}, policy **{}** (`{}`).\n",
        text::escape(&model.identity.name()),
        text::escape(model.identity.digest.as_str()),
        text::escape(&model.description),
        text::escape(&model.executor.name),
        text::escape(&report.policy.name),
        text::escape(report.policy.digest.as_str()),
    )?;
    for reference in &report.references {
        writeln!(
            out,
            "Compared with **{}** (`{}`, {}) as `{}`; its images normalised: {}.\n",
            text::escape(&reference.name),
            text::escape(reference.digest.as_str()),
            text::escape(&reference.description),
            reference.arm,
            text::escape(&reference.normalised),
        )?;
    }
    if let Some(target) = &report.target {
        writeln!(
            out,
            "Target task: {}, {}, {} + {} images (`{}`, `{}`).\n",
            text::escape(&target.data),
            diag::count(target.classes.len(), "class"),
            target.train.images,
            target.test.images,
            text::escape(target.train.digest.as_str()),
            text::escape(target.test.digest.as_str()),
        )?;
    }
    writeln!(out, "Images: {}.\n", text::escape(&model.input.resized()))?;
    writeln!(out, "Normalised: {}.\n", text::escape(&model.input.normalised()))?;
    if !report.policy.salted {
        writeln!(
            out,
            "Shams and halves are drawn from the policy's seed alone: whoever knows the policy knows them (`salt_env` changes that).\n"
        )?;
    }
    let told = told(report);
    if !told.is_empty() {
        writeln!(out, "| finding | effect [interval] | limit | control | verdict |")?;
        writeln!(out, "|---|---|---:|---|---|")?;
    }
    for finding in &told {
        let effects = text::effects(finding, "–");
        let lines = |at: usize| effects.iter().filter_map(|line| line.get(at).cloned()).collect::<Vec<_>>().join("<br>");
        let mut verdict = format!("**{}**{}", text::verdict(finding.verdict), text::label(finding));
        if let Some(aside) = text::set_aside(report, finding) {
            verdict += ", ";
            verdict += aside;
        }
        if let Some(class) = text::drawn_to(finding) {
            let _ = write!(verdict, " → class \"{}\"", text::escape(&text::short(class, 60)));
        }
        if let Some(reason) = &finding.reason {
            let _ = write!(verdict, ": {}", text::escape(reason));
        }
        writeln!(out, "| {} | {} | {} | {} | {verdict} |", text::escape(&finding.id()), lines(0), text::trimmed(finding.limit), lines(1))?;
    }
    if told.len() < report.findings.len() {
        let (shown, all) = (told.len(), text::grouped(report.findings.len() as u64));
        writeln!(out, "\n{shown} of {all} findings are told here, none that passed; all are in report.html and report.json.")?;
    }
    further(&told, out)?;
    if !report.accuracy.is_empty() {
        writeln!(out, "\n| target task | {} | seeds | images |", text::accuracy_header(report))?;
        writeln!(out, "|---|---|---:|---:|")?;
    }
    for accuracy in &report.accuracy {
        let (what, value) = (text::escape(&accuracy.what), text::accuracy(accuracy));
        writeln!(out, "| {what} | {value} | {} | {} |", accuracy.seeds, accuracy.images)?;
    }
    another_sample(report, &told, out)?;
    if let Some(forwarded) = &report.run.images_forwarded {
        writeln!(out, "\nImages forwarded: {}.", forwarded.told(report.references.len()))?;
    }
    for finding in told.iter().filter(|f| !f.notes.is_empty()) {
        writeln!(out, "\n{}: {}.", text::escape(&finding.id()), text::escape(&finding.notes.join("; ")))?;
    }
    for finding in told.iter().filter(|f| f.verdict == Verdict::Fail).take(MOST_SECTIONS) {
        writeln!(out, "\n### {}\n", text::escape(&finding.id()))?;
        if let Some(sentence) = text::explain(finding) {
            writeln!(out, "{}\n", text::escape(&sentence))?;
        }
        writeln!(out, "Limit {} set at {}.", text::trimmed(finding.limit), text::escape(&finding.origin.to_string()))?;
        match &finding.waived {
            Some(w) => {
                writeln!(out, "Waived until {} by {}: {}", text::escape(&w.expires), text::escape(&w.owner), text::escape(&w.reason))?;
            }
            None => writeln!(out, "Hint: {}.", text::escape(&text::hint(report, finding)))?,
        }
        histograms(finding, out)?;
    }
    if !report.changes.is_empty() {
        writeln!(out, "\nLaid over the images:\n")?;
    }
    for (rule, change) in &report.changes {
        writeln!(out, "- {}: {}", text::escape(rule), text::escape(change))?;
    }
    if report.self_test.status != SelfTestStatus::Passed {
        writeln!(out, "\n> **Self-test:** {}. No pass is given.", text::escape(&report.self_test.detail))?;
    }
    for note in &report.notes {
        writeln!(out, "\n> **Note:** {}", text::escape(note))?;
    }
    for warning in &report.warnings {
        writeln!(out, "\n> **Warning:** {}", text::escape(warning))?;
    }
    if !report.broken.is_empty() {
        let (n, were) = (report.broken.len(), diag::agree(&report.broken.len(), "was", "were"));
        writeln!(out, "\n{} could not be read and {were} left out (listed in report.json).", diag::count(n, "image"))?;
    }
    if report.exit_code == 0 {
        writeln!(out, "\n{}", text::pass(report))?;
    }
    provenance(report, out)?;
    writeln!(
        out,
        "\n<sub>{} {}, {}</sub>",
        text::escape(&report.tool.name),
        text::escape(&report.tool.version),
        text::escape(&report.tool.computed_on())
    )
}

/// When, by whom and with what it was certified.
fn provenance(report: &Report, out: &mut String) -> std::fmt::Result {
    let Some(told) = &report.run.provenance else { return Ok(()) };
    let mut parts = vec![format!("Certified {}", report.run.started)];
    if let Some(by) = &told.responsible {
        let run = by.run.as_ref().map(|run| format!(", {run}")).unwrap_or_default();
        parts.push(format!("responsible: {} ({}{run})", by.name.as_deref().unwrap_or("nobody is named"), by.said_by));
    }
    if let Some(fixed) = &told.policy_fixed {
        parts.push(format!("policy fixed by {} (commit {})", fixed.date, text::short(&fixed.commit, 13)));
    }
    let commit = told.build.commit.as_ref().map(|commit| format!(" of commit {}", text::short(commit, 13))).unwrap_or_default();
    parts.push(format!("build{commit} with {}", told.build.features.join(", ")));
    parts.push(format!("{}, {}, {}", told.machine.processor, diag::count(told.machine.cores, "processor"), told.machine.system));
    parts.push(format!("command: heirloom {}", told.command.join(" ")));
    writeln!(out, "\n{}.", text::escape(&parts.join("; ")))
}

/// How far the numbers may lie on other training images.
fn another_sample(report: &Report, told: &[&Finding], out: &mut String) -> std::fmt::Result {
    let mut all = Vec::new();
    for finding in told {
        let over = finding.comparisons.iter().filter_map(|c| Some((format!("over {}", c.control.name()), c.excess.as_ref()?)));
        let own = finding.own.iter().map(|own| ("by itself".to_owned(), own));
        let each: Vec<String> =
            own.chain(over).filter_map(|(what, e)| Some(format!("{what} {}", text::interval(e.another_sample?)))).collect();
        if !each.is_empty() {
            all.push(format!("{} {}", finding.id(), each.join(", ")));
        }
    }
    let Some(target) = report.target.as_ref().filter(|_| !all.is_empty()) else { return Ok(()) };
    let others = diag::count(target.train.images, "other training image");
    writeln!(out, "\nThe intervals are about these training images. On {others} of their kind: {}.", text::escape(&all.join("; ")))
}

/// What is judged beside the number that a rule names.
fn further(told: &[&Finding], out: &mut String) -> std::fmt::Result {
    let mut first = true;
    for finding in told {
        for further in &finding.further {
            if std::mem::take(&mut first) {
                writeln!(out, "\n| finding | judged beside it | the model by itself [interval] | limit | verdict |")?;
                writeln!(out, "|---|---|---|---:|---|")?;
            }
            let between =
                further.between.as_ref().map(|[from, to]| format!(" from \"{}\" to \"{}\"", text::short(from, 40), text::short(to, 40)));
            writeln!(
                out,
                "| {} | {}{} | {} | {} | {} |",
                text::escape(&finding.id()),
                further.estimand.words(),
                text::escape(&between.unwrap_or_default()),
                further.own.as_ref().map_or_else(|| "–".to_owned(), text::estimate),
                text::trimmed(further.limit),
                text::verdict(further.verdict),
            )?;
        }
    }
    Ok(())
}

/// Shares of predictions by class, as images are and with the feature, for every arm.
pub(crate) fn histograms(finding: &Finding, out: &mut String) -> std::fmt::Result {
    let arms: Vec<_> = finding.arms.iter().filter(|arm| !arm.histogram.is_empty()).collect();
    let Some(first) = arms.first() else { return Ok(()) };
    write!(out, "\n| predicted |")?;
    for arm in &arms {
        write!(out, " {} | with the feature |", arm.arm)?;
    }
    writeln!(out, "\n|---|{}", "---:|---:|".repeat(arms.len()))?;
    for (row, share) in first.histogram.iter().enumerate() {
        write!(out, "| {} |", text::escape(&text::short(&share.class, 60)))?;
        for share in arms.iter().filter_map(|arm| arm.histogram.get(row)) {
            write!(out, " {} | {} |", text::percent(share.clean), text::percent(share.changed))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn mark(exit_code: i32) -> &'static str {
    match exit_code {
        0 => "✅",
        1 => "❌",
        _ => "⚠️",
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::report::samples;

    #[test]
    fn failure_by_a_flow() {
        insta::assert_snapshot!(render(&samples::flow()));
    }

    #[test]
    fn failure() {
        insta::assert_snapshot!(render(&samples::fail()));
    }

    #[test]
    fn pass() {
        insta::assert_snapshot!(render(&samples::pass()));
    }

    #[test]
    fn every_other_verdict() {
        insta::assert_snapshot!(render(&samples::others()));
    }

    #[test]
    fn a_step_summary_takes_it_whatever_it_holds() {
        let text = render(&samples::many(5000));
        assert!(text.len() < super::MOST && text.contains("300 of 5,000 findings are told here"), "{}", text.len());
        let mut long = samples::many(250);
        for finding in &mut long.findings {
            finding.rule = "x".repeat(10_000);
        }
        let text = render(&long);
        assert!(text.len() <= super::MOST && text.ends_with("the rest is in report.html and report.json.\n"), "{}", text.len());
    }

    #[test]
    fn nothing_judged() {
        insta::assert_snapshot!(render(&samples::nothing()));
    }

    #[test]
    fn without_a_verdict() {
        for incomplete in samples::incomplete() {
            insta::assert_snapshot!(format!("incomplete_{:?}", incomplete.status), super::incomplete(&incomplete));
        }
    }

    #[test]
    fn hostile_names_mean_nothing() {
        let text = render(&samples::hostile());
        insta::assert_snapshot!(text);
        assert!(!text.contains("<script>") && !text.contains('\u{1b}'));
    }
}
