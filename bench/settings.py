"""A method's hyperparameters changed from the command line: `--set cam=false`. What is changed stands in the record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, get_type_hints

from sarbench.bench import registry
from sarbench.bench.errors import ContractError

Settings = Mapping[str, str]  # name of a field -> value as text


def config_of(name: str, preset: str, settings: Settings) -> Any:
    """The config of a method at a preset, with the settings given; a floor has none to change, and keeps its own.

    Raises ContractError for a field that the method does not have, and for a value that the field does not take.
    """
    cls = registry.load_learner(name)
    config = cls.presets[preset]
    if not settings or cls.card.role == "floor":
        return config
    known = [field.name for field in fields(config)]
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ContractError(f"--set {unknown[0]}={settings[unknown[0]]}: {name} has no such setting; it has {', '.join(known)}")
    if blank := [key for key, text in settings.items() if not text or text.split() != [text]]:
        raise ContractError(f"--set {blank[0]}={settings[blank[0]]!r}: write a value without white space, such as [0.5,0.999]")
    hints = get_type_hints(type(config))
    return replace(config, **{key: _value(name, key, text, hints[key]) for key, text in settings.items()})


def trained_by(config: Any) -> dict[str, Any]:
    """The hyperparameters of a config that its trained weights depend on."""
    return {f.name: getattr(config, f.name) for f in fields(config) if f.metadata.get("trains", True)}


def variant_of(name: str, settings: Settings) -> str:
    """The settings of a method as one line; empty for the method as its preset has it, and for floors."""
    if not settings or registry.card_of("methods", name).get("role") == "floor":
        return ""
    return " ".join(f"{key}={value}" for key, value in sorted(settings.items()))


def _value(name: str, key: str, text: str, hint: Any) -> Any:
    """Text as a value of the field's type: numbers and lists as JSON has them, none, true and false, or the text itself."""
    from pydantic import TypeAdapter, ValidationError

    if text.lower() == "none":
        candidates: list[Any] = [None, text]
    else:
        try:
            candidates = [json.loads(text), text]
        except ValueError:
            candidates = [text]
    for candidate in candidates:
        try:
            return TypeAdapter(hint).validate_python(candidate)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
    raise ContractError(f"--set {key}={text}: {name} takes another kind of value there ({problem})")
