use super::*;

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
