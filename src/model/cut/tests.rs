use super::*;
use crate::graph::{Binary, Window};

fn at(graph: &Graph) -> (String, usize, String) {
    let (trunk, cut) = find(graph, None, None).expect("found");
    assert_eq!(trunk.node(trunk.output()).shape.at(2), [2, cut.width]);
    assert_eq!(trunk.slots(), graph.slots());
    (cut.name, cut.width, cut.how)
}

fn linear(b: &mut GraphBuilder, name: &str, x: NodeId, from: usize, to: usize) -> NodeId {
    let w = b.param(&format!("{name}.weight"), &[to, from], Role::Weight);
    b.add(name, Op::Linear, &[x, w]).expect(name)
}

fn conv1(b: &mut GraphBuilder, name: &str, x: NodeId, from: usize, to: usize) -> NodeId {
    let w = b.param(&format!("{name}.weight"), &[to, from, 1, 1], Role::Weight);
    let window = Window { kernel: [1, 1], stride: [1, 1], pads: [0; 4], dilation: [1, 1] };
    b.add(name, Op::Conv2d { window, groups: 1 }, &[x, w]).expect(name)
}

#[test]
fn the_input_of_the_last_linear_layer_behind_a_softmax() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[6])).expect("input");
    let hidden = linear(&mut b, "fc1", x, 6, 5);
    let hidden = b.add("relu", Op::Unary(Unary::Relu), &[hidden]).expect("relu");
    let logits = linear(&mut b, "fc2", hidden, 5, 3);
    let output = b.add("softmax", Op::Softmax { axis: 1 }, &[logits]).expect("softmax");
    let graph = b.finish(output).expect("finished");
    assert_eq!(at(&graph), ("relu".into(), 5, "input of the last linear layer".into()));
    let (_, cut) = find(&graph, Some("fc1"), None).expect("found");
    assert_eq!((cut.name.as_str(), cut.how.as_str()), ("fc1", "named by the file"));
    let (_, cut) = find(&graph, Some("absent"), Some("fc1")).expect("found");
    assert_eq!(cut.how, "named by the user");
    let error = find(&graph, None, Some("fc3")).expect_err("absent").to_string();
    assert!(error.contains("\n  fc1") && error.contains("\n  fc2"), "{error}");
    assert!(find(&graph, None, Some("fc1.weight")).is_err(), "a parameter is no feature");
}

#[test]
fn a_convolution_as_head_is_seen_before_and_after_pooling() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[3, 4, 4])).expect("input");
    let map = conv1(&mut b, "body", x, 3, 8);
    let map = b.add("fire", Op::Unary(Unary::Relu), &[map]).expect("relu");
    let logits = conv1(&mut b, "classifier", map, 8, 5);
    let logits = b.add("relu", Op::Unary(Unary::Relu), &[logits]).expect("relu");
    let output = b.add("pool", Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep: false }, &[logits]).expect("pool");
    assert_eq!(at(&b.finish(output).expect("finished")), ("fire".into(), 8, "input of the last 1x1 convolution, mean over the map".into()));
}

#[test]
fn maps_sequences_and_vectors_without_a_head() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[3, 4, 4])).expect("input");
    let map = b.add("map", Op::Unary(Unary::Relu), &[x]).expect("relu");
    assert_eq!(at(&b.finish(map).expect("finished")), ("map".into(), 3, "the output (there is no linear head), mean over the map".into()));

    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[7, 4])).expect("input");
    let tokens = b.add("tokens", Op::Unary(Unary::Tanh), &[x]).expect("tanh");
    assert!(at(&b.finish(tokens).expect("finished")).2.ends_with("mean over the tokens"));

    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[7, 4])).expect("input");
    let token = b.param("cls", &[1, 1, 4], Role::Embedding);
    let shape = Shape(vec![Dim::Batch(1), Dim::Fixed(1), Dim::Fixed(4)]);
    let token = b.add("expand", Op::Expand { shape }, &[token]).expect("expand");
    let all = b.add("concat", Op::Concat { axis: 1 }, &[token, x]).expect("concat");
    let output = b.add("norm", Op::LayerNorm { axis: 2, eps: 1e-6 }, &[all]).expect("norm");
    assert!(at(&b.finish(output).expect("finished")).2.ends_with("class token"));
}

#[test]
fn two_heads_are_not_chosen_between() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[6])).expect("input");
    let body = b.add("body", Op::Unary(Unary::Relu), &[x]).expect("relu");
    let (one, two) = (linear(&mut b, "a", body, 6, 3), linear(&mut b, "b", body, 6, 3));
    let output = b.add("mean", Op::Binary(Binary::Add), &[one, two]).expect("sum");
    let graph = b.finish(output).expect("finished");
    assert!(matches!(find(&graph, None, None), Err(CutError::SeveralHeads { .. })));
    assert_eq!(find(&graph, None, Some("body")).expect("found").1.width, 6);
}

#[test]
fn an_encoder_that_ends_in_a_residual_stream_has_no_heads() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[6])).expect("input");
    let mut stream = linear(&mut b, "embed", x, 6, 6);
    for name in ["mlp0", "mlp1"] {
        let inner = b.add("gelu", Op::Unary(Unary::Gelu { tanh: false }), &[stream]).expect("gelu");
        let out = linear(&mut b, name, inner, 6, 6);
        stream = b.add("residual", Op::Binary(Binary::Add), &[stream, out]).expect("sum");
    }
    // A layer norm as older exporters write it.
    let mean = b.add("mean", Op::Reduce { kind: Reduce::Mean, axes: vec![1], keep: true }, &[stream]).expect("mean");
    let centred = b.add("centred", Op::Binary(Binary::Sub), &[stream, mean]).expect("difference");
    let square = b.add("square", Op::Unary(Unary::Pow(2.0)), &[centred]).expect("square");
    let variance = b.add("variance", Op::Reduce { kind: Reduce::Mean, axes: vec![1], keep: true }, &[square]).expect("mean");
    let deviation = b.add("deviation", Op::Unary(Unary::Sqrt), &[variance]).expect("root");
    let output = b.add("norm", Op::Binary(Binary::Div), &[centred, deviation]).expect("quotient");
    assert_eq!(at(&b.finish(output).expect("finished")), ("norm".into(), 6, "the output (there is no linear head)".into()));
}
