"""Arithmetic that gives the same bits on every machine.

Pixels see nothing but what IEEE 754 fixes to the last bit (add, subtract, multiply, divide, square root, compare), whole
numbers, and look-ups in tables. Sines, powers and logarithms, whose last digit depends on the processor and the library,
are taken in double precision for scalars and tables only and rounded to single precision, where that digit is gone. No
Fourier transform, no matrix product, no mean of pixels: their order of summation is the library's.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, UInt16
from numpy.random import PCG64, Generator

from sarbench.bench.dataset import key

_BITS_DROPPED = 13  # of a float32's 23 bits of mantissa: 1024 steps an octave, 0.004 dB
_LEAST_EXPONENT, _EXPONENTS = 127 - 20, 36  # 2^-20 (-60 dB) to 2^16 (48 dB)


def stream(*parts: object) -> Generator:
    """Random numbers that depend on the parts (a seed, a scene, a purpose) and on nothing else."""
    return Generator(PCG64(key(*parts)))


def words(rng: Generator, *shape: int) -> UInt16[np.ndarray, "..."]:
    """Random whole numbers from 0 to 65535."""
    count = math.prod(shape)
    raw = rng.bit_generator.random_raw(-(-count // 4))  # numpy promises these bits to stay; 64 each
    return raw.astype("<u8", copy=False).view("<u2")[:count].reshape(shape)


def single(value: float) -> float:
    """A number rounded to single precision."""
    return float(np.float32(value))


def direction(angle: float) -> tuple[float, float]:
    """Cosine and sine of an angle in radians, in single precision."""
    return single(math.cos(angle)), single(math.sin(angle))


def intensity(decibels: Float[np.ndarray, "..."] | float) -> Float32[np.ndarray, "..."]:
    """10^(dB / 10); for tables, not for pixels."""
    return np.power(10.0, np.asarray(decibels, np.float64) / 10.0).astype(np.float32)


def decibels(values: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """10 log10 of intensities to within 0.002 dB, from a table over a float's exponent and first bits; -60 dB at least."""
    place = np.ascontiguousarray(values, np.float32).view(np.int32) >> _BITS_DROPPED
    place -= _LEAST_EXPONENT << (23 - _BITS_DROPPED)
    return _decibel_table().take(place, mode="clip")


@lru_cache(maxsize=1)
def _decibel_table() -> Float32[np.ndarray, " T"]:
    first = _LEAST_EXPONENT << 23
    middle = first + ((np.arange(_EXPONENTS << (23 - _BITS_DROPPED)) << _BITS_DROPPED) + (1 << (_BITS_DROPPED - 1)))
    return (10.0 * np.log10(middle.astype(np.int32).view(np.float32).astype(np.float64))).astype(np.float32)
