#!/usr/bin/env python3
"""Prints the rates that torch steps with under the triangle of Salman et al. (2022), for src/tune/schedule.rs. Needs numpy and torch.

The factors are interpolated between (0, 0), (peak, 1) and (epochs, 0) for every step, and `LambdaLR` is stepped after every step.
"""
import numpy as np
import torch

for epochs, peak, steps in [(4, 1, 3), (3, 2, 2), (2, 2, 2)]:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    factors = np.interp(np.arange((epochs + 1) * steps), [0, peak * steps, epochs * steps], [0, 1, 0])
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factors.__getitem__)
    rates = []
    for _ in range(epochs * steps):
        rates.append(round(float(optimizer.param_groups[0]["lr"]), 6))
        optimizer.step()
        scheduler.step()
    print(f"({epochs}, {peak}, {steps}, &{rates}),")
