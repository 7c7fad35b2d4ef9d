//! Every malformed file by name; shared and golden models against ONNX Runtime.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use prost::Message;

use super::*;
use crate::exec::{Weights, infer, to_array};
use crate::graph::{Graph, Role};
use crate::model::Params;

fn run(graph: &Graph, params: &Params, batch: usize, input: &[f32]) -> Vec<f32> {
    let weights = Weights::new(&params.0, DType::F32).unwrap();
    let x = Tensor::from_slice(input, graph.node(graph.input()).shape.at(batch), &Device::Cpu).unwrap();
    to_array(&infer(graph, &weights, &x).unwrap()).unwrap().into_raw_vec_and_offset().0
}

fn shared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = ["../shared", "../../shared"].iter().map(|p| root.join(p)).find(|p| p.is_dir());
    if found.is_none() {
        println!("skipped: no ../shared here");
    }
    found
}

#[test]
fn probe_files() {
    let Ok(list) = std::env::var("HEIRLOOM_ONNX_FILES") else { return };
    for file in list.split(':') {
        let bytes = std::fs::read(file).unwrap();
        let start = std::time::Instant::now();
        match load(Path::new(file), &bytes) {
            Err(e) => println!("{file}: ERROR {e}"),
            Ok(m) => {
                let mut count = std::collections::BTreeMap::new();
                for n in m.graph.nodes() {
                    *count.entry(n.op.name()).or_insert(0) += 1;
                }
                let mut roles = std::collections::BTreeMap::new();
                for n in m.graph.slots() {
                    *roles.entry(format!("{:?}", n.role)).or_insert(0) += 1;
                }
                println!(
                    "{file}: {:?} {} {:?} {:?} out {} {:?} {count:?} {roles:?}",
                    start.elapsed(),
                    m.description,
                    m.layout,
                    m.size,
                    m.graph.node(m.graph.output()).shape,
                    m.features
                );
                let n = 2;
                let len: usize = m.graph.node(m.graph.input()).shape.at(n).iter().product();
                let x: Vec<f32> = (0..len).map(|i| ((i as f32 * 0.7).sin() + (i as f32 * 0.013).cos()) * 0.5).collect();
                let y = run(&m.graph, &m.params, n, &x);
                let p = crate::model::Preprocessing { mean: [0.0; 3], std: [1.0; 3], from: String::new() };
                let spec = crate::model::InputSpec { channels: 3, height: 1, width: 1, layout: m.layout, preprocessing: p };
                let out = write(&m.graph, &m.params, &spec, &m.metadata).unwrap();
                let again = load(Path::new(file), &out).unwrap();
                let z = run(&again.graph, &again.params, n, &x);
                let d = y.iter().zip(&z).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                println!("   round trip {d:e}, {:?}, slots {}", start.elapsed(), again.graph.slots().len());
                let stem = Path::new(file).file_stem().unwrap().to_str().unwrap();
                std::fs::write(format!("/tmp/rt-{stem}.onnx"), &out).unwrap();
                std::fs::write(format!("/tmp/rt-{stem}.y"), y.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
            }
        }
    }
}
