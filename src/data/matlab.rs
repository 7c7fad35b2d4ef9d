//! MATLAB 5 files (`.mat`), as far as lists of labels need them: numbers, text, cells and structs.
//!
//! After a header of 128 bytes a file is a row of elements: a kind, a length, and as many bytes. A variable is an element that is made of others,
//! and often packed by zlib.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::DataError;

/// Most bytes of a file: the largest of the data sets that are read has 300 kB.
const MAX_FILE: u64 = 16 << 20;
/// Most bytes that all of its variables unpack to.
const MAX_UNPACKED: u64 = 32 << 20;
/// Most values: cells, fields of structs, variables.
const MAX_VALUES: usize = 1 << 20;
/// Most cells and structs within each other.
const MAX_DEPTH: usize = 8;

/// Bytes before the first element.
const HEADER: usize = 128;

// Kinds of elements.
const INT8: u32 = 1;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const MATRIX: u32 = 14;
const PACKED: u32 = 15;

/// What a variable, a cell or a field holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Numbers, column by column.
    Numbers(Vec<f64>),
    /// A row of characters.
    Text(String),
    /// Cells, column by column.
    Cells(Vec<Value>),
    /// Structs: what each of them has in every field.
    Structs(BTreeMap<String, Vec<Value>>),
    /// What is not read, in a few words.
    Other(&'static str),
}

impl Value {
    /// The only number.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Numbers(numbers) => match numbers.as_slice() {
                [only] => Some(*only),
                _ => None,
            },
            _ => None,
        }
    }

    /// The text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Why a file is not read: what it is, and what to do where that is another thing than to fetch it again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) hint: &'static str,
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, hint: "the file is damaged or was not copied in full: fetch it again" }
    }
}

/// The variables of a file, by name.
pub(super) fn load(path: &Path) -> Result<BTreeMap<String, Value>, DataError> {
    let place = path.display().to_string();
    let bytes = crate::store::read(path, MAX_FILE).map_err(|source| DataError::Read { path: place.clone(), source })?;
    variables(&bytes).map_err(|Refusal { reason, hint }| DataError::Refused { place, reason, hint: hint.to_owned() })
}

/// The variables in the bytes of a file, by name.
pub(super) fn variables(bytes: &[u8]) -> Result<BTreeMap<String, Value>, Refusal> {
    let big = order(bytes)?;
    let mut reader = Reader { big, unpacked: 0, values: 0 };
    let mut rest = bytes.get(HEADER..).unwrap_or_default();
    let mut found = BTreeMap::new();
    while !rest.is_empty() {
        let (kind, body) = reader.element(&mut rest, false)?;
        let body = if kind == PACKED { reader.unpack(body)? } else { Cow::Borrowed(body) };
        let mut inner: &[u8] = &body;
        let (kind, matrix) = if kind == PACKED { reader.element(&mut inner, true)? } else { (kind, inner) };
        if kind != MATRIX {
            return Err(format!("it holds an element of kind {kind} where a variable is expected").into());
        }
        let (name, value) = reader.matrix(matrix, 0)?;
        // What MATLAB keeps for itself has no name.
        if !name.is_empty() && found.insert(name.clone(), value).is_some() {
            return Err(format!("the variable `{name}` is there twice").into());
        }
    }
    Ok(found)
}

/// Whether numbers have their most significant byte first; an error for what is no file of MATLAB 5.
fn order(bytes: &[u8]) -> Result<bool, Refusal> {
    let hint = "write it anew as version 5, in MATLAB: save(FILE, '-v7'), in Python: scipy.io.savemat(FILE, variables)";
    let other = |what: &str| Refusal { reason: format!("it is {what}; MATLAB files of version 5 (`-v6`, `-v7`) are read"), hint };
    if bytes.starts_with(b"\x89HDF") || bytes.starts_with(b"MATLAB 7.3") {
        return Err(other("a MATLAB file of version 7.3 (HDF5)"));
    }
    if bytes.starts_with(b"\x80") {
        return Err(Refusal {
            reason: "it is a Python pickle, which can run code when it is read".to_owned(),
            hint: "take the `.mat` file as the data set is published",
        });
    }
    // A file of version 5 begins with text, one of version 4 with a small number.
    if let [a, b, c, d, ..] = bytes
        && [a, b, c, d].into_iter().any(|byte| *byte == 0)
    {
        return Err(other("a MATLAB file of version 4, or none at all"));
    }
    match (bytes.get(124..126), bytes.get(126..HEADER)) {
        (Some([0, 1]), Some(b"IM")) => Ok(false),
        (Some([1, 0]), Some(b"MI")) => Ok(true),
        (Some([0, 2] | [2, 0]), _) => Err(other("a MATLAB file of version 7.3 (HDF5)")),
        _ => Err(other("no MATLAB file")),
    }
}

struct Reader {
    /// The most significant byte comes first.
    big: bool,
    unpacked: u64,
    values: usize,
}

impl Reader {
    fn u32(&self, bytes: &[u8]) -> Option<u32> {
        let four = bytes.first_chunk::<4>()?;
        Some(if self.big { u32::from_be_bytes(*four) } else { u32::from_le_bytes(*four) })
    }

    /// The next element: its kind and its bytes. Those inside others are filled up to a multiple of 8 bytes.
    fn element<'a>(&self, rest: &mut &'a [u8], filled: bool) -> Result<(u32, &'a [u8]), Refusal> {
        let early = || Refusal::from("it ends inside an element");
        let first = self.u32(rest).ok_or_else(early)?;
        let (kind, length, start): (u32, u32, usize) = match first >> 16 {
            0 => (first, self.u32(rest.get(4..).unwrap_or_default()).ok_or_else(early)?, 8),
            // Up to four bytes stand in the place of their length.
            short @ 1..=4 => (first & 0xffff, short, 4),
            _ => return Err("the length of an element is none".into()),
        };
        let length = usize::try_from(length).map_err(|_| early())?;
        let end = start.checked_add(length).ok_or_else(early)?;
        let body = rest.get(start..end).ok_or_else(early)?;
        let next = match start {
            4 => 8,
            _ if kind == PACKED && !filled => end,
            _ => end.next_multiple_of(8),
        };
        // The last one need not be filled up.
        *rest = rest.get(next..).unwrap_or_default();
        Ok((kind, body))
    }

    /// What is packed in an element.
    fn unpack(&mut self, packed: &[u8]) -> Result<Cow<'static, [u8]>, Refusal> {
        let most = MAX_UNPACKED - self.unpacked;
        let mut bytes = Vec::new();
        let read = flate2::read::ZlibDecoder::new(packed).take(most + 1).read_to_end(&mut bytes);
        read.map_err(|error| Refusal::from(format!("a variable cannot be unpacked: {error}")))?;
        if bytes.len() as u64 > most {
            let reason = format!("its variables unpack to more than {MAX_UNPACKED} bytes, the most that are read");
            return Err(Refusal { reason, hint: "save only the variables that are needed" });
        }
        self.unpacked += bytes.len() as u64;
        Ok(Cow::Owned(bytes))
    }

    /// An element of this kind.
    fn expect<'a>(&self, rest: &mut &'a [u8], wanted: u32, what: &str) -> Result<&'a [u8], Refusal> {
        match self.element(rest, true)? {
            (kind, body) if kind == wanted => Ok(body),
            (kind, _) => Err(format!("{what} are of kind {kind}, not {wanted}").into()),
        }
    }

    /// A variable, a cell or a field: its name and what it holds.
    fn matrix(&mut self, bytes: &[u8], depth: usize) -> Result<(String, Value), Refusal> {
        self.values += 1;
        if self.values > MAX_VALUES {
            let reason = format!("it holds more than {MAX_VALUES} values, the most that are read");
            return Err(Refusal { reason, hint: "save only the variables that are needed" });
        }
        // An empty cell or field may be nothing at all.
        if bytes.is_empty() {
            return Ok((String::new(), Value::Numbers(Vec::new())));
        }
        let mut rest = bytes;
        let flags = self.expect(&mut rest, UINT32, "the flags of a variable")?;
        let flags = self.u32(flags).ok_or("the flags of a variable are missing")?;
        let (class, complex) = (flags & 0xff, flags & 0x800 != 0);
        // It has no size.
        if class == 17 {
            return Ok((String::new(), Value::Other("an object")));
        }
        let sizes = self.expect(&mut rest, INT32, "the sizes of a variable")?;
        let name = text(self.expect(&mut rest, INT8, "the letters of a name")?);
        let sizes: Vec<u32> = sizes.chunks_exact(4).filter_map(|four| self.u32(four)).collect();
        let count = sizes.iter().try_fold(1usize, |count, size| count.checked_mul(usize::try_from(*size).ok()?));
        let count =
            count.filter(|_| sizes.len() >= 2).ok_or_else(|| Refusal::from(format!("the sizes of `{name}` are none: {sizes:?}")))?;
        let value = match class {
            1 => Value::Cells(self.values(&mut rest, count, depth)?),
            2 => Value::Structs(self.structs(&mut rest, count, depth)?),
            4 if count > 0 && sizes.iter().filter(|size| **size != 1).count() > 1 => Value::Other("text of several rows"),
            4 => Value::Text(self.characters(&mut rest)?),
            6..=15 if complex => Value::Other("complex numbers"),
            6..=15 => {
                let (kind, numbers) = self.element(&mut rest, true)?;
                let numbers = self.numbers(kind, numbers)?;
                if numbers.len() != count {
                    return Err(format!("`{name}` has {} numbers where its sizes say {count}", numbers.len()).into());
                }
                Value::Numbers(numbers)
            }
            5 => Value::Other("a sparse matrix"),
            _ => Value::Other("an object"),
        };
        Ok((name, value))
    }

    /// So many cells or fields.
    fn values(&mut self, rest: &mut &[u8], count: usize, depth: usize) -> Result<Vec<Value>, Refusal> {
        if depth >= MAX_DEPTH {
            return Err(format!("cells and structs lie more than {MAX_DEPTH} deep in each other").into());
        }
        let mut values = Vec::new();
        for _ in 0..count {
            let matrix = self.expect(rest, MATRIX, "the values of a cell or a struct")?;
            values.push(self.matrix(matrix, depth + 1)?.1);
        }
        Ok(values)
    }

    fn structs(&mut self, rest: &mut &[u8], count: usize, depth: usize) -> Result<BTreeMap<String, Vec<Value>>, Refusal> {
        let length = self.expect(rest, INT32, "the lengths of names")?;
        let length = self.u32(length).and_then(|length| usize::try_from(length).ok()).filter(|length| (1..=64).contains(length));
        let length = length.ok_or("the names of a struct's fields have no length")?;
        let names = self.expect(rest, INT8, "the letters of names")?;
        let names: Vec<String> = names.chunks(length).map(text).collect();
        let mut fields: BTreeMap<String, Vec<Value>> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
        if fields.len() != names.len() {
            return Err("two fields of a struct have the same name".into());
        }
        for _ in 0..if names.is_empty() { 0 } else { count } {
            for (name, value) in names.iter().zip(self.values(rest, names.len(), depth)?) {
                fields.entry(name.clone()).or_default().push(value);
            }
        }
        Ok(fields)
    }

    fn characters(&self, rest: &mut &[u8]) -> Result<String, Refusal> {
        if rest.is_empty() {
            return Ok(String::new());
        }
        let (kind, bytes) = self.element(rest, true)?;
        Ok(match kind {
            INT8 | 2 => bytes.iter().map(|byte| char::from(*byte)).collect(),
            16 => String::from_utf8_lossy(bytes).into_owned(),
            4 | 17 => {
                let units = bytes.chunks_exact(2).filter_map(|two| two.first_chunk::<2>());
                let units: Vec<u16> = units.map(|two| if self.big { u16::from_be_bytes(*two) } else { u16::from_le_bytes(*two) }).collect();
                String::from_utf16_lossy(&units)
            }
            _ => return Err(format!("its text is of kind {kind}").into()),
        })
    }

    /// Numbers as they are stored: MATLAB keeps each as small as it can.
    fn numbers(&self, kind: u32, bytes: &[u8]) -> Result<Vec<f64>, Refusal> {
        macro_rules! each {
            ($type:ty) => {
                each!($type, f64::from)
            };
            ($type:ty, $widened:expr) => {{
                let one = |bytes: &[u8; size_of::<$type>()]| {
                    if self.big { <$type>::from_be_bytes(*bytes) } else { <$type>::from_le_bytes(*bytes) }
                };
                bytes.chunks_exact(size_of::<$type>()).filter_map(|one| one.first_chunk()).map(one).map($widened).collect()
            }};
        }
        Ok(match kind {
            INT8 => each!(i8),
            2 => each!(u8),
            3 => each!(i16),
            4 => each!(u16),
            INT32 => each!(i32),
            UINT32 => each!(u32),
            7 => each!(f32),
            9 => each!(f64),
            12 => each!(i64, |value| value as f64),
            13 => each!(u64, |value| value as f64),
            _ => return Err(format!("its numbers are of kind {kind}").into()),
        })
    }
}

/// Letters of a name, up to the first byte of 0.
fn text(bytes: &[u8]) -> String {
    bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests;
