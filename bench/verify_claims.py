"""What a record claims without its images: who made it, by which terms, on which data, with which metrics. Each one cell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sarbench.bench import ceiling, match_scores, registry
from sarbench.bench.cells import Cell, fact, unchecked
from sarbench.bench.errors import ContractError
from sarbench.bench.honeypots import HONEYPOTS
from sarbench.bench.match_pipeline import MATCHING
from sarbench.bench.options import pair
from sarbench.bench.provenance import TRANSLATING, code_hash
from sarbench.bench.records import Record, Score, protocol_hash
from sarbench.bench.rescore import Review, differing
from sarbench.bench.settings import config_of

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("terms", "data hash", "test images")  # without which no score can be compared
OF_CARD = ("title", "paper", "year", "fidelity", "deviations", "licence")  # what every run of a method's code has in common


def of_itself(record: Record) -> Iterator[Cell]:
    """What follows from the record and the methods of this version."""
    yield Cell("hashes of config, terms and rows", "", None, None, "agree")  # or the record could not have been read
    known = record.method in registry.names("methods")
    if record.submitted is not None:
        yield fact("role", record.role, "method", "what is sent in is a method; floors and honeypots are the suite's own")
    else:
        yield _role(record, known)
    if record.submitted is not None and not known:
        yield _budget(record, 1)  # nothing bounds the batch that it claims
        taken = record.method in (*HONEYPOTS, ceiling.NAME, "reference") or record.method.endswith("_upper_bound")
        yield Cell("name", "", record.method, None, "differ" if taken else "agree", "the suite has images of that name" * taken)
        return
    harness = MATCHING if record.of_matching else TRANSLATING
    if not known or record.code_hash != code_hash(record.method, harness):  # a plugin, or older code
        if record.submitted is not None:
            yield unchecked("code hash", f"this machine has another {record.method}; its card, config and budget stay untold")
        return
    yield _budget(record, max(record.budget.batch_size, 1))
    card = asdict(registry.load_learner(record.method).card)
    recorded = record.card.model_dump(mode="json")
    wrong = [name for name in OF_CARD if json.loads(json.dumps(card[name])) != recorded[name]]
    yield fact("card", ", ".join(wrong), "", "the record's card says otherwise than the method's file, whose hash it has")
    try:
        config = asdict(config_of(record.method, record.preset, dict(pair(word) for word in record.variant.split())))
    except ContractError as error:
        yield Cell("config", "", None, None, "differ", str(error))
        return
    wrong = differing(record.config, json.loads(json.dumps(config)))
    yield fact("config", ", ".join(wrong), "", "other than the preset with the settings that the record names")


def _role(record: Record, known: bool) -> Cell:
    base = record.method.removesuffix("_upper_bound")
    if known:
        role = str(registry.card_of("methods", record.method).get("role", "method"))
    elif record.method in HONEYPOTS:
        role = "honeypot"
    elif record.method == ceiling.NAME or (base != record.method and base in registry.names("methods")):
        role = "ceiling"
    else:
        role = "method"  # a plugin's
    return fact("role", record.role, role, "floors, honeypots and ceilings are the suite's own")


def _budget(record: Record, batch_size: int) -> Cell:
    """A method may not have seen more images than the track's budget; the last batch may reach beyond it."""
    seen, most = record.budget.images, record.terms.size.budget_images + batch_size
    if seen < most:
        return Cell("budget", "", None, None, "agree")
    return Cell("budget", "", str(seen), f"less than {most}", "differ", "more images than the track allows")


def _means(record: Record, metric: str, score: Score) -> bool:
    """Does a score say of its metric what this version says?"""
    said = (score.unit, score.higher_is_better, score.decimals, score.aggregate)
    if record.of_matching:
        known = match_scores.SCORES[metric]
        return said == (known.unit, known.higher_is_better, known.decimals, known.aggregate)
    own = registry.load_metric(metric)
    ranking = (score.of_set, score.ranked, score.ranked_from) == (own.statistic is not None, own.ranked, own.ranked_from)
    return ranking and said == (own.unit, own.higher_is_better, own.decimals, "mean")


def of_track(record: Record, rows: pd.DataFrame, review: Review) -> Iterator[Cell]:
    """What follows from the protocol, the data and the metrics of this machine."""
    terms = json.loads(json.dumps(review.track.terms()))
    recorded = record.terms.model_dump(mode="json")
    wrong = differing(recorded, terms)
    hint = " (give --data-option, after a look at them)" if any(name.startswith("options.") for name in wrong) else ""
    yield fact("terms", ", ".join(wrong), "", f"other than this version's {review.track.slug}{hint}", "cannot check")
    material = review.data
    identity, dataset = material.identity, record.dataset
    other = "this machine's copy of the data is another"
    yield fact("data hash", dataset.content_hash, identity.content_hash, other, "cannot check")
    same = dataset.content_hash == identity.content_hash
    if same:
        yield fact("title of the data", dataset.title, material.dataset.card.title)
        yield fact("split hash", dataset.split_hash, identity.split_hash)
        yield fact("verdict on the split", dataset.split, identity.verdict)
        yield fact("training images", str(dataset.n_train), str(len(material.train)))
        recorded_scenes = f"{dataset.scenes_train} and {dataset.scenes_test}"
        yield fact("scenes", recorded_scenes, f"{identity.scenes_train} and {identity.scenes_test}")
    ids = rows["id"].tolist()
    strange = sorted(set(ids) ^ set(material.test))
    yield fact(
        "test images", ", ".join(strange[:5]), "", f"{len(strange)} ids are not in both", "differ" if same else "cannot check"
    )
    if same and not strange:
        wrong = [name for name, scene in zip(ids, rows["scene"], strict=True) if scene != (material.dataset.scene(name) or "")]
        yield fact("scene of each image", ", ".join(wrong[:5]), "", f"{len(wrong)} images are said to be of other scenes")
    signatures = review.signatures
    for metric, score in record.scores.items():
        if metric in signatures and score.signature != signatures[metric]:
            yield Cell(
                f"signature of {metric}", "", score.signature, signatures[metric], "cannot check", "another way to score"
            )
    # A board takes these from its newest record, for all rows.
    same_way = {metric: score for metric, score in record.scores.items() if score.signature == signatures.get(metric)}
    wrong = [metric for metric, score in same_way.items() if not _means(record, metric, score)]
    yield fact(
        "meaning of each metric", ", ".join(wrong), "", "unit, direction, decimals or ranking are others than the metric's"
    )
    if record.created > datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"):
        yield unchecked("time", f"made at {record.created}, which is later than this machine's clock says")
    here = protocol_hash(terms, identity.content_hash, signatures)
    yield fact("protocol hash", record.protocol_hash, here, "because of what is named above", "cannot check")
