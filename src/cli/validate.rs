//! `heirloom validate`: the files that people write, every mistake at once.

use std::path::{Path, PathBuf};

use super::calibrate;
use super::failure::{Failure, Usage};
use super::output::{Output, Shape, say};
use heirloom::diag::{self, Diagnostic, Level, Located, Mistakes};
use heirloom::gate::ExitCode;
use heirloom::plant;
use heirloom::policy;
use heirloom::report::printable;
use heirloom::scan::ScanSpec;
use heirloom::series::Ahead;
use heirloom::spec::{self, Remarks};
use heirloom::store;
use heirloom::study::Grid;

const EXAMPLES: &str = "\
Examples:
  heirloom validate policies/quick.yaml policies/studies/fixtures.yaml
  heirloom validate policy.yaml --data FOLDER    with the data that `certify` is given
  heirloom validate policy.yaml --without-data   where the data are not: what they lack is not told
  heirloom validate policy.yaml --format json    a list of {level, file, line, column, code, message, hint}

Exit code 0 if every file is valid, 4 otherwise.";

/// Check policies, studies, calibrations, planted sources and scans without running anything.
///
/// Shows every mistake at once, with its line, what is wrong and what to write instead. Which kind of file it is, its fields say. Files that
/// a policy, study, calibration, planted source or scan names (data, trigger images, checkpoints, other such files) are opened too. It says what a run
/// would refuse: a class or an attribute that the data do not have, a limit that they cannot settle, a checkpoint that cannot be certified.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files to check.
    #[arg(required = true, value_name = "FILE", value_parser = super::existing)]
    pub files: Vec<PathBuf>,
    /// Take the images from here instead of where the files say, as the commands that run them do.
    #[arg(long, value_name = "PATH", value_parser = super::data)]
    pub data: Option<PathBuf>,
    /// Do not look at the images: they are on another machine. For policies.
    #[arg(long, conflicts_with = "data")]
    pub without_data: bool,
}

/// Checks the files.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let mut located: Vec<Located> = Vec::new();
    let mut lines = Vec::new();
    let mut valid = true;
    for file in &args.files {
        match checked(file, args) {
            Ok(Valid { remarks, what }) => {
                for Remarks { text, name, diagnostics } in remarks.iter().filter(|remarks| !remarks.diagnostics.is_empty()) {
                    report(text, name, diagnostics, &mut located, out);
                }
                lines.push(format!("{}: valid, {what}", printable(&file.display().to_string())));
            }
            Err(error) => {
                let Some(Mistakes { text, name, diagnostics }) = error.mistakes() else { return Err(error) };
                valid = false;
                report(text, name, diagnostics, &mut located, out);
            }
        }
    }
    match out.shape {
        Shape::Json => out.json(&located)?,
        Shape::Text if valid => out.result(&(lines.join("\n") + "\n"))?,
        Shape::Text => {
            let errors = located.iter().filter(|l| l.level == Level::Error).count();
            say(&format!("{}. Nothing was run.", diag::count(errors, "error")));
        }
    }
    Ok(i32::from(if valid { ExitCode::Pass } else { ExitCode::Usage }.code()))
}

/// A file without mistakes.
struct Valid {
    /// On it, and on the policy that it names.
    remarks: Vec<Remarks>,
    /// What it asks for, in a few words.
    what: String,
}

/// Checks a file the way of the command that runs it.
fn checked(file: &Path, args: &Args) -> Result<Valid, Failure> {
    let data = args.data.as_deref();
    let text = spec::text(&spec::ANY, file)?;
    let kind = spec::kind_of(&text);
    if args.without_data && *kind != spec::POLICY {
        let name = file.display().to_string();
        return Err(Usage(format!("{}: --without-data is for policies, and this is the file of a {}", printable(&name), kind.name)).into());
    }
    if *kind == spec::STUDY {
        let grid = Grid::read(file, data, None)?;
        let what = format!("a study of {}", diag::count(grid.len(), "certification"));
        return Ok(Valid { remarks: grid.remarks, what });
    }
    if *kind == spec::CALIBRATION {
        let calibrate::Read { remarks, sources, .. } = calibrate::read(file, data, None)?;
        return Ok(Valid { remarks: vec![remarks], what: format!("a calibration with {}", diag::count(sources, "source")) });
    }
    if *kind == spec::SCAN {
        let scan = ScanSpec::load(file, None)?;
        let what = scan.what();
        return Ok(Valid { remarks: scan.remarks, what });
    }
    if *kind == spec::PLANT {
        plant::load(file, data)?;
        return Ok(Valid { remarks: Vec::new(), what: "a planted source".to_owned() });
    }
    let (name, base) = (file.display().to_string(), store::folder_of(file));
    let options = policy::Options { data: data.map(Path::to_owned), without_data: args.without_data, ..policy::Options::default() };
    let (policy, remarks) = Ahead::parse(&text, &name, base, &options)?;
    Ok(Valid { what: diag::count(policy.rules.len(), "rule"), remarks: vec![remarks] })
}

fn report(text: &str, name: &str, diagnostics: &[Diagnostic], located: &mut Vec<Located>, out: &Output) {
    located.extend(diagnostics.iter().map(|d| d.located(text, name)));
    if out.shape == Shape::Text {
        say(&diag::render(text, name, diagnostics, out.color));
    }
}
