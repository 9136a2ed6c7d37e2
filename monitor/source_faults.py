"""What is wrong with the sources, as alarms of the monitor itself: silence is never good news. Pure.

What has one cause is said once: a network that is down is one fault and not one for each source, and so is what grows
stale in many sources within the hour.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from alarms.faults import Fault
from alarms.model import Alarm, AlarmKey, AlarmStatus, Severity
from alarms.words import duration_text
from monitor.freshness import Freshness, data_age, judge, poll_age, stale_since

Json = dict[str, Any]

# Polls in a row in which no source at all could be reached, before that is said: one may be a cable that is plugged in.
_UNREACHABLE = 2
# So many sources that grow stale within so long have a cause in common.
_MANY, _TOGETHER = 3, timedelta(hours=1)
# Missing parts, and sources, that a message names; a thousand accounts would fill a page.
_SHOWN, _SHOWN_SOURCES = 5, 40

_STALE = "stale"
_NETWORK = Fault(
    subject="network",
    what="unreachable",
    severity=Severity.CRITICAL,
    title="The sources cannot be reached",
    detail="",
)
_SOURCES = Fault(subject="a group of sources", what=_STALE, severity=Severity.CRITICAL, title="", detail="")


def source_faults(
    sources: Sequence[Json], alarms: Mapping[AlarmKey, Alarm], now: datetime, awaited: Collection[str] = ()
) -> list[Fault]:
    """The faults of now. `sources`: those of the facts document; `alarms`: those of earlier faults among others.

    `awaited`: sources that may answer any moment; what is new about them is said when they have, or did not, and what
    has grown stale when all have. An alarm opened for one source stays its own until that source is well again.
    """
    told = {key: alarm for key, alarm in alarms.items() if alarm.status is AlarmStatus.FIRING}
    found = {source["name"]: fault for source in sources if (fault := _fault(source, now)) is not None}
    new = {name: fault for name, fault in found.items() if fault.key not in told}
    early = {name for name, fault in new.items() if name in awaited or (awaited and fault.what == _STALE)}
    stale = [source for source in sources if (fault := new.get(source["name"])) and fault.what == _STALE]
    spoken = told.get(_SOURCES.key)
    if spoken is not None:
        until = (spoken.since or now) + _TOGETHER
        together = [source for source in stale if stale_since(source) <= until]
    else:
        together = _many_at_once([source for source in stale if source["name"] not in early], found, told, now)
    common = [_many(together, now)] if together else []
    hidden = early | {source["name"] for source in together}
    if sources and all(source["unreachable"] >= _UNREACHABLE for source in sources):
        # That they are stale follows; what is said of them already stays.
        common = [_network(sources), *(common if spoken else ())]
        hidden |= {source["name"] for source in stale}
    return [*common, *(fault for name, fault in found.items() if name not in hidden)]


def _many_at_once(
    stale: list[Json], found: Mapping[str, Fault], told: Mapping[AlarmKey, Alarm], now: datetime
) -> list[Json]:
    """All of these if they are many, together with those of which it was said one by one within the hour; else none."""
    single = [told[fault.key] for fault in found.values() if fault.what == _STALE and fault.key in told]
    recent = [alarm for alarm in single if alarm.since is not None and now - alarm.since <= _TOGETHER]
    return stale if len(stale) + len(recent) >= _MANY else []


def _network(sources: Sequence[Json]) -> Fault:
    detail = (
        f"None of {len(sources)} could be, several times in a row: check this machine's network, DNS and proxy. "
        f"Until then no spend is seen.{_said(sources[0])}"
    )
    return _with(_NETWORK, _NETWORK.title, detail)


def _many(sources: Sequence[Json], now: datetime) -> Fault:
    names = [source["name"] for source in sources]
    more = f" and {len(names) - _SHOWN_SOURCES} more" if len(names) > _SHOWN_SOURCES else ""
    oldest = max(sources, key=lambda source: data_age(source, now))
    detail = (
        f"Stale: {', '.join(names[:_SHOWN_SOURCES])}{more}. The stalest is {oldest['name']}. "
        f"{_how_stale(oldest, now)}. Every figure from them may be too low; see monitor status.{_said(oldest)}"
    )
    return _with(_SOURCES, f"{len(names)} sources are stale" if len(names) > 1 else "A source is stale", detail)


def _with(fault: Fault, title: str, detail: str) -> Fault:
    return Fault(fault.subject, fault.what, fault.severity, title, detail)


def _said(source: Json) -> str:
    return f" It last said: {source['error']}." if source["error"] else ""


def _fault(source: Json, now: datetime) -> Fault | None:
    name, freshness, said = source["name"], judge(source, now), _said(source)
    if freshness is Freshness.NO_ACCESS:
        title, what = f"Source {name} lets us in no more", "locked out"
        detail = f"Spend from {name} is not known until that is mended.{said}"
    elif freshness is Freshness.STALE:
        title, what = f"Source {name} is stale", _STALE
        detail = f"{_how_stale(source, now)}. Every figure from it may be too low.{said}"
    elif freshness is Freshness.PARTIAL:
        missing = ", ".join(source["missing"][:_SHOWN]) + (" and more" if len(source["missing"]) > _SHOWN else "")
        title, detail = f"Source {name} is read in part", f"Figures are at least what they say. Missing: {missing}."
        return Fault(f"source {name}", "read in part", Severity.WARNING, title, detail)
    else:
        return None
    return Fault(f"source {name}", what, Severity.CRITICAL, title, detail)


def _how_stale(source: Json, now: datetime) -> str:
    data, poll = duration_text(data_age(source, now)), duration_text(poll_age(source, now))
    known = source["data_as_of"] is not None
    if source.get("empty"):
        return f"It answers, but has had {'nothing new' if known else 'no data'} for {poll}"
    read = f"it was last read {poll} ago" if source["last_poll"] is not None else f"nothing could be read for {poll}"
    return f"Its newest data is {data} old, {read}" if known else f"It has no data, {read}"
