//! Where a statement came from, and what is wrong with it: spans, origins, diagnostics.

mod explain;

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level as SnippetLevel, Renderer, Snippet, normalize_untrusted_str};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use explain::{Class, Explain, Mistakes};

/// The file and place that a value was read from: a finding cites the policy line that set its limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The file as the user named it, or `<embedded>/quick.yaml`.
    pub file: String,
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Origin {
    /// The place of a byte offset in `text`; an offset outside it, or inside a character, counts as the nearest
    /// place before it.
    pub(crate) fn of(file: &str, text: &str, offset: usize) -> Self {
        let text = line_feeds(text);
        let before = text.get(..floor(&text, offset)).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

/// Whether a diagnostic stops the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing runs until it is put right.
    Error,
    /// The run goes on.
    Warning,
}

/// One mistake in a text that the user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the run.
    pub level: Level,
    /// A stable identifier such as `policy::unknown-field`.
    pub code: Cow<'static, str>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Byte range in the text, and what to say under it.
    pub span: Range<usize>,
    /// Shown under the marked span (may be empty).
    pub label: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A mistake without label or hint.
    pub(crate) fn error(code: impl Into<Cow<'static, str>>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { level: Level::Error, code: code.into(), message: message.into(), span, label: String::new(), hint: None }
    }

    /// A remark without label or hint.
    pub(crate) fn warning(code: impl Into<Cow<'static, str>>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, span, message) }
    }

    /// The same with words under the marked span.
    #[must_use]
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same with advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The machine-readable form, for a text called `source`.
    pub fn located(&self, text: &str, source: &str) -> Located {
        let Origin { file, line, column } = Origin::of(source, text, self.span.start);
        Located {
            level: self.level,
            file,
            line,
            column,
            code: self.code.to_string(),
            message: self.message.clone(),
            label: (!self.label.is_empty()).then(|| self.label.clone()),
            hint: self.hint.clone(),
        }
    }
}

/// A diagnostic with its place spelt out, as `validate --format json` writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Located {
    /// Whether it stops the run.
    pub level: Level,
    /// The file as the user named it.
    pub file: String,
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
    /// A stable identifier such as `policy::unknown-field`.
    pub code: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What is said under the marked place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Shows diagnostics beside the lines they are about, in the given order, each followed by an empty line.
///
/// Control characters of the text and the messages are shown as visible images, so that a policy cannot write to
/// the terminal.
pub fn render(text: &str, source: &str, diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Unicode);
    // Unlike titles, labels and the text itself, paths and messages are not cleaned by the renderer.
    let source = normalize_untrusted_str(source);
    let text = &*line_feeds(text);
    let mut out = String::new();
    for diagnostic in diagnostics {
        let level = match diagnostic.level {
            Level::Error => SnippetLevel::ERROR,
            Level::Warning => SnippetLevel::WARNING,
        };
        let start = floor(text, diagnostic.span.start);
        let end = floor(text, diagnostic.span.end).max(start);
        let annotation =
            AnnotationKind::Primary.span(start..end).label((!diagnostic.label.is_empty()).then_some(diagnostic.label.as_str()));
        let mut group: Group<'_> = level
            .primary_title(diagnostic.message.as_str())
            .id(&*diagnostic.code)
            .element(Snippet::source(text).path(source.as_str()).annotation(annotation));
        if let Some(hint) = &diagnostic.hint {
            group = group.element(SnippetLevel::HELP.message(normalize_untrusted_str(hint)));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}

/// Words with a capital at their beginning.
pub(crate) fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A number of things: `1 image`, `2 images`, `3 classes`, `4 entries`. The last word is put into the plural.
pub fn count<N: std::fmt::Display + PartialEq + From<u8> + Copy>(n: N, one: &str) -> String {
    let many = match one.as_bytes() {
        _ if n == N::from(1) => return format!("{n} {one}"),
        // Said with a k.
        b"epoch" => "epochs".to_owned(),
        [.., b's' | b'x'] | [.., b'c' | b's', b'h'] => format!("{one}es"),
        [stem @ .., b'y'] if !stem.ends_with(b"a") && !stem.ends_with(b"e") => format!("{}ies", one.trim_end_matches('y')),
        _ => format!("{one}s"),
    };
    format!("{n} {many}")
}

/// The word that goes with a number of things: `is` or `are`, `does` or `do`.
pub(crate) fn agree<'a, N: PartialEq + From<u8>>(n: &N, one: &'a str, many: &'a str) -> &'a str {
    if *n == N::from(1) { one } else { many }
}

/// The text with line feeds in the place of carriage returns that end a line alone: YAML counts such lines too. Every byte keeps its place.
pub(crate) fn line_feeds(text: &str) -> Cow<'_, str> {
    let ends_line = |at: usize| text.as_bytes().get(at + 1) != Some(&b'\n');
    if !text.match_indices('\r').any(|(at, _)| ends_line(at)) {
        return Cow::Borrowed(text);
    }
    text.char_indices().map(|(at, c)| if c == '\r' && ends_line(at) { '\n' } else { c }).collect()
}

/// The greatest character boundary of `text` that is not above `offset`.
fn floor(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::{Diagnostic, Origin, agree, count, line_feeds, render};

    #[test]
    fn a_line_ends_as_yaml_says() {
        let text = "one: 1\rtwo: 2\r\nthree: é\nfour: 4\r\rsix: 6";
        assert_eq!(line_feeds(text), "one: 1\ntwo: 2\r\nthree: é\nfour: 4\n\nsix: 6");
        assert!(matches!(line_feeds("one\r\ntwo\n"), std::borrow::Cow::Borrowed(_)));
        for (word, line, column) in [("1", 1, 6), ("two", 2, 1), ("é", 3, 8), ("four", 4, 1), ("6", 6, 6)] {
            let at = text.find(word).unwrap();
            assert_eq!(Origin::of("f", text, at), Origin { file: "f".to_owned(), line, column }, "{word}");
            let shown = render(text, "f", &[Diagnostic::error("c", at..at + word.len(), "wrong")], false);
            assert!(shown.contains(&format!("f:{line}:{column}\n")) && shown.contains(&format!("\n{line} │ ")), "{shown}");
        }
    }

    #[test]
    fn one_is_no_plural() {
        let told =
            ["test image", "class", "box", "branch", "entry", "day"].map(|one| format!("{}, {}", count(1_usize, one), count(0_u64, one)));
        assert_eq!(
            told,
            [
                "1 test image, 0 test images",
                "1 class, 0 classes",
                "1 box, 0 boxes",
                "1 branch, 0 branches",
                "1 entry, 0 entries",
                "1 day, 0 days"
            ]
        );
        assert_eq!((agree(&1_usize, "is", "are"), agree(&2_usize, "is", "are")), ("is", "are"));
    }
}
