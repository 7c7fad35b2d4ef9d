//! plant.
