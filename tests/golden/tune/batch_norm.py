#!/usr/bin/env python3
"""Prints a head trained with torch on a frozen convolution and a batch norm in training mode, for src/tune.rs. Needs torch.

SGD with momentum 0.9, cross entropy, all eight images in each of three steps; the backbone takes no gradient, and its batch norm is in training mode.
"""
import torch

N, C, H = 8, 2, 2
torch.set_default_dtype(torch.float64)
images = torch.tensor([[[[(3 * n + 5 * c + 2 * i + 7 * j) % 11 / 4 - 1 for j in range(H)] for i in range(H)] for c in range(C)] for n in range(N)])
labels = torch.arange(N) % 2
conv, norm, head = torch.nn.Conv2d(C, 3, 1, bias=False), torch.nn.BatchNorm2d(3), torch.nn.Linear(3, 2)
with torch.no_grad():
    conv.weight.copy_(torch.tensor([[1.0, -0.5], [0.25, 0.75], [-1.0, 0.5]]).reshape(3, 2, 1, 1))
    norm.weight.copy_(torch.tensor([1.0, 0.5, 2.0]))
    norm.bias.copy_(torch.tensor([0.1, 0.2, -0.3]))
    norm.running_mean.copy_(torch.tensor([0.3, -0.2, 0.1]))
    norm.running_var.copy_(torch.tensor([1.5, 0.5, 2.0]))
    head.weight.copy_(torch.tensor([[0.1, -0.2, 0.3], [0.2, 0.1, -0.1]]))
    head.bias.zero_()
backbone = torch.nn.Sequential(conv, norm, torch.nn.ReLU()).requires_grad_(False).train()
optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
for _ in range(3):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(head(backbone(images).mean((2, 3))), labels).backward()
    optimizer.step()
for name, values in [("WEIGHT", head.weight), ("BIAS", head.bias), ("MEAN", norm.running_mean), ("VARIANCE", norm.running_var)]:
    print(name, [round(float(v), 6) for v in values.detach().ravel()])
