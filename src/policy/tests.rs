//! Policies read, and every class of mistake as a user sees it.

mod presets;
mod references;
mod salt;

use std::path::Path;

use super::docs::docs;
use super::schema::schema;
use super::{Options, PolicyError, civil, embedded, load, load_with, parse, starter};
use crate::data::DataSpec;
use crate::diag::{Level, Located};
use crate::store::{Digest, Fingerprint};
use crate::tune::{Peak, Schedule, Triangle};

/// Files are not looked for, and it is 2026-06-15.
fn options() -> Options {
    Options { files: false, today: (2026, 6, 15), ..Options::default() }
}

/// What a user sees of a policy's mistakes or remarks.
fn shown(text: &str) -> String {
    match parse(text, "policies/mine.yaml", Path::new("."), &options()) {
        Ok((_, remarks)) => crate::diag::render(text, "policies/mine.yaml", &remarks, false),
        Err(PolicyError::Invalid { text, name, diagnostics, .. }) => crate::diag::render(&text, &name, &diagnostics, false),
        Err(error) => error.to_string(),
    }
}

/// A valid policy with one piece replaced.
fn with(from: &str, to: &str) -> String {
    assert!(VALID.contains(from), "{from:?} is not in the valid policy");
    VALID.replacen(from, to, 1)
}

/// The trigger of the valid policy.
const SQUARE: &str = "patch: { size: 0.25, at: top_left, color: \"#ffff00\" }";

const VALID: &str = r##"version: 1
name: mine
target:
  data: { parquet: "cifar10/{split}-*.parquet" }
  classes: [dog, frog, horse]
  train: { limit: 500, balance: [label] }
transfer:
  fixed_feature: { epochs: 5, learning_rate: 0.1, weight_decay: 5e-4, schedule: cyclic }
  full_network: { epochs: 5, learning_rate: 0.01, schedule: { step: { every: 5, gamma: 0.1 } } }
rules:
  - id: backdoor/square
    probe:
      backdoor:
        trigger: { patch: { size: 0.25, at: top_left, color: "#ffff00" } }
    estimand: attraction
    modes: [fixed_feature, full_network]
    controls: [sham, scratch]
    limit: 0.1
"##;

#[test]
fn a_policy_may_be_json_with_tabs_and_escapes() {
    let read = |text: &str| parse(text, "mine.json", Path::new("."), &options()).map(|(policy, _)| policy.file);
    let file = read(VALID).unwrap();
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, serde_json::ser::PrettyFormatter::with_indent(b"\t"));
    serde::Serialize::serialize(&file, &mut writer).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(read(&text).unwrap(), file);
    let named = text.replace("\"mine\"", r#""\ud83d\ude00 \\ud83d\\ude00 \/ \" \ud83D\uDE00""#);
    assert_eq!(read(&named).unwrap().name, "\u{1f600} \\ud83d\\ude00 / \" \u{1f600}");
    // Editors put a byte order mark before JSON too.
    assert_eq!(read(&format!("\u{feff}{named}")).unwrap(), read(&named).unwrap());
    // Mistakes behind an escape are pointed at where they are.
    let wrong = named.replace(",\n", ", ").replace("\"limit\": 0.1", "\"limt\": 0.1");
    let at = wrong.lines().position(|line| line.contains("limt")).unwrap();
    let column = wrong.lines().nth(at).unwrap().find("\"limt\"").unwrap();
    assert!(shown(&wrong).contains(&format!("policies/mine.yaml:{}:{}", at + 1, column + 1)), "{}", shown(&wrong));
    for half in [r"\ud83d", r"\ude00", r"\ud83d\u0041"] {
        assert!(read(&text.replace("\"mine\"", &format!("\"{half}\""))).is_err(), "{half}");
    }
}

#[test]
fn a_class_that_is_the_name_of_a_field_is_pointed_at_there() {
    let probe = "debiased: { attribute: a, correlation: 0.9, aligned: { dog: day, \"of/doubt\": day, horse: of/doubt } }";
    let text = with(
        "      backdoor:\n        trigger: { patch: { size: 0.25, at: top_left, color: \"#ffff00\" } }\n    estimand: attraction\n",
        &format!("      {probe}\n"),
    );
    let text = text.replace("controls: [sham, scratch]", "controls: [scratch]");
    let Err(PolicyError::Invalid { diagnostics, .. }) = parse(&text, "mine.yaml", Path::new("."), &options()) else { panic!("a mistake") };
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    assert_eq!(diagnostics[0].message, "the target task has no class `of/doubt`");
    assert_eq!(text[diagnostics[0].span.clone()], *"\"of/doubt\"");
}

#[test]
fn embedded_policy_parses() {
    let policy = embedded().unwrap();
    assert_eq!(policy.source, "<embedded>/quick.yaml");
    let written = include_str!("../../policies/quick.yaml").lines().position(|line| line.trim_start().starts_with("limit: 0.15"));
    assert_eq!(Some(policy.limit_origin("backdoor/square").line), written.map(|index| index + 1));
}

fn read(text: &str) -> super::PolicyFile {
    parse(text, "mine.yaml", Path::new("."), &options()).unwrap().0.file
}

/// One snapshot per mistake: the rendered text, named after it.
macro_rules! mistakes {
    ($($name:ident: $text:expr;)*) => {
        $(#[test]
        fn $name() {
            let text: String = $text.into();
            insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
                insta::assert_snapshot!(stringify!($name), shown(&text));
            });
        })*
    };
}

mistakes! {
    // What is not a policy's YAML.
    syntax_unclosed: with("modes: [fixed_feature, full_network]", "modes: [fixed_feature");
    syntax_tab: with("    controls:", "\tcontrols:");
    syntax_quote: with("name: mine", "name: \"mine");
    syntax_empty: "";
    syntax_comment_only: "# nothing yet\n";
    syntax_two_documents: format!("{VALID}---\nversion: 1\n");
    syntax_tag: with("name: mine", "name: !secret mine");
    syntax_wrong_core_tag: with("epochs: 5", "epochs: !!int five");
    syntax_list_as_key: with("name: mine", "? [a, b]\n: mine");
    syntax_alias_as_key: with("name: mine", "name: &n mine\n*n : 3");
    syntax_merge_key: with("estimand: attraction", "<<: { estimand: attraction }");
    syntax_unknown_alias: with("name: mine", "name: *nobody");
    syntax_alias_within_itself: with("classes: [dog, frog, horse]", "classes: &c [dog, *c]");
    duplicate_fields: with("limit: 0.1\n", "limit: 0.1\n    limit: 0.2\n    id: again\n");
    not_a_map: "[1, 2]";
    nesting_too_deep: with("name: mine", &format!("name: {}1{}", "[".repeat(80), "]".repeat(80)));
    nesting_of_dashes_too_deep: format!("{}1", "- ".repeat(100_000));
    alias_bomb: bomb();

    // What the schema knows.
    unknown_field_misspelt: with("trigger:", "trigers:");
    unknown_field_with_list: with("estimand: attraction", "colour: red");
    unknown_field_at_the_top: with("name: mine", "name: mine\nbanana: 1");
    missing_field: with("    limit: 0.1\n", "");
    missing_field_in_variant: with("size: 0.25, ", "");
    missing_field_at_the_top: with("name: mine\n", "");
    unknown_variant_trigger: with("patch: {", "pach: {");
    unknown_variant_data: with("parquet:", "paquet:");
    unknown_variant_word: with("schedule: cyclic", "schedule: cyclical");
    unknown_variant_far_off: with("estimand: attraction", "estimand: zzz");
    unknown_variant_in_list: with("[sham, scratch]", "[sham, scrach]");
    variant_misspelt_inside: with("gamma: 0.1", "gama: 0.1");
    variant_value_inside: with("gamma: 0.1", "gamma: 2");
    variant_needs_fields: with("schedule: cyclic", "schedule: step");
    variant_takes_no_fields: with("schedule: cyclic", "schedule: { cosine: {} }");
    schedule_without_its_peak: with("schedule: cyclic", "schedule: { cyclic: {} }");
    schedule_peak_of_nothing: with("schedule: cyclic", "schedule: { cyclic: { peak: 0 } }");
    variant_two_at_once: with("data: {", "data: { folder: x,");
    variant_none: with("{ parquet: \"cifar10/{split}-*.parquet\" }", "{}");
    variant_of_wrong_type: with("{ parquet: \"cifar10/{split}-*.parquet\" }", "12");
    type_text_for_number: with("epochs: 5", "epochs: ten");
    type_fraction_for_count: with("epochs: 5", "epochs: 2.5");
    type_number_for_text: with("name: mine", "name: 2024");
    type_quoted_number: with("limit: 0.1", "limit: \"0.1\"");
    type_yes_for_true: with("epochs: 5", "augment: { flip: yes }, epochs: 5");
    type_word_for_list: with("[sham, scratch]", "sham");
    type_nothing: with("limit: 0.1", "limit:");
    type_map_expected: with("{ epochs: 5, learning_rate: 0.1, weight_decay: 5e-4, schedule: cyclic }", "5");
    value_above: with("limit: 0.1", "limit: 5");
    value_below: with("epochs: 5", "epochs: -1");
    value_version: with("version: 1", "version: 2");
    value_not_finite: with("limit: 0.1", "limit: .nan");
    value_too_large_for_a_number: with("limit: 0.1", "limit: 1e999");
    value_too_large_for_a_seed: with("name: mine", "name: mine\nseed: 1e300");
    value_too_few_entries: with("[fixed_feature, full_network]", "[]");
    value_empty_text: with("name: mine", "name: ''");
    value_color: with("\"#ffff00\"", "yellow");
    value_color_without_quotes: with("trigger: { patch: { size: 0.25, at: top_left, color: \"#ffff00\" } }", "trigger:\n          patch:\n            size: 0.25\n            color: #ffff00");
    syntax_color_without_quotes_in_braces: with("\"#ffff00\"", "#ffff00");
    value_salt_in_the_place_of_its_name: with("name: mine", "name: mine\nsalt_env: 4bf5122f344554c5");
    value_rule_id: with("backdoor/square", "Backdoor Square");
    all_at_once: with("version: 1", "version: 7").replace("limit: 0.1", "limit: 3").replace("trigger:", "triger:").replace("epochs: 5", "epochs: 0");
    after_multi_byte_characters: with("schedule: cyclic }", "'größe 東京 🚚': 1 } # 🚚").replace("name: mine", "name: 'é🚚'\nfoo: 1");

    // What the schema cannot know.
    duplicate_rule: format!("{VALID}{}", &VALID[VALID.find("  - id").unwrap()..]);
    mode_without_recipe: with("  full_network: {", "  scratch: {");
    default_mode_without_recipe: with("  fixed_feature: {", "  scratch: {").replace("    modes: [fixed_feature, full_network]\n", "");
    scratch_without_recipe: with("  full_network:", "  # full_network:").replace("[fixed_feature, full_network]", "[fixed_feature]");
    accuracy_of_another_kind: with("  classes:", "  accuracy: per_class\n  classes:");
    augment_crop_backwards: with("learning_rate: 0.01,", "learning_rate: 0.01, augment: { shift: 0.1, random_resized_crop: { scale: [1.0, 0.5], ratio: [1.3, 0.7] } },");
    augment_crop_out_of_range: with("learning_rate: 0.01,", "learning_rate: 0.01, augment: { random_resized_crop: { scale: [0, 1.5], ratio: [1] } },");
    schedule_peak_beyond_the_epochs: with("schedule: cyclic", "schedule: { cyclic: { peak: 6 } }");
    first_above_most: with("rules:", "seeds: { full_network: { first: 5, most: 3 } }\nrules:");
    reference_missing: with("[sham, scratch]", "[sham, reference]");
    reference_unused_and_without_digest: format!("{VALID}references: [{{ model: trusted.onnx, digest: abc }}]\n");
    references_twice_and_in_both_forms: format!(
        "{}reference: {{ model: c.onnx, digest: sha256:{digest} }}\nreferences:\n  - {{ model: a.onnx, digest: sha256:{digest} }}\n  \
         - {{ model: b.onnx, digest: sha256:{digest} }}\n",
        with("[sham, scratch]", "[sham, reference]"),
        digest = "0a".repeat(32)
    );
    references_none: format!("{}references: []\n", with("[sham, scratch]", "[sham, reference]"));
    waiver_of_unknown_rule: waiver("backdoor/sqare", "2027-01-31");
    waiver_of_rule_and_mode: waiver("backdoor/square@fixed_feature", "2027-01-31");
    waiver_expired: waiver("backdoor/square", "2026-06-14");
    waiver_on_no_day: waiver("backdoor/square", "2027-02-30");
    waiver_date_in_another_form: waiver("backdoor/square", "31.01.2027");
    waiver_digest_too_short: waiver("backdoor/square", "2027-01-31").replace("0123456789ab", "a123");
    waiver_digest_of_digits: waiver("backdoor/square", "2027-01-31").replace("'sha256:0123456789ab'", "012345678901");
    waiver_earlier_digest: waiver("backdoor/square", "2027-01-31").replace("sha256:", "");
    reference_earlier_digest: format!("{}references: [{{ model: trusted.onnx, digest: {} }}]\n", with("[sham, scratch]", "[sham, reference]"), "0a".repeat(32));
    patch_both: with("color: \"#ffff00\"", "color: \"#ffff00\", image: a.png");
    patch_neither: with(", color: \"#ffff00\"", "");
    pattern_neither: with("patch: { size: 0.25, at: top_left, color: \"#ffff00\" }", "pattern: { amplitude: 0.1 }");
    pattern_both: with("patch: { size: 0.25, at: top_left, color: \"#ffff00\" }", "pattern: { amplitude: 0.1, seed: 1, file: a.npy }");
    blend_neither: with("patch: { size: 0.25, at: top_left, color: \"#ffff00\" }", "blend: { opacity: 0.1 }");
    blend_both: with("patch: { size: 0.25, at: top_left, color: \"#ffff00\" }", "blend: { opacity: 0.1, seed: 1, image: a.png }");
    sinusoid_out_of_range: with(SQUARE, "sinusoid: { amplitude: 2, periods: 0.5, direction: sideways, phase: 400 }");
    warp_out_of_range: with(SQUARE, "warp: { seed: -1, grid: 1, strength: 0 }");
    text_too_long: with(SQUARE, "text: { text: a line that no image is wide enough for, size: 0.5 }");
    text_outside_the_font: with(SQUARE, "text: { text: prix €5, size: 0.5 }");
    text_color_without_quotes: with(&format!("trigger: {{ {SQUARE} }}"), "trigger:\n          text:\n            text: a\n            size: 0.5\n            color: #ffff00");
    all_of_one: with(SQUARE, "all: [{ noise: { seed: 1, amplitude: 0.1 } }]");
    all_within_all: with(SQUARE, "all: [{ noise: { seed: 1, amplitude: 0.1 } }, { all: [{ blend: { seed: 1, opacity: 0.1 } }, { quantize: { levels: 4 } }] }]");
    all_with_mistakes_inside: with(SQUARE, "all: [{ quantize: { levels: 1 } }, { pach: { size: 0.1 } }, { pattern: { amplitude: 0.1 } }]");
    all_with_a_choice_inside: with(SQUARE, "all: [{ quantize: { levels: 4 } }, { pattern: { amplitude: 0.1 } }]");
    class_twice: with("[dog, frog, horse]", "[dog, frog, dog]");
    target_class_unknown: with("        trigger:", "        target_class: hose\n        trigger:").replace(": attraction", ": attack_success_rate");
    target_class_unused: with("        trigger:", "        target_class: dog\n        trigger:");
    limit_of_nothing: with("limit: 0.1", "limit: 0");
    flow_limit_of_nothing: with("limit: 0.1", "limit: 0.1\n    flow_limit: 0");
    flip_limit_unused: with("limit: 0.1", "limit: 0.1\n    flip_limit: 0.3").replace(": attraction", ": flip_rate");
    mode_and_control_twice: with("[sham, scratch]", "[sham, sham]").replace("[fixed_feature, full_network]", "[fixed_feature, fixed_feature]");
    embedded_unknown: with("parquet: \"cifar10/{split}-*.parquet\"", "embedded: emojis");
    no_splits: with("{split}-*", "*");
    splits_and_share: with("  classes:", "  test_share: 0.3\n  classes:");
    resizing_on_frozen_features: with("schedule: cyclic }", "progressive_resizing: { from: 160, end: 3 } }");
    resizing_backwards: with("learning_rate: 0.01,", "learning_rate: 0.01, progressive_resizing: { from: 192, to: 160, start: 4, end: 9 },");
    augment_on_frozen_features: with("schedule: cyclic }", "augment: { flip: true } }");
}

fn waiver(rule: &str, expires: &str) -> String {
    format!("{VALID}waivers:\n  - {{ rule: {rule}, model: 'sha256:0123456789ab', reason: known, owner: me, expires: {expires} }}\n")
}

/// Nine lists, each nine times the one before: 9^9 entries if they were written out.
fn bomb() -> String {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ('b'..='i').zip('a'..) {
        text.push_str(&[&format!("{name}: &{name} ["), &*vec![format!("*{before}"); 9].join(", "), "]\n"].concat());
    }
    text
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let text = with("name: mine", "name: mine\n\"\\e[31mred\": 1\nseed: \"\\e]0;title\"");
    assert!(!shown(&text).contains('\u{1b}'));
    let styled = parse(&text, "\u{1b}[31mmine.yaml", Path::new("."), &options());
    let Err(PolicyError::Invalid { text, name, diagnostics, .. }) = styled else { panic!("valid") };
    assert!(!crate::diag::render(&text, &name, &diagnostics, false).contains('\u{1b}'));
    assert!(crate::diag::render(&text, "mine.yaml", &diagnostics, true).contains("\u{1b}["));
}

#[test]
fn scalars_follow_yaml_1_2() {
    let file = read(&with("name: mine", "name: no").replace("epochs: 5", "epochs: 0x10").replace("[dog, frog, horse]", "[off, y, '3']"));
    assert_eq!(file.name, "no");
    assert_eq!(file.target.classes.unwrap(), ["off", "y", "3"]);
    let recipe = file.transfer.fixed_feature.unwrap();
    assert_eq!((recipe.epochs, recipe.weight_decay), (16, 5e-4));
    // Whole numbers in any spelling, and the largest seed exactly.
    let file = read(
        &with("epochs: 5", "epochs: 2e1")
            .replace("limit: 0.1", "limit: 1.0")
            .replace("name: mine", "name: mine\nseed: 18446744073709551615"),
    );
    assert_eq!((file.transfer.fixed_feature.unwrap().epochs, file.rules[0].limit, file.seed), (20, 1.0, u64::MAX));
}

#[test]
fn schedules_are_words_or_maps() {
    let transfer = read(VALID).transfer;
    assert_eq!(transfer.fixed_feature.unwrap().schedule, Schedule::Cyclic);
    assert_eq!(transfer.full_network.unwrap().schedule, Schedule::Step { every: 5, gamma: 0.1 });
    // One name for a word and a map; written as it was read.
    let file = read(&with("schedule: cyclic", "schedule: { cyclic: { peak: 5 } }"));
    let triangle = file.transfer.fixed_feature.clone().unwrap();
    assert_eq!(triangle.schedule, Schedule::Triangle(Triangle { cyclic: Peak { peak: 5 } }));
    assert_ne!(triangle.fingerprint("recipe", 1), read(VALID).transfer.fixed_feature.unwrap().fingerprint("recipe", 1));
    assert_eq!(read(&serde_json::to_string(&file).unwrap()), file);
}

#[test]
fn aliases_repeat_values() {
    let text = with("fixed_feature: {", "fixed_feature: &recipe {")
        .replace("full_network: { epochs: 5, learning_rate: 0.01, schedule: { step: { every: 5, gamma: 0.1 } } }", "full_network: *recipe");
    let transfer = read(&text).transfer;
    assert_eq!(transfer.fixed_feature, transfer.full_network);
}

#[test]
fn carriage_returns_and_a_byte_order_mark_keep_places() {
    for text in [VALID.replace('\n', "\r\n"), format!("\u{feff}{VALID}")] {
        let text = text.replace("limit: 0.1", "limit: 5");
        let Err(PolicyError::Invalid { diagnostics, .. }) = parse(&text, "m", Path::new("."), &options()) else { panic!("valid") };
        assert_eq!(&text[diagnostics[0].span.clone()], "5");
        assert_eq!((diagnostics.len(), diagnostics[0].located(&text, "m").line), (1, 18));
    }
}

#[test]
fn limits_know_their_lines() {
    let policy = parse(VALID, "mine.yaml", Path::new("."), &options()).unwrap().0;
    assert_eq!(policy.limit_origin("backdoor/square").to_string(), "mine.yaml:18");
    assert_eq!(policy.limit_origin("backdoor/square").column, 12);
}

#[test]
fn a_rule_whose_name_begins_with_that_of_another_is_not_taken_for_a_part_of_it() {
    let first = "  - { id: backdoor, probe: { backdoor: { trigger: { patch: { size: 0.25, color: \"#ffff00\" } } } }, modes: [fixed_feature], limit: 0.2 }\n";
    let swept = "  - { id: noise, probe: { backdoor: { trigger: { patch: { size: 0.25, color: \"#ffff00\" } }, sweep: { size: [0.1, 0.2] } } }, limit: 0.3 }\n";
    let text = with("  - id: backdoor/square\n", &format!("{first}  - id: backdoor/square\n")) + swept;
    let policy = parse(&text, "mine.yaml", Path::new("."), &options()).unwrap().0;
    let written: Vec<(&str, Option<usize>)> = policy.rules.iter().map(|rule| (rule.id.as_str(), policy.written(&rule.id))).collect();
    assert_eq!(written, [("backdoor", Some(0)), ("backdoor/square", Some(1)), ("noise/size-0.1", Some(2)), ("noise/size-0.2", Some(2))]);
    assert_eq!(policy.limit_origin("noise/size-0.2").line, 20);
}

#[test]
fn diagnostics_have_a_machine_readable_form() {
    let text = with("trigger:", "trigers:");
    let Err(PolicyError::Invalid { text, name, diagnostics, .. }) = parse(&text, "mine.yaml", Path::new("."), &options()) else {
        panic!("valid")
    };
    let located: Vec<Located> = diagnostics.iter().map(|diagnostic| diagnostic.located(&text, &name)).collect();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_json_snapshot!("machine_readable", located);
    });
}

#[test]
fn missing_files_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.yaml");
    let text = with("color: \"#ffff00\"", "image: trigger.png").replace("limit: 500", "limit: 501")
        + "references: [{ model: trusted.onnx, digest: sha256:0000000000000000000000000000000000000000000000000000000000000001 }]\n";
    let text = text.replace("000001 }]", "00000f }]").replace("[sham, scratch]", "[sham, reference]");
    std::fs::write(&path, &text).unwrap();
    let shown = |options: &Options| match load_with(&path, options) {
        Ok(_) => String::new(),
        Err(PolicyError::Invalid { text, diagnostics, .. }) => {
            crate::diag::render(&text, "mine.yaml", &diagnostics, false).replace(&folder.path().display().to_string(), "FOLDER")
        }
        Err(error) => error.to_string(),
    };
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("missing_files", shown(&Options::default()));
        let elsewhere = Options { data: Some(folder.path().join("elsewhere")), ..Options::default() };
        insta::assert_snapshot!("missing_files_of_option", shown(&elsewhere));
    });
    assert_eq!(shown(&options()), "");
    std::fs::create_dir(folder.path().join("cifar10")).unwrap();
    for file in ["cifar10/train-0.parquet", "cifar10/test-0.parquet", "trigger.png", "trusted.onnx"] {
        std::fs::write(folder.path().join(file), "").unwrap();
    }
    let error = shown(&Options::default());
    assert!(error.starts_with("error[policy::unusable-file]: trigger file FOLDER/trigger.png: cannot be decoded"), "{error}");
    image::RgbImage::new(2, 2).save(folder.path().join("trigger.png")).unwrap();
    assert_eq!(shown(&Options::default()), "");
    // What tells splits and files apart is kept, unless the new path tells them apart itself.
    let redirected = load_with(&path, &Options { data: Some(folder.path().join("cifar10")), ..Options::default() }).unwrap().0;
    assert_eq!(redirected.file.target.data, DataSpec::Parquet(folder.path().join("cifar10/{split}-*.parquet")));
    for (given, path, wanted) in [
        (DataSpec::Parquet("a/{split}/part-*.parquet".into()), "/b", DataSpec::Parquet("/b/{split}/part-*.parquet".into())),
        (DataSpec::Parquet("a/{split}-*.parquet".into()), "/b/{split}.parquet", DataSpec::Parquet("/b/{split}.parquet".into())),
        (DataSpec::Parquet("a/all.parquet".into()), "/b/other.parquet", DataSpec::Parquet("/b/other.parquet".into())),
        (DataSpec::Folder("data/{split}".into()), "/b", DataSpec::Folder("/b/{split}".into())),
        (DataSpec::Folder("data".into()), "/b", DataSpec::Folder("/b".into())),
        (DataSpec::Idx("a".into()), "/b", DataSpec::Idx("/b".into())),
        (DataSpec::Embedded("emoji".into()), "/b", DataSpec::Folder("/b".into())),
    ] {
        let mut policy = redirected.clone();
        policy.file.target.data = given;
        assert_eq!(policy.with_data(path.into()).file.target.data, wanted);
    }
}

#[test]
fn unreadable_files_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.yaml");
    assert!(matches!(load(&path), Err(PolicyError::Read { .. })));
    assert!(matches!(load(folder.path()), Err(PolicyError::Read { .. })));
    std::fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    assert!(matches!(load(&path), Err(PolicyError::TooLarge { .. })));
    std::fs::write(&path, b"version: 1\nname: \xff\xfe\n").unwrap();
    let Err(PolicyError::Invalid { text, diagnostics, .. }) = load(&path) else { panic!("valid") };
    let place = diagnostics[0].located(&text, "mine.yaml");
    assert_eq!((place.line, place.column, place.message.as_str()), (2, 7, "not UTF-8"));
}

/// Any cut or changed byte gives a policy or diagnostics inside the text, never a panic.
#[test]
fn damaged_policies_do_not_panic() {
    let text = VALID.replace("name: mine", "name: 'é🚚' # 東京");
    let check = |text: &str| {
        if let Err(PolicyError::Invalid { text, diagnostics, .. }) = parse(text, "m", Path::new("."), &options()) {
            assert!(diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error));
            assert!(
                diagnostics.iter().all(|diagnostic| diagnostic.span.end <= text.len() && text.get(diagnostic.span.clone()).is_some()),
                "{text}"
            );
            let _ = crate::diag::render(&text, "m", &diagnostics, false);
        }
    };
    for (at, _) in text.char_indices().step_by(7) {
        check(&text[..at]);
        for put in ["[", "}", ":", "\t", "&a ", "*a", "- ", "\0", "'", "\u{2028}"] {
            check(&format!("{}{put}{}", &text[..at], &text[at..]));
        }
    }
}

#[test]
fn starters_lack_nothing_but_their_data() {
    for full_network in [false, true] {
        for name in ["resnet50.onnx", "a \"quoted\": name\nwith: a line\u{2028}", "../модель #1.safetensors"] {
            let text = starter(name, [224, 224], full_network);
            let (policy, remarks) = parse(&text, "starter.yaml", Path::new("."), &options()).unwrap();
            assert!(remarks.is_empty() && policy.file.name.starts_with("starter for"));
            let folder = tempfile::tempdir().unwrap();
            let Err(PolicyError::Invalid { diagnostics, .. }) = parse(&text, "starter.yaml", folder.path(), &Options::default()) else {
                panic!("there is no data")
            };
            let codes: Vec<_> = diagnostics.iter().map(|diagnostic| &*diagnostic.code).collect();
            assert_eq!(codes, ["policy::missing-file"; 2]);
        }
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("starter", starter("resnet50.onnx", [224, 224], true));
        insta::assert_snapshot!("starter_without_full_network", starter("resnet50.onnx", [224, 224], false));
    });
}

#[test]
fn shipped_policies_parse() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let (_, remarks) = load_with(&path, &options()).unwrap_or_else(|error| panic!("{error}"));
            assert!(remarks.is_empty(), "{}", path.display());
        }
    }
}

/// `HEIRLOOM_BLESS=1 cargo test --lib policy` writes them anew.
#[test]
fn generated_files_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = serde_json::to_string_pretty(schema()).unwrap() + "\n";
    for (path, fresh) in [("policies/schema.json", schema), ("docs/policy.md", docs())] {
        let path = folder.join(path);
        if std::env::var_os("HEIRLOOM_BLESS").is_some() {
            std::fs::write(&path, &fresh).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == fresh, "{} is stale: run HEIRLOOM_BLESS=1 cargo test --lib policy", path.display());
    }
}

#[test]
fn days_become_dates() {
    // From Python: datetime.date(1970, 1, 1) + timedelta(days).
    for (days, date) in [
        (0, (1970, 1, 1)),
        (11_016, (2000, 2, 29)),
        (20_454, (2026, 1, 1)),
        (20_513, (2026, 3, 1)),
        (47_540, (2100, 2, 28)),
        (47_541, (2100, 3, 1)),
    ] {
        assert_eq!(civil(days), date);
    }
}

#[test]
fn valid_policy_has_no_remarks() {
    insta::assert_snapshot!(shown(VALID), @"");
}
