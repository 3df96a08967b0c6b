"""`sarbench export`: a translated data set in the source's layout, with unchanged labels, for use elsewhere.

Every source image of both splits, whole, takes the place of the original under its name; labels and whatever else belongs to
the samples are copied byte for byte, and so are lists of splits. A data set made by code has no layout: its images go to
`images/` and its class maps to `labels/`. `sarbench.json` says what made it, with a hash of every file; `SARBENCH.md` in words.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarbench.bench.errors import ContractError
from sarbench.bench.options import OPTIONS, request

if TYPE_CHECKING:
    from sarbench.bench.dataset import Dataset
    from sarbench.bench.interface import Method
    from sarbench.bench.pipeline import Bench

LEFT_OUT = ("--method", "--accumulate", "--workers", "--leaderboards")
RECORD, ABOUT = "sarbench.json", "SARBENCH.md"
LISTS = (".txt", ".csv", ".mat", ".json", ".md")  # files that say what a data set holds, copied with it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sarbench export`."""
    parser.add_argument("method", nargs="+", metavar="METHOD", help="trained before by `sarbench run` with the same options")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="data sets go to FOLDER/<method>/<seed>")
    for flag, words in OPTIONS:
        if flag not in LEFT_OUT:
            parser.add_argument(flag, **words)


def command(args: argparse.Namespace) -> int:
    """Export every method and seed; nothing is written before all of them are known to be possible."""
    from sarbench.bench.interface import Method
    from sarbench.bench.records import label
    from sarbench.bench.runs import bench_of
    from sarbench.bench.settings import variant_of

    defaults = {flag[2:].replace("-", "_"): words.get("default") for flag, words in OPTIONS if flag in LEFT_OUT}
    defaults["leaderboards"] = str(Path(args.runs) / "cache")  # no board is read or written here
    asked = request({**defaults, **vars(args)})
    if asked.track.protocol.task == "matching":
        raise ContractError(f"the protocol {asked.track.protocol.name!r} translates nothing; choose one of translation")
    bench = bench_of(asked)
    jobs = []
    for name in dict.fromkeys(args.method):
        for seed in asked.seeds:
            folder = args.out / label(name, variant_of(name, asked.settings)) / str(seed)
            refuse_used(folder)
            if not bench.is_trained(name, seed):
                raise ContractError(
                    f"{name}, seed {seed}, is not trained on {asked.track.slug} with these options in {asked.runs}; run "
                    f"`sarbench run --method {name} --protocol {asked.track.protocol.name}` with the same options first"
                )
            jobs.append((name, seed, folder))
    layout = Layout.of(bench.material.dataset)
    for name, seed, folder in jobs:
        method, _ = bench.trained(name, seed)
        assert isinstance(method, Method)
        print(f"{folder}: {export(bench, layout, method, name, seed, folder)} images")
    return 0


def refuse_used(folder: Path) -> None:
    """Raise ContractError for a folder that holds anything, and for a file in its place."""
    if folder.is_dir() and any(folder.iterdir()):
        raise ContractError(f"{folder} is not empty; name another --out, or remove it")
    if folder.exists() and not folder.is_dir():
        raise ContractError(f"{folder} is a file; name another --out")


@dataclass(frozen=True)
class Layout:
    """Where the files of a data set lie, below its root."""

    dataset: Dataset
    ids: tuple[str, ...]  # of the source domain, both splits
    images: Mapping[str, Path]  # id -> the source image, with the original's suffix; empty for a dataset made by code
    copied: Mapping[Path, Path]  # place below the root -> original

    @staticmethod
    def of(dataset: Dataset) -> Layout:
        """The layout of a dataset; ContractError for one whose source images are not one file each."""
        from sarbench.bench.domains import Joined

        ids = tuple(i for split in ("train", "test") for i in dataset.ids(split))
        if not any(dataset.files(i) for i in ids[:1]):
            return Layout(dataset, ids, {}, {})
        root = getattr(dataset.sides["source"] if isinstance(dataset, Joined) else dataset, "root", None)
        found = {i: dataset.source_file(i) for i in ids}
        without = [i for i, file in found.items() if file is None]
        if without or root is None:
            raise ContractError(
                f"{dataset.card.title}: {len(without)} of {len(ids)} source images, such as {[*without, ids[0]][0]}, "
                "are no file of their own (several files, a window of one, or the label map itself), so that no translation "
                "can take their place; export a dataset whose sources are whole files"
            )
        sources = {i: file for i, file in found.items() if file is not None}
        kept = {file for i in ids for file in dataset.files(i)} - set(sources.values())
        lists = {file for file in _files_below(root) if file.suffix.lower() in LISTS}
        return Layout(
            dataset,
            ids,
            {i: file.relative_to(root) for i, file in sources.items()},
            {file.relative_to(root): file for file in sorted(kept | lists)},
        )

    def place(self, sample_id: str, suffix: str) -> Path:
        """Where a translation goes; its suffix is that of the lossless file, whatever the original's was."""
        original = self.images.get(sample_id)
        if original is None:
            return Path("images") / (sample_id + suffix)
        same = original.suffix.lower() in ((".tif", ".tiff") if suffix == ".tif" else (suffix,))
        return original if same else original.with_suffix(suffix)


def export(bench: Bench, layout: Layout, method: Method, name: str, seed: int, folder: Path) -> int:
    """Translate every source image and write the data set; the folder appears whole or not at all. Returns the images."""
    from sarbench.bench.images import find_images
    from sarbench.bench.pipeline import WEIGHTS
    from sarbench.bench.storage import file_digest, refuse_unwritable, write_json, write_text
    from sarbench.bench.translate import translate_split

    refuse_used(folder)
    refuse_unwritable(folder.parent)
    staging = bench.folder_of(name, seed) / "exported"  # kept when a process is killed: the next one goes on from there
    translate_split(
        method,
        bench.material.images,
        layout.ids,
        staging,
        seed=seed,
        translation_key=f"{bench.translation_key(name, seed)} export",
        crop_px=None,
        hardware=bench.hardware,
        quiet=bench.quiet,
    )
    part = folder.parent / f".{folder.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        files: dict[str, str] = {}
        for sample_id, image in find_images(staging).items():
            _copy(image, part, layout.place(sample_id, image.suffix), files)
        for place, original in layout.copied.items():
            _copy(original, part, place, files)
            if files[place.as_posix()] != file_digest(original):
                raise ContractError(f"{original} changed while it was copied; run the same command again")
        files |= _labels_by_code(layout, part)
        record = _record(bench, name, seed, file_digest(bench.folder_of(name, seed) / WEIGHTS), files)
        write_json(part / RECORD, record)
        write_text(part / ABOUT, _about(record, layout))
        if folder.is_dir():
            folder.rmdir()
        os.replace(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(staging, ignore_errors=True)
    return len(layout.ids)


def _copy(original: Path, root: Path, place: Path, files: dict[str, str]) -> None:
    from sarbench.bench.storage import copy, file_digest

    name = place.as_posix()
    if name in files or name in (RECORD, ABOUT):
        raise ContractError(f"two files of the data set would be called {name}; rename one of them in the original")
    copy(original, root / place)
    files[name] = file_digest(root / place)


def _labels_by_code(layout: Layout, root: Path) -> dict[str, str]:
    """Class maps of a dataset made by code, as 8-bit files; their hashes."""
    import numpy as np

    from sarbench.bench.images import write_image
    from sarbench.bench.storage import file_digest

    if layout.images or "labels" not in layout.dataset.aux:
        return {}
    found = {}
    for sample_id in layout.ids:
        place = Path("labels") / f"{sample_id}.png"
        labels = layout.dataset.read(sample_id, ("labels",)).aux["labels"]
        write_image(root / place, labels.astype(np.uint8).transpose(1, 2, 0))
        found[place.as_posix()] = file_digest(root / place)
    return found


def _files_below(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))


def _record(bench: Bench, name: str, seed: int, weights: str, files: Mapping[str, str]) -> dict[str, Any]:
    from dataclasses import asdict

    from sarbench.bench.provenance import git_state, versions

    material = bench.material
    return {
        "method": name,
        "settings": dict(bench.settings),
        "config": asdict(bench.config(name)),
        "seed": seed,
        "track": bench.track.slug,
        "terms": bench.track.terms(),
        "dataset": material.dataset.card.title,
        "licence": material.dataset.card.licence,
        "content_hash": material.identity.content_hash,
        "classes": list(material.dataset.classes),
        "weights_sha256": weights,
        "run_key": bench.run_key(name, seed),
        "code_hash": bench.code_hash(name),
        "versions": versions(),
        "git": git_state(),
        "files": dict(sorted(files.items())),
    }


def _about(record: Mapping[str, Any], layout: Layout) -> str:
    renamed = sum(
        layout.place(i, ".png").suffix != original.suffix and original.suffix.lower() not in (".tif", ".tiff")
        for i, original in layout.images.items()
    )
    classes = ", ".join(f"{i} {name}" for i, name in enumerate(record["classes"]))
    lines = [
        f"# {record['dataset']}, translated by {record['method']}",
        f"Made by `sarbench export {record['method']}`: seed {record['seed']}, track {record['track']}, weights "
        f"{record['weights_sha256']}.",
        "Source images are replaced by their translations, losslessly, at full size; everything else is the original's, byte "
        "for byte. Images of the training split are translated by a network that was trained on them.",
        f"{renamed} images were of a lossy format and are PNG now, under the same names." if renamed else "",
        f"`labels/`: 255 is not labelled; {classes}." if classes and not layout.images else "",
        f"Licence of the original: {record['licence']}. It holds for this copy too.",
        f"`{RECORD}` holds the settings and the sha256 of every file.",
    ]
    return "\n\n".join(line for line in lines if line) + "\n"
