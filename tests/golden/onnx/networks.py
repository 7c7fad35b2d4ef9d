"""Small networks whose meaning was read wrongly once, with what ONNX Runtime or PyTorch computes for them.

    pip install onnx onnxruntime torch safetensors
    python networks.py

Writes, beside itself, networks.safetensors in the layout of node-tests.safetensors: for every network NAME the bytes of NAME/model
(ModelProto), NAME/input_0 and NAME/output_0 (TensorProto). Written with onnx 1.23.2, ONNX Runtime 1.32.0 and torch 2.15.0.
"""

import pathlib

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(17)
files = {}


def weights(*shape, scale=0.5):
    return (rng.normal(size=shape) * scale).astype(np.float32)


def stored(message):
    return np.frombuffer(message.SerializeToString(), dtype=np.uint8)


def write(name, nodes, tensors, expected=None, opset=18):
    """`expected` computes the output where ONNX Runtime has no such kernel."""
    held = [value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), key) for key, value in tensors.items()]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    x = weights(2, 3, 6, 6, scale=1.0)
    if expected is None:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        y = session.run(["y"], {"x": x})[0]
    else:
        y = expected(torch.from_numpy(x)).numpy()
    files[f"{name}/model"] = stored(model)
    files[f"{name}/input_0"] = stored(numpy_helper.from_array(x, "x"))
    files[f"{name}/output_0"] = stored(numpy_helper.from_array(y, "y"))
    print(name, y.shape, np.abs(y).max())


def conv(x, weight, bias, out, pads=1):
    return helper.make_node("Conv", [x, weight, *([bias] if bias else [])], [out], pads=[pads] * 4)


# A reduction over no axes: what it does to every number remains.
for op in ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"]:
    # `axes` left out, and `axes` of no entries.
    for how, more in [("absent", {}), ("empty", {"axes": np.zeros(0, np.int64)})]:
        node = helper.make_node(op, ["c", *more], ["r"], keepdims=1, noop_with_empty_axes=1)
        nodes = [conv("x", "w", "b", "c"), node, conv("r", "v", None, "y")]
        write(f"noop_{op}_{how}", nodes, {"w": weights(4, 3, 3, 3), "b": weights(4), "v": weights(5, 4, 3, 3), **more})
# The same of a constant.
node = helper.make_node("ReduceL1", ["c"], ["r"], keepdims=1, noop_with_empty_axes=1)
write("noop_constant", [node, helper.make_node("Mul", ["x", "r"], ["y"])], {"c": weights(1, 3, 1, 1)})
# Integers with an axis of one entry: a square all the same.
nodes = [
    helper.make_node("ReduceSumSquare", ["c", "axes"], ["r"], keepdims=0),
    helper.make_node("Cast", ["r"], ["f"], to=TensorProto.FLOAT),
    helper.make_node("Mul", ["x", "f"], ["y"]),
]
write("squared_integers", nodes, {"c": np.array([3], np.int64), "axes": np.array([0], np.int64)})

# Rounded to two bytes between layers of four.
for kind, name in [(TensorProto.FLOAT16, "float16"), (TensorProto.BFLOAT16, "bfloat16")]:
    # Of exact products: a sum whose last bit differs may be rounded to the neighbour.
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["m"]),
        helper.make_node("Cast", ["m"], ["h"], to=kind),
        helper.make_node("Cast", ["h"], ["r"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["r", "m"], ["y"]),
    ]
    write(f"cast_{name}", nodes, {"k": np.float32(100)})
    # The type comes from another tensor.
    like = helper.make_tensor("like", kind, [1], [1.0])
    nodes = [
        helper.make_node("CastLike", ["x", "like"], ["h"]),
        helper.make_node("Cast", ["h"], ["r"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["r", "x"], ["y"]),
    ]
    write(f"cast_like_{name}", nodes, {"like": like})
    # Weights that the file casts.
    nodes = [
        helper.make_node("Cast", ["w"], ["h"], to=kind),
        helper.make_node("Cast", ["h"], ["r"], to=TensorProto.FLOAT),
        conv("x", "r", None, "y"),
    ]
    write(f"cast_weight_{name}", nodes, {"w": weights(4, 3, 3, 3)})
# Above what float16 holds.
nodes = [
    helper.make_node("Mul", ["x", "k"], ["m"]),
    helper.make_node("Cast", ["m"], ["h"], to=TensorProto.FLOAT16),
    helper.make_node("Cast", ["h"], ["r"], to=TensorProto.FLOAT),
    helper.make_node("Clip", ["r", "low", "high"], ["y"]),
]
write("cast_overflow", nodes, {"k": np.float32(40000), "low": np.float32(-70000), "high": np.float32(70000)})

# Weights standardised by a batch norm in training mode, as NFNet and BiT are exported.
w, gain, shift = weights(4, 3, 3, 3), 1 + weights(4, scale=0.2), weights(4, scale=0.1)
for mode in ["training", "evaluation"]:
    mean, variance = weights(4), np.abs(weights(4)) + 0.5
    trains = mode == "training"
    nodes = [
        helper.make_node("Reshape", ["w", "row"], ["rows"]),
        helper.make_node(
            "BatchNormalization",
            ["rows", "gain", "shift", "mean", "variance"],
            ["standard", *(["m2", "v2"] if trains else [])],
            epsilon=1e-6,
            training_mode=int(trains),
        ),
        helper.make_node("Reshape", ["standard", "shape"], ["weight"]),
        conv("x", "weight", None, "y"),
    ]
    tensors = {"w": w, "gain": gain, "shift": shift, "mean": mean, "variance": variance}
    tensors |= {"row": np.array([1, 4, 27], np.int64), "shape": np.array([4, 3, 3, 3], np.int64)}

    def standardised(x, trains=trains, mean=mean, variance=variance):
        t = torch.from_numpy
        rows = t(w).reshape(1, 4, 27)
        standard = F.batch_norm(rows, t(mean.copy()), t(variance.copy()), t(gain), t(shift), training=trains, eps=1e-6)
        return F.conv2d(x, standard.reshape(4, 3, 3, 3), padding=1)

    write(f"batch_norm_over_weights_{mode}", nodes, tensors, standardised, opset=15)
# The same as an instance norm over rows of weights, which stays a part of the network.
nodes = [
    helper.make_node("Reshape", ["w", "row"], ["rows"]),
    helper.make_node("InstanceNormalization", ["rows", "gain", "shift"], ["standard"], epsilon=1e-6),
    helper.make_node("Reshape", ["standard", "shape"], ["weight"]),
    conv("x", "weight", None, "y"),
]
tensors = {"w": w, "gain": gain, "shift": shift, "row": np.array([1, 4, 27], np.int64), "shape": np.array([4, 3, 3, 3], np.int64)}
write("instance_norm_over_weights", nodes, tensors, opset=17)

# The greater and the lesser of tensors, where one operand is far from the other: no sum of both holds the other one.
LOWEST = np.finfo(np.float32).min
for op, sign in [("Max", 1), ("Min", -1)]:
    far = sign * np.array([LOWEST, -1e20, -64.0, 0.25], np.float32).reshape(1, 4, 1, 1)
    tensors = {"w": weights(4, 3, 3, 3), "b": weights(4), "v": weights(4, 3, 1, 1), "far": far}
    ends = {"mean": weights(5, 4, 3, 3)}
    # The bound on either side, and between two results of the network.
    for how, inputs in [("first", ["far", "c"]), ("second", ["c", "far"]), ("three", ["c", "far", "d"]), ("of_two", ["c", "d"])]:
        used = {key: value for key, value in tensors.items() if key != "v" or "d" in inputs}
        used = {key: value for key, value in used.items() if key in inputs or key != "far"} | ends
        second = [conv("x", "v", None, "d", pads=0)] if "d" in inputs else []
        write(f"{op.lower()}_{how}", [conv("x", "w", "b", "c"), *second, helper.make_node(op, inputs, ["m"]), conv("m", "mean", None, "y")], used)
    # Of constants, computed on reading the file.
    nodes = [helper.make_node(op, ["far", "near"], ["k"]), helper.make_node("Mul", ["x", "k"], ["y"])]
    write(f"{op.lower()}_of_constants", nodes, {"far": far[:, :3], "near": weights(1, 3, 1, 1)})

# Attention beside a mask, as torch's exporter writes it since 2.9: the mask repeated along the batch, and 0 where a softmax is NaN.
def attention(name, hidden, mask):
    """`mask` nodes turn `truth` into `added`."""
    nodes = [
        conv("x", "w", "b", "c"),
        helper.make_node("Reshape", ["c", "parts"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["t", "columns"], ["products"]),
        helper.make_node("Mul", ["products", "scale"], ["scores"]),
        helper.make_node("Shape", ["x"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "sides"], ["size"], axis=0),
        *mask,
        helper.make_node("Where", ["shown", "zero", "hidden"], ["added"]),
        helper.make_node("Add", ["scores", "added"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["s"], axis=-1),
        helper.make_node("IsNaN", ["s"], ["nan"]),
        helper.make_node("Where", ["nan", "zero", "s"], ["guarded"]),
        helper.make_node("MatMul", ["guarded", "t"], ["y"]),
    ]
    truth = np.arange(36).reshape(1, 1, 36) % 5 != 2
    tensors = {"w": weights(4, 3, 3, 3), "b": weights(4), "parts": np.array([0, 4, -1], np.int64), "scale": np.float32(0.5)}
    tensors |= {"sides": np.array([36, 36], np.int64), "truth": truth, "zero": np.float32(0), "hidden": np.float32(hidden)}
    write(name, nodes, tensors)


spread = helper.make_node("Expand", ["truth", "size"], ["shown"])
attention("attention_with_a_mask", LOWEST, [spread])
attention("attention_with_a_mask_of_infinities", -np.inf, [spread])
several = [
    helper.make_node("Expand", ["truth", "size"], ["spread"]),
    helper.make_node("Not", ["spread"], ["hides"]),
    helper.make_node("Not", ["hides"], ["shows"]),
    helper.make_node("Or", ["shows", "truth"], ["either"]),
    helper.make_node("Cast", ["either"], ["whole"], to=TensorProto.INT64),
    helper.make_node("Cast", ["whole"], ["shown"], to=TensorProto.BOOL),
]
attention("attention_with_a_computed_mask", LOWEST, several)
# Integers that are repeated along the batch and enter the network.
nodes = [
    helper.make_node("Shape", ["x"], ["size"]),
    helper.make_node("Expand", ["steps", "size"], ["spread"]),
    helper.make_node("Cast", ["spread"], ["ramp"], to=TensorProto.FLOAT),
    helper.make_node("Concat", ["x", "ramp"], ["y"], axis=1),
]
write("integers_repeated_along_the_batch", nodes, {"steps": np.arange(6, dtype=np.int64)})

# A mask of windows that is filled region by region, as that of Swin transformers.
nodes = [
    helper.make_node("ConstantOfShape", ["side"], ["empty"]),
    helper.make_node("ScatterND", ["empty", "corner", "ones"], ["first"]),
    helper.make_node("ScatterND", ["first", "rows", "twos"], ["regions"]),
    helper.make_node("Reshape", ["regions", "row"], ["along"]),
    helper.make_node("Reshape", ["regions", "column"], ["down"]),
    helper.make_node("Sub", ["along", "down"], ["apart"]),
    helper.make_node("Equal", ["apart", "zero"], ["same"]),
    helper.make_node("Where", ["same", "zero", "hidden"], ["mask"]),
    helper.make_node("Reshape", ["x", "flat"], ["parts"]),
    helper.make_node("Unsqueeze", ["parts", "last"], ["columns"]),
    helper.make_node("Add", ["columns", "mask"], ["y"]),
]
corner = np.array([[[0, 0], [0, 1]], [[1, 0], [1, -5]]], np.int64)
tensors = {"side": np.array([6, 6], np.int64), "corner": corner, "ones": np.ones((2, 2), np.float32)}
tensors |= {"rows": np.array([[4], [-1]], np.int64), "twos": np.arange(12, dtype=np.float32).reshape(2, 6) + 2}
tensors |= {"row": np.array([1, 36], np.int64), "column": np.array([36, 1], np.int64), "flat": np.array([0, 3, 36], np.int64)}
tensors |= {"zero": np.float32(0), "hidden": np.float32(-100), "last": np.array([-1], np.int64)}
write("mask_filled_region_by_region", nodes, tensors)

# Sums of products by letters: attention, a linear layer, a sum with its axes exchanged.
write("einsum_of_two_maps", [helper.make_node("Einsum", ["x", "x"], ["y"], equation="nchw,ndhw->ncd")], {})
write("einsum_with_leading_axes", [helper.make_node("Einsum", ["x", "x"], ["y"], equation="bhij,bhkj->bhik")], {})
write("einsum_with_a_weight", [helper.make_node("Einsum", ["x", "w"], ["y"], equation="nchw,wk->nkch")], {"w": weights(6, 5)})
write("einsum_that_sums", [helper.make_node("Einsum", ["x"], ["y"], equation="nchw -> nwc")], {})

# A branch that is known when the file is read; the other one does not fit.
then_branch = helper.make_graph(
    [helper.make_node("Relu", ["x"], ["positive"]), helper.make_node("Mul", ["positive", "two"], ["doubled"])],
    "then",
    [],
    [helper.make_tensor_value_info("doubled", TensorProto.FLOAT, None)],
    [numpy_helper.from_array(np.float32(2), "two")],
)
else_branch = helper.make_graph(
    [helper.make_node("Reshape", ["x", "seven"], ["torn"])],
    "else",
    [],
    [helper.make_tensor_value_info("torn", TensorProto.FLOAT, None)],
    [numpy_helper.from_array(np.array([7, 7], np.int64), "seven")],
)
nodes = [
    helper.make_node("Shape", ["x"], ["size"]),
    helper.make_node("Gather", ["size", "one"], ["channels"]),
    helper.make_node("Greater", ["channels", "one"], ["colour"]),
    helper.make_node("If", ["colour"], ["y"], then_branch=then_branch, else_branch=else_branch),
]
write("if_on_a_shape", nodes, {"one": np.int64(1)})

# A window larger than the map, which takes all of it.
node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[9, 9], strides=[9, 9], ceil_mode=1)
write("pooling_by_a_window_larger_than_the_map", [node], {}, lambda x: F.avg_pool2d(x, 9, ceil_mode=True))

# Maps brought to another size.
for name, how in [
    ("linear", {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
    ("corners", {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    ("nearest", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ("cubic", {"mode": "cubic", "cubic_coeff_a": -0.75}),
]:
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], **how)]
    write(f"resized_map_{name}", nodes, {"scales": np.array([1, 1, 2, 1.5], np.float32)})

# What convolves along one axis (the gate of ECA), and pools along it.
nodes = [
    helper.make_node("Reshape", ["x", "row"], ["rows"]),
    helper.make_node("Conv", ["rows", "w"], ["gate"], pads=[2, 2]),
    helper.make_node("AveragePool", ["gate"], ["pooled"], kernel_shape=[3], strides=[2], pads=[1, 1]),
    helper.make_node("Conv", ["pooled", "v", "b"], ["y"], auto_pad="SAME_UPPER", strides=[2], group=2),
]
tensors = {"row": np.array([0, 6, -1], np.int64), "w": weights(6, 6, 5), "v": weights(4, 3, 3), "b": weights(4)}
write("convolutions_along_one_axis", nodes, tensors)

# A convolution the other way round: windows that overlap, leave gaps, are cut, and come in groups.
for name, how, shape in [
    ("strided", {"strides": [2, 3], "pads": [1, 0, 0, 2]}, (3, 4, 3, 2)),
    ("grouped", {"group": 3, "dilations": [2, 1], "strides": [3, 2], "output_padding": [2, 1]}, (3, 2, 2, 3)),
    ("to_a_shape", {"strides": [2, 2], "output_shape": [12, 11]}, (3, 2, 3, 3)),
    ("same", {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, (3, 2, 3, 3)),
    ("cut", {"strides": [1, 1], "pads": [3, 3, 3, 3]}, (3, 2, 3, 3)),
]:
    bias = () if name == "cut" else ("b",)
    node = helper.make_node("ConvTranspose", ["x", "w", *bias], ["y"], **how)
    tensors = {"w": weights(*shape)} | ({"b": weights(shape[1] * how.get("group", 1))} if bias else {})
    write(f"transposed_convolution_{name}", [node], tensors)

# Columns of windows put back, and added up where they overlap.
for name, block, how in [
    ("apart", (2, 3), {"strides": [2, 3]}),
    ("overlapping", (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("dilated", (2, 2), {"dilations": [3, 2], "pads": [0, 1, 1, 0]}),
]:
    fold = torch.nn.Unfold(block, dilation=tuple(how.get("dilations", (1, 1))), padding=0, stride=tuple(how.get("strides", (1, 1))))
    top, left, bottom, right = how.get("pads", [0, 0, 0, 0])
    columns = fold(F.pad(torch.zeros(1, 1, 6, 6), (left, right, top, bottom)))
    per_channel, length = columns.shape[1:]
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["parts"]),
        helper.make_node("MatMul", ["parts", "w"], ["wide"]),
        helper.make_node("Reshape", ["wide", "columns"], ["windows"]),
        helper.make_node("Col2Im", ["windows", "size", "block"], ["y"], **how),
    ]
    tensors = {"flat": np.array([0, 3, 36], np.int64), "w": weights(36, per_channel * length)}
    tensors |= {"columns": np.array([0, 3 * per_channel, length], np.int64), "size": np.array([6, 6], np.int64)}
    write(f"windows_put_back_{name}", nodes, tensors | {"block": np.array(block, np.int64)})

# Parts picked at known places of what is computed.
nodes = [
    helper.make_node("Reshape", ["x", "flat"], ["parts"]),
    helper.make_node("MatMul", ["table", "mix"], ["computed"]),
    helper.make_node("GatherND", ["computed", "places"], ["picked"]),
    helper.make_node("Unsqueeze", ["picked", "first"], ["one"]),
    helper.make_node("Add", ["parts", "one"], ["y"]),
]
tensors = {"flat": np.array([0, 3, 36], np.int64), "table": weights(5, 4), "mix": weights(4, 36), "first": np.array([0], np.int64)}
write("parts_of_a_computed_table", nodes, tensors | {"places": np.array([[4], [-2], [0]], np.int64)})

# The padding of TensorFlow, worked out of the size: bounds on numbers that are known, and sums along an axis.
nodes = [
    helper.make_node("Shape", ["x"], ["size"], start=2),
    helper.make_node("Cast", ["size"], ["sides"], to=TensorProto.FLOAT),
    helper.make_node("Sub", ["seven", "sides"], ["over"]),
    helper.make_node("Clip", ["over", "zero", "half"], ["kept"]),
    helper.make_node("CumSum", ["kept", "axis"], ["grown"], reverse=1),
    helper.make_node("CumSum", ["size", "axis"], ["whole"], exclusive=1),
    helper.make_node("Cast", ["whole"], ["counted"], to=TensorProto.FLOAT),
    helper.make_node("Add", ["grown", "counted"], ["scale"]),
    helper.make_node("Reshape", ["scale", "column"], ["scales"]),
    helper.make_node("Tile", ["scales", "thrice"], ["factors"]),
    helper.make_node("Mul", ["x", "factors"], ["y"]),
]
tensors = {"seven": np.float32(7), "zero": np.float32(0), "half": np.float32(0.5), "axis": np.int64(0)}
write("bounds_and_running_sums", nodes, tensors | {"column": np.array([2, 1], np.int64), "thrice": np.array([3, 1], np.int64)})

# One token for every image, repeated as often as there are images.
nodes = [
    helper.make_node("Shape", ["x"], ["batch"], start=0, end=1),
    helper.make_node("Concat", ["batch", "once"], ["repeats"], axis=0),
    helper.make_node("Tile", ["token", "repeats"], ["tokens"]),
    helper.make_node("Reshape", ["x", "flat"], ["parts"]),
    helper.make_node("Concat", ["tokens", "parts"], ["y"], axis=1),
]
tensors = {"once": np.array([1, 2], np.int64), "token": weights(1, 1, 18), "flat": np.array([0, 3, 36], np.int64)}
write("a_token_repeated_for_every_image", nodes, tensors)

# Fewer entries, each of a window that grows with the step; as many rows and columns as the file says beside the batch.
for name, how in [("linear", {"mode": "linear"}), ("cubic", {"mode": "cubic", "cubic_coeff_a": -0.5})]:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], antialias=1, exclude_outside=1, **how)
    write(f"resized_map_antialias_{name}", [node], {"scales": np.array([1, 1, 0.5, 1.5], np.float32)})
nodes = [
    helper.make_node("Shape", ["x"], ["channels"], end=2),
    helper.make_node("Concat", ["channels", "sides"], ["sizes"], axis=0),
    helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear"),
]
write("resized_map_to_sizes_beside_the_batch", nodes, {"sides": np.array([4, 9], np.int64)})

# What `as_strided` becomes: the places of each image's own numbers in the batch laid out flat.
nodes = [
    helper.make_node("ReduceMean", ["x", "sides"], ["mean"]),
    helper.make_node("Reshape", ["mean", "flat"], ["numbers"]),
    helper.make_node("Shape", ["x"], ["batch"], start=0, end=1),
    helper.make_node("Squeeze", ["batch"], ["many"]),
    helper.make_node("Range", ["zero", "many", "one"], ["images"]),
    helper.make_node("Mul", ["images", "three"], ["starts"]),
    helper.make_node("Unsqueeze", ["starts", "axes"], ["begin"]),
    helper.make_node("Add", ["begin", "own"], ["places"]),
    helper.make_node("Gather", ["numbers", "places"], ["y"], axis=0),
]
tensors = {"sides": np.array([2, 3], np.int64), "flat": np.array([-1], np.int64), "zero": np.int64(0), "one": np.int64(1)}
tensors |= {"three": np.int64(3), "axes": np.array([1, 2], np.int64), "own": np.array([[[2], [0], [1]]], np.int64)}
write("places_of_each_image_in_a_flat_batch", nodes, tensors)

# Tokens before images: rows of all images' first tokens, then of their second ones, as attention of PyTorch lays them before its last product.
nodes = [
    helper.make_node("Reshape", ["x", "tokens"], ["held"]),
    helper.make_node("Transpose", ["held"], ["swapped"], perm=[1, 0, 2]),
    helper.make_node("Reshape", ["swapped", "rows"], ["flat"]),
    helper.make_node("Gemm", ["flat", "w", "b"], ["mixed"], transB=1),
    helper.make_node("LayerNormalization", ["mixed", "scale"], ["normed"], axis=-1),
    helper.make_node("Add", ["normed", "flat"], ["sum"]),
    helper.make_node("Reshape", ["sum", "back"], ["again"]),
    helper.make_node("Transpose", ["again"], ["tokens_of_each"], perm=[1, 0, 2]),
    helper.make_node("MatMul", ["tokens_of_each", "head"], ["y"]),
]
tensors = {"tokens": np.array([0, 18, 6], np.int64), "rows": np.array([-1, 6], np.int64), "back": np.array([18, -1, 6], np.int64)}
write("tokens_before_images", nodes, tensors | {"w": weights(6, 6), "b": weights(6), "scale": weights(6), "head": weights(6, 5)})

save_file(files, HERE / "networks.safetensors")
print(len(files) // 3, "networks")
