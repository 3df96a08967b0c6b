"""Artefacts that are planted to see whether a judge can be fooled."""

from __future__ import annotations

import pickle

import numpy as np

from sarbench.bench.judges._artefacts import CHECKER_LEVELS, CUTOFF, SpectralNoise, checkerboard


def textured(seed: int, side: int = 64, sigma: float = 20.0) -> np.ndarray:
    return np.clip(128 + sigma * np.random.default_rng(seed).standard_normal((side, side, 3)), 0, 255).astype(np.uint8)


def test_a_checkerboard_moves_every_pixel_by_its_level_and_none_of_the_means() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    moved = checkerboard(image, "a").astype(int) - image
    assert set(np.unique(moved)) == {-CHECKER_LEVELS, CHECKER_LEVELS}
    assert moved.mean() == 0
    assert (moved[::2, ::2] == moved[0, 0]).all()


def test_a_checkerboard_stays_within_8_bits() -> None:
    assert checkerboard(np.full((2, 2, 1), 255, np.uint8), "a").max() == 255
    assert checkerboard(np.zeros((2, 2, 1), np.uint8), "a").min() == 0


def test_planted_noise_has_the_power_of_the_targets_above_the_cutoff_and_none_below() -> None:
    targets = [textured(i) for i in range(8)]
    flat = np.full((64, 64, 3), 128, np.uint8)
    noise = SpectralNoise.of(targets)(flat, "a").astype(float) - 128
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])

    def power(image: np.ndarray, inside: np.ndarray) -> float:
        return float((np.abs(np.fft.fft2(image - image.mean())) ** 2)[inside].mean())

    fine = radius > CUTOFF + 0.02
    expected = np.mean([power(target[:, :, 0].astype(float), fine) for target in targets])
    assert abs(power(noise[:, :, 0], fine) / expected - 1) < 0.15
    assert power(noise[:, :, 0], (radius < CUTOFF - 0.02) & (radius > 0)) < 0.02 * expected


def test_planted_noise_is_keyed_by_sample_and_the_same_again() -> None:
    plant = SpectralNoise.of([textured(0)])
    image = textured(1, 32)
    assert np.array_equal(plant(image, "a"), plant(image, "a"))
    assert not np.array_equal(plant(image, "a"), plant(image, "b"))


def test_smooth_targets_give_no_noise() -> None:
    image = textured(1, 32)
    assert np.array_equal(SpectralNoise.of([np.full((64, 64, 3), 90, np.uint8)])(image, "a"), image)


def test_planted_noise_can_be_sent_to_a_worker_process() -> None:
    plant = pickle.loads(pickle.dumps(SpectralNoise.of([textured(0)])))
    assert plant(textured(1, 32), "a").shape == (32, 32, 3)
