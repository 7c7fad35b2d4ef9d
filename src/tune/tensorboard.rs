//! Training curves as an event file of TensorBoard: records of a length, a checksum of it, a protobuf message and a checksum of that.
//!
//! The messages are those of `event.proto` and `summary.proto`, as far as scalars need them.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::Epoch;

/// What the first record of every such file says.
const VERSION: &str = "brain.Event:2";

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    // Zero is written too.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// The bytes of an event file: for each epoch, numbered from 1, `loss/train`, `accuracy/train` and `learning_rate`, and with the last one
/// `accuracy/test` (a share of the test images). `ended` has the end of each epoch.
pub(crate) fn events(started: SystemTime, epochs: &[Epoch], ended: &[SystemTime], test_accuracy: f64) -> Vec<u8> {
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let mut bytes = Vec::new();
    record(&Event { wall_time: seconds(started), step: 0, file_version: Some(VERSION.to_owned()), summary: None }, &mut bytes);
    for (at, epoch) in epochs.iter().enumerate() {
        let value = |tag: &str, value: f64| Value { tag: tag.to_owned(), simple_value: Some(value as f32) };
        let mut values =
            vec![value("loss/train", epoch.loss), value("accuracy/train", epoch.accuracy), value("learning_rate", epoch.learning_rate)];
        if at + 1 == epochs.len() {
            values.push(value("accuracy/test", test_accuracy));
        }
        let wall_time = seconds(ended.get(at).copied().unwrap_or(started));
        let summary = Some(Summary { value: values });
        record(&Event { wall_time, step: at as i64 + 1, file_version: None, summary }, &mut bytes);
    }
    bytes
}

/// Appends one record.
fn record(event: &Event, bytes: &mut Vec<u8>) {
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    bytes.extend(length);
    bytes.extend(masked(&length).to_le_bytes());
    bytes.extend(&message);
    bytes.extend(masked(&message).to_le_bytes());
}

/// The checksum as the format keeps it: turned and shifted, because a checksum of bytes that hold their own checksum is a weak one.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a curve has a few hundred bytes for each epoch.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut rest = u32::MAX;
    for byte in bytes {
        rest ^= u32::from(*byte);
        for _ in 0..8 {
            rest = (rest >> 1) ^ (POLYNOMIAL & (rest & 1).wrapping_neg());
        }
    }
    !rest
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// `tests/golden/tensorboard/make.py` wrote the file with TensorBoard's own writer.
    #[test]
    fn the_bytes_are_those_that_tensorboard_writes() {
        let after = |seconds: f64| UNIX_EPOCH + Duration::from_secs_f64(1_700_000_000.5 + seconds);
        let epoch = |loss, accuracy, learning_rate| Epoch { loss, accuracy, learning_rate };
        let epochs = [epoch(2.25, 0.125, 0.05), epoch(1.0, 0.5, 0.1), epoch(0.0, 1.0, 0.0)];
        let found = events(after(0.0), &epochs, &[after(2.0), after(4.0), after(6.0)], 0.75);
        assert_eq!(found, include_bytes!("../../tests/golden/tensorboard/events.tfevents"));
    }

    /// Numbers that the same script prints; the second is the check value of every catalogue of checksums.
    #[test]
    fn checksums_are_those_of_castagnoli() {
        let counted: Vec<u8> = (0..32).collect();
        for (bytes, wanted) in [(&b""[..], 0), (b"123456789", 0xe306_9283), (&[0; 32], 0x8a91_36aa), (&counted, 0x46dd_794e)] {
            assert_eq!(crc32c(bytes), wanted, "{bytes:?}");
        }
        assert_eq!(masked(b""), 0xa282_ead8);
    }
}
