//! Every operator's gradient against central differences in f64, on odd and non-square sizes, by the kernels and composed.

mod attention;
mod paths;
pub(crate) mod suite;

use candle_core::{DType, Device, Tensor};
use rand::RngExt;

use super::backend::{Composed, Kernels};
use super::{Backend, Norm, Weights, infer, record, record_by, trainable};
use crate::graph::{Binary, Dim, Graph, GraphBuilder, Op, Reduce, Role, Shape, Sixteen, Unary};
use crate::stats::stream::stream;
use suite::{Case, Suite, window};

fn checked(section: impl Fn(&mut Suite)) {
    let mut suite = Suite::default();
    section(&mut suite);
    for case in &suite.0 {
        for (backend, device) in places() {
            check((backend, &device), &format!("{}, {backend:?} on {:?}", case.name, device.location()), case);
        }
    }
}

/// What computes, and where: a card too, in a build for one where there is one.
fn places() -> Vec<(&'static dyn Backend, Device)> {
    let composed: &'static dyn Backend = &Composed { half: false };
    #[allow(unused_mut)] // without the feature
    let mut places: Vec<(&'static dyn Backend, Device)> = vec![(&Kernels, Device::Cpu), (composed, Device::Cpu)];
    #[cfg(feature = "cuda")]
    if candle_core::cuda::cudarc::driver::CudaContext::device_count().is_ok_and(|count| count > 0) {
        places.push((composed, Device::new_cuda_with_stream(0).unwrap()));
    }
    places
}

/// A graph whose input is a constant of the right shape and whose operands are parameters that train.
fn check((backend, device): (&'static dyn Backend, &Device), name: &str, case: &Case) {
    let Case { operands: shapes, frozen, range: (low, high), norm, .. } = case;
    let trains: Vec<bool> = (0..shapes.len()).map(|i| i + frozen < shapes.len()).collect();
    let graph = case.graph();
    let mut rng = stream(7, 0, name);
    let mut draw = |size: usize| (0..size).map(|_| rng.random_range(*low..*high)).collect::<Vec<f64>>();
    let values: Vec<Vec<f64>> = shapes.iter().map(|s| draw(s.iter().product())).collect();
    let input = Tensor::zeros((1, 1), DType::F64, device).unwrap();
    let out_size: usize = graph.node(graph.output()).shape.at(1).iter().product();
    let cotangent = draw(out_size);
    let run = |values: &[Vec<f64>]| -> (super::Recording, Tensor) {
        let tensors = values.iter().zip(shapes).map(|(v, s)| Tensor::from_vec(v.clone(), s.as_slice(), device).unwrap()).collect();
        let weights = Weights(tensors, DType::F64);
        let recording = record_by(backend, &graph, &weights, &trains, *norm, &input).unwrap_or_else(|e| panic!("{name}: {e}"));
        let d = Tensor::from_vec(cotangent.clone(), recording.output.dims(), device).unwrap();
        (recording, d)
    };
    let value = |values: &[Vec<f64>]| {
        let (recording, d) = run(values);
        (recording.output * d).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
    };
    let (recording, d) = run(&values);
    let gradients = recording.backward(&graph, &d).unwrap_or_else(|e| panic!("{name}: {e}"));
    for (slot, gradient) in gradients.iter().enumerate() {
        if !trains[slot] {
            assert!(gradient.is_none(), "{name}: a frozen operand got a gradient");
            continue;
        }
        let gradient = gradient.as_ref().unwrap_or_else(|| panic!("{name}: operand {slot} got no gradient"));
        assert_eq!(gradient.dims(), shapes[slot], "{name}: shape of gradient {slot}");
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (i, &found) in gradient.iter().enumerate() {
            let step = 1e-5;
            let mut moved = values.clone();
            moved[slot][i] += step;
            let up = value(&moved);
            moved[slot][i] -= 2.0 * step;
            let numeric = (up - value(&moved)) / (2.0 * step);
            assert!(
                (found - numeric).abs() <= 1e-6 * (1.0 + numeric.abs()),
                "{name}: operand {slot} element {i}: {found} by the reverse pass, {numeric} by differences"
            );
        }
    }
}

/// What a cast to two bytes and back does: rounds on the way in, lets the gradient through as it is.
#[test]
#[expect(clippy::float_cmp, reason = "rounded numbers are held exactly")]
fn rounding_to_two_bytes_passes_its_gradient() {
    for (backend, device) in places() {
        // Held exactly, halfway between two (the even one), less than any, beyond all that float16 has.
        for (kind, given, rounded) in [
            (Sixteen::Float16, [1.5_f32, 2049.0, 1e-9, 70000.0], [1.5_f32, 2048.0, 0.0, f32::INFINITY]),
            (Sixteen::Bfloat16, [1.5, 257.0, 3.0, 70000.0], [1.5, 256.0, 3.0, 70144.0]),
        ] {
            let mut b = GraphBuilder::new();
            b.input("unused", Shape::batched(&[1])).unwrap();
            let p = b.param("p", &[4], Role::Weight);
            let output = b.add("rounded", Op::Unary(Unary::Round(kind)), &[p]).unwrap();
            let graph = b.finish(output).unwrap();
            let weights = Weights(vec![Tensor::new(&given, &device).unwrap()], DType::F32);
            let input = Tensor::zeros((1, 1), DType::F32, &device).unwrap();
            let recording = record_by(backend, &graph, &weights, &[true], Norm::Batch, &input).unwrap();
            let found = recording.output.to_vec1::<f32>().unwrap();
            for (found, rounded) in found.iter().zip(rounded) {
                assert!(*found == rounded || (found - rounded).abs() < f32::MIN_POSITIVE, "{backend:?}, {kind:?}: {found} for {rounded}");
            }
            let d = Tensor::new(&[1.0_f32, 2.0, 3.0, 4.0], &device).unwrap();
            let gradient = recording.backward(&graph, &d).unwrap()[0].as_ref().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(gradient, [1.0, 2.0, 3.0, 4.0]);
        }
    }
}

#[test]
fn convolution() {
    checked(suite::convolution);
}

#[test]
fn convolution_of_large_maps_in_bands() {
    checked(suite::convolution_of_large_maps_in_bands);
}

#[test]
fn convolution_straight_on_the_maps() {
    checked(suite::convolution_straight_on_the_maps);
}

#[test]
fn batch_norm_and_relu_in_one_pass() {
    checked(suite::batch_norm_and_relu_in_one_pass);
}

#[test]
fn products() {
    checked(suite::products);
}

#[test]
fn norms() {
    checked(suite::norms);
}

#[test]
fn pooling() {
    checked(suite::pooling);
}

#[test]
fn elementwise_functions() {
    checked(suite::elementwise_functions);
}

#[test]
fn broadcasting() {
    checked(suite::broadcasting);
}

#[test]
fn greatest_and_least() {
    checked(suite::greatest_and_least);
}

/// Where one operand is the least number there is, the other one comes out whole, at any precision; NaN stays; equals share the gradient.
/// PyTorch 2.15.0 gives the same values and gradients (`torch.maximum`, `torch.minimum`).
#[test]
fn the_greater_is_one_of_the_two() {
    let a = [f32::MIN, -1e20, 3.0, 2.0, -0.5, f32::NEG_INFINITY, f32::MAX, f32::NAN, 1.0];
    let b = [64.25, 64.25, 3.0, -1e20, f32::INFINITY, -7.0, f32::MIN, 1.0, f32::NAN];
    let greater = [64.25, 64.25, 3.0, 2.0, f32::INFINITY, -7.0, f32::MAX, f32::NAN, f32::NAN];
    let lesser = [f32::MIN, -1e20, 3.0, -1e20, -0.5, f32::NEG_INFINITY, f32::MIN, f32::NAN, f32::NAN];
    let to_a = [0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    let to_b = [1.0, 1.0, 0.5, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
    for ((backend, device), dtype) in places().into_iter().flat_map(|place| [DType::F32, DType::F64].map(|dtype| (place.clone(), dtype))) {
        for (kind, expected, gradients) in [(Binary::Max, greater, [to_a, to_b]), (Binary::Min, lesser, [to_b, to_a])] {
            let mut builder = GraphBuilder::new();
            builder.input("unused", Shape::batched(&[1])).unwrap();
            let operands = [builder.param("a", &[9], Role::Weight), builder.param("b", &[9], Role::Weight)];
            let output = builder.add("f", Op::Binary(kind), &operands).unwrap();
            let graph = builder.finish(output).unwrap();
            let tensor = |values: &[f32]| Tensor::new(values, &device).unwrap().to_dtype(dtype).unwrap();
            let weights = Weights(vec![tensor(&a), tensor(&b)], dtype);
            let input = Tensor::zeros((1, 1), dtype, &device).unwrap();
            let recording = record_by(backend, &graph, &weights, &[true, true], Norm::Batch, &input).unwrap();
            let plain = |t: &Tensor| t.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
            let same = |found: &[f32], expected: &[f32]| {
                found.len() == expected.len()
                    && found.iter().zip(expected).all(|(x, y)| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()))
            };
            let found = plain(&recording.output);
            assert!(same(&found, &expected), "{kind:?}, {backend:?}, {dtype:?}: {found:?}");
            let found = recording.backward(&graph, &tensor(&[1.0; 9])).unwrap();
            for (i, (found, expected)) in found.iter().zip(gradients).enumerate() {
                let found = plain(found.as_ref().unwrap());
                assert!(same(&found, &expected), "{kind:?}, {backend:?}, {dtype:?}, operand {i}: {found:?}");
            }
        }
    }
}

#[test]
fn reductions_and_softmax() {
    checked(suite::reductions_and_softmax);
}

#[test]
fn shapes_of_things() {
    checked(suite::shapes_of_things);
}

#[test]
fn attention_by_blocks() {
    checked(suite::attention);
}

#[test]
fn relu_has_gradient_zero_at_zero() {
    let y = super::kernels::elementwise::backward(Unary::Relu, &[0.0f32, 1.0, 0.0], &[5.0, 5.0, 5.0]);
    assert_eq!(y, [0.0, 5.0, 0.0]);
}

/// A small network with everything a ResNet has.
fn network() -> Graph {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[3, 8, 8])).unwrap();
    let w = b.param("conv.weight", &[4, 3, 3, 3], Role::Weight);
    let window = window([3, 3], [1, 1], [1, 1, 1, 1], [1, 1]);
    let conv = b.add("conv", Op::Conv2d { window, groups: 1 }, &[x, w]).unwrap();
    let parts = [("scale", Role::Scale), ("shift", Role::Shift), ("mean", Role::RunningMean), ("var", Role::RunningVar)];
    let mut inputs = vec![conv];
    inputs.extend(parts.map(|(name, role)| b.param(name, &[4], role)));
    let bn = b.add("bn", Op::BatchNorm { eps: 1e-5, momentum: 0.1 }, &inputs).unwrap();
    let relu = b.add("relu", Op::Unary(Unary::Relu), &[bn]).unwrap();
    let pooled = b.add("pool", Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep: false }, &[relu]).unwrap();
    let head = b.param("fc.weight", &[2, 4], Role::Weight);
    let out = b.add("fc", Op::Linear, &[pooled, head]).unwrap();
    assert_eq!(b.shape(out).0, [Dim::Batch(1), Dim::Fixed(2)]);
    b.finish(out).unwrap()
}

fn weights(graph: &Graph) -> Weights {
    let mut rng = stream(3, 0, "weights");
    let tensors = graph.slots().iter().map(|slot| {
        let size: usize = slot.shape.iter().product();
        let values: Vec<f32> = (0..size).map(|_| rng.random_range(0.1..1.0)).collect();
        Tensor::from_vec(values, slot.shape.as_slice(), &Device::Cpu).unwrap()
    });
    Weights(tensors.collect(), DType::F32)
}

fn batch(n: usize) -> Tensor {
    let mut rng = stream(4, 0, "batch");
    let values: Vec<f32> = (0..n * 192).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, (n, 3, 8, 8), &Device::Cpu).unwrap()
}

#[test]
fn same_bits_for_any_number_of_threads() {
    let graph = network();
    let run = || {
        let recording = record(&graph, &weights(&graph), &trainable(&graph), Norm::Batch, &batch(9)).unwrap();
        let d = recording.output.clone();
        let running: Vec<Vec<f32>> = recording.running.iter().map(|(_, t)| t.to_vec1().unwrap()).collect();
        let gradients = recording.backward(&graph, &d).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (running, gradients.iter().map(|g| g.as_ref().map(flat)).collect::<Vec<_>>())
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let one = pool(1).install(run);
    for threads in [2, 3, 5] {
        assert_eq!(pool(threads).install(run), one, "{threads} threads");
    }
}

#[test]
fn frozen_slots_and_what_lies_below_get_no_gradient() {
    let graph = network();
    let mut trains = vec![false; graph.slots().len()];
    let head = graph.slots().iter().position(|s| s.name == "fc.weight").unwrap();
    trains[head] = true;
    let recording = record(&graph, &weights(&graph), &trains, Norm::Running, &batch(2)).unwrap();
    assert!(recording.running.is_empty());
    let kept = recording.values.iter().flatten().count();
    assert!(kept <= 3, "{kept} values kept: features, head and output are enough");
    let d = recording.output.clone();
    let gradients = recording.backward(&graph, &d).unwrap();
    assert!(gradients.iter().enumerate().all(|(i, g)| g.is_some() == (i == head)));
}

#[test]
fn batch_norm_moves_running_statistics_as_pytorch_does() {
    let graph = network();
    let recording = record(&graph, &weights(&graph), &trainable(&graph), Norm::Batch, &batch(5)).unwrap();
    assert_eq!(recording.running.len(), 2);
    let conv = graph.truncated(graph.find("conv").unwrap());
    let map = infer(&conv, &weights(&graph), &batch(5)).unwrap().transpose(0, 1).unwrap().flatten_from(1).unwrap();
    let rows = map.to_vec2::<f32>().unwrap();
    let before = weights(&graph);
    for (slot, new) in &recording.running {
        let old = before.0[slot.0].to_vec1::<f32>().unwrap();
        for ((row, new), old) in rows.iter().zip(new.to_vec1::<f32>().unwrap()).zip(old) {
            let count = row.len() as f32;
            let mean = row.iter().sum::<f32>() / count;
            let unbiased = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / (count - 1.0);
            let target = if graph.slots()[slot.0].role == Role::RunningMean { mean } else { unbiased };
            assert!((new - (0.9 * old + 0.1 * target)).abs() < 1e-4, "{new} from {old} and {target}");
        }
    }
}

#[test]
fn a_batch_of_another_shape_is_refused() {
    let graph = network();
    let wrong = Tensor::zeros((2, 3, 8, 9), DType::F32, &Device::Cpu).unwrap();
    let error = infer(&graph, &weights(&graph), &wrong).unwrap_err();
    assert_eq!(error.to_string(), "the model takes [N, 3, 8, 8], it was given [2, 3, 8, 9]");
}
