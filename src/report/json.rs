//! The report as JSON, and its published schema.

use schemars::JsonSchema;

use super::format::Format;
use super::{Incomplete, Report};

/// What a `report.json` holds: a report, or what stands in its place where there is no verdict.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes a file; each side is written and read by itself")]
enum File {
    /// There is a verdict.
    Certified(Box<Report>),
    /// There is none: the file has `status`.
    Incomplete(Incomplete),
}

pub(super) const FORMAT: Format = Format {
    name: "json",
    file: "report.json",
    about: "programs; all others are made of it",
    usual: true,
    beside: false,
    report: |of| Ok(render(of.report)?.into()),
    incomplete: |of| Ok(incomplete(of)?.into()),
};

/// The report as indented JSON with a final line break.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

/// What stands in the place of a report without a verdict, the same way.
pub(crate) fn incomplete(incomplete: &Incomplete) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(incomplete).map(|text| text + "\n")
}

#[cfg(test)]
/// The JSON Schema of what [`render`] and [`incomplete`] write (`docs/report.schema.json`).
pub(crate) fn schema() -> String {
    let mut schema = schemars::schema_for!(File);
    schema.insert("title".to_owned(), "heirloom report, version 1".into());
    // A `Schema` is a tree of plain JSON values: writing it cannot fail, and an empty file would fail its test.
    serde_json::to_string_pretty(schema.as_value()).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::{render, schema};
    use crate::report::{Report, samples};

    #[test]
    fn what_is_written_reads_back_the_same() {
        for report in samples::all() {
            let text = render(&report).unwrap();
            let again: Report = serde_json::from_str(&text).unwrap();
            assert_eq!(render(&again).unwrap(), text);
        }
    }

    #[test]
    fn a_failing_report_looks_like_this() {
        insta::assert_snapshot!(render(&samples::fail()).unwrap());
    }

    #[test]
    fn reports_satisfy_the_published_schema() {
        let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for report in samples::all() {
            let value: serde_json::Value = serde_json::from_str(&render(&report).unwrap()).unwrap();
            let mistakes: Vec<String> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(mistakes.is_empty(), "{mistakes:#?}");
        }
        for incomplete in samples::incomplete() {
            let mut value: serde_json::Value = serde_json::from_str(&super::incomplete(&incomplete).unwrap()).unwrap();
            assert!(validator.is_valid(&value), "{value}");
            // Nothing passes for both.
            assert!(serde_json::from_value::<Report>(value.clone()).is_err());
            value["status"] = "passed".into();
            assert!(!validator.is_valid(&value), "{value}");
        }
    }

    #[test]
    fn what_stands_in_the_place_of_a_report_looks_like_this() {
        for incomplete in samples::incomplete() {
            insta::assert_snapshot!(format!("incomplete_{:?}", incomplete.status), super::incomplete(&incomplete).unwrap());
        }
    }

    /// `HEIRLOOM_BLESS=1 cargo test --lib published_schema` writes it.
    #[test]
    fn the_published_schema_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
        if std::env::var_os("HEIRLOOM_BLESS").is_some() {
            std::fs::write(&path, schema()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), schema(), "docs/report.schema.json is stale: see this test");
    }
}
