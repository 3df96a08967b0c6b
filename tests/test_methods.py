"""Every method keeps every promise of the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sarbench.bench import checks, registry

SLOW = (checks.check_loss_falls_on_four_pairs, checks.check_no_target_reaches_translate)  # many steps; a fresh process
CHECKS = [pytest.param(check, marks=pytest.mark.slow) if check in SLOW else check for check in checks.all_checks()]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", registry.names("methods"))
def test_method(name: str, check: Callable[[checks.Case], None]) -> None:
    checks.run_check(check, checks.Case(name))
