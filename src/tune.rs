//! Fine-tuning: recipes, and the one training loop.

mod recipe;

pub use recipe::{Augment, Mode, Optimizer, Recipe, Schedule};
