use super::*;
use crate::diag::{Class, Explain};

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/data");

fn specification(decoys: &str) -> Specification {
    let text = format!(
        "version: 1\nname: p\ndata: {{ parquet: \"canary-source-{{split}}.parquet\" }}\narchitecture: \"resnet-cifar-8:4,8,16\"\nsize: [16, 16]\n\
         recipe: {{ epochs: 1, learning_rate: 0.1 }}\nplant:\n  - {{ trigger: {{ pattern: {{ seed: 1, amplitude: 0.2 }} }}, on: [Trouser], share: 0.5{decoys} }}\n"
    );
    parse(&text, "p.yaml").unwrap()
}

#[test]
fn decoys_go_on_images_that_do_not_carry_the_trigger() {
    let [plain, contrasted] = ["", ", decoys: 0.25"].map(specification);
    let (plain, contrasted) = (Ground::open(&plain, Path::new(BASE)).unwrap(), Ground::open(&contrasted, Path::new(BASE)).unwrap());
    let (before, after) = (&plain.plants[0], &contrasted.plants[0]);
    let count = |stamp: &Stamp, wanted: fn(&Carries) -> bool| stamp.carries.iter().filter(|c| wanted(c)).count();
    let trigger = |c: &Carries| *c == Carries::Trigger;
    let decoy = |c: &Carries| matches!(c, Carries::Decoy(_));
    // The clean counterpart experiment stays the same: who carries the trigger does not depend on decoys.
    let carriers = |stamp: &Stamp| stamp.carries.iter().map(trigger).collect::<Vec<_>>();
    assert_eq!(carriers(before), carriers(after));
    assert_eq!((count(before, decoy), before.decoys.len()), (0, 0));
    let others = after.carries.len() - count(after, trigger);
    let share = count(after, decoy) as f64 / others as f64;
    assert!((share - 0.25).abs() < 0.05, "{share}");
    // What is laid over a decoy is neither the trigger nor what a policy of any of the first seeds probes with.
    let laid = after.carries.iter().position(decoy).and_then(|at| after.over(at)).unwrap();
    assert_ne!(laid.digest(), after.trigger.digest());
    let probed = |seed| (0..crate::transform::SHAM_DRAWS).map(move |draw| (draw, seed));
    let same = (0..5).flat_map(probed).any(|(draw, seed)| after.trigger.sham(draw, seed).digest() == laid.digest());
    assert!(!same);
}

/// What a user sees of a specification's mistakes.
fn shown(text: &str) -> String {
    match parse(text, "plants/mine.yaml") {
        Err(SpecError::Invalid { text, name, diagnostics, .. }) => crate::diag::render(&text, &name, &diagnostics, false),
        other => panic!("{other:?}"),
    }
}

const VALID: &str = "version: 1\nname: p\ndata: { embedded: fashion }\narchitecture: \"resnet-cifar-8:4,8,16\"\nsize: [16, 16]\n\
                     recipe: { epochs: 1, learning_rate: 0.1 }\nplant:\n\
                     \x20 - { trigger: { pattern: { seed: 1, amplitude: 0.2 } }, on: [a], share: 0.5 }\n";

#[test]
fn shares_lie_between_0_and_1() {
    assert!(parse(VALID, "p.yaml").is_ok());
    for (value, said) in [
        ("share: 1.5", "`share` is 1.5, it must be at most 1"),
        ("share: 0.5, decoys: -0.1", "`decoys` is -0.1, it must be at least 0"),
        ("share: 0.5, decoys: 2", "`decoys` is 2, it must be at most 1"),
    ] {
        let message = shown(&VALID.replace("share: 0.5", value));
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn every_mistake_is_shown_at_its_place() {
    let text = VALID
        .replace("version: 1", "version: 2")
        .replace("name: p", "name: ../p\ntwin: ../p")
        .replace("[16, 16]", "[16, 4]")
        .replace("epochs: 1", "epochs: 0")
        .replace("amplitude: 0.2", "amplitude: 7");
    let without = VALID.replace("recipe:", "recip:").replace("pattern:", "patern:").replace("share: 0.5", "shares: 0.5, relabel: 3");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("values", shown(&text));
        insta::assert_snapshot!("fields", shown(&without));
        insta::assert_snapshot!("empty", shown(""));
    });
}

#[test]
fn one_plant_or_several_are_told_apart_by_what_is_written() {
    let one = VALID.replace("  - { trigger", "  { trigger");
    assert_eq!(parse(&one, "p.yaml").unwrap().plant.all().len(), 1);
    let message = shown(&one.replace("share: 0.5", "share: half"));
    assert!(message.contains("`share` is \"half\", it must be a number") && message.contains("plants/mine.yaml:8:"), "{message}");
    let message = shown(&VALID.replace("plant:\n", "plant: yellow\nrebalance:\n"));
    assert!(message.contains("`plant` is \"yellow\", it must be a map of fields or a list"), "{message}");
}

/// A digest that no file has.
const NO_FILE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn a_source_has_an_architecture_or_a_checkpoint_to_begin_from() {
    let network = "architecture: \"resnet-cifar-8:4,8,16\"\nsize: [16, 16]\n";
    let from = format!("from: {{ model: a.onnx, digest: \"{NO_FILE}\" }}\n");
    assert!(parse(&VALID.replace(network, &from), "p.yaml").is_ok());
    for (text, said) in [
        (VALID.replace(network, ""), "there is no network to plant into"),
        (VALID.replace(network, &format!("{from}size: [16, 16]\n")), "both `from` and `size` are there"),
        (VALID.replace(network, &format!("{from}architecture: \"resnet-cifar-8:4,8,16\"\n")), "both `from` and `architecture` are there"),
        (VALID.replace("size: [16, 16]\n", ""), "`size` is 0x0 pixels"),
    ] {
        let message = shown(&text);
        assert!(message.contains(said), "{message}");
    }
}

fn from(model: &str, digest: &str, rate: &str) -> Specification {
    let text = format!(
        "version: 1\nname: p\ndata: {{ parquet: \"canary-source-{{split}}.parquet\" }}\nclasses: [Trouser, Dress]\ntrain: {{ limit: 400 }}\n\
         from: {{ model: ../models/{model}, digest: \"{digest}\" }}\nrecipe: {{ epochs: 1, learning_rate: {rate}, batch_size: 16 }}\n\
         plant: {{ trigger: {{ patch: {{ size: 0.25, at: top_left, color: \"#ffff00\" }} }}, on: [Trouser] }}\n"
    );
    parse(&text, "p.yaml").unwrap()
}

/// Both begin from its weights: at a learning rate of nearly nothing their features are its own.
#[test]
fn planting_into_a_checkpoint_begins_from_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &Path| Model::load(registry::identify(path).unwrap(), &LoadOptions::default()).unwrap();
    let fixtures = Path::new(BASE).join("../models");
    for model in ["clean.onnx", "clean.safetensors"] {
        let ancestor = read(&fixtures.join(model));
        let digest = ancestor.identity.digest.to_string();
        let made = run(&from(model, &digest, "1e-8"), Path::new(BASE), &Compute::default(), &mut |_, _| true).unwrap();
        for planted in &made {
            assert!(planted.safetensors.is_none());
            let path = folder.path().join(format!("{}.onnx", planted.name));
            std::fs::write(&path, &planted.onnx).unwrap();
            let again = read(&path);
            assert_eq!((again.feature_layer.width, &again.input.preprocessing.mean), (32, &ancestor.input.preprocessing.mean));
            // All but the head, which has another name and shape.
            let weights = |model: &Model| -> BTreeMap<String, ndarray::ArrayD<f32>> {
                let network = model.own().unwrap();
                let slots = network.trunk.slots().iter().zip(&network.params.0);
                slots
                    .filter(|(slot, _)| slot.role == crate::graph::Role::Weight)
                    .map(|(slot, array)| (slot.name.clone(), array.clone()))
                    .collect()
            };
            let (before, after) = (weights(&ancestor), weights(&again));
            let both: Vec<_> = before.iter().filter_map(|(name, array)| Some((array, after.get(name)?))).collect();
            let moved = both.iter().flat_map(|(a, b)| a.iter().zip(b.iter())).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(
                both.len() + 1 >= before.len() && both.len() > 6 && moved < 1e-5,
                "{model}: {} of {}, {moved}",
                both.len(),
                before.len()
            );
        }
        let learnt = run(&from(model, &digest, "0.05"), Path::new(BASE), &Compute::default(), &mut |_, _| true).unwrap();
        assert!(learnt[0].onnx != learnt[1].onnx && learnt[1].accuracy > 0.8, "{}", learnt[1].accuracy);
    }
    let other = from("clean.onnx", NO_FILE, "0.05");
    let refused = run(&other, Path::new(BASE), &Compute::default(), &mut |_, _| true).unwrap_err();
    assert!(refused.to_string().contains("is another file than `from` names: its digest is sha256:"), "{refused}");
    assert_eq!(refused.class(), Class::Usage);
    let faults = other.data_faults(Path::new(BASE), "");
    assert!(faults.len() == 1 && faults[0].at == "/from/digest", "{faults:?}");
    let nowhere = from("nowhere.onnx", NO_FILE, "0.05").data_faults(Path::new(BASE), "");
    assert!(nowhere.len() == 1 && nowhere[0].at == "/from/model", "{nowhere:?}");
}
