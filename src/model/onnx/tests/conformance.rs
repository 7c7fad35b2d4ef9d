//! The ONNX project's own node tests: a few committed ones, and any folder of them that is named.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use super::case::{Case, Outcome, check};

/// The cases in `tests/golden/onnx/node-tests.safetensors`, whose `make.py` says where they come from.
pub(super) fn committed() -> Vec<Case> {
    cases("node-tests")
}

/// The cases of a file in `tests/golden/onnx`.
fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/onnx/{file}.safetensors"));
    let bytes = std::fs::read(path).expect("golden file");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let get = |name: String| file.tensor(&name).ok().map(|view| view.data().to_vec());
    let mut names: Vec<String> = file.names().iter().filter_map(|name| name.strip_suffix("/model")).map(str::to_owned).collect();
    names.sort();
    let case = |name: String| {
        let files = |kind: &str| (0..).map_while(|i| get(format!("{name}/{kind}_{i}"))).collect::<Vec<_>>();
        Case {
            model: get(format!("{name}/model")).expect("a model"),
            inputs: files("input"),
            outputs: files("output"),
            rtol: 1e-3,
            atol: 2e-6,
            name,
        }
    };
    names.into_iter().map(case).collect()
}

#[test]
fn committed_node_tests_agree() {
    let cases = committed();
    let (mut ways, mut failed) = (0, Vec::new());
    for case in &cases {
        match check(case) {
            Outcome::Agrees(more) => ways += more,
            Outcome::Refused(reason) => failed.push(format!("{} is refused: {reason}", case.name)),
            Outcome::Wrong(what) => failed.push(format!("{} is wrong: {what}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.len(), failed.join("\n"));
    // Fewer would mean that one is met in a single way only, as constants perhaps.
    assert!(cases.len() >= 300 && ways >= 870, "{} cases in {ways} ways", cases.len());
}

/// Networks whose meaning was read wrongly once, against ONNX Runtime and PyTorch (`networks.py`).
#[test]
fn small_networks_compute_what_other_runtimes_do() {
    let cases = cases("networks");
    assert_eq!(cases.len(), 68);
    for case in &cases {
        match check(case) {
            // Of any batch size, and of a fixed one.
            Outcome::Agrees(ways) => assert!(ways >= 2, "{} in {ways} ways", case.name),
            Outcome::Refused(reason) => panic!("{} is refused: {reason}", case.name),
            Outcome::Wrong(what) => panic!("{} is wrong: {what}", case.name),
        }
    }
}

fn read(folder: &Path) -> Option<Case> {
    let set = folder.join("test_data_set_0");
    let files = |kind: &str| (0..).map_while(|i| std::fs::read(set.join(format!("{kind}_{i}.pb"))).ok()).collect::<Vec<_>>();
    let bounds = std::fs::read_to_string(folder.join("rtol_atol.txt")).unwrap_or_default();
    let mut bounds = bounds.split_whitespace().filter_map(|w| w.parse().ok());
    Some(Case {
        name: folder.file_name()?.to_string_lossy().into_owned(),
        model: std::fs::read(folder.join("model.onnx")).ok()?,
        inputs: files("input"),
        outputs: files("output"),
        rtol: bounds.next().unwrap_or(1e-3),
        atol: bounds.next().unwrap_or(1e-7).max(2e-6),
    })
}

/// All of a folder of node tests: `NAME/model.onnx` and `NAME/test_data_set_0/{input,output}_0.pb`, as the package `onnx` lays them out.
#[test]
#[ignore = "set HEIRLOOM_ONNX_TESTS to a folder of ONNX node tests"]
fn a_folder_of_node_tests_agrees() {
    let folder = std::env::var_os("HEIRLOOM_ONNX_TESTS").map(PathBuf::from).expect("HEIRLOOM_ONNX_TESTS");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    let (mut agreed, mut refused, mut wrong) = (0, Vec::new(), Vec::new());
    for case in paths.iter().filter_map(|p| read(p)) {
        match check(&case) {
            Outcome::Agrees(ways) => {
                println!("agrees {} ({ways} ways)", case.name);
                agreed += 1;
            }
            Outcome::Refused(reason) => refused.push(format!("{}: {reason}", case.name)),
            Outcome::Wrong(what) => wrong.push(format!("{}: {what}", case.name)),
        }
    }
    println!("refused:\n{}", refused.join("\n"));
    println!("{agreed} agree, {} refused, {} wrong", refused.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `model.onnx` of every folder through the public way in, cut included, against the outputs beside it.
#[test]
#[ignore = "set HEIRLOOM_ONNX_MODELS to a folder of models with inputs and outputs"]
fn a_folder_of_models_agrees() {
    let folder = std::env::var_os("HEIRLOOM_ONNX_MODELS").map(PathBuf::from).expect("HEIRLOOM_ONNX_MODELS");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    let mut failed = Vec::new();
    for path in &paths {
        let Some(case) = read(path) else { continue };
        match super::models::compare(&path.join("model.onnx"), &case) {
            Ok(what) => println!("{}: {what}", case.name),
            Err(reason) => failed.push(format!("{}: {reason}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
