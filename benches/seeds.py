"""The seed experiment as training scripts do it, against heirloom's cached features.

    pip install torch onnx
    cargo bench --bench seeds --no-run
    python benches/seeds.py PATH-TO-BENCH [NETWORK]

Fixed-feature transfer of a frozen network to 5,000 images for 15 epochs at 3 seeds, each evaluated on 2,000 images, clean and with a
trigger. Here the backbone is forwarded in every epoch, without gradients and in evaluation mode: what the authors of arXiv 2207.02842 do,
minus what they spend on loading data. Prints both times and their ratio.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from networks import NETWORKS, export
from torch import nn
from torch.nn import functional as F


def images(count, side, triggered=False):
    x = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if triggered:
        x[:, :, : side // 4, : side // 4] = 255
    return x


def normalised(x):
    return (x.float() / 255 - 0.5) / 0.25


def script(name):
    make, side, _ = NETWORKS[name]
    backbone = make().eval().to(memory_format=torch.channels_last)
    width = backbone.head.in_features
    backbone.head = nn.Identity()
    x, y = images(5000, side), torch.arange(5000) % 10
    tests = [images(2000, side), images(2000, side, True)]
    start = time.perf_counter()
    for seed in range(3):
        torch.manual_seed(seed)
        head = nn.Linear(width, 10)
        optimizer = torch.optim.SGD(head.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
        for _ in range(15):
            for batch in torch.randperm(5000).split(128):
                with torch.no_grad():
                    features = backbone(normalised(x[batch]).to(memory_format=torch.channels_last))
                loss = F.cross_entropy(head(features), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            for test in tests:
                for batch in test.split(128):
                    head(backbone(normalised(batch).to(memory_format=torch.channels_last))).argmax(1)
    return time.perf_counter() - start


if __name__ == "__main__":
    name = sys.argv[2] if len(sys.argv) > 2 else "resnet20-32"
    with tempfile.TemporaryDirectory() as folder:
        export(name, f"{folder}/model.onnx")
        run = subprocess.run([sys.argv[1], f"{folder}/model.onnx"], check=True, capture_output=True, text=True)
        ours = json.loads(run.stdout)
        theirs = script(name)
        print(f"{name}: heirloom {ours['seconds']:.1f} s ({ours['heads']:.2f} s of it heads), script {theirs:.1f} s: {theirs / ours['seconds']:.1f}x")
