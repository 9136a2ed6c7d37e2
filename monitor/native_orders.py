"""What `monitor alarms apply` and `drill` have found, stored by whoever holds the store: the daemon, or themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from alarms.reconcile import TwinState
from alarms.words import clean
from monitor.config.model import Config
from monitor.errors import ExitCode, UserError
from monitor.store import natives
from monitor.store.natives import NativeRow

COMMAND = "native"
LONGEST = 300
_MOST_ROWS = 100


def take_in(tx: sqlite3.Connection, config: Config, arguments: Mapping[str, Any], now: datetime) -> str:
    """Store how twins stand and how a drill went. Raises UserError.

    `rows`: each with budget, cloud, place, and with state and detail, or drill_ok and drill_detail, or all of them.
    """
    rows = arguments.get("rows")
    if not isinstance(rows, list) or not 0 < len(rows) <= _MOST_ROWS:
        raise UserError("expected rows", ExitCode.USAGE)
    stored = {row.key: row for row in natives.read(tx)}
    changed = [_changed(row, stored, config, now) for row in rows]
    natives.put(tx, changed)
    natives.forget(tx, [(row.budget, row.cloud, "") for row in changed if row.place])
    return f"noted of {', '.join(dict.fromkeys(row.budget for row in changed))}"


def _changed(told: Any, stored: Mapping[natives.Key, NativeRow], config: Config, now: datetime) -> NativeRow:
    if not isinstance(told, dict):
        raise UserError("expected a row", ExitCode.USAGE)
    budget, cloud, place = (_text(told, name) for name in ("budget", "cloud", "place"))
    native = {one.name for one in config.budgets if one.native}
    if budget not in native and budget.rpartition("/")[0] not in native:
        raise UserError(f"{clean(budget, 64)} has no native = true in the daemon's config: reload it", ExitCode.USAGE)
    key = (budget, cloud, place)
    row = stored.get(key) or replace(
        stored.get((budget, cloud, "")) or NativeRow(*key, TwinState.UNKNOWN, "", now, now), place=place
    )
    if "state" in told:
        if told["state"] not in list(TwinState):
            raise UserError("expected a state", ExitCode.USAGE)
        row = replace(row.stands(TwinState(told["state"]), _text(told, "detail"), now), checked_at=now)
    if "drill_ok" in told:
        if not isinstance(told["drill_ok"], bool):
            raise UserError("expected drill_ok", ExitCode.USAGE)
        row = replace(row, drilled_at=now, drill_ok=told["drill_ok"], drill_detail=_text(told, "drill_detail"))
    return row


def _text(told: Mapping[str, Any], name: str) -> str:
    text = told.get(name, "")
    if not isinstance(text, str):
        raise UserError(f"expected {name} with a text", ExitCode.USAGE)
    return clean(text, LONGEST)
