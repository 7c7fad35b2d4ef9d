//! Integration tests: the binary as users run it, and the shape of the source.

mod cli;
mod layers;
