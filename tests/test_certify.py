import json
from pathlib import Path

import numpy as np
import pytest

from sarbench.bench import certify, leaderboard
from sarbench.bench.certification import corpus, networks, oracles, page, selves, set_oracles, structure
from sarbench.bench.certification.network_oracles import names as with_networks
from sarbench.bench.certification.packages import PACKAGES, Oracle
from sarbench.bench.certification.rows import Row, compared, deviation
from sarbench.bench.certify import certificates
from sarbench.bench.cli import main
from sarbench.bench.errors import ContractError
from sarbench.bench.metrics import _structure, kid, rmse

BOARDS = Path(__file__).parent.parent / "leaderboards"


def quiet(line):
    pass


def flat(value, bands=3, shape=(20, 20)):
    return np.full((*shape, bands), float(value))


def row(**changes):
    return Row(**{"metric": "ssim", "part": "", "kind": "library", "reference": "piq", "version": "1", "call": "f", **changes})


# --- The selves, by hand ---------------------------------------------------------------------------------------------


def test_the_selves_of_squared_errors_follow_the_formulas_by_hand():
    assert selves.psnr(flat(60), flat(111), 255) == pytest.approx(20 * np.log10(5), rel=1e-14)
    assert selves.OF_PAIRS["psnr@piq"](flat(7), flat(7), 255) == pytest.approx(80)
    assert selves.rmse(flat(10), flat(13), 255) == pytest.approx(3)
    assert selves.rmse_gcgan(flat(10), flat(13), 255) == pytest.approx(3 * 3**0.5)
    assert selves.accuracy(flat(10), flat(15), 255, 5) == 0
    assert selves.accuracy(flat(10), flat(14), 255, 5) == 100
    assert selves.ergas(flat(110), flat(100), 255) == pytest.approx(10)
    assert selves.ergas_of_libraries(flat(110), flat(100), 255) == pytest.approx(2.5)
    assert np.isnan(selves.ergas(flat(1), flat(0), 255))
    assert np.isinf(selves.ergas_of_libraries(flat(1), flat(0), 255))


def test_the_self_of_ssim_is_the_luminance_of_flat_images_under_every_window():
    luminance = (2 * 50 * 100 + 2.55**2) / (50**2 + 100**2 + 2.55**2)
    for self in (structure.ssim, structure.ssim_torchmetrics, structure.ssim_piq, structure.ssim_skimage, structure.ssim_pyiqa):
        assert self(flat(50), flat(100), 255) == pytest.approx(luminance, rel=1e-6)
    assert structure.ms_ssim(flat(50, 1, (176, 176)), flat(100, 1, (176, 176)), 255) == pytest.approx(luminance**0.1333)


def test_the_selves_of_fine_structure_and_spectra_follow_the_formulas_by_hand():
    x = np.random.default_rng(0).integers(0, 256, (20, 20, 2)).astype(float)
    assert selves.scc(x, 255 - x, 255) == pytest.approx(-1)
    assert selves.scc_local(x, x, 255) == pytest.approx(1)
    assert selves.scc(flat(3), flat(3), 255) == selves.scc_local(flat(3), flat(3), 255) == 0
    assert selves.total_variation(np.tile(np.arange(0.0, 40, 2), (20, 1))[..., None], 255) == pytest.approx(1)
    red, yellow = np.array([[[7.0, 0]]]), np.array([[[9.0, 9]]])
    assert selves.sam(red, yellow, 255) == pytest.approx(45)
    assert selves.sam_sewar(red, yellow, 255) == pytest.approx(np.pi / 4)
    assert selves.copy_ratio(flat(3), flat(5), flat(9), 255) == pytest.approx(2 / 6)
    assert np.isinf(selves.psnr_shift(x[:, 2:], x[:, :-2], 255))


def test_the_selves_of_sets_follow_the_formulas_by_hand():
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    assert selves.kid(x, y) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)
    assert selves.frechet(x, y + 1) == pytest.approx(9)
    assert selves.frechet(x, 3 * x) == pytest.approx(1 + 2)  # variances 1/2 and 9/2: (3 - 1)^2 / 2


def test_the_layers_of_the_networks_selves_follow_their_definitions_by_hand():
    x = np.arange(16.0).reshape(1, 4, 4)
    box = np.ones((1, 1, 3, 3))
    assert networks.convolved(x, box).tolist() == [[[45, 54], [81, 90]]]
    assert networks.convolved(x, box, 2, (1, 1)).tolist() == [[[10, 24], [51, 90]]]
    assert networks.pooled(x, 2, 2).tolist() == [[[5, 7], [13, 15]]]
    assert networks.pooled(x, 3, 2, ceil=True).tolist() == [[[10, 11], [14, 15]]]
    assert networks.pooled(x, 3, 1, 1, mean=True)[0, 0, 0] == (0 + 1 + 4 + 5) / 4
    assert networks.corners(3, 2).tolist() == [[1, 0], [0.5, 0.5], [0, 1]]
    assert networks.neighbours(4, 2, from_centre=True).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    assert networks.neighbours(4, 2, from_centre=False).tolist() == [[1, 0], [0.5, 0.5], [0, 1], [0, 1]]
    np.testing.assert_allclose(networks.smoothing(2, 4, networks._triangle)[0], np.array([3, 3, 1, 0]) / 7)


def test_every_metric_and_convention_has_a_self_and_every_oracle_a_metric():
    known = {*selves.OF_PAIRS, *selves.OF_SETS, *with_networks()}
    assert known == set(certify.names())
    for oracle in (*oracles.OF_PAIRS, *set_oracles.OF_SETS):
        assert oracle.metric in known
        assert oracle.package in PACKAGES
        assert oracle.follows or oracle.why


# --- Comparing -------------------------------------------------------------------------------------------------------


def test_deviations_are_relative_to_the_reference_but_not_to_next_to_nothing():
    assert deviation(3, 2) == (1, 0.5)
    assert deviation([1.0, 4.5], [1.0, 5.0]) == (0.5, 0.1)
    assert deviation(1e-5, 0) == pytest.approx((1e-5, 1e-3))
    assert deviation(np.nan, np.nan) == deviation(np.inf, np.inf) == (0, 0)
    assert deviation(np.nan, 1) == deviation(1, np.inf) == (np.inf, np.inf)


def test_a_row_names_the_worst_case_and_the_first_beyond_its_tolerance():
    found = {"a": 1.0, "b": 1.001, "c": 2.0, "d": np.nan, "left out": 3.0}
    told = compared(row(tolerance=1e-4), found, {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0})
    assert (told.worst, told.first, told.undefined_on, told.cases) == ("c", "b", ("d",), 4)
    assert (told.absolute, told.relative, told.fails) == (1, 1, True)


def test_one_undefined_value_alone_breaks_the_promise_and_so_does_nothing_to_compare():
    assert compared(row(tolerance=1e-4), {"a": np.inf}, {"a": 1.0}).fails
    assert compared(row(tolerance=1e-4), {}, {}).fails
    assert not compared(row(kind="difference"), {"a": 2.0}, {"a": 1.0}).fails
    assert not row(tolerance=1e-4, status="not installed").fails


def test_digits_that_belong_to_the_processor_are_not_written():
    told = compared(row(tolerance=1e-5), {"a": 1 + 3e-13, "b": 1.0}, {"a": 1.0, "b": 1.0})
    assert (told.relative, told.absolute, told.worst) == (0, 0, "")
    assert compared(row(tolerance=1e-5), {"a": 1 + 1.23456e-7}, {"a": 1.0}).relative == 1.23e-7


def test_a_planted_fault_fails_and_names_the_metric_the_image_and_the_deviation(monkeypatch, capsys):
    monkeypatch.delenv("SARBENCH_DATA", raising=False)
    assert main(["certify", "--metric", "rmse"]) == 0
    right = rmse.mean_squared_error
    monkeypatch.setattr(rmse, "mean_squared_error", lambda x, y: 1.0001 * right(x, y))
    capsys.readouterr()
    assert main(["certify", "--metric", "rmse"]) == 1
    told = capsys.readouterr().out.splitlines()[-2:]
    assert "rmse deviates from float64 self by 5.00e-05 relative" in told[0]
    assert "first on 'noisy'" in told[0]
    assert "allowed are 1e-05" in told[0]


def test_a_window_of_another_sigma_in_ssim_is_found():
    pair = {"noisy": corpus.images()["noisy"]}
    (subject,) = certify.subjects("ssim", pair, {})
    assert not next(iter(certify.rows_of(subject, lambda name: {}))).fails
    before = _structure.GAUSSIAN.weights.copy()
    try:
        _structure.GAUSSIAN.weights[:] = _structure.gaussian(5, 1.501)
        fault = next(iter(certify.rows_of(subject, lambda name: {})))
    finally:
        _structure.GAUSSIAN.weights[:] = before
    assert fault.fails
    assert (fault.first, fault.worst) == ("noisy", "noisy")
    assert 1e-5 < fault.relative < 1e-2


def test_a_kernel_without_its_1_in_kid_is_found(monkeypatch):
    sets = {"few": corpus.feature_sets()["40 and 50 vectors, 64 wide"]}
    (subject, *_) = certify.subjects("kid", {}, sets)
    monkeypatch.setattr(kid, "_kernel", lambda x, y: (x @ y.T / x.shape[1]) ** 3)
    assert next(iter(certify.rows_of(subject, lambda name: {}))).fails


def subject_with(oracle):
    pair = corpus.images()["noisy"]
    return certify.Subject("psnr", "", {"noisy": pair}, lambda p: 1.0, lambda p: 1.0, 1e-5, [oracle])


def test_a_package_that_is_not_installed_is_a_row_and_no_failure():
    rows = list(certify.rows_of(subject_with(Oracle("no-such-package", "f", "psnr", lambda p: 1.0)), lambda name: {}))
    assert [(r.kind, r.status, r.fails) for r in rows] == [("self", "compared", False), ("library", "not installed", False)]


def test_a_package_that_breaks_is_a_row_with_its_words_and_no_failure():
    def broken(pair):
        raise TypeError("sqrtm() got an unexpected keyword argument 'disp'\nand more")

    rows = list(certify.rows_of(subject_with(Oracle("numpy", "f", "psnr", broken)), lambda name: {}))
    assert rows[1].status == "can't run: TypeError: sqrtm() got an unexpected keyword argument 'disp'"
    assert not rows[1].fails


def test_a_metric_without_a_self_fails():
    subject = certify.Subject("psnr", "", {"noisy": 1}, lambda p: 1.0, None, 1e-5, [])
    (told,) = certify.rows_of(subject, lambda name: {})
    assert told.fails
    assert "add one" in told.status


def test_a_package_of_another_convention_gets_the_difference_from_the_plain_metric_and_why():
    oracle = Oracle("numpy", "f", "psnr@piq", lambda p: 1.0, "it adds")
    subject = certify.Subject("psnr@piq", "", {"noisy": 1}, lambda p: 1.0, lambda p: 1.0, 1e-5, [oracle])
    _, same, other = certify.rows_of(subject, lambda name: {"noisy": {"psnr": 1.5}[name]})
    assert (same.metric, same.kind, same.relative, same.fails) == ("psnr@piq", "library", 0, False)
    assert (other.metric, other.kind, other.relative, other.first, other.why) == ("psnr", "difference", 0.5, "noisy", "it adds")


def test_an_unknown_metric_is_refused():
    with pytest.raises(ContractError, match="unknown metric 'psnrr'"):
        certificates(["psnrr"], tell=quiet)


def test_a_metric_brings_its_conventions_and_a_convention_comes_alone():
    assert certify.names(["rmse"]) == ["rmse", "rmse@gcgan"]
    assert certify.names(["rmse@gcgan"]) == ["rmse@gcgan"]


# --- Files -----------------------------------------------------------------------------------------------------------


def test_the_same_versions_give_the_same_file():
    first, second = (certificates(["total_variation", "copy_ratio"], tell=quiet) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    metrics = [r["metric"] for r in first["rows"]]
    assert metrics == sorted(metrics)
    assert set(metrics) == {"total_variation", "total_variation@piq", "total_variation@torchmetrics", "copy_ratio"}


def test_a_part_is_printed_and_nothing_is_written(tmp_path, capsys):
    assert main(["certify", "--metric", "rmse@gcgan", "--leaderboards", str(tmp_path)]) == 0
    assert list(tmp_path.iterdir()) == []
    assert "| `rmse@gcgan`" in capsys.readouterr().out


def test_the_whole_is_written_and_is_what_the_board_check_wants(tmp_path, monkeypatch):
    monkeypatch.setattr(certify, "names", lambda chosen: ["rmse"])
    assert main(["certify", "--leaderboards", str(tmp_path)]) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["certificates.json", "certificates.md"]
    leaderboard.write_pages(tmp_path)
    assert leaderboard.check_pages(tmp_path) == []
    assert "(certificates.md)" in (tmp_path / "README.md").read_text()
    (tmp_path / "certificates.md").write_text(page.GENERATED)
    assert leaderboard.check_pages(tmp_path) == [
        f"{tmp_path / 'certificates.md'} differs from what the numbers in certificates.json give"
    ]


def test_the_page_in_git_is_made_from_the_json_in_git_and_every_promise_is_kept():
    found = page.read(BOARDS / page.JSON)
    assert (BOARDS / page.PAGE).read_text() == page.page(found)
    assert not [told for told in found["rows"] if told["fails"]]
    assert {told["metric"] for told in found["rows"]} >= set(certify.names())


def test_the_page_says_what_is_missing_broken_and_alone():
    rows = [
        row(kind="self", reference="float64 self", tolerance=1e-5, cases=1, metric="alone"),
        row(tolerance=1e-4, relative=0.5, absolute=0.5, first="dark", worst="dark", cases=2),
        row(tolerance=1e-4, status="not installed", reference="sewar", version=""),
        row(kind="difference", why="another *window*", first="noisy", worst="dark", relative=0.25, absolute=0.5, cases=2),
    ]
    found = {
        "corpus": {"images": {"dark": "0123"}},
        "order": {"images": ["dark"]},
        "rows": [{**vars(r), "undefined_on": list(r.undefined_on), "fails": r.fails} for r in rows],
        "versions": {"sewar": ""},
    }
    text = page.page(found)
    assert text.startswith(page.GENERATED)
    for words in (
        "**1 of 2 comparisons",
        "ssim deviates from piq 1 f by 5.00e-01 relative, 5.00e-01 absolute: first on 'dark'",
        "**NO**",
        "not installed",
        "another \\*window\\*",
        "sewar not installed",
        "they stand on their self: `alone`",
        "dark `0123`",
    ):
        assert words in text
    assert page.page(found) == text
