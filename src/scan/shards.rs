//! Several machines on one scan. The plan is made once; each shard works on its part of it and writes what became of each model; `merge` unites
//! them. No shard talks to another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::plan::{Done, Plan, SCHEMA};
use super::record::Record;
use super::repositories::Repositories;
use super::results::Scan;
use super::servers::Servers;
use super::state::{State, listed, record_file, report_folder, write};
use super::{Options, PLAN, ScanError, ScanSpec, Written, conclude, open, output, work_through};
use crate::engine::{self, Event};
use crate::session::Session;
use crate::store::{self, Digest};

/// Folder of what the shards say.
const SHARDS: &str = "shards";
/// Most bytes of a plan, or of what a shard says.
const MOST: u64 = 1 << 30;
/// Most jobs of a matrix on GitHub.
const MOST_JOBS: usize = 256;

/// One of several parts of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Shard {
    /// `2/8`; `auto` for what an array of Slurm says; `auto/8` for an indexed job of Kubernetes or an array of AWS Batch, which do not all say how
    /// many there are. `variable` reads the environment.
    pub fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let usual =
            "write NUMBER/COUNT such as 2/8, `auto` in an array of Slurm, or `auto/COUNT` in an indexed job of Kubernetes or AWS Batch";
        let read = |name: &str| -> Result<Option<usize>, String> {
            let Some(value) = variable(name).filter(|value| !value.is_empty()) else { return Ok(None) };
            value.parse().map(Some).map_err(|_| format!("{name} holds {value:?}, which is no whole number"))
        };
        let (number, of) = match text.split_once('/') {
            Some(("auto", of)) => (None, Some(of.parse::<usize>().map_err(|_| usual.to_owned())?)),
            Some((number, of)) => {
                let [number, of] = [number, of].map(|part| part.parse::<usize>().map_err(|_| usual.to_owned()));
                (Some(number?), Some(of?))
            }
            None if text == "auto" => (None, None),
            None => return Err(usual.to_owned()),
        };
        let (number, of) = match (number, of) {
            (Some(number), Some(of)) => (number, of),
            (_, of) => {
                let least = read("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
                let step = read("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
                let slurm = read("SLURM_ARRAY_TASK_ID")?.map(|id| id.saturating_sub(least) / step);
                let count = read("SLURM_ARRAY_TASK_COUNT")?.filter(|_| slurm.is_some());
                let others = [read("JOB_COMPLETION_INDEX")?, read("AWS_BATCH_JOB_ARRAY_INDEX")?].into_iter().flatten().next();
                let index = slurm.or(others).ok_or(
                    "none of SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX and AWS_BATCH_JOB_ARRAY_INDEX is set: name the shard, such as 2/8",
                )?;
                let of =
                    of.or(count).or(read("AWS_BATCH_JOB_ARRAY_SIZE")?).ok_or("how many shards there are is not known: write auto/COUNT")?;
                (index + 1, of)
            }
        };
        if of == 0 || number == 0 || number > of {
            return Err(format!("there is no shard {number} of {of}: they are counted from 1"));
        }
        Ok(Self { number, of })
    }
}

/// What a shard says when it is through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// Version of this layout: 1.
    schema: u32,
    /// The plan that it worked from.
    plan: Digest,
    /// Which shard, from 1, and of how many.
    shard: [usize; 2],
    /// Seconds that it took.
    seconds: f64,
    /// What became of each of its models, by their positions in the plan.
    done: BTreeMap<usize, Done>,
}

/// Works on one shard of the plan in the folder. Its exit says only whether it came to its end: the verdict is the merge's.
pub fn shard(spec: &ScanSpec, session: &Session, options: &Options, shard: Shard, emit: &mut dyn FnMut(Event)) -> Result<usize, ScanError> {
    let clock = Instant::now();
    let path = options.output.join(PLAN);
    let plan = read_plan(&path)?;
    let refuse = |reason: &str| ScanError::Plan { path: path.clone(), reason: reason.to_owned() };
    if plan.file != spec.digest {
        return Err(refuse("the plan is of another scan file: make it anew"));
    }
    if spec.policies.iter().any(|(name, policy)| plan.policies.get(name) != Some(&policy.fingerprint())) {
        return Err(refuse("a policy, or a file that one names, has changed since the plan was made: make it anew"));
    }
    if plan.build != engine::build().unwrap_or("unknown") {
        return Err(refuse("the plan is of another build of heirloom: use the same one for the plan and for all shards"));
    }
    let executor = session.runtime.as_ref().map_or_else(|| "heirloom".to_owned(), crate::runtime::Runtime::name);
    if plan.tool != session.tool() || plan.executor != executor {
        let both = [(&plan.tool, &plan.executor), (&session.tool(), &executor)]
            .map(|(tool, executor)| format!("{}, {}, {}, {executor}", tool.instruction_set, tool.device, tool.precision));
        return Err(refuse(&format!(
            "the plan is of a machine that computes otherwise ({}; here {}): make the plan where the shards run, with the same --device, --precision and --ort-lib",
            both[0], both[1]
        )));
    }
    let digest = plan.digest()?;
    let folder = said_folder(&options.output, &digest);
    std::fs::create_dir_all(&folder).map_err(|source| ScanError::Write { path: folder.clone(), source })?;
    let mut state = open(&options.output, emit)?;
    let servers = Servers::of(spec, options, session.stop)?;
    let own = plan.shard(shard.number - 1, shard.of);
    let (done, ended) = work_through(spec, session, options, &plan, &own, (&mut state, &servers), emit)?;
    if ended {
        return Err(ScanError::Stopped);
    }
    let count = done.len();
    let said = Said { schema: SCHEMA, plan: digest, shard: [shard.number, shard.of], seconds: clock.elapsed().as_secs_f64(), done };
    let mut bytes = serde_json::to_vec_pretty(&said)?;
    bytes.push(b'\n');
    write(&folder.join(format!("{}-of-{}.json", shard.number, shard.of)), &bytes)?;
    Ok(count)
}

fn said_folder(folder: &Path, plan: &Digest) -> PathBuf {
    folder.join(SHARDS).join(plan.digits().get(..16).unwrap_or_default())
}

/// A plan from its file.
fn read_plan(path: &Path) -> Result<Plan, ScanError> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let refuse = |reason: String| ScanError::Plan { path: path.to_owned(), reason };
    let bytes = match store::read(path, MOST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(refuse("there is no plan".to_owned())),
        Err(source) => return Err(ScanError::Read { path: path.to_owned(), source }),
    };
    let version: Version = serde_json::from_slice(&bytes).map_err(|error| refuse(format!("it is no plan: {error}")))?;
    if version.schema > SCHEMA {
        return Err(ScanError::Newer { path: path.to_owned(), found: version.schema });
    }
    serde_json::from_slice(&bytes).map_err(|error| refuse(format!("it is no plan: {error}")))
}

/// The shards of a plan for a matrix of jobs: as many as asked, but no more than there is work for, and at least one.
pub fn jobs(plan: &Path, asked: usize) -> Result<Vec<Shard>, ScanError> {
    let plan = if plan.is_dir() { read_plan(&plan.join(PLAN))? } else { read_plan(plan)? };
    let of = plan.jobs().min(asked).clamp(1, MOST_JOBS);
    Ok((1..=of).map(|number| Shard { number, of }).collect())
}

/// Refuses folders that no plan is in: asked before anything of an earlier scan is taken away.
pub fn mergeable(results: &[PathBuf]) -> Result<(), ScanError> {
    results.iter().try_for_each(|folder| read_plan(&folder.join(PLAN)).map(drop))
}

/// Unites what shards left in one folder or several, and concludes. Call [`super::begin`] on the output first.
pub fn merge(results: &[PathBuf], folder: &Path, emit: &mut dyn FnMut(Event)) -> Result<Scan, ScanError> {
    let Some(first) = results.first() else {
        return Err(ScanError::Plan { path: folder.join(PLAN), reason: "there is no plan".to_owned() });
    };
    let plan = read_plan(&first.join(PLAN))?;
    let digest = plan.digest()?;
    for other in results {
        let path = other.join(PLAN);
        if read_plan(&path)?.digest()? != digest {
            let reason = format!("it is another plan than {}: merge what shards of one plan left", first.join(PLAN).display());
            return Err(ScanError::Plan { path, reason });
        }
        if !same(other, folder) {
            copy(&plan, other, folder, emit)?;
        }
    }
    let (mut done, mut seconds, mut count) = (BTreeMap::new(), 0.0, 0);
    for path in results.iter().map(|results| listed(&said_folder(results, &digest))).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        match store::read(&path, MOST).map_err(|error| error.to_string()).and_then(|bytes| parse(&bytes, &digest)) {
            Ok(said) => {
                done.extend(said.done);
                seconds += said.seconds;
                count += 1;
            }
            Err(why) => emit(Event::Warning(format!("{} says nothing: {why}", path.display()))),
        }
    }
    let state = State::open(folder)?;
    for damaged in &state.damaged {
        emit(Event::Warning(format!("a damaged record counts as none: {damaged}")));
    }
    let last = output::last(folder)?.map(|last| last.run.started);
    let scan = conclude::scan(&plan, &done, &state, &conclude::Ran { seconds, shards: count.max(1), last }, false);
    Repositories::open(folder)?.conclude(&plan, &scan.models)?;
    output::write(&scan, folder)?;
    Ok(scan)
}

fn parse(bytes: &[u8], plan: &Digest) -> Result<Said, String> {
    let said: Said = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if said.plan == *plan { Ok(said) } else { Err("it is of another plan".to_owned()) }
}

fn same(one: &Path, other: &Path) -> bool {
    one.canonicalize().ok().zip(other.canonicalize().ok()).is_some_and(|(one, other)| one == other)
}

/// Takes the records of a plan, with their reports, from one folder into another.
fn copy(plan: &Plan, from: &Path, to: &Path, emit: &mut dyn FnMut(Event)) -> Written {
    for key in plan.entries.iter().filter_map(|entry| entry.key.as_ref()) {
        let (source, target) = (record_file(from, key), record_file(to, key));
        let Ok(bytes) = store::read(&source, MOST) else { continue };
        if let (Ok(one), Ok(other)) = (serde_json::from_slice::<Record>(&bytes), store::read(&target, MOST))
            && let Ok(other) = serde_json::from_slice::<Record>(&other)
        {
            let run = other.run.clone();
            if (Record { run, ..one }) != other {
                emit(Event::Warning(format!("two shards have other verdicts for one key, which is a fault: {} is kept", target.display())));
            }
            continue;
        }
        let (reports, into) = (report_folder(from, key), report_folder(to, key));
        for path in listed(&reports)?.into_iter().filter(|path| path.is_file()) {
            let bytes = store::read(&path, MOST).map_err(|source| ScanError::Read { path: path.clone(), source })?;
            write(&into.join(path.file_name().unwrap_or_default()), &bytes)?;
        }
        write(&target, &bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Shard;

    fn of(text: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let read = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Shard::parse(text, read).map(|shard| shard.to_string())
    }

    #[test]
    fn a_shard_is_named_or_known_from_the_engine() {
        assert_eq!(of("2/8", &[]), Ok("2/8".into()));
        let slurm = [("SLURM_ARRAY_TASK_ID", "7"), ("SLURM_ARRAY_TASK_COUNT", "4"), ("SLURM_ARRAY_TASK_MIN", "5")];
        assert_eq!(of("auto", &slurm), Ok("3/4".into()));
        let stepped =
            [("SLURM_ARRAY_TASK_ID", "4"), ("SLURM_ARRAY_TASK_COUNT", "3"), ("SLURM_ARRAY_TASK_MIN", "0"), ("SLURM_ARRAY_TASK_STEP", "2")];
        assert_eq!(of("auto", &stepped), Ok("3/3".into()));
        assert_eq!(of("auto/3", &[("JOB_COMPLETION_INDEX", "0")]), Ok("1/3".into()));
        assert_eq!(of("auto", &[("AWS_BATCH_JOB_ARRAY_INDEX", "9"), ("AWS_BATCH_JOB_ARRAY_SIZE", "10")]), Ok("10/10".into()));
        for (text, variables, part) in [
            ("", &[][..], "2/8"),
            ("0/4", &[], "no shard 0 of 4"),
            ("5/4", &[], "no shard 5 of 4"),
            ("a/b", &[], "2/8"),
            ("auto", &[], "none of SLURM_ARRAY_TASK_ID"),
            ("auto", &[("JOB_COMPLETION_INDEX", "1")], "auto/COUNT"),
            ("auto/2", &[("JOB_COMPLETION_INDEX", "x")], "no whole number"),
            ("auto/2", &[("JOB_COMPLETION_INDEX", "2")], "no shard 3 of 2"),
        ] {
            let error = of(text, variables).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
