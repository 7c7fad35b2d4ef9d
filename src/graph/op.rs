//! The closed set of operators.

use super::{Shape, SlotId};

/// An elementwise function of one input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`; its derivative at 0 is 0, as in PyTorch.
    Relu,
    /// `x` where positive, `slope * x` elsewhere.
    LeakyRelu(f64),
    /// `x` where positive, `alpha * (exp(x) - 1)` elsewhere.
    Elu(f64),
    /// `x` limited to `[min, max]`.
    Clip {
        /// Least value (may be negative infinity).
        min: f64,
        /// Greatest value (may be infinity).
        max: f64,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `clip(alpha * x + beta, 0, 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f64,
        /// Value at 0.
        beta: f64,
    },
    /// `x * clip(x / 6 + 1/2, 0, 1)`.
    HardSwish,
    /// `x * sigmoid(x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// `x * Phi(x)`, exact or by the tanh approximation.
    Gelu {
        /// Use the tanh approximation.
        tanh: bool,
    },
    /// Gauss error function.
    Erf,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `exp(x)`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// `1 / x`.
    Reciprocal,
    /// `x` to a constant power.
    Pow(f64),
    /// `scale * x + shift` with constants.
    Affine {
        /// Factor.
        scale: f64,
        /// Summand.
        shift: f64,
    },
    /// Rounded to a float of two bytes and computed with as it was. The gradient passes as it is, as that of a cast does in PyTorch.
    Round(Sixteen),
}

/// A float of two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sixteen {
    /// IEEE half precision: 11 bits, up to 65504, infinite above.
    Float16,
    /// The upper half of a float of four bytes: 8 bits.
    Bfloat16,
}

impl Sixteen {
    /// The nearest number that it holds; halfway between two, the even one.
    pub(crate) fn round(self, value: f64) -> f64 {
        match self {
            Self::Float16 => half::f16::from_f64(value).to_f64(),
            Self::Bfloat16 => half::bf16::from_f64(value).to_f64(),
        }
    }
}

/// An elementwise function of two inputs, broadcast as in NumPy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// The greater one; NaN where either is NaN. The gradient goes to the greater one, half to each of equals, as in PyTorch.
    Max,
    /// The lesser one; NaN where either is NaN. The gradient goes to the lesser one, half to each of equals.
    Min,
}

/// What [`Op::Reduce`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// Arithmetic mean.
    Mean,
    /// Sum.
    Sum,
    /// Greatest value; the gradient goes to the first of equals.
    Max,
}

/// Window of a convolution or pooling. Pads are `[top, left, bottom, right]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Step down and across.
    pub stride: [usize; 2],
    /// Padding `[top, left, bottom, right]`; may differ side by side (`SAME_UPPER`, ceiling mode).
    pub pads: [usize; 4],
    /// Distance between kernel taps.
    pub dilation: [usize; 2],
}

/// The closed set of operators.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The model input, `[N, ...]`. Exactly one per graph.
    Input,
    /// A parameter or constant; no inputs.
    Param(SlotId),
    /// `x [N,C,H,W], w [O,C/groups,kh,kw], (b [O])`.
    Conv2d {
        /// Geometry; `kernel` repeats the weight's.
        window: Window,
        /// Number of groups; `C` for a depthwise convolution.
        groups: usize,
    },
    /// `x [..., in], w [out, in], (b [out])` -> `[..., out]`.
    Linear,
    /// Batched matrix product `a [..., m, k], b [..., k, n]`, leading axes broadcast.
    MatMul,
    /// `x [N,C,...], scale [C], shift [C], running mean [C], running variance [C]`.
    BatchNorm {
        /// Added to the variance.
        eps: f64,
        /// Weight of the new batch in the running statistics (PyTorch's convention: 0.1).
        momentum: f64,
    },
    /// `x, (scale), (shift)`: normalised over the axes from `axis` to the last.
    LayerNorm {
        /// First normalised axis.
        axis: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// Local response normalisation over channels, as ONNX defines it.
    Lrn {
        /// Channels summed over.
        size: usize,
        /// Scale.
        alpha: f64,
        /// Exponent.
        beta: f64,
        /// Summand.
        bias: f64,
    },
    /// Maximum over windows of `x [N,C,H,W]`; padding never wins.
    MaxPool(Window),
    /// Mean over windows of `x [N,C,H,W]`.
    AvgPool {
        /// Geometry.
        window: Window,
        /// Whether padded positions count in the divisor.
        count_include_pad: bool,
    },
    /// Elementwise.
    Unary(Unary),
    /// Elementwise, broadcast.
    Binary(Binary),
    /// Reduction over axes.
    Reduce {
        /// What.
        kind: Reduce,
        /// Axes, ascending.
        axes: Vec<usize>,
        /// Keep reduced axes with size 1.
        keep: bool,
    },
    /// Softmax over one axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Scaled dot-product attention, `softmax(scale q k^T) v`: `q [..., m, d], k [..., n, d], v [..., n, e]` -> `[..., m, e]`, leading
    /// axes equal (Vaswani et al. 2017, equation 1).
    Attention {
        /// Factor of the scores, finite and positive.
        scale: f64,
    },
    /// Joins inputs along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Same elements in another shape (all dimensions given; flatten, squeeze and unsqueeze are this too).
    Reshape {
        /// The new shape.
        shape: Shape,
    },
    /// Repeats axes of size 1 to reach the shape (NumPy `broadcast_to`).
    Expand {
        /// The new shape.
        shape: Shape,
    },
    /// Reorders axes.
    Transpose {
        /// `output axis i = input axis perm[i]`.
        perm: Vec<usize>,
    },
    /// Every `step`-th entry of `[start, end)` along an axis.
    Slice {
        /// The axis.
        axis: usize,
        /// First index.
        start: usize,
        /// One past the last.
        end: usize,
        /// At least 1.
        step: usize,
    },
    /// Entries along an axis at constant indices (`[]` with `squeeze` drops the axis as a scalar ONNX Gather does).
    Select {
        /// The axis.
        axis: usize,
        /// The indices.
        indices: Vec<usize>,
    },
    /// Constant padding, `(before, after)` for every axis.
    Pad {
        /// One pair per axis.
        pads: Vec<(usize, usize)>,
        /// The fill value.
        value: f64,
    },
}

impl Op {
    /// The operator's name, for messages and tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Op::Input => "Input",
            Op::Param(_) => "Param",
            Op::Conv2d { .. } => "Conv2d",
            Op::Linear => "Linear",
            Op::MatMul => "MatMul",
            Op::BatchNorm { .. } => "BatchNorm",
            Op::LayerNorm { .. } => "LayerNorm",
            Op::Lrn { .. } => "Lrn",
            Op::MaxPool(_) => "MaxPool",
            Op::AvgPool { .. } => "AvgPool",
            Op::Unary(_) => "Unary",
            Op::Binary(_) => "Binary",
            Op::Reduce { .. } => "Reduce",
            Op::Softmax { .. } => "Softmax",
            Op::Attention { .. } => "Attention",
            Op::Concat { .. } => "Concat",
            Op::Reshape { .. } => "Reshape",
            Op::Expand { .. } => "Expand",
            Op::Transpose { .. } => "Transpose",
            Op::Slice { .. } => "Slice",
            Op::Select { .. } => "Select",
            Op::Pad { .. } => "Pad",
        }
    }
}
