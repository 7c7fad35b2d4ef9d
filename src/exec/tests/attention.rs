//! Attention as one operator against its formula, in both precisions and by both ways to compute it.

use candle_core::{DType, Device, Tensor};
use rand::RngExt;

use super::places;
use crate::exec::backend::Kernels;
use crate::exec::{Backend, Norm, Weights, record_by};
use crate::graph::{Graph, GraphBuilder, NodeId, Op, Role, Shape, Unary};
use crate::stats::stream::stream;

/// Three parameters and the formula of attention, as exporters write it.
fn formula(shapes: [&[usize]; 3], scale: f64) -> Graph {
    let mut b = GraphBuilder::new();
    b.input("unused", Shape::batched(&[1])).unwrap();
    let [q, k, v]: [NodeId; 3] = std::array::from_fn(|i| b.param(["q", "k", "v"][i], shapes[i], Role::Weight));
    let columns = b.add("columns", Op::Transpose { perm: vec![0, 2, 1] }, &[k]).unwrap();
    let scores = b.add("scores", Op::MatMul, &[q, columns]).unwrap();
    let scaled = b.add("scaled", Op::Unary(Unary::Affine { scale, shift: 0.0 }), &[scores]).unwrap();
    let shares = b.add("shares", Op::Softmax { axis: 2 }, &[scaled]).unwrap();
    let output = b.add("output", Op::MatMul, &[shares, v]).unwrap();
    b.finish(output).unwrap()
}

/// Output and gradients, in f64.
fn run(graph: &Graph, (backend, device): (&'static dyn Backend, &Device), kind: DType) -> Vec<Vec<f64>> {
    let mut rng = stream(23, 0, "attention");
    let mut draw = |shape: &[usize]| {
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(kind).unwrap().to_device(device).unwrap()
    };
    let weights = Weights(graph.slots().iter().map(|slot| draw(&slot.shape)).collect(), kind);
    let input = Tensor::zeros((1, 1), kind, device).unwrap();
    let recording = record_by(backend, graph, &weights, &[true; 3], Norm::Batch, &input).unwrap();
    let cotangent = draw(recording.output.dims());
    let output = recording.output.clone();
    let gradients = recording.backward(graph, &cotangent).unwrap();
    let flat = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    std::iter::once(flat(&output)).chain(gradients.iter().map(|g| flat(g.as_ref().unwrap()))).collect()
}

/// Largest difference, as a share of the largest value of each.
fn apart(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let of = |(a, b): (&Vec<f64>, &Vec<f64>)| {
        let largest = a.iter().fold(1e-3, |most: f64, v| most.max(v.abs()));
        a.iter().zip(b).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / largest
    };
    a.iter().zip(b).map(of).fold(0.0, f64::max)
}

#[test]
fn agrees_with_its_formula() {
    let cpu: (&'static dyn Backend, &Device) = (&Kernels, &Device::Cpu);
    for tokens in [1, 5, 197] {
        for width in [1, 3, 64] {
            for batch in [1, 3] {
                let shape = [batch, tokens, width];
                let formula = formula([&shape; 3], (width as f64).sqrt().recip());
                let fused = formula.clone().with_attention(None);
                assert!(matches!(fused.node(fused.output()).op, Op::Attention { .. }));
                let exact = run(&formula, cpu, DType::F64);
                for (backend, device) in places() {
                    let found = apart(&exact, &run(&fused, (backend, &device), DType::F64));
                    assert!(found < 1e-12, "{shape:?}, {backend:?}: {found}");
                }
                let single = apart(&exact, &run(&fused, cpu, DType::F32));
                assert!(single < 2e-6, "{shape:?}, single precision: {single}");
            }
        }
    }
}

#[test]
fn same_bits_for_any_number_of_threads() {
    let fused = formula([&[5, 197, 64]; 3], 0.125).with_attention(None);
    let run = || run(&fused, (&Kernels, &Device::Cpu), DType::F32);
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let one = pool(1).install(run);
    for threads in [2, 3, 8] {
        assert!(pool(threads).install(run) == one, "{threads} threads");
    }
}

#[test]
fn what_is_not_a_number_stays_visible() {
    let q = [0.0, f32::NAN];
    let s = crate::exec::kernels::attention::Sizes { heads: 1, queries: 2, keys: 2, width: 1, values: 1 };
    let (out, _) = crate::exec::kernels::attention::forward(s, [&q, &[1.0, 2.0], &[3.0, 4.0]], 1.0);
    assert!((out[0] - 3.5).abs() < 1e-6 && out[1].is_nan(), "{out:?}");
    let (out, _) = crate::exec::kernels::attention::forward(s, [&[0.0, 1e30], &[1.0, 2.0], &[3.0, f32::NAN]], 1.0);
    assert!(out.iter().all(|v| v.is_nan()), "{out:?}");
}
