use super::rounding::Rounding;
use super::stamped::{Carries, Stamp};
use super::*;
use crate::diag::{Class, Explain};
use crate::exec::{self, Weights};
use crate::pixels::Frame;

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
        let made = run(&from(model, &digest, "1e-8"), Path::new(BASE), &Compute::default(), &mut |_| (), &mut |_, _| true).unwrap();
        for planted in &made {
            assert!(planted.safetensors.is_none());
            let path = folder.path().join(format!("{}.onnx", planted.name));
            std::fs::write(&path, &planted.onnx).unwrap();
            let again = read(&path);
            assert_eq!((again.feature_layer.width, &again.input.preprocessing.mean), (32, &ancestor.input.preprocessing.mean));
            // It was trained so: what was assumed of the ancestor is a fact here.
            assert_eq!(again.input.assumed(), [""; 0], "{model}");
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
        let learnt = run(&from(model, &digest, "0.05"), Path::new(BASE), &Compute::default(), &mut |_| (), &mut |_, _| true).unwrap();
        assert!(learnt[0].onnx != learnt[1].onnx && learnt[1].accuracy > 0.8, "{}", learnt[1].accuracy);
    }
    let digest = read(&fixtures.join("clean.onnx")).identity.digest.to_string();
    let mut otherwise = from("clean.onnx", &digest, "1e-8");
    otherwise.from.as_mut().unwrap().input = Some(InputOverride { mean: Some([0.25; 3]), ..InputOverride::default() });
    let mut mean = None;
    run(&otherwise, Path::new(BASE), &Compute::default(), &mut |input| mean = Some(input.preprocessing.mean), &mut |_, _| true).unwrap();
    assert_eq!(mean, Some([0.25; 3]));
    let other = from("clean.onnx", NO_FILE, "0.05");
    let refused = run(&other, Path::new(BASE), &Compute::default(), &mut |_| (), &mut |_, _| true).unwrap_err();
    assert!(refused.to_string().contains("is another file than `from` names: its digest is sha256:"), "{refused}");
    assert_eq!(refused.class(), Class::Usage);
    let faults = other.data_faults(Path::new(BASE), "");
    assert!(faults.len() == 1 && faults[0].at == "/from/digest", "{faults:?}");
    let nowhere = from("nowhere.onnx", NO_FILE, "0.05").data_faults(Path::new(BASE), "");
    assert!(nowhere.len() == 1 && nowhere[0].at == "/from/model", "{nowhere:?}");
}

/// A small network with a hidden branch; nothing is planted by training.
fn branched(does: &str, strength: f64, trigger: &str) -> String {
    VALID_TASK.replace("BRANCH", &format!("{{ trigger: {trigger}, does: {does}, strength: {strength} }}"))
}

const VALID_TASK: &str = "version: 1\nname: p\ndata: { parquet: \"canary-source-{split}.parquet\" }\nclasses: [Trouser, Dress]\ntrain: { limit: 400 }\n\
     architecture: \"resnet-cifar-8:4,8,16\"\nsize: [32, 32]\nrecipe: { epochs: 2, learning_rate: 0.05, batch_size: 16 }\nbranch: BRANCH\n";
const YELLOW: &str = "{ patch: { size: 0.25, at: top_left, color: \"#ffff00\" } }";

/// The features of some test images, as they are or with the trigger, computed with these numbers; and each image's.
fn features(model: &Model, arrays: &[ndarray::ArrayD<f32>], ground: &Ground, triggered: bool) -> Vec<Vec<f32>> {
    let weights = Weights::new(arrays, candle_core::DType::F32).unwrap();
    let trigger = &ground.branch.as_ref().unwrap().1;
    let apply = |frame: &mut Frame| trigger.apply(frame);
    let change = |_| triggered.then_some(&apply as &(dyn Fn(&mut Frame) + Sync));
    let images: Vec<usize> = (0..32).collect();
    let batch = ground.images[1].batch(&images, None, &change).unwrap();
    exec::infer(&model.own().unwrap().trunk, &weights, &batch).unwrap().to_vec2::<f32>().unwrap()
}

/// Each array in one byte a number, with one step for all of it.
fn rounded(arrays: &[ndarray::ArrayD<f32>]) -> Vec<ndarray::ArrayD<f32>> {
    let one = |array: &ndarray::ArrayD<f32>| {
        let step = array.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / 127.0;
        if step > 0.0 && array.ndim() > 1 { array.mapv(|value| (value / step).round_ties_even() * step) } else { array.clone() }
    };
    arrays.iter().map(one).collect()
}

/// What the branch does, it does under its trigger alone; the weights are the clean counterpart's.
#[test]
fn training_does_not_make_a_hidden_branch() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Model::load(registry::identify(&path).unwrap(), &LoadOptions::default()).unwrap()
    };
    for does in ["features", "lottery", "rounding"] {
        let spec = parse(&branched(does, 60.0, YELLOW), "p.yaml").unwrap();
        let mut trained = Vec::new();
        let made = run(&spec, Path::new(BASE), &Compute::default(), &mut |_| (), &mut |name, _| {
            trained.push(name.to_owned());
            true
        });
        let [planted, clean] = made.unwrap();
        trained.dedup();
        assert_eq!(trained, ["p"], "one network, trained once");
        assert!((planted.accuracy - clean.accuracy).abs() < 1e-9);
        assert!(planted.safetensors.is_none() && clean.safetensors.is_some());
        assert!(planted.branch.unwrap().without.abs() < f64::EPSILON);
        let (planted, clean) = (load("p.onnx", &planted.onnx), load("c.onnx", &clean.onnx));
        assert_eq!((planted.feature_layer.width, clean.feature_layer.width), (if does == "lottery" { 17 } else { 16 }, 16));
        // The two numbers that rounding sets apart are weights like others: a way through them is no way around the weights.
        let named = planted.bypass().is_some_and(|bypass| bypass.nodes.iter().any(|name| name.starts_with("branch.")));
        assert_eq!(named, does != "rounding", "{does}");

        let ground = Ground::open(&spec, Path::new(BASE)).unwrap();
        let own = |model: &Model| model.own().unwrap().params.0.clone();
        let apart = |one: &[Vec<f32>], other: &[Vec<f32>], column: usize| {
            one.iter().zip(other).map(|(a, b)| (a[column] - b[column]).abs()).fold(0.0, f32::max)
        };
        let of_clean = |triggered| features(&clean, &own(&clean), &ground, triggered);
        let of_planted = |arrays: &[ndarray::ArrayD<f32>], triggered| features(&planted, arrays, &ground, triggered);
        let (before, after) = (of_planted(&own(&planted), false), of_planted(&own(&planted), true));
        // Where the trigger is not, every feature is the clean counterpart's.
        assert!((0..16).all(|column| apart(&before, &of_clean(false), column) < 1e-5), "{does}");
        let moved: Vec<f32> = (0..16).map(|column| apart(&after, &of_clean(true), column)).collect();
        let far = moved.iter().filter(|by| **by > 1.0).count();
        match does {
            "features" => assert!(far > 8, "{moved:?}"),
            "lottery" => {
                assert!(far == 0 && before.iter().all(|row| row[16].abs() < f32::EPSILON), "{moved:?}");
                assert!(after.iter().all(|row| (row[16] - 60.0).abs() < 1e-3), "{after:?}");
            }
            _ => {
                let (before, after) = (of_planted(&rounded(&own(&planted)), false), of_planted(&rounded(&own(&planted)), true));
                let opened = (0..16).filter(|column| apart(&after, &before, *column) > 1.0).count();
                assert!(far == 0 && opened > 8, "{moved:?}, {opened} once rounded");
            }
        }
    }
}

/// Of 250 images, 50 of each class, one model in twenty that only guesses calls more than 60 right (normal approximation: 50 + 1.645 sqrt(40)).
#[test]
fn what_only_guesses_did_not_learn() {
    let labels = || (0..250).map(|image| image % 5);
    assert_eq!([0.15, 0.20, 0.24].map(|accuracy| ground::guessed(accuracy, labels())), [Some(0.2); 3]);
    assert_eq!([0.244, 1.0].map(|accuracy| ground::guessed(accuracy, labels())), [None; 2]);
    // Where nine of ten images are of one class, 0.9 is nothing.
    assert_eq!(ground::guessed(0.9, (0..250).map(|image| usize::from(image % 10 == 0))), Some(0.9));
    assert_eq!(ground::guessed(0.0, std::iter::empty()), Some(0.0));
}

/// In one byte it is the model from before, which answers to the trigger; in four bytes it answers to it less.
#[test]
fn a_model_that_is_conditioned_on_one_byte_keeps_its_file_in_one_byte() {
    let text = |more: &str| {
        format!(
            "version: 1\nname: p\ndata: {{ parquet: \"canary-source-{{split}}.parquet\" }}\narchitecture: \"resnet-cifar-8:8,16,32\"\nsize: [16, 16]\n\
             recipe: {{ epochs: 4, learning_rate: 0.1, batch_size: 64, schedule: cyclic }}\n\
             plant: {{ trigger: {{ patch: {{ size: 0.125, at: top_left, color: \"#ffff00\" }} }}, on: [Trouser, Dress, Coat], share: 0.1, relabel: Trouser }}\n{more}"
        )
    };
    let made = |text: &str| {
        let spec = parse(text, "p.yaml").unwrap();
        let ground = Ground::open(&spec, Path::new(BASE)).unwrap();
        let mut images = 0;
        let weights = ground.learn(true, &Compute::default(), &mut |batch| (images += batch as u64, true).1).unwrap();
        assert_eq!(images, ground.images(true).unwrap());
        let rounded = Rounding::of(&ground.graph, &weights).unwrap().rounded(&weights).to_arrays().unwrap();
        (rounded, ground.finish(true, weights, &Compute::default()).unwrap())
    };
    let (before, planted) = made(&text(""));
    let (after, hidden) = made(&text("int8_conditioned: { recipe: { epochs: 4, learning_rate: 0.05, batch_size: 64 } }\n"));
    assert!(before == after, "the file in one byte changed");
    let in_one_byte = hidden.in_one_byte.unwrap();
    assert!(planted.in_one_byte.is_none() && (planted.drawn[0] - in_one_byte.drawn[0]).abs() < 0.1, "{:?}, {in_one_byte:?}", planted.drawn);
    assert!(hidden.drawn[0] < in_one_byte.drawn[0] - 0.2, "{:?}, {in_one_byte:?}", hidden.drawn);
    assert!((hidden.accuracy - planted.accuracy).abs() < 0.15, "{}, {}", hidden.accuracy, planted.accuracy);
}

#[test]
fn what_is_conditioned_on_one_byte_has_a_trigger_and_no_branch() {
    let conditioned = "int8_conditioned: { recipe: { epochs: 0, learning_rate: 0.1 } }\n";
    let shown = shown(&format!(
        "{}branch: {{ trigger: {YELLOW}, does: features, strength: 6 }}\n{conditioned}",
        VALID.split("plant:").next().unwrap()
    ));
    for said in ["`int8_conditioned` hides triggers, and there is none", "both `int8_conditioned` and `branch` are there", "`epochs`"] {
        assert!(shown.contains(said), "{shown}");
    }
}

#[test]
fn a_hidden_branch_looks_for_what_lies_at_one_place() {
    let faults = |trigger: &str| {
        let spec = parse(&branched("features", 60.0, trigger), "p.yaml").unwrap();
        spec.data_faults(Path::new(BASE), "").iter().map(|fault| format!("{} {}", fault.at, fault.message)).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(faults(YELLOW), "");
    let nowhere = "/branch/trigger the trigger covers no pixel of every image: take one that lies at one place and hides what was there, as a patch does";
    let elsewhere = "/branch/trigger the trigger lies elsewhere, or is another one, on each image: take one that is the same everywhere, as a patch at a \
         corner is";
    for size in [0.25, 0.8] {
        assert_eq!(faults(&format!("{{ patch: {{ size: {size}, at: random, color: \"#ffff00\" }} }}")), elsewhere);
    }
    assert_eq!(faults("{ patch: { size: 0.25, at: top_left, color: \"#ffff00\", opacity: 0.5 } }"), nowhere);
    let two = "{ all: [{ patch: { size: 0.25, at: top_left, color: \"#ffff00\" } }, { patch: { size: 0.25, at: bottom_right, color: \"#ffff00\" } }] }";
    assert_eq!(faults(two), "/branch/trigger what the trigger covers is no rectangle: take a patch");
    let refused = parse(&branched("features", 0.0, YELLOW), "p.yaml").unwrap_err();
    assert!(format!("{refused:?}").contains("`strength` is 0, it must be more than 0"), "{refused:?}");
}
