import argparse
import ast
import json
import subprocess
import sys
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine

from sarbench.bench import assets, one_pass, registry, score
from sarbench.bench.errors import ContractError
from sarbench.bench.images import read_header, read_image, write_image
from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.score import score_folders
from sarbench.bench.summary import Summary

CLASSIC = ("psnr", "ssim", "scc", "total_variation")


def save(path, seed, shape=(32, 40, 3)):
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    write_image(path, cv2.GaussianBlur(pixels, (0, 0), 1).reshape(shape))


@pytest.fixture
def folders(tmp_path):
    """Nine pairs in two sizes and a sub-folder; file types differ between the sides."""
    names = [f"{'b/' if i % 2 else 'a'}{i}" for i in range(9)]
    for i, name in enumerate(names):
        shape = (32, 40, 3) if i % 3 else (48, 36, 3)
        save(tmp_path / "translated" / f"{name}.png", i, shape)
        save(tmp_path / "reference" / f"{name}.tif", 100 + i, shape)
    return tmp_path / "translated", tmp_path / "reference"


@pytest.fixture
def plugin(monkeypatch):
    """Add a metric that scores by a function of the two sides."""

    def add(rows, name="made_up", **fields):
        metric = Metric(name, f"{name};v1", "", True, rows, **fields)
        known = registry.load_metric
        monkeypatch.setattr(registry, "load_metric", lambda wanted: metric if wanted == name else known(wanted))

    return add


def score_of(folders, metrics=CLASSIC, **options):
    return score_folders(*folders, metrics, progress=False, **options)


def test_every_row_is_the_metric_of_its_own_pair(folders):
    scores = score_of(folders)
    assert list(scores.ids) == sorted(scores.ids)
    assert len(scores.ids) == 9
    for i, name in enumerate(scores.ids):
        pair = [
            ImageBatch(read_image(folder / f"{name}{end}")[None]) for folder, end in zip(folders, (".png", ".tif"), strict=True)
        ]
        for metric in ("psnr", "ssim", "scc"):
            assert scores.columns[metric][i] == registry.load_metric(metric).rows(*pair)[0]
        assert scores.columns["total_variation"][i] == registry.load_metric("total_variation").rows(pair[0])[0]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_batch_size_changes_nothing(folders, size):
    whole, parts = score_of(folders, batch_size=100), score_of(folders, batch_size=size)
    assert whole.ids == parts.ids
    for name in CLASSIC:
        np.testing.assert_array_equal(whole.columns[name], parts.columns[name])


def test_the_batch_size_does_not_change_lpips(folders, monkeypatch):
    from sarbench.bench.metrics.networks import lpips

    rng = torch.Generator().manual_seed(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    weights = {f"features.{i}.weight": torch.randn(s, generator=rng) / 50 for i, s in shapes.items()}
    weights |= {f"features.{i}.bias": torch.zeros(s[0]) for i, s in shapes.items()}
    weights |= {f"lin{k}.model.1.weight": torch.rand(1, s[0], 1, 1, generator=rng) for k, s in enumerate(shapes.values())}
    monkeypatch.setattr(lpips, "load", lambda backbone: lpips.Lpips(backbone, weights))
    monkeypatch.setattr(assets, "find", lambda name: None)
    columns = [score_of(folders, ["lpips"], batch_size=size).columns["lpips"] for size in (1, 2, 7, 100)]
    assert columns[0].min() > 1e-3
    for column in columns[1:]:
        np.testing.assert_allclose(column, columns[0], atol=1e-6)


def test_chosen_ids_are_scored_in_their_order(folders):
    whole, some = score_of(folders), score_of(folders, ids=["b/7", "a0"])
    assert some.ids == ("b/7", "a0")
    assert some.columns["psnr"].tolist() == [whole.columns["psnr"][whole.ids.index(name)] for name in some.ids]


def test_every_image_is_decoded_once_and_few_are_held(folders, monkeypatch, plugin):
    decoded, held, lock = [], [], threading.Lock()

    def watched(path):
        with lock:
            decoded.append(path)
        return read_image(path)

    def rows(translated, reference):
        held.append(len(decoded))
        return np.zeros(len(translated))

    monkeypatch.setattr(one_pass, "read_image", watched)
    plugin(rows)
    score_of(folders, [*CLASSIC, "made_up"], batch_size=1)
    assert len(decoded) == len(set(decoded)) == 18
    assert all(n <= 2 * (i + 1 + one_pass.BATCHES_AHEAD) for i, n in enumerate(held))


def test_missing_partners_are_all_named_at_once(folders):
    (folders[0] / "a0.png").unlink()
    (folders[1] / "b" / "3.tif").unlink()
    (folders[1] / "a2.tif").unlink()
    with pytest.raises(ContractError) as caught:
        score_of(folders)
    assert f"1 missing in {folders[0]}: a0" in str(caught.value)
    assert f"2 missing in {folders[1]}: a2, b/3" in str(caught.value)


def test_a_long_list_of_missing_partners_is_cut(tmp_path):
    for i in range(25):
        save(tmp_path / "x" / f"{i:02}.png", i, (8, 8, 1))
    (tmp_path / "y").mkdir()
    with pytest.raises(ContractError, match=r"25 missing in .*: 00, 01, .*, 09 and 15 more$"):
        score_of((tmp_path / "x", tmp_path / "y"))


def test_ids_without_a_file_are_named(folders):
    with pytest.raises(ContractError, match="nowhere"):
        score_of(folders, ids=["a0", "nowhere"])


def test_all_images_that_do_not_fit_are_named_before_any_is_decoded(folders, monkeypatch):
    save(folders[0] / "a0.png", 0, (10, 10, 3))
    save(folders[0] / "b" / "1.png", 0, (32, 40, 1))
    cv2.imwrite(str(folders[0] / "a2.png"), np.zeros((32, 40, 3), np.uint16))
    (folders[1] / "b" / "3.tif").unlink()
    with rasterio.open(folders[1] / "b" / "3.tif", "w", "GTiff", 36, 48, 3, dtype="float32", transform=Affine.scale(2)) as file:
        file.write(np.zeros((3, 48, 36), np.float32))
    (folders[1] / "b" / "5.tif").write_bytes(b"")
    monkeypatch.setattr(one_pass, "read_image", lambda path: pytest.fail("decoded"))
    with pytest.raises(ContractError) as caught:
        score_of(folders)
    text = str(caught.value)
    assert text.startswith("5 images can't be scored")
    assert "a0.png is 10x10x3 uint8 but" in text
    assert "1.png is 32x40x1 uint8 but" in text
    assert "a2.png is 32x40x3 uint16 but" in text
    assert "3.tif holds float32, whose range is unknown" in text
    assert "5.tif is an empty file" in text


def test_bands_and_depth_must_be_one_over_the_whole_folder(folders):
    for folder, end in zip(folders, (".png", ".tif"), strict=True):
        save(folder / f"z{end}", 0, (32, 40, 1))
    with pytest.raises(ContractError, match=r"z\.png is 32x40x1 uint8, other than the first image, 48x36x3 uint8"):
        score_of(folders)


def test_a_truncated_image_is_named(folders):
    file = folders[0] / "a4.png"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ContractError, match=r"a4\.png can't be read"):
        score_of(folders)


def test_an_image_too_small_for_a_metric_is_named(tmp_path):
    for side in ("x", "y"):
        save(tmp_path / side / "tiny.png", 0, (9, 9, 3))
    with pytest.raises(ContractError, match=r"tiny\.png: ssim needs images of at least 11x11 px"):
        score_of((tmp_path / "x", tmp_path / "y"))


def test_without_a_reference_only_metrics_of_single_images_are_taken(folders):
    scores = score_of((folders[0], None), ["total_variation"])
    np.testing.assert_array_equal(scores.columns["total_variation"], score_of(folders).columns["total_variation"])
    with pytest.raises(ContractError, match="psnr, ssim need the folder of reference images"):
        score_of((folders[0], None), ["psnr", "ssim", "total_variation"])


def test_requests_that_mean_nothing_are_refused(folders, tmp_path):
    with pytest.raises(ContractError, match="no metric chosen"):
        score_of(folders, [])
    with pytest.raises(ContractError, match="did you mean 'psnr'"):
        score_of(folders, ["psnrr"])
    with pytest.raises(ContractError, match="batch size of 0"):
        score_of(folders, batch_size=0)
    with pytest.raises(ContractError, match="one name twice"):
        score_of(folders, ids=["a0", "a0"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ContractError, match="nothing to score"):
        score_of((tmp_path / "empty", tmp_path / "empty"))


def test_absent_weights_leave_a_metric_unmeasured_and_the_others_measured(folders, monkeypatch, tmp_path):
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path / "none"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    scores = score_of(folders, ["lpips", "psnr"])
    assert list(scores.columns) == ["psnr"]
    assert scores.unmeasured["lpips"].startswith("not measured: alexnet missing")
    assert scores.summary()["lpips"] == Summary(None, None, 0, 0, 0)
    assert scores.reasons() == {"lpips": scores.unmeasured["lpips"]}
    assert "sarbench fetch alexnet" in scores.table()


def test_identical_folders_have_no_mean_psnr(folders):
    scores = score_folders(folders[0], folders[0], CLASSIC, progress=False)
    assert scores.summary()["psnr"].value is None
    assert scores.reasons()["psnr"] == "infinite: 9 of 9 pairs are identical"
    assert scores.summary()["ssim"].value == 1


def test_the_signature_says_which_bands_and_depth_were_scored(folders, tmp_path):
    assert score_of(folders).signatures["ssim"] == "ssim;gauss11s1.5;rgb-mean;range255;valid;v1"
    for side in ("x", "y"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "a.png"), np.zeros((20, 20), np.uint16))
    grey = score_of((tmp_path / "x", tmp_path / "y"))
    assert grey.signatures["ssim"] == "ssim;gauss11s1.5;grey-mean;range65535;valid;v1"


def test_the_table_shows_direction_mean_spread_count_and_signature(folders):
    scores = score_of(folders)
    lines = scores.table().splitlines()
    for name, arrow in (("psnr", "↑"), ("total_variation", "↓")):
        (line,) = [line for line in lines if line.startswith(name)]
        summary = scores.summary()[name]
        for part in (f"{name} {arrow}", f"{summary.value:.2f}", f"{summary.std:.2f}", " 9 ", scores.signatures[name]):
            assert part in line


def parsed(*words):
    parser = argparse.ArgumentParser()
    score.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_the_command_prints_the_table_of_the_chosen_metrics(folders, capsys):
    assert score.command(parsed(*folders, "--metric", "psnr", "--metric", "ssim")) == 0
    out = capsys.readouterr().out
    assert "psnr ↑" in out
    assert "ssim ↑" in out
    assert "scc" not in out


def test_the_command_prints_json_on_stdout_and_progress_on_stderr(folders, capsys):
    assert score.command(parsed(*folders, "--metric", "psnr", "--json")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["metrics"]["psnr"]["n"] == 9
    assert "9/9" in captured.err


def test_the_command_takes_all_metrics_that_can_be_taken(folders, capsys):
    assert score.command(parsed(folders[0])) == 0
    out = capsys.readouterr().out
    assert "total_variation" in out
    assert "psnr" not in out


def test_the_command_fails_where_nothing_was_measured(folders, monkeypatch, tmp_path):
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path / "none"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    assert score.command(parsed(*folders, "--metric", "lpips")) == 1


def test_importing_the_command_imports_nothing_heavy():
    code = "import sys; from sarbench.bench import score; print({'torch', 'cv2', 'pandas', 'numpy', 'tqdm'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("file", sorted(registry.FOLDERS["metrics"].glob("*.py")), ids=lambda file: file.stem)
def test_no_metric_file_imports_torch_when_it_is_imported(file):
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in getattr(node, "names", [])] + [getattr(node, "module", None) or ""]
        assert not isinstance(node, ast.Import | ast.ImportFrom) or not any(name.split(".")[0] == "torch" for name in names)


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_every_metric_gives_one_float64_a_sample_and_names_itself(name):
    metric = registry.load_metric(name)
    assert metric.name == name
    assert metric.signature.startswith(f"{name};")
    assert metric.signature.rpartition(";")[2].startswith("v")
    assert set(metric.assets) <= set(assets.ASSETS)
    if not metric.assets:
        image = ImageBatch(np.random.default_rng(0).integers(0, 256, (3, 176, 176, 3)).astype(np.uint8))
        rows = metric.rows(*[replace(image) for _ in metric.reads])
        assert rows.dtype == np.float64
        assert rows.shape == (3,)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("grey.png", np.zeros((5, 6), np.uint8)),
        ("colour.png", np.zeros((5, 6, 3), np.uint8)),
        ("deep_grey.png", np.zeros((5, 6), np.uint16)),
        ("deep_colour.png", np.zeros((5, 6, 3), np.uint16)),
        ("colour.jpg", np.zeros((5, 6, 3), np.uint8)),
        ("colour.tif", np.zeros((5, 6, 3), np.uint8)),
        ("deep.tif", np.zeros((5, 6), np.uint16)),
        ("signed.tif", np.zeros((5, 6), np.int16)),
        ("float.tif", np.zeros((5, 6), np.float32)),
    ],
)
def test_a_header_says_what_decoding_gives(tmp_path, name, pixels):
    cv2.imwrite(str(tmp_path / name), pixels)
    header, image = read_header(tmp_path / name), read_image(tmp_path / name)
    assert (header.height, header.width, header.channels) == image.shape
    assert header.dtype == image.dtype.name


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_header_says_what_decoding_gives_for_every_kind_of_png(tmp_path, mode):
    from PIL import Image

    Image.new("RGB", (6, 5), "red").convert(mode).save(tmp_path / "image.png")
    header, image = read_header(tmp_path / "image.png"), read_image(tmp_path / "image.png")
    assert (header.height, header.width, header.channels, header.dtype) == (*image.shape, image.dtype.name)


def test_a_header_with_an_alpha_channel_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((5, 6, 4), np.uint8))
    with pytest.raises(ContractError, match="alpha"):
        read_header(tmp_path / "image.png")


# --- Labels ---


@pytest.fixture
def labelled(folders, tmp_path):
    """Class maps of the nine pairs: classes 0 and 3, and a part that is not labelled."""
    for name in score_of(folders, ["psnr"]).ids:
        height, width = read_image(folders[0] / f"{name}.png").shape[:2]
        classes = np.full((height, width, 1), 255, np.uint8)
        classes[:, : width // 2], classes[: height // 2, width // 2 :] = 0, 3
        write_image(tmp_path / "labels" / f"{name}.png", classes)
    return tmp_path / "labels"


def test_scores_by_class_are_pooled_over_all_images(folders, labelled):
    from sarbench.bench import per_class

    found = score_of(folders, ["psnr"], labels=labelled).by_class()
    total = per_class.Tally(np.zeros(4), np.zeros(4, np.int64))
    for name in score_of(folders, ["psnr"]).ids:
        x, y = (
            ImageBatch(read_image(folder / f"{name}{end}")[None]) for folder, end in zip(folders, (".png", ".tif"), strict=True)
        )
        classes = read_image(labelled / f"{name}.png")[None, ..., 0]
        total += per_class.per_class(per_class.squared_error(x, y), classes, 4)
    assert list(found) == ["0", "3"]
    assert [found[name].pixels for name in found] == [int(total.counts[0]), int(total.counts[3])]
    assert found["3"].psnr == pytest.approx(per_class.psnr(total)[3], rel=1e-12)


def test_labels_change_no_score_and_cost_one_decode_each(folders, labelled, monkeypatch):
    plain, decoded = score_of(folders), []
    monkeypatch.setattr(one_pass, "read_image", lambda path: decoded.append(path) or read_image(path))
    with_labels = score_of(folders, labels=labelled)
    assert len(decoded) == len(set(decoded)) == 27
    assert with_labels.signatures == plain.signatures
    for name in CLASSIC:
        np.testing.assert_array_equal(with_labels.columns[name], plain.columns[name])


@pytest.mark.parametrize("size", [1, 7])
def test_scores_by_class_do_not_depend_on_the_batch_size(folders, labelled, size):
    whole, parts = (score_of(folders, ["psnr"], labels=labelled, batch_size=n) for n in (100, size))
    np.testing.assert_array_equal(whole.tallies, parts.tallies)


def test_named_classes_are_all_that_there_are(folders, labelled):
    names = ("sea", "ice", "sand", "rock")
    assert list(score_of(folders, ["psnr"], labels=labelled, classes=names).by_class()) == ["sea", "rock"]
    with pytest.raises(ContractError, match="labels 3 are no class: there are 3, and 255 for unlabelled"):
        score_of(folders, ["psnr"], labels=labelled, classes=names[:3])


def test_all_bad_class_maps_are_named_in_one_error(folders, labelled):
    write_image(labelled / "a0.png", np.zeros((5, 6, 1), np.uint8))
    write_image(labelled / "a2.png", np.zeros((32, 40, 3), np.uint8))
    cv2.imwrite(str(labelled / "a4.png"), np.zeros((32, 40), np.uint16))
    (labelled / "b" / "1.png").write_bytes(b"")
    with pytest.raises(ContractError) as caught:
        score_of(folders, ["psnr"], labels=labelled)
    text = str(caught.value)
    assert text.startswith("4 class maps can't be used; labels are 8-bit images of one band")
    for words in ("a0.png is 5x6x1 uint8 but", "a2.png is 32x40x3 uint8", "a4.png is 32x40x1 uint16", "1.png is an empty file"):
        assert words in text


def test_a_missing_class_map_is_named(folders, labelled):
    (labelled / "a0.png").unlink()
    with pytest.raises(ContractError, match=f"1 missing in {labelled}: a0"):
        score_of(folders, ["psnr"], labels=labelled)


def test_labels_without_references_are_refused(folders, labelled):
    with pytest.raises(ContractError, match="scores by class compare an image with its own reference"):
        score_of((folders[0], None), ["total_variation"], labels=labelled)
    with pytest.raises(ContractError, match="scores by class compare an image with its own reference"):
        score_of(folders, ["total_variation"], labels=labelled, paired=False)


def test_the_command_prints_the_classes_as_a_table_and_as_json(folders, labelled, capsys):
    assert score.command(parsed(*folders, "--metric", "psnr", "--labels", labelled)) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[-2:]] == ["0", "3"]
    assert score.command(parsed(*folders, "--metric", "psnr", "--labels", labelled, "--json")) == 0
    found = json.loads(capsys.readouterr().out)["by_class"]
    assert set(found) == {"0", "3"}
    assert set(found["0"]) == {"pixels", "psnr", "ssim"}


# --- Shifts ---


def test_the_shifts_of_a_pair_are_searched_once_for_all_that_ask(folders, monkeypatch):
    from sarbench.bench.metrics import _shifts, ssim_shift

    searched = []
    compute = _shifts.moved
    assert ssim_shift.moved is compute  # its own use, of the one window it needs, is not counted
    monkeypatch.setattr(_shifts, "moved", lambda *given: searched.append(0) or compute(*given))
    scores = score_of(folders, ["psnr_shift", "ssim_shift"])
    assert len(searched) == 9 * 49
    assert scores.shifts.shape == (9, 2)


def test_the_twins_are_the_same_alone_and_together(folders):
    together = score_of(folders, ["psnr_shift", "ssim_shift"]).columns
    for name, column in together.items():
        np.testing.assert_array_equal(score_of(folders, [name]).columns[name], column)
    for i, name in enumerate(score_of(folders, ["psnr"]).ids):
        pair = [
            ImageBatch(read_image(folder / f"{name}{end}")[None]) for folder, end in zip(folders, (".png", ".tif"), strict=True)
        ]
        for metric in together:
            assert together[metric][i] == registry.load_metric(metric).rows(*pair)[0]


def test_shifts_are_searched_only_where_psnr_shift_is_measured(folders):
    assert score_of(folders, ["psnr", "ssim_shift"]).shifts is None


def test_images_of_too_few_bands_leave_a_metric_unmeasured_and_say_why(tmp_path):
    for side in ("x", "y"):
        save(tmp_path / side / "grey.png", 0, (20, 20, 1))
    scores = score_of((tmp_path / "x", tmp_path / "y"), ["psnr", "sam"])
    assert list(scores.columns) == ["psnr"]
    assert scores.unmeasured == {"sam": "not measured: it needs images of 2 bands or more, these have 1"}
