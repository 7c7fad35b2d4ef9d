//! What a fine-tune starts from.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tune::Mode;

/// The most references that a policy may name: as many as the constants of [`crate::stats::innocents`] reach.
pub const MOST_REFERENCES: usize = 20;

/// Draws of fresh weights that are compared with as `untrained`.
pub(crate) const UNTRAINED: usize = 4;

/// What a fine-tune starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arm {
    /// The checkpoint under test.
    Source,
    /// The same graph from fresh weights.
    Scratch,
    /// The same graph with fresh weights, frozen: one of several draws, from 0.
    Untrained(u8),
    /// A trusted checkpoint, by its place in the policy's list, from 0.
    Reference(u8),
}

impl Arm {
    /// What trains of this arm for a rule of a mode: a network from scratch has nothing to freeze and trains fully, and of an untrained one nothing
    /// but the head ever trains.
    pub(crate) fn trains(self, mode: Mode) -> Mode {
        match self {
            Arm::Source | Arm::Reference(_) => mode,
            Arm::Scratch => Mode::FullNetwork,
            Arm::Untrained(_) => Mode::FixedFeature,
        }
    }

    /// Whether its weights are not those of any checkpoint: the graph carries into it what leads around the weights.
    pub(crate) fn is_fresh(self) -> bool {
        matches!(self, Arm::Scratch | Arm::Untrained(_))
    }

    /// The draws of untrained networks.
    pub(crate) fn untrained() -> impl Iterator<Item = Self> {
        (0..UNTRAINED as u8).map(Self::Untrained)
    }

    /// The arms of so many references, in the order of the policy.
    pub(crate) fn references(count: usize) -> impl Iterator<Item = Self> {
        (0..count.min(MOST_REFERENCES) as u8).map(Self::Reference)
    }

    /// As a report writes it, backwards.
    fn read(text: &str) -> Option<Self> {
        match text {
            "source" => Some(Arm::Source),
            "scratch" => Some(Arm::Scratch),
            _ => Arm::untrained().chain(Arm::references(MOST_REFERENCES)).find(|arm| arm.to_string() == text),
        }
    }
}

/// As a report writes it: `source`, `scratch`, `reference` (the first one), `reference-2`.
impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arm::Source => f.pad("source"),
            Arm::Scratch => f.pad("scratch"),
            Arm::Untrained(0) => f.pad("untrained"),
            Arm::Untrained(at) => f.pad(&format!("untrained-{}", u16::from(*at) + 1)),
            Arm::Reference(0) => f.pad("reference"),
            Arm::Reference(at) => f.pad(&format!("reference-{}", u16::from(*at) + 1)),
        }
    }
}

impl Serialize for Arm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Arm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let unknown = || serde::de::Error::custom("not an arm: `source`, `scratch`, `untrained`, `reference`, `reference-2`, ... are");
        Arm::read(&text).ok_or_else(unknown)
    }
}

impl JsonSchema for Arm {
    fn schema_name() -> Cow<'static, str> {
        "Arm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a fine-tune starts from: the checkpoint under test, the same graph from fresh weights (trained, or frozen: `untrained`, \
                `untrained-2` and so on are draws), or a trusted checkpoint (`reference` is the first one that the policy lists, `reference-2` the second).",
            "type": "string",
            "pattern": "^(source|scratch|untrained(-[2-4])?|reference(-([2-9]|1[0-9]|20))?)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_is_read_as_it_is_written() {
        for arm in [Arm::Source, Arm::Scratch].into_iter().chain(Arm::untrained()).chain(Arm::references(MOST_REFERENCES)) {
            let text = serde_json::to_string(&arm).unwrap();
            assert_eq!(serde_json::from_str::<Arm>(&text).unwrap(), arm, "{text}");
        }
        assert_eq!(serde_json::to_string(&Arm::Reference(0)).unwrap(), "\"reference\"", "reports of earlier builds have this one");
        assert_eq!(serde_json::to_string(&Arm::Reference(19)).unwrap(), "\"reference-20\"");
        for wrong in ["reference-1", "untrained-5", "reference-21", "reference-02", "Source", ""] {
            assert!(serde_json::from_str::<Arm>(&format!("\"{wrong}\"")).is_err(), "{wrong}");
        }
    }
}
