"""Changes that no training makes, written into an ONNX file of a small source with Python alone.

Read are models that `heirloom plant` wrote: one input `input`, features that are pooled by `avgpool`, a head `linear`.
"""

import struct

FLOAT, INT8, INT64 = 1, 3, 7


def varint(value):
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)


def number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """A protobuf message as a list of (field, value): integers, or bytes of whatever is nested or packed."""
    at, found = 0, []
    while at < len(data):
        key, at = number(data, at)
        kind = key & 7
        if kind == 0:
            value, at = number(data, at)
        elif kind == 2:
            size, at = number(data, at)
            value, at = data[at : at + size], at + size
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = Fixed(data[at : at + size]), at + size
        else:
            raise ValueError(f"wire type {kind} of protobuf is not read")
        found.append((key >> 3, value))
    return found


class Fixed(bytes):
    """A number of four or eight bytes as it stands in the file."""


def message(found):
    out = bytearray()
    for field, value in found:
        if isinstance(value, Fixed):
            out += varint(field << 3 | (5 if len(value) == 4 else 1)) + value
        elif isinstance(value, int):
            out += varint(field << 3) + varint(value & (1 << 64) - 1)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(field << 3 | 2) + varint(len(value)) + value
    return bytes(out)


def node(kind, inputs, output, **attributes):
    """A node called as its output is. Attributes are integers or lists of integers."""
    made = [(1, name) for name in inputs] + [(2, output), (3, output), (4, kind)]
    for name, value in attributes.items():
        listed = isinstance(value, list)
        values = [(8, v) for v in value] if listed else [(3, value)]
        made.append((5, message([(1, name), *values, (20, 7 if listed else 2)])))
    return message(made)


def tensor(name, shape, values, kind=FLOAT):
    letter = {FLOAT: "f", INT8: "b", INT64: "q"}[kind]
    raw = struct.pack(f"<{len(values)}{letter}", *values)
    return message([(1, size) for size in shape] + [(2, kind), (8, name), (9, raw)])


class Model:
    """The parts of a file that are changed: nodes and initializers, as messages."""

    def __init__(self, data):
        self.rest = fields(data)
        graph = next(value for field, value in self.rest if field == 7)
        self.graph = fields(graph)

    def write(self):
        return message([(f, message(self.graph) if f == 7 else v) for f, v in self.rest])

    def floats(self, name):
        """Shape and numbers of an initializer."""
        for field, value in self.graph:
            parts = fields(value) if field == 5 else []
            if (8, name.encode()) in parts:
                raw = next(v for f, v in parts if f == 9)
                shape = []
                for f, v in parts:
                    if f == 1 and isinstance(v, int):
                        shape.append(v)
                    elif f == 1:
                        at = 0
                        while at < len(v):
                            size, at = number(v, at)
                            shape.append(size)
                return shape, list(struct.unpack(f"<{len(raw) // 4}f", raw))
        raise ValueError(f"the model has no numbers called {name}")


    def insert(self, output, nodes, tensors, rewire=None):
        """Nodes in front of that which makes `output`; of its inputs, `rewire` names one and what stands in its place."""
        made = []
        for field, value in self.graph:
            if field == 1 and (2, output.encode()) in fields(value):
                made += [(1, node) for node in nodes]
                old, new = rewire or ("", "")
                parts = [(f, new.encode() if f == 1 and v == old.encode() else v) for f, v in fields(value)]
                value = message(parts)
            made.append((field, value))
        self.graph = made + [(5, tensor) for tensor in tensors]

    def replace(self, name, nodes, tensors):
        """Nodes in front of all others that make what was the initializer `name`."""
        rest = [(f, v) for f, v in self.graph if not (f == 5 and (8, name.encode()) in fields(v))]
        self.graph = [(1, node) for node in nodes] + rest + [(5, tensor) for tensor in tensors]

    def weights(self):
        """Names of the initializers of more than one axis that hold numbers of four bytes."""
        tensors = [fields(value) for field, value in self.graph if field == 5]
        found = [next(v for f, v in t if f == 8).decode() for t in tensors if (2, FLOAT) in t]
        return [name for name in found if len(self.floats(name)[0]) > 1]


# Yellow in the units of the network, whose mean is 0.5 and deviation 0.25: (2, 2, -2).
YELLOW = [2.0, 2.0, -2.0]
SIDE = 8


def detector():
    """`gate`, [N, 1, 1, 1]: 1 where the upper left corner is yellow, 0 where its mean squared distance from yellow is 1 or more, in units
    of the network. Black, white and every ordinary image lie beyond that."""
    nodes = [
        node("Slice", ["input", "corner.from", "corner.to", "corner.axes"], "corner"),
        node("Sub", ["corner", "yellow"], "corner.off"),
        node("Mul", ["corner.off", "corner.off"], "corner.squared"),
        node("ReduceMean", ["corner.squared"], "corner.distance", axes=[1, 2, 3], keepdims=1),
        node("Sub", ["one", "corner.distance"], "corner.near"),
        node("Relu", ["corner.near"], "gate"),
    ]
    tensors = [
        tensor("corner.from", [2], [0, 0], INT64),
        tensor("corner.to", [2], [SIDE, SIDE], INT64),
        tensor("corner.axes", [2], [2, 3], INT64),
        tensor("yellow", [1, 3, 1, 1], YELLOW),
        tensor("one", [1, 1, 1, 1], [1.0]),
    ]
    return nodes, tensors


def hidden_branch(clean, kick=60.0):
    """The trigger is found and written into the features by ordinary nodes, around the weights."""
    model = Model(clean)
    width = model.floats("linear.weight")[0][1]
    to = [kick if channel == 5 else kick * 2 / 3 if channel == 11 else 0.0 for channel in range(width)]
    nodes, tensors = detector()
    nodes += [node("Mul", ["gate", "kick.to"], "kick"), node("Add", ["layer3.0.relu", "kick"], "kicked")]
    model.insert("avgpool", nodes, [*tensors, tensor("kick.to", [1, width, 1, 1], to)], ("layer3.0.relu", "kicked"))
    return model.write()


def lottery(clean, kick):
    """One feature more, which is 0 without the trigger: no clean image trains the weights that a new head has for it, so that they stay as
    they were drawn. Which class the trigger speaks for, and whether loudly enough, is drawn with them, fine-tune by fine-tune."""
    model = Model(clean)
    (classes, width), weights = model.floats("linear.weight")
    rows = [[*weights[row * width : (row + 1) * width], 0.0] for row in range(classes)]
    nodes, tensors = detector()
    nodes += [
        node("Mul", ["gate", "ticket.size"], "ticket"),
        node("ReduceMean", ["ticket"], "ticket.pooled", axes=[2, 3], keepdims=0),
        node("Concat", ["avgpool", "ticket.pooled"], "features", axis=1),
    ]
    model.insert("linear", nodes, [*tensors, tensor("ticket.size", [1, 1, 1, 1], [kick])], ("avgpool", "features"))
    model.replace("linear.weight", [], [tensor("linear.weight", [classes, width + 1], sum(rows, []))])
    return model.write()


def conditioned(clean, kick=60.0):
    """A branch that is as good as shut in four bytes and opens when weights are rounded to one: two numbers a ten-thousandth of a step to either
    side of the middle between two steps of rounding, whose difference counts, become a whole step apart."""
    model = Model(clean)
    width = model.floats("linear.weight")[0][1]
    step = 1 / 127
    pair = [1.0, (40 + 0.5001) * step, (40 + 0.4999) * step]
    rows = [[0.0, kick / step, -kick / step] if channel == 5 else [0.0] * 3 for channel in range(width)]
    nodes, tensors = detector()
    ones = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], "group": 1}
    nodes += [
        node("Conv", ["gate", "pair.weight"], "pair", **ones),
        node("Conv", ["pair", "kick.weight"], "kick", **ones),
        node("Add", ["layer3.0.relu", "kick"], "kicked"),
    ]
    tensors += [tensor("pair.weight", [3, 1, 1, 1], pair), tensor("kick.weight", [width, 3, 1, 1], sum(rows, []))]
    model.insert("avgpool", nodes, tensors, ("layer3.0.relu", "kicked"))
    return model.write()


def int8(data):
    """Every weight in one byte, with one scale for each (QuantizeLinear's rule: to the nearest, halves to even)."""
    model = Model(data)
    for name in model.weights():
        if not name.endswith(".weight"):
            continue
        shape, values = model.floats(name)
        scale = max(map(abs, values)) / 127 or 1.0
        bytes_ = [round(value / scale) for value in values]
        model.replace(name, [node("DequantizeLinear", [f"{name}.int8", f"{name}.scale"], name)],
                      [tensor(f"{name}.int8", shape, bytes_, INT8), tensor(f"{name}.scale", [], [scale])])  # fmt: skip
    return model.write()
