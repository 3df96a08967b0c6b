import ast

import numpy as np
import pytest

from sarbench.bench import cli, explain, registry
from sarbench.bench.metric import Metric

NAMES = registry.names("metrics")


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_says_its_unit_formula_source_and_when_it_misleads(name):
    told = explain.blocks(name)
    assert told[""].endswith((".", "?"))
    for block in ("Unit", "Formula", "Source", "Misleads"):
        assert told[block], f"{name}.py lacks the block {block}"
    assert "better" in told["Unit"] or "listed as better" in told["Unit"]


@pytest.mark.parametrize("name", NAMES)
def test_every_convention_is_explained_by_name(name):
    told = explain.blocks(name)
    for convention in registry.conventions(name):
        assert convention in told["Conventions"], f"{name}.py has {convention} and does not say what it is"
        metric = registry.load_metric(f"{name}@{convention}")
        assert metric.name == f"{name}@{convention}"
        assert metric.signature.startswith(f"{name}@{convention};")


@pytest.mark.parametrize("name", NAMES)
def test_a_card_has_every_part(name, capsys):
    assert cli.main(["explain", name]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{name}: ")
    for word in ("unit ", "formula ", "source ", "misleads ", "signature ", "needs ", "value"):
        assert f"\n{word.strip()}" in shown or f" {word}" in shown
    for convention in registry.conventions(name):
        assert f"{name}@{convention}" in shown


def test_a_convention_can_be_asked_for_and_comes_first(capsys):
    assert cli.main(["explain", "ssim@piq"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("ssim@piq: ")
    assert f"signature    {registry.load_metric('ssim@piq').signature}" in shown
    assert shown.index("\nssim@piq ") < shown.index("\nssim ")


def test_without_a_name_every_metric_is_listed(capsys):
    assert cli.main(["explain"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()] == NAMES


@pytest.mark.parametrize("name", ["sim", "ssim@matlab"])
def test_an_unknown_metric_is_refused_with_the_choices(name, capsys):
    assert cli.main(["explain", name]) == 1
    assert "sarbench explain: unknown metric" in capsys.readouterr().err


def test_the_worked_numbers_of_one_pair_differ_by_convention(capsys):
    values = [float(explain.worked(registry.load_metric(f"ssim@{name}"))[0]) for name in registry.conventions("ssim")]
    values.append(float(explain.worked(registry.load_metric("ssim"))[0]))
    assert len(set(values)) == len(values)
    assert max(values) - min(values) > 0.3


def test_the_frozen_pair_is_frozen():
    pair = explain.frozen_pair()
    sums = {side: int(image.pixels.sum()) for side, image in pair.items()}
    assert sums == {"source": 8813492, "translated": 44822212, "reference": 42575140}
    assert explain.worked(registry.load_metric("psnr")) == ("23.823 dB", "")


def test_a_score_of_whole_sets_and_missing_weights_have_a_reason_and_no_number():
    whole = Metric("made_up", "made_up;v1", "", True, statistic=lambda x, y: 0.0)
    assert explain.worked(whole) == ("-", "a score of two whole sets of images, not of a pair")


def test_a_missing_asset_is_named_and_the_card_stands(monkeypatch, tmp_path, capsys):
    for variable in ("SARBENCH_ASSETS", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert cli.main(["explain", "lpips"]) == 0
    shown = capsys.readouterr().out
    assert "lpips: not measured: alexnet missing" in shown
    assert "needs        sarbench fetch alexnet" in shown


def with_shared_files(path):
    """A metric's file, and the files of bench/metrics that it imports, directly or not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = [module.rpartition(".")[2] for module in modules if module.startswith("sarbench.bench.metrics.")]
    return [path, *(file for name in names for file in with_shared_files(path.with_name(f"{name}.py")))]


@pytest.mark.parametrize("name", [name for name in NAMES if not registry.load_metric(name).assets])
def test_a_metric_without_weights_imports_torch_nowhere(name):
    for file in with_shared_files(registry.find("metrics", name).path):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(module.split(".")[0] in ("torch", "torchvision") for module in modules), file


def test_the_source_of_the_pair_has_one_band_and_all_have_8_bits():
    pair = explain.frozen_pair()
    assert pair["source"].pixels.shape == (1, explain.SIDE_PX, explain.SIDE_PX, 1)
    assert pair["translated"].pixels.shape == pair["reference"].pixels.shape == (1, explain.SIDE_PX, explain.SIDE_PX, 3)
    assert all(image.pixels.dtype == np.uint8 for image in pair.values())
