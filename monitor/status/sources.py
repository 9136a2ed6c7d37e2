"""The sources as `status` shows them: how far each is to be trusted now, and what is wrong with it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from monitor.freshness import Freshness, data_age, judge, never_answered, past_hard_limit, poll_age
from monitor.status.words import Problem, State, lasting, one_line

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Sources that say nothing reliable now: what they feed is marked.
UNTRUSTED = (Freshness.STALE, Freshness.NO_ACCESS, Freshness.NEVER)
SEE_SOURCE = "run `monitor check-config --live` to see what the source answers"
# Two lines of a screen; the whole stands with the source.
_LONGEST_ERROR = 120


def source_row(source: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A source with its freshness and its state."""
    freshness = judge(source, now)
    if freshness is Freshness.LATE and never_answered(source):
        freshness = Freshness.NEVER  # not late: nothing was ever there that could be old
    state = State.OK if freshness is Freshness.FRESH else State.UNKNOWN
    if freshness in (Freshness.STALE, Freshness.NO_ACCESS) and past_hard_limit(source, now):
        state = State.CRITICAL
    return {
        "name": source["name"],
        "type": source.get("type"),
        "freshness": freshness,
        "state": state,
        "last_poll": source["last_poll"],
        "data_as_of": source["data_as_of"],
        "error": source["error"],
        "missing": source["missing"],
        "late_poll_s": source["late_poll_s"],
        "stale_poll_s": source["stale_poll_s"],
        "late_data_s": source["late_data_s"],
        "stale_data_s": source["stale_data_s"],
        "first_attempt": source["first_attempt"],
        "last_attempt": source.get("last_attempt"),
        "empty": source.get("empty", False),
        "calls": source.get("calls", 0),
        "cost_usd": source.get("cost_usd", "0"),
    }


def source_problems(row: dict[str, Any], now: datetime) -> Iterator[Problem]:
    """Anything but FRESH."""
    name, freshness = row["name"], row["freshness"]
    if freshness is Freshness.FRESH:
        return
    text = {
        Freshness.NEVER: f"was never read{_error(row)}",
        Freshness.NO_ACCESS: "refuses access",
        Freshness.PARTIAL: f"is not complete: {', '.join(row['missing'])} missing",
    }.get(freshness)
    yield Problem(row["state"], f"source {name} {text or _how_old(row, now)}", SEE_SOURCE)


def _error(row: dict[str, Any]) -> str:
    text = one_line(row["error"] or "")
    return f": {text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 3] + '...'}" if text else ""


def _how_old(row: dict[str, Any], now: datetime) -> str:
    word = "is stale" if row["freshness"] is Freshness.STALE else "is late"
    limit = "stale" if row["freshness"] is Freshness.STALE else "late"
    if row["empty"]:
        known = "has no data yet" if row["data_as_of"] is None else "has nothing new"
        return f"{word}: it answers, but {known}{_lasts(poll_age(row, now), ', for')}"
    if row["last_poll"] is None or poll_age(row, now) > timedelta(seconds=row[f"{limit}_poll_s"]):
        return f"{word}: not read{_lasts(poll_age(row, now), ' for')}"
    if row["data_as_of"] is None:
        return f"{word}: no data yet{_lasts(data_age(row, now), ', asked for')}"
    return f"{word}: its data is {lasting(data_age(row, now))} old"


def _lasts(age: timedelta, words: str) -> str:
    # Below zero it is none: the clock was ahead when it was asked, or `--as-of` lies before that.
    return "" if age < timedelta(0) else f"{words} {lasting(age)}"
