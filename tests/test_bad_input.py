"""Bad input through the real commands: one clear error that names the file or option and the remedy, early; nothing is lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sarbench.bench import cli, registry, scaffold
from sarbench.bench.images import find_images, write_image
from sarbench.bench.records import Store
from sarbench.bench.train import _checkpoints, read_weights

SLUG = "pairs.pairs.tiny.16"
HONEST = scaffold.METHOD.format(title="Small", cls="Small").replace("width=16", "width=4")  # 4 steps of 4 images
RUN = ["run", "--protocol", "pairs", "--data", "pairs", "--runs", "runs", "--leaderboards", "boards", "--budget", "16"]
NEW = [*RUN, "--plugin", "new.py", "--method", "new"]
OLD = [*RUN, "--plugin", "small.py", "--method", "small"]
OLD_RUN = f"runs/{SLUG}/small/0"


# --- The place: a folder with data, a finished run, its record and its board -----------------------------------------


def write_pairs(root: Path) -> None:
    """Four training and two test pairs of 64 px, grey and colour."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 4), ("test", 2)):
        for i in range(n):
            grey = cv2.resize(rng.integers(0, 255, (8, 8), dtype=np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
            for domain, image in (("sar", grey), ("opt", np.stack([grey, 255 - grey, grey // 2], axis=2))):
                (root / split / domain).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / split / domain / f"{'ab'[i % 2]}_{split}{i}.png"), image)


@contextlib.contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """Commands run in a folder, with no plugin and no asset from outside."""
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(registry, "_added", {})
        patch.delenv("SARBENCH_ASSETS", raising=False)
        patch.setenv("TORCH_HOME", str(folder / "no_assets"))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `small.py` was run to the end."""
    root = tmp_path_factory.mktemp("finished")
    write_pairs(root / "pairs")
    (root / "small.py").write_text(HONEST)
    with at_home(root):
        assert cli.main(OLD) == 0
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the finished folder, which is the working directory."""
    root = shutil.copytree(finished, tmp_path / "root")
    with at_home(root):
        yield root


def results(root: Path) -> dict[str, Any]:
    """Every file of runs and boards by its path, with its content; a record without the time at which it was written."""
    found: dict[str, Any] = {}
    for file in (file for top in ("runs", "boards") for file in (root / top).rglob("*") if file.is_file()):
        name = file.relative_to(root).as_posix()
        found[name] = file.read_bytes()
        if re.fullmatch(r"boards/results/.*\.json", name):
            with contextlib.suppress(ValueError):
                found[name] = {key: value for key, value in json.loads(found[name]).items() if key != "created"}
    return {name: content for name, content in found.items() if not name.startswith("runs/cache/")}


def refuse_half_written(root: Path, before: dict[str, Any], failed: str) -> None:
    """Fail unless all old results are as they were, and nothing looks like a result of the method that failed."""
    after = results(root)
    lost = [name for name, content in before.items() if after.get(name) != content]
    assert not lost, f"changed or lost: {lost}"
    assert not [name for name in after if ".part" in name]
    new = set(after) - set(before)
    assert not [name for name in new if name.startswith("boards/")], new
    assert not [name for name in new if Path(name).suffix in (".png", ".tif")], new
    assert not [name for name in new if name.endswith(("weights.safetensors", "train.json")) and f"/{failed}/" in name], new


# --- Bad input -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """One bad input: `arrange(root)` makes it and returns the command line; `says` are expressions that the error holds."""

    arrange: Callable[[Path], list[str]]
    says: tuple[str, ...]
    code: int
    early: bool  # before anything is written


CASES: dict[str, Bad] = {}


def bad(*says: str, code: int = 1, early: bool = True) -> Callable[[Callable[[Path], list[str]]], None]:
    """Add a case; its name is the function's."""

    def add(arrange: Callable[[Path], list[str]]) -> None:
        CASES[arrange.__name__] = Bad(arrange, says, code, early)

    return add


def edit(file: str, old: str, new: str) -> None:
    """Replace a text that stands once in a file."""
    text = Path(file).read_text()
    assert text.count(old) == 1
    Path(file).write_text(text.replace(old, new))


def new_method(old: str = "", new: str = "") -> list[str]:
    """The command that runs `new.py`, the honest method with one text replaced."""
    assert not old or HONEST.count(old) == 1
    Path("new.py").write_text(HONEST.replace(old, new) if old else HONEST)
    return NEW


def tiff(path: str, pixels: np.ndarray) -> None:
    """Write a TIFF in place of the PNG of the same name."""
    Path(path).with_suffix(".png").unlink(missing_ok=True)
    cv2.imwrite(path, pixels)


TRAIN, TEST = "pairs/train/sar/a_train0", "pairs/test/opt/a_test0"


@bad(r"1 unusable images in .*pairs", r"train/sar/a_train0\.png can't be read as an image", "replace the file or remove it")
def a_truncated_source(root: Path) -> list[str]:
    file = Path(f"{TRAIN}.png")
    file.write_bytes(file.read_bytes()[:-40])
    return OLD


@bad(r"test/opt/a_test0\.png can't be read", "replace the file or remove it together with its partner")
def a_truncated_target(root: Path) -> list[str]:
    file = Path(f"{TEST}.png")
    file.write_bytes(file.read_bytes()[:-1])
    return OLD


@bad("2 unusable images", r"a_train0\.png is an empty file", r"a_test0\.png can't be read", "replace the file")
def two_bad_files_in_one_error(root: Path) -> list[str]:
    Path(f"{TRAIN}.png").write_bytes(b"")
    Path(f"{TEST}.png").write_text("These are words.")
    return OLD


@bad(r"a_train0\.tif: 4096 of 4096 values are NaN or infinite", "replace the file or remove it")
def a_float_tiff_full_of_nan(root: Path) -> list[str]:
    for file in sorted(Path("pairs").glob("*/sar/*.png")):
        tiff(str(file.with_suffix(".tif")), np.zeros((64, 64), np.float32))
    tiff(f"{TRAIN}.tif", np.full((64, 64), np.nan, np.float32))
    return [*OLD, "--data-option", "source_range=-25,0"]


@bad(r"a_train0\.tif: 1 of 4096 values are NaN or infinite", "replace the file or remove it")
def an_infinite_value(root: Path) -> list[str]:
    pixels = np.zeros((64, 64), np.float32)
    pixels[3, 5] = -np.inf  # the logarithm of an intensity of 0
    for file in sorted(Path("pairs").glob("*/sar/*.png")):
        tiff(str(file.with_suffix(".tif")), np.zeros((64, 64), np.float32))
    tiff(f"{TRAIN}.tif", pixels)
    return [*OLD, "--data-option", "source_range=-25,0"]


@bad(r"a_train0\.tif holds float32 values", r"say --data-option source_range=LO,HI \(values in this file: -20 to -20\)")
def a_float_tiff_without_its_range(root: Path) -> list[str]:
    tiff(f"{TRAIN}.tif", np.full((64, 64), -20, np.float32))
    return OLD


@bad(r"a_train0\.png holds uint16 values", "say --data-option source_range=LO,HI")
def a_16_bit_image_without_its_range(root: Path) -> list[str]:
    cv2.imwrite(f"{TRAIN}.png", np.full((64, 64), 1000, np.uint16))
    return OLD


@bad("b_train1.png holds uint16 values, but .*a_train0.png holds uint8; use one type")
def one_16_bit_image_among_8_bit_ones(root: Path) -> list[str]:
    cv2.imwrite("pairs/train/sar/b_train1.png", np.full((64, 64), 1000, np.uint16))
    return OLD


@bad("source_range=-25: give two numbers, the lower one first, such as source_range=-25,0")
def a_range_of_one_number(root: Path) -> list[str]:
    return [*OLD, "--data-option", "source_range=-25"]


@bad("source_range=0,-25: give two numbers, the lower one first")
def a_range_the_wrong_way_round(root: Path) -> list[str]:
    return [*OLD, "--data-option", "source_range=0,-25"]


@bad("source_range=nan,0: give two numbers")
def a_range_from_nan(root: Path) -> list[str]:
    return [*OLD, "--data-option", "source_range=nan,0"]


@bad("source_range: write KEY=VALUE")
def a_data_option_without_a_value(root: Path) -> list[str]:
    return [*OLD, "--data-option", "source_range"]


@bad(r"a_test0\.png has an alpha channel; save it without one")
def an_alpha_channel(root: Path) -> list[str]:
    cv2.imwrite(f"{TEST}.png", np.zeros((64, 64, 4), np.uint8))
    return OLD


@bad(r"a_test0\.png has 1 channels, but .*a_train0\.png has 3; choose common ones by --data-option target_bands=1")
def a_grey_image_among_colour_ones(root: Path) -> list[str]:
    cv2.imwrite(f"{TEST}.png", np.zeros((64, 64), np.uint8))
    return OLD


@bad(r"sar/a_test0\.png has 64x64 px, but .*opt/a_test0\.png has 64x63 px; .*crop or resample it to one grid")
def unequal_sizes_in_a_pair(root: Path) -> list[str]:
    cv2.imwrite(f"{TEST}.png", np.zeros((64, 63, 3), np.uint8))
    return OLD


@bad("1 images have no partner", r"sar/a_test0\.png has no partner in .*opt", "rename or remove them")
def a_name_on_one_side_only(root: Path) -> list[str]:
    Path(f"{TEST}.png").unlink()
    return OLD


@bad(r"a_test0\.png and .*a_test0\.tif have one name; keep one of them")
def one_name_twice(root: Path) -> list[str]:
    cv2.imwrite(f"{TEST}.tif", np.zeros((64, 64, 3), np.uint8))
    return OLD


@bad("empty: no pairs found", "Expected one of: train/ and test/", "Found: nothing")
def an_empty_folder(root: Path) -> list[str]:
    Path("empty").mkdir()
    return [*OLD, "--data", "empty"]


@bad("--data nowhere: no such folder")
def a_missing_folder(root: Path) -> list[str]:
    return [*OLD, "--data", "nowhere"]


@bad("pairs: no test pairs; each split needs at least one")
def a_split_without_images(root: Path) -> list[str]:
    for file in Path("pairs/test").rglob("*.png"):
        file.unlink()
    return OLD


@bad("has no train/ and test/, so its split is not known", "pairs.csv", "--data-option test_share=0.2")
def no_train_and_test(root: Path) -> list[str]:
    return [*OLD, "--data", "pairs/train"]


@bad("pairs has a folder train alone; expected train and test")
def no_test_folder(root: Path) -> list[str]:
    shutil.rmtree("pairs/test")
    return OLD


@bad("pairs: 1 scenes are in train and in test, so scores would measure memory", r"\n +a\n", "move each to one side")
def scenes_on_both_sides_of_the_split(root: Path) -> list[str]:
    Path("pairs/test/sar/b_test1.png").unlink()
    Path("pairs/test/opt/b_test1.png").unlink()
    return [*OLD, "--data-option", "scene=^([ab])_"]


@bad(r"scene=\(\[: not a regular expression")
def a_scene_that_is_no_regular_expression(root: Path) -> list[str]:
    return [*OLD, "--data-option", "scene=(["]


@bad(r"scene=\^s: needs one group in parentheses, has 0")
def a_scene_without_a_group(root: Path) -> list[str]:
    return [*OLD, "--data-option", "scene=^s"]


@bad(r"pairs\.csv has 1 bad lines", "line 2: train/sar/nowhere.png does not exist")
def a_manifest_that_names_a_missing_file(root: Path) -> list[str]:
    Path("pairs/pairs.csv").write_text("source,target,split\ntrain/sar/nowhere.png,train/opt/a_train0.png,train\n")
    return OLD


@bad("the training crop is 64x64 px, but 1 training images are smaller; remove them", "a_train0 has 64x63")
def a_crop_larger_than_an_image(root: Path) -> list[str]:
    for side in ("sar", "opt"):
        file = f"pairs/train/{side}/a_train0.png"
        cv2.imwrite(file, cv2.imread(file, cv2.IMREAD_UNCHANGED)[:, :63])
    return OLD


@bad("ssim needs images of at least 11x11 px, got 8x8", early=False)
def images_that_a_metric_can_not_take(root: Path) -> list[str]:
    for file in Path("pairs/test").rglob("*.png"):
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[:8, :8])
    return [*OLD, "--runs", "runs2"]


@bad("--data n{200}: the folder's name is too long for a board's name; rename the folder")
def a_data_folder_of_a_long_name(root: Path) -> list[str]:
    return [*OLD, "--data", str(Path("pairs").rename("n" * 200))]


@bad("--data-option scene=.*: longer than 300 characters; shorten it")
def a_data_option_of_many_words(root: Path) -> list[str]:
    return [*OLD, "--data-option", "scene=" + "x" * 400]


@bad("unknown method 'pix2pox'; did you mean 'pix2pix'", "choose from: .*pix2pix")
def an_unknown_method(root: Path) -> list[str]:
    return [*RUN, "--method", "pix2pox"]


@bad("say which method to run", "methods: .*pix2pix", "--protocol pairs")
def no_method(root: Path) -> list[str]:
    return RUN


@bad("unknown protocol 'sen13'; choose from: synthetic, synthetic-season")
def an_unknown_protocol(root: Path) -> list[str]:
    return [*OLD, "--protocol", "sen13"]


@bad(r"--preset: invalid choice: 'huge' \(choose from", "tiny", code=2)
def an_unknown_preset(root: Path) -> list[str]:
    return [*OLD, "--preset", "huge"]


@bad("unrecognized arguments: --epochs 200", "usage: sarbench run", code=2)
def an_unknown_option(root: Path) -> list[str]:
    return [*OLD, "--epochs", "200"]


@bad("the dataset 'pairs' has no option 'sourcerange'", "source_range: LO,HI")
def an_unknown_dataset_option(root: Path) -> list[str]:
    return [*OLD, "--data-option", "sourcerange=0,1"]


@bad("the dataset 'synthetic' has no option 'size'; it knows: size_px")
def an_unknown_option_of_the_synthetic_data(root: Path) -> list[str]:
    return ["run", "--method", "mean_color", "--data-option", "size=64"]


@bad("size_px=big: give an integer from 16 to 4096")
def a_size_that_is_no_number(root: Path) -> list[str]:
    return ["run", "--method", "mean_color", "--data-option", "size_px=big"]


@bad("'synthetic' makes its own data; drop --data, or say --protocol pairs")
def data_for_the_synthetic_protocol(root: Path) -> list[str]:
    return ["run", "--method", "mean_color", "--data", "pairs"]


@bad("the protocol 'pairs' needs --data FOLDER")
def pairs_without_data(root: Path) -> list[str]:
    return ["run", "--method", "mean_color", "--protocol", "pairs"]


@bad("--budget 0: give the number of training images, at least 1")
def a_budget_of_nothing(root: Path) -> list[str]:
    return [*OLD, "--budget", "0"]


@bad("--budget -5: give the number of training images, at least 1")
def a_negative_budget(root: Path) -> list[str]:
    return [*OLD, "--budget", "-5"]


@bad("--budget: invalid int value: '2k'", code=2)
def a_budget_that_is_no_number(root: Path) -> list[str]:
    return [*OLD, "--budget", "2k"]


@bad("--seed -1: give a number from 0")
def a_negative_seed(root: Path) -> list[str]:
    return [*OLD, "--seed", "-1"]


@bad("--workers -1: give 0 or more")
def a_negative_number_of_workers(root: Path) -> list[str]:
    return [*OLD, "--workers", "-1"]


@bad("--accumulate 0: give 1 or more")
def no_part_of_a_batch(root: Path) -> list[str]:
    return [*OLD, "--accumulate", "0"]


@bad(r"the batch of small is 4, which 3 parts \(ranks times --accumulate\) can't share", "choose another number")
def parts_that_do_not_divide_the_batch(root: Path) -> list[str]:
    return [*OLD, "--accumulate", "3"]


@bad("--device tpu: choose from cpu, cuda, cuda:N")
def an_unknown_device(root: Path) -> list[str]:
    return [*OLD, "--device", "tpu"]


@bad(r"--device cuda:99: this machine has (no CUDA device.*say --device cpu|\d+ CUDA devices)")
def a_gpu_that_is_not_there(root: Path) -> list[str]:
    return [*OLD, "--device", "cuda:99"]


@bad("can't write runs_file/.*: runs_file is a file, not a folder; choose another folder")
def runs_in_a_file(root: Path) -> list[str]:
    Path("runs_file").write_text("mine")
    return [*OLD, "--runs", "runs_file"]


@bad("can't write boards_file/.*: boards_file is a file, not a folder; choose another folder")
def boards_in_a_file(root: Path) -> list[str]:
    Path("boards_file").write_text("mine")
    return [*OLD, "--leaderboards", "boards_file"]


@bad("can't write .*(locked|/sys/sarbench).*: .*choose a folder that you may write to")
def a_folder_that_can_not_be_written(root: Path) -> list[str]:
    Path("locked").mkdir(mode=0o500)
    return [*OLD, "--leaderboards", "/sys/sarbench" if os.geteuid() == 0 else "locked"]  # root may write into any mode


# --- Methods of third parties ----------------------------------------------------------------------------------------


@bad("--plugin nowhere.py: no such Python file; give the path of a .py file")
def a_plugin_that_is_missing(root: Path) -> list[str]:
    return [*RUN, "--plugin", "nowhere.py", "--method", "nowhere"]


@bad("--plugin .*my-method.py: a method's name is made of lower case letters, digits and underscores", "rename the file")
def a_plugin_whose_name_can_not_be_recorded(root: Path) -> list[str]:
    shutil.copy("small.py", "my-method.py")
    return [*RUN, "--plugin", "my-method.py", "--method", "my-method"]


@bad(r"new\.py, line 16: SyntaxError: .*; correct the file, or leave it out")
def a_plugin_with_a_syntax_error(root: Path) -> list[str]:
    return new_method("@dataclass(frozen=True)", "@dataclass(frozen=True")


@bad(r"new\.py can't be imported; correct it", r"new\.py, line 13: ModuleNotFoundError: No module named 'no_such_package'")
def a_plugin_with_an_import_error(root: Path) -> list[str]:
    return new_method("from torch import Tensor, nn", "import no_such_package\nfrom torch import Tensor, nn")


@bad(r"new\.py can't be imported", r"new\.py, line \d+: ZeroDivisionError: .*\n +line \d+, in <module>: RATE = 1 / 0")
def a_plugin_that_fails_while_it_is_imported(root: Path) -> list[str]:
    return new_method("class Small(", "RATE = 1 / 0\n\n\nclass Small(")


@bad(r"new\.py: expected one subclass of Method or Matcher in a file, found Small, Other")
def a_plugin_of_two_methods(root: Path) -> list[str]:
    words = new_method()
    Path("new.py").write_text(HONEST + "\n\nclass Other(Small):\n    pass\n")
    return words


@bad(r"new\.py: expected one subclass of Method or Matcher in a file, found none")
def a_plugin_of_no_method(root: Path) -> list[str]:
    words = new_method()
    Path("new.py").write_text("x = 1\n")
    return words


@bad(r"--plugin pix2pix\.py: the method name 'pix2pix' is taken; rename the file")
def a_plugin_whose_name_is_taken(root: Path) -> list[str]:
    shutil.copy("small.py", "pix2pix.py")
    return [*RUN, "--plugin", "pix2pix.py", "--method", "pix2pix"]


@bad("a method can't be named 'oracle_blur': the benchmark has images of that name; rename its file")
def a_plugin_named_as_a_honeypot(root: Path) -> list[str]:
    shutil.copy("small.py", "oracle_blur.py")
    return [*RUN, "--plugin", "oracle_blur.py", "--method", "oracle_blur"]


@bad("a method can't be named 'second_look': the benchmark has images of that name; rename its file")
def a_plugin_named_as_the_ceiling(root: Path) -> list[str]:
    shutil.copy("small.py", "second_look.py")
    return [*RUN, "--plugin", "second_look.py", "--method", "second_look"]


@bad(r"new\.py: Small has no card; write `card = Card\(\.\.\.\)`")
def a_plugin_without_a_card(root: Path) -> list[str]:
    return new_method("    card = Card(", "    cards = Card(")


@bad("the card of 'Small' can't be recorded: year: Input should be greater than or equal to 1900; correct it")
def a_card_that_can_not_be_recorded(root: Path) -> list[str]:
    return new_method("year=2026", "year=26")


@bad("a hyperparameter can't be recorded", "not JSON serializable", "use numbers")
def a_hyperparameter_that_can_not_be_recorded(root: Path) -> list[str]:
    return new_method("lambda_l1: float = setting(1.0,", "lambda_l1: complex = setting(1j,")


@bad("new has no preset 'tiny' among its presets")
def a_plugin_without_the_preset(root: Path) -> list[str]:
    return new_method('"tiny": Config(width=4)', '"small": Config(width=4)')


@bad(r"new\.py: Small lacks translate; define it")
def a_plugin_without_translate(root: Path) -> list[str]:
    return new_method("def translate(", "def translated(")


@bad(r"new\.py, line \d+: ValueError: no such width\n +line \d+, in __init__: raise ValueError", early=False)
def a_plugin_that_fails_while_it_is_built(root: Path) -> list[str]:
    return new_method("        self.G = nn.S", "        raise ValueError('no such width')\n        self.G = nn.S")


@bad(r"new\.py, line \d+: RuntimeError: .*size of tensor.*\n +line \d+, in training_step", early=False)
def a_plugin_that_fails_while_it_trains(root: Path) -> list[str]:
    return new_method("(self.G(x) - y)", "(self.G(x)[:, :, 1:] - y)")


@bad(
    r"new: Small: the losses of the player 'G' \(l1\) have no gradient: element 0 of tensors does not require grad", early=False
)
def a_loss_without_a_gradient(root: Path) -> list[str]:
    return new_method("(self.G(x) - y).abs().mean()", "(self.G(x) - y).abs().mean().detach()")


@bad(r"new: Small: the loss G\.l1 has the shape \(4, 3, 64, 64\); give a tensor of one number, such as a mean", early=False)
def a_loss_that_is_no_number(root: Path) -> list[str]:
    return new_method("(self.G(x) - y).abs().mean()", "(self.G(x) - y).abs()")


@bad("new: Small: training_step gives no turns; let it yield a player and its losses", early=False)
def a_training_step_that_yields_nothing(root: Path) -> list[str]:
    return new_method('yield "G", {', 'return "G", {')


@bad("new: Small: training_step gives no turns", early=False)
def a_training_step_without_a_turn(root: Path) -> list[str]:
    return new_method('        yield "G", {', '        if progress < 0:\n            yield "G", {')


@bad("new: Small: training_step yielded the player 'F'; players.. has G", early=False)
def a_turn_of_nobody(root: Path) -> list[str]:
    return new_method('yield "G", {', 'yield "F", {')


@bad(
    "new: Small: G.l1 = nan at step 2; training stopped, the newest checkpoint is from before it. Lower the learn", early=False
)
def a_loss_that_becomes_nan(root: Path) -> list[str]:
    return new_method("(self.G(x) - y).abs().mean()", "(self.G(x) - y).abs().mean() + (0 if progress < 0.5 else float('nan'))")


@bad("new: Small: translate gave NaN or infinite values; look for", early=False)
def a_translation_of_nan(root: Path) -> list[str]:
    return new_method("return self.G(source)", "return self.G(source) * float('nan')")


@bad(r"new: Small gave images of shape \(1, 3, 63, 64\) for .*, expected \(1, 3, 64, 64\)", early=False)
def a_translation_of_another_size(root: Path) -> list[str]:
    return new_method("return self.G(source)", "return self.G(source)[:, :, 1:]")


@bad("new: Small: translate gave tuple, expected a tensor of shape", early=False)
def a_translation_that_is_no_tensor(root: Path) -> list[str]:
    return new_method("return self.G(source)", "return self.G(source), 1")


@bad(r"new\.py, line \d+: IndexError: .*\n +line \d+, in translate", early=False)
def a_plugin_that_fails_while_it_translates(root: Path) -> list[str]:
    return new_method("return self.G(source)", "return [self.G(source)][1]")


@bad(r"new\.py, line 16: SyntaxError")
def a_plugin_with_a_syntax_error_in_a_list(root: Path) -> list[str]:
    new_method("@dataclass(frozen=True)", "@dataclass(frozen=True")
    return ["list", "methods", "--plugin", "new.py"]


@bad(r"new\.py can't be imported", "No module named 'no_such_package'")
def a_plugin_with_an_import_error_in_a_check(root: Path) -> list[str]:
    new_method("from torch import Tensor, nn", "import no_such_package\nfrom torch import Tensor, nn")
    return ["check-method", "--plugin", "new.py"]


# --- Files of earlier runs -------------------------------------------------------------------------------------------


def cut_off(path: str, share: float = 0.5) -> None:
    """Keep the first part of a file."""
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: round(len(data) * share)])


@bad(r"step_000000004\.safetensors can't be read .*; delete it and run again", early=False)
def a_truncated_checkpoint(root: Path) -> list[str]:
    cut_off(f"{OLD_RUN}/checkpoints/step_000000004.safetensors")
    Path(f"{OLD_RUN}/weights.safetensors").unlink()
    return OLD


@bad(r"weights\.safetensors can't be read .*; delete it and run again", early=False)
def truncated_weights_in_a_run(root: Path) -> list[str]:
    cut_off(f"{OLD_RUN}/weights.safetensors")
    return OLD


@bad(r"train\.json is not readable JSON .*; delete it and run again", early=False)
def a_truncated_report_of_training(root: Path) -> list[str]:
    cut_off(f"{OLD_RUN}/train.json")
    return OLD


@bad(r"train\.json lacks run_key, steps, .*; delete it and run again", early=False)
def a_report_of_training_that_says_nothing(root: Path) -> list[str]:
    Path(f"{OLD_RUN}/train.json").write_text("{}")
    return OLD


@bad(r"scores\.json lacks stage.*; delete it and run again", early=False)
def kept_scores_that_are_a_list(root: Path) -> list[str]:
    Path(f"{OLD_RUN}/scores.json").write_text("[1, 2]")
    return OLD


@bad(r"a_test0\.png can't be read as an image .*; replace the file or remove it", early=False)
def a_translation_that_was_cut_off_later(root: Path) -> list[str]:
    cut_off(f"{OLD_RUN}/translated/test/a_test0.png")
    return OLD


@bad(r"small/0\.json", "records of .* can't be used; make each of these runs again, or delete its .json, .csv and .jpg")
def a_corrupted_record_before_a_run(root: Path) -> list[str]:
    cut_off(f"boards/results/{SLUG}/small/0.json")
    return OLD


@bad(r"README\.md was not generated by sarbench; move it away or delete it")
def a_page_of_somebody_else_before_a_run(root: Path) -> list[str]:
    Path("boards/README.md").write_text("# My notes")
    return OLD


TRANSLATE = ["translate", OLD_RUN, "pairs/test/sar", "out", "--plugin", "small.py"]


@bad("pairs holds no run.json; name the folder of a run")
def translate_without_a_run(root: Path) -> list[str]:
    return ["translate", "pairs", "pairs/test/sar", "out"]


@bad(r"run\.json is not readable JSON .*; delete it and run again")
def translate_with_a_broken_run(root: Path) -> list[str]:
    cut_off(f"{OLD_RUN}/run.json")
    return TRANSLATE


@bad(r"run\.json lacks method, preset")
def translate_with_a_run_that_says_nothing(root: Path) -> list[str]:
    Path(f"{OLD_RUN}/run.json").write_text("[]")
    return TRANSLATE


@bad(r"weights\.safetensors can't be read")
def translate_with_truncated_weights(root: Path) -> list[str]:
    cut_off(f"{OLD_RUN}/weights.safetensors", 0.9)
    return TRANSLATE


@bad("holds no weights.safetensors of a finished training; run its training to the end")
def translate_with_weights_of_another_training(root: Path) -> list[str]:
    described = json.loads(Path(f"{OLD_RUN}/run.json").read_text())
    Path(f"{OLD_RUN}/run.json").write_text(json.dumps({**described, "run_key": "another"}))
    return TRANSLATE


@bad(f"the weights in {OLD_RUN} are not of today's small; train it again")
def translate_with_a_method_that_has_changed(root: Path) -> list[str]:
    edit("small.py", "width=4", "width=5")
    return TRANSLATE


@bad("1 of 2 images can't be translated", r"sar/a_test0\.png can't be read", "replace the file")
def translate_a_truncated_image(root: Path) -> list[str]:
    cut_off("pairs/test/sar/a_test0.png")
    return TRANSLATE


@bad("1 of 1 images can't be translated", r"out_of_order/a\.tif has 2 channels; this run takes 3")
def translate_images_of_other_channels(root: Path) -> list[str]:
    Path("out_of_order").mkdir()
    write_image(Path("out_of_order/a.tif"), np.zeros((64, 64, 2), np.uint8))
    return ["translate", OLD_RUN, "out_of_order", "out", "--plugin", "small.py"]


@bad("pairs/test/../test/sar holds the images to translate, which would be overwritten; name another folder")
def translate_over_the_sources(root: Path) -> list[str]:
    return ["translate", OLD_RUN, "pairs/test/sar", "pairs/test/../test/sar", "--plugin", "small.py"]


@bad("can't write small.py/.*: small.py is a file, not a folder; choose another folder")
def translate_into_a_file(root: Path) -> list[str]:
    return ["translate", OLD_RUN, "pairs/test/sar", "small.py", "--plugin", "small.py"]


@bad("--source-range 5: write two numbers, such as -25,0")
def translate_with_half_a_range(root: Path) -> list[str]:
    return [*TRANSLATE, "--source-range", "5"]


@bad("unknown method 'small'; .*choose from")
def translate_without_the_plugin(root: Path) -> list[str]:
    return TRANSLATE[:4]


SCORE = ["score", f"{OLD_RUN}/translated", f"runs/{SLUG}/reference/target"]


@bad(r"translated/test/a_test0\.png can't be read as an image", "replace the file")
def score_a_truncated_image(root: Path) -> list[str]:
    cut_off(f"{OLD_RUN}/translated/test/a_test0.png")
    return SCORE


@bad(r"target/test/a_test0\.png is an empty file; replace the file")
def score_against_an_empty_file(root: Path) -> list[str]:
    Path(f"{SCORE[2]}/test/a_test0.png").write_bytes(b"")
    return SCORE


@bad("1 missing in .*translated: test/a_test0", "every image needs its partner")
def score_without_a_partner(root: Path) -> list[str]:
    Path(f"{OLD_RUN}/translated/test/a_test0.png").unlink()
    return SCORE


@bad("nothing to score: no image .* in .*empty")
def score_an_empty_folder(root: Path) -> list[str]:
    Path("empty").mkdir()
    return ["score", "empty", "empty"]


@bad("nowhere is not a folder")
def score_a_missing_folder(root: Path) -> list[str]:
    return ["score", "nowhere", SCORE[2]]


@bad("1 images can't be scored", r"a_test0\.png is 64x63x3 uint8 but .* is 64x64x3", "bring all to the same bands")
def score_an_image_of_another_size(root: Path) -> list[str]:
    cv2.imwrite(f"{OLD_RUN}/translated/test/a_test0.png", np.zeros((64, 63, 3), np.uint8))
    return SCORE


@bad(r"a_test0\.tif holds float32, whose range is unknown; save it as 8 or 16 bits")
def score_a_float_image(root: Path) -> list[str]:
    tiff(f"{OLD_RUN}/translated/test/a_test0.tif", np.zeros((64, 64), np.float32))
    return SCORE


@bad("unknown metric 'psrn'; did you mean 'psnr'")
def score_by_an_unknown_metric(root: Path) -> list[str]:
    return [*SCORE, "--metric", "psrn"]


@bad("nothing was measured", r"alexnet-owt-7be5be79\.pth is another file or damaged .*: remove it", "sarbench fetch alexnet")
def weights_that_are_a_web_page(root: Path) -> list[str]:
    folder = root / "no_assets/hub/checkpoints"
    folder.mkdir(parents=True)
    (folder / "alexnet-owt-7be5be79.pth").write_text("<!DOCTYPE html><title>Please sign in</title>")
    return [*SCORE, "--metric", "lpips"]


@bad(r"small/0\.json", "make each of these runs again, or delete its .json, .csv and .jpg")
def a_board_of_a_corrupted_record(root: Path) -> list[str]:
    cut_off(f"boards/results/{SLUG}/small/0.json")
    return ["leaderboard", "--leaderboards", "boards"]


@bad(r"0\.csv beside it is not the one it was written with", "make each of these runs again")
def a_board_of_an_edited_table(root: Path) -> list[str]:
    edit(f"boards/results/{SLUG}/small/0.csv", "test/a_test0", "test/a_test9")
    return ["leaderboard", "--leaderboards", "boards"]


@bad("--leaderboards nowhere: no such folder; run a method first")
def a_board_of_nothing(root: Path) -> list[str]:
    return ["leaderboard", "--leaderboards", "nowhere"]


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_clear_error_and_leaves_all_as_it_was(
    name: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    words = case.arrange(root)
    before = results(root)
    capsys.readouterr()
    try:
        code = cli.main(words)
    except SystemExit as stopped:  # argparse
        code = stopped.code
    error = capsys.readouterr().err
    assert code == case.code, error
    missing = [said for said in case.says if not re.search(said, error)]
    assert not missing, error
    assert "Traceback" not in error
    failed = words[words.index("--method") + 1] if "--method" in words else ""
    begin = f"sarbench {words[0]}: " if case.early else f"(sarbench {words[0]}|{failed}): "
    assert len(re.findall(f"^{begin}", error, re.MULTILINE)) == 1, error
    refuse_half_written(root, before, failed)
    if case.early:
        assert results(root) == before
        assert not (root / "out").exists()


# --- The benchmark as a test ------------------------------------------------------------------------------------------


def pytest_bench(*words: str) -> subprocess.CompletedProcess[str]:
    """`pytest bench` in a process of its own, in the working directory."""
    bench = str(Path(cli.__file__).parent)
    quiet = ["-p", "no:cacheprovider", "--rootdir", ".", "--import-mode=importlib", "-k", "test_method or test_honeypot"]
    return subprocess.run([sys.executable, "-m", "pytest", *quiet, bench, *words], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], ("say which method to run", "methods: .*pix2pix", "always run beside them: .*mean_color", "--protocol pairs")),
        (["--method", "pix2pox"], ("unknown method 'pix2pox'; did you mean 'pix2pix'",)),
    ],
)
def test_pytest_bench_without_a_known_method_says_what_could_run(root: Path, words: list[str], says: tuple[str, ...]) -> None:
    before = results(root)
    done = pytest_bench(*words)
    shown = done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, shown
    assert all(re.search(said, shown) for said in says), shown
    assert "Traceback" not in shown
    assert results(root) == before


def test_pytest_bench_shows_bad_data_as_one_message(root: Path) -> None:
    before = results(root)
    cut_off("pairs/train/sar/a_train0.png")
    done = pytest_bench(*OLD[1:])
    shown = done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, shown
    assert len(re.findall(r"a_train0\.png can't be read as an image .*; replace the file or remove it", shown)) == 1, shown
    assert "Traceback" not in shown
    assert "raise ContractError" not in shown
    assert results(root) == before


@pytest.mark.slow
def test_a_method_that_fails_leaves_no_record_and_does_not_stop_the_others(root: Path) -> None:
    before = results(root)
    new_method("return self.G(source)", "return self.G(source) * float('nan')")
    shutil.copy("small.py", "third.py")
    words = [*NEW, "--plugin", "third.py", "--method", "third"]
    done = pytest_bench(*words[1:])
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert len(re.findall(r"^Small: translate gave NaN or infinite values; ", done.stdout, re.MULTILINE)) == 1, done.stdout
    assert "raise ContractError" not in done.stdout
    assert "1 failed, 8 passed" in done.stdout
    after = results(root)
    methods = {item.record.method for item in Store(Path("boards")).read(SLUG) if item.record.role == "method"}
    assert methods == {"small", "third"}
    assert all(after[name] == content for name, content in before.items() if not re.fullmatch(r"boards/[^/]*", name))


def test_in_one_command_too_a_method_that_fails_does_not_stop_the_others(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_method("return self.G(source)", "return self.G(source) * float('nan')")
    shutil.copy("small.py", "third.py")
    assert cli.main([*NEW, "--plugin", "third.py", "--method", "third"]) == 1
    captured = capsys.readouterr()
    assert captured.err.rstrip().endswith("1 of 6 runs failed and left no record: new, seed 0")
    assert "`third`" in captured.out
    assert not Path(f"boards/results/{SLUG}/new").exists()


# --- A full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    """The working directory on a disk of 8 MB of its own."""
    disk = root / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "sarbench", disk])
    if not mounted or mounted.returncode:
        pytest.skip("a small disk can't be mounted here; it takes root")
    try:
        for name in ("pairs", "small.py", "runs", "boards"):
            (shutil.copytree if Path(name).is_dir() else shutil.copy)(name, disk / name)
        with contextlib.chdir(disk):
            yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def fill(file: Path = Path("filler")) -> None:
    """Write until the disk is full."""
    with file.open("ab", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(4096))


FILL = """
        if progress == 0.5 and not Path("filler").exists():
            with contextlib.suppress(OSError), open("filler", "ab", buffering=0) as stream:
                while True:
                    stream.write(bytes(4096))
"""


def test_a_disk_that_fills_up_in_training_keeps_the_last_checkpoint_and_ends_in_the_same_bytes(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(f"runs/{SLUG}/new/0")
    old = "        x, y = batch.paired.source, batch.paired.target\n"
    new_method(old, old + FILL)
    edit("new.py", "from torch import Tensor, nn", "import contextlib\nfrom pathlib import Path\nfrom torch import Tensor, nn")
    before = results(small_disk)
    assert cli.main(NEW) == 1
    error = capsys.readouterr().err
    assert re.search(r"^new: can't write .*: the disk is full; free some space; .*run the same command again", error, re.M), (
        error
    )
    assert "Traceback" not in error
    refuse_half_written(small_disk, before, "new")
    assert [path.name for path in _checkpoints(folder)] == ["step_000000002.safetensors"]
    Path("filler").write_bytes(b"")
    assert cli.main(NEW) == 0
    whole, small = (read_weights(Path(f"runs/{SLUG}/{name}/0/weights.safetensors")) for name in ("new", "small"))
    assert whole and small
    assert all((whole[name] == small[name]).all() for name in small)


@pytest.mark.parametrize("stage", ["write_image", "Store.write", "write_json"])
def test_a_disk_that_is_full_at_a_later_stage_is_one_error_and_loses_nothing(
    small_disk: Path, stage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"write_image": "translate", "Store.write": "records", "write_json": "pipeline"}[stage]
    target = f"sarbench.bench.{module}.{stage}"
    shutil.copy("small.py", "new.py")
    original: Any = pytest.importorskip(f"sarbench.bench.{module}")
    for part in stage.split("."):
        original = getattr(original, part)
    full = []

    def filled_first(*args: Any, **kwargs: Any) -> Any:
        if any("new" in Path(str(arg)).parts or getattr(arg, "method", "") == "new" for arg in args) and not full:
            full.append(fill())
        return original(*args, **kwargs)

    monkeypatch.setattr(target, filled_first)
    before = results(small_disk)
    assert cli.main(NEW) == 1
    assert full
    error = capsys.readouterr().err
    assert re.search(r"^new: can't write .*: the disk is full; free some space", error, re.MULTILINE), error
    assert "Traceback" not in error
    monkeypatch.undo()
    Path("filler").unlink()
    after = results(small_disk)
    assert all(after[name] == content for name, content in before.items())
    assert not [name for name in after if ".part" in name]
    assert not [name for name in set(after) - set(before) if name.startswith("boards/")]


@pytest.mark.parametrize("place", ["checkpoints/", "weights.safetensors", "translated/test/", "scores.json", "boards/results/"])
def test_a_write_that_the_system_refuses_loses_no_older_result(
    root: Path, place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("small.py", "new.py")
    before, replace = results(root), os.replace

    def full(source: str, target: Path) -> None:
        if "new" in Path(target).parts and place in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert cli.main(NEW) == 1
    error = capsys.readouterr().err
    assert len(re.findall(r"^new: can't write .*: the disk is full; free some space", error, re.MULTILINE)) == 1, error
    after = results(root)
    assert all(after[name] == content for name, content in before.items())
    assert not [name for name in after if ".part" in name]
    assert not [name for name in set(after) - set(before) if name.startswith("boards/") and name.endswith(".json")]
    monkeypatch.setattr(os, "replace", replace)
    assert cli.main(NEW) == 0
    new, small = (find_images(Path(f"runs/{SLUG}/{name}/0/translated")) for name in ("new", "small"))
    assert {name: file.read_bytes() for name, file in new.items()} == {name: file.read_bytes() for name, file in small.items()}


# --- A process that is killed while it writes -------------------------------------------------------------------------


def test_what_a_killed_process_was_writing_is_never_read_and_is_cleaned_up(root: Path) -> None:
    places = [
        f"{OLD_RUN}/checkpoints/step_000000009.safetensors",
        f"{OLD_RUN}/weights.safetensors",
        f"{OLD_RUN}/translated/test/a_test0.png",
        f"boards/results/{SLUG}/small/0.json",
    ]
    script = f"""
        import contextlib, os, signal
        from pathlib import Path
        from sarbench.bench.storage import atomic
        with contextlib.ExitStack() as stack:
            for place in {places!r}:
                file = stack.enter_context(atomic(Path(place)))
                file.write(b"half")
                file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    before = results(root)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)])
    assert done.returncode == -9
    left = sorted(root.rglob(".*.part"))
    assert len(left) == len(places)
    assert {name: content for name, content in results(root).items() if ".part" not in name} == before

    run = Path(OLD_RUN)
    assert not [name for name in find_images(run / "translated") if "part" in name]
    assert len(find_images(run / "translated")) == 2
    assert [item.record.method for item in Store(Path("boards")).read(SLUG) if item.record.role == "method"] == ["small"]
    assert [path.name for path in _checkpoints(run)] == ["step_000000004.safetensors"]
    assert read_weights(run / "weights.safetensors") is not None
    (run / "weights.safetensors").unlink()
    assert read_weights(run / "weights.safetensors") is None

    assert cli.main(OLD) == 0
    assert not sorted(run.rglob(".*.part"))
    after = results(root)
    assert all(after[name] == content for name, content in before.items() if name.endswith(("weights.safetensors", ".png")))


# --- Several ranks ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_batch_that_the_ranks_can_not_share_ends_all_of_them(root: Path) -> None:
    before = results(root)
    shutil.copy("small.py", "new.py")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", "-m", cli.__name__]
    done = subprocess.run(
        [*launcher, *NEW], capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode != 0
    assert re.search(r"^sarbench run: the batch of new is 4, which 3 parts \(ranks times", done.stderr, re.MULTILINE)
    assert results(root) == before
