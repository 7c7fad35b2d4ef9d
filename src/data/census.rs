//! How many images of each class there are, before any are chosen.

use std::path::Path;

use super::label::by_column;
use super::source::{self, Labels, Source, Want};
use super::{DataError, DataSpec, LabelSpec, Split};

/// A data set counted. Nothing is refused for being small: that is for whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    /// Class names by label.
    pub classes: Vec<String>,
    /// Images of each class: of those that train and those that measure, or of all where the data have no splits.
    pub parts: Vec<Vec<usize>>,
}

/// Counts the images of a data set without decoding any, by the class that a column gives where that is said. `base` is where relative paths start.
pub(crate) fn census(data: &DataSpec, label: Option<&LabelSpec>, base: &Path) -> Result<Census, DataError> {
    let labels = if label.is_some() { Labels::Column } else { Labels::Own };
    let read = |splits: &[Option<Split>]| source::read(data, splits, base, Want::Index, labels);
    let both = || read(&[Some(Split::Train), Some(Split::Test)]);
    let source = match data.has_splits() {
        Some(true) => both(),
        Some(false) => read(&[None]),
        // Only its file says so.
        None => read(&[None]).or_else(|error| if matches!(error, DataError::SplitTwice) { both() } else { Err(error) }),
    };
    let named = |mut source: Source| label.map_or(Ok(()), |label| by_column(label, &mut source)).map(|()| source);
    let Source { classes, parts, .. } = source.and_then(named).map_err(|error| error.about(data))?;
    if let [only] = classes.as_slice() {
        return Err(DataError::OneClass { name: only.clone() }.about(data));
    }
    let counted = |part: &Vec<source::Entry>| {
        let mut counts = vec![0; classes.len()];
        for entry in part {
            if let Some(count) = counts.get_mut(entry.record.label) {
                *count += 1;
            }
        }
        counts
    };
    Ok(Census { parts: parts.iter().map(counted).collect(), classes })
}
