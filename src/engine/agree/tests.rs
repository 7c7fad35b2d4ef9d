use std::path::Path;

use super::check;
use crate::data;
use crate::engine::EngineError;
use crate::model::{LoadOptions, Model};
use crate::policy;
use crate::registry;
use crate::runtime::{self, Host, Wanted};
use crate::store::MemoryBudget;
use crate::tune::Images;

const POLICY: &str = "version: 1\nname: t\ntarget: { data: { embedded: fashion }, train: { limit: 40 }, test: { limit: 40 } }\n\
                      transfer: { fixed_feature: { epochs: 1, learning_rate: 0.1 } }\nrules:\n\
                      \x20 - { id: r, limit: 0.1, probe: { backdoor: { trigger: { patch: { size: 0.2, at: top_left, color: \"#ff0000\" } } } } }\n";

/// A network that means something else to one of them: no rounding excuses that, and its first node is named.
#[test]
fn another_network_is_no_rounding_and_is_named_by_its_first_node() {
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|named| !named.is_empty());
    let search = runtime::open(&named.map_or(Wanted::Any, |named| Wanted::named(&named)), &Host::Here).expect("a library that fits");
    let Some(runtime) = search.runtime else {
        crate::lacks::lacks("ONNX Runtime");
        return;
    };
    let (policy, _) = policy::parse(POLICY, "t", Path::new("."), &policy::Options::default()).expect("a policy");
    let data = data::open(&policy.file.target, &policy.base, 0).expect("images");
    let of = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/runtime/{name}.onnx"));
        let options = LoadOptions { runtime: Some(runtime.clone()), ..LoadOptions::default() };
        let model = Model::load(registry::identify(&path).expect("a file"), &options).expect("a model");
        let images = Images::open(&data.train, &model.input, &MemoryBudget::boundless()).expect("images");
        (model, images)
    };
    for (name, first) in [("external", "conv"), ("three-digits", "conv"), ("cast", "conv")] {
        let (mut model, images) = of(name);
        let agreement = check(&model, &images).expect("they agree").expect("there are two");
        assert!(agreement.difference < 2e-2, "{name}: {agreement:?}");
        // A tenth more of one weight: far above rounding in the first, and in the other two above what their numbers carry.
        let network = model.network.as_mut().expect("a network of ours");
        network.params.0[0].mapv_inplace(|v| v * 1.1);
        let told = check(&model, &images).map(drop).expect_err("they do not agree");
        assert!(matches!(told, EngineError::Disagree { .. }), "{name}: {told}");
        let told = told.to_string();
        assert!(told.contains("compute different features") && told.contains("float64"), "{told}");
        assert!(told.contains(&format!("the first node whose output differs is `{first}`")), "{name}: {told}");
    }
}

/// Two lists of what is no number agree on nothing, which is no agreement "to inf".
#[test]
fn where_both_overflow_there_is_nothing_to_agree_on() {
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|named| !named.is_empty());
    let search = runtime::open(&named.map_or(Wanted::Any, |named| Wanted::named(&named)), &Host::Here).expect("a library that fits");
    let Some(runtime) = search.runtime else { return crate::lacks::lacks("ONNX Runtime") };
    let (policy, _) = policy::parse(POLICY, "t", Path::new("."), &policy::Options::default()).expect("a policy");
    let data = data::open(&policy.file.target, &policy.base, 0).expect("images");
    // Its last operation is infinite in float32, whatever the image.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/runtime/overflow.onnx");
    let options = LoadOptions { runtime: Some(runtime), ..LoadOptions::default() };
    let model = Model::load(registry::identify(&path).expect("a file"), &options).expect("a model");
    let images = Images::open(&data.train, &model.input, &MemoryBudget::boundless()).expect("images");
    assert_eq!(check(&model, &images).expect("nothing disagrees").map(|agreement| agreement.difference), None);
}

#[test]
fn features_of_rounding_errors_are_refused_without_a_second_executor() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/runtime/ill-conditioned.onnx");
    let model = Model::load(registry::identify(&path).expect("a file"), &LoadOptions::default()).expect("a model");
    let (policy, _) = policy::parse(POLICY, "t", Path::new("."), &policy::Options::default()).expect("a policy");
    let data = data::open(&policy.file.target, &policy.base, 0).expect("images");
    let images = Images::open(&data.train, &model.input, &MemoryBudget::boundless()).expect("images");
    let told = check(&model, &images).map(drop).expect_err("refused");
    assert!(matches!(&told, EngineError::Noise { own, node } if *own > 0.1 && node == "difference"), "{told}");
}
