//! Intervals and random streams.

pub mod stream;
