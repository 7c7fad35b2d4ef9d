//! The operators that are checked: one at a time, on odd and non-square sizes.

use crate::exec::Norm;
use crate::graph::{Binary, Graph, GraphBuilder, GraphError, NodeId, Op, Reduce, Role, Shape, Unary, Window};

type Build = dyn Fn(&mut GraphBuilder, &[NodeId]) -> Result<NodeId, GraphError>;

/// One or a few operators on operands of given shapes.
pub(crate) struct Case {
    pub name: String,
    /// The shapes of the operands.
    pub operands: Vec<Vec<usize>>,
    /// The last so many operands do not train.
    pub frozen: usize,
    /// Between which numbers operands are drawn.
    pub range: (f64, f64),
    pub norm: Norm,
    build: Box<Build>,
}

impl Case {
    /// All operands are parameters, `p0` onwards; the input is not read.
    pub(crate) fn graph(&self) -> Graph {
        let mut b = GraphBuilder::new();
        b.input("unused", Shape::batched(&[1])).expect("one input");
        let operands = self.parameters(&mut b, 0);
        self.finish(b, &operands)
    }

    /// The first operand is what enters, all of it in one row, and so is what leaves.
    pub(crate) fn fed(&self) -> Graph {
        let mut b = GraphBuilder::new();
        let size = |shape: &[usize]| Shape::fixed(&[1, shape.iter().product()]);
        let x = b.input("x", size(&self.operands[0])).expect("one input");
        let first = b.add("p0", Op::Reshape { shape: Shape::fixed(&self.operands[0]) }, &[x]).expect("as many numbers");
        let mut operands = vec![first];
        operands.extend(self.parameters(&mut b, 1));
        let output = (self.build)(&mut b, &operands).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let shape = size(&b.shape(output).at(1));
        let row = b.add("row", Op::Reshape { shape }, &[output]).expect("as many numbers");
        b.finish(row).expect("it has an input")
    }

    fn parameters(&self, b: &mut GraphBuilder, from: usize) -> Vec<NodeId> {
        let named = self.operands.iter().enumerate().skip(from);
        named.map(|(i, shape)| b.param(&format!("p{i}"), shape, Role::Weight)).collect()
    }

    fn finish(&self, mut b: GraphBuilder, operands: &[NodeId]) -> Graph {
        let output = (self.build)(&mut b, operands).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        b.finish(output).expect("it has an input")
    }
}

/// Cases, as the functions below list them.
#[derive(Default)]
pub(crate) struct Suite(pub Vec<Case>);

impl Suite {
    /// Everything.
    pub(crate) fn whole() -> Self {
        let mut suite = Self::default();
        for section in [
            convolution,
            convolution_of_large_maps_in_bands,
            convolution_straight_on_the_maps,
            batch_norm_and_relu_in_one_pass,
            products,
            norms,
            pooling,
            elementwise_functions,
            broadcasting,
            greatest_and_least,
            reductions_and_softmax,
            shapes_of_things,
            attention,
        ] {
            section(&mut suite);
        }
        suite
    }

    fn case(
        &mut self,
        name: &str,
        operands: &[&[usize]],
        build: impl Fn(&mut GraphBuilder, &[NodeId]) -> Result<NodeId, GraphError> + 'static,
    ) {
        self.within(name, operands, (-1.0, 1.0), Norm::Batch, build);
    }

    fn within(
        &mut self,
        name: &str,
        operands: &[&[usize]],
        range: (f64, f64),
        norm: Norm,
        build: impl Fn(&mut GraphBuilder, &[NodeId]) -> Result<NodeId, GraphError> + 'static,
    ) {
        self.all(name, operands, 0, range, norm, build);
    }

    fn all(
        &mut self,
        name: &str,
        operands: &[&[usize]],
        frozen: usize,
        range: (f64, f64),
        norm: Norm,
        build: impl Fn(&mut GraphBuilder, &[NodeId]) -> Result<NodeId, GraphError> + 'static,
    ) {
        let operands = operands.iter().map(|shape| shape.to_vec()).collect();
        self.0.push(Case { name: name.into(), operands, frozen, range, norm, build: Box::new(build) });
    }
}

pub(super) fn window(kernel: [usize; 2], stride: [usize; 2], pads: [usize; 4], dilation: [usize; 2]) -> Window {
    Window { kernel, stride, pads, dilation }
}

pub(super) fn convolution(s: &mut Suite) {
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
        s.case(name, &[&x, &weight, &[weight[0]]], move |b, p| b.add("conv", Op::Conv2d { window, groups }, p));
    }
}

pub(super) fn convolution_of_large_maps_in_bands(s: &mut Suite) {
    // Wider than one product: 30 x 41 positions.
    let w = window([3, 3], [1, 1], [1, 1, 1, 1], [1, 1]);
    s.case("bands", &[&[1, 1, 30, 41], &[2, 1, 3, 3]], move |b, p| b.add("conv", Op::Conv2d { window: w, groups: 1 }, p));
}

pub(super) fn convolution_straight_on_the_maps(s: &mut Suite) {
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
        s.case(name, &[&x, &weight, &[weight[0]]], move |b, p| b.add("conv", Op::Conv2d { window, groups: 1 }, p));
    }
}

pub(super) fn batch_norm_and_relu_in_one_pass(s: &mut Suite) {
    let shapes: [&[usize]; 5] = [&[3, 2, 3, 5], &[2], &[2], &[2], &[2]];
    for norm in [Norm::Batch, Norm::Running] {
        s.all("batch norm, ReLU", &shapes, 2, (0.2, 1.0), norm, move |b, p| {
            let bn = b.add("bn", Op::BatchNorm { eps: 1e-3, momentum: 0.1 }, p)?;
            b.add("relu", Op::Unary(Unary::Relu), &[bn])
        });
        // Read by another node too, the batch norm keeps a value of its own.
        s.all("batch norm read twice", &shapes, 2, (0.2, 1.0), norm, move |b, p| {
            let bn = b.add("bn", Op::BatchNorm { eps: 1e-3, momentum: 0.1 }, p)?;
            let relu = b.add("relu", Op::Unary(Unary::Relu), &[bn])?;
            b.add("sum", Op::Binary(Binary::Add), &[relu, bn])
        });
    }
}

pub(super) fn products(s: &mut Suite) {
    s.case("linear", &[&[5, 3], &[4, 3], &[4]], move |b, p| b.add("fc", Op::Linear, p));
    s.case("linear on tokens", &[&[2, 3, 4], &[5, 4]], move |b, p| b.add("fc", Op::Linear, p));
    s.case("matmul", &[&[2, 3, 4], &[2, 4, 5]], move |b, p| b.add("mm", Op::MatMul, p));
    s.case("matmul broadcast", &[&[2, 1, 3, 4], &[3, 4, 2]], move |b, p| b.add("mm", Op::MatMul, p));
}

pub(super) fn norms(s: &mut Suite) {
    let shapes: [&[usize]; 5] = [&[3, 2, 3, 5], &[2], &[2], &[2], &[2]];
    let op = || Op::BatchNorm { eps: 1e-3, momentum: 0.1 };
    for norm in [Norm::Batch, Norm::Running] {
        // Mean and variance, the last two, are buffers.
        s.all("batch norm", &shapes, 2, (0.5, 2.0), norm, move |b, p| b.add("bn", op(), p));
    }
    s.case("layer norm", &[&[3, 4, 5], &[5], &[5]], move |b, p| b.add("ln", Op::LayerNorm { axis: 2, eps: 1e-3 }, p));
    s.case("layer norm over two axes", &[&[3, 4, 5], &[4, 5], &[4, 5]], move |b, p| b.add("ln", Op::LayerNorm { axis: 1, eps: 1e-3 }, p));
    let lrn = Op::Lrn { size: 3, alpha: 0.3, beta: 0.75, bias: 1.0 };
    s.case("lrn", &[&[2, 5, 2, 3]], move |b, p| b.add("lrn", lrn.clone(), p));
}

pub(super) fn pooling(s: &mut Suite) {
    let cases = [
        ("2x2", window([2, 2], [2, 2], [0, 0, 0, 0], [1, 1])),
        ("the ResNet stem", window([3, 3], [2, 2], [1, 1, 1, 1], [1, 1])),
        ("one-sided", window([3, 2], [2, 1], [0, 0, 1, 1], [1, 1])),
    ];
    for (name, window) in cases {
        s.case(name, &[&[2, 2, 7, 5]], move |b, p| b.add("max", Op::MaxPool(window), p));
        for count_include_pad in [false, true] {
            s.case(name, &[&[2, 2, 7, 5]], move |b, p| b.add("avg", Op::AvgPool { window, count_include_pad }, p));
        }
    }
}

pub(super) fn elementwise_functions(s: &mut Suite) {
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
        s.case(&format!("{function:?}"), &[&[3, 7]], move |b, p| b.add("f", Op::Unary(function), p));
    }
    for function in [Unary::Log, Unary::Sqrt, Unary::Reciprocal, Unary::Pow(0.3)] {
        s.within(&format!("{function:?}"), &[&[3, 7]], (0.5, 2.0), Norm::Batch, move |b, p| b.add("f", Op::Unary(function), p));
    }
    // Outside the bends of hard-swish.
    s.within("hard-swish, wide", &[&[4, 9]], (-5.0, 5.0), Norm::Batch, move |b, p| b.add("f", Op::Unary(Unary::HardSwish), p));
}

pub(super) fn broadcasting(s: &mut Suite) {
    for kind in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min] {
        let name = format!("{kind:?}");
        let cases: [[&[usize]; 2]; 3] = [[&[2, 3, 4], &[2, 3, 4]], [&[2, 3, 4], &[3, 1]], [&[1, 4], &[5, 2, 1]]];
        for shapes in cases {
            s.within(&name, &shapes, (0.5, 1.5), Norm::Batch, move |b, p| b.add("f", Op::Binary(kind), p));
        }
    }
}

/// Of three operands, and of one with itself, where every number is its own equal.
pub(super) fn greatest_and_least(s: &mut Suite) {
    for kind in [Binary::Max, Binary::Min] {
        let name = format!("{kind:?} of three");
        s.case(&name, &[&[2, 3, 4], &[3, 1], &[4]], move |b, p| {
            let two = b.add("two", Op::Binary(kind), &p[..2])?;
            b.add("three", Op::Binary(kind), &[two, p[2]])
        });
        s.case(&format!("{kind:?} with itself"), &[&[3, 5]], move |b, p| b.add("f", Op::Binary(kind), &[p[0], p[0]]));
        s.all(&format!("{kind:?} with what is frozen"), &[&[3, 5], &[5]], 1, (-1.0, 1.0), Norm::Batch, move |b, p| {
            b.add("f", Op::Binary(kind), p)
        });
    }
}

pub(super) fn reductions_and_softmax(s: &mut Suite) {
    for kind in [Reduce::Mean, Reduce::Sum, Reduce::Max] {
        for (axes, keep) in [(vec![1], true), (vec![0, 2], false), (vec![0, 1, 2], true)] {
            s.case("reduce", &[&[3, 4, 5]], move |b, p| b.add("r", Op::Reduce { kind, axes: axes.clone(), keep }, p));
        }
    }
    for axis in 0..3 {
        s.case("softmax", &[&[3, 4, 2]], move |b, p| b.add("s", Op::Softmax { axis }, p));
    }
}

pub(super) fn shapes_of_things(s: &mut Suite) {
    s.case("concat", &[&[2, 3, 2], &[2, 1, 2]], move |b, p| b.add("f", Op::Concat { axis: 1 }, p));
    s.case("reshape", &[&[2, 6]], move |b, p| b.add("f", Op::Reshape { shape: Shape::fixed(&[3, 4]) }, p));
    s.case("expand", &[&[3, 1]], move |b, p| b.add("f", Op::Expand { shape: Shape::fixed(&[2, 3, 4]) }, p));
    s.case("transpose", &[&[2, 3, 4]], move |b, p| b.add("f", Op::Transpose { perm: vec![2, 0, 1] }, p));
    s.case("slice", &[&[2, 7]], move |b, p| b.add("f", Op::Slice { axis: 1, start: 2, end: 5, step: 1 }, p));
    s.case("strided slice", &[&[2, 7]], move |b, p| b.add("f", Op::Slice { axis: 1, start: 1, end: 7, step: 2 }, p));
    s.case("select, one twice", &[&[2, 4]], move |b, p| b.add("f", Op::Select { axis: 1, indices: vec![3, 0, 3] }, p));
    s.case("pad", &[&[2, 3]], move |b, p| b.add("f", Op::Pad { pads: vec![(0, 0), (1, 2)], value: 0.5 }, p));
    s.case("a value used twice", &[&[3, 4]], move |b, p| {
        let square = b.add("square", Op::Binary(Binary::Mul), &[p[0], p[0]])?;
        b.add("sum", Op::Binary(Binary::Add), &[square, p[0]])
    });
}

pub(super) fn attention(s: &mut Suite) {
    // Heads, queries, keys, width, values.
    for [heads, queries, keys, width, values] in [[1, 1, 1, 1, 1], [2, 5, 5, 3, 3], [3, 2, 7, 3, 2], [1, 67, 2, 1, 1], [1, 2, 37, 1, 2]] {
        let shapes: [&[usize]; 3] = [&[heads, queries, width], &[heads, keys, width], &[heads, keys, values]];
        s.case("attention", &shapes, move |b, p| b.add("attention", Op::Attention { scale: 0.7 }, p));
        // Powers far apart.
        let name = "attention, wide";
        s.within(name, &shapes, (-4.0, 4.0), Norm::Batch, move |b, p| b.add("attention", Op::Attention { scale: 1.3 }, p));
    }
    let shapes: [&[usize]; 3] = [&[2, 3, 4, 2], &[2, 3, 5, 2], &[2, 3, 5, 1]];
    s.case("two leading axes", &shapes, move |b, p| b.add("attention", Op::Attention { scale: 1.0 }, p));
}
