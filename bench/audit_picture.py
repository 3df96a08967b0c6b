"""The picture of an audit: shifts as a scatter, the worst pairs, what was found twice, blank images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from sarbench.bench.audit_layout import (
    GAP_PX,
    HEADING_PX,
    MARGIN_PX,
    SMALL_TEXT_PX,
    TITLE_PX,
    WIDTH_PX,
    Tile,
    below,
    beside,
    ending,
    text,
    tiles,
    wide,
)
from sarbench.bench.audit_shift import REACH_PX, Shift, shift
from sarbench.bench.dataset import BOTH
from sarbench.bench.leaks import KINDS, Leak

if TYPE_CHECKING:
    from sarbench.bench.audit import Audit
    from sarbench.bench.audit_pass import Split
    from sarbench.bench.dataset import Sample

TILE_PX, SMALL_PX, TINY_PX, PLOT_PX = 224, 184, 110, 420
LABEL_PX = WIDTH_PX - 2 * MARGIN_PX - 4 * (TILE_PX + GAP_PX)
SQUARE_PX = 32  # of the checkerboard, in the picture
WORST, FOUND, BLANK = 6, 9, 10  # rows or tiles of a section
ABREAST = 3  # findings in one row
RINGS_PX = (2, 5, 10)
COLOURS = {"train": (0, 90, 181), "test": (214, 95, 0)}  # told apart by colour-blind readers too
TINTS = ((1.0, 0.72, 0.25), (0.35, 0.8, 1.0))  # of the edges of source and target
PAPER, AXIS, RING = (247, 247, 247), (205, 205, 205), (165, 165, 165)
KIND_WORDS = {"equal": "equal", "copy": "a changed copy", "overlap": "shared ground"}
QUALITY = 92


def picture(found: Audit) -> bytes:
    """The picture as a JPEG; the images it shows are read again, scaled to tiles and stretched in contrast."""
    blocks = [_head(found)]
    if found.dataset.card.paired:
        blocks += [_shifts(found), *_worst(found)]
    blocks += _findings(found, "Found in train and in test", found.leaks, (found.train, found.test))
    blocks += _footprints(found)
    for name, split in found.splits.items():
        blocks += _findings(found, f"Found again within {name}", found.within[name], (split, split))
    blocks += _blank(found)
    inside = below(blocks, GAP_PX)
    canvas = Image.new("RGB", (WIDTH_PX, inside.height + 2 * MARGIN_PX), "white")
    canvas.paste(inside, (MARGIN_PX, MARGIN_PX))
    buffer = io.BytesIO()
    canvas.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


# --- Sections --------------------------------------------------------------------------------------------------------


def _head(found: Audit) -> Image.Image:
    counts = ", ".join(f"{len(split.ids)} {name}" for name, split in found.splits.items())
    title = text(f"{found.dataset.card.title}: {found.verdict.split} split", TITLE_PX)
    return below([title, text(f"{counts} images"), *(text(f"- {reason}") for reason in found.verdict.reasons)])


def _heading(words: str) -> Image.Image:
    return below([Image.new("RGB", (1, GAP_PX), "white"), text(words, HEADING_PX)])


def _shifts(found: Audit) -> Image.Image:
    """Where the target lies against the source: a dot a pair, a cross for the shift that all have in common."""
    scale, middle = PLOT_PX / (2 * REACH_PX + 2), PLOT_PX / 2
    plot = Image.new("RGB", (PLOT_PX, PLOT_PX), PAPER)
    draw = ImageDraw.Draw(plot)
    font = ImageFont.load_default(size=SMALL_TEXT_PX)
    draw.line([(middle, 0), (middle, PLOT_PX)], fill=AXIS)
    draw.line([(0, middle), (PLOT_PX, middle)], fill=AXIS)
    for ring in RINGS_PX:
        low, high = middle - ring * scale, middle + ring * scale
        draw.ellipse([low, low, high, high], outline=RING)
        draw.text((middle + 3, low - 2), f"{ring} px", fill=(90, 90, 90), font=font, anchor="lb")
    lines = [text("How far the target lies from the source (right, down), a dot a pair"), text(" ")]
    for name, split in found.splits.items():
        measured = [step for step in split.shifts if step is not None]
        for step in measured:
            x, y = middle + step.dx_px * scale, middle + step.dy_px * scale
            draw.ellipse([x - 2.5, y - 2.5, x + 2.5, y + 2.5], fill=COLOURS[name])
        lines.append(text(f"{name}: {len(measured)} of {len(split.shifts)} pairs measurable", colour=COLOURS[name]))
        if measured:
            half, most = np.quantile([step.length_px for step in measured], [0.5, 0.9])
            lines.append(text(f"half are off by less than {half:.1f} px, 9 of 10 by less than {most:.1f} px"))
        common = shift(split.surfaces.mean())
        if common is not None:
            x, y = middle + common.dx_px * scale, middle + common.dy_px * scale
            for width, colour in ((6, "white"), (3, COLOURS[name])):
                draw.line([(x - 11, y), (x + 11, y)], fill=colour, width=width)
                draw.line([(x, y - 11), (x, y + 11)], fill=colour, width=width)
            lines.append(text(f"in common (cross): {common.dx_px:+.2f}, {common.dy_px:+.2f} px"))
        lines.append(text(" "))
    return beside([plot, below(lines)], MARGIN_PX)


def _worst(found: Audit) -> list[Image.Image]:
    """The pairs that are shifted furthest, each as it is and with its target moved back."""
    every = [
        (step, sample_id)
        for split in found.splits.values()
        for step, sample_id in zip(split.shifts, split.ids, strict=True)
        if step is not None
    ]
    rows = []
    for step, sample_id in sorted(every, key=lambda pair: (-pair[0].length_px, pair[1]))[:WORST]:
        sample = found.dataset.read(sample_id)
        boards = [_checkerboard(sample.source, target) for target in (sample.target, _moved(sample.target, step))]
        words = (ending(sample_id, 34), f"{step.dx_px:+.1f}, {step.dy_px:+.1f} px", f"confidence {step.confidence:.1f}")
        label = below([text(line, SMALL_TEXT_PX) for line in words])
        shown = [_tile(sample.source), _tile(sample.target), *boards]
        rows.append(beside([wide(label, LABEL_PX), tiles(shown)]))
    if not rows:
        return []
    titles = ("source", "target", "edges: source, target", "the same, target moved back")
    heads = [wide(text(line, SMALL_TEXT_PX), TILE_PX) for line in titles]
    return [_heading(f"The {len(rows)} pairs that are shifted furthest"), beside([wide(text(" "), LABEL_PX), *heads]), *rows]


def _findings(found: Audit, title: str, leaks: Sequence[Leak], splits: tuple[Split, Split]) -> list[Image.Image]:
    """Pairs of samples of which an image was found twice: the worst first; the target where both were."""
    once: dict[tuple[int, int], Leak] = {}
    for leak in sorted(leaks, key=lambda leak: (KINDS.index(leak.kind), leak.part != "target", -leak.share)):
        once.setdefault((leak.train, leak.test), leak)
    blocks = []
    for leak in list(once.values())[:FOUND]:
        ids = splits[0].ids[leak.train], splits[1].ids[leak.test]
        images = [getattr(found.dataset.read(sample_id, (leak.part,)), leak.part) for sample_id in ids]
        if leak.mirrored:
            images[1] = images[1][:, :, ::-1]
        images[1] = np.rot90(images[1], leak.quarters, (1, 2))
        turned = ["mirrored"] * leak.mirrored + [f"turned by {90 * leak.quarters}°"] * (leak.quarters > 0)
        words = ", ".join([f"{KIND_WORDS[leak.kind]} ({leak.part})", f"{leak.share:.0%} of the ground", *turned])
        blocks.append(_two(ids, words, _framed(images, leak)))
    return [_heading(f"{title}: {len(once)} (framed: the ground that both show)"), *_abreast(blocks)] if blocks else []


def _footprints(found: Audit) -> list[Image.Image]:
    overlaps = sorted(found.overlaps or (), key=lambda overlap: -overlap.share)
    blocks = []
    for overlap in overlaps[:FOUND]:
        ids = found.train.ids[overlap.train], found.test.ids[overlap.test]
        shown = [_tile(_first(found.dataset.read(sample_id)), SMALL_PX) for sample_id in ids]
        blocks.append(_two(ids, f"footprints share {overlap.share:.1%}", shown))
    return [_heading(f"Footprints that overlap across the splits: {len(overlaps)}"), *_abreast(blocks)] if blocks else []


def _blank(found: Audit) -> list[Image.Image]:
    blocks = []
    for part in BOTH:
        ids = [sample_id for split in found.splits.values() for sample_id in split.blank[part]]
        shown = []
        for sample_id in ids[:BLANK]:
            image = getattr(found.dataset.read(sample_id, (part,)), part)
            shown.append(below([tiles([_tile(image, TINY_PX)]), text(ending(sample_id, 16), SMALL_TEXT_PX - 2)]))
        if shown:
            blocks += [_heading(f"Blank {part} images: {len(ids)}"), beside(shown)]
    return blocks


def _two(ids: tuple[str, str], words: str, images: Sequence[Tile]) -> Image.Image:
    """Two tiles, with their names and what they have in common above them."""
    width = 2 * SMALL_PX + GAP_PX
    lines = [text(line, SMALL_TEXT_PX, width) for line in (ending(ids[0], 50), ending(ids[1], 50), words)]
    return below([wide(below(lines), width), tiles(images)])


def _abreast(blocks: Sequence[Image.Image]) -> list[Image.Image]:
    return [beside(blocks[i : i + ABREAST], MARGIN_PX) for i in range(0, len(blocks), ABREAST)]


# --- Tiles -----------------------------------------------------------------------------------------------------------


def _first(sample: Sample) -> Float[np.ndarray, "C H W"]:
    """The target, or the source where there is none."""
    parts = sample.parts()
    return parts["target"] if "target" in parts else parts["source"]


def _tile(image: Float[np.ndarray, "C H W"], side_px: int = TILE_PX) -> Tile:
    """An image as a tile: its first or its first three channels, stretched from the 1st to the 99th percentile."""
    shown = image[: 3 if len(image) >= 3 else 1].transpose(1, 2, 0)
    low, high = np.quantile(shown, [0.01, 0.99])
    stretched = (shown - low) / (high - low) if high - low > 0.02 else (shown + 1.0) / 2.0
    pixels = np.rint(255.0 * np.clip(stretched, 0.0, 1.0)).astype(np.uint8)
    return _fitted(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))), side_px)


def _fitted(pixels: Tile, side_px: int = TILE_PX) -> Tile:
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)


def _framed(images: Sequence[np.ndarray], leak: Leak) -> list[Tile]:
    """Both images with the ground they share in a frame; the second as it lies over the first."""
    (height, width), (height_b, width_b) = (image.shape[1:] for image in images)
    low = np.maximum(0, [leak.down_px, leak.right_px])
    high = np.minimum([height, width], [leak.down_px + height_b, leak.right_px + width_b])
    framed = []
    for image, corner in zip(images, ((0, 0), (leak.down_px, leak.right_px)), strict=True):
        tile = _tile(image, SMALL_PX)
        scale = np.array(tile.shape[:2]) / image.shape[1:]
        top, left, bottom, right = (
            np.rint(np.concatenate([(low - corner) * scale, (high - corner) * scale])).astype(int).tolist()
        )
        framed.append(cv2.rectangle(tile, (left, top), (right - 1, bottom - 1), (255, 60, 0), 2))
    return framed


def _checkerboard(source: Float[np.ndarray, "C H W"], target: Float[np.ndarray, "C H W"]) -> Tile:
    """The edges of both, in squares of two colours by turns: where they fit, lines go on from square to square."""
    edges = [_fitted(_edges(image)) * np.array(tint) for image, tint in zip((source, target), TINTS, strict=True)]
    rows, columns = np.indices(edges[0].shape[:2]) // SQUARE_PX
    return np.where(((rows + columns) % 2 == 0)[:, :, None], *edges).astype(np.uint8)


def _edges(image: Float[np.ndarray, "C H W"]) -> Tile:
    smooth = cv2.GaussianBlur(np.ascontiguousarray(image.mean(0)), (0, 0), 2.5)
    strength = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    pixels = np.rint(255.0 * np.clip(strength / (np.quantile(strength, 0.98) + 1e-9), 0.0, 1.0)).astype(np.uint8)
    return np.repeat(pixels[:, :, None], 3, 2)


def _moved(image: Float[np.ndarray, "C H W"], step: Shift) -> Float[np.ndarray, "C H W"]:
    """The image moved back by a shift."""
    move = np.array([[1, 0, -step.dx_px], [0, 1, -step.dy_px]], np.float32)
    size = (image.shape[2], image.shape[1])
    return np.stack([cv2.warpAffine(np.ascontiguousarray(plane), move, size, borderMode=cv2.BORDER_REFLECT) for plane in image])
