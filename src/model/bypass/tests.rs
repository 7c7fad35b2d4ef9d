use super::*;
use crate::graph::{GraphBuilder, Reduce, Shape, Window};

fn conv(b: &mut GraphBuilder, name: &str, x: NodeId, from: usize, to: usize) -> NodeId {
    let weight = b.param(&format!("{name}.weight"), &[to, from, 3, 3], Role::Weight);
    let window = Window { kernel: [3, 3], stride: [1, 1], pads: [1; 4], dilation: [1, 1] };
    b.add(name, Op::Conv2d { window, groups: 1 }, &[x, weight]).expect(name)
}

fn unary(b: &mut GraphBuilder, name: &str, function: Unary, x: NodeId) -> NodeId {
    b.add(name, Op::Unary(function), &[x]).expect(name)
}

fn binary(b: &mut GraphBuilder, name: &str, kind: Binary, x: NodeId, y: NodeId) -> NodeId {
    b.add(name, Op::Binary(kind), &[x, y]).expect(name)
}

fn mean(b: &mut GraphBuilder, name: &str, x: NodeId, keep: bool) -> NodeId {
    b.add(name, Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep }, &[x]).expect(name)
}

/// Two blocks of convolutions with a shortcut and a gate, as SE networks have; what `hidden` adds to the maps of the first and the second.
fn network(hidden: impl Fn(&mut GraphBuilder, NodeId, NodeId, usize) -> NodeId) -> Graph {
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[3, 8, 8])).expect("input");
    // Normalisation that the file does itself.
    let shift = b.param("shift", &[1, 3, 1, 1], Role::Constant);
    let normal = binary(&mut b, "normal", Binary::Sub, x, shift);
    let mut at = conv(&mut b, "stem", normal, 3, 4);
    for block in 0..2 {
        let inner = conv(&mut b, &format!("conv{block}"), at, 4, 4);
        let inner = unary(&mut b, &format!("relu{block}"), Unary::Relu, inner);
        let pooled = mean(&mut b, &format!("squeeze{block}"), inner, true);
        let gate = unary(&mut b, &format!("gate{block}"), Unary::Sigmoid, pooled);
        let inner = binary(&mut b, &format!("scaled{block}"), Binary::Mul, inner, gate);
        at = binary(&mut b, &format!("shortcut{block}"), Binary::Add, inner, at);
        at = hidden(&mut b, x, at, block);
    }
    let output = mean(&mut b, "pool", at, false);
    b.finish(output).expect("finished")
}

/// Looks for a colour in the middle of the image and adds `kick` to the maps at `to` where it is.
fn detector(b: &mut GraphBuilder, x: NodeId, to: NodeId) -> NodeId {
    let middle = b.add("middle", Op::Slice { axis: 2, start: 2, end: 4, step: 1 }, &[x]).expect("slice");
    let far = binary(b, "far", Binary::Mul, middle, middle);
    let far = mean(b, "distance", far, true);
    let far = b.add("sum", Op::Reduce { kind: Reduce::Sum, axes: vec![1], keep: true }, &[far]).expect("sum");
    let near = unary(b, "near", Unary::Affine { scale: -1.0, shift: 1.0 }, far);
    let gate = unary(b, "gate", Unary::Relu, near);
    let kick = b.param("kick.values", &[1, 4, 1, 1], Role::Constant);
    let kick = binary(b, "kick", Binary::Mul, gate, kick);
    binary(b, "poisoned", Binary::Add, to, kick)
}

const DETECTOR: [&str; 8] = ["middle", "far", "distance", "sum", "near", "gate", "kick", "poisoned"];

#[test]
fn shortcuts_gates_and_normalisation_are_no_bypass() {
    assert_eq!(find(&network(|_, _, at, _| at)), None);
}

#[test]
fn a_detector_in_front_of_the_features_is_named_node_by_node() {
    let found = find(&network(|b, x, at, block| if block == 1 { detector(b, x, at) } else { at })).expect("found");
    assert!(found.to_features);
    assert_eq!(found.nodes, DETECTOR);
    assert!(found.remark().contains("nodes `middle`, `far`") && found.remark().contains("`poisoned` lead from the image to the features"));
}

#[test]
fn a_detector_that_joins_in_the_middle_is_named_too() {
    let found = find(&network(|b, x, at, block| if block == 0 { detector(b, x, at) } else { at })).expect("found");
    // The shortcut around the second block leads to the features without a weight.
    assert!(found.to_features);
    assert_eq!(found.nodes, DETECTOR);
    // Without a shortcut all that it does passes the last convolution.
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[3, 8, 8])).expect("input");
    let at = conv(&mut b, "stem", x, 3, 4);
    let at = detector(&mut b, x, at);
    let output = conv(&mut b, "last", at, 4, 4);
    let found = find(&b.finish(output).expect("finished")).expect("found");
    assert!(!found.to_features && found.remark().contains("decide by the image without any weight"));
    assert_eq!(found.nodes, DETECTOR);
}

#[test]
fn an_image_that_is_only_moved_or_averaged_beside_the_trunk_decides_nothing() {
    // ESPNet and ENet put a smaller image beside the maps of the stem.
    let mut b = GraphBuilder::new();
    let x = b.input("x", Shape::batched(&[3, 8, 8])).expect("input");
    let window = Window { kernel: [2, 2], stride: [2, 2], pads: [0; 4], dilation: [1, 1] };
    let maps = conv(&mut b, "stem", x, 3, 4);
    let maps = b.add("maxima", Op::MaxPool(window), &[maps]).expect("pool");
    let small = b.add("small", Op::MaxPool(window), &[x]).expect("pool");
    let both = b.add("both", Op::Concat { axis: 1 }, &[maps, small]).expect("joined");
    let last = conv(&mut b, "last", both, 7, 4);
    assert_eq!(find(&b.clone().finish(last).expect("finished")), None);
    // Up to the features it is a way around all weights.
    let found = find(&b.finish(both).expect("finished")).expect("found");
    assert_eq!((found.nodes, found.to_features), (vec!["small".to_owned(), "both".to_owned()], true));
}

#[test]
fn norms_and_scales_on_the_way_do_not_hide_it() {
    // Fresh scales are 1 and fresh shifts 0: what passes them stays what it was.
    let found = find(&network(|b, x, at, block| {
        if block == 0 {
            return at;
        }
        let scale = b.param("hidden.scale", &[3], Role::Scale);
        let shift = b.param("hidden.shift", &[3], Role::Shift);
        let [mean_of, variance] = [Role::RunningMean, Role::RunningVar].map(|role| b.param(&format!("{role:?}"), &[3], role));
        let inputs = [x, scale, shift, mean_of, variance];
        let norm = b.add("norm", Op::BatchNorm { eps: 1e-5, momentum: 0.1 }, &inputs).expect("norm");
        let grey = b.add("grey", Op::Reduce { kind: Reduce::Mean, axes: vec![1], keep: true }, &[norm]).expect("mean");
        binary(b, "joined", Binary::Add, at, grey)
    }));
    assert_eq!(found.expect("found").nodes, ["norm", "grey", "joined"]);
}

#[test]
fn a_branch_with_weights_of_its_own_is_an_ordinary_one() {
    // From scratch these are drawn anew, and the branch looks for something else.
    let found = find(&network(|b, x, at, block| {
        if block == 0 {
            return at;
        }
        let own = conv(b, "branch", x, 3, 4);
        let own = unary(b, "branch.relu", Unary::Relu, own);
        binary(b, "joined", Binary::Add, at, own)
    }));
    assert_eq!(found, None);
}

#[test]
fn many_nodes_are_shown_by_the_first_and_the_last() {
    let bypass = |n: usize| Bypass { nodes: (0..n).map(|i| format!("n{i}")).collect(), to_features: true };
    assert!(bypass(12).shown().ends_with("`n10`, `n11`") && !bypass(12).shown().contains("more"));
    assert!(bypass(40).shown().ends_with("`n10` and 28 more up to `n39`"), "{}", bypass(40).shown());
}
