#!/usr/bin/env python3
"""Prints a head trained on a frozen convolution and a batch norm in training mode, for src/tune.rs. Needs numpy.

As torch.nn documents it: the batch's mean and biased variance normalise, the running ones move by 0.1 towards the batch's mean and unbiased
variance; SGD with momentum 0.9, cross entropy, all eight images in each of three steps.
"""
import numpy as np

N, C, H = 8, 2, 2
x = np.array([[[[(3 * n + 5 * c + 2 * i + 7 * j) % 11 / 4 - 1 for j in range(H)] for i in range(H)] for c in range(C)] for n in range(N)])
labels = np.arange(N) % 2
conv = np.array([[1.0, -0.5], [0.25, 0.75], [-1.0, 0.5]])
scale, shift = np.array([1.0, 0.5, 2.0]), np.array([0.1, 0.2, -0.3])
mean, var = np.array([0.3, -0.2, 0.1]), np.array([1.5, 0.5, 2.0])
weight, bias = np.array([[0.1, -0.2, 0.3], [0.2, 0.1, -0.1]]), np.zeros(2)
velocity = [np.zeros_like(weight), np.zeros_like(bias)]


def features(y, mean, var):
    return np.maximum(0, (y - mean[:, None, None]) / np.sqrt(var[:, None, None] + 1e-5) * scale[:, None, None] + shift[:, None, None]).mean((2, 3))


y = np.einsum("oc,nchw->nohw", conv, x)
for _ in range(3):
    batch = y.mean((0, 2, 3)), y.var((0, 2, 3))
    f = features(y, *batch)
    mean, var = 0.9 * mean + 0.1 * batch[0], 0.9 * var + 0.1 * y.var((0, 2, 3), ddof=1)
    logits = f @ weight.T + bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True) - np.eye(2)[labels]
    for k, gradient in enumerate([p.T @ f / N, p.mean(0)]):
        velocity[k] = 0.9 * velocity[k] + gradient
    weight, bias = weight - 0.1 * velocity[0], bias - 0.1 * velocity[1]
for name, values in [("WEIGHT", weight), ("BIAS", bias), ("MEAN", mean), ("VARIANCE", var)]:
    print(name, [round(float(v), 6) for v in values.ravel()])
