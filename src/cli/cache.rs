//! `heirloom cache`: what certifications keep for the next run.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::failure::{Broken, Failure, Usage};
use super::output::{Output, Shape};
use super::{duration, machine, size};
use heirloom::diag;
use heirloom::gate::ExitCode;
use heirloom::report::{printable, utc};
use heirloom::store::{Cache, Entry};

const EXAMPLES: &str = "\
Examples:
  heirloom cache list
  heirloom cache prune --to 500MB
  heirloom cache prune --older-than 30d
  heirloom cache prune --all
  heirloom cache verify";

/// Show, shrink or check what finished certifications keep for the next run.
///
/// Outcomes of fine-tunes, features of frozen networks, the speed of this machine and the success of the self-test, each under a digest of
/// all that can change it. Removing an entry costs time and nothing else.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The folder [default: `HEIRLOOM_CACHE`, else the user's cache folder].
    #[arg(long, global = true, value_name = "DIR", value_parser = super::folder)]
    pub cache: Option<PathBuf>,
}

/// What to do with the folder.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Show every entry with its kind, size and last use, the least recently used first.
    List,
    /// Remove entries. Needs at least one of --to, --older-than and --all.
    Prune(Prune),
    /// Check every entry against its checksum. Damaged ones are named and removed, and the exit code is 2 if there were any.
    Verify,
}

/// Which entries go.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
pub struct Prune {
    /// Remove the least recently used until the folder holds no more than this, such as 500MB or 1GiB.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub to: Option<u64>,
    /// Remove what was not used for this long, such as 12h or 30d.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub older_than: Option<Duration>,
    /// Remove everything.
    #[arg(long, conflicts_with_all = ["to", "older_than"])]
    pub all: bool,
}

/// An entry for scripts.
#[derive(Serialize)]
struct Listed<'a> {
    kind: &'a str,
    name: &'a str,
    bytes: u64,
    /// UTC.
    used: String,
    path: String,
}

impl<'a> From<&'a Entry> for Listed<'a> {
    fn from(entry: &'a Entry) -> Self {
        let used = entry.used.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { kind: &entry.kind, name: &entry.name, bytes: entry.bytes, used: utc(used as i64), path: entry.path.display().to_string() }
    }
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let folder = machine::cache_folder(args.cache.as_deref());
    let folder = folder.ok_or_else(|| Usage("nothing is kept here: HEIRLOOM_CACHE is `off`; name a folder with --cache".into()))?;
    let cache = Cache::at(&folder);
    match &args.command {
        Command::List => list(&cache, out),
        Command::Prune(prune) => {
            let limit = if prune.all { 0 } else { prune.to.unwrap_or(u64::MAX) };
            let removed = cache.prune(limit, prune.older_than).map_err(unusable(cache.folder()))?;
            let rest = cache.entries().map_err(unusable(cache.folder()))?;
            match out.shape {
                Shape::Json => out.json(&serde_json::json!({
                    "folder": folder, "removed": listed(&removed), "entries": rest.len(), "bytes": total(&rest),
                }))?,
                Shape::Text => out.result(&format!("removed {}, {} left\n", amount(&removed), amount(&rest)))?,
            }
            Ok(0)
        }
        Command::Verify => {
            let (sound, damaged) = cache.verify().map_err(unusable(cache.folder()))?;
            match out.shape {
                Shape::Json => out.json(&serde_json::json!({ "folder": folder, "sound": sound.len(), "damaged": listed(&damaged) }))?,
                Shape::Text => {
                    let mut text = format!("{} sound\n", amount(&sound));
                    for entry in &damaged {
                        // Writing to a string cannot fail.
                        let _ = writeln!(text, "damaged, removed: {}", printable(&entry.path.display().to_string()));
                    }
                    out.result(&text)?;
                }
            }
            Ok(if damaged.is_empty() { 0 } else { i32::from(ExitCode::Error.code()) })
        }
    }
}

/// That the system does not let the cache be used.
fn unusable(folder: &Path) -> impl FnOnce(std::io::Error) -> Broken {
    Broken::on(format!("cannot use the cache {}", folder.display()))
}

fn list(cache: &Cache, out: &mut Output) -> Result<i32, Failure> {
    let entries = cache.entries().map_err(unusable(cache.folder()))?;
    if out.shape == Shape::Json {
        out.json(&serde_json::json!({ "folder": cache.folder(), "bytes": total(&entries), "entries": listed(&entries) }))?;
        return Ok(0);
    }
    let mut text = format!("{}: {}\n", printable(&cache.folder().display().to_string()), amount(&entries));
    for Listed { kind, name, bytes, used, .. } in listed(&entries) {
        let _ = writeln!(text, "  {:<9} {:>9}  {used}  {}", printable(kind), size::show(bytes), printable(name));
    }
    out.result(&text)?;
    Ok(0)
}

fn listed(entries: &[Entry]) -> Vec<Listed<'_>> {
    entries.iter().map(Listed::from).collect()
}

fn total(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.bytes).sum()
}

/// How many, and how much they take.
pub(super) fn amount(entries: &[Entry]) -> String {
    format!("{} ({})", diag::count(entries.len(), "entry"), size::show(total(entries)))
}
