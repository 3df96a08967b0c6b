"""Randomness is keyed, not consumed: what is drawn depends on what it is for, never on what was drawn before."""

from __future__ import annotations

import hashlib


def key(*parts: object) -> int:
    """An integer in [0, 2^63) that depends on every part and on nothing else: not on time, process or rank."""
    text = "\x1f".join(repr(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
