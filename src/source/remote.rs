//! A checkpoint on a server: which files it is made of, and what is known of them without their bytes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Cause, Refusal};
use crate::net::{Expected, Kind, Net, NetError, Url, plain};
use crate::registry::{self, MAX_BYTES};
use crate::store::{self, Digest, Fingerprinter};

/// Most bytes of a file that configures a checkpoint, and of an index of its parts.
const MOST_CONFIGURATION: u64 = 4 << 20;
const MOST_INDEX: u64 = 16 << 20;
/// Longest name of a folder.
const MOST_NAME: usize = 200;
/// How the name of an index of parts ends.
pub(super) const INDEX: &str = ".safetensors.index.json";

/// How a command names a model of the hub.
pub(super) const SCHEME: &str = "hf://";

/// A checkpoint on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remote {
    /// The server; of a hub, where its interface begins.
    pub home: String,
    /// The model that it belongs to.
    pub name: String,
    /// Which state of the model: a commit of the hub, or what an index says of its files.
    pub revision: String,
    /// The file that the checkpoint is, among `files`.
    pub main: String,
    /// Its files.
    pub files: Vec<RemoteFile>,
}

/// A file of a checkpoint on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteFile {
    /// Where it is in the model, with `/` between folders.
    pub path: String,
    /// Where it is on the network; none on a hub, where name, revision and path say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its size.
    pub bytes: Option<u64>,
    /// Its SHA-256.
    pub digest: Option<Digest>,
    /// What a store calls its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What else tells its state, where a store gives no tag that a request can ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// What it is to the checkpoint.
    pub role: Role,
}

/// What a file is to a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// The checkpoint's own file.
    Own,
    /// It configures it.
    Configures,
    /// It holds weights, by its name; the checkpoint's own file says whether it does.
    Likely,
    /// It may hold weights: only the checkpoint's own file says so.
    Maybe,
}

/// The identity of a checkpoint: digest, bytes, the files beside its own.
type Identity = (Digest, u64, Vec<String>);

impl Remote {
    /// Bytes of its files, as far as they are known and by their names belong to it.
    pub fn bytes(&self) -> u64 {
        self.files.iter().filter(|file| file.role != Role::Maybe).filter_map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// Bytes of its weights that the server names no digest of: to know what they are they have to be fetched.
    pub fn unnamed(&self) -> u64 {
        let weights = self.files.iter().filter(|file| matches!(file.role, Role::Own | Role::Likely) && file.digest.is_none());
        weights.filter_map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// Whether the server says neither the digest of some of its weights nor their size.
    pub fn unsized_weights(&self) -> bool {
        self.files.iter().any(|file| matches!(file.role, Role::Own | Role::Likely) && file.digest.is_none() && file.bytes.is_none())
    }

    /// What people call it: `hf://OWNER/NAME@COMMIT/FILE`, or the address of its file.
    pub fn address(&self) -> String {
        self.at_address(&self.main)
    }

    fn at_address(&self, path: &str) -> String {
        let url = self.files.iter().find(|file| file.path == path).and_then(|file| file.url.as_deref());
        url.map_or_else(|| format!("{}{}@{}/{path}", SCHEME, self.name, self.revision), |url| plain(url).to_owned())
    }

    /// What tells this state of it from others, without a request.
    pub fn stamp(&self) -> Digest {
        let mut feed = Fingerprinter::new("heirloom checkpoint on a server", 1);
        for (label, value) in [("name", &self.name), ("revision", &self.revision), ("main", &self.main)] {
            feed.field(label, value.as_str());
        }
        feed.finish()
    }

    /// The folder for its files below `folder`, laid out as a hub's cache has it, so that it is called as the model is.
    pub fn snapshot(&self, folder: &Path) -> PathBuf {
        let mut model = format!("models--{}", self.name.replace('/', "--"));
        if model.len() > MOST_NAME {
            model = format!("models--{}", Digest::of(model.as_bytes()).digits());
        }
        folder.join(model).join("snapshots").join(&self.revision)
    }

    /// The identity that its files have together: what `registry::identify` gives when they are here. What the server does not say of them is
    /// fetched: files that configure it, indexes, and an ONNX file that may keep weights beside it.
    pub fn identify(&self, net: &Net, folder: &Path) -> Result<Identity, Refusal> {
        let snapshot = self.snapshot(folder);
        let names = self.weights(net, &snapshot, &mut |_| {})?;
        let mut own = None;
        let mut others = BTreeMap::new();
        for file in &self.files {
            let part = || self.part(net, file, &snapshot);
            match file.role {
                Role::Own => own = Some(part()?),
                // The nearest of a name counts: it comes first.
                Role::Configures => {
                    let called = file_name(&file.path).to_owned();
                    if let Entry::Vacant(place) = others.entry(called) {
                        place.insert(part()?);
                    }
                }
                Role::Likely | Role::Maybe => {
                    for name in names.iter().filter(|name| self.beside(name).as_deref() == Some(file.path.as_str())) {
                        others.insert(name.clone(), part()?);
                    }
                }
            }
        }
        let Some(own) = own else { return Err(Refusal::new(Cause::Error, format!("{} has no file of its own", self.address()))) };
        let beside = others.keys().cloned().collect();
        let bytes = others.values().fold(own.1, |sum, (_, bytes)| sum.saturating_add(*bytes));
        Ok((registry::identity_of(own, others), bytes, beside))
    }

    /// Digest and size of a file.
    fn part(&self, net: &Net, file: &RemoteFile, snapshot: &Path) -> Result<(Digest, u64), Refusal> {
        if let (Some(digest), Some(bytes)) = (&file.digest, file.bytes) {
            return Ok((digest.clone(), bytes));
        }
        let path = snapshot.join(&file.path);
        let digest = self.fetch_file(net, file, &path, &mut |_| {})?;
        let bytes = std::fs::metadata(&path).map(|found| found.len());
        Ok((digest, bytes.map_err(|error| Refusal::new(Cause::Error, format!("{}: {error}", self.at_address(&file.path))))?))
    }

    /// Fetches the files that are not there yet. Gives the checkpoint's path. `progress` is told how many bytes of how many are here.
    pub fn fetch(&self, net: &Net, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<PathBuf, Refusal> {
        let snapshot = self.snapshot(folder);
        let mut before = 0;
        for file in self.wanted(net, &snapshot, progress)? {
            self.fetch_file(net, file, &snapshot.join(&file.path), &mut |bytes| progress(before + bytes))?;
            before += file.bytes.unwrap_or_default();
        }
        Ok(snapshot.join(&self.main))
    }

    /// The files that it is made of.
    pub(super) fn wanted(&self, net: &Net, snapshot: &Path, progress: &mut dyn FnMut(u64)) -> Result<Vec<&RemoteFile>, Refusal> {
        let names = self.weights(net, snapshot, progress)?;
        let is_wanted = |file: &&RemoteFile| match file.role {
            Role::Own | Role::Configures => true,
            Role::Likely | Role::Maybe => names.iter().any(|name| self.beside(name).as_deref() == Some(file.path.as_str())),
        };
        Ok(self.files.iter().filter(is_wanted).collect())
    }

    /// The names under which the checkpoint's own file keeps weights beside it. It is fetched where they cannot be known otherwise.
    fn weights(&self, net: &Net, snapshot: &Path, progress: &mut dyn FnMut(u64)) -> Result<Vec<String>, Refusal> {
        let Some(own) = self.files.iter().find(|file| file.role == Role::Own) else { return Ok(Vec::new()) };
        let is_index = self.main.to_lowercase().ends_with(INDEX);
        if !is_index && !self.files.iter().any(|file| matches!(file.role, Role::Likely | Role::Maybe)) {
            return Ok(Vec::new());
        }
        let path = snapshot.join(&own.path);
        self.fetch_file(net, own, &path, progress)?;
        let most = if is_index { MOST_INDEX } else { MAX_BYTES };
        let damaged = |reason: &str| Refusal::new(Cause::Damaged, format!("{}: {reason}", self.address()));
        let bytes = store::read(&path, most).map_err(|error| damaged(&error.to_string()))?;
        if !is_index {
            return Ok(registry::outside(&bytes).into_iter().collect());
        }
        let index = registry::Index::of(&bytes).ok_or_else(|| damaged("it is no index with a `weight_map` from tensors to files"))?;
        let mut names: Vec<String> = index.weight_map.into_values().collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The path in the model of a file that the checkpoint's own names.
    fn beside(&self, name: &str) -> Option<String> {
        let plain: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let path = below(folder_of(&self.main), &plain.join("/"));
        (!name.starts_with('/') && is_below(&path)).then_some(path)
    }

    pub(super) fn fetch_file(&self, net: &Net, file: &RemoteFile, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<Digest, Refusal> {
        // What the digest is not known of was written whole, under the name of its commit.
        let here = || store::open(to).and_then(Digest::of_reader).ok();
        if let Some(digest) = here().filter(|digest| file.digest.as_ref().is_none_or(|named| named == digest)) {
            return Ok(digest);
        }
        let most = match file.role {
            Role::Configures => MOST_CONFIGURATION,
            _ if file.path.to_lowercase().ends_with(INDEX) => MOST_INDEX,
            _ => MAX_BYTES,
        };
        if let Some(bytes) = file.bytes.filter(|bytes| *bytes > most) {
            let reason = format!("{} has {bytes} bytes: of such a file no more than {most} are read", self.at_address(&file.path));
            return Err(Refusal::new(Cause::TooLarge, reason));
        }
        let url = self.url(file)?;
        let expected = Expected { bytes: file.bytes, digest: file.digest.clone(), most, tag: file.tag.clone() };
        net.download(&url, to, &expected, progress).map_err(|error| (&error).into())
    }

    pub(super) fn url(&self, file: &RemoteFile) -> Result<Url, Refusal> {
        let wrong = |reason: String| Refusal::new(Cause::Error, format!("{}: {reason}", self.at_address(&file.path)));
        let mut url = Url::parse(file.url.as_deref().unwrap_or(&self.home)).map_err(|error| wrong(error.to_string()))?;
        if file.url.is_none() {
            let mut path = url.path_segments_mut().map_err(|()| wrong("it is no address".to_owned()))?;
            path.pop_if_empty().extend(self.name.split('/')).push("resolve").push(&self.revision).extend(file.path.split('/'));
        }
        Ok(url)
    }

    /// Asks whether its files are given.
    pub fn probe(&self, net: &Net) -> Result<(), Refusal> {
        let own = self.files.iter().find(|file| file.role == Role::Own);
        own.map_or(Ok(()), |own| net.probe(&self.url(own)?).map_err(|error| (&error).into()))
    }

    /// A refusal that names files by where they are on the server, and not by where they were put.
    pub fn told(&self, refused: &Refusal, folder: &Path) -> Refusal {
        let place = self.snapshot(folder).join(&self.main).display().to_string();
        let around = self.snapshot(folder).display().to_string();
        let address = self.address();
        let root = address.strip_suffix(&self.main).unwrap_or(&address).trim_end_matches('/').to_owned();
        Refusal { reason: refused.reason.replace(&place, &address).replace(&around, &root), ..refused.clone() }
    }
}

/// The folder of a path in a model; nothing for the model's own.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The last part of a path in a model.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// A path in a folder, with `/` between.
pub(super) fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A path that is not read, as people see it: two that differ are shown otherwise.
pub(super) fn shown(path: &str) -> String {
    const LONGEST: usize = 120;
    let start: String = path.escape_debug().take(LONGEST).collect();
    if path.len() <= LONGEST {
        return start;
    }
    format!("{start}... (sha256 {})", Digest::of(path.as_bytes()).digits().get(..12).unwrap_or_default())
}

/// Whether a path is one below a folder: no file of a server is written elsewhere.
pub(crate) fn is_below(path: &str) -> bool {
    let part = |part: &str| {
        let plain = !part.contains(['\\', ':']) && !part.chars().any(char::is_control);
        plain && !part.is_empty() && part != "." && part != ".." && part.len() <= 240
    };
    path.len() <= 1024 && path.split('/').all(part)
}

impl From<&NetError> for Refusal {
    fn from(error: &NetError) -> Self {
        let cause = match error.kind {
            Kind::Down | Kind::Absent | Kind::Untrusted | Kind::Busy | Kind::Redirect | Kind::Unread => Cause::HubDown,
            Kind::Auth => Cause::Auth,
            Kind::Gated => Cause::Gated,
            Kind::NotFound => Cause::NotFound,
            Kind::TooLarge => Cause::TooLarge,
            Kind::Digest => Cause::Digest,
            Kind::Changed => Cause::Changed,
            // That the user ended it, the caller asks.
            Kind::Disk | Kind::Usage | Kind::Stopped => Cause::Error,
        };
        Self::new(cause, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_folder() {
        for path in ["a", "onnx/model.onnx", "a b/c.d", "..a/b.."] {
            assert!(is_below(path), "{path}");
        }
        for path in [
            "",
            "/",
            "/etc/passwd",
            "../a",
            "a/../../b",
            "a/..",
            "a//b",
            "./a",
            "a\\b",
            "C:a",
            "a\0",
            "a\nb",
            &"x/".repeat(600),
            &"x".repeat(250),
        ] {
            assert!(!is_below(path), "{path:?}");
        }
    }
}
