//! Intervals, power, curves and random streams. Everything here is deterministic.

pub(crate) mod clustered;
pub(crate) mod crossed;
mod exact;
#[cfg(test)]
mod golden;
pub mod innocents;
pub(crate) mod population;
pub(crate) mod power;
mod quantile;
pub(crate) mod roc;
pub mod stream;
mod wilson;

pub(crate) use exact::clopper_pearson;
pub use quantile::{normal, student_t, student_t_real};
pub(crate) use wilson::{Interval, wilson};
