//! One checkpoint on a server for a command that names it: fetched into a folder, from where the next run takes it.

use std::path::{Path, PathBuf};

use super::address::Named;
use super::hub::{self, Wanted, is_commit};
use super::remote::file_name;
use super::{Access, Address, Cause, Refusal, bucket, ending};
use crate::diag::{Class, Explain};
use crate::engine::Event;
use crate::net::{Kind, NetError};

/// Most names in a message.
const SHOWN: usize = 20;

/// A checkpoint of the hub that is here now.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its file.
    pub path: PathBuf,
    /// What it is called: `hf://OWNER/NAME@COMMIT/FILE`, `s3://BUCKET/KEY`.
    pub address: String,
}

/// Fetches the checkpoint that an address means, unless it is in the folder already. `stop` is asked while it waits.
pub fn fetch(
    address: &Address,
    access: &Access,
    folder: &Path,
    stop: &(dyn Fn() -> bool + Sync),
    emit: &mut dyn FnMut(Event),
) -> Result<Fetched, FetchError> {
    let mut net = access.net(stop)?;
    let ended = |refused: Refusal| if stop() { FetchError::Stopped } else { FetchError::Refused(refused) };
    let (called, file, folder, all) = match &address.0 {
        Named::Hub { name, revision, file } => {
            let commit = is_commit(revision).then(|| revision.clone());
            let wanted = Wanted { name: name.clone(), revision: revision.clone(), commit, disabled: false, tags: None };
            let (commit, all) = hub::checkpoints(&net, &access.endpoint()?, &wanted).map_err(ended)?;
            // What stands for the model as a whole is none of its checkpoints.
            let all = all.into_iter().filter(|listed| listed.remote.is_some() || listed.entry.path.as_os_str() != name.as_str());
            let all = all.map(|listed| (listed.entry.path.display().to_string(), listed)).collect();
            (format!("hf://{name}@{commit}"), file.clone(), folder.to_owned(), all)
        }
        Named::Object { bucket, key } => {
            net.add(bucket)?;
            let all: Vec<_> = bucket::named(&net, bucket, key).map_err(ended)?;
            let file = ending(file_name(key)).is_some().then(|| key.clone());
            // Buckets of one name may be on several servers: the state of the files tells theirs apart.
            (bucket.address(), file, folder.join(format!("{}--{}", bucket.scheme, bucket.name)), all)
        }
    };
    let folder = folder.as_path();
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for (path, listed) in all {
        match listed.remote {
            Some(remote) if file.as_ref().is_none_or(|file| *file == path) => found.push((path, remote)),
            _ => others.push(path),
        }
    }
    let names = |all: &[String]| {
        if all.is_empty() {
            return "no .safetensors or .onnx file".to_owned();
        }
        let more = if all.len() > SHOWN { ", ..." } else { "" };
        format!("{}{more}", all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    let remote = match found.as_slice() {
        [(_, one)] => one,
        [] => {
            return Err(match file {
                Some(file) => FetchError::NoSuch { called, file, there: names(&others) },
                None => FetchError::Unread { called, there: names(&others) },
            });
        }
        several => {
            let there: Vec<String> = several.iter().map(|(path, _)| path.clone()).collect();
            let example = there.first().cloned().unwrap_or_default();
            return Err(FetchError::Several {
                hint: format!("name the one that is meant, such as {called}/{example}"),
                called,
                there: names(&there),
            });
        }
    };
    emit(Event::StageStart { stage: "download".into(), total: Some(remote.bytes()), unit: "bytes" });
    let clock = std::time::Instant::now();
    let path =
        remote.fetch(&net, folder, &mut |done| emit(Event::Progress { done })).map_err(|refused| ended(remote.told(&refused, folder)))?;
    emit(Event::StageEnd { stage: "download".into(), summary: remote.address(), seconds: clock.elapsed().as_secs_f64() });
    Ok(Fetched { path, address: remote.address() })
}

/// Why a checkpoint of the hub is not here.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The hub gives it not, or what it gives is not taken.
    #[error("{}", .0.reason)]
    Refused(Refusal),
    /// No connection can be had.
    #[error(transparent)]
    Net(#[from] NetError),
    /// More than one.
    #[error("{called} holds several checkpoints: {there}")]
    Several {
        /// The model.
        called: String,
        /// Their names.
        there: String,
        /// What to write.
        hint: String,
    },
    /// Not the one that was named.
    #[error("{called} holds no checkpoint `{file}`: there are {there}")]
    NoSuch {
        /// The model.
        called: String,
        /// What was named.
        file: String,
        /// What is there.
        there: String,
    },
    /// None that is read.
    #[error("{called} holds no checkpoint that is read: {there}")]
    Unread {
        /// The model.
        called: String,
        /// What is there.
        there: String,
    },
    /// The user ended it.
    #[error("interrupted")]
    Stopped,
}

impl Explain for FetchError {
    fn inner(&self) -> Option<&dyn Explain> {
        if let Self::Net(error) = self { Some(error) } else { None }
    }

    fn class(&self) -> Class {
        match self {
            Self::Stopped => Class::Stopped,
            Self::Several { .. } | Self::NoSuch { .. } => Class::Usage,
            Self::Net(error) => error.class(),
            Self::Refused(_) | Self::Unread { .. } => Class::Fault,
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Several { hint, .. } => Some(hint),
            Self::Net(error) => error.hint(),
            Self::Refused(refused) => {
                let kind = match refused.cause {
                    Cause::Auth => Kind::Auth,
                    Cause::Gated => Kind::Gated,
                    Cause::HubDown => Kind::Down,
                    _ => return None,
                };
                NetError::advice(kind, &refused.reason)
            }
            _ => None,
        }
    }
}
