//! `heirloom sign`: a signature beside a report.

use std::path::{Path, PathBuf};

use super::failure::{Failure, Usage};
use super::output::{Output, Shape, say};
use heirloom::report::printable;
use heirloom::sign::{self, PrivateKey};

const EXAMPLES: &str = "\
Examples:
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem
  openssl pkey -in key.pem -pubout -out key.pub
  heirloom sign heirloom-report --key key.pem
  heirloom sign heirloom-report --key env:SIGNING_KEY
  heirloom verify heirloom-report --key key.pub

Writes report.sigstore.json beside the report: a Sigstore bundle with an in-toto statement (test-result)
about report.json, measurements.json.gz, sheets of images and the model's files, each by its SHA-256.";

/// Most bytes of a key's file.
const MOST: u64 = 1 << 16;

/// Sign a report with a key of your own (ECDSA P-256 or Ed25519, PKCS#8 in PEM).
///
/// A signature holds what nobody can recompute: who certified, when, on which machine, and that it was measured at all. The key is printed nowhere.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A report.json, or the folder that holds it.
    #[arg(value_name = "REPORT", value_parser = super::existing)]
    pub report: PathBuf,
    /// The private key: a file, or `env:NAME` for an environment variable that holds it.
    #[arg(long, value_name = "FILE|env:NAME")]
    pub key: String,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let key = private(&args.key)?;
    let (bundle, place) = sign::sign(&args.report, &key)?;
    let statement = sign::statement(&args.report)?;
    match out.shape {
        Shape::Json => out.json(&serde_json::json!({ "signature": place, "key": key.public().digest(), "statement": statement }))?,
        Shape::Text => {
            let by = bundle.hint().map(|hint| format!("sha256:{hint}")).unwrap_or_default();
            let files: Vec<&str> = statement.subject.iter().map(|subject| subject.name.as_str()).collect();
            let files = printable(&files.join(", ")).into_owned();
            out.result(&format!("signed: {files}\n  by the key {by}\n  in {}\n", printable(&place.display().to_string())))?;
        }
    }
    Ok(0)
}

/// The key of a file, or of a variable.
fn private(named: &str) -> Result<PrivateKey, Failure> {
    if let Some(name) = named.strip_prefix("env:") {
        let pem = std::env::var(name)
            .map_err(|_| Usage(format!("--key env:{name}: the environment variable {name} is not set, or is no text")))?;
        return Ok(PrivateKey::parse(&pem, &format!("the key in {name}"))?);
    }
    let path = Path::new(named);
    let pem = read(path)?;
    if let Some(mode) = readable_by_others(path) {
        say(&format!(
            "warning: {} may be read by others than its owner (mode {mode:03o}): chmod 600 keeps it to you",
            printable(&path.display().to_string())
        ));
    }
    Ok(PrivateKey::parse(&pem, &path.display().to_string())?)
}

/// The text of a key's file. What is wrong with it is told without any of it.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let bytes = heirloom::store::read(path, MOST).map_err(|error| Usage(format!("cannot read the key {}: {error}", path.display())))?;
    String::from_utf8(bytes).map_err(|_| Usage(format!("{} is no key in PEM: it is no text", path.display())).into())
}

/// The permissions of a file that others may read.
#[cfg(unix)]
fn readable_by_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// The permissions of a file that others may read.
#[cfg(not(unix))]
fn readable_by_others(_: &Path) -> Option<u32> {
    None
}
