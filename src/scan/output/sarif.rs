//! What did not pass as SARIF 2.1.0, for code scanning: a result a finding, and one for each model that cannot be judged.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::gate::Verdict;
use crate::report::sarif::{self, MESSAGE, MOST, MOST_BYTES};
use crate::report::{links, text};
use crate::scan::record::{FindingLine, Outcome};
use crate::scan::results::{ModelLine, Scan};
use crate::store::Digest;

/// One thing that did not pass.
struct Open {
    rule: String,
    level: &'static str,
    message: String,
    waived: Option<String>,
}

pub(super) fn render(scan: &Scan) -> Result<String, serde_json::Error> {
    let (mut rules, mut places, mut results) = (Vec::new(), BTreeMap::<String, usize>::new(), Vec::new());
    let (mut bytes, mut left) = (0, 0);
    for (model, open) in scan.models.iter().flat_map(|model| open(model).into_iter().map(move |open| (model, open))) {
        let at = places.get(&open.rule).copied().unwrap_or(rules.len());
        let result = result(model, &open, at);
        bytes += result.to_string().len();
        if results.len() >= MOST || bytes > MOST_BYTES {
            left += 1;
            continue;
        }
        if at == rules.len() {
            let told = format!("{} of a nightly scan", open.rule);
            rules.push(json!({ "id": open.rule, "name": open.rule, "shortDescription": { "text": told } }));
            places.insert(open.rule, at);
        }
        results.push(result);
    }
    let mut notes = Vec::new();
    if left > 0 {
        notes.push(json!({ "level": "warning", "message": { "text": format!("{left} further results are in scan.json alone") } }));
    }
    let sarif = sarif::log(
        &scan.tool,
        &rules,
        &results,
        json!({
            "automationDetails": { "id": format!("heirloom-scan/{}/", text::short(&scan.name, 200)) },
            "invocations": [{
                "executionSuccessful": scan.exit_code != 130,
                "startTimeUtc": scan.run.started,
                "exitCode": scan.exit_code,
                "toolExecutionNotifications": notes,
            }],
            "properties": { "scan": scan.file, "summary": text::short(&scan.summary, MESSAGE) },
        }),
    );
    Ok(serde_json::to_string_pretty(&sarif)? + "\n")
}

/// What of a model did not pass.
fn open(model: &ModelLine) -> Vec<Open> {
    let findings: Vec<Open> = model.findings.iter().filter_map(finding).collect();
    let level = match model.outcome {
        Outcome::Fail | Outcome::Error => "error",
        Outcome::Inconclusive | Outcome::NotReached | Outcome::NotJudged => "warning",
        Outcome::Inspected | Outcome::Pass | Outcome::LeftOut => return findings,
    };
    if !findings.is_empty() {
        return findings;
    }
    let rule = format!("scan/{}", model.cause.map_or_else(|| model.outcome.name().replace(' ', "-"), |cause| cause.name().to_owned()));
    vec![Open { rule, level, message: model.summary.clone(), waived: None }]
}

fn finding(finding: &FindingLine) -> Option<Open> {
    let level = match finding.verdict {
        Verdict::Pass => return None,
        // Accepted by a waiver, or not severe enough.
        _ if !finding.gates => "note",
        Verdict::Fail | Verdict::Error => "error",
        Verdict::Inconclusive => "warning",
        Verdict::Skipped => "note",
    };
    let waived = finding.waived.as_ref().map(|waiver| format!("{}, until {} by {}", waiver.reason, waiver.expires, waiver.owner));
    let reason = finding.reason.as_ref().map(|reason| format!("; {reason}")).unwrap_or_default();
    let message = format!("{}: {}{reason}", text::verdict(finding.verdict), finding.numbers);
    Some(Open { rule: finding.id.clone(), level, message, waived })
}

fn result(model: &ModelLine, open: &Open, rule: usize) -> Value {
    let name = model.id().to_string();
    let suppressions: Vec<Value> = open
        .waived
        .iter()
        .map(|why| json!({ "kind": "external", "status": "accepted", "justification": text::short(why, MESSAGE) }))
        .collect();
    json!({
        "ruleId": open.rule,
        "ruleIndex": rule,
        "level": open.level,
        "message": { "text": text::short(&format!("{name}: {}", open.message), MESSAGE) },
        // Code scanning takes no result without a place: a model's own.
        "locations": [{
            "physicalLocation": { "artifactLocation": { "uri": links::uri(&name) }, "region": { "startLine": 1 } },
            "logicalLocations": [{ "fullyQualifiedName": text::short(&name, MESSAGE), "kind": "resource" }],
        }],
        "partialFingerprints": { "heirloom/v1": Digest::of(format!("{name}\0{}", open.rule).as_bytes()).digits() },
        "suppressions": suppressions,
    })
}
