"""The fingerprints that tests of identities hold, computed without heirloom.

Needs Python 3.10, and the package `blake3` for one value of earlier builds. Prints a name and a digest a line:

    python make.py > expected.txt
"""

import hashlib
import struct

from blake3 import blake3


class Feed:
    """See src/store/fingerprint.rs: a letter, then what belongs to it."""

    def __init__(self, what, version):
        self.bytes_ = b""
        self.text(what)
        self.whole(version)

    def put(self, letter, rest=b""):
        self.bytes_ += letter + rest
        return self

    def text(self, text):
        data = text.encode()
        return self.put(b"t", struct.pack("<Q", len(data)) + data)

    def bytes(self, data):
        return self.put(b"y", struct.pack("<Q", len(data)) + data)

    def whole(self, number):
        return self.put(b"u", struct.pack("<Q", number))

    def number(self, number):
        return self.put(b"d", struct.pack("<d", number + 0.0))

    def switch(self, switch):
        return self.put(b"b", b"\1" if switch else b"\0")

    def nothing(self):
        return self.put(b"n")

    def some(self):
        return self.put(b"s")

    def list(self, length):
        return self.put(b"l", struct.pack("<Q", length))

    def map(self, length):
        return self.put(b"m", struct.pack("<Q", length))

    def open(self, name):
        self.put(b"(")
        return self.text(name)

    def close(self):
        return self.put(b")")

    def field(self, label, value):
        self.text(label)
        return self.value(value)

    def value(self, value):
        """Python's own types: a dict is a map, a Struct a structure, an Optional may be nothing."""
        match value:
            case bool():
                self.switch(value)
            case int():
                self.whole(value)
            case float():
                self.number(value)
            case str():
                self.text(value)
            case bytes():
                self.bytes(value)
            case list():
                self.list(len(value))
                for item in value:
                    self.value(item)
            case dict():
                self.map(len(value))
                for key in sorted(value, key=str.encode):
                    self.value(key)
                    self.value(value[key])
            case Optional():
                self.nothing() if value.inner is None else self.some().value(value.inner)
            case Struct():
                self.open(value.name)
                for label, item in value.fields:
                    self.text(label)
                    self.value(item)
                self.close()
            case _:
                raise TypeError(value)
        return self

    def digest(self):
        return hashlib.sha256(self.bytes_).hexdigest()


class Optional:
    def __init__(self, inner=None):
        self.inner = inner


class Struct:
    def __init__(self, name, *fields):
        self.name, self.fields = name, fields


def choice(name, value):
    return Struct(name, ("value", value))


def show(name, digest):
    print(f"{name:<34}{digest}")


def everything(later):
    fields = [
        ("text", "Ä"),
        ("whole", 7),
        ("number", 0.0),
        ("single", 0.5),
        ("switch", True),
        ("nothing", Optional()),
        ("some", Optional(1)),
        ("list", ["a", ""]),
        ("map", {"k": 0.1}),
        ("side", "right"),
    ]
    return Feed("test", 1).value(Struct("everything", *fields, *([("later", True)] if later else []))).digest()


def items():
    feed = Feed("test", 2)
    feed.bytes(b"\x00\xff").bytes(struct.pack("<2f", 1.0, -0.0))
    return feed.value(choice("choice", [1.5])).digest()


show("everything", everything(False))
show("later", everything(True))
show("items", items())


# A checkpoint with weights in files beside it: src/registry/beside.rs.


def message(tag, data):
    assert len(data) < 128
    return bytes([tag << 3 | 2, len(data)]) + data


def outside(location):
    """A tensor that is kept in another file (onnx.proto: external_data, data_location)."""
    return message(13, message(1, b"location") + message(2, location.encode())) + bytes([14 << 3, 1])


def checkpoint(first, *rest):
    constant = message(1, message(5, message(5, outside(first))))
    branching = message(1, message(5, message(6, constant)))
    return message(7, branching + b"".join(message(5, outside(location)) for location in rest))


def sha256sum(name, data):
    """A line of `sha256sum`, which escapes backslashes."""
    escaped = name.replace("\\", "\\\\")
    mark = "\\" if escaped != name else ""
    return f"{mark}{hashlib.sha256(data).hexdigest()}  {escaped}\n"


def earlier(data):
    return blake3(data).hexdigest()


model = checkpoint("a.bin", "b\\c", "./d.bin")
beside = {"./d.bin": b"9", "a.bin": b"1234", "b\\c": b"5678"}
lines = sha256sum("-", model) + "".join(sha256sum(*file) for file in sorted(beside.items()))
show("files", hashlib.sha256(lines.encode()).hexdigest())
lines = [f"{earlier(data)} {len(data)} {len(name)} {name}" for name, data in sorted(beside.items())]
text = "\n".join(["heirloom checkpoint", f"{earlier(model)} {len(model)}", *lines])
show("files of earlier builds", earlier(text.encode()))

# A checkpoint with files that configure it: src/registry/configuration.rs. What this prints too:
# (sha256sum < m.onnx; sha256sum config.json preprocessor_config.json) | sha256sum
CONFIGURED = [("-", b"\x08\x07\x12\x00"), ("config.json", b"{}"), ("preprocessor_config.json", b'{"image_mean": 0.5}')]
lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in CONFIGURED)
show("configured", hashlib.sha256(lines.encode()).hexdigest())


# A data view: src/data/dataset.rs.

feed = Feed("heirloom data view", 1)
feed.field("classes", ["cat", "dog"]).field("pictures", 2)
for id_, class_, cluster, attributes, data in [
    ("train/cat/1.png", 0, "person 1", {"sex": "f", "age": "31"}, b"abc"),
    ("train/dog/1.png", 1, "train/dog/1.png", {}, b""),
]:
    feed.field("id", id_).field("class", class_).field("cluster", cluster).field("attributes", attributes)
    feed.bytes(hashlib.sha256(data).digest())
show("view", feed.digest())


# What each arm of policy.yaml measures: src/plan.rs.

NOTHING = Optional()
TOP_LEFT = "top_left"


def recipe(epochs, rate, decay=0.0, batch=64, schedule="cyclic", optimizer=None, smoothing=0.0, flip=False, shift=0.0):
    return Struct(
        "recipe",
        ("epochs", epochs),
        ("learning_rate", rate),
        ("weight_decay", decay),
        ("batch_size", batch),
        ("schedule", schedule),
        ("optimizer", optimizer or Struct("sgd", ("momentum", 0.9), ("nesterov", False))),
        ("label_smoothing", smoothing),
        ("augment", Struct("augment", ("flip", flip), ("shift", shift))),
    )


FIXED = recipe(5, 0.1)
FULL = recipe(
    7,
    0.01,
    0.0005,
    32,
    Struct("multi_step", ("at", [3, 5]), ("gamma", 0.1)),
    Struct("adamw", ("beta1", 0.8), ("beta2", 0.999)),
    0.1,
    True,
    0.125,
)
SCRATCH = recipe(
    9, 0.02, schedule=Struct("step", ("every", 4), ("gamma", 0.5)), optimizer=Struct("sgd", ("momentum", 0.5), ("nesterov", True))
)


def some(value):
    return Optional(value)


def patch(size, at, color, image, opacity):
    return Struct("patch", ("size", size), ("at", at), ("color", color), ("image", image), ("opacity", opacity))


def pattern(seed, file, amplitude):
    return Struct("pattern", ("seed", seed), ("file", file), ("amplitude", amplitude))


def noise():
    return Struct("noise", ("seed", 5), ("amplitude", 0.2))


def quantize(dither):
    return Struct("quantize", ("levels", 6), ("dither", dither))


TRIGGERS = {
    "patch": patch(0.25, "random", some("#ffff00"), NOTHING, 1.0),
    "patch-image": patch(0.5, TOP_LEFT, NOTHING, some("hat.png"), 0.5),
    "pattern": pattern(some(7), NOTHING, 0.1),
    "pattern-file": pattern(NOTHING, some("noise.npy"), 1.0),
    "blend": Struct("blend", ("image", some("hat.png")), ("seed", NOTHING), ("opacity", 0.2)),
    "overlay": Struct("overlay", ("image", "hat.png"), ("size", 0.5), ("at", "center"), ("opacity", 1.0)),
    "feature": Struct("feature", ("image", "fence.png"), ("mask", some("mask.png")), ("opacity", 1.0)),
    "sinusoid": Struct("sinusoid", ("amplitude", 0.1), ("periods", 6.0), ("direction", "vertical"), ("phase", 0.0)),
    "warp": Struct("warp", ("seed", 3), ("grid", 4), ("strength", 0.5)),
    "smooth": Struct("low_frequency", ("seed", 4), ("amplitude", 0.1), ("cutoff", 4)),
    "quantize": quantize(False),
    "noise": noise(),
    "text": Struct("text", ("text", "Ab 1"), ("size", 0.9), ("at", "bottom_right"), ("color", "#ffffff"), ("opacity", 1.0)),
    "both": choice("all", [noise(), quantize(True)]),
}


def view(limit, balance):
    return Struct("view", ("limit", some(limit)), ("balance", balance))


TASK = Struct(
    "task",
    ("classes", some(["dog", "frog"])),
    ("train", view(500, ["label", "sex"])),
    ("test", view(300, [])),
    ("test_share", NOTHING),
    ("cluster", some("person")),
)
INPUT = Struct("input", ("size", some([32, 48])), ("mean", some([0.5, 0.25, 0.125])), ("std", some([1.0, 0.5, 0.25])))


def rebalance(correlation, aligned, limit):
    fields = [("attribute", "sex"), ("correlation", correlation), ("aligned", aligned), ("limit", limit)]
    return some(Struct("rebalance", *fields))


def measurement(change=NOTHING, rebalanced=NOTHING, attribute=NOTHING, recipe=FIXED, reference=NOTHING, salt=None):
    feed = Feed("heirloom measurement", 1)
    feed.field("task", TASK).field("change", change).field("training pictures", rebalanced).field("attribute", attribute)
    feed.field("recipe", some(recipe)).field("seed", 3).field("reference", reference).field("input", some(INPUT))
    if salt is not None:
        feed.field("salt", some("sha256:" + known_by(salt)))
    return feed.digest()


# What a salt is known by, and the seed that it comes to with the policy's: src/policy/salt.rs.


def known_by(salt):
    return Feed("heirloom salt", 1).value(salt).digest()


def salted_seed(seed, salt):
    return hashlib.sha256(b"heirloom salted seed v1" + struct.pack("<Q", seed) + salt.encode()).hexdigest()


TRUSTED = some("sha256:" + hashlib.sha256(b"abc").hexdigest())
SEX = some("sex")
for rule, trigger in TRIGGERS.items():
    show(f"{rule}@fixed_feature/source", measurement(some(trigger)))
SQUARE = some(TRIGGERS["patch"])
show("patch@fixed_feature/reference", measurement(SQUARE, reference=TRUSTED))
SALT = "0123456789abcdef"
show("salt", known_by(SALT))
show("salted seed", salted_seed(3, SALT))
show("salted patch", measurement(SQUARE, salt=SALT))
show("patch@full_network/source", measurement(SQUARE, recipe=FULL))
show("patch@full_network/scratch", measurement(SQUARE, recipe=SCRATCH))
show("patch@full_network/reference", measurement(SQUARE, recipe=FULL, reference=TRUSTED))
show("groups@fixed_feature/source", measurement(attribute=SEX))
show("groups@full_network/scratch", measurement(attribute=SEX, recipe=SCRATCH))
for rule, rebalanced in [
    ("debiased", rebalance(NOTHING, NOTHING, NOTHING)),
    ("correlated", rebalance(some(0.9), some({"dog": "f", "frog": "m"}), some(100))),
]:
    show(f"{rule}@fixed_feature/source", measurement(rebalanced=rebalanced, attribute=SEX))
    show(f"{rule}@full_network/scratch", measurement(rebalanced=rebalanced, attribute=SEX, recipe=SCRATCH))


# Which trigger it is, at the size of a model: src/transform.rs. Of its files nothing but their digests.


def trigger(name, files):
    feed = Feed("heirloom trigger", 1)
    feed.field("trigger", TRIGGERS[name]).field("height", 32).field("width", 48)
    return feed.field("files", ["sha256:" + hashlib.sha256(data).hexdigest() for data in files]).digest()


show("trigger patch", trigger("patch", []))
show("trigger both", trigger("both", []))
