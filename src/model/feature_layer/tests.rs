use super::*;
use crate::graph::{Binary, Unary, Window};

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

/// A network from `shape` of one image, of one operator after another on all that came before.
fn ends_in(shape: &[usize], build: impl Fn(&mut GraphBuilder, NodeId) -> NodeId) -> Graph {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(shape)).expect("input");
    let output = build(&mut b, x);
    b.finish(output).expect("finished")
}

fn unary(b: &mut GraphBuilder, name: &str, function: Unary, x: NodeId) -> NodeId {
    b.add(name, Op::Unary(function), &[x]).expect(name)
}

#[track_caller]
fn refused(graph: &Graph, reason: &str) {
    let told = find(graph, None, None).expect_err("refused").to_string();
    assert!(told.starts_with("no feature layer is found: ") && told.contains(reason) && told.contains("--features"), "{told}");
    // The user knows better.
    let output = graph.node(graph.output()).name.clone();
    assert_eq!(find(graph, None, Some(&output)).expect("found").1.name, output);
}

#[test]
fn maps_sequences_and_vectors_without_a_head() {
    let graph = ends_in(&[9, 4, 4], |b, x| unary(b, "map", Unary::Relu, x));
    assert_eq!(at(&graph), ("map".into(), 9, "the output (there is no linear head), mean over the map".into()));

    let graph = ends_in(&[7, 8], |b, x| unary(b, "tokens", Unary::Tanh, x));
    assert!(at(&graph).2.ends_with("mean over the tokens"));

    let graph = ends_in(&[7, 8], |b, x| {
        let token = b.param("cls", &[1, 1, 8], Role::Embedding);
        let shape = Shape(vec![Dim::Batch(1), Dim::Fixed(1), Dim::Fixed(8)]);
        let token = b.add("expand", Op::Expand { shape }, &[token]).expect("expand");
        let all = b.add("concat", Op::Concat { axis: 1 }, &[token, x]).expect("concat");
        b.add("norm", Op::LayerNorm { axis: 2, eps: 1e-6 }, &[all]).expect("norm")
    });
    assert!(at(&graph).2.ends_with("class token"));
}

#[test]
fn a_map_flattened_to_tokens_must_have_its_channels_last() {
    let flattened = |b: &mut GraphBuilder, x: NodeId| {
        let map = unary(b, "map", Unary::Relu, x);
        b.add("flat", Op::Reshape { shape: Shape::batched(&[9, 16]) }, &[map]).expect("flat")
    };
    refused(&ends_in(&[9, 4, 4], flattened), "whose last axis does not describe a token");
    let graph = ends_in(&[9, 4, 4], |b, x| {
        let flat = flattened(b, x);
        b.add("tokens", Op::Transpose { perm: vec![0, 2, 1] }, &[flat]).expect("tokens")
    });
    assert_eq!(at(&graph).1, 9);
    // A depth map: no tokens at all.
    let graph = ends_in(&[3, 12, 12], |b, x| {
        let weight = b.param("w", &[1, 3, 3, 3], Role::Weight);
        let window = Window { kernel: [3, 3], stride: [1, 1], pads: [1; 4], dilation: [1, 1] };
        let map = b.add("depth", Op::Conv2d { window, groups: 1 }, &[x, weight]).expect("convolution");
        b.add("squeezed", Op::Reshape { shape: Shape::batched(&[12, 12]) }, &[map]).expect("squeezed")
    });
    refused(&graph, "whose last axis does not describe a token");
}

/// A heat map's numbers describe places, however they are lined up.
#[test]
fn a_flattened_map_of_one_channel_is_no_feature_vector() {
    let map = |b: &mut GraphBuilder, x: NodeId, channels: usize| {
        let weight = b.param("w", &[channels, 3, 3, 3], Role::Weight);
        let window = Window { kernel: [3, 3], stride: [1, 1], pads: [1; 4], dilation: [1, 1] };
        b.add("heat", Op::Conv2d { window, groups: 1 }, &[x, weight]).expect("convolution")
    };
    let flat = |b: &mut GraphBuilder, x: NodeId, n: usize| b.add("out", Op::Reshape { shape: Shape::batched(&[n]) }, &[x]).expect("flat");
    let graph = ends_in(&[3, 8, 8], |b, x| {
        let one = map(b, x, 1);
        flat(b, one, 64)
    });
    refused(&graph, "the output `out` is one number for each place of the image (the map `heat`)");
    let graph = ends_in(&[3, 8, 8], |b, x| {
        let several = map(b, x, 5);
        let most = b.add("most", Op::Reduce { kind: Reduce::Max, axes: vec![1], keep: false }, &[several]).expect("maximum");
        flat(b, most, 64)
    });
    refused(&graph, "(the map `most`)");
    // All channels of all places are what an encoder without pooling gives.
    let graph = ends_in(&[3, 8, 8], |b, x| {
        let several = map(b, x, 5);
        flat(b, several, 320)
    });
    assert_eq!(at(&graph).1, 320);
}

#[test]
fn a_detector_has_no_features_of_an_image() {
    // Boxes and scores of every place, joined: YOLO's [N, 4 + classes, places].
    let joined = |b: &mut GraphBuilder, x: NodeId| {
        let map = unary(b, "backbone", Unary::Relu, x);
        let (boxes, scores) = (conv1(b, "boxes", map, 16, 4), conv1(b, "scores", map, 16, 5));
        let scores = unary(b, "sigmoid", Unary::Sigmoid, scores);
        let flat = |b: &mut GraphBuilder, name: &str, x: NodeId, c: usize| {
            b.add(name, Op::Reshape { shape: Shape::batched(&[c, 36]) }, &[x]).expect("flat")
        };
        let parts = [flat(b, "boxes.flat", boxes, 4), flat(b, "scores.flat", scores, 5)];
        b.add("output0", Op::Concat { axis: 1 }, &parts).expect("joined")
    };
    let graph = ends_in(&[16, 6, 6], joined);
    refused(&graph, "the output `output0` joins several parts");
    let told = find(&graph, None, None).expect_err("refused").to_string();
    assert!(told.contains(", for instance:\n  backbone [N, 16, 6, 6]"), "{told}");
    let graph = ends_in(&[16, 6, 6], |b, x| {
        let all = joined(b, x);
        b.add("turned", Op::Transpose { perm: vec![0, 2, 1] }, &[all]).expect("turned")
    });
    refused(&graph, "joins several parts");
}

#[test]
fn a_head_that_answers_for_every_place_is_no_classifiers() {
    // Text: scores of each of 12 characters.
    let graph = ends_in(&[12, 16], |b, x| {
        let x = unary(b, "tokens", Unary::Tanh, x);
        let logits = linear(b, "characters", x, 16, 37);
        b.add("softmax", Op::Softmax { axis: 2 }, &[logits]).expect("softmax")
    });
    refused(&graph, "the output `softmax` has 444 numbers per image, 37 for each of 12 places");
    // A map of classes.
    let graph = ends_in(&[16, 6, 6], |b, x| {
        let x = unary(b, "map", Unary::Relu, x);
        conv1(b, "classes", x, 16, 21)
    });
    refused(&graph, "has 756 numbers per image, 21 for each of 36 places");
    // The same head, and one answer: of the class token, or of the mean.
    let graph = ends_in(&[12, 16], |b, x| {
        let x = unary(b, "tokens", Unary::Tanh, x);
        let logits = linear(b, "classes", x, 16, 37);
        b.add("first", Op::Select { axis: 1, indices: vec![0] }, &[logits]).expect("first")
    });
    assert_eq!(at(&graph).0, "tokens");
}

#[test]
fn scores_and_few_numbers_are_no_features() {
    let graph = ends_in(&[16, 6, 6], |b, x| unary(b, "heat", Unary::Sigmoid, x));
    refused(&graph, "the output `heat` holds scores (of Unary `heat`)");
    let graph = ends_in(&[300, 6], |b, x| unary(b, "boxes", Unary::Relu, x));
    refused(&graph, "the output `boxes` has shape [N, 300, 6], which makes 6 features");
    for shape in [&[1][..], &[4]] {
        refused(&ends_in(shape, |b, x| unary(b, "out", Unary::Relu, x)), "too few to describe an image");
    }
    refused(&ends_in(&[1, 20, 20], |b, x| unary(b, "out", Unary::Relu, x)), "(the map `out`)");
    // `x * sigmoid(x)` is an activation.
    let graph = ends_in(&[16, 6, 6], |b, x| {
        let x = conv1(b, "conv", x, 16, 16);
        let gate = unary(b, "gate", Unary::Sigmoid, x);
        b.add("silu", Op::Binary(Binary::Mul), &[x, gate]).expect("product")
    });
    assert_eq!(at(&graph).0, "silu");
    // So is the greater of what a convolution gives and a bound for each channel.
    let graph = ends_in(&[16, 6, 6], |b, x| {
        let x = conv1(b, "conv", x, 16, 16);
        let bound = b.param("bound", &[1, 16, 1, 1], Role::Constant);
        b.add("bounded", Op::Binary(Binary::Max), &[x, bound]).expect("maximum")
    });
    assert_eq!((at(&graph).0, at(&graph).1), ("bounded".into(), 16));
}

#[test]
fn maps_joined_along_their_channels_are_features() {
    // As DenseNet and Inception end.
    let graph = ends_in(&[16, 6, 6], |b, x| {
        let parts = ["a", "b"].map(|name| {
            let part = conv1(b, name, x, 16, 8);
            unary(b, &format!("{name}.relu"), Unary::Relu, part)
        });
        b.add("joined", Op::Concat { axis: 1 }, &parts).expect("joined")
    });
    assert_eq!((at(&graph).0, at(&graph).1), ("joined".into(), 16));
}

#[test]
fn two_heads_are_not_chosen_between() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[6])).expect("input");
    let (left, right) = (unary(&mut b, "left", Unary::Relu, x), unary(&mut b, "right", Unary::Tanh, x));
    let (one, two) = (linear(&mut b, "a", left, 6, 3), linear(&mut b, "b", right, 6, 3));
    let output = b.add("mean", Op::Binary(Binary::Add), &[one, two]).expect("sum");
    let graph = b.finish(output).expect("finished");
    let told = find(&graph, None, None).expect_err("two").to_string();
    assert!(told.contains("\n  left\n  right"), "{told}");
    assert_eq!(find(&graph, None, Some("left")).expect("found").1.width, 6);
}

#[test]
fn several_heads_on_the_same_features_share_them() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[6])).expect("input");
    let body = unary(&mut b, "body", Unary::Relu, x);
    let (one, two) = (linear(&mut b, "a", body, 6, 3), linear(&mut b, "b", body, 6, 3));
    let output = b.add("mean", Op::Binary(Binary::Add), &[one, two]).expect("sum");
    assert_eq!(at(&b.finish(output).expect("finished")).0, "body");
}

#[test]
fn an_encoder_that_ends_in_a_residual_stream_has_no_heads() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[8])).expect("input");
    let mut stream = linear(&mut b, "embed", x, 8, 8);
    for name in ["mlp0", "mlp1"] {
        let inner = b.add("gelu", Op::Unary(Unary::Gelu { tanh: false }), &[stream]).expect("gelu");
        let out = linear(&mut b, name, inner, 8, 8);
        stream = b.add("residual", Op::Binary(Binary::Add), &[stream, out]).expect("sum");
    }
    // A layer norm as older exporters write it.
    let mean = b.add("mean", Op::Reduce { kind: Reduce::Mean, axes: vec![1], keep: true }, &[stream]).expect("mean");
    let centred = b.add("centred", Op::Binary(Binary::Sub), &[stream, mean]).expect("difference");
    let square = b.add("square", Op::Unary(Unary::Pow(2.0)), &[centred]).expect("square");
    let variance = b.add("variance", Op::Reduce { kind: Reduce::Mean, axes: vec![1], keep: true }, &[square]).expect("mean");
    let deviation = b.add("deviation", Op::Unary(Unary::Sqrt), &[variance]).expect("root");
    let output = b.add("norm", Op::Binary(Binary::Div), &[centred, deviation]).expect("quotient");
    assert_eq!(at(&b.finish(output).expect("finished")), ("norm".into(), 8, "the output (there is no linear head)".into()));
}
