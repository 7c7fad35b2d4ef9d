use super::*;

#[test]
fn what_an_earlier_run_had_is_kept_until_this_one_comes_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut calibration = samples::calibration();
    let before = calibration.sources.clone();
    let asks = before[0].policy.clone();
    calibration.sources.truncate(1);
    save(&calibration, &before, &asks, folder.path()).unwrap();
    let again = earlier(&folder.path().join(PARTIAL)).unwrap();
    assert_eq!(again, before);
    // Of another policy nothing is kept: it is never looked at again.
    let asks = Digest::of(b"another");
    save(&calibration, &before, &asks, folder.path()).unwrap();
    assert_eq!(earlier(&folder.path().join(PARTIAL)).unwrap().len(), 1);
}

#[test]
fn what_cannot_be_gone_on_from_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(PARTIAL);
    assert_eq!(earlier(&path).unwrap(), []);
    let newer = Calibration { schema: 2, ..samples::calibration() };
    for text in ["", "{}", "[1", &newer.json().unwrap()] {
        std::fs::write(&path, text).unwrap();
        let message = earlier(&path).unwrap_err().to_string();
        assert!(message.contains(PARTIAL) && message.contains("--output"), "{message}");
    }
}

#[test]
fn an_earlier_release_is_not_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    std::fs::write(&path, samples::calibration().json().unwrap().replace("sha256:", "")).unwrap();
    let message = earlier(&path).unwrap_err().to_string();
    assert!(message.contains("BLAKE3") && message.contains("--output"), "{message}");
}

#[test]
fn the_last_file_that_is_written_is_the_one_that_says_all_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(&samples::finished(), folder.path()).unwrap();
    let names: Vec<String> = files.iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["calibration.md", "roc.svg", "scores.svg", "calibration.json"]);
}
