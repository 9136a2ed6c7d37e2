"""The status as a monitoring plugin says it: one line, `BUDGET STATE - text | performance data`. Pure.

The form is that of the monitoring-plugins guidelines: less than 80 characters before the data, which is
`'label'=value[unit];warn;crit;min;max`, a label without `=` or `'`, a value that is not known `U`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from alarms.money import parse_amount, plain
from monitor.clock import from_text
from monitor.status.words import one_line

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from typing import Any

_WIDTH = 79
# What these systems take for the end of the text, a macro, a shell's character or HTML.
_HARMLESS = str.maketrans({"|": "/", "<": "(", ">": ")", "`": "'", "$": "", "&": "+"})


def nagios(status: dict[str, Any]) -> str:
    """One line for the result of `judge`."""
    text = one_line(f"BUDGET {status['state']} - {status['summary']}").translate(_HARMLESS)
    if len(text) > _WIDTH:
        text = text[: _WIDTH - 3] + "..."
    data = _labelled([*_spend(status), *_ages(status), *_delivery(status)])
    return f"{text} | {data}" if data else text


def _labelled(values: list[tuple[str, str]]) -> str:
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
    return " ".join(parts)


def _spend(status: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            f"{row['name']}_{row['currency'].lower()}",
            f"{_number(row['spend'])};{_limit(row, 'warning')};{_limit(row, 'critical')};;",
        )
        for row in status["budgets"]
    ]


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
        ages.append((f"{row['name']}_data_age", f"{data};{row['late_data_s']};{row['stale_data_s']};0;"))
        ages.append((f"{row['name']}_poll_age", f"{poll};{row['late_poll_s']};{row['stale_poll_s']};0;"))
    return [*ages, ("turn_age", f"{_seconds(status['daemon']['last_turn'], now)};;;0;")]


def _seconds(instant: str | None, now: datetime) -> str:
    """`412s`; U when it is not known; an age is never below zero."""
    return "U" if instant is None else f"{max(0, (now - from_text(instant)) // timedelta(seconds=1))}s"


def _delivery(status: dict[str, Any]) -> list[tuple[str, str]]:
    return [("undelivered", f"{sum(row['undelivered'] for row in status['receivers'])};;;0;")]
