//! Pictures a second of a network, evaluated and trained on: `cargo bench --bench speed -- NETWORK SIDE BATCH [SECONDS]`.
//!
//! Prints one JSON object. `side_by_side.py` runs it in turn with PyTorch.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use heirloom::exec::{self, ExecError, Norm, Weights};
use heirloom::model::arch;
use heirloom::tune;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [network, side, batch, rest @ ..] = arguments.as_slice() else {
        return Err("NETWORK SIDE BATCH [SECONDS], such as resnet-cifar-20:16,32,64 32 128".into());
    };
    let (side, batch): (usize, usize) = (side.parse()?, batch.parse()?);
    let seconds: f64 = rest.first().map_or(Ok(3.0), |text| text.parse())?;
    let graph = arch::build(network, 10, [side, side])?;
    let empty: Vec<_> = graph.slots().iter().map(|slot| ndarray::ArrayD::zeros(slot.shape.as_slice())).collect();
    let weights = Weights::new(&tune::fresh_weights(&graph, &empty, 0, 0), DType::F32)?;
    let values: Vec<f32> = (0..batch * 3 * side * side).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let input = Tensor::from_vec(values, (batch, 3, side, side), &Device::Cpu)?;
    let trains = exec::trainable(&graph);
    let forward = rate(batch, seconds, || exec::infer(&graph, &weights, &input).map(drop))?;
    let train = rate(batch, seconds, || {
        let recording = exec::record(&graph, &weights, &trains, Norm::Batch, &input)?;
        let gradient = recording.output.clone();
        recording.backward(&graph, &gradient).map(drop)
    })?;
    let set = exec::instruction_set();
    println!(
        "{{\"forward\": {forward:.1}, \"train\": {train:.1}, \"threads\": {}, \"instruction_set\": \"{set}\"}}",
        rayon::current_num_threads()
    );
    Ok(())
}

/// Pictures a second, after one step to warm up.
fn rate(batch: usize, seconds: f64, step: impl Fn() -> Result<(), ExecError>) -> Result<f64, ExecError> {
    step()?;
    let clock = Instant::now();
    let mut steps = 0;
    while clock.elapsed().as_secs_f64() < seconds {
        step()?;
        steps += 1;
    }
    Ok((batch * steps) as f64 / clock.elapsed().as_secs_f64())
}

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
