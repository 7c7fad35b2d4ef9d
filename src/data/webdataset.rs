//! Tar files as the Python package `webdataset` writes and reads them: shards of samples. Members of one sample have the same path up to the
//! first dot of their file's name, and follow each other.
//!
//! The bytes of all images are kept, encoded, as those of parquet files are.

mod shard;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::cells::{Cell, LIST};
use super::decode::MAX_PIXELS;
use super::format::{Format, Kind, Splits, file_or_below};
use super::source::{Label, Part, Row, Rows, Stored, Want, files};
use super::texts::Texts;
use super::{DataError, DataSpec, Orientation, Split};
use crate::pixels::encoded::ENDINGS;
use shard::{Member, walk};

pub(super) static FORMAT: Format = Format {
    name: "webdataset",
    kind: Kind::Files,
    splits: Splits::Path,
    // Pillow decodes, and nothing turns.
    orientation: Orientation::Stored,
    loader: "the Python package webdataset",
    redirect: |old, new| DataSpec::Webdataset(file_or_below(old, new, "tar")),
    read,
};

/// Most bytes of an image: more than its pixels could have.
const MAX_IMAGE: u64 = 8 * MAX_PIXELS;
/// Most bytes of a `.json`.
const MAX_JSON: u64 = 1 << 20;
/// Most bytes of a `.cls`.
const MAX_CLS: u64 = 1 << 10;
/// Most samples of a split.
const MAX_SAMPLES: usize = 1 << 24;
/// Most names of fields in all `.json`, and most bytes of one.
const MAX_FIELDS: usize = 1 << 10;
const MAX_NAME: usize = 256;

/// Reads every shard that the path stands for, in the order of their names.
fn read(base: &Path, path: &Path, split: Option<Split>, want: Want) -> Result<Rows, DataError> {
    let mut reader = Reader::new(want);
    for part in files(base, path, split)? {
        let Part { file, id } = part?;
        reader.shard(BufReader::new(file), &id)?;
    }
    Ok(reader.rows())
}

/// Reads one shard; `name` is what its images' ids start with.
pub(super) fn read_shard(input: impl Read + Seek, name: &str, want: Want) -> Result<Rows, DataError> {
    let mut reader = Reader::new(want);
    reader.shard(input, name)?;
    Ok(reader.rows())
}

/// What was read of a split so far.
struct Reader<'a> {
    want: Want<'a>,
    rows: Vec<Row>,
    texts: Texts,
    unusable: BTreeMap<String, String>,
    /// Names of all fields.
    fields: BTreeSet<String>,
    /// What holds the labels: they are not mixed.
    labels: Option<&'static str>,
}

/// One sample, as far as its members were read.
#[derive(Default)]
struct Sample {
    key: String,
    /// What its members end in.
    endings: Vec<String>,
    image: Option<Stored>,
    cls: Option<Vec<u8>>,
    json: Option<Vec<u8>>,
}

const CLS: &str = "members `.cls`";
const JSON: &str = "the field `label` of `.json`";

impl<'a> Reader<'a> {
    fn new(want: Want<'a>) -> Self {
        Self { want, rows: Vec::new(), texts: Texts::default(), unusable: BTreeMap::new(), fields: BTreeSet::new(), labels: None }
    }

    fn shard(&mut self, input: impl Read + Seek, shard: &str) -> Result<(), DataError> {
        let (mut keys, mut sample) = (BTreeSet::new(), None::<Sample>);
        walk(input, shard, |member| {
            let Some((key, ending)) = key(member.path) else { return Ok(()) };
            if sample.as_ref().is_none_or(|sample| sample.key != key) {
                if let Some(whole) = sample.take() {
                    self.sample(whole, shard)?;
                }
                if !keys.insert(key.to_owned()) {
                    let reason = "members of other samples stand between those of this one";
                    let hint = "write the shard with the members of each sample one after the other: tar --sort=name -cf";
                    return Err(refused(format!("{shard}:{key}"), reason, hint));
                }
                sample = Some(Sample { key: key.to_owned(), ..Sample::default() });
            }
            sample.as_mut().map_or(Ok(()), |sample| sample.take(ending, member, shard, self.want))
        })?;
        match sample {
            Some(last) => self.sample(last, shard),
            None => Err(refused(shard, "it holds no samples", "put samples into it, or leave the file out")),
        }
    }

    /// Adds a sample whose members are all read.
    fn sample(&mut self, sample: Sample, shard: &str) -> Result<(), DataError> {
        let id = format!("{shard}:{}", sample.key);
        if self.rows.len() >= MAX_SAMPLES {
            return Err(refused(id, format!("it is one sample more than the {MAX_SAMPLES} that are read of a split"), "name fewer shards"));
        }
        let Some(stored) = sample.image else {
            let reason = format!("the sample has no image; its members end in {}", sample.endings.join(", "));
            let hint = format!("give it one image ({}), or take the sample out of the shard", ENDINGS.join(", "));
            return Err(refused(id, reason, hint));
        };
        let mut fields = sample.json.map_or(Ok(BTreeMap::new()), |json| fields(&json, &id))?;
        let field = fields.remove("label");
        let (label, of) = match (sample.cls, field) {
            (Some(cls), field) => {
                if field.is_some() {
                    self.unusable.insert("label".to_owned(), "stands beside `.cls`, which holds the label".to_owned());
                }
                (named(&cls, &id)?, CLS)
            }
            (None, Some(value)) => (labelled(&value, &id)?, JSON),
            (None, None) => {
                let reason = "the sample has no label: neither a member `.cls` nor a field `label` in a `.json`";
                return Err(refused(id, reason, "give it one of the two, or take the sample out of the shard"));
            }
        };
        if *self.labels.get_or_insert(of) != of {
            let reason = format!("its label is in {of}, those before it are in {}", self.labels.unwrap_or(of));
            return Err(refused(id, reason, "keep the labels of all samples in one of the two: they may count the classes differently"));
        }
        let mut attributes = Vec::new();
        for (name, value) in fields {
            if !self.fields.contains(&name) {
                let reason = if name.len() > MAX_NAME {
                    Some(format!("a field of its `.json` has a name of {} bytes; at most {MAX_NAME} are read", name.len()))
                } else {
                    let more = self.fields.len() >= MAX_FIELDS;
                    more.then(|| format!("with its `.json` there are more than {MAX_FIELDS} different fields, the most that are read"))
                };
                if let Some(reason) = reason {
                    return Err(refused(id, reason, "leave out of `.json` what is no attribute of the image"));
                }
                self.fields.insert(name.clone());
            }
            match attribute(&value) {
                Ok(text) => attributes.push((name, text)),
                Err(why) => drop(self.unusable.insert(name, why.to_owned())),
            }
        }
        let attributes = self.texts.attributes(attributes.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        self.rows.push(Row { id, label: label.shared(&mut self.texts), attributes, stored });
        Ok(())
    }

    fn rows(self) -> Rows {
        let Self { rows: mut list, mut texts, unusable, .. } = self;
        // What a field holds may only show in the last sample.
        for row in &mut list {
            texts.leave_out(&unusable, &mut row.attributes);
        }
        Rows { list, unusable, ..Rows::default() }
    }
}

impl Sample {
    /// Takes one of its members.
    fn take(&mut self, ending: String, member: &mut Member, shard: &str, want: Want) -> Result<(), DataError> {
        let id = || format!("{shard}:{}", self.key);
        let image = ENDINGS.contains(&ending.rsplit('.').next().unwrap_or_default());
        let most = match ending.as_str() {
            _ if image => MAX_IMAGE,
            "cls" => MAX_CLS,
            "json" => MAX_JSON,
            _ => u64::MAX,
        };
        if member.size > most {
            let reason = format!("its `.{ending}` has {} bytes; at most {most} are read", member.size);
            return Err(refused(id(), reason, "make the member smaller, or take the sample out of the shard"));
        }
        let one = "leave one of them in the sample, or make two samples of it";
        if image && self.image.is_some() {
            let first = self.endings.iter().find(|ending| ENDINGS.contains(&ending.rsplit('.').next().unwrap_or_default()));
            let reason = format!("the sample has two images: `.{}` and `.{ending}`", first.map_or("", String::as_str));
            return Err(refused(id(), reason, one));
        }
        if most < u64::MAX && self.endings.contains(&ending) {
            return Err(refused(id(), format!("two members of the sample end in `.{ending}`"), one));
        }
        match (ending.as_str(), want) {
            (_, Want::Index) if image => self.image = Some(Stored::Missing("it was not asked for")),
            (_, Want::Images(spill)) if image => self.image = Some(Stored::Encoded(spill.keep(&member.bytes()?)?)),
            ("cls", _) => self.cls = Some(member.bytes()?),
            ("json", _) => self.json = Some(member.bytes()?),
            _ => {}
        }
        // The first few of others are enough for a message.
        if most < u64::MAX || self.endings.len() < 8 {
            self.endings.push(ending);
        }
        Ok(())
    }
}

/// The key of a member's sample, and what it ends in; none for what belongs to no sample: hidden files, files without a dot, and what the
/// package keeps for itself (`__...__`).
fn key(path: &str) -> Option<(&str, String)> {
    let own = path.split('/').next().is_some_and(|first| first.len() >= 4 && first.starts_with("__") && first.ends_with("__"));
    let (folder, name) = path.split_at(path.rfind('/').map_or(0, |at| at + 1));
    let dot = name.find('.').filter(|at| *at > 0 && !own)?;
    Some((path.get(..folder.len() + dot)?, name.get(dot + 1..)?.to_lowercase()))
}

/// The label in a `.cls`: a whole number, or a name.
fn named(cls: &[u8], id: &str) -> Result<Label, DataError> {
    let text =
        std::str::from_utf8(cls).map_err(|_| DataError::OddLabel { id: id.to_owned(), value: "of bytes that are no text".to_owned() })?;
    let text = text.trim();
    if text.is_empty() {
        return Err(refused(id, "its `.cls` is empty", "write the number or the name of its class into it"));
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
        // A number too large for i64 is too large for a label.
        return Ok(Label::Number(text.parse().unwrap_or(i64::MAX)));
    }
    if text.parse::<f64>().is_ok() || text.chars().any(char::is_control) {
        return Err(DataError::OddLabel { id: id.to_owned(), value: format!("`{}`", text.escape_debug()) });
    }
    Ok(Label::Name(text.into()))
}

/// The label in a field.
fn labelled(value: &Value, id: &str) -> Result<Label, DataError> {
    let odd = |value: String| Err(DataError::OddLabel { id: id.to_owned(), value });
    match value {
        Value::Null => Err(DataError::NoLabel { id: id.to_owned() }),
        Value::String(name) if name.trim().is_empty() => odd("of no letters".to_owned()),
        Value::String(name) => Ok(Label::Name(name.as_str().into())),
        Value::Bool(truth) => Ok(Label::Name(truth.to_string().into())),
        Value::Number(number) => match (number.as_i64(), number.as_f64().map(|number| Cell::fraction(number, || number.to_string()))) {
            (Some(whole), _) | (None, Some(Cell::Whole(whole))) => Ok(Label::Number(whole)),
            // A number too large for i64 is too large for a label.
            _ if number.is_u64() => Ok(Label::Number(i64::MAX)),
            _ => odd(number.to_string()),
        },
        Value::Array(_) => odd("of a list".to_owned()),
        Value::Object(_) => odd("of an object".to_owned()),
    }
}

/// A field as an attribute; an error says why it can be none.
fn attribute(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if number.is_f64() => match number.as_f64().map(|number| Cell::fraction(number, || number.to_string())) {
            Some(Cell::Whole(whole)) => Ok(whole.to_string()),
            // The file may have had more digits than were read.
            Some(Cell::Text(_)) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => Err("holds numbers of more than 64 bits"),
            Some(Cell::Text(text)) => Ok(text),
            _ => Err("holds numbers that are none"),
        },
        Value::Number(number) => Ok(number.to_string()),
        Value::Array(_) => Err(LIST),
        Value::Object(_) => Err("holds objects; an attribute is one value for each image"),
    }
}

/// The fields of a `.json`; what is no object has none.
fn fields(json: &[u8], id: &str) -> Result<BTreeMap<String, Value>, DataError> {
    let read = if json.trim_ascii_start().starts_with(b"{") {
        serde_json::from_slice::<Fields>(json).map(|fields| fields.0)
    } else {
        serde_json::from_slice::<Value>(json).map(|_| BTreeMap::new())
    };
    let hint = "write each field once, and valid JSON: NaN and Infinity are none, `null` is a missing value";
    read.map_err(|error| refused(id, format!("its `.json` cannot be read: {error}"), hint))
}

/// The fields of an object, none of which is there twice.
struct Fields(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("the field `{}` is there twice", name.escape_debug())));
                    }
                    fields.insert(name, value);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

/// What is not read of a shard or a sample: where, why, and what to do.
fn refused(place: impl Into<String>, reason: impl Into<String>, hint: impl Into<String>) -> DataError {
    DataError::Refused { place: place.into(), reason: reason.into(), hint: hint.into() }
}

#[cfg(test)]
mod tests;
