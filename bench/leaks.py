"""Does a split leak? Equal images, changed copies, shared ground, footprints that overlap, and the verdict on them all.

Two images share ground where key points agree in their bits and in one common offset, in one of the 8 orientations of a
square, and the thumbnails then agree as well. That one search finds copies of other brightness or contrast, recompressed,
shifted, flipped or turned ones, and patches that overlap by a part; it needs no georeference.

Measured on the 366 real Sentinel-1/2 pairs of 256x256 px: every copy is found (JPEG quality 20, contrast 80 %, gamma 0.7,
noise of 15 grey levels, shifts of 2 px, in all 8 orientations; 92 images each). Of 12 overlaps of 20 to 50 % between images
of two neighbouring orbits, resampled apart, all 7 halves and 3 of 5 fifths are found. No false finding in 66,795 pairs of
real samples, nor in 24 million of synthetic ones. Overlaps of less than a fifth are mostly missed, and so is ground seen
again after it has changed. Images whose sides differ by more than 1.4 times may come to two scales, and are then not compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
from jaxtyping import Float, Int64, UInt64

from sarbench.bench.fingerprints import BITS_APART, LEVELS, Print, ones
from sarbench.bench.fingerprints import Fingerprint as Fingerprint
from sarbench.bench.fingerprints import fingerprint as fingerprint
from sarbench.bench.footprints import Footprint as Footprint
from sarbench.bench.footprints import Overlap as Overlap
from sarbench.bench.footprints import footprint as footprint
from sarbench.bench.footprints import footprint_overlaps as footprint_overlaps
from sarbench.bench.footprints import ranges

NEAR_PX = 2  # by which the offsets of agreeing key points may differ, in the resized image
LEAST_POINTS = 2  # agreeing key points that propose a finding
LEAST_SHARE = 0.1  # of the smaller image: less shared ground proves nothing
LEAST_CELLS = 25.0  # of shared ground with texture, in both images
LEAST_CORRELATION = 0.8  # of the thumbnails over the shared ground; it confirms a finding
WHOLE = 0.8  # share of an image's ground from which on a finding is a copy, not an overlap
KEYS = 4  # the 64 bits are looked up by 16 at a time: points that differ in few bits have one such part in common
BUCKET = 4096  # entries looked at for one value of 16 bits
COMMON = 100  # images in which a key point may recur, more is a frame or a logo; and equal images listed for one
NAMED = 10  # scenes that a reason names
Kind = Literal["equal", "copy", "overlap"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Leak:
    """An image of one list that is found again in another; `train` and `test` are positions in the lists."""

    kind: Kind
    part: str  # "source" or "target"
    train: int
    test: int
    share: float = 1.0  # of the smaller image's ground that both show
    correlation: float = 1.0  # of the thumbnails over that ground
    points: int = 0  # key points that agree
    quarters: int = 0  # turns of the test image that bring it over the other, after mirroring it where `mirrored`
    mirrored: bool = False
    down_px: int = 0  # where its top left corner then lies in the other, to within two px of the resized image
    right_px: int = 0


# --- Images found again ----------------------------------------------------------------------------------------------


def cross_split_leaks(train: Sequence[Fingerprint], test: Sequence[Fingerprint]) -> list[Leak]:
    """Every image of `train` that `test` shows again, whole or in part; by kind, part and position.

    With the same list on both sides, every image finds itself. Time grows with the product of the lists: 80 s a part on
    one core for 100,000 against 10,000 images.
    """
    found = []
    for part in ("source", "target"):
        left = [(i, known.parts[part]) for i, known in enumerate(train) if part in known.parts]
        right = [(i, known.parts[part]) for i, known in enumerate(test) if part in known.parts]
        equal = set(_equal(left, right))
        found += [Leak("equal", part, i, j) for i, j in equal]
        found += [leak for leak in _shared_ground(part, left, right) if (leak.train, leak.test) not in equal]
    return sorted(found, key=lambda leak: (KINDS.index(leak.kind), leak.part, leak.test, leak.train))


Numbered = Sequence[tuple[int, Print]]


def _equal(train: Numbered, test: Numbered) -> Iterator[tuple[int, int]]:
    by_digest: dict[str, list[int]] = defaultdict(list)
    for i, known in train:
        if not known.blank:
            by_digest[known.digest].append(i)
    for j, known in test:
        for i in by_digest.get(known.digest, [])[:COMMON]:
            yield i, j


def _shared_ground(part: str, train: Numbered, test: Numbered) -> Iterator[Leak]:
    """The pairs of images whose key points and thumbnails agree, each once, in its best orientation."""
    index = _Index(_joined([known for _, known in train]))
    image, first = _numbering([known for _, known in train])
    image_test, first_test = _numbering([known for _, known in test])
    best: dict[tuple[int, int], Leak] = {}
    for mirrored in (False, True):
        for quarters in range(4):
            turned = [known.turned(quarters, mirrored) for _, known in test]
            pairs = index.near(_joined(turned))
            for i, j, rows in _by_images(image[pairs[:, 0]], image_test[pairs[:, 1]]):
                found = _agreement(train[i][1], turned[j], pairs[rows] - (first[i], first_test[j]))
                if found is None:
                    continue
                where = (train[i][0], test[j][0])
                if where not in best or best[where].points < found.points:
                    kind: Kind = "copy" if found.share >= WHOLE else "overlap"
                    best[where] = Leak(kind, part, *where, quarters=quarters, mirrored=mirrored, **found._asdict())
    yield from best.values()


def _joined(prints: Sequence[Print]) -> UInt64[np.ndarray, " N"]:
    return np.concatenate([np.zeros(0, np.uint64), *(known.bits for known in prints)])


def _numbering(prints: Sequence[Print]) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " images"]]:
    """The image of every key point, and the first key point of every image."""
    count = np.array([len(known.bits) for known in prints], np.int64)
    return np.repeat(np.arange(len(prints)), count), np.cumsum(count) - count


class _Index:
    """Numbers of 64 bits, found again by any of their KEYS parts."""

    def __init__(self, bits: UInt64[np.ndarray, " N"]) -> None:
        self.bits = bits
        self.order = [np.argsort(part, kind="stable") for part in _parts(bits)]
        self.start = [np.concatenate([[0], np.cumsum(np.bincount(part, minlength=1 << 16))]) for part in _parts(bits)]

    def near(self, asked: UInt64[np.ndarray, " M"]) -> Int64[np.ndarray, "K 2"]:
        """Positions (own, asked) of the pairs that share a part and differ in at most BITS_APART bits."""
        found = [np.zeros(0, np.int64)]
        for order, start, part in zip(self.order, self.start, _parts(asked), strict=True):
            count = np.minimum(start[part + 1] - start[part], BUCKET)
            for places, rows in ranges(start[part], count):
                own = order[places]
                near = ones(self.bits[own] ^ asked[rows]) <= BITS_APART
                found.append(own[near] << 32 | rows[near])
        codes = np.unique(np.concatenate(found))
        pairs = np.stack([codes >> 32, codes & 0xFFFFFFFF], 1)
        return pairs[np.bincount(pairs[:, 1], minlength=len(asked))[pairs[:, 1]] <= COMMON]


def _parts(bits: UInt64[np.ndarray, " N"]) -> list[Int64[np.ndarray, " N"]]:
    return [((bits >> np.uint64(16 * key)) & np.uint64(0xFFFF)).astype(np.int64) for key in range(KEYS)]


def _by_images(
    train: Int64[np.ndarray, " K"], test: Int64[np.ndarray, " K"]
) -> Iterator[tuple[int, int, Int64[np.ndarray, " n"]]]:
    """Every pair of images that has enough pairs of key points, and the rows of these."""
    order = np.lexsort((test, train))
    changes = np.flatnonzero((np.diff(train[order]) != 0) | (np.diff(test[order]) != 0)) + 1
    for rows in np.split(order, changes):
        if len(rows) >= LEAST_POINTS:
            yield int(train[rows[0]]), int(test[rows[0]]), rows


class _Agreement(NamedTuple):
    share: float
    correlation: float
    points: int
    down_px: int
    right_px: int


def _agreement(a: Print, b: Print, pairs: Int64[np.ndarray, "n 2"]) -> _Agreement | None:
    """What two images have in common under the offset that most pairs of key points share; None: not enough."""
    offsets = a.points[pairs[:, 0]].astype(np.int64) - b.points[pairs[:, 1]]
    alike = np.abs(offsets[:, None] - offsets[None]).max(2) <= NEAR_PX
    chosen = alike[alike.sum(1).argmax()]
    count = min(len(np.unique(pairs[chosen, 0])), len(np.unique(pairs[chosen, 1])))
    if count < LEAST_POINTS:
        return None
    offset, size_a, size_b = np.median(offsets[chosen], 0), np.array(a.size), np.array(b.size)
    shared = np.minimum(size_a, size_b + offset) - np.maximum(0, offset)
    share = float(np.prod(shared) / min(np.prod(size_a), np.prod(size_b)))
    if share < LEAST_SHARE:
        return None
    correlation = _correlation(a.thumbnail, b.thumbnail, offset * a.thumbnail.shape / size_a)
    if correlation < LEAST_CORRELATION:
        return None
    down, right = (round(float(way) * a.scale) for way in offset)
    return _Agreement(round(share, 2), round(correlation, 2), count, down, right)


def _correlation(a: np.ndarray, b: np.ndarray, offset: Float[np.ndarray, " 2"]) -> float:
    """Of two thumbnails over the ground they share; 0 where too little of it has texture."""
    move, size = np.array([[1, 0, offset[1]], [0, 1, offset[0]]], np.float32), (a.shape[1], a.shape[0])
    moved = cv2.warpAffine(np.ascontiguousarray(b, np.float32), move, size)
    inside = cv2.warpAffine(np.ones(b.shape, np.float32), move, size) > 0.99
    x, y = a[inside].astype(np.float32) / LEVELS, moved[inside] / LEVELS
    if min((x * x).sum(), (y * y).sum()) < LEAST_CELLS:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


# --- The verdict -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What may be said of a split, and why."""

    split: Literal["verified", "unverified", "leaking"]
    reasons: tuple[str, ...]


def verdict(
    train_scenes: Sequence[str | None],
    test_scenes: Sequence[str | None],
    leaks: Sequence[Leak],
    overlaps: Sequence[Overlap] | None,
    unseen: int = 0,
) -> Verdict:
    """The verdict on a split, from the scene of every image and what was found.

    "verified": every image has a scene, no scene is on both sides, and nothing was found across. "leaking": something was
    found across. "unverified": nothing was found, but not all could be looked at. `overlaps` is None where no image says
    where it lies; `unseen` counts the images that were not looked at.
    """
    n_test = len(test_scenes)
    bad, open_, good = [], [], []
    shared = sorted((set(train_scenes) & set(test_scenes)) - {None}, key=str)
    if shared:
        more = f" and {len(shared) - NAMED} more" if len(shared) > NAMED else ""
        bad.append(f"{len(shared)} scenes are in train and in test: {', '.join(map(str, shared[:NAMED]))}{more}")
    if overlaps:
        most = max(overlap.share for overlap in overlaps)
        bad.append(
            f"{len({overlap.test for overlap in overlaps})} of {n_test} test images overlap training images by their "
            f"footprints, by up to {most:.0%}"
        )
    words = {
        "equal": "equal a training image",
        "copy": "are changed copies of a training image",
        "overlap": "show part of the ground of a training image",
    }
    for kind in KINDS:
        hit = [leak for leak in leaks if leak.kind == kind]
        if hit:
            parts = " and ".join(sorted({leak.part for leak in hit}))
            bad.append(f"{len({leak.test for leak in hit})} of {n_test} test images {words[kind]} ({parts})")
    unknown = sum(scene is None for scene in (*train_scenes, *test_scenes))
    if unknown:
        open_.append(f"the scene of {unknown} of {len(train_scenes) + n_test} images is not known")
    else:
        good.append(f"{len(set(train_scenes))} scenes are in train and {len(set(test_scenes))} in test, none in both")
    if unseen:
        open_.append(f"not looked at: {unseen} of {len(train_scenes) + n_test} images")
    if overlaps is not None and not overlaps:
        good.append("no footprint of one split overlaps one of the other")
    if not leaks:
        good.append("no image of one split was found in the other, neither whole nor in part")
    if bad:
        return Verdict("leaking", tuple(bad + open_))
    return Verdict("unverified", (*open_, *good)) if open_ else Verdict("verified", tuple(good))
