use prost::Message;

use super::super::pb::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, data_type};
use super::super::tests::build::{classifier, model, node, read, refusal, tensor};
use super::super::{load_until, survey};
use super::nodes;
use crate::registry::ExternalData;

const SIZE: Option<[usize; 2]> = Some([2, 2]);

fn drawn(model: &ModelProto, wanted: &str) -> Vec<String> {
    nodes(model.graph.as_ref().expect("a graph"), &model.functions, &ExternalData::new(), &[wanted])
}

/// A node whose body is a graph of these.
fn with_body(mut node: NodeProto, body: Vec<NodeProto>) -> NodeProto {
    let graph = GraphProto { node: body, ..Default::default() };
    node.attribute.push(AttributeProto { name: "body".into(), g: Some(Box::new(graph)), ..Default::default() });
    node
}

#[test]
fn every_operator_that_draws_is_refused_by_the_name_of_its_node() {
    for op in super::DRAWS {
        let told = refusal(&model(vec![node(op, "x", "noise"), node("Add", "x noise", "y")], vec![]));
        let start = format!("the network draws random numbers ({op} in `node_noise`): it computes another thing at every run");
        assert!(told.starts_with(&start) && told.contains("--features"), "{told}");
    }
    // All of them are named.
    let twice = vec![node("RandomNormalLike", "x", "a"), node("RandomUniform", "", "b"), node("Add", "a b", "y")];
    assert!(refusal(&model(twice, vec![])).contains("(RandomNormalLike in `node_a`; RandomUniform in `node_b`)"));
}

#[test]
fn dropout_draws_unless_it_is_known_to_be_off() {
    let truth = |value: u8| {
        let mut mode = tensor("mode", &[], &[]);
        (mode.data_type, mode.raw_data) = (Some(9), Some(vec![value]));
        mode
    };
    let of =
        |inputs: &str, mode: u8| drawn(&model(vec![node("Dropout", inputs, "y")], vec![tensor("rate", &[], &[0.5]), truth(mode)]), "y");
    assert_eq!(of("x rate mode", 1), ["Dropout in `node_y`"]);
    assert!(of("x rate mode", 0).is_empty() && of("x rate", 1).is_empty() && of("x", 1).is_empty());
    // What is computed from the image may be anything.
    let computed = model(vec![node("Not", "x", "m"), node("Dropout", "x rate m", "y")], vec![tensor("rate", &[], &[0.5])]);
    assert_eq!(drawn(&computed, "y"), ["Dropout in `node_y`"]);
}

#[test]
fn whether_a_network_is_trained_is_read_beside_the_file_too() {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    let at = |offset: &str| TensorProto {
        name: "mode".into(),
        data_type: Some(data_type::BOOL),
        data_location: Some(1),
        // An empty field beside the place is not the value.
        raw_data: Some(Vec::new()),
        external_data: vec![entry("location", "weights.bin"), entry("offset", offset), entry("length", "1")],
        ..Default::default()
    };
    let network = |mode: TensorProto| model(vec![node("Dropout", "x rate mode", "y")], vec![tensor("rate", &[], &[0.5]), mode]);
    let external: ExternalData = [("weights.bin".to_owned(), vec![7, 0, 1])].into();
    let told = |model: &ModelProto, external: &ExternalData| nodes(model.graph.as_ref().expect("a graph"), &[], external, &["y"]);
    let off = network(at("1"));
    assert!(told(&off, &external).is_empty());
    let bytes = off.encode_to_vec();
    assert!(load_until(&bytes, &external, SIZE, "y").is_ok());
    assert!(survey(&bytes, &external, SIZE, Some("y")).expect("described").drawn.is_empty());
    // On, behind the end of the file, and in a file that is not there.
    for (mode, external) in [(at("2"), &external), (at("3"), &external), (at("1"), &ExternalData::new())] {
        assert_eq!(told(&network(mode), external), ["Dropout in `node_y`"]);
    }
    let constant = AttributeProto { name: "value".into(), t: Some(at("1")), ..Default::default() };
    let constant = NodeProto { attribute: vec![constant], ..node("Constant", "", "mode") };
    let held = model(vec![constant, node("Dropout", "x rate mode", "y")], vec![tensor("rate", &[], &[0.5])]);
    assert!(told(&held, &external).is_empty());
}

#[test]
fn what_the_features_do_not_depend_on_may_draw() {
    let mut noisy = classifier();
    let graph = noisy.graph.as_mut().expect("a graph");
    graph.node.push(node("RandomUniformLike", "flat", "noise"));
    assert!(read(&noisy).is_ok());
    // A head that draws behind features which the user names.
    let head = vec![node("Relu", "x", "features"), node("RandomNormalLike", "features", "noise"), node("Add", "features noise", "y")];
    let bytes = model(head, vec![]).encode_to_vec();
    assert!(load_until(&bytes, &ExternalData::new(), SIZE, "features").is_ok());
    assert!(load_until(&bytes, &ExternalData::new(), SIZE, "y").is_err());
    let drawn = |name: &str| survey(&bytes, &ExternalData::new(), SIZE, Some(name)).expect("described").drawn;
    assert!(drawn("features").is_empty());
    assert_eq!(drawn("y"), ["RandomNormalLike in `node_noise`"]);
}

#[test]
fn branches_loops_and_operators_of_the_file_itself_are_looked_into() {
    let inner = vec![node("RandomNormalLike", "x", "n"), node("Add", "x n", "z")];
    let branch = model(vec![with_body(node("If", "c", "y"), inner.clone())], vec![]);
    assert_eq!(drawn(&branch, "y"), ["RandomNormalLike in `node_n`, within If `node_y`"]);
    let nested = model(vec![with_body(node("Loop", "c", "y"), vec![with_body(node("If", "d", "z"), inner.clone())])], vec![]);
    assert_eq!(drawn(&nested, "y"), ["RandomNormalLike in `node_n`, within Loop `node_y`"]);
    // A body reads what is computed around it.
    let around = model(vec![node("RandomNormalLike", "x", "n"), with_body(node("If", "c", "y"), vec![node("Relu", "n", "z")])], vec![]);
    assert_eq!(drawn(&around, "y"), ["RandomNormalLike in `node_n`"]);

    let function = |name: &str, node: Vec<NodeProto>| FunctionProto { name: name.into(), domain: "own".into(), node };
    let call = |op: &str, out: &str| NodeProto { domain: "own".into(), ..node(op, "x", out) };
    let mut defined = model(vec![call("Outer", "y"), call("Quiet", "q")], vec![]);
    defined.functions = vec![
        function("Outer", vec![call("Inner", "a"), call("Outer", "b")]),
        function("Inner", inner),
        function("Quiet", vec![node("Relu", "x", "y")]),
    ];
    assert_eq!(drawn(&defined, "y"), ["Outer in `node_y`"]);
    assert!(drawn(&defined, "q").is_empty());
}
