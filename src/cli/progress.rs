//! What happens while a run goes on: bars on a terminal, plain lines elsewhere, nothing with `--quiet`. All on stderr.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::duration;
use super::output::{Output, say};
use heirloom::diag;
use heirloom::engine::Event;
use heirloom::report::{printable, text};

/// Least time between two plain lines of progress.
const PAUSE: Duration = Duration::from_secs(10);

/// Renders events.
#[derive(Debug)]
pub struct Progress(View);

#[derive(Debug)]
enum View {
    Quiet,
    Lines(Lines),
    Bars(Option<ProgressBar>),
}

impl Progress {
    /// As the output allows.
    pub fn new(out: &Output) -> Self {
        Self(match (out.quiet, out.terminal) {
            (true, _) => View::Quiet,
            (false, true) => View::Bars(None),
            (false, false) => View::Lines(Lines::default()),
        })
    }

    /// Shows what an event tells.
    pub fn handle(&mut self, event: &Event) {
        match &mut self.0 {
            // A warning is in the report; with --quiet that is where it stays.
            View::Quiet => {}
            View::Lines(lines) => {
                if let Some(line) = lines.line(event, Instant::now()) {
                    say(&line);
                }
            }
            View::Bars(bar) => bars(bar, event),
        }
    }
}

fn bars(bar: &mut Option<ProgressBar>, event: &Event) {
    match event {
        Event::StageStart { stage, total, unit } => {
            let new = match total {
                Some(total) => ProgressBar::new(*total).with_style(style("  {bar:20} {prefix:<11} {pos}/{len} {msg}   eta {eta}")),
                None => ProgressBar::new_spinner().with_style(style("  {spinner} {prefix:<11} {elapsed}")),
            };
            new.set_prefix(printable(stage).into_owned());
            new.set_message(*unit);
            new.enable_steady_tick(Duration::from_millis(200));
            if let Some(old) = bar.replace(new) {
                old.finish_and_clear();
            }
        }
        Event::Progress { done } => {
            if let Some(bar) = bar {
                bar.set_position(*done);
            }
        }
        Event::StageEnd { .. } => {
            if let Some(old) = bar.take() {
                old.finish_and_clear();
            }
            if let Some(line) = said(event) {
                say(&line);
            }
        }
        Event::Fact { .. } | Event::Judged(_) | Event::Warning(_) => {
            let Some(line) = said(event) else { return };
            match bar {
                Some(bar) => bar.suspend(|| say(&line)),
                None => say(&line),
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // A wrong template would fall back to the plain bar: shown worse, not lost.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The line that an event is worth on its own.
fn said(event: &Event) -> Option<String> {
    match event {
        Event::Fact { topic, text } => Some(format!("  {topic:<16} {}", printable(text))),
        Event::StageEnd { stage, summary, seconds } => {
            let gap = if summary.is_empty() { "" } else { "   " };
            let stage = text::padded(&printable(stage), 24);
            Some(format!("  ✓ {stage} {}{gap}{}", printable(summary), duration::show(*seconds)))
        }
        Event::Warning(text) => Some(format!("  warning: {}", printable(text))),
        // The table tells; on the way there only what cannot be overlooked later.
        Event::Judged(_) | Event::StageStart { .. } | Event::Progress { .. } => None,
    }
}

/// Plain lines, without time stamps and few: one when a stage begins, one when it ends, at most one per pause between.
#[derive(Debug, Default)]
struct Lines {
    stage: String,
    total: Option<u64>,
    unit: &'static str,
    last: Option<Instant>,
}

impl Lines {
    fn line(&mut self, event: &Event, now: Instant) -> Option<String> {
        match event {
            Event::StageStart { stage, total, unit } => {
                *self = Self { stage: printable(stage).into_owned(), total: *total, unit, last: Some(now) };
                let size = total.map(|n| format!(" ({})", diag::count(n, unit.trim_end_matches('s')))).unwrap_or_default();
                Some(format!("  {}{size}", self.stage))
            }
            Event::Progress { done } => {
                if self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
                    return None;
                }
                self.last = Some(now);
                let of = self.total.map(|n| format!("/{n}")).unwrap_or_default();
                Some(format!("  {} {done}{of} {}", self.stage, self.unit))
            }
            _ => said(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Lines;
    use heirloom::engine::Event;

    #[test]
    fn plain_lines_are_few_and_safe() {
        let mut lines = Lines::default();
        let start = Instant::now();
        let mut at = |seconds, event: Event| lines.line(&event, start + Duration::from_secs(seconds));
        let stage = || "hea\u{1b}ds".to_owned();
        assert_eq!(at(0, Event::StageStart { stage: stage(), total: Some(9), unit: "heads" }).unwrap(), "  hea\\u{1b}ds (9 heads)");
        assert_eq!(at(1, Event::Progress { done: 1 }), None);
        assert_eq!(at(11, Event::Progress { done: 4 }).unwrap(), "  hea\\u{1b}ds 4/9 heads");
        assert_eq!(at(12, Event::Progress { done: 5 }), None);
        let end = at(13, Event::StageEnd { stage: "heads".into(), summary: "9 heads".into(), seconds: 13.0 }).unwrap();
        assert_eq!(end, "  ✓ heads                    9 heads   13 s");
        assert_eq!(at(13, Event::Warning("a\nb".into())).unwrap(), "  warning: a\\u{a}b");
    }
}
