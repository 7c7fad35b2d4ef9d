//! A policy's values against the schema: every mistake at once, each in plain words at its own place.
//!
//! `jsonschema` finds the mistakes; its words are for people who read schemas, so they are replaced here. Choices
//! (`oneOf` and `anyOf`, as schemars writes enums and optional fields) are unfolded: what is reported is what is wrong
//! with the branch that the user meant.

use std::collections::BTreeSet;
use std::ops::Range;

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, ValidationError, Validator};
use serde_json::Value;

use super::schema::{follow, schema};
use super::yaml::Node;
use crate::diag::Diagnostic;

/// Adds what is wrong with `value` (the plain form of `tree`) to `diagnostics`.
pub(super) fn check(text: &str, value: &Value, tree: &Node, diagnostics: &mut Vec<Diagnostic>) {
    let validator = match jsonschema::validator_for(schema()) {
        Ok(validator) => validator,
        Err(error) => {
            diagnostics.push(Diagnostic::error("policy::internal", 0..0, format!("the policy schema cannot be used: {error}")));
            return;
        }
    };
    collect(&validator, text, value, tree, diagnostics);
}

fn collect(validator: &Validator, text: &str, value: &Value, tree: &Node, diagnostics: &mut Vec<Diagnostic>) {
    let errors: Vec<_> = validator.iter_errors(value).collect();
    let mut found = Vec::new();
    Checker { text, tree, diagnostics: &mut found, presumed: BTreeSet::new() }.report_all(&errors);
    // What could not be read at all has been reported and stands in the tree as nothing.
    found.retain(|new| diagnostics.iter().all(|known| known.span != new.span));
    diagnostics.append(&mut found);
}

struct Checker<'a> {
    text: &'a str,
    tree: &'a Node,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// Pointers of fields that a misspelt field stands for.
    presumed: BTreeSet<String>,
}

impl Checker<'_> {
    fn report_all(&mut self, errors: &[ValidationError<'_>]) {
        // Unknown fields first: a missing field that is only misspelt is not reported a second time.
        let (unknown, others): (Vec<_>, Vec<_>) =
            errors.iter().partition(|error| matches!(error.kind(), Kind::AdditionalProperties { .. }));
        for error in unknown.into_iter().chain(others) {
            self.report(error);
        }
    }

    fn report(&mut self, error: &ValidationError<'_>) {
        let path = error.instance_path().as_str();
        let value: &Value = error.instance();
        let name = name_of(path);
        let node = find(self.tree, path);
        let at = node.map_or(0..0, Node::value_span);
        let shown = shorten(value);
        let diagnostic = match error.kind() {
            Kind::AdditionalProperties { unexpected } => {
                let known = fields_beside(error);
                for field in unexpected {
                    self.unknown_field(path, field, &known);
                }
                return;
            }
            Kind::Required { property } => {
                let field = property.as_str().unwrap_or_default();
                if self.presumed.contains(&format!("{path}/{field}")) {
                    return;
                }
                let at = if path.is_empty() { 0..0 } else { node.map_or(0..0, Node::name_span) };
                let owner = if path.is_empty() { "the policy".to_owned() } else { name };
                let diagnostic = Diagnostic::error("policy::missing-field", at, format!("{owner} has no field `{field}`"))
                    .label(format!("needs `{field}`"));
                match description(error, field) {
                    Some(text) => diagnostic.hint(format!("`{field}`: {text}")),
                    None => diagnostic,
                }
            }
            Kind::OneOfNotValid { context } | Kind::AnyOf { context } => return self.choice(error, context),
            Kind::Type { kind } => {
                let written = self.text.get(at.clone()).unwrap_or_default();
                type_mistake(&name, value, written, at, kind)
            }
            Kind::Enum { options } => {
                let known: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                return self.unknown_variant(value, &name, at, &known);
            }
            Kind::Constant { expected_value } => {
                Diagnostic::error("policy::value", at, format!("{name} is {shown}, it must be {}", shorten(expected_value)))
            }
            Kind::Minimum { .. } | Kind::Maximum { .. } if path == "/version" => {
                Diagnostic::error("policy::value", at, format!("{name} is {shown}, this program reads version 1"))
            }
            Kind::Minimum { limit } => {
                Diagnostic::error("policy::value", at, format!("{name} is {shown}, it must be at least {}", number(limit)))
            }
            Kind::Maximum { limit } => {
                Diagnostic::error("policy::value", at, format!("{name} is {shown}, it must be at most {}", number(limit)))
            }
            Kind::ExclusiveMinimum { limit } => {
                Diagnostic::error("policy::value", at, format!("{name} is {shown}, it must be more than {}", number(limit)))
            }
            Kind::ExclusiveMaximum { limit } => {
                Diagnostic::error("policy::value", at, format!("{name} is {shown}, it must be less than {}", number(limit)))
            }
            Kind::MinItems { limit } => {
                let count = value.as_array().map_or(0, Vec::len);
                Diagnostic::error("policy::value", at, format!("{name} has {}, it needs at least {limit}", entries(count)))
            }
            Kind::MaxItems { limit } => {
                let count = value.as_array().map_or(0, Vec::len);
                Diagnostic::error("policy::value", at, format!("{name} has {}, it may have at most {limit}", entries(count)))
            }
            Kind::MaxLength { limit } => {
                let length = value.as_str().map_or(0, |text| text.chars().count());
                Diagnostic::error("policy::value", at, format!("{name} has {length} characters, it may have at most {limit}"))
            }
            Kind::MinLength { limit: 1 } => Diagnostic::error("policy::value", at, format!("{name} is empty")),
            Kind::Pattern { pattern } => {
                let diagnostic = Diagnostic::error("policy::value", at, format!("{name} cannot be {shown}"));
                match shape(pattern) {
                    Some(shape) => diagnostic.hint(shape),
                    None => diagnostic.hint(format!("it must match the regular expression `{pattern}`")),
                }
            }
            _ => Diagnostic::error("policy::value", at, format!("{name} cannot be {shown}")),
        };
        self.diagnostics.push(diagnostic);
    }

    fn unknown_field(&mut self, path: &str, field: &str, known: &[String]) {
        let at = find(self.tree, path).and_then(|node| node.child(field)).map_or(0..0, Node::name_span);
        let diagnostic = Diagnostic::error("policy::unknown-field", at, format!("unknown field `{field}`"));
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        self.diagnostics.push(match nearest(field, &names) {
            Some(near) => {
                self.presumed.insert(format!("{path}/{near}"));
                diagnostic.label(format!("did you mean `{near}`?"))
            }
            None => diagnostic.label("no such field here").hint(format!("fields here: {}", list(&names))),
        });
    }

    fn unknown_variant(&mut self, value: &Value, name: &str, at: Range<usize>, known: &[&str]) {
        let given = value.as_str().map_or_else(|| shorten(value), str::to_owned);
        let diagnostic = Diagnostic::error("policy::unknown-variant", at, format!("{name} cannot be `{given}`"));
        self.diagnostics.push(match nearest(&given, known) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")).hint(format!("it is one of {}", list(known))),
            None => diagnostic.hint(format!("it is one of {}", list(known))),
        });
    }

    /// A value that fits no branch of a choice: says what is wrong with the branch it was meant for.
    fn choice(&mut self, error: &ValidationError<'_>, context: &[Vec<ValidationError<'static>>]) {
        let path = error.instance_path().as_str();
        let value: &Value = error.instance();
        let name = name_of(path);
        let node = find(self.tree, path);
        let at = node.map_or(0..0, Node::value_span);
        let branches: Vec<Branch<'_>> = schema()
            .pointer(error.schema_path().as_str())
            .and_then(Value::as_array)
            .map(|branches| branches.iter().flat_map(branch).collect())
            .unwrap_or_default();

        // An optional field: what is wrong with the value itself.
        if let Some(position) = branches.iter().position(|branch| matches!(branch, Branch::Other)) {
            self.report_all(context.get(position).map_or(&[], Vec::as_slice));
            return;
        }
        let words: Vec<&str> = branches.iter().filter_map(Branch::word).collect();
        let keys: Vec<&str> = branches.iter().filter_map(Branch::key).collect();
        let known: Vec<&str> = branches.iter().filter_map(|branch| branch.word().or(branch.key())).collect();
        let diagnostic = match value {
            Value::Object(fields) => {
                let mut unknown: Vec<&String> = fields.keys().filter(|field| !known.contains(&field.as_str())).collect();
                if let (1, Some(field)) = (fields.len(), fields.keys().next()) {
                    if let Some(position) = branches.iter().position(|branch| branch.key() == Some(field)) {
                        self.report_all(context.get(position).map_or(&[], Vec::as_slice));
                        return;
                    }
                    if words.contains(&field.as_str()) {
                        let at = node.and_then(|node| node.child(field)).map_or(at, Node::name_span);
                        let diagnostic = Diagnostic::error("policy::type", at, format!("`{field}` takes no fields"));
                        self.diagnostics.push(diagnostic.hint(format!("write {name} as `{}: {field}`", last(path))));
                        return;
                    }
                }
                if unknown.is_empty() {
                    let given: Vec<&str> = fields.keys().map(String::as_str).collect();
                    let message = if given.is_empty() {
                        format!("{name} is empty, it needs one of {}", list(&known))
                    } else {
                        format!("{name} has {} at once, it takes one of them", list(&given).replace(" or ", " and "))
                    };
                    Diagnostic::error("policy::value", at, message)
                } else {
                    for field in unknown.drain(..) {
                        let at = node.and_then(|node| node.child(field)).map_or(at.clone(), Node::name_span);
                        self.unknown_variant(&Value::String(field.clone()), &name, at, &known);
                    }
                    return;
                }
            }
            Value::String(word) if keys.contains(&word.as_str()) => {
                Diagnostic::error("policy::type", at, format!("`{word}` needs more than its name"))
                    .hint(format!("write `{word}:` with what belongs to it below, or `{{ {word}: ... }}`"))
            }
            Value::String(_) => return self.unknown_variant(value, &name, at, &known),
            _ => Diagnostic::error("policy::type", at, format!("{name} is {}", shorten(value)))
                .hint(format!("it is one of {}", list(&known))),
        };
        self.diagnostics.push(diagnostic);
    }
}

/// One way to write a choice.
enum Branch<'a> {
    /// A bare word.
    Word(&'a str),
    /// A map with this one field.
    Key(&'a str),
    /// Nothing, for an optional field.
    Null,
    /// Whatever else.
    Other,
}

impl<'a> Branch<'a> {
    fn word(&self) -> Option<&'a str> {
        if let Branch::Word(word) = self { Some(word) } else { None }
    }
    fn key(&self) -> Option<&'a str> {
        if let Branch::Key(key) = self { Some(key) } else { None }
    }
}

fn branch(schema: &Value) -> Vec<Branch<'_>> {
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return vec![Branch::Word(word)];
    }
    if schema.get("type").and_then(Value::as_str) == Some("null") {
        return vec![Branch::Null];
    }
    let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice);
    match (schema.get("$ref"), required) {
        (None, Some([Value::String(key)])) => vec![Branch::Key(key)],
        _ => vec![Branch::Other],
    }
}

/// Where a mistake is and what it is. Of a choice between several forms, the mistake that lies deepest: the others are not what was meant.
pub(super) fn innermost(error: &ValidationError<'_>) -> (String, String) {
    let context = match error.kind() {
        Kind::OneOfNotValid { context } | Kind::AnyOf { context } => context.as_slice(),
        _ => &[],
    };
    let inner = context.iter().flatten().map(innermost).max_by_key(|(pointer, _)| pointer.matches('/').count());
    inner.unwrap_or_else(|| (error.instance_path().as_str().to_owned(), error.to_string()))
}

/// The node at a JSON pointer.
pub(super) fn find<'a>(tree: &'a Node, pointer: &str) -> Option<&'a Node> {
    pointer.split('/').skip(1).try_fold(tree, |node, segment| node.child(&segment.replace("~1", "/").replace("~0", "~")))
}

fn last(pointer: &str) -> &str {
    pointer.rsplit('/').find(|segment| segment.parse::<usize>().is_err()).unwrap_or_default()
}

/// What to call the value at a pointer: its field, or "entry 2 of `modes`".
fn name_of(pointer: &str) -> String {
    let segment = pointer.rsplit('/').next().unwrap_or_default();
    match segment.parse::<usize>() {
        Ok(index) => format!("entry {} of `{}`", index + 1, last(pointer)),
        Err(_) if segment.is_empty() => "the policy".to_owned(),
        Err(_) => format!("`{segment}`"),
    }
}

/// The schema of the object that an error about its fields is about.
fn object_of(error: &ValidationError<'_>) -> Option<&'static Value> {
    let (object, _) = error.schema_path().as_str().rsplit_once('/')?;
    schema().pointer(object)
}

fn fields_beside(error: &ValidationError<'_>) -> Vec<String> {
    object_of(error)
        .and_then(|object| object.get("properties"))
        .and_then(Value::as_object)
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default()
}

fn description(error: &ValidationError<'_>, field: &str) -> Option<String> {
    let schema = object_of(error)?.get("properties")?.get(field)?;
    let text = schema.get("description").or_else(|| follow(schema).get("description"))?.as_str()?;
    let sentence = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    Some(uncapitalised(sentence.trim_end_matches('.')))
}

fn uncapitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn type_mistake(name: &str, value: &Value, written: &str, at: Range<usize>, kind: &TypeKind) -> Diagnostic {
    let wanted: Vec<JsonType> = match kind {
        TypeKind::Single(single) => vec![*single],
        TypeKind::Multiple(set) => set.iter().filter(|kind| *kind != JsonType::Null).collect(),
    };
    let words: Vec<&str> = wanted.iter().map(|kind| in_words(*kind)).collect();
    let wanted_is = |kind| wanted.contains(&kind);
    let message = match value {
        Value::Null => format!("{name} has no value, it must be {}", words.join(" or ")),
        _ => format!("{name} is {}, it must be {}", shorten(value), words.join(" or ")),
    };
    let diagnostic = Diagnostic::error("policy::type", at, message);
    match value {
        Value::Null if name == "`color`" => diagnostic.hint("`#` begins a comment: put the colour in quotes, such as \"#ffff00\""),
        Value::String(text)
            if wanted_is(JsonType::Boolean) && ["yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str()) =>
        {
            diagnostic.hint("YAML 1.2 knows only `true` and `false`; words such as `yes` and `off` are text")
        }
        Value::String(text) if text.parse::<f64>().is_ok() && (wanted_is(JsonType::Number) || wanted_is(JsonType::Integer)) => {
            diagnostic.hint("remove the quotes")
        }
        Value::Number(_) | Value::Bool(_) if wanted_is(JsonType::String) => diagnostic.hint(format!("put it in quotes: \"{written}\"")),
        Value::String(_) | Value::Number(_) if wanted_is(JsonType::Array) => diagnostic.hint(format!("write `[{}]`", plain(value))),
        _ => diagnostic,
    }
}

fn in_words(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a map of fields",
        JsonType::String => "text",
    }
}

/// What a pattern of the schema asks for, in words.
fn shape(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        r"^[a-z0-9][a-z0-9._/-]*$" => "use lower-case letters, digits and `.`, `_`, `/`, `-`, such as `backdoor/square`",
        r"^(sha256:)?[0-9a-f]{12,64}$" => {
            "give the model's digest as `heirloom inspect` prints it: `sha256:` and at least the first 12 of its 64 digits"
        }
        r"^\d{4}-\d{2}-\d{2}$" => "write the date as year-month-day, such as 2027-01-31",
        r"^[ -~]*[!-~][ -~]*$" => "the font has printable ASCII characters, and it takes one that is no space",
        r"^#[0-9a-fA-F]{6}$" => "write the colour as \"#rrggbb\", in quotes, such as \"#ffff00\" for yellow",
        _ => return None,
    })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn entries(count: usize) -> String {
    match count {
        0 => "no entries".to_owned(),
        1 => "1 entry".to_owned(),
        _ => format!("{count} entries"),
    }
}

/// A bound without the `.0` that fractions are generated with.
fn number(limit: &Value) -> String {
    let text = limit.to_string();
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A value as a message shows it: short, collections only by their kind.
fn shorten(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map of fields".to_owned(),
        Value::String(text) if text.chars().count() > 40 => format!("{:?}…", text.chars().take(40).collect::<String>()),
        other => other.to_string(),
    }
}

/// "`a`, `b` or `c`".
pub(super) fn list(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => format!("`{one}`"),
        [rest @ .., one] => format!("{} or `{one}`", rest.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// The name that was probably meant: at most a third of its letters differ.
pub(super) fn nearest<'a>(given: &str, names: &[&'a str]) -> Option<&'a str> {
    // Edit distance is quadratic, and no name is long.
    if given.len() > 64 {
        return None;
    }
    let given = given.to_lowercase().replace(['-', ' '], "_");
    names
        .iter()
        .map(|name| (strsim::osa_distance(&given, &name.replace('-', "_").to_lowercase()), *name))
        .filter(|(distance, name)| *distance * 3 <= name.len().max(given.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
