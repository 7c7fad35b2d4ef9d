//! Files that are wrong, one mistake each.

use prost::Message;
use safetensors::SafeTensors;

use super::super::pb::{NodeProto, OperatorSetIdProto, TensorProto};
use super::build::{classifier, integers, model, node, read, refusal, refused, tensor, value, with_int, with_ints};
use crate::model::onnx::load;
use crate::model::{LoadOptions, Model};
use crate::registry::{self, ExternalData};

fn with_weight(weight: TensorProto) -> String {
    refused_graph(|graph| graph.initializer[0] = weight)
}

fn refused_graph(change: impl FnOnce(&mut super::super::pb::GraphProto)) -> String {
    let mut model = classifier();
    change(model.graph.as_mut().expect("a graph"));
    refusal(&model)
}

#[test]
fn the_classifier_that_the_mistakes_are_made_in_is_right() {
    assert_eq!(read(&classifier()).expect("read").graph.slots().len(), 2);
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let bytes = classifier().encode_to_vec();
    for end in 0..bytes.len() {
        assert!(load(&bytes[..end], &ExternalData::new()).is_err(), "{end} of {} bytes", bytes.len());
    }
}

#[test]
fn raw_data_shorter_than_the_shape() {
    let told = with_weight(tensor("w", &[12, 2], &[1.0; 23]));
    assert_eq!(told, "tensor `w`: its shape [12, 2] needs 24 elements of 4 bytes, it has 92 bytes");
}

#[test]
fn fewer_numbers_than_the_shape() {
    let told = with_weight(TensorProto { raw_data: None, float_data: vec![1.0; 5], ..tensor("w", &[12, 2], &[]) });
    assert_eq!(told, "tensor `w`: its shape needs 24 elements, it has 5");
}

#[test]
fn a_negative_dimension() {
    assert_eq!(with_weight(tensor("w", &[-12, -2], &[1.0; 24])), "tensor `w`: dimension -12 is negative");
}

#[test]
fn dimensions_whose_product_overflows() {
    let told = with_weight(tensor("w", &[1 << 40, 1 << 40], &[1.0; 24]));
    assert!(told.contains("tensor `w`") && told.contains("overflows"), "{told}");
    let told = with_weight(tensor("w", &[1 << 40, 1 << 40, 0], &[]));
    assert!(told.contains("overflows"), "{told}");
}

#[test]
fn more_axes_than_any_tensor_has() {
    let told = with_weight(tensor("w", &[1; 1000], &[1.0]));
    assert!(told.contains("1000 axes are more than the 16 supported"), "{told}");
}

#[test]
fn an_element_type_of_strings() {
    let told = with_weight(TensorProto { data_type: Some(8), ..tensor("w", &[12, 2], &[1.0; 24]) });
    assert!(told.contains("tensor `w`") && told.contains("(8) is not supported"), "{told}");
}

#[test]
fn weights_that_are_not_numbers_are_named_on_loading() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.onnx");
    for damage in [f32::NAN, f32::INFINITY] {
        let mut model = classifier();
        model.graph.as_mut().expect("a graph").initializer[1] = tensor("b", &[2], &[0.0, damage]);
        std::fs::write(&path, model.encode_to_vec()).expect("written");
        let error = Model::load(registry::identify(&path).expect("identified"), &LoadOptions::default()).expect_err("damaged");
        let told = error.to_string();
        assert!(told.contains("m.onnx: `b` holds values that are not finite numbers"), "{told}");
    }
}

/// NaN bounds bound nothing in one program and make everything NaN in another.
#[test]
fn constants_that_are_no_numbers_are_named_with_their_node() {
    let constant = |value: f32| tensor("c", &[], &[value]);
    let bounded = |inputs: [&str; 3]| NodeProto { input: inputs.map(str::to_owned).to_vec(), ..node("Clip", "", "y") };
    let nodes = [
        bounded(["x", "c", ""]),
        bounded(["x", "", "c"]),
        node("Max", "x c", "y"),
        node("Min", "c x", "y"),
        node("Add", "x c", "y"),
        node("Div", "c x", "y"),
        node("Pow", "x c", "y"),
        node("PRelu", "x c", "y"),
    ];
    for node in nodes {
        let model = |value: f32| model(vec![node.clone()], vec![constant(value)]);
        let error = load(&model(f32::NAN).encode_to_vec(), &ExternalData::new()).expect_err("NaN");
        assert_eq!(error.to_string(), format!("node `node_y` ({}): its input `c` is NaN, not a number to compute with", node.op_type));
        // No other program is asked what it makes of it.
        assert!(!error.is_about_operators());
        assert!(read(&model(2.0)).is_ok(), "{}", node.op_type);
    }
    // Nothing below, as masks have it.
    assert!(read(&model(vec![bounded(["x", "c", ""])], vec![constant(f32::NEG_INFINITY)])).is_ok());
    // Made of constants by the file itself.
    let made = vec![node("Div", "zero zero", "nan"), node("Mul", "x nan", "y")];
    let told = refusal(&model(made, vec![tensor("zero", &[], &[0.0])]));
    assert_eq!(told, "node `node_y` (Mul): its input `nan` is NaN, not a number to compute with");
    // One that is not chosen enters nothing.
    let chosen = vec![node("Where", "yes two nan", "c"), node("Mul", "x c", "y")];
    let yes = TensorProto { data_type: Some(9), raw_data: Some(vec![1]), ..tensor("yes", &[], &[]) };
    assert!(read(&model(chosen, vec![yes, tensor("two", &[], &[2.0]), tensor("nan", &[], &[f32::NAN])])).is_ok());
}

#[test]
fn a_cycle() {
    let nodes = vec![node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")];
    refused(nodes, vec![], "node `node_a` (Add) needs its own output: the graph has a cycle");
}

#[test]
fn a_node_that_reads_itself() {
    refused(vec![node("Add", "x y", "y")], vec![], "the graph has a cycle");
}

#[test]
fn a_tensor_that_nothing_computes() {
    refused(vec![node("Add", "x absent", "y")], vec![], "node `node_y` (Add) reads `absent`, which nothing computes");
}

#[test]
fn an_output_that_nothing_computes() {
    refused(vec![node("Relu", "x", "z")], vec![], "output `y`");
}

#[test]
fn an_output_that_does_not_depend_on_the_input() {
    refused(vec![node("Neg", "c", "y")], vec![tensor("c", &[1, 2], &[1.0, 2.0])], "output `y` does not depend on the input");
}

#[test]
fn one_tensor_written_by_two_nodes() {
    refused(vec![node("Relu", "x", "y"), node("Neg", "x", "y")], vec![], "tensor `y` is computed twice");
    refused(vec![node("Relu", "x", "x")], vec![], "tensor `x` is computed twice");
    refused(vec![node("Relu", "x", "y")], vec![tensor("y", &[], &[1.0])], "initializer `y` is also computed");
    let twice = vec![tensor("c", &[], &[1.0]), tensor("c", &[], &[2.0])];
    refused(vec![node("Add", "x c", "y")], twice, "initializer `c` is there twice");
}

#[test]
fn all_unknown_operators_are_listed_with_their_nodes() {
    let foreign = NodeProto { domain: "com.example".into(), ..node("Relu", "c", "d") };
    let nodes = vec![node("Rope", "x", "a"), node("Det", "a", "b"), node("Rope", "b", "c"), foreign, node("Loop", "d", "y")];
    let told = refusal(&model(nodes, vec![]));
    assert_eq!(
        told,
        "operators that are not supported: Det (node_b); Loop, control flow (node_y); Rope (node_a, node_c); com.example.Relu (node_d)"
    );
}

#[test]
fn decisions_on_what_is_in_the_image_are_listed_too() {
    let nodes = vec![node("Greater", "x c", "m"), node("Where", "m x c", "a"), node("Where", "m a c", "y")];
    let told = refusal(&model(nodes, vec![tensor("c", &[], &[0.0])]));
    let where_it_is = "Greater, on what depends on the image (node_m); Where, on what depends on the image (node_a, node_y)";
    assert_eq!(told, format!("operators that are not supported: {where_it_is}"));
}

#[test]
fn networks_that_leave_the_floats() {
    let cast = |to: i64| vec![with_int(node("Cast", "x", "a"), "to", to), node("Relu", "a", "y")];
    assert!(read(&model(cast(10), vec![])).is_ok(), "half precision is computed in single");
    refused(cast(7), vec![], "node `node_a` (Cast): it turns the network's numbers into type 7");
}

#[test]
fn networks_exported_for_training() {
    let mode = TensorProto { data_type: Some(9), raw_data: Some(vec![1]), ..tensor("mode", &[], &[]) };
    refused(vec![node("Dropout", "x rate mode", "y")], vec![tensor("rate", &[], &[0.5]), mode], "Dropout in `node_y`");
    let norm = with_int(node("BatchNormalization", "x c c c c", "y"), "training_mode", 1);
    refused(vec![norm], vec![tensor("c", &[3], &[1.0; 3])], "model.eval()");
    // Before operator set 14 statistics that leave the norm say so.
    for (outputs, trains) in [("y mean variance", true), ("y", false)] {
        let mut model = model(vec![node("BatchNormalization", "x c c c c", outputs)], vec![tensor("c", &[3], &[1.0; 3])]);
        model.opset_import[0].version = Some(9);
        assert_eq!(read(&model).is_err_and(|told| told.contains("model.eval()")), trains, "{outputs}");
    }
}

#[test]
fn quantised_weights_are_named_as_such() {
    let nodes = vec![node("DequantizeLinear", "q s z", "w"), node("ConvInteger", "x w", "a"), node("QLinearConv", "a", "y")];
    let weights = TensorProto { data_type: Some(3), raw_data: Some(vec![1, 2]), ..tensor("q", &[2], &[]) };
    let told = refusal(&model(nodes, vec![weights, tensor("s", &[], &[0.1]), tensor("z", &[], &[0.0])]));
    for op in ["DequantizeLinear, quantised (node_w)", "ConvInteger, quantised", "QLinearConv, quantised"] {
        assert!(told.contains(op), "{told}");
    }
}

#[test]
fn operator_sets_of_another_time() {
    for version in [None, Some(-1), Some(0), Some(6), Some(27), Some(i64::MAX)] {
        let mut model = classifier();
        model.opset_import = vec![OperatorSetIdProto { domain: String::new(), version }];
        let told = refusal(&model);
        assert!(told.contains("operator set") && told.contains("opset 17"), "{told}");
    }
}

#[test]
fn no_graph_at_all() {
    let mut model = classifier();
    model.graph = None;
    assert!(refusal(&model).contains("no graph"));
}

#[test]
fn no_input() {
    assert_eq!(refused_graph(|graph| graph.input.clear()), "the graph has no input");
    // An initializer is none, though older files list it.
    assert_eq!(refused_graph(|graph| graph.input = vec![value("w", &[12, 2])]), "the graph has no input");
}

#[test]
fn two_inputs() {
    let told = refused_graph(|graph| graph.input.push(value("mask", &[0, 3, 2, 2])));
    assert!(told.contains("several inputs (`x`, `mask`)"), "{told}");
}

#[test]
fn an_input_that_is_no_image() {
    let told = refused_graph(|graph| graph.input = vec![value("x", &[0, 12])]);
    assert!(told.contains("input `x` has 2 axes"), "{told}");
    let told = refused_graph(|graph| graph.input = vec![value("x", &[0, 5, 2, 2])]);
    assert!(told.contains("5 channels"), "{told}");
}

#[test]
fn no_output() {
    assert_eq!(refused_graph(|graph| graph.output.clear()), "the graph has no output");
}

#[test]
fn reductions_over_the_batch() {
    let over = |op: &str, axes: &[i64]| vec![with_ints(node(op, "x", "y"), "axes", axes)];
    for op in ["ReduceMean", "ReduceMax", "ReduceL2"] {
        refused(over(op, &[0]), vec![], "over the batch, which would mix images");
        refused(over(op, &[]), vec![], "over the batch, which would mix images");
    }
    refused(vec![with_int(node("Softmax", "x", "y"), "axis", 0)], vec![], "over the batch");
    refused(vec![with_int(node("LogSoftmax", "x", "y"), "axis", 0)], vec![], "over the batch");
}

#[test]
fn images_multiplied_with_each_other() {
    let flipped = || vec![node("Flatten", "x", "flat"), node("Transpose", "flat", "flipped")];
    refused([flipped(), vec![node("MatMul", "flipped flat", "y")]].concat(), vec![], "over the batch");
    refused([flipped(), vec![node("MatMul", "flat flipped", "y")]].concat(), vec![], "with each other");
    // Fewer numbers than a batch may have images: told apart by being the batch, not by size.
    refused([flipped(), vec![node("Reshape", "flipped to", "y")]].concat(), vec![integers("to", &[-1, 12])], "other images");
}

/// The first tokens of all images, then their second ones: only what takes row by row may read them, until the axes are back.
#[test]
fn rows_of_tokens_that_lie_token_by_token() {
    let tokens = || integers("tokens", &[0, -1, 2]);
    let swapped = || with_ints(node("Transpose", "held", "swapped"), "perm", &[1, 0, 2]);
    let rows = || vec![node("Reshape", "x tokens", "held"), swapped(), node("Reshape", "swapped to", "rows")];
    let to = || integers("to", &[-1, 2]);
    let said = |more: Vec<NodeProto>, held: Vec<TensorProto>| {
        refused([rows(), more].concat(), [vec![tokens(), to()], held].concat(), "other images");
    };
    said(vec![node("Identity", "rows", "y")], vec![]);
    said(vec![node("Reshape", "rows again", "y")], vec![integers("again", &[-1, 6, 2])]);
    said(vec![node("Reshape", "rows again", "y")], vec![integers("again", &[3, -1, 2])]);
    said(vec![node("Reshape", "rows again", "y")], vec![integers("again", &[-1, 4])]);
    said(vec![with_int(node("Softmax", "rows", "y"), "axis", 0)], vec![]);
    said(vec![node("ReduceMean", "rows axes", "y")], vec![integers("axes", &[1])]);
    said(vec![node("Transpose", "rows", "y")], vec![]);
    said(vec![node("Reshape", "x flat", "image_rows"), node("Add", "rows image_rows", "y")], vec![integers("flat", &[-1, 2])]);
}

#[test]
fn a_batch_cut_padded_or_picked_from() {
    let slice = vec![node("Slice", "x from to axis", "y")];
    refused(slice, vec![integers("from", &[1]), integers("to", &[2]), integers("axis", &[0])], "along the batch");
    refused(vec![node("Gather", "x at", "y")], vec![integers("at", &[0])], "picks from the batch");
    refused(vec![node("Pad", "x pads", "y")], vec![integers("pads", &[1, 0, 0, 0, 0, 0, 0, 0])], "depends on the batch");
    refused(vec![with_int(node("Concat", "x x", "y"), "axis", 0)], vec![], "depends on the batch");
    refused(vec![with_int(node("Split", "x", "y z"), "axis", 0)], vec![], "splits the batch");
}

/// Files with one mistake each, and what ONNX's own checker and ONNX Runtime say of them (`invalid.py`): what they refuse is refused here by
/// node and attribute, whatever else can be read.
#[test]
fn files_that_break_the_rules_of_onnx() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx/invalid.safetensors");
    let bytes = std::fs::read(path).expect("golden file");
    let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("safetensors");
    let verdicts = metadata.metadata().clone().expect("verdicts");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    assert_eq!((verdicts.len(), file.len()), (32, 32));
    // Read by both, each in its own way.
    let unsure = ["flag_of_two", "two_operator_sets", "two_operator_sets_by_two_names"];
    for (name, verdict) in verdicts {
        let found = load(file.tensor(&format!("{name}/model")).expect("a model").data(), &ExternalData::new());
        let refused = verdict == "refused" || unsure.contains(&name.as_str());
        assert_eq!(found.is_err(), refused, "{name}: {:?}", found.err().map(|error| error.to_string()));
        if let Err(error) = found {
            // No other executor is asked what such a file means, but for words that another version may know.
            assert_eq!(error.is_about_operators(), name == "gelu_capitals", "{name}: {error}");
            let told = error.to_string();
            let names_it = told.starts_with("node `broken` (") && told.contains('`') || told.contains("default operator set 2 times (");
            assert!(names_it, "{name}: {told}");
        }
    }
}

#[test]
fn a_kernel_shape_that_is_not_the_weights() {
    let conv = |kernel: &[i64]| vec![with_ints(node("Conv", "x w", "y"), "kernel_shape", kernel)];
    let weight = || vec![tensor("w", &[2, 3, 2, 2], &[1.0; 24])];
    refused(conv(&[5, 5]), weight(), "node `node_y` (Conv): `kernel_shape` is [5, 5], and its weight has windows of 2 by 2");
    assert!(read(&model(conv(&[2, 2]), weight())).is_ok());
}

/// What looks like the guard of an attention and computes something else is not read as one.
#[test]
fn choices_that_guard_no_softmax() {
    let constant = |value: f32| vec![tensor("c", &[], &[value])];
    let guard = |of: &str| vec![node("Softmax", "x", "s"), node("IsNaN", of, "n"), node("Where", "n c s", "y")];
    assert!(read(&model(guard("s"), constant(0.0))).is_ok());
    let where_it_is = "node `node_y` (Where): it takes something else than a single 0";
    refused(guard("s"), constant(1.0), where_it_is);
    refused(guard("s"), vec![tensor("c", &[2], &[0.0; 2])], where_it_is);
    let depends = "IsNaN, on what depends on the image (node_n); Where, on what depends on the image (node_y)";
    // Of another tensor, of no softmax, and read elsewhere too.
    refused(guard("x"), constant(0.0), depends);
    refused(vec![node("Relu", "x", "s"), node("IsNaN", "s", "n"), node("Where", "n c s", "y")], constant(0.0), depends);
    let more = vec![with_int(node("Cast", "n", "k"), "to", 1), node("Add", "k t", "y")];
    let read_twice = [guard("s"), more].concat().into_iter().map(|mut node| {
        if node.op_type == "Where" {
            (node.name, node.output) = ("node_t".into(), vec!["t".into()]);
        }
        node
    });
    refused(
        read_twice.collect(),
        constant(0.0),
        "IsNaN, on what depends on the image (node_n); Where, on what depends on the image (node_t)",
    );
}

#[test]
fn regions_that_do_not_fit_or_are_filled_twice() {
    let filled = |at: TensorProto, parts: TensorProto| {
        let nodes = vec![node("ScatterND", "mask at parts", "m"), node("Add", "x m", "y")];
        (nodes, vec![tensor("mask", &[2, 2], &[0.0; 4]), at, parts])
    };
    let places = |dims: &[i64], at: &[i64]| TensorProto { dims: dims.to_vec(), ..integers("at", at) };
    let (nodes, held) = filled(places(&[2, 1], &[0, -1]), tensor("parts", &[2, 2], &[1.0; 4]));
    assert!(read(&model(nodes.clone(), held.clone())).is_ok());
    let mut added = nodes;
    added[0].attribute.push(super::super::pb::AttributeProto {
        name: "reduction".into(),
        s: Some(b"add".to_vec()),
        r#type: Some(super::super::pb::attribute_type::STRING),
        ..Default::default()
    });
    refused(added, held, "node `node_m` (ScatterND): `reduction` is `add`");
    for (at, parts, reason) in [
        (places(&[2, 1], &[0, 0]), tensor("parts", &[2, 2], &[1.0; 4]), "it replaces a part twice"),
        (places(&[2, 1], &[1, -1]), tensor("parts", &[2, 2], &[1.0; 4]), "it replaces a part twice"),
        (places(&[1, 1], &[2]), tensor("parts", &[1, 2], &[1.0; 2]), "index 2 is outside an axis of 2"),
        (places(&[1, 2], &[0, -3]), tensor("parts", &[1], &[1.0]), "index -3 is outside an axis of 2"),
        (places(&[1, 3], &[0, 0, 0]), tensor("parts", &[1], &[1.0]), "its indices name 3 axes of 2"),
        (places(&[1, 0], &[]), tensor("parts", &[1, 2, 2], &[1.0; 4]), "its indices name 0 axes of 2"),
        (places(&[], &[0]), tensor("parts", &[], &[1.0]), "its indices have no axes"),
        (places(&[1, 1], &[0]), tensor("parts", &[2], &[1.0; 2]), "it puts parts of [2] where [1, 2] are needed"),
    ] {
        let (nodes, held) = filled(at, parts);
        refused(nodes, held, &format!("node `node_m` (ScatterND): {reason}"));
    }
}
