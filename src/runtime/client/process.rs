//! The worker's process: how long an answer may take, and that nothing of it is left and nothing waits for it once it is over.

use std::io::{self, Read, Write};
use std::process::{Child, ExitStatus};
#[cfg(unix)]
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::lock;

/// Ends the worker where an answer takes too long. What waits for the answer then finds the worker gone.
pub(super) struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    child: Child,
    /// What is left of the time for the present request.
    left: Option<Duration>,
    late: bool,
    over: bool,
    /// How it ended, once it is over and where it did so by itself.
    status: Option<ExitStatus>,
}

impl Watch {
    /// One turn of watching. Time is counted in turns, so that a machine or a terminal that sleeps does not use it up.
    const TURN: Duration = Duration::from_millis(250);

    pub fn of(child: Child) -> Self {
        Self { state: Mutex::new(State { child, left: None, late: false, over: false, status: None }), changed: Condvar::new() }
    }

    pub fn begin(&self, limit: Duration) {
        lock(&self.state).left = Some(limit);
        self.changed.notify_all();
    }

    /// The request is through. Whether the worker was ended for being late.
    pub fn done(&self) -> bool {
        let mut state = lock(&self.state);
        state.left = None;
        state.late
    }

    /// Ends the worker with all that it started, if it has not ended, and takes its status.
    pub fn end(&self) -> Option<ExitStatus> {
        let mut state = lock(&self.state);
        if state.over {
            return state.status;
        }
        // A crash is on its way where the pipe broke: its own status says more than that of being killed.
        let clock = Instant::now();
        while !state.late && !exited(&mut state.child) && clock.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let by_itself = state.late || exited(&mut state.child);
        kill(&mut state.child);
        // Of one that was killed here the status says nothing.
        state.status = state.child.wait().ok().filter(|_| by_itself);
        state.over = true;
        self.changed.notify_all();
        state.status
    }

    #[cfg(test)]
    pub fn id(&self) -> u32 {
        lock(&self.state).child.id()
    }

    #[cfg(test)]
    pub fn kill(&self) {
        kill(&mut lock(&self.state).child);
    }

    /// Watches until it is over.
    pub fn run(&self) {
        let mut state = lock(&self.state);
        while !state.over {
            if state.left.is_none() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let clock = Instant::now();
            state = self.changed.wait_timeout(state, Self::TURN).unwrap_or_else(PoisonError::into_inner).0;
            let Some(left) = state.left else { continue };
            let left = left.saturating_sub(clock.elapsed().min(2 * Self::TURN));
            state.left = Some(left);
            if left.is_zero() && !state.late && !state.over {
                state.late = true;
                kill(&mut state.child);
            }
        }
    }

    /// Whether the worker answers no more, whoever else holds its streams.
    #[cfg(unix)]
    fn gone(&self) -> bool {
        let mut state = lock(&self.state);
        state.late || state.over || exited(&mut state.child)
    }
}

/// Whether a process has ended. Its status is left to be taken: until then no other process gets its number.
fn exited(child: &mut Child) -> bool {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let flags = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(Pid::from_child(child)), flags), Ok(None))
    }
    #[cfg(not(unix))]
    {
        !matches!(child.try_wait(), Ok(None))
    }
}

/// Kills a process whose status was not taken yet, and its group.
fn kill(child: &mut Child) {
    #[cfg(unix)]
    let _ = rustix::process::kill_process_group(rustix::process::Pid::from_child(child), rustix::process::Signal::KILL);
    let _ = child.kill();
}

/// An end of a pipe to or from the worker, which waits no longer than that lives. Another process may hold the other end for ever.
pub(super) struct Pipe<T> {
    end: T,
    #[cfg_attr(not(unix), expect(dead_code))]
    watch: Arc<Watch>,
}

#[cfg(unix)]
impl<T: std::os::fd::AsFd> Pipe<T> {
    pub fn new(end: T, watch: &Arc<Watch>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&end, true)?;
        Ok(Self { end, watch: Arc::clone(watch) })
    }

    /// Does `io`; where the pipe is not ready, once it is. An error where the worker is gone and nothing is left in the pipe.
    fn once_ready<R>(&mut self, for_what: rustix::event::PollFlags, mut io: impl FnMut(&mut T) -> io::Result<R>) -> io::Result<R> {
        use rustix::event::{PollFd, Timespec, poll};
        let turn = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        loop {
            match io(&mut self.end) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            // Before the look into the pipe: what it wrote in between is not missed.
            let gone = self.watch.gone();
            match poll(&mut [PollFd::new(&self.end, for_what)], Some(&turn)) {
                Ok(0) if gone => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(unix)]
impl Read for Pipe<ChildStdout> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.once_ready(rustix::event::PollFlags::IN, |end| end.read(buffer))
    }
}

#[cfg(unix)]
impl Write for Pipe<ChildStdin> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.once_ready(rustix::event::PollFlags::OUT, |end| end.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end.flush()
    }
}

#[cfg(not(unix))]
impl<T> Pipe<T> {
    pub fn new(end: T, watch: &Arc<Watch>) -> io::Result<Self> {
        Ok(Self { end, watch: Arc::clone(watch) })
    }
}

#[cfg(not(unix))]
impl<T: Read> Read for Pipe<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.end.read(buffer)
    }
}

#[cfg(not(unix))]
impl<T: Write> Write for Pipe<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.end.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end.flush()
    }
}
