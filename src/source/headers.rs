//! A checkpoint on a server without its weights: the header of a safetensors file says which tensors it has, and comes with one request.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::remote::{INDEX, Remote, RemoteFile, Role};
use super::{Cause, Refusal};
use crate::net::Net;
use crate::store;

/// Bytes that are asked for first: more than the header of most networks.
const BEGINNING: u64 = 1 << 16;
/// Longest header that is asked for.
const MOST: u64 = 16 << 20;

impl Remote {
    /// Bytes that its headers and what configures it take, about; none where it has none, or the server does not say what its files are.
    pub fn header_bytes(&self) -> Option<u64> {
        let main = self.main.to_lowercase();
        let all_its_own = self.files.iter().all(|file| !matches!(file.role, Role::Likely | Role::Maybe));
        let is_safetensors = main.ends_with(INDEX) || (main.ends_with(".safetensors") && all_its_own);
        let known = self.files.iter().filter(|file| is_weights(file)).all(|file| file.digest.is_some() && file.bytes.is_some());
        let bytes = |file: &RemoteFile| {
            let bytes = file.bytes.unwrap_or_default();
            if is_weights(file) { bytes.min(BEGINNING) } else { bytes }
        };
        let wanted = self.files.iter().filter(|file| file.role != Role::Maybe);
        (is_safetensors && known).then(|| wanted.map(bytes).fold(0, u64::saturating_add))
    }

    /// Fetches its files, and of large files of weights the headers alone: there are zeros in place of their numbers. None where that cannot be.
    pub fn fetch_headers(&self, net: &Net, folder: &Path) -> Result<Option<PathBuf>, Refusal> {
        if self.header_bytes().is_none() {
            return Ok(None);
        }
        // Never where whole files are looked for.
        let snapshot = self.snapshot(&folder.join("headers"));
        for file in self.wanted(net, &snapshot, &mut |_| {})? {
            let to = snapshot.join(&file.path);
            match file.bytes {
                Some(bytes) if is_weights(file) && bytes > BEGINNING => self.header(net, file, bytes, &to)?,
                _ => drop(self.fetch_file(net, file, &to, &mut |_| {})?),
            }
        }
        Ok(Some(snapshot.join(&self.main)))
    }

    fn header(&self, net: &Net, file: &RemoteFile, bytes: u64, to: &Path) -> Result<(), Refusal> {
        let url = self.url(file)?;
        let ask = |bytes| net.beginning(&url, bytes).map_err(|error| Refusal::from(&error));
        let mut first = ask(BEGINNING)?;
        let said = first.first_chunk::<8>().map(|length| u64::from_le_bytes(*length).saturating_add(8));
        let Some(length) = said.filter(|length| *length <= bytes.min(MOST)) else {
            return Err(Refusal::new(Cause::Damaged, format!("{} has no header", self.address())));
        };
        if length > first.len() as u64 {
            first = ask(length)?;
        }
        first.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        let written = || {
            std::fs::create_dir_all(store::folder_of(to))?;
            let mut file = File::create(to)?;
            file.write_all(&first)?;
            // What was not written takes no room on most disks.
            file.set_len(bytes)
        };
        written().map_err(|error| Refusal::new(Cause::Error, format!("{}: {error}", to.display())))
    }
}

fn is_weights(file: &RemoteFile) -> bool {
    file.role != Role::Configures && file.path.to_lowercase().ends_with(".safetensors")
}
