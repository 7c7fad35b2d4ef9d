//! `.npy` arrays as patterns.

use super::*;

#[test]
fn an_array_is_read_in_every_layout() {
    let folder = tempfile::tempdir().unwrap();
    let value = |c: usize, y: usize, x: usize| (c * 100 + y * 10 + x) as f32 / 1000.0;
    let (h, w) = (2, 4);
    let planar: Vec<f32> = (0..3 * h * w).map(|i| value(i / (h * w), i / w % h, i % w)).collect();
    let files = [
        npy(folder.path(), "a.npy", "<f4", false, "(3, 2, 4)", &floats(planar.clone())),
        npy(folder.path(), "b.npy", "<f4", false, "(2, 4, 3)", &floats((0..24).map(|i| value(i % 3, i / 12, i / 3 % 4)))),
        npy(folder.path(), "c.npy", "<f4", true, "(3, 2, 4)", &floats((0..24).map(|i| value(i % 3, i / 3 % 2, i / 6)))),
        npy(
            folder.path(),
            "d.npy",
            "<f8",
            false,
            "(3, 2, 4)",
            &planar.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect::<Vec<_>>(),
        ),
    ];
    for file in files {
        let trigger = Trigger::Pattern(Pattern { seed: None, file: Some(file.clone()), amplitude: 1.0 });
        let prepared = PreparedTrigger::new(&trigger, folder.path(), h, w).unwrap();
        assert_eq!(prepared.parts[0].layer, Layer::Add(planar.clone()), "{}", file.display());
        let Layer::Add(mut sham) = prepared.sham(0, 1).parts.remove(0).layer else { panic!("patterns are added") };
        assert_ne!(sham, planar);
        sham.sort_by(f32::total_cmp);
        assert_eq!(sham, {
            let mut sorted = planar.clone();
            sorted.sort_by(f32::total_cmp);
            sorted
        });
    }
}

#[test]
fn bad_arrays_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let refused = |path: PathBuf| message(&Trigger::Pattern(Pattern { seed: None, file: Some(path), amplitude: 1.0 }), here);
    let zeros = floats(vec![0.0; 192]);
    assert!(refused(npy(here, "shape.npy", "<f4", false, "(8, 7, 3)", &zeros)).contains("[8, 7, 3]"));
    assert!(refused(npy(here, "scalar.npy", "<f4", false, "()", &zeros)).contains("shape []"));
    assert!(refused(npy(here, "int.npy", "|u1", false, "(8, 8, 3)", &[0; 192])).contains("float32"));
    assert!(refused(npy(here, "object.npy", "|O", false, "(8, 8, 3)", &[0; 192])).contains("object.npy"));
    assert!(refused(npy(here, "short.npy", "<f4", false, "(8, 8, 3)", &zeros[..99])).contains("ends too early"));
    assert!(refused(npy(here, "nan.npy", "<f4", false, "(8, 8, 3)", &floats(vec![f32::NAN; 192]))).contains("finite"));
    assert!(refused(npy(here, "product.npy", "<f4", false, "(4294967296, 4294967296, 3)", &zeros)).contains("impossible size"));
    assert!(refused(npy(here, "digits.npy", "<f4", false, "(99999999999999999999999, 3)", &zeros)).contains("impossible size"));
    std::fs::write(here.join("pickle.npy"), b"\x80\x04").unwrap();
    assert!(refused("pickle.npy".into()).contains("numpy.save"));
    std::fs::write(here.join("lie.npy"), b"\x93NUMPY\x02\x00\xff\xff\xff\xff{").unwrap();
    assert!(refused("lie.npy".into()).contains("header claims"));
    std::fs::write(here.join("end.npy"), b"\x93NUMPY\x01\x00\x76\x00{").unwrap();
    assert!(refused("end.npy".into()).contains("within its header"));
}
