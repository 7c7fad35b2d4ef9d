//! Identities of what is no file: every value fed by hand, so that no name of a field and no text for people is a part of one.
//!
//! A fingerprint is the SHA-256 of a list of items. Each item is one letter and what follows it; whole numbers have eight bytes, the
//! least first:
//!
//! | letter | item |
//! |---|---|
//! | `t` | text: its length in bytes, then UTF-8 |
//! | `y` | bytes: their number, then they |
//! | `u` | a whole number |
//! | `d` | a number: IEEE 754, double precision; -0 is 0 |
//! | `b` | a byte of 0 or 1 |
//! | `n` | nothing, where there may be a value |
//! | `s` | a value where there may be none: the value's items follow |
//! | `l` | a list: its length, then the items of each value |
//! | `m` | a map in the order of its keys: its length, then key and value, again and again |
//! | `(` `)` | a structure: its name as a text, then for each field its label as a text and its value |
//!
//! It begins with a text that says what it is of and a whole number, its version. Labels are written out where a type is fed
//! (`fingerprint!`), and stay when a field is renamed. A field that comes later is fed only where it has not
//! its default, so that what was known before stays known. Whoever changes what a value means raises the version.
//! `tests/golden/identities/make.py` computes the same with Python.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::Digest as _;

use super::Digest;

/// What feeds itself into a fingerprint, in a fixed order.
pub(crate) trait Fingerprint {
    /// Feeds all that tells it from others.
    fn feed(&self, feed: &mut Fingerprinter);

    /// The fingerprint of it alone: `what` it is of, and the version of how it is fed.
    fn fingerprint(&self, what: &str, version: u64) -> Digest {
        let mut feed = Fingerprinter::new(what, version);
        self.feed(&mut feed);
        feed.finish()
    }
}

/// Takes items, and makes a digest of them.
pub(crate) struct Fingerprinter(sha2::Sha256);

impl Fingerprinter {
    /// Begins a fingerprint.
    pub(crate) fn new(what: &str, version: u64) -> Self {
        let mut feed = Self(sha2::Sha256::new());
        what.feed(&mut feed);
        version.feed(&mut feed);
        feed
    }

    /// The fingerprint of all that was fed.
    pub(crate) fn finish(self) -> Digest {
        Digest::from_sha256(self.0.finalize().into())
    }

    /// Begins a structure.
    pub fn open(&mut self, name: &str) {
        self.letter(b'(');
        name.feed(self);
    }

    /// Ends a structure.
    pub(crate) fn close(&mut self) {
        self.letter(b')');
    }

    /// A field of a structure.
    pub(crate) fn field(&mut self, label: &str, value: &(impl Fingerprint + ?Sized)) {
        label.feed(self);
        value.feed(self);
    }

    /// A field that a structure has got later: fed where it has not its default.
    pub(crate) fn later<T: Fingerprint + Default + PartialEq>(&mut self, label: &str, value: &T) {
        if *value != T::default() {
            self.field(label, value);
        }
    }

    /// One of several structures, with one field: what a choice with a value is fed as.
    pub(crate) fn choice(&mut self, name: &str, value: &(impl Fingerprint + ?Sized)) {
        self.open(name);
        self.field("value", value);
        self.close();
    }

    /// Some bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.letter(b'y');
        self.length(bytes.len());
        self.0.update(bytes);
    }

    /// A long row of numbers, as bytes of four for each (IEEE 754, single precision, the least first).
    pub(crate) fn numbers(&mut self, numbers: impl ExactSizeIterator<Item = f32>) {
        self.letter(b'y');
        self.length(numbers.len() * size_of::<f32>());
        for number in numbers {
            self.0.update(number.to_le_bytes());
        }
    }

    fn letter(&mut self, letter: u8) {
        self.0.update([letter]);
    }

    fn length(&mut self, length: usize) {
        self.0.update((length as u64).to_le_bytes());
    }
}

impl Fingerprint for str {
    fn feed(&self, feed: &mut Fingerprinter) {
        feed.letter(b't');
        feed.length(self.len());
        feed.0.update(self.as_bytes());
    }
}

impl Fingerprint for String {
    fn feed(&self, feed: &mut Fingerprinter) {
        self.as_str().feed(feed);
    }
}

/// As it is written; what is no UTF-8 in it becomes a replacement character.
impl Fingerprint for Path {
    fn feed(&self, feed: &mut Fingerprinter) {
        self.to_string_lossy().feed(feed);
    }
}

impl Fingerprint for PathBuf {
    fn feed(&self, feed: &mut Fingerprinter) {
        self.as_path().feed(feed);
    }
}

impl Fingerprint for Digest {
    fn feed(&self, feed: &mut Fingerprinter) {
        self.as_str().feed(feed);
    }
}

impl Fingerprint for u64 {
    fn feed(&self, feed: &mut Fingerprinter) {
        feed.letter(b'u');
        feed.0.update(self.to_le_bytes());
    }
}

impl Fingerprint for usize {
    fn feed(&self, feed: &mut Fingerprinter) {
        (*self as u64).feed(feed);
    }
}

impl Fingerprint for u32 {
    fn feed(&self, feed: &mut Fingerprinter) {
        u64::from(*self).feed(feed);
    }
}

impl Fingerprint for u8 {
    fn feed(&self, feed: &mut Fingerprinter) {
        u64::from(*self).feed(feed);
    }
}

impl Fingerprint for f64 {
    fn feed(&self, feed: &mut Fingerprinter) {
        feed.letter(b'd');
        // -0 is written as 0 in half of all files.
        feed.0.update((self + 0.0).to_le_bytes());
    }
}

impl Fingerprint for f32 {
    fn feed(&self, feed: &mut Fingerprinter) {
        f64::from(*self).feed(feed);
    }
}

impl Fingerprint for bool {
    fn feed(&self, feed: &mut Fingerprinter) {
        feed.letter(b'b');
        feed.0.update([u8::from(*self)]);
    }
}

impl<T: Fingerprint + ?Sized> Fingerprint for &T {
    fn feed(&self, feed: &mut Fingerprinter) {
        (**self).feed(feed);
    }
}

impl<T: Fingerprint + ?Sized> Fingerprint for std::sync::Arc<T> {
    fn feed(&self, feed: &mut Fingerprinter) {
        (**self).feed(feed);
    }
}

impl<T: Fingerprint> Fingerprint for Option<T> {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            None => feed.letter(b'n'),
            Some(value) => {
                feed.letter(b's');
                value.feed(feed);
            }
        }
    }
}

impl<T: Fingerprint> Fingerprint for [T] {
    fn feed(&self, feed: &mut Fingerprinter) {
        feed.letter(b'l');
        feed.length(self.len());
        for value in self {
            value.feed(feed);
        }
    }
}

impl<T: Fingerprint> Fingerprint for Vec<T> {
    fn feed(&self, feed: &mut Fingerprinter) {
        self.as_slice().feed(feed);
    }
}

impl<T: Fingerprint, const N: usize> Fingerprint for [T; N] {
    fn feed(&self, feed: &mut Fingerprinter) {
        self.as_slice().feed(feed);
    }
}

impl<K: Fingerprint, V: Fingerprint> Fingerprint for BTreeMap<K, V> {
    fn feed(&self, feed: &mut Fingerprinter) {
        feed.letter(b'm');
        feed.length(self.len());
        for (key, value) in self {
            key.feed(feed);
            value.feed(feed);
        }
    }
}

/// How a type is fed into a fingerprint: `fingerprint!(Stamp as "stamp" { size: "size" } later { faded: "faded" } without { note });`
/// for a structure, `fingerprint!(Corner: Left = "left", Right = "right");` for choices without values.
///
/// A structure lists all of its fields, each with a label that never changes: one that is forgotten does not compile. `later` holds what
/// it has got since the first version of a fingerprint, `without` what tells nothing apart.
macro_rules! fingerprint {
    ($type:ident as $name:literal { $($field:ident: $label:literal),* $(,)? }
        $(later { $($late:ident: $late_label:literal),* $(,)? })? $(without { $($left:ident),* $(,)? })?) => {
        impl $crate::store::Fingerprint for $type {
            fn feed(&self, feed: &mut $crate::store::Fingerprinter) {
                let Self { $($field,)* $($($late,)*)? $($($left: _,)*)? } = self;
                feed.open($name);
                $(feed.field($label, $field);)*
                $($(feed.later($late_label, $late);)*)?
                feed.close();
            }
        }
    };
    ($type:ident: $($choice:ident = $word:literal),* $(,)?) => {
        impl $crate::store::Fingerprint for $type {
            fn feed(&self, feed: &mut $crate::store::Fingerprinter) {
                match self {
                    $(Self::$choice => $crate::store::Fingerprint::feed($word, feed),)*
                }
            }
        }
    };
}
pub(crate) use fingerprint;

/// A digest that `tests/golden/identities/make.py` computed: its digits.
#[cfg(test)]
pub(crate) fn golden(name: &str) -> &'static str {
    let lines = include_str!("../../tests/golden/identities/expected.txt").lines();
    let mut known = lines.filter_map(|line| line.rsplit_once(' ')).filter(|(of, _)| of.trim_end() == name);
    known.next().map_or("no such name in expected.txt", |(_, digits)| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Everything {
        text: String,
        whole: u64,
        number: f64,
        single: f32,
        switch: bool,
        nothing: Option<u64>,
        some: Option<u64>,
        list: Vec<String>,
        map: BTreeMap<String, f64>,
        side: Side,
        later: bool,
        told: String,
    }

    #[derive(Default)]
    enum Side {
        #[default]
        Left,
        Right,
    }

    fingerprint!(Everything as "everything" {
        text: "text", whole: "whole", number: "number", single: "single", switch: "switch", nothing: "nothing", some: "some",
        list: "list", map: "map", side: "side",
    } later { later: "later" } without { told });
    fingerprint!(Side: Left = "left", Right = "right");

    fn everything() -> Everything {
        Everything {
            text: "Ä".into(),
            whole: 7,
            number: -0.0,
            single: 0.5,
            switch: true,
            nothing: None,
            some: Some(1),
            list: vec!["a".into(), String::new()],
            map: BTreeMap::from([("k".into(), 0.1)]),
            side: Side::Right,
            ..Everything::default()
        }
    }

    #[test]
    fn fingerprints_are_those_of_the_script() {
        assert_eq!(everything().fingerprint("test", 1).digits(), golden("everything"));
        assert_eq!(Everything { later: true, ..everything() }.fingerprint("test", 1).digits(), golden("later"));
        let mut feed = Fingerprinter::new("test", 2);
        feed.bytes(b"\x00\xff");
        feed.numbers([1.0, -0.0].into_iter());
        feed.choice("choice", &[1.5]);
        assert_eq!(feed.finish().digits(), golden("items"));
    }

    #[test]
    fn what_is_left_out_tells_nothing_apart() {
        let of = |all: Everything| all.fingerprint("test", 1);
        let told = Everything { told: "else".into(), ..everything() };
        assert_ne!(told.told, everything().told);
        assert_eq!(of(everything()), of(told));
        assert_ne!(of(everything()), of(Everything { side: Side::Left, ..everything() }));
        assert_ne!(everything().fingerprint("test", 1), everything().fingerprint("test", 2));
        assert_ne!(everything().fingerprint("test", 1), everything().fingerprint("rest", 1));
    }

    #[test]
    fn lists_that_read_alike_are_not_alike() {
        let of = |list: &[&str]| list.fingerprint("test", 1);
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&[]), of(&[""]));
        assert_ne!(None::<&str>.fingerprint("test", 1), Some("").fingerprint("test", 1));
        assert_eq!(0.0_f64.fingerprint("test", 1), (-0.0_f64).fingerprint("test", 1));
    }
}
