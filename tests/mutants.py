"""Mutation check of the metrics: `python tests/mutants.py [STEM ...] [--each N]`; prints every mutant that no test notices.

A mutant is a metric file with one change: an operator for its opposite, a comparison moved to its edge, a number one larger,
a sign dropped. Each is tried, in a copy of the tree, on the tests of its file; a mutant that survives is a gap in the tests,
or a change that makes no difference. Not a test itself: it takes an hour.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIXELS = ["test_float64_metrics"]
LPIPS = ["test_lpips", "test_references"]
# file below bench/ -> the tests that answer for it, besides the one of its own name
TESTS = {
    "metrics/psnr": PIXELS,
    "metrics/ssim": PIXELS,
    "metrics/ms_ssim": PIXELS,
    "metrics/rmse": PIXELS,
    "metrics/scc": PIXELS,
    "metrics/scc_local": PIXELS,
    "metrics/sam": PIXELS,
    "metrics/ergas": PIXELS,
    "metrics/total_variation": PIXELS,
    "metrics/copy_ratio": PIXELS,
    "metrics/psnr_shift": PIXELS,
    "metrics/ssim_shift": PIXELS,
    "metrics/_accuracy": ["test_accuracy_delta"],
    "metrics/_pairs": ["test_psnr", "test_rmse", "test_ssim"],
    "metrics/_shifts": ["test_psnr_shift", "test_ssim_shift"],
    "metrics/_structure": ["test_ssim", "test_ms_ssim", "test_per_class"],
    "metrics/_conventions": ["test_psnr", "test_copy_ratio", *PIXELS],
    "metrics/_inception": ["test_inception", "test_fid"],
    "metrics/fid": [],
    "metrics/kid": [],
    "metrics/dbcnn": [],
    "metrics/nima": [],
    "metrics/networks/lpips": LPIPS,
    "metrics/networks/alexnet": LPIPS,
    "metrics/networks/squeezenet": LPIPS,
    "metrics/networks/vgg": ["test_vgg", *LPIPS],
    "metrics/networks/running": [*LPIPS, "test_dbcnn", "test_nima"],
    "metrics/networks/dbcnn": ["test_dbcnn"],
    "metrics/networks/nima": ["test_nima"],
    "metrics/networks/inception": ["test_inception"],
    "metrics/networks/inception_resnet": ["test_nima"],
    "moments": ["test_fid"],
    "separation": [],
    "ceiling": [],
    "per_class": [],
}
OPPOSITE = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


def places(tree):
    """(node, field) of everything that can be changed, outside of annotations, docstrings and the words of errors."""
    found = []

    def walk(node):
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list") or isinstance(node, (ast.Raise, ast.JoinedStr)):
                continue
            if isinstance(node, ast.keyword) and node.arg == "decimals":  # how a board shows it
                continue
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in ("Float", "Shaped"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    walk(child)
        if isinstance(node, ast.BinOp) and type(node.op) in OPPOSITE:
            found.append((node, "op"))
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPPOSITE:
            found.append((node, "ops"))
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            found.append((node, "value"))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            found.append((node, "sign"))

    walk(tree)
    return found


def mutant(source, number):
    """The source with its change of that number, and the line in words."""
    tree = ast.parse(source)
    node, field = places(tree)[number]
    before = ast.unparse(node)
    if field == "op":
        node.op = OPPOSITE[type(node.op)]()
    elif field == "ops":
        node.ops[0] = OPPOSITE[type(node.ops[0])]()
    elif field == "value":
        node.value = node.value + 1 if isinstance(node.value, int) else node.value * 1.25 + 1e-3
    else:
        node.op = ast.UAdd()
    return ast.unparse(tree), f"line {node.lineno}: {before} -> {ast.unparse(node)}"


def caught(tree, tests, only):
    """Does a test fail? Of the tests, `only` those whose name or file has that word."""
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "-k", only]
    alone = {"PYTHONPATH": str(tree.parent), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    files = [f"tests/{name}.py" for name in tests]
    try:
        done = subprocess.run([*words, *files], cwd=tree, env=os.environ | alone, capture_output=True, timeout=600)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode == 1 or done.returncode == 2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("stem", nargs="*", default=list(TESTS), help="such as metrics/ssim; default: all")
    parser.add_argument("--each", type=int, default=8, help="mutants of each file, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tried, survived = 0, []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "sarbench"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "runs", "*.egg-info", "__pycache__"))
        for stem in args.stem:
            file = tree / "bench" / f"{stem}.py"
            source = file.read_text()
            tests = dict.fromkeys([f"test_{stem.rpartition('/')[2]}", *TESTS[stem]])
            tests = [name for name in tests if (tree / "tests" / f"{name}.py").is_file()]
            only = stem.removeprefix("metrics/") if tests and TESTS[stem] is PIXELS else ""
            if caught(tree, tests, only):
                sys.exit(f"{stem}: {', '.join(tests)} fail without a change")
            every = range(len(places(ast.parse(source))))
            for number in sorted(random.Random(f"{args.seed} {stem}").sample(every, min(args.each, len(every)))):
                text, words = mutant(copy.copy(source), number)
                file.write_text(text)
                tried += 1
                if not caught(tree, tests, only):
                    survived.append(f"{stem} {words}")
                    print(f"survived: {survived[-1]}", flush=True)
            file.write_text(source)
            print(f"{stem}: {tried} tried so far, {len(survived)} survived", flush=True)
    print(f"{tried} mutants, {len(survived)} survived")


if __name__ == "__main__":
    main()
