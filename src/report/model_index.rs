//! The numbers as the `model-index` of a model card on the Hugging Face hub.

use std::fmt::Write;

use super::format::{Format, Made};
use super::{Material, text};

pub(super) const FORMAT: Format = Format {
    name: "model-index",
    file: "model-index.yaml",
    about: "the model card of the Hugging Face hub",
    usual: false,
    beside: false,
    report: |of| Ok(render(of)),
    incomplete: |_| Ok(Made::Nothing("without a verdict there are no numbers for a model card")),
};

/// A string as YAML: a JSON string is one, once nothing in it moves text.
fn quoted(text: &str) -> String {
    // A string has a JSON form.
    serde_json::to_string(&text::short(text, 200)).unwrap_or_default()
}

fn render(of: &Material) -> Made {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(of, &mut out);
    out.into()
}

fn write(of: &Material, out: &mut String) -> std::fmt::Result {
    let report = of.report;
    let data = report.target.as_ref().map_or_else(|| "the target task of the policy".to_owned(), |target| target.data.clone());
    writeln!(out, "# Put this between the lines `---` at the beginning of the model's README.md.")?;
    writeln!(out, "model-index:\n- name: {}\n  results:", quoted(&report.model.identity.name()))?;
    writeln!(
        out,
        "  - task:\n      type: image-classification\n      name: {}",
        quoted("Image classification, fine-tuned from this checkpoint")
    )?;
    writeln!(out, "    dataset:\n      type: {}\n      name: {}", quoted(&data), quoted(&data))?;
    writeln!(out, "    metrics:")?;
    let mut metric = |kind: &str, name: &str, value: f64| {
        if value.is_finite() { writeln!(out, "    - type: {kind}\n      name: {}\n      value: {value:?}", quoted(name)) } else { Ok(()) }
    };
    let mut count = 0;
    for accuracy in &report.accuracy {
        metric("accuracy", &format!("accuracy: {}", accuracy.what), accuracy.accuracy)?;
        count += 1;
    }
    for finding in &report.findings {
        let verdict = text::verdict(finding.verdict);
        let over = finding.comparisons.iter().filter_map(|c| Some((format!("over {}", c.control.name()), c.excess.as_ref()?)));
        for (what, estimate) in finding.own.iter().map(|own| ("by itself".to_owned(), own)).chain(over) {
            let name = format!("{} {what}, limit {} ({verdict})", text::short(&finding.id(), 120), text::trimmed(finding.limit));
            metric(finding.estimand.name(), &name, estimate.value)?;
            count += 1;
        }
    }
    if count == 0 {
        // An empty list is none to readers of model cards.
        metric("exit_code", "exit code of heirloom: nothing was measured", f64::from(report.exit_code))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::report::samples;

    #[test]
    fn it_is_yaml_with_every_number() {
        insta::assert_snapshot!(FORMAT.alone(&samples::fail()).text());
        let hostile = FORMAT.alone(&samples::hostile()).text();
        assert!(!hostile.contains('\u{1b}') && !hostile.contains('\u{9b}'), "{hostile}");
    }
}
