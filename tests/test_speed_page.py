"""The page of speeds says what pytest-benchmark measured, and nothing that it did not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sarbench.bench.errors import ContractError
from sarbench.bench.leaderboard import check_pages, write_pages
from sarbench.bench.speed_page import page

MACHINE = {"threads": 2, "torch": "2.9", "python_version": "3.11.7", "cpu": {"brand_raw": "A processor"}, "machine": "x86_64"}


def benchmark(ratios, name="test_a_metric_of_pixels[ssim]", images=16):
    return {"name": name, "extra_info": {"images": images, "peers": {"piq": {"version": "0.8", "ratios": ratios}}}}


def written(folder, *benchmarks):
    file = folder / "speed.json"
    file.write_text(json.dumps({"benchmarks": benchmarks, "machine_info": MACHINE}))
    return file


def test_a_row_gives_the_median_of_the_ratios_and_their_range(tmp_path):
    text = page(written(tmp_path, benchmark([9.0, 2.0, 4.0])))
    row = next(line for line in text.splitlines() if "ssim" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [r"a metric of pixels\[ssim\]", "piq 0.8", "16", "4", "2 to 9"]
    assert "A processor, 2 threads; Python 3.11.7, torch 2.9" in text


def test_one_round_has_no_range(tmp_path):
    assert "one round" in page(written(tmp_path, benchmark([3.0])))


def test_a_benchmark_without_a_peer_gives_no_row(tmp_path):
    assert "Nothing was compared" in page(written(tmp_path, {"name": "test_x", "extra_info": {}}))


def test_seconds_do_not_stand_on_the_page(tmp_path):
    text = page(written(tmp_path, benchmark([3.0]) | {"stats": {"median": 0.123456}}))
    assert "0.123" not in text


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "speed.json").write_text("{}")
    with pytest.raises(ContractError, match="lacks benchmarks, machine_info"):
        page(tmp_path / "speed.json")


def test_the_page_is_written_and_checked_with_the_boards(tmp_path):
    written(tmp_path, benchmark([3.0]))
    write_pages(tmp_path)
    assert check_pages(tmp_path) == []
    written(tmp_path, benchmark([4.0]))
    assert check_pages(tmp_path) == [f"{tmp_path / 'speed.md'} differs from what the measurements in speed.json give"]


@pytest.mark.slow
def test_a_race_is_measured_and_its_json_makes_a_page(tmp_path):
    file, root = tmp_path / "speed.json", Path(__file__).parents[1]
    words = [
        sys.executable,
        "-m",
        "pytest",
        "bench/test_speed_metrics.py",
        "-k",
        "pixels and psnr",
        "--benchmark-json",
        str(file),
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # none of xdist's
    subprocess.run(words, cwd=root, env=environ, check=True, capture_output=True, timeout=300)
    assert set(json.loads(file.read_text())["machine_info"]) == set(MACHINE)
    text = page(file)
    assert "torchmetrics" in text
    assert "a metric of pixels[psnr]" in text.replace("\\", "")
