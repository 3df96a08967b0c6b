"""QXS-SAROPT: Gaofen-3 and Google Earth patches of three port cities, San Diego, Shanghai and Qingdao, 1 m.

Source: Gaofen-3 spotlight, C band, one polarisation, 1 m, scaled to 8 bits by the authors. 1 band, or three equal ones; uint8;
    0 to 255 becomes -1 to 1. `channels=repeat`: three equal channels.
Target: Google Earth, R, G, B, resampled to 1 m. 3 bands; uint8; 0 to 255 becomes -1 to 1.
Splits: none official, and the files don't say which patches belong together. All splits here are therefore unverified.
    `split=blocks` (default): every fifth block of 500 consecutive numbers is the test part, 16,000 / 4,000. The guess behind it
    is that neighbouring numbers are neighbouring patches, which overlap if "oc_0.2" means so.
    `split=cdiffset`: the published 16,001 / 3,999 of C-DiffSET and ReFlowSET, from their files `train_eo_list.txt` and
    `test_eo_list.txt`, which you put into the folder (github.com/KAIST-VICLab/ReFlowSET, splits/qxs-saropt).
    `split=random`: 16,001 / 3,999 drawn in the same way without these files; other images than theirs.
    Group: none known.
Size: 20,000 pairs, 256x256 px.
Licence: free for research that cites the paper; optical imagery of Google Earth.
Reference: Huang et al. (2021), https://arxiv.org/abs/2103.08259.
Layout: {sar_256_oc_0.2,opt_256_oc_0.2}/1.png to 20000.png; the folder QXSLAB_SAROPT around them may be given or left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sarbench.bench.dataset import DatasetCard
from sarbench.bench.errors import ContractError
from sarbench.bench.folders import REPEAT, Files, FolderDataset, Listing, Option, listed, matched
from sarbench.bench.images import Window, scale
from sarbench.datasets.families.radar_sets import named, read_bands, read_grey, read_lines, sampled

FOLDERS = {"source": "sar_256_oc_0.2", "target": "opt_256_oc_0.2"}
NAME = re.compile(r"(\d+)\.png")
BLOCK = 500  # numbers
LISTS = {"train": "train_eo_list.txt", "test": "test_eo_list.txt"}
LINE = re.compile(r"(?:opt_256_oc_0\.2/)?(\d+)\.png")


class QXSSAROPT(FolderDataset):
    """QXS-SAROPT as downloaded; splits and licence stand at the top of this file."""

    card = DatasetCard(
        title="QXS-SAROPT",
        source="Gaofen-3 spotlight SAR, C band, 1 m, 8 bit",
        target="Google Earth RGB, 1 m, 8 bit",
        task="sar to optical",
        group=None,
        licence="free for research that cites the paper; optical imagery of Google Earth",
        reference="https://arxiv.org/abs/2103.08259",
        gsd_m=1.0,
        get="Ask for the download at https://github.com/yaoxu008/QXS-SAROPT and unpack QXSLAB_SAROPT.",
    )
    source_channels, target_channels = 1, 3
    options = {
        "channels": REPEAT,
        "split": Option(
            "blocks",
            "blocks: every fifth block of 500 numbers; cdiffset: the published lists; random: a fifth, drawn",
            ("blocks", "cdiffset", "random"),
        ),
    }
    layout = """\
sar_256_oc_0.2/1.png to 20000.png
opt_256_oc_0.2/1.png to 20000.png"""

    def listing(self) -> Listing:
        """Every pair, from the names alone."""
        home = self.root / "QXSLAB_SAROPT" if (self.root / "QXSLAB_SAROPT").is_dir() else self.root
        if not all((home / folder).is_dir() for folder in FOLDERS.values()):
            raise self.wrong_layout(f"no folders {' and '.join(FOLDERS.values())}")
        samples = matched({part: named(home / folder, NAME) for part, folder in FOLDERS.items()})
        listing: Listing = {"train": {}, "test": {}}
        for sample, split in self._splits(samples, home).items():
            listing[split][sample] = Files(samples[sample])
        return listing

    def _splits(self, samples: dict[str, dict[str, tuple[Path, ...]]], home: Path) -> dict[str, str]:
        if self.option["split"] == "cdiffset":
            return self._published(samples, home)
        if self.option["split"] == "random":
            drawn = sampled(samples)
            return {sample: "test" if sample in drawn else "train" for sample in samples}
        return {sample: "test" if (int(sample) - 1) // BLOCK % 5 == 4 else "train" for sample in samples}

    def _published(self, samples: dict[str, dict[str, tuple[Path, ...]]], home: Path) -> dict[str, str]:
        splits: dict[str, str] = {}
        bad = []
        for split, name in LISTS.items():
            if not (home / name).is_file():
                raise ContractError(
                    f"{self.card.title}: split=cdiffset needs {home / name}; get it from "
                    "https://github.com/KAIST-VICLab/ReFlowSET, folder splits/qxs-saropt, or choose another split"
                )
            for line in read_lines(home / name):
                match = LINE.fullmatch(line)
                if not match or match[1] not in samples:
                    bad.append(f"{name}: {line} is no image here")
                elif splits.setdefault(match[1], split) != split:
                    bad.append(f"{line} stands in both lists")
        if bad:
            raise ContractError(f"{home}: the lists of the split do not fit:{listed(bad)}")
        return splits

    def decode(self, part: str, paths: tuple[Path, ...], window: Window | None) -> np.ndarray:
        """Grey SAR, colour optical; 8 bits."""
        if part == "source":
            return scale(read_grey(paths[0]), 0, 255)
        return scale(read_bands(paths[0], 3, ("uint8",), window=window), 0, 255)
