//! The data sets inside the program. Origin and licences: `fixtures/data/LICENSES.md`.

use bytes::Bytes;

use super::source::{Rows, Want};
use super::{DataError, Split, parquet};

struct Set {
    name: &'static str,
    train: (&'static str, &'static [u8]),
    test: (&'static str, &'static [u8]),
}

macro_rules! file {
    ($name:literal) => {
        ($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/data/", $name)))
    };
}

/// Emoji of three classes by two vendors (column `vendor`; `name` is the cluster), and five classes of Fashion-MNIST.
const SETS: [Set; 2] = [
    Set { name: "emoji", train: file!("emoji-target-train.parquet"), test: file!("emoji-target-test.parquet") },
    Set { name: "fashion", train: file!("canary-target-train.parquet"), test: file!("canary-target-test.parquet") },
];

pub(super) fn read(name: &str, split: Split, want: Want) -> Result<Rows, DataError> {
    let set = SETS.iter().find(|set| set.name == name);
    let set = set.ok_or_else(|| DataError::UnknownEmbedded { name: name.to_owned(), known: SETS.map(|s| s.name).join(", ") })?;
    let (file, bytes) = match split {
        Split::Train => set.train,
        Split::Test => set.test,
    };
    parquet::read_file(Bytes::from_static(bytes), file, want)
}
