use std::path::PathBuf;

use super::choose::{BESIDE, Chosen, Given, choose, written};
use super::draft::{Draft, For};
use super::error::InitError;
use super::pictures::Pictures;
use crate::data::{Census, DataSpec};
use crate::diag::{Class, Explain};
use crate::plan::{Footprint, MachineProfile, Speed, Whole};
use crate::tune::Mode;

/// A machine that computes the features of so many images a second, and trains on so many.
fn machine(features: f64, train: Option<f64>) -> MachineProfile {
    let footprint = Footprint { image: 150_528, features: 384, largest: 600_000, activations: 9_000_000, weights: 22_000_000 };
    let whole = train.map(|train| Whole { forward: 3.0 * train, train });
    MachineProfile { speed: Speed { features, whole }, footprint, memory: None }
}

/// Classes of so many pictures in each part.
fn pictures(parts: &[&[usize]]) -> Pictures {
    let classes = (0..parts[0].len()).map(|at| format!("class {at}")).collect();
    Pictures::of(&Census { classes, parts: parts.iter().map(|part| part.to_vec()).collect() }, "photos").expect("enough pictures")
}

fn spec(split: bool) -> DataSpec {
    DataSpec::Folder(PathBuf::from(if split { "photos/{split}" } else { "photos" }))
}

/// What is chosen for a model of 224 pixels, with the text.
fn chosen(pictures: &Pictures, profile: &MachineProfile, minutes: f64) -> Result<(Chosen, String), InitError> {
    let data = spec(pictures.share.is_none());
    let trains = profile.speed.whole.is_some();
    let of = For { model: "vit.safetensors", size: [224, 224], trains, data: &data, label: None, pictures, most: minutes * 60.0 };
    let chosen = choose(&Given { of, profile, reading: 0.0, distinct: [1.0; 2] })?;
    let text = written(&of, &chosen.draft)?.0;
    Ok((chosen, text))
}

fn modes(chosen: &Chosen) -> Vec<usize> {
    chosen.policy.rules.iter().map(|rule| rule.modes.len()).collect()
}

/// The case that the command was made for: a vision transformer, five classes of 40 photographs, two cores.
#[test]
fn a_few_photographs_and_a_large_model_get_frozen_features_alone() {
    let (chosen, text) = chosen(&pictures(&[&[40; 5]]), &machine(20.0, Some(3.0)), 15.0).expect("fits");
    let Draft { train, test, limit, power, seconds, .. } = chosen.draft;
    assert_eq!((train.images, test.images, modes(&chosen)), (100, 100, vec![1; 3]));
    assert!((limit - 0.15).abs() < 1e-9 && power > 0.8, "{limit} {power}");
    assert!(seconds[0] < seconds[1] && seconds[1] < 900.0, "{seconds:?}");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("photographs", text);
    });
}

#[test]
fn where_there_is_time_whole_networks_are_trained() {
    let (chosen, text) = chosen(&pictures(&[&[1000; 5], &[500; 5]]), &machine(2000.0, Some(1500.0)), 15.0).expect("fits");
    assert_eq!((chosen.draft.train.limit, chosen.draft.test.limit, modes(&chosen)), (Some(2000), Some(1000), vec![2, 1, 1]));
    assert!(!text.contains("test_share") && text.contains("train: { limit: 2000, balance: [label] }"), "{text}");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("whole_networks", text);
    });
}

/// Fewer pictures first, then fewer rules: the limit stays.
#[test]
fn little_time_leaves_fewer_pictures_and_fewer_rules() {
    let all = pictures(&[&[400; 5]]);
    let of = |minutes| chosen(&all, &machine(20.0, None), minutes).expect("fits").0;
    let drafts: Vec<(usize, usize)> =
        [60.0, 8.0, 4.0, 2.0].map(|minutes| (of(minutes).policy.rules.len(), of(minutes).draft.test.images)).into();
    assert!(drafts.windows(2).all(|pair| pair[0] > pair[1]), "{drafts:?}");
    assert_eq!((drafts[0], drafts[3].0), ((3, 660), 1));
    for minutes in [60.0, 8.0, 4.0, 2.0] {
        assert!(of(minutes).draft.seconds[1] <= minutes * 60.0);
    }
}

#[test]
fn few_pictures_settle_a_greater_limit() {
    let limit = |each: usize| chosen(&pictures(&[&[each, each]]), &machine(20.0, None), 15.0).expect("fits").0.draft.limit;
    let limits = [24, 40, 60, 120].map(limit);
    assert!(limits.windows(2).all(|pair| pair[0] >= pair[1]) && limits[0] > 0.15 && limits[3] < 0.11, "{limits:?}");
}

#[test]
fn too_little_time_is_refused_with_the_time_that_would_do() {
    let all = pictures(&[&[40; 5]]);
    let machine = machine(20.0, None);
    let Err(error @ InitError::Time { least, .. }) = chosen(&all, &machine, 10.0 / 60.0) else { panic!("10 seconds do not do") };
    assert_eq!(error.class(), Class::Usage);
    let message = error.to_string();
    assert!(message.starts_with("--max-time 10 s: too little time for vit.safetensors: ") && least > BESIDE, "{message}");
    let minutes = error.hint().and_then(|hint| hint.strip_prefix("give `--max-time ")?.strip_suffix("m`")?.parse().ok()).expect("minutes");
    assert!(chosen(&all, &machine, minutes).is_ok());
}

#[test]
fn copies_settle_nothing() {
    let (all, machine, data) = (pictures(&[&[40; 5]]), machine(20.0, None), spec(false));
    let of = For { model: "m", size: [32, 32], trains: false, data: &data, label: None, pictures: &all, most: 900.0 };
    let refused = choose(&Given { of, profile: &machine, reading: 0.0, distinct: [1.0, 0.05] }).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "data photos: too few pictures: of those that would measure 5 are different, which settle no limit up to 0.3"
    );
}

/// Whatever is written is read again as it was meant.
#[test]
fn whatever_names_there_are_the_policy_is_valid() {
    let names = ["yes", "a: b", "#1", "\"quoted\"", "line\u{2028}end", "東京", "null", "3", "", "- x", "~", "tab\t", "bell\u{7}"];
    let census = Census { classes: names.map(str::to_owned).into(), parts: vec![(0..names.len()).map(|at| 60 + at % 3).collect()] };
    let pictures = Pictures::of(&census, "photos").expect("enough pictures");
    for (at, path) in ["photos", "my \"photos\"\\#1", "фото\u{2028}1/{split}", "a\u{7f}b"].into_iter().enumerate() {
        for data in [DataSpec::Folder(path.into()), DataSpec::Parquet(path.into())] {
            let pictures = Pictures { share: (data.has_splits() == Some(false)).then_some(0.5), ..pictures.clone() };
            let machine = machine(200.0, (at % 2 == 0).then_some(100.0));
            let of = For { model: path, size: [28, 28], trains: at % 2 == 0, data: &data, label: None, pictures: &pictures, most: 600.0 };
            let chosen = choose(&Given { of, profile: &machine, reading: 0.01, distinct: [1.0; 2] }).expect("fits");
            assert_eq!((&chosen.policy.file.target.data, &chosen.policy.file.target.classes), (&data, &Some(pictures.classes.clone())));
            assert!(chosen.policy.rules.iter().all(|rule| rule.modes.contains(&Mode::FixedFeature)));
        }
    }
}
