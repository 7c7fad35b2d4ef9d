//! What one night leaves for the next, as plain files: a record for each verdict, and which file had which identity.
//!
//! ```text
//! records/3f/3f...e1.json   a verdict, by its key; written whole or not at all
//! reports/3f...e1/          its report and measurements
//! working/3f...e1           how often the program began to work on a model, while it does
//! seen.jsonl                which file had which identity, a line each, added to as the scan goes on
//! scan.json                 the last scan; last.json while another one runs
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::{Record, SCHEMA};
use super::{ScanError, Written};
use crate::source::Refusal;
use crate::store::{self, Digest};

/// Folder of the records.
pub(super) const RECORDS: &str = "records";
/// Folder of the reports.
pub(super) const REPORTS: &str = "reports";
const SEEN: &str = "seen.jsonl";
const WORKING: &str = "working";
/// So often a model may end the program. A scan may be killed for other reasons, so that once or twice says little.
pub(super) const MOST_ENDS: usize = 5;
/// Most bytes of one record.
const MOST_RECORD: u64 = 16 << 20;
/// Most bytes of [`SEEN`].
const MOST_SEEN: u64 = 1 << 30;

/// Which identity a model's files had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// The model's source.
    pub source: String,
    /// Its name there.
    pub name: String,
    /// What its files were known by to the file system; none where that cannot be relied on.
    pub stamp: Option<Digest>,
    /// The build that read them.
    pub build: String,
    /// What they are.
    pub found: Found,
}

/// What a model's files are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Found {
    /// A checkpoint.
    Model {
        /// Its identity.
        digest: Digest,
        /// Bytes of all its files.
        bytes: u64,
        /// The files beside its own.
        files: Vec<String>,
        /// Height and width of the images that it takes, where a rule has asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<[usize; 2]>,
    },
    /// None that is read.
    Refused(Refusal),
}

/// The records in a folder.
pub(super) struct State {
    folder: PathBuf,
    /// By key.
    pub records: BTreeMap<Digest, Record>,
    /// Models that the program was at work on when it was ended, by key, and how often.
    pub entered: BTreeMap<Digest, usize>,
    /// By source and name.
    pub seen: BTreeMap<(String, String), Seen>,
    journal: Option<File>,
    /// Records that cannot be used, each with why.
    pub damaged: Vec<String>,
}

impl State {
    /// Reads what is there. Damaged records are named and count as none; those of a later release are refused.
    pub fn open(folder: &Path) -> Result<Self, ScanError> {
        let mut state = Self {
            folder: folder.to_owned(),
            records: BTreeMap::new(),
            entered: BTreeMap::new(),
            seen: BTreeMap::new(),
            journal: None,
            damaged: Vec::new(),
        };
        state.read_records()?;
        state.read_seen()?;
        for path in listed(&state.folder.join(WORKING))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let times = store::read(&path, 64).ok().and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse().ok()).unwrap_or(1);
            state.entered.extend(Digest::parse(&format!("{}{name}", Digest::PREFIX)).map(|key| (key, times)));
        }
        Ok(state)
    }

    fn read_records(&mut self) -> Result<(), ScanError> {
        let folder = self.folder.join(RECORDS);
        for part in listed(&folder)? {
            for path in listed(&part)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let Some(digits) = name.strip_suffix(".json") else { continue };
                match read_record(&path)? {
                    Ok(record) if record.basis.key().digits() == digits => {
                        self.records.insert(record.basis.key(), record);
                    }
                    Ok(_) => self.damaged.push(format!("{}: it is not named after what it holds", path.display())),
                    Err(why) => self.damaged.push(format!("{}: {why}", path.display())),
                }
            }
        }
        Ok(())
    }

    fn read_seen(&mut self) -> Result<(), ScanError> {
        let path = self.folder.join(SEEN);
        let bytes = match store::read(&path, MOST_SEEN) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(ScanError::Read { path, source }),
        };
        // A line that was not written to its end, or that nobody wrote, costs reading one model again.
        for seen in bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Seen>(line).ok()) {
            self.seen.insert((seen.source.clone(), seen.name.clone()), seen);
        }
        Ok(())
    }

    /// Notes which identity a model's files have, so that a scan that is ended need not read them again.
    pub fn note(&mut self, seen: Seen) -> Written {
        let path = self.folder.join(SEEN);
        let failed = |source| ScanError::Write { path: path.clone(), source };
        if self.journal.is_none() {
            std::fs::create_dir_all(&self.folder).map_err(failed)?;
            let mut file = File::options().append(true).create(true).open(&path).map_err(failed)?;
            // What was torn ends here.
            file.write_all(b"\n").map_err(failed)?;
            self.journal = Some(file);
        }
        let mut line = serde_json::to_vec(&seen)?;
        line.push(b'\n');
        if let Some(file) = &mut self.journal {
            file.write_all(&line).map_err(failed)?;
        }
        self.seen.insert((seen.source.clone(), seen.name.clone()), seen);
        Ok(())
    }

    /// Writes anew which files were seen, without those of models that are `gone`.
    pub fn tidy(&mut self, there: impl Fn(&Seen) -> bool) -> Written {
        self.seen.retain(|_, seen| there(seen));
        self.journal = None;
        let mut bytes = Vec::new();
        for seen in self.seen.values() {
            serde_json::to_writer(&mut bytes, seen)?;
            bytes.push(b'\n');
        }
        write(&self.folder.join(SEEN), &bytes)
    }

    /// Keeps a record.
    pub fn keep(&mut self, record: Record) -> Result<Digest, ScanError> {
        let key = record.basis.key();
        let mut bytes = serde_json::to_vec_pretty(&record)?;
        bytes.push(b'\n');
        write(&record_file(&self.folder, &key), &bytes)?;
        self.records.insert(key.clone(), record);
        Ok(key)
    }

    /// Notes that the program works on a model: it may be ended by that, as by the system for lack of memory.
    pub fn enter(&self, key: &Digest) -> Written {
        let times = self.entered.get(key).map_or(1, |times| times + 1);
        write(&self.working(key), format!("{times}\n").as_bytes())
    }

    /// Notes that it came back.
    pub fn leave(&self, key: &Digest) -> Written {
        let path = self.working(key);
        store::remove_if_there(&path).map_err(|source| ScanError::Write { path, source })
    }

    /// The note on a model that has ended the program too often.
    pub fn fatal(&self, key: &Digest) -> Option<PathBuf> {
        self.entered.get(key).is_some_and(|times| *times >= MOST_ENDS).then(|| self.working(key))
    }

    fn working(&self, key: &Digest) -> PathBuf {
        self.folder.join(WORKING).join(key.digits())
    }

    /// Reads the record of a key anew: another shard may have written it meanwhile.
    pub fn again(&mut self, key: &Digest) -> Option<&Record> {
        let path = record_file(&self.folder, key);
        if let Ok(Ok(record)) = read_record(&path)
            && record.basis.key() == *key
        {
            self.records.insert(key.clone(), record);
        }
        self.records.get(key)
    }

    /// Where the report of a key is.
    pub fn report(&self, key: &Digest) -> PathBuf {
        report_folder(&self.folder, key)
    }
}

/// Where the record of a key is.
pub(super) fn record_file(folder: &Path, key: &Digest) -> PathBuf {
    let digits = key.digits();
    folder.join(RECORDS).join(digits.get(..2).unwrap_or_default()).join(format!("{digits}.json"))
}

/// Where the report of a key is.
pub(super) fn report_folder(folder: &Path, key: &Digest) -> PathBuf {
    folder.join(REPORTS).join(key.digits())
}

/// The paths in a folder, sorted; none where it is not there.
pub(super) fn listed(folder: &Path) -> Result<Vec<PathBuf>, ScanError> {
    let failed = |source| ScanError::Read { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// A record, or why the file is none. One of a later release is an error: what it says must not be thrown away.
fn read_record(path: &Path) -> Result<Result<Record, String>, ScanError> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let bytes = match store::read(path, MOST_RECORD) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Err(error.to_string())),
    };
    match serde_json::from_slice::<Version>(&bytes) {
        Ok(Version { schema }) if schema > SCHEMA => Err(ScanError::Newer { path: path.to_owned(), found: schema }),
        Ok(_) => Ok(serde_json::from_slice(&bytes).map_err(|error| error.to_string())),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// Writes a file whole, into a folder that is created if need be.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Written {
    let failed = |source| ScanError::Write { path: path.to_owned(), source };
    std::fs::create_dir_all(store::folder_of(path)).map_err(failed)?;
    store::write_atomic(path, bytes).map_err(failed)
}
