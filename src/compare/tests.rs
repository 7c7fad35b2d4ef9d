//! What becomes of a rule, and the table of it. Whole comparisons are in `tests/it/evidence.rs`.

use super::pair::missing;
use super::{Change, Comparison, PairedDifference, RuleChange, Side, page_of, render};
use crate::gate::Verdict;
use crate::probe::Estimand;
use crate::report::html::tests::{attacks, sound};
use crate::store::Digest;
use crate::tune::Mode;

fn rule(name: &str, change: Change, verdicts: [Verdict; 2], bounds: Option<[f64; 3]>) -> RuleChange {
    RuleChange {
        rule: name.to_owned(),
        mode: Mode::FixedFeature,
        change,
        reason: bounds.is_none().then(|| "another limit: 0.1 before, 0.2 now | <b>".to_owned()),
        estimand: Estimand::Attraction,
        limits: [Some(0.1), Some(0.1)],
        verdicts: verdicts.map(Some),
        difference: bounds.map(|[value, low, high]| PairedDifference { value, low, high, images: 200, clusters: 200, seeds: 17 }),
    }
}

fn comparison(rules: Vec<RuleChange>, exit_code: u8) -> Comparison {
    let side = |model: &str, exit_code| Side {
        model: model.to_owned(),
        digest: Digest::sample("9f2e"),
        policy: "base|line".to_owned(),
        policy_digest: Digest::sample("41c9"),
        started: "2026-01-31T12:00:00Z".to_owned(),
        exit_code,
    };
    Comparison { old: side("old.onnx", 0), new: side("new.onnx", 1), confidence: 0.95, margin: 0.02, rules, exit_code }
}

#[test]
fn a_comparison_looks_like_this() {
    let (pass, fail) = (Verdict::Pass, Verdict::Fail);
    let rules = vec![
        rule("same", Change::Same, [pass, pass], Some([0.001, -0.02, 0.022])),
        rule("greater", Change::Worse, [pass, pass], Some([0.06, 0.03, 0.09])),
        rule("broken", Change::Broken, [pass, fail], Some([0.41, 0.36, 0.46])),
        rule("limit", Change::NotComparable, [pass, pass], None),
    ];
    insta::assert_snapshot!(render(&comparison(rules.clone(), 1)));
    insta::assert_snapshot!("the_page_of_a_comparison", sound(&page_of(&comparison(rules, 1))));
    assert!(render(&comparison(Vec::new(), 5)).contains("⚠️ NOT KNOWN"));
}

#[test]
fn many_rules_are_counted() {
    let rules = (0..5000).map(|index| rule(&format!("rule-{index}"), Change::Same, [Verdict::Pass; 2], Some([0.0, -0.01, 0.01]))).collect();
    let text = render(&comparison(rules, 0));
    assert!(text.contains("5000 rules: 5000 the same") && text.contains("4800 more") && text.lines().count() < 220, "{}", text.len());
}

#[test]
fn names_mean_nothing_to_the_page_and_do_not_fill_it() {
    for name in attacks() {
        let mut of = comparison(vec![rule(&name, Change::Broken, [Verdict::Pass, Verdict::Fail], None)], 5);
        for side in [&mut of.old, &mut of.new] {
            side.model.clone_from(&name);
            side.policy.clone_from(&name);
            side.started.clone_from(&name);
        }
        for rule in &mut of.rules {
            rule.reason = Some(name.clone());
        }
        let page = page_of(&of);
        sound(&page);
        assert!(!page.contains('\u{202e}') && !page.contains("<img src=x") && page.len() < 1 << 18, "{}", page.len());
    }
    let many = (0..5000).map(|index| rule(&format!("rule-{index}"), Change::Same, [Verdict::Pass; 2], Some([0.0, -0.01, 0.01]))).collect();
    let page = page_of(&comparison(many, 0));
    sound(&page);
    assert!(page.contains("and 4800 more") && page.len() < 1 << 20, "{}", page.len());
}

#[test]
fn what_is_gone_is_told() {
    let finding = crate::report::samples::fail().findings.remove(0);
    let gone = missing(&finding);
    assert_eq!((gone.change, gone.limits, gone.verdicts), (Change::Missing, [Some(0.1), None], [Some(Verdict::Fail), None]));
}
