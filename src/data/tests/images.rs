//! Images that are truncated, turned, of other formats, or behind links.

use super::*;
use crate::diag::Explain;

/// An image of the golden files (tests/golden/images/make.py).
fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images/files").join(name)).unwrap()
}

/// A folder of these images, all of both classes and splits.
fn folder_of(images: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for place in ["train/a", "train/b", "test/a", "test/b"] {
        let place = folder.path().join(place);
        std::fs::create_dir_all(&place).unwrap();
        for name in images {
            std::fs::write(place.join(name), golden(name)).unwrap();
        }
    }
    folder
}

#[test]
fn images_are_turned_as_the_loader_of_their_source_does() {
    let shape = |data: &TargetData| data.test.image(0).map(|image| (image.width, image.height)).unwrap();
    let spec = |orientation| Target { orientation, overlap: 1.0, ..target(DataSpec::Folder("{split}".into())) };
    let said = |data: &TargetData| data.warnings.iter().filter(|warning| warning.contains("EXIF")).cloned().collect::<Vec<_>>();
    let folder = folder_of(&["tag-6.jpg", "tag-1.jpg"]);
    let open_as = |orientation| open(&spec(orientation), folder.path(), 0).unwrap();
    // Sorted by name, the turned one comes second.
    let sizes = |data: &TargetData| (0..2).map(|i| data.test.image(i).unwrap().width).collect::<Vec<_>>();
    let usual = open_as(None);
    assert_eq!(sizes(&usual), [5, 5]);
    assert_eq!(
        said(&usual),
        ["4 of 8 images ask to be turned or mirrored (EXIF orientation) and are used as stored, as torchvision's ImageFolder does; \
          `orientation: upright` turns them: train/a/tag-6.jpg, train/b/tag-6.jpg, test/a/tag-6.jpg, ..."]
    );
    let stored = open_as(Some(Orientation::Stored));
    assert_eq!((sizes(&stored), said(&stored).len()), (vec![5, 5], 0));
    let upright = open_as(Some(Orientation::Upright));
    assert_eq!((sizes(&upright), said(&upright).len()), (vec![5, 3], 0));
    // What is shown otherwise is another view, for everything that is kept.
    assert_eq!(usual.test.digest(), stored.test.digest());
    assert_ne!(usual.test.digest(), upright.test.digest());
    let turned = golden("tag-6.jpg");
    let rows = [(Some(&turned[..]), Some(0)), (Some(&turned[..]), Some(1))];
    let hub = opened(&rows, 0.0).unwrap();
    assert_eq!((shape(&hub), said(&hub).len()), ((3, 5), 0));
}

#[test]
fn truncated_images_of_every_format_are_broken_in_folders_and_in_parquet() {
    for name in ["baseline.jpg", "progressive.jpg", "true-colour.png", "lossy.webp", "true-colour.bmp", "lzw.tif", "colour.ppm"] {
        let folder = folder_of(&[name]);
        let cut = golden(name);
        let cut = &cut[..cut.len() * 3 / 4];
        std::fs::write(folder.path().join("test/b").join(name), cut).unwrap();
        std::fs::write(folder.path().join("test/b/whole.png"), png(3, 3, 9)).unwrap();
        let spec = |broken| Target { broken, overlap: 1.0, ..target(DataSpec::Folder("{split}".into())) };
        let error = message(open(&spec(0.0), folder.path(), 0));
        assert!(
            error.contains(&format!("1 of 5 images does not decode, more than the share of 0 that `broken` allows: test/b/{name}: ")),
            "{error}"
        );
        let data = open(&spec(0.2), folder.path(), 0).unwrap();
        assert_eq!((data.broken.len(), data.test.len()), (1, 2), "{name}");
        let whole = golden(name);
        let rows = [(Some(&whole[..]), Some(0)), (Some(&whole[..]), Some(1)), (Some(cut), Some(1))];
        assert!(message(opened(&rows, 0.0)).contains("2 of 6 images do not decode"), "{name}");
        assert_eq!(opened(&rows, 0.5).unwrap().broken.len(), 2, "{name}");
    }
    let cut = golden("baseline.jpg");
    let rows = [(Some(&cut[..cut.len() - 2]), Some(0)), (Some(&cut[..]), Some(1))];
    assert!(message(opened(&rows, 0.0)).contains("it is truncated: the file ends before the image does"));
}

#[test]
fn folders_of_bmp_or_tif_files_are_read_and_others_are_named() {
    for name in ["true-colour.bmp", "palette.bmp", "plain.tif", "deflate.tif", "gray.pgm"] {
        let folder = folder_of(&[name]);
        let data = open(&Target { overlap: 1.0, ..target(DataSpec::Folder("{split}".into())) }, folder.path(), 0).unwrap();
        assert_eq!((data.test.len(), data.test.image(0).unwrap().width), (2, 37), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    for place in ["train/a", "train/b", "test/a", "test/b"] {
        std::fs::create_dir_all(folder.path().join(place)).unwrap();
        std::fs::write(folder.path().join(place).join("1.heic"), "x").unwrap();
    }
    let error = open(&target(DataSpec::Folder("{split}".into())), folder.path(), 0).map(drop).expect_err("no images");
    assert!(error.hint().is_some_and(|hint| hint.contains("as JPEG, PNG") && !hint.contains("damaged")), "{:?}", error.hint());
    let error = error.to_string();
    assert!(
        error.contains("it has no sub-folders of images, one for each class; 2 files do not end as images do")
            && error.ends_with("train/a/1.heic, train/b/1.heic"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn links_of_the_hub_cache_are_followed_inside_it() {
    use std::os::unix::fs::symlink;
    let hub = tempfile::tempdir().unwrap();
    let repository = hub.path().join("datasets--owner--name");
    let snapshot = repository.join("snapshots/0123");
    std::fs::create_dir_all(repository.join("blobs")).unwrap();
    for (blob, place) in [("aa", "train/cat/1.png"), ("bb", "train/dog/1.png"), ("cc", "test/cat/1.png"), ("dd", "test/dog/1.png")] {
        std::fs::write(repository.join("blobs").join(blob), png(2, 2, 9)).unwrap();
        std::fs::create_dir_all(snapshot.join(place).parent().unwrap()).unwrap();
        symlink(format!("../../../../blobs/{blob}"), snapshot.join(place)).unwrap();
    }
    let spec = Target { overlap: 1.0, ..target(DataSpec::Folder("{split}".into())) };
    let data = open(&spec, &snapshot, 0).unwrap();
    assert_eq!((data.train.len(), &*data.test.records()[1].id), (2, "test/dog/1.png"));
    let whole = Target { test_share: Some(0.5), ..target(DataSpec::Folder(repository.clone())) };
    assert!(message(open(&whole, Path::new(""), 0)).contains("name the folder below its `snapshots`"));
    std::fs::write(hub.path().join("secret.png"), png(2, 2, 9)).unwrap();
    symlink(hub.path().join("secret.png"), snapshot.join("train/cat/2.png")).unwrap();
    assert!(message(open(&spec, &snapshot, 0)).contains("links to a place outside"));
}
