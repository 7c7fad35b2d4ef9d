//! Made by tests/golden/onnx/attributes.py from the schemas of the package `onnx`: do not edit.

use super::Kind::{Float, Floats, Int, Ints, SparseTensor, Tensor, Text, Texts};
use super::{ALWAYS, Known};

/// Operators in the order of their names: attribute, type, from which operator set on, up to which, and whether a node must have it.
#[rustfmt::skip]
pub(super) const TABLE: &[(&str, &[Known])] = &[
    ("Abs", &[]),
    ("Add", &[]),
    ("And", &[]),
    ("AveragePool", &[
        ("auto_pad", Text, 0, ALWAYS, false),
        ("ceil_mode", Int, 10, ALWAYS, false),
        ("count_include_pad", Int, 0, ALWAYS, false),
        ("dilations", Ints, 19, ALWAYS, false),
        ("kernel_shape", Ints, 0, ALWAYS, true),
        ("pads", Ints, 0, ALWAYS, false),
        ("strides", Ints, 0, ALWAYS, false),
    ]),
    ("BatchNormalization", &[
        ("epsilon", Float, 0, ALWAYS, false),
        ("momentum", Float, 0, ALWAYS, false),
        ("spatial", Int, 0, 9, false),
        ("training_mode", Int, 14, ALWAYS, false),
    ]),
    ("Cast", &[
        ("round_mode", Text, 24, ALWAYS, false),
        ("saturate", Int, 19, ALWAYS, false),
        ("to", Int, 0, ALWAYS, true),
    ]),
    ("CastLike", &[
        ("round_mode", Text, 24, ALWAYS, false),
        ("saturate", Int, 19, ALWAYS, false),
    ]),
    ("Ceil", &[]),
    ("Celu", &[
        ("alpha", Float, 0, ALWAYS, false),
    ]),
    ("Clip", &[
        ("max", Float, 0, 11, false),
        ("min", Float, 0, 11, false),
    ]),
    ("Col2Im", &[
        ("dilations", Ints, 0, ALWAYS, false),
        ("pads", Ints, 0, ALWAYS, false),
        ("strides", Ints, 0, ALWAYS, false),
    ]),
    ("Concat", &[
        ("axis", Int, 0, ALWAYS, true),
    ]),
    ("Constant", &[
        ("sparse_value", SparseTensor, 11, ALWAYS, false),
        ("value", Tensor, 0, 11, true),
        ("value", Tensor, 11, ALWAYS, false),
        ("value_float", Float, 12, ALWAYS, false),
        ("value_floats", Floats, 12, ALWAYS, false),
        ("value_int", Int, 12, ALWAYS, false),
        ("value_ints", Ints, 12, ALWAYS, false),
        ("value_string", Text, 12, ALWAYS, false),
        ("value_strings", Texts, 12, ALWAYS, false),
    ]),
    ("ConstantOfShape", &[
        ("value", Tensor, 0, ALWAYS, false),
    ]),
    ("Conv", &[
        ("auto_pad", Text, 0, ALWAYS, false),
        ("dilations", Ints, 0, ALWAYS, false),
        ("group", Int, 0, ALWAYS, false),
        ("kernel_shape", Ints, 0, ALWAYS, false),
        ("pads", Ints, 0, ALWAYS, false),
        ("strides", Ints, 0, ALWAYS, false),
    ]),
    ("ConvTranspose", &[
        ("auto_pad", Text, 0, ALWAYS, false),
        ("dilations", Ints, 0, ALWAYS, false),
        ("group", Int, 0, ALWAYS, false),
        ("kernel_shape", Ints, 0, ALWAYS, false),
        ("output_padding", Ints, 0, ALWAYS, false),
        ("output_shape", Ints, 0, ALWAYS, false),
        ("pads", Ints, 0, ALWAYS, false),
        ("strides", Ints, 0, ALWAYS, false),
    ]),
    ("Cos", &[]),
    ("CumSum", &[
        ("exclusive", Int, 0, ALWAYS, false),
        ("reverse", Int, 0, ALWAYS, false),
    ]),
    ("DepthToSpace", &[
        ("blocksize", Int, 0, ALWAYS, true),
        ("mode", Text, 11, ALWAYS, false),
    ]),
    ("Div", &[]),
    ("Dropout", &[
        ("ratio", Float, 0, 12, false),
        ("seed", Int, 12, ALWAYS, false),
    ]),
    ("Einsum", &[
        ("equation", Text, 0, ALWAYS, true),
    ]),
    ("Elu", &[
        ("alpha", Float, 0, ALWAYS, false),
    ]),
    ("Equal", &[]),
    ("Erf", &[]),
    ("Exp", &[]),
    ("Expand", &[]),
    ("Flatten", &[
        ("axis", Int, 0, ALWAYS, false),
    ]),
    ("Floor", &[]),
    ("Gather", &[
        ("axis", Int, 0, ALWAYS, false),
    ]),
    ("GatherND", &[
        ("batch_dims", Int, 12, ALWAYS, false),
    ]),
    ("Gelu", &[
        ("approximate", Text, 0, ALWAYS, false),
    ]),
    ("Gemm", &[
        ("alpha", Float, 0, ALWAYS, false),
        ("beta", Float, 0, ALWAYS, false),
        ("transA", Int, 0, ALWAYS, false),
        ("transB", Int, 0, ALWAYS, false),
    ]),
    ("GlobalAveragePool", &[]),
    ("GlobalMaxPool", &[]),
    ("Greater", &[]),
    ("GreaterOrEqual", &[]),
    ("GroupNormalization", &[
        ("epsilon", Float, 0, ALWAYS, false),
        ("num_groups", Int, 0, ALWAYS, true),
        ("stash_type", Int, 21, ALWAYS, false),
    ]),
    ("HardSigmoid", &[
        ("alpha", Float, 0, ALWAYS, false),
        ("beta", Float, 0, ALWAYS, false),
    ]),
    ("HardSwish", &[]),
    ("Identity", &[]),
    ("InstanceNormalization", &[
        ("epsilon", Float, 0, ALWAYS, false),
    ]),
    ("IsNaN", &[]),
    ("LRN", &[
        ("alpha", Float, 0, ALWAYS, false),
        ("beta", Float, 0, ALWAYS, false),
        ("bias", Float, 0, ALWAYS, false),
        ("size", Int, 0, ALWAYS, true),
    ]),
    ("LayerNormalization", &[
        ("axis", Int, 0, ALWAYS, false),
        ("epsilon", Float, 0, ALWAYS, false),
        ("stash_type", Int, 0, ALWAYS, false),
    ]),
    ("LeakyRelu", &[
        ("alpha", Float, 0, ALWAYS, false),
    ]),
    ("Less", &[]),
    ("LessOrEqual", &[]),
    ("Log", &[]),
    ("LogSoftmax", &[
        ("axis", Int, 0, ALWAYS, false),
    ]),
    ("MatMul", &[]),
    ("Max", &[]),
    ("MaxPool", &[
        ("auto_pad", Text, 0, ALWAYS, false),
        ("ceil_mode", Int, 10, ALWAYS, false),
        ("dilations", Ints, 10, ALWAYS, false),
        ("kernel_shape", Ints, 0, ALWAYS, true),
        ("pads", Ints, 0, ALWAYS, false),
        ("storage_order", Int, 8, ALWAYS, false),
        ("strides", Ints, 0, ALWAYS, false),
    ]),
    ("Mean", &[]),
    ("Min", &[]),
    ("Mish", &[]),
    ("Mod", &[
        ("fmod", Int, 0, ALWAYS, false),
    ]),
    ("Mul", &[]),
    ("Neg", &[]),
    ("NonZero", &[]),
    ("Not", &[]),
    ("Or", &[]),
    ("PRelu", &[]),
    ("Pad", &[
        ("mode", Text, 0, ALWAYS, false),
        ("pads", Ints, 0, 11, true),
        ("value", Float, 0, 11, false),
    ]),
    ("Pow", &[]),
    ("Range", &[
        ("stash_type", Int, 27, ALWAYS, false),
    ]),
    ("Reciprocal", &[]),
    ("ReduceL1", &[
        ("axes", Ints, 0, 18, false),
        ("keepdims", Int, 0, ALWAYS, false),
        ("noop_with_empty_axes", Int, 18, ALWAYS, false),
    ]),
    ("ReduceL2", &[
        ("axes", Ints, 0, 18, false),
        ("keepdims", Int, 0, ALWAYS, false),
        ("noop_with_empty_axes", Int, 18, ALWAYS, false),
    ]),
    ("ReduceMax", &[
        ("axes", Ints, 0, 18, false),
        ("keepdims", Int, 0, ALWAYS, false),
        ("noop_with_empty_axes", Int, 18, ALWAYS, false),
    ]),
    ("ReduceMean", &[
        ("axes", Ints, 0, 18, false),
        ("keepdims", Int, 0, ALWAYS, false),
        ("noop_with_empty_axes", Int, 18, ALWAYS, false),
    ]),
    ("ReduceMin", &[
        ("axes", Ints, 0, 18, false),
        ("keepdims", Int, 0, ALWAYS, false),
        ("noop_with_empty_axes", Int, 18, ALWAYS, false),
    ]),
    ("ReduceProd", &[
        ("axes", Ints, 0, 18, false),
        ("keepdims", Int, 0, ALWAYS, false),
        ("noop_with_empty_axes", Int, 18, ALWAYS, false),
    ]),
    ("ReduceSum", &[
        ("axes", Ints, 0, 13, false),
        ("keepdims", Int, 0, ALWAYS, false),
        ("noop_with_empty_axes", Int, 13, ALWAYS, false),
    ]),
    ("ReduceSumSquare", &[
        ("axes", Ints, 0, 18, false),
        ("keepdims", Int, 0, ALWAYS, false),
        ("noop_with_empty_axes", Int, 18, ALWAYS, false),
    ]),
    ("Relu", &[]),
    ("Reshape", &[
        ("allowzero", Int, 14, ALWAYS, false),
    ]),
    ("Resize", &[
        ("antialias", Int, 18, ALWAYS, false),
        ("axes", Ints, 18, ALWAYS, false),
        ("coordinate_transformation_mode", Text, 11, ALWAYS, false),
        ("cubic_coeff_a", Float, 11, ALWAYS, false),
        ("exclude_outside", Int, 11, ALWAYS, false),
        ("extrapolation_value", Float, 11, ALWAYS, false),
        ("keep_aspect_ratio_policy", Text, 18, ALWAYS, false),
        ("mode", Text, 0, ALWAYS, false),
        ("nearest_mode", Text, 11, ALWAYS, false),
    ]),
    ("Round", &[]),
    ("ScatterElements", &[
        ("axis", Int, 0, ALWAYS, false),
        ("reduction", Text, 16, ALWAYS, false),
    ]),
    ("ScatterND", &[
        ("reduction", Text, 16, ALWAYS, false),
    ]),
    ("Selu", &[
        ("alpha", Float, 0, ALWAYS, false),
        ("gamma", Float, 0, ALWAYS, false),
    ]),
    ("Shape", &[
        ("end", Int, 15, ALWAYS, false),
        ("start", Int, 15, ALWAYS, false),
    ]),
    ("Sigmoid", &[]),
    ("Sign", &[]),
    ("Sin", &[]),
    ("Size", &[]),
    ("Slice", &[
        ("axes", Ints, 0, 10, false),
        ("ends", Ints, 0, 10, true),
        ("starts", Ints, 0, 10, true),
    ]),
    ("Softmax", &[
        ("axis", Int, 0, ALWAYS, false),
    ]),
    ("Softplus", &[]),
    ("Softsign", &[]),
    ("SpaceToDepth", &[
        ("blocksize", Int, 0, ALWAYS, true),
        ("mode", Text, 28, ALWAYS, false),
    ]),
    ("Split", &[
        ("axis", Int, 0, ALWAYS, false),
        ("num_outputs", Int, 18, ALWAYS, false),
        ("split", Ints, 0, 13, false),
    ]),
    ("Sqrt", &[]),
    ("Squeeze", &[
        ("axes", Ints, 0, 13, false),
    ]),
    ("Sub", &[]),
    ("Sum", &[]),
    ("Swish", &[
        ("alpha", Float, 0, ALWAYS, false),
    ]),
    ("Tanh", &[]),
    ("Tile", &[]),
    ("Transpose", &[
        ("perm", Ints, 0, ALWAYS, false),
    ]),
    ("Unsqueeze", &[
        ("axes", Ints, 0, 13, true),
    ]),
    ("Upsample", &[
        ("mode", Text, 0, ALWAYS, false),
        ("scales", Floats, 0, 9, true),
    ]),
    ("Where", &[]),
    ("Xor", &[]),
];
