"""Twins inside the clouds as `status` shows them, and what is wrong with them. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from alarms.terms import twin_advice
from monitor.clock import from_text
from monitor.status.words import Problem, State, lasting

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_DRILL = "run `monitor alarms drill`: it tries the whole way to a person"


def native_subject(row: dict[str, Any]) -> str:
    """How the daemon's own alarm about these twins begins, in `health`."""
    place = f" {row['place']}" if row.get("place") else ""
    return f"native {row['cloud']}{place} {row['budget']}: "


def native_problems(rows: list[dict[str, Any]], now: datetime) -> Iterator[Problem]:
    """Twins that are not as they should be, or could not be looked at; and a drill that failed or is due."""
    for row in rows:
        if row["state"] != "IN_SYNC":
            state = State.WARNING if row["state"] in ("DRIFTED", "MISSING") else State.UNKNOWN
            detail = f" ({row['detail']})" if row.get("detail") else ""
            text = f"native alarm of {row['budget']} in {row['cloud']}: {row['state']}{detail}"
            yield Problem(state, text, twin_advice(row["state"], row.get("detail") or ""))
    for row in rows:
        if row.get("drill_ok") is False:
            text = f"native alarm of {row['budget']} in {row['cloud']}: the drill failed: {row['drill_detail']}"
            yield Problem(State.WARNING, text, _DRILL)
        elif row["state"] == "IN_SYNC" and (due := drill_due(row)) is not None and now > due:
            last = (
                f"not drilled for {lasting(now - from_text(row['drilled_at']))}"
                if row["drilled_at"]
                else "never drilled"
            )
            yield Problem(State.WARNING, f"native alarm of {row['budget']} in {row['cloud']}: {last}", _DRILL)


def drill_due(row: dict[str, Any]) -> datetime | None:
    """Until when a drill has to be made; None of a document that says nothing of drills."""
    if row.get("drill_due_s") is None:
        return None
    return from_text(row["drilled_at"] or row["first_seen"]) + timedelta(seconds=row["drill_due_s"])
