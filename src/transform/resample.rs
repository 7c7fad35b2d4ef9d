//! Frames whose pixels come from other places.

use crate::pixels::Frame;

/// Reads every pixel at its place, bilinearly; places are within the frame.
pub(super) fn resample(frame: &mut Frame, from: &[[f32; 2]]) {
    let (height, width) = (frame.height, frame.width);
    // A frame of another size than the field's has no place for some of its pixels, and stays as it is.
    if from.len() != height * width || from.is_empty() {
        return;
    }
    for plane in frame.planes.chunks_exact_mut(height * width) {
        let source = plane.to_vec();
        let pixel = |y: usize, x: usize| source.get(y.min(height - 1) * width + x.min(width - 1)).copied().unwrap_or(0.0);
        for (out, [row, column]) in plane.iter_mut().zip(from) {
            let (y, x) = (row.floor(), column.floor());
            let (v, u) = (row - y, column - x);
            let (y, x) = (y as usize, x as usize);
            let upper = (1.0 - u) * pixel(y, x) + u * pixel(y, x + 1);
            let lower = (1.0 - u) * pixel(y + 1, x) + u * pixel(y + 1, x + 1);
            *out = ((1.0 - v) * upper + v * lower).clamp(0.0, 1.0);
        }
    }
}
