//! What is known of a target task without decoding an image.

use std::collections::BTreeMap;
use std::path::Path;

use super::dataset::clusters;
use super::source::{Entry, Want};
use super::view::{check_classes, check_column};
use super::{DataError, Record, Split, Target, Views, views};

/// What is known of a target task beside its pixels, be it opened or only indexed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// Class names by label.
    pub classes: &'a [String],
    /// The images that train.
    pub train: &'a [Record],
    /// The images that measure.
    pub test: &'a [Record],
    /// Cluster number of each test image.
    pub test_clusters: &'a [u32],
    /// Columns that are there and can be no attribute, and why.
    pub unusable: &'a BTreeMap<String, String>,
    /// What the user should know, one sentence each.
    pub warnings: &'a [String],
}

impl Facts<'_> {
    /// Whether any test image has an attribute; else the error names those that there are.
    pub(crate) fn has_attribute(&self, name: &str) -> Result<(), DataError> {
        check_column(name, self.test.iter().map(|record| &record.attributes)).map_err(|e| e.explained(self.unusable))
    }
}

/// A target task whose images were not decoded: those that are broken are not known, nor those that show the same.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    classes: Vec<String>,
    train: Vec<Record>,
    test: Vec<Record>,
    test_clusters: Vec<u32>,
    unusable: BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl Index {
    /// What is known.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            classes: &self.classes,
            train: &self.train,
            test: &self.test,
            test_clusters: &self.test_clusters,
            unusable: &self.unusable,
            warnings: &self.warnings,
        }
    }
}

/// Applies a target task's views without reading pixels. `base` and `seed` as for [`super::open`].
pub(crate) fn index(target: &Target, base: &Path, seed: u64) -> Result<Index, DataError> {
    indexed(target, base, seed).map_err(|error| error.about(&target.data))
}

fn indexed(target: &Target, base: &Path, seed: u64) -> Result<Index, DataError> {
    let Views { classes, train, test, warnings, unusable } = views(target, base, seed, Want::Index)?;
    for (entries, split) in [(&train, Split::Train), (&test, Split::Test)] {
        check_classes(entries.iter().map(|entry| entry.record.label), split, &classes)?;
    }
    let records = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.record).collect::<Vec<_>>();
    let (train, test) = (records(train), records(test));
    let test_clusters = clusters(&test, test.iter().map(|_| None));
    Ok(Index { classes, train, test, test_clusters, unusable, warnings })
}
