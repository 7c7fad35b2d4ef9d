//! The worker's side: a process that loads the library and answers its program until that is gone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;

use super::network::{self, Network};
use super::wire::{self, Fault, PROTOCOL, Reply, Request};
use super::{RuntimeError, library, memory};
use crate::registry::ExternalData;

/// Runs a worker: what a program does that was started with [`super::WORKER`] as its first argument. `arguments` are those behind it.
/// Returns when it was not started by heirloom, and else ends with the program that started it.
pub fn serve(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let [library, shared] = arguments.as_slice() else { return by_hand() };
    if io::stdin().is_terminal() {
        return by_hand();
    }
    match run(PathBuf::from(library), &PathBuf::from(shared)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}

fn by_hand() -> ExitCode {
    let _ = writeln!(io::stderr(), "error: heirloom starts `{}` by itself, to run ONNX Runtime in", super::WORKER);
    ExitCode::from(4)
}

/// A request, with the bytes that followed it.
struct Work {
    request: Request,
    bytes: Vec<u8>,
    external: ExternalData,
}

fn run(library: PathBuf, shared: &std::path::Path) -> io::Result<()> {
    quietly();
    let mut replies = answers()?;
    let log = tracing_subscriber::fmt().with_writer(io::stderr).without_time().with_ansi(false).with_max_level(tracing::Level::WARN);
    // A program of a user's may have one already.
    let _ = log.try_init();
    let memory = memory::open(shared)?;
    // What the program decides is none of this process's business: a signal may be sent to both.
    ctrlc::set_handler(|| {}).map_err(io::Error::other)?;
    let (send, work) = mpsc::sync_channel(1);
    // Read beside the work, so that the end of the program is noticed in the middle of a batch.
    std::thread::Builder::new().name("requests".into()).spawn(move || {
        let mut requests = BufReader::new(io::stdin().lock());
        while let Ok(work) = read(&mut requests) {
            if send.send(work).is_err() {
                break;
            }
        }
        leave();
    })?;
    let mut served = Served { library, memory, networks: BTreeMap::new(), shown: None };
    while let Ok(work) = work.recv() {
        if let Request::Close { session } = work.request {
            served.networks.remove(&session);
            continue;
        }
        let reply = served.answer(work).unwrap_or_else(|error| Reply::Refused(Fault::from(error)));
        wire::send(&mut replies, &reply)?;
    }
    Ok(())
}

/// No core file of a crash is left in the user's folder.
fn quietly() {
    #[cfg(unix)]
    {
        let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    }
}

/// Where answers go: standard output, which from now on is standard error, for libraries print to it.
fn answers() -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let answers = io::stdout().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdout(io::stderr())?;
        Ok(File::from(answers))
    }
    #[cfg(windows)]
    {
        use std::os::windows::io::AsHandle;
        Ok(File::from(io::stdout().as_handle().try_clone_to_owned()?))
    }
}

/// Ends this process at once, and those that it started: the program is gone, and a batch may still be computed.
fn leave() {
    #[cfg(unix)]
    {
        use rustix::process::{Signal, getpid, kill_process, kill_process_group};
        // What the library started ends too, where the program made this process the head of a group.
        let _ = kill_process_group(getpid(), Signal::KILL);
        let _ = kill_process(getpid(), Signal::KILL);
    }
    std::process::abort();
}

fn read(from: &mut impl Read) -> io::Result<Work> {
    let request: Request = wire::receive(from)?;
    let (mut bytes, mut files) = (Vec::new(), ExternalData::new());
    if let Request::Session { bytes: length, external, .. } = &request {
        bytes = exactly(from, *length)?;
        for (name, length) in external {
            files.insert(name.clone(), exactly(from, *length)?);
        }
    }
    Ok(Work { request, bytes, external: files })
}

fn exactly(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(length).map_err(io::Error::other)?).map_err(io::Error::other)?;
    if from.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// The numbers in the first `bytes` bytes of the shared file, where they lie: a copy of them takes as long as some networks do.
#[allow(unsafe_code)]
fn batch<'a>(memory: &File, shown: &'a mut Option<memmap2::Mmap>, bytes: usize) -> io::Result<&'a [f32]> {
    if shown.as_ref().is_none_or(|shown| shown.len() < bytes) {
        // SAFETY: nobody but the program that started this one has the file open. It never shortens it, and writes nothing between its
        // request and the answer.
        *shown = Some(unsafe { memmap2::Mmap::map(memory)? });
    }
    let numbers = shown.as_ref().and_then(|shown| shown.get(..bytes)).and_then(|bytes| bytemuck::try_cast_slice(bytes).ok());
    numbers.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// What a worker holds.
struct Served {
    library: PathBuf,
    memory: File,
    networks: BTreeMap<u64, Network>,
    /// Its bytes, as far as they were there when a batch last needed them.
    shown: Option<memmap2::Mmap>,
}

impl Served {
    fn answer(&mut self, work: Work) -> Result<Reply, RuntimeError> {
        let failed = |reason: String| RuntimeError::Run { reason };
        Ok(match work.request {
            Request::Open => Reply::Opened { protocol: PROTOCOL, version: library::load(&self.library)? },
            Request::Start { provider } => {
                network::start(provider)?;
                Reply::Started
            }
            Request::Session { session, provider, threads, outputs, .. } => {
                let network = Network::load(provider, threads, &work.bytes, &work.external, &outputs)?;
                let (batch, outputs) = (network.batch, network.outputs.clone());
                self.networks.insert(session, network);
                Reply::Session { batch, outputs }
            }
            Request::Run { session, dims } => {
                let network = self.networks.get_mut(&session).ok_or_else(|| failed(format!("there is no session {session}")))?;
                let numbers = dims
                    .iter()
                    .try_fold(1usize, |all, size| all.checked_mul(*size))
                    .ok_or_else(|| failed("its batch is too large".into()))?;
                let handed = |error: io::Error| failed(format!("its tensors cannot be handed over: {error}"));
                let bytes = numbers.checked_mul(size_of::<f32>()).ok_or_else(|| failed("its batch is too large".into()))?;
                let outputs = network.run(&dims, batch(&self.memory, &mut self.shown, bytes).map_err(handed)?)?;
                wire::put(&self.memory, outputs.iter().map(|output| output.values.as_slice())).map_err(handed)?;
                Reply::Ran { shapes: outputs.into_iter().map(|output| output.shape).collect() }
            }
            Request::Close { .. } => return Err(failed("nothing to answer".into())),
        })
    }
}
