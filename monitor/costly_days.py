"""On which days costs of a scope were shown, remembered from read to read: an answer that is cut off is no correction.

A reading of each billing period holds its days as bits; one more holds the fewer days of an answer that is not
believed yet, and since when it is so. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from monitor.model import MeterReading
from monitor.period import midnight

# A cut that stays so long is none: costs were rated anew, or taken back.
BELIEVED_AFTER = timedelta(hours=24)
_DAY = timedelta(days=1)
_NONE = Decimal(-1)


@dataclass(frozen=True, slots=True)
class Judgement:
    """`refusal`: why the answer is not to be believed, in a sentence, and `lacks` in a few words; "" if it is.

    `readings`: to be remembered, either way.
    """

    refusal: str
    lacks: str
    readings: Mapping[str, MeterReading]


def judge(
    scope: str,
    found: Mapping[date, frozenset[date]],
    doubtful: Collection[date],
    *,
    known: Mapping[str, MeterReading],
    key: str,
    now: datetime,
) -> Judgement:
    """Hold an answer of a scope against what is `known`, by readings that begin with `key`.

    `found`: the days that cost something, by the first day of each billing period. `doubtful`: those of which a row was
    unusable: what has shown a cost there stays as it was, however long.
    """
    accepted: dict[str, MeterReading] = {}
    refused: dict[str, MeterReading] = {}
    refusal = lacks = ""
    for first, days in found.items():
        shown_key, fewer_key = f"{key}/{first}/days", f"{key}/{first}/fewer"
        shown, fewer = _unpacked(first, known.get(shown_key)), known.get(fewer_key)
        if shown & frozenset(doubtful):
            refusal = _unusable(scope, min(shown & frozenset(doubtful)))
            lacks = "an unusable row of a day that had costs"
            continue
        if _is_cut_off(days, shown):
            since = _since(first, days, fewer) or now
            refused[fewer_key] = MeterReading(since, _packed(first, days))
            if doubtful or now - since < BELIEVED_AFTER:
                refusal, lacks = _cut_off(scope, first, days, shown), "days that had costs have none"
                continue
        if days or shown:
            accepted[shown_key] = MeterReading(midnight(max(days, default=first)), _packed(first, days))
        if fewer is not None and fewer.value != _NONE:
            accepted[fewer_key] = MeterReading(now, _NONE)
    return Judgement(refusal, lacks, refused if refusal else accepted)


def _is_cut_off(days: frozenset[date], shown: frozenset[date]) -> bool:
    """Whether the newest day that had costs has none any more, or most have not."""
    return bool(shown) and (max(shown) > max(days, default=date.min) or len(shown) > 2 * len(days))


def _since(first: date, days: frozenset[date], fewer: MeterReading | None) -> datetime | None:
    """Since when it was no less than this, None if it is less than last time."""
    if fewer is None or fewer.value == _NONE or not _unpacked(first, fewer) <= days:
        return None
    return fewer.at


def _cut_off(scope: str, first: date, days: frozenset[date], shown: frozenset[date]) -> str:
    return (
        f"Azure shows costs of {scope} on {len(days)} days from {first}, where it had shown {len(shown)}, up to "
        f"{max(shown)}: it is not whole; what stays so for {BELIEVED_AFTER // timedelta(hours=1)} hours is believed"
    )


def _unusable(scope: str, day: date) -> str:
    return f"Azure shows an unusable cost of {scope} on {day}, where it had shown what was usable: it stays as it was"


def _packed(first: date, days: frozenset[date]) -> Decimal:
    return Decimal(sum(1 << (day - first).days for day in days))


def _unpacked(first: date, reading: MeterReading | None) -> frozenset[date]:
    bits = 0 if reading is None else max(0, int(reading.value))
    return frozenset(first + place * _DAY for place in range(bits.bit_length()) if bits >> place & 1)
