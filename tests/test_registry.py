"""Plugins by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sarbench.bench import registry
from sarbench.bench.errors import ContractError

PLUGIN = """
from sarbench.bench.interface import Card, Method

class Mirror(Method):
    card = Card(title="mirror", paper="a test", year=2026, supervision="none", channels="any", role="floor")

    def translate(self, source, seeds):
        return source.flip(-1)
"""


@pytest.fixture(autouse=True)
def _no_added_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", {})


def test_listing_names_imports_neither_torch_nor_a_plugin() -> None:
    code = (
        "import sys; from sarbench.bench import cli; cli.main(['list']);"
        "assert 'torch' not in sys.modules and 'pydantic' not in sys.modules;"
        "assert not any(m.startswith('sarbench.methods.') for m in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pix2pix" in done.stdout


def test_a_method_is_the_file_of_its_name() -> None:
    assert {"identity", "mean_color", "pix2pix", "cyclegan"} <= set(registry.names("methods"))
    assert registry.load_method("pix2pix").__module__ == "sarbench.methods.pix2pix"


def test_a_plugin_given_by_path_has_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "mirror.py").write_text(PLUGIN)
    assert registry.add_plugin(tmp_path / "mirror.py") == "mirror"
    assert registry.add_plugin(tmp_path / "mirror.py") == "mirror"
    assert registry.load_method("mirror").card.title == "mirror"
    assert registry.card_of("methods", "mirror")["role"] == "floor"


def test_two_methods_of_one_name_are_a_loud_error(tmp_path: Path) -> None:
    (tmp_path / "pix2pix.py").write_text(PLUGIN)
    with pytest.raises(ContractError, match="'pix2pix' is taken; rename the file"):
        registry.add_plugin(tmp_path / "pix2pix.py")


def test_an_entry_point_that_takes_a_known_name_is_a_loud_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    point = EntryPoint("pix2pix", "other_package.pix2pix", "sarbench.methods")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(ContractError, match="entry point other_package"):
        registry.names("methods")


def test_an_entry_point_is_a_method(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from importlib.metadata import EntryPoint

    (tmp_path / "third_party_mirror.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mirror", "third_party_mirror", "sarbench.methods")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert registry.load_method("mirror").card.title == "mirror"


def test_an_unknown_name_says_what_there_is_and_what_is_near() -> None:
    with pytest.raises(ContractError, match=r"unknown method 'pix2pox'; did you mean 'pix2pix'\? choose from: .*cyclegan"):
        registry.find("methods", "pix2pox")


@pytest.mark.parametrize("text", ["x = 1", PLUGIN + "\nclass Second(Mirror): pass"])
def test_a_file_must_hold_one_method(tmp_path: Path, text: str) -> None:
    name = f"counted_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    registry.add_plugin(tmp_path / f"{name}.py")
    with pytest.raises(ContractError, match="expected one subclass of Method or Matcher"):
        registry.load_method(name)


def test_the_sources_of_a_method_are_its_file_and_all_that_it_imports() -> None:
    names = {path.name for path in registry.sources_of("methods", "pix2pix")}
    assert {"pix2pix.py", "unet.py", "patch_discriminator.py", "adversarial.py"} <= names
    assert "cyclegan.py" not in names


def test_a_missing_plugin_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"absent\.py: no such Python file"):
        registry.add_plugin(tmp_path / "absent.py")
