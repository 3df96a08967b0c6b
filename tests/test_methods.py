"""Every method keeps every promise of the contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sarbench.bench import checks, registry


@pytest.mark.parametrize("check", checks.all_checks(), ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", registry.names("methods"))
def test_method(name: str, check: Callable[[checks.Case], None]) -> None:
    checks.run_check(check, checks.Case(name))
