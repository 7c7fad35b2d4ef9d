//! `heirloom doctor`: what this machine has for a certification, and what it lacks.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::failure::Failure;
use super::output::{Output, Shape};
use super::{cache, machine, runtime, size};
use heirloom::exec;
use heirloom::report::printable;
use heirloom::runtime::{Search, Wanted};
use heirloom::store::Cache;

const EXAMPLES: &str = "\
Examples:
  heirloom doctor
  heirloom doctor --ort-lib /opt/onnxruntime/lib
  heirloom doctor --format json

What is missing is no error: the exit code is 0, unless a library that was named cannot be used.";

/// What brings ONNX Runtime.
const INSTALL: &str = "pip install onnxruntime";

/// Show what this machine has for a certification, and what would bring what it lacks.
///
/// The processor, the memory, ONNX Runtime, the CUDA driver and the folder of what is kept. Changes nothing.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The library of ONNX Runtime.
    #[command(flatten)]
    pub runtime: runtime::Args,
    /// Folder of what is kept [default: `HEIRLOOM_CACHE`, else the user's cache folder].
    #[arg(long, value_name = "DIR", value_parser = super::folder)]
    pub cache: Option<PathBuf>,
}

/// What was found.
#[derive(Serialize)]
struct Findings {
    version: &'static str,
    instruction_set: &'static str,
    threads: usize,
    /// Bytes that may be used.
    memory: Option<u64>,
    onnx_runtime: OnnxRuntime,
    cuda: Cuda,
    cache: Option<Kept>,
    /// What is missing, and the command that brings it.
    missing: Vec<Missing>,
}

#[derive(Serialize)]
struct OnnxRuntime {
    version: Option<String>,
    path: Option<PathBuf>,
    /// Whether it was switched off.
    off: bool,
    /// Folders that were looked through.
    looked: Vec<PathBuf>,
    /// What was found and does not fit.
    unfit: Vec<String>,
}

#[derive(Serialize)]
struct Cuda {
    driver: Option<PathBuf>,
    devices: Vec<String>,
    /// Whether this build can use them.
    built: bool,
}

#[derive(Serialize)]
struct Kept {
    folder: PathBuf,
    entries: usize,
    bytes: u64,
    /// Why nothing can be read there, if so.
    unusable: Option<String>,
}

#[derive(Serialize)]
struct Missing {
    what: &'static str,
    /// What it would be good for.
    means: &'static str,
    command: &'static str,
}

/// Looks, and shows what was found.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let wanted = args.runtime.wanted();
    // A library that is named and does not fit is part of what is shown, and the command's error afterwards.
    let (Search { runtime, looked, unfit }, failed) = match heirloom::runtime::open(&wanted, &args.runtime.host()?) {
        Ok(search) => (search, None),
        Err(error) => (Search { unfit: vec![error.to_string()], ..Search::default() }, Some(error)),
    };
    let off = wanted == Wanted::Off;
    let mut missing = Vec::new();
    if runtime.is_none() && !off {
        missing.push(Missing {
            what: "ONNX Runtime",
            means: "certifies models whose operators heirloom does not have, and checks heirloom against a second opinion; --ort-lib names it \
                    where it is not found",
            command: INSTALL,
        });
    }
    let cuda = cuda();
    if cuda.driver.is_some() && !cuda.devices.is_empty() && !cuda.built {
        missing.push(Missing {
            what: "a CUDA build",
            means: "trains on the card that is here",
            command: "cargo build --release --locked --features cuda",
        });
    }
    let kept = machine::cache_folder(args.cache.as_deref()).map(|folder| Cache::at(&folder));
    let (entries, unusable) = match kept.as_ref().map(Cache::entries) {
        Some(Err(error)) => (Vec::new(), Some(error.to_string())),
        found => (found.and_then(Result::ok).unwrap_or_default(), None),
    };
    let findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        instruction_set: exec::instruction_set(),
        threads: rayon::current_num_threads(),
        memory: machine::memory(),
        onnx_runtime: OnnxRuntime {
            version: runtime.as_ref().map(|runtime| runtime.version.clone()),
            path: runtime.map(|runtime| runtime.path),
            off,
            looked,
            unfit,
        },
        cuda,
        cache: kept.map(|kept| Kept {
            folder: kept.folder().to_owned(),
            entries: entries.len(),
            bytes: entries.iter().map(|entry| entry.bytes).sum(),
            unusable,
        }),
        missing,
    };
    match out.shape {
        Shape::Json => out.json(&findings)?,
        Shape::Text => out.result(&render(&findings, &cache::amount(&entries)))?,
    }
    failed.map_or(Ok(0), |error| Err(error.into()))
}

/// Where the driver's library is, and which devices it serves; nothing is loaded.
fn cuda() -> Cuda {
    let listed = std::env::var_os("LD_LIBRARY_PATH").map(|list| std::env::split_paths(&list).collect::<Vec<_>>()).unwrap_or_default();
    let triple = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let system = [triple.as_str(), "/usr/lib64", "/usr/lib", "/usr/local/lib", "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64"];
    let folders = listed.into_iter().chain(system.map(PathBuf::from));
    let named = folders.flat_map(|folder| ["libcuda.so.1", "libcuda.so"].map(|name| folder.join(name)));
    let windows = std::env::var_os("SystemRoot").map(|root| Path::new(&root).join("System32/nvcuda.dll"));
    let driver = named.chain(windows).find(|path| path.is_file());
    let mut devices = Vec::new();
    for gpu in std::fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten() {
        let facts = std::fs::read_to_string(gpu.path().join("information")).unwrap_or_default();
        let model = facts.lines().find_map(|line| line.strip_prefix("Model:"));
        devices.push(model.map_or_else(|| gpu.file_name().to_string_lossy().into_owned(), |model| model.trim().to_owned()));
    }
    devices.sort();
    Cuda { driver, devices, built: cfg!(feature = "cuda") }
}

fn render(findings: &Findings, kept: &str) -> String {
    let Findings { version, instruction_set, threads, memory, onnx_runtime, cuda, cache, missing } = findings;
    let path = |path: &Path| path.display().to_string();
    let mut lines = vec![
        ("heirloom", (*version).to_owned()),
        ("processor", format!("{instruction_set}, {threads} thread{}", if *threads == 1 { "" } else { "s" })),
        ("memory", memory.map_or_else(|| "unknown".to_owned(), size::show)),
    ];
    match (&onnx_runtime.version, &onnx_runtime.path) {
        (Some(version), Some(library)) => lines.push(("ONNX Runtime", format!("{version}, {}", path(library)))),
        _ if onnx_runtime.off => lines.push(("ONNX Runtime", "switched off".to_owned())),
        _ => {
            // Nothing was searched where a library was named.
            let named = onnx_runtime.looked.is_empty();
            lines.push(("ONNX Runtime", if named { "cannot be used" } else { "not found" }.to_owned()));
            lines.extend(onnx_runtime.unfit.iter().map(|unfit| ("", unfit.clone())));
            if !named {
                lines.push(("", format!("looked in {}", onnx_runtime.looked.iter().map(|p| path(p)).collect::<Vec<_>>().join(", "))));
            }
        }
    }
    let driver = cuda.driver.as_ref().map_or_else(|| "no driver".to_owned(), |driver| format!("driver {}", path(driver)));
    let devices = if cuda.devices.is_empty() { String::new() } else { format!(", {}", cuda.devices.join(", ")) };
    let build = if cuda.built { "this build can use it: --device cuda" } else { "this build computes on the processor only" };
    lines.push(("CUDA", format!("{driver}{devices}; {build}")));
    lines.push((
        "kept",
        match cache {
            None => "nothing: switched off".to_owned(),
            Some(Kept { unusable: Some(why), .. }) => format!("nothing: {why}"),
            Some(cache) => format!("{kept} in {}", path(&cache.folder)),
        },
    ));
    for Missing { what, means, command } in missing {
        lines.push(("missing", format!("{what}: {means}")));
        lines.push(("", (*command).to_owned()));
    }
    let shown: Vec<String> = lines.iter().map(|(topic, text)| format!("  {topic:<14}{}", printable(text))).collect();
    shown.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        Findings {
            version: "1.2.3",
            instruction_set: "x86-64 AVX2",
            threads: 2,
            memory: Some(8 << 30),
            onnx_runtime: OnnxRuntime { version: None, path: None, off: false, looked: vec!["/usr/lib".into()], unfit: Vec::new() },
            cuda: Cuda { driver: None, devices: Vec::new(), built: false },
            cache: Some(Kept { folder: "/home/me/.cache/heirloom".into(), entries: 0, bytes: 0, unusable: None }),
            missing: vec![Missing { what: "ONNX Runtime", means: "a second opinion", command: INSTALL }],
        }
    }

    #[test]
    fn a_machine_that_lacks_something() {
        insta::assert_snapshot!(render(&findings(), "0 entries (0 B)"));
    }

    #[test]
    fn a_machine_that_has_all() {
        let found = Findings {
            onnx_runtime: OnnxRuntime {
                version: Some("1.32.0".into()),
                path: Some("/opt/libonnxruntime.so".into()),
                ..findings().onnx_runtime
            },
            cuda: Cuda { driver: Some("/usr/lib/libcuda.so.1".into()), devices: vec!["NVIDIA H100".into()], built: false },
            missing: Vec::new(),
            ..findings()
        };
        insta::assert_snapshot!(render(&found, "3 entries (1.0 MiB)"));
    }
}
