//! The program's side of a worker: starts it, asks it, and says how it ended.

mod process;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::process::{Pipe, Watch};
use super::network::Output;
use super::wire::{self, Fault, PROTOCOL, Reply, Request};
use super::{Provider, Runtime, RuntimeError, Worker, memory};
use crate::diag;
use crate::registry::ExternalData;

/// Whether the shapes that a worker names can be those of a batch: the numbers of each tensor for one image.
pub(super) type Check<'a> = dyn Fn(&[&[usize]]) -> Result<Vec<usize>, RuntimeError> + 'a;

/// Most bytes of a line that a worker says, and most lines of its end that are kept.
const MOST_LINE: u64 = 2000;
const KEPT_LINES: usize = 20;

/// Starts workers for one library: one process serves all sessions until it ends.
#[derive(Debug)]
pub(super) struct Workers {
    worker: Worker,
    library: PathBuf,
    current: Mutex<Option<Arc<Client>>>,
}

impl Workers {
    /// Starts a first worker. Gives its version too.
    pub fn start(worker: &Worker, library: &Path) -> Result<(Arc<Self>, String), RuntimeError> {
        let (client, version) = Client::start(worker, library)?;
        let current = Mutex::new(Some(client));
        Ok((Arc::new(Self { worker: worker.clone(), library: library.to_owned(), current }), version))
    }

    /// The worker that is there, or a new one where it has ended.
    pub fn client(&self) -> Result<Arc<Client>, RuntimeError> {
        let mut current = lock(&self.current);
        if let Some(client) = current.as_ref().filter(|client| client.lives()) {
            return Ok(Arc::clone(client));
        }
        let (client, _) = Client::start(&self.worker, &self.library)?;
        *current = Some(Arc::clone(&client));
        Ok(client)
    }
}

/// One worker process. It ends when this is dropped, and when this process does.
pub(super) struct Client {
    library: PathBuf,
    /// The time for an answer.
    limit: Duration,
    pipes: Mutex<Pipes>,
    watch: Arc<Watch>,
    watcher: Option<JoinHandle<()>>,
    /// Where tensors lie.
    memory: File,
}

struct Pipes {
    requests: Option<Pipe<ChildStdin>>,
    replies: BufReader<Pipe<ChildStdout>>,
    /// The last that it said on stderr.
    said: Option<JoinHandle<Vec<String>>>,
    next: u64,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("library", &self.library).finish_non_exhaustive()
    }
}

impl Client {
    fn start(worker: &Worker, library: &Path) -> Result<(Arc<Self>, String), RuntimeError> {
        let failed = |reason: String| RuntimeError::Worker { program: worker.program.clone(), reason };
        let (memory, place) = memory::create().map_err(|error| failed(format!("no memory to share with it: {error}")))?;
        let mut command = Command::new(&worker.program);
        // Of a panic the message is enough.
        command.arg(super::WORKER).arg(library).arg(place.path()).env("RUST_BACKTRACE", "0");
        // With what a library starts it is a group of its own, which is ended as one.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|e| failed(e.to_string()))?;
        let (Some(requests), Some(replies), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(failed("it has no standard streams".into()));
        };
        let spawn = |error: io::Error| failed(error.to_string());
        let watch = Arc::new(Watch::of(child));
        let watched = Arc::clone(&watch);
        let watcher = std::thread::Builder::new().name("ort-watch".into()).spawn(move || watched.run());
        let said = std::thread::Builder::new().name("ort-stderr".into()).spawn(move || listen(errors));
        let (watcher, said) = match (watcher, said) {
            (Ok(watcher), Ok(said)) => (watcher, said),
            (Err(error), _) | (_, Err(error)) => {
                watch.end();
                return Err(spawn(error));
            }
        };
        let (requests, replies) = (Pipe::new(requests, &watch), Pipe::new(replies, &watch));
        let pipes = match (requests, replies) {
            (Ok(requests), Ok(replies)) => Pipes { requests: Some(requests), replies: BufReader::new(replies), said: Some(said), next: 0 },
            (Err(error), _) | (_, Err(error)) => {
                watch.end();
                return Err(spawn(error));
            }
        };
        let pipes = Mutex::new(pipes);
        let mut client = Self { library: library.to_owned(), limit: worker.loading, pipes, watch, watcher: Some(watcher), memory };
        let reply = client.ask(&Request::Open, &[], &format!("while its library {} was loaded", library.display()))?;
        client.limit = worker.limit;
        // It has the memory open by now.
        drop(place);
        match reply {
            Reply::Opened { protocol: PROTOCOL, version } if version.len() < 64 => Ok((Arc::new(client), version)),
            Reply::Opened { .. } => Err(failed("it is of another version of heirloom".into())),
            other => Err(client.unexpected(&other)),
        }
    }

    /// Whether it can still be asked.
    pub fn lives(&self) -> bool {
        lock(&self.pipes).requests.is_some()
    }

    /// Whether networks can start on a provider.
    pub fn provides(&self, provider: Provider) -> Result<(), RuntimeError> {
        match self.ask(&Request::Start { provider }, &[], "while it was started on the card")? {
            Reply::Started => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Loads a network: its number, its images per batch where they are not free, and what is read of it.
    pub fn load(
        &self,
        runtime: &Runtime,
        threads: usize,
        bytes: &[u8],
        external: &ExternalData,
        outputs: &[String],
    ) -> Result<(u64, Option<usize>, Vec<String>), RuntimeError> {
        let session = {
            let mut pipes = lock(&self.pipes);
            pipes.next += 1;
            pipes.next
        };
        let request = Request::Session {
            session,
            provider: runtime.provider,
            threads,
            bytes: bytes.len() as u64,
            external: external.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect(),
            outputs: outputs.to_vec(),
        };
        let files: Vec<&[u8]> = std::iter::once(bytes).chain(external.values().map(Vec::as_slice)).collect();
        match self.ask(&request, &files, "while it loaded the model")? {
            Reply::Session { batch, outputs: given } => {
                // As asked for; where nothing was, the first that the file gives out.
                let as_asked = if outputs.is_empty() { given.len() <= 1 } else { given == outputs };
                if !as_asked || batch == Some(0) {
                    return Err(broken("it loaded another model than it was asked to"));
                }
                Ok((session, batch, given))
            }
            other => Err(self.unexpected(&other)),
        }
    }

    /// Runs a network on one batch. The shapes are checked before anything is read.
    pub fn run(
        &self,
        (session, name): (u64, &str),
        dims: &[usize],
        slices: &[&[f32]],
        check: &Check,
    ) -> Result<(Vec<Output>, Vec<usize>), RuntimeError> {
        let failed = |error: io::Error| RuntimeError::Run { reason: format!("its tensors cannot be handed over: {error}") };
        let mut pipes = lock(&self.pipes);
        wire::put(&self.memory, slices.iter().copied()).map_err(failed)?;
        let rows = dims.first().copied().unwrap_or_default();
        let doing = format!("while it computed {} with {name}", diag::count(rows, "image"));
        match self.asked(&mut pipes, &Request::Run { session, dims: dims.to_vec() }, &[], &doing)? {
            Reply::Ran { shapes } => {
                let widths = check(&shapes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
                // Checked: sizes that multiply.
                let bytes = shapes.iter().map(|shape| shape.iter().product::<usize>() as u64 * size_of::<f32>() as u64).sum::<u64>();
                if self.memory.metadata().map_err(failed)?.len() < bytes {
                    return Err(RuntimeError::Run { reason: format!("it announces {bytes} bytes that are not there") });
                }
                Ok((wire::outputs(&self.memory, shapes).map_err(failed)?, widths))
            }
            other => Err(self.unexpected(&other)),
        }
    }

    /// Forgets a network. That the worker is gone already is no error.
    pub fn close(&self, session: u64) {
        if let Some(requests) = &mut lock(&self.pipes).requests {
            let _ = wire::send(requests, &Request::Close { session });
        }
    }

    fn ask(&self, request: &Request, payload: &[&[u8]], doing: &str) -> Result<Reply, RuntimeError> {
        self.asked(&mut lock(&self.pipes), request, payload, doing)
    }

    /// Sends a request and what follows it, and waits for the answer until the time limit.
    fn asked(&self, pipes: &mut Pipes, request: &Request, payload: &[&[u8]], doing: &str) -> Result<Reply, RuntimeError> {
        let Some(requests) = &mut pipes.requests else {
            return Err(RuntimeError::Ended { how: "has ended before".into(), doing: doing.into(), said: None });
        };
        self.watch.begin(self.limit);
        let sent = wire::send(requests, request).and_then(|()| payload.iter().try_for_each(|bytes| requests.write_all(bytes)));
        let sent = sent.and_then(|()| requests.flush());
        let reply = sent.and_then(|()| wire::receive::<Reply>(&mut pipes.replies));
        let late = self.watch.done();
        match reply {
            Ok(Reply::Refused(fault)) => Err(self.fault(fault)),
            Ok(reply) => Ok(reply),
            Err(error) => {
                pipes.requests = None;
                let status = self.watch.end();
                let said = pipes.said.take().and_then(soon).unwrap_or_default();
                for line in &said {
                    tracing::warn!("ONNX Runtime's worker: {line}");
                }
                if late {
                    return Err(RuntimeError::Late { doing: doing.into(), seconds: self.limit.as_secs() });
                }
                let how = match status {
                    // It was ended here, for what it answered.
                    _ if error.kind() == io::ErrorKind::InvalidData => format!("answered what cannot be read ({error})"),
                    Some(status) => ending(status),
                    None => format!("stopped answering ({error})"),
                };
                let said = said
                    .iter()
                    .rev()
                    .find(|line| !line.trim().is_empty() && !line.starts_with("note: "))
                    .map(|line| wire::bounded(line.trim()));
                Err(RuntimeError::Ended { how, doing: doing.into(), said })
            }
        }
    }

    fn fault(&self, fault: Fault) -> RuntimeError {
        let path = self.library.clone();
        let reason = |text: String| wire::bounded(&text);
        match fault {
            Fault::NotALibrary(text) => RuntimeError::NotALibrary { path, reason: reason(text) },
            Fault::Old(version) => RuntimeError::Old { path, version: version.chars().take(64).collect() },
            Fault::Start(text) => RuntimeError::Start { path, reason: reason(text) },
            Fault::NoCuda => RuntimeError::NoCuda { runtime: "ONNX Runtime".into(), path },
            Fault::Cuda(ordinal, text) => RuntimeError::Cuda { ordinal, reason: reason(text) },
            Fault::Refused(text) => RuntimeError::Refused { reason: reason(text) },
            Fault::Run(text) => RuntimeError::Run { reason: reason(text) },
        }
    }

    fn unexpected(&self, reply: &Reply) -> RuntimeError {
        tracing::debug!(?reply, library = %self.library.display(), "an answer to another question");
        broken("it answered another question than it was asked")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let pipes = self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner);
        pipes.requests = None;
        self.watch.end();
        // Both end with the process: nothing is left behind.
        let _ = self.watcher.take().and_then(soon);
        let _ = pipes.said.take().and_then(soon);
    }
}

/// What a thread gives that ends about now. A process that left the worker's group may hold its streams for ever: then there is nothing.
fn soon<T>(thread: JoinHandle<T>) -> Option<T> {
    let clock = Instant::now();
    while !thread.is_finished() {
        if clock.elapsed() > Duration::from_secs(1) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    thread.join().ok()
}

/// The last lines that a worker says, each bounded. Ends with it.
fn listen(errors: ChildStderr) -> Vec<String> {
    let mut errors = BufReader::new(errors);
    let mut lines = std::collections::VecDeque::new();
    loop {
        let mut line = Vec::new();
        match (&mut errors).take(MOST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return lines.into(),
            Ok(_) => {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                tracing::debug!("ONNX Runtime: {line}");
                lines.push_back(line);
                if lines.len() > KEPT_LINES {
                    lines.pop_front();
                }
            }
        }
    }
}

fn broken(what: &str) -> RuntimeError {
    RuntimeError::Run { reason: what.to_owned() }
}

/// How a process ended, after its name: `crashed (signal 11)`.
fn ending(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            9 => "was killed, as the system does where memory runs out (signal 9)".into(),
            4 | 6 | 7 | 8 | 10 | 11 => format!("crashed (signal {signal})"),
            _ => format!("was ended by signal {signal}"),
        };
    }
    match status.code() {
        Some(code) => format!("ended with code {code}"),
        None => "ended".into(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, unix))]
mod tests;
