//! `heirloom validate`: the files that people write, every mistake at once.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::output::{Output, Shape, say};
use super::{calibrate, failure, study};
use crate::data;
use crate::diag::{self, Diagnostic, Level, Located};
use crate::engine::{self, EngineError};
use crate::gate::{ExitCode, Rule};
use crate::plan::{self, PlanError};
use crate::plant;
use crate::policy::{self, Policy, PolicyFile};
use crate::report::printable;
use crate::spec::{self, Node, Remarks, SpecError};
use crate::store;
use crate::study::Grid;

const EXAMPLES: &str = "\
Examples:
  heirloom validate policies/quick.yaml policies/studies/fixtures.yaml
  heirloom validate policy.yaml --data FOLDER    with the data that `certify` is given
  heirloom validate policy.yaml --format json    a list of {level, file, line, column, code, message, hint}

Exit code 0 if every file is valid, 4 otherwise.";

/// Check policies, studies, calibrations and planted sources without running anything.
///
/// Shows every mistake at once, with its line, what is wrong and what to write instead. Which kind of file it is, its fields say. Files that
/// a policy, study or calibration names (data of the policy, trigger images, models, other such files) are looked for too. Where the data of a
/// policy are there, it says what a run would refuse: a class or an attribute that they do not have, a limit that they cannot settle.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files to check.
    #[arg(required = true, value_name = "FILE", value_parser = super::existing)]
    pub files: Vec<PathBuf>,
    /// Take the images from here instead of where the files say, as the commands that run them do.
    #[arg(long, value_name = "PATH", value_parser = super::existing)]
    pub data: Option<PathBuf>,
}

/// Checks the files.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<i32> {
    let mut located: Vec<Located> = Vec::new();
    let mut lines = Vec::new();
    let mut valid = true;
    for file in &args.files {
        match checked(file, args.data.as_deref()) {
            Ok(Valid { remarks, what }) => {
                for Remarks { text, name, diagnostics } in remarks.iter().filter(|remarks| !remarks.diagnostics.is_empty()) {
                    report(text, name, diagnostics, &mut located, out);
                }
                lines.push(format!("{}: valid, {what}", printable(&file.display().to_string())));
            }
            Err(error) => match error.downcast() {
                Ok(SpecError::Invalid { text, name, diagnostics, .. }) => {
                    valid = false;
                    report(&text, &name, &diagnostics, &mut located, out);
                }
                Ok(other) => return Err(other.into()),
                Err(other) => return Err(other),
            },
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

/// Checks a file the way of the command that runs it; `data` leads its images elsewhere.
fn checked(file: &Path, data: Option<&Path>) -> anyhow::Result<Valid> {
    let text = spec::text(&spec::ANY, file)?;
    let kind = spec::kind_of(&text);
    if *kind == spec::STUDY {
        let grid = Grid::read(file, data).map_err(study::mistaken)?;
        let what = format!("a study of {}", diag::count(grid.len(), "certification"));
        return Ok(Valid { remarks: grid.remarks, what });
    }
    if *kind == spec::CALIBRATION {
        let (read, policy, remarks) = calibrate::read(file, data)?;
        let sources = read.sources(store::folder_of(file), &policy)?.len();
        return Ok(Valid { remarks: vec![remarks], what: format!("a calibration with {}", diag::count(sources, "source")) });
    }
    if *kind == spec::PLANT {
        plant::load(file)?;
        return Ok(Valid { remarks: Vec::new(), what: "a planted source".to_owned() });
    }
    let (name, base) = (file.display().to_string(), store::folder_of(file));
    let (policy, mut remarks) =
        policy::parse(&text, &name, base, &policy::Options { data: data.map(Path::to_owned), ..policy::Options::default() })?;
    remarks.extend(of_data(&policy, &text)?);
    if remarks.iter().any(|remark| remark.level == Level::Error) {
        return Err(SpecError::invalid(&spec::POLICY, &text, &name, remarks).into());
    }
    Ok(Valid { what: diag::count(policy.rules.len(), "rule"), remarks: vec![Remarks::new(&text, &name, remarks)] })
}

/// What the data say of a policy: what a run would refuse, and what is worth knowing. No image is decoded.
fn of_data(policy: &Policy, text: &str) -> Result<Vec<Diagnostic>, SpecError> {
    let Some(tree) = spec::tree::<PolicyFile>(text, &policy.source, &mut Vec::new())? else { return Ok(Vec::new()) };
    let target = tree.place_of_field("/target");
    let refused = |place: Range<usize>, message: String, error: anyhow::Error| {
        let told = Diagnostic::error("policy::data", place, message);
        Ok(vec![failure::hint(&error).into_iter().fold(told, Diagnostic::hint)])
    };
    let index = match data::index(&policy.file.target, &policy.base, policy.file.seed) {
        Ok(index) => index,
        Err(error) => return refused(target, format!("the data cannot be used: {error}"), error.into()),
    };
    let facts = index.facts();
    let counts = match engine::counts(policy, facts) {
        Ok(counts) => counts,
        Err(error) => {
            let (place, message) = match &error {
                EngineError::Rule { rule, reason, .. } => (of_rule(policy, &tree, rule, "id"), reason.to_string()),
                EngineError::Asked { rule, source, .. } => (of_rule(policy, &tree, rule, "id"), source.to_string()),
                other => (target, other.to_string()),
            };
            return refused(place, message, error.into());
        }
    };
    // That the network trains is the harder case: all findings are looked at.
    if let Err(error) = plan::findings(policy, &counts, true) {
        let place = if let PlanError::Cap { rule, .. } = &error { of_rule(policy, &tree, rule, "limit") } else { target };
        return refused(place, error.to_string(), error.into());
    }
    let [compared, balanced] = engine::unknown(policy, facts);
    let compares = |rule: &Rule, name: &str| rule.probe.compared().is_some_and(|compared| compared.attribute == name);
    let balances = |rule: &Rule, name: &str| rule.probe.rebalance().is_some_and(|balanced| balanced.attribute == name);
    let compared = compared.into_iter().map(|(name, remark)| (attribute(policy, &tree, |rule| compares(rule, &name)), remark));
    let balanced = balanced.into_iter().map(|(name, remark)| (attribute(policy, &tree, |rule| balances(rule, &name)), remark));
    let remarks = compared.chain(balanced).chain(facts.warnings.iter().map(|warning| (target.clone(), warning.clone())));
    Ok(remarks.map(|(span, remark)| Diagnostic::warning("policy::data", span, remark)).collect())
}

/// Where a rule has a field; one of several that a rule of the file stands for has its place.
fn of_rule(policy: &Policy, tree: &Node, id: &str, field: &str) -> Range<usize> {
    let of = |rule: &Rule| id.strip_prefix(rule.id.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let nth = policy.file.rules.iter().position(of);
    tree.place_of_value(&nth.map_or_else(|| "/rules".to_owned(), |nth| format!("/rules/{nth}/{field}")))
}

/// Where the first of some rules names its attribute.
fn attribute(policy: &Policy, tree: &Node, names: impl Fn(&Rule) -> bool) -> Range<usize> {
    let rule = policy.file.rules.iter().enumerate().find(|(_, rule)| names(rule));
    let at = rule.map(|(nth, rule)| format!("/rules/{nth}/probe/{}/attribute", rule.probe.name()));
    tree.place_of_value(&at.unwrap_or_else(|| "/target".to_owned()))
}

fn report(text: &str, name: &str, diagnostics: &[Diagnostic], located: &mut Vec<Located>, out: &Output) {
    located.extend(diagnostics.iter().map(|d| d.located(text, name)));
    if out.shape == Shape::Text {
        say(&diag::render(text, name, diagnostics, out.color));
    }
}
