//! Sizes and depths that a file of a few bytes may ask for.

use prost::Message;

use super::super::pb::NodeProto;
use super::build::{integers, model, node, read, refused, tensor, with_int, with_ints};
use crate::model::{LoadOptions, Model};
use crate::registry;

const HUGE: i64 = 1 << 40;

#[test]
fn a_reshape_to_more_than_there_is() {
    for to in [&[-1, HUGE][..], &[0, HUGE, HUGE, HUGE], &[HUGE, -1], &[i64::MIN, 12], &[i64::MAX, i64::MAX], &[1; 100]] {
        refused(vec![node("Reshape", "x to", "y")], vec![integers("to", to)], "node `node_y` (Reshape)");
        refused(vec![node("Reshape", "c to", "d"), node("Add", "x d", "y")], vec![integers("to", to), tensor("c", &[1], &[1.0])], "node_d");
    }
}

#[test]
fn an_expand_to_more_than_memory() {
    for to in [&[HUGE, 1, 3, 2, 2][..], &[HUGE, HUGE, HUGE, 1, 1, 1, 1], &[1 << 20, 1 << 20, 1, 1, 1, 1], &[1; 100]] {
        refused(vec![node("Expand", "x to", "y")], vec![integers("to", to)], "node `node_y` (Expand)");
        refused(vec![node("Expand", "c to", "d"), node("Add", "x d", "y")], vec![integers("to", to), tensor("c", &[1], &[1.0])], "node_d");
    }
}

#[test]
fn a_tile_to_more_than_memory() {
    for each in [HUGE, 1 << 14, i64::MAX, 0, -1] {
        refused(vec![node("Tile", "x to", "y")], vec![integers("to", &[1, each, each, each])], "node `node_y` (Tile)");
        let nodes = vec![node("Tile", "c to", "d"), node("Add", "x d", "y")];
        refused(nodes, vec![integers("to", &[each, each]), tensor("c", &[2, 2], &[1.0; 4])], "node_d");
    }
}

#[test]
fn a_pad_to_more_than_memory() {
    let pads = |each: i64| integers("pads", &[0, 0, each, each, 0, 0, each, each]);
    for each in [HUGE, (1 << 20) - 1, i64::MAX, i64::MIN, -1] {
        refused(vec![node("Pad", "x pads", "y")], vec![pads(each)], "node `node_y` (Pad)");
    }
}

#[test]
fn constants_of_more_than_memory() {
    for shape in [&[HUGE][..], &[HUGE, HUGE], &[i64::MAX, i64::MAX, i64::MAX], &[0, HUGE, HUGE], &[-1], &[1; 100]] {
        let nodes = vec![node("ConstantOfShape", "s", "c"), node("Add", "x c", "y")];
        refused(nodes, vec![integers("s", shape)], "node `node_c` (ConstantOfShape)");
    }
    for (limit, delta) in [(1e30, 1.0), (1e30, 1e-30), (1.0, 1e-30), (1.0, 0.0), (f32::NAN, 1.0)] {
        let nodes = vec![node("Range", "zero limit delta", "c"), node("Add", "x c", "y")];
        let numbers = [("zero", 0.0), ("limit", limit), ("delta", delta)];
        refused(nodes, numbers.map(|(name, v)| tensor(name, &[], &[v])).to_vec(), "node `node_c` (Range)");
    }
    // Without a region of interest.
    let resize = NodeProto { input: vec!["c".into(), String::new(), "s".into()], ..node("Resize", "", "d") };
    let nodes = vec![resize, node("Add", "x d", "y")];
    refused(nodes, vec![tensor("c", &[1, 1], &[1.0]), tensor("s", &[2], &[1e9, 1e9])], "node `node_d` (Resize)");
}

#[test]
fn constants_that_fit_one_by_one_but_not_together() {
    let mut nodes = vec![node("ConstantOfShape", "s", "c0")];
    nodes.extend((0..100).map(|i| node("Neg", &format!("c{i}"), &format!("c{}", i + 1))));
    nodes.push(node("Add", "x c100", "y"));
    refused(nodes, vec![integers("s", &[1 << 26])], "the constants of this file expand to more than");
}

#[test]
fn sizes_that_double_with_every_node() {
    let mut nodes = vec![with_int(node("Concat", "x x", "a0"), "axis", 1)];
    for i in 0..60 {
        nodes.push(with_int(node("Concat", &format!("a{i} a{i}"), &format!("a{}", i + 1)), "axis", 1));
    }
    nodes.push(node("Relu", "a60", "y"));
    refused(nodes, vec![], "numbers per image");
}

#[test]
fn windows_of_any_size() {
    for kernel in [&[HUGE, HUGE][..], &[i64::MAX, 1], &[0, 1], &[-1, 1], &[65_535, 65_535]] {
        refused(vec![with_ints(node("MaxPool", "x", "y"), "kernel_shape", kernel)], vec![], "node `node_y` (MaxPool)");
    }
    let window = |name: &str, values: &[i64]| with_ints(with_ints(node("MaxPool", "x", "y"), "kernel_shape", &[2, 2]), name, values);
    for (name, values) in
        [("strides", vec![0, 1]), ("strides", vec![i64::MAX, 1]), ("dilations", vec![i64::MAX, 1]), ("pads", vec![0, 0, i64::MAX, 0])]
    {
        refused(vec![window(name, &values)], vec![], "node `node_y` (MaxPool)");
    }
    let nothing = tensor("w", &[0, 3, 1 << 60, 1], &[]);
    refused(vec![node("Conv", "x w", "y")], vec![nothing], "node `node_y` (Conv)");
}

#[test]
fn a_chain_of_100_000_nodes_does_not_overflow_the_stack() {
    const NODES: usize = 100_000;
    let name = |i: usize| {
        if i == 0 {
            "x".to_owned()
        } else if i == NODES {
            "y".to_owned()
        } else {
            format!("t{i}")
        }
    };
    let mut nodes: Vec<NodeProto> = (0..NODES).map(|i| node("Relu", &name(i), &name(i + 1))).collect();
    assert_eq!(read(&model(nodes.clone(), vec![])).expect("read").graph.nodes().len(), NODES + 1);
    // Listed the wrong way round, and through all of a load.
    nodes.reverse();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep.onnx");
    std::fs::write(&path, model(nodes, vec![]).encode_to_vec()).expect("written");
    let reference = || registry::identify(&path).expect("identified");
    let features = LoadOptions { features: Some("y".into()), ..LoadOptions::default() };
    assert_eq!(Model::load(reference(), &features).expect("loaded").feature_layer.width, 3);
    // Of three numbers, which nobody calls features.
    let told = Model::load(reference(), &LoadOptions::default()).expect_err("refused").to_string();
    assert!(told.contains("3 features: too few"), "{told}");
}

#[test]
fn a_window_larger_than_the_image() {
    for op in ["AveragePool", "MaxPool"] {
        let pool = |side: i64| with_ints(node(op, "x", "pooled"), "kernel_shape", &[side, 2]);
        let read = |side: i64| read(&model(vec![pool(side), node("Flatten", "pooled", "y")], Vec::new()));
        assert!(read(2).is_ok(), "{op}");
        assert!(read(3).is_err_and(|told| told.contains("the window is larger than the image")), "{op}");
    }
}
