"""docs/config.md names every key that works, and no other: one table under each heading of a fixed form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import alarms.registry
import monitor.registry
from monitor.config import not_yet
from monitor.config.budgets import BudgetTable, RepeatTable, ScopeTable
from monitor.config.hardware import ExchangeTable, LocalTable
from monitor.config.parts import MonitorTable
from monitor.config.plan_tables import PhaseTable, PlanTable
from monitor.config.prices import DiscountTable, QuoteTable
from monitor.config.tariff import TariffTable
from monitor.config.thresholds import ThresholdTable

DOCS = Path(__file__).parents[2] / "docs" / "config.md"
COLUMNS = ["key", "meaning", "default", "example"]

SECTIONS: dict[str, type[BaseModel]] = {
    "table [monitor]": MonitorTable,
    "table [[budgets]]": BudgetTable,
    "table scope": ScopeTable,
    "table thresholds": ThresholdTable,
    "table repeat": RepeatTable,
    "table [[local]]": LocalTable,
    "table tariff": TariffTable,
    "table [[exchange]]": ExchangeTable,
    "table [[plans]]": PlanTable,
    "table phases": PhaseTable,
    "table [[quote]]": QuoteTable,
    "table [[discount]]": DiscountTable,
    **{f"source {name}": monitor.registry.settings_of(name) for name in monitor.registry.names()},
    **{f"receiver {name}": alarms.registry.settings_of(name) for name in alarms.registry.names()},
}


def tables() -> dict[str, list[list[str]]]:
    """The rows of the table under each `###` heading, without its head."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ").replace("`", "")
            found[heading] = []
        elif line.startswith("#"):
            heading = ""
        elif line.startswith("|") and heading:
            found[heading].append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def fields(heading: str) -> dict[str, FieldInfo]:
    """The keys of a section as they are written: `from` is no name in Python."""
    return {field.alias or name: field for name, field in SECTIONS[heading].model_fields.items()}


def test_every_section_source_and_receiver_has_its_table_and_there_is_no_other():
    assert set(tables()) == set(SECTIONS)


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_table_holds_exactly_the_keys_that_work(heading):
    head, _rule, *rows = tables()[heading]
    assert head == COLUMNS
    keys = [row[0].strip("`") for row in rows]
    assert len(keys) == len(set(keys))
    assert set(keys) == set(fields(heading))


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_key_without_a_default_is_called_required(heading):
    for key, _meaning, default, example in tables()[heading][2:]:
        # The type of a part is always written: it says which keys the table has.
        required = fields(heading)[key.strip("`")].is_required() or key == "`type`"
        assert (default == "required") == required, key
        assert example.startswith(f"`{key.strip('`')} = "), key


def test_what_is_not_built_yet_is_named():
    text = DOCS.read_text(encoding="utf-8").partition("## Not in this version")[2]
    words = not_yet.TABLES | not_yet.SOURCE_TYPES | not_yet.RECEIVER_TYPES | not_yet.RECEIVER_KEYS
    words |= not_yet.BUDGET_KEYS | not_yet.PHASE_KEYS
    for values in (*not_yet.BUDGET_VALUES.values(), *not_yet.THRESHOLD_VALUES.values()):
        words |= values
    assert [word for word in sorted(words) if not re.search(rf"`[^`]*\b{word}\b[^`]*`", text)] == []
