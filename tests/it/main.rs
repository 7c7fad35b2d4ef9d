//! Integration tests: the binary as users run it, and the shape of the source.

mod bad_input;
mod cache;
mod calibrate;
mod certify;
mod cli;
mod evidence;
mod export;
mod hub;
mod identities;
mod init;
#[path = "../../src/lacks.rs"]
mod lacks;
mod layers;
mod objects;
mod onnx;
mod probes;
mod run;
mod runtime;
mod salt;
mod saved;
mod scan;
mod scan_hub;
mod scan_objects;
mod shams;
mod worker;
