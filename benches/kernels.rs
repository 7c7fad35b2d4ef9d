//! Our own kernels one by one, forward and backward: `cargo bench --bench kernels [-- FILTER]`.
//!
//! Each is a graph of one operator on sizes that real networks have, batch 16.

use candle_core::{DType, Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use heirloom::exec::{self, Norm, Weights};
use heirloom::graph::{Graph, GraphBuilder, GraphError, NodeId, Op, Role, Shape, Unary, Window};

const BATCH: usize = 16;

/// A name, the input's shape without the batch, and the operator.
type Case = (&'static str, Vec<usize>, fn(&mut GraphBuilder, NodeId) -> Result<NodeId, GraphError>);

fn conv(b: &mut GraphBuilder, x: NodeId, weight: [usize; 4], stride: usize, groups: usize) -> Result<NodeId, GraphError> {
    let pad = weight[2] / 2;
    let window = Window { kernel: [weight[2], weight[3]], stride: [stride; 2], pads: [pad; 4], dilation: [1, 1] };
    let kernels = b.param("kernels", &weight, Role::Weight);
    b.add("conv", Op::Conv2d { window, groups }, &[x, kernels])
}

fn cases() -> Vec<Case> {
    vec![
        ("direct 3x3, 16 channels", vec![16, 32, 32], |b, x| conv(b, x, [16, 16, 3, 3], 1, 1)),
        ("winograd 3x3, 64 channels", vec![64, 56, 56], |b, x| conv(b, x, [64, 64, 3, 3], 1, 1)),
        ("winograd 3x3, 256 channels", vec![256, 14, 14], |b, x| conv(b, x, [256, 256, 3, 3], 1, 1)),
        ("patches 7x7 stride 2", vec![3, 224, 224], |b, x| conv(b, x, [64, 3, 7, 7], 2, 1)),
        ("patches 3x3 stride 2", vec![64, 56, 56], |b, x| conv(b, x, [128, 64, 3, 3], 2, 1)),
        ("pointwise 96 to 24", vec![96, 56, 56], |b, x| conv(b, x, [24, 96, 1, 1], 1, 1)),
        ("depthwise 3x3", vec![144, 56, 56], |b, x| conv(b, x, [144, 1, 3, 3], 1, 144)),
        ("depthwise 5x5 stride 2", vec![144, 56, 56], |b, x| conv(b, x, [144, 1, 5, 5], 2, 144)),
        ("linear 384 to 1536", vec![197, 384], |b, x| {
            let (weight, bias) = (b.param("weight", &[1536, 384], Role::Weight), b.param("bias", &[1536], Role::Bias));
            b.add("linear", Op::Linear, &[x, weight, bias])
        }),
        ("layer norm", vec![197, 384], |b, x| {
            let (scale, shift) = (b.param("scale", &[384], Role::Scale), b.param("shift", &[384], Role::Shift));
            b.add("norm", Op::LayerNorm { axis: 2, eps: 1e-6 }, &[x, scale, shift])
        }),
        ("softmax", vec![6, 197, 197], |b, x| b.add("softmax", Op::Softmax { axis: 3 }, &[x])),
        ("gelu", vec![197, 1536], |b, x| b.add("gelu", Op::Unary(Unary::Gelu { tanh: false }), &[x])),
    ]
}

/// The operator behind a sum with a parameter, so that its input has a gradient too.
fn graph(case: &Case) -> Result<Graph, GraphError> {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&case.1))?;
    let one = b.param("offset", &vec![1; case.1.len() + 1], Role::Bias);
    let moved = b.add("moved", Op::Binary(heirloom::graph::Binary::Add), &[x, one])?;
    let y = (case.2)(&mut b, moved)?;
    b.finish(y)
}

fn kernels(c: &mut Criterion) {
    for case in cases() {
        let graph = graph(&case).expect("the case is a graph");
        let draw = |shape: &[usize]| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| ((i * 37 % 101) as f32 - 50.0) / 500.0).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).expect("numbers fill their shape")
        };
        let arrays: Vec<_> = graph.slots().iter().map(|slot| ndarray::ArrayD::from_elem(slot.shape.as_slice(), 0.01)).collect();
        let weights = Weights::new(&arrays, DType::F32).expect("arrays are tensors");
        let (input, gradient) = (draw(&graph.node(graph.input()).shape.at(BATCH)), draw(&graph.node(graph.output()).shape.at(BATCH)));
        let mut group = c.benchmark_group(case.0);
        group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20);
        group.bench_function(BenchmarkId::from_parameter("forward"), |b| b.iter(|| exec::infer(&graph, &weights, &input)));
        group.bench_function(BenchmarkId::from_parameter("forward and backward"), |b| {
            let trains = exec::trainable(&graph);
            b.iter(|| exec::record(&graph, &weights, &trains, Norm::Batch, &input)?.backward(&graph, &gradient));
        });
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
