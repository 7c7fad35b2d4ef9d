//! What PyTorch and NumPy make of the same images (`tests/golden/triggers/make.py`).

use serde_json::Value;

use super::super::Trigger;
use super::prepared;
use crate::pixels::Frame;

/// The cases of one family.
pub(in super::super) fn cases(family: &str) -> Vec<Value> {
    let golden: Value = serde_json::from_str(include_str!("../../../tests/golden/triggers/golden.json")).expect("golden values are JSON");
    let cases = golden[family].as_array().cloned().unwrap_or_default();
    assert!(cases.len() >= 3, "{family}");
    cases
}

pub(in super::super) fn numbers(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).expect("golden values are numbers")
}

/// The image that a case starts from.
pub(in super::super) fn image(case: &Value) -> Frame {
    let [height, width] = ["height", "width"].map(|side| case[side].as_u64().expect("cases have sizes") as usize);
    let area = height * width;
    let value = |i: usize| {
        let (c, y, x) = (i / area, i % area / width, i % width);
        ((37 * x + 91 * y + 53 * c + x * y) % 256) as f32 / 255.0
    };
    Frame { height, width, planes: (0..3 * area).map(value).collect() }
}

pub(in super::super) fn close(planes: &[f32], wanted: &[f32], case: &Value) {
    assert_eq!(planes.len(), wanted.len());
    let far = planes.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 1e-4, "{far} off: {case}");
}

/// Lays the trigger over the case's image.
pub(in super::super) fn compare(trigger: &Trigger, wanted: &[f32], case: &Value) {
    let mut frame = image(case);
    prepared(trigger, frame.height, frame.width).expect("golden triggers fit").apply(&mut frame);
    close(&frame.planes, wanted, case);
}
