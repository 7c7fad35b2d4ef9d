//! What every format hands over: rows with labels and images that are not decoded yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decode;
use super::texts::{Attributes, Texts};
use super::{DataError, DataSpec, Orientation, Split};
use crate::pixels::Image;
use crate::store::{self, Kept, SpillBuffer, sha256};

/// Most classes of a data set: class numbers have two bytes.
const MAX_CLASSES: usize = 1 << 16;

/// What is hashed before the hash of the bytes of an image that was turned.
const TURNED: &[u8] = b"heirloom image turned upright 1\n";

/// One image, decoded.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) image: Image,
    /// Of the bytes that it came from, and of what was done with them.
    pub(super) hash: Hash,
    /// Whether it asks to be turned or mirrored.
    pub(super) tagged: bool,
}

/// Whether the images themselves are wanted, or only what is known about them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want<'a> {
    /// Ids, labels and attributes.
    Index,
    /// The images too; what is no file of its own is kept here.
    Images(&'a SpillBuffer<'a>),
}

/// The SHA-256 of the bytes that an image came from.
pub(super) type Hash = [u8; 32];

/// Where the bytes of one image are.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    /// Not asked for, or not there: why.
    Missing(&'static str),
    /// An encoded file that is kept in memory or on disk.
    Encoded(Kept),
    /// An encoded file on disk.
    File(PathBuf),
    /// 8-bit pixels inside a larger buffer, shared by its images.
    Raw {
        /// The whole buffer.
        buffer: Arc<[u8]>,
        /// Where this image starts.
        offset: usize,
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// 1 for gray, 3 for planes of red, green and blue.
        channels: usize,
    },
}

impl Stored {
    /// The pixels, and the hash of what they came from.
    pub(super) fn read(&self, orientation: Orientation) -> Result<Opened, String> {
        let decoded = |bytes: &[u8]| {
            let (image, tagged) = decode::decode(bytes, orientation).map_err(|e| e.to_string())?;
            let hash = sha256(bytes);
            // The same bytes shown otherwise are another image.
            let turned = tagged && orientation == Orientation::Upright;
            let hash = if turned { sha256(&[TURNED, &hash].concat()) } else { hash };
            Ok(Opened { image, hash, tagged })
        };
        match self {
            Self::Missing(why) => Err((*why).to_owned()),
            Self::Encoded(kept) => decoded(&kept.bytes().map_err(|e| e.to_string())?),
            Self::File(path) => decoded(&read_bounded(path)?),
            Self::Raw { buffer, offset, width, height, channels } => {
                let area = width * height;
                let bytes = buffer.get(*offset..offset + area * channels).ok_or("its bytes end early")?;
                if area == 0 {
                    return Err(format!("it is {width}x{height} pixels"));
                }
                let rgb = if *channels == 1 {
                    bytes.iter().flat_map(|&gray| [gray; 3]).collect()
                } else {
                    (0..area).flat_map(|i| (0..3).map(move |plane| bytes.get(plane * area + i).copied().unwrap_or_default())).collect()
                };
                Ok(Opened { image: Image { width: *width, height: *height, rgb }, hash: sha256(bytes), tagged: false })
            }
        }
    }
}

/// An encoded image of more bytes than its pixels could have is not read.
fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    store::read(path, 8 * decode::MAX_PIXELS).map_err(|e| e.to_string())
}

/// A label as a file gives it.
#[derive(Clone, Debug)]
pub(super) enum Label {
    /// A number, not believed yet.
    Number(i64),
    /// The class by name.
    Name(Arc<str>),
    /// The file gives none.
    Absent,
}

/// One image as a file gives it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) label: Label,
    pub(super) attributes: Attributes,
    pub(super) stored: Stored,
}

/// One split, or all there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// Class names, where the format declares them.
    pub(super) classes: Option<Vec<String>>,
    /// Names of classes that are there without an image.
    pub(super) empty: Vec<String>,
    pub(super) list: Vec<Row>,
    /// Columns that can be no attribute, and why.
    pub(super) unusable: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

/// One image with its label known to be an index into the classes.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: super::Record,
    pub(super) stored: Stored,
}

/// All parts read from one specification, with one list of classes.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) classes: Vec<String>,
    pub(super) parts: Vec<Vec<Entry>>,
    pub(super) warnings: Vec<String>,
    /// As in [`Rows`].
    pub(super) unusable: BTreeMap<String, String>,
    /// Whether the labels are those of the data. Where a column is to give them, they may be none.
    pub(super) labelled: bool,
}

/// Who gives an image its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels {
    /// The data do.
    Own,
    /// A column will: labels of the data that cannot be classes are no mistake.
    Column,
}

/// Reads the parts named (`None`: data without splits) and gives them one list of classes.
pub(super) fn read(spec: &DataSpec, splits: &[Option<Split>], base: &Path, want: Want, labels: Labels) -> Result<Source, DataError> {
    assemble(splits.iter().map(|split| spec.read(*split, base, want)).collect::<Result<_, _>>()?, labels)
}

pub(super) fn assemble(parts: Vec<Rows>, labels: Labels) -> Result<Source, DataError> {
    let (classes, labelled) = match (class_names(&parts), labels) {
        (Ok(names), _) => (names, true),
        (Err(_), Labels::Column) => (Vec::new(), false),
        (Err(error), Labels::Own) => return Err(error),
    };
    let indices: BTreeMap<&str, usize> = classes.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    let mut source = Source { classes: classes.clone(), parts: Vec::new(), warnings: Vec::new(), unusable: BTreeMap::new(), labelled };
    for part in parts {
        source.warnings.extend(part.warnings);
        source.unusable.extend(part.unusable);
        let entries = part.list.into_iter().map(|row| {
            let label = match &row.label {
                Label::Number(number) => usize::try_from(*number).ok().filter(|&i| i < classes.len()),
                Label::Name(name) => indices.get(&**name).copied(),
                Label::Absent => None,
            };
            let label = match (label, &row.label, labels) {
                (Some(label), ..) => label,
                (None, _, Labels::Column) => {
                    source.labelled = false;
                    0
                }
                (None, Label::Absent, Labels::Own) => return Err(DataError::NoLabel { id: row.id }),
                (None, label, Labels::Own) => {
                    return Err(DataError::Label { id: row.id, label: label.to_string(), classes: classes.len() });
                }
            };
            let id: Arc<str> = row.id.into();
            let record = super::Record { cluster: id.clone(), id, label, attributes: row.attributes };
            Ok(Entry { record, stored: row.stored })
        });
        source.parts.push(entries.collect::<Result<_, DataError>>()?);
    }
    Ok(source)
}

fn class_names(parts: &[Rows]) -> Result<Vec<String>, DataError> {
    let declared: Vec<&Vec<String>> = parts.iter().filter_map(|p| p.classes.as_ref()).collect();
    if let Some(first) = declared.first() {
        if let Some(other) = declared.iter().find(|names| names != &first) {
            return Err(DataError::ClassNamesDiffer { one: first.join(", "), other: other.join(", ") });
        }
        let mut sorted: Vec<&String> = first.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(DataError::ClassTwice { name: pair[0].clone() });
        }
        return Ok((*first).clone());
    }
    let rows = || parts.iter().flat_map(|p| &p.list);
    if rows().next().is_some() && rows().all(|row| matches!(row.label, Label::Absent)) {
        let columns: BTreeSet<&str> = rows().flat_map(|row| row.attributes.columns()).collect();
        return Err(DataError::NoClass { columns: columns.into_iter().take(50).collect::<Vec<_>>().join(", ") });
    }
    let named = |row: &'_ Row| if let Label::Name(name) = &row.label { Some(name.clone()) } else { None };
    let names: BTreeSet<Arc<str>> = rows().filter_map(named).collect();
    if !names.is_empty() {
        if let Some(row) = rows().find(|r| matches!(r.label, Label::Number(_))) {
            return Err(DataError::MixedLabels { id: row.id.clone() });
        }
        let empty = parts.iter().flat_map(|p| p.empty.iter().map(String::as_str));
        let names: BTreeSet<&str> = names.iter().map(|name| &**name).chain(empty).collect();
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        few_enough(&names)?;
        return Ok(names);
    }
    let mut count = 0;
    for row in rows() {
        if let Label::Number(number) = row.label {
            let index = usize::try_from(number).ok().filter(|&i| i < MAX_CLASSES);
            let error = || DataError::LabelRange { id: row.id.clone(), label: number, most: MAX_CLASSES - 1 };
            count = count.max(index.ok_or_else(error)? + 1);
        }
    }
    Ok((0..count).map(|i| i.to_string()).collect())
}

/// Refuses more classes than can be counted.
pub(super) fn few_enough(names: &[String]) -> Result<(), DataError> {
    if names.len() > MAX_CLASSES { Err(DataError::ManyClasses { classes: names.len(), most: MAX_CLASSES }) } else { Ok(()) }
}

impl Label {
    /// The same, a name shared with those that were met.
    pub(super) fn shared(self, texts: &mut Texts) -> Self {
        match self {
            Self::Name(name) => Self::Name(texts.text(&name)),
            other => other,
        }
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Absent => f.write_str("null"),
        }
    }
}

/// The path for one split, and the folder that ids are relative to: the part before the first `{split}` or `*`.
pub(super) fn resolve(path: &Path, split: Option<Split>) -> (PathBuf, PathBuf) {
    let name = match split {
        Some(Split::Test) => "test",
        _ => "train",
    };
    let resolved = PathBuf::from(path.to_string_lossy().replace("{split}", name));
    let varies = |c: &std::path::Component<'_>| {
        let text = c.as_os_str().to_string_lossy();
        text.contains("{split}") || text.contains('*')
    };
    let fixed: PathBuf = path.components().take_while(|c| !varies(c)).collect();
    (resolved, fixed)
}

/// A file of a data set that is opened, with what its images' ids begin with.
pub(super) struct Part {
    pub(super) file: File,
    pub(super) id: String,
}

/// The files that a path stands for, in the order of their names, each opened when it is its turn.
pub(super) fn files(base: &Path, path: &Path, split: Option<Split>) -> Result<impl Iterator<Item = Result<Part, DataError>>, DataError> {
    let (resolved, root) = resolve(&base.join(path), split);
    // Only `*` is a wildcard here: brackets and question marks are part of names.
    let pattern = resolved.to_string_lossy().split('*').map(glob::Pattern::escape).collect::<Vec<_>>().join("*");
    let no_files = || DataError::NoFiles { path: resolved.display().to_string() };
    let matches = glob::glob(&pattern).map_err(|_| no_files())?;
    let unreadable = |e: glob::GlobError| DataError::Read { path: e.path().display().to_string(), source: e.into() };
    let mut files = matches.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    // A link that leads nowhere stays: opening it says so.
    files.retain(|file| !file.is_dir());
    files.sort_unstable();
    if files.is_empty() {
        return Err(no_files());
    }
    let root = if root == resolved { root.parent().map(Path::to_path_buf).unwrap_or_default() } else { root };
    Ok(files.into_iter().map(move |path| {
        let file = store::open(&path).map_err(|source| DataError::Read { path: path.display().to_string(), source })?;
        Ok(Part { id: relative_id(&path, &root), file })
    }))
}

/// A path inside the data set as an id: relative, with forward slashes on every system.
pub(super) fn relative_id(file: &Path, root: &Path) -> String {
    let inside = file.strip_prefix(root).unwrap_or(file);
    let parts: Vec<_> = inside.components().map(|c| c.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}
