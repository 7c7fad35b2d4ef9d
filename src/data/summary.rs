//! How many images a target task has, without decoding one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::source::{Entry, Want};
use super::view::check_classes;
use super::{DataError, Split, Target, Views, views};

/// What is known of a target task without decoding a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataSummary {
    /// Class names by label.
    pub classes: Vec<String>,
    /// Pictures per class that train.
    pub train: Vec<usize>,
    /// Pictures per class that measure.
    pub test: Vec<usize>,
    /// By column: the images that train and that measure whose value is not known, where there are any.
    pub unknown: BTreeMap<String, [usize; 2]>,
    /// What the user should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Counts the pictures of a target task's views without reading pixels. Where the data has no splits of its own, the
/// counts are those of seed 0 (another seed may put a cluster of another size into the test half).
pub fn summary(target: &Target, base: &Path) -> Result<DataSummary, DataError> {
    counted(target, base).map_err(|error| error.about(&target.data))
}

fn counted(target: &Target, base: &Path) -> Result<DataSummary, DataError> {
    let Views { classes, train, test, warnings, .. } = views(target, base, 0, Want::Index)?;
    let counts = |entries: &[Entry], split| check_classes(entries.iter().map(|e| e.record.label), split, &classes);
    let all = || train.iter().chain(&test).map(|entry| &entry.record);
    let columns: BTreeSet<String> = all().flat_map(|record| record.attributes.keys()).cloned().collect();
    let lacking = |entries: &[Entry], column: &str| entries.iter().filter(|entry| entry.record.value(column).is_none()).count();
    let unknown = columns.into_iter().map(|column| ([lacking(&train, &column), lacking(&test, &column)], column));
    let unknown = unknown.filter(|(counts, _)| *counts != [0, 0]).map(|(counts, column)| (column, counts)).collect();
    Ok(DataSummary { train: counts(&train, Split::Train)?, test: counts(&test, Split::Test)?, classes, unknown, warnings })
}
