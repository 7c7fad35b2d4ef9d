//! The operator suites through ONNX Runtime, where its library is found: a second opinion on our operators, our writer and the session.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use ndarray::ArrayD;
use prost::Message;
use rand::RngExt;

use super::super::pb::{GraphProto, ModelProto, TensorProto};
use super::super::tensor::is_float;
use super::super::write;
use super::case::{Case, Outcome, difference, numbers};
use crate::diag::Explain;
use crate::exec::tests::suite::Suite;
use crate::exec::{Weights, infer, to_array};
use crate::model::{ChannelOrder, InputSpec, Layout, Params, Preprocessing};
use crate::registry::ExternalData;
use crate::runtime::{self, Host, Runtime, RuntimeError, Session, Wanted};
use crate::stats::stream::stream;
use crate::transform::geometry::Geometry;

/// The library that the surrounding shell names, else one that is found; a line that says so where there is none.
fn library() -> Option<Runtime> {
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|named| !named.is_empty());
    let search = runtime::open(&named.map_or(Wanted::Any, |named| Wanted::named(&named)), &Host::Here).expect("a library that fits");
    if search.runtime.is_none() {
        crate::lacks::lacks("ONNX Runtime (none is found; ORT_DYLIB_PATH names one)");
    }
    search.runtime
}

/// Runs a case with every input in turn as what enters, the others being constants. A refusal is no failure: a session takes one input
/// of floats, and gives one row per image.
fn check(runtime: &Runtime, case: &Case) -> Outcome {
    let graph = ModelProto::decode(&case.model[..]).expect("a model").graph.expect("a graph");
    let inputs = case.tensors();
    let (mut agreed, mut refusal) = (0, "nothing enters".to_owned());
    for (output, expected) in graph.output.iter().zip(&case.outputs) {
        let Ok(expected) = TensorProto::decode(&expected[..]).map_err(|e| e.to_string()).and_then(|t| numbers(&t)) else { continue };
        for (i, entry) in inputs.iter().enumerate().filter(|(_, entry)| is_float(entry.data_type.unwrap_or(0))) {
            let constants: Vec<TensorProto> = inputs.iter().enumerate().filter(|(k, _)| *k != i).map(|(_, t)| t.clone()).collect();
            match run(runtime, &case.model, constants, entry, &output.name) {
                Err(reason) => refusal = reason.to_string(),
                Ok(got) => match difference(&got, &expected, case.rtol, case.atol) {
                    None => agreed += 1,
                    Some(what) => return Outcome::Wrong(format!("`{}` (input {i}): {what}", output.name)),
                },
            }
        }
    }
    if agreed > 0 { Outcome::Agrees(agreed) } else { Outcome::Refused(refusal) }
}

fn run(
    runtime: &Runtime,
    model: &[u8],
    constants: Vec<TensorProto>,
    entry: &TensorProto,
    output: &str,
) -> Result<ArrayD<f64>, RuntimeError> {
    let failed = |reason: String| RuntimeError::Run { reason };
    // Merged by protobuf with the file itself.
    let graph = Some(GraphProto { initializer: constants, ..Default::default() });
    let bytes = [model, &ModelProto { graph, ..Default::default() }.encode_to_vec()].concat();
    let x = numbers(entry).map_err(failed)?;
    let values: Vec<f32> = x.iter().map(|v| *v as f32).collect();
    let session = Session::new(runtime, &bytes, &ExternalData::new(), &[output.to_owned()])?;
    let found = session.run(x.shape(), &values)?.pop().ok_or_else(|| failed("nothing leaves".into()))?;
    ArrayD::from_shape_vec(found.shape, found.values.into_iter().map(f64::from).collect()).map_err(|e| failed(e.to_string()))
}

#[test]
fn committed_node_tests_agree_in_onnx_runtime() {
    let Some(runtime) = library() else { return };
    let cases = super::conformance::committed();
    let (mut agreed, mut ways, mut wrong) = (0, 0, Vec::new());
    for case in &cases {
        match check(&runtime, case) {
            Outcome::Agrees(more) => (agreed, ways) = (agreed + 1, ways + more),
            Outcome::Refused(reason) => println!("refused {}: {reason}", case.name),
            Outcome::Wrong(what) if OTHERWISE.contains(&case.name.as_str()) => println!("known: {} is wrong: {what}", case.name),
            Outcome::Wrong(what) => wrong.push(format!("{} is wrong: {what}", case.name)),
        }
    }
    println!("{agreed} of {} cases agree in {ways} ways with {}", cases.len(), runtime.name());
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(agreed >= LEAST, "{agreed} of {} cases", cases.len());
}

/// Cases that ONNX Runtime leaves out of its own run of them: it divides by the rounded size where ONNX divides by the exact one.
const OTHERWISE: [&str; 2] = ["resize_downsample_scales_cubic_align_corners", "resize_downsample_scales_linear_align_corners"];

/// Cases that a session can run, with some to spare for what versions of the library differ in.
const LEAST: usize = 200;

#[test]
fn every_operator_is_written_so_that_onnx_runtime_computes_the_same() {
    let Some(runtime) = library() else { return };
    let preprocessing = Preprocessing { mean: [0.0; 3], std: [1.0; 3], order: ChannelOrder::Rgb, from: "a test".into() };
    let (geometry, geometry_from) = (Geometry::default(), String::new());
    let overruled = Vec::new();
    let input = InputSpec { channels: 1, height: 1, width: 1, layout: Layout::Nchw, preprocessing, geometry, geometry_from, overruled };
    let suite = Suite::whole().0;
    let mut unwritten = Vec::new();
    for case in &suite {
        let name = &case.name;
        let graph = case.fed();
        let mut rng = stream(31, 0, name);
        let mut draw = |shape: &[usize]| {
            let values = (0..shape.iter().product()).map(|_| rng.random_range(case.range.0..case.range.1) as f32).collect();
            ArrayD::from_shape_vec(shape, values).expect("as many numbers")
        };
        let params = Params(graph.slots().iter().map(|slot| draw(&slot.shape)).collect());
        let x = draw(&graph.node(graph.input()).shape.at(1));
        let bytes = match write(&graph, &params, &input, &BTreeMap::new()) {
            Ok(bytes) => bytes,
            Err(reason) => {
                unwritten.push(format!("{name}: {reason}"));
                continue;
            }
        };
        let session = Session::new(&runtime, &bytes, &ExternalData::new(), &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
        let values: Vec<f32> = x.iter().copied().collect();
        let theirs = session.run(x.shape(), &values).unwrap_or_else(|e| panic!("{name}: {e}")).remove(0);
        let weights = Weights::new(&params.0, DType::F32).expect("tensors");
        let batch = Tensor::from_vec(values, x.shape(), &Device::Cpu).expect("a tensor");
        let ours = infer(&graph, &weights, &batch).and_then(|t| to_array(&t)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(ours.shape(), theirs.shape, "{name}");
        let largest = ours.iter().fold(1.0_f32, |most, v| most.max(v.abs()));
        for (i, (a, b)) in ours.iter().zip(&theirs.values).enumerate() {
            assert!((a - b).abs() <= 1e-5 * largest, "{name}: entry {i} is {a} here and {b} in {}", runtime.name());
        }
    }
    println!("{} of {} cases, with {}", suite.len() - unwritten.len(), suite.len(), runtime.name());
    assert!(unwritten.is_empty(), "not written: {unwritten:#?}");
}

#[test]
fn a_library_for_the_processor_does_not_pretend_to_use_a_card() {
    let Some(runtime) = library() else { return };
    match runtime.on_cuda(0) {
        // Where there is a card, and a library for it.
        Ok(on_card) => assert_eq!(on_card.name(), format!("{} on CUDA", runtime.name())),
        Err(error @ RuntimeError::NoCuda { .. }) => {
            assert!(error.to_string().ends_with(&format!("this {} computes on the processor only", runtime.name())), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("--device auto")));
        }
        Err(error) => assert!(matches!(error, RuntimeError::Cuda { ordinal: 0, .. }), "{error}"),
    }
}
