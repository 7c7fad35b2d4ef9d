"""heirloom's executor against PyTorch: the same networks, batches and threads, in turn.

    pip install torch
    cargo build --release --bench speed
    python benches/side_by_side.py PATH-TO-BENCH [ROUNDS]

PATH-TO-BENCH is the executable that cargo names (`target/release/deps/speed-...`). A step is forward and backward without an
optimizer, on one batch that stays the same; both sides take contiguous f32 and, of PyTorch, the better of its two memory formats is
counted. Prints the median over the rounds and its ratio.
"""

import json
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads would slow the other side down

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """A basic block of the CIFAR ResNets: the shortcut takes every second pixel and pads the channels with zeros."""

    def __init__(self, width_in, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.extra = stride, width - width_in

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1 or self.extra:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(self, depth, widths):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        blocks, width = [], widths[0]
        for stage, wider in enumerate(widths):
            for i in range((depth - 2) // 6):
                blocks.append(Block(width, wider, 2 if stage and not i else 1))
                width = wider
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.blocks(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))


CASES = [("resnet-cifar-20:16,32,64", 20, [16, 32, 64], 32, 128), ("resnet-cifar-20:64,128,256", 20, [64, 128, 256], 32, 32)]
SECONDS = 3.0


def rate(batch, step):
    step()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        step()
        steps += 1
    return batch * steps / (time.perf_counter() - start)


def pytorch(depth, widths, side, batch):
    best = {"forward": 0.0, "train": 0.0}
    for layout in [torch.contiguous_format, torch.channels_last]:
        model = ResNet(depth, widths).to(memory_format=layout)
        x = torch.randn(batch, 3, side, side).to(memory_format=layout)

        def train():
            model.zero_grad(set_to_none=True)
            y = model(x)
            y.backward(y.detach())

        def forward():
            with torch.inference_mode():
                model(x)

        model.eval()
        best["forward"] = max(best["forward"], rate(batch, forward))
        model.train()
        best["train"] = max(best["train"], rate(batch, train))
    return best


def heirloom(bench, name, side, batch):
    out = subprocess.run([bench, name, str(side), str(batch), str(SECONDS)], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def main():
    bench, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    torch.set_num_threads(os.cpu_count())
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    for name, depth, widths, side, batch in CASES:
        pairs = [(heirloom(bench, name, side, batch), pytorch(depth, widths, side, batch)) for _ in range(rounds)]
        for what in ["forward", "train"]:
            ours, theirs = (statistics.median(pair[i][what] for pair in pairs) for i in range(2))
            print(f"{name} {side} px, batch {batch}, {what}: {ours:.0f} / {theirs:.0f} pictures a second = {ours / theirs:.2f}")


main()
