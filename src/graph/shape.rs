//! Shapes whose batch size is not known yet.

use std::fmt;

/// Most numbers per image in one tensor (1 GiB): a file that asks for more is wrong or means harm.
pub const MOST_ELEMENTS: usize = 1 << 28;

/// Most axes of a tensor.
pub const MOST_AXES: usize = 16;

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
    pub(crate) fn at(self, n: usize) -> usize {
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
    pub(crate) fn fixed(sizes: &[usize]) -> Self {
        Self(sizes.iter().map(|&size| Dim::Fixed(size)).collect())
    }

    /// `[N, rest...]`.
    pub fn batched(rest: &[usize]) -> Self {
        Self(std::iter::once(Dim::Batch(1)).chain(rest.iter().map(|&size| Dim::Fixed(size))).collect())
    }

    /// Number of axes.
    pub(crate) fn rank(&self) -> usize {
        self.0.len()
    }

    /// The sizes at batch size `n`.
    pub fn at(&self, n: usize) -> Vec<usize> {
        self.0.iter().map(|dim| dim.at(n)).collect()
    }

    /// The size of an axis, if it does not depend on the batch.
    pub(crate) fn known(&self, axis: usize) -> Option<usize> {
        match self.0.get(axis) {
            Some(Dim::Fixed(size)) => Some(*size),
            _ => None,
        }
    }

    /// Whether any axis depends on the batch.
    pub(crate) fn is_batched(&self) -> bool {
        self.0.iter().any(|dim| matches!(dim, Dim::Batch(_)))
    }

    /// Why a tensor of this shape is not computed, if it has too many axes or elements.
    pub(super) fn bounded(&self) -> Result<(), String> {
        if self.rank() > MOST_AXES {
            return Err(format!("{} axes are more than the {MOST_AXES} supported", self.rank()));
        }
        // Zeros are left out, so that no partial product overflows later.
        let product = self.0.iter().try_fold(1usize, |product, dim| product.checked_mul(dim.at(1).max(1)));
        match product.filter(|p| *p <= MOST_ELEMENTS) {
            Some(_) => Ok(()),
            None => Err(format!("{self} holds more than {MOST_ELEMENTS} numbers per image")),
        }
    }

    /// Number of elements per item of the batch (of the whole, if not batched).
    pub(crate) fn elements_per_item(&self) -> usize {
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
