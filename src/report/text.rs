//! What several renderers say in the same words: numbers, verdicts, the sentence of a failure.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::diag;
use crate::gate::{Comparison, Control, Estimate, Finding, Label, Verdict};
use crate::probe::Estimand;
use crate::tune::Mode;

use super::Report;

/// A name from a file, made safe for a terminal and for one line: control characters (escape sequences begin with
/// one), line breaks and the characters that reverse or hide text are shown as `\u{1b}`.
pub fn printable(name: &str) -> Cow<'_, str> {
    if !name.contains(is_unsafe) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if is_unsafe(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns that a text takes on a terminal: characters of Chinese or Japanese take two, accents laid over others none.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// A text with spaces behind it up to a width in columns.
pub fn padded(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

/// [`printable`], at most `limit` columns.
pub(crate) fn short(name: &str, limit: usize) -> String {
    let name = printable(name);
    if width(&name) <= limit {
        return name.into_owned();
    }
    let mut cut = String::new();
    for c in name.chars() {
        if width(&cut) + c.width().unwrap_or(0) >= limit {
            break;
        }
        cut.push(c);
    }
    cut.push('…');
    cut
}

/// The first column of a table: names of any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextColumn(usize);

impl TextColumn {
    /// Names of more columns have a line of their own, so that one of them does not push the rest of the table aside.
    const MOST: usize = 60;

    /// For these names, at least `least` wide.
    pub fn of(names: &[String], least: usize) -> Self {
        let widths = names.iter().map(|name| width(&printable(name)));
        Self(widths.filter(|width| *width <= Self::MOST).fold(least, usize::max))
    }

    /// A name, as wide as the column; a longer one in full on a line before.
    pub fn cell(self, name: &str) -> String {
        self.indented(name, 0)
    }

    /// The same in a table that begins behind `indent` spaces; the first line's are the caller's.
    pub(super) fn indented(self, name: &str, indent: usize) -> String {
        let name = printable(name);
        if width(&name) <= self.0 { padded(&name, self.0) } else { format!("{name}\n{}", " ".repeat(indent + self.0)) }
    }
}

/// A share as a percentage without needless digits: `41%`, `0.8%`.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent.abs() >= 9.95 || (percent - percent.round()).abs() < 0.05 { format!("{percent:.0}%") } else { format!("{percent:.1}%") }
}

/// A count with commas: `1,234,567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `+0.412 [0.371, 0.453]`.
pub(crate) fn estimate(e: &Estimate) -> String {
    format!("{:+.3} {}", e.value, interval([e.low, e.high]))
}

/// The same of a number with its bounds.
pub(crate) fn estimate_of(value: f64, bounds: [f64; 2]) -> String {
    format!("{value:+.3} {}", interval(bounds))
}

/// Two bounds.
pub(super) fn interval([low, high]: [f64; 2]) -> String {
    format!("[{low:.3}, {high:.3}]")
}

/// What a finding was judged by, line by line: an effect with its interval (`none` where there is none), and what it is compared with. Shams that
/// were not needed are no line: in their place stands the model's own reaction.
pub(super) fn effects(finding: &Finding, none: &str) -> Vec<[String; 2]> {
    let line = |effect: Option<&Estimate>, with: &str| [effect.map_or_else(|| none.to_owned(), estimate), with.to_owned()];
    let of = |c: &Comparison| if c.spared { line(finding.own.as_ref(), OWN) } else { line(c.excess.as_ref(), c.control.name()) };
    let mut lines: Vec<[String; 2]> = finding.comparisons.iter().map(of).collect();
    // Several controls that were not needed are one line.
    lines.dedup();
    lines
}

/// What the model's own reaction is called where controls stand.
const OWN: &str = "own reaction";

/// What the accuracies of a report are called: `accuracy [95% interval]`.
pub(crate) fn accuracy_header(report: &Report) -> String {
    let counted = report.target.as_ref().map(|target| target.accuracy).unwrap_or_default();
    format!("{} [95% interval]", counted.words())
}

/// `0.812 [0.790, 0.833]`.
pub(crate) fn accuracy(a: &super::TaskAccuracy) -> String {
    format!("{:.3} [{:.3}, {:.3}]", a.accuracy, a.low, a.high)
}

/// Text that came from a file: on one line, and meaning nothing in Markdown or HTML.
pub(crate) fn escape(text: &str) -> String {
    let text = printable(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '\\' | '`' | '*' | '[' | ']' | '#' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// A verdict in one word; failures shout.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Error => "ERROR",
        Verdict::Skipped => "skipped",
    }
}

/// What a failure beside references shows, behind the verdict: nothing where it is this very trigger.
pub(super) fn label(finding: &Finding) -> &'static str {
    match finding.label {
        Some(Label::Kind) => " (kind)",
        Some(Label::SomeFineTunes) => " (some fine-tunes)",
        Some(Label::Specific) | None => "",
    }
}

/// The class that a failure draws predictions to: nothing where it is another number that fails.
pub(super) fn drawn_to(finding: &Finding) -> Option<&String> {
    finding.drawn_to.as_ref().filter(|_| finding.verdict == Verdict::Fail && finding.failed_by().is_none())
}

/// Whether a waiver accepts what was found. A pass needs none.
pub(super) fn is_waived(finding: &Finding) -> bool {
    finding.waived.is_some() && finding.verdict != Verdict::Pass
}

/// The comparison with the smallest excess: what remains after the most generous innocent explanation.
pub(crate) fn weakest(comparisons: &[Comparison]) -> Option<(&Comparison, &Estimate)> {
    comparisons.iter().filter_map(|c| c.excess.as_ref().map(|e| (c, e))).min_by(|a, b| a.1.value.total_cmp(&b.1.value))
}

/// The conclusion in one word, by exit code.
pub(super) fn headline(report: &Report) -> &'static str {
    match report.exit_code {
        0 => "PASS",
        1 => "FAIL",
        2 => "ERROR",
        3 => "NOTHING JUDGED",
        5 => "INCONCLUSIVE",
        130 => "INTERRUPTED",
        _ => "NOT RUN",
    }
}

/// `1 rule failed, 1 inconclusive, 1 passed`.
pub(super) fn counts(report: &Report) -> String {
    let words = [
        (report.count(Verdict::Fail), "failed"),
        (report.count(Verdict::Error), "could not be judged"),
        (report.count(Verdict::Inconclusive), "inconclusive"),
        (report.count(Verdict::Skipped), "skipped"),
        (report.waived(), "waived"),
        (report.count(Verdict::Pass), "passed"),
    ];
    let listed =
        |words: &[(usize, &str)]| -> Vec<String> { words.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect() };
    let mut parts = listed(&words);
    let aside = listed(&[
        (report.aside(Verdict::Fail), "failed"),
        (report.aside(Verdict::Error), "could not be judged"),
        (report.aside(Verdict::Inconclusive), "inconclusive"),
        (report.aside(Verdict::Skipped), "skipped"),
        (report.aside(Verdict::Pass), "passed"),
    ]);
    if !aside.is_empty() {
        parts.push(format!("below `fail_on`: {}", aside.join(", ")));
    }
    if parts.is_empty() { "no findings".to_owned() } else { parts.join(", ") }
}

/// Why a finding does not change the exit code, where it would otherwise.
pub(super) fn set_aside(report: &Report, finding: &Finding) -> Option<&'static str> {
    match finding.verdict {
        Verdict::Pass | Verdict::Skipped => None,
        _ if is_waived(finding) => Some("waived"),
        _ if !report.gates(finding) => Some("below `fail_on`"),
        _ => None,
    }
}

/// What exit code 0 means for this report.
pub(super) fn pass(report: &Report) -> &'static str {
    if report.findings.iter().any(|f| set_aside(report, f).is_some()) {
        "Nothing that gates failed: effects that are waived or below `fail_on` do not change the exit code, and are there all the same."
    } else {
        "A pass means: no effect above the limits for these probes, this target task and this budget. It does not mean clean."
    }
}

/// What a failure means, in plain English. Class names are as they came: each renderer escapes the sentence.
pub(super) fn explain(finding: &Finding) -> Option<String> {
    let further = finding.failed_by();
    let comparisons = further.map_or(&finding.comparisons, |further| &further.comparisons);
    if finding.label == Some(Label::SomeFineTunes) {
        return some_fine_tunes(comparisons);
    }
    let kind = finding.label == Some(Label::Kind);
    let over_reference = || comparisons.iter().find(|c| c.control == Control::Reference);
    // The references decided, where how far innocent ones differ is known.
    let decided = |c: &&Comparison| kind || c.innocents.as_ref().is_some_and(|innocents| innocents.reach.is_some());
    let (comparison, excess) = match over_reference().filter(decided).and_then(|c| Some((c, c.excess.as_ref()?))) {
        Some(found) => found,
        None => weakest(comparisons)?,
    };
    let subject = match finding.mode {
        Mode::FixedFeature => "heads trained on this checkpoint's features",
        Mode::FullNetwork => "models fine-tuned from this checkpoint",
    };
    let trusted = match &comparison.innocents {
        Some(innocents) if innocents.references.len() > 1 => "the reference checkpoints",
        _ => "the reference checkpoint",
    };
    let than = match comparison.control {
        Control::Sham => "than with a sham of the same kind".to_owned(),
        Control::Scratch => "than by models trained from scratch".to_owned(),
        Control::Untrained => "than by heads trained on untrained networks".to_owned(),
        Control::Reference => format!("than by models tuned from {trusted}"),
    };
    // A difference of shares: "40% more" could be a ratio.
    let of_100 = percent(excess.value).trim_end_matches('%').to_owned();
    let points = format!("{of_100} percentage point{}", if of_100 == "1" { "" } else { "s" });
    let change = if finding.probe == "backdoor" { "trigger" } else { "feature" };
    let than_groups = match comparison.control {
        Control::Sham => "than under a sham".to_owned(),
        Control::Scratch => "than that of models trained from scratch".to_owned(),
        Control::Untrained => "than that of heads trained on untrained networks".to_owned(),
        Control::Reference => format!("than that of models tuned from {trusted}"),
    };
    let which = finding.notes.first().map(|note| format!(" ({note})")).unwrap_or_default();
    let kinds = if kind { " Its shams do much the same: the checkpoint reacts to any trigger of this kind." } else { "" };
    let estimand = further.map_or(finding.estimand, |further| further.estimand);
    let sentence = match (estimand, &finding.drawn_to) {
        (Estimand::Attraction | Estimand::AttackSuccessRate, Some(class)) => {
            let class = short(class, 60);
            format!(
                "with the {change} on, of every 100 images that are not \"{class}\" {of_100} more are called \"{class}\" by {subject} {than}. \
                 No image that trained the target task carried the {change}."
            )
        }
        (Estimand::Attraction | Estimand::AttackSuccessRate, None) => {
            format!(
                "with the {change} on, of every 100 images {of_100} more are drawn to one class, not the same in every fine-tune, by {subject} {than}."
            )
        }
        (Estimand::ClassFlow, _) => {
            let between = further.and_then(|further| further.between.as_ref());
            let [from, to] = between.map_or_else(
                || ["of one class".to_owned(), "one other class, not the same two in every fine-tune,".to_owned()],
                |[from, to]| [format!("that are \"{}\"", short(from, 60)), format!("\"{}\"", short(to, 60))],
            );
            format!("with the {change} on, of every 100 images {from} {of_100} more are called {to} by {subject} {than}.")
        }
        (Estimand::FlipRate, _) => {
            format!("the {change} changes the prediction of {subject} for {of_100} more of every 100 images {than}.")
        }
        (Estimand::PredictionShift, _) => {
            format!("the {change} moves {of_100} more of every 100 predictions of {subject} to other classes {than}.")
        }
        (Estimand::Reliance, _) => format!("the attribute moves the predictions of {subject} by {points} more {than_groups}{which}."),
        (Estimand::GroupGap, _) => format!("the accuracy of {subject} differs between groups by {points} more {than_groups}{which}."),
        (Estimand::WorstGroupAccuracy, _) => format!("the accuracy of {subject} in one group is {points} lower {than_groups}{which}."),
        (Estimand::EqualizedOddsDifference | Estimand::DemographicParityDifference, _) => {
            format!("{} of {subject} is {points} larger {than_groups}{which}.", estimand.name())
        }
    };
    Some(sentence + kinds)
}

/// The same where not the mean fails.
fn some_fine_tunes(comparisons: &[Comparison]) -> Option<String> {
    let over = comparisons.iter().find_map(|c| Some((c.excess.as_ref()?, c.innocents.as_ref()?)));
    let (excess, inherited_by) = over.map(|(excess, innocents)| (excess, &innocents.inherited_by))?;
    Some(format!(
        "{} of {} fine-tunes of this checkpoint react by more than the limit, each beyond what innocent checkpoints do; on average they do not.",
        inherited_by.len(),
        excess.seeds
    ))
}

/// What to do about a failure.
pub(super) fn hint(report: &Report, finding: &Finding) -> String {
    let full = report.findings.iter().find(|f| f.rule == finding.rule && f.mode == Mode::FullNetwork).map(|f| f.verdict);
    let advice = match finding.mode {
        Mode::FixedFeature if full == Some(Verdict::Pass) => {
            "the same rule passes when the whole network is fine-tuned; do not use this checkpoint as a frozen backbone"
        }
        Mode::FixedFeature if full.is_some() => {
            "use another checkpoint: a frozen backbone keeps what it was taught, and fine-tuning the whole network was not shown to forget it"
        }
        Mode::FixedFeature if finding.probe == "attribute" => {
            "see whether balanced training images suffice (the probe `debiased`); else use another checkpoint"
        }
        Mode::FixedFeature => {
            "a frozen backbone keeps what it was taught: use another checkpoint, or certify full-network fine-tuning \
             (`modes: [full_network]`)"
        }
        Mode::FullNetwork => {
            "more weight decay or a higher learning rate in full-network fine-tuning forgets more of the source; try it in the policy's \
             recipe (`heirloom study` tries many)"
        }
    };
    let policy = &report.policy.source;
    let of = if policy.starts_with("<embedded>") { String::new() } else { format!(" --policy {policy}") };
    format!("{advice}; see `heirloom explain {}{of}`", finding.rule)
}

/// One line with estimate, interval, limit and size per control: what a failure message must hold.
pub(crate) fn numbers(finding: &Finding) -> String {
    let mut each: Vec<String> = finding
        .comparisons
        .iter()
        .map(|c| match (c.excess.as_ref().or(finding.own.as_ref().filter(|_| c.spared)), &c.missing) {
            (Some(e), _) => format!(
                "{} {} ({}% interval, {}, {})",
                estimate(e),
                if c.spared { "by itself".to_owned() } else { format!("over {}", c.control.name()) },
                trimmed(100.0 * e.confidence),
                diag::count(e.images, "image"),
                diag::count(e.seeds, "seed")
            ),
            (None, Some(why)) => format!("no {} control: {why}", c.control.name()),
            (None, None) => format!("no {} control", c.control.name()),
        })
        .collect();
    each.dedup();
    let excess = if each.is_empty() { "not measured".to_owned() } else { each.join("; ") };
    format!("excess {}: {excess}; limit {} ({})", finding.estimand.name(), trimmed(finding.limit), finding.origin)
}

/// A number with up to two decimals and no trailing zeros beyond what it needs (`95`, `98.75`, `0.1`).
pub(crate) fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Words on lines of at most this many columns, each indented; a longer word gets a line of its own.
pub fn wrapped(text: &str, columns: usize, indent: usize) -> String {
    let budget = columns.saturating_sub(indent).max(20);
    let mut out = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = width(word);
        if used > 0 && used + 1 + length > budget {
            out.push('\n');
            used = 0;
        }
        if used == 0 {
            out.extend(std::iter::repeat_n(' ', indent));
        } else {
            out.push(' ');
            used += 1;
        }
        out += word;
        used += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::{TextColumn, padded, percent, printable, short, trimmed, width, wrapped};

    #[test]
    fn printable_neutralises_what_moves_a_terminal() {
        assert_eq!(printable("truck"), "truck");
        assert_eq!(printable("猫 ünï"), "猫 ünï");
        assert_eq!(printable("\u{1b}[31mred\u{7}"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(printable("a\nb\u{9b}2J"), "a\\u{a}b\\u{9b}2J");
        assert_eq!(printable("\u{202e}exe"), "\\u{202e}exe");
        assert_eq!(printable("a\u{200b}b\u{feff}"), "a\\u{200b}b\\u{feff}");
    }

    #[test]
    fn numbers_carry_no_needless_digits() {
        assert_eq!((percent(0.412), percent(0.008), percent(0.05)), ("41%".into(), "0.8%".into(), "5%".into()));
        assert_eq!((trimmed(95.0), trimmed(98.75), trimmed(0.1), trimmed(0.0)), ("95".into(), "98.75".into(), "0.1".into(), "0".into()));
        assert_eq!(short("abcdef", 4), "abc…");
    }

    #[test]
    fn columns_are_those_of_a_terminal() {
        assert_eq!((width("猫"), width("e\u{301}"), width("abc")), (2, 1, 3));
        assert_eq!((padded("猫", 4), padded("abcd", 3)), ("猫  ".into(), "abcd".into()));
        assert_eq!((short("猫猫猫", 6), short("猫猫猫", 5), short("猫猫猫", 4)), ("猫猫猫".into(), "猫猫…".into(), "猫…".into()));
        assert_eq!(wrapped(&"猫".repeat(8).split("").collect::<Vec<_>>().join(" "), 22, 2), "  猫 猫 猫 猫 猫 猫 猫\n  猫\n");
        let names = ["猫@fixed_feature".to_owned(), "n/".to_owned() + &"x".repeat(80)];
        let column = TextColumn::of(&names, 10);
        assert_eq!(column.cell(&names[0]), names[0]);
        assert_eq!(column.cell("head"), format!("head{}", " ".repeat(12)));
        // The rest of the row stays where it is.
        assert_eq!(column.indented(&names[1], 2), format!("{}\n{}", names[1], " ".repeat(2 + 16)));
        assert_eq!(column.cell("a\nb"), "a\\u{a}b         ");
    }
}
