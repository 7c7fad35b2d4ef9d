//! What the libraries' own processors make of images (`tests/golden/preprocessing/make.py`).

use std::path::Path;

use safetensors::SafeTensors;

use super::*;
use crate::pixels::Image;
use crate::transform::geometry::{Fitter, Normalise};

fn image(height: usize, width: usize) -> Image {
    let value = |y: usize, x: usize, c: usize| ((37 * x + 91 * y + 53 * c + x * y) % 256) as u8;
    let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| value(y, x, c)))).collect();
    Image { width, height, rgb }
}

#[test]
fn images_enter_as_the_libraries_themselves_prepare_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/preprocessing/cases.safetensors");
    let bytes = std::fs::read(path).expect("golden file");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let cases = header.metadata().clone().expect("cases");
    assert!(cases.len() >= 30, "{}", cases.len());
    for (case, files) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let files: BTreeMap<String, Value> = serde_json::from_str(&files).expect("files by name");
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content.to_string()).expect("written");
        }
        let user = InputOverride::default();
        let found = find(&Configuration::read(&folder.path().join("model.onnx")).expect("read"), &BTreeMap::new(), &user)
            .unwrap_or_else(|e| panic!("{case}: {e}"));
        for (height, width) in [(40, 90), (61, 47), (16, 16)] {
            let view = file.tensor(&format!("{case}.{height}x{width}")).expect("a tensor");
            let [3, h, w] = view.shape() else { panic!("{case}: {:?}", view.shape()) };
            let size = [*h, *w];
            assert_eq!(found.size, Some(size), "{case}");
            let expected: Vec<f32> = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let to = settle(&found, &user).expect("settled");
            let (geometry, from) = settle_geometry(&found, &user, size);
            assert!(!from.starts_with("assumed"), "{case}");
            let mut planes = vec![0; 3 * h * w];
            Fitter::default().fit(&image(height, width), (*h, *w), &geometry, &mut planes).expect("fitted");
            let mut got = vec![0.0; 3 * h * w];
            let bgr = to.order == ChannelOrder::Bgr;
            Normalise { mean: to.mean, std: to.std, channels: 3, nhwc: false, bgr }.bytes(&planes, &mut got);
            for (i, (a, b)) in expected.iter().zip(&got).enumerate() {
                let place = i / (h * w);
                let colour = if bgr { 2 - place } else { place };
                // In grey levels, with what rounding to f32 leaves.
                let apart = (a - b).abs() * 255.0 * to.std[colour];
                assert!(apart <= 1.01, "{case} {height}x{width}: {a} and {b} at {i}, {apart} grey levels; {geometry:?} {to:?}");
            }
        }
    }
}
