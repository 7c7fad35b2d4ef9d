//! Which rule a model comes under.

use glob::Pattern;

use super::spec::{InputSize, Patterns, RuleSpec, Stored, bytes};
use crate::source::Ending;

/// A rule's condition, ready to be asked.
pub(super) struct Condition {
    name: Option<Vec<Pattern>>,
    source: Option<Vec<Pattern>>,
    tag: Option<Vec<Pattern>>,
    size: [Option<u64>; 2],
    format: Option<Stored>,
    input: Option<InputSize>,
}

/// What a rule asks of a model.
pub(super) struct Asked<'a> {
    pub source: &'a str,
    pub name: &'a str,
    pub tags: &'a [String],
    /// None where that is not known: no condition on it holds.
    pub bytes: Option<u64>,
    /// The same.
    pub format: Option<Stored>,
}

impl Condition {
    /// That of a rule; what is no pattern was refused before, and matches nothing.
    pub fn of(rule: &RuleSpec) -> Self {
        let patterns = |patterns: &Option<Patterns>| {
            let all = patterns.as_ref()?.all();
            Some(all.into_iter().filter_map(|(_, pattern)| Pattern::new(pattern).ok()).collect())
        };
        let size = rule.matching.size.clone().unwrap_or_default();
        Self {
            name: patterns(&rule.matching.name),
            source: patterns(&rule.matching.source),
            tag: patterns(&rule.matching.tag),
            size: [size.at_least, size.at_most].map(|bound| bound.as_deref().and_then(bytes)),
            format: rule.matching.format,
            input: rule.matching.input,
        }
    }

    /// Whether the size of a model's images has to be known, too.
    pub fn asks_input(&self) -> bool {
        self.input.is_some()
    }

    /// Whether it holds of a model whose images have this height and width.
    pub fn takes(&self, sides: [usize; 2]) -> bool {
        let InputSize { at_least, at_most } = self.input.unwrap_or_default();
        sides.iter().all(|side| at_least.is_none_or(|least| *side >= least) && at_most.is_none_or(|most| *side <= most))
    }

    /// Whether all but that holds of a model.
    pub fn holds(&self, model: &Asked) -> bool {
        let any = |patterns: &Option<Vec<Pattern>>, text: &str| patterns.as_ref().is_none_or(|all| all.iter().any(|one| one.matches(text)));
        any(&self.name, model.name)
            && any(&self.source, model.source)
            && (self.tag.is_none() || model.tags.iter().any(|tag| any(&self.tag, tag)))
            && self.size[0].is_none_or(|least| model.bytes.is_some_and(|bytes| bytes >= least))
            && self.size[1].is_none_or(|most| model.bytes.is_some_and(|bytes| bytes <= most))
            && self.format.is_none_or(|format| model.format == Some(format))
    }
}

impl From<Ending> for Stored {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Onnx => Self::Onnx,
            Ending::Safetensors => Self::Safetensors,
            Ending::Other => Self::Other,
        }
    }
}
