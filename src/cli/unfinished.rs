//! No earlier report is taken for this run's: the folder is marked before anything else, also where the command line is not understood.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Arg, Command};

use super::failure::Failure;
use super::output::{Output, say};
use super::rejudge;
use heirloom::report::{self, Chosen, Incomplete, Report, WriteError, printable};
use heirloom::session::now;
use heirloom::{calibrate, scan, store, study};

/// Takes a folder for the results of this run. Of two runs at once in one folder the later one would take the other's reports for its own.
pub(super) fn hold(folder: &Path) -> Result<store::Held, WriteError> {
    // Why it cannot be made is said by whoever writes into it.
    let _ = std::fs::create_dir_all(folder);
    store::hold(folder).ok_or_else(|| WriteError::Busy { path: folder.to_owned() })
}

/// Runs what writes reports into `folder`. Until it has written them, and where it ends with an error, they say that there is no verdict.
pub(super) fn within(
    folder: &Path,
    reports: &Chosen,
    subject: &str,
    out: &mut Output,
    run: impl FnOnce(&mut Output) -> Result<i32, Failure>,
) -> Result<i32, Failure> {
    let (started, _) = now();
    let _held = hold(folder)?;
    let begun = reports.begin(&Incomplete::unfinished(subject, started), folder).map_err(Failure::from);
    let marked = begun.is_ok();
    let code = begun.and_then(|()| run(out));
    // A verdict that was written and could not be printed stays.
    if let Err(error) = &code
        && (!marked || Report::read(folder).is_err())
    {
        let incomplete = if error.stopped() {
            Incomplete::interrupted(subject, started)
        } else {
            Incomplete::failed(subject, started, &error.full(), error.code())
        };
        if let Err(unwritten) = reports.write_incomplete(&incomplete, folder) {
            out.remark(&format!("warning: {unwritten}"));
        }
        if Report::read(folder).is_ok() {
            say(&format!("warning: {} holds an earlier report", printable(&folder.display().to_string())));
        }
    }
    code
}

/// A command line that could not be understood, or a program that could not start: the folder that it names gets reports that say so.
pub(super) fn not_begun(root: Command, arguments: &[OsString], error: &str, code: i32) {
    let Some(asked) = asked(root, arguments) else { return };
    let subject = asked.subject.map_or_else(|| "heirloom".to_owned(), |subject| subject.display().to_string());
    let (started, _) = now();
    for folder in &asked.outputs {
        // What the other run writes is about itself, and it has removed what was there before.
        let Some(_held) = store::hold(folder) else {
            say(&format!("warning: {}", printable(&WriteError::Busy { path: folder.clone() }.to_string())));
            continue;
        };
        let marked = match asked.command.as_str() {
            "study" => study::begin(folder).map_err(|error| error.to_string()),
            "calibrate" => calibrate::begin(folder).map_err(|error| error.to_string()),
            "scan" => scan::begin(folder).map_err(|error| error.to_string()),
            // What is to be judged again is not removed.
            "rejudge" if rejudge::is_folder_of(folder, Path::new(&subject)) => Ok(()),
            _ => {
                let failed = Incomplete::failed(&subject, started, error, code);
                report::begin(&failed, folder).map_err(|error| error.to_string())
            }
        };
        // That a folder cannot be written into may be the very mistake; what matters is a report that is still there.
        if let Err(unmarked) = marked
            && report::files().any(|name| folder.join(name).exists())
        {
            say(&format!("warning: {}: it holds an earlier report", printable(&unmarked)));
        }
    }
}

/// What can be told of a command line that has mistakes.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    command: String,
    /// Folders for results, as named, or the default.
    outputs: Vec<PathBuf>,
    /// The first argument that is no option.
    subject: Option<PathBuf>,
}

/// Reads a command line as clap would, over mistakes too. `None` where its command writes no results.
fn asked(mut root: Command, arguments: &[OsString]) -> Option<Asked> {
    // Gives global options to every command.
    root.build();
    let mut arguments = arguments.iter().skip(1);
    let mut command: &Command = &root;
    let (mut outputs, mut subject) = (Vec::new(), None);
    while let Some(argument) = arguments.next() {
        let bytes = argument.as_encoded_bytes();
        if bytes == b"--" {
            subject = subject.or_else(|| arguments.next().map(PathBuf::from));
            break;
        }
        if let Some(long) = bytes.strip_prefix(b"--") {
            let end = long.iter().position(|byte| *byte == b'=').unwrap_or(long.len());
            let named = |option: &&Arg| option.get_long().is_some_and(|name| name.as_bytes() == &long[..end]);
            let inline = (end < long.len()).then(|| from(argument, 2 + end + 1));
            let Some(option) = command.get_arguments().find(named).filter(|option| option.get_action().takes_values()) else { continue };
            let value = inline.or_else(|| arguments.next().cloned());
            outputs.extend(value.filter(|_| option.get_id() == "output").map(PathBuf::from));
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            for (at, letter) in bytes.iter().enumerate().skip(1) {
                let named = |option: &&Arg| option.get_short() == Some(char::from(*letter)) && option.get_action().takes_values();
                let Some(option) = command.get_arguments().find(named) else { continue };
                let rest = if bytes.get(at + 1) == Some(&b'=') { at + 2 } else { at + 1 };
                let value = if rest < bytes.len() { Some(from(argument, rest)) } else { arguments.next().cloned() };
                outputs.extend(value.filter(|_| option.get_id() == "output").map(PathBuf::from));
                break;
            }
        } else if let Some(sub) = command.find_subcommand(argument) {
            command = sub;
        } else if subject.is_none() {
            subject = Some(PathBuf::from(argument));
        }
    }
    if !["certify", "rejudge", "study", "calibrate", "scan"].contains(&command.get_name()) {
        return None;
    }
    if outputs.is_empty() {
        let defaults = command.get_arguments().filter(|option| option.get_id() == "output").flat_map(Arg::get_default_values);
        outputs = defaults.map(PathBuf::from).collect();
    }
    Some(Asked { command: command.get_name().to_owned(), outputs, subject })
}

/// The rest of an argument, from a byte behind ASCII on.
#[cfg(unix)]
fn from(argument: &OsStr, byte: usize) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(argument.as_bytes().get(byte..).unwrap_or_default()).to_owned()
}

/// The rest of an argument, from a byte behind ASCII on.
#[cfg(not(unix))]
fn from(argument: &OsStr, byte: usize) -> OsString {
    argument.to_string_lossy().get(byte..).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Asked, asked};

    fn of(line: &str) -> Option<Asked> {
        let arguments: Vec<_> = line.split(' ').map(Into::into).collect();
        asked(super::super::Cli::command(), &arguments)
    }

    #[test]
    fn the_folder_is_found_over_mistakes() {
        for (line, outputs) in [
            ("heirloom certify", &["heirloom-report"][..]),
            ("heirloom certify m.onnx --max-tim 3m", &["heirloom-report"]),
            ("heirloom certify m.onnx --output out", &["out"]),
            ("heirloom --format json certify --output=out m.onnx", &["out"]),
            ("heirloom --threads certify certify -o out", &["out"]),
            ("heirloom certify -o=out --bogus -- -o", &["out"]),
            ("heirloom certify -qoout m.onnx", &["out"]),
            ("heirloom certify m.onnx -p -o --output out", &["out"]),
            ("heirloom certify --output a m.onnx -o b", &["a", "b"]),
            ("heirloom rejudge old -p p.yaml", &[]),
            ("heirloom study s.yaml --output", &[]),
            ("heirloom scan s.yaml --fail-on old -o out", &["out"]),
            ("heirloom scan s.yaml --fail", &[]),
            ("heirloom calibrate c.yaml -v -o deep/out --device", &["deep/out"]),
        ] {
            let found = of(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(found.outputs, outputs.iter().map(std::path::PathBuf::from).collect::<Vec<_>>(), "{line}");
        }
        assert_eq!(of("heirloom certify -o out m.onnx x").unwrap().subject, Some("m.onnx".into()));
        assert_eq!(of("heirloom certify -- m.onnx").unwrap().subject, Some("m.onnx".into()));
        for line in ["heirloom", "heirloom inspect --output out", "heirloom certifi -o out", "heirloom plan m.onnx", "heirloom cache list"]
        {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_name_that_is_no_text_stays_itself() {
        use std::os::unix::ffi::OsStringExt;
        let name = std::ffi::OsString::from_vec(b"--output=\xff\xfe".to_vec());
        let found = asked(super::super::Cli::command(), &["heirloom".into(), "certify".into(), name]).unwrap();
        assert_eq!(found.outputs, [std::path::PathBuf::from(std::ffi::OsString::from_vec(b"\xff\xfe".to_vec()))]);
    }
}
