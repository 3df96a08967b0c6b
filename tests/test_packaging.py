"""What is installed is what is in the checkout."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from sarbench.bench.leaderboard import check_pages

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements() -> list[str]:
    """What sarbench and its extras need; one extra may name another."""
    project = SETTINGS["project"]
    every = [project["dependencies"], *project["optional-dependencies"].values()]
    return [requirement for group in every for requirement in group if not requirement.startswith("sarbench")]


def test_every_folder_with_code_is_in_the_package_list() -> None:
    folders = {file.parent.relative_to(ROOT) for top in ("bench", "methods", "datasets") for file in (ROOT / top).rglob("*.py")}
    packages = {".".join(("sarbench", *folder.parts)) for folder in folders}
    assert packages == set(SETTINGS["tool"]["setuptools"]["packages"])


def test_the_tested_versions_are_exact_and_cover_every_dependency() -> None:
    lines = [line for line in (ROOT / "constraints/tested.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert all("==" in line for line in lines)
    missing = {name for name in map(_name, requirements()) if name not in pinned}
    assert not missing


def test_the_lowest_versions_are_the_bounds_of_the_dependencies() -> None:
    lines = [line for line in (ROOT / "constraints/lowest.txt").read_text().splitlines() if not line.startswith("#")]
    lowest = {line.partition("==")[0]: line.partition("==")[2] for line in lines}
    for requirement in requirements():
        bound = requirement.partition(">=")[2] or requirement.partition("==")[2]
        assert lowest[_name(requirement)].startswith(bound), requirement


def test_a_top_level_package_called_datasets_is_not_ours() -> None:
    try:
        import datasets
    except ImportError:
        return
    assert not str(getattr(datasets, "__file__", "") or "").startswith(str(ROOT)), "Hugging Face datasets is shadowed"


def _name(requirement: str) -> str:
    for sign in (">", "=", "<", "[", ";"):
        requirement = requirement.partition(sign)[0]
    return requirement.strip().lower()


def test_the_committed_boards_are_what_their_records_give() -> None:
    assert check_pages(ROOT / "leaderboards") == []


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "tox.ini", ".ci/run"])
def test_the_project_has_its_papers(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0


def test_the_readme_shows_a_board_between_markers() -> None:
    assert "<!-- board:synthetic.tiny -->" in (ROOT / "README.md").read_text()
