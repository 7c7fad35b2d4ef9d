//! Labelled images from real files, seen through views.
//!
//! Reading is lazy: opening a set reads its index (ids, labels, clusters, attributes), images are decoded when
//! asked for. Encoded bytes of parquet files and shards are kept in memory while there is room and else on disk, IDX and CIFAR files stay
//! in memory, folders on disk. What was brought to a network's size is all that is kept of an image.
//! One format, one file.

pub(crate) mod alone;
mod attributes;
mod bounds;
mod cells;
mod census;
mod cifar;
mod csv;
mod dataset;
pub(crate) mod decode;
mod embedded;
mod error;
mod fitted;
mod folder;
mod format;
mod formats;
mod guard;
mod idx;
mod index;
mod label;
mod listed;
mod matlab;
mod parquet;
mod published;
mod recognise;
mod source;
mod spec;
mod table;
mod texts;
mod view;
mod webdataset;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use census::{Census, census};
pub(crate) use dataset::{Broken, Dataset};
use dataset::{Checked, Shown};
pub use error::DataError;
pub(crate) use fitted::{Fit, Fitted};
pub(crate) use index::{Facts, Index, index};
pub use label::{LabelSpec, Others};
pub(crate) use recognise::recognise;
use source::{Entry, Labels, Source, Want};
pub use spec::{DataSpec, Orientation};
use texts::Attributes;

use crate::diag;
use crate::store::{MemoryBudget, SpillBuffer, fingerprint};

/// Bytes of memory that an image takes however large it is, roughly: its record, its place and its digest.
pub(crate) const RECORD: u64 = 1024;

/// One half of a target task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Images that train.
    Train,
    /// Images that measure.
    Test,
}

/// What is known of one image before it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Stable identifier within the set: a path, `file.parquet:row`, or `shard.tar:key`.
    pub id: Arc<str>,
    /// Index into [`Dataset::classes`].
    pub label: usize,
    /// Images of one cluster belong together (two drawings of one thing); equal to `id` where nothing is known. Images that show the same
    /// belong together too: [`Dataset::clusters`].
    pub cluster: Arc<str>,
    /// Further columns; empty where the value is not known ([`Record::value`]).
    pub attributes: Attributes,
}

impl Record {
    /// The value in a column, where it is known. What stands for a missing value (empty, NaN, None, NA, N/A, null) is none.
    pub(crate) fn value(&self, column: &str) -> Option<&str> {
        self.shared(column).map(|value| &**value)
    }

    /// [`Record::value`], to be kept.
    pub(crate) fn shared(&self, column: &str) -> Option<&Arc<str>> {
        self.attributes.get(column).filter(|value| !value.is_empty())
    }
}

/// The target task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Where the images are.
    pub data: DataSpec,
    /// Where the class of an image comes from, where that is another column than the one that the data call their label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<LabelSpec>,
    /// Classes used, by name; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2))]
    pub classes: Option<Vec<String>>,
    /// The images that train.
    #[serde(default)]
    pub train: ViewSpec,
    /// The images that measure.
    #[serde(default)]
    pub test: ViewSpec,
    /// Where the data has no splits: the share of clusters that measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.05, max = 0.95))]
    pub test_share: Option<f64>,
    /// Where the data has no splits, in place of `test_share`: images of each class that train; all others measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub train_per_class: Option<usize>,
    /// Column or CSV column that says which images belong together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// A CSV file with an `id` column and one column per attribute, joined to the images by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<PathBuf>,
    /// Share of broken images that is put up with. What Pillow refuses, such as a truncated file, is broken.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub broken: f64,
    /// Share of the test images that may be training images too, the same in every pixel.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub overlap: f64,
    /// What is done with images that ask to be turned (EXIF orientation). Absent: what the usual loader of such data does, which is
    /// `upright` for parquet (Hugging Face `datasets`), `stored` for folders (torchvision's `ImageFolder`) and shards (`webdataset`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orientation: Option<Orientation>,
    /// How accuracy is counted: on it hangs whether an arm has learnt the task, and which references are as good as the source.
    #[serde(default, skip_serializing_if = "Counted::is_global")]
    pub accuracy: Counted,
}

/// How data without splits are parted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Parting {
    /// This share of the clusters of each class measures.
    Share(f64),
    /// So many images of each class train.
    PerClass(usize),
}

impl Target {
    /// How data without splits are parted, where that is said.
    pub(crate) fn parting(&self) -> Option<Parting> {
        self.train_per_class.map(Parting::PerClass).or(self.test_share.map(Parting::Share))
    }
}

/// How accuracy on the target task is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// The share of the test images that are called right.
    #[default]
    Global,
    /// The mean over classes of that share of each class, so that a class of few images counts as much as one of many: usual for Pets, Flowers-102,
    /// Caltech and Aircraft.
    MeanPerClass,
}

impl Counted {
    /// Whether it is the share of all images.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    pub(crate) fn is_global(&self) -> bool {
        *self == Self::Global
    }

    /// What such an accuracy is called.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Global => "accuracy",
            Self::MeanPerClass => "mean accuracy per class",
        }
    }
}

/// Which images of a split are used.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ViewSpec {
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<usize>,
    /// Take equally many per value of these columns (`label` is the class); images whose value is not known are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balance: Vec<String>,
}

/// Which of the training images are used, so that an attribute says as much of the label as is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Rebalance {
    /// A column.
    pub attribute: String,
    /// Share of a class's images that have the value which goes with it; none: every group (label x value) has the same size.
    pub correlation: Option<f64>,
    /// The value that goes with each class; with two classes and two values the first goes with the first where absent.
    pub aligned: Option<BTreeMap<String, String>>,
    /// At most so many images.
    pub limit: Option<usize>,
}

impl TargetData {
    /// What is known beside the pixels.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            classes: &self.classes,
            train: self.train.records(),
            test: self.test.records(),
            test_clusters: self.test.clusters(),
            unusable: &self.unusable,
            warnings: &self.warnings,
        }
    }
}

impl Rebalance {
    /// The images of a training view that are used, in ascending order.
    pub(crate) fn of(&self, train: &[Record], classes: &[String], seed: u64) -> Result<Vec<usize>, DataError> {
        view::rebalanced(train, classes, self, seed)
    }
}

impl std::fmt::Display for Rebalance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.correlation {
            Some(at) => write!(f, "{} at {at}", self.attribute)?,
            None => write!(f, "balanced over {}", self.attribute)?,
        }
        self.limit.map_or(Ok(()), |limit| write!(f, ", {limit} images"))
    }
}

/// A target task, opened: both views, ready to be decoded image by image.
#[derive(Clone, Debug)]
pub struct TargetData {
    /// Class names by label.
    pub classes: Vec<String>,
    /// The images that train.
    pub train: Dataset,
    /// The images that measure.
    pub test: Dataset,
    /// Images of the views that do not decode; they are left out.
    pub broken: Vec<Broken>,
    /// Columns that are there and can be no attribute, and why.
    pub unusable: BTreeMap<String, String>,
    /// What the user should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Opens a target task: applies its views and decodes every image of them once, so that broken ones are known now.
///
/// `base` is the folder of the policy; `seed` is the policy's, every draw has a purpose of its own.
pub(crate) fn open(target: &Target, base: &Path, seed: u64) -> Result<TargetData, DataError> {
    open_within(target, base, seed, &MemoryBudget::boundless())
}

/// [`open`] in bounded memory.
pub(crate) fn open_within(target: &Target, base: &Path, seed: u64, budget: &MemoryBudget) -> Result<TargetData, DataError> {
    checked(target, base, seed, budget, None).map_err(|error| error.about(&target.data))
}

/// `open` in bounded memory, for a network: what is decoded is kept at the network's size, and only so unless `fit` says otherwise.
pub fn open_fitted(target: &Target, base: &Path, seed: u64, fit: &Fit) -> Result<TargetData, DataError> {
    checked(target, base, seed, fit.budget, Some(fit)).map_err(|error| error.about(&target.data))
}

fn checked(target: &Target, base: &Path, seed: u64, budget: &MemoryBudget, fit: Option<&Fit>) -> Result<TargetData, DataError> {
    let spill = SpillBuffer::new(budget);
    let Views { classes, train, test, mut warnings, unusable } = views(target, base, seed, Want::Images(&spill))?;
    let total = train.len() + test.len();
    // Where not even that is left, the plan says so.
    budget.take(total as u64 * RECORD);
    let orientation = target.orientation.unwrap_or_else(|| target.data.usual_orientation());
    let of_test = fit.map(|fit| Fit { keep: false, ..*fit });
    let test = Dataset::checked(&classes, test, orientation, of_test.as_ref(), &BTreeSet::new())?;
    // Where the split is ours, an image that measures does not train.
    let measures: BTreeSet<Shown> = target.parting().iter().flat_map(|_| test.data.shown()).copied().collect();
    let train = Dataset::checked(&classes, train, orientation, fit, &measures)?;
    if !train.elsewhere.is_empty() {
        let (n, ids) = (train.elsewhere.len(), attributes::first(&train.elsewhere));
        warnings.push(format!("{n} training images are the same as test images in every pixel, and are left out: {ids}"));
    }
    let Checked { data: train, mut broken, mut turned, .. } = train;
    let Checked { data: test, broken: broken_test, turned: turned_test, .. } = test;
    broken.extend(broken_test);
    turned.extend(turned_test);
    if fit.is_some_and(|fit| !fit.keep) {
        spill.release();
    }
    if broken.len() as f64 > target.broken * total as f64 {
        let shown = broken.iter().take(3).map(|b| format!("{}: {}", b.id, b.reason)).collect::<Vec<_>>().join("; ");
        return Err(DataError::TooManyBroken { count: broken.len(), total, share: target.broken, shown });
    }
    for (dataset, split) in [(&train, Split::Train), (&test, Split::Test)] {
        view::check_classes(dataset.records().iter().map(|r| r.label), split, &classes)?;
    }
    if !broken.is_empty() {
        let ids: Vec<String> = broken.iter().map(|b| b.id.clone()).collect();
        let (n, [do_not, are]) = (ids.len(), [("does", "do"), ("is", "are")].map(|(one, many)| diag::agree(&ids.len(), one, many)));
        warnings.push(format!(
            "{n} of {} {do_not} not decode and {are} left out: {}",
            diag::count(total, "image"),
            attributes::first(&ids)
        ));
    }
    warnings.extend(shared(&train, &test, target.overlap)?);
    let copies = test.len() - test.shown().iter().collect::<BTreeSet<_>>().len();
    if copies > 0 {
        let all = test.len();
        let are = diag::agree(&copies, "is", "are");
        warnings.push(format!("{copies} of {all} test images {are} the same as another in every pixel: copies are one cluster"));
    }
    // Whoever said what to do with them knows.
    if !turned.is_empty() && target.orientation.is_none() && orientation == Orientation::Stored {
        let (count, names) = (turned.len(), attributes::first(&turned));
        let [ask, are] = [("asks", "ask"), ("is", "are")].map(|(one, many)| diag::agree(&count, one, many));
        warnings.push(format!(
            "{count} of {total} images {ask} to be turned or mirrored (EXIF orientation) and {are} used as stored, as {} does; \
             `orientation: upright` turns them: {names}",
            target.data.usual_loader()
        ));
    }
    Ok(TargetData { classes, train, test, broken, unusable, warnings })
}

/// What is to be said of test images that train too: an error where they are more than a share of all.
fn shared(train: &Dataset, test: &Dataset, share: f64) -> Result<Option<String>, DataError> {
    let trained: BTreeMap<&Shown, &Record> = train.shown().iter().zip(train.records()).collect();
    let both: Vec<(&Record, &Record)> =
        test.records().iter().zip(test.shown()).filter_map(|(record, shown)| Some((record, *trained.get(shown)?))).collect();
    let (count, total) = (both.len(), test.len());
    let name = |(test, train): &(&Record, &Record)| format!("{} is {}", test.id, train.id);
    let named = both.iter().take(3).map(name).collect::<Vec<_>>().join("; ");
    if count as f64 > share * total as f64 {
        return Err(DataError::Shared { count, total, share, named });
    }
    Ok((count > 0).then(|| {
        format!("{count} of {total} test images {} too, the same in every pixel: {named}", diag::agree(&count, "trains", "train"))
    }))
}

/// Both views of a target task, before any image is decoded.
struct Views {
    classes: Vec<String>,
    train: Vec<Entry>,
    test: Vec<Entry>,
    warnings: Vec<String>,
    unusable: BTreeMap<String, String>,
}

fn views(target: &Target, base: &Path, seed: u64, want: Want) -> Result<Views, DataError> {
    let splits: &[Option<Split>] = match (target.data.has_splits(), target.parting()) {
        (Some(true) | None, None) => &[Some(Split::Train), Some(Split::Test)],
        (Some(false) | None, Some(_)) => &[None],
        (Some(true), Some(_)) => return Err(DataError::SplitTwice),
        (Some(false), None) => return Err(DataError::NoSplits),
    };
    let labels = if target.label.is_some() { Labels::Column } else { Labels::Own };
    let mut source = source::read(&target.data, splits, base, want, labels)?;
    if let Some(path) = &target.attributes {
        source.warnings.extend(attributes::join(&base.join(path), &mut source.parts)?);
    }
    if let Some(label) = &target.label {
        label::by_column(label, &mut source)?;
    }
    let Source { mut classes, mut parts, mut warnings, unusable, .. } = source;
    if let Some(column) = &target.cluster {
        view::cluster_by(column, &mut parts).map_err(|e| e.explained(&unusable))?;
    }
    if let Some(wanted) = &target.classes {
        view::select(&mut classes, &mut parts, wanted)?;
    }
    if let [only] = classes.as_slice() {
        return Err(DataError::OneClass { name: only.clone() });
    }
    let (mut train, mut test) = (Vec::new(), Vec::new());
    let mut parts = parts.into_iter();
    if let (Some(first), second) = (parts.next(), parts.next()) {
        (train, test) = match (second, target.parting()) {
            (Some(second), _) => (first, second),
            (None, Some(parting)) => view::split(first, parting, seed),
            (None, None) => return Err(DataError::NoSplits),
        };
    }
    let train = view::apply(train, &target.train, Split::Train, &classes, seed, &mut warnings).map_err(|e| e.explained(&unusable))?;
    let test = view::apply(test, &target.test, Split::Test, &classes, seed, &mut warnings).map_err(|e| e.explained(&unusable))?;
    view::check_classes(train.iter().map(|e| e.record.label), Split::Train, &classes)?;
    view::check_classes(test.iter().map(|e| e.record.label), Split::Test, &classes)?;
    let trained: BTreeSet<&str> = train.iter().map(|e| &*e.record.cluster).collect();
    let shared: BTreeSet<&str> = test.iter().map(|e| &*e.record.cluster).filter(|c| trained.contains(c)).collect();
    if !shared.is_empty() {
        let names: Vec<String> = shared.iter().map(|c| (*c).to_owned()).collect();
        let (clusters, have) = (diag::count(names.len(), "cluster"), diag::agree(&names.len(), "has", "have"));
        warnings.push(format!("{clusters} {have} images in both train and test: {}", attributes::first(&names)));
    }
    Ok(Views { classes, train, test, warnings, unusable })
}

/// That the value of a column is not known of some images, of how many, and what comes of it.
pub(crate) fn unknown(column: &str, (some, all): (usize, usize), which: &str, so: &str) -> Option<String> {
    (some > 0).then(|| format!("`{column}` is not known of {some} of {all} {which} images: {so}"))
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

// The task: where its images lie is left out, because data move, and so is how many broken ones are put up with, and how what was measured is
// counted.
fingerprint!(Target as "task" { classes: "classes", train: "train", test: "test", test_share: "test_share", cluster: "cluster" }
    later { orientation: "orientation", label: "label", train_per_class: "train per class" } without { data, attributes, broken, overlap, accuracy });
fingerprint!(ViewSpec as "view" { limit: "limit", balance: "balance" });
fingerprint!(Rebalance as "rebalance" { attribute: "attribute", correlation: "correlation", aligned: "aligned", limit: "limit" });

#[cfg(test)]
pub(crate) mod tests;
