"""The page that lists all boards says who leads, or that nobody does."""

from __future__ import annotations

import pytest

from sarbench.bench.board_index import MOST_LEADS, index
from sarbench.bench.records import Store


@pytest.fixture
def page(make_run, tmp_path):
    """The index of the boards of some runs, each given by the keywords of the factory."""

    def page(*runs, plotted=()):
        store = Store(tmp_path)
        for run in runs:
            made = make_run(**run)
            store.write(made.record, made.rows)
        return index({slug: store.read(slug) for slug in store.slugs()}, {}, plotted)

    return page


def test_a_board_is_listed_with_its_terms_its_leaders_and_its_files(page):
    text = page({"method": "a", "values": {"ssim": 0.6}}, {"method": "b"})  # on two scenes nothing can be told apart
    (row,) = [line for line in text.splitlines() if line.startswith("| [synthetic.tiny]")]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[:8] == [
        "[synthetic.tiny](synthetic.tiny.md)",
        "A procedural landscape",
        "verified",
        "4",
        "2",
        "8,000",
        "2",
        "`ssim`",
    ]
    assert cells[8].count("`") == 4
    assert cells[9] == "[CSV](synthetic.tiny.csv), [LaTeX](synthetic.tiny.tex)"


def test_where_many_can_not_be_told_apart_nobody_leads(page):
    runs = [{"method": f"m{k}", "values": {"ssim": 0.5}} for k in range(MOST_LEADS + 1)]
    assert "nobody: no test tells the 5 methods apart" in page(*runs)


def test_pictures_stand_on_the_page_that_has_them(page):
    assert "![ssim against cost](synthetic.tiny.svg)" in page({}, plotted=["synthetic.tiny"])
    assert "Pareto" not in page({})
