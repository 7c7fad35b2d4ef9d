//! What did not pass as SARIF 2.1.0, for code scanning. Policies that are inside the program are in no repository: what they find is said of the model.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::format::{Format, Made, json as file};
use super::{Material, Report, Tool, WriteError, clock, links, text};
use crate::gate::{Finding, Verdict};
use crate::store::Digest;

pub(super) const FORMAT: Format = Format {
    name: "sarif",
    file: "report.sarif",
    about: "code scanning; only what did not pass",
    usual: false,
    beside: false,
    report: render,
    incomplete: |_| Ok(Made::Nothing("a file without results would close the alerts of earlier runs: there is none without a verdict")),
};

/// Most results: as many as GitHub shows.
pub(crate) const MOST: usize = 5000;
/// Most bytes of them: GitHub takes 10 MB.
pub(crate) const MOST_BYTES: usize = 8 << 20;
/// Most columns of a message.
pub(crate) const MESSAGE: usize = 1000;

fn render(of: &Material) -> Result<Made, WriteError> {
    let report = of.report;
    let mut rules: Vec<Value> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut results: Vec<Value> = Vec::new();
    let mut bytes = 0;
    let open: Vec<&Finding> = report.findings.iter().filter(|finding| finding.verdict != Verdict::Pass).collect();
    for finding in &open {
        let at = *places.entry(&finding.rule).or_insert(rules.len());
        let result = result(report, finding, at);
        bytes += result.to_string().len();
        if results.len() == MOST || bytes > MOST_BYTES {
            break;
        }
        if at == rules.len() {
            rules.push(rule(finding));
        }
        results.push(result);
    }
    let mut notes = Vec::new();
    if results.len() < open.len() {
        let left = open.len() - results.len();
        notes.push(json!({ "level": "warning", "message": { "text": format!("{left} further findings are in report.json alone") } }));
    }
    if report.exit_code == 2 || report.interrupted() {
        notes.push(json!({ "level": "error", "message": { "text": text::short(&report.summary, MESSAGE) } }));
    }
    let ended = clock::ended(&report.run.started, report.run.seconds);
    file(&log(
        &report.tool,
        &rules,
        &results,
        json!({
            // Several checkpoints of one repository have alerts of their own.
            "automationDetails": { "id": format!("heirloom/{}/", text::short(&report.model.identity.name(), 200)) },
            "invocations": [{
                "executionSuccessful": report.exit_code != 2 && !report.interrupted(),
                "startTimeUtc": clock::utc(clock::parse_utc(&report.run.started).unwrap_or(0)),
                "endTimeUtc": ended,
                "exitCode": report.process_code(),
                "toolExecutionNotifications": notes,
            }],
            "properties": {
                "model": report.model.identity.digest,
                "policy": report.policy.digest,
                "summary": text::short(&report.summary, MESSAGE),
            },
        }),
    ))
}

/// A log of one run: what made it, the rules, the results, and the other fields of the run.
pub(crate) fn log(tool: &Tool, rules: &[Value], results: &[Value], mut run: Value) -> Value {
    run["tool"] = json!({ "driver": { "name": tool.name, "semanticVersion": tool.version, "rules": rules } });
    run["results"] = json!(results);
    run["columnKind"] = "unicodeCodePoints".into();
    json!({ "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run] })
}

fn rule(finding: &Finding) -> Value {
    let id = text::short(&finding.rule, 200);
    json!({
        "id": id,
        "name": id,
        "shortDescription": { "text": format!("{id}: {}", finding.estimand.words()) },
        "fullDescription": { "text": format!("Judged is {}: {}.", finding.estimand.words(), finding.estimand.meaning()) },
        "help": { "text": format!("`heirloom explain {id}` says what the rule measures, what a failure means and what to do.") },
        "properties": { "tags": ["heirloom", text::short(&finding.probe, 60)] },
    })
}

fn result(report: &Report, finding: &Finding, rule: usize) -> Value {
    let level = match finding.verdict {
        _ if !links::stops(report, finding) => "note",
        Verdict::Inconclusive => "warning",
        _ => "error",
    };
    let (path, line) = links::place(report, finding);
    let mut result = json!({
        "ruleId": text::short(&finding.rule, 200),
        "ruleIndex": rule,
        "level": level,
        "message": { "text": format!("{}: {}", text::short(&finding.id(), 200), links::told(report, finding, MESSAGE)) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": links::uri(&text::short(&path, 1000)) },
            "region": { "startLine": line },
        } }],
        // The same finding of the same checkpoint's file, from run to run.
        "partialFingerprints": { "heirloom/v1": Digest::of(format!("{}\0{}", report.model.identity.name(), finding.id()).as_bytes()).digits() },
        "properties": { "verdict": text::verdict(finding.verdict).to_lowercase(), "severity": finding.severity, "limit": finding.limit },
    });
    if let Some(waiver) = finding.waived.as_ref().filter(|_| text::is_waived(finding)) {
        let why = text::short(&format!("until {} by {}: {}", waiver.expires, waiver.owner, waiver.reason), MESSAGE);
        if let Some(fields) = result.as_object_mut() {
            fields.insert("suppressions".into(), json!([{ "kind": "external", "status": "accepted", "justification": why }]));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::report::samples;

    #[test]
    fn it_satisfies_the_published_schema() {
        let schema = include_str!("../../tests/golden/schemas/sarif-2.1.0.json");
        let schema = serde_json::from_str(schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for report in samples::all() {
            let value = FORMAT.value(&report);
            let mistakes: Vec<String> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(mistakes.is_empty(), "{mistakes:#?}");
        }
    }

    #[test]
    fn only_what_did_not_pass_with_its_level_and_place() {
        let run = FORMAT.value(&samples::fail())["runs"][0].clone();
        let told: Vec<[&str; 2]> =
            run["results"].as_array().unwrap().iter().map(|r| ["ruleId", "level"].map(|name| r[name].as_str().unwrap())).collect();
        assert_eq!(told, [["backdoor/square", "error"], ["backdoor/hat", "warning"]]);
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!((&place["artifactLocation"]["uri"], &place["region"]["startLine"]), (&"policies/baseline.yaml".into(), &14.into()));
        assert!(run["results"][0]["message"]["text"].as_str().unwrap().contains("excess attraction: +0.412 [0.371, 0.453] over sham"));
        let others = FORMAT.value(&samples::others())["runs"][0].clone();
        let waived = others["results"].as_array().unwrap().iter().find(|r| r["ruleId"] == "backdoor/hat").unwrap();
        assert_eq!((&waived["level"], &waived["suppressions"][0]["kind"]), (&"note".into(), &"external".into()));
        assert_eq!(others["invocations"][0]["executionSuccessful"], false);
        assert_eq!(FORMAT.value(&samples::pass())["runs"][0]["results"], serde_json::json!([]));
    }

    #[test]
    fn a_policy_inside_the_program_has_the_model_for_its_place() {
        let mut report = samples::fail();
        report.findings[0].origin.file = "<embedded>/quick.yaml".into();
        let place = &FORMAT.value(&report)["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!((&place["artifactLocation"]["uri"], &place["region"]["startLine"]), (&"models/release.onnx".into(), &1.into()));
    }

    #[test]
    fn many_findings_keep_to_the_limits() {
        let mut report = samples::many(6000);
        for finding in &mut report.findings {
            finding.verdict = crate::gate::Verdict::Fail;
        }
        let value = FORMAT.value(&report);
        assert!(value["runs"][0]["results"].as_array().unwrap().len() <= 5000);
        assert!(value.to_string().len() < 10_000_000);
        assert!(value["runs"][0]["invocations"][0]["toolExecutionNotifications"][0].to_string().contains("in report.json alone"));
    }
}
