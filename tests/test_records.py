import csv
import errno
import hashlib
import json
import math
import os
from dataclasses import fields

import numpy as np
import pytest
from pydantic import ValidationError

from sarbench.bench import protocols
from sarbench.bench.errors import ContractError
from sarbench.bench.interface import Card
from sarbench.bench.records import Record, RecordedCard, RecordedClass, Store, Terms, protocol_hash
from sarbench.bench.summary import summarise
from sarbench.bench.tracks import track


def _changed(record: Record, **changes) -> str:
    return json.dumps({**record.model_dump(mode="json"), **changes})


def _edit(path, change):
    """Rewrite a record's JSON after `change` has altered it in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


# --- The schema ---


def test_a_record_survives_json_unchanged(make_run):
    record = make_run().record
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_the_terms_of_every_real_track_are_accepted_and_keep_their_hash():
    for name, protocol in protocols.PROTOCOLS.items():
        if protocol.needs_data:
            continue
        for preset in protocol.sizes:
            terms = track(name, preset).terms()
            read = Terms.model_validate_json(json.dumps(terms)).model_dump(mode="json")
            assert protocol_hash(read, "a" * 64, {}) == protocol_hash(terms, "a" * 64, {})


def test_a_recorded_card_has_the_fields_of_a_card_except_role_and_task_which_the_record_has_itself():
    assert set(RecordedCard.model_fields) == {field.name for field in fields(Card)} - {"role", "task"}
    card = Card("pix2pix", "https://arxiv.org/abs/1611.07004", 2017, "paired", "any", deviations=("none of note",))
    recorded = RecordedCard.model_validate(card, from_attributes=True)
    assert all(getattr(recorded, name) == getattr(card, name) for name in RecordedCard.model_fields)


def test_an_unknown_field_is_refused_at_every_depth(make_run):
    record = make_run().record
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Record.model_validate_json(_changed(record, note="best method"))
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Record.model_validate_json(_changed(record, git={"commit": None, "dirty": None, "branch": "main"}))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["score", "cost", "terms", "config"])
def test_nan_and_infinity_are_refused_wherever_they_stand(make_run, place, number):
    value = make_run().record.model_dump(mode="json")
    spot = {"score": value["scores"]["ssim"], "cost": value["cost"], "terms": value["terms"], "config": value["config"]}[place]
    spot[{"score": "value", "cost": "seconds_per_step", "terms": "share", "config": "learning_rate"}[place]] = number
    with pytest.raises(ValidationError, match=r"finite|JSON compliant"):
        Record.model_validate_json(json.dumps(value))


@pytest.mark.parametrize("method", ["../evil", "a/b", "a\\b", "", ".", "Upper", "_source", "9lives", "a\n", "a" * 65])
def test_a_method_name_that_is_no_file_name_is_refused(make_run, method):
    with pytest.raises(ValidationError, match="method"):
        Record.model_validate_json(_changed(make_run().record, method=method))


@pytest.mark.parametrize("slug", ["../synthetic.tiny", "synthetic/x.tiny", "synthetic..tiny", ".tiny", "synthetic.tiny.", ""])
def test_a_slug_that_is_no_file_name_is_refused(make_run, slug):
    with pytest.raises(ValidationError, match="slug"):
        Record.model_validate_json(_changed(make_run().record, slug=slug))


def test_a_slug_names_protocol_data_preset_and_budget(make_run):
    assert make_run(slug="synthetic.tiny").record.track_parts == (None, None)
    assert make_run(slug="synthetic.tiny.8000").record.track_parts == (None, 8000)
    assert make_run(slug="synthetic.my.folder.tiny").record.track_parts == ("my.folder", None)
    assert make_run(slug="synthetic.tiny.tiny.8000").record.track_parts == ("tiny", 8000)
    for wrong in ("synthetic.bench", "synthetic", "other.tiny", "synthetic.tiny.9000"):
        with pytest.raises(ValidationError, match="does not follow from the terms"):
            make_run(slug=wrong)


def test_hashes_that_are_not_those_of_their_content_are_refused(make_run):
    with pytest.raises(ValidationError, match="config_hash is not"):
        make_run(config_hash="0" * 64)
    with pytest.raises(ValidationError, match="protocol_hash is not"):
        make_run(protocol_hash="0" * 64)
    with pytest.raises(ValidationError, match="code_hash"):
        make_run(code_hash="not a hash")


def test_the_protocol_hash_follows_terms_data_and_signatures_but_not_their_order():
    terms, signatures = {"name": "a", "metrics": ("m", "n")}, {"m": "m;v1", "n": "n;v1"}
    base = protocol_hash(terms, "a" * 64, signatures)
    assert base == protocol_hash({"metrics": ["m", "n"], "name": "a"}, "a" * 64, {"n": "n;v1", "m": "m;v1"})
    others = [
        protocol_hash({**terms, "name": "b"}, "a" * 64, signatures),
        protocol_hash(terms, "b" * 64, signatures),
        protocol_hash(terms, "a" * 64, {**signatures, "m": "m;v2"}),
    ]
    assert len({base, *others}) == 4


def test_text_and_numbers_are_bounded(make_run):
    record = make_run().record
    card, cost = record.card.model_dump(mode="json"), record.cost.model_dump(mode="json")
    for changes in (
        {"card": {**card, "title": "x" * 301}},
        {"card": {**card, "deviations": ["x"] * 65}},
        {"config": {"x": "y" * 60_000}},
        {"versions": {f"package{i}": "1" for i in range(65)}},
        {"cost": {**cost, "parameters": 10**30}},
        {"seed": -1},
        {"created": "2025-02-30T00:00:00Z"},
        {"created": "2025-03-01T12:00:00+01:00"},
    ):
        with pytest.raises(ValidationError):
            Record.model_validate_json(_changed(record, **changes))


def test_a_score_without_a_value_needs_a_reason(make_run):
    for values in ({"lpips": " "}, {"lpips": ""}):
        with pytest.raises(ValidationError, match="needs a reason"):
            make_run(values=values)


def test_scores_are_those_of_the_protocol_and_cover_all_images_or_none(make_run):
    record = make_run().record
    scores = record.model_dump(mode="json")["scores"]
    missing = {name: score for name, score in scores.items() if name != "psnr"}
    with pytest.raises(ValidationError, match="must be those of the protocol"):
        Record.model_validate_json(_changed(record, scores=missing))
    with pytest.raises(ValidationError, match="3 of 4 images"):
        Record.model_validate_json(_changed(record, scores={**scores, "psnr": {**scores["psnr"], "n": 3}}))


def test_a_ceiling_names_its_signature(make_run):
    assert make_run("second_look", "ceiling", config={"signature": "second-look;v1"}).record.role == "ceiling"
    for config in ({}, {"signature": 1}):
        with pytest.raises(ValidationError, match="a ceiling needs its signature"):
            make_run("second_look", "ceiling", config=config)


def test_the_main_metric_is_one_that_ranks(make_run):
    with pytest.raises(ValidationError, match="'copy_ratio' is not one to rank by"):
        make_run(audited=True, terms={"main_metric": "copy_ratio"})


def test_scores_by_class_are_bounded_and_of_classes_that_have_pixels(make_run):
    known = RecordedClass(pixels=3, psnr=None, ssim=0.5)
    assert make_run(by_class={"sea": known}).record.by_class == {"sea": known}
    for wrong in ({"pixels": 0, "psnr": 1.0, "ssim": 0.5}, {"pixels": 3, "psnr": math.inf, "ssim": 0.5}, {"pixels": 3}):
        with pytest.raises(ValidationError, match="by_class"):
            make_run(by_class={"sea": wrong})
    with pytest.raises(ValidationError, match="by_class"):
        make_run(by_class={f"class {i}": known for i in range(256)})


def test_shifts_are_of_all_images_or_none(make_run):
    with pytest.raises(ValidationError, match="the shifts are of 3 of 4 images"):
        make_run(shifts={"0,0": 3})
    for name in ("0", "0,0,0", "a,b", "0.5,0", "100,0"):
        with pytest.raises(ValidationError, match="shifts"):
            make_run(shifts={name: 4})


def test_a_record_of_before_these_fields_is_still_read(make_run, tmp_path):
    run, store = make_run(), Store(tmp_path)
    path = store.write(run.record, run.rows)

    def as_it_was(value):
        for name in ("by_class", "shifts"):
            del value[name]
        for score in value["scores"].values():
            del score["ranked"]

    _edit(path, as_it_was)
    (loaded,) = store.read("synthetic.tiny")
    assert loaded.record.scores == run.record.scores
    assert loaded.record.by_class is loaded.record.shifts is None


# --- Summaries ---


def test_a_summary_worked_by_hand():
    assert summarise(np.array([1.0, 2.0, 3.0, 6.0])) == (3.0, math.sqrt(14 / 3), 4, 0, 0)


def test_one_undefined_row_leaves_no_mean_and_is_not_averaged_away():
    assert summarise(np.array([1.0, math.nan, 3.0])) == (None, None, 3, 1, 0)
    assert summarise(np.array([math.nan, math.nan])) == (None, None, 2, 2, 0)


def test_one_infinite_row_makes_the_mean_infinite_and_is_not_dropped():
    assert summarise(np.array([20.0, math.inf, math.nan])) == (None, None, 3, 1, 1)
    with pytest.raises(ContractError, match="NaN where it is undefined"):
        summarise(np.array([-math.inf, 1.0]))


def test_a_summary_does_not_depend_on_the_order_of_the_rows():
    values = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(1000).__mod__(12)
    assert summarise(values) == summarise(values[::-1]) == summarise(np.sort(values))


# --- The store ---


def test_what_is_written_is_read_back_with_its_rows_at_full_precision(make_run, tmp_path):
    psnr = [20.1, math.inf, 1 / 3, 25.0]
    run = make_run(values={"psnr": psnr, "ssim": [0.1, math.nan, 0.3, 2 / 3], "lpips": "weights missing"})
    store = Store(tmp_path)
    path = store.write(run.record, run.rows, b"picture")
    assert path == tmp_path / "results" / "synthetic.tiny" / "pix2pix" / "0.json"
    assert path.with_suffix(".jpg").read_bytes() == b"picture"
    (loaded,) = store.read("synthetic.tiny")
    data = path.with_suffix(".csv").read_bytes()
    assert loaded.path == path
    assert loaded.record == run.record.model_copy(update={"rows_hash": hashlib.sha256(data).hexdigest()})
    table = list(csv.DictReader(data.decode().splitlines()))
    assert list(table[0]) == ["id", "scene", "psnr", "ssim"]
    assert [float(row["psnr"]) for row in table] == psnr
    assert [row["psnr"] for row in table][1] == "inf"
    assert [row["ssim"] for row in table][1] == "nan"
    assert store.slugs() == ["synthetic.tiny"]


def test_ids_that_look_like_missing_values_and_unknown_scenes_survive(make_run, tmp_path):
    run = make_run()
    rows = run.rows.assign(id=["NA", "nan", "007", 'a,"b"'], scene=None)
    store = Store(tmp_path)
    path = store.write(run.record, rows)
    assert len(store.read("synthetic.tiny")) == 1
    names = [row["id"] for row in csv.DictReader(path.with_suffix(".csv").read_text().splitlines())]
    assert sorted(names) == sorted(rows["id"])


def test_the_order_of_rows_and_columns_does_not_change_the_files(make_run, tmp_path):
    run = make_run(values={"ssim": [0.1, 0.2, 0.3, 0.4]})
    for name, rows in (("a", run.rows), ("b", run.rows[list(reversed(run.rows.columns))].iloc[::-1])):
        Store(tmp_path / name).write(run.record, rows)
    for suffix in ("json", "csv"):
        a, b = ((tmp_path / name / f"results/synthetic.tiny/pix2pix/0.{suffix}").read_bytes() for name in "ab")
        assert a == b


def test_rows_that_do_not_give_the_scores_are_refused_before_anything_is_written(make_run, tmp_path):
    run, store = make_run(), Store(tmp_path)
    for rows, fault in (
        (run.rows.assign(ssim=0.5 + 1e-8), "ssim is recorded as value 0.5"),
        (run.rows.iloc[:3], "3 rows"),
        (run.rows.assign(id="same"), "1 different ids"),
        (run.rows.drop(columns="psnr"), "expected"),
        (run.rows.assign(fid=1.0), "expected"),
    ):
        with pytest.raises(ContractError, match=fault):
            store.write(run.record, rows)
    assert not list(tmp_path.rglob("*"))


def test_shifts_that_do_not_follow_from_the_rows_are_refused(make_run, tmp_path):
    run, store = make_run(moves=[(0, 0), (0, 0), (-1, 2), (0, 0)]), Store(tmp_path)
    path = store.write(run.record, run.rows)
    assert path.with_suffix(".csv").read_text().splitlines()[0].endswith(",shift_y,shift_x")
    assert store.read("synthetic.tiny")[0].record.shifts == {"-1,2": 1, "0,0": 3}
    for rows in (run.rows.assign(shift_y=0), run.rows.assign(shift_x=[0, 0.5, 2, 0]), run.rows.assign(shift_x=math.nan)):
        with pytest.raises(ContractError, match="the shifts are recorded other than their rows give"):
            store.write(run.record, rows)
    with pytest.raises(ContractError, match="expected"):
        store.write(run.record, run.rows.drop(columns="shift_x"))


def test_rounding_below_the_tolerance_is_accepted(make_run, tmp_path):
    run = make_run()
    Store(tmp_path).write(run.record, run.rows.assign(ssim=0.5 + 1e-11))
    assert Store(tmp_path).read("synthetic.tiny")


def test_a_record_whose_rows_were_altered_is_refused(make_run, tmp_path):
    run, store = make_run(), Store(tmp_path)
    path = store.write(run.record, run.rows)
    rows = path.with_suffix(".csv")
    rows.write_text(rows.read_text().replace("0.5", "0.9"))
    with pytest.raises(ContractError, match="not the one it was written with"):
        store.read("synthetic.tiny")
    _edit(path, lambda value: value.update(rows_hash=hashlib.sha256(rows.read_bytes()).hexdigest()))
    with pytest.raises(ContractError, match=r"ssim is recorded as value 0\.5"):
        store.read("synthetic.tiny")


def test_a_record_whose_score_was_altered_is_refused(make_run, tmp_path):
    run, store = make_run(), Store(tmp_path)
    path = store.write(run.record, run.rows)
    _edit(path, lambda value: value["scores"]["ssim"].update(value=0.51))
    with pytest.raises(ContractError, match=r"its rows give value 0\.5"):
        store.read("synthetic.tiny")


def test_one_error_lists_every_bad_file_with_its_reason_and_what_to_do(make_run, tmp_path):
    store = Store(tmp_path)
    paths = {}
    for method in ("good", "truncated", "moved", "alone", "unknown_field", "huge"):
        run = make_run(method)
        paths[method] = store.write(run.record, run.rows)
    paths["truncated"].write_bytes(paths["truncated"].read_bytes()[:100])
    _edit(paths["moved"], lambda value: value.update(seed=7))
    paths["alone"].with_suffix(".csv").unlink()
    _edit(paths["unknown_field"], lambda value: value.update(stars=5))
    paths["huge"].write_bytes(b" " * (1 << 21))
    with pytest.raises(ContractError) as caught:
        store.read("synthetic.tiny")
    text = str(caught.value)
    assert text.startswith("5 records of synthetic.tiny can't be used; make each of these runs again, or delete")
    assert str(paths["good"]) not in text
    assert f"{paths['truncated']}: record: Invalid JSON" in text
    assert f"{paths['moved']}: belongs at synthetic.tiny/moved/7.json" in text
    assert f"{paths['alone']}: 0.csv beside it is missing" in text
    assert f"{paths['unknown_field']}: stars: Extra inputs are not permitted" in text
    assert f"{paths['huge']}: larger than" in text


def test_a_run_written_again_replaces_the_old_one_and_its_picture(make_run, tmp_path):
    store, old, new = Store(tmp_path), make_run(), make_run(values={"ssim": 0.6})
    store.write(old.record, old.rows, b"picture")
    path = store.write(new.record, new.rows)
    assert not path.with_suffix(".jpg").exists()
    assert [item.record.scores["ssim"].value for item in store.read("synthetic.tiny")] == [pytest.approx(0.6)]


@pytest.mark.parametrize("files_written", range(3))
def test_a_full_disk_leaves_the_record_that_was_there_with_its_rows(make_run, tmp_path, monkeypatch, files_written):
    store, old, new = Store(tmp_path), make_run(), make_run(values={"ssim": 0.6})
    store.write(old.record, old.rows, b"old")
    before = store.read("synthetic.tiny")
    left = iter(range(files_written))

    def full_disk(*_):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(ContractError, match="disk is full"):
        store.write(new.record, new.rows, b"new")
    assert store.read("synthetic.tiny") == before
    assert sorted(file.suffix for file in tmp_path.rglob("*") if file.is_file()) == [".csv", ".jpg", ".json"]
    assert (before[0].path.with_suffix(".jpg")).read_bytes() == b"old"


@pytest.mark.parametrize("replaced", range(3))
def test_a_run_that_is_killed_while_writing_leaves_no_record_without_its_rows(make_run, tmp_path, monkeypatch, replaced):
    store, old, new = Store(tmp_path), make_run(), make_run(values={"ssim": 0.6})
    path = store.write(old.record, old.rows, b"old")
    left, replace = iter(range(replaced)), os.replace

    def killed(*names):
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace(*names)

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store.write(new.record, new.rows, b"new")
    assert not path.exists()
    assert store.read("synthetic.tiny") == []


def test_records_come_back_by_method_and_seed_in_number_order(make_run, tmp_path):
    store = Store(tmp_path)
    for method, seed in (("b", 10), ("b", 9), ("a", 2)):
        run = make_run(method, seed=seed)
        store.write(run.record, run.rows)
    assert [(item.record.method, item.record.seed) for item in store.read("synthetic.tiny")] == [("a", 2), ("b", 9), ("b", 10)]


def test_reference_tiles_lie_where_no_method_can(tmp_path):
    store = Store(tmp_path)
    store.write_reference_tiles("synthetic.tiny", b"source", b"target")
    assert [path.read_bytes() for path in store.reference_tiles("synthetic.tiny")] == [b"source", b"target"]
    assert store.slugs() == []


# --- Metrics of sets on half samples ---

HALVES = {"drawn": "halves-of-scenes;3;v1;0123456789abcdef", "scenes": 8, "values": [1.5, 2.25, -0.125]}


def _with_halves(record, halves, **changes):
    value = record.model_dump(mode="json")
    value["scores"]["lpips"] |= {"of_set": True, "std": None, "replicates": halves, **changes}
    return json.dumps(value)


def test_replicates_survive_json_and_old_records_have_none(make_run):
    record = Record.model_validate_json(_with_halves(make_run().record, HALVES))
    assert record.scores["lpips"].replicates.values == (1.5, 2.25, -0.125)
    assert Record.model_validate_json(record.model_dump_json()) == record
    old = make_run().record.model_dump(mode="json")
    for score in old["scores"].values():
        del score["replicates"]
    assert Record.model_validate_json(json.dumps(old)).scores["lpips"].replicates is None


@pytest.mark.parametrize(
    "change",
    [
        {"values": [1.0]},
        {"values": [1.0] * 1001},
        {"values": [1.0, math.nan]},
        {"values": [1.0, "2"]},
        {"values": [1.0, 1e25]},
        {"scenes": 3},
        {"drawn": "<script>"},
        {"drawn": ""},
        {"note": "x"},
    ],
)
def test_replicates_that_can_not_be_are_refused(make_run, change):
    with pytest.raises(ValidationError, match="replicates"):
        Record.model_validate_json(_with_halves(make_run().record, {**HALVES, **change}))


def test_replicates_of_an_unmeasured_score_or_of_one_with_rows_are_refused(make_run):
    for changes in ({"of_set": False}, {"value": None, "n": 0, "reason": "no weights"}):
        with pytest.raises(ValidationError, match="replicates are of a score of a set"):
            Record.model_validate_json(_with_halves(make_run().record, HALVES, **changes))
