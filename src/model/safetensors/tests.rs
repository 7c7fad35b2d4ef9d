use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::*;
use crate::model::{ChannelOrder, InputOverride, Model, Preprocessing};
use crate::transform::geometry::{Filter, Geometry, Resize};

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn read(bytes: &[u8]) -> Result<Imported, SafetensorsError> {
    load_held(&bytes.to_vec().into(), &LoadOptions::default())
}

fn tiny() -> (Graph, Params, InputSpec, BTreeMap<String, String>) {
    let graph = arch::build("resnet-cifar-8:4,8,16", 3, [16, 16]).expect("built");
    let params = graph.slots().iter().map(|slot| ArrayD::from_elem(IxDyn(&slot.shape), 0.5)).collect();
    let order = ChannelOrder::Bgr;
    let preprocessing = Preprocessing { mean: [0.1, 0.2, 0.3], std: [0.5, 0.6, 0.7], order, from: String::new() };
    let geometry = Geometry { resize: Resize::Squash, before_crop: Some([18, 20]), filter: Filter::Bicubic, ..Geometry::default() };
    let input = InputSpec {
        channels: 3,
        height: 16,
        width: 16,
        layout: Layout::Nchw,
        preprocessing,
        geometry,
        geometry_from: String::new(),
        overruled: Vec::new(),
    };
    let notes = BTreeMap::from([("heirloom.arch".to_owned(), "resnet-cifar-8:4,8,16".to_owned())]);
    (graph, Params(params), input, notes)
}

#[test]
fn what_is_written_is_read_back() {
    let (graph, params, input, notes) = tiny();
    let bytes = write(&graph, &params, &input, &notes).expect("written");
    assert_eq!(bytes, write(&graph, &params, &input, &notes).expect("written"), "the same bytes every time");
    let back = read(&bytes).expect("read");
    assert_eq!((back.graph, back.params, back.size), (graph, params, Some([16, 16])));
    let found = preprocessing::find(&Configuration::default(), &back.metadata, &InputOverride::default()).expect("read");
    let found = found.preprocessing.expect("stated");
    assert_eq!(found, Preprocessing { from: found.from.clone(), ..input.preprocessing });
}

#[test]
fn malformed_headers_are_refused() {
    let entry = |name: &str, from: u64, to: u64| format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{from},{to}]}}"#);
    let huge = format!("{{{}}}", entry("a", u64::MAX - 4, u64::MAX));
    for (what, bytes) in [
        ("shorter than 8 bytes", vec![1, 2, 3]),
        ("header beyond the file", [&99u64.to_le_bytes()[..], b"{}"].concat()),
        ("header over the limit", [&(1u64 << 40).to_le_bytes()[..], b"{}"].concat()),
        ("not JSON", file("{", &[])),
        ("not an object", file("[]", &[])),
        ("offsets beyond memory", file(&huge, &[0; 4])),
        ("a tensor twice", file(&format!("{{{},{}}}", entry("a", 0, 4), entry("a", 0, 4)), &[0; 4])),
        ("overlap", file(&format!("{{{},{}}}", entry("a", 0, 4), entry("b", 2, 6)), &[0; 6])),
        ("gap", file(&format!("{{{},{}}}", entry("a", 0, 4), entry("b", 6, 10)), &[0; 10])),
        ("cut off", file(&format!("{{{}}}", entry("a", 0, 4)), &[0; 3])),
        ("bytes left over", file(&format!("{{{}}}", entry("a", 0, 4)), &[0; 5])),
        ("length of the wrong type", file(&format!("{{{}}}", entry("a", 0, 8)), &[0; 8])),
    ] {
        assert!(matches!(read(&bytes), Err(SafetensorsError::Malformed(_))), "{what}");
    }
    assert!(matches!(read(&file("{}", &[])), Err(SafetensorsError::NoTensors)));
}

#[test]
fn the_tensor_that_lies_is_named() {
    let entry =
        |dtype: &str, shape: &str, from: u64, to: u64| format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#);
    let reason = |a: String, b: String| read(&file(&format!(r#"{{"a":{a},"b":{b}}}"#), &[0; 8])).expect_err("malformed").to_string();
    let good = || entry("F32", "[1]", 0, 4);
    for (b, wanted) in [
        (entry("F32", "[1]", 2, 6), "`b` starts at byte 2 where 4 is expected: it overlaps another tensor"),
        (entry("F32", "[1]", 6, 8), "`b` starts at byte 6 where 4 is expected: it leaves a gap before it"),
        (entry("F16", "[1]", 4, 8), "`b` is F16 of shape [1], which takes 2 bytes, and its data are bytes 4 to 8"),
        (
            entry("F32", "[4294967296, 4294967296]", 4, 8),
            "`b` is F32 of shape [4294967296, 4294967296], which takes 18446744073709551615 bytes",
        ),
        (entry("F32", "[1]", 4, 12), "`b` ends at byte 12 of 8 bytes of data"),
    ] {
        let text = reason(good(), b);
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn half_and_double_precision_become_single() {
    let tensor = |dtype: Dtype, shape: usize, data: &[u8]| {
        let header = format!(r#"{{"x":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[0,{}]}}}}"#, data.len());
        let mut read = Tensors::of(&file(&header, data).into()).expect("read");
        read.by_name.remove("x").expect("there").numbers("conv.weight")
    };
    let of = |dtype, data: &[u8]| tensor(dtype, 2, data).expect("converted").into_raw_vec_and_offset().0;
    assert_eq!(of(Dtype::F16, &[0x00, 0x3c, 0x00, 0xc0]), [1.0, -2.0]);
    assert_eq!(of(Dtype::BF16, &[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
    assert_eq!(of(Dtype::F64, &[1f64.to_le_bytes(), (-2f64).to_le_bytes()].concat()), [1.0, -2.0]);
    for (dtype, data) in [(Dtype::I8, &[0][..]), (Dtype::F8_E4M3, &[0]), (Dtype::F4, &[0]), (Dtype::I64, &[0; 8])] {
        let error = tensor(dtype, 8 * data.len() / dtype.bitsize(), data).expect_err("refused");
        assert!(matches!(error, SafetensorsError::Dtype { .. }), "{error}");
    }
}

#[test]
fn tensors_without_a_place_are_listed() {
    let (graph, params, input, notes) = tiny();
    let bytes = write(&graph, &params, &input, &notes).expect("written");
    let file = SafeTensors::deserialize(&bytes).expect("read");
    let more = |name: &str| (name.to_owned(), TensorView::new(Dtype::F32, vec![1], &[0; 4]).expect("a tensor"));
    let all = file.tensors().into_iter().chain([more("extra.a"), more("extra.num_batches_tracked")]);
    let bytes = safetensors::serialize(all, Some(Tensors::of(&bytes.clone().into()).expect("notes").metadata.into_iter().collect()))
        .expect("written");
    match read(&bytes).expect_err("refused") {
        SafetensorsError::Refused { error, .. } => match *error {
            SafetensorsError::Unused { names, .. } => assert_eq!(names, ["extra.a"]),
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

#[test]
fn a_name_is_held_to_its_depth_where_no_argument_tells_another() {
    let tells = |arguments: Value| tells_depth(&serde_json::json!({"architecture": "resnet18", "model_args": arguments}));
    for key in ["layers", "depths", "depth"] {
        assert!(tells(serde_json::json!({key: [1, 1, 1, 1]})), "{key}");
    }
    assert!(!tells(serde_json::json!({"act_layer": "silu"})) && !tells(Value::Null));
    assert!(!tells_depth(&serde_json::json!({"architecture": "resnet18", "depth": 18})));
}

/// The file of [`tiny`] with other names, as a wrapper saves it.
fn renamed(of: impl Fn(&str) -> String) -> Vec<u8> {
    let (graph, params, input, notes) = tiny();
    let bytes = write(&graph, &params, &input, &notes).expect("written");
    let (length, rest) = bytes.split_at(8);
    let length = u64::from_le_bytes(length.try_into().expect("eight")) as usize;
    let header: Value = serde_json::from_slice(&rest[..length]).expect("JSON");
    let name = |name: &String| if name == "__metadata__" { name.clone() } else { of(name) };
    let header: serde_json::Map<String, Value> =
        header.as_object().expect("an object").iter().map(|(key, value)| (name(key), value.clone())).collect();
    file(&Value::Object(header).to_string(), &rest[length..])
}

#[test]
fn names_that_a_wrapper_lengthened_are_read() {
    let plain = read(&renamed(str::to_owned)).expect("read");
    for prefix in ["module.", "_orig_mod.", "model.", "backbone.", "module._orig_mod.", "model.backbone.module."] {
        let wrapped = read(&renamed(|name| format!("{prefix}{name}"))).unwrap_or_else(|e| panic!("{prefix}: {e}"));
        assert_eq!((&wrapped.graph, &wrapped.params), (&plain.graph, &plain.params), "{prefix}");
    }
    // One tensor without it: it is no wrapper's.
    let error = read(&renamed(|name| if name == "linear.bias" { name.to_owned() } else { format!("model.{name}") }));
    assert!(error.is_err());
}

#[test]
fn a_checkpoint_in_parts_is_the_whole() {
    let (graph, params, input, notes) = tiny();
    let whole = write(&graph, &params, &input, &notes).expect("written");
    let plain = read(&whole).expect("read");
    let all = SafeTensors::deserialize(&whole).expect("read back");
    let folder = tempfile::tempdir().expect("a folder");
    let mut map = BTreeMap::new();
    let shard = |half: usize| format!("model-{:05}-of-00002.safetensors", half + 1);
    for half in 0..2 {
        let mine = || all.iter().enumerate().filter(move |(i, _)| i % 2 == half).map(|(_, named)| named);
        map.extend(mine().map(|(name, _)| (name.to_owned(), shard(half))));
        let note = (half == 0).then(|| notes.clone().into_iter().collect());
        std::fs::write(folder.path().join(shard(half)), safetensors::serialize(mine(), note).expect("serialised")).expect("written");
    }
    let write = |map: &BTreeMap<String, String>| {
        let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).expect("written");
        crate::registry::identify(folder.path()).expect("identified")
    };
    let options = LoadOptions { input: InputOverride { size: Some([16, 16]), ..InputOverride::default() }, ..LoadOptions::default() };
    let model = Model::load(write(&map), &options).expect("loaded");
    assert_eq!(model.own().expect("a network").params, plain.params);
    // An index of other files than these.
    for (name, place, wanted) in [
        ("bn1.bias", Some(shard(9)), "model-00010-of-00002.safetensors"),
        ("bn1.bias", None, "`bn1.bias` is not in the index"),
        ("more", Some(shard(0)), "`more` is not here, the index says so"),
    ] {
        let mut other = map.clone();
        match place {
            Some(place) => other.insert(name.to_owned(), place),
            None => other.remove(name),
        };
        let index = serde_json::json!({"weight_map": other}).to_string();
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).expect("written");
        let error = crate::registry::identify(folder.path()).map_err(|e| e.to_string());
        let error = error.and_then(|found| Model::load(found, &options).map(drop).map_err(|e| e.to_string())).expect_err(wanted);
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_checkpoint_of_ours_loads_with_its_features() {
    let (graph, params, input, notes) = tiny();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, write(&graph, &params, &input, &notes).expect("written")).expect("saved");
    let reference = crate::registry::identify(folder.path()).expect("identified");
    let model = Model::load(reference.clone(), &LoadOptions::default()).expect("loaded");
    assert_eq!((model.feature_layer.width, model.feature_layer.name.as_str()), (16, "avgpool"));
    assert_eq!((model.input.geometry, model.input.preprocessing.order), (input.geometry, ChannelOrder::Bgr));
    let (with_head, weight, bias) = model.with_head(7).expect("extended");
    assert_eq!(with_head.node(with_head.output()).shape.at(2), [2, 7]);
    assert_eq!(
        (with_head.slots()[weight.0].shape.as_slice(), with_head.slots()[bias.0].name.as_str()),
        (&[7, 16][..], "heirloom.head.bias")
    );
    assert!(model.inspection().modes.iter().all(|mode| mode.possible));
    let larger = LoadOptions { input: InputOverride { size: Some([32, 32]), ..InputOverride::default() }, ..LoadOptions::default() };
    assert_eq!(Model::load(reference, &larger).expect("loaded").input.height, 32);
}

#[test]
fn published_checkpoints_load() {
    let Some(folder) = crate::lacks::shared("models") else { return };
    for (name, width, parameters) in
        [("resnet20-cifar10", 64, 269_722), ("resnet56-cifar10", 64, 853_018), ("efficientnet-lite0-imagenet", 1280, 4_652_008)]
    {
        let reference = crate::registry::identify(&folder.join(format!("{name}.safetensors"))).expect("identified");
        let model = Model::load(reference, &LoadOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((model.feature_layer.width, model.own().map_or(0, |n| n.params.trainable(&n.graph))), (width, parameters), "{name}");
    }
}
