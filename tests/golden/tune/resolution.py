"""Sides of training images by epoch, as `get_resolution` of the code of Salman et al. (2022) computes them, with the multiple of 32 as a number.

Prints what `src/tune/sizes/tests.rs` expects. Needs NumPy.
"""

import numpy as np


def resolution(epoch, low, high, start, end, multiple):
    if epoch <= start:
        return low
    if epoch >= end:
        return high
    between = np.interp([epoch], [start, end], [low, high])
    return int(np.round(between[0] / multiple)) * multiple


for low, high, start, end, epochs, multiple in [(160, 192, 0, 13, 16, 32), (128, 224, 2, 10, 14, 32), (16, 32, 1, 6, 8, 4), (160, 192, 0, 4, 6, 64)]:
    print((low, high, start, end, multiple), [resolution(epoch, low, high, start, end, multiple) for epoch in range(epochs)])
