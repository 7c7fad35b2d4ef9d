//! One ONNX file in ONNX Runtime, in this process or in a worker: batches of any size in, tensors out.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::client::Client;
use super::network::{Network, Output};
use super::{Place, Runtime, RuntimeError, wire};
use crate::registry::ExternalData;

/// A network that ONNX Runtime has loaded.
pub(crate) struct Session {
    loaded: Loaded,
    runtime: Runtime,
    /// Images per batch, where they are not free.
    batch: Option<usize>,
    /// What is read, in order.
    outputs: Vec<String>,
    /// Numbers of each output for one image, once it was run.
    widths: OnceLock<Vec<usize>>,
    /// What errors call it.
    name: OnceLock<String>,
}

enum Loaded {
    Here(Mutex<Network>),
    /// In the worker, under a number.
    There(Arc<Client>, u64),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("runtime", &self.runtime).field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

impl Session {
    /// Loads the file `bytes`, whose weights outside of it are `beside`. `outputs` are the tensors that will be read; one that the
    /// file does not give out is added to what it gives.
    pub(crate) fn new(runtime: &Runtime, bytes: &[u8], external: &ExternalData, outputs: &[String]) -> Result<Self, RuntimeError> {
        let threads = rayon::current_num_threads();
        let (loaded, batch, outputs) = match &runtime.place {
            Place::Here => {
                let network = Network::load(runtime.provider, threads, bytes, external, outputs)?;
                let (batch, outputs) = (network.batch, network.outputs.clone());
                (Loaded::Here(Mutex::new(network)), batch, outputs)
            }
            Place::There(workers) => {
                let client = workers.client()?;
                let (session, batch, given) = client.load(runtime, threads, bytes, external, outputs)?;
                (Loaded::There(client, session), batch, given)
            }
        };
        Ok(Self { loaded, runtime: runtime.clone(), batch, outputs, widths: OnceLock::new(), name: OnceLock::new() })
    }

    /// Shows it one image at a time from now on.
    pub(crate) fn one_by_one(&mut self) {
        self.batch = self.batch.or(Some(1));
    }

    /// Gives it the name that errors call it by, once.
    pub(crate) fn call(&self, name: &str) {
        let _ = self.name.set(name.to_owned());
    }

    /// What runs it.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The outputs for a batch of inputs of `shape`, row by row in `values`.
    pub(crate) fn run(&self, shape: &[usize], values: &[f32]) -> Result<Vec<Output>, RuntimeError> {
        let failed = |reason: String| RuntimeError::Run { reason };
        let (Some(&n), size) = (shape.first(), shape.iter().skip(1).product::<usize>()) else {
            return Err(failed("the batch has no shape".into()));
        };
        if n == 0 || values.len() != n * size {
            return Err(failed(format!("{} numbers for a batch of shape {shape:?}", values.len())));
        }
        let step = self.batch.unwrap_or(n);
        let of = |rows: usize| -> Vec<usize> { std::iter::once(rows).chain(shape[1..].iter().copied()).collect() };
        if self.widths.get().is_none() {
            // How much comes of one image is known before more is taken.
            let rows = self.batch.unwrap_or(1);
            let widths = self.once(&of(rows), &vec![&values[..size]; rows], None)?.1;
            let _ = self.widths.set(widths);
        }
        let mut all: Vec<Output> = Vec::new();
        for start in (0..n).step_by(step) {
            let there = step.min(n - start);
            let part = &values[start * size..(start + there) * size];
            // A file that was exported for a fixed number takes no fewer: the last image fills up.
            let last = &part[(there - 1) * size..];
            let slices: Vec<&[f32]> = std::iter::once(part).chain(std::iter::repeat_n(last, step - there)).collect();
            let (outputs, _) = self.once(&of(step), &slices, self.widths.get())?;
            for (i, mut output) in outputs.into_iter().enumerate() {
                output.values.truncate(output.values.len() / step * there);
                match all.get_mut(i) {
                    Some(before) => before.values.append(&mut output.values),
                    None => all.push(output),
                }
            }
        }
        for output in &mut all {
            output.shape[0] = n;
        }
        Ok(all)
    }

    /// One batch of the size that the network takes, with the numbers of each output for one image: those that are known, or any that
    /// can be. What comes is checked before it is read.
    fn once(&self, dims: &[usize], slices: &[&[f32]], known: Option<&Vec<usize>>) -> Result<(Vec<Output>, Vec<usize>), RuntimeError> {
        let rows = dims.first().copied().unwrap_or_default();
        let check = |shapes: &[&[usize]]| {
            let widths = wire::widths(&self.outputs, shapes, rows)?;
            match known {
                Some(known) if *known != widths => {
                    let reason = format!("its outputs have {widths:?} numbers an image, and had {known:?} for another batch");
                    Err(RuntimeError::Run { reason })
                }
                _ => Ok(widths),
            }
        };
        match &self.loaded {
            Loaded::Here(network) => {
                let mut network = network.lock().unwrap_or_else(PoisonError::into_inner);
                let outputs = if let [one] = slices { network.run(dims, one)? } else { network.run(dims, &slices.concat())? };
                let shapes: Vec<&[usize]> = outputs.iter().map(|output| output.shape.as_slice()).collect();
                let widths = check(&shapes)?;
                Ok((outputs, widths))
            }
            Loaded::There(client, session) => {
                client.run((*session, self.name.get().map_or("the model", String::as_str)), dims, slices, &check)
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Loaded::There(client, session) = &self.loaded {
            client.close(*session);
        }
    }
}
