//! Golden values from other packages (`tests/golden/stats/make.py`).

use serde_json::Value;

/// What stands under a name.
pub fn value(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../../tests/golden/stats/golden.json")).expect("golden values are JSON");
    all[name].clone()
}

/// Rows of numbers.
pub fn list(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).expect("golden values are rows of numbers")
}

/// Equal to an absolute or relative tolerance, whichever is wider.
pub fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs().max(1.0)
}
