"""What the parts of `status` share: the four states, a problem, and how ages and foreign text are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from alarms.words import instant_text

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from collections.abc import Iterable

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class State(StrEnum):
    """From best to worst, as the states of several things add up."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    @property
    def rank(self) -> int:
        """Its place in the order from best to worst."""
        return _RANK[self]

    @property
    def exit_code(self) -> int:
        """What monitoring systems expect."""
        return _EXIT_CODE[self]


_RANK = {State.OK: 0, State.UNKNOWN: 1, State.WARNING: 2, State.CRITICAL: 3}
_EXIT_CODE = {State.OK: 0, State.WARNING: 1, State.CRITICAL: 2, State.UNKNOWN: 3}


class Problem:
    """One reason not to be OK: what is wrong, and what to do about it, one line each."""

    __slots__ = ("do", "state", "text")

    def __init__(self, state: State, text: str, do: str) -> None:
        self.state = state
        self.text = one_line(text)
        self.do = one_line(do)


def worst(states: Iterable[State]) -> State:
    """The worst of these, OK of none."""
    return max(states, key=lambda state: state.rank, default=State.OK)


def one_line(text: str) -> str:
    """The text without anything that would move a cursor, start a line or turn the writing direction."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def local_text(instant: datetime, timezone: str) -> str:
    """`23 Nov 2026 14:00 CET`, in the zone of the config; in UTC on a machine that does not know it."""
    if timezone != "UTC":
        import zoneinfo

        try:
            return instant_text(instant, zoneinfo.ZoneInfo(timezone))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            pass  # UTC is right everywhere
    return instant_text(instant, UTC)


def lasting(span: timedelta) -> str:
    """`40 s`, `12 min`, `31 h`, `5 d`: rounded down, in hours until four days, since limits are told in hours."""
    seconds = span // timedelta(seconds=1)
    if seconds < 0:
        return f"-{lasting(-span)}"
    for below, unit, name in ((2 * _MINUTE, 1, "s"), (2 * _HOUR, _MINUTE, "min"), (4 * _DAY, _HOUR, "h")):
        if seconds < below:
            return f"{seconds // unit} {name}"
    return f"{seconds // _DAY} d"


def ago(instant: datetime, now: datetime) -> str:
    """`5 min ago`; of what lies ahead of `now`, a clock that was wrong or an earlier `--as-of`, `3 d in the future`."""
    ahead = instant - now >= timedelta(seconds=1)
    return f"{lasting(instant - now)} in the future" if ahead else f"{lasting(max(now - instant, timedelta(0)))} ago"


def old(instant: datetime, now: datetime) -> str:
    """`data 5 min old`, or `data from 3 d in the future`."""
    said = ago(instant, now)
    return f"data {said.removesuffix('ago')}old" if said.endswith(" ago") else f"data from {said}"


def since(instant: datetime, now: datetime) -> str:
    """`for 5 min`, or `from 3 d in the future on`."""
    said = ago(instant, now)
    return f"for {said.removesuffix(' ago')}" if said.endswith(" ago") else f"from {said} on"
