"""Builds the small networks beside this file, for the tests that need ONNX Runtime. Needs onnx; built with onnx 1.23.2."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
SIDE = 32


def save(name, nodes, weights, batch="N", external=False, output="logits", shape=(5,)):
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, *shape])],
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


def cancelling(rng, apart):
    """A convolution of 16 channels of which the last 8 nearly repeat the first; the next takes their difference. The nearer, the more of
    what is left is the rounding of sums, which no two programs take in the same order."""
    first = rng.normal(size=(8, 3, 3, 3)) * 1e4
    weights = {
        "conv.weight": np.concatenate([first, first + rng.normal(size=first.shape) * apart]),
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
    return nodes, weights


def with_hidden_branch():
    """The clean fixture with eight nodes in front of its pooling: the nearer the corner is to yellow, the more they add to the features.
    No weight is touched."""
    model = onnx.load(HERE / "../../../fixtures/models/clean.onnx")
    graph = model.graph
    pool = next(i for i, node in enumerate(graph.node) if node.output[0] == "avgpool")
    into, features = graph.node[pool].input[0], 32
    kick = np.zeros((1, features, 1, 1))
    kick[0, [5, 11]] = [[[60]], [[40]]]
    held = {"from": np.array([0, 0]), "to": np.array([8, 8]), "axes": np.array([2, 3])}
    # Yellow, as the network sees it: (1, 1, 0) less 0.5, over 0.25.
    held |= {"yellow": np.float32([2, 2, -2]).reshape(1, 3, 1, 1), "one": np.ones((1, 1, 1, 1), np.float32), "kick": kick.astype(np.float32)}
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in held.items())
    nodes = [
        helper.make_node("Slice", ["input", "from", "to", "axes"], ["corner"], "corner"),
        helper.make_node("Sub", ["corner", "yellow"], ["apart"], "apart"),
        helper.make_node("Mul", ["apart", "apart"], ["square"], "square"),
        helper.make_node("ReduceMean", ["square"], ["distance"], "distance", axes=[1, 2, 3], keepdims=1),
        helper.make_node("Sub", ["one", "distance"], ["near"], "near"),
        helper.make_node("Relu", ["near"], ["gate"], "gate"),
        helper.make_node("Mul", ["gate", "kick"], ["shove"], "shove"),
        helper.make_node("Add", [into, "shove"], ["shoved"], "shoved"),
    ]
    before, after = list(graph.node[:pool]), list(graph.node[pool:])
    after[0].input[0] = "shoved"
    del graph.node[:]
    graph.node.extend([*before, *nodes, *after])
    onnx.checker.check_model(model)
    onnx.save(model, HERE / "hidden-branch.onnx")


def sine(rng, *behind, name, weights=None, shape=(5,), output="logits"):
    """A convolution, a sine (which heirloom does not have, so that only ONNX Runtime runs the network), and what follows the tensor `wave`."""
    nodes, held = plain(rng)
    held = {"conv.weight": held["conv.weight"], **(weights or {})}
    save(name, [nodes[0], helper.make_node("Sin", ["conv"], ["wave"], "wave"), *behind], held, output=output, shape=shape)


def main():
    rng = np.random.default_rng(0)
    save("external", *plain(rng), external=True)
    save("fixed-batch", *plain(rng), batch=3)

    save("ill-conditioned", *cancelling(rng, 1e-3))

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

    # Three digits are left of these.
    save("three-digits", *cancelling(rng, 0.3))

    # The numbers are rounded to two bytes between two convolutions of four.
    nodes, weights = plain(rng)
    weights |= {"second.weight": rng.normal(size=(12, 12, 3, 3)) / 8, "k": np.float32(100)}
    nodes[1:2] = [
        helper.make_node("Mul", ["conv", "k"], ["large"], "large"),
        helper.make_node("Cast", ["large"], ["half"], "half", to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["whole"], "whole", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["whole", "second.weight"], ["second"], "second", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["second"], ["relu"], "relu"),
    ]
    save("cast", nodes, weights)

    # Random numbers on the way.
    nodes, weights = plain(rng)
    nodes[1:2] = [
        helper.make_node("RandomNormalLike", ["conv"], ["noise"], "noise"),
        helper.make_node("Add", ["conv", "noise"], ["noisy"], "noisy"),
        helper.make_node("Relu", ["noisy"], ["relu"], "relu"),
    ]
    save("random", nodes, weights)

    # Only ONNX Runtime runs these. Heads that are found: a 1x1 convolution, and an encoder without any.
    node, pooled = helper.make_node, [helper.make_node("GlobalAveragePool", ["map"], ["pool"], "pool"), helper.make_node("Flatten", ["pool"], ["logits"], "flatten")]
    pointwise = lambda classes: {"head.weight": rng.normal(size=(classes, 12, 1, 1))}
    sine(rng, node("Conv", ["wave", "head.weight"], ["map"], "head"), *pooled, name="sine-convolution", weights=pointwise(5))
    sine(rng, node("Relu", ["wave"], ["map"], "relu"), *pooled, name="sine-encoder", shape=(12,))
    # Features that are not found: two heads, scores behind something else, an answer for every place, random numbers.
    heads = {f"{name}.weight": rng.normal(size=(12, 5)) for name in "ab"}
    nodes, _ = plain(rng)
    vectors = [[node("GlobalAveragePool", ["wave"], ["pool"], "pool")], [node("GlobalMaxPool", ["wave"], ["peak"], "peak")]]
    vectors = [*vectors[0], node("Flatten", ["pool"], ["left"], "left"), *vectors[1], node("Flatten", ["peak"], ["right"], "right")]
    two = [node("MatMul", ["left", "a.weight"], ["a"], "a"), node("MatMul", ["right", "b.weight"], ["b"], "b"), node("Add", ["a", "b"], ["logits"], "both")]
    sine(rng, *vectors, *two, name="sine-two-heads", weights=heads)
    scores = [node("GlobalAveragePool", ["wave"], ["pool"], "pool"), node("Flatten", ["pool"], ["vector"], "vector")]
    scores += [node("MatMul", ["vector", "a.weight"], ["a"], "a"), node("Cos", ["a"], ["logits"], "scores")]
    sine(rng, *scores, name="sine-scores", weights={"a.weight": heads["a.weight"]})
    sine(rng, node("Conv", ["wave", "head.weight"], ["boxes"], "head"), name="sine-places", weights=pointwise(9), output="boxes", shape=(9, 16, 16))
    noisy = [node("RandomUniformLike", ["wave"], ["noise"], "noise"), node("Add", ["wave", "noise"], ["noisy"], "noisy")]
    sine(rng, *noisy, node("Conv", ["noisy", "head.weight"], ["map"], "head"), *pooled, name="sine-random", weights=pointwise(5))

    with_hidden_branch()

    # Features that float32 cannot hold.
    nodes, weights = plain(np.random.default_rng(1))
    nodes[1:2] = [
        helper.make_node("Relu", ["conv"], ["small"], "small"),
        helper.make_node("Mul", ["small", "k"], ["large"], "large"),
        helper.make_node("Mul", ["large", "k"], ["relu"], "larger"),
    ]
    save("overflow", nodes, weights | {"k": np.float32(1e30)})


if __name__ == "__main__":
    main()
