//! Kernels and composed tensor operations must agree on whole networks, and mixed precision must come close.

use candle_core::{DType, Device, Tensor};
use rand::RngExt;

use super::{places, window};
use crate::exec::backend::{Composed, Kernels};
use crate::exec::{Backend, Norm, SlotId, Weights, record_by, trainable};
use crate::graph::{Binary, Graph, GraphBuilder, NodeId, Op, Reduce, Role, Shape, Unary};
use crate::stats::stream::stream;

fn batch_norm(b: &mut GraphBuilder, name: &str, x: NodeId, channels: usize) -> NodeId {
    let roles = [Role::Scale, Role::Shift, Role::RunningMean, Role::RunningVar];
    let mut inputs = vec![x];
    inputs.extend(roles.map(|role| b.param(&format!("{name}.{role:?}"), &[channels], role)));
    b.add(name, Op::BatchNorm { eps: 1e-5, momentum: 0.1 }, &inputs).unwrap()
}

fn conv(b: &mut GraphBuilder, name: &str, x: NodeId, weight: [usize; 4], stride: usize, groups: usize) -> NodeId {
    let pad = weight[2] / 2;
    let w = b.param(&format!("{name}.weight"), &weight, Role::Weight);
    let window = window([weight[2], weight[3]], [stride, stride], [pad; 4], [1, 1]);
    b.add(name, Op::Conv2d { window, groups }, &[x, w]).unwrap()
}

/// Stem with overlapping pooling, a strided residual block with its projection, grouped and depthwise convolutions, squeeze and excitation.
fn residual() -> Graph {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[3, 17, 14])).unwrap();
    let relu = |b: &mut GraphBuilder, name: &str, x| b.add(name, Op::Unary(Unary::Relu), &[x]).unwrap();
    let stem = conv(&mut b, "stem", x, [4, 3, 7, 7], 2, 1);
    let stem = batch_norm(&mut b, "stem.bn", stem, 4);
    let stem = relu(&mut b, "stem.relu", stem);
    let pool = window([3, 3], [2, 2], [1; 4], [1, 1]);
    let stem = b.add("pool", Op::MaxPool(pool), &[stem]).unwrap();
    let main = conv(&mut b, "a", stem, [8, 4, 3, 3], 2, 1);
    let main = batch_norm(&mut b, "a.bn", main, 8);
    let main = relu(&mut b, "a.relu", main);
    let main = conv(&mut b, "b", main, [8, 4, 3, 3], 1, 2);
    let main = batch_norm(&mut b, "b.bn", main, 8);
    let side = conv(&mut b, "side", stem, [8, 4, 1, 1], 2, 1);
    let side = batch_norm(&mut b, "side.bn", side, 8);
    let sum = b.add("sum", Op::Binary(Binary::Add), &[main, side]).unwrap();
    let sum = relu(&mut b, "sum.relu", sum);
    let deep = conv(&mut b, "deep", sum, [8, 1, 3, 3], 1, 8);
    let deep = b.add("deep.act", Op::Unary(Unary::HardSwish), &[deep]).unwrap();
    let squeeze = b.add("squeeze", Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep: true }, &[deep]).unwrap();
    let squeeze = conv(&mut b, "excite", squeeze, [8, 8, 1, 1], 1, 1);
    let squeeze = b.add("gate", Op::Unary(Unary::Sigmoid), &[squeeze]).unwrap();
    let gated = b.add("gated", Op::Binary(Binary::Mul), &[deep, squeeze]).unwrap();
    let pooled = b.add("mean", Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep: false }, &[gated]).unwrap();
    let (w, bias) = (b.param("fc.weight", &[3, 8], Role::Weight), b.param("fc.bias", &[3], Role::Bias));
    let out = b.add("fc", Op::Linear, &[pooled, w, bias]).unwrap();
    b.finish(out).unwrap()
}

/// Patches, a class token, one attention block with layer norms and a GELU network.
fn transformer() -> Graph {
    const WIDTH: usize = 6;
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[3, 8, 12])).unwrap();
    let w = b.param("patch.weight", &[WIDTH, 3, 4, 4], Role::Weight);
    let patch = window([4, 4], [4, 4], [0; 4], [1, 1]);
    let tokens = b.add("patch", Op::Conv2d { window: patch, groups: 1 }, &[x, w]).unwrap();
    let tokens = b.add("flat", Op::Reshape { shape: Shape::batched(&[WIDTH, 6]) }, &[tokens]).unwrap();
    let tokens = b.add("tokens", Op::Transpose { perm: vec![0, 2, 1] }, &[tokens]).unwrap();
    let class = b.param("class", &[1, 1, WIDTH], Role::Embedding);
    let class = b.add("class.all", Op::Expand { shape: Shape::batched(&[1, WIDTH]) }, &[class]).unwrap();
    let tokens = b.add("joined", Op::Concat { axis: 1 }, &[class, tokens]).unwrap();
    let place = b.param("place", &[1, 7, WIDTH], Role::Embedding);
    let tokens = b.add("placed", Op::Binary(Binary::Add), &[tokens, place]).unwrap();
    let norm = |b: &mut GraphBuilder, name: &str, x| {
        let scale = b.param(&format!("{name}.scale"), &[WIDTH], Role::Scale);
        let shift = b.param(&format!("{name}.shift"), &[WIDTH], Role::Shift);
        b.add(name, Op::LayerNorm { axis: 2, eps: 1e-6 }, &[x, scale, shift]).unwrap()
    };
    let linear = |b: &mut GraphBuilder, name: &str, x, to: usize, from: usize| {
        let w = b.param(&format!("{name}.weight"), &[to, from], Role::Weight);
        let bias = b.param(&format!("{name}.bias"), &[to], Role::Bias);
        b.add(name, Op::Linear, &[x, w, bias]).unwrap()
    };
    let normed = norm(&mut b, "norm1", tokens);
    let heads = |b: &mut GraphBuilder, name: &str, perm: Vec<usize>| {
        let x = linear(b, name, normed, WIDTH, WIDTH);
        let x = b.add(&format!("{name}.split"), Op::Reshape { shape: Shape::batched(&[7, 2, WIDTH / 2]) }, &[x]).unwrap();
        b.add(&format!("{name}.heads"), Op::Transpose { perm }, &[x]).unwrap()
    };
    let (q, k, v) = (heads(&mut b, "q", vec![0, 2, 1, 3]), heads(&mut b, "k", vec![0, 2, 3, 1]), heads(&mut b, "v", vec![0, 2, 1, 3]));
    let scores = b.add("scores", Op::MatMul, &[q, k]).unwrap();
    let scores = b.add("scaled", Op::Unary(Unary::Affine { scale: 0.577, shift: 0.0 }), &[scores]).unwrap();
    let scores = b.add("softmax", Op::Softmax { axis: 3 }, &[scores]).unwrap();
    let mixed = b.add("mixed", Op::MatMul, &[scores, v]).unwrap();
    let mixed = b.add("back", Op::Transpose { perm: vec![0, 2, 1, 3] }, &[mixed]).unwrap();
    let mixed = b.add("together", Op::Reshape { shape: Shape::batched(&[7, WIDTH]) }, &[mixed]).unwrap();
    let mixed = linear(&mut b, "out", mixed, WIDTH, WIDTH);
    let tokens = b.add("skip1", Op::Binary(Binary::Add), &[tokens, mixed]).unwrap();
    let normed = norm(&mut b, "norm2", tokens);
    let inner = linear(&mut b, "up", normed, 9, WIDTH);
    let inner = b.add("gelu", Op::Unary(Unary::Gelu { tanh: false }), &[inner]).unwrap();
    let inner = linear(&mut b, "down", inner, WIDTH, 9);
    let tokens = b.add("skip2", Op::Binary(Binary::Add), &[tokens, inner]).unwrap();
    let class = b.add("first", Op::Select { axis: 1, indices: vec![0] }, &[tokens]).unwrap();
    let class = b.add("features", Op::Reshape { shape: Shape::batched(&[WIDTH]) }, &[class]).unwrap();
    let out = linear(&mut b, "head", class, 3, WIDTH);
    b.finish(out).unwrap()
}

struct Run {
    output: Tensor,
    gradients: Vec<Option<Tensor>>,
    running: Vec<(SlotId, Tensor)>,
}

fn run(graph: &Graph, place: (&'static dyn Backend, &Device), norm: Norm) -> Run {
    run_in(graph, place, norm, (DType::F64, DType::F64))
}

/// Weights of the first type, activations of the second.
fn run_in(graph: &Graph, (backend, device): (&'static dyn Backend, &Device), norm: Norm, (kept, computed): (DType, DType)) -> Run {
    let mut rng = stream(11, 0, "paths");
    let mut draw = |shape: &[usize], low: f64| {
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(low..1.0)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(kept).unwrap().to_device(device).unwrap()
    };
    // Variances are positive.
    let weights: Vec<Tensor> =
        graph.slots().iter().map(|slot| draw(&slot.shape, if slot.role == Role::RunningVar { 0.5 } else { -0.5 })).collect();
    let input = draw(&graph.node(graph.input()).shape.at(4), -1.0);
    let cotangent = draw(&graph.node(graph.output()).shape.at(4), -1.0);
    let weights = Weights(weights, computed);
    let recording = record_by(backend, graph, &weights, &trainable(graph), norm, &weights.place(&input).unwrap()).unwrap();
    let (output, running) = (recording.output.clone(), recording.running.clone());
    let gradients = recording.backward(graph, &cotangent).unwrap();
    Run { output, gradients, running }
}

/// Largest difference, as a share of the largest value. (Some gradients are 0: that of a bias on attention keys.)
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let flat = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (a, b) = (flat(a), flat(b));
    let largest = a.iter().fold(1e-2, |most: f64, v| most.max(v.abs()));
    a.iter().zip(&b).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn kernels_and_composed_operations_agree_on_whole_networks() {
    let all: Vec<_> = places().into_iter().flat_map(|place| [residual(), transformer()].map(|graph| (graph, place.clone()))).collect();
    for (graph, (backend, device)) in all {
        for norm in [Norm::Batch, Norm::Running] {
            let kernels = run(&graph, (&Kernels, &Device::Cpu), norm);
            let composed = run(&graph, (backend, &device), norm);
            assert!(apart(&kernels.output, &composed.output) < 1e-10);
            assert_eq!(kernels.running.len(), composed.running.len());
            for ((slot, a), (other, b)) in kernels.running.iter().zip(&composed.running) {
                assert!(slot == other && apart(a, b) < 1e-10);
            }
            for ((a, b), slot) in kernels.gradients.iter().zip(&composed.gradients).zip(graph.slots()) {
                match (a, b) {
                    (Some(a), Some(b)) => assert!(apart(a, b) < 1e-10, "{}: {}", slot.name, apart(a, b)),
                    (None, None) => {}
                    _ => panic!("{}: one of them gave no gradient", slot.name),
                }
            }
        }
    }
}

#[test]
fn mixed_precision_comes_close_and_keeps_gradients_in_f32() {
    let composed: Vec<Device> = places().into_iter().filter(|(backend, _)| !backend.fuses()).map(|(_, device)| device).collect();
    let graphs = [(residual(), Norm::Running), (transformer(), Norm::Batch)];
    for ((graph, norm), device) in graphs.iter().flat_map(|graph| composed.iter().map(move |device| (graph, device))) {
        let exact = run(graph, (&Composed { half: false }, device), *norm);
        let half = run_in(graph, (&Composed { half: true }, device), *norm, (DType::F32, DType::BF16));
        assert_eq!(half.output.dtype(), DType::BF16);
        assert!(apart(&exact.output, &half.output) < 0.05, "{}", apart(&exact.output, &half.output));
        for ((a, b), slot) in exact.gradients.iter().zip(&half.gradients).zip(graph.slots()) {
            let (Some(a), Some(b)) = (a, b) else { continue };
            assert_eq!(b.dtype(), DType::F32, "{}", slot.name);
            assert!(apart(a, b) < 0.1, "{}: {}", slot.name, apart(a, b));
        }
    }
}

#[test]
fn composed_functions_keep_nan_and_have_gradient_zero_at_zero() {
    use crate::exec::composed;
    let x = Tensor::new(&[f32::NAN, 0.0, -1.0, 2.0], &Device::Cpu).unwrap();
    let relu = Op::Unary(Unary::Relu);
    let (y, saved) = composed::compute(&relu, &[&x], &[4], Norm::Batch, false).unwrap();
    let y_values = y.to_vec1::<f32>().unwrap();
    assert!(y_values[0].is_nan() && y_values[1..] == [0.0, 0.0, 2.0]);
    let step = crate::exec::backward::Step {
        inputs: &[Some(&x)],
        shapes: &[vec![4]],
        output: Some(&y),
        saved: &saved,
        wanted: &[true],
        clamp: None,
    };
    let d = composed::gradients(&relu, &step, &Tensor::ones(4, DType::F32, &Device::Cpu).unwrap(), false).unwrap();
    assert_eq!(d[0].as_ref().unwrap().to_vec1::<f32>().unwrap()[1..], [0.0, 0.0, 1.0]);
    for (numbers, expected) in [([1.0, f32::NAN, 2.0], f32::NAN), ([f32::NAN; 3], f32::NAN), ([f32::NEG_INFINITY, -3.0, -2.0], -2.0)] {
        let x = Tensor::new(&numbers, &Device::Cpu).unwrap();
        let greatest = Op::Reduce { kind: Reduce::Max, axes: vec![0], keep: false };
        let (y, _) = composed::compute(&greatest, &[&x], &[], Norm::Batch, false).unwrap();
        let y = y.to_scalar::<f32>().unwrap();
        assert!(y.to_bits() == expected.to_bits() || (y.is_nan() && expected.is_nan()), "{numbers:?}: {y}");
    }
    let map = Tensor::new(&[[[[1.0f32, f32::NAN], [2.0, 3.0]]]], &Device::Cpu).unwrap();
    let pool = Op::MaxPool(window([2, 2], [1, 1], [0; 4], [1, 1]));
    let (y, _) = composed::compute(&pool, &[&map], &[1, 1, 1, 1], Norm::Batch, false).unwrap();
    assert!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0].is_nan());
}
