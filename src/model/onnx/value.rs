//! What flows through an ONNX graph at import: tensors of the network, constants, and sizes that may depend on the batch.

use std::sync::Arc;

use ndarray::ArrayD;

use crate::graph::{Dim, NodeId, Shape};

/// An integer `fixed + per_item * N` of shape arithmetic, `N` being the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Size {
    pub fixed: i64,
    pub per_item: i64,
}

impl Size {
    pub fn known(self) -> Option<i64> {
        (self.per_item == 0).then_some(self.fixed)
    }

    pub fn add(self, other: Self) -> Option<Self> {
        Some(Self { fixed: self.fixed.checked_add(other.fixed)?, per_item: self.per_item.checked_add(other.per_item)? })
    }

    pub fn neg(self) -> Option<Self> {
        Some(Self { fixed: self.fixed.checked_neg()?, per_item: self.per_item.checked_neg()? })
    }

    pub fn sub(self, other: Self) -> Option<Self> {
        self.add(other.neg()?)
    }

    /// `None` where the product is not linear in `N`.
    pub fn mul(self, other: Self) -> Option<Self> {
        let (factor, size) = match (self.known(), other.known()) {
            (Some(factor), _) => (factor, other),
            (_, Some(factor)) => (factor, self),
            _ => return None,
        };
        Some(Self { fixed: size.fixed.checked_mul(factor)?, per_item: size.per_item.checked_mul(factor)? })
    }

    /// ONNX integer division truncates, which is linear in `N` only where nothing is left over.
    pub fn div(self, other: Self) -> Option<Self> {
        match (self.known(), other.known()) {
            (Some(a), Some(b)) => a.checked_div(b).map(Self::from),
            (None, Some(b)) if b != 0 && self.fixed.checked_rem(b)? == 0 && self.per_item.checked_rem(b)? == 0 => {
                Some(Self { fixed: self.fixed.checked_div(b)?, per_item: self.per_item.checked_div(b)? })
            }
            (None, None) if other.per_item != 0 && self.fixed == 0 && other.fixed == 0 => {
                (self.per_item.checked_rem(other.per_item)? == 0).then(|| self.per_item.checked_div(other.per_item).map(Self::from))?
            }
            _ => None,
        }
    }

    /// How it compares, if that is so for every `N >= 1`.
    pub fn compare(self, other: Self) -> Option<std::cmp::Ordering> {
        let difference = self.sub(other)?;
        let at_one = difference.fixed.checked_add(difference.per_item)?;
        match difference.per_item {
            0 => Some(difference.fixed.cmp(&0)),
            rising if rising > 0 && at_one > 0 => Some(std::cmp::Ordering::Greater),
            falling if falling < 0 && at_one < 0 => Some(std::cmp::Ordering::Less),
            _ => None,
        }
    }

    pub fn dim(self) -> Option<Dim> {
        match self {
            Self { fixed, per_item: 0 } => usize::try_from(fixed).ok().map(Dim::Fixed),
            Self { fixed: 0, per_item } => usize::try_from(per_item).ok().map(Dim::Batch),
            _ => None,
        }
    }
}

impl From<i64> for Size {
    fn from(fixed: i64) -> Self {
        Self { fixed, per_item: 0 }
    }
}

impl From<Dim> for Size {
    fn from(dim: Dim) -> Self {
        match dim {
            Dim::Fixed(size) => Self { fixed: size as i64, per_item: 0 },
            Dim::Batch(per_item) => Self { fixed: 0, per_item: per_item as i64 },
        }
    }
}

/// A float tensor that does not depend on the input.
#[derive(Clone, Debug)]
pub(super) struct Const {
    /// The initializer it comes from, or the tensor that a node computed.
    pub name: String,
    pub array: Arc<ArrayD<f32>>,
}

/// What a tensor name stands for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Depends on the input.
    Node(NodeId),
    /// Numbers of the network.
    Float(Const),
    /// Integers and truth values of shape arithmetic.
    Int(Arc<ArrayD<Size>>),
    /// The same, repeated along the batch.
    Spread(Spread),
}

impl Value {
    pub fn int(array: ArrayD<Size>) -> Self {
        Self::Int(Arc::new(array))
    }

    pub fn float(name: &str, array: ArrayD<f32>) -> Self {
        Self::Float(Const { name: name.into(), array: Arc::new(array) })
    }
}

/// Numbers that broadcast to a shape with the batch in it.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    /// What they are called.
    pub name: String,
    /// The numbers.
    pub array: Arc<ArrayD<Size>>,
    /// The shape that they stand for.
    pub shape: Shape,
    /// By how much the numbers grow from each image to the next: 0, or they say where in a batch the numbers of an image are.
    pub step: i64,
}
