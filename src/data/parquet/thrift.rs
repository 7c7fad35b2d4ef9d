//! A bounded walk over what parquet writes in Thrift's compact protocol: the footer and the header of each page.
//!
//! The parquet crate decodes both itself and skips the fields that it does not know. It takes a truth value in an unknown list for one without
//! bytes, and forgives a list of doubles that the file is over: either way a few bytes keep it busy for minutes. So everything is walked here
//! first, and the crate is handed exactly the bytes that were walked. For that both must read the same: a field that the crate knows
//! (`format`) has to have the type that the crate takes it for without looking.

use std::io::{Error, ErrorKind, Read, Result};

/// What the crate takes a field for.
pub(super) enum Kind {
    Truth,
    Byte,
    /// A whole number of 16, 32 or 64 bits: all are written alike.
    Number,
    Double,
    Bytes,
    Struct(Fields),
    List(&'static Kind),
    /// One of these, of which is noted what it says.
    Noted(Note, &'static Kind),
}

/// What is noted on the way: of a number the number, of bytes how many there are, of a struct that it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The bytes that a page has once it is unpacked.
    Unpacked,
    /// The bytes in front of a page that are not packed.
    Levels,
    /// A column, or several of them.
    Element,
    /// The name of an element.
    Name,
    /// How many elements an element consists of.
    Children,
}

/// A struct that was walked.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) bytes: Vec<u8>,
    pub(super) notes: Vec<(Note, i64)>,
}

impl Walked {
    /// All that was noted of this kind.
    pub(super) fn noted(&self, note: Note) -> impl Iterator<Item = i64> + Clone {
        self.notes.iter().filter(move |(kind, _)| *kind == note).map(|(_, value)| *value)
    }
}

/// The fields of a struct that the crate knows, by number.
pub(super) type Fields = &'static [(i16, Kind)];

/// How deep fields that the crate does not know may lie in each other. The crate goes down 64 levels; the format has 6.
const DEPTH: u8 = 32;

/// The bytes of the one struct that `input` starts with, `most` at most. Not one byte behind it is taken for part of it.
///
/// # Errors
///
/// Says what is wrong, as the end of a sentence that starts with what was walked.
pub(super) fn walk(input: impl Read, fields: Fields, most: usize) -> Result<Walked> {
    let mut walk = Walk { input, walked: Vec::new(), most, last: 0, notes: Vec::new() };
    walk.structure(fields, DEPTH)?;
    Ok(Walked { bytes: walk.walked, notes: walk.notes })
}

struct Walk<R> {
    input: R,
    walked: Vec<u8>,
    most: usize,
    /// The last number that was walked.
    last: u64,
    notes: Vec<(Note, i64)>,
}

fn refused<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidData, why.into()))
}

impl<R: Read> Walk<R> {
    fn has_room(&self, count: u64) -> Result<()> {
        if count <= (self.most - self.walked.len()) as u64 {
            return Ok(());
        }
        refused(format!("needs more than the {} bytes that it may have", self.most))
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        self.has_room(count)?;
        let found = self.input.by_ref().take(count).read_to_end(&mut self.walked)?;
        if found as u64 == count { Ok(()) } else { refused("ends before it is complete") }
    }

    fn byte(&mut self) -> Result<u8> {
        self.has_room(1)?;
        let mut byte = [0];
        match self.input.read_exact(&mut byte) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return refused("ends before it is complete"),
            read => read?,
        }
        self.walked.push(byte[0]);
        Ok(byte[0])
    }

    fn number(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                self.last = value;
                return Ok(value);
            }
        }
        refused("holds a number of more than 64 bits")
    }

    fn structure(&mut self, fields: Fields, depth: u8) -> Result<()> {
        let mut last = 0i16;
        loop {
            let head = self.byte()?;
            let (step, kind) = (head >> 4, head & 15);
            if kind == 0 {
                return Ok(());
            }
            let number = if step == 0 {
                let folded = self.number()?;
                // As many bits as the crate keeps.
                unfolded(folded) as i16
            } else {
                last.wrapping_add(i16::from(step))
            };
            match fields.iter().find(|(known, _)| *known == number) {
                Some((_, known)) => self.known(known, kind, depth)?,
                None => self.unknown(kind, depth)?,
            }
            last = number;
        }
    }

    fn known(&mut self, known: &Kind, kind: u8, depth: u8) -> Result<()> {
        match (known, kind) {
            // A field's truth value is in its type.
            (Kind::Truth, 1 | 2) => Ok(()),
            (Kind::Byte, 3) | (Kind::Number, 4..=6) | (Kind::Double, 7) | (Kind::Bytes, 8) => self.unknown(kind, depth),
            (Kind::List(element), 9) => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.known(element, kind, depth))
            }
            (Kind::Struct(fields), 12) => self.structure(fields, depth),
            (Kind::Noted(note, inner), _) => {
                let at = self.notes.len();
                self.notes.push((*note, 0));
                self.known(inner, kind, depth)?;
                let value = match inner {
                    Kind::Number => unfolded(self.last),
                    Kind::Bytes => self.last as i64,
                    _ => 0,
                };
                if let Some(noted) = self.notes.get_mut(at) {
                    noted.1 = value;
                }
                Ok(())
            }
            _ => refused("has a field of another type than the format says"),
        }
    }

    /// Walks as the crate skips. Every element takes a byte at least, so that the bytes bound their number.
    fn unknown(&mut self, kind: u8, depth: u8) -> Result<()> {
        let Some(deeper) = depth.checked_sub(1) else {
            return refused("has fields nested too deeply");
        };
        match kind {
            1 | 2 => Ok(()),
            3 => self.skip(1),
            4..=6 => self.number().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.number()?;
                self.skip(length)
            }
            9 | 10 => {
                let (kind, count) = self.list()?;
                some_bytes([kind, kind], count)?;
                (0..count).try_for_each(|_| self.unknown(kind, deeper))
            }
            11 => {
                let count = self.number()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                let (key, value) = (kinds >> 4, kinds & 15);
                some_bytes([key, value], count)?;
                (0..count).try_for_each(|_| self.unknown(key, deeper).and_then(|()| self.unknown(value, deeper)))
            }
            12 => self.structure(&[], deeper),
            13 => self.skip(16),
            _ => refused(format!("has a field of the type {kind}, which there is not")),
        }
    }

    /// The type of a list's elements, and how many there are.
    fn list(&mut self) -> Result<(u8, u64)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
        Ok((head & 15, count))
    }
}

/// Small numbers of either sign are written with few bits: 0, -1, 1, -2, ...
fn unfolded(folded: u64) -> i64 {
    (folded >> 1) as i64 ^ -((folded & 1) as i64)
}

/// The crate takes truth values in lists and maps that it does not know for ones without bytes, while writers spend one on each. No version of
/// the format has such a list in a footer or in a page's header.
fn some_bytes(kinds: [u8; 2], count: u64) -> Result<()> {
    if count > 0 && kinds.iter().any(|kind| matches!(kind, 1 | 2)) {
        return refused(format!("announces a list of {count} truth values, which the format does not have there"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::format::PAGE_HEADER;
    use super::*;

    fn said(bytes: &[u8]) -> String {
        walk(bytes, PAGE_HEADER, 1000).unwrap_err().to_string()
    }

    #[test]
    fn a_struct_is_walked_to_its_end_and_no_further() {
        // Type and sizes, a header of a data page with statistics, and fields of every kind that no version has.
        let header = [
            &[0x15, 0, 0x15, 8, 0x15, 8, 0x2c, 0x15, 2, 0x15, 0, 0x15, 6, 0x15, 6, 0x1c, 0x18, 2, 9, 9, 0x11, 0, 0][..],
            &[0xf3, 7, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a, 0x25, 1, 2, 0x1b, 1, 0x58, 3, 1, b'x', 0x1b, 0, 0x19, 0, 0x12, 0x04, 0x90, 1, 5],
            &[0x1d, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x1c, 0x19, 0x2c, 0, 0, 0, 0],
        ]
        .concat();
        let longer = [&header[..], &[0xf9, 0xf1, 0xff]].concat();
        let walked = walk(&longer[..], PAGE_HEADER, 1000).unwrap();
        assert_eq!((&walked.bytes, walked.noted(Note::Unpacked).collect::<Vec<_>>()), (&header, vec![4]));
        assert_eq!(walk(&longer[..], PAGE_HEADER, header.len()).unwrap().bytes, header);
        let limit = header.len() - 1;
        assert!(walk(&longer[..], PAGE_HEADER, limit).unwrap_err().to_string().starts_with("needs more than the"));
        for short in 0..header.len() {
            assert_eq!(said(&header[..short]), "ends before it is complete", "{short}");
        }
    }

    #[test]
    fn nothing_takes_longer_than_its_bytes() {
        let many = [0xff, 0xff, 0xff, 0xff, 7];
        let with = |start: &[u8]| [start, &many[..]].concat();
        let truths = "announces a list of 2147483647 truth values, which the format does not have there";
        // An unknown list and set, in a list, in a struct, in the statistics of a page; a map of them.
        assert_eq!(said(&with(&[0xf9, 0xf1])), truths);
        assert_eq!(said(&with(&[0xfa, 0xf2])), truths);
        assert_eq!(said(&with(&[0xf9, 0x29, 0xf2])), truths);
        assert_eq!(said(&with(&[0xfc, 0x19, 0xf1])), truths);
        assert_eq!(said(&with(&[0x5c, 0x5c, 0x19, 0xf1])), truths);
        assert_eq!(said(&[&[0xfb][..], &many, &[0x11]].concat()), truths);
        assert_eq!(said(&[0xf9, 0x31, 1, 1, 1, 0]), truths.replace("2147483647", "3"));
        // More doubles, identifiers or texts than there are bytes.
        for kind in [0xf7, 0xf8, 0xfc, 0xfd] {
            assert_eq!(said(&with(&[0xf9, kind])), "ends before it is complete");
        }
        // The crate takes field 4 for a number: what is a text here would be fields there.
        assert_eq!(said(&with(&[0x48, 7, 0xf9, 0xf1])), "has a field of another type than the format says");
        assert_eq!(said(&[0x59, 0x1c, 0, 0]), "has a field of another type than the format says");
        assert_eq!(said(&[[0xfc].as_slice(), &[0x1c; 40]].concat()), "has fields nested too deeply");
        assert_eq!(said(&[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), "holds a number of more than 64 bits");
        assert_eq!(said(&[0xfe]), "has a field of the type 14, which there is not");
        assert!(said(&[0x88 | 0x70, 0xff, 0xff, 0xff, 7]).starts_with("needs more than the 1000 bytes"));
    }
}
