//! Images a second of a network, evaluated and trained on: `cargo bench --bench speed -- MODEL BATCH [SECONDS [DEVICE PRECISION]]`.
//!
//! DEVICE and PRECISION as for `certify`. Prints one JSON object: `through_onnx_runtime` in this process, `through_worker` in one of its own, as
//! the command does it, one after the other: the threads of a session that waits take time from another. `side_by_side.py` runs it in turn with PyTorch and ONNX Runtime.

mod memory;

use std::path::Path;
use std::time::Instant;

use candle_core::{Device, Tensor};
use heirloom::exec::{self, Choice, Compute, Norm, Precision, Weights};
use heirloom::model::{LoadOptions, Model};
use heirloom::registry;
use heirloom::runtime::{self, Host, WORKER, Wanted, Worker};

#[allow(unsafe_code)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As in the program, see there.
    // SAFETY: this sets a number in the allocator's table of options, before there is a second thread.
    unsafe { libmimalloc_sys::mi_option_set(15, -1) };
    if std::env::args().nth(1).is_some_and(|first| first == WORKER) {
        runtime::serve(std::env::args_os().skip(2));
        return Ok(());
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [model, batch, rest @ ..] = arguments.as_slice() else { return Err("MODEL BATCH [SECONDS [DEVICE PRECISION]]".into()) };
    let batch: usize = batch.parse()?;
    let seconds: f64 = rest.first().map_or(Ok(3.0), |text| text.parse())?;
    let device: Choice = rest.get(1).map_or(Ok(Choice::Cpu), |text| text.parse())?;
    let precision: Precision = rest.get(2).map_or(Ok(Precision::F32), |text| text.parse())?;
    let compute = Compute::open(device, precision)?;
    let wanted = std::env::var_os("ORT_DYLIB_PATH").map_or(Wanted::Any, |named| Wanted::named(&named));
    let load = |host: &Host| -> Result<Model, Box<dyn std::error::Error>> {
        let runtime = runtime::open(&wanted, host)?.runtime;
        Ok(Model::load(registry::identify(Path::new(model))?, &LoadOptions { runtime, ..LoadOptions::default() })?)
    };
    let through = |model: &Model, input: &Tensor| match &model.runtime {
        Ok(extractor) => rate(batch, seconds, || extractor.features(input).map(drop)).map_err(Box::<dyn std::error::Error>::from),
        Err(_) => Ok(0.0),
    };
    // Before this process has a session of its own.
    let worker = {
        let model = load(&Host::Worker(Worker::this_program()?))?;
        through(&model, &images(&model, batch)?)?
    };
    let model = load(&Host::Here)?;
    let network = model.own()?;
    let graph = &network.graph;
    let weights = Weights::on(&compute, &network.params.0)?;
    let input = images(&model, batch)?;
    let placed = weights.place(&input)?;
    let trains = exec::trainable(graph);
    let before = memory::peak();
    let forward = rate(batch, seconds, || {
        exec::infer(graph, &weights, &placed)?;
        weights.wait()
    })?;
    let forward_peak = memory::peak();
    let through = through(&model, &input)?;
    let train = rate(batch, seconds, || {
        let recording = exec::record(graph, &weights, &trains, Norm::Batch, &placed)?;
        let gradient = recording.output.clone();
        recording.backward(graph, &gradient)?;
        weights.wait()
    })?;
    println!(
        "{{\"forward\": {forward:.2}, \"through_onnx_runtime\": {through:.2}, \"through_worker\": {worker:.2}, \"train\": {train:.2}, \"loaded_mib\": {before}, \
         \"forward_mib\": {forward_peak}, \"train_mib\": {}, \
         \"threads\": {}, \"instruction_set\": \"{}\", \"device\": \"{}\", \"precision\": \"{precision}\"}}",
        memory::peak(),
        rayon::current_num_threads(),
        exec::instruction_set(),
        compute.name()
    );
    Ok(())
}

/// A batch of what the network takes.
fn images(model: &Model, batch: usize) -> Result<Tensor, Box<dyn std::error::Error>> {
    let graph = &model.own()?.graph;
    let shape = graph.node(graph.input()).shape.at(batch);
    let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Images a second at the fastest step: what else runs on the machine makes steps slower, never faster.
fn rate<E>(batch: usize, seconds: f64, step: impl Fn() -> Result<(), E>) -> Result<f64, E> {
    step()?;
    let clock = Instant::now();
    let mut fastest = f64::INFINITY;
    while clock.elapsed().as_secs_f64() < seconds {
        let one = Instant::now();
        step()?;
        fastest = fastest.min(one.elapsed().as_secs_f64());
    }
    Ok(batch as f64 / fastest)
}

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
