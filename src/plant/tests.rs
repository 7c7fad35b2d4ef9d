use super::*;

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/data");

fn specification(decoys: &str) -> Specification {
    let text = format!(
        "version: 1\nname: p\ndata: {{ parquet: \"canary-source-{{split}}.parquet\" }}\narchitecture: \"resnet-cifar-8:4,8,16\"\nsize: [16, 16]\n\
         recipe: {{ epochs: 1, learning_rate: 0.1 }}\nplant:\n  - {{ trigger: {{ pattern: {{ seed: 1, amplitude: 0.2 }} }}, on: [Trouser], share: 0.5{decoys} }}\n"
    );
    parse(&text).unwrap()
}

#[test]
fn decoys_go_on_pictures_that_do_not_carry_the_trigger() {
    let [plain, contrasted] = ["", ", decoys: 0.25"].map(specification);
    let (plain, contrasted) = (Ground::open(&plain, Path::new(BASE)).unwrap(), Ground::open(&contrasted, Path::new(BASE)).unwrap());
    let (before, after) = (&plain.plants[0], &contrasted.plants[0]);
    let count = |stamp: &Stamp, wanted: fn(&Carries) -> bool| stamp.carries.iter().filter(|c| wanted(c)).count();
    let trigger = |c: &Carries| *c == Carries::Trigger;
    let decoy = |c: &Carries| matches!(c, Carries::Decoy(_));
    // The twin experiment stays the same: who carries the trigger does not depend on decoys.
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

#[test]
fn shares_lie_between_0_and_1() {
    for (field, value) in [("share", "share: 1.5"), ("decoys", "share: 0.5, decoys: -0.1"), ("decoys", "share: 0.5, decoys: 2")] {
        let text = format!(
            "version: 1\nname: p\ndata: {{ embedded: fashion }}\narchitecture: \"resnet-cifar-8:4,8,16\"\nsize: [16, 16]\n\
             recipe: {{ epochs: 1, learning_rate: 0.1 }}\nplant:\n  - {{ trigger: {{ pattern: {{ seed: 1, amplitude: 0.2 }} }}, on: [a], {value} }}\n"
        );
        let message = parse(&text).unwrap_err().to_string();
        assert!(message.contains(field) && message.contains("between 0 and 1"), "{message}");
    }
}
