//! `heirloom init`: a policy for a checkpoint and somebody's own pictures.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use super::failure::{Broken, Failure, Usage};
use super::output::{Output, Shape, say};
use super::{device, duration, interrupt, machine, runtime, size};
use heirloom::engine;
use heirloom::init::{self, Written};
use heirloom::policy;
use heirloom::session::{OpenOptions, Session};

const EXAMPLES: &str = "\
Examples:
  heirloom init model.onnx --data photos > policy.yaml       photos/cat/1.jpg, photos/dog/1.jpg ...
  heirloom certify model.onnx --policy policy.yaml           the verdict

  heirloom init model.onnx --data celeba --label Smiling > policy.yaml
  heirloom init vit --data \"cifar10/{split}-*.parquet\" --max-time 1h > policy.yaml

Relative paths stay as they are typed, and a policy's paths start from its folder: write it into the
folder in which the command is called. On a terminal it asks for what is not given.";

/// Write a policy for a checkpoint and your own pictures.
///
/// Looks at both, and measures how fast the checkpoint is here. Then it sizes what is asked to what the pictures can settle within the time: rules
/// and their limit, ways of fine-tuning, seeds, how many pictures train and measure. The policy goes to stdout with the reason beside each number;
/// `certify` runs it as it is.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An .onnx or .safetensors file, or the folder that holds one.
    #[arg(value_name = "MODEL", value_parser = super::existing)]
    pub model: PathBuf,
    /// The pictures: a folder with one folder per class (or with `train` and `test` that have these), or other data that a policy takes, such as
    /// `"cifar10/{split}-*.parquet"`.
    #[arg(long, value_name = "PATH", value_parser = super::data)]
    pub data: Option<PathBuf>,
    /// Column that gives a picture's class, for data that call it otherwise than their format does (a CSV file without `label`) or have none: for CelebA
    /// one of its forty attributes, such as `Smiling`.
    #[arg(long, value_name = "COLUMN", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub label: Option<String>,
    /// What certifying may take, such as 90s, 15m or 2h30m [default: 15m].
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
    /// Tensor at which features leave the network [default: found; see `heirloom inspect`].
    #[arg(long, value_name = "NAME")]
    pub features: Option<String>,
    /// Architecture of a file that holds weights only [default: from config.json or the tensor names].
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// The library of ONNX Runtime.
    #[command(flatten)]
    pub runtime: runtime::Args,
    /// The device.
    #[command(flatten)]
    pub compute: device::Args,
    /// Memory that certifying may use, such as 512MiB or 4GiB [default: three quarters of what the machine or container has].
    #[arg(long, value_name = "SIZE", value_parser = size::memory)]
    pub memory: Option<u64>,
}

/// Where nobody says otherwise.
const MOST: Duration = Duration::from_mins(15);

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let (data, most) = asked(args)?;
    let mut session = Session::new(args.compute.open(out)?);
    session.stop = &interrupt::requested;
    session.runtime = args.runtime.open(&session.compute, out)?.runtime;
    session.cache = machine::cache(None, out);
    session.memory = machine::budget(args.memory);
    let options = OpenOptions { features: args.features.clone(), arch: args.arch.clone() };
    // What it says of the input is nothing, and no more is asked of it.
    let model = session.open(&args.model, &policy::embedded()?, &options)?;
    let Written { text, file, pictures, seconds: [least, longest], warnings } =
        init::policy(&session, &model, (data.as_path(), args.label.as_deref()), most.as_secs_f64())?;
    out.remark(&format!("  {:<16} {}", "model", model.identity.name()));
    out.remark(&format!("  {:<16} {pictures}", "pictures"));
    let rules: Vec<&str> = file.rules.iter().map(|rule| rule.id.as_str()).collect();
    let limit = file.rules.first().map(|rule| rule.limit).unwrap_or_default();
    out.remark(&format!("  {:<16} {}, limit {limit:.2}", "rules", rules.join(", ")));
    out.remark(&format!("  {:<16} about {}, up to {}", "time", engine::duration(least), engine::duration(longest)));
    for warning in warnings {
        out.remark(&format!("warning: {warning}"));
    }
    let shown = args.model.display();
    out.remark(&format!("  {:<16} heirloom certify {shown} --policy THE_FILE", "next"));
    match out.shape {
        Shape::Json => out.json(&file)?,
        Shape::Text => out.result(&text)?,
    }
    Ok(0)
}

/// The pictures and the time: as given, or on a terminal as typed.
fn asked(args: &Args) -> Result<(PathBuf, Duration), Failure> {
    if let Some(data) = &args.data {
        return Ok((data.clone(), args.max_time.unwrap_or(MOST)));
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        let shown = args.model.display();
        return Err(Usage(format!(
            "--data is missing: `heirloom init {shown} --data FOLDER`, where FOLDER has one folder of pictures per class"
        ))
        .into());
    }
    let data = typed("Folder of pictures, one folder in it per class", super::data)?;
    let most = match args.max_time {
        Some(most) => most,
        None => typed("How long may certifying take? [15m]", |text| if text.is_empty() { Ok(MOST) } else { duration::parse(text) })?,
    };
    Ok((data, most))
}

/// Asks until the answer is one.
fn typed<T>(question: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
    loop {
        say(&format!("{question}:"));
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).map_err(Broken::on("cannot read the answer"))? == 0 {
            return Err(Usage("no answer: give --data and --max-time".to_owned()).into());
        }
        match parse(line.trim()) {
            Ok(answer) => return Ok(answer),
            Err(why) => say(&format!("{}: {why}", heirloom::report::printable(line.trim()))),
        }
    }
}
