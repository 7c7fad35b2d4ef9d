//! Workers that lie, hang and crash: scripts in the place of a program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::Client;
use crate::diag::{Class, Explain};
use crate::registry::ExternalData;
use crate::runtime::{Host, Place, Provider, Runtime, RuntimeError, Session, Worker};

/// A frame as a worker sends it.
fn frame(message: &Value) -> Vec<u8> {
    let json = message.to_string();
    [&(json.len() as u32).to_le_bytes()[..], json.as_bytes()].concat()
}

fn opened() -> Vec<u8> {
    frame(&json!({ "Opened": { "protocol": super::PROTOCOL, "version": "1.99.0" } }))
}

/// A worker that says these bytes at once, and then does what a shell is told.
fn worker(folder: &Path, says: &[u8], then: &str) -> Worker {
    let (answers, script) = (folder.join("answers"), folder.join("worker"));
    std::fs::write(&answers, says).unwrap();
    std::fs::write(&script, format!("#!/bin/sh\ncat '{}'\n{then}\n", answers.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    Worker::at(script).within(Duration::from_secs(20))
}

/// Starts it. A script that another thread's new process still has open for writing cannot be started for a moment.
fn start(worker: &Worker) -> Result<Runtime, RuntimeError> {
    loop {
        match Runtime::load("/lib/libonnxruntime.so".into(), &Host::Worker(worker.clone())) {
            Err(RuntimeError::Worker { reason, .. }) if reason.contains("busy") => std::thread::sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
}

/// Waits for requests until there are none.
const LISTEN: &str = "exec cat > /dev/null";

fn session(answers: &[Value]) -> Result<Session, RuntimeError> {
    let folder = tempfile::tempdir().unwrap();
    let says: Vec<u8> = opened().into_iter().chain(answers.iter().flat_map(frame)).collect();
    let runtime = start(&worker(folder.path(), &says, LISTEN)).unwrap();
    Session::new(&runtime, b"model", &ExternalData::new(), &["features".to_owned()])
}

#[test]
fn what_ends_a_worker_is_one_error() {
    for (says, then, said) in [
        (&b""[..], "exit 3", "ended with code 3 while its library /lib/libonnxruntime.so was loaded"),
        (b"", "kill -SEGV $$", "crashed (signal 11)"),
        (
            b"",
            "echo 'free(): invalid pointer' >&2; kill -ABRT $$",
            "crashed (signal 6) while its library /lib/libonnxruntime.so was loaded; it said: free(): invalid pointer",
        ),
        (b"", "kill -KILL $$", "as the system does where memory runs out"),
        (b"\x10\0\0\0{\"Opened", "exit 0", "ended with code 0"),
        (b"hello, world", LISTEN, "answered what cannot be read"),
        (b"\x02\0\0\0{{", LISTEN, "answered what cannot be read"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = start(&worker(folder.path(), says, then)).unwrap_err();
        assert!(error.is_end() && error.hint().is_some() && error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_worker_that_hangs_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let error = start(&worker(folder.path(), b"", "exec sleep 600").within(Duration::from_millis(400))).unwrap_err();
    assert!(matches!(&error, RuntimeError::Late { .. }) && error.is_end(), "{error}");
    // Also one that does not read what it is sent.
    let runtime = start(&worker(folder.path(), &opened(), "exec sleep 600").within(Duration::from_millis(400))).unwrap();
    let error = Session::new(&runtime, &vec![0; 4 << 20], &ExternalData::new(), &[]).unwrap_err();
    assert!(matches!(&error, RuntimeError::Late { .. }), "{error}");
}

#[test]
fn programs_that_are_no_worker() {
    let folder = tempfile::tempdir().unwrap();
    let error = start(&Worker::at(folder.path().join("nowhere"))).unwrap_err();
    assert!(matches!(error, RuntimeError::Worker { .. }), "{error}");
    let other = frame(&json!({ "Opened": { "protocol": super::PROTOCOL + 1, "version": "1.99.0" } }));
    let error = start(&worker(folder.path(), &other, LISTEN)).unwrap_err();
    assert!(error.to_string().contains("another version of heirloom"), "{error}");
    let error = start(&worker(folder.path(), &frame(&json!("Started")), LISTEN)).unwrap_err();
    assert!(error.to_string().contains("another question"), "{error}");
    for (fault, said) in [
        (json!({ "Old": "1.2.3" }), "/lib/libonnxruntime.so: this is ONNX Runtime 1.2.3"),
        (json!({ "NotALibrary": "x".repeat(1 << 20) }), "not an ONNX Runtime library: xxx"),
    ] {
        let error = start(&worker(folder.path(), &frame(&json!({ "Refused": fault })), LISTEN)).unwrap_err().to_string();
        assert!(error.contains(said) && error.len() < 3000, "{error}");
    }
}

#[test]
fn what_a_worker_says_of_a_model_is_checked() {
    let loaded = json!({ "Session": { "batch": null, "outputs": ["features"] } });
    for answer in [
        json!({ "Session": { "batch": null, "outputs": ["other"] } }),
        json!({ "Session": { "batch": 0, "outputs": ["features"] } }),
        json!({ "Session": { "batch": null, "outputs": [] } }),
        json!("Started"),
    ] {
        assert!(session(std::slice::from_ref(&answer)).is_err(), "{answer}");
    }
    for (answer, said) in [
        (json!({ "Ran": { "shapes": [[1, 1000]] } }), "4000 bytes that are not there"),
        (json!({ "Ran": { "shapes": [[1, 4_294_967_296u64]] } }), "numbers an image"),
        (json!({ "Ran": { "shapes": [[1, usize::MAX, usize::MAX]] } }), "numbers an image"),
        (json!({ "Ran": { "shapes": [[2, 3]] } }), "not one row per image"),
        (json!({ "Ran": { "shapes": [] } }), "0 tensors, 1 were asked for"),
        (json!({ "Refused": { "Run": "no" } }), "fails on a batch: no"),
        (json!({ "Session": { "batch": null, "outputs": ["features"] } }), "another question"),
    ] {
        let error = session(&[loaded.clone(), answer]).unwrap().run(&[2, 3], &[0.0; 6]).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    // One image had two numbers, and two of them have more than four.
    let one = json!({ "Ran": { "shapes": [[1, 2]] } });
    let session_of = |second: Value| session(&[loaded.clone(), one.clone(), second]).unwrap().run(&[2, 3], &[0.5; 6]);
    let error = session_of(json!({ "Ran": { "shapes": [[2, 3]] } })).unwrap_err().to_string();
    assert!(error.contains("[3] numbers an image, and had [2]"), "{error}");
    // What is as announced is read: here what was handed over, for nobody wrote anything else.
    let read = session_of(json!({ "Ran": { "shapes": [[2, 2]] } })).unwrap();
    assert_eq!((&read[0].shape, &read[0].values), (&vec![2, 2], &vec![0.5; 4]));
}

#[test]
fn after_an_end_there_is_a_new_worker_and_the_old_one_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = start(&worker(folder.path(), &opened(), LISTEN)).unwrap();
    let Place::There(workers) = &runtime.place else { panic!("not in a worker") };
    let id = |client: &Client| client.watch.id();
    let (first, again) = (workers.client().unwrap(), workers.client().unwrap());
    assert_eq!(id(&first), id(&again));
    let process = format!("/proc/{}", id(&first));
    let there = Path::new("/proc/self").exists();
    assert_eq!(Path::new(&process).exists(), there);
    first.watch.kill();
    assert!(first.provides(Provider::Cpu).unwrap_err().is_end());
    // It was waited for: nothing of it is left.
    assert!(!Path::new(&process).exists());
    let next = workers.client().unwrap();
    assert_ne!(id(&next), id(&first));
    assert!(first.provides(Provider::Cpu).unwrap_err().to_string().contains("has ended before"));
    let process = format!("/proc/{}", id(&next));
    drop((first, again, next, runtime));
    assert!(!Path::new(&process).exists());
}

/// Whether a process is there that has not ended.
#[cfg(target_os = "linux")]
fn runs(id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_library_starts_ends_with_the_worker_and_is_not_waited_for() {
    // One in the worker's group, and one that left it: both hold its streams.
    for (starts, ends) in [("", true), ("setsid ", false)] {
        for then in ["exit 3", "kill -SEGV $$", "sleep 100"] {
            let folder = tempfile::tempdir().unwrap();
            let number = folder.path().join("number");
            let script = format!(
                "{starts}sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 100' &\nwhile [ ! -e {0} ]; do sleep 0.05; done\n{then}",
                number.display()
            );
            let limit = Duration::from_secs(2);
            let clock = std::time::Instant::now();
            let error = start(&worker(folder.path(), b"", &script).within(limit)).unwrap_err();
            assert!(clock.elapsed() < Duration::from_secs(20), "{starts}{then}: it was waited for");
            assert_eq!(matches!(error, RuntimeError::Late { .. }), then == "sleep 100", "{starts}{then}: {error}");
            let id = std::fs::read_to_string(&number).unwrap();
            // A process that was sent the signal needs its turn to end.
            let clock = std::time::Instant::now();
            while ends && runs(id.trim()) && clock.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(runs(id.trim()), !ends, "{starts}{then}");
            if !ends {
                let id = rustix::process::Pid::from_raw(id.trim().parse().unwrap()).unwrap();
                rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
            }
        }
    }
}

#[test]
fn a_card_is_asked_of_the_worker() {
    let on = |answer: Value| {
        let folder = tempfile::tempdir().unwrap();
        let says = [opened(), frame(&answer)].concat();
        start(&worker(folder.path(), &says, LISTEN)).unwrap().on_cuda(1)
    };
    assert_eq!(on(json!("Started")).unwrap().provider, Provider::Cuda(1));
    let error = on(json!({ "Refused": "NoCuda" })).unwrap_err();
    assert_eq!(error.to_string(), "/lib/libonnxruntime.so: this ONNX Runtime 1.99.0 computes on the processor only");
    let error = on(json!({ "Refused": { "Cuda": [1, "libcudnn.so.9: no such file"] } })).unwrap_err();
    assert!(error.to_string().contains("CUDA device 1: libcudnn.so.9") && error.class() == Class::Usage, "{error}");
}
