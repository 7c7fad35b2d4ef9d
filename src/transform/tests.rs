mod arrays;
mod families;
mod frozen;

use std::path::{Path, PathBuf};

use super::*;
use crate::store::golden;

pub(super) mod golden;

const HERE: &str = "";

fn prepare(trigger: &Trigger, base: &Path, size: usize) -> Result<PreparedTrigger, TransformError> {
    PreparedTrigger::new(trigger, base, size, size)
}

fn square(color: &str, at: Place) -> Trigger {
    Trigger::Patch(Patch { size: 0.25, at, color: Some(color.into()), image: None, opacity: 1.0 })
}

fn message(trigger: &Trigger, base: &Path) -> String {
    prepare(trigger, base, 8).expect_err("must be refused").to_string()
}

fn grey(size: usize) -> Frame {
    Frame { width: size, height: size, planes: vec![0.4; 3 * size * size] }
}

fn applied(trigger: &PreparedTrigger, size: usize) -> Vec<f32> {
    let mut frame = grey(size);
    trigger.apply(&mut frame);
    frame.planes
}

fn changed(planes: &[f32]) -> Vec<usize> {
    planes.iter().enumerate().filter(|(_, v)| (**v - 0.4).abs() > 1e-6).map(|(i, _)| i).collect()
}

/// A PNG of the given pixels in a temporary folder.
fn png(folder: &Path, name: &str, size: (u32, u32), alpha: bool, pixel: impl Fn(u32, u32) -> [u8; 4]) -> PathBuf {
    let path = folder.join(name);
    let rgba = image::RgbaImage::from_fn(size.0, size.1, |x, y| image::Rgba(pixel(x, y)));
    let image = image::DynamicImage::ImageRgba8(rgba);
    let image = if alpha { image } else { image::DynamicImage::ImageRgb8(image.to_rgb8()) };
    image.save(&path).expect("temporary folder is writable");
    PathBuf::from(name)
}

/// A version 1 `.npy` file.
fn npy(folder: &Path, name: &str, descr: &str, order: bool, shape: &str, data: &[u8]) -> PathBuf {
    let fortran = if order { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}").into_bytes();
    header.resize(118 - 1, b' ');
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header);
    bytes.extend(data);
    std::fs::write(folder.join(name), bytes).expect("temporary folder is writable");
    PathBuf::from(name)
}

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

pub(super) fn prepared(trigger: &Trigger, height: usize, width: usize) -> Result<PreparedTrigger, TransformError> {
    PreparedTrigger::new(trigger, Path::new(HERE), height, width)
}

/// An image with light, dark, smooth and rough parts, none of them at the ends of the range.
pub(super) fn photo(height: usize, width: usize) -> Frame {
    let area = height * width;
    let value = |i: usize| {
        let (c, y, x) = ((i / area) as f32, (i % area / width) as f32, (i % width) as f32);
        let rough = ((i * 7919) % 101) as f32 / 101.0 - 0.5;
        0.5 + 0.3 * (0.11 * x + c).sin() * (0.17 * y - c).cos() + 0.1 * (0.9 * x + 0.4 * y).sin() + 0.05 * rough
    };
    Frame { width, height, planes: (0..3 * area).map(value).collect() }
}

/// What a trigger changes of an image.
pub(super) fn difference(trigger: &PreparedTrigger, frame: &Frame) -> Vec<f32> {
    let mut changed = frame.clone();
    trigger.apply(&mut changed);
    assert!(changed.planes.iter().all(|x| (0.0..=1.0).contains(x)), "{}", trigger.provenance());
    changed.planes.iter().zip(&frame.planes).map(|(after, before)| after - before).collect()
}

pub(super) use super::identity::correlation;

/// What is asked of every family's shams, on a square image: each repeats itself, has the trigger's energy within a factor, and is
/// neither the trigger nor another sham (their changes correlate less than `alike`).
pub(super) fn assert_shams(trigger: &Trigger, side: usize, factor: f32, alike: f32) {
    let prepared = prepared(trigger, side, side).unwrap();
    let frame = photo(side, side);
    let energy = |change: &[f32]| change.iter().map(|d| d * d).sum::<f32>();
    let mut seen = vec![(prepared.digest(), difference(&prepared, &frame))];
    assert!(energy(&seen[0].1) > 0.0);
    for draw in 0..SHAM_DRAWS {
        let sham = prepared.sham(draw, 11);
        assert_eq!(sham, prepared.sham(draw, 11));
        let change = difference(&sham, &frame);
        assert_eq!(change, difference(&sham, &frame), "{}", sham.provenance());
        let ratio = energy(&change) / energy(&seen[0].1);
        assert!(ratio < factor && ratio > 1.0 / factor, "{}: energy times {ratio}", sham.provenance());
        for (at, (digest, other)) in seen.iter().enumerate() {
            assert_ne!(*digest, sham.digest());
            let near = correlation(&change, other);
            assert!(near < alike, "{} and number {at} correlate by {near}", sham.provenance());
        }
        seen.push((sham.digest(), change));
    }
    assert_ne!(prepared.sham(0, 11), prepared.sham(0, 12));
}

/// The examples of every family, with their files in a folder (and named by their full path).
pub(super) fn every_family(folder: &Path) -> Vec<Trigger> {
    frozen::files(folder);
    Trigger::examples().iter().map(|trigger| trigger.with_files(&|path| folder.join(path))).collect()
}

#[test]
fn every_family_lays_something_on_and_tells_its_shams_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut digests = Vec::new();
    for trigger in every_family(folder.path()) {
        let prepared = PreparedTrigger::new(&trigger, Path::new(HERE), 16, 16).unwrap();
        let frame = photo(16, 16);
        let change = difference(&prepared, &frame);
        assert!(change.iter().any(|d| d.abs() > 0.01), "{}", prepared.provenance());
        digests.push(prepared.digest());
        for draw in 0..SHAM_DRAWS {
            let sham = prepared.sham(draw, 2);
            assert_ne!(difference(&sham, &frame), change, "{}", sham.provenance());
            digests.push(sham.digest());
        }
    }
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[test]
fn tiny_and_narrow_images_are_laid_over_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (height, width) in [(1, 1), (1, 2), (1, 33), (33, 1), (2, 2), (3, 5)] {
        for trigger in every_family(folder.path()) {
            match PreparedTrigger::new(&trigger, Path::new(HERE), height, width) {
                Ok(prepared) => {
                    difference(&prepared, &photo(height, width));
                    for draw in 0..SHAM_DRAWS {
                        difference(&prepared.sham(draw, 1), &photo(height, width));
                    }
                }
                // An array is of one size.
                Err(TransformError::Size { .. }) => {}
                Err(error) => assert!(error.to_string().contains(&format!("{height}x{width}")), "{error}"),
            }
        }
    }
}

#[test]
fn random_places_belong_to_the_image() {
    let at = |trigger: &PreparedTrigger, frame: &Frame| difference(trigger, frame).iter().position(|d| d.abs() > 0.01).unwrap();
    let trigger = |color: &str| prepare(&square(color, Place::Random), Path::new(HERE), 16).unwrap();
    let mut places = Vec::new();
    for shift in 0..40_u8 {
        let mut frame = grey(16);
        frame.planes[0] = f32::from(shift) / 255.0;
        let place = at(&trigger("#ffffff"), &frame);
        assert_eq!(place, at(&trigger("#ffffff"), &frame));
        assert_eq!(place, at(&trigger("#ff0000"), &frame), "whatever the colour");
        for draw in 0..SHAM_DRAWS {
            let outside: Vec<usize> = difference(&trigger("#ffffff").sham(draw, 5), &frame)
                .iter()
                .enumerate()
                .filter(|(i, d)| d.abs() > 1e-6 && (i % 256 < place % 256 || i % 256 > place % 256 + 3 * 16 + 3))
                .map(|(i, _)| i)
                .collect();
            assert!(outside.is_empty(), "draw {draw} left its place");
        }
        places.push(place);
    }
    places.sort_unstable();
    places.dedup();
    assert!(places.len() > 25, "of 169 places, 40 images have {}", places.len());
    assert_eq!(trigger("#ffffff").provenance(), "patch 4x4 at a place of each image's own, #ffffff");
}

#[test]
fn a_grid_has_nine_copies_or_is_refused() {
    let trigger = prepare(&square("#ffffff", Place::Grid), Path::new(HERE), 16).unwrap();
    let touched = changed(&applied(&trigger, 16));
    assert_eq!(touched.len(), 3 * 9 * 16);
    assert_eq!(trigger.provenance(), "patch 4x4 in a 3x3 grid, #ffffff");
    let large = Trigger::Patch(Patch { size: 0.4, at: Place::Grid, color: Some("#ffffff".into()), image: None, opacity: 1.0 });
    assert_eq!(
        prepare(&large, Path::new(HERE), 16).unwrap_err().to_string(),
        "trigger: patch in a 3x3 grid is 18x18 pixels and does not fit the model's input of 16x16; make `size` smaller"
    );
}

#[test]
fn opacity_lets_the_image_through() {
    let faint = Trigger::Patch(Patch { size: 0.25, at: Place::TopLeft, color: Some("#ffffff".into()), image: None, opacity: 0.25 });
    let trigger = prepare(&faint, Path::new(HERE), 8).unwrap();
    assert!((applied(&trigger, 8)[0] - (0.25 + 0.75 * 0.4)).abs() < 1e-6);
    assert_eq!(trigger.provenance(), "patch 2x2 at top left, #ffffff, opacity 0.25");
    let folder = tempfile::tempdir().unwrap();
    let image = png(folder.path(), "dot.png", (4, 4), true, |x, _| [250, 20, 30, if x < 2 { 255 } else { 0 }]);
    let overlay = |opacity| Trigger::Overlay(Overlay { image: image.clone(), size: 0.5, at: Place::Center, opacity });
    let change = |opacity| difference(&prepare(&overlay(opacity), folder.path(), 8).unwrap(), &grey(8));
    assert!(change(1.0).iter().zip(change(0.01)).all(|(full, faint)| (full * 0.01 - faint).abs() < 1e-6));
    // Also a very faint one has its shams.
    let faint = prepare(&overlay(0.01), folder.path(), 8).unwrap();
    assert_ne!(difference(&faint.sham(0, 1), &grey(8)), change(0.01));
    for bad in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
        assert!(message(&overlay(bad), folder.path()).contains("`opacity`"), "{bad}");
        let spec = Patch { size: 0.2, at: Place::TopLeft, color: Some("#ffffff".into()), image: None, opacity: bad };
        assert!(message(&Trigger::Patch(spec), folder.path()).contains("`opacity`"), "{bad}");
    }
}

#[test]
fn a_yellow_square_goes_where_it_is_told() {
    for (at, first) in [(Place::TopLeft, 0), (Place::TopRight, 6), (Place::BottomLeft, 48), (Place::BottomRight, 54), (Place::Center, 27)] {
        let planes = applied(&prepare(&square("#FFff00", at), Path::new(HERE), 8).unwrap(), 8);
        let touched = changed(&planes);
        assert_eq!(touched.len(), 12, "{at:?}");
        assert_eq!(touched.first(), Some(&first), "{at:?}");
        assert_eq!([planes[first], planes[64 + first], planes[128 + first]].map(f32::to_bits), [1.0_f32, 1.0, 0.0].map(f32::to_bits));
    }
    let tiny = Trigger::Patch(Patch { size: 0.01, at: Place::Center, color: Some("#000000".into()), image: None, opacity: 1.0 });
    assert_eq!(changed(&applied(&prepare(&tiny, Path::new(HERE), 5).unwrap(), 5)).len(), 3, "at least one pixel");
    let text = prepare(&square("#FFff00", Place::TopLeft), Path::new(HERE), 8).unwrap();
    assert_eq!(text.provenance(), "patch 2x2 at top left, #ffff00");
}

#[test]
fn shams_of_a_square_keep_its_place_and_differ_from_it_and_from_each_other() {
    for color in ["#ffff00", "#ffffff", "#000000", "#808080", "#123456", "#ff0000"] {
        let trigger = prepare(&square(color, Place::TopLeft), Path::new(HERE), 8).unwrap();
        let original = applied(&trigger, 8);
        let pixel = |planes: &[f32]| [planes[0], planes[64], planes[128]];
        let shams: Vec<[f32; 3]> = (0..SHAM_DRAWS)
            .map(|draw| {
                let planes = applied(&trigger.sham(draw, 7), 8);
                assert!(changed(&planes).iter().all(|i| [0, 1, 8, 9].contains(&(i % 64))), "{color} draw {draw} left its place");
                pixel(&planes)
            })
            .collect();
        let far = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        for (i, sham) in shams.iter().enumerate() {
            let least = if color == "#123456" { 0.1 } else { 0.24 };
            assert!(far(*sham, pixel(&original)) > least, "{color}: sham {i} is {sham:?}");
            for other in &shams[i + 1..] {
                assert!(far(*sham, *other) > 0.0, "{color}: two shams are alike");
            }
        }
        assert_eq!(trigger.sham(3, 7), trigger.sham(3, 7));
        assert_ne!(trigger.sham(3, 7), trigger.sham(3, 8));
    }
}

#[test]
fn a_gaussian_pattern_has_its_amplitude_and_so_have_its_shams() {
    let trigger = Trigger::Pattern(Pattern { seed: Some(5), file: None, amplitude: 0.1 });
    let trigger = prepare(&trigger, Path::new(HERE), 64).unwrap();
    let deviation = |t: &PreparedTrigger| {
        let Layer::Add(values) = &t.parts[0].layer else { panic!("patterns are added") };
        (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt()
    };
    assert!((deviation(&trigger) - 0.1).abs() < 0.003);
    for draw in 0..SHAM_DRAWS {
        let sham = trigger.sham(draw, 0);
        assert!((deviation(&sham) - 0.1).abs() < 0.003);
        assert!(identity::distance(&applied(&sham, 64), &applied(&trigger, 64)) > 0.05);
    }
    assert!(applied(&trigger, 64).iter().all(|v| (0.0..=1.0).contains(v)));
}

#[test]
fn a_blend_mixes_and_its_sham_keeps_the_histogram() {
    let folder = tempfile::tempdir().unwrap();
    let path = png(folder.path(), "b.png", (16, 16), false, |x, y| [(x * 16) as u8, (y * 16) as u8, 0, 255]);
    let trigger = prepare(&Trigger::Blend(Blend { image: Some(path), seed: None, opacity: 0.5 }), folder.path(), 16).unwrap();
    let planes = applied(&trigger, 16);
    assert!((planes[15] - (0.5 * 240.0 / 255.0 + 0.2)).abs() < 1e-5, "{}", planes[15]);
    let sham = applied(&trigger.sham(0, 0), 16);
    assert!(identity::distance(&sham, &planes) > 0.05);
    let sum = |v: &[f32]| v.iter().sum::<f32>();
    assert!((sum(&sham) - sum(&planes)).abs() < 1e-2);

    let flat = png(folder.path(), "flat.png", (4, 4), false, |_, _| [255, 255, 0, 255]);
    let flat = prepare(&Trigger::Blend(Blend { image: Some(flat), seed: None, opacity: 0.5 }), folder.path(), 8).unwrap();
    assert!(identity::distance(&applied(&flat.sham(2, 0), 8), &applied(&flat, 8)) > 0.05, "one colour shuffles to itself");

    let seeded = prepare(&Trigger::Blend(Blend { image: None, seed: Some(1), opacity: 0.3 }), folder.path(), 8).unwrap();
    assert_ne!(seeded.sham(0, 0), seeded.sham(1, 0));
}

#[test]
fn an_overlay_keeps_its_outline() {
    let folder = tempfile::tempdir().unwrap();
    let path = png(folder.path(), "hat.png", (8, 4), true, |x, y| [200, (x * 20) as u8, 10, if (x + y) % 2 == 0 { 255 } else { 0 }]);
    let spec = Overlay { image: path, size: 0.5, at: Place::BottomRight, opacity: 1.0 };
    let trigger = PreparedTrigger::new(&Trigger::Overlay(spec), folder.path(), 16, 16).unwrap();
    let outline = changed(&applied(&trigger, 16));
    assert_eq!(outline.len(), 3 * 16);
    assert_eq!(outline.first(), Some(&(12 * 16 + 8)));
    for draw in 0..SHAM_DRAWS {
        let sham = applied(&trigger.sham(draw, 3), 16);
        assert!(changed(&sham).iter().all(|i| outline.contains(i)));
        assert!(outline.iter().map(|&i| (sham[i] - applied(&trigger, 16)[i]).abs()).sum::<f32>() / 48.0 > 0.1);
    }
}

#[test]
fn a_patch_image_is_recoloured_even_where_it_is_grey() {
    let folder = tempfile::tempdir().unwrap();
    for (name, pixel) in [("grey.png", [255, 255, 255, 255]), ("color.png", [255, 200, 0, 255])] {
        let path = png(folder.path(), name, (5, 5), false, move |_, _| pixel);
        let spec = Patch { size: 0.5, at: Place::TopLeft, color: None, image: Some(path), opacity: 1.0 };
        let trigger = prepare(&Trigger::Patch(spec), folder.path(), 8).unwrap();
        assert!(trigger.provenance().starts_with(&format!("patch 4x4 at top left, {name} (sha256:")));
        for draw in 0..SHAM_DRAWS {
            assert_ne!(applied(&trigger, 8), applied(&trigger.sham(draw, 0), 8), "{name} {draw}");
        }
    }
}

#[test]
fn bad_sizes_and_choices_are_named() {
    let here = Path::new(HERE);
    for size in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
        let spec = Patch { size, at: Place::TopLeft, color: Some("#ffffff".into()), image: None, opacity: 1.0 };
        assert!(message(&Trigger::Patch(spec), here).contains("`size`"), "{size}");
        let spec = Pattern { seed: Some(1), file: None, amplitude: size };
        assert!(message(&Trigger::Pattern(spec), here).contains("`amplitude`"), "{size}");
        let spec = Blend { image: None, seed: Some(1), opacity: size };
        assert!(message(&Trigger::Blend(spec), here).contains("`opacity`"), "{size}");
        let spec = Overlay { image: "x.png".into(), size, at: Place::TopLeft, opacity: 1.0 };
        assert!(message(&Trigger::Overlay(spec), here).contains("`size`"), "{size}");
    }
    for color in ["", "#fff", "ffff00", "#gggggg", "#+12345", "#ffffé"] {
        assert!(message(&square(color, Place::TopLeft), here).contains("#ffff00"), "{color}");
    }
    let neither = Patch { size: 0.2, at: Place::TopLeft, color: None, image: None, opacity: 1.0 };
    assert!(message(&Trigger::Patch(neither.clone()), here).contains("neither was given"));
    let both = Patch { color: Some("#ffffff".into()), image: Some("x.png".into()), ..neither };
    assert!(message(&Trigger::Patch(both), here).contains("both were given"));
    let neither = Trigger::Pattern(Pattern { seed: None, file: None, amplitude: 0.1 });
    assert!(message(&neither, here).contains("`seed` and `file`"));
    let both = Trigger::Blend(Blend { image: Some("x.png".into()), seed: Some(1), opacity: 0.1 });
    assert!(message(&both, here).contains("both were given"));
    assert!(PreparedTrigger::new(&square("#ffffff", Place::TopLeft), here, 0, 4).is_err());
}

#[test]
fn bad_images_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let patch = |name: &str| Trigger::Patch(Patch { size: 0.5, at: Place::TopLeft, color: None, image: Some(name.into()), opacity: 1.0 });
    let overlay = |name: &str| Trigger::Overlay(Overlay { image: name.into(), size: 1.0, at: Place::TopLeft, opacity: 1.0 });
    assert!(message(&patch("absent.png"), here).contains("absent.png"));
    std::fs::write(here.join("text.png"), "hello").unwrap();
    assert!(message(&patch("text.png"), here).contains("PNG, JPEG or WebP"));
    png(here, "whole.png", (6, 6), false, |x, _| [x as u8, 0, 0, 255]);
    let bytes = std::fs::read(here.join("whole.png")).unwrap();
    std::fs::write(here.join("cut.png"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(message(&patch("cut.png"), here).contains("cannot be decoded"));
    let golden = |name: &str| std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images/files").join(name)).unwrap();
    for name in ["baseline.jpg", "progressive.jpg"] {
        let whole = golden(name);
        std::fs::write(here.join("cut.jpg"), &whole[..whole.len() * 3 / 4]).unwrap();
        assert!(message(&patch("cut.jpg"), here).contains("cut.jpg: cannot be decoded: it is truncated"));
        let masked = Feature { image: "whole.png".into(), mask: Some("cut.jpg".into()), opacity: 1.0 };
        assert!(message(&Trigger::Feature(masked), here).contains("cut.jpg: cannot be decoded: it is truncated"));
    }
    std::fs::write(here.join("turned.jpg"), golden("tag-6.jpg")).unwrap();
    assert!(message(&patch("turned.jpg"), here).contains("turned.jpg: is stored turned or mirrored (EXIF orientation 6)"));
    // Width and height of the header say 1,000,000 x 1,000,000.
    let mut huge = bytes.clone();
    huge[16..20].copy_from_slice(&1_000_000_u32.to_be_bytes());
    huge[20..24].copy_from_slice(&1_000_000_u32.to_be_bytes());
    std::fs::write(here.join("huge.png"), huge).unwrap();
    assert!(message(&patch("huge.png"), here).contains("huge.png"));
    assert!(message(&overlay("whole.png"), here).contains("no alpha channel"));
    png(here, "tall.png", (2, 9), true, |_, _| [9, 9, 9, 255]);
    assert!(message(&overlay("tall.png"), here).contains("does not fit"));
    png(here, "clear.png", (4, 4), true, |_, _| [9, 9, 9, 0]);
    assert!(message(&overlay("clear.png"), here).contains("transparent everywhere"));
    assert!(message(&patch("."), here).contains("trigger file"), "a folder");
}

#[test]
fn of_a_folder_each_image_gets_one_hat() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let hats = here.join("hats");
    std::fs::create_dir(&hats).unwrap();
    let overlay = Trigger::Overlay(Overlay { image: "hats".into(), size: 1.0, at: Place::TopLeft, opacity: 1.0 });
    assert!(message(&overlay, here).contains("hats: holds no images"), "{}", message(&overlay, here));
    png(&hats, "red.png", (8, 8), true, |_, y| [255, 0, 0, if y < 2 { 255 } else { 0 }]);
    png(&hats, "green.png", (8, 8), true, |_, y| [0, 255, 0, if y < 2 { 255 } else { 0 }]);
    for other in ["notes.txt", ".hidden.png"] {
        std::fs::write(hats.join(other), "no image").unwrap();
    }
    let trigger = prepare(&overlay, here, 8).unwrap();
    assert_eq!(trigger.provenance(), "overlay of one of 2 images of hats for each image, at top left");
    let byte = |x: f32| (x * 255.0).round() as u8;
    let lay = |trigger: &PreparedTrigger, level: usize| {
        let mut frame = Frame { height: 8, width: 8, planes: vec![level as f32 / 255.0; 192] };
        trigger.apply(&mut frame);
        // Below the hat the image is as it was.
        assert!(frame.planes.chunks(64).all(|plane| plane[16..].iter().all(|x| byte(*x) == level as u8)));
        [0, 64, 128].map(|at| byte(frame.planes[at]))
    };
    let red: Vec<bool> = (0..200)
        .map(|level| {
            let hat = lay(&trigger, level);
            assert!([[255, 0, 0], [0, 255, 0]].contains(&hat) && hat == lay(&trigger, level), "{hat:?}");
            hat == [255, 0, 0]
        })
        .collect();
    let count = red.iter().filter(|red| **red).count();
    assert!((70..130).contains(&count), "{count} of 200 images wear the red hat");
    // A sham lays the sham of the same hat.
    let sham = trigger.sham(0, 1);
    let of: Vec<[u8; 3]> = (0..200).map(|level| lay(&sham, level)).collect();
    for (level, hat) in of.iter().enumerate() {
        let like = red.iter().position(|other| *other == red[level]).unwrap();
        assert_eq!(*hat, of[like]);
        assert!(![[255, 0, 0], [0, 255, 0]].contains(hat), "{hat:?}");
    }
    // Another file in the folder is another trigger.
    let before = trigger.identity().clone();
    png(&hats, "blue.png", (8, 8), true, |_, _| [0, 0, 255, 255]);
    assert_ne!(prepare(&overlay, here, 8).unwrap().identity(), &before);
    png(&hats, "whole.png", (8, 8), false, |_, _| [0, 0, 255, 255]);
    let refused = message(&overlay, here);
    assert!(refused.contains("whole.png") && refused.contains("no alpha channel"), "{refused}");
}

#[test]
fn a_feature_shows_where_its_mask_is_white() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let image = png(here, "wall.png", (8, 8), false, |_, _| [255, 0, 0, 255]);
    let half = png(here, "half.png", (8, 8), false, |x, _| if x < 4 { [255; 4] } else { [0, 0, 0, 255] });
    let feature = |mask: Option<&PathBuf>, opacity| Trigger::Feature(Feature { image: image.clone(), mask: mask.cloned(), opacity });
    let laid = applied(&prepare(&feature(Some(&half), 0.5), here, 8).unwrap(), 8);
    assert!((laid[0] - 0.7).abs() < 1e-5 && (laid[7] - 0.4).abs() < 1e-5, "{laid:?}");
    assert_eq!(changed(&laid).len(), 3 * 32);
    assert!(message(&feature(None, 1.0), here).contains("neither transparency nor a mask"));
    let small = png(here, "small.png", (4, 8), false, |_, _| [255; 4]);
    let refused = message(&feature(Some(&small), 1.0), here);
    assert!(refused.contains("small.png") && refused.contains("4x8") && refused.contains("8x8"), "{refused}");
    let dark = png(here, "dark.png", (8, 8), false, |_, _| [0, 0, 0, 255]);
    assert!(message(&feature(Some(&dark), 1.0), here).contains("does not show anywhere"));
    assert!(message(&feature(Some(&half), 0.0), here).contains("`opacity`"));
}

#[test]
fn a_trigger_is_known_by_what_it_is_and_not_by_its_last_bit() {
    let of = |trigger: &Trigger, folder: &Path, side| PreparedTrigger::new(trigger, folder, side, 48).unwrap().identity().clone();
    let patch = Trigger::Patch(Patch { size: 0.25, at: Place::Random, color: Some("#ffff00".into()), image: None, opacity: 1.0 });
    let both =
        Trigger::All(vec![Trigger::Noise(Noise { seed: 5, amplitude: 0.2 }), Trigger::Quantize(Quantize { levels: 6, dither: true })]);
    // As `tests/golden/identities/make.py` computes them.
    assert_eq!(of(&patch, Path::new(HERE), 32).digits(), golden("trigger patch"));
    assert_eq!(of(&both, Path::new(HERE), 32).digits(), golden("trigger both"));
    assert_ne!(of(&patch, Path::new(HERE), 32), of(&patch, Path::new(HERE), 31));
    // A file counts by its contents, wherever its folder is.
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hat = |folder: &Path, red| png(folder, "hat.png", (8, 4), true, move |_, _| [red, 0, 0, 255]);
    let overlay = Trigger::Overlay(Overlay { image: hat(one.path(), 9), size: 0.5, at: Place::Center, opacity: 0.6 });
    hat(two.path(), 9);
    let first = of(&overlay, one.path(), 32);
    assert_eq!(first, of(&overlay, two.path(), 32));
    hat(two.path(), 8);
    assert_ne!(first, of(&overlay, two.path(), 32));
}
