//! Hugging Face parquet files: `image {bytes, path}` or a plain binary column, and a label.
//!
//! The bytes of all pictures of the files read are kept, encoded: in memory while there is room, else on disk.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{Repetition, Type as Physical};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use ::parquet::record::reader::RowIter;
use ::parquet::record::{Field, Row as Values};
use ::parquet::schema::types::{Type, TypePtr};

use super::source::{Label, Picture, Row, Rows, Want, relative_id, resolve};
use super::{DataError, Split};

const IMAGES: [&str; 2] = ["image", "img"];
const LABELS: [&str; 3] = ["label", "labels", "fine_label"];

/// Reads every file that the path stands for, in the order of their names.
pub(super) fn read(base: &Path, path: &Path, split: Option<Split>, want: Want) -> Result<Rows, DataError> {
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
    let mut all = Rows::default();
    for file in files {
        let reader = File::open(&file).map_err(|source| DataError::Read { path: file.display().to_string(), source })?;
        let part = read_file(reader, &relative_id(&file, &root), want)?;
        match (&all.classes, &part.classes) {
            (Some(one), Some(other)) if one != other => {
                return Err(DataError::ClassNamesDiffer { one: one.join(", "), other: other.join(", ") });
            }
            (None, Some(_)) => all.classes = part.classes,
            _ => {}
        }
        all.list.extend(part.list);
    }
    Ok(all)
}

/// Reads one file; `name` is what its pictures' ids start with.
pub(super) fn read_file<R: ChunkReader + 'static>(input: R, name: &str, want: Want) -> Result<Rows, DataError> {
    // The parquet crate returns errors for most broken files and panics on some: both say the same to the user.
    match catch_unwind(AssertUnwindSafe(|| read_checked(input, name, want))) {
        Ok(result) => result,
        Err(_) => Err(DataError::Parquet { file: name.to_owned(), reason: "its pages contradict its footer".to_owned() }),
    }
}

fn read_checked<R: ChunkReader + 'static>(input: R, name: &str, want: Want) -> Result<Rows, DataError> {
    let broken = |e: ParquetError| DataError::Parquet { file: name.to_owned(), reason: e.to_string() };
    let reader = SerializedFileReader::new(input).map_err(broken)?;
    let footer = reader.metadata().file_metadata();
    let layout = Layout::of(footer.schema(), name)?;
    let names = footer.key_value_metadata().and_then(|pairs| class_names(pairs, layout.label.name()));
    let fields = layout.projection(want).map_err(broken)?;
    let mut rows = Vec::new();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(broken)?;
        let projection = Type::group_type_builder(footer.schema().name()).with_fields(fields.clone()).build().map_err(broken)?;
        for values in RowIter::from_row_group(Some(projection), &*group).map_err(broken)? {
            let values = values.map_err(broken)?;
            let id = format!("{name}:{}", rows.len());
            rows.push(layout.row(values, id, want)?);
        }
    }
    let expected = usize::try_from(footer.num_rows()).unwrap_or_default();
    if rows.len() != expected {
        return Err(DataError::Parquet { file: name.to_owned(), reason: format!("it says {expected} rows and holds {}", rows.len()) });
    }
    let classes = names.filter(|_| rows.iter().all(|row| matches!(row.label, Label::Number(_))));
    Ok(Rows { classes, list: rows, ..Rows::default() })
}

/// Which columns are what.
struct Layout {
    image: TypePtr,
    label: TypePtr,
    extra: Vec<TypePtr>,
}

impl Layout {
    fn of(schema: &Type, file: &str) -> Result<Self, DataError> {
        let columns = schema.get_fields();
        let find = |names: &[&str]| names.iter().find_map(|name| columns.iter().find(|c| c.name() == *name)).cloned();
        let missing = |wanted: &[&str]| DataError::NoColumn {
            file: file.to_owned(),
            wanted: wanted.join(" or "),
            columns: columns.iter().map(|c| c.name()).collect::<Vec<_>>().join(", "),
        };
        let image = find(&IMAGES).filter(|c| !repeated(c)).ok_or_else(|| missing(&IMAGES))?;
        let binary = |c: &Type| c.is_primitive() && c.get_physical_type() == Physical::BYTE_ARRAY && !repeated(c);
        let holds_bytes =
            if image.is_group() { image.get_fields().iter().any(|child| child.name() == "bytes" && binary(child)) } else { binary(&image) };
        if !holds_bytes {
            return Err(DataError::Parquet {
                file: file.to_owned(),
                reason: format!(
                    "its column `{}` holds no encoded pictures (wanted: binary, or a struct with binary `bytes`)",
                    image.name()
                ),
            });
        }
        let label = find(&LABELS).filter(|c| simple(c)).ok_or_else(|| missing(&LABELS))?;
        let extra = columns.iter().filter(|c| c.name() != image.name() && c.name() != label.name() && simple(c)).cloned().collect();
        Ok(Self { image, label, extra })
    }

    fn projection(&self, want: Want) -> Result<Vec<TypePtr>, ParquetError> {
        let mut fields = vec![self.label.clone()];
        fields.extend(self.extra.iter().cloned());
        if matches!(want, Want::Pictures(_)) {
            fields.push(if self.image.is_group() {
                let bytes = self.image.get_fields().iter().filter(|child| child.name() == "bytes").cloned().collect();
                let repetition = self.image.get_basic_info().repetition();
                let group = Type::group_type_builder(self.image.name()).with_repetition(repetition).with_fields(bytes).build()?;
                Arc::new(group)
            } else {
                self.image.clone()
            });
        }
        Ok(fields)
    }

    fn row(&self, values: Values, id: String, want: Want) -> Result<Row, DataError> {
        let mut label = None;
        let mut attributes = std::collections::BTreeMap::new();
        let mut picture = Picture::Missing(if matches!(want, Want::Index) { "it was not asked for" } else { "its bytes are null" });
        for (column, value) in values.into_columns() {
            if column == self.label.name() {
                label = match (&value, text(&value)) {
                    (Field::Str(_) | Field::Bool(_), Some(name)) => Some(Label::Name(name)),
                    // A number too large for i64 is too large for a label.
                    (_, number) => number.map(|n| Label::Number(n.parse().unwrap_or(i64::MAX))),
                };
            } else if column == self.image.name() {
                let inner = match value {
                    Field::Group(row) => row.into_columns().into_iter().next().map_or(Field::Null, |(_, bytes)| bytes),
                    other => other,
                };
                if let (Field::Bytes(bytes), Want::Pictures(heap)) = (inner, want) {
                    picture = Picture::Encoded(heap.keep(bytes.data())?);
                }
            } else {
                // A null is a value that is not known.
                attributes.insert(column, text(&value).unwrap_or_default());
            }
        }
        let label = label.ok_or_else(|| DataError::NoLabel { id: id.clone() })?;
        Ok(Row { id, label, attributes, picture })
    }
}

fn repeated(column: &Type) -> bool {
    let info = column.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// A flat column of text, whole numbers or truth values.
fn simple(column: &Type) -> bool {
    column.is_primitive()
        && !repeated(column)
        && matches!(column.get_physical_type(), Physical::BOOLEAN | Physical::INT32 | Physical::INT64 | Physical::BYTE_ARRAY)
}

fn text(value: &Field) -> Option<String> {
    Some(match value {
        Field::Str(v) => v.clone(),
        Field::Bool(v) => v.to_string(),
        Field::Byte(v) => v.to_string(),
        Field::Short(v) => v.to_string(),
        Field::Int(v) => v.to_string(),
        Field::Long(v) => v.to_string(),
        Field::UByte(v) => v.to_string(),
        Field::UShort(v) => v.to_string(),
        Field::UInt(v) => v.to_string(),
        Field::ULong(v) => v.to_string(),
        _ => return None,
    })
}

/// The names of a `ClassLabel` feature in the schema's `huggingface` metadata; absent or odd metadata names nothing.
fn class_names(pairs: &[KeyValue], label: &str) -> Option<Vec<String>> {
    let text = pairs.iter().find(|pair| pair.key == "huggingface")?.value.as_ref()?;
    let metadata: serde_json::Value = serde_json::from_str(text).ok()?;
    let names = metadata.get("info")?.get("features")?.get(label)?.get("names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}
