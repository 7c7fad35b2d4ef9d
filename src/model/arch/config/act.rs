//! Activations by their names in timm and Transformers.

use crate::graph::Unary;

/// The activation of a name in timm and Transformers.
pub(super) fn activation(name: Option<&str>) -> Option<Unary> {
    Some(match name? {
        "relu" => Unary::Relu,
        "relu6" => Unary::Clip { min: 0.0, max: 6.0 },
        "leaky_relu" => Unary::LeakyRelu(0.01),
        "elu" => Unary::Elu(1.0),
        "gelu" => Unary::Gelu { tanh: false },
        "gelu_tanh" | "gelu_new" | "gelu_pytorch_tanh" => Unary::Gelu { tanh: true },
        "silu" | "swish" => Unary::Silu,
        "sigmoid" => Unary::Sigmoid,
        "tanh" => Unary::Tanh,
        "hard_swish" => Unary::HardSwish,
        "hard_sigmoid" => Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
        _ => return None,
    })
}
