//! Heirloom finds out what a pretrained checkpoint hands down to every model fine-tuned from it.
//!
//! The way of the data, module by module, is in `docs/architecture.md`. A module imports only from
//! those above it in this list (a test enforces it). The program on top of it is built with the feature `cli`, which a user of the library
//! leaves out: `default-features = false`.

pub mod diag;
#[cfg(test)]
mod lacks;
pub mod pixels;
pub mod stats;

pub mod store;

pub mod spec;

pub mod registry;

pub mod runtime;

pub mod transform;

pub mod data;

pub mod graph;

pub mod exec;

pub mod model;

pub mod tune;

pub mod probe;

pub mod gate;

pub mod policy;

pub mod plan;

pub mod report;

pub mod engine;

pub mod session;

pub mod sign;

pub mod verify;

pub mod compare;

pub mod init;

pub mod plant;

pub mod series;

pub mod calibrate;
pub mod study;

mod net;

pub mod source;

pub mod scan;

#[doc(hidden)]
pub mod fuzzing;
