"""Builds the small networks beside this file, for the tests that need ONNX Runtime. Needs onnx; built with onnx 1.23.2."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
SIDE = 32


def save(name, nodes, weights, batch="N", external=False):
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in [("heirloom.mean", "[0.5, 0.5, 0.5]"), ("heirloom.std", "[0.25, 0.25, 0.25]")]:
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    place = {"save_as_external_data": True, "location": f"{name}.bin", "size_threshold": 0} if external else {}
    (HERE / f"{name}.bin").unlink(missing_ok=True)
    onnx.save(model, HERE / f"{name}.onnx", **place)


def plain(rng):
    """A convolution, a mean, a linear layer."""
    weights = {"conv.weight": rng.normal(size=(12, 3, 5, 5)) / 8, "head.weight": rng.normal(size=(5, 12)), "head.bias": np.zeros(5)}
    nodes = [
        helper.make_node("Conv", ["pictures", "conv.weight"], ["conv"], "conv", kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"], "relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"], "pool"),
        helper.make_node("Flatten", ["pool"], ["vector"], "flatten"),
        helper.make_node("Gemm", ["vector", "head.weight", "head.bias"], ["logits"], "head", transB=1),
    ]
    return nodes, weights


def main():
    rng = np.random.default_rng(0)
    save("external", *plain(rng), external=True)
    save("fixed-batch", *plain(rng), batch=3)

    # A convolution of 16 channels of which the last 8 nearly repeat the first; the next takes their difference. What is left is the
    # rounding of sums, which no two programs take in the same order.
    first = rng.normal(size=(8, 3, 3, 3)) * 1e4
    weights = {
        "conv.weight": np.concatenate([first, first + rng.normal(size=first.shape) * 1e-3]),
        "difference.weight": np.concatenate([np.eye(8), -np.eye(8)], axis=1)[:, :, None, None],
        "head.weight": rng.normal(size=(5, 8)),
    }
    nodes = [
        helper.make_node("Conv", ["pictures", "conv.weight"], ["conv"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["conv", "difference.weight"], ["difference"], "difference", kernel_shape=[1, 1]),
        helper.make_node("Relu", ["difference"], ["relu"], "relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"], "pool"),
        helper.make_node("Flatten", ["pool"], ["vector"], "flatten"),
        helper.make_node("Gemm", ["vector", "head.weight"], ["logits"], "head", transB=1),
    ]
    save("ill-conditioned", nodes, weights)

    # An operator that heirloom does not have.
    nodes, weights = plain(rng)
    nodes[1] = helper.make_node("Sin", ["conv"], ["relu"], "sine")
    save("sine", nodes, weights)

    # A layer norm whose bias is an input without a name: no bias, says ONNX. ONNX Runtime up to 1.32 crashes while it loads the file. Its own
    # random numbers, so that the files above stay as they are.
    nodes, weights = plain(np.random.default_rng(1))
    nodes[3:] = [
        helper.make_node("Flatten", ["pool"], ["flat"], "flatten"),
        helper.make_node("LayerNormalization", ["flat", "norm.weight", ""], ["vector"], "norm", axis=-1),
        nodes[4],
    ]
    save("nameless-bias", nodes, {**weights, "norm.weight": np.ones(12)})


if __name__ == "__main__":
    main()
