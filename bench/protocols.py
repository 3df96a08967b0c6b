"""The protocols: what is compared with what. A protocol is a dataset, a task, metrics and, per preset, sizes and a budget.

There is one for every table of the source papers, named paper-table[-dataset], and the embedded ones, which need no
download. Where a paper leaves something open, its card's resolution is used. `bench.tracks` makes tracks of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sarbench.bench import registry

Preset = Literal["tiny", "bench", "paper"]
Augmentation = Literal["flip_left_right", "flip_up_down", "rotate_90"]
Options = tuple[tuple[str, str], ...]

FLIP: tuple[Augmentation, ...] = ("flip_left_right",)
DIHEDRAL: tuple[Augmentation, ...] = ("flip_left_right", "flip_up_down", "rotate_90")
UNREFERENCED = ("dbcnn", "nima", "total_variation")  # of single images
AUDITS = ("psnr_shift", "ssim_shift", "copy_ratio")  # never ranked by; of pairs
PAIRED = ("psnr", "ssim", "lpips", "fid", "kid", "scc", "sam", *UNREFERENCED, *AUDITS)
UNPAIRED = ("fid", "kid", *UNREFERENCED)
ADAPTATION = ("adaptation", "bdl", "proda", "sepico")  # SemST, table 2: without adaptation, and its three methods
SENSORS, FOLDERS = "sar to optical", "as the folder's"  # tasks
STREETS = ("fcn_cityscapes", "segmentation")  # judges: the published network, and one trained on these very data
MATCHING: dict[str, Any] = {
    "task": "matching",
    "metrics": ("cmr_1", "cmr_2", "cmr_5", "distance", "rmse_px"),
    "main_metric": "cmr_2",
}


@dataclass(frozen=True)
class Size:
    """How large one preset of a protocol is."""

    budget_images: int  # images seen by the translator in training
    train_crop_px: int | None  # side of the random training crop; None: whole images; of matching, the search image
    test_crop_px: int | None  # side of the centre crop of test images; crop, never resize
    n_train: int | None = None  # the first so many training ids of a keyed shuffle; None: all
    n_paired: int | None = None  # those whose pairs a semi-supervised method sees; None: a tenth; labelled; None: a 16th
    n_test: int | None = None
    first_test: bool = False  # the first n_test in the order of the ids, as some papers do, not of a shuffle
    options: Options = ()  # of the dataset


@dataclass(frozen=True)
class Protocol:
    """A frozen, named rule of comparison."""

    name: str
    about: str
    task: str  # "matching" ranks matchers; all others rank what translates
    dataset: str
    sizes: Mapping[Preset, Size]
    paired: bool = True  # False: source and target images do not correspond
    target: str | None = None  # a second dataset, whose targets take the place of the first one's: unpaired domains
    options: Options = ()  # of the dataset, at every preset; "cityscapes.direction" where there are two
    metrics: tuple[str, ...] = PAIRED  # of these, a run takes those that this version has
    main_metric: str = "ssim"  # orders the rows of a board
    judges: tuple[str, ...] = ()  # downstream tasks, of which the same holds
    augment: tuple[Augmentation, ...] = ()  # random, in training, the same for both images of a pair
    seeds: tuple[int, ...] = (0,)
    metric_compat: str | None = None  # the convention of the published numbers, where it is not the suite's own
    any_folder: bool = False  # reads whatever folder it is given, so that the folder's name stands in the board's

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the datasets that it reads."""
        return (self.dataset,) if self.target is None else (self.dataset, self.target)

    @property
    def needs_data(self) -> bool:
        """Does it read files? Datasets made by code do not say how to get them."""
        return any(registry.card_of("datasets", name).get("get") for name in self.datasets)


def asks_matching(task: str, paired: bool) -> bool:
    """Are translations of this task also asked whether templates of them are found? Those of registered pairs of two sensors.

    It follows from the task, and is no term of a protocol: it trains nothing and changes no other number.
    """
    return paired and task in (SENSORS, FOLDERS)


# One SAR band is fed three times to an RGB translator, for every method alike; named here, so that every record says so.
REPEAT = (("channels", "repeat"),)


# --- Embedded ---------------------------------------------------------------------------------------------------------


def _synthetic(name: str, about: str, task: str, options: Options, **changes: Any) -> Protocol:
    small = (("n_test", "48"), ("n_train", "384"), ("size_px", "128"))
    large = (("n_test", "1000"), ("n_train", "6000"), ("size_px", "256"))
    sizes: dict[Preset, Size] = {
        "tiny": Size(4_000, 64, None, options=small),  # minutes on two cores
        "bench": Size(400_000, None, None, options=large),
        "paper": Size(1_200_000, None, None, options=large),
    }
    return replace(Protocol(name, about, task, "synthetic", sizes, options=options), **changes)


EMBEDDED = (
    _synthetic(
        "synthetic", "a procedural landscape seen by SAR and optical sensors; needs no download", "sar to optical", REPEAT
    ),
    _synthetic(
        "synthetic-season",
        "the procedural landscape from summer to winter, with real changes that must survive: a major gap",
        "season",
        (("season", "summer"), ("season_2", "winter"), ("task", "season")),
        judges=("change_detection",),
    ),
    _synthetic(
        "synthetic-change",
        "the procedural landscape from summer to autumn, for change detection after translation: a minor gap",
        "season",
        (("season", "summer"), ("season_2", "autumn"), ("task", "season")),
        judges=("change_detection",),
    ),
    _synthetic(
        "synthetic-render",
        "rendered to real: disjoint scenes, another class balance, label maps of both",
        "rendered to real",
        (("task", "render"),),
        paired=False,
        metrics=UNPAIRED,
        main_metric="total_variation",
        judges=("segmentation", "adaptation"),
    ),
    _synthetic(
        "synthetic-adapt",
        "rendered to real as synthetic-render, judged by adaptation alone and with three methods of adaptation",
        "rendered to real",
        (("task", "render"),),
        paired=False,
        metrics=UNPAIRED,
        main_metric="total_variation",
        judges=ADAPTATION,
    ),
    Protocol(
        name="synthetic-match",
        about="the procedural landscape: a SAR template of 192 px searched in an optical image of 256 px",
        dataset="synthetic",
        sizes={
            "tiny": Size(1_600, 128, 256, options=(("n_test", "48"), ("n_train", "384"), ("size_px", "256"))),
            "bench": Size(400_000, 256, 256, options=(("n_test", "1000"), ("n_train", "6000"), ("size_px", "256"))),
            "paper": Size(1_200_000, 256, 256, options=(("n_test", "1000"), ("n_train", "6000"), ("size_px", "256"))),
        },
        options=REPEAT,
        **MATCHING,
    ),
    Protocol(
        name="pairs-match",
        about="your own folder of registered pairs, given by --data: a template of 192 px searched in an image of 256 px",
        dataset="pairs",
        sizes={"tiny": Size(1_600, 128, 256), "bench": Size(400_000, 256, 256), "paper": Size(1_200_000, 256, 256)},
        options=REPEAT,
        any_folder=True,
        **MATCHING,
    ),
    Protocol(
        name="pairs",
        about="your own folder of registered pairs, given by --data",
        task=FOLDERS,
        dataset="pairs",
        sizes={
            "tiny": Size(12_000, 64, None),
            "bench": Size(400_000, 256, None),
            "paper": Size(1_200_000, 256, None),
        },
        options=REPEAT,
        augment=FLIP,
        any_folder=True,
    ),
)


# --- Every dataset, by its own name -----------------------------------------------------------------------------------


def _own(name: str, about: str, task: str, options: Options = (), crop_px: int = 256, **changes: Any) -> Protocol:
    """A dataset under its default split, which keeps scenes whole wherever they are known."""
    sizes: dict[Preset, Size] = {
        "tiny": Size(12_000, 64, 128, None, None, None),
        "bench": Size(400_000, 256, crop_px),
        "paper": Size(1_200_000, crop_px, crop_px),
    }
    made = Protocol(name.replace("_", "-"), about, task, name, sizes, options=options, augment=FLIP)
    return replace(made, **changes)


TRANSFER: dict[str, Any] = {"paired": False, "metrics": UNPAIRED, "main_metric": "total_variation"}
OWN = (
    _own("sen12", "SEN1-2, split by scene", "sar to optical", REPEAT),
    _own("sen12ms", "SEN12MS, split by scene", "sar to optical", REPEAT),
    _own("qxs_saropt", "QXS-SAROPT, split by blocks of numbers", "sar to optical", REPEAT),
    _own(
        "sar2opt",
        "SAR2Opt, its own split without the training tiles that overlap test tiles",
        "sar to optical",
        (*REPEAT, ("split", "disjoint")),
        512,
    ),
    _own("spacenet6", "SpaceNet6, split by ground", "sar to optical", (("channels", "hh-mean-vv"),), 512),
    _own("dfc2020", "DFC2020, its own split", "sar to optical", REPEAT),
    _own("cdd", "CDD, season varying: tiles of its own split", "season", judges=("change_detection",)),
    _own("levir_cd", "LEVIR-CD, its own split", "season", judges=("change_detection",)),
    _own("oscd", "OSCD, split by city", "season", judges=("change_detection",)),
    _own("cityscapes", "Cityscapes, label map to photo", "labels to photo", judges=STREETS),
    _own("gta5", "GTA5, label map to rendered photo", "labels to photo", judges=("segmentation",)),
    _own("synthia", "SYNTHIA, label map to rendered photo", "labels to photo", judges=("segmentation",)),
    _own("maps", "aerial photo to map", "photo to map"),
    _own("facades", "facades, label map to photo", "labels to photo"),
    _own("sketch2anime", "sketch to colour drawing", "sketch to colour"),
    _own("horse2zebra", "horses to zebras: unpaired photos", "style", **TRANSFER),
    _own("summer2winter_yosemite", "Yosemite in summer to winter: unpaired photos", "season", **TRANSFER),
)


# --- S3OIL ------------------------------------------------------------------------------------------------------------


def _s3oil(name: str, about: str, dataset: str, n_paired: int = 600, n_unpaired: int = 5_400, **changes: Any) -> Protocol:
    """600 pairs and 5,400 unpaired images; supervised methods see all 6,000 as pairs; 200 epochs; no test size is given."""
    n = n_paired + n_unpaired
    sizes: dict[Preset, Size] = {
        "tiny": Size(12_000, 64, 128, n // 10, n_paired // 10, 48),
        "bench": Size(min(400_000, 200 * n), 256, 256, n, n_paired, 1_000),
        "paper": Size(200 * n, 256, 256, n, n_paired, 1_000),
    }
    metrics = ("psnr", "ssim", "lpips", "fid", *AUDITS)
    made = Protocol(name, about, "sar to optical", dataset, sizes, options=REPEAT, metrics=metrics)
    return replace(made, **changes)


S3OIL = (
    _s3oil("s3oil-1-sen12ms", "S3OIL, table 1, SEN12MS: every kind of supervision", "sen12ms"),
    _s3oil("s3oil-1-sen12", "S3OIL, table 1, SEN1-2: every kind of supervision", "sen12"),
    _s3oil("s3oil-2", "S3OIL, table 2: its four modules, switched on one by one", "sen12ms"),
    _s3oil("s3oil-3", "S3OIL, table 3: multi-scale matching against one scale and none", "sen12ms"),
    _s3oil(
        "s3oil-4",
        "S3OIL, table 4: sketch to anime, 300 pairs and 2,700 unpaired",
        "sketch2anime",
        300,
        2_700,
        task="sketch to colour",
        options=(),
    ),
    _s3oil("s3oil-5", "S3OIL, table 5: the weights of its losses", "sen12ms", main_metric="lpips"),
    _s3oil("s3oil-6", "S3OIL, table 6: parameters and hours of training (the cost block of the board)", "sen12ms"),
    *(
        _s3oil(
            f"s3oil-fig9-{n_paired}-{n_unpaired}",
            f"S3OIL, figure 9: {n_paired} pairs and {n_unpaired:,} unpaired",
            "sen12ms",
            n_paired,
            n_unpaired,
            main_metric="psnr",
        )
        for n_paired, n_unpaired in ((300, 2_700), (600, 2_700), (600, 5_400))
    ),
)


# --- C-DiffSET --------------------------------------------------------------------------------------------------------


def _cdiffset(name: str, about: str, dataset: str, options: Options, crop_px: int, batch: int, **test: Any) -> Protocol:
    """50,000 iterations of 64 images of 256 px, or 16 of 512 px; test images are centre crops of the training size."""
    sizes: dict[Preset, Size] = {
        "tiny": Size(12_000, 64, 128, 600, None, 48),
        "bench": Size(400_000, 256, crop_px),
        "paper": Size(50_000 * batch, crop_px, crop_px),
    }
    return Protocol(
        name,
        about,
        "sar to optical",
        dataset,
        {preset: replace(size, **test) if test else size for preset, size in sizes.items()},
        options=options,
        metrics=("psnr", "ssim", "lpips", "lpips_vgg", "scc", "fid", *AUDITS),  # its LPIPS is of VGG; lpips is everybody else's
        main_metric="ssim",
        augment=DIHEDRAL,
        metric_compat="cdiffset",
    )


SPACENET6 = (("channels", "hh-mean-vv"), ("scaling", "percentile"), ("split", "random"))
CDIFFSET = (
    _cdiffset("cdiffset-1-sar2opt", "C-DiffSET, table 1, SAR2Opt", "sar2opt", REPEAT, 512, 16),
    _cdiffset(
        "cdiffset-1-spacenet6", "C-DiffSET, table 1, SpaceNet6: its random split cuts scenes", "spacenet6", SPACENET6, 512, 16
    ),
    _cdiffset("cdiffset-2", "C-DiffSET, table 2, QXS-SAROPT", "qxs_saropt", (*REPEAT, ("split", "random")), 256, 64),
    _cdiffset("cdiffset-3", "C-DiffSET, table 3: pretraining and the confidence loss, SAR2Opt", "sar2opt", REPEAT, 512, 16),
    _cdiffset(
        "cdiffset-4",
        "C-DiffSET, table 4: the first 50 test images of SpaceNet6, and the VAE's upper bound",
        "spacenet6",
        SPACENET6,
        512,
        16,
        n_test=50,
        first_test=True,
    ),
    _cdiffset(
        "cdiffset-fig9", "C-DiffSET, figure 9: sampling steps against quality, SpaceNet6", "spacenet6", SPACENET6, 512, 16
    ),
)


# --- SRUIT ------------------------------------------------------------------------------------------------------------


def _sruit(name: str, about: str, *season: tuple[str, str]) -> Protocol:
    """756 half-overlapping tiles of one pair of scenes, used in training and in testing; 200 epochs.

    The folder of a pair has no official name: lay the scenes into those named here, or say --data-option season=NAME.
    """
    return Protocol(
        name,
        about,
        "season",
        "cdd",
        {
            "tiny": Size(8_000, 64, 128, 96, None, 48),
            "bench": Size(100_000, 256, 256),
            "paper": Size(200 * 756, 256, 256),
        },
        options=(("layout", "scenes"), *season, ("split", "paper")),
        metrics=(*UNREFERENCED, *AUDITS),
        main_metric="total_variation",
        judges=("change_detection",),
        augment=DIHEDRAL,
    )


SRUIT = (
    _sruit("sruit-1", "SRUIT, table 1: change detection after summer to autumn (CDD)", ("season", "summer_autumn")),
    _sruit("sruit-2", "SRUIT, table 2: change detection after summer to winter (CDD)", ("season", "summer_winter")),
    _sruit("sruit-3", "SRUIT, table 3: image quality without reference (CDD)"),
)


# --- SemST ------------------------------------------------------------------------------------------------------------


def _semst(name: str, about: str, task: str, dataset: str, n_train: int, **changes: Any) -> Protocol:
    """200 + 200 epochs of crops; the official test or validation part."""
    sizes: dict[Preset, Size] = {
        "tiny": Size(8_000, 64, 128, min(600, n_train), None, 48),
        "bench": Size(400_000, 256, 512, None, None, 500),
        "paper": Size(400 * n_train, 256, None, None, None, 500),
    }
    made = Protocol(
        name, about, task, dataset, sizes, metrics=UNPAIRED, main_metric="total_variation", augment=FLIP,
        judges=STREETS,
    )  # fmt: skip
    return replace(made, **changes)


def _to_cityscapes(name: str) -> dict[str, Any]:
    directions = (("cityscapes.direction", "labels2image"), (f"{name}.direction", "image2labels"))
    return {"target": "cityscapes", "paired": False, "options": directions}


GTA5, SYNTHIA = _to_cityscapes("gta5"), _to_cityscapes("synthia")
SEMST = (
    _semst("semst-1-gta5", "SemST, table 1: GTA5 to Cityscapes", "rendered to real", "gta5", 6_202, **GTA5),
    _semst(
        "semst-1-cityscapes",
        "SemST, table 1: Cityscapes, label map to photo",
        "labels to photo",
        "cityscapes",
        2_975,
        metrics=(*UNPAIRED, *AUDITS),
    ),
    _semst(
        "semst-1-maps",
        "SemST, table 1: aerial photo to map",
        "photo to map",
        "maps",
        1_096,
        metrics=("rmse", "accuracy_delta5", "accuracy_delta10", *AUDITS),
        main_metric="rmse",
        judges=(),
    ),
    _semst(
        "semst-2-gta5",
        "SemST, table 2: adaptation with translated GTA5",
        "rendered to real",
        "gta5",
        6_202,
        **GTA5,
        judges=ADAPTATION,
    ),
    _semst(
        "semst-2-synthia",
        "SemST, table 2: adaptation with translated SYNTHIA",
        "rendered to real",
        "synthia",
        9_400,
        **SYNTHIA,
        judges=ADAPTATION,
    ),
    _semst("semst-3", "SemST, table 3: its parts switched off, GTA5 to Cityscapes", "rendered to real", "gta5", 6_202, **GTA5),
)


# --- S2M2-SAR ---------------------------------------------------------------------------------------------------------


def _s2m2sar(name: str, about: str, dataset: str, n_paired: int, n_train: int, n_test: int) -> Protocol:
    """One labelled pair for 15 unlabelled ones; 160,000 steps; SAR of 192 px searched in optical images of 256 px."""
    return Protocol(
        name,
        about,
        dataset=dataset,
        sizes={
            "tiny": Size(1_600, 128, 256, 320, 20, 48),
            "bench": Size(400_000, 256, 256, n_train // 8, n_paired // 8, min(n_test, 1_000)),
            "paper": Size(160_000 * 16, 256, 256, n_train, n_paired, n_test),
        },
        options=REPEAT,
        **MATCHING,
    )


S2M2SAR = (
    _s2m2sar("s2m2sar-sen12", "S2M2-SAR on SEN1-2: 16,000 labelled of 256,000", "sen12", 16_000, 256_000, 2_382),
    _s2m2sar("s2m2sar-qxs", "S2M2-SAR on QXS-SAROPT: 1,000 labelled of 16,000", "qxs_saropt", 1_000, 16_000, 3_999),
)

PROTOCOLS = {p.name: p for p in (*EMBEDDED, *OWN, *S3OIL, *CDIFFSET, *SRUIT, *SEMST, *S2M2SAR)}
