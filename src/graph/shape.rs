//! Shapes whose batch size is not known yet.

use std::fmt;

/// One dimension of a [`Shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A known size.
    Fixed(usize),
    /// That many per item of the batch: `Batch(1)` is `N`, `Batch(12)` is `12 N`.
    Batch(usize),
}

impl Dim {
    /// The size at batch size `n`.
    pub fn at(self, n: usize) -> usize {
        match self {
            Dim::Fixed(size) => size,
            Dim::Batch(per_item) => per_item * n,
        }
    }
}

/// The shape of a node's output.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// All dimensions known.
    pub fn fixed(sizes: &[usize]) -> Self {
        Self(sizes.iter().map(|&size| Dim::Fixed(size)).collect())
    }

    /// `[N, rest...]`.
    pub fn batched(rest: &[usize]) -> Self {
        Self(std::iter::once(Dim::Batch(1)).chain(rest.iter().map(|&size| Dim::Fixed(size))).collect())
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The sizes at batch size `n`.
    pub fn at(&self, n: usize) -> Vec<usize> {
        self.0.iter().map(|dim| dim.at(n)).collect()
    }

    /// The size of an axis, if it does not depend on the batch.
    pub fn known(&self, axis: usize) -> Option<usize> {
        match self.0.get(axis) {
            Some(Dim::Fixed(size)) => Some(*size),
            _ => None,
        }
    }

    /// Whether any axis depends on the batch.
    pub fn is_batched(&self) -> bool {
        self.0.iter().any(|dim| matches!(dim, Dim::Batch(_)))
    }

    /// Number of elements per item of the batch (of the whole, if not batched).
    pub fn elements_per_item(&self) -> usize {
        self.at(1).iter().product()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match dim {
                Dim::Fixed(size) => write!(f, "{size}")?,
                Dim::Batch(1) => f.write_str("N")?,
                Dim::Batch(per_item) => write!(f, "{per_item}N")?,
            }
        }
        f.write_str("]")
    }
}
