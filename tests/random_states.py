"""Random weights that leave the maps of a network at one scale, whatever its depth: to compare two implementations."""

import numpy as np
import torch


def random_state(shapes, seed=0):
    """A state dict of these shapes by name: He-uniform kernels, and normalisations away from the identity."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        values = rng.random(shape, np.float32)
        if len(shape) > 1:
            values = (2 * values - 1) * (6 / np.prod(shape[1:])) ** 0.5
        elif name.endswith((".weight", ".running_var")):
            values = values + 0.5
        else:
            values = 0.4 * values - 0.2
        state[name] = torch.from_numpy(values.astype(np.float32))
    return state


def pictures(n, height, width, bands=3, seed=0):
    """Images from smooth to noisy (n, H, W, C) uint8; the first is dark, the second bright."""
    import cv2

    rng = np.random.default_rng(seed)
    smooth = rng.random((n, height // 8 + 2, width // 8 + 2, bands), np.float32) * 255
    large = [cv2.resize(x, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, bands) for x in smooth]
    images = np.stack(large) + rng.normal(size=(n, height, width, bands)) * np.linspace(2, 60, n)[:, None, None, None]
    images[0] *= 0.2
    images[1:2] += 120
    return np.clip(images, 0, 255).astype(np.uint8)
