//! The report as one page for people: no script, nothing fetched, light and dark, and it prints.
//!
//! What names a thing (a model, a class, a rule) came from somebody else: it is cut, made safe for one line (`text::printable`) and escaped by the
//! templates. The page's policy lets nothing run and nothing load but the images within it.

mod answer;
mod certified;
mod facts;
mod finding;
pub(crate) mod forest;
pub(crate) mod lines;
pub(crate) mod provenance;
mod shares;
mod training;
pub(crate) mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::format::Format;
use super::{Incomplete, Status, base64};
use crate::store::sha256;
use words::{line, whole};

pub(super) const FORMAT: Format = Format {
    name: "html",
    file: "report.html",
    about: "people: one page to read, print or send",
    usual: true,
    beside: true,
    report: |of| Ok(certified::page_of(of).into()),
    incomplete: |of| Ok(incomplete(of).into()),
};

const STYLE: &str = include_str!("html/style.css");

/// A page around its parts: a report's, and that of a study, a calibration or a comparison. `title` is plain text, safe on one line.
pub(crate) fn page(title: &str, header: &Markup, main: &Markup, foot: &Markup) -> String {
    // The digest lets this style sheet in, and no other.
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'",
        base64::encode(&sha256(STYLE.as_bytes()))
    );
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (header) }
                main { (main) }
                footer { (foot) }
            }
        }
    }
    .into_string()
        + "\n"
}

/// What stands in the place of a report without a verdict.
fn incomplete(of: &Incomplete) -> String {
    let head = match of.status {
        Status::Unfinished => "NOT FINISHED",
        Status::Error => "ERROR",
        Status::Interrupted => "INTERRUPTED",
    };
    let header = html! {
        p.soft { "heirloom: certification of a checkpoint" }
        h1 { (line(&of.subject)) }
    };
    let main = html! {
        div.verdict.none { strong { (head) } p { "There is no verdict. " (whole(&of.summary)) } }
        @if of.error.lines().count() > 1 {
            h2 { "What was said" }
            pre { @for said in of.error.lines().take(500) { (whole(said)) "\n" } }
        }
    };
    let foot = html! { p { "heirloom " (line(&of.version)) ", began " (line(&of.started)) } };
    page(&format!("heirloom: {head}, {}", line(&of.subject)), &header, &main, &foot)
}

#[cfg(test)]
pub(crate) mod tests;
