//! The report for people at a terminal: a table of findings, and the conclusion in plain English.

use anstyle::{AnsiColor, Style};

use super::{Report, SelfTestStatus, printable, text};
use crate::diag;
use crate::gate::{Finding, Verdict};

/// How a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are used.
    pub color: bool,
    /// Characters across.
    pub width: usize,
}

impl Look {
    fn paint(self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

const HEADER: [&str; 5] = ["finding", "effect [interval]", "limit", "control", "verdict"];

/// The table and the conclusion. Names from files are shown with [`printable`]: nothing in them moves the terminal.
pub fn render(report: &Report, look: Look) -> String {
    let mut out = String::new();
    if !report.findings.is_empty() {
        out += &table(report, look);
        out.push('\n');
    }
    if !report.accuracy.is_empty() {
        out += &accuracies(report, look);
        out.push('\n');
    }
    out += &conclusion(report, look);
    out
}

/// How well the arms do the target task: what a verdict about them is worth.
fn accuracies(report: &Report, look: Look) -> String {
    let names: Vec<String> = report.accuracy.iter().map(|a| a.what.clone()).collect();
    let header = "target task";
    let column = text::TextColumn::of(&names, header.len());
    let mut out = look.paint(Style::new().dimmed(), &format!("  {}   {}", column.cell(header), text::accuracy_header(report))) + "\n";
    for (name, accuracy) in names.iter().zip(&report.accuracy) {
        for part in ["  ", &column.indented(name, 2), "   ", &text::accuracy(accuracy), "\n"] {
            out += part;
        }
    }
    out
}

/// One row of the table: finding, effect, limit, control.
type Cells = [String; 4];

fn rows(finding: &Finding) -> Vec<Cells> {
    let limit = text::trimmed(finding.limit);
    let effects = text::effects(finding, "-").into_iter();
    let mut rows: Vec<Cells> = effects.map(|[effect, with]| [String::new(), effect, limit.clone(), with]).collect();
    if rows.is_empty() {
        rows.push([String::new(), "-".to_owned(), limit, "-".to_owned()]);
    }
    if let Some([first, ..]) = rows.first_mut() {
        *first = finding.id();
    }
    rows
}

fn table(report: &Report, look: Look) -> String {
    let blocks: Vec<(&Finding, Vec<Cells>)> = report.findings.iter().map(|f| (f, rows(f))).collect();
    let columns: [text::TextColumn; 4] = std::array::from_fn(|at| {
        let cells: Vec<String> = blocks.iter().flat_map(|(_, rows)| rows).filter_map(|row| row.get(at).cloned()).collect();
        text::TextColumn::of(&cells, HEADER.get(at).map_or(0, |header| header.len()))
    });
    let line = |cells: &[&str]| -> String {
        cells.iter().zip(columns).fold("  ".to_owned(), |line, (cell, column)| line + &column.indented(cell, 2) + "   ")
    };
    let [header @ .., last] = HEADER;
    let mut out = look.paint(Style::new().dimmed(), &(line(&header) + last)) + "\n";
    for (finding, rows) in blocks {
        // What has no room on the first line stands below all controls: it is about the finding.
        let mut below = String::new();
        for (i, row) in rows.iter().enumerate() {
            let cells = line(&row.each_ref().map(String::as_str));
            if i > 0 {
                out += cells.trim_end();
                out.push('\n');
                continue;
            }
            let verdict = text::verdict(finding.verdict);
            let remark = remark(report, finding);
            let last = cells.lines().last().unwrap_or_default();
            let budget = look.width.saturating_sub(text::width(last) + text::width(verdict));
            out += &cells;
            out += &look.paint(style(report, finding), verdict);
            if text::width(&remark) <= budget {
                out += &remark;
            } else {
                below = text::wrapped(remark.trim_start_matches([':', ',', ' ']), look.width, 4);
            }
            out.push('\n');
        }
        out += &below;
        for note in &finding.notes {
            out += &text::wrapped(&printable(note), look.width, 4);
        }
        let missing = finding.comparisons.iter().filter(|c| !c.spared);
        for missing in missing.filter_map(|c| c.missing.as_ref().map(|why| (c.control, why))) {
            let why = format!("{}: {}", missing.0.name(), printable(missing.1));
            out += &text::wrapped(&why, look.width, 4);
        }
    }
    out
}

/// What follows the verdict on its line.
fn remark(report: &Report, finding: &Finding) -> String {
    let aside = text::set_aside(report, finding).map(|why| format!(", {why}")).unwrap_or_default();
    let drawn = text::drawn_to(finding).map(|class| format!("   → class \"{}\"", text::short(class, 60))).unwrap_or_default();
    let reason = finding.reason.as_ref().map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
    let kind = text::label(finding);
    format!("{kind}{aside}{drawn}{reason}")
}

fn style(report: &Report, finding: &Finding) -> Style {
    let color = match finding.verdict {
        _ if text::set_aside(report, finding).is_some() => AnsiColor::Yellow,
        Verdict::Pass => AnsiColor::Green,
        Verdict::Fail | Verdict::Error => AnsiColor::Red,
        Verdict::Inconclusive => AnsiColor::Yellow,
        Verdict::Skipped => AnsiColor::BrightBlack,
    };
    Style::new().bold().fg_color(Some(color.into()))
}

fn conclusion(report: &Report, look: Look) -> String {
    let color = match report.exit_code {
        0 => AnsiColor::Green,
        1 | 2 => AnsiColor::Red,
        _ => AnsiColor::Yellow,
    };
    let headline = look.paint(Style::new().bold().fg_color(Some(color.into())), text::headline(report));
    let first = report.findings.iter().find(|f| f.verdict == Verdict::Fail && report.gates(f));
    let cited = first.map(|f| format!("   {}", printable(&f.origin.to_string()))).unwrap_or_default();
    let mut out = format!("{headline}   {}{cited}\n", printable(&report.summary));
    if report.exit_code != 0 && report.process_code() == 0 {
        out += &text::wrapped("reported only (--report-only): the process exits 0, whatever was found", look.width, 2);
    }
    for finding in report.findings.iter().filter(|f| f.verdict == Verdict::Fail) {
        let sentence = text::explain(finding).unwrap_or_else(|| text::numbers(finding));
        out += &text::wrapped(&format!("{}: {}", printable(&finding.id()), printable(&sentence)), look.width, 2);
        let advice = match &finding.waived {
            Some(w) => format!("waived until {} by {}: {}", w.expires, w.owner, w.reason),
            None => format!("hint: {}", text::hint(report, finding)),
        };
        out += &text::wrapped(&printable(&advice), look.width, 2);
    }
    if report.self_test.status != SelfTestStatus::Passed {
        out += &text::wrapped(&format!("self-test: {}; no pass is given", printable(&report.self_test.detail)), look.width, 2);
    }
    for warning in &report.warnings {
        out += &text::wrapped(&format!("warning: {}", printable(warning)), look.width, 2);
    }
    if let Some(first) = report.broken.first() {
        let n = report.broken.len();
        let (id, why) = (printable(&first.id), printable(&first.reason));
        let n = diag::count(n, "broken image");
        out += &text::wrapped(&format!("left out: {n}, the first {id} ({why})"), look.width, 2);
    }
    for note in &report.notes {
        out += &text::wrapped(&format!("note: {}", printable(note)), look.width, 2);
    }
    if report.exit_code == 0 {
        out += &text::wrapped(text::pass(report), look.width, 2);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Look, render};
    use crate::report::samples;

    const WIDE: Look = Look { color: false, width: 120 };

    #[test]
    fn failure_by_a_flow() {
        insta::assert_snapshot!(render(&samples::flow(), WIDE));
    }

    #[test]
    fn failure() {
        insta::assert_snapshot!(render(&samples::fail(), WIDE));
    }

    #[test]
    fn failure_on_a_narrow_terminal() {
        insta::assert_snapshot!(render(&samples::fail(), Look { color: false, width: 60 }));
    }

    #[test]
    fn pass() {
        insta::assert_snapshot!(render(&samples::pass(), WIDE));
    }

    #[test]
    fn every_other_verdict() {
        insta::assert_snapshot!(render(&samples::others(), WIDE));
    }

    #[test]
    fn nothing_judged() {
        insta::assert_snapshot!(render(&samples::nothing(), WIDE));
    }

    #[test]
    fn a_mean_over_classes_is_called_so() {
        let mut report = samples::fail();
        assert!(render(&report, WIDE).contains("   accuracy [95% interval]"));
        if let Some(target) = &mut report.target {
            target.accuracy = crate::data::Counted::MeanPerClass;
        }
        assert!(render(&report, WIDE).contains("   mean accuracy per class [95% interval]"));
        assert!(
            crate::report::summary::render(&report).contains("| target task | mean accuracy per class [95% interval] | seeds | images |")
        );
        // A report of an earlier build says nothing of it.
        let told = serde_json::to_value(samples::fail()).unwrap();
        assert!(told["target"].get("accuracy").is_none() && told["target"].get("classes").is_some());
    }

    #[test]
    fn long_and_wide_names_keep_the_columns() {
        let mut report = samples::fail();
        report.findings[0].rule = format!("natural/{}", "fence-in-front-of-".repeat(4));
        report.findings[1].rule = "natural/猫の帽子".to_owned();
        report.accuracy[0].what = format!("source, fixed features, balanced over {}", "breed".repeat(9));
        report.accuracy[1].what = "source, fixed features, balanced over 品種".to_owned();
        insta::assert_snapshot!(render(&report, WIDE));
    }

    #[test]
    fn hostile_names_do_not_reach_the_terminal() {
        let text = render(&samples::hostile(), WIDE);
        insta::assert_snapshot!(text);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn colours_only_when_asked_and_nothing_else_changes() {
        let colored = render(&samples::fail(), Look { color: true, ..WIDE });
        assert!(colored.contains("\u{1b}["));
        assert_eq!(anstream::adapter::strip_str(&colored).to_string(), render(&samples::fail(), WIDE));
    }
}
