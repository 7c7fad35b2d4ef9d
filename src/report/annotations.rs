//! What did not pass as workflow commands, which GitHub shows beside the lines of a change. It shows ten of each kind.

use super::format::{Format, Made};
use super::{Report, links, text};
use crate::gate::{Finding, Verdict};

pub(super) const FORMAT: Format = Format {
    name: "annotations",
    file: "annotations.txt",
    about: "GitHub workflow commands: remarks beside the lines of a change",
    usual: false,
    beside: false,
    report: |of| Ok(render(of.report).into()),
    incomplete: |of| Ok(Made::from(command("error", None, "heirloom: no verdict", &of.summary))),
};

/// Most of each kind.
const MOST: usize = 10;
/// Most columns of a message.
const MESSAGE: usize = 1000;

fn render(report: &Report) -> String {
    let mut out = String::new();
    for kind in ["error", "warning", "notice"] {
        let of = |finding: &&Finding| finding.verdict != Verdict::Pass && self::kind(report, finding) == kind;
        let all: Vec<&Finding> = report.findings.iter().filter(of).collect();
        let shown = if all.len() > MOST { MOST - 1 } else { all.len() };
        for finding in all.iter().take(shown) {
            let title = format!("heirloom: {}", text::short(&finding.id(), 120));
            out += &command(kind, Some(links::place(report, finding)), &title, &links::told(report, finding, MESSAGE));
        }
        if all.len() > shown {
            out += &command(kind, None, "heirloom", &format!("{} more of this kind: see the report", all.len() - shown));
        }
    }
    if out.is_empty() {
        let kind = if report.exit_code == 0 { "notice" } else { "error" };
        out = command(kind, None, &format!("heirloom: {}", text::headline(report)), &report.summary);
    }
    out
}

fn kind(report: &Report, finding: &Finding) -> &'static str {
    match finding.verdict {
        _ if !links::stops(report, finding) => "notice",
        Verdict::Inconclusive => "warning",
        _ => "error",
    }
}

/// One command on one line: what would end it or begin another is escaped as the runner reads it.
fn command(kind: &str, place: Option<(String, usize)>, title: &str, message: &str) -> String {
    let plain = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| plain(&text::printable(text)).replace(':', "%3A").replace(',', "%2C");
    let place = place.map(|(file, line)| format!("file={},line={line},", property(&text::short(&file, 1000)))).unwrap_or_default();
    format!("::{kind} {place}title={}::{}\n", property(title), plain(&text::short(message, MESSAGE)))
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, render};
    use crate::report::samples;

    #[test]
    fn one_line_each_by_kind() {
        insta::assert_snapshot!(
            render(&samples::fail()) + &render(&samples::others()) + &render(&samples::pass()) + &render(&samples::nothing())
        );
        for incomplete in samples::incomplete() {
            let text = (FORMAT.incomplete)(&incomplete).unwrap().text();
            assert!(text.starts_with("::error title=heirloom%3A no verdict::") && text.lines().count() == 1, "{text}");
        }
    }

    #[test]
    fn no_name_begins_a_command_of_its_own() {
        let text = render(&samples::hostile());
        assert!(text.lines().all(|line| line.starts_with("::error ")) && text.lines().count() == 1, "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("%3Cx%3E") | text.contains("<x>"), "{text}");
    }

    #[test]
    fn at_most_ten_of_a_kind() {
        let text = render(&samples::many(200));
        for kind in ["error", "warning", "notice"] {
            assert!(text.lines().filter(|line| line.starts_with(&format!("::{kind} "))).count() <= 10, "{text}");
        }
        assert!(text.contains("more of this kind: see the report"), "{text}");
    }
}
