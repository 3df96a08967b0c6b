"""Every method keeps every promise of the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sarbench.bench import checks, match_checks, registry

SLOW = (  # many steps; a fresh process
    checks.check_loss_falls_on_four_pairs,
    checks.check_no_target_reaches_translate,
    match_checks.check_four_pairs_can_be_learned,
    match_checks.check_no_answer_reaches_match,
)


def marked(all_checks: Sequence[Callable[[Any], None]]) -> list[Any]:
    return [pytest.param(check, marks=pytest.mark.slow) if check in SLOW else check for check in all_checks]


@pytest.mark.parametrize("check", marked(checks.all_checks()), ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", registry.methods_for("translation"))
def test_method(name: str, check: Callable[[Any], None]) -> None:
    checks.run_check(check, checks.case_of(name))


@pytest.mark.parametrize("check", marked(match_checks.all_checks()), ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", registry.methods_for("matching"))
def test_matcher(name: str, check: Callable[[Any], None]) -> None:
    checks.run_check(check, checks.case_of(name))
