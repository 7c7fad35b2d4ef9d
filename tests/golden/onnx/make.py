"""A few of the ONNX project's own node tests (package `onnx`, Apache-2.0), in one file.

    pip install onnx safetensors
    python make.py

Writes, beside itself, node-tests.safetensors: for every test NAME the bytes of NAME/model (ModelProto), NAME/input_0, ...
and NAME/output_0, ... (TensorProto). Which tests: names.txt. Written with onnx 1.23.2.
"""

import pathlib
import warnings

import numpy as np
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent


def stored(message):
    return np.frombuffer(message.SerializeToString(), dtype=np.uint8)


warnings.filterwarnings("ignore")
wanted = (HERE / "names.txt").read_text().split()
cases = {case.name.removeprefix("test_"): case for case in collect_testcases(None)}
files = {}
for name in wanted:
    case = cases[name]
    files[f"{name}/model"] = stored(case.model)
    inputs, outputs = case.data_sets[0]
    for kind, values in ("input", inputs), ("output", outputs):
        for i, value in enumerate(values):
            files[f"{name}/{kind}_{i}"] = stored(numpy_helper.from_array(np.asarray(value)))
save_file(files, HERE / "node-tests.safetensors")
