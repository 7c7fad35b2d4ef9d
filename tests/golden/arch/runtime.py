"""What ONNX Runtime answers for the published checkpoints: the figures in src/model/safetensors/golden.rs.

    pip install onnxruntime numpy
    python runtime.py FOLDER_OF_MODELS

Printed with onnxruntime 1.32.0: the first four outputs for the first picture.
"""

import pathlib
import sys

import numpy
import onnxruntime

for name, side in [("resnet20-cifar10", 32), ("resnet56-cifar10", 32), ("efficientnet-lite0-imagenet", 224)]:
    session = onnxruntime.InferenceSession(pathlib.Path(sys.argv[1]) / f"{name}.onnx", providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    count = 2 * 3 * side * side
    pixels = ((numpy.arange(count, dtype=numpy.int64) * 7919) % 1009).astype(numpy.float32) / numpy.float32(504.5) - numpy.float32(1)
    pixels = pixels.reshape(2, 3, side, side)
    first = session.run(["logits"], {entry.name: pixels[:1]})[0]
    print(name, [float(v) for v in first[0, :4]])
