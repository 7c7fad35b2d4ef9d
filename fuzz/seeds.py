#!/usr/bin/env python3
"""Writes the seeds of every fuzz target into `corpus/TARGET/seed-*`: small valid inputs from other people's libraries.

Needs numpy, onnx, pillow, pyarrow, safetensors and scipy. Run from anywhere; the same files come out every time.
"""

import gzip
import io
import json
import pathlib
import struct
import tarfile

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import load_file
from safetensors.numpy import save as write_tensors

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
RANDOM = np.random.default_rng(7)


def seed(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data if isinstance(data, bytes) else data.encode())


def images():
    grid = RANDOM.integers(0, 256, (9, 7, 4), dtype=np.uint8)
    made = {}

    def save_as(name, image, form, **options):
        out = io.BytesIO()
        image.save(out, form, **options)
        made[name] = out.getvalue()

    rgba = Image.fromarray(grid, "RGBA")
    for mode in ["1", "L", "LA", "P", "RGB", "RGBA"]:
        save_as(f"png-{mode.lower()}", rgba.convert("RGB").convert(mode) if mode in "1P" else rgba.convert(mode), "PNG")
    save_as("png-16", Image.fromarray((grid[..., 0].astype(np.uint16) << 8) + 3), "PNG")
    save_as("png-transparent", rgba.convert("RGB").convert("P"), "PNG", transparency=0)
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb = rgba.convert("RGB").resize((17, 24))
    save_as("png-turned", rgb, "PNG", exif=exif)
    save_as("jpeg", rgb, "JPEG", quality=60)
    save_as("jpeg-444", rgb, "JPEG", quality=90, subsampling=0)
    save_as("jpeg-gray", rgb.convert("L"), "JPEG")
    save_as("jpeg-cmyk", rgb.convert("CMYK"), "JPEG")
    save_as("jpeg-progressive", rgb, "JPEG", progressive=True)
    save_as("jpeg-restart", rgb, "JPEG", restart_marker_blocks=1)
    for way in [1, 3, 6, 8]:
        exif[0x0112] = way
        save_as(f"jpeg-turned-{way}", rgb, "JPEG", exif=exif)
    save_as("webp", rgb, "WEBP", quality=30)
    save_as("webp-lossless", rgba, "WEBP", lossless=True)
    save_as("webp-alpha", rgba, "WEBP", quality=30)
    save_as("webp-turned", rgb, "WEBP", exif=exif)
    save_as("webp-animated", rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)], duration=10)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    save_as("jpeg-xmp", rgb, "JPEG", xmp=xmp)
    save_as("webp-xmp", rgb, "WEBP", xmp=xmp)
    save_as("bmp", rgb, "BMP")
    save_as("bmp-p", rgb.convert("P"), "BMP")
    save_as("gif", rgb.convert("P"), "GIF")
    save_as("gif-animated", rgb.convert("P"), "GIF", save_all=True, append_images=[rgb.rotate(90).convert("P")])
    for packed in ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]:
        save_as(f"tiff-{packed}", rgb, "TIFF", compression=packed)
    save_as("tiff-fax", rgb.convert("1"), "TIFF", compression="group4")
    save_as("tiff-turned", rgb, "TIFF", tiffinfo={0x0112: 6})
    save_as("ppm", rgb, "PPM")
    save_as("pgm", rgb.convert("L"), "PPM")
    for name, data in made.items():
        seed("image", name, data)
        seed("trigger", name, data)
        if name.startswith(("jpeg", "webp", "gif", "tiff-raw")):
            seed("image", f"cut-{name}", data[: len(data) * 2 // 3])
    return made


def network(nodes, tensors=(), classes=2, channels=3, size=(8, 8), opset=17, output="logits", domains=(), kind=TensorProto.FLOAT, outputs=()):
    x = helper.make_tensor_value_info("x", kind, ["N", channels, *size])
    y = [helper.make_tensor_value_info(name, kind, None) for name in [output, *outputs]]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors]
    graph = helper.make_graph(nodes, "g", [x], y, initializers)
    sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=sets).SerializeToString()


def floats(*shape):
    return (RANDOM.standard_normal(shape) * 0.3).astype(np.float32)


def onnx_files():
    def node(kind, inputs, outputs, **attributes):
        return helper.make_node(kind, inputs, outputs if isinstance(outputs, list) else [outputs], **attributes)

    def head(features, width=3):
        nodes = [node("GlobalAveragePool", [features], "p"), node("Flatten", ["p"], "f"), node("Gemm", ["f", "hw", "hb"], "logits", transB=1)]
        return nodes, [("hw", floats(2, width)), ("hb", floats(2))]

    def through(name, kind, inputs=("x",), tensors=(), opset=17, width=3, **attributes):
        nodes, held = head("y", width)
        seed("onnx", name, network([node(kind, list(inputs), "y", **attributes), *nodes], [*tensors, *held], opset=opset))

    for kind in ["Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Sqrt", "Erf", "Softplus", "HardSwish", "HardSigmoid", "Elu", "Selu", "LeakyRelu",
                 "Identity", "Log", "Reciprocal", "Floor", "Mish", "Dropout"]:
        through(kind.lower(), kind, opset=18 if kind == "Mish" else 17)
    through("gelu", "Gelu", opset=20, approximate="tanh")
    through("clip", "Clip", ["x", "lo", "hi"], [("lo", np.float32(0)), ("hi", np.float32(6))])
    through("clip-6", "Clip", opset=7, min=0.0, max=6.0)
    through("prelu", "PRelu", ["x", "s"], [("s", floats(3, 1, 1))])
    for kind in ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"]:
        through(kind.lower(), kind, ["x", "c"], [("c", floats(1, 3, 1, 1))])
    through("conv", "Conv", ["x", "w", "b"], [("w", floats(4, 3, 3, 3)), ("b", floats(4))], width=4, pads=[1, 1, 1, 1], strides=[2, 2])
    through("conv-group", "Conv", ["x", "w"], [("w", floats(3, 1, 3, 3))], group=3, auto_pad="SAME_UPPER", dilations=[2, 2])
    through("batchnorm", "BatchNormalization", ["x", "a", "b", "m", "v"], [(n, np.abs(floats(3))) for n in "abmv"], epsilon=1e-5)
    through("batchnorm-training", "BatchNormalization", ["x", "a", "b", "m", "v"], [(n, np.abs(floats(3))) for n in "abmv"], training_mode=1)
    through("instancenorm", "InstanceNormalization", ["x", "a", "b"], [(n, floats(3)) for n in "ab"])
    through("groupnorm", "GroupNormalization", ["x", "a", "b"], [(n, floats(3)) for n in "ab"], opset=21, num_groups=3)
    through("layernorm", "LayerNormalization", ["x", "a", "b"], [("a", floats(8)), ("b", floats(8))])
    through("lrn", "LRN", size=3)
    through("maxpool", "MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    through("avgpool", "AveragePool", kernel_shape=[2, 2], strides=[2, 2], count_include_pad=1)
    through("pad", "Pad", ["x", "p"], [("p", np.array([0, 0, 1, 1, 0, 0, 1, 1]))], mode="reflect")
    through("softmax", "Softmax", axis=1)
    through("resize", "Resize", ["x", "", "s"], [("s", np.array([1, 1, 2, 2], np.float32))], mode="linear")
    through("resize-sizes", "Resize", ["x", "", "", "s"], [("s", np.array([1, 3, 4, 4]))], mode="nearest")
    through("upsample", "Upsample", ["x", "s"], [("s", np.array([1, 1, 2, 2], np.float32))], opset=9)
    through("transpose", "Transpose", perm=[0, 2, 3, 1], width=8)
    through("depthtospace", "SpaceToDepth", blocksize=2, width=12)
    through("reducemean", "ReduceMean", axes=[2], keepdims=1)
    through("reducemean-18", "ReduceMean", ["x", "a"], [("a", np.array([2]))], opset=18)
    through("reduce-noop", "ReduceSum", ["x", "a"], [("a", np.array([], np.int64))], noop_with_empty_axes=1)
    through("slice", "Slice", ["x", "s", "e", "a", "t"], [("s", np.array([1])), ("e", np.array([-1])), ("a", np.array([2])), ("t", np.array([2]))])
    through("gather", "Gather", ["x", "i"], [("i", np.array([0, 2, 1]))], axis=1)
    through("expand", "Expand", ["x", "s"], [("s", np.array([1, 3, 8, 8]))])
    through("tile", "Tile", ["x", "s"], [("s", np.array([1, 1, 1, 2]))])
    through("where", "Where", ["k", "x", "c"], [("k", np.array(True)), ("c", floats(1))])
    through("cast", "Cast", to=TensorProto.FLOAT)
    through("cast-16", "Cast", to=TensorProto.FLOAT16)
    through("einsum", "Einsum", ["x", "w"], [("w", floats(3, 3))], equation="nchw,cd->ndhw")
    through("random", "RandomUniformLike")
    through("argmax", "ArgMax", axis=1)
    nodes, held = head("y", 3)
    seed("onnx", "split-concat", network([node("Split", ["x"], ["a", "b", "c"], axis=1), node("Concat", ["c", "a", "b"], "y", axis=1), *nodes], held))
    seed("onnx", "shapes", network(
        [node("Shape", ["x"], "s"), node("Gather", ["s", "zero"], "n", axis=0), node("Unsqueeze", ["n", "zero1"], "n1"),
         node("Concat", ["n1", "rest"], "to", axis=0), node("Reshape", ["x", "to"], "f"), node("MatMul", ["f", "w"], "logits")],
        [("zero", np.array(0)), ("zero1", np.array([0])), ("rest", np.array([-1])), ("w", floats(192, 2))]))
    seed("onnx", "constant", network(
        [node("Constant", [], "c", value=numpy_helper.from_array(floats(1, 3, 1, 1))), node("ConstantOfShape", ["sh"], "z"),
         node("Add", ["x", "c"], "a"), node("Add", ["a", "z"], "y"), *nodes], [("sh", np.array([1, 3, 8, 8])), *held]))
    attention = [
        node("Conv", ["x", "pw"], "e", strides=[4, 4], kernel_shape=[4, 4]), node("Reshape", ["e", "ts"], "t"), node("Transpose", ["t"], "u", perm=[0, 2, 1]),
        node("LayerNormalization", ["u", "la", "lb"], "v"), node("MatMul", ["v", "wq"], "q"), node("MatMul", ["v", "wk"], "k"), node("MatMul", ["v", "wv"], "w"),
        node("Transpose", ["k"], "kt", perm=[0, 2, 1]), node("MatMul", ["q", "kt"], "sc"), node("Mul", ["sc", "half"], "sd"), node("Softmax", ["sd"], "pr", axis=-1),
        node("MatMul", ["pr", "w"], "o"), node("Add", ["o", "u"], "r"), node("ReduceMean", ["r"], "f", axes=[1], keepdims=0), node("Gemm", ["f", "hw", "hb"], "logits"),
    ]
    seed("onnx", "attention", network(attention, [
        ("pw", floats(6, 3, 4, 4)), ("ts", np.array([0, 6, -1])), ("la", floats(6)), ("lb", floats(6)), ("half", np.float32(0.5)),
        *((n, floats(6, 6)) for n in ["wq", "wk", "wv"]), ("hw", floats(6, 2)), ("hb", floats(2))]))
    quantised = [
        node("QuantizeLinear", ["x", "s", "z"], "xq"), node("DequantizeLinear", ["xq", "s", "z"], "xd"), node("DequantizeLinear", ["wq", "s", "zw"], "wd"),
        node("Conv", ["xd", "wd"], "y"), *head("y", 4)[0]]
    seed("onnx", "quantised", network(quantised, [
        ("s", np.float32(0.1)), ("z", np.uint8(128)), ("zw", np.int8(0)), ("wq", RANDOM.integers(-9, 9, (4, 3, 1, 1)).astype(np.int8)), *head("y", 4)[1]]))
    seed("onnx", "half", network([node("Conv", ["x", "w"], "y"), *nodes], [("w", floats(3, 3, 1, 1).astype(np.float16)), *((n, v.astype(np.float16)) for n, v in held)],
                                 kind=TensorProto.FLOAT16))
    seed("onnx", "microsoft", network([node("FusedConv", ["x", "w"], "y", domain="com.microsoft", activation="Relu"), *nodes], [("w", floats(3, 3, 1, 1)), *held],
                                      domains=["com.microsoft"]))
    seed("onnx", "two-outputs", network([node("Relu", ["x"], "y"), *nodes[:2], node("Gemm", ["f", "hw", "hb"], "logits", transB=1)], held, outputs=["f"]))
    model = onnx.load_from_string(network([node("Conv", ["x", "w"], "y"), *nodes], [("w", floats(3, 3, 1, 1)), *held]))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": "8", "length": "36"}.items():
        tensor.external_data.add(key=key, value=value)
    entry = model.metadata_props.add()
    entry.key, entry.value = "heirloom.mean", "[0.5,0.5,0.5]"
    entry = model.metadata_props.add()
    entry.key, entry.value = "heirloom.std", "[0.2,0.2,0.2]"
    seed("onnx", "external", model.SerializeToString())
    branch = helper.make_graph([node("Identity", ["x"], "t")], "t", [], [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)])
    seed("onnx", "if", network([node("If", ["k"], "y", then_branch=branch, else_branch=branch), *nodes], [("k", np.array(True)), *held]))


def save(tensors, notes=None):
    """The library writes its notes in another order each time."""
    data = write_tensors(tensors, notes)
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    if notes:
        header["__metadata__"] = notes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def safetensors_files():
    network = load_file(ROOT / "fixtures/models/clean.safetensors")
    notes = {"heirloom.arch": "resnet-cifar", "heirloom.mean": "[0.5,0.5,0.5]", "heirloom.std": "[0.25,0.25,0.25]", "heirloom.size": "[16,16]"}

    def small(name, value):
        return np.ascontiguousarray(value[tuple(slice(0, 3 if name == "conv1.weight" and axis == 1 else {8: 1, 16: 2, 32: 4}.get(n, n)) for axis, n in enumerate(value.shape))])

    tiny = {name: small(name, value) for name, value in network.items()}
    seed("safetensors", "resnet", save(tiny, notes))
    seed("safetensors", "half", save({n: v.astype(np.float16) for n, v in tiny.items()}, notes))
    seed("safetensors", "module", save({f"module.{n}": v for n, v in tiny.items()}))
    seed("safetensors", "other", save({"a": np.zeros((2, 3), np.float32), "b.c": np.zeros((0,), np.int64), "d": np.array(True)}))
    seed("safetensors", "empty", save({}))
    shards = {"metadata": {"total_size": 1}, "weight_map": {name: "model-00001-of-00001.safetensors" for name in tiny}}
    seed("safetensors", "index", json.dumps(shards).encode() + b"\0" + save(tiny, notes))
    # The golden networks with fewer channels: what is long is not mutated often.
    for golden, by in [("torchvision-basic", 4), ("hugging-face-basic", 4), ("torchvision-grouped", 2), ("hugging-face-bottleneck", 1)]:
        file = load_file(ROOT / f"tests/golden/arch/{golden}.safetensors")
        less = lambda axis, n: n if axis > 1 or n in (3, 5) else max(1, n // by)
        cut = {n: np.ascontiguousarray(v[tuple(slice(0, less(axis, side)) for axis, side in enumerate(v.shape))]) for n, v in file.items()}
        seed("safetensors", golden, save({n: v.astype(np.float16) for n, v in cut.items()}))


def texts():
    for path in sorted((ROOT / "policies").glob("*.yaml")) + [ROOT / "fixtures/canary/policy.yaml"]:
        seed("policy", path.stem, path.read_bytes())
    for part in ["studies", "calibration"]:
        for path in sorted((ROOT / "policies" / part).glob("*.yaml")):
            seed("specification", f"{part}-{path.stem}", path.read_bytes())
    for path in sorted((ROOT / "fixtures/plant").glob("*.yaml")):
        seed("specification", f"plant-{path.stem}", path.read_bytes())
    seed("policy", "json", json.dumps({"version": 1, "name": "j", "target": {"data": {"embedded": "fashion"}}, "transfer": {"fixed_feature": {"epochs": 2, "learning_rate": 0.1}},
                                       "rules": [{"id": "a", "probe": {"backdoor": {"trigger": {"patch": {"size": 0.2, "color": "#ff0000"}}}}, "limit": 0.1}]}))
    seed("csv", "plain", "id,sex,age\na,f,3\nb,m,4\n")
    seed("csv", "quoted", 'age,"id"\r\n"1, 2",a\r\n"say ""x""",b\r\n')
    seed("csv", "missing", "id,x\na,NaN\nb,\nc,None\n")
    seed("csv", "twice", "id,there\na,1\na,2\n")
    seed("csv", "short", "id,x\na\nb,1,2\n")
    seed("csv", "bytes", b"\xef\xbb\xbfid,x\n\xff,1\na,\x00\n")
    for name, value in {
        "resnet": {"architecture": "resnet18", "num_classes": 2, "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "input_size": [3, 32, 32], "crop_pct": 0.9, "interpolation": "bicubic"}},
        "arguments": {"architecture": "resnet26", "model_args": {"stem_type": "deep", "avg_down": True, "act_layer": "silu", "output_stride": 8}},
        "face": {"model_type": "resnet", "architectures": ["ResNetForImageClassification"], "hidden_sizes": [4, 4, 4], "depths": [1, 1, 1], "hidden_act": "relu", "layer_type": "basic"},
    }.items():
        seed("config", name, json.dumps(value))
    for name, value in {
        "edge": {"do_resize": True, "size": {"shortest_edge": 24}, "resample": 3, "do_center_crop": True, "crop_size": {"height": 16, "width": 16}, "do_rescale": True,
                 "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
        "squash": {"size": {"height": 16, "width": 16}, "do_flip_channel_order": True, "rescale_offset": True, "include_top": False, "crop_pct": 0.875},
        "number": {"size": 224, "image_mean": 0.5, "image_std": 1, "image_processor": {"size": [16, 16]}, "do_pad": True, "pad_size": 3},
    }.items():
        seed("config", f"processor-{name}", "{}\n---\n" + json.dumps(value))


def arrays(pictures):
    images = struct.pack(">IIII", 0x803, 2, 3, 4) + bytes(range(24))
    labels = struct.pack(">II", 0x801, 2) + bytes([0, 1])
    for name, data in [("images", images), ("labels", labels)]:
        seed("idx", name, data)
        seed("idx", f"{name}-packed", gzip.compress(data, mtime=0))
    seed("csv", "list", "file_name,split,label,age\na/1.jpg,train,cat,3\nb/2.jpg,val,\"dog, large\",\n")
    seed("cifar", "ten", bytes([3]) + bytes(3072))
    seed("cifar", "hundred", bytes([3, 40]) + bytes(3072))
    seed("cifar", "short", bytes(100))

    names = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}, "image": {"_type": "Image"}}}}
    bytes_of = [pictures["png-rgb"], pictures["png-l"]]
    image = pa.StructArray.from_arrays([pa.array(bytes_of), pa.array(["a.png", None])], ["bytes", "path"])

    def table(name, columns, notes=None, **options):
        made = pa.table(columns)
        if notes:
            made = made.replace_schema_metadata({"huggingface": json.dumps(notes)})
        out = io.BytesIO()
        pq.write_table(made, out, **options)
        seed("parquet", name, out.getvalue())

    plain = {"image": image, "label": pa.array([0, 1], pa.int64())}
    table("hugging-face", plain, names)
    table("binary", {"img": pa.array(bytes_of), "labels": pa.array(["cat", "dog"])}, compression="none", use_dictionary=False)
    for version in ["1.0", "2.0"]:
        for encoding in ["DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"]:
            table(f"{encoding.lower()}-{version}", {"img": pa.array(bytes_of), "label": pa.array(["cat", "dog"])}, data_page_version=version, use_dictionary=False,
                  column_encoding={"img": encoding, "label": encoding})
    for compression in ["none", "gzip", "zstd", "brotli", "lz4"]:
        table(compression, plain, compression=compression)
    table("version-2", plain, data_page_version="2.0", compression="snappy", version="2.6")
    table("columns", {**plain, "text": ["f", None], "truth": [True, None], "double": [1.5, float("nan")], "small": pa.array([1, None], pa.int8()),
                      "unsigned": pa.array([1, 2**63], pa.uint64()), "date": pa.array([1, None], pa.date32()), "time": pa.array([1, 2], pa.timestamp("us")),
                      "list": [[1], None], "decimal": pa.array([1, None], pa.decimal128(9, 2)), "half": pa.array(np.array([1, 2], np.float16))})
    table("delta", {**plain, "text": ["abc", "abd"]}, use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY", "label": "DELTA_BINARY_PACKED"})
    table("rows", {"image": image.take(pa.array([0, 1, 0, 1])), "label": pa.array([0, 1, 1, None], pa.int32())}, row_group_size=2)
    table("float-label", {"image": image, "label": [0.0, 1.0]})

    # Small files that would become large: rows without news, a text and an image that repeat, pages that are packed 20,000 times.
    many = lambda count: {"image": pa.nulls(count, pa.binary()), "label": pa.array(np.zeros(count, np.int64))}
    again = lambda count, value: pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value]))
    whole = {"compression": "zstd", "data_page_size": 1 << 30}
    table("many-rows", many(600_000), row_group_size=600_000, **whole)
    table("repeated-text", {**many(4000), "text": again(4000, "x" * 4000)}, write_statistics=False, **whole)
    table("repeated-image", {**many(6000), "image": again(6000, bytes_of[0])}, **whole)
    for size in [60, 100]:
        table(f"packed-{size}", {"image": [b"i"], "label": [0], "text": ["x" * (size << 20)]}, use_dictionary=False, write_statistics=False, **whole)


def shards(pictures):
    def shard(name, members, form=tarfile.GNU_FORMAT, cut=None):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for path, data, kind in [(*member, tarfile.REGTYPE)[:3] for member in members]:
                about = tarfile.TarInfo(path)
                about.size, about.type = len(data), kind
                archive.addfile(about, io.BytesIO(data))
        # What lies behind two blocks of zeros fills up to 10 KiB.
        data = out.getvalue().rstrip(b"\0")
        seed("webdataset", name, (data + bytes(-len(data) % 512 + 1024))[:cut])

    image = pictures["png-l"]
    numbers = [("1.png", image), ("1.cls", b"0"), ("1.json", b'{"sex": "f", "age": 3, "share": 0.5, "at": [1], "no": null}'), ("2.png", image), ("2.cls", b"1")]
    for form in [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]:
        shard(f"form-{form}", numbers, form)
        shard(f"long-{form}", [("a" * 90 + "/b.png", image), ("a" * 90 + "/b.json", b'{"label": "cat"}')], form)
        shard(f"longer-{form}", [("a" * 120 + "é/b.png", image), ("a" * 120 + "é/b.cls", b"cat")], form) if form else None
    shard("folders", [("a", b"", tarfile.DIRTYPE), ("a/1.left.PNG", image), ("a/1.cls", b"3")])
    shard("link", [("1.png", b"", tarfile.SYMTYPE), ("1.cls", b"3")])
    shard("global", [("g", b"12 comment=\n", tarfile.XGLTYPE), *numbers])
    shard("sparse", [("1.png", b"", tarfile.GNUTYPE_SPARSE), ("1.cls", b"3")])
    shard("no-image", [("1.cls", b"3"), ("1.txt", b"x")])
    shard("cut", numbers, cut=900)


def reports():
    text = (ROOT / "src/report/snapshots/heirloom__report__json__tests__a_failing_report_looks_like_this.snap").read_text()
    body = text.split("---\n", 2)[2]
    report = json.loads(body)
    seed("report", "fail", json.dumps(report, separators=(",", ":")))
    seed("report", "other", '{"schema":2}')
    # Measurements of the rules that `heirloom::fuzzing` judges by: ten pictures, two classes, two groups, two seeds.
    def measured(rule, arm, column):
        count = 10
        draw = lambda: [int(n) for n in RANDOM.integers(0, 2, count)]
        mode = "full_network" if arm == "scratch" else "fixed_feature"
        seeds = [{"seed": s, "clean": draw(), "changed": [] if column else draw(), "shams": [] if column else [draw(), draw()]} for s in range(2)]
        made = {"rule": rule, "arm": arm, "mode": mode, "classes": ["c0", "c1"], "images": [f"i{n}" for n in range(count)], "labels": [n % 2 for n in range(count)],
                "clusters": list(range(count)), "outcomes": seeds}
        return {**made, "attribute": {"name": "a", "values": ["f", "m"], "of": [0, 1] * 5}} if column else made

    for name, finding in [("short", report["findings"][:1]), ("none", [])]:
        short = json.dumps({**report, "findings": finding}, separators=(",", ":"))
        for kind, rules, column in [("pictures", "st", False), ("groups", "gwred", True)]:
            outcomes = [measured(rule, arm, column) for rule in rules for arm in ["source", "scratch"]]
            seed("report", f"{name}-{kind}", short + "\0" + json.dumps(outcomes, separators=(",", ":")))
        seed("report", name, short)


def words(schema):
    """Every field and every fixed value of a schema."""
    found = set()
    if isinstance(schema, dict):
        found |= set(schema.get("properties", {})) | {v for v in schema.get("enum", []) if isinstance(v, str)}
        found |= {schema["const"]} if isinstance(schema.get("const"), str) else set()
        schema = list(schema.values())
    for part in schema if isinstance(schema, list) else []:
        found |= words(part)
    return found


def matlab_files():
    structs = np.array([[(np.array([[1.0]]), "a.jpg"), (np.array([[2.0]]), "b.jpg")]], dtype=[("class", "O"), ("fname", "O")])
    values = {"labels": np.array([[1, 2, 300]], dtype=np.uint16), "names": np.array([["a", "b c"]], dtype=object), "annotations": structs}
    for name, packed in (("plain", False), ("packed", True)):
        out = io.BytesIO()
        scipy.io.savemat(out, values, do_compression=packed)
        # The header says when it was written.
        seed("matlab", name, b"MATLAB 5.0 MAT-file".ljust(116) + out.getvalue()[116:])
    out = io.BytesIO()
    scipy.io.savemat(out, {"labels": values["labels"]}, format="4")
    seed("matlab", "version-4", out.getvalue())


def hub_answers():
    commit, digest = "0123456789abcdef" * 2 + "01234567", "ab" * 32
    siblings = [{"rfilename": "config.json", "size": 3}, {"rfilename": "onnx/model.onnx", "size": 9, "lfs": {"sha256": digest, "size": 9, "pointerSize": 1}},
                {"rfilename": "onnx/model.onnx_data", "size": 9}, {"rfilename": "../x.onnx"}]
    parts = [{"rfilename": "m.safetensors.index.json", "size": 3}, {"rfilename": "m-00001-of-00002.safetensors", "lfs": {"oid": digest, "size": 9}}, {"rfilename": "pytorch_model.bin"}]
    files = [{"path": "model.onnx", "url": "/b/1?s=2", "size": 3, "sha256": digest}, {"path": "config.json", "size": 1, "sha256": digest}]
    seed("hub", "page", json.dumps([{"_id": "1", "id": "acme/a", "sha": commit, "disabled": False}, {"modelId": "b"}]))
    seed("hub", "model", json.dumps({"id": "acme/a", "sha": commit, "gated": "auto", "disabled": False, "siblings": siblings}))
    seed("hub", "parts", json.dumps({"sha": commit, "siblings": parts}))
    seed("hub", "index", json.dumps({"models": [{"name": "team/vit", "files": files}]}))
    seed("hub", "list", f"# ours\nacme/a\nacme/b@v1 # pinned\nacme/c@{commit}\n")
    seed("hub", "page-of-a-proxy", "<html>502</html>")
    objects = [("vit/model.safetensors", 5), ("vit/config.json", 2), ("a&amp;b.onnx", 7)]
    contents = "".join(f"<Contents><Key>team/{key}</Key><Size>{size}</Size><ETag>&quot;d41d8&quot;</ETag></Contents>" for key, size in objects)
    bucket = f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>models</Name>{contents}'
    seed("hub", "bucket", f"{bucket}<NextContinuationToken>x</NextContinuationToken></ListBucketResult>")


def dictionaries():
    def write(target, entries):
        lines = [f'"{entry}"' for entry in sorted(entries) if entry.isprintable() and len(entry) < 60 and not set(entry) & set('"\\\\')]
        (HERE / "dictionaries").mkdir(exist_ok=True)
        (HERE / "dictionaries" / f"{target}.dict").write_text("\n".join(lines) + "\n")

    def load(path):
        return json.loads((ROOT / path).read_text())

    signs = {": ", "- ", "{", "}", "[", "]", ",", "&a ", "*a", "!!str ", "null", "true", "1e309", "-1", "18446744073709551616", "0x7f", ".nan", ".inf", "|", ">-", "# ", "---"}
    policy = words(load("policies/schema.json"))
    write("policy", policy | signs)
    write("specification", policy | signs | {
        "sources", "policy", "vary", "set", "to", "model", "planted", "twin", "question", "plant", "models", "architecture", "size", "recipe", "share", "decoys", "correlation",
        "rebalance", "name", "twin", "base", "seeds", "triggers", "again_seeds", "reference", "version", "resnet-cifar-8", "efficientnet-lite0"})
    write("report", words(load("docs/report.schema.json")) | {"classes", "images", "labels", "clusters", "outcomes", "clean", "changed", "shams", "attribute", "values", "of", "arm",
                                                             "mode", "rule", "terms", "source", "scratch", "1e308", "-1", "65535", "4294967295", "null"})
    names = {s.name for s in onnx.defs.get_all_schemas() if s.domain in ("", "com.microsoft")}
    attributes = {a for s in onnx.defs.get_all_schemas() if s.domain == "" for a in s.attributes}
    write("onnx", names | attributes | {"com.microsoft", "SAME_LOWER", "SAME_UPPER", "VALID", "NOTSET", "reflect", "edge", "cubic", "align_corners", "half_pixel", "location", "offset"})
    keys = {"stem_type", "model_args", "pretrained_cfg", "architecture", "architectures", "model_type", "hidden_sizes", "depths", "layer_type", "basic", "bottleneck", "do_resize",
            "do_rescale", "rescale_factor", "rescale_offset", "do_normalize", "image_mean", "image_std", "size", "shortest_edge", "longest_edge", "height", "width", "crop_size",
            "do_center_crop", "crop_pct", "crop_mode", "resample", "interpolation", "include_top", "do_flip_channel_order", "do_pad", "pad_size", "image_processor", "input_size",
            "mean", "std", "output_stride", "avg_down", "act_layer", "num_classes", "null", "true", "1e309", "-1"}
    write("config", keys)
    write("safetensors", {"F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "dtype", "shape", "data_offsets", "__metadata__", "heirloom.arch", "heirloom.size", "heirloom.mean",
                          "heirloom.std", "resnet-cifar", "resnet-hf", "efficientnet-lite", "num_batches_tracked", "running_mean", "weight", "bias", "18446744073709551615", "module."})


if __name__ == "__main__":
    pictures = images()
    onnx_files()
    safetensors_files()
    texts()
    arrays(pictures)
    shards(pictures)
    reports()
    hub_answers()
    dictionaries()
    matlab_files()
