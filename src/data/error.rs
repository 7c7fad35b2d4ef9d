//! Why data cannot be used, and what to do about it.

use std::collections::BTreeMap;

use super::{DataSpec, Split};
use crate::diag::{self, Class, Explain};

/// Why data cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
pub enum DataError {
    /// What is wrong with a data set as a whole, and which.
    #[error("data {data}: {source}")]
    Set { data: String, source: Box<DataError> },
    /// More classes than can be counted.
    #[error("it has {}, {most} are the most", diag::count(*classes, "class"))]
    ManyClasses { classes: usize, most: usize },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    /// What does not fit into memory cannot be kept on disk.
    #[error(transparent)]
    Rows(#[from] crate::store::RowsError),
    /// A pattern matches nothing.
    #[error(
        "no file matches {path}; relative paths start at the folder of the file that names them, `{{split}}` stands for train or test, `*` for anything"
    )]
    NoFiles { path: String },
    /// Not a data set inside the program.
    #[error("no embedded data set is called `{name}`; there are: {known}")]
    UnknownEmbedded { name: String, known: String },
    /// A parquet file that is broken or holds something else.
    #[error("{file}: not a readable parquet file of images: {reason}")]
    Parquet { file: String, reason: String },
    /// What a format does not read, for a reason of its own.
    #[error("{place}: {reason}")]
    Refused { place: String, reason: String, hint: String },
    /// A binary file that breaks its format.
    #[error("{path}: {reason}")]
    Format { path: String, reason: String },
    /// A folder without sub-folders of images.
    #[error("{path}: it has no sub-folders of images, one for each class{found}")]
    NoFolders { path: String, found: String },
    /// An attributes file that cannot be joined.
    #[error("attributes {path}: {reason}")]
    Csv { path: String, reason: String },
    /// A file of attributes for other images.
    #[error("{path}: none of its ids is one of the data's (it has `{theirs}`, the data have `{ours}`)")]
    Unjoined {
        /// The file.
        path: String,
        /// One of its ids.
        theirs: String,
        /// One of the data's.
        ours: String,
    },
    /// A link out of the data folder.
    #[error("{path} links to a place outside {root}; copy the file into it")]
    Outside { path: String, root: String },
    /// A column that can be no attribute.
    #[error("the column `{name}` {why}")]
    Column { name: String, why: String },
    /// A column that can be no label.
    #[error("{file}: its label column `{column}` {why}")]
    LabelColumn { file: String, column: String, why: String },
    /// A label that cannot be a class.
    #[error("{id}: its label {value} is neither a whole number nor a name")]
    OddLabel { id: String, value: String },
    /// A null label.
    #[error("{id}: its label is null")]
    NoLabel { id: String },
    /// A label that is no class.
    #[error("{id}: its label {label} is none of the {} (labels count from 0)", diag::count(*classes, "class"))]
    Label { id: String, label: String, classes: usize },
    /// A number that no label can be.
    #[error("{id}: its label is {label}; labels are whole numbers from 0 to {most}")]
    LabelRange { id: String, label: i64, most: usize },
    /// Numbers in one file, names in another.
    #[error("{id}: its label is a number, others are names")]
    MixedLabels { id: String },
    /// Two lists of class names.
    #[error("files of one data set name their classes differently: {one} / {other}")]
    ClassNamesDiffer { one: String, other: String },
    /// One name for two classes.
    #[error("the class `{name}` is there twice")]
    ClassTwice { name: String },
    /// A class or column that does not exist.
    #[error("no {what} is called `{name}`{hint}; there are: {known}")]
    Unknown { what: &'static str, name: String, hint: String, known: String },
    /// No image can be put into a group.
    #[error("{split}: no image has a value in column `{column}`, so that there is nothing to balance")]
    NoValue { split: Split, column: String },
    /// Balance over a group without images.
    #[error("{split}: no image has {group}, so that `balance` would leave none")]
    EmptyGroup { split: Split, group: String },
    /// An attribute that tells nothing apart.
    #[error("all training images have the same `{column}` ({value}): there is nothing to balance")]
    OneValue { column: String, value: String },
    /// No value named for each class.
    #[error(
        "`correlation` with `{column}` needs to know which value goes with which class: name one for each of the {classes} classes under \
         `aligned` (its values are {values})"
    )]
    NotAligned { column: String, classes: usize, values: String },
    /// Fewer images than groups.
    #[error("{split}: `limit: {limit}` is less than the {groups} groups of `balance`")]
    LimitTooSmall { split: Split, limit: usize, groups: usize },
    /// Nothing trains, or nothing measures.
    #[error("{split}: there are no images")]
    EmptySplit { split: Split },
    /// Classes without images.
    #[error("{split}: {} {} no images ({names}); {advice}", diag::count(*count, "class"), diag::agree(count, "has", "have"))]
    EmptyClasses { split: Split, count: usize, names: String, advice: String },
    /// Nothing to tell apart.
    #[error("there is one class, `{name}`: a target task tells at least two apart")]
    OneClass { name: String },
    /// No class at all.
    #[error("its images have no class of their own; its columns are: {columns}")]
    NoClass { columns: String },
    /// Values that no class is given to: by a map (`mapped`), or because they are none.
    #[error("{what} {left} of {}: {values}", diag::count(*total, "image"))]
    Unmapped { what: String, left: usize, total: usize, values: String, mapped: bool },
    /// A file that may say which images train, and does not.
    #[error(
        "the file does not say which images train and which measure: give it a column `split` (train, test), or give `test_share` or `train_per_class`"
    )]
    NoSplitColumn,
    /// Neither splits nor a share.
    #[error("the data has no train and test splits: put `{{split}}` into its path, or give `test_share` or `train_per_class`")]
    NoSplits,
    /// Folders of two splits, one of which is called otherwise.
    #[error("{path}: it has the folders `train` and `{found}`, where `train` and `{wanted}` are expected")]
    OtherSplit { path: String, found: &'static str, wanted: &'static str },
    /// Both splits and a share.
    #[error("the data has train and test splits of its own: leave `test_share` and `train_per_class` out")]
    SplitTwice,
    /// More broken images than the target puts up with.
    #[error("{count} of {} {} not decode, more than the share of {share} that `broken` allows: {shown}", diag::count(*total, "image"), diag::agree(count, "does", "do"))]
    TooManyBroken { count: usize, total: usize, share: f64, shown: String },
    /// Images that train and measure.
    #[error(
        "{count} of {total} test images {} too, the same in every pixel, more than the share of {share} that `overlap` allows: {named}",
        diag::agree(count, "is a training image", "are training images")
    )]
    Shared { count: usize, total: usize, share: f64, named: String },
    /// One image cannot be brought to the network's size.
    #[error("{id}: {source}")]
    Misfit { id: String, source: crate::transform::geometry::FitError },
    /// One image does not decode.
    #[error("{id}: the image does not decode: {reason}")]
    Image { id: String, reason: String },
    /// An index beyond the end.
    #[error("there is no image {index}: the data set has {len}")]
    NoSuchImage { index: usize, len: usize },
}

impl DataError {
    /// A column that was not found is one that cannot be used, where it is that.
    pub(super) fn explained(self, unusable: &BTreeMap<String, String>) -> Self {
        match &self {
            Self::Unknown { what: "column", name, .. } => match unusable.get(name) {
                Some(why) => Self::Column { name: name.clone(), why: why.clone() },
                None => self,
            },
            _ => self,
        }
    }

    /// The same, with the data set where the message names none of its files.
    pub(super) fn about(self, data: &DataSpec) -> Self {
        match self {
            Self::Unknown { .. }
            | Self::Column { .. }
            | Self::ClassTwice { .. }
            | Self::ClassNamesDiffer { .. }
            | Self::NoValue { .. }
            | Self::EmptyGroup { .. }
            | Self::LimitTooSmall { .. }
            | Self::EmptySplit { .. }
            | Self::EmptyClasses { .. }
            | Self::OneClass { .. }
            | Self::NoClass { .. }
            | Self::Unmapped { .. }
            | Self::NoSplits
            | Self::NoSplitColumn
            | Self::SplitTwice
            | Self::TooManyBroken { .. }
            | Self::Shared { .. } => Self::Set { data: data.to_string(), source: Box::new(self) },
            named => named,
        }
    }
}

impl Explain for DataError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Set { source, .. } => Some(&**source),
            Self::Rows(error) => Some(error),
            _ => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            // The policy asks for what the data, in good order, do not have.
            Self::NoFiles { .. }
            | Self::UnknownEmbedded { .. }
            | Self::Unknown { .. }
            | Self::Column { .. }
            | Self::OneValue { .. }
            | Self::Unjoined { .. }
            | Self::NotAligned { .. }
            | Self::EmptyGroup { .. }
            | Self::LimitTooSmall { .. }
            | Self::NoClass { .. }
            | Self::Unmapped { .. }
            | Self::NoSplits
            | Self::NoSplitColumn
            | Self::OtherSplit { .. }
            | Self::Misfit { .. }
            | Self::SplitTwice => Class::Usage,
            _ => self.inner().map_or(Class::Fault, Explain::class),
        }
    }

    fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::Read { .. } => "put the file there and make it readable, or correct `target` in the policy",
            Self::Parquet { .. } | Self::Format { .. } => {
                "the file is damaged, was not copied in full or is of another format: fetch it again, or correct `target.data` in the policy"
            }
            Self::NoFolders { .. } => {
                "put each class's images into a folder of its own, as JPEG, PNG, WebP, BMP, PPM or TIFF files; or correct `target.data` in the policy"
            }
            Self::Refused { hint, .. } => hint,
            Self::Column { .. } | Self::LabelColumn { .. } => {
                "write what is wanted of it into a column of text or numbers, or into a CSV file (`attributes`)"
            }
            Self::Csv { .. } => {
                "the file starts with a line of column names, separated by commas, `id` among them, and has one line per image"
            }
            Self::Unjoined { .. } => "write the ids as the data have them, or name the file that belongs to these images",
            Self::NoLabel { .. } | Self::OddLabel { .. } | Self::Label { .. } | Self::LabelRange { .. } | Self::MixedLabels { .. } => {
                "correct the label in the file, or the class names it declares"
            }
            Self::ClassTwice { .. } | Self::ClassNamesDiffer { .. } => "give every class one name, the same in all files",
            Self::Unknown { .. } => "correct the name under `target` in the policy",
            Self::NoValue { .. } => "fill in the values, or balance over another column; empty, NaN, None, NA, N/A and null are no values",
            Self::EmptyGroup { .. } => "take a column out of `balance`, or use only classes (`classes`) that have every group",
            Self::LimitTooSmall { .. } => "raise the limit, or take a column out of `balance`",
            Self::EmptySplit { .. } => {
                "a target task needs images that train and others that measure: add some, or change `target` in the policy"
            }
            Self::OtherSplit { .. } => "rename the second one; or name the folder of one of them, of which a share will measure",
            Self::NoClass { .. } => "say which column is the class: `label: { column: NAME }` under `target` in the policy",
            Self::Unmapped { mapped: true, .. } => "add these values to `map`, or leave such images out: `others: drop`",
            Self::Unmapped { mapped: false, .. } => "fill in the values, or leave such images out: `others: drop`",
            Self::OneClass { .. } => "add a second class, or more names under `classes`",
            Self::Set { .. } | Self::Rows(_) => return self.inner().and_then(Explain::hint),
            Self::TooManyBroken { .. } => "repair or remove these images, or raise `target.broken` in the policy",
            Self::Shared { .. } => {
                "what was learnt by heart measures nothing: take these images out of one of the two, or raise `target.overlap` in the policy"
            }
            _ => return None,
        })
    }
}
