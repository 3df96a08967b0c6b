"""The gate on records: what is equivalent, what has drifted, and what was not measured; in words and in exit codes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarbench.bench import check as checking
from sarbench.bench import cli, noise
from sarbench.bench.drift import Demand, compare
from sarbench.bench.errors import ContractError
from sarbench.bench.outcomes import Finding, Outcome, Verdict
from sarbench.bench.records import Loaded, Store
from sarbench.bench.storage import write_json

EQUIVALENT, DRIFTED, NOT_MEASURED = Outcome.EQUIVALENT, Outcome.DRIFTED, Outcome.NOT_MEASURED
IMAGES = np.array([-1.5, -0.5, 0.5, 1.5])  # how much easier each test image is


@pytest.fixture
def trained(make_run: Callable[..., Any]) -> Callable[..., Loaded]:
    """A run as read back from a store: psnr, ssim and lpips of four images, moved by a training's luck."""

    def trained(seed: int = 0, luck: float | None = None, by: float = 0.0, **changes: Any) -> Loaded:
        found = float(np.random.default_rng(seed).normal()) if luck is None else luck
        values = {
            "psnr": 20 + 0.1 * found + by + IMAGES,
            "ssim": 0.5 + 0.002 * found + IMAGES / 10,
            "lpips": 0.4 - 0.002 * found + IMAGES / 10,
        }
        run = make_run(seed=seed, values={**values, **changes.pop("values", {})}, **changes)
        data = run.rows.to_csv(index=False).encode()
        record = run.record.model_copy(update={"rows_hash": hashlib.sha256(data).hexdigest()})
        return Loaded(record, Path(f"{record.slug}/{record.label}/{seed}.json"), run.rows)

    return trained


@pytest.fixture
def noisy(trained: Callable[..., Loaded]) -> Callable[..., noise.Noise]:
    """The noise of eight runs of a method."""
    return lambda **changes: noise.noise_of([trained(seed, **changes) for seed in range(8)])


def outcomes(verdict: Verdict) -> dict[str, Outcome]:
    return {finding.metric: finding.outcome for finding in verdict.findings}


def why(verdict: Verdict, metric: str = "") -> str:
    return next(finding.why for finding in verdict.findings if finding.metric == metric)


def against_noise(new: Sequence[Loaded], old: Sequence[Loaded], known: noise.Noise | None, **demand: Any) -> Verdict:
    return compare(new, old, lambda record: known, Demand(**demand))


# --- To the last digit -----------------------------------------------------------------------------------------------


def test_the_same_bits_are_equivalent_without_any_noise(trained: Callable[..., Loaded]) -> None:
    verdict = against_noise([trained()], [trained()], None)
    assert verdict.outcome == EQUIVALENT
    assert outcomes(verdict) == dict.fromkeys(("psnr", "ssim", "lpips"), EQUIVALENT)
    assert str(verdict).splitlines()[-1] == "equivalent (3 equivalent, 0 drifted, 0 not measured; exit code 0)"


def test_a_metric_that_moved_while_another_kept_every_bit_has_drifted_whatever_the_noise(
    trained: Callable[..., Loaded], noisy: Callable[..., noise.Noise]
) -> None:
    new = trained(values={"ssim": trained().rows["ssim"].to_numpy() - 2e-5})
    for known in (None, noisy()):
        verdict = against_noise([new], [trained()], known)
        assert verdict.outcome == DRIFTED
        assert outcomes(verdict) == {"psnr": EQUIVALENT, "ssim": DRIFTED, "lpips": EQUIVALENT}
        assert "worse by 2e-05" in why(verdict, "ssim")
        assert "the same images were scored" in why(verdict, "ssim")


def test_further_seeds_of_code_that_gave_the_same_bits_need_no_noise(trained: Callable[..., Loaded]) -> None:
    assert against_noise([trained(), trained(1), trained(2)], [trained()], None).outcome == EQUIVALENT


def test_honeypots_are_not_asked_for_the_seeds_of_methods(trained: Callable[..., Loaded]) -> None:
    old = [trained(method="oracle_blur", role="honeypot"), trained(1)]
    assert against_noise(old, old, None, seeds=[1]).outcome == EQUIVALENT


def test_a_deviation_of_rounding_is_no_drift(trained: Callable[..., Loaded]) -> None:
    new = trained(values={"ssim": trained().rows["ssim"].to_numpy() + 5e-7})
    assert against_noise([new], [trained()], None).outcome == EQUIVALENT


def test_a_value_that_all_images_share_is_no_proof_that_they_are_the_same(trained: Callable[..., Loaded]) -> None:
    flat = {"lpips": 0.4}
    verdict = against_noise([trained(luck=1.0, values=flat)], [trained(luck=2.0, values=flat)], None)
    assert verdict.outcome == NOT_MEASURED
    assert "noise on cpu is not known" in why(verdict)


def test_a_drift_that_cancels_in_the_mean_is_found(trained: Callable[..., Loaded]) -> None:
    old = trained()
    verdict = against_noise([trained(values={"psnr": old.rows["psnr"].to_numpy()[::-1]})], [old], None)
    assert outcomes(verdict)["psnr"] == DRIFTED
    assert "the mean stays 20" in why(verdict, "psnr")


def test_honeypots_need_no_noise_and_trained_ceilings_do(trained: Callable[..., Loaded]) -> None:
    def drifted(role: str, method: str) -> Verdict:
        config = {"signature": "ceiling;v1"}
        runs = [trained(luck=luck, method=method, role=role, config=config) for luck in (0.0, 0.001)]
        return against_noise(runs[:1], runs[1:], None)

    assert drifted("honeypot", "oracle_blur").outcome == DRIFTED
    assert drifted("ceiling", "second_look").outcome == DRIFTED
    assert drifted("ceiling", "cdiffset_upper_bound").outcome == NOT_MEASURED


def test_a_method_whose_repeats_are_all_the_same_is_compared_to_the_last_digit(trained: Callable[..., Loaded]) -> None:
    known = noise.noise_of([trained(seed, luck=0.0, role="floor") for seed in range(5)])
    old, same, other = (trained(0, luck=luck, role="floor") for luck in (0.0, 0.0, 0.001))
    assert known.exact
    assert against_noise([trained(7, luck=0.0, role="floor")], [old], known, seeds=[7]).outcome == EQUIVALENT
    assert against_noise([same], [old], known).outcome == EQUIVALENT
    verdict = against_noise([other], [old], known)
    assert set(outcomes(verdict).values()) == {DRIFTED}
    assert "5 runs showed no noise at all" in why(verdict, "psnr")


# --- By the noise ----------------------------------------------------------------------------------------------------


def test_another_seed_of_the_same_code_is_equivalent_where_the_runs_suffice(
    trained: Callable[..., Loaded], noisy: Callable[..., noise.Noise]
) -> None:
    verdict = against_noise([trained(seed) for seed in (21, 22, 23, 24)], [trained()], noisy(), seeds=[21, 22, 23, 24])
    assert verdict.outcome == EQUIVALENT
    assert "a drift of 0." in why(verdict, "psnr")


def test_a_drift_is_named_with_its_size_its_direction_and_the_noise(
    trained: Callable[..., Loaded], noisy: Callable[..., noise.Noise]
) -> None:
    verdict = against_noise([trained(21, by=-0.9)], [trained()], noisy(), seeds=[21])
    assert verdict.outcome == DRIFTED
    assert outcomes(verdict)["psnr"] == DRIFTED
    words = why(verdict, "psnr")
    assert words.startswith("worse by 0.")
    assert "dB" in words
    assert "(8 runs on cpu)" in words


def test_what_is_too_noisy_is_not_measured_and_says_how_many_seeds_it_takes(
    trained: Callable[..., Loaded], noisy: Callable[..., noise.Noise]
) -> None:
    verdict = against_noise([trained(21, luck=1.0)], [trained()], noisy(), seeds=[21], margins={"psnr": 0.15})
    assert verdict.outcome == NOT_MEASURED
    assert outcomes(verdict)["psnr"] == NOT_MEASURED
    assert "too noisy to see a drift of 0.15 dB" in why(verdict, "psnr")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"code_hash": "d" * 64}, "other code"),
        ({"config": {"learning_rate": 1.0}}, "other code"),
        ({"cost": {"device": "NVIDIA H100"}}, "different hardware"),
    ],
)
def test_the_noise_of_something_else_counts_for_nothing(
    trained: Callable[..., Loaded], noisy: Callable[..., noise.Noise], changes: dict[str, Any], words: str
) -> None:
    verdict = against_noise([trained(21)], [trained(9, **changes)], noisy(), seeds=[21])
    assert verdict.outcome == NOT_MEASURED
    assert words in why(verdict)


def test_noise_of_other_code_that_gave_the_same_bits_counts(
    trained: Callable[..., Loaded], noisy: Callable[..., noise.Noise]
) -> None:
    verdict = against_noise([trained(21)], [trained(0, code_hash="d" * 64)], noisy(), seeds=[21])
    assert verdict.findings[0].metric == "psnr"


# --- Not measured ----------------------------------------------------------------------------------------------------


def test_nothing_is_equivalent_where_nothing_was_compared(trained: Callable[..., Loaded]) -> None:
    assert against_noise([], [], None).outcome == NOT_MEASURED
    assert Verdict(()).outcome == NOT_MEASURED
    assert against_noise([trained()], [trained()], None, methods=["s3oil"]).outcome == NOT_MEASURED


@pytest.mark.parametrize("side", ["new", "old"])
def test_a_missing_record_a_missing_seed_and_a_missing_metric_are_never_equivalent(
    trained: Callable[..., Loaded], side: str
) -> None:
    whole = [trained(), trained(1), trained(method="cut")]
    for broken in (whole[:2], whole[1:], [trained(values={"ssim": "no weights"}), *whole[1:]], []):
        verdict = against_noise(*((broken, whole) if side == "new" else (whole, broken)), None)  # type: ignore[misc]
        if side == "old" and broken == whole[1:]:
            continue  # a seed that only NEW has is one more run
        assert verdict.outcome == NOT_MEASURED


def test_what_neither_side_measured_is_named_and_may_be_demanded(trained: Callable[..., Loaded]) -> None:
    runs = [trained(values={"lpips": "no weights"})]
    verdict = against_noise(runs, runs, None)
    assert verdict.outcome == EQUIVALENT
    assert "measured on neither side, so nothing is said of: lpips" in str(verdict)
    assert against_noise(runs, runs, None, metrics=["lpips"]).outcome == NOT_MEASURED
    assert against_noise(runs, runs, None, metrics=["fid"]).outcome == NOT_MEASURED


def test_drift_in_one_score_outweighs_what_is_missing_in_another(trained: Callable[..., Loaded]) -> None:
    new = trained(values={"ssim": trained().rows["ssim"].to_numpy() - 0.1, "lpips": "no weights"})
    assert against_noise([new], [trained()], None).outcome == DRIFTED


def test_other_terms_are_named_and_nothing_is_compared(trained: Callable[..., Loaded]) -> None:
    verdict = against_noise([trained(terms={"share": 0.2})], [trained()], None)
    assert verdict.outcome == NOT_MEASURED
    assert [finding.metric for finding in verdict.findings] == [""]
    assert "the protocol (share) differs" in why(verdict)


# --- Files and the command -------------------------------------------------------------------------------------------


@pytest.fixture
def boards(make_run: Callable[..., Any], tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of the same records, NEW and OLD."""
    values = {"psnr": 20 + IMAGES, "ssim": 0.5 + IMAGES / 10, "lpips": 0.4 + IMAGES / 10}
    for method in ("pix2pix", "cut"):
        run = make_run(method, values=values)
        Store(tmp_path / "old").write(run.record, run.rows)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    return tmp_path / "new", tmp_path / "old"


def test_the_command_has_three_exit_codes_and_three_last_words(
    boards: tuple[Path, Path], make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    new, old = boards
    words = ["check", str(new), str(old / "results")]

    def said() -> str:
        return capsys.readouterr().out.splitlines()[-1].partition(" (")[0]

    assert (cli.main(words), said()) == (0, "equivalent")
    shutil.rmtree(new / "results/synthetic.tiny/cut")
    assert (cli.main(words), said()) == (3, "not measured")
    assert (cli.main([*words, "--method", "pix2pix"]), said()) == (0, "equivalent")
    run = make_run("pix2pix", values={"psnr": 20 + IMAGES, "ssim": 0.4 + IMAGES / 10, "lpips": 0.4 + IMAGES / 10})
    Store(new).write(run.record, run.rows)
    assert (cli.main(words), said()) == (1, "drifted")


def test_a_record_that_can_not_be_read_is_not_measured_and_not_drifted(
    boards: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    new, old = boards
    (new / "results/synthetic.tiny/cut/0.csv").write_text("id\n")
    assert cli.main(["check", str(new), str(old)]) == 3
    assert "cut/0.json" in capsys.readouterr().out
    assert cli.main(["check", str(new / "nothing"), str(old)]) == 3


def test_a_failure_of_the_check_itself_is_not_measured(
    boards: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checking, "compare", lambda *_: 1 / 0)
    assert cli.main(["check", *map(str, boards)]) == 3
    assert "ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["a"], [], ["a", "b", "--margin", "psnr"], ["a", "b", "--margin", "psnr=-1"]])
def test_a_wrong_command_line_is_2(words: list[str]) -> None:
    assert cli.main(["check", *words]) == 2


def test_one_record_or_one_track_can_be_named(boards: tuple[Path, Path]) -> None:
    new, old = (folder / "results/synthetic.tiny" for folder in boards)
    shutil.rmtree(new / "cut")
    assert cli.main(["check", str(new / "pix2pix/0.json"), str(old / "pix2pix/0.json")]) == 0
    assert cli.main(["check", str(new), str(old)]) == 3


def test_noise_is_read_from_beside_the_old_records(
    trained: Callable[..., Loaded], noisy: Callable[..., noise.Noise], tmp_path: Path
) -> None:
    known = noisy()
    path = noise.write(tmp_path, known)
    assert path == tmp_path / "noise/synthetic.tiny/pix2pix/cpu.json"
    assert checking.noise_from(tmp_path)(trained().record) == known
    assert checking.noise_from(tmp_path)(trained(method="cut").record) is None


def test_a_file_of_noise_that_is_broken_moved_or_a_copied_run_is_refused(
    trained: Callable[..., Loaded], noisy: Callable[..., noise.Noise], tmp_path: Path
) -> None:
    path = noise.write(tmp_path, noisy())
    whole = json.loads(path.read_text())
    for broken, words in (
        ({**whole, "runs": whole["runs"][:2]}, "at least 3"),
        ({**whole, "runs": [whole["runs"][0]] * 5}, "a copy of a run is no repeat"),
        ({**whole, "slug": "other.tiny"}, "it is of other.tiny"),
        ({**whole, "extra": 1}, "extra"),
    ):
        write_json(path, broken)
        with pytest.raises(ContractError, match=words):
            noise.read(tmp_path, trained().record)


def test_the_noise_that_is_kept_with_the_boards_can_be_read() -> None:
    boards = Path(__file__).parent.parent / "leaderboards"
    files = sorted((boards / "noise").glob("*/*/*.json"))
    assert files
    for file in files:
        known = noise.Noise.model_validate_json(file.read_bytes())
        assert noise.path_of(boards, known.slug, known.label, known.hardware) == file


@pytest.mark.parametrize("changes", [{"code_hash": "d" * 64}, {"config": {"a": 1}}, {"cost": {"device": "other"}}])
def test_runs_that_differ_in_more_than_the_seed_are_no_repeats(trained: Callable[..., Loaded], changes: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match="no repeats"):
        noise.noise_of([trained(0), trained(1), trained(2, **changes)])


def test_a_finding_of_a_whole_method_names_it() -> None:
    verdict = Verdict((Finding(NOT_MEASURED, "synthetic.tiny cut", "", "gone"),))
    assert "not measured: synthetic.tiny cut: gone" in str(verdict)
