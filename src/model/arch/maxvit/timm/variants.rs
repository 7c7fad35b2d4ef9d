//! What timm's names say of `MaxViT` and `CoAtNet`, and no tensor shows.

use crate::graph::Unary;
use crate::model::arch::config::Name;
use crate::model::arch::maxvit::{GELU, SILU};
use crate::model::arch::plain;

const RELU: Unary = Unary::Relu;
const GELU_TANH: Unary = Unary::Gelu { tanh: true };

/// What a name says.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    pub name: &'static str,
    pub depths: [usize; 4],
    pub widths: [usize; 4],
    /// Whether bottlenecks stride by pooling, not in their middle convolution.
    pub pooled: bool,
    /// How shortcuts are brought to half their size.
    pub pool: Pool,
    /// Whether an activation follows a bottleneck's first norm.
    pub first_act: bool,
    pub conv_act: Unary,
    /// Of squeeze-and-excitation.
    pub gate_act: Unary,
    /// Added to variances in the stem and in convolutions' blocks; in transformers' it is `norm_eps`.
    pub conv_eps: f64,
    pub act: Unary,
    pub norm_eps: f64,
    /// TensorFlow's padding, and queries of all heads before all keys.
    pub tensorflow: bool,
}

/// timm's later networks.
const MAX: Variant = Variant {
    name: "",
    depths: [0; 4],
    widths: [0; 4],
    pooled: false,
    pool: Pool::AvgTwo,
    first_act: false,
    conv_act: SILU,
    gate_act: SILU,
    conv_eps: 1e-5,
    act: GELU,
    norm_eps: 1e-6,
    tensorflow: false,
};
/// Its first ones.
const COAT: Variant = Variant { first_act: true, gate_act: RELU, ..MAX };
/// With `ConvNeXt` blocks, and those that follow the paper.
const NEXT: Variant = Variant { conv_eps: 1e-6, ..PLAIN };
const PLAIN: Variant = Variant { conv_act: GELU, ..MAX };
/// Google's weights.
const TF: Variant = Variant { conv_act: GELU_TANH, conv_eps: 1e-3, act: GELU_TANH, norm_eps: 1e-5, tensorflow: true, ..MAX };

static VARIANTS: [Variant; 43] = [
    Variant { name: "coatnet_pico_rw", depths: [2, 3, 5, 2], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "coatnet_nano_rw", depths: [3, 4, 6, 3], widths: [64, 128, 256, 512], pooled: true, ..MAX },
    Variant { name: "coatnet_0_rw", depths: [2, 3, 7, 2], widths: [96, 192, 384, 768], pooled: true, ..COAT },
    Variant { name: "coatnet_1_rw", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], ..COAT },
    Variant { name: "coatnet_2_rw", depths: [2, 6, 14, 2], widths: [128, 256, 512, 1024], gate_act: SILU, ..COAT },
    Variant { name: "coatnet_3_rw", depths: [2, 6, 14, 2], widths: [192, 384, 768, 1536], gate_act: SILU, ..COAT },
    Variant { name: "coatnet_bn_0_rw", depths: [2, 3, 7, 2], widths: [96, 192, 384, 768], ..COAT },
    Variant { name: "coatnet_rmlp_nano_rw", depths: [3, 4, 6, 3], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "coatnet_rmlp_0_rw", depths: [2, 3, 7, 2], widths: [96, 192, 384, 768], ..COAT },
    Variant { name: "coatnet_rmlp_1_rw", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], pooled: true, pool: Pool::Max, ..COAT },
    Variant { name: "coatnet_rmlp_1_rw2", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], ..COAT },
    Variant { name: "coatnet_rmlp_2_rw", depths: [2, 6, 14, 2], widths: [128, 256, 512, 1024], gate_act: SILU, ..COAT },
    Variant { name: "coatnet_rmlp_3_rw", depths: [2, 6, 14, 2], widths: [192, 384, 768, 1536], gate_act: SILU, ..COAT },
    Variant { name: "coatnet_nano_cc", depths: [3, 4, 6, 3], widths: [64, 128, 256, 512], pooled: true, ..COAT },
    Variant { name: "coatnext_nano_rw", depths: [3, 4, 6, 3], widths: [64, 128, 256, 512], ..NEXT },
    Variant { name: "coatnet_0", depths: [2, 3, 5, 2], widths: [96, 192, 384, 768], ..PLAIN },
    Variant { name: "coatnet_1", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], ..PLAIN },
    Variant { name: "coatnet_2", depths: [2, 6, 14, 2], widths: [128, 256, 512, 1024], ..PLAIN },
    Variant { name: "coatnet_3", depths: [2, 6, 14, 2], widths: [192, 384, 768, 1536], ..PLAIN },
    Variant { name: "coatnet_4", depths: [2, 12, 28, 2], widths: [192, 384, 768, 1536], ..PLAIN },
    Variant { name: "coatnet_5", depths: [2, 12, 28, 2], widths: [256, 512, 1280, 2048], ..PLAIN },
    Variant { name: "maxvit_pico_rw", depths: [2, 2, 5, 2], widths: [32, 64, 128, 256], ..MAX },
    Variant { name: "maxvit_nano_rw", depths: [1, 2, 3, 1], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "maxvit_tiny_rw", depths: [2, 2, 5, 2], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "maxvit_tiny_pm", depths: [2, 2, 5, 2], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "maxvit_rmlp_pico_rw", depths: [2, 2, 5, 2], widths: [32, 64, 128, 256], ..MAX },
    Variant { name: "maxvit_rmlp_nano_rw", depths: [1, 2, 3, 1], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "maxvit_rmlp_tiny_rw", depths: [2, 2, 5, 2], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "maxvit_rmlp_small_rw", depths: [2, 2, 5, 2], widths: [96, 192, 384, 768], ..MAX },
    Variant { name: "maxvit_rmlp_base_rw", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], ..MAX },
    Variant { name: "maxxvit_rmlp_nano_rw", depths: [1, 2, 3, 1], widths: [64, 128, 256, 512], ..NEXT },
    Variant { name: "maxxvit_rmlp_tiny_rw", depths: [2, 2, 5, 2], widths: [64, 128, 256, 512], ..NEXT },
    Variant { name: "maxxvit_rmlp_small_rw", depths: [2, 2, 5, 2], widths: [96, 192, 384, 768], ..NEXT },
    Variant { name: "maxxvitv2_nano_rw", depths: [1, 2, 3, 1], widths: [96, 192, 384, 768], ..NEXT },
    Variant { name: "maxxvitv2_rmlp_base_rw", depths: [2, 6, 12, 2], widths: [128, 256, 512, 1024], ..NEXT },
    Variant { name: "maxxvitv2_rmlp_large_rw", depths: [2, 6, 16, 2], widths: [160, 320, 640, 1280], ..NEXT },
    Variant { name: "maxvit_tiny_tf", depths: [2, 2, 5, 2], widths: [64, 128, 256, 512], ..TF },
    Variant { name: "maxvit_small_tf", depths: [2, 2, 5, 2], widths: [96, 192, 384, 768], ..TF },
    Variant { name: "maxvit_base_tf", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], ..TF },
    Variant { name: "maxvit_large_tf", depths: [2, 6, 14, 2], widths: [128, 256, 512, 1024], ..TF },
    Variant { name: "maxvit_xlarge_tf", depths: [2, 6, 14, 2], widths: [192, 384, 768, 1536], ..TF },
    Variant { name: "test_maxvit", depths: [1, 1, 1, 1], widths: [32, 64, 96, 128], ..MAX },
    Variant { name: "test_coatnet", depths: [1, 1, 2, 1], widths: [32, 64, 96, 128], pooled: true, ..MAX },
];

/// A network's name is a configuration's and the side of the images.
pub(super) fn variant(name: &Name) -> Option<&'static Variant> {
    let called = name.plain.as_str();
    let digits = |size: &str| size.chars().all(|c| c.is_ascii_digit());
    // Only these two are called as their configuration is.
    let test = ["test-maxvit", "test-coatnet"].contains(&called).then_some(called);
    let sized = called.rsplit_once('-').filter(|(name, size)| size.len() == 3 && digits(size) && !name.starts_with("test-"));
    let wanted = test.or(sized.map(|(name, _)| name))?;
    VARIANTS.iter().find(|variant| plain(variant.name) == wanted)
}

/// How a map is brought to half its size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    Max,
    MaxTwo,
    Avg,
    AvgTwo,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch::config::Library;

    #[test]
    fn a_name_is_a_configurations_and_a_size() {
        let found = |name: &str| variant(&Name::of(name, Library::Timm)).map(|variant| variant.name);
        assert_eq!(found("maxvit_tiny_tf_384.in1k"), Some("maxvit_tiny_tf"));
        assert_eq!(found("coatnet_0_224"), Some("coatnet_0"));
        assert_eq!(found("coatnet_rmlp_1_rw2_224"), Some("coatnet_rmlp_1_rw2"));
        assert_eq!(found("test_coatnet"), Some("test_coatnet"));
        for name in ["maxvit_tiny_tf", "coatnet_0_rw", "coatnet_9_224", "maxvit_t", "test_maxvit_160", "coat_lite_tiny"] {
            assert_eq!(found(name), None, "{name}");
        }
    }
}
