//! How earlier scans ended, a line each: the trend of the page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::scan::record::Outcome;
use crate::scan::results::Scan;
use crate::scan::state::write;
use crate::scan::{ScanError, Written};
use crate::store::{self, Digest};

/// The file of them.
const NIGHTS: &str = "nights.jsonl";
/// Most scans that are kept.
const MOST: usize = 400;
/// Most bytes of the file.
const MOST_BYTES: u64 = 4 << 20;

/// How a scan ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Night {
    /// What tells its plan from any other: a merge may be repeated.
    pub plan: Digest,
    /// When it began: UTC, RFC 3339.
    pub started: String,
    /// Its exit code.
    pub exit_code: i32,
    /// How many models there were of each outcome.
    pub counts: BTreeMap<Outcome, usize>,
}

impl From<&Scan> for Night {
    fn from(scan: &Scan) -> Self {
        Self { plan: scan.run.plan.clone(), started: scan.run.started.clone(), exit_code: scan.exit_code, counts: scan.counts.clone() }
    }
}

/// The scans before this one, and this one last. A line that cannot be read is none.
pub(crate) fn with(scan: &Scan, folder: &Path) -> Vec<Night> {
    let bytes = store::read(&path(folder), MOST_BYTES).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Night>(line).ok());
    let mut nights: Vec<Night> = lines.filter(|night| night.plan != scan.run.plan).collect();
    nights.push(scan.into());
    nights.drain(..nights.len().saturating_sub(MOST));
    nights
}

/// Keeps them for the next scan.
pub(crate) fn keep(nights: &[Night], folder: &Path) -> Written {
    let mut bytes = Vec::new();
    for night in nights {
        serde_json::to_writer(&mut bytes, night).map_err(ScanError::Json)?;
        bytes.push(b'\n');
    }
    write(&path(folder), &bytes)
}

fn path(folder: &Path) -> PathBuf {
    folder.join(NIGHTS)
}
