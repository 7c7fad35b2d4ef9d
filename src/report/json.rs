//! The report as JSON, and its published schema.

use super::Report;

/// The report as indented JSON with a final line break.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

/// The JSON Schema of what [`render`] writes (`docs/report.schema.json`).
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(Report);
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
