//! The data sets inside the program. Origin and licences: `fixtures/data/LICENSES.md`.

use bytes::Bytes;

use super::format::{Format, Kind, Splits};
use super::source::{Rows, Want};
use super::{DataError, DataSpec, Orientation, Split, parquet};

pub(super) static FORMAT: Format = Format {
    name: "embedded",
    kind: Kind::Inside(|| SETS.iter().map(|set| set.name).collect()),
    splits: Splits::Format,
    orientation: Orientation::Upright,
    loader: "Hugging Face `datasets`",
    // What is inside the program has no place; a folder of classes is what people have at hand.
    // A folder that holds both halves says which images train.
    redirect: |_, new| {
        let halves = ["train", "test"].iter().all(|half| new.join(half).is_dir());
        DataSpec::Folder(if halves { new.join("{split}") } else { new })
    },
    read: |_, name, split, want| read(&name.to_string_lossy(), split.unwrap_or(Split::Train), want),
};

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

fn read(name: &str, split: Split, want: Want) -> Result<Rows, DataError> {
    let set = SETS.iter().find(|set| set.name == name);
    let set = set.ok_or_else(|| DataError::UnknownEmbedded { name: name.to_owned(), known: SETS.map(|s| s.name).join(", ") })?;
    let (file, bytes) = match split {
        Split::Train => set.train,
        Split::Test => set.test,
    };
    parquet::read_file(Bytes::from_static(bytes), file, want)
}
