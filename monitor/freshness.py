"""How far a source can be trusted now: one judgement, used by the turn for its alarms and by `monitor status`.

Two clocks: how long ago the source was read (poll age), and how old the newest thing is that it told (data age).
It works on the source's part of the facts document, so that both see the same; times there are RFC 3339 texts, limits
are seconds. Pure, and light to import: `status` runs every minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from monitor.clock import from_text

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from typing import Any

# A source past its stale limits by this factor is no longer "not known" but a failure of the monitoring itself: with
# the usual 26 h and 48 h a person hears of it before the second working day without figures is over (52 h, 96 h).
HARD_LIMIT_FACTOR = 2


class Freshness(StrEnum):
    """FRESH is fine; LATE is overdue; STALE is too old to trust; PARTIAL lacks parts; NEVER was not tried yet.

    `status` shows NEVER too where every try has failed (`never_answered`).
    """

    FRESH = "FRESH"
    LATE = "LATE"
    STALE = "STALE"
    PARTIAL = "PARTIAL"
    NO_ACCESS = "NO_ACCESS"
    NEVER = "NEVER"


def judge(source: dict[str, Any], now: datetime) -> Freshness:
    """The worst thing that is true of this source: NEVER, NO_ACCESS, STALE, PARTIAL, LATE, else FRESH.

    `source`: one entry of `sources` in the facts document. One that was tried and gave no data yet is LATE at once, and
    STALE once the time since its first attempt is past a stale limit. Raises KeyError or ValueError on other shapes.
    """
    if source["first_attempt"] is None:
        return Freshness.NEVER
    if not source["access"]:
        return Freshness.NO_ACCESS
    if _past(source, now, "stale"):
        return Freshness.STALE
    if source["missing"]:
        return Freshness.PARTIAL
    unread = source["last_poll"] is None or source["data_as_of"] is None
    return Freshness.LATE if unread or _past(source, now, "late") else Freshness.FRESH


def never_answered(source: dict[str, Any]) -> bool:
    """Whether it was tried and no attempt brought an answer: what is known of it is its error alone."""
    nothing = source["last_poll"] is None and source["data_as_of"] is None and not source.get("empty")
    return source["first_attempt"] is not None and nothing


def past_hard_limit(source: dict[str, Any], now: datetime) -> bool:
    """Whether either age is past HARD_LIMIT_FACTOR times its stale limit: STALE and NO_ACCESS are critical then."""
    return source["first_attempt"] is not None and _past(source, now, "stale", times=HARD_LIMIT_FACTOR)


def stale_since(source: dict[str, Any]) -> datetime:
    """When the first of its two ages passed its stale limit, or will."""
    polled = from_text(source["last_poll"] or source["first_attempt"]) + timedelta(seconds=source["stale_poll_s"])
    return min(
        polled, from_text(source["data_as_of"] or source["first_attempt"]) + timedelta(seconds=source["stale_data_s"])
    )


def poll_age(source: dict[str, Any], now: datetime) -> timedelta:
    """Time since the source was last read in full; since the first attempt when it never was."""
    return now - from_text(source["last_poll"] or source["first_attempt"])


def data_age(source: dict[str, Any], now: datetime) -> timedelta:
    """Age of the newest data; time since the first attempt when there is none."""
    return now - from_text(source["data_as_of"] or source["first_attempt"])


def _past(source: dict[str, Any], now: datetime, limit: str, *, times: int = 1) -> bool:
    poll_limit = timedelta(seconds=source[f"{limit}_poll_s"]) * times
    data_limit = timedelta(seconds=source[f"{limit}_data_s"]) * times
    return poll_age(source, now) > poll_limit or data_age(source, now) > data_limit
