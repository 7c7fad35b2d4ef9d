//! From a scan file to a plan: what the sources hold, which rule each model comes under, what is known of it already, and what the budget allows.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Plan, PlanEntry, SCHEMA, Work};
use super::record::{Basis, Outcome, Record};
use super::repositories::Repositories;
use super::results::{Before, ModelId, Scan};
use super::rules::{Asked, Condition};
use super::servers::Servers;
use super::spec::{Patterns, SourceSpec, Stored, Tier, bytes as size, seconds};
use super::state::{Found, MOST_ENDS, State};
use super::{Options, ScanError, ScanSpec, new_id, output, time, work};
use crate::diag;
use crate::engine::{self, Event};
use crate::report;
use crate::runtime::Runtime;
use crate::session::{Session, now};
use crate::source::{self, Cause, Listed, Refusal, Remote};
use crate::store::Digest;

mod found;

/// Makes the plan.
pub(super) fn plan(
    spec: &ScanSpec,
    session: &Session,
    options: &Options,
    servers: &Servers,
    (state, known): (&mut State, &mut Repositories),
    emit: &mut dyn FnMut(Event),
) -> Result<Plan, ScanError> {
    let (seconds_now, today) = now();
    let last = output::last(&options.output)?;
    let file = &spec.file;
    let recheck = file.recheck_after.as_deref().and_then(seconds);
    let mut plan = Plan {
        schema: SCHEMA,
        id: new_id(),
        made: time(),
        name: file.name.clone(),
        file: spec.digest.clone(),
        policies: spec.policies.iter().map(|(name, policy)| (name.clone(), policy.fingerprint())).collect(),
        build: engine::build().unwrap_or("unknown").to_owned(),
        tool: session.tool(),
        executor: session.runtime.as_ref().map_or_else(|| "heirloom".to_owned(), Runtime::name),
        fail_on: options.fail_on.unwrap_or(file.fail_on),
        allow_not_reached: file.allow_not_reached,
        trusted: file.trusted.iter().flat_map(Patterns::all).map(|(_, pattern)| pattern.to_owned()).collect(),
        oldest: recheck.map(|age| report::utc(seconds_now.saturating_sub_unsigned(age))),
        entries: Vec::new(),
        gone: Vec::new(),
        gone_repositories: Vec::new(),
    };
    let before: BTreeMap<ModelId, Before> =
        last.iter().flat_map(|last: &Scan| &last.models).map(|line| (line.id(), Before::from(line))).collect();
    let mut listed = Vec::new();
    for (from, source) in file.sources.iter().enumerate() {
        let name = source.name();
        if let SourceSpec::Folder(folder) = source {
            let entries = source::list(&spec.at(folder))?;
            emit(Event::Fact { topic: "source", text: format!("{name}: {}", diag::count(entries.len(), "model")) });
            listed.extend(entries.into_iter().map(|entry| (from, name.clone(), None, Listed { entry, remote: None, tags: Vec::new() })));
        } else if let Some(listing) = servers.list(spec, source, known, emit)? {
            plan.gone_repositories.extend(listing.gone);
            listed.extend(
                listing
                    .there
                    .into_iter()
                    .map(|(repository, entry)| (from, name.clone(), Some(repository).filter(|name| !name.is_empty()), entry)),
            );
        }
    }
    let mut listed: Vec<(u8, ModelId, usize, Option<String>, Listed)> = listed
        .into_iter()
        .map(|(from, source, repository, listed)| {
            let id = ModelId { source, name: listed.entry.name.clone() };
            (rank(before.get(&id)), id, from, repository, listed)
        })
        .collect();
    listed.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    apart(&mut listed);
    let most_bytes = options.max_bytes.or_else(|| file.budget.bytes.as_deref().and_then(size));
    let mut chooser = Chooser {
        spec,
        session,
        plan: &plan,
        servers,
        today: &today,
        conditions: file.rules.iter().map(Condition::of).collect(),
        most_bytes,
        read: 0,
        fetched: BTreeSet::new(),
        kept: 0,
        costs: Costs::of(state),
    };
    let there: BTreeSet<ModelId> = listed.iter().map(|(_, id, ..)| id.clone()).collect();
    emit(Event::StageStart { stage: "identify".into(), total: Some(listed.len() as u64), unit: "models" });
    let mut entries = Vec::with_capacity(listed.len());
    for (nth, (_, id, from, repository, listed)) in listed.into_iter().enumerate() {
        if (session.stop)() {
            return Err(ScanError::Stopped);
        }
        let before = before.get(&id).cloned();
        let mut entry = chooser.entry(id, from, &listed, before, state)?;
        entry.repository = repository;
        entries.push(entry);
        emit(Event::Progress { done: nth as u64 + 1 });
    }
    allot(&mut entries, state, file.budget.models);
    let left: BTreeSet<ModelId> = before.into_keys().filter(|id| !there.contains(id)).collect();
    let told = |id: &ModelId| left.iter().any(|left| left.source == id.source && left.name.starts_with(&id.name));
    let missed: Vec<ModelId> = plan.gone_repositories.iter().filter(|id| !told(id)).cloned().collect();
    plan.gone = left.iter().cloned().chain(missed).collect();
    plan.entries = entries;
    for source in file.sources.iter().map(SourceSpec::name) {
        let has = |id: &ModelId| id.source == source;
        if !plan.entries.iter().any(|entry| has(&entry.id)) && !plan.gone.iter().any(has) {
            emit(Event::Warning(format!("the source {source} has no models: is that its name?")));
        }
    }
    for pattern in &plan.trusted {
        // What is no pattern was refused before.
        let held = glob::Pattern::new(pattern).is_ok_and(|pattern| plan.entries.iter().any(|entry| pattern.matches(&entry.id.name)));
        if !held {
            emit(Event::Warning(format!("`trusted: {pattern}` matches no model: no family counts as a neighbour by it")));
        }
    }
    let work = plan.entries.iter().filter(|entry| entry.is_work()).count();
    emit(Event::StageEnd {
        stage: "identify".into(),
        summary: format!("{}, {} to do, {} known", diag::count(plan.entries.len(), "model"), work, kept(&plan)),
        seconds: 0.0,
    });
    Ok(plan)
}

fn kept(plan: &Plan) -> usize {
    plan.entries.iter().filter(|entry| entry.work == Work::Keep).count()
}

/// What is looked at first, where not all can be: not reached before, failed before, new, all others.
fn rank(before: Option<&Before>) -> u8 {
    match before {
        Some(before) if before.outcome == Outcome::NotReached => 0,
        Some(before) if matches!(before.outcome, Outcome::Fail | Outcome::Error) => 1,
        None => 2,
        Some(_) => 3,
    }
}

/// Puts the order right, and leaves out what there is no room for.
fn allot(entries: &mut [PlanEntry], state: &State, most: Option<usize>) {
    // What ended the program once comes last: it must not keep the others from their turn.
    let ended = |entry: &PlanEntry| entry.key.as_ref().is_some_and(|key| state.entered.contains_key(key));
    entries.sort_by_key(|entry| (ended(entry), rank(entry.before.as_ref()), entry.id.clone()));
    let Some(most) = most else { return };
    let mut keys: BTreeSet<Digest> = BTreeSet::new();
    for entry in entries.iter_mut().filter(|entry| entry.work == Work::Measure) {
        let Some(key) = &entry.key else { continue };
        if !keys.contains(key) && keys.len() >= most {
            entry.work = Work::NotReached { why: format!("the budget of {} is used up", diag::count(most, "model")) };
        } else {
            keys.insert(key.clone());
        }
    }
}

/// Two models of one name could not be told apart: the second is refused, under a name of its own.
fn apart(listed: &mut [(u8, ModelId, usize, Option<String>, Listed)]) {
    let mut names: BTreeMap<ModelId, usize> = BTreeMap::new();
    for (_, id, _, _, listed) in listed {
        let times = names.entry(id.clone()).or_default();
        *times += 1;
        if *times > 1 {
            let reason = format!("another checkpoint of this source is called {} too, so that the two cannot be told apart", id.name);
            listed.entry.refused = Some(Refusal::new(Cause::Unsupported, reason));
            listed.remote = None;
            id.name = format!("{}#{times}", id.name);
        }
    }
}

/// Most bytes that stay on disk from finding out what a model is to its measurement. What is above that is fetched again.
const MOST_KEPT: u64 = 16 << 30;

struct Chooser<'a> {
    spec: &'a ScanSpec,
    session: &'a Session<'a>,
    plan: &'a Plan,
    today: &'a str,
    conditions: Vec<Condition>,
    most_bytes: Option<u64>,
    servers: &'a Servers<'a>,
    /// Bytes of models that were read, or will be fetched.
    read: u64,
    /// The keys of those that will be.
    fetched: BTreeSet<Digest>,
    /// Bytes of files that a server names no digest of, and that are here until they are measured.
    kept: u64,
    costs: Costs,
}

impl Chooser<'_> {
    fn entry(
        &mut self,
        id: ModelId,
        from: usize,
        listed: &Listed,
        before: Option<Before>,
        state: &mut State,
    ) -> Result<PlanEntry, ScanError> {
        let entry = &listed.entry;
        let format = Stored::from(entry.ending);
        // What could not be had says nothing of itself, and a source that cannot be listed is no model that a rule is about.
        let known = entry.bytes > 0 || entry.refused.as_ref().is_none_or(|refused| refused.cause.is_settled());
        let whole = id.name == source::EVERYTHING && entry.refused.is_some();
        let (bytes, stored) = (known.then_some(entry.bytes), known.then_some(format));
        let asked = Asked { source: &id.source, name: &id.name, tags: &listed.tags, bytes, format: stored };
        let holding: Vec<usize> =
            (0..self.conditions.len()).filter(|at| !whole && self.conditions.get(*at).is_some_and(|it| it.holds(&asked))).collect();
        let mut planned = PlanEntry {
            id,
            from,
            path: entry.path.to_string_lossy().into_owned(),
            bytes: entry.bytes,
            format,
            rule: None,
            policy: None,
            tier: None,
            digest: None,
            key: None,
            work: Work::Measure,
            cost: 0.0,
            before,
            repository: None,
            revision: listed.remote.as_ref().map(|remote| remote.revision.clone()),
            remote: None,
            claimed: false,
        };
        let before = self.kept;
        planned.work = match self.rule(&holding, &mut planned, listed, state)? {
            Ok(rule) => {
                let named = rule.and_then(|rule| self.spec.file.rules.get(rule));
                planned.rule = rule;
                planned.policy = named.and_then(|rule| rule.policy.as_ref()).map(|path| path.display().to_string());
                planned.tier = named.filter(|rule| rule.skip.is_none()).map(|rule| rule.tier);
                self.work(&mut planned, listed, state)?
            }
            Err(work) => work,
        };
        if let Some(remote) = listed.remote.as_ref().filter(|_| self.kept > before)
            && (!planned.is_work() || self.kept > MOST_KEPT)
        {
            self.servers.remove(remote);
            self.kept = before;
        }
        planned.remote = listed.remote.clone().filter(|_| planned.is_work());
        Ok(planned)
    }

    /// The rule that a model comes under, of those that hold as far as the list says, or what becomes of a model of which that cannot be known.
    fn rule(
        &mut self,
        holding: &[usize],
        planned: &mut PlanEntry,
        listed: &Listed,
        state: &mut State,
    ) -> Result<Result<Option<usize>, Work>, ScanError> {
        let mut known = None;
        for &at in holding {
            let Some(condition) = self.conditions.get(at) else { continue };
            if condition.asks_input() && known.is_none() {
                if let Some(refused) = &listed.entry.refused {
                    return Ok(Err(Work::Refuse(refused.clone())));
                }
                known = match self.sides(planned, listed, state)? {
                    Ok(sides) => Some(sides),
                    Err(work) => return Ok(Err(work)),
                };
            }
            let takes = |condition: &Condition| known.is_none_or(|sides| condition.takes(sides));
            if self.conditions.get(at).is_some_and(takes) {
                return Ok(Ok(Some(at)));
            }
        }
        Ok(Ok(None))
    }

    fn work(&mut self, planned: &mut PlanEntry, listed: &Listed, state: &mut State) -> Result<Work, ScanError> {
        let entry = &listed.entry;
        let rule = planned.rule.and_then(|rule| self.spec.file.rules.get(rule));
        if let Some(why) = rule.and_then(|rule| rule.skip.clone()) {
            return Ok(Work::LeaveOut { why });
        }
        if let Some(refused) = &entry.refused {
            return Ok(Work::Refuse(refused.clone()));
        }
        let no_policy = || {
            let reason = "no policy applies: no rule of the scan matches this model; give it a rule with a policy, or with `skip: WHY`";
            Work::Refuse(Refusal::new(Cause::NoPolicy, reason))
        };
        // What a format shows that is not read, is said before that; nothing else need be read for it.
        if rule.is_none() && planned.format != Stored::Other {
            return Ok(no_policy());
        }
        let here = self.kept;
        let found = match self.find(planned, listed, state)? {
            Ok(found) => found,
            Err(work) => return Ok(work),
        };
        let digest = match found {
            Found::Model { digest, bytes, .. } => {
                planned.bytes = bytes;
                digest
            }
            Found::Refused(refused) => return Ok(Work::Refuse(refused)),
        };
        planned.digest = Some(digest);
        let Some(tier) = planned.tier else { return Ok(no_policy()) };
        if planned.policy.is_some() && tier != Tier::Static && self.spec.policy_of(planned).is_none() {
            let reason = "the policy has no rule on frozen features, and the tier `features` asks no other";
            return Ok(Work::Refuse(Refusal::new(Cause::PolicyMisfit, reason)));
        }
        planned.claimed = tier == Tier::Static && listed.remote.as_ref().is_some_and(|remote| remote.header_bytes().is_some());
        let Some(basis) = self.plan.basis(planned) else { return Ok(no_policy()) };
        planned.cost = self.costs.of_model(&basis, planned.bytes);
        let key = basis.key();
        planned.key = Some(key.clone());
        if let Some(path) = state.fatal(&key) {
            let reason = format!(
                "heirloom itself was ended {MOST_ENDS} times while it worked on this model, which may need more memory than there is: remove {} to try again",
                path.display()
            );
            return Ok(Work::Refuse(Refusal::new(Cause::Error, reason)));
        }
        let work = self.known(&basis, &key, state);
        // What is fetched counts where it is, and once.
        if listed.remote.is_some() && work == Work::Measure && !self.fetched.contains(&key) {
            // For a static look the headers are enough.
            let headers = listed.remote.as_ref().and_then(Remote::header_bytes).filter(|_| tier == Tier::Static);
            let bytes = headers.unwrap_or(planned.bytes);
            if let Some(work) = self.too_large(bytes) {
                return Ok(work);
            }
            // What was fetched to find out what it is has counted.
            let bytes = if self.kept > here { 0 } else { bytes };
            if self.is_used_up(bytes) {
                return Ok(used_up());
            }
            self.read = self.read.saturating_add(bytes);
            self.fetched.insert(key);
        }
        Ok(work)
    }

    /// What becomes of a model of which more is fetched than the disk may hold.
    fn too_large(&self, bytes: u64) -> Option<Work> {
        let most = self.spec.file.budget.disk.as_deref().filter(|most| size(most).is_some_and(|most| bytes > most))?;
        Some(Work::NotReached { why: format!("it takes {bytes} bytes on the disk, and the budget is {most}") })
    }

    fn is_used_up(&self, bytes: u64) -> bool {
        self.most_bytes.is_some_and(|most| self.read.saturating_add(bytes) > most)
    }

    /// What is known of a model with this basis already.
    fn known(&self, basis: &Basis, key: &Digest, state: &State) -> Work {
        let oldest = self.plan.oldest.as_deref();
        match state.records.get(key) {
            Some(record) if work::stands(record, oldest, self.today) => return Work::Keep,
            Some(record) if record.report && work::is_young(record, oldest) => return Work::Rejudge { from: key.clone() },
            Some(_) => return Work::Measure,
            None => {}
        }
        let usable = |record: &&Record| record.report && work::is_young(record, oldest) && basis.may_judge(&record.basis);
        let newest = state.records.values().filter(usable).max_by(|a, b| a.run.measured.cmp(&b.run.measured));
        newest.map_or(Work::Measure, |record| Work::Rejudge { from: record.basis.key() })
    }
}

fn used_up() -> Work {
    Work::NotReached { why: "the budget of bytes is used up".to_owned() }
}

/// What measuring took before.
struct Costs(BTreeMap<(Digest, Option<Digest>, Tier), f64>);

impl Costs {
    fn of(state: &State) -> Self {
        let known = state.records.values().filter(|record| record.report);
        Self(known.map(|r| ((r.basis.model.clone(), r.basis.policy.clone(), r.basis.tier), r.run.seconds)).collect())
    }

    /// Seconds that a model took before under this policy, else a number that grows with its size.
    fn of_model(&self, basis: &Basis, bytes: u64) -> f64 {
        let known = self.0.get(&(basis.model.clone(), basis.policy.clone(), basis.tier)).copied();
        // A network of 100 MB takes minutes for its features and an hour for all rules, more or less.
        let guess = match basis.tier {
            Tier::Static => 0.01,
            Tier::Features => 1.0,
            Tier::Full => 20.0,
        };
        known.unwrap_or_else(|| 1.0 + guess * bytes as f64 / 1e6)
    }
}
