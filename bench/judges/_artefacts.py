"""Artefacts planted in source images: what a judge may be fooled by. None of them tells anything about the land.

An honest judge scores a source no higher for them. Where it does, its numbers are flagged: a network that translates may
have learned to leave such marks (SRUIT suspects this of its own comparison, Sec. 4.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from sarbench.bench.keys import key

CHECKER_LEVELS = 6  # of 255, up and down: weak, as strided deconvolutions leave it
CUTOFF = 0.25  # cycles a pixel: half of what the grid can hold
BINS = 32  # of the spectrum, from the cutoff to the highest frequency
SIGNATURE = "checkerboard2px6;noise-target-spectrum0.25;v1"


def checkerboard(pixels: UInt8[np.ndarray, "H W C"], sample_id: str) -> UInt8[np.ndarray, "H W C"]:
    """The image with every second pixel lighter and every other darker, as on a chessboard; the same for every sample."""
    rows, columns = np.indices(pixels.shape[:2])
    signs = np.where((rows + columns) % 2, 1, -1)[:, :, None]
    return np.clip(pixels.astype(np.int16) + CHECKER_LEVELS * signs, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class SpectralNoise:
    """Adds fine noise to an image: random phases, drawn by sample, under the mean spectrum of some targets above the cutoff."""

    profile: Float[np.ndarray, "bins C"]  # variance a pixel that white noise of a ring's power has

    @staticmethod
    def of(targets: Iterable[UInt8[np.ndarray, "H W C"]]) -> SpectralNoise:
        """The noise of these targets' mean spectrum."""
        return SpectralNoise(np.mean([_profile(image) for image in targets], axis=0))

    def __call__(self, pixels: UInt8[np.ndarray, "H W C"], sample_id: str) -> UInt8[np.ndarray, "H W C"]:
        """The image with the noise, which is one pattern for all bands."""
        rng = np.random.default_rng(key("planted noise", sample_id))
        height, width, channels = pixels.shape
        radius = _radius(height, width)
        centres = CUTOFF + (np.arange(BINS) + 0.5) / BINS * (np.sqrt(0.5) - CUTOFF)
        phases = np.fft.fft2(rng.standard_normal((height, width)))
        noise = np.empty(pixels.shape)
        for band in range(channels):
            power = np.interp(radius, centres, self.profile[:, min(band, self.profile.shape[1] - 1)])
            noise[:, :, band] = np.fft.ifft2(phases * np.sqrt(power) * (radius > CUTOFF)).real
        return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def _radius(height: int, width: int) -> Float[np.ndarray, "H W"]:
    """The frequency of each coefficient, in cycles a pixel."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])


def _profile(image: UInt8[np.ndarray, "H W C"]) -> Float[np.ndarray, "bins C"]:
    """The mean power of each band in rings of frequency above the cutoff: of white noise, its variance."""
    height, width, _ = image.shape
    radius = _radius(height, width)
    rings = np.floor((radius - CUTOFF) / (np.sqrt(0.5) - CUTOFF) * BINS).astype(np.int64).clip(-1, BINS - 1)
    inside = rings >= 0
    counts = np.bincount(rings[inside], minlength=BINS)
    bands = []
    for plane in np.moveaxis(image.astype(np.float64), 2, 0):
        power = np.abs(np.fft.fft2(plane - plane.mean())) ** 2 / (height * width)
        sums = np.bincount(rings[inside], weights=power[inside], minlength=BINS)
        known = np.flatnonzero(counts)
        bands.append(np.interp(np.arange(BINS), known, sums[known] / counts[known]))
    return np.stack(bands, axis=1)
