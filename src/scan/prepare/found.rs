//! What the files of a model are, and how large its images are: read here or asked of a server, within the budget, and kept for the next night.

use std::path::Path;

use super::{Chooser, used_up};
use crate::registry;
use crate::scan::ScanError;
use crate::scan::plan::{PlanEntry, Work};
use crate::scan::spec::Stored;
use crate::scan::state::{Found, Seen, State};
use crate::scan::work;
use crate::source::{Cause, Listed, Refusal, Remote, stamp};

impl Chooser<'_> {
    /// Height and width of the images that a model takes, as its checkpoint says.
    pub(super) fn sides(
        &mut self,
        planned: &mut PlanEntry,
        listed: &Listed,
        state: &mut State,
    ) -> Result<Result<[usize; 2], Work>, ScanError> {
        let here = self.kept;
        let found = match self.find(planned, listed, state)? {
            Ok(found) => found,
            Err(work) => return Ok(Err(work)),
        };
        let (digest, files) = match found {
            Found::Refused(refused) => return Ok(Err(Work::Refuse(refused))),
            Found::Model { input: Some(sides), .. } => return Ok(Ok(sides)),
            Found::Model { digest, bytes, files, .. } => {
                planned.bytes = bytes;
                (digest, files)
            }
        };
        let sides = match &listed.remote {
            Some(remote) => {
                let (net, folder) = (self.servers.net()?, self.servers.folder(remote));
                // Where the headers do not say it, the whole is fetched, unless it is here already.
                let bytes = remote.header_bytes().unwrap_or(if self.kept > here { 0 } else { planned.bytes });
                if let Some(work) = self.too_large(bytes) {
                    return Ok(Err(work));
                }
                if self.is_used_up(bytes) {
                    return Ok(Err(used_up()));
                }
                self.read = self.read.saturating_add(bytes);
                let header = remote.fetch_headers(net, &folder).unwrap_or_default();
                let of_header = header.and_then(|path| work::sides(self.session, &path).ok());
                let sides = match of_header {
                    Some(sides) => Ok(sides),
                    None => remote.fetch(net, &folder, &mut |_| {}).and_then(|path| work::sides(self.session, &path)),
                };
                if self.kept == here {
                    self.servers.remove(remote);
                }
                if self.servers.stopped() {
                    return Err(ScanError::Stopped);
                }
                sides.map_err(|refused| remote.told(&refused, &folder))
            }
            None => match self.spec.path_of(planned) {
                Some(path) => work::sides(self.session, &path),
                None => return Ok(Err(used_up())),
            },
        };
        let id = (planned.id.source.clone(), planned.id.name.clone());
        let found = match &sides {
            Ok(sides) => Some(Found::Model { digest, bytes: planned.bytes, files, input: Some(*sides) }),
            // It is not looked into every night.
            Err(refused) => refused.cause.is_settled().then(|| Found::Refused(refused.clone())),
        };
        if let (Some(seen), Some(found)) = (state.seen.get(&id).cloned(), found) {
            state.note(Seen { found, build: self.plan.build.clone(), ..seen })?;
        }
        Ok(sides.map_err(Work::Refuse))
    }

    /// What the files of a model are, or what becomes of one whose files the budget does not allow to read.
    pub(super) fn find(&mut self, planned: &PlanEntry, listed: &Listed, state: &mut State) -> Result<Result<Found, Work>, ScanError> {
        match &listed.remote {
            Some(remote) => self.found_there(planned, remote, state),
            None => match self.spec.path_of(planned) {
                Some(path) => self.found(planned, &path, state),
                None => Ok(Err(used_up())),
            },
        }
    }

    /// What the files of a model on a server are, by their digests there.
    fn found_there(&mut self, planned: &PlanEntry, remote: &Remote, state: &mut State) -> Result<Result<Found, Work>, ScanError> {
        let id = (planned.id.source.clone(), planned.id.name.clone());
        let stamp = Some(remote.stamp());
        if let Some(seen) = state.seen.get(&id)
            && seen.stamp == stamp
            && (matches!(seen.found, Found::Model { .. }) || seen.build == self.plan.build)
        {
            return Ok(Ok(seen.found.clone()));
        }
        let found = if remote.bytes() > registry::MAX_BYTES {
            let reason =
                format!("{} has {} bytes: a checkpoint of more than {} is not read", remote.address(), remote.bytes(), registry::MAX_BYTES);
            Found::Refused(Refusal::new(Cause::TooLarge, reason))
        } else {
            let unnamed = remote.unnamed();
            if remote.unsized_weights() && (self.most_bytes.is_some() || self.spec.file.budget.disk.is_some()) {
                let why = "the server does not say how large it is, and the budget bounds what is fetched".to_owned();
                return Ok(Err(Work::NotReached { why }));
            }
            if let Some(work) = self.too_large(unnamed) {
                return Ok(Err(work));
            }
            if self.is_used_up(unnamed) {
                return Ok(Err(used_up()));
            }
            self.read = self.read.saturating_add(unnamed);
            self.kept = self.kept.saturating_add(unnamed);
            let folder = self.servers.folder(remote);
            match remote.identify(self.servers.net()?, &folder) {
                Ok((digest, bytes, files)) => Found::Model { digest, bytes, files, input: None },
                Err(_) if self.servers.stopped() => return Err(ScanError::Stopped),
                Err(refused) => Found::Refused(remote.told(&refused, &folder)),
            }
        };
        let settled = !matches!(&found, Found::Refused(refused) if !refused.cause.is_settled());
        let (source, name) = id;
        let stamp = stamp.filter(|_| settled);
        state.note(Seen { source, name, stamp, build: self.plan.build.clone(), found: found.clone() })?;
        Ok(Ok(found))
    }

    /// What the files of a model are.
    fn found(&mut self, planned: &PlanEntry, path: &Path, state: &mut State) -> Result<Result<Found, Work>, ScanError> {
        let id = (planned.id.source.clone(), planned.id.name.clone());
        if let Some(seen) = state.seen.get(&id) {
            let files: &[String] = match &seen.found {
                Found::Model { files, .. } => files,
                Found::Refused(_) => &[],
            };
            // Another build may read what this one refused.
            let holds = matches!(seen.found, Found::Model { .. }) || seen.build == self.plan.build;
            if holds && seen.stamp.is_some() && seen.stamp == stamp(path, files) {
                return Ok(Ok(seen.found.clone()));
            }
        }
        if self.is_used_up(planned.bytes) {
            return Ok(Err(used_up()));
        }
        self.read = self.read.saturating_add(planned.bytes);
        let glanced = if planned.format == Stored::Other { registry::glance(path) } else { Ok(()) };
        let found = match glanced.and_then(|()| registry::identify(path)) {
            Ok(model) => {
                let beside = model.files.iter().map(|file| file.name.clone()).filter(|name| name != "-").collect();
                Found::Model { digest: model.digest, bytes: model.bytes, files: beside, input: None }
            }
            Err(error) => Found::Refused((&error).into()),
        };
        let files: &[String] = match &found {
            Found::Model { files, .. } => files,
            Found::Refused(_) => &[],
        };
        let settled = !matches!(&found, Found::Refused(refused) if !refused.cause.is_settled());
        let stamp = if settled { stamp(path, files) } else { None };
        let (source, name) = id;
        state.note(Seen { source, name, stamp, build: self.plan.build.clone(), found: found.clone() })?;
        Ok(Ok(found))
    }
}
