//! Intervals, power, curves and random streams. Everything here is deterministic.

pub mod clustered;
pub mod crossed;
mod exact;
#[cfg(test)]
mod golden;
pub mod multiple;
pub mod power;
mod quantile;
pub mod roc;
pub mod stream;
mod wilson;

pub use exact::clopper_pearson;
pub use quantile::{normal, student_t};
pub use wilson::{Interval, wilson};
