//! A long job of many certifications: what is through is kept after each of them, so that the same command goes on from there.
//!
//! A folder holds one of two files: the record as far as it goes, or, once all is through, the whole of it, with what is drawn from it.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::diag::{Class, Explain};
use crate::store::{self, Digest};

/// Most bytes of a record that are read.
const MOST: u64 = 1 << 30;

/// What a campaign writes down.
pub trait Record: Serialize + DeserializeOwned {
    /// Version of its layout.
    const SCHEMA: u32;
    /// Name of its file once all is through.
    const FILE: &'static str;
    /// Name of its file until then.
    const PARTIAL: &'static str;
    /// What one certification, or several of one source, came to.
    type Cell: Clone;

    /// Version of the layout that it has.
    fn schema(&self) -> u32;

    /// What is through.
    fn cells(&self) -> &[Self::Cell];

    /// The same with other cells.
    #[must_use]
    fn with(&self, cells: Vec<Self::Cell>) -> Self;

    /// The checkpoint of a cell.
    fn model(cell: &Self::Cell) -> &Digest;

    /// Whether a cell that an earlier run left answers what this record asks and has not come to yet.
    fn awaits(&self, cell: &Self::Cell) -> bool;

    /// Why what an earlier run left is of no use to this one, where it is not.
    fn outdated(&self, earlier: &Self) -> Option<String>;

    /// The files that are drawn from it, by their names in the folder.
    fn drawn(&self) -> Vec<String>;
}

/// A folder that a campaign writes into, and what an earlier run left there.
pub(crate) struct Campaign<'a, R: Record> {
    folder: &'a Path,
    /// What an earlier run got through with.
    pub earlier: Vec<R::Cell>,
}

/// Marks a folder as that of a campaign that has begun: an earlier record becomes the partial one, from which it goes on, and what was drawn
/// from it is removed, so that nothing there can be taken for the results of this one. `always`: files that are removed whatever the record
/// says. It needs no space.
pub(crate) fn begin<R: Record>(folder: &Path, always: &[&str]) -> Result<(), CampaignError> {
    let file = folder.join(R::FILE);
    let record = store::read(&file, MOST).ok().and_then(|bytes| serde_json::from_slice::<R>(&bytes).ok());
    let drawn = record.iter().flat_map(Record::drawn).chain(always.iter().map(|name| (*name).to_owned()));
    for path in drawn.map(|name| folder.join(name)) {
        store::remove_if_there(&path).map_err(|source| CampaignError::Write { path, source })?;
    }
    store::rename_if_there(&file, &folder.join(R::PARTIAL)).map_err(|source| CampaignError::Write { path: file, source })
}

impl<'a, R: Record> Campaign<'a, R> {
    /// Goes on in a folder where `record` begins. What an earlier run left is never written over unread.
    pub(crate) fn resume(folder: &'a Path, record: &R) -> Result<Self, CampaignError> {
        let path = folder.join(R::PARTIAL);
        let bytes = match store::read(&path, MOST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self { folder, earlier: Vec::new() }),
            Err(source) => return Err(CampaignError::Read { path, source }),
        };
        let of_no_use = |reason: String| CampaignError::Earlier { path: path.clone(), reason };
        let read: R = serde_json::from_slice(&bytes).map_err(|e| of_no_use(e.to_string()))?;
        if read.schema() != R::SCHEMA {
            return Err(of_no_use(format!("its layout is version {}, this program writes {}", read.schema(), R::SCHEMA)));
        }
        if let Some(reason) = record.outdated(&read) {
            return Err(of_no_use(reason));
        }
        if read.cells().iter().any(|cell| R::model(cell).is_earlier()) {
            return Err(of_no_use(store::EARLIER.to_owned()));
        }
        Ok(Self { folder, earlier: read.cells().to_vec() })
    }

    /// Writes what is through. What an earlier run had and this one has not come to yet stays, so that an interruption takes nothing away.
    pub(crate) fn keep(&self, record: &R) -> Result<(), CampaignError> {
        let ahead = self.earlier.iter().filter(|cell| record.awaits(cell));
        self.write(R::PARTIAL, &text(&record.with(record.cells().iter().chain(ahead).cloned().collect()))?).map(drop)
    }

    /// Writes what was drawn and then the whole record: where that is, it is complete. Gives the files.
    pub(crate) fn finish(&self, record: &R, drawn: &[(String, String)]) -> Result<Vec<PathBuf>, CampaignError> {
        let mut written = drawn.iter().map(|(name, text)| self.write(name, text)).collect::<Result<Vec<_>, _>>()?;
        written.push(self.write(R::FILE, &text(record)?)?);
        // All of it is in the record; where it stays, nothing is lost.
        let _ = std::fs::remove_file(self.folder.join(R::PARTIAL));
        Ok(written)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, CampaignError> {
        let path = self.folder.join(name);
        let made = std::fs::create_dir_all(path.parent().unwrap_or(self.folder));
        match made.and_then(|()| store::write_atomic(&path, text.as_bytes())) {
            Ok(()) => Ok(path),
            Err(source) => Err(CampaignError::Write { path, source }),
        }
    }
}

/// A record as its file has it.
pub fn text<R: Record>(record: &R) -> Result<String, CampaignError> {
    Ok(serde_json::to_string_pretty(record)? + "\n")
}

/// Why a campaign cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What an earlier run left cannot be gone on from.
    #[error("cannot resume from {}: {reason}; move it away, or name another folder with --output", path.display())]
    Earlier {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A record is no JSON.
    #[error("the results cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Explain for CampaignError {
    fn class(&self) -> Class {
        match self {
            Self::Earlier { .. } => Class::Usage,
            Self::Read { .. } | Self::Write { .. } | Self::Json(_) => Class::Fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Numbers {
        schema: u32,
        asks: u32,
        cells: Vec<(Digest, u32)>,
    }

    impl Record for Numbers {
        const SCHEMA: u32 = 1;
        const FILE: &'static str = "numbers.json";
        const PARTIAL: &'static str = "numbers.partial.json";
        type Cell = (Digest, u32);

        fn schema(&self) -> u32 {
            self.schema
        }

        fn cells(&self) -> &[Self::Cell] {
            &self.cells
        }

        fn with(&self, cells: Vec<Self::Cell>) -> Self {
            Self { cells, ..self.clone() }
        }

        fn model(cell: &Self::Cell) -> &Digest {
            &cell.0
        }

        fn awaits(&self, cell: &Self::Cell) -> bool {
            !self.cells.contains(cell)
        }

        fn outdated(&self, earlier: &Self) -> Option<String> {
            (self.asks != earlier.asks).then(|| "it asks something else".to_owned())
        }

        fn drawn(&self) -> Vec<String> {
            vec!["numbers.md".into()]
        }
    }

    fn numbers(cells: &[u32]) -> Numbers {
        Numbers { schema: 1, asks: 7, cells: cells.iter().map(|n| (Digest::of(&[*n as u8]), *n)).collect() }
    }

    #[test]
    fn what_is_through_is_kept_and_gone_on_from() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let resume = || Campaign::resume(at, &numbers(&[])).map(|campaign| campaign.earlier);
        begin::<Numbers>(at, &[]).expect("begun");
        assert_eq!(resume().expect("nothing yet"), []);
        Campaign::resume(at, &numbers(&[])).expect("resumed").keep(&numbers(&[1, 2, 3])).expect("kept");
        // The next run comes to the second first: the others stay.
        let campaign = Campaign::resume(at, &numbers(&[])).expect("resumed");
        campaign.keep(&numbers(&[2])).expect("kept");
        assert_eq!(resume().expect("all"), numbers(&[2, 1, 3]).cells);
        let files = campaign.finish(&numbers(&[2, 1]), &[("numbers.md".into(), "2 1".into())]).expect("finished");
        assert_eq!(files, [at.join("numbers.md"), at.join("numbers.json")]);
        assert!(!at.join("numbers.partial.json").exists());
        // Begun anew, nothing there is taken for its result.
        begin::<Numbers>(at, &["more.md"]).expect("begun");
        assert!(!at.join("numbers.json").exists() && !at.join("numbers.md").exists());
        assert_eq!(resume().expect("what was through"), numbers(&[2, 1]).cells);
    }

    #[test]
    fn what_is_of_no_use_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let put = |numbers: &Numbers| std::fs::write(at.join(Numbers::PARTIAL), text(numbers).expect("JSON")).expect("written");
        let refused = || match Campaign::resume(at, &numbers(&[])) {
            Err(error) => (error.class(), error.to_string()),
            Ok(_) => panic!("resumed"),
        };
        let mut earlier = numbers(&[1]);
        earlier.cells[0].0 = Digest::earlier(b"x");
        for (left, said) in [
            (Numbers { schema: 9, ..numbers(&[]) }, "its layout is version 9, this program writes 1"),
            (Numbers { asks: 8, ..numbers(&[]) }, "it asks something else"),
            (earlier, store::EARLIER),
        ] {
            put(&left);
            let (class, told) = refused();
            assert!(class == Class::Usage && told.contains("cannot resume from") && told.contains(said), "{told}");
        }
        std::fs::write(at.join(Numbers::PARTIAL), "no").expect("written");
        assert!(refused().1.contains("numbers.partial.json"));
    }
}
