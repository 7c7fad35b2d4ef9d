"""What ONNX Runtime computes of saved fine-tunes, and what TensorBoard reads of their curves: saved.py HEIRLOOM MODEL WORK-FOLDER

MODEL takes RGB images of 32x32 pixels, such as fixtures/models/clean.onnx. It is certified on pictures that are drawn here, with --save-checkpoints, --tensorboard and
--save-controls. Every saved model, run by ONNX Runtime on the pictures as Pillow opens them, must call the test pictures what measurements.json.gz says that
its fine-tune called them; every curve, read by TensorBoard's own reader, must have all epochs and end in the accuracy that checkpoints.json has.

Needs: pip install numpy onnx onnxruntime pillow tensorboard
"""

import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

heirloom, model, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
CLASSES, SIDE, EPOCHS = ["cold", "green", "warm"], 32, {"fixed_feature": 4, "full_network": 2}


def draw(folder, seed, count):
    """Noise around a colour for each class, so near each other that some are mistaken."""
    rng = np.random.default_rng(seed)
    for at, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for n in range(count):
            pixels = rng.normal(128, 60, (SIDE, SIDE, 3)) + 8 * np.eye(3)[2 - at]
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{n}.png")


draw(work / "pictures/train", 1, 30)
draw(work / "pictures/test", 2, 20)
recipes = "\n".join(f"  {mode}: {{ epochs: {epochs}, learning_rate: 0.02 }}" for mode, epochs in EPOCHS.items())
(work / "policy.yaml").write_text(
    f"""version: 1
name: saved
target: {{ data: {{ folder: "pictures/{{split}}" }} }}
transfer:
{recipes}
seeds: {{ fixed_feature: {{ first: 3, most: 3 }}, full_network: {{ first: 2, most: 2 }} }}
rules:
  - id: square
    probe: {{ backdoor: {{ trigger: {{ patch: {{ size: 0.25, at: top_left, color: "#ffff00" }} }} }} }}
    modes: [fixed_feature, full_network]
    controls: [sham, scratch, untrained]
    limit: 0.5
"""
)
command = [heirloom, "--quiet", "certify", model, "--policy", work / "policy.yaml", "--output", work / "report", "--report-only", "--all-controls"]
command += ["--save-checkpoints", work / "tuned", "--tensorboard", work / "curves", "--save-controls"]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

measured = {}
for one in json.loads(gzip.decompress((work / "report/measurements.json.gz").read_bytes())):
    for outcome in one["outcomes"]:
        measured[one["arm"], one["mode"], outcome["seed"]] = (one, outcome["clean"])
listed = json.loads((work / "tuned/checkpoints.json").read_text())
# Three heads of the source and of four untrained networks, two whole networks of the source and from scratch.
assert len(listed["checkpoints"]) == len(measured) == 3 * 5 + 2 * 2, sorted(measured)
assert listed["target"]["classes"] == CLASSES, listed["target"]
wrong = 0
for entry in listed["checkpoints"]:
    path = work / "tuned" / entry["file"]
    assert entry["digest"] == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(), path
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    notes = session.get_modelmeta().custom_metadata_map
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert taken.shape[1:] == [3, SIDE, SIDE] and given.shape[1:] == [len(CLASSES)], (taken.shape, given.shape)
    mean, std, classes = (json.loads(notes[f"heirloom.{name}"]) for name in ["mean", "std", "classes"])
    one, clean = measured[entry["arm"], entry["mode"], entry["seed"]]
    pictures = [np.asarray(Image.open(work / "pictures/test" / name.removeprefix("test/")), np.float32) / 255 for name in one["images"]]
    batch = ((np.stack(pictures) - np.float32(mean)) / np.float32(std)).transpose(0, 3, 1, 2)
    (logits,) = session.run(None, {taken.name: np.ascontiguousarray(batch, np.float32)})
    answers = logits.argmax(1)
    assert answers.tolist() == clean, (path, np.flatnonzero(answers != clean))
    labels = [classes.index(name.removeprefix("test/").split("/")[0]) for name in one["images"]]
    accuracy = float((answers == labels).mean())
    assert abs(accuracy - entry["accuracy"]) < 1e-9 and abs(float(notes["heirloom.accuracy"]) - accuracy) < 1e-9, (path, accuracy, entry)
    assert (notes["heirloom.arm"], notes["heirloom.mode"], int(notes["heirloom.seed"])) == (entry["arm"], entry["mode"], entry["seed"])
    assert notes["heirloom.policy"] == "sha256:" + hashlib.sha256((work / "policy.yaml").read_bytes()).hexdigest()
    wrong += int((answers != labels).sum())

    (events,) = (work / "curves" / entry["arm"] / entry["mode"] / f"seed{entry['seed']}").iterdir()
    curve = EventAccumulator(str(events))
    curve.Reload()
    epochs = EPOCHS[entry["mode"]]
    assert curve.file_version == 2.0, curve.file_version
    assert sorted(curve.Tags()["scalars"]) == ["accuracy/test", "accuracy/train", "learning_rate", "loss/train"], curve.Tags()
    for tag in ["loss/train", "accuracy/train", "learning_rate"]:
        scalars = curve.Scalars(tag)
        assert [s.step for s in scalars] == list(range(1, epochs + 1)), (events, tag, scalars)
        assert all(np.isfinite(s.value) for s in scalars) and [s.wall_time for s in scalars] == sorted(s.wall_time for s in scalars)
    (test,) = curve.Scalars("accuracy/test")
    assert test.step == epochs and abs(test.value - accuracy) < 1e-6, (events, test)
# Models that call everything right, or the same, would hide a mistake.
assert 0 < wrong < len(listed["checkpoints"]) * 60, wrong
print(f"onnxruntime and tensorboard: {len(listed['checkpoints'])} saved fine-tunes answer as they did, and so do their curves")
