//! What the report says of the run beside its numbers: build, machine, command, person, and since when the policy is what it is.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sysinfo::{CpuRefreshKind, RefreshKind, System};

use super::machine;
use heirloom::policy::Policy;
use heirloom::report::{Build, Fixed, Machine, Provenance, Responsible};
use heirloom::store::{folder_of, sha256};

/// Longest text that is taken over from the environment, in characters.
const LONGEST: usize = 500;
/// How long `git` may take in all: a report does not wait for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked whether `git` has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Reads it from this process, its machine and its environment.
pub(super) fn of(policy: &Policy, responsible: Option<&str>) -> Provenance {
    Provenance {
        build: Build {
            commit: option_env!("HEIRLOOM_COMMIT").filter(|commit| !commit.is_empty()).map(str::to_owned),
            features: features(),
        },
        machine: this_machine(),
        command: command(policy),
        responsible: responsible_for(responsible, &|name| std::env::var(name).ok()),
        policy_fixed: fixed(policy),
    }
}

fn features() -> Vec<String> {
    let stores = ("object-store", cfg!(feature = "object-store"));
    let all = [("cli", cfg!(feature = "cli")), stores, ("cuda", cfg!(feature = "cuda")), ("cudnn", cfg!(feature = "cudnn"))];
    all.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()).collect()
}

fn this_machine() -> Machine {
    let system = System::new_with_specifics(RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing())).ok();
    let processors = system.as_ref().map(System::cpus).unwrap_or_default();
    let brand = processors.first().map(|processor| processor.brand().trim().to_owned()).filter(|brand| !brand.is_empty());
    let known = System::long_os_version().or_else(|_| System::name()).ok();
    let kind = std::env::consts::OS;
    Machine {
        processor: brand.unwrap_or_else(|| "unknown".to_owned()),
        cores: processors.len(),
        memory: machine::memory(),
        system: known.map_or_else(|| kind.to_owned(), |known| format!("{kind} ({known})")),
    }
}

/// The arguments. A salt has no business among them; where somebody put it there it is left out.
fn command(policy: &Policy) -> Vec<String> {
    let salt = policy.file.salt_env.as_ref().and_then(|name| std::env::var(name).ok()).map(|salt| salt.trim().to_owned());
    let plain = |argument: std::ffi::OsString| {
        let argument = argument.to_string_lossy().into_owned();
        match salt.as_deref().filter(|salt| !salt.is_empty()) {
            Some(salt) => argument.replace(salt, "***"),
            None => argument,
        }
    };
    std::env::args_os().skip(1).map(plain).collect()
}

/// Whoever was named, else the user of the pipeline that runs this.
fn responsible_for(named: Option<&str>, read: &dyn Fn(&str) -> Option<String>) -> Option<Responsible> {
    let get = |name: &str| {
        let value: String = read(name)?.trim().chars().take(LONGEST).collect();
        (!value.is_empty()).then_some(value)
    };
    let of = |said_by: &str, name: Option<String>, run: Option<String>| Responsible { name, said_by: said_by.to_owned(), run };
    let pipeline = if get("GITHUB_ACTIONS").is_some() {
        let parts = ["GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"].map(get);
        let run = if let [Some(server), Some(repository), Some(run)] = parts {
            Some(format!("{server}/{repository}/actions/runs/{run}"))
        } else {
            None
        };
        Some(of("GitHub Actions", get("GITHUB_TRIGGERING_ACTOR").or_else(|| get("GITHUB_ACTOR")), run))
    } else if get("GITLAB_CI").is_some() {
        Some(of("GitLab", get("GITLAB_USER_LOGIN"), get("CI_JOB_URL").or_else(|| get("CI_PIPELINE_URL"))))
    } else if get("JENKINS_URL").is_some() {
        Some(of("Jenkins", get("BUILD_USER_ID").or_else(|| get("CHANGE_AUTHOR")), get("BUILD_URL")))
    } else {
        None
    };
    match named {
        Some(name) => Some(of("--responsible", Some(name.to_owned()), pipeline.and_then(|pipeline| pipeline.run))),
        None => pipeline,
    }
}

/// A commit that holds the policy's file as it was read, and its date. Nothing here fails a run: where `git` is not there, takes long or knows nothing,
/// there is none.
fn fixed(policy: &Policy) -> Option<Fixed> {
    let path = Path::new(&policy.source);
    if !path.is_file() {
        return None;
    }
    let started = Instant::now();
    let place = format!("./{}", path.file_name()?.to_str()?);
    let git = |arguments: &[&str]| git(folder_of(path), arguments, started);
    // The bytes of the file as it is committed: no filter, index or hook of the repository has a say in it.
    let committed = git(&["cat-file", "blob", &format!("HEAD:{place}")])?;
    if heirloom::store::Digest::parse(&format!("sha256:{}", hexadecimal(&sha256(&committed))))? != policy.digest {
        return None;
    }
    let said = git(&["log", "-1", "--no-show-signature", "--format=%H %cI", "--", &place])?;
    let said = String::from_utf8(said).ok()?;
    let (commit, date) = said.trim().split_once(' ')?;
    let is_commit = commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_commit && date.len() <= 40).then(|| Fixed { commit: commit.to_owned(), date: date.to_owned() })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What `git` prints, if it is there, succeeds, and is done in time.
fn git(folder: &Path, arguments: &[&str], started: Instant) -> Option<Vec<u8>> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "core.fsmonitor=false", "--no-pager"]).args(arguments);
    // It asks nobody, fetches nothing and writes nothing.
    command.envs([("GIT_TERMINAL_PROMPT", "0"), ("GIT_NO_LAZY_FETCH", "1"), ("GIT_OPTIONAL_LOCKS", "0")]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let stdout = child.stdout.take()?;
    // Read beside it: a full pipe would hold it up.
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(stdout, 16 << 20), &mut bytes).map(|_| bytes)
    });
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            _ => {
                // One that cannot be ended is left to the system.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let bytes = reader.join().ok()?.ok()?;
    status.success().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::responsible_for;

    fn of(named: Option<&str>, set: &[(&str, &str)]) -> Option<String> {
        let read = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let told = responsible_for(named, &read)?;
        Some(format!("{} | {} | {}", told.name.unwrap_or_default(), told.said_by, told.run.unwrap_or_default()))
    }

    #[test]
    fn a_pipeline_says_who_runs_it() {
        let github = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_RUN_ID", "7"),
            ("GITHUB_ACTOR", "octocat"),
        ];
        assert_eq!(of(None, &github).unwrap(), "octocat | GitHub Actions | https://github.com/o/r/actions/runs/7");
        assert_eq!(of(Some("A. Person"), &github).unwrap(), "A. Person | --responsible | https://github.com/o/r/actions/runs/7");
        let gitlab = [("GITLAB_CI", "true"), ("GITLAB_USER_LOGIN", "ann"), ("CI_JOB_URL", "https://gitlab.example/1")];
        assert_eq!(of(None, &gitlab).unwrap(), "ann | GitLab | https://gitlab.example/1");
        let jenkins = [("JENKINS_URL", "https://ci"), ("BUILD_URL", "https://ci/job/1/")];
        assert_eq!(of(None, &jenkins).unwrap(), " | Jenkins | https://ci/job/1/");
        assert_eq!(of(None, &[("GITHUB_ACTIONS", "")]), None);
        assert_eq!(of(Some("me"), &[]).unwrap(), "me | --responsible | ");
        let long = "x".repeat(5000);
        assert_eq!(of(None, &[("GITLAB_CI", "1"), ("GITLAB_USER_LOGIN", &long)]).unwrap().len(), 500 + " | GitLab | ".len());
    }
}
