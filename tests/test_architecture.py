"""Who may import whom, read from the syntax trees; and that the tree is what the README says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("bench", "methods", "datasets")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
NETWORK = {"urllib", "requests", "http", "socket", "ftplib", "huggingface_hub"}


def imports(file: Path) -> set[str]:
    """Every module that a file imports anywhere, with `from a import b` as a.b too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def ours(file: Path) -> set[str]:
    return {name for name in imports(file) if name.startswith("sarbench.")}


LEAVES = ("sarbench.methods.networks", "sarbench.methods.losses")  # building blocks that judges, too, are made of
FRAMED = ("sarbench.methods.networks", "sarbench.methods.losses", "sarbench.methods.processes")


def allowed(file: Path) -> tuple[str, ...] | None:
    """The prefixes of our own modules that a file may import; None: any."""
    part = file.relative_to(ROOT).parts
    if part[0] == "methods" and len(part) == 2:
        return (
            "sarbench.bench.interface",
            "sarbench.bench.matcher",
            *FRAMED,
            "sarbench.methods.frames",
        )
    if part[:2] == ("methods", "frames"):  # what several methods share of a method
        return ("sarbench.bench.interface", *FRAMED)
    if part[0] == "methods":
        return ("sarbench.bench.interface", f"sarbench.methods.{part[1]}", "sarbench.methods.networks")
    if part[0] == "datasets":
        return tuple(f"sarbench.bench.{name}" for name in ("dataset", "images", "folders", "errors")) + (
            "sarbench.datasets.families",
            "sarbench.datasets.world",
        )
    return None


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_imports_only_what_its_place_allows(file: Path) -> None:
    prefixes = allowed(file)
    if prefixes is None:
        reached = {n for n in ours(file) if n.startswith(("sarbench.methods", "sarbench.datasets"))}
        if file.is_relative_to(ROOT / "bench" / "judges"):
            reached = {n for n in reached if n != "sarbench.methods" and not n.startswith(LEAVES)}
        assert not reached, "bench reaches methods and datasets only through the registry; judges may use networks and losses"
        return
    bases = {"sarbench.bench", "sarbench.methods", "sarbench.datasets"}
    wrong = {name for name in ours(file) if name not in bases and not name.startswith(prefixes)}
    assert not wrong


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_the_download_may_use_the_network(file: Path) -> None:
    used = {name.partition(".")[0] for name in imports(file)} & NETWORK
    assert not used or file == ROOT / "bench" / "download.py"


def test_no_folder_has_an_init_file_and_no_file_a_name_that_says_nothing() -> None:
    names = {file.name for file in FILES}
    assert not names & {"__init__.py", "utils.py", "helpers.py", "common.py", "misc.py"}


def test_every_public_module_class_and_function_has_a_docstring() -> None:
    without = []
    for file in FILES:
        tree = ast.parse(file.read_text())
        nodes = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and not n.name.startswith("_")]
        without += [f"{file.name}:{getattr(n, 'name', 'module')}" for n in [tree, *nodes] if not ast.get_docstring(n)]
    assert not without


def test_the_tree_in_the_readme_is_the_tree() -> None:
    text = (ROOT / "README.md").read_text()
    missing = [file.name for file in (ROOT / "bench").glob("*.py") if file.name not in text]
    assert not missing, f"the README's tree does not name {missing}"
    for folder in ("methods", "datasets", "bench/metrics", "methods/networks", "methods/losses"):
        assert f"{folder.rpartition('/')[2]}/" in text
