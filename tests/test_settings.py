"""Hyperparameters changed from the command line: typed, named in the record, and in a row of their own on the board."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from sarbench.bench import cli, registry
from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Card
from sarbench.bench.records import Store, label
from sarbench.bench.settings import config_of, variant_of


@dataclass(frozen=True)
class Config:
    cam: bool = True
    msm: Literal["multi", "single", "off"] = "multi"
    steps: int = 4
    lambda_cam: float = 50.0
    betas: tuple[float, float] = (0.5, 0.999)
    limit: float | None = 1.0
    path: str = ""


class Method:
    card = Card("M", "p", 2026, "paired", "any")
    presets: ClassVar = {"tiny": Config()}


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_learner", lambda name: Method)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("cam", "false", False),
        ("msm", "single", "single"),
        ("steps", "8", 8),
        ("lambda_cam", "10", 10.0),
        ("betas", "[0,0.9]", (0.0, 0.9)),
        ("limit", "none", None),
        ("limit", "2.5", 2.5),
        ("path", "42", "42"),
    ],
)
@pytest.mark.usefixtures("plugin")
def test_text_becomes_a_value_of_the_fields_type(key: str, text: str, value: object) -> None:
    config = config_of("m", "tiny", {key: text})
    assert getattr(config, key) == value
    assert {k: v for k, v in asdict(config).items() if k != key} == {k: v for k, v in asdict(Config()).items() if k != key}


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("cams", "false", "m has no such setting; it has cam, msm, steps"),
        ("msm", "double", "'multi', 'single' or 'off'"),
        ("steps", "2.5", "another kind of value"),
        ("cam", "perhaps", "another kind of value"),
        ("betas", "[1]", "another kind of value"),
        ("path", "a b", "without white space"),
        ("path", "", "without white space"),
    ],
)
@pytest.mark.usefixtures("plugin")
def test_a_value_that_does_not_fit_is_refused(key: str, text: str, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        config_of("m", "tiny", {key: text})


def test_a_variant_is_named_in_one_order_and_floors_have_none() -> None:
    assert variant_of("pix2pix", {"b": "2", "a": "1"}) == "a=1 b=2"
    assert variant_of("pix2pix", {}) == ""
    assert variant_of("mean_color", {"a": "1"}) == ""
    assert label("pix2pix", "") == "pix2pix"
    assert label("pix2pix", "a=1") != label("pix2pix", "a=2")


@pytest.mark.slow
def test_a_variant_stands_beside_its_method_on_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = [word for o in ("size_px=64", "n_train=4", "n_test=2") for word in ("--data-option", o)]
    words = ["run", "--method", "pix2pix", "--device", "cpu", "--budget", "4", *small]
    assert cli.main(words) == 0
    assert cli.main([*words, "--set", "lambda_l1=0", "--set", "batch_size=2"]) == 0
    records = [item.record for item in Store(tmp_path / "leaderboards").read("synthetic.tiny.4")]
    assert [r.variant for r in records if r.method == "pix2pix"] == ["", "batch_size=2 lambda_l1=0"]
    assert len([r for r in records if r.method == "mean_color"]) == 1
    page = (tmp_path / "leaderboards" / "synthetic.tiny.4.md").read_text()
    assert "pix2pix`](https://arxiv.org/abs/1611.07004) batch\\_size=2 lambda\\_l1=0 |" in page
