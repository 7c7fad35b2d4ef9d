//! A certification from a program of one's own: `cargo run --release --example certify -- MODEL [POLICY]`.
//!
//! Prints the table that `heirloom certify` prints, writes its reports into `heirloom-report`, and exits with its code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use heirloom::engine::Event;
use heirloom::exec::Compute;
use heirloom::policy;
use heirloom::report::{self, Incomplete, table};
use heirloom::session::{CertifyOptions, OpenOptions, Session, now};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let model = arguments.next().ok_or("usage: certify MODEL [POLICY]")?;
    let folder = Path::new("heirloom-report");
    // From here on, what lies in the folder is of this run.
    report::begin(&Incomplete::unfinished(&model.display().to_string(), now().0), folder)?;

    let policy = match arguments.next() {
        Some(path) => policy::load(&path)?.0,
        None => policy::embedded()?,
    };
    let session = Session::new(Compute::cpu());
    let model = session.open(&model, &policy, &OpenOptions::default())?;
    let references = session.references(&policy, &model)?;
    let references: Vec<&_> = references.iter().collect();
    let certified = session.certify(&policy, &model, &references, &CertifyOptions::default(), &mut |event| {
        if let Event::StageEnd { stage, summary, seconds } = event {
            eprintln!("{stage}: {summary} ({seconds:.0} s)");
        }
    })?;

    print!("{}", table::render(&certified.report, table::Look { color: false, width: 100 }));
    report::write_all(&certified.report, &certified.measurements, &certified.sheets, folder)?;
    Ok(u8::try_from(certified.report.process_code()).map_or(ExitCode::FAILURE, ExitCode::from))
}
