//! Names and numbers as the page shows them.

use maud::{Markup, html};

use crate::gate::Verdict;
use crate::report::text;
use crate::store::Digest;

/// Most columns of a name.
const NAME: usize = 120;
/// Most columns of a sentence.
const SENTENCE: usize = 4000;

/// A name from a file, safe on one line, cut where it is very long.
pub(crate) fn line(name: &str) -> String {
    text::short(name, NAME)
}

/// The same, cut where it is longer than a sentence is.
pub(crate) fn whole(sentence: &str) -> String {
    text::short(sentence, SENTENCE)
}

/// A digest in full.
pub(crate) fn digest(of: &Digest) -> Markup {
    html! { code { (of.as_str()) } }
}

/// The class of the page's style that a verdict is drawn in.
pub(crate) fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "good",
        Verdict::Fail => "bad",
        Verdict::Inconclusive | Verdict::Error => "open",
        Verdict::Skipped => "none",
    }
}

/// A verdict in its colour.
pub(crate) fn verdict(of: Verdict) -> Markup {
    html! { span.word.(tone(of)) { (text::verdict(of)) } }
}

/// A share with three decimals and its sign; a dash where it is no number.
pub(crate) fn signed(value: f64) -> String {
    if value.is_finite() { format!("{value:+.3}") } else { "–".to_owned() }
}

/// A table that is scrolled by itself where it is wider than the page.
pub(crate) fn scrolled(label: &str, table: &Markup) -> Markup {
    html! { div.scroll role="group" aria-label=(label) tabindex="0" { (table) } }
}

/// Rows of a name and what there is to say of it.
pub(crate) fn listed(rows: &[(&str, Markup)]) -> Markup {
    html! { dl { @for (name, value) in rows { dt { (name) } dd { (value) } } } }
}
