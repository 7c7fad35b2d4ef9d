//! YAML text to a tree of values that know where they were written.
//!
//! Built from parser events rather than by a loader: depth, size and the growth through aliases are bounded while the
//! tree grows, and every repeated key is reported, not only the first.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use saphyr::{Scalar, ScalarStyle, Tag};
use saphyr_parser::{Event, Parser, ScanError};
use serde::de::IgnoredAny;
use serde_json::{Number, Value};

use super::kind::Kind;
use super::tree::{Content, Node};
use crate::diag::{Diagnostic, line_feeds};

/// Deepest nesting; studies with a policy inside need 12.
const DEPTH: usize = 64;
/// Most nodes plus scalar bytes, those that aliases copy included.
const BUDGET: usize = 4 << 20;

/// The tree of the one document in `text`: nothing where there is none, and where the mistakes leave none. Mistakes go to `diagnostics`.
pub(super) fn read(kind: &'static Kind, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
    let text = &*line_feeds(text);
    let (parsed, offsets) = joined(text);
    let mut builder = Builder { kind, text, offsets, budget: BUDGET, open: Vec::new(), anchors: BTreeMap::new(), root: None };
    match builder.run(&parsed, diagnostics) {
        Ok(()) => builder.root,
        Err(diagnostic) => {
            diagnostics.push(diagnostic);
            None
        }
    }
}

/// The text as the parser reads it, and where in the text each of its characters and its end are: the parser counts characters.
///
/// JSON writes characters beyond the first plane as two escapes (`\ud83d\ude00`), which YAML does not know; each pair becomes the character.
/// JSON may be indented by tabs, too.
fn joined(text: &str) -> (Cow<'_, str>, Vec<usize>) {
    let plain = || (Cow::Borrowed(text), text.char_indices().map(|(at, _)| at).chain([text.len()]).collect());
    // serde_json takes no byte order mark, which editors put before JSON too.
    let json = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.contains(['\\', '\t']) || serde_json::from_str::<IgnoredAny>(json).is_err() {
        return plain();
    }
    let (mut parsed, mut offsets) = (String::with_capacity(text.len()), Vec::with_capacity(text.len()));
    let mut at = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        // In JSON a backslash begins an escape, and takes the next character with it.
        let length = match (next, surrogates(rest)) {
            ('\\', Some(character)) => {
                parsed.push(character);
                offsets.push(at);
                at += PAIR;
                continue;
            }
            ('\\', None) => 2,
            // Within strings JSON has none.
            ('\t', _) => {
                parsed.push(' ');
                offsets.push(at);
                at += 1;
                continue;
            }
            _ => next.len_utf8(),
        };
        for (within, character) in rest.char_indices().take_while(|(within, _)| *within < length) {
            parsed.push(character);
            offsets.push(at + within);
        }
        at += length;
    }
    offsets.push(text.len());
    (Cow::Owned(parsed), offsets)
}

/// Bytes of two escapes.
const PAIR: usize = r"\ud83d\ude00".len();

/// The character that a text begins with, written as two escapes.
fn surrogates(text: &str) -> Option<char> {
    let unit = |at: usize| {
        let digits = text.get(at..at + PAIR / 2)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let pair = [unit(0).filter(|high| (0xd800..0xdc00).contains(high))?, unit(PAIR / 2)?];
    char::decode_utf16(pair).next()?.ok()
}

struct Open {
    start: usize,
    anchor: usize,
    items: Items,
}

/// What a list or map has so far.
enum Items {
    List(Vec<Node>),
    Map { fields: Vec<(String, Node)>, seen: BTreeSet<String>, key: Option<Key> },
}

/// The name of the field whose value comes next.
struct Key {
    name: String,
    span: Range<usize>,
    /// The first one counts.
    repeated: bool,
}

struct Builder<'a> {
    kind: &'static Kind,
    text: &'a str,
    offsets: Vec<usize>,
    budget: usize,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
}

impl Builder<'_> {
    fn run(&mut self, parsed: &str, diagnostics: &mut Vec<Diagnostic>) -> Result<(), Diagnostic> {
        for event in Parser::new_from_str(parsed) {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            let start = self.offset(span.start.index());
            let end = self.offset(span.end.index()).max(start);
            match event {
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
                Event::DocumentStart(_) => {
                    if self.root.is_some() {
                        return Err(Diagnostic::error(self.code("syntax"), start..end, "a second document begins here").hint(format!(
                            "{} is one document: remove the `---` and what follows it, or move it to its own file",
                            self.kind.one
                        )));
                    }
                }
                Event::SequenceStart(anchor, tag) => {
                    self.open(start, anchor, tag.as_deref(), Items::List(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.open(start, anchor, tag.as_deref(), Items::Map { fields: Vec::new(), seen: BTreeSet::new(), key: None })?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(open) = self.open.pop() else { continue };
                    let content = match open.items {
                        Items::List(items) => Content::List(items),
                        Items::Map { fields, .. } => Content::Map(fields),
                    };
                    let node = Node { key: None, span: self.first_line(open.start, end), content };
                    self.add(node, open.anchor, diagnostics)?;
                }
                Event::Scalar(value, style, anchor, tag) => {
                    self.scalar(value, style, anchor, tag.as_ref(), start..end, diagnostics)?;
                }
                Event::Alias(anchor) => {
                    let Some(node) = self.anchors.get(&anchor) else {
                        return Err(Diagnostic::error(self.code("syntax"), start..end, "this alias stands inside what it repeats"));
                    };
                    let mut node = node.clone();
                    node.key = None;
                    node.span = start..end;
                    self.charge(node.cost(), &node.span)?;
                    self.add(node, 0, diagnostics)?;
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, start: usize, anchor: usize, tag: Option<&Tag>, items: Items) -> Result<(), Diagnostic> {
        let here = self.first_line(start, start + 1);
        self.refuse_tag(tag, &here)?;
        if let Some(Open { items: Items::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(Diagnostic::error(self.code("syntax"), here, "a map or list cannot be the name of a field"));
        }
        if self.open.len() >= DEPTH {
            return Err(self.too_deep(here));
        }
        self.charge(1, &here)?;
        self.open.push(Open { start, anchor, items });
        Ok(())
    }

    fn scalar(
        &mut self,
        value: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Cow<'_, Tag>>,
        span: Range<usize>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<(), Diagnostic> {
        self.refuse_tag(tag.map(|tag| &**tag), &span)?;
        self.charge(1 + value.len(), &span)?;
        let kind = self.kind;
        if let Some(Open { items: Items::Map { seen, key: key @ None, .. }, .. }) = self.open.last_mut() {
            if value == "<<" && style == ScalarStyle::Plain {
                return Err(Diagnostic::error(kind.code("syntax"), span, "merge keys (`<<`) are not part of YAML 1.2")
                    .hint("write the fields out, or repeat a whole value with `&name` and `*name`"));
            }
            let name = value.into_owned();
            let repeated = !seen.insert(name.clone());
            if repeated {
                diagnostics.push(
                    Diagnostic::error(kind.code("duplicate-field"), span.clone(), format!("`{name}` is given twice"))
                        .label("the second one")
                        .hint("keep one of them"),
                );
            }
            *key = Some(Key { name, span, repeated });
            return Ok(());
        }
        let content = match typed(&value, style, tag) {
            Ok(value) => value,
            Err(message) => {
                let text = value.starts_with(|c: char| c.is_ascii_digit()) && style == ScalarStyle::Plain;
                let diagnostic = Diagnostic::error(self.code("value"), span.clone(), message);
                diagnostics.push(if text { diagnostic.hint("text such as a digest goes into quotes") } else { diagnostic });
                Value::Null
            }
        };
        self.add(Node { key: None, span, content: Content::Scalar(content) }, anchor, diagnostics)
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, mut node: Node, anchor: usize, diagnostics: &mut Vec<Diagnostic>) -> Result<(), Diagnostic> {
        if anchor > 0 {
            self.charge(node.cost(), &node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        let kind = self.kind;
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { items: Items::List(items), .. }) => items.push(node),
            Some(Open { items: Items::Map { fields, key, .. }, .. }) => match key.take() {
                Some(Key { repeated: true, .. }) => {}
                Some(Key { name, span, .. }) => {
                    node.key = Some(span);
                    fields.push((name, node));
                }
                None => {
                    // An alias in the place of a key; its value follows and would be taken for the next key.
                    diagnostics.push(Diagnostic::error(kind.code("syntax"), node.span.clone(), "an alias cannot be the name of a field"));
                    *key = Some(Key { name: String::new(), span: node.span, repeated: true });
                }
            },
        }
        Ok(())
    }

    fn charge(&mut self, cost: usize, span: &Range<usize>) -> Result<(), Diagnostic> {
        self.budget = self.budget.checked_sub(cost).ok_or_else(|| {
            Diagnostic::error(self.code("limit"), span.clone(), format!("the {} grows too large here", self.kind.name))
                .hint("aliases (`*name`) copy what they name: use fewer of them")
        })?;
        Ok(())
    }

    fn refuse_tag(&self, tag: Option<&Tag>, span: &Range<usize>) -> Result<(), Diagnostic> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema() => {
                let message = format!("{} have no tags of their own", self.kind.many);
                Err(Diagnostic::error(self.code("syntax"), span.clone(), message).hint("remove the word that begins with `!`"))
            }
            _ => Ok(()),
        }
    }

    fn too_deep(&self, at: Range<usize>) -> Diagnostic {
        Diagnostic::error(self.code("limit"), at, format!("nested deeper than {DEPTH} levels"))
    }

    fn code(&self, what: &str) -> String {
        self.kind.code(what)
    }

    fn offset(&self, index: usize) -> usize {
        self.offsets.get(index).copied().unwrap_or(self.text.len())
    }

    /// `start..end`, cut at the end of the line that `start` is on, without what trails.
    fn first_line(&self, start: usize, end: usize) -> Range<usize> {
        let rest = self.text.get(start..end.min(self.text.len())).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default().trim_end();
        start..start + line.len()
    }

    fn syntax(&self, error: &ScanError) -> Diagnostic {
        let at = self.offset(error.marker().index());
        let line_start = self.text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        let line = self.text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line.get(..indent).and_then(|white| white.find('\t')) {
            let tab = line_start + tab;
            return Diagnostic::error(self.code("syntax"), tab..tab + 1, "a tab in the indentation")
                .label("YAML indents with spaces only")
                .hint("replace the tab by spaces");
        }
        // YAML takes a tab for the space behind `:` or `-`; this parser does not where a word follows.
        if let Some((before, mark)) = self.text.get(..at).and_then(|before| Some((before, before.trim_end_matches('\t').chars().last()?)))
            && before.ends_with('\t')
            && error.info().contains("must be followed by a valid YAML whitespace")
        {
            let tab = before.trim_end_matches('\t').len();
            return Diagnostic::error(self.code("syntax"), tab..at, format!("a tab behind `{mark}`"))
                .label("a space belongs here")
                .hint("replace the tab by spaces");
        }
        // The parser looks ahead, and gives up before any level was counted here.
        if error.info().contains("recursion limit") {
            return self.too_deep(at..at);
        }
        // Within braces the comment swallows the closing one, and the parser trips lines later.
        if let Some(color) = self.text.get(..at).and_then(color_as_comment) {
            return Diagnostic::error(self.code("syntax"), color, "`#` begins a comment here, and the rest of the line is not read")
                .hint("put the colour in quotes, such as \"#ffff00\"");
        }
        let width = self.text.get(at..).and_then(|rest| rest.chars().next()).filter(|c| *c != '\n').map_or(0, char::len_utf8);
        Diagnostic::error(self.code("syntax"), at..at + width, format!("not valid YAML: {}", error.info()))
    }
}

/// The last colour in a text that YAML takes for a comment, and which swallows a closing brace: a field's value that begins with `#` and six
/// digits. What stands in a comment itself is none.
fn color_as_comment(text: &str) -> Option<Range<usize>> {
    const LENGTH: usize = "#ffff00".len();
    let mut line_start = 0;
    let mut last = None;
    for line in text.split_inclusive('\n') {
        let before = |at: usize| line.get(..at).unwrap_or_default();
        let quoted = |at: usize| ['"', '\''].iter().any(|quote| before(at).matches(*quote).count() % 2 == 1);
        let comment =
            line.match_indices('#').map(|(at, _)| at).find(|at| !before(*at).ends_with(|c: char| !c.is_whitespace()) && !quoted(*at));
        let color = comment.filter(|at| {
            let hex = line.get(at + 1..at + LENGTH).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
            let swallows = line.get(at + LENGTH..).is_some_and(|rest| rest.contains(['}', ']']));
            hex && swallows && before(*at).trim_end().ends_with(':')
        });
        last = color.map(|at| line_start + at..line_start + at + LENGTH).or(last);
        line_start += line.len();
    }
    last
}

/// YAML 1.2 core schema: `no` is text, `5e-4` a number. Whole numbers become integers however they are written
/// (`20`, `20.0`, `2e1`): JSON Schema counts them as such, and so do the fields that take fractions.
fn typed(value: &str, style: ScalarStyle, tag: Option<&Cow<'_, Tag>>) -> Result<Value, String> {
    if style == ScalarStyle::Plain
        && tag.is_none()
        && let Ok(number) = value.parse::<u64>()
    {
        return Ok(Value::from(number));
    }
    match Scalar::parse_from_cow_and_metadata(value.into(), style, tag) {
        None => Err(format!("{value:?} is not what its tag says")),
        Some(Scalar::Null) => Ok(Value::Null),
        Some(Scalar::Boolean(value)) => Ok(Value::Bool(value)),
        Some(Scalar::Integer(value)) => Ok(Value::from(value)),
        Some(Scalar::String(value)) => Ok(Value::String(value.into_owned())),
        Some(Scalar::FloatingPoint(number)) => {
            let number = number.into_inner();
            // 2^53: beyond it not every whole number is one.
            if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
                return Ok(Value::from(number as i64));
            }
            if number.is_finite() && number.fract() == 0.0 {
                return Err(format!("{value} is too large a number"));
            }
            Number::from_f64(number).map(Value::Number).ok_or_else(|| format!("{value} is not a finite number"))
        }
    }
}
