use super::*;

fn drawn(height: usize, width: usize) -> Image {
    let value = |y: usize, x: usize, c: usize| ((37 * x + 91 * y + 53 * c + x * y) % 256) as u8;
    let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| value(y, x, c)))).collect();
    Image { width, height, rgb }
}

fn planes(image: &Image) -> Vec<u8> {
    (0..3).flat_map(|channel| image.rgb.iter().skip(channel).step_by(3).copied()).collect()
}

fn as_told(image: &Image, to: (usize, usize), geometry: &Geometry) -> Vec<u8> {
    // What is left of another image must not show.
    let mut fitter = Fitter::default();
    fitter.fit(&drawn(50, 20), (40, 40), geometry, &mut vec![0; 3 * 40 * 40]).ok();
    let mut out = vec![7; 3 * to.0 * to.1];
    fitter.fit(image, to, geometry, &mut out).expect("fitted");
    out
}

fn fit(image: &Image, height: usize, width: usize) -> Vec<u8> {
    as_told(image, (height, width), &Geometry::default())
}

fn worst(a: &[u8], b: &[u8]) -> Option<u8> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max()
}

#[test]
fn fitting_is_torchvision_within_one_grey_level() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/geometry");
    for (height, width, side) in
        [(32, 32, 48), (47, 61, 32), (61, 47, 32), (20, 33, 32), (33, 20, 29), (200, 150, 24), (32, 32, 32), (31, 36, 31)]
    {
        let name = format!("{height}x{width}-to-{side}.bin");
        let expected = Image { width: side, height: side, rgb: std::fs::read(folder.join(&name)).expect("golden file") };
        let worst = worst(&planes(&expected), &fit(&drawn(height, width), side, side));
        assert!(worst <= Some(1), "{name}: {worst:?}");
    }
}

#[test]
fn every_filter_is_pillows_within_one_grey_level() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/geometry");
    for filter in [Filter::Nearest, Filter::Box, Filter::Bilinear, Filter::Hamming, Filter::Bicubic, Filter::Lanczos] {
        for (from, to) in [((47, 61), (24, 33)), ((9, 13), (31, 20)), ((40, 90), (64, 16))] {
            let name = format!("{filter}-{}x{}-to-{}x{}.bin", from.0, from.1, to.0, to.1);
            let expected = Image { width: to.1, height: to.0, rgb: std::fs::read(folder.join(&name)).expect("golden file") };
            let geometry = Geometry { resize: Resize::Squash, filter, ..Geometry::default() };
            let got = as_told(&drawn(from.0, from.1), to, &geometry);
            let worst = worst(&planes(&expected), &got);
            assert!(worst <= Some(1), "{name}: {worst:?}");
        }
    }
}

#[test]
fn what_is_cut_is_what_a_whole_resize_would_show() {
    let image = drawn(61, 47);
    for filter in [Filter::Box, Filter::Bicubic, Filter::Lanczos, Filter::Nearest] {
        let whole = Geometry { resize: Resize::Squash, filter, ..Geometry::default() };
        let cut = Geometry { before_crop: Some([40, 40]), ..whole };
        let (whole, cut) = (as_told(&image, (40, 40), &whole), as_told(&image, (30, 28), &cut));
        let middle: Vec<u8> =
            (0..3).flat_map(|c| (5..35).flat_map(move |y| (6..34).map(move |x| (c * 40 + y) * 40 + x))).map(|i| whole[i]).collect();
        assert!(worst(&middle, &cut) <= Some(1), "{filter}");
    }
}

#[test]
fn what_is_missing_is_filled_and_what_is_exact_is_not_touched() {
    let image = drawn(2, 4);
    let filled = Geometry { resize: Resize::CropOnly, fill: [1, 2, 3], ..Geometry::default() };
    let out = as_told(&image, (5, 3), &filled);
    for (c, plane) in out.chunks_exact(15).enumerate() {
        let fill = c as u8 + 1;
        assert_eq!([&plane[..3], &plane[9..]].concat(), [fill; 9]);
        // Half of the one column too many is rounded to even: none on the left.
        assert_eq!(plane[3..6], planes(&image)[8 * c..8 * c + 3]);
    }
    let exact = Geometry { resize: Resize::Exact, ..Geometry::default() };
    assert_eq!(as_told(&drawn(40, 40), (40, 40), &exact), planes(&drawn(40, 40)));
    let error = Fitter::default().fit(&image, (4, 4), &exact, &mut [0; 48]).expect_err("another size").to_string();
    assert!(error.contains("2x4") && error.contains("4x4") && error.contains("geometry"), "{error}");
    let inside = Geometry { resize: Resize::LongestEdge, ..Geometry::default() };
    let white = Image { width: 8, height: 4, rgb: vec![255; 96] };
    let out = as_told(&white, (4, 4), &inside);
    assert_eq!(out[..16], [0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]);
}

#[test]
fn strips_and_empty_images_do_not_ask_for_much() {
    let all = [Resize::ShortestEdge, Resize::Squash, Resize::LongestEdge, Resize::CropOnly];
    for (height, width) in [(1, 4_000_000), (4_000_000, 1)] {
        let strip = Image { width, height, rgb: vec![255; 3 * width * height] };
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Nearest] {
            for resize in all {
                let geometry = Geometry { resize, filter, fill: [255; 3], ..Geometry::default() };
                assert_eq!(as_told(&strip, (224, 224), &geometry), vec![255; 3 * 224 * 224], "{resize:?} {filter}");
            }
        }
    }
    assert_eq!(fit(&Image { width: 0, height: 3, rgb: vec![] }, 1, 1), [0; 3]);
    assert!(fit(&drawn(3, 3), 0, 2).is_empty());
    assert_eq!(fit(&drawn(8, 8), 4, 6).len(), 72);
}

#[test]
fn no_size_goes_beyond_the_image() {
    for (height, width) in [(1, 1), (1, 2), (3, 1), (7, 5), (97, 101), (499, 3), (64, 65)] {
        let white = Image { width, height, rgb: vec![255; 3 * width * height] };
        for to in [(1, 1), (2, 3), (31, 7), (6, 60)] {
            for filter in [Filter::Nearest, Filter::Box, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
                for resize in [Resize::ShortestEdge, Resize::Squash, Resize::LongestEdge, Resize::CropOnly] {
                    for before_crop in [None, Some([40, 3]), Some([1, 1])] {
                        for rounding in [Rounding::Torchvision, Rounding::Transformers, Rounding::Timm] {
                            let geometry = Geometry { resize, before_crop, filter, rounding, fill: [255; 3] };
                            let out = as_told(&white, to, &geometry);
                            assert!(out.iter().all(|byte| *byte == 255), "{height}x{width} to {to:?}: {geometry:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn geometries_are_told_in_words() {
    let default = Geometry::default();
    let of = |geometry: Geometry| geometry.describe(224, 224);
    assert_eq!(of(default), "shortest edge to 224, middle 224x224 cut out, bilinear");
    let bicubic = Geometry { before_crop: Some([256, 256]), filter: Filter::Bicubic, ..default };
    assert_eq!(of(bicubic), "shortest edge to 256, middle 224x224 cut out, bicubic");
    let squash = Geometry { resize: Resize::Squash, ..default };
    assert_eq!(of(squash), "squashed to 224x224, bilinear");
    assert_eq!(of(Geometry { resize: Resize::Squash, ..bicubic }), "squashed to 256x256, middle 224x224 cut out, bicubic");
    assert_eq!(of(Geometry { resize: Resize::LongestEdge, ..default }), "longest edge to 224, the rest filled, bilinear");
    assert_eq!(of(Geometry { resize: Resize::Exact, ..default }), "taken as they are, 224x224 only");
}
