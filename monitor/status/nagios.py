"""The status as a monitoring plugin says it: one line, `BUDGET STATE - text | performance data`. Pure.

The form is that of the monitoring-plugins guidelines: less than 80 characters before the data, which is
`'label'=value[unit];warn;crit;min;max`, a label without `=` or `'`, a value that is not known `U`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from alarms.money import parse_amount, plain
from monitor.clock import from_text
from monitor.status.parts import how_used
from monitor.status.words import State, one_line

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from typing import Any

_WIDTH = 79
# What NRPE and the pipes of older systems carry; the rest would be cut off in the middle of a value.
MOST_BYTES = 4000
_LONGEST_NAME = 100
_LEFT_OUT = "'left_out'={};;;0;"
# What these systems take for the end of the text, a macro, a shell's character or HTML.
_HARMLESS = str.maketrans({"|": "/", "<": "(", ">": ")", "`": "'", "$": "", "&": "+"})


def nagios(status: dict[str, Any]) -> str:
    """One line for the result of `judge`, of MOST_BYTES at most.

    Where all the data is more than that, it is that of the worst budgets and sources, in the order and with the labels
    that it always has, and `left_out` says how many values are not there.
    """
    text = one_line(f"BUDGET {status['state']} - {status['summary']}").translate(_HARMLESS)
    if len(text) > _WIDTH:
        text = text[: _WIDTH - 3] + "..."
    data = _labelled([*_spend(status), *_ages(status), *_own(status)])
    kept = _fitting(data, _by_weight(status), MOST_BYTES - _size(text) - len(_LEFT_OUT.format(len(data))))
    left_out = [_LEFT_OUT.format(len(data) - len(kept))] if len(kept) < len(data) else []
    return " ".join([text, "|", *kept, *left_out])


def _labelled(values: list[tuple[str, str]]) -> list[str]:
    taken: set[str] = set()
    parts = []
    for wanted, value in values:
        label = plain_label = one_line(wanted).translate(str.maketrans("=|'", "___"))
        number = 1
        while label in taken:
            number += 1
            label = f"{plain_label}_{number}"
        taken.add(label)
        parts.append(f"'{label}'={value}")
    return parts


def _by_weight(status: dict[str, Any]) -> list[int]:
    """Places in the data, what matters most first: our own, then the worst budget, the worst source, the next."""
    budgets, sources = status["budgets"], status["sources"]
    by_budget = sorted(range(len(budgets)), key=lambda at: (-State(budgets[at]["state"]).rank, how_used(budgets[at])))
    by_source = sorted(range(len(sources)), key=lambda at: -State(sources[at]["state"]).rank)
    first_age, first_own = len(budgets), len(budgets) + 2 * len(sources)
    turns = list(enumerate(by_budget))
    for turn, at in enumerate(by_source):
        turns += [(turn, first_age + 2 * at), (turn, first_age + 2 * at + 1)]
    return [first_own, first_own + 1, *(place for _, place in sorted(turns))]


def _fitting(data: list[str], order: list[int], room: int) -> list[str]:
    """Those of the data that fit, chosen in this order."""
    kept = set()
    for place in order:
        room -= 1 + _size(data[place])
        if room < 0:
            break
        kept.add(place)
    return [value for place, value in enumerate(data) if place in kept]


def _size(text: str) -> int:
    # In bytes, whatever the encoding of the output: what that cannot say is written out.
    return len(text.encode("ascii", "backslashreplace"))


def _spend(status: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            f"{_name(row)}_{row['currency'].lower()}",
            f"{_number(row['spend'] if row['begun'] else None)};{_limit(row, 'warning')};{_limit(row, 'critical')};;",
        )
        for row in status["budgets"]
    ]


def _name(row: dict[str, Any]) -> str:
    return str(row["name"])[:_LONGEST_NAME]


def _number(text: str | None) -> str:
    return "U" if text is None else plain(parse_amount(text))


def _limit(row: dict[str, Any], severity: str) -> str:
    """The lowest limit on actual spend of this severity, in money; "" for none."""
    limits = [
        _in_money(alarm["at"], row["amount"])
        for alarm in row["alarms"]
        if alarm["on"] == "actual" and alarm["severity"] == severity
    ]
    return plain(min(limits)) if limits else ""


def _in_money(at: str, amount: str) -> Decimal:
    if at.endswith("%"):
        return parse_amount(amount) * parse_amount(at[:-1].strip()) / 100
    return parse_amount(at.split(maxsplit=1)[0])


def _ages(status: dict[str, Any]) -> list[tuple[str, str]]:
    now = from_text(status["as_of"])
    ages = []
    for row in status["sources"]:
        data = _seconds(row["data_as_of"], now)
        poll = _seconds(row["last_poll"], now)
        ages.append((f"{_name(row)}_data_age", f"{data};{row['late_data_s']};{row['stale_data_s']};0;"))
        ages.append((f"{_name(row)}_poll_age", f"{poll};{row['late_poll_s']};{row['stale_poll_s']};0;"))
    return ages


def _seconds(instant: str | None, now: datetime) -> str:
    """`412s`; U when it is not known, or lies ahead of `now`: an age is never below zero."""
    ahead = instant is not None and from_text(instant) - now >= timedelta(seconds=1)
    return "U" if instant is None or ahead else f"{max(0, (now - from_text(instant)) // timedelta(seconds=1))}s"


def _own(status: dict[str, Any]) -> list[tuple[str, str]]:
    age = _seconds(status["daemon"]["last_turn"], from_text(status["as_of"]))
    undelivered = sum(row["undelivered"] for row in status["receivers"])
    return [("turn_age", f"{age};;;0;"), ("undelivered", f"{undelivered};;;0;")]
