//! The report as a CycloneDX 1.6 ML-BOM: the checkpoint with its numbers, and what is claimed of it by which evidence. The policy is the standard, its
//! rules are the requirements.

use serde_json::{Value, json};

use super::format::{Format, Made, json as file};
use super::{Material, Report, WriteError, clock, links, text};
use crate::gate::{Finding, Verdict};
use crate::store::{Digest, sha256};

pub(super) const FORMAT: Format = Format {
    name: "cyclonedx",
    file: "ml-bom.cdx.json",
    about: "an inventory of models (CycloneDX 1.6 ML-BOM)",
    usual: false,
    beside: false,
    report: render,
    incomplete: |_| Ok(Made::Nothing("without a verdict there is nothing to declare")),
};

/// Most columns of a sentence.
const MOST: usize = 1000;

fn render(of: &Material) -> Result<Made, WriteError> {
    let report = of.report;
    let findings = || report.findings.iter().enumerate();
    let claims: Vec<Value> = findings().map(|(at, finding)| claim(report, at, finding)).collect();
    let map: Vec<Value> = findings().map(|(at, finding)| mapped(at, finding)).collect();
    let requirements: Vec<Value> = findings().map(|(at, finding)| requirement(at, finding)).collect();
    let mut data = vec![json!({ "name": "report.json", "contents": { "url": "report.json" } })];
    let mut evidence = "Paired predictions of fine-tunes of the checkpoint and of its controls.".to_owned();
    if let Some(sidecar) = &report.measurements {
        let name = text::short(&sidecar.file, 200);
        evidence = format!("{evidence} Unpacked, {name} has the SHA-256 {}.", sidecar.digest.digits());
        data.push(json!({ "name": name, "contents": { "url": links::uri(&name) } }));
    }
    file(&json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial(report),
        "version": 1,
        "metadata": {
            "timestamp": clock::ended(&report.run.started, report.run.seconds),
            "tools": { "components": [{ "type": "application", "name": report.tool.name, "version": report.tool.version }] },
        },
        "components": [model(report)],
        "definitions": { "standards": [{
            "bom-ref": "policy",
            "name": text::short(&report.policy.name, 200),
            "description": text::short(&format!("{}, {}", report.policy.source, report.policy.digest), MOST),
            "requirements": requirements,
        }] },
        "declarations": {
            "assessors": [{ "bom-ref": "assessor" }],
            "attestations": [{ "summary": text::short(&format!("{}: {}", text::headline(report), report.summary), MOST), "assessor": "assessor", "map": map }],
            "claims": claims,
            "evidence": [{ "bom-ref": "report", "propertyName": "heirloom:report",
                "description": evidence, "data": data }],
        },
    }))
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": text::short(value, MOST) })
}

/// Equal reports have equal numbers: a UUID of the eighth kind, made of what was judged, by what and when.
fn serial(report: &Report) -> String {
    let of = format!("{}\0{}\0{}", report.model.identity.digest, report.policy.digest, report.run.started);
    let mut hash = sha256(of.as_bytes());
    hash[6] = hash[6] & 0x0f | 0x80;
    hash[8] = hash[8] & 0x3f | 0x80;
    let hex = Digest::from_sha256(hash);
    let part = |range: std::ops::Range<usize>| hex.digits().get(range).unwrap_or_default();
    format!("urn:uuid:{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

fn hashes(digest: &Digest) -> Value {
    if digest.is_earlier() {
        json!([{ "alg": "BLAKE3", "content": digest.digits() }])
    } else {
        json!([{ "alg": "SHA-256", "content": digest.digits() }])
    }
}

fn model(report: &Report) -> Value {
    let id = &report.model.identity;
    let mut component = json!({
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": text::short(&id.name(), 200),
        "description": text::short(&report.model.description, MOST),
        "modelCard": {
            "modelParameters": { "inputs": [{ "format": "image" }], "outputs": [{ "format": "features" }] },
            "quantitativeAnalysis": { "performanceMetrics": metrics(report) },
            "considerations": {
                "technicalLimitations": [
                    "A verdict is about the probes, the target task and the recipes of the policy. A pass does not mean that the checkpoint is clean.",
                ],
                "fairnessAssessments": fairness(report),
            },
        },
        "properties": [
            property("heirloom:digest", id.digest.as_str()),
            property("heirloom:verdict", text::headline(report)),
            property("heirloom:policy", report.policy.digest.as_str()),
        ],
    });
    if let Some(fields) = component.as_object_mut() {
        if id.files.is_empty() {
            fields.insert("hashes".into(), hashes(&id.digest));
        } else {
            let one = |file: &crate::registry::FileRef| {
                let name = if file.name == "-" { id.name() } else { file.name.clone() };
                json!({ "type": "file", "name": text::short(&name, 200), "hashes": hashes(&file.digest) })
            };
            fields.insert("components".into(), id.files.iter().map(one).collect());
        }
    }
    component
}

fn metrics(report: &Report) -> Vec<Value> {
    let metric = |kind: &str, slice: &str, value: f64, [low, high]: [f64; 2]| {
        json!({ "type": kind, "value": format!("{value:.4}"), "slice": text::short(slice, 300),
            "confidenceInterval": { "lowerBound": format!("{low:.4}"), "upperBound": format!("{high:.4}") } })
    };
    let mut all: Vec<Value> = report.accuracy.iter().map(|a| metric("accuracy", &a.what, a.accuracy, [a.low, a.high])).collect();
    for finding in &report.findings {
        let kind = finding.estimand.name();
        if let Some(own) = &finding.own {
            all.push(metric(kind, &format!("{} by itself", finding.id()), own.value, [own.low, own.high]));
        }
        for (comparison, excess) in finding.comparisons.iter().filter_map(|c| Some((c, c.excess.as_ref()?))) {
            let slice = format!("{} over {}", finding.id(), comparison.control.name());
            all.push(metric(&format!("{kind}, excess over a control"), &slice, excess.value, [excess.low, excess.high]));
        }
        for arm in &finding.arms {
            for group in &arm.groups {
                all.push(json!({ "type": "accuracy", "value": format!("{:.4}", group.accuracy),
                    "slice": text::short(&format!("{} {}: {}, {}", finding.id(), arm.arm, group.label, group.value), 300) }));
            }
        }
    }
    all
}

/// What rules that compare groups found.
fn fairness(report: &Report) -> Vec<Value> {
    let compared = report.findings.iter().filter(|finding| finding.estimand.compares_groups());
    compared
        .map(|finding| {
            let group = finding.notes.first().cloned().unwrap_or_else(|| format!("the groups of {}", finding.rule));
            let mut assessment = json!({
                "groupAtRisk": text::short(&group, 300),
                "harms": format!("{}: {}", text::short(&finding.id(), 200), links::told(report, finding, MOST)),
            });
            if let Some(fields) = assessment.as_object_mut().filter(|_| finding.verdict == Verdict::Fail) {
                fields.insert("mitigationStrategy".into(), text::short(&text::hint(report, finding), MOST).into());
            }
            assessment
        })
        .collect()
}

fn requirement(at: usize, finding: &Finding) -> Value {
    json!({
        "bom-ref": format!("requirement-{at}"),
        "identifier": text::short(&finding.id(), 200),
        "title": text::short(&finding.id(), 200),
        "text": format!("The excess of {} over the controls is below {}.", finding.estimand.words(), text::trimmed(finding.limit)),
    })
}

fn claim(report: &Report, at: usize, finding: &Finding) -> Value {
    json!({
        "bom-ref": format!("claim-{at}"),
        "target": "model",
        "predicate": text::short(&format!("{}: {}", finding.id(), text::verdict(finding.verdict)), 300),
        "reasoning": links::told(report, finding, MOST),
        "evidence": ["report"],
    })
}

/// A requirement and what was found of it. What is open has no score.
fn mapped(at: usize, finding: &Finding) -> Value {
    let score = match finding.verdict {
        Verdict::Pass => Some(1),
        Verdict::Fail => Some(0),
        _ => None,
    };
    let mut conformance =
        json!({ "rationale": text::short(&format!("{}: {}", text::verdict(finding.verdict), text::numbers(finding)), MOST) });
    if let (Some(score), Some(fields)) = (score, conformance.as_object_mut()) {
        fields.insert("score".into(), score.into());
    }
    let side = if finding.verdict == Verdict::Pass { "claims" } else { "counterClaims" };
    json!({ "requirement": format!("requirement-{at}"), side: [format!("claim-{at}")], "conformance": conformance })
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::report::samples;

    #[test]
    fn it_satisfies_the_published_schema() {
        let schema = include_str!("../../tests/golden/schemas/bom-1.6.json");
        let schema = serde_json::from_str(schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for report in samples::all() {
            let value = FORMAT.value(&report);
            let mistakes: Vec<String> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(mistakes.is_empty(), "{mistakes:#?}");
        }
    }

    #[test]
    fn numbers_and_claims_of_every_finding() {
        let bom = FORMAT.value(&samples::fail());
        let metrics = bom["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"].as_array().unwrap();
        assert_eq!(metrics.len(), 3 + 2 + 1 + 1);
        assert_eq!((&metrics[0]["slice"], &metrics[0]["value"]), (&"source, fixed features".into(), &"0.8120".into()));
        let map = bom["declarations"]["attestations"][0]["map"].as_array().unwrap();
        let scores: Vec<Option<u64>> = map.iter().map(|m| m["conformance"]["score"].as_u64()).collect();
        assert_eq!(scores, [Some(0), Some(1), None]);
        assert!(bom["serialNumber"].as_str().unwrap().starts_with("urn:uuid:"));
        assert_eq!(FORMAT.value(&samples::fail()), bom);
    }

    #[test]
    fn groups_are_fairness_assessments() {
        let mut report = samples::fail();
        report.findings[0].estimand = crate::probe::Estimand::GroupGap;
        report.findings[0].notes = vec!["widest between men and women".into()];
        let bom = FORMAT.value(&report);
        let fair = &bom["components"][0]["modelCard"]["considerations"]["fairnessAssessments"];
        assert_eq!(fair.as_array().unwrap().len(), 1);
        assert_eq!(fair[0]["groupAtRisk"], "widest between men and women");
    }
}
