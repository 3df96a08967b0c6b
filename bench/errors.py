"""The one error that a user's input can cause."""

from __future__ import annotations


class ContractError(Exception):
    """A plugin, a file or an option breaks a promise; the message names it and says what to do."""
