//! The class of an image by one of its columns.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::{Entry, Source};
use super::{DataError, diag, view};
use crate::store::fingerprint;

/// Values of a column that are named in a message.
const SHOWN: usize = 6;

/// Where the class of an image comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelSpec {
    /// A column of the data, or of the file under `attributes`. `label` is the class that the data give, where no column is called so.
    #[schemars(length(min = 1))]
    pub column: String,
    /// The class of each value: `{ "0-2": young, "70+": old }`. Several values may be of one class. Absent: every value is a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<BTreeMap<String, String>>,
    /// What is done with images without a class: those whose value `map` lacks, or is not known. Absent: they are an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Others>,
}

/// What is done with images without a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// They are left out; a warning counts them.
    Drop,
}

fingerprint!(LabelSpec as "label" { column: "column", map: "map", others: "others" });
fingerprint!(Others: Drop = "drop");

/// Gives every image the class that its column says.
pub(super) fn by_column(spec: &LabelSpec, source: &mut Source) -> Result<(), DataError> {
    let Source { classes, parts, warnings, unusable, labelled } = source;
    let entries = || parts.iter().flatten();
    // The class that the data give is no column of theirs.
    let own = spec.column == "label" && *labelled && !entries().any(|entry| entry.record.attributes.has("label"));
    if !own {
        view::check_column(&spec.column, entries().map(|entry| &entry.record.attributes)).map_err(|error| error.explained(unusable))?;
    }
    let value = |entry| if own { own_class(entry, classes) } else { entry.record.value(&spec.column) };
    let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for entry in entries() {
        *counts.entry(value(entry)).or_default() += 1;
    }
    let class = |value: Option<&str>| -> Option<String> {
        let value = value?;
        spec.map.as_ref().map_or_else(|| Some(value.to_owned()), |map| map.get(value).cloned())
    };
    let without: BTreeMap<Option<&str>, usize> =
        counts.iter().filter(|(value, _)| class(**value).is_none()).map(|(value, count)| (*value, *count)).collect();
    let (left, total) = (without.values().sum::<usize>(), counts.values().sum::<usize>());
    if left > 0 {
        let values = shown(&without);
        match spec.others {
            None => {
                let (column, mapped) = (&spec.column, spec.map.is_some());
                let what = if mapped {
                    format!("`label.map` has no class for the `{column}` of")
                } else {
                    format!("`{column}` has no value, and so gives no class, for")
                };
                return Err(DataError::Unmapped { what, left, total, values, mapped });
            }
            Some(Others::Drop) => {
                let are = diag::agree(&left, "is", "are");
                warnings.push(format!("`others: drop` of `label`: {left} of {} {are} left out: {values}", diag::count(total, "image")));
            }
        }
    }
    if let Some(map) = &spec.map {
        let met: BTreeSet<&str> = counts.keys().flatten().copied().collect();
        let never: Vec<String> = map.keys().filter(|value| !met.contains(value.as_str())).map(|value| format!("`{value}`")).collect();
        if !never.is_empty() && total > 0 {
            let known = shown(&counts);
            let (listed, are) = (super::attributes::first(&never), diag::agree(&never.len(), "is", "are"));
            warnings.push(format!("no image has {listed} in `{}`, which {are} in `label.map`; there are: {known}", spec.column));
        }
    }
    let names: BTreeSet<String> = match &spec.map {
        // A class of the map that no image is of is missed later on.
        Some(map) => map.values().cloned().collect(),
        None => counts.keys().filter_map(|value| class(*value)).collect(),
    };
    let names: Vec<String> = names.into_iter().collect();
    super::source::few_enough(&names)?;
    let label: BTreeMap<Option<&str>, Option<usize>> =
        counts.keys().map(|value| (*value, class(*value).and_then(|class| names.binary_search(&class).ok()))).collect();
    let labels: Vec<Vec<Option<usize>>> =
        parts.iter().map(|part| part.iter().map(|entry| label.get(&value(entry)).copied().flatten()).collect()).collect();
    for (part, labels) in parts.iter_mut().zip(labels) {
        let mut labels = labels.into_iter();
        part.retain_mut(|entry| match labels.next().flatten() {
            Some(label) => {
                entry.record.label = label;
                true
            }
            None => false,
        });
    }
    *classes = names;
    *labelled = true;
    Ok(())
}

/// The class that the data give an image.
fn own_class<'a>(entry: &Entry, classes: &'a [String]) -> Option<&'a str> {
    classes.get(entry.record.label).map(String::as_str)
}

/// Values and how many images have each, the most frequent first.
fn shown(counts: &BTreeMap<Option<&str>, usize>) -> String {
    let mut sorted: Vec<(Option<&str>, usize)> = counts.iter().map(|(value, count)| (*value, *count)).collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let one = |(value, count): &(Option<&str>, usize)| match value {
        Some(value) => format!("`{}` ({count})", value.chars().take(40).collect::<String>().escape_debug()),
        None => format!("no value ({count})"),
    };
    let named = sorted.iter().take(SHOWN).map(one).collect::<Vec<_>>().join(", ");
    if sorted.len() > SHOWN { format!("{named} and {} more", sorted.len() - SHOWN) } else { named }
}

#[cfg(test)]
mod tests;
