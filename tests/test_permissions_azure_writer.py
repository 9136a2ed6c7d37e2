"""docs/permissions/azure-writer.md names what is done to Azure's budgets, and what it names is done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.reconcile import carry_out, compare
from monitor.simulation.azure import AzureCloud
from tests.alarms.test_native_azure import WANTED
from tests.contract.clouds import ACTION_GROUP, azure_native, azure_world

PAGE = (Path(__file__).parents[1] / "docs/permissions/azure-writer.md").read_text(encoding="utf-8")
TABLE = dict(re.findall(r"^\| `(Microsoft\.[^`]+)` \| `(\w+)`", PAGE, re.MULTILINE))


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureCloud]:
    with azure_world() as there:
        yield there


def test_each_command_does_what_the_page_says_and_nothing_else(azure: AzureCloud) -> None:
    native = azure_native(azure, native_action_groups=[ACTION_GROUP])
    done: dict[str, set[str]] = {"plan": set(), "apply": set(), "drill": set()}

    def taken() -> set[str]:
        found = set(azure.operations)
        azure.operations.clear()
        return found

    changed = replace(WANTED, amount=Decimal(7))
    for wanted in ([WANTED], [changed], [replace(changed, period="year")], []):
        changes = compare([twin for one in wanted for twin in native.design(one, "").twins], native.owned())
        done["plan"] |= taken()
        assert not [one.error for one in carry_out(native, changes) if one.error]
        done["apply"] |= taken()
        native.drill(native.owned().twins)
        done["drill"] |= taken()
    by_command = {name: {one for one, command in TABLE.items() if command == name} for name in done}
    assert done["plan"] == by_command["plan"]
    assert done["apply"] - done["plan"] == by_command["apply"]
    assert done["drill"] - done["plan"] == by_command["drill"]


def test_the_role_holds_what_the_table_names() -> None:
    (role,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert set(json.loads(role)["Actions"]) == set(TABLE)
