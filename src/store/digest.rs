//! Public identities: SHA-256, as `sha256sum` prints it.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

/// Why what an earlier release left is not gone on from.
pub const EARLIER: &str = "it is of an earlier release, which named models and policies by BLAKE3";

/// Hexadecimal digits of a digest.
const DIGITS: usize = 64;

/// Digits of a digest that is shown shortened.
const SHORT: usize = 12;

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// The identity of a file, or of what a fingerprint is made of: `sha256:` and 64 lower-case hexadecimal digits.
///
/// Earlier builds wrote BLAKE3 without a name, as 64 bare digits. Such a digest can be read, and equals no new one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// What a digest begins with.
    pub(crate) const PREFIX: &str = "sha256:";

    /// The digest of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::from_sha256(sha256(bytes))
    }

    /// The digest of all that a reader gives, read in pieces.
    pub(crate) fn of_reader(reader: impl Read) -> std::io::Result<Self> {
        Ok(Hashing::new(reader).finish()?.0)
    }

    /// The digest with this value.
    pub(crate) fn from_sha256(value: [u8; 32]) -> Self {
        Self(format!("{}{}", Self::PREFIX, hexadecimal(&value)))
    }

    /// The digest that an earlier build gave these bytes: 64 bare digits. Only to recognise what it wrote.
    pub(crate) fn earlier(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }

    /// A digest as a report or policy writes it, in full; one of an earlier build too.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX).unwrap_or(text);
        let hexadecimal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (hexadecimal && digits.len() == DIGITS).then(|| Self(text.to_owned()))
    }

    /// Whether an earlier build wrote it.
    pub(crate) fn is_earlier(&self) -> bool {
        !self.0.starts_with(Self::PREFIX)
    }

    /// In full, as reports and policies write it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Its hexadecimal digits, as `sha256sum` prints them.
    pub(crate) fn digits(&self) -> &str {
        self.0.strip_prefix(Self::PREFIX).unwrap_or(&self.0)
    }

    /// Its name and first twelve digits, for people.
    pub(crate) fn short(&self) -> &str {
        let name = self.0.len() - self.digits().len();
        self.0.get(..name + SHORT).unwrap_or(&self.0)
    }
}

/// A reader that makes the digest of what it gives.
pub(crate) struct Hashing<R> {
    inner: R,
    hasher: sha2::Sha256,
    read: u64,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, hasher: sha2::Sha256::new(), read: 0 }
    }

    /// The digest of all that the reader gives, what is left of it included, and how many bytes that are.
    pub(crate) fn finish(mut self) -> std::io::Result<(Digest, u64)> {
        let mut piece = vec![0; 1 << 16];
        loop {
            match self.read(&mut piece) {
                Ok(0) => return Ok((Digest::from_sha256(self.hasher.finalize().into()), self.read)),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hasher.update(into.get(..read).unwrap_or_default());
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
impl Digest {
    /// A digest of four digits, again and again.
    pub(crate) fn sample(four: &str) -> Self {
        Self(format!("{}{}", Self::PREFIX, four.repeat(DIGITS / four.len())))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is no digest: `{}` and {DIGITS} hexadecimal digits", Self::PREFIX)))
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A SHA-256: `sha256:` and 64 lower-case hexadecimal digits. Reports of earlier builds have a BLAKE3 hash without a name.",
            "type": "string",
            "pattern": "^(sha256:)?[0-9a-f]{64}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `sha256sum` and `b3sum` print them.
    #[test]
    fn digests_are_those_of_ordinary_tools() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").as_str(), abc);
        assert_eq!(Digest::of_reader(&b"abc"[..]).unwrap().as_str(), abc);
        assert_eq!(Digest::of(b"").digits(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        // More than one piece.
        let zeros = vec![0; 1_000_000];
        assert_eq!(Digest::of_reader(&zeros[..]).unwrap().digits(), "d29751f2649b32ff572b5e0a9f541ea660a50f94ff0beedfb0b692b924cc8025");
        assert_eq!(Digest::of(&zeros), Digest::of_reader(&zeros[..]).unwrap());
        assert_eq!(Digest::earlier(b"abc").as_str(), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    }

    #[test]
    fn an_earlier_digest_is_read_and_told_apart() {
        let (new, earlier) = (Digest::of(b"abc"), Digest::earlier(b"abc"));
        for digest in [&new, &earlier] {
            assert_eq!(Digest::parse(digest.as_str()).as_ref(), Some(digest));
            assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(digest).unwrap()).unwrap(), *digest);
        }
        assert!(earlier.is_earlier() && !new.is_earlier());
        assert_eq!((new.short(), earlier.short()), ("sha256:ba7816bf8f01", "6437b3ac3846"));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let digits = "0".repeat(64);
        for text in ["", "sha256:", "sha256:00", &digits[1..], &format!("sha256:{}", "A".repeat(64)), &format!("sha512:{digits}")] {
            assert_eq!(Digest::parse(text), None, "{text}");
            let error = serde_json::from_value::<Digest>(text.into()).unwrap_err().to_string();
            assert!(error.contains("is no digest"), "{error}");
        }
    }
}
