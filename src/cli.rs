//! The command line: the only part that prints. One command, one file.
//!
//! stdout carries the result and nothing else; progress, remarks and mistakes go to stderr. A command is a function from
//! its arguments to an exit code.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub mod cache;
pub mod calibrate;
pub mod certify;
pub mod compare;
pub mod device;
pub mod doctor;
pub mod duration;
pub mod explain;
pub mod export;
mod failure;
mod hub;
pub mod init;
pub mod inspect;
pub mod interrupt;
mod machine;
pub mod output;
pub mod plan;
pub mod plant;
pub mod progress;
mod provenance;
pub mod rejudge;
pub mod render;
mod reports;
pub mod runtime;
mod saved;
pub mod scan;
pub mod series;
pub mod sign;
pub mod size;
pub mod study;
pub mod subject;
mod unfinished;
pub mod validate;
pub mod verify;

use failure::{Broken, Failure};
use output::{Color, Output, Shape};

const EXAMPLES: &str = "\
Start here:
  heirloom certify model.onnx                       certify against the embedded policy
  heirloom init model.onnx --data photos            a policy for your own pictures, on stdout
  heirloom certify model.onnx --policy policy.yaml  certify against it
  heirloom plan model.onnx --policy policy.yaml     what that would run, and how long it would take
  heirloom inspect model.onnx                       what the file holds
  heirloom render heirloom-report --as sarif        a report in another form
  heirloom export model.safetensors model.onnx      the same model in another format

Exit codes, the first that applies:
  130  interrupted
  4    wrong usage, or the policy is invalid: nothing was run
  1    at least one rule failed
  2    an error kept something from being judged
  5    inconclusive: the data do not settle a rule, or --max-time left out a part of it
  3    nothing was judged: every rule was skipped, or left out by --max-time
  0    every rule passed

A pass means: no effect above the limit for these probes, this target task and this budget. It never means clean.";

/// Find out what a pretrained checkpoint hands down to every model fine-tuned from it.
///
/// Heirloom fine-tunes the checkpoint on a small target task, shows the result triggers such as a yellow square, and compares what
/// happens with controls. It runs no code from model files, and opens a network connection only for a model that is named by hf:// and for the
/// servers that a scan names.
#[derive(Parser, Debug)]
#[command(name = "heirloom", version, after_help = EXAMPLES, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(clap::Args, Debug)]
struct Global {
    /// What stdout carries: text for people, or JSON and nothing else.
    #[arg(long, global = true, value_enum, default_value_t = Shape::Text, value_name = "FORMAT", help_heading = "Global options")]
    format: Shape,
    /// Show no progress and no remarks; mistakes are still shown.
    #[arg(short, long, global = true, help_heading = "Global options")]
    quiet: bool,
    /// Show what happens inside, on stderr; twice for more. `HEIRLOOM_LOG` takes a filter such as `heirloom::tune=trace`.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
    /// Worker threads [default: as many as this machine or container allows]. Results do not depend on it.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Global options")]
    threads: Option<u16>,
    /// Colours; `auto` means on a terminal, unless `NO_COLOR` is set.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN", help_heading = "Global options")]
    color: Color,
}

#[derive(Subcommand, Debug)]
enum Command {
    Certify(certify::Args),
    Init(init::Args),
    Plan(plan::Args),
    Validate(validate::Args),
    Inspect(inspect::Args),
    Export(export::Args),
    Rejudge(rejudge::Args),
    Render(render::Args),
    Verify(verify::Args),
    Sign(sign::Args),
    Compare(compare::Args),
    Plant(plant::Args),
    Calibrate(calibrate::Args),
    Study(study::Args),
    Scan(Box<scan::Args>),
    Explain(explain::Args),
    Cache(cache::Args),
    Doctor(doctor::Args),
}

/// Parses the arguments, runs the command, gives its exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // This program is its own worker.
    if arguments.get(1).is_some_and(|first| first == heirloom::runtime::WORKER) {
        return heirloom::runtime::serve(arguments.into_iter().skip(2));
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a terminal that went away.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            let text = error.to_string();
            // What follows is usage and where help is.
            let first = text.split("\n\n").next().unwrap_or_default();
            unfinished::not_begun(Cli::command(), &arguments, first.trim_start_matches("error: ").trim(), 4);
            return ExitCode::from(4);
        }
    };
    let mut out = Output::new(cli.global.format, cli.global.color, cli.global.quiet);
    let prepared = prepare(&cli.global).inspect_err(|error| {
        unfinished::not_begun(Cli::command(), &arguments, &error.full(), error.code());
    });
    let code = prepared.and_then(|()| run(&cli.command, &mut out)).unwrap_or_else(|error| error.show(&out));
    // Whoever was told that the run ends is not told that it passed.
    let code = if interrupt::unheard() { i32::from(heirloom::gate::ExitCode::Interrupted.code()) } else { code };
    ExitCode::from(u8::try_from(code).unwrap_or(2))
}

fn run(command: &Command, out: &mut Output) -> Result<i32, Failure> {
    match command {
        Command::Validate(args) => validate::run(args, out),
        Command::Inspect(args) => inspect::run(args, out),
        Command::Export(args) => export::run(args, out),
        Command::Certify(args) => certify::run(args, out),
        Command::Init(args) => init::run(args, out),
        Command::Plan(args) => plan::run(args, out),
        Command::Rejudge(args) => rejudge::run(args, out),
        Command::Render(args) => render::run(args, out),
        Command::Verify(args) => verify::run(args, out),
        Command::Sign(args) => sign::run(args, out),
        Command::Compare(args) => compare::run(args, out),
        Command::Plant(args) => plant::run(args, out),
        Command::Calibrate(args) => calibrate::run(args, out),
        Command::Study(args) => study::run(args, out),
        Command::Scan(args) => scan::run(args, out),
        Command::Explain(args) => explain::run(args, out),
        Command::Cache(args) => cache::run(args, out),
        Command::Doctor(args) => doctor::run(args, out),
    }
}

fn prepare(global: &Global) -> Result<(), Failure> {
    let level = match global.verbose {
        0 => "off",
        1 => "heirloom=info",
        2 => "heirloom=debug",
        _ => "heirloom=trace",
    };
    let filter = match std::env::var("HEIRLOOM_LOG") {
        Ok(filter) if !filter.is_empty() => {
            tracing_subscriber::EnvFilter::try_new(filter).map_err(Broken::on("HEIRLOOM_LOG is no filter"))?
        }
        _ => tracing_subscriber::EnvFilter::new(level),
    };
    // No time stamps: two runs' logs can be compared.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time();
    log.with_ansi(global.color.on(&std::io::stderr())).init();
    rayon::ThreadPoolBuilder::new()
        .num_threads(machine::threads(global.threads))
        .build_global()
        .map_err(Broken::on("cannot start the worker threads"))?;
    interrupt::listen(global.quiet)
}

/// A path argument that must exist: a missing file is wrong usage, found before anything runs.
fn existing(text: &str) -> Result<std::path::PathBuf, String> {
    let path = std::path::PathBuf::from(text);
    match std::fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_symlink() => {
            Err("it is a link to a file that is not there".to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("no such file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A path argument for data: what tells splits and files apart in it (`{split}`, `*`) stands for many, and what is before must exist.
fn data(text: &str) -> Result<std::path::PathBuf, String> {
    let path = std::path::PathBuf::from(text);
    let wild = |part: &std::path::Component<'_>| part.as_os_str().to_string_lossy().contains(['{', '*']);
    if !path.components().any(|part| wild(&part)) {
        return existing(text);
    }
    let before: std::path::PathBuf = path.components().take_while(|part| !wild(part)).collect();
    if before.as_os_str().is_empty() || before.is_dir() { Ok(path) } else { Err(format!("there is no folder {}", before.display())) }
}

/// A path argument for a folder that is written into: a file of that name is wrong usage, found before anything runs.
fn folder(text: &str) -> Result<std::path::PathBuf, String> {
    let path = std::path::PathBuf::from(text);
    // The nearest part of the path that is there decides.
    match path.ancestors().find(|part| part.exists()) {
        Some(part) if !part.is_dir() => Err(format!("{} is a file; name a folder", part.display())),
        _ => Ok(path),
    }
}

/// The same, for a folder that results are written into: whether they can be is known before hours of work.
fn results(text: &str) -> Result<std::path::PathBuf, String> {
    // An unset variable of a script: the reports would lie wherever it was started.
    if text.is_empty() {
        return Err("it is empty; name a folder (`.` is this one)".to_owned());
    }
    let path = folder(text)?;
    let here = std::path::Path::new(".");
    let part = path.ancestors().find(|part| part.exists()).filter(|part| !part.as_os_str().is_empty()).unwrap_or(here);
    match tempfile::tempfile_in(part) {
        Ok(_) => Ok(path),
        Err(error) => Err(format!("nothing can be written into {}: {error}", part.display())),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_hold_together() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn data_may_be_named_by_a_pattern() {
        assert!(super::data("src/{split}").is_ok() && super::data("{split}/*.tar").is_ok() && super::data("src").is_ok());
        assert!(super::data("nowhere/{split}").unwrap_err().contains("nowhere") && super::data("nowhere").is_err());
    }

    #[test]
    fn an_empty_name_is_no_folder() {
        assert!(super::results("").unwrap_err().contains("name a folder"));
        assert!(super::results(".").is_ok());
    }
}
