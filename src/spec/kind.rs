//! The kinds of file that people write, and how they are told apart.

use serde_json::Value;

use super::names::nearest;

/// A kind of file: what it is called in messages, and by what it is known.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its short name: "the planted source has no field `recipe`".
    pub name: &'static str,
    /// One of them: "this is the specification of a planted source".
    pub one: &'static str,
    /// All of them: "policies have no tags of their own".
    pub many: &'static str,
    /// First part of the code of a diagnostic: `policy::value`.
    pub code: &'static str,
    /// What is done with such a file.
    pub how: &'static str,
    /// A map that has all fields of one of these lists is of this kind.
    marks: &'static [&'static [&'static str]],
    /// Fields that tell it from the others where those of `marks` are not all there.
    pub(super) own: &'static [&'static str],
}

/// What must hold of a checkpoint.
pub static POLICY: Kind = Kind {
    name: "policy",
    one: "a policy",
    many: "policies",
    code: "policy",
    how: "run it with `heirloom certify MODEL --policy FILE`",
    marks: &[&["rules", "target"]],
    own: &["target", "input", "transfer", "seeds", "rules", "waivers", "fail_on", "reference"],
};

/// A policy varied over sources.
pub static STUDY: Kind = Kind {
    name: "study",
    one: "a study",
    many: "studies",
    code: "study",
    how: "run it with `heirloom study FILE --output DIR`",
    marks: &[&["sources", "policy"]],
    own: &["question", "sources", "policy", "vary"],
};

/// A policy held against sources of which it is known what they carry.
pub static CALIBRATION: Kind = Kind {
    name: "calibration",
    one: "the specification of a calibration",
    many: "calibrations",
    code: "calibration",
    how: "run it with `heirloom calibrate FILE --output DIR`",
    marks: &[&["policy", "plant"], &["policy", "models"]],
    own: &["policy", "models", "plant", "again_seeds"],
};

/// A source that is trained with a known bias.
pub static PLANT: Kind = Kind {
    name: "planted source",
    one: "the specification of a planted source",
    many: "planted sources",
    code: "plant",
    how: "run it with `heirloom plant FILE --output DIR`",
    marks: &[&["architecture", "recipe"], &["from", "recipe"]],
    own: &[
        "twin",
        "data",
        "attributes",
        "classes",
        "train",
        "test",
        "from",
        "architecture",
        "size",
        "recipe",
        "plant",
        "branch",
        "rebalance",
    ],
};

/// A registry of models that is scanned.
pub static SCAN: Kind = Kind {
    name: "scan",
    one: "a scan",
    many: "scans",
    code: "scan",
    how: "run it with `heirloom scan FILE`",
    marks: &[&["sources", "rules"]],
    own: &["sources", "rules", "budget", "recheck_after", "allow_not_reached", "output"],
};

/// Any of these, where the file could not be read so far that its fields tell which. Mistakes are those of a policy then.
pub static ANY: Kind = Kind {
    name: "file",
    one: "a policy, study, calibration, planted source or scan",
    many: "such files",
    code: "policy",
    how: "check it with `heirloom validate FILE`",
    marks: &[],
    own: &[],
};

/// What the program writes itself. It is only told from the others.
static REPORT: Kind = Kind {
    name: "report",
    one: "a report",
    many: "reports",
    code: "report",
    how: "`heirloom rejudge` takes its folder, and a policy with --policy",
    marks: &[&["findings", "schema"]],
    own: &[],
};

/// Every kind, in the order in which a file is compared with them.
static ALL: [&Kind; 6] = [&POLICY, &STUDY, &CALIBRATION, &PLANT, &SCAN, &REPORT];

impl Kind {
    /// The code of a diagnostic: `unknown-field` of a study is `study::unknown-field`.
    pub(crate) fn code(&self, what: &str) -> String {
        format!("{}::{what}", self.code)
    }

    /// Whether a file that should be of this kind is of another.
    pub(super) fn mistaken(&self, value: &Value) -> Option<&'static Kind> {
        if self.known_by(value) { None } else { Kind::of(value) }
    }

    /// The kind of file that a value is, where it has the fields of one.
    pub(super) fn of(value: &Value) -> Option<&'static Kind> {
        ALL.into_iter().find(|kind| kind.known_by(value))
    }

    /// The kind that most of these fields are of, misspelt ones too; a policy where there are none.
    pub(super) fn likely(fields: &[&str]) -> &'static Kind {
        let known = |kind: &Kind| fields.iter().filter(|field| nearest(field, kind.own).is_some()).count();
        // Of several the first.
        ALL.into_iter().rev().max_by_key(|kind| known(kind)).unwrap_or(&POLICY)
    }

    fn known_by(&self, value: &Value) -> bool {
        self.marks.iter().any(|fields| fields.iter().all(|field| value.get(field).is_some()))
    }
}
