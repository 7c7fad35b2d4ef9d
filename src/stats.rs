//! Intervals, power and random streams. Everything here is deterministic.

pub mod crossed;
pub mod power;
mod quantile;
pub mod stream;
mod wilson;

pub use quantile::{normal, student_t};
pub use wilson::{Interval, wilson};
