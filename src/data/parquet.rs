//! Hugging Face parquet files: `image {bytes, path}` or a plain binary column, and a label.
//!
//! The bytes of all images of the files read are kept, encoded: in memory while there is room, else on disk. What a file may become is held
//! against its bytes before any row is read (`bounds`).

mod bounds;
mod format;
mod headers;
mod pages;
mod thrift;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{Compression, Encoding, Type as Physical};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{KeyValue, RowGroupMetaData};
use ::parquet::file::reader::{ChunkReader, RowGroupReader as _};
use ::parquet::record::{Field, Row as Values};
use ::parquet::schema::types::{Type, TypePtr};

use super::cells::{Cell, nanoseconds, repeated, unusable};
use super::format::{Format, Kind, Splits, file_or_below};
use super::guard::guarded;
use super::source::{Label, Part, Row, Rows, Stored, Want, files};
use super::texts::Texts;
use super::{DataError, DataSpec, Orientation, Split};
use bounds::Room;

const IMAGES: [&str; 2] = ["image", "img"];
const LABELS: [&str; 3] = ["label", "labels", "fine_label"];

pub(super) static FORMAT: Format = Format {
    name: "parquet",
    kind: Kind::Files,
    splits: Splits::Path,
    orientation: Orientation::Upright,
    loader: "Hugging Face `datasets`",
    redirect: |old, new| DataSpec::Parquet(file_or_below(old, new, "parquet")),
    read,
};

/// Reads every file that the path stands for, in the order of their names.
fn read(base: &Path, path: &Path, split: Option<Split>, want: Want) -> Result<Rows, DataError> {
    let mut all = Rows::default();
    for part in files(base, path, split)? {
        let Part { file, id } = part?;
        let part = read_file(file, &id, want)?;
        match (&all.classes, &part.classes) {
            (Some(one), Some(other)) if one != other => {
                return Err(DataError::ClassNamesDiffer { one: one.join(", "), other: other.join(", ") });
            }
            (None, Some(_)) => all.classes = part.classes,
            _ => {}
        }
        all.list.extend(part.list);
        all.unusable.extend(part.unusable);
    }
    Ok(all)
}

/// Reads one file; `name` is what its images' ids start with.
pub(super) fn read_file<R: ChunkReader + 'static>(input: R, name: &str, want: Want) -> Result<Rows, DataError> {
    // The parquet crate returns errors for most broken files and panics on some: both say the same to the user.
    let contradiction = || DataError::Parquet { file: name.to_owned(), reason: "its pages contradict its footer".to_owned() };
    guarded(|| read_checked(input, name, want)).unwrap_or_else(|| Err(contradiction()))
}

fn read_checked<R: ChunkReader + 'static>(input: R, name: &str, want: Want) -> Result<Rows, DataError> {
    let bytes = input.len();
    let (room, kept) = (Arc::new(Room::new(bytes)), Room::new(bytes));
    let broken =
        |e: ParquetError| room.refusal(name).unwrap_or_else(|| DataError::Parquet { file: name.to_owned(), reason: pages::plain(e) });
    let metadata = pages::footer(&input).map_err(broken)?;
    let input = Arc::new(input);
    let footer = metadata.file_metadata();
    let features = footer.key_value_metadata().and_then(|pairs| features(pairs)).unwrap_or_default();
    let mut layout = Layout::of(footer.schema(), &features, name)?;
    let names = layout.label.as_ref().and_then(|label| class_names(&features, label.name()));
    let fields = layout.projection(want).map_err(broken)?;
    bounds::rows(&metadata, layout.extra.len() + usize::from(layout.label.is_some()), bytes, name)?;
    bounds::places(&metadata, &fields, bytes, name)?;
    let (mut rows, mut texts) = (Vec::new(), Texts::default());
    for group in metadata.row_groups() {
        check_format(group, &fields, name)?;
        let projection = Type::group_type_builder(footer.schema().name()).with_fields(fields.clone()).build().map_err(broken)?;
        let checked = pages::Checked { file: Arc::clone(&input), metadata: group, room: &room };
        for values in checked.get_row_iter(Some(projection)).map_err(broken)? {
            let values = values.map_err(broken)?;
            let id = format!("{name}:{}", rows.len());
            rows.push(layout.row(values, id, (want, &kept), &mut texts).map_err(|error| kept.refusal(name).unwrap_or(error))?);
        }
    }
    let classes = names.filter(|_| rows.iter().all(|row| !matches!(row.label, Label::Name(_))));
    // What a column holds may only show in its last row.
    for row in &mut rows {
        texts.leave_out(&layout.unusable, &mut row.attributes);
    }
    Ok(Rows { classes, list: rows, unusable: layout.unusable, ..Rows::default() })
}

/// Pages that are not read look like damage; what they are is in the footer.
fn check_format(group: &RowGroupMetaData, fields: &[TypePtr], file: &str) -> Result<(), DataError> {
    for chunk in group.columns() {
        let column = chunk.column_path().parts().first().cloned().unwrap_or_default();
        if !fields.iter().any(|field| field.name() == column) {
            continue;
        }
        let codec = match chunk.compression() {
            Compression::BROTLI(_) => Some("Brotli"),
            Compression::LZO => Some("LZO"),
            _ => None,
        };
        if let Some(codec) = codec {
            return Err(DataError::Refused {
                place: file.to_owned(),
                reason: format!("its column `{column}` is compressed with {codec}, which is not read"),
                hint: "write the file anew with Zstandard or Snappy: pq.write_table(pq.read_table(\"old.parquet\"), \"new.parquet\", compression=\"zstd\")"
                    .to_owned(),
            });
        }
        if chunk.encodings().any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY) {
            return Err(DataError::Refused {
                place: file.to_owned(),
                reason: format!("its column `{column}` has the encoding DELTA_BYTE_ARRAY, which is not read"),
                hint: "write the file anew with plain or dictionary pages: pq.write_table(pq.read_table(\"old.parquet\"), \"new.parquet\")"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

/// A column of an attribute.
struct Extra {
    column: TypePtr,
    /// The names that its numbers stand for.
    names: Option<Vec<String>>,
    nanoseconds: bool,
}

/// Which columns are what.
struct Layout {
    image: TypePtr,
    /// None: the policy may say which column is the class.
    label: Option<TypePtr>,
    extra: Vec<Extra>,
    unusable: BTreeMap<String, String>,
}

impl Layout {
    fn of(schema: &Type, features: &Features, file: &str) -> Result<Self, DataError> {
        let columns = schema.get_fields();
        let mut names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
        names.sort_unstable();
        if let Some((twice, _)) = names.iter().zip(names.iter().skip(1)).find(|(one, other)| one == other) {
            let reason = format!("two of its columns are called `{twice}`: which one is meant is not known");
            return Err(DataError::Parquet { file: file.to_owned(), reason });
        }
        let find = |names: &[&str]| names.iter().find_map(|name| columns.iter().find(|c| c.name() == *name)).cloned();
        let missing = |wanted: &[&str]| DataError::Refused {
            place: file.to_owned(),
            reason: format!(
                "there is no usable column {}; its columns are: {}",
                wanted.join(" or "),
                columns.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ")
            ),
            hint: "rename the column in the file".to_owned(),
        };
        let image = find(&IMAGES).filter(|c| !repeated(c)).ok_or_else(|| missing(&IMAGES))?;
        let binary = |c: &Type| c.is_primitive() && c.get_physical_type() == Physical::BYTE_ARRAY && !repeated(c);
        let holds_bytes =
            if image.is_group() { image.get_fields().iter().any(|child| child.name() == "bytes" && binary(child)) } else { binary(&image) };
        if !holds_bytes {
            return Err(DataError::Parquet {
                file: file.to_owned(),
                reason: format!("its column `{}` holds no encoded images (wanted: binary, or a struct with binary `bytes`)", image.name()),
            });
        }
        let label = find(&LABELS);
        if let Some((label, why)) = label.as_ref().and_then(|label| Some((label, unusable(label)?))) {
            let why = why.replace("an attribute is one value", "a label is one class");
            return Err(DataError::LabelColumn { file: file.to_owned(), column: label.name().to_owned(), why });
        }
        let mut layout = Self { image, label, extra: Vec::new(), unusable: BTreeMap::new() };
        let others = |c: &&TypePtr| c.name() != layout.image.name() && layout.label.as_ref().is_none_or(|label| c.name() != label.name());
        for column in columns.iter().filter(others).collect::<Vec<_>>() {
            if let Some(why) = unusable(column) {
                layout.unusable.insert(column.name().to_owned(), why.to_owned());
            } else {
                let (names, nanoseconds) = (class_names(features, column.name()), nanoseconds(column));
                layout.extra.push(Extra { column: column.clone(), names, nanoseconds });
            }
        }
        Ok(layout)
    }

    fn projection(&self, want: Want) -> Result<Vec<TypePtr>, ParquetError> {
        let mut fields: Vec<TypePtr> = self.label.iter().cloned().collect();
        fields.extend(self.extra.iter().map(|extra| extra.column.clone()));
        if matches!(want, Want::Images(_)) {
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

    /// One row; its values are in the order of [`Layout::projection`].
    fn row(&mut self, values: Values, id: String, (want, kept): (Want, &Room), texts: &mut Texts) -> Result<Row, DataError> {
        let mut values = values.into_columns().into_iter().map(|(_, value)| value);
        let label = match &self.label {
            None => Label::Absent,
            Some(of) => {
                let value = values.next().ok_or_else(|| DataError::NoLabel { id: id.clone() })?;
                labelled(&value, nanoseconds(of), &id)?.shared(texts)
            }
        };
        let mut known = Vec::with_capacity(self.extra.len());
        for (extra, value) in self.extra.iter().zip(&mut values) {
            let column = extra.column.name();
            if !self.unusable.contains_key(column) {
                match extra.value(&value) {
                    // A null is a value that is not known.
                    Ok(text) => known.push((column, text.unwrap_or_default())),
                    Err(why) => drop(self.unusable.insert(column.to_owned(), why)),
                }
            }
        }
        let attributes = texts.attributes(known.iter().map(|(column, text)| (*column, text.as_str())));
        let mut stored = Stored::Missing(if matches!(want, Want::Index) { "it was not asked for" } else { "its bytes are null" });
        let image = match values.next() {
            Some(Field::Group(row)) => row.into_columns().into_iter().next().map_or(Field::Null, |(_, bytes)| bytes),
            other => other.unwrap_or(Field::Null),
        };
        if let (Field::Bytes(bytes), Want::Images(spill)) = (image, want) {
            // An image of a dictionary may be that of every row.
            kept.take(bytes.len() as u64).map_err(|reason| DataError::Parquet { file: id.clone(), reason })?;
            stored = Stored::Encoded(spill.keep(bytes.data())?);
        }
        Ok(Row { id, label, attributes, stored })
    }
}

impl Extra {
    /// The value as text, none where it is missing; an error says why the column can be no attribute.
    fn value(&self, value: &Field) -> Result<Option<String>, String> {
        match (Cell::of(value, self.nanoseconds), &self.names) {
            // -1 is Hugging Face's number for a class that is not known.
            (Cell::Missing, _) | (Cell::Whole(-1), Some(_)) => Ok(None),
            (Cell::Whole(number), Some(names)) => match usize::try_from(number).ok().and_then(|number| names.get(number)) {
                Some(name) => Ok(Some(name.clone())),
                None => Err(format!("holds the number {number} and names {} classes", names.len())),
            },
            (Cell::Whole(number), None) => Ok(Some(number.to_string())),
            (Cell::Text(text), _) => Ok(Some(text)),
            (Cell::Other, _) => Err("holds bytes that are no text".to_owned()),
        }
    }
}

fn labelled(value: &Field, nanoseconds: bool, id: &str) -> Result<Label, DataError> {
    let odd = |value: String| DataError::OddLabel { id: id.to_owned(), value };
    match (Cell::of(value, nanoseconds), value) {
        (Cell::Missing, _) => Ok(Label::Absent),
        (Cell::Whole(number), _) => Ok(Label::Number(number)),
        // A number too large for i64 is too large for a label.
        (Cell::Text(_), Field::ULong(_)) => Ok(Label::Number(i64::MAX)),
        (Cell::Text(text), Field::Decimal(_)) => match text.trim_end_matches('0').trim_end_matches('.').parse() {
            Ok(number) if text.contains('.') => Ok(Label::Number(number)),
            _ => text.parse().map(Label::Number).map_err(|_| odd(text)),
        },
        (Cell::Text(text), Field::Float16(_) | Field::Float(_) | Field::Double(_)) => Err(odd(text)),
        (Cell::Text(text), _) => Ok(Label::Name(text.into())),
        (Cell::Other, _) => Err(odd("of bytes that are no text".to_owned())),
    }
}

/// What Hugging Face says of the columns, by name.
type Features = serde_json::Map<String, serde_json::Value>;

/// The features in the schema's `huggingface` metadata; odd metadata says nothing.
fn features(pairs: &[KeyValue]) -> Option<Features> {
    let text = pairs.iter().find(|pair| pair.key == "huggingface")?.value.as_ref()?;
    let mut metadata: serde_json::Value = serde_json::from_str(text).ok()?;
    match metadata.pointer_mut("/info/features")?.take() {
        serde_json::Value::Object(features) => Some(features),
        _ => None,
    }
}

/// The names of a `ClassLabel` feature.
fn class_names(features: &Features, column: &str) -> Option<Vec<String>> {
    let names = features.get(column)?.get("names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
