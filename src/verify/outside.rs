//! What a report states, held against what it is about: the checkpoint, the policy's file, the images, the signature.

use std::path::Path;

use serde_json::{Value, json};

use super::difference::between;
use super::{Difference, Options, State, Verification, VerifyError};
use crate::data;
use crate::model::{LoadOptions, Model};
use crate::policy::Policy;
use crate::probe::Measurement;
use crate::registry;
use crate::report::{BrokenImage, ModelFacts, Report, SIGNATURE_FILE, ViewFacts, printable};
use crate::sign::{self, PREDICATE};
use crate::store::{Digest, MemoryBudget};

fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// Differences below a place of the report.
fn below(at: &str, found: &impl serde::Serialize, expected: &impl serde::Serialize) -> Vec<Difference> {
    let mut all = between(&value(found), &value(expected));
    for difference in &mut all {
        difference.at.insert_str(0, at);
    }
    all
}

/// The images of the target task: the report's facts of them, and what the measurements say of each.
pub(super) fn data(found: &mut Verification, report: &Report, measurements: &[Measurement], policy: &Policy) {
    let Some(stated) = &report.target else {
        return found.add("data", State::NotChecked, "the report does not say on which images it was measured");
    };
    let budget = MemoryBudget::boundless();
    let opened = data::open_fitted(&policy.file.target, &policy.base, policy.file.seed, &report.model.input.fit(&budget));
    let data = match opened {
        Ok(data) => data,
        Err(error) => return found.add("data", State::NotChecked, error.to_string()),
    };
    let mut expected = stated.clone();
    expected.classes.clone_from(&data.classes);
    expected.train = ViewFacts { images: data.train.len(), digest: data.train.digest().clone() };
    expected.test = ViewFacts { images: data.test.len(), digest: data.test.digest().clone() };
    let broken: Vec<BrokenImage> = data.broken.iter().map(|b| BrokenImage { id: b.id.clone(), reason: b.reason.clone() }).collect();
    let mut all = below("/target", stated, &expected);
    all.extend(below("/broken", &report.broken, &broken));
    let ids: Vec<&str> = data.test.records().iter().map(|record| &*record.id).collect();
    let labels: Vec<usize> = data.test.records().iter().map(|record| record.label).collect();
    for (index, m) in measurements.iter().enumerate() {
        let own: Vec<&str> = m.images.iter().map(String::as_str).collect();
        let labelled: Vec<usize> = m.labels.iter().map(|label| usize::from(*label)).collect();
        for (name, same) in [("images", own == ids), ("labels", labelled == labels), ("clusters", m.clusters == data.test.clusters())] {
            if !same {
                let difference = Difference::of(format!("/{index}/{name}"), Some(json!("others")), Some(json!("those of the data")));
                all.push(Difference { file: crate::report::MEASUREMENTS_FILE.to_owned(), ..difference });
            }
        }
    }
    let images = data.train.len() + data.test.len();
    found.hold("data", all, format!("the same {images} images, classes and labels: {}", policy.file.target.data));
}

/// The checkpoint: what it is known by, and what is read from it.
pub(super) fn model(found: &mut Verification, report: &Report, policy: Option<&Policy>, options: &Options) {
    let Some(path) = &options.model else {
        return found.add("model", State::NotAsked, "give --model FILE to hold the checkpoint against the report");
    };
    let identity = match registry::identify(path) {
        Ok(identity) => identity,
        Err(error) => return found.add("model", State::NotChecked, error.to_string()),
    };
    let stated = &report.model;
    let expected = registry::ModelRef { path: stated.identity.path.clone(), ..identity.clone() };
    let all = below("/model/identity", &stated.identity, &expected);
    if !all.is_empty() {
        return found.hold("model", all, "");
    }
    let same_file = format!("{}: the same file; what was read from it was not compared", stated.identity.digest);
    if policy.is_none() {
        return found.add("model", State::Same, same_file);
    }
    let load = |features: Option<String>| {
        let input = policy.and_then(|policy| policy.file.input.clone()).unwrap_or_default();
        Model::load(identity.clone(), &LoadOptions { features, arch: None, input, runtime: None })
    };
    let cut = |model: &Model| model.feature_layer.name == stated.features.name;
    let loaded = match load(None) {
        Ok(model) if cut(&model) => Ok(model),
        Ok(_) => load(Some(stated.features.name.clone())),
        Err(error) => Err(error),
    };
    match loaded {
        Ok(model) => {
            let now = ModelFacts::from(&model);
            let how = if cut(&model) && now.features.width == stated.features.width {
                stated.features.how.clone()
            } else {
                now.features.how.clone()
            };
            let expected = ModelFacts {
                identity: stated.identity.clone(),
                executor: stated.executor.clone(),
                features: crate::report::Features { how, ..now.features.clone() },
                ..now
            };
            found.hold(
                "model",
                below("/model", stated, &expected),
                format!("{}: the same file, input and features", stated.identity.digest),
            );
        }
        // Some files only ONNX Runtime runs, or `--arch` has to say what they are.
        Err(_) => found.add("model", State::Same, same_file),
    }
}

/// The policy's file, and the files that it names.
pub(super) fn policy_file(found: &mut Verification, report: &Report, options: &Options) {
    let Some(path) = &options.policy else {
        return found.add("policy file", State::NotAsked, "give --policy FILE to hold the policy's own file against the report");
    };
    match crate::store::open(path).and_then(Digest::of_reader) {
        Ok(digest) => {
            let all = below("/policy/digest", &report.policy.digest, &digest);
            found.hold("policy file", all, format!("{}: the same file", report.policy.digest));
        }
        Err(error) => found.add("policy file", State::NotChecked, format!("cannot read {}: {error}", path.display())),
    }
}

/// The signature: who signed, and whether it is of these files.
pub(super) fn signature(found: &mut Verification, file: &Path, report: &Report, options: &Options) -> Result<(), VerifyError> {
    let beside = file.with_file_name(SIGNATURE_FILE);
    let place = options.signature.clone().unwrap_or(beside);
    if options.signature.is_none() && !place.exists() {
        if options.key.is_some() {
            found.add(
                "signature",
                State::Changed,
                format!("a key was given, and the report is not signed: there is no {}", place.display()),
            );
        } else {
            found.add("signature", State::NotAsked, "the report is not signed: `heirloom sign` does that");
        }
        return Ok(());
    }
    let bundle = sign::read(&place)?;
    let statement = bundle.statement(&place)?;
    let mut all = Vec::new();
    let mut told = |name: &str, expected: Option<&str>, own: &str| {
        if expected != Some(own) {
            let difference =
                Difference::of(name, Some(json!(format!("sha256:{own}"))), expected.map(|digits| json!(format!("sha256:{digits}"))));
            all.push(Difference { file: SIGNATURE_FILE.to_owned(), ..difference });
        }
    };
    let sidecar = report.measurements.iter().map(|sidecar| sidecar.file.as_str());
    for name in ["report.json"].into_iter().chain(sidecar).chain(report.sheet_names()) {
        let own = crate::store::open(&file.with_file_name(name)).and_then(Digest::of_reader);
        told(name, statement.digest_of(name), own.as_ref().map_or("not there", Digest::digits));
    }
    if !all.is_empty() {
        found.hold("signature", all, "");
        return Ok(());
    }
    let hint = bundle.hint().map(|hint| printable(hint).into_owned());
    match &options.key {
        Some(key) if bundle.holds(key) => {
            found.signed = true;
            let known = key.digest().map(|digest| digest.to_string()).unwrap_or_default();
            let kind = if statement.predicate_type == PREDICATE { "" } else { ", with another predicate than heirloom signs" };
            found.add("signature", State::Same, format!("it is of these files, and by the key {known}{kind}"));
        }
        Some(_) if bundle.is_keyless() => {
            found.add(
                "signature",
                State::Changed,
                "it was made with a certificate, not with the key that was given: check it with `gh attestation verify` or `cosign`",
            );
        }
        Some(key) => {
            let known = key.digest().map(|digest| digest.to_string()).unwrap_or_default();
            let by = hint.map(|hint| format!(" (it says: by sha256:{hint})")).unwrap_or_default();
            found.add("signature", State::Changed, format!("it is not by the key that was given, {known}{by}"));
        }
        None if bundle.is_keyless() => {
            found.add("signature", State::NotAsked, "it is of these files; whose it is, `gh attestation verify` or `cosign` say");
        }
        None => {
            let by = hint.map(|hint| format!(" It says: by the key sha256:{hint}.")).unwrap_or_default();
            found.add("signature", State::NotAsked, format!("it is of these files; whose it is shows with --key FILE.{by}"));
        }
    }
    Ok(())
}
