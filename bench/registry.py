"""Plugins by name: a name is a file name. Listing names imports nothing of a plugin, and no torch.

`methods/pix2pix.py` is the method `pix2pix`; a third party adds methods by the entry point group `sarbench.methods`
(`foo = "their_package.foo"`) or by `--plugin path/to/foo.py`. Two plugins of one name are an error, never an override.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sarbench.bench.errors import ContractError

if TYPE_CHECKING:
    from sarbench.bench.dataset import Dataset
    from sarbench.bench.interface import Learner, Method
    from sarbench.bench.judge import Judge
    from sarbench.bench.matcher import Matcher
    from sarbench.bench.metric import Metric

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "methods": ROOT / "methods",
    "datasets": ROOT / "datasets",
    "metrics": ROOT / "bench" / "metrics",
    "judges": ROOT / "bench" / "judges",
}
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # of a method: it names files and stands in records
NAME_RULE = "a method's name is made of lower case letters, digits and underscores, 64 at most, a letter first"
DECODERS = ("images", "folders")  # files of the harness that decide what a dataset's images are
PACKAGES = {
    "methods": "sarbench.methods",
    "datasets": "sarbench.datasets",
    "metrics": "sarbench.bench.metrics",
    "judges": "sarbench.bench.judges",
}

_added: dict[str, Path] = {}  # method plugins given by path


@dataclass(frozen=True)
class Plugin:
    """A plugin that can be loaded: where it comes from, not yet imported."""

    name: str
    path: Path | None  # its file, where that is known without importing
    module: str  # what to import; empty for a plugin given by path


def add_plugin(path: str | Path) -> str:
    """Make the method in a file known under the file's name; returns the name."""
    file = Path(path).resolve()
    if not file.is_file() or file.suffix != ".py":
        raise ContractError(f"--plugin {path}: no such Python file; give the path of a .py file that holds a method")
    if not NAME.fullmatch(file.stem):
        raise ContractError(f"--plugin {path}: {NAME_RULE}; rename the file")
    if _added.get(file.stem) == file:
        return file.stem
    if file.stem in plugins("methods"):
        raise ContractError(f"--plugin {path}: the method name {file.stem!r} is taken; rename the file")
    _added[file.stem] = file
    return file.stem


def added_plugins() -> list[Path]:
    """The files given by `add_plugin`, for a child process to add again."""
    return list(_added.values())


def plugins(kind: str) -> dict[str, Plugin]:
    """All plugins of a kind ("methods", "datasets", "metrics", "judges") by name, sorted."""
    found = {
        file.stem: Plugin(file.stem, file, f"{PACKAGES[kind]}.{file.stem}")
        for file in FOLDERS[kind].glob("*.py")
        if not file.stem.startswith("_")
    }
    if kind == "methods":
        for point in entry_points(group="sarbench.methods"):
            if point.name in found:
                raise ContractError(
                    f"two methods are named {point.name!r}: one is the entry point {point.value}; uninstall one"
                )
            found[point.name] = Plugin(point.name, None, point.value.partition(":")[0])
        for name, file in _added.items():
            if name in found:
                raise ContractError(f"two methods are named {name!r}: one is {file}; rename the file")
            found[name] = Plugin(name, file, "")
    return dict(sorted(found.items()))


def names(kind: str) -> list[str]:
    """All names of a kind, sorted."""
    return list(plugins(kind))


def find(kind: str, name: str) -> Plugin:
    """The plugin of that name; ContractError with the choices otherwise."""
    known = plugins(kind)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ContractError(f"unknown {kind[:-1]} {name!r}; {hint}choose from: {', '.join(known)}")
    return known[name]


def load_method(name: str) -> type[Method]:
    """The translation method of that name; ContractError as for `load_learner`, and for a matcher."""
    from sarbench.bench.interface import Method

    cls = load_learner(name)
    if not issubclass(cls, Method):
        raise ContractError(f"{name} is a matcher: it translates nothing; run it on a protocol such as synthetic-match")
    return cls


def load_matcher(name: str) -> type[Matcher]:
    """The matcher of that name; ContractError as for `load_learner`, and for a translation method."""
    from sarbench.bench.matcher import Matcher

    cls = load_learner(name)
    if not issubclass(cls, Matcher):
        raise ContractError(f"{name} translates images: it matches nothing; choose from: {', '.join(methods_for('matching'))}")
    return cls


def load_learner(name: str) -> type[Learner]:
    """The class of that name in `methods/`, whatever its task.

    ContractError for a file that can't be imported, or holds no whole class, or one of another task than its card says.
    """
    from sarbench.bench.interface import Card, Learner, Method
    from sarbench.bench.matcher import Matcher

    module = _import(find("methods", name))
    cls = _only_class(module, Learner, "Method or Matcher")
    if not isinstance(getattr(cls, "card", None), Card):
        raise ContractError(f"{module.__file__}: {cls.__name__} has no card; write `card = Card(...)` in the class body")
    if inspect.isabstract(cls):
        raise ContractError(f"{module.__file__}: {cls.__name__} lacks {', '.join(sorted(cls.__abstractmethods__))}; define it")
    base = {"translation": Method, "matching": Matcher}[cls.card.task]
    if not issubclass(cls, base):
        raise ContractError(
            f"{module.__file__}: its card says task={cls.card.task!r}, so {cls.__name__} must be a {base.__name__}"
        )
    return cls


def task_of(name: str) -> str:
    """What a method does, "translation" or "matching", read from its card, without importing it where its file is known."""
    if find("methods", name).path is None:
        return load_learner(name).card.task
    return str(card_of("methods", name).get("task", "translation"))


def methods_for(task: str) -> list[str]:
    """The names of all methods of a task, sorted."""
    return [name for name in names("methods") if task_of(name) == task]


def load_dataset(name: str) -> type[Dataset]:
    """The dataset class of that name."""
    from sarbench.bench.dataset import Dataset

    return _only_class(_import(find("datasets", name)), Dataset)


def load_judge(name: str) -> type[Judge]:
    """The judge class of that name."""
    from sarbench.bench.judge import Judge

    return _only_class(_import(find("judges", name)), Judge)


def load_metric(name: str) -> Metric:
    """The metric of that name: the value `metric` of its file; `ssim@torchmetrics`: what its `compat` has under that name."""
    name, _, convention = name.partition("@")
    module: Any = _import(find("metrics", name))
    if not convention:
        return module.metric
    known = getattr(module, "compat", {})
    if convention not in known:
        names = ", ".join(f"{name}@{other}" for other in known) or "no other convention"
        raise ContractError(f"unknown metric {name}@{convention}; {name} also comes as: {names}")
    return known[convention]


def conventions(name: str) -> tuple[str, ...]:
    """The other conventions that a metric comes in, each of which is asked for as name@convention."""
    module: Any = _import(find("metrics", name))
    return tuple(getattr(module, "compat", {}))


def card_of(kind: str, name: str) -> Mapping[str, Any]:
    """The literal fields of a plugin's card, read from its source without importing it; empty if that can't be done."""
    plugin = find(kind, name)
    if plugin.path is None:
        return {}
    for node in ast.walk(_syntax_tree(plugin.path)):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "card" for t in node.targets):
            if isinstance(node.value, ast.Call):
                try:
                    return {word.arg: ast.literal_eval(word.value) for word in node.value.keywords if word.arg}
                except ValueError:  # a value that is no literal
                    return {}
    return {}


def ablations_of(name: str) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """The ablation tables of a method, read from its source without importing it; empty where it has none, or is not here."""
    known = plugins("methods").get(name)
    if known is None or known.path is None:
        return {}
    for node in ast.walk(_syntax_tree(known.path)):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(t, ast.Name) and t.id == "ablations" for t in targets):
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                return {}
    return {}


def docstring_of(kind: str, name: str) -> str:
    """A plugin's module docstring, read without importing it; empty if that can't be done."""
    path = find(kind, name).path
    return (path and ast.get_docstring(_syntax_tree(path))) or ""


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Whatever a method's own code raises becomes one ContractError that names its file, line and words; the rest passes."""
    try:
        yield
    except ContractError:
        raise
    except Exception as error:
        told = _told(error, sources_of("methods", name))
        if told:
            raise ContractError(told) from error
        raise


def sources_of(kind: str, name: str) -> list[Path]:
    """A plugin's own file and what it imports, as `with_imports` has it."""
    plugin = find(kind, name)
    return with_imports([plugin.path or Path(_import(plugin).__file__ or "")])


def with_imports(files: Iterable[Path]) -> list[Path]:
    """These files and every file of sarbench's plugin folders that they import, directly or not; sorted.

    Of the harness, only what datasets decode images with counts.
    """
    seen: set[Path] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        waiting.extend(_imported_files(file))
    return sorted(seen)


def _imported_files(file: Path) -> list[Path]:
    """The files of methods and datasets, and the decoders of the harness, that a file imports, from its syntax tree."""
    modules: list[str] = []
    for node in ast.walk(_syntax_tree(file)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    files = []
    for module in modules:
        package, _, inside = module.removeprefix("sarbench.").partition(".")
        if module.startswith("sarbench.") and (package in ("methods", "datasets") or inside in DECODERS):
            files.append((ROOT / package / inside.replace(".", "/")).with_suffix(".py"))
    return [f for f in files if f.is_file()]


def _syntax_tree(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, OSError) as error:
        raise ContractError(f"{_told(error, [file]) or f'{file}: {error}'}; correct the file, or leave it out") from error


def _told(error: Exception, files: Collection[Path]) -> str:
    """An error in one line that begins with the place in these files where it arose, then the calls in them; or nothing."""
    words = f"{type(error).__name__}: {error}".strip()
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) in files]
    calls = "".join(f"\n    line {frame.lineno}, in {frame.name}: {frame.line}" for frame in own)
    return f"{own[-1].filename}, line {own[-1].lineno}: {words}{calls}" if own else ""


@cache
def _import(plugin: Plugin) -> ModuleType:
    try:
        return importlib.import_module(plugin.module) if plugin.module else _import_file(plugin)
    except ContractError:
        raise
    except Exception as error:
        where = str(plugin.path or plugin.module)
        told = _told(error, [plugin.path] if plugin.path else []) or f"{where}: {type(error).__name__}: {error}"
        raise ContractError(f"{where} can't be imported; correct it, or leave it out:\n  {told}") from error


def _import_file(plugin: Plugin) -> ModuleType:
    assert plugin.path is not None
    name = f"sarbench_plugin_{plugin.name}"
    spec = importlib.util.spec_from_file_location(name, plugin.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _only_class(module: ModuleType, base: type, called: str = "") -> Any:
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        found = ", ".join(c.__name__ for c in classes) or "none"
        raise ContractError(f"{module.__file__}: expected one subclass of {called or base.__name__} in a file, found {found}")
    return classes[0]
