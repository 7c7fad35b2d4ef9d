//! A tree against the schema that schemars generates for its type: every mistake at once, each at its own place.
//!
//! This is the part of JSON Schema that such schemas use, and a test holds that they use no other. Choices (`oneOf` and `anyOf`, as
//! schemars writes enums and optional fields) are not tried out: the branch that was meant is told by its word, its only field or the type
//! of the value, and what is reported is what is wrong with that one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use regex::Regex;
use serde_json::{Map, Value};

use super::kind::Kind;
use super::names::{all, list, nearest};
use super::tree::{Content, Node, below};
use super::words::{self, entries, last, number, shorten};
use crate::diag::Diagnostic;

/// Keywords that the checker knows; others that say nothing about what is valid are listed beside them in the tests.
#[cfg(test)]
pub(super) const KEYWORDS: [&str; 19] = [
    "$ref",
    "type",
    "enum",
    "const",
    "oneOf",
    "anyOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
];

/// Most mistakes that are looked for: who makes more of them is told of these first.
const MOST: usize = 1000;

/// A schema, and what is said of a text that is checked against it.
pub(super) struct Checker<'a> {
    /// The kind of file that the text is, or the part of it that is checked.
    pub kind: &'static Kind,
    /// The whole schema.
    pub schema: &'a Value,
    /// The text of the tree.
    pub text: &'a str,
    /// JSON pointers to what is put in later: what is there now does not count.
    pub later: &'a BTreeSet<String>,
    patterns: BTreeMap<&'a str, Option<Regex>>,
    found: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    /// Nothing is checked yet.
    pub fn new(kind: &'static Kind, schema: &'a Value, text: &'a str, later: &'a BTreeSet<String>) -> Self {
        Self { kind, schema, text, later, patterns: BTreeMap::new(), found: Vec::new() }
    }

    /// All that is wrong with a tree.
    pub fn mistakes(mut self, tree: &Node) -> Vec<Diagnostic> {
        self.check(tree, self.schema, "");
        self.found
    }

    /// Adds what is wrong with the node at `path`.
    fn check(&mut self, node: &Node, schema: &'a Value, path: &str) {
        if self.found.len() >= MOST || self.later.contains(path) {
            return;
        }
        let Value::Object(rules) = schema else {
            if *schema == Value::Bool(false) {
                self.cannot_be(node, path);
            }
            return;
        };
        if let Some(target) = self.target(rules) {
            self.check(node, target, path);
        }
        if let Some(types) = types(rules)
            && !types.iter().any(|name| is(node, name))
        {
            let at = node.value_span();
            let written = self.text.get(at.clone()).unwrap_or_default();
            self.found.push(words::wrong_type(self.kind, &self.name(path), node, written, at, &types));
            return;
        }
        if let Some(Value::Array(known)) = rules.get("enum")
            && !known.iter().any(|known| node.equals(known))
        {
            let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
            self.unknown_variant(&words::given(node), &self.name(path), node.value_span(), &known);
            return;
        }
        if let Some(only) = rules.get("const")
            && !node.equals(only)
        {
            self.value(node, path, &format!("is {}, it must be {}", shorten(node), words::shorten_value(only)));
            return;
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(Value::Array(branches)) = rules.get(choice) {
                self.choice(node, branches, path);
            }
        }
        match &node.content {
            Content::Map(fields) => self.fields(node, fields, rules, path),
            Content::List(items) => self.items(node, items, rules, path),
            Content::Scalar(Value::Number(_)) => self.number(node, rules, path),
            Content::Scalar(Value::String(text)) => self.string(node, text, rules, path),
            Content::Scalar(_) => {}
        }
    }

    /// What a schema refers to.
    fn target(&self, rules: &'a Map<String, Value>) -> Option<&'a Value> {
        rules.get("$ref").and_then(Value::as_str).and_then(|reference| self.schema.pointer(reference.strip_prefix('#')?))
    }

    fn name(&self, path: &str) -> String {
        words::name_of(self.kind, path)
    }

    fn error(&self, code: &str, at: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.kind.code(code), at, message)
    }

    /// A value that its field cannot have: `what` follows the field's name.
    fn value(&mut self, node: &Node, path: &str, what: &str) {
        let message = format!("{} {what}", self.name(path));
        self.found.push(self.error("value", node.value_span(), message));
    }

    fn cannot_be(&mut self, node: &Node, path: &str) {
        self.value(node, path, &format!("cannot be {}", shorten(node)));
    }

    fn fields(&mut self, node: &Node, fields: &[(String, Node)], rules: &'a Map<String, Value>, path: &str) {
        let none = Map::new();
        let known = rules.get("properties").and_then(Value::as_object);
        let others = rules.get("additionalProperties");
        // Fields that a misspelt one stands for: they are not reported missing a second time.
        let mut presumed = BTreeSet::new();
        for (field, child) in fields {
            if self.found.len() >= MOST {
                return;
            }
            if let Some(schema) = known.and_then(|known| known.get(field)) {
                self.check(child, schema, &below(path, field));
            } else if let Some(Value::Bool(false)) = others {
                let names: Vec<&str> = known.unwrap_or(&none).keys().map(String::as_str).collect();
                let Some(near) = self.unknown_field(child, field, &names) else { continue };
                let given = fields.iter().any(|(name, _)| name == near) || !presumed.insert(near);
                if let Some(schema) = known.and_then(|known| known.get(near)).filter(|_| !given) {
                    self.check(child, schema, &below(path, near));
                }
            } else if let Some(schema) = others {
                self.check(child, schema, &below(path, field));
            }
        }
        for field in rules.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            let there = fields.iter().any(|(name, _)| name == field) || presumed.contains(field);
            if there || self.later.contains(&below(path, field)) || self.found.len() >= MOST {
                continue;
            }
            let at = if node.is_document(path) { 0..0 } else { node.name_span() };
            let missing = self.error("missing-field", at, format!("{} has no field `{field}`", self.name(path)));
            let missing = missing.label(format!("needs `{field}`"));
            self.found.push(match self.description(known.and_then(|known| known.get(field))) {
                Some(text) => missing.hint(format!("`{field}`: {text}")),
                None => missing,
            });
        }
    }

    /// Reports a field that is not known; gives the one that was probably meant.
    fn unknown_field<'b>(&mut self, node: &Node, field: &str, known: &[&'b str]) -> Option<&'b str> {
        let unknown = self.error("unknown-field", node.name_span(), format!("unknown field `{field}`"));
        let near = nearest(field, known);
        self.found.push(match near {
            Some(near) => unknown.label(format!("did you mean `{near}`?")),
            None => unknown.label("no such field here").hint(format!("fields here: {}", list(known))),
        });
        near
    }

    /// The first sentence that documents a field, without capital and full stop.
    fn description(&self, schema: Option<&'a Value>) -> Option<String> {
        let rules = schema?.as_object()?;
        let own = rules.get("description");
        let text = own.or_else(|| self.target(rules)?.get("description"))?.as_str()?;
        let sentence = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        Some(words::uncapitalised(sentence.trim_end_matches('.')))
    }

    fn items(&mut self, node: &Node, items: &[Node], rules: &'a Map<String, Value>, path: &str) {
        let bound = |name: &str| rules.get(name).and_then(Value::as_u64);
        let count = items.len() as u64;
        if let Some(limit) = bound("minItems").filter(|limit| count < *limit) {
            self.value(node, path, &format!("has {}, it needs at least {limit}", entries(items.len())));
        }
        if let Some(limit) = bound("maxItems").filter(|limit| count > *limit) {
            self.value(node, path, &format!("has {}, it may have at most {limit}", entries(items.len())));
        }
        if let Some(schema) = rules.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.check(item, schema, &below(path, &index.to_string()));
            }
        }
    }

    fn number(&mut self, node: &Node, rules: &'a Map<String, Value>, path: &str) {
        let compared = |name: &str| {
            let limit = rules.get(name)?;
            Some((node.number()?.partial_cmp(&limit.as_f64()?)?, limit))
        };
        let broken = if let Some((Ordering::Less, limit)) = compared("minimum") {
            Some((limit, "at least"))
        } else if let Some((Ordering::Greater, limit)) = compared("maximum") {
            Some((limit, "at most"))
        } else if let Some((Ordering::Less | Ordering::Equal, limit)) = compared("exclusiveMinimum") {
            Some((limit, "more than"))
        } else if let Some((Ordering::Greater | Ordering::Equal, limit)) = compared("exclusiveMaximum") {
            Some((limit, "less than"))
        } else {
            None
        };
        let Some((limit, words)) = broken else { return };
        let (shown, limit) = (shorten(node), number(limit));
        if last(path) == "version" && rules.get("minimum") == rules.get("maximum") {
            self.value(node, path, &format!("is {shown}, this program reads version {limit}"));
        } else {
            self.value(node, path, &format!("is {shown}, it must be {words} {limit}"));
        }
    }

    fn string(&mut self, node: &Node, text: &str, rules: &'a Map<String, Value>, path: &str) {
        let bound = |name: &str| rules.get(name).and_then(Value::as_u64);
        let length = text.chars().count() as u64;
        if let Some(limit) = bound("minLength").filter(|limit| length < *limit) {
            let what = if length == 0 { "is empty".to_owned() } else { format!("has {length} characters, it needs at least {limit}") };
            self.value(node, path, &what);
        } else if let Some(limit) = bound("maxLength").filter(|limit| length > *limit) {
            self.value(node, path, &format!("has {length} characters, it may have at most {limit}"));
        } else if let Some(pattern) = rules.get("pattern").and_then(Value::as_str)
            && !self.matches(pattern, text)
        {
            let message = format!("{} cannot be {}", self.name(path), shorten(node));
            let mistake = self.error("value", node.value_span(), message);
            self.found.push(match words::shape(pattern) {
                Some(shape) => mistake.hint(shape),
                None => mistake.hint(format!("it must match the regular expression `{pattern}`")),
            });
        }
    }

    /// Whether a text has the shape of a pattern; one that cannot be read fits nothing.
    fn matches(&mut self, pattern: &'a str, text: &str) -> bool {
        self.patterns.entry(pattern).or_insert_with(|| compiled(pattern)).as_ref().is_some_and(|pattern| pattern.is_match(text))
    }

    /// Reports a word that is not known; gives the one that was probably meant.
    fn unknown_variant<'b>(&mut self, given: &str, name: &str, at: Range<usize>, known: &[&'b str]) -> Option<&'b str> {
        let unknown = self.error("unknown-variant", at, format!("{name} cannot be `{given}`"));
        let hint = format!("it is one of {}", list(known));
        let near = nearest(given, known);
        self.found.push(match near {
            Some(near) => unknown.label(format!("did you mean `{near}`?")).hint(hint),
            None => unknown.hint(hint),
        });
        near
    }

    /// A value that is written in one of several ways.
    fn choice(&mut self, node: &Node, branches: &'a [Value], path: &str) {
        let branches: Vec<Branch<'a>> = branches.iter().flat_map(branch).collect();
        let others: Vec<&'a Value> = branches.iter().filter_map(Branch::other).collect();
        let null = branches.iter().any(|branch| matches!(branch, Branch::Null));
        if null && matches!(node.content, Content::Scalar(Value::Null)) {
            return;
        }
        if !others.is_empty() {
            return self.other(node, &others, path);
        }
        let words: Vec<&str> = branches.iter().filter_map(Branch::word).collect();
        let keys: Vec<&str> = branches.iter().filter_map(Branch::key).collect();
        let mut known: Vec<&str> = branches.iter().filter_map(|branch| branch.word().or(branch.key())).collect();
        // A name may be a word and a map.
        known.dedup();
        let (name, at) = (self.name(path), node.value_span());
        let mistake = match &node.content {
            Content::Map(fields) => {
                if let [(field, child)] = fields.as_slice() {
                    if let Some(schema) = branches.iter().find_map(|branch| branch.of_key(field)) {
                        return self.check(child, schema, &below(path, field));
                    }
                    if words.contains(&field.as_str()) {
                        let mistake = self.error("type", child.name_span(), format!("`{field}` takes no fields"));
                        self.found.push(mistake.hint(format!("write {name} as `{}: {field}`", last(path))));
                        return;
                    }
                }
                // What is put in later may be the field that is lacking.
                let inside = below(path, "");
                if self.later.range(inside.clone()..).next().is_some_and(|later| later.starts_with(&inside)) {
                    return;
                }
                let is_known = |field: &str| known.contains(&field);
                for (field, child) in fields {
                    let meant = if is_known(field) {
                        Some(field.as_str())
                    } else {
                        let near = self.unknown_variant(field, &name, child.name_span(), &known);
                        near.filter(|near| fields.iter().all(|(name, _)| name != near))
                    };
                    if let Some((meant, schema)) = meant.and_then(|key| Some((key, branches.iter().find_map(|branch| branch.of_key(key))?)))
                    {
                        self.check(child, schema, &below(path, meant));
                    }
                }
                if !fields.iter().all(|(field, _)| is_known(field)) {
                    return;
                }
                let given: Vec<&str> = fields.iter().map(|(field, _)| field.as_str()).collect();
                let message = if given.is_empty() {
                    format!("{name} is empty, it needs one of {}", list(&known))
                } else {
                    format!("{name} has {} at once, it takes one of them", all(&given))
                };
                self.error("value", at, message)
            }
            Content::Scalar(Value::String(word)) if words.contains(&word.as_str()) => return,
            Content::Scalar(Value::String(word)) if keys.contains(&word.as_str()) => self
                .error("type", at, format!("`{word}` needs more than its name"))
                .hint(format!("write `{word}:` with what belongs to it below, or `{{ {word}: ... }}`")),
            Content::Scalar(Value::String(word)) => {
                self.unknown_variant(word, &name, at, &known);
                return;
            }
            _ => self.error("type", at, format!("{name} is {}", shorten(node))).hint(format!("it is one of {}", list(&known))),
        };
        self.found.push(mistake);
    }

    /// A value that has the form of one of several types: the one whose JSON type it has is meant.
    fn other(&mut self, node: &Node, others: &[&'a Value], path: &str) {
        if let [only] = others {
            return self.check(node, only, path);
        }
        let fitting: Vec<&'a Value> = others.iter().copied().filter(|schema| self.admits(schema, node, 0)).collect();
        match fitting.as_slice() {
            [] => {
                let types: Vec<&str> = others.iter().copied().flat_map(|schema| self.types_of(schema)).collect();
                let at = node.value_span();
                let written = self.text.get(at.clone()).unwrap_or_default();
                self.found.push(words::wrong_type(self.kind, &self.name(path), node, written, at, &types));
            }
            [one] => self.check(node, one, path),
            several => {
                let before = self.found.len();
                let mut least: Option<Vec<Diagnostic>> = None;
                for schema in several {
                    self.check(node, schema, path);
                    let mistakes = self.found.split_off(before);
                    if mistakes.is_empty() {
                        return;
                    }
                    if least.as_ref().is_none_or(|least| mistakes.len() < least.len()) {
                        least = Some(mistakes);
                    }
                }
                self.found.extend(least.unwrap_or_default());
            }
        }
    }

    /// Whether a schema takes values of the node's type at all. References do not chain in what schemars writes; the depth is against a loop.
    fn admits(&self, schema: &'a Value, node: &Node, depth: usize) -> bool {
        let Value::Object(rules) = schema else { return *schema != Value::Bool(false) };
        if let Some(types) = types(rules) {
            return types.iter().any(|name| is(node, name));
        }
        match self.target(rules) {
            Some(target) if depth < 8 => self.admits(target, node, depth + 1),
            _ => true,
        }
    }

    fn types_of(&self, schema: &'a Value) -> Vec<&'a str> {
        let Value::Object(rules) = schema else { return Vec::new() };
        types(rules).or_else(|| types(self.target(rules)?.as_object()?)).unwrap_or_default()
    }
}

impl Node {
    /// Whether it is this plain value.
    fn equals(&self, value: &Value) -> bool {
        match (&self.content, value) {
            (Content::Scalar(Value::Number(_)), Value::Number(wanted)) => self.number() == wanted.as_f64(),
            (Content::Scalar(own), _) => own == value,
            _ => false,
        }
    }

    fn number(&self) -> Option<f64> {
        if let Content::Scalar(value) = &self.content { value.as_f64() } else { None }
    }
}

/// The JSON types that a schema allows, where it says so.
fn types(rules: &Map<String, Value>) -> Option<Vec<&str>> {
    match rules.get("type")? {
        Value::String(one) => Some(vec![one.as_str()]),
        Value::Array(several) => Some(several.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

/// Whether a node is of a JSON type.
fn is(node: &Node, name: &str) -> bool {
    match &node.content {
        Content::Map(_) => name == "object",
        Content::List(_) => name == "array",
        Content::Scalar(Value::Null) => name == "null",
        Content::Scalar(Value::Bool(_)) => name == "boolean",
        Content::Scalar(Value::String(_)) => name == "string",
        Content::Scalar(Value::Number(number)) => {
            name == "number"
                || (name == "integer" && (number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0)))
        }
        Content::Scalar(_) => false,
    }
}

/// A pattern of a schema: `\d` is 0 to 9 and nothing else.
pub(super) fn compiled(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("(?-u){pattern}")).ok()
}

/// One way to write a choice.
enum Branch<'a> {
    /// A bare word.
    Word(&'a str),
    /// A map with this one field, of this schema.
    Key(&'a str, &'a Value),
    /// Nothing, for an optional field.
    Null,
    /// Whatever else.
    Other(&'a Value),
}

impl<'a> Branch<'a> {
    fn word(&self) -> Option<&'a str> {
        if let Branch::Word(word) = self { Some(word) } else { None }
    }

    fn key(&self) -> Option<&'a str> {
        if let Branch::Key(key, _) = self { Some(key) } else { None }
    }

    fn of_key(&self, field: &str) -> Option<&'a Value> {
        if let Branch::Key(key, schema) = self { (*key == field).then_some(schema) } else { None }
    }

    fn other(&self) -> Option<&'a Value> {
        if let Branch::Other(schema) = self { Some(schema) } else { None }
    }
}

/// The ways that one branch of a choice stands for.
fn branch(schema: &Value) -> Vec<Branch<'_>> {
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return vec![Branch::Word(word)];
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().filter_map(Value::as_str).map(Branch::Word).collect();
    }
    if schema.get("type").and_then(Value::as_str) == Some("null") {
        return vec![Branch::Null];
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    match (schema.get("required").and_then(Value::as_array).map(Vec::as_slice), properties) {
        (Some([Value::String(key)]), Some(properties)) if closed && properties.len() == 1 => {
            properties.get(key).map(|inner| Branch::Key(key, inner)).into_iter().collect()
        }
        _ => vec![Branch::Other(schema)],
    }
}
