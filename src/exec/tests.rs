//! Every operator's gradient against central differences in f64, on odd and non-square sizes, by the kernels and composed.

mod paths;

use candle_core::{DType, Device, Tensor};
use rand::RngExt;

use super::{Norm, Path, Weights, infer, record, record_by, trainable};
use crate::graph::{Binary, Dim, Graph, GraphBuilder, GraphError, NodeId, Op, Reduce, Role, Shape, Unary, Window};
use crate::stats::stream::stream;

/// A graph whose input is a constant of the right shape and whose operands are parameters that train.
fn check(name: &str, shapes: &[&[usize]], build: impl Fn(&mut GraphBuilder, &[NodeId]) -> Result<NodeId, GraphError>) {
    check_within(name, shapes, (-1.0, 1.0), Norm::Batch, build);
}

fn check_within(
    name: &str,
    shapes: &[&[usize]],
    (low, high): (f64, f64),
    norm: Norm,
    build: impl Fn(&mut GraphBuilder, &[NodeId]) -> Result<NodeId, GraphError>,
) {
    check_all(name, shapes, 0, (low, high), norm, build);
}

/// The last `frozen` operands do not train.
fn check_all(
    name: &str,
    shapes: &[&[usize]],
    frozen: usize,
    (low, high): (f64, f64),
    norm: Norm,
    build: impl Fn(&mut GraphBuilder, &[NodeId]) -> Result<NodeId, GraphError>,
) {
    for (path, device) in places() {
        check_by((path, &device), &format!("{name}, {path:?} on {:?}", device.location()), shapes, frozen, (low, high), norm, &build);
    }
}

/// What computes, and where: a card too, in a build for one where there is one.
fn places() -> Vec<(Path, Device)> {
    let composed = Path::Composed { half: false };
    #[allow(unused_mut)] // without the feature
    let mut places = vec![(Path::Kernels, Device::Cpu), (composed, Device::Cpu)];
    #[cfg(feature = "cuda")]
    if candle_core::cuda::cudarc::driver::CudaContext::device_count().is_ok_and(|count| count > 0) {
        places.push((composed, Device::new_cuda_with_stream(0).unwrap()));
    }
    places
}

fn check_by(
    (path, device): (Path, &Device),
    name: &str,
    shapes: &[&[usize]],
    frozen: usize,
    (low, high): (f64, f64),
    norm: Norm,
    build: impl Fn(&mut GraphBuilder, &[NodeId]) -> Result<NodeId, GraphError>,
) {
    let trains: Vec<bool> = (0..shapes.len()).map(|i| i + frozen < shapes.len()).collect();
    let mut builder = GraphBuilder::new();
    builder.input("unused", Shape::batched(&[1])).expect("one input");
    let operands: Vec<NodeId> = shapes.iter().enumerate().map(|(i, s)| builder.param(&format!("p{i}"), s, Role::Weight)).collect();
    let output = build(&mut builder, &operands).unwrap_or_else(|e| panic!("{name}: {e}"));
    let graph = builder.finish(output).expect("it has an input");
    let mut rng = stream(7, 0, name);
    let mut draw = |size: usize| (0..size).map(|_| rng.random_range(low..high)).collect::<Vec<f64>>();
    let values: Vec<Vec<f64>> = shapes.iter().map(|s| draw(s.iter().product())).collect();
    let input = Tensor::zeros((1, 1), DType::F64, device).unwrap();
    let out_size: usize = graph.node(graph.output()).shape.at(1).iter().product();
    let cotangent = draw(out_size);
    let run = |values: &[Vec<f64>]| -> (super::Recording, Tensor) {
        let tensors = values.iter().zip(shapes).map(|(v, s)| Tensor::from_vec(v.clone(), *s, device).unwrap()).collect();
        let weights = Weights(tensors, DType::F64);
        let recording = record_by(path, &graph, &weights, &trains, norm, &input).unwrap_or_else(|e| panic!("{name}: {e}"));
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

fn window(kernel: [usize; 2], stride: [usize; 2], pads: [usize; 4], dilation: [usize; 2]) -> Window {
    Window { kernel, stride, pads, dilation }
}

#[test]
fn convolution() {
    // x, weight, window, groups
    type Case = (&'static str, [usize; 4], [usize; 4], Window, usize);
    let cases: [Case; 9] = [
        ("3x3", [2, 3, 5, 7], [4, 3, 3, 3], window([3, 3], [1, 1], [1, 1, 1, 1], [1, 1]), 1),
        ("stride 2, odd map", [1, 2, 7, 5], [3, 2, 3, 3], window([3, 3], [2, 2], [1, 1, 1, 1], [1, 1]), 1),
        ("one-sided padding", [2, 2, 6, 9], [2, 2, 3, 3], window([3, 3], [2, 2], [0, 0, 1, 1], [1, 1]), 1),
        ("1x1", [3, 4, 3, 5], [5, 4, 1, 1], window([1, 1], [1, 1], [0, 0, 0, 0], [1, 1]), 1),
        ("1x1 stride 2", [2, 4, 5, 3], [5, 4, 1, 1], window([1, 1], [2, 2], [0, 0, 0, 0], [1, 1]), 1),
        ("dilated, non-square", [1, 2, 9, 8], [2, 2, 3, 2], window([3, 2], [1, 2], [2, 1, 2, 0], [2, 3]), 1),
        ("groups", [2, 4, 5, 4], [6, 2, 3, 3], window([3, 3], [1, 1], [1, 1, 1, 1], [1, 1]), 2),
        ("depthwise", [2, 3, 6, 5], [3, 1, 3, 3], window([3, 3], [1, 1], [1, 1, 1, 1], [1, 1]), 3),
        ("depthwise stride 2, 5x5", [2, 3, 7, 8], [3, 1, 5, 5], window([5, 5], [2, 2], [1, 2, 2, 2], [1, 1]), 3),
    ];
    for (name, x, weight, window, groups) in cases {
        check(name, &[&x, &weight, &[weight[0]]], |b, p| b.add("conv", Op::Conv2d { window, groups }, p));
    }
}

#[test]
fn convolution_of_large_maps_in_bands() {
    // Wider than one product: 30 x 41 positions.
    let w = window([3, 3], [1, 1], [1, 1, 1, 1], [1, 1]);
    check("bands", &[&[1, 1, 30, 41], &[2, 1, 3, 3]], |b, p| b.add("conv", Op::Conv2d { window: w, groups: 1 }, p));
}

#[test]
fn convolution_straight_on_the_maps() {
    // Wide enough for the 3x3 kernels without patches; widths and channels that fill no vector or block.
    type Case = (&'static str, [usize; 4], [usize; 4], [usize; 4]);
    let cases: [Case; 4] = [
        ("one vector", [2, 3, 4, 8], [4, 3, 3, 3], [1, 1, 1, 1]),
        ("an odd map", [1, 2, 5, 11], [5, 2, 3, 3], [1, 1, 1, 1]),
        ("no padding", [1, 2, 6, 19], [3, 2, 3, 3], [0, 0, 0, 0]),
        ("one-sided padding", [1, 1, 7, 9], [1, 1, 3, 3], [2, 0, 0, 2]),
    ];
    for (name, x, weight, pads) in cases {
        let window = window([3, 3], [1, 1], pads, [1, 1]);
        check(name, &[&x, &weight, &[weight[0]]], |b, p| b.add("conv", Op::Conv2d { window, groups: 1 }, p));
    }
}

#[test]
fn batch_norm_and_relu_in_one_pass() {
    let shapes: [&[usize]; 5] = [&[3, 2, 3, 5], &[2], &[2], &[2], &[2]];
    for norm in [Norm::Batch, Norm::Running] {
        check_all("batch norm, ReLU", &shapes, 2, (0.2, 1.0), norm, |b, p| {
            let bn = b.add("bn", Op::BatchNorm { eps: 1e-3, momentum: 0.1 }, p)?;
            b.add("relu", Op::Unary(Unary::Relu), &[bn])
        });
        // Read by another node too, the batch norm keeps a value of its own.
        check_all("batch norm read twice", &shapes, 2, (0.2, 1.0), norm, |b, p| {
            let bn = b.add("bn", Op::BatchNorm { eps: 1e-3, momentum: 0.1 }, p)?;
            let relu = b.add("relu", Op::Unary(Unary::Relu), &[bn])?;
            b.add("sum", Op::Binary(Binary::Add), &[relu, bn])
        });
    }
}

#[test]
fn products() {
    check("linear", &[&[5, 3], &[4, 3], &[4]], |b, p| b.add("fc", Op::Linear, p));
    check("linear on tokens", &[&[2, 3, 4], &[5, 4]], |b, p| b.add("fc", Op::Linear, p));
    check("matmul", &[&[2, 3, 4], &[2, 4, 5]], |b, p| b.add("mm", Op::MatMul, p));
    check("matmul broadcast", &[&[2, 1, 3, 4], &[3, 4, 2]], |b, p| b.add("mm", Op::MatMul, p));
}

#[test]
fn norms() {
    let shapes: [&[usize]; 5] = [&[3, 2, 3, 5], &[2], &[2], &[2], &[2]];
    let op = || Op::BatchNorm { eps: 1e-3, momentum: 0.1 };
    for norm in [Norm::Batch, Norm::Running] {
        // Mean and variance, the last two, are buffers.
        check_all("batch norm", &shapes, 2, (0.5, 2.0), norm, |b, p| b.add("bn", op(), p));
    }
    check("layer norm", &[&[3, 4, 5], &[5], &[5]], |b, p| b.add("ln", Op::LayerNorm { axis: 2, eps: 1e-3 }, p));
    check("layer norm over two axes", &[&[3, 4, 5], &[4, 5], &[4, 5]], |b, p| b.add("ln", Op::LayerNorm { axis: 1, eps: 1e-3 }, p));
    let lrn = Op::Lrn { size: 3, alpha: 0.3, beta: 0.75, bias: 1.0 };
    check("lrn", &[&[2, 5, 2, 3]], |b, p| b.add("lrn", lrn.clone(), p));
}

#[test]
fn pooling() {
    let cases = [
        ("2x2", window([2, 2], [2, 2], [0, 0, 0, 0], [1, 1])),
        ("the ResNet stem", window([3, 3], [2, 2], [1, 1, 1, 1], [1, 1])),
        ("one-sided", window([3, 2], [2, 1], [0, 0, 1, 1], [1, 1])),
    ];
    for (name, window) in cases {
        check(name, &[&[2, 2, 7, 5]], |b, p| b.add("max", Op::MaxPool(window), p));
        for count_include_pad in [false, true] {
            check(name, &[&[2, 2, 7, 5]], |b, p| b.add("avg", Op::AvgPool { window, count_include_pad }, p));
        }
    }
}

#[test]
fn elementwise_functions() {
    let anywhere = [
        Unary::Relu,
        Unary::LeakyRelu(0.1),
        Unary::Elu(0.7),
        Unary::Clip { min: -0.5, max: 0.4 },
        Unary::Sigmoid,
        Unary::HardSigmoid { alpha: 0.6, beta: 0.5 },
        Unary::HardSwish,
        Unary::Silu,
        Unary::Tanh,
        Unary::Gelu { tanh: false },
        Unary::Gelu { tanh: true },
        Unary::Erf,
        Unary::Softplus,
        Unary::Exp,
        Unary::Neg,
        Unary::Abs,
        Unary::Pow(2.0),
        Unary::Pow(3.0),
        Unary::Affine { scale: 1.7, shift: 0.3 },
    ];
    for function in anywhere {
        check(&format!("{function:?}"), &[&[3, 7]], |b, p| b.add("f", Op::Unary(function), p));
    }
    for function in [Unary::Log, Unary::Sqrt, Unary::Reciprocal, Unary::Pow(0.3)] {
        check_within(&format!("{function:?}"), &[&[3, 7]], (0.5, 2.0), Norm::Batch, |b, p| b.add("f", Op::Unary(function), p));
    }
    // Outside the bends of hard-swish.
    check_within("hard-swish, wide", &[&[4, 9]], (-5.0, 5.0), Norm::Batch, |b, p| b.add("f", Op::Unary(Unary::HardSwish), p));
}

#[test]
fn relu_has_gradient_zero_at_zero() {
    let y = super::kernels::elementwise::backward(Unary::Relu, &[0.0f32, 1.0, 0.0], &[5.0, 5.0, 5.0]);
    assert_eq!(y, [0.0, 5.0, 0.0]);
}

#[test]
fn broadcasting() {
    for kind in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div] {
        let name = format!("{kind:?}");
        let cases: [[&[usize]; 2]; 3] = [[&[2, 3, 4], &[2, 3, 4]], [&[2, 3, 4], &[3, 1]], [&[1, 4], &[5, 2, 1]]];
        for shapes in cases {
            check_within(&name, &shapes, (0.5, 1.5), Norm::Batch, |b, p| b.add("f", Op::Binary(kind), p));
        }
    }
}

#[test]
fn reductions_and_softmax() {
    for kind in [Reduce::Mean, Reduce::Sum, Reduce::Max] {
        for (axes, keep) in [(vec![1], true), (vec![0, 2], false), (vec![0, 1, 2], true)] {
            check("reduce", &[&[3, 4, 5]], |b, p| b.add("r", Op::Reduce { kind, axes: axes.clone(), keep }, p));
        }
    }
    for axis in 0..3 {
        check("softmax", &[&[3, 4, 2]], |b, p| b.add("s", Op::Softmax { axis }, p));
    }
}

#[test]
fn shapes_of_things() {
    check("concat", &[&[2, 3, 2], &[2, 1, 2]], |b, p| b.add("f", Op::Concat { axis: 1 }, p));
    check("reshape", &[&[2, 6]], |b, p| b.add("f", Op::Reshape { shape: Shape::fixed(&[3, 4]) }, p));
    check("expand", &[&[3, 1]], |b, p| b.add("f", Op::Expand { shape: Shape::fixed(&[2, 3, 4]) }, p));
    check("transpose", &[&[2, 3, 4]], |b, p| b.add("f", Op::Transpose { perm: vec![2, 0, 1] }, p));
    check("slice", &[&[2, 7]], |b, p| b.add("f", Op::Slice { axis: 1, start: 2, end: 5, step: 1 }, p));
    check("strided slice", &[&[2, 7]], |b, p| b.add("f", Op::Slice { axis: 1, start: 1, end: 7, step: 2 }, p));
    check("select, one twice", &[&[2, 4]], |b, p| b.add("f", Op::Select { axis: 1, indices: vec![3, 0, 3] }, p));
    check("pad", &[&[2, 3]], |b, p| b.add("f", Op::Pad { pads: vec![(0, 0), (1, 2)], value: 0.5 }, p));
    check("a value used twice", &[&[3, 4]], |b, p| {
        let square = b.add("square", Op::Binary(Binary::Mul), &[p[0], p[0]])?;
        b.add("sum", Op::Binary(Binary::Add), &[square, p[0]])
    });
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
