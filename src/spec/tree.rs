//! A text's values, each with the place where it is written.

use std::ops::Range;

use serde_json::{Map, Value};

/// A value with its place. Places are byte ranges of the text.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where its key is, for a field of a map.
    pub key: Option<Range<usize>>,
    /// Where it is; of a map or list only its first line.
    pub span: Range<usize>,
    pub(super) content: Content,
}

/// What stands at a place. No field of a map is there twice.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Anything but a list or map.
    Scalar(Value),
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
}

impl Node {
    /// A value that is nothing and is written nowhere.
    pub(crate) fn nothing() -> Self {
        Self { key: None, span: 0..0, content: Content::Scalar(Value::Null) }
    }

    /// The plain value.
    pub(crate) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Node::value).collect()),
            Content::Map(fields) => {
                let mut map = Map::new();
                for (key, node) in fields {
                    map.entry(key.clone()).or_insert_with(|| node.value());
                }
                Value::Object(map)
            }
        }
    }

    /// The field or item called `name`.
    pub(crate) fn child(&self, name: &str) -> Option<&Node> {
        match &self.content {
            Content::Scalar(_) => None,
            Content::List(items) => items.get(index(name)?),
            Content::Map(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, node)| node),
        }
    }

    fn child_mut(&mut self, name: &str) -> Option<&mut Node> {
        match &mut self.content {
            Content::Scalar(_) => None,
            Content::List(items) => items.get_mut(index(name)?),
            Content::Map(fields) => fields.iter_mut().find(|(key, _)| key == name).map(|(_, node)| node),
        }
    }

    /// The node at a JSON pointer.
    pub(crate) fn find(&self, pointer: &str) -> Option<&Node> {
        pointer.split('/').skip(1).try_fold(self, |node, segment| node.child(&plain(segment)))
    }

    /// Puts a value where a JSON pointer leads. What holds it must be there; what was there before goes, but for the place of its key.
    pub(crate) fn put(&mut self, pointer: &str, to: Node) -> Result<(), String> {
        let beginning = || format!("`{pointer}` is no place: it must begin with `/`");
        let (parent, name) = pointer.rsplit_once('/').filter(|_| pointer.starts_with('/')).ok_or_else(beginning)?;
        let holder = parent.split('/').skip(1).try_fold(self, |node, segment| node.child_mut(&plain(segment)));
        let holder = holder.ok_or_else(|| format!("the policy has nothing at `{parent}`"))?;
        let name = plain(name);
        match &mut holder.content {
            Content::Map(fields) => match fields.iter_mut().find(|(key, _)| *key == name) {
                Some((_, before)) => *before = Node { key: before.key.take(), ..to },
                None => fields.push((name, Node { key: None, ..to })),
            },
            Content::List(items) => {
                let slot = index(&name).and_then(|index| items.get_mut(index));
                *slot.ok_or_else(|| format!("the list at `{parent}` has no entry `{name}`"))? = Node { key: None, ..to };
            }
            Content::Scalar(_) => return Err(format!("`{parent}` is neither a list nor has it fields")),
        }
        Ok(())
    }

    /// The same, its places `by` bytes further on: for a text that follows another.
    #[must_use]
    pub(crate) fn moved(mut self, by: usize) -> Self {
        self.for_each(&mut |node| {
            for place in node.key.iter_mut().chain([&mut node.span]) {
                *place = place.start + by..place.end + by;
            }
        });
        self
    }

    /// Whether a value in it, or a key, is written at a place.
    pub(crate) fn is_at(&self, place: &Range<usize>) -> bool {
        let inside = match &self.content {
            Content::Scalar(_) => false,
            Content::List(items) => items.iter().any(|item| item.is_at(place)),
            Content::Map(fields) => fields.iter().any(|(_, node)| node.key.as_ref() == Some(place) || node.is_at(place)),
        };
        inside || self.span == *place
    }

    fn for_each(&mut self, change: &mut impl FnMut(&mut Node)) {
        change(self);
        match &mut self.content {
            Content::Scalar(_) => {}
            Content::List(items) => items.iter_mut().for_each(|item| item.for_each(change)),
            Content::Map(fields) => fields.iter_mut().for_each(|(_, node)| node.for_each(change)),
        }
    }

    /// Where to point at for the field as such: its key, or where it starts.
    pub(crate) fn name_span(&self) -> Range<usize> {
        self.key.clone().unwrap_or_else(|| self.span.clone())
    }

    /// Where to point at for the value: itself, or its key where nothing is written.
    pub(crate) fn value_span(&self) -> Range<usize> {
        if self.span.is_empty() { self.name_span() } else { self.span.clone() }
    }

    /// The value at a JSON pointer; what is around it where it is a default.
    pub(crate) fn place_of_value(&self, pointer: &str) -> Range<usize> {
        self.place(pointer, Node::value_span)
    }

    /// The field at a JSON pointer; what is around it where it is a default.
    pub(crate) fn place_of_field(&self, pointer: &str) -> Range<usize> {
        self.place(pointer, Node::name_span)
    }

    fn place(&self, pointer: &str, of: impl Fn(&Node) -> Range<usize>) -> Range<usize> {
        if let Some(node) = self.find(pointer) {
            return of(node);
        }
        let mut around = pointer;
        while let Some((parent, _)) = around.rsplit_once('/') {
            if let Some(node) = self.find(parent) {
                return node.name_span();
            }
            around = parent;
        }
        0..0
    }

    /// The document's own node, which is no part of another.
    pub(super) fn is_document(&self, path: &str) -> bool {
        path.is_empty() && self.key.is_none()
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.content, Content::Map(_))
    }

    /// What it takes to copy: nodes and bytes of text.
    pub(super) fn cost(&self) -> usize {
        1 + match &self.content {
            Content::Scalar(Value::String(text)) => text.len(),
            Content::Scalar(_) => 0,
            Content::List(items) => items.iter().map(Node::cost).sum(),
            Content::Map(fields) => fields.iter().map(|(key, node)| key.len() + node.cost()).sum(),
        }
    }
}

/// The entry of a list that a segment of a pointer names; each has one spelling.
fn index(name: &str) -> Option<usize> {
    name.parse().ok().filter(|index: &usize| index.to_string() == name)
}

/// A segment of a pointer as the name that it stands for.
fn plain(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// A pointer to a field or item of what `pointer` leads to.
pub(crate) fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
