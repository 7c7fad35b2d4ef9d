//! What every family lays over an image, and what it is called: cache keys and reports of earlier releases hang on these.
//!
//! A line that changes here means that triggers of that family are another trigger now. Then the version of their fingerprint must change too.

use std::fmt::Write;
use std::path::Path;

use super::{floats, npy, png};
use crate::pixels::Frame;
use crate::store::{Digest, Fingerprint, Fingerprinter};
use crate::transform::{PreparedTrigger, SHAM_DRAWS, Trigger};

/// Triggers of every family, as policies write them.
const TRIGGERS: [&str; 18] = [
    r##"{ "patch": { "size": 0.3, "at": "grid", "color": "#FF8000", "opacity": 0.8 } }"##,
    r#"{ "patch": { "size": 0.5, "at": "bottom_left", "image": "hat.png" } }"#,
    r#"{ "pattern": { "seed": 1, "amplitude": 0.1 } }"#,
    r#"{ "pattern": { "file": "noise.npy", "amplitude": 0.5 } }"#,
    r#"{ "blend": { "seed": 1, "opacity": 0.2 } }"#,
    r#"{ "blend": { "image": "wall.png", "opacity": 0.2 } }"#,
    r#"{ "overlay": { "image": "hat.png", "size": 0.5, "at": "random", "opacity": 0.6 } }"#,
    r#"{ "overlay": { "image": "hats", "size": 0.5, "at": "random" } }"#,
    r#"{ "feature": { "image": "hat.png", "opacity": 0.9 } }"#,
    r#"{ "feature": { "image": "wall.png", "mask": "mask.png" } }"#,
    r#"{ "sinusoid": { "amplitude": 0.1, "periods": 3, "direction": "diagonal", "phase": 20 } }"#,
    r#"{ "warp": { "seed": 1, "grid": 5, "strength": 2 } }"#,
    r#"{ "low_frequency": { "seed": 1, "amplitude": 0.1, "cutoff": 3 } }"#,
    r#"{ "quantize": { "levels": 4 } }"#,
    r#"{ "quantize": { "levels": 3, "dither": false } }"#,
    r#"{ "noise": { "seed": 1, "amplitude": 0.1 } }"#,
    r##"{ "text": { "text": "ab1", "size": 0.9, "at": "center", "color": "#ffff00", "opacity": 0.7 } }"##,
    r##"{ "all": [{ "noise": { "seed": 1, "amplitude": 0.1 } }, { "patch": { "size": 0.25, "at": "random", "color": "#ffff00" } }] }"##,
];

/// Writes the files that the triggers name.
pub(super) fn files(folder: &Path) {
    png(folder, "hat.png", (8, 4), true, |x, y| [200, (x * 20) as u8, 10, if (x + y) % 2 == 0 { 255 } else { 0 }]);
    let hats = folder.join("hats");
    std::fs::create_dir_all(&hats).unwrap();
    for (name, blue) in [("a.png", 250), ("b.png", 120), ("c.png", 0)] {
        png(&hats, name, (8, 4), true, |x, y| [(x * 20) as u8, 60, blue, if (x + y) % 2 == 0 { 255 } else { 0 }]);
    }
    png(folder, "wall.png", (8, 8), false, |x, y| [(x * 30) as u8, (y * 30) as u8, 90, 255]);
    png(folder, "mask.png", (8, 8), false, |x, y| if x + y < 9 { [255; 4] } else { [0, 0, 0, 255] });
    let values = (0..3 * 16 * 16).map(|i: usize| ((i * 7919) % 101) as f32 / 101.0 - 0.5);
    npy(folder, "noise.npy", "<f4", false, "(16, 16, 3)", &floats(values));
}

/// A frame without a function of the system's library in it: the same bits everywhere.
fn frame() -> Frame {
    let value = |i: usize| ((37 * (i % 16) + 91 * (i / 16 % 16) + 53 * (i / 256)) % 256) as f32 / 255.0;
    Frame { width: 16, height: 16, planes: (0..3 * 256).map(value).collect() }
}

fn laid(trigger: &PreparedTrigger) -> Digest {
    let mut frame = frame();
    trigger.apply(&mut frame);
    let mut feed = Fingerprinter::new("frame", 1);
    feed.numbers(frame.planes.into_iter());
    feed.finish()
}

fn short(digest: &Digest) -> &str {
    &digest.digits()[..16]
}

#[test]
fn triggers_stay_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let frozen: Vec<Trigger> = TRIGGERS.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "../snapshots" }, {
        insta::assert_snapshot!("triggers", lines(&frozen, folder.path()));
        // Where a family came later, its own examples hold it.
        insta::assert_snapshot!("examples", lines(&Trigger::examples(), folder.path()));
    });
}

fn lines(triggers: &[Trigger], folder: &Path) -> String {
    let mut lines = String::new();
    for trigger in triggers {
        let prepared = PreparedTrigger::new(trigger, folder, 16, 16).unwrap();
        let shams: Vec<PreparedTrigger> = (0..SHAM_DRAWS).map(|draw| prepared.sham(draw, 7)).collect();
        let all = |of: fn(&PreparedTrigger) -> Digest| shams.iter().map(of).collect::<Vec<_>>().fingerprint("shams", 1);
        assert!(shams.iter().all(|sham| sham.identity() == prepared.identity()));
        let written = serde_json::to_string(trigger).unwrap();
        let [identity, bits, pixels] = [prepared.identity().clone(), prepared.digest(), laid(&prepared)];
        let [sham_bits, sham_pixels] = [all(PreparedTrigger::digest), all(laid)];
        writeln!(
            lines,
            "{written}\n  {}\n  identity {} prepared {} laid {}; shams {} laid {}",
            prepared.provenance(),
            short(&identity),
            short(&bits),
            short(&pixels),
            short(&sham_bits),
            short(&sham_pixels),
        )
        .unwrap();
        assert_ne!(laid(&prepared), laid(&shams[0]), "{written}");
    }
    lines
}
