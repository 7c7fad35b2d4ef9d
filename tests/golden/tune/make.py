#!/usr/bin/env python3
"""Prints what torch.optim and torch's loss give for the cases in src/tune/{optimizer,loss}.rs. Needs torch."""
import torch

GRADIENTS = [[0.5, -1.0], [0.25, 0.5], [-1.0, 2.0]]

for name, make in {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "NESTEROV": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "ADAMW": lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.9, 0.999), weight_decay=0.01),
}.items():
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = make([w])
    for gradient in GRADIENTS:
        w.grad = torch.tensor(gradient)
        optimizer.step()
    print(name, w.tolist())

logits, labels = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]), torch.tensor([0, 2])
for smoothing in [0.0, 0.1]:
    print("loss", smoothing, torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing).item())
