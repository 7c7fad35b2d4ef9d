"""Files that break the rules of ONNX, one mistake each, with what ONNX's own checker says of them, and the same without the mistake.

    pip install onnx onnxruntime safetensors
    python invalid.py

Writes, beside itself, invalid.safetensors: for every NAME the bytes of NAME/model (ModelProto). Its metadata has, under NAME, `refused` where
onnx.checker.check_model or ONNX Runtime refuses it, else `accepted`. Written with onnx 1.23.2 and ONNX Runtime 1.32.0.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(5)
WEIGHTS = {
    "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "head": rng.normal(size=(2, 4)).astype(np.float32),
    "bias": np.zeros(2, np.float32),
    "c": np.ones(4, np.float32),
}
onnxruntime.set_default_logger_severity(4)
files, verdicts = {}, {}


def write(name, node, opsets=(("", 17),), change=None, ir=9):
    """A convolution, the node from `c1` to `c2`, a mean and a linear layer."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c1"], "conv"),
        node,
        helper.make_node("GlobalAveragePool", ["c2"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["features"], "flatten"),
        helper.make_node("Gemm", ["features", "head", "bias"], ["y"], "head", transB=1),
    ]
    node.name = "broken"
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(value, key) for key, value in WEIGHTS.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets], ir_version=ir)
    if change:
        change(model.graph.node[1])
    said = []
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        said.append(str(error).split("\n")[0])
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        session.run(None, {"x": np.ones((1, 3, 8, 8), np.float32)})
    except Exception as error:
        said.append(str(error))
    print(name, [why[:140] for why in said])
    files[f"{name}/model"] = np.frombuffer(model.SerializeToString(), dtype=np.uint8)
    verdicts[name] = "refused" if said else "accepted"


def set_again(name, **value):
    def change(node):
        node.attribute.extend([helper.make_attribute(name, *value.values())])

    return change


def edited(index, **fields):
    def change(node):
        for key, value in fields.items():
            if value is None:
                node.attribute[index].ClearField(key)
            else:
                setattr(node.attribute[index], key, value)

    return change


def leaky(**attributes):
    return helper.make_node("LeakyRelu", ["c1"], ["c2"], **attributes)


def pool(op="MaxPool", **attributes):
    return helper.make_node(op, ["c1"], ["c2"], **{"kernel_shape": [2, 2], **attributes})


def reduced(op="ReduceMean", **attributes):
    return helper.make_node(op, ["c1"], ["c2"], **attributes)


write("right", leaky(alpha=0.5))
write("right_pool", pool(strides=[2, 2], ceil_mode=1))
write("right_note", leaky(alpha=0.5, __note="kept by the exporter"))
write("right_axes_17", reduced(axes=[2, 3], keepdims=1))
write("right_value_left_out", leaky(alpha=0.5), change=edited(0, f=None))
write("strides_one_number", pool(strides=2))
write("kernel_of_floats", pool(kernel_shape=[2.0, 2.0]))
write("kernel_missing", helper.make_node("MaxPool", ["c1"], ["c2"]))
write("ceil_mode_text", pool(ceil_mode="yes"))
write("alpha_whole", leaky(alpha=1))
write("alpha_text", leaky(alpha="0.5"))
write("alpha_twice", leaky(alpha=0.5), change=set_again("alpha", value=-3.0))
write("alpha_twice_the_same", leaky(alpha=0.5), change=set_again("alpha", value=0.5))
write("alpha_of_no_type", leaky(alpha=0.5), change=edited(0, type=None))
write("alpha_of_two_values", leaky(alpha=0.5), change=edited(0, i=2))
write("beta_of_leaky_relu", leaky(alpha=0.5, beta=1.0))
write("axes_18", reduced(axes=[2, 3]), opsets=[("", 18)])
write("keepdims_float", reduced(keepdims=1.0, axes=[2, 3]))
write("noop_17", reduced(noop_with_empty_axes=1), opsets=[("", 17)])
write("spatial_9", helper.make_node("BatchNormalization", ["c1", "c", "c", "c", "c"], ["c2"], spatial=1), opsets=[("", 9)])
write("right_spatial_7", helper.make_node("BatchNormalization", ["c1", "c", "c", "c", "c"], ["c2"], spatial=1), opsets=[("", 7)])
write("softmax_axis_float", helper.make_node("Softmax", ["c1"], ["c2"], axis=1.0))
write("cast_to_text", helper.make_node("Cast", ["c1"], ["c2"], to="float"))
write("cast_without_to", helper.make_node("Cast", ["c1"], ["c2"]))
write("transpose_perm_int", helper.make_node("Transpose", ["c1"], ["c2"], perm=1))
write("gelu_approximate_int", helper.make_node("Gelu", ["c1"], ["c2"], approximate=1), opsets=[("", 20)])
write("right_gelu", helper.make_node("Gelu", ["c1"], ["c2"], approximate="tanh"), opsets=[("", 20)])
write("flag_of_two", pool(ceil_mode=2))
write("gelu_capitals", helper.make_node("Gelu", ["c1"], ["c2"], approximate="TANH"), opsets=[("", 20)])
write("two_operator_sets", leaky(alpha=0.5), opsets=[("", 17), ("", 11)])
write("two_operator_sets_by_two_names", leaky(alpha=0.5), opsets=[("", 11), ("ai.onnx", 17)])
write("right_other_domain", leaky(alpha=0.5), opsets=[("", 17), ("ai.onnx.ml", 3)])
save_file(files, HERE / "invalid.safetensors", metadata=verdicts)
