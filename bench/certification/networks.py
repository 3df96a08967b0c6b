"""The float64 self of every network behind a metric: layers, resizing and pooling in plain NumPy, from the papers' tables.

They read the published state dicts as they are, batch normalisations apart, one image (C, H, W) at a time; nothing is shared
with `bench/metrics/networks`, and nothing is fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

Maps = Float[np.ndarray, "C H W"]
State = Mapping[str, Float[np.ndarray, "..."]]

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG_BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
SCNN_STRIDES = {0: 1, 3: 2, 6: 1, 9: 2, 12: 1, 15: 2, 18: 1, 21: 1, 24: 2}


# --- Layers ----------------------------------------------------------------------------------------------------------


def convolved(x: Maps, kernel: Float[np.ndarray, "D C h w"], stride: int = 1, pad: tuple[int, int] = (0, 0)) -> Maps:
    """A convolution with zeros around, tap by tap."""
    x = np.pad(x, ((0, 0), (pad[0],) * 2, (pad[1],) * 2))
    height, width = ((side - k) // stride + 1 for side, k in zip(x.shape[1:], kernel.shape[2:], strict=True))
    out = np.zeros((len(kernel), height * width))
    for i, j in np.ndindex(*kernel.shape[2:]):
        taps = x[:, i : i + stride * height : stride, j : j + stride * width : stride]
        out += kernel[:, :, i, j] @ taps[:, :height, :width].reshape(len(x), -1)
    return out.reshape(-1, height, width)


def conv(state: State, name: str, x: Maps, stride: int = 1, pad: int = 0) -> Maps:
    """A convolution with its bias."""
    return convolved(x, state[f"{name}.weight"], stride, (pad, pad)) + state[f"{name}.bias"][:, None, None]


def normalised(state: State, name: str, x: Maps, eps: float) -> Maps:
    """Batch normalisation at test time."""
    parts = ("running_mean", "running_var", "weight", "bias")
    mean, var, gain, bias = (state[f"{name}.{part}"][:, None, None] for part in parts)
    return (x - mean) / np.sqrt(var + eps) * gain + bias


def relu(x: Maps) -> Maps:
    """What is below 0 becomes 0."""
    return np.maximum(x, 0)


def pooled(x: Maps, side: int, stride: int, pad: int = 0, ceil: bool = False, mean: bool = False) -> Maps:
    """The maximum, or mean, of windows; what lies outside the map takes no part. `ceil`: the last window may reach over."""
    sizes = [(length + 2 * pad - side + (stride - 1) * ceil) // stride + 1 for length in x.shape[1:]]
    over = stride * max(sizes) + side
    padded = np.pad(x, ((0, 0), (pad, over), (pad, over)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))[:, ::stride, ::stride]
    return (np.nanmean if mean else np.nanmax)(windows[:, : sizes[0], : sizes[1]], axis=(3, 4))


def standardised(x: Maps, mean: Sequence[float], spread: Sequence[float]) -> Maps:
    """By band."""
    return (x - np.array(mean)[:, None, None]) / np.array(spread)[:, None, None]


# --- Resizing: a matrix a side ---------------------------------------------------------------------------------------


def _triangle(t: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.maximum(1 - np.abs(t), 0)


def _cubic(t: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    t = np.abs(t)  # Keys, with a = -1 / 2
    return np.where(t < 1, (1.5 * t - 2.5) * t * t + 1, np.where(t < 2, ((-0.5 * t + 2.5) * t - 4) * t + 2, 0))


def smoothing(new: int, old: int, kernel: Callable[[np.ndarray], np.ndarray]) -> Float[np.ndarray, "new old"]:
    """A filter as wide as what it shrinks, cut at the border and scaled to sum 1, as Pillow has it."""
    scale = old / new
    offsets = np.arange(old)[None] + 0.5 - (np.arange(new)[:, None] + 0.5) * scale
    weights = kernel(offsets / max(scale, 1))
    return weights / weights.sum(axis=1, keepdims=True)


def neighbours(new: int, old: int, from_centre: bool) -> Float[np.ndarray, "new old"]:
    """Between the two nearest pixels, counted from the centre of the first pixel, or from its corner."""
    position = np.maximum((np.arange(new) + 0.5) * old / new - 0.5, 0) if from_centre else np.arange(new) * old / new
    return _triangle(np.arange(old)[None] - np.minimum(position, old - 1)[:, None])


def corners(new: int, old: int) -> Float[np.ndarray, "new old"]:
    """Between the two nearest pixels, with the outermost ones kept in place."""
    return _triangle(np.arange(old)[None] - np.linspace(0, old - 1, new)[:, None])


def resized(x: Maps, rows: Float[np.ndarray, "h H"], columns: Float[np.ndarray, "w W"]) -> Maps:
    """By its two matrices."""
    return rows @ x @ columns.T


# --- LPIPS -----------------------------------------------------------------------------------------------------------


def alexnet(state: State, x: Maps) -> list[Maps]:
    """Behind each of five ReLUs."""
    maps = []
    for i, stride, pad in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
        x = pooled(x, 3, 2) if i in (3, 6) else x
        x = relu(conv(state, f"features.{i}", x, stride, pad))
        maps.append(x)
    return maps


def vgg(state: State, x: Maps, prefix: str = "features.") -> list[Maps]:
    """Behind the last ReLU of each of five blocks."""
    maps: list[Maps] = []
    for block in VGG_BLOCKS:
        x = pooled(x, 2, 2) if maps else x
        for i in block:
            x = relu(conv(state, f"{prefix}{i}", x, pad=1))
        maps.append(x)
    return maps


def squeezenet(state: State, x: Maps) -> list[Maps]:
    """Behind the first ReLU and six of the eight fire modules."""
    x = relu(conv(state, "features.0", x, 2))
    maps = [x]
    for i in (3, 4, 6, 7, 9, 10, 11, 12):
        x = pooled(x, 3, 2, ceil=True) if i in (3, 6, 9) else x
        narrow = relu(conv(state, f"features.{i}.squeeze", x))
        wide = (conv(state, f"features.{i}.expand{k}x{k}", narrow, pad=k // 2) for k in (1, 3))
        x = relu(np.concatenate(list(wide)))
        maps += [x] if i not in (3, 6) else []
    return maps


def lpips(maps: Callable[[State, Maps], list[Maps]], state: State, x: Maps, y: Maps) -> float:
    """Eq. 1, of images in [-1, 1]."""
    total = 0.0
    x, y = (standardised(z, (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)) for z in (x, y))
    for k, pair in enumerate(zip(maps(state, x), maps(state, y), strict=True)):
        u, v = (m / (np.sqrt((m**2).sum(0)) + 1e-10) for m in pair)
        total += float((state[f"lin{k}.model.1.weight"].reshape(-1, 1, 1) * (u - v) ** 2).sum(0).mean())
    return total


# --- Without a reference: images in [0, 1] ---------------------------------------------------------------------------


def dbcnn(state: State, x: Maps) -> float:
    """Two networks, the square root of their mean outer product, a linear layer."""
    x = standardised(x, *IMAGENET)
    content, y = vgg(state, x, "features1.")[-1], x
    for i, stride in SCNN_STRIDES.items():
        y = relu(normalised(state, f"features2.{i + 1}", conv(state, f"features2.{i}", y, stride, 1), 1e-5))
    if y.shape[1:] != content.shape[1:]:
        y = resized(y, *(corners(new, old) for new, old in zip(content.shape[1:], y.shape[1:], strict=True)))
    outer = content.reshape(len(content), -1) @ y.reshape(len(y), -1).T / content[0].size
    root = np.sqrt(outer + 1e-8).ravel()
    return float(state["fc.weight"][0] @ root / np.linalg.norm(root) + state["fc.bias"][0])


def _middle(x: Maps, side: int) -> Maps:
    height, width = x.shape[1:]
    sizes = [side * length // min(height, width) for length in (height, width)]
    x = resized(x, *(smoothing(new, old, _triangle) for new, old in zip(sizes, (height, width), strict=True)))
    top, left = (round((length - side) / 2) for length in sizes)
    return x[:, top : top + side, left : left + side]


def _mean_score(state: State, features: Float[np.ndarray, " D"]) -> float:
    logits = state["classifier.2.weight"] @ features + state["classifier.2.bias"]
    shares = np.exp(logits - logits.max())
    return float(np.arange(1, 11) @ shares / shares.sum())


def nima_vgg(state: State, x: Maps) -> float:
    """The mean of the last map behind its pooling, softmax over ten scores, and their mean."""
    last = vgg(state, standardised(_middle(x, 224), *IMAGENET), "base_model.features_")[-1]
    return _mean_score(state, pooled(last, 2, 2).mean((1, 2)))


def nima(state: State, x: Maps) -> float:
    """The same with Inception-ResNet-v2."""
    state = {name.removeprefix("base_model."): value for name, value in state.items()}
    return _mean_score(state, inception_resnet(state, 2 * _middle(x, 299) - 1).mean((1, 2)))


# --- Inception: convolutions without a bias, each with its normalisation and ReLU ------------------------------------


def unit(state: State, name: str, x: Maps, stride: int = 1, padded: bool = True) -> Maps:
    """Padded: the output is as large as the input."""
    kernel = state[f"{name}.conv.weight"]
    pad = (kernel.shape[2] // 2, kernel.shape[3] // 2) if padded else (0, 0)
    return relu(normalised(state, f"{name}.bn", convolved(x, kernel, stride, pad), 1e-3))


def chain(state: State, x: Maps, *names: str, last_stride: int = 1) -> Maps:
    """Units one behind the other; a last stride of 2 comes without padding."""
    for name in names[:-1]:
        x = unit(state, name, x)
    return unit(state, names[-1], x, last_stride, padded=last_stride == 1)


def stem(state: State, x: Maps, names: Sequence[str]) -> Maps:
    """The five convolutions that both networks begin with."""
    x = unit(state, names[1], unit(state, names[0], x, 2, padded=False), padded=False)
    x = pooled(unit(state, names[2], x), 3, 2)
    return pooled(unit(state, names[4], unit(state, names[3], x), padded=False), 3, 2)


def inception(state: State, x: Maps) -> Float[np.ndarray, " 2048"]:
    """The network of December 2015, of images in [-1, 1]: mean pooling without padding, and the last by maximum."""

    def branch(block: str, *names: str, last_stride: int = 1) -> Maps:
        return chain(state, x, *(f"{block}.{name}" for name in names), last_stride=last_stride)

    def pool(block: str, mean: bool = True) -> Maps:
        return unit(state, f"{block}.branch_pool", pooled(x, 3, 1, 1, mean=mean))

    def split(block: str, names: Sequence[str], a: str, b: str) -> list[Maps]:
        y = branch(block, *names)
        return [unit(state, f"{block}.{name}", y) for name in (a, b)]

    x = stem(state, x, [f"Conv2d_{name}" for name in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")])
    double = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
    for b in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        parts = [branch(b, "branch1x1"), branch(b, "branch5x5_1", "branch5x5_2"), branch(b, *double), pool(b)]
        x = np.concatenate(parts)
    b = "Mixed_6a"
    x = np.concatenate([branch(b, "branch3x3", last_stride=2), branch(b, *double, last_stride=2), pooled(x, 3, 2)])
    for b in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        sevens = branch(b, *(f"branch7x7_{i}" for i in (1, 2, 3))), branch(b, *(f"branch7x7dbl_{i}" for i in range(1, 6)))
        x = np.concatenate([branch(b, "branch1x1"), *sevens, pool(b)])
    b = "Mixed_7a"
    threes = branch(b, "branch3x3_1", "branch3x3_2", last_stride=2)
    x = np.concatenate([threes, branch(b, *(f"branch7x7x3_{i}" for i in range(1, 5)), last_stride=2), pooled(x, 3, 2)])
    for b in ("Mixed_7b", "Mixed_7c"):
        three = split(b, ["branch3x3_1"], "branch3x3_2a", "branch3x3_2b")
        three += split(b, double[:2], "branch3x3dbl_3a", "branch3x3dbl_3b")
        x = np.concatenate([branch(b, "branch1x1"), *three, pool(b, mean=b == "Mixed_7b")])
    return x.mean((1, 2))


def inception_resnet(state: State, x: Maps) -> Maps:
    """The last map of Inception-ResNet-v2, of images in [-1, 1]; Szegedy et al., https://arxiv.org/abs/1602.07261"""

    def branch(block: str, k: int, units: int, last_stride: int = 1) -> Maps:
        names = [f"{block}.branch{k}"] if units == 1 else [f"{block}.branch{k}.{i}" for i in range(units)]
        return chain(state, x, *names, last_stride=last_stride)

    def residual(block: str, units: Sequence[int], scale: float) -> Maps:
        parts = np.concatenate([branch(block, k, n) for k, n in enumerate(units)])
        return x + scale * conv(state, f"{block}.conv2d", parts)

    x = stem(state, x, [f"conv2d_{name}" for name in ("1a", "2a", "2b", "3b", "4a")])
    mean = unit(state, "mixed_5b.branch3.1", pooled(x, 3, 1, 1, mean=True))
    x = np.concatenate([*(branch("mixed_5b", k, n) for k, n in enumerate((1, 2, 3))), mean])
    for i in range(10):
        x = relu(residual(f"repeat.{i}", (1, 2, 3), 0.17))
    x = np.concatenate([*(branch("mixed_6a", k, n, last_stride=2) for k, n in enumerate((1, 3))), pooled(x, 3, 2)])
    for i in range(20):
        x = relu(residual(f"repeat_1.{i}", (1, 3), 0.10))
    x = np.concatenate([*(branch("mixed_7a", k, n, last_stride=2) for k, n in enumerate((2, 2, 3))), pooled(x, 3, 2)])
    for i in range(9):
        x = relu(residual(f"repeat_2.{i}", (1, 3), 0.20))
    return unit(state, "conv2d_7b", residual("block8", (1, 3), 1.0))


# --- The three ways to Inception's 299 px, of images in [0, 1] -------------------------------------------------------


def clean(x: Maps) -> Maps:
    """Pillow's bicubic filter on floats, clipped where it overshoots."""
    x = resized(255 * x, *(smoothing(299, side, _cubic) for side in x.shape[1:]))
    return (np.clip(x, 0, 255) - 128) / 128


def bilinear(x: Maps) -> Maps:
    """Four neighbours of pixel centres."""
    return 2 * resized(x, *(neighbours(299, side, from_centre=True) for side in x.shape[1:])) - 1


def bilinear_from_corner(x: Maps) -> Maps:
    """Four neighbours, counted from the corner."""
    return (255 * resized(x, *(neighbours(299, side, from_centre=False) for side in x.shape[1:])) - 128) / 128
