//! What is known of the models on servers from one scan to the next: which checkpoints each had at which commit, and since when it is missed. A
//! model whose commit is known costs no request.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::results::ModelLine;
use super::state::write;
use super::{ScanError, Written};
use crate::source::{Cause, Listed};
use crate::store::{self, Digest};

/// The file, in the folder of the results.
const FILE: &str = "repositories.jsonl";
/// Most bytes of it.
const MOST: u64 = 4 << 30;
/// A model that is missed in so many scans in a row is gone.
pub(super) const MOST_MISSED: u32 = 3;

/// A model on a server, with all its checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Repository {
    /// Its source, as the scan file names it.
    pub source: String,
    /// What its source calls it.
    pub name: String,
    /// Its state when it was read; none where it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Its checkpoints in that state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<Listed>,
    /// In how many scans in a row, the last one among them, it was not given.
    #[serde(default)]
    pub missed: u32,
    /// The plan that it was counted in last: a merge may be repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Digest>,
}

/// The models on servers that are known.
pub(super) struct Repositories {
    path: PathBuf,
    /// By source and name.
    known: BTreeMap<(String, String), Repository>,
    journal: Option<File>,
}

impl Repositories {
    /// Reads what is there. A line that was not written to its end costs a request.
    pub fn open(folder: &Path) -> Result<Self, ScanError> {
        let path = folder.join(FILE);
        let bytes = match store::read(&path, MOST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(ScanError::Read { path, source }),
        };
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Repository>(line).ok());
        let known = lines.map(|known| ((known.source.clone(), known.name.clone()), known)).collect();
        Ok(Self { path, known, journal: None })
    }

    /// What is known of a model.
    pub fn get(&self, source: &str, name: &str) -> Option<&Repository> {
        self.known.get(&(source.to_owned(), name.to_owned()))
    }

    /// All that is known of a source, in the order of names.
    pub fn of<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a Repository> {
        self.known.range((source.to_owned(), String::new())..).map(|(_, known)| known).take_while(move |known| known.source == source)
    }

    /// Notes what a model is made of, so that a scan that is ended need not ask again.
    pub fn note(&mut self, source: &str, name: &str, commit: String, checkpoints: Vec<Listed>) -> Written {
        let before = self.get(source, name);
        let (missed, counted) = before.map_or((0, None), |before| (before.missed, before.counted.clone()));
        let known = Repository { source: source.to_owned(), name: name.to_owned(), commit: Some(commit), checkpoints, missed, counted };
        let failed = |source| ScanError::Write { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&known)?;
        line.push(b'\n');
        if self.journal.is_none() {
            std::fs::create_dir_all(store::folder_of(&self.path)).map_err(failed)?;
            let mut file = File::options().append(true).create(true).open(&self.path).map_err(failed)?;
            // What was torn ends here.
            file.write_all(b"\n").map_err(failed)?;
            self.journal = Some(file);
        }
        if let Some(file) = &mut self.journal {
            file.write_all(&line).map_err(failed)?;
        }
        self.known.insert((known.source.clone(), known.name.clone()), known);
        Ok(())
    }

    /// Counts a scan that came to its end, and writes all anew, without the models of which nothing is left.
    pub fn conclude(&mut self, plan: &Plan, models: &[ModelLine]) -> Written {
        if self.known.is_empty() && plan.entries.iter().all(|entry| entry.repository.is_none()) {
            return Ok(());
        }
        let causes: BTreeMap<(&str, &str), Option<Cause>> =
            models.iter().map(|model| ((model.source.as_str(), model.name.as_str()), model.cause)).collect();
        let mut told: BTreeMap<(String, String), Vec<Option<Cause>>> = BTreeMap::new();
        for entry in &plan.entries {
            let Some(name) = &entry.repository else { continue };
            let cause = causes.get(&(entry.id.source.as_str(), entry.id.name.as_str())).copied().flatten();
            told.entry((entry.id.source.clone(), name.clone())).or_default().push(cause);
        }
        let gone = plan.gone_repositories.iter().map(|id| ((id.source.clone(), id.name.clone()), vec![Some(Cause::NotFound)]));
        told.extend(gone);
        self.known.retain(|key, _| told.contains_key(key));
        for ((source, name), causes) in told {
            let known = self.known.entry((source.clone(), name.clone())).or_insert_with(|| Repository {
                source,
                name,
                commit: None,
                checkpoints: Vec::new(),
                missed: 0,
                counted: None,
            });
            if known.counted.as_ref() == Some(&plan.id) {
                continue;
            }
            known.counted = Some(plan.id.clone());
            let is = |wanted: &[Cause]| causes.iter().flatten().any(|cause| wanted.contains(cause));
            if is(&[Cause::NotFound, Cause::Gated]) {
                known.missed = known.missed.saturating_add(1);
            } else if !is(&[Cause::HubDown, Cause::Auth]) {
                // A server that does not answer says nothing about its models.
                known.missed = 0;
            }
        }
        self.journal = None;
        let mut bytes = Vec::new();
        for known in self.known.values() {
            serde_json::to_writer(&mut bytes, known)?;
            bytes.push(b'\n');
        }
        write(&self.path, &bytes)
    }
}
