use super::{FORMAT, STYLE};
use crate::report::{Material, Picture, Report, samples};

fn page(report: &Report) -> String {
    let measurements = samples::measurements();
    (FORMAT.report)(&Material { report, measurements: Some(&measurements), pictures: &[] }).unwrap().text()
}

/// Elements and attributes that run or fetch something.
fn is_still(page: &str) {
    let markup = page.replace(STYLE, "");
    for forbidden in ["<script", "<link", "<iframe", "<object", "<style>*"] {
        assert!(!markup.contains(forbidden), "{forbidden}");
    }
    // Of each tag what is left without the values of its attributes.
    for tag in markup.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        let names: String = tag.split('"').step_by(2).collect();
        assert!(!names.contains(" on") && !names.contains(" style="), "{tag}");
    }
    // Names of vocabularies and addresses for people are none that are fetched.
    for part in ["src=\"", "href=\""] {
        for (at, _) in markup.match_indices(part) {
            let to = &markup[at + part.len()..];
            assert!(to.starts_with('#') || to.starts_with("data:image/png;base64,"), "{}", &to[..60.min(to.len())]);
        }
    }
    assert!(page.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-"));
}

/// Every element is closed in its order: an open one would take the rest of the page with it.
fn is_well_formed(page: &str) {
    const EMPTY: [&str; 3] = ["meta", "br", "img"];
    let body = page.replace(STYLE, "");
    let mut open: Vec<String> = Vec::new();
    let mut rest = body.trim_start_matches("<!DOCTYPE html>");
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("the end of a tag");
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{tag}");
        } else {
            let name = tag.split([' ', '\n']).next().unwrap();
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()) && tag.matches('"').count().is_multiple_of(2), "{tag}");
            if !EMPTY.contains(&name) {
                open.push(name.to_owned());
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// A page that runs nothing, fetches nothing and is well formed, one element a line, without the style that all pages share.
pub(crate) fn sound(page: &str) -> String {
    is_still(page);
    is_well_formed(page);
    let drawn = page.matches("<svg ").count();
    for part in ["role=\"img\"", "<desc id=", "</desc>"] {
        assert_eq!(page.matches(part).count(), drawn, "{part}");
    }
    assert_eq!(page.matches("<h1>").count(), 1);
    let digest = crate::report::base64::encode(&crate::store::sha256(STYLE.as_bytes()));
    page.replace(STYLE, "STYLE").replace(&digest, "DIGEST").replace("><", ">\n<")
}

/// Names that try to be something else.
pub(crate) fn attacks() -> [String; 6] {
    [
        "</title><script>alert(1)</script>".to_owned(),
        "\"><img src=x onerror=alert(1)>' onload='x".to_owned(),
        "\u{202e}gpj.exe\u{2066}".to_owned(),
        "x".repeat(10_000),
        "猫".repeat(4_000),
        "]]>--><style>*{display:none}</style>".to_owned(),
    ]
}

#[test]
fn every_report_is_a_page_that_does_nothing() {
    for report in samples::all() {
        let page = page(&report);
        is_still(&page);
        is_well_formed(&page);
        assert_eq!(page.matches("<h1>").count(), 1);
        assert!(page.contains(report.model.identity.digest.as_str()) && page.contains(report.policy.digest.as_str()));
    }
    for incomplete in samples::incomplete() {
        let page = (FORMAT.incomplete)(&incomplete).unwrap().text();
        is_still(&page);
        is_well_formed(&page);
        assert!(page.contains("There is no verdict."));
    }
}

#[test]
fn a_failure_is_told_in_numbers_and_words() {
    let page = page(&samples::fail());
    for said in [
        "<strong>FAIL</strong>",
        "of every 100 images that are not &quot;truck&quot;",
        "calls nothing a backdoor",
        "+0.412",
        "[0.371, 0.453]",
        "limit 0.1",
        "1,400 test images would settle it",
        "policies/baseline.yaml:14",
        "Accuracy on the target task",
        "0.812",
        "Warning: ",
        "heirloom: FAIL, release.onnx",
        "2026-01-31T12:00:00Z",
        "<h4>images forwarded</h4>",
        "planted source caught, clean source passed",
        // Of the measurements: shares of predictions by fine-tune.
        "source: how often each class is predicted",
    ] {
        assert!(page.contains(said), "{said}");
    }
    // Every picture has a name, a description and its numbers.
    let drawn = page.matches("<svg ").count();
    assert!(drawn >= 4);
    for part in ["role=\"img\"", "<desc id=", "</desc>"] {
        assert_eq!(page.matches(part).count(), drawn, "{part}");
    }
}

#[test]
fn names_mean_nothing_and_do_not_fill_the_page() {
    for name in attacks() {
        let mut report = samples::others();
        report.model.identity.path = format!("models/{name}").into();
        report.policy.name.clone_from(&name);
        report.policy.contents = Some(serde_json::json!({ "transfer": { (name.clone()): { (name.clone()): name } }, "name": name }));
        report.run.stages.insert(name.clone(), crate::report::Stage::default());
        report.changes.insert(name.clone(), name.clone());
        report.sheets.push(format!("pictures/{name}.png"));
        report.warnings.push(name.clone());
        report.summary.clone_from(&name);
        if let Some(target) = &mut report.target {
            target.classes.push(name.clone());
        }
        for finding in &mut report.findings {
            finding.rule.clone_from(&name);
            finding.reason = Some(name.clone());
            finding.drawn_to = Some(name.clone());
            finding.notes.push(name.clone());
            for arm in &mut finding.arms {
                arm.rates.insert(name.clone(), 0.5);
                arm.gains.push((name.clone(), 0.5));
                for share in &mut arm.histogram {
                    share.class.clone_from(&name);
                }
            }
        }
        let page = page(&report);
        is_still(&page);
        is_well_formed(&page);
        assert!(
            !page.contains('\u{202e}') && !page.contains('\u{2066}') && !page.contains("<img src=x") && page.len() < 2 << 20,
            "{}",
            page.len()
        );
    }
}

#[test]
fn five_thousand_findings_fit() {
    let page = page(&samples::many(5000));
    is_well_formed(&page);
    assert!(page.len() < 10 << 20, "{}", page.len());
    assert!(page.contains("of 5,000 findings stand in the table alone") && page.contains("backdoor/sweep-4999@fixed_feature"));
}

#[test]
fn sample_images_are_in_the_page_as_far_as_there_is_room() {
    let mut report = samples::fail();
    report.sheets = ["a", "b", "c"].map(|name| format!("pictures/{name}.png")).to_vec();
    let png = |bytes: usize| [&b"\x89PNG\r\n\x1a\n"[..], &vec![7; bytes]].concat();
    let pictures = [("a", png(1000)), ("b", png(3 << 20)), ("c", b"<svg onload=x>".to_vec())];
    let pictures = pictures.map(|(name, png)| Picture { file: format!("pictures/{name}.png"), png });
    let page = (FORMAT.report)(&Material { report: &report, measurements: None, pictures: &pictures }).unwrap().text();
    is_still(&page);
    is_well_formed(&page);
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 1);
    assert!(page.contains("Not in the page") && page.contains("pictures/b.png") && page.contains("pictures/c.png"));
    assert!(page.len() < 2 << 20);
}

#[test]
fn strange_numbers_are_still_a_page() {
    for value in [f64::NAN, f64::INFINITY, -1e300, 1e-300] {
        let mut report = samples::fail();
        report.run.seconds = value;
        for finding in &mut report.findings {
            finding.limit = value;
            for excess in finding.comparisons.iter_mut().filter_map(|c| c.excess.as_mut()) {
                (excess.value, excess.low, excess.high) = (value, -value, value);
            }
        }
        let page = page(&report);
        is_well_formed(&page);
        assert!(!page.contains("x1=\"NaN") && !page.contains("x1=\"inf"));
    }
}
