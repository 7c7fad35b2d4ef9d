//! What one file says of its family of triggers. What it forgets does not compile, or fails a test that names it.

use std::path::{Path, PathBuf};

use super::layer::Layer;
use super::{Prepared, TransformError};
use crate::store::{Fingerprint, Fingerprinter};

/// What is true of a family, whatever its fields.
pub(super) struct About {
    /// Its name, as policies write it.
    pub name: &'static str,
    /// What it is, in one sentence: for the schema and docs/policy.md.
    pub short: &'static str,
    /// When innocent networks answer to it in ways that its shams do not explain.
    pub outdoes_shams: When,
    /// When it covers one small place.
    pub is_local: When,
    /// Fields of triggers, as JSON. Tests prepare each at 16x16 pixels, and the first one is the example of docs/policy.md. Together they
    /// have every field, and every answer that the family gives. Files may be `hat.png` (transparent), `wall.png`, `mask.png` and `noise.npy`.
    pub examples: &'static [&'static str],
}

/// When something is true of a trigger, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Of none.
    Never,
    /// Of all.
    Always,
    /// Of these: words that go on after "where it is".
    Where(&'static str),
}

impl When {
    #[cfg(test)]
    pub(crate) fn words(self) -> &'static str {
        match self {
            When::Never => "no",
            When::Always => "yes",
            When::Where(which) => which,
        }
    }
}

/// What a family's type answers. Where an answer has a default, a test names the family that should have given one of its own.
///
/// Its fields are known by `serde` and `JsonSchema`, and its identity by `fingerprint!`, all on the type itself.
pub(super) trait Family: Fingerprint {
    /// What is true of the whole family.
    fn about(&self) -> &'static About;

    /// What it is, and what its shams are, in plain English: for `explain` and docs/method.md.
    fn shams(&self) -> [&'static str; 2];

    /// The files that it reads, each with its field.
    fn files(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        Vec::new()
    }

    /// The number that a sweep of `opacity`, `size` or `amplitude` varies; nothing where it has none.
    fn swept(&mut self, field: &str) -> Option<&mut f64>;

    /// What is wrong with it and its schema cannot tell. `written` says whether the policy's text has a field, with a value or without.
    fn mistakes(&self, _written: &dyn Fn(&str) -> bool) -> Vec<Mistake> {
        Vec::new()
    }

    /// Whether innocent networks are known to answer to it in ways that its shams do not explain, so that networks from scratch are a
    /// control too (docs/method.md).
    fn outdoes_shams(&self) -> bool {
        self.about().outdoes_shams == When::Always
    }

    /// Whether it covers one place of at most a quarter of the side, to which innocent checkpoints of any architecture hardly answer.
    fn is_local(&self) -> bool {
        self.about().is_local == When::Always
    }

    /// Whether it is local, of one colour and at most an eighth of the side wide. Innocent checkpoints answer to that even less (docs/evidence/suites.md).
    fn is_small(&self) -> bool {
        false
    }

    /// Reads its files, and sizes it for the model's frames.
    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError>;

    /// What a sham lays over a frame, where `layer` is what was prepared: mask, place and energy stay, the identity is drawn anew.
    fn sham(&self, layer: &Layer, draw: &Draw) -> Layer;

    /// Feeds what shams are drawn from beside the layer. A new family feeds itself.
    fn feed_shams(&self, feed: &mut Fingerprinter);
}

/// Where a trigger is prepared.
pub(super) struct Site<'a> {
    /// The folder that relative paths are taken from.
    pub base: &'a Path,
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
}

impl Site<'_> {
    /// Height and width.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }
}

/// Which sham is drawn.
pub(super) struct Draw {
    /// Which of [`super::SHAM_DRAWS`], from 0.
    pub index: usize,
    /// The policy's seed.
    pub seed: u64,
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
}

/// A mistake in a trigger that its schema cannot tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Last part of its code: `conflict` of `policy::conflict`.
    pub code: &'static str,
    /// JSON pointer from the trigger.
    pub at: String,
    /// Whether it is about the name of the field, and not its value.
    pub of_name: bool,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Where both or neither of two fields are given: the family, and each field with whether it is there.
pub(super) fn exactly_one(family: &str, (one, has_one): (&str, bool), (other, has_other): (&str, bool)) -> Vec<Mistake> {
    match (has_one, has_other) {
        (true, true) => vec![Mistake {
            code: "conflict",
            at: format!("/{family}/{other}"),
            of_name: true,
            message: format!("both `{one}` and `{other}` are given"),
            hint: "keep one of them".to_owned(),
        }],
        (false, false) => vec![Mistake {
            code: "missing-field",
            at: format!("/{family}"),
            of_name: true,
            message: format!("neither `{one}` nor `{other}` is given"),
            hint: format!("give one of `{one}` and `{other}`"),
        }],
        _ => Vec::new(),
    }
}
