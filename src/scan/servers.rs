//! What the sources on servers hold, by the fewest requests: of a model whose commit is known nothing is asked. A server that does not answer takes
//! no model away; a model that is not given is an error at first, and gone after some scans in a row.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::repositories::{MOST_MISSED, Repositories};
use super::results::ModelId;
use super::spec::{MlflowSpec, SourceSpec, bytes};
use super::{Options, ScanError, ScanSpec, faults};
use crate::diag;
use crate::engine::Event;
use crate::net::{Kind, Net, NetError, Url};
use crate::source::hub::{self, Query, Wanted};
use crate::source::{Access, Cause, EVERYTHING, Entry, Listed, Refusal, Remote, bucket, mlflow, refused as refused_whole, web};
use crate::store::Fingerprinter;

/// Folder for what is fetched, in that of the results.
pub(super) const DOWNLOADS: &str = "downloads";

/// The servers that a scan asks.
pub(super) struct Servers<'a> {
    access: Access,
    folder: PathBuf,
    /// None where no source is on a server.
    net: Option<Net<'a>>,
    /// Buckets that cannot be asked, by their address.
    closed: BTreeMap<String, Refusal>,
    stop: &'a (dyn Fn() -> bool + Sync),
}

/// What a source holds.
#[derive(Default)]
pub(super) struct Listing {
    /// Checkpoints, each with the model that it belongs to.
    pub there: Vec<(String, Listed)>,
    /// Models that are missed for so long that they count as gone.
    pub gone: Vec<ModelId>,
}

impl<'a> Servers<'a> {
    /// Those of a scan. What is fetched goes into a folder below that of the results.
    pub fn of(spec: &ScanSpec, options: &Options, stop: &'a (dyn Fn() -> bool + Sync)) -> Result<Self, ScanError> {
        let mut closed = BTreeMap::new();
        let bandwidth = spec.file.budget.bandwidth.as_deref().and_then(bytes);
        let mut net = if spec.asks_servers() { Some(options.access.net(stop)?.limited(bandwidth)) } else { None };
        if let Some(net) = &mut net {
            let sources = &spec.file.sources;
            // What a source says of a bucket goes before what `allow_sources` does not say.
            let named = sources.iter().filter_map(SourceSpec::bucket).map(|(bucket, _)| bucket);
            for bucket in sources.iter().flat_map(SourceSpec::allowed).chain(named) {
                if let Err(error) = net.add(&bucket) {
                    closed.insert(bucket.address(), Refusal::from(&error));
                }
            }
            let registry = sources.iter().find_map(|source| if let SourceSpec::Mlflow(it) = source { Some(it) } else { None });
            if let Some(home) = registry.and_then(|registry| Url::parse(&registry.endpoint).ok()) {
                options.access.track(net, &home)?;
            }
        }
        Ok(Self { access: options.access.clone(), folder: options.output.join(DOWNLOADS), net, closed, stop })
    }

    /// The client.
    pub fn net(&self) -> Result<&Net<'a>, ScanError> {
        let none = || NetError::new(Kind::Usage, "the scan file", "it names no source on a server, and the plan does");
        Ok(self.net.as_ref().ok_or_else(none)?)
    }

    /// Whether the user ended the scan.
    pub fn stopped(&self) -> bool {
        (self.stop)()
    }

    /// The folder for the files of a checkpoint while it is judged.
    pub fn folder(&self, remote: &Remote) -> PathBuf {
        let mut feed = Fingerprinter::new("heirloom folder of a download", 1);
        feed.field("home", remote.home.as_str());
        feed.field("checkpoint", &remote.stamp());
        self.folder.join(feed.finish().digits().get(..12).unwrap_or_default())
    }

    /// Removes what was fetched for a checkpoint.
    pub fn remove(&self, remote: &Remote) {
        // What cannot be removed now is when the scan ends.
        let _ = std::fs::remove_dir_all(self.folder(remote));
        let _ = std::fs::remove_dir(&self.folder);
    }

    /// Removes all that was fetched.
    pub fn clear(&self) -> Result<(), ScanError> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ScanError::Write { path: self.folder.clone(), source: error })
            }
            _ => Ok(()),
        }
    }

    /// What a source on a server holds; none for a folder.
    pub fn list(
        &self,
        spec: &ScanSpec,
        source: &SourceSpec,
        known: &mut Repositories,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Option<Listing>, ScanError> {
        let name = source.name();
        let before = self.net.as_ref().map_or(0, Net::requests);
        let listing = match source {
            SourceSpec::Folder(_) => return Ok(None),
            SourceSpec::Hf(hub) => {
                let home = self.home(hub.endpoint.as_deref())?;
                let query = Query { owner: &hub.organisation, tags: &hub.filter, task: hub.pipeline.as_deref(), limit: hub.limit };
                match hub::models(self.net()?, &home, &query) {
                    Ok((wanted, cut)) => self.of_hub(&name, &home, &wanted, !cut, known, emit)?,
                    Err(error) => self.unanswered(&name, &Refusal::from(&error), known)?,
                }
            }
            SourceSpec::HfList(list) => {
                let path = spec.at(&list.file);
                let wanted = faults::names(&path).map_err(|why| ScanError::Read { path, source: std::io::Error::other(why) })?;
                self.of_hub(&name, &self.home(list.endpoint.as_deref())?, &wanted, false, known, emit)?
            }
            SourceSpec::Http(index) => match Url::parse(index).ok().map(|url| self.net().map(|net| web::list(net, &url))).transpose()? {
                Some(Ok(models)) => Self::of_index(&name, models, known)?,
                Some(Err(error)) => self.unanswered(&name, &Refusal::from(&error), known)?,
                None => Listing::default(),
            },
            SourceSpec::S3(_) | SourceSpec::Gs(_) | SourceSpec::Az(_) => match source.bucket() {
                Some((bucket, _)) if self.closed.contains_key(&bucket.address()) => {
                    let refused = self.closed.get(&bucket.address()).cloned();
                    let missing = || Refusal::new(Cause::Error, "the bucket cannot be asked");
                    self.unanswered(&name, &refused.unwrap_or_else(missing), known)?
                }
                Some((bucket, prefix)) => match bucket::list(self.net()?, &bucket, &prefix) {
                    Ok(models) => Self::of_index(&name, models, known)?,
                    Err(error) => self.unanswered(&name, &Refusal::from(&error), known)?,
                },
                None => Listing::default(),
            },
            SourceSpec::Mlflow(registry) => {
                let home = self.home(Some(&registry.endpoint))?;
                match mlflow::versions(self.net()?, &home, registry.filter.as_deref(), registry.alias.as_deref()) {
                    Ok(versions) => self.of_registry(&name, &home, registry, &versions, known, emit)?,
                    Err(error) => self.unanswered(&name, &Refusal::from(&error), known)?,
                }
            }
        };
        let requests = self.net.as_ref().map_or(0, Net::requests) - before;
        let text = format!("{name}: {}, {}", diag::count(listing.there.len(), "model"), diag::count(requests, "request"));
        emit(Event::Fact { topic: "source", text });
        Ok(Some(listing))
    }

    /// The hub of a source. The scan file was checked: what it names is an address.
    fn home(&self, endpoint: Option<&str>) -> Result<Url, ScanError> {
        Ok(endpoint.and_then(|text| Url::parse(text).ok()).map_or_else(|| self.access.endpoint(), Ok)?)
    }

    /// The models of a hub. `all`: those that are not among them are not there any more.
    fn of_hub(
        &self,
        source: &str,
        home: &Url,
        wanted: &[Wanted],
        all: bool,
        known: &mut Repositories,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Listing, ScanError> {
        let mut listing = Listing::default();
        emit(Event::StageStart { stage: "list".into(), total: Some(wanted.len() as u64), unit: "models" });
        for (nth, wanted) in wanted.iter().enumerate() {
            let called = if wanted.revision == "main" { wanted.name.clone() } else { format!("{}@{}", wanted.name, wanted.revision) };
            let before = known.get(source, &called);
            let same =
                before.filter(|before| !wanted.disabled && before.commit.is_some() && before.commit == wanted.commit && before.missed == 0);
            let found = match same {
                Some(before) => Ok(before.checkpoints.iter().map(|listed| tagged(listed.clone(), wanted)).collect()),
                None => match hub::checkpoints(self.net()?, home, wanted) {
                    Ok((commit, checkpoints)) => {
                        let checkpoints = checkpoints
                            .into_iter()
                            .map(|listed| tagged(renamed(listed, &wanted.name, &called), wanted))
                            .collect::<Vec<_>>();
                        known.note(source, &called, commit, checkpoints.clone())?;
                        Ok(checkpoints)
                    }
                    Err(_) if self.stopped() => return Err(ScanError::Stopped),
                    Err(refused) => Err(refused),
                },
            };
            listing.add(source, &called, found, known);
            emit(Event::Progress { done: nth as u64 + 1 });
        }
        if all {
            let there: BTreeSet<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
            listing.absent(source, |name| there.contains(name), known);
        }
        Ok(listing)
    }

    /// The models of a registry, each in one version.
    fn of_registry(
        &self,
        source: &str,
        home: &Url,
        registry: &MlflowSpec,
        versions: &[mlflow::Version],
        known: &mut Repositories,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Listing, ScanError> {
        let allowed: Vec<_> = registry.allow_sources.iter().filter_map(|text| mlflow::allowed(text)).collect();
        let mut listing = Listing::default();
        emit(Event::StageStart { stage: "list".into(), total: Some(versions.len() as u64), unit: "models" });
        for (nth, version) in versions.iter().enumerate() {
            // Files in a bucket may change while the version does not.
            let same = known.get(source, &version.name).filter(|before| {
                let fixed = |listed: &Listed| listed.remote.as_ref().is_some_and(|remote| remote.revision == version.state);
                let is_same = before.commit.as_deref() == Some(version.state.as_str()) && before.missed == 0;
                is_same && (allowed.is_empty() || before.checkpoints.iter().any(fixed))
            });
            let found = match same {
                Some(before) => Ok(before.checkpoints.clone()),
                None => match mlflow::checkpoints(self.net()?, home, version, &allowed) {
                    Ok(checkpoints) => {
                        known.note(source, &version.name, version.state.clone(), checkpoints.clone())?;
                        Ok(checkpoints)
                    }
                    Err(_) if self.stopped() => return Err(ScanError::Stopped),
                    Err(refused) => Err(refused),
                },
            };
            listing.add(source, &version.name, found, known);
            emit(Event::Progress { done: nth as u64 + 1 });
        }
        let there: BTreeSet<&str> = versions.iter().map(|version| version.name.as_str()).collect();
        listing.absent(source, |name| there.contains(name), known);
        Ok(listing)
    }

    fn of_index(source: &str, models: web::Models, known: &mut Repositories) -> Result<Listing, ScanError> {
        let mut listing = Listing::default();
        let there: BTreeSet<String> = models.iter().map(|(name, _)| name.clone()).collect();
        for (name, found) in models {
            if let Ok(checkpoints) = &found {
                let state = checkpoints.iter().find_map(|listed| listed.remote.as_ref()).map(|remote| remote.revision.clone());
                let before = known.get(source, &name);
                if before.is_none_or(|before| before.commit != state) {
                    // An index says all of its models every time: of them it is only kept which there were.
                    let entries = checkpoints.iter().map(|listed| Listed { remote: None, ..listed.clone() });
                    known.note(source, &name, state.unwrap_or_default(), entries.collect())?;
                }
            }
            listing.add(source, &name, found, known);
        }
        listing.absent(source, |name| there.contains(name), known);
        Ok(listing)
    }

    /// What is known of a source that does not answer: no model of it is gone.
    fn unanswered(&self, source: &str, refused: &Refusal, known: &Repositories) -> Result<Listing, ScanError> {
        if self.stopped() {
            return Err(ScanError::Stopped);
        }
        let mut listing = Listing::default();
        for known in known.of(source) {
            listing.refuse(&known.name, &known.checkpoints, refused);
        }
        if listing.there.is_empty() {
            // It stands for all that the source may have, and is no model of it.
            listing.there.push((String::new(), refused_whole(EVERYTHING, refused.clone())));
        }
        Ok(listing)
    }
}

impl Listing {
    fn add(&mut self, source: &str, name: &str, found: Result<Vec<Listed>, Refusal>, known: &Repositories) {
        match found {
            Ok(checkpoints) => self.there.extend(checkpoints.into_iter().map(|listed| (name.to_owned(), listed))),
            Err(refused) => {
                let before = known.get(source, name);
                let missed = before.map_or(0, |before| before.missed);
                if matches!(refused.cause, Cause::NotFound | Cause::Gated) && missed + 1 >= MOST_MISSED {
                    self.gone.push(ModelId { source: source.to_owned(), name: name.to_owned() });
                } else {
                    self.refuse(name, before.map_or(&[][..], |before| before.checkpoints.as_slice()), &refused);
                }
            }
        }
    }

    /// Known models that a source does not list any more.
    fn absent(&mut self, source: &str, there: impl Fn(&str) -> bool, known: &Repositories) {
        for known in known.of(source).filter(|known| !there(&known.name)) {
            if known.missed + 1 >= MOST_MISSED {
                // Nobody asks for it any more: it is forgotten.
                continue;
            }
            let reason = format!("{} is not listed any more; after {MOST_MISSED} scans in a row it counts as gone", known.name);
            self.refuse(&known.name, &known.checkpoints, &Refusal::new(Cause::NotFound, reason));
        }
    }

    /// A model that cannot be judged: a line for each checkpoint that it had.
    fn refuse(&mut self, name: &str, checkpoints: &[Listed], refused: &Refusal) {
        if checkpoints.is_empty() {
            self.there.push((name.to_owned(), refused_whole(name, refused.clone())));
        }
        for listed in checkpoints {
            let entry = Entry { refused: Some(refused.clone()), ..listed.entry.clone() };
            self.there.push((name.to_owned(), Listed { entry, remote: None, tags: listed.tags.clone() }));
        }
    }
}

/// A checkpoint of a model that is wanted at a revision is called so.
fn renamed(listed: Listed, name: &str, called: &str) -> Listed {
    let shown = match listed.entry.name.strip_prefix(name) {
        Some(rest) => format!("{called}{rest}"),
        None => listed.entry.name.clone(),
    };
    Listed { entry: Entry { name: shown, ..listed.entry }, ..listed }
}

/// With the tags that the list of today gives it: they change without a commit.
fn tagged(listed: Listed, wanted: &Wanted) -> Listed {
    let tags = wanted.tags.clone().unwrap_or(listed.tags);
    Listed { tags, ..listed }
}
