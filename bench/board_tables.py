"""The score tables of a board: cells with their marks, footnotes, and what the marks mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sarbench.bench import markdown
from sarbench.bench.board import Board, Entry, name_of, number
from sarbench.bench.records import Record, Score
from sarbench.bench.statistics import ALPHA, LEVEL, POWER


@dataclass
class Notes:
    """Footnotes of one page, numbered in order of appearance; equal texts share a number."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """The mark of a footnote."""
        if text not in self.texts:
            self.texts.append(text)
        return f" [{self.texts.index(text) + 1}]"

    def lines(self) -> list[str]:
        """The footnotes behind their marks."""
        return [f"[{i}] {text}" for i, text in enumerate(self.texts, start=1)]


def _note_of(metric: str, seed: int | None, score: Score) -> str | None:
    """What must be said about a score that does not average every image; `seed` where other seeds differ."""
    where = f"`{metric}`" if seed is None else f"`{metric}`, seed {seed}"
    reason = markdown.text(score.reason)
    if not score.n:
        return f"{where}: {reason if reason.startswith('not measured') else 'not measured: ' + reason}"
    said = []
    if score.undefined:
        said.append(f"undefined on {score.undefined} of {score.n} images: {reason}")
    if score.infinite:
        said.append(f"infinite on {score.infinite} of {score.n} images, so the mean is infinite")
    return f"{where}: {'; '.join(said)}" if said else None


def _cell(board: Board, entry: Entry, metric: str, notes: Notes) -> str:
    found = {_note_of(metric, None, record.scores[metric]) for record in entry.records}
    if len(found) == 1:
        said = found
    else:
        said = {_note_of(metric, record.seed, record.scores[metric]) for record in entry.records}
    marks = [notes.mark(text) for text in sorted(text for text in said if text)]
    decimals = board.newest.scores[metric].decimals
    mean, interval = entry.mean(metric), board.interval(entry, metric)
    text = "–" if mean is None else number(mean, decimals)
    if interval is not None:
        text += f" ± {number((interval.high - interval.low) / 2, decimals)}"
    if entry.newest.role == "method":
        if board.in_top_group(entry, metric):
            text = f"**{text}**"
        if board.below_a_floor(entry, metric):
            text += "†"
    return text + "".join(marks)


def score_table(board: Board, entries: Sequence[Entry], notes: Notes, metrics: Sequence[str] | None = None) -> str:
    """The score table of some entries: by the metrics that rank, or by those given."""
    metrics = board.metrics if metrics is None else metrics
    heads = {}
    for metric in metrics:
        score = board.newest.scores[metric]
        unit = f" ({markdown.text(score.unit)})" if score.unit.strip() else ""
        gameable = " gameable" if board.fooled_by(metric) else ""
        few = " ‡" if score.ranked and not board.ranks_by(metric) else ""
        heads[metric] = f"{markdown.text(metric)}{unit} {'↑' if score.higher_is_better else '↓'}{gameable}{few}"
    rows = []
    for entry in entries:
        row = {"method": name_of(entry.newest), "trained on": _trained_on(entry.newest)}
        row["seeds"] = str(len(entry.records))
        if any(board.open_ranks(other, board.newest.terms.main_metric) for other in entries if other in board.methods):
            row["rank"] = _ranks(board, entry)
        row.update({heads[metric]: _cell(board, entry, metric, notes) for metric in metrics})
        rows.append(row)
    return markdown.table(rows, left=2)


def _ranks(board: Board, entry: Entry) -> str:
    ranks = board.open_ranks(entry, board.newest.terms.main_metric) if entry in board.methods else None
    return "–" if ranks is None else str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}–{ranks[1]}"


def _trained_on(record: Record) -> str:
    if record.role in ("honeypot", "ceiling"):
        return "the answer"
    words = {"paired": "pairs", "unpaired": "unpaired images", "semi": "few pairs, unpaired images", "none": "nothing"}
    if record.of_matching:
        words |= {"paired": "labelled pairs", "unpaired": "unlabelled pairs", "semi": "few labelled pairs, unlabelled pairs"}
    return words[record.card.supervision]


def _how_tested(board: Board, tested: Sequence[str]) -> list[str]:
    """What ±, bold and ranks rest on."""
    lines = []
    for sets in (False, True):
        chosen = [metric for metric in tested if board.newest.scores[metric].of_set == sets]
        if chosen:
            lines.append(_what_interval(board, chosen, sets))
    if not all(len(entry.records) > 1 for entry in board.methods):
        lines.append("With one seed, what is said of a method is said of one trained network; another training may differ.")
    ranking = [metric for metric in tested if board.ranks_by(metric)]
    smallest = [
        f"{number(found, board.newest.scores[metric].decimals)} {markdown.text(board.newest.scores[metric].unit)}".rstrip()
        + f" in `{metric}`"
        for metric in ranking
        if not math.isinf(found := board.verdicts[metric].comparison.smallest)
    ]
    if any(math.isinf(board.verdicts[metric].comparison.smallest) for metric in ranking):
        lines.append(
            "Too few scenes for so many methods: the tests can tell none of them apart, however large the difference, so that "
            "all are bold. Compare fewer methods, or test on more scenes."
        )
    if smallest:
        lines.append(
            f"Two methods are told apart by a paired test over scenes, with Holm's correction at {100 * ALPHA:.0f} %. "
            f"Differences that this board sees with a probability of {100 * POWER:.0f} %: {', '.join(smallest)}."
        )
    if any(board.open_ranks(entry, board.newest.terms.main_metric) for entry in board.methods):
        lines.append(f"rank: the places in `{board.newest.terms.main_metric}` that these tests leave open.")
    return lines


def _what_interval(board: Board, metrics: Sequence[str], sets: bool) -> str:
    known = all(board.verdicts[metric].scenes_known for metric in metrics)
    several = any(len(entry.records) > 1 for entry in board.ranked)
    over = ("scenes" if known else "images, each taken for a scene of its own") + (" and trainings" if several else "")
    if not sets:
        return f"± is half of the {100 * LEVEL:.0f} % interval over {over}, by bootstrap."
    named = ", ".join(f"`{metric}`" for metric in metrics)
    return (
        f"± of {named} is half of the {100 * LEVEL:.0f} % interval over {over}, by half samples without repetition: "
        "of what sets of so many images give on average. Values of another number of images are not comparable."
    )


def legend(board: Board, notes: Notes, metrics: Sequence[str]) -> list[str]:
    """What the marks of the score tables by these metrics mean; only those that occur."""
    tested = [metric for metric in metrics if metric in board.verdicts]
    best = "beaten by no other method, as far as tests can tell" if tested else "the best method of a column, ties included"
    lines = [f"Arrows point to the better side; **bold** is {best}."]
    if tested:
        lines += _how_tested(board, tested)
    if any(board.below_a_floor(entry, metric) for entry in board.methods for metric in metrics):
        tie = "a difference that may be chance" if tested else "a tie"
        lines.append(f"† does not beat every floor in this metric; {tie} does not beat.")
    untested = [metric for metric in metrics if tested and metric not in board.verdicts and board.ranks_by(metric)]
    if any(board.best(metric) is not None for metric in untested):
        lines.append(f"Not tested, so that bold is the best number alone: {', '.join(f'`{metric}`' for metric in untested)}.")
    fooled = [
        f"`{metric}` ranks {', '.join(f'`{name}`' for name in names)} above every method"
        for metric in metrics
        if (names := board.fooled_by(metric))
    ]
    if fooled:
        lines.append(f"gameable: {'; '.join(fooled)}.")
    partly = [said for metric in metrics if (said := _partly_fooled(board, metric))]
    if partly:
        lines.append(f"Made from the targets and above some methods, without a mark: {'; '.join(partly)}.")
    few = [metric for metric in metrics if not board.ranks_by(metric)]
    if few:
        needs = ", ".join(f"`{metric}` from {board.newest.scores[metric].ranked_from:,}" for metric in few)
        lines.append(f"‡ too few images to rank by, so nothing is bold: {needs} on; here {board.newest.dataset.n_test:,}.")
    fidelities = {entry.newest.card.fidelity for entry in board.methods}
    if "adapted" in fidelities:
        lines.append("(adapted): differs from its paper in ways that the board's page lists.")
    if "reconstruction" in fidelities:
        lines.append("(reconstruction): its paper leaves parts open; the board's page lists how they were filled.")
    return lines + notes.lines()


def _partly_fooled(board: Board, metric: str) -> str:
    """The honeypots that a metric ranks above some methods, and not above all."""
    counts = {pot.newest.method: board.outranked_by(metric, pot) for pot in board.honeypots if board.ranks_by(metric)}
    total = sum(board.shown(entry, metric) is not None for entry in board.methods)
    said = ", ".join(f"`{name}` above {count} of {total}" for name, count in counts.items() if 0 < count < total)
    return f"`{metric}` ranks {said}" if said else ""
