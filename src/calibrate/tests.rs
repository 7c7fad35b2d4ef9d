use super::*;

#[test]
fn what_an_earlier_run_had_is_kept_until_this_one_comes_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let resume = || Campaign::resume(folder.path(), &samples::calibration()).unwrap();
    let mut calibration = samples::calibration();
    resume().keep(&calibration).unwrap();
    let before = calibration.sources.clone();
    calibration.sources.truncate(1);
    resume().keep(&calibration).unwrap();
    assert_eq!(resume().earlier, before);
    // Of another policy nothing is kept: it is never looked at again.
    calibration.sources[0].policy = Digest::of(b"another");
    resume().keep(&calibration).unwrap();
    assert_eq!(resume().earlier.len(), 1);
}

#[test]
fn an_earlier_release_is_not_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let text = campaign::text(&samples::calibration()).unwrap().replace("sha256:", "");
    std::fs::write(folder.path().join(PARTIAL), text).unwrap();
    let message = Campaign::resume(folder.path(), &samples::calibration()).err().unwrap().to_string();
    assert!(message.contains("BLAKE3") && message.contains("--output"), "{message}");
}
