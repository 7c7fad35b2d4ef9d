//! What a report states, held against its own measurements and the policy inside it.

use std::path::Path;

use serde_json::Value;

use super::difference::between;
use super::{Difference, Options};
use crate::diag::Explain;
use crate::engine::{self, stage_name};
use crate::gate;
use crate::plan::{self, Resolved, Tuning};
use crate::policy::{self, Policy};
use crate::probe::{Arm, Measurement};
use crate::report::formats::rendered as all_rendered;
use crate::report::{
    JobFacts, MEASUREMENTS_FILE, Made, Material, Report, SelfTestStatus, Sheet, Sidecar, TaskAccuracy, json, pictures_beside,
};
use crate::store::Digest;
use crate::transform::PreparedTrigger;

/// Whether the file is as the program writes it: no field that is not read, no other order.
pub(super) fn layout(report: &Report, bytes: &[u8]) -> Vec<Difference> {
    let found: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let all = between(&found, &value(report));
    let same = || json::render(report).is_ok_and(|text| text.as_bytes() == bytes);
    if all.is_empty() && !same() {
        let text = |what: &str| Some(Value::String(what.to_owned()));
        return vec![Difference::of("", text("the same values, written by another program"), text("as heirloom writes it"))];
    }
    all
}

fn value(report: &Report) -> Value {
    // Plain data under plain names: writing it cannot fail.
    serde_json::to_value(report).unwrap_or_default()
}

/// Whether the measurements are those that the report names.
pub(super) fn measurements(report: &Report, [digest, stored]: &[Digest; 2]) -> Vec<Difference> {
    let Some(sidecar) = &report.measurements else { return Vec::new() };
    let expected = Sidecar {
        file: MEASUREMENTS_FILE.to_owned(),
        digest: digest.clone(),
        // Earlier builds did not say it.
        stored: sidecar.stored.as_ref().map(|_| stored.clone()),
    };
    let mut all = between(&serde_json::to_value(sidecar).unwrap_or_default(), &serde_json::to_value(expected).unwrap_or_default());
    for difference in &mut all {
        difference.at.insert_str(0, "/measurements");
    }
    all
}

/// Why a report cannot be judged anew.
pub(super) struct Unjudged {
    pub differences: Vec<Difference>,
    pub reason: String,
}

/// The policy that a report says it was judged by, from the text inside it, or from a file with the same digest.
pub(super) fn policy(report: &Report, options: &Options) -> Result<Policy, Unjudged> {
    let unjudged = |reason: String| Unjudged { differences: Vec::new(), reason };
    let stated = &report.policy.digest;
    let given = options.policy.as_ref().and_then(|path| {
        let bytes = crate::store::read(path, 16 << 20).ok()?;
        let text = String::from_utf8(bytes).ok().filter(|text| Digest::of(text.as_bytes()) == *stated)?;
        Some((text, crate::store::folder_of(path).to_owned()))
    });
    let (text, base) = match (given, &report.policy.text) {
        (Some((text, base)), _) => (text, base),
        (None, Some(text)) => {
            let digest = Digest::of(text.as_bytes());
            if digest != *stated {
                let found = |digest: &Digest| Some(Value::String(digest.to_string()));
                return Err(Unjudged {
                    differences: vec![Difference::of("/policy/digest", found(stated), found(&digest))],
                    reason: "the policy's text in the report (/policy/text) is not of its digest (/policy/digest): one of them was changed"
                        .to_owned(),
                });
            }
            // What lies where this program was started is not what was used: no path starts from here.
            (text.clone(), Path::new("<report>").join("policy"))
        }
        (None, None) => {
            return Err(unjudged(
                "the report does not hold the policy's text, as reports of earlier builds do not: give it with --policy FILE".to_owned(),
            ));
        }
    };
    let read = policy::Options { files: false, salt: options.salt, ..policy::Options::default() };
    let mut policy = match policy::parse(&text, &report.policy.source, &base, &read) {
        Ok((policy, _)) => policy,
        Err(error) => return Err(unjudged(told(&error))),
    };
    // `--data` leads elsewhere.
    if let Some(source) = report.target.as_ref().and_then(|target| target.source.clone()) {
        policy.file.target.data = source;
    }
    let folder = |rule: &gate::Rule| matches!(rule.probe, crate::probe::Probe::Natural(_)) && rule.probe.change().is_none();
    if policy.rules.iter().any(folder) {
        return Err(unjudged(
            "a rule of the policy stands for a folder of features: give the policy beside it with --policy FILE".to_owned(),
        ));
    }
    Ok(match options.data.clone() {
        Some(data) => policy.with_data(data),
        None => policy,
    })
}

/// The first mistake of a policy on one line.
fn told(error: &policy::PolicyError) -> String {
    let first = error.mistakes().and_then(|found| found.diagnostics.first());
    match first {
        Some(mistake) => [Some(mistake.message.clone()), mistake.hint.clone()].into_iter().flatten().collect::<Vec<_>>().join("; "),
        None => error.to_string(),
    }
}

/// What came of judging anew.
pub(super) struct Judged {
    pub differences: Vec<Difference>,
    pub detail: String,
    /// The report as the measurements make it, where they can.
    pub report: Option<Box<Report>>,
}

/// Judges the measurements anew and compares all that comes of it. `files`: the policy's other files are there too.
pub(super) fn numbers(report: &Report, measurements: &[Measurement], policy: &Policy, files: bool) -> Result<Judged, String> {
    let mut own = policy.clone();
    if let Some(source) = report.target.as_ref().and_then(|target| target.source.clone()) {
        own.file.target.data = source;
    }
    let expected = match expected(report, measurements, &own, files) {
        Ok(expected) => expected,
        Err(error) => {
            // Whose salt is the right one: that which the measurements were made with.
            let resolved = plan::resolve(&own);
            let ours = resolved.questions.iter().flat_map(|question| question.rests_on.iter().map(move |tuning| (question.rule, *tuning)));
            let known: Vec<Digest> = ours.map(|(rule, tuning)| resolved.measurement_id(rule, tuning.arm, tuning.mode)).collect();
            if !measurements.iter().filter_map(|m| m.terms.as_ref()).any(|terms| known.contains(terms)) {
                return Err(error.to_string());
            }
            let [found, expected] =
                [report.policy.salt.as_ref(), own.seed.salt()].map(|salt| salt.map(|salt| Value::String(salt.to_string())));
            return Ok(Judged {
                differences: vec![Difference::of("/policy/salt", found, expected)],
                detail: error.to_string(),
                report: None,
            });
        }
    };
    let differences = between(&value(report), &value(&expected));
    let count = crate::diag::count(report.findings.len(), "finding");
    let detail = format!("{count} judged anew: the same numbers, verdicts and exit code ({})", report.exit_code);
    Ok(Judged { differences, detail, report: Some(Box::new(expected)) })
}

/// The report as its measurements and policy make it. Where they say nothing it is as stated.
fn expected(report: &Report, measurements: &[Measurement], policy: &Policy, files: bool) -> Result<Report, engine::SaltError> {
    let resolved = plan::resolve(policy);
    let mut expected = engine::as_stored(report, measurements, policy)?;
    if !files {
        expected.policy.files.clone_from(&report.policy.files);
    }
    "heirloom".clone_into(&mut expected.tool.name);
    if report.self_test.status == SelfTestStatus::Passed {
        "planted source caught, clean source passed".clone_into(&mut expected.self_test.detail);
    }
    for (index, reference) in expected.references.iter_mut().enumerate() {
        reference.arm = u8::try_from(index).map_or(reference.arm, Arm::Reference);
        if let Some(digest) = policy.file.references.get(index).and_then(|named| Digest::parse(&named.digest)) {
            reference.digest = digest;
        }
    }
    let identity = &mut expected.model.identity;
    if let Some(digest) = identity.of_files() {
        identity.digest = digest;
        identity.bytes = identity.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes));
    }
    if let Some(digest) = measurements.iter().find(|m| m.arm == Arm::Source).and_then(|m| m.basis.as_ref()?.checkpoint.clone()) {
        identity.digest = digest;
    }
    if let Some(target) = &mut expected.target {
        target.data = policy.file.target.data.to_string();
        target.accuracy = policy.file.target.accuracy;
        if let Some(m) = measurements.first() {
            target.classes.clone_from(&m.classes);
            target.test.images = m.images.len();
            if let Some(basis) = &m.basis {
                target.train.digest = basis.train.clone();
                target.test.digest = basis.test.clone();
            }
        }
    }
    for rule in &policy.rules {
        let input = &report.model.input;
        let Some(Ok(trigger)) = rule.probe.change().map(|trigger| PreparedTrigger::new(trigger, &policy.base, input.height, input.width))
        else {
            continue;
        };
        expected.changes.insert(rule.id.clone(), trigger.provenance().to_owned());
        expected.triggers.insert(rule.id.clone(), trigger.identity().clone());
    }
    let measured = |tuning: Tuning| -> Option<&Measurement> {
        let served: Vec<&str> = resolved.served_by(tuning).map(|question| question.rule.id.as_str()).collect();
        let of = measurements.iter().filter(|m| m.arm == tuning.arm && m.mode == tuning.mode && served.contains(&m.rule.as_str()));
        of.max_by_key(|m| m.outcomes.len())
    };
    expected.plan.jobs = report.plan.jobs.iter().map(|job| of_job(job, &expected, &resolved, &measured)).collect();
    let seeds = report.accuracy.iter().filter(|of| of.arm.is_some()).map(|of| of.seeds).max().unwrap_or(0);
    expected.accuracy = report.accuracy.iter().map(|of| accuracy(of, &resolved, &measured, (measurements, seeds))).collect();
    let sheets: Vec<String> = policy.rules.iter().map(|rule| Sheet { rule: rule.id.clone(), rows: Vec::new() }.file()).collect();
    expected.sheets.retain(|name| sheets.contains(name));
    Ok(expected)
}

/// A stage of the plan as the measurements show it.
fn of_job<'m>(job: &JobFacts, report: &Report, resolved: &Resolved, measured: &dyn Fn(Tuning) -> Option<&'m Measurement>) -> JobFacts {
    let tunings = || resolved.fine_tunes.iter().map(|fine_tune| fine_tune.tuning);
    let named = tunings().find(|tuning| stage_name(&resolved.views, *tuning) == job.stage);
    let Some(tuning) = named.or_else(|| tunings().find(|tuning| tuning.arm == job.arm && tuning.mode == job.mode)) else {
        return job.clone();
    };
    let images = report.target.as_ref().filter(|_| tuning.view == 0).map_or(job.images, |target| target.train.images + target.test.images);
    JobFacts {
        stage: stage_name(&resolved.views, tuning),
        arm: tuning.arm,
        mode: tuning.mode,
        seeds: measured(tuning).map_or(job.seeds, |m| m.outcomes.len()),
        images,
    }
}

/// An accuracy as the measurements show it; of the head on shrunk images they show only on what it was measured.
fn accuracy<'m>(
    stated: &TaskAccuracy,
    resolved: &Resolved,
    measured: &dyn Fn(Tuning) -> Option<&'m Measurement>,
    (all, seeds): (&[Measurement], usize),
) -> TaskAccuracy {
    let clusters = |m: &Measurement| m.clusters.iter().collect::<std::collections::BTreeSet<_>>().len();
    let tunings = || resolved.fine_tunes.iter().map(|fine_tune| fine_tune.tuning);
    let named = tunings().find(|tuning| stage_name(&resolved.views, *tuning) == stated.what);
    let Some(tuning) = named.or_else(|| tunings().find(|tuning| Some(tuning.arm) == stated.arm)) else {
        let Some(m) = all.first() else { return stated.clone() };
        let head = |view: &Option<crate::data::Rebalance>| {
            let of_view = view.as_ref().map(|rebalance| format!(", {rebalance}")).unwrap_or_default();
            format!("linear head on images of 8x8{of_view}")
        };
        let what = resolved.views.iter().map(head).find(|what| *what == stated.what).unwrap_or_else(|| head(&None));
        let seeds = if resolved.views.len() == 1 { seeds } else { stated.seeds };
        return TaskAccuracy { what, arm: None, seeds, images: m.labels.len(), clusters: clusters(m), ..stated.clone() };
    };
    let Some((m, (accuracy, bounds))) =
        measured(tuning).and_then(|m| Some((m, gate::clean_accuracy(m, resolved.policy.file.target.accuracy).ok()?)))
    else {
        return stated.clone();
    };
    TaskAccuracy {
        what: stage_name(&resolved.views, tuning),
        arm: Some(tuning.arm),
        accuracy,
        low: bounds.low,
        high: bounds.high,
        seeds: m.outcomes.len(),
        images: m.labels.len(),
        clusters: clusters(m),
    }
}

/// Whether the files beside a report are what is rendered from it. One that is not there is no edit.
pub(super) fn rendered(report: &Report, measurements: &[Measurement], file: &Path) -> Vec<Difference> {
    let mut all = Vec::new();
    let (pictures, lacks) = pictures_beside(report, file);
    let material = Material { report, measurements: Some(measurements), pictures: &pictures };
    for (name, rendered) in all_rendered(&material).filter(|(name, _)| *name != "report.json") {
        let (Ok(expected), Ok(found)) = (rendered, crate::store::read(&file.with_file_name(name), 1 << 28)) else { continue };
        let expected = match expected {
            // The page shows the sample images: without them it cannot be made anew.
            Made::File(_) if name == "report.html" && !lacks.is_empty() => continue,
            Made::File(expected) => expected,
            Made::Nothing(_) => {
                let there = Difference::of("", Some(Value::String("a file".to_owned())), None);
                all.push(Difference { file: name.to_owned(), ..there });
                continue;
            }
        };
        if expected == found {
            continue;
        }
        let [found, expected] = [&found, &expected].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let (mut one, mut other) = (found.lines(), expected.lines());
        let mut line = 0;
        let (found, expected) = loop {
            line += 1;
            match (one.next(), other.next()) {
                (Some(one), Some(other)) if one == other => {}
                pair => break pair,
            }
        };
        let text = |line: Option<&str>| line.map(|line| Value::String(line.to_owned()));
        let difference = Difference::of(format!("line {line}"), text(found), text(expected));
        all.push(Difference { file: name.to_owned(), ..difference });
    }
    all
}
