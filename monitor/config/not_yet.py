"""What the config's words promise and this version does not hold yet: refused by name, never quietly ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.config.report import Report
from monitor.config_lines import Loc

TABLES = frozenset({"inventory"})
SOURCE_TYPES: frozenset[str] = frozenset()
RECEIVER_TYPES: frozenset[str] = frozenset()
RECEIVER_KEYS: frozenset[str] = frozenset()
PHASE_KEYS: frozenset[str] = frozenset()
BUDGET_KEYS: frozenset[str] = frozenset()
BUDGET_VALUES = {
    "cost": frozenset({"effective"}),
}
THRESHOLD_VALUES: dict[str, frozenset[str]] = {}

SENTENCE = "not in this version"


def without(
    report: Report,
    raw: Mapping[str, Any],
    loc: Loc,
    *,
    keys: frozenset[str],
    values: Mapping[str, frozenset[str]],
) -> dict[str, Any]:
    """The table without keys and values that are not built yet, each reported."""
    kept: dict[str, Any] = {}
    for key, value in raw.items():
        if key in keys:
            report.error((*loc, key), f"the key {key} is {SENTENCE}; remove it")
        elif isinstance(value, str) and value in values.get(key, ()):
            report.error((*loc, key), f'{key} = "{value}" is {SENTENCE}; remove it or choose another')
        else:
            kept[key] = value
    return kept
