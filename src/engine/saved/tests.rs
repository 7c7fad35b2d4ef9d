use std::path::Path;

use serde_json::Value;

use super::*;
use crate::data;
use crate::engine::{self, Certified, Event, Settings};
use crate::exec::{Compute, Weights};
use crate::gate::SelfTestOutcome;
use crate::model::LoadOptions;
use crate::plan::{self, Footprint, MachineProfile, Speed, Whole};
use crate::policy::{self, Policy};
use crate::registry;
use crate::store::{Cache, LIMIT, MemoryBudget};
use crate::tune::{Images, Mode};

const POLICY: &str = r##"
version: 1
name: small
target: { data: { embedded: fashion }, train: { limit: 60, balance: [label] }, test: { limit: 50 }, accuracy: mean_per_class }
transfer:
  fixed_feature: { epochs: 3, learning_rate: 0.1 }
  full_network: { epochs: 2, learning_rate: 0.01 }
seeds:
  fixed_feature: { first: 2, most: 2 }
  full_network: { first: 2, most: 2 }
rules:
  - { id: square, probe: { backdoor: { trigger: { patch: { size: 0.25, at: top_left, color: "#ffff00" } } } }, modes: [fixed_feature, full_network],
      limit: 0.9, controls: [sham, scratch, untrained] }
"##;

fn policy() -> Policy {
    policy::parse(POLICY, "small.yaml", Path::new("."), &policy::Options::default()).unwrap().0
}

fn model(path: &Path) -> Model {
    Model::load(registry::identify(path).unwrap(), &LoadOptions::default()).unwrap()
}

fn fixture() -> Model {
    model(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/clean.onnx"))
}

fn target(policy: &Policy, model: &Model) -> TargetData {
    let budget = MemoryBudget::boundless();
    data::open_fitted(&policy.file.target, &policy.base, policy.file.seed, &model.input.fit(&budget)).unwrap()
}

/// A certification that saves, and what it warned of. `meanwhile` is called when it has begun.
fn certify(save: &Save, cache: Option<&Cache>, meanwhile: impl FnOnce()) -> Result<(Certified, Vec<String>), SaveError> {
    let (policy, model) = (policy(), fixture());
    let resolved = Resolved { controls: plan::Controls::All, ..plan::resolve(&policy) };
    let (data, compute) = (target(&policy, &model), Compute::cpu());
    let saver = save.asked().then(|| Saver::begin(save, &resolved, (&model, &[]), &data, engine::tool(&compute))).transpose()?;
    meanwhile();
    let settings = Settings {
        resolved: &resolved,
        model: &model,
        references: &[],
        today: "1970-01-01",
        started: 0,
        report_only: false,
        max_seconds: None,
        budget: &MemoryBudget::boundless(),
        samples: false,
        compute: &compute,
        cache,
        self_test: SelfTestOutcome::NotRun("not wanted".into()),
        saver: saver.as_ref(),
        stop: &|| false,
    };
    let profile = MachineProfile {
        speed: Speed { features: 100.0, whole: Some(Whole { forward: 100.0, train: 100.0 }) },
        footprint: Footprint::default(),
        memory: None,
    };
    let mut warnings = Vec::new();
    let certified = engine::run(&settings, &data, &profile, &mut |event| {
        if let Event::Warning(text) = event {
            warnings.push(text);
        }
    });
    Ok((certified.unwrap(), warnings))
}

fn list(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(LIST)).unwrap()).unwrap()
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn a_saved_model_answers_as_its_fine_tune_did() {
    let folder = tempfile::tempdir().unwrap();
    let save = Save { checkpoints: Some(folder.path().join("deep/tuned")), tensorboard: None, controls: true };
    let (certified, warnings) = certify(&save, None, || {}).unwrap();
    let folder = folder.path().join("deep/tuned");
    assert!(certified.saved.failure.is_none() && warnings.iter().all(|text| !text.contains("saved")), "{warnings:?}");
    let list = list(&folder);
    let entries = list["checkpoints"].as_array().unwrap();
    // Two seeds of the source in each mode, of the network from scratch, and of the heads on four untrained ones.
    assert_eq!((entries.len(), certified.saved.checkpoints, certified.saved.curves), (2 * (2 + 1 + 4), 14, 0));
    assert_eq!(files(&folder).len(), 14 + 1);
    let (source, policy) = (fixture(), policy());
    assert_eq!(list["policy"]["digest"], policy.digest.to_string());
    assert_eq!(list["model"]["digest"], source.identity.digest.to_string());
    assert_eq!(list["target"]["test"], serde_json::json!({ "images": 50, "digest": target(&policy, &source).test.digest() }));
    let mut sums: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for entry in entries {
        let path = folder.join(entry["file"].as_str().unwrap());
        let saved = model(&path);
        assert_eq!(entry["digest"], saved.identity.digest.to_string());
        assert_eq!(entry["bytes"], saved.identity.bytes);
        let data = target(&policy, &saved);
        let images = Images::open(&data.test, &saved.input, &MemoryBudget::boundless()).unwrap();
        let network = saved.own().unwrap();
        let weights = Weights::on(&Compute::cpu(), &network.params.0).unwrap();
        let predicted = tune::predictions(&network.graph, &weights, &images.plain(), &mut |_| true).unwrap();
        let (arm, mode, seed) = (entry["arm"].as_str().unwrap(), entry["mode"].as_str().unwrap(), entry["seed"].as_u64().unwrap());
        let of = |m: &&crate::probe::Measurement| (m.arm.to_string(), m.mode.to_string()) == (arm.to_owned(), mode.to_owned());
        let outcome = &certified.measurements.iter().find(of).unwrap().outcomes[seed as usize];
        assert_eq!(predicted, outcome.clean, "{}", path.display());
        let accuracy = entry["accuracy"].as_f64().unwrap();
        let name = if arm == "scratch" { "from scratch".to_owned() } else { format!("{arm}, {}s", mode.replace('_', " ")) };
        sums.entry(name.replace("networks", "network")).or_default().push(accuracy);
        // What the file says of itself, and how images enter it.
        let note = |name: &str| saved.metadata.get(&format!("heirloom.{name}")).map(String::as_str);
        assert_eq!(note("accuracy").unwrap(), accuracy.to_string());
        assert_eq!((note("arm"), note("mode"), note("seed").unwrap()), (Some(arm), Some(mode), seed.to_string().as_str()));
        assert_eq!(serde_json::from_str::<Vec<String>>(note("classes").unwrap()).unwrap(), data.classes);
        assert_eq!((note("policy"), note("accuracy_counted")), (Some(policy.digest.as_str()), Some("mean_per_class")));
        assert_eq!(note("from").is_some(), arm == "source", "{arm}");
        assert_eq!((saved.input.geometry, saved.input.width), (source.input.geometry, source.input.width));
        assert_eq!(
            (saved.input.preprocessing.mean, saved.input.preprocessing.std),
            (source.input.preprocessing.mean, source.input.preprocessing.std)
        );
        assert!(saved.input.assumed().is_empty(), "{:?}", saved.input.assumed());
        assert_eq!((saved.feature_layer.width, note("epochs").unwrap()), (32, if mode == "full_network" { "2" } else { "3" }));
    }
    for arm in certified.report.accuracy.iter().filter(|arm| arm.arm.is_some()) {
        let of = &sums[&arm.what];
        assert!(
            (of.iter().sum::<f64>() / of.len() as f64 - arm.accuracy).abs() < 1e-9,
            "{}: {of:?}, the report has {}",
            arm.what,
            arm.accuracy
        );
    }
}

#[test]
fn what_the_cache_keeps_is_trained_anew_and_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(&folder.path().join("cache"), LIMIT).unwrap();
    let at = |name: &str| folder.path().join(name);
    let save =
        |name: &str, tensorboard: Option<&str>| Save { checkpoints: Some(at(name)), tensorboard: tensorboard.map(at), controls: false };
    let (without, _) = certify(&Save::default(), Some(&cache), || {}).unwrap();
    assert_eq!((without.saved.checkpoints, without.report.run.cached), (0, 0));
    certify(&save("one", None), None, || {}).unwrap();
    let (two, _) = certify(&save("two", None), Some(&cache), || {}).unwrap();
    let (three, _) = certify(&save("three", Some("curves")), Some(&cache), || {}).unwrap();
    // Of the controls nothing is saved, and they come from the cache.
    assert_eq!((two.saved.checkpoints, two.report.run.cached, two.measurements.len()), (4, 2 * 5, without.measurements.len()));
    assert_eq!((three.saved.checkpoints, three.saved.curves), (4, 4));
    assert!(two.report.run.from_cache.contains_key("weights") && !three.report.run.from_cache.contains_key("weights"));
    assert_eq!(files(&at("one")), files(&at("two")));
    assert_eq!(files(&at("one")), files(&at("three")));
    let names: Vec<String> = files(&at("one")).into_keys().collect();
    let of = |mode: Mode, seed: usize| format!("source-{mode}-seed{seed}.onnx");
    let heads = [of(Mode::FixedFeature, 0), of(Mode::FixedFeature, 1), of(Mode::FullNetwork, 0), of(Mode::FullNetwork, 1)];
    assert_eq!(names, [&[LIST.to_owned()][..], &heads].concat());
    for (mode, seed) in [(Mode::FixedFeature, 0), (Mode::FullNetwork, 1)] {
        let curve = files(&at("curves").join(format!("source/{mode}/seed{seed}")));
        let (name, bytes) = curve.first_key_value().unwrap();
        assert!(curve.len() == 1 && name.starts_with("events.out.tfevents.") && bytes.len() > 200, "{name}");
    }
    for (mine, others) in two.measurements.iter().zip(&without.measurements) {
        assert_eq!((mine.arm, mine.mode, &mine.outcomes), (others.arm, others.mode, &others.outcomes));
    }
}

#[test]
fn a_failure_to_save_takes_nothing_away_from_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let save = Save { checkpoints: Some(folder.path().join("tuned")), tensorboard: None, controls: false };
    // Another run writes there meanwhile.
    let taken = folder.path().join("tuned/source-fixed_feature-seed1.onnx");
    let (certified, warnings) = certify(&save, None, || std::fs::write(&taken, "theirs").unwrap()).unwrap();
    assert_eq!((certified.saved.checkpoints, std::fs::read(&taken).unwrap()), (1, b"theirs".to_vec()));
    assert!(matches!(&certified.saved.failure, Some(SaveError::Exists { path, .. }) if *path == taken));
    let told = format!(
        "{} is there already, and what an earlier run saved is not written over; no more fine-tunes are saved, and what is judged stays as it is",
        taken.display()
    );
    assert_eq!(warnings.iter().filter(|text| **text == told).count(), 1, "{warnings:?}");
    assert_eq!(certified.report.findings.len(), 2);
    assert_eq!(files(&folder.path().join("tuned")).len(), 3);
    // The next run finds them before it trains anything.
    let refused = certify(&save, None, || panic!("it has begun")).err().unwrap();
    assert!(matches!(refused, SaveError::Exists { .. }), "{refused}");
}

#[test]
fn what_cannot_be_written_as_onnx_is_refused_before_anything_runs() {
    let (policy, data) = (policy(), target(&policy(), &fixture()));
    let opaque = crate::model::Opaque { reason: "it holds `TopK`".into(), parameters: 1, operators: BTreeMap::new() };
    let model = Model { network: Err(opaque), ..fixture() };
    let folder = tempfile::tempdir().unwrap();
    let begin = |checkpoints: bool| {
        let at = |wanted: bool, name: &str| wanted.then(|| folder.path().join(name));
        let save = Save { checkpoints: at(checkpoints, "tuned"), tensorboard: at(!checkpoints, "curves"), controls: false };
        Saver::begin(&save, &plan::resolve(&policy), (&model, &[]), &data, engine::tool(&Compute::cpu())).map(drop)
    };
    let error = begin(true).unwrap_err().to_string();
    assert_eq!(error, "clean.onnx: its fine-tunes cannot be saved as ONNX: the network cannot be trained here: it holds `TopK`");
    // How its heads are trained can be told all the same.
    begin(false).unwrap();
}

#[test]
fn no_two_fine_tunes_have_one_name() {
    let mut names = std::collections::BTreeSet::new();
    let mut all = 0;
    for arm in [Arm::Source, Arm::Scratch].into_iter().chain(Arm::untrained()).chain(Arm::references(crate::probe::MOST_REFERENCES)) {
        for (mode, view, seed) in
            [(Mode::FixedFeature, 0, 0), (Mode::FullNetwork, 0, 1), (Mode::FullNetwork, 1, 1), (Mode::FullNetwork, 0, 11)]
        {
            let tuning = Tuning { arm, mode, view };
            names.extend([file(tuning, seed), run(tuning, seed)]);
            all += 2;
        }
    }
    assert_eq!(names.len(), all);
    let second = Tuning { arm: Arm::Reference(1), mode: Mode::FullNetwork, view: 1 };
    assert_eq!(file(second, 3), PathBuf::from("reference-2-full_network-images2-seed3.onnx"));
    assert_eq!(run(second, 3), PathBuf::from("reference-2/full_network/images2/seed3"));
    assert_eq!(file(Tuning { arm: Arm::Source, view: 0, ..second }, 3), PathBuf::from("source-full_network-seed3.onnx"));
}

#[test]
fn what_is_no_folder_is_refused_by_the_option_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.onnx");
    new(&path, b"one", SaveError::CHECKPOINTS).unwrap();
    assert!(matches!(new(&path, b"two", SaveError::CHECKPOINTS), Err(SaveError::Exists { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"one");
    let error = vacant(&path, std::iter::empty(), SaveError::TENSORBOARD).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is not a folder: name another with --tensorboard", path.display()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
