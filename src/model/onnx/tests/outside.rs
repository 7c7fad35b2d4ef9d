//! Weights kept in files beside the model.

use std::path::Path;

use prost::Message;

use super::super::pb::{AttributeProto, StringStringEntryProto, TensorProto, attribute_type};
use super::build::{classifier, node, read};
use crate::model::onnx::load;
use crate::model::{LoadOptions, Model};
use crate::registry::{self, ExternalData};

/// The classifier with the weight `w` (96 bytes) at a place outside.
fn write(folder: &Path, entries: &[(&str, &str)]) {
    let mut model = classifier();
    let weight = &mut model.graph.as_mut().expect("a graph").initializer[0];
    let external_data = entries.iter().map(|&(key, value)| StringStringEntryProto { key: key.into(), value: value.into() }).collect();
    *weight = TensorProto { raw_data: None, external_data, data_location: Some(1), ..weight.clone() };
    std::fs::write(folder.join("m.onnx"), model.encode_to_vec()).expect("written");
}

fn weight_bytes() -> Vec<u8> {
    classifier().graph.expect("a graph").initializer[0].raw_data.clone().expect("numbers")
}

fn open(folder: &Path) -> Result<Model, String> {
    let reference = registry::identify(&folder.join("m.onnx")).map_err(|e| e.to_string())?;
    Model::load(reference, &LoadOptions::default()).map_err(|e| e.to_string())
}

#[track_caller]
fn refused(entries: &[(&str, &str)], reason: &str) {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("model");
    std::fs::create_dir(&folder).expect("made");
    for place in [outer.path().join("secret"), folder.join("w.bin")] {
        std::fs::write(place, weight_bytes()).expect("written");
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", folder.join("link")).expect("linked");
    let absolute = outer.path().join("secret").display().to_string();
    let entries: Vec<(&str, &str)> = entries.iter().map(|&(k, v)| (k, if v == "ABSOLUTE" { absolute.as_str() } else { v })).collect();
    write(&folder, &entries);
    let told = open(&folder).expect_err("refused");
    assert!(told.contains(reason), "`{told}` does not say `{reason}`");
}

#[test]
fn weights_beside_the_model_are_the_same_network() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("made");
    std::fs::write(folder.path().join("data/w.bin"), [&[7; 64][..], &weight_bytes()].concat()).expect("written");
    for length in [&[("length", "96")][..], &[]] {
        write(folder.path(), &[&[("location", "data/w.bin"), ("offset", "64")], length].concat());
        assert_eq!(open(folder.path()).expect("loaded").own().expect("a network").params, read(&classifier()).expect("read").params);
    }
}

#[test]
fn a_change_beside_the_model_after_identification_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bytes = weight_bytes();
    std::fs::write(folder.path().join("w.bin"), &bytes).expect("written");
    write(folder.path(), &[("location", "w.bin")]);
    let reference = registry::identify(&folder.path().join("m.onnx")).expect("identified");
    assert!(Model::load(reference.clone(), &LoadOptions::default()).is_ok());
    bytes[0] ^= 1;
    std::fs::write(folder.path().join("w.bin"), &bytes).expect("written");
    let error = Model::load(reference, &LoadOptions::default()).expect_err("changed").to_string();
    assert!(error.contains("changed while it was read"), "{error}");
}

#[test]
fn a_location_with_dots() {
    refused(&[("location", "../secret")], "`../secret`: that leads out of the model's folder");
    refused(&[("location", "sub/../../secret")], "leads out of the model's folder");
}

#[test]
fn an_absolute_location() {
    refused(&[("location", "ABSOLUTE")], "leads out of the model's folder");
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_out() {
    refused(&[("location", "link")], "`link`: that is a link that leads out of the model's folder");
}

#[test]
fn a_file_that_is_absent_or_a_folder() {
    refused(&[("location", "absent.bin")], "keeps weights in `absent.bin`");
    refused(&[("location", ".")], "`.`: that is not a file");
}

#[test]
fn a_file_that_is_too_short() {
    refused(
        &[("location", "w.bin"), ("offset", "1")],
        "tensor `w` is kept outside the file: bytes 1..+96 do not lie in `w.bin`, which has 96",
    );
    refused(&[("location", "w.bin"), ("offset", "18446744073709551615")], "do not lie in");
}

#[test]
fn entries_that_say_nothing_or_nonsense() {
    refused(&[], "no location is given");
    refused(&[("location", "w.bin"), ("length", "95")], "its shape needs 96 bytes, `length` says 95");
    refused(&[("location", "w.bin"), ("offset", "-1")], "`offset` is `-1`, not a number of bytes");
}

/// A file of a hundred bytes can name the bytes beside it any number of times: so much memory it would take.
#[test]
fn the_same_bytes_over_and_over() {
    let read = |initializers: usize, constants: usize| {
        let mut model = classifier();
        let graph = model.graph.as_mut().expect("a graph");
        let entry = StringStringEntryProto { key: "location".into(), value: "w.bin".into() };
        let weight = TensorProto { raw_data: None, external_data: vec![entry], data_location: Some(1), ..graph.initializer[0].clone() };
        let mut logits = "y0".to_owned();
        graph.node[1].output = vec![logits.clone()];
        graph.initializer[0] = weight.clone();
        for i in 1..initializers + constants {
            let (name, sum) = (format!("w{i}"), if i + 1 == initializers + constants { "y".to_owned() } else { format!("y{i}") });
            let again = TensorProto { name: name.clone(), ..weight.clone() };
            if i < initializers {
                graph.initializer.push(again);
            } else {
                let mut constant = node("Constant", "", &name);
                let (kind, t) = (Some(attribute_type::TENSOR), Some(again));
                constant.attribute.push(AttributeProto { name: "value".into(), r#type: kind, t, ..Default::default() });
                graph.node.push(constant);
            }
            graph.node.push(node("ReduceMean", &name, &format!("m{i}")));
            graph.node.push(node("Add", &format!("{logits} m{i}"), &sum));
            logits = sum;
        }
        let external = ExternalData::from([("w.bin".to_owned(), weight_bytes())]);
        load(&model.encode_to_vec(), &external).map(|_| ()).map_err(|error| (error.to_string(), error.is_about_operators()))
    };
    // Some are shared in fact.
    assert_eq!((read(4, 0), read(2, 2)), (Ok(()), Ok(())));
    let told = |last: &str| {
        let what = "take the same bytes of the files beside it more than 4 times over: no network that classifies images needs that";
        // No other program is asked.
        Err((format!("the tensors of this file, up to `{last}`, {what}"), false))
    };
    assert_eq!((read(5, 0), read(0, 5), read(2, 4)), (told("w4"), told("w4"), told("w4")));
}
