"""The status for a person at a terminal: what is wrong first, then the budgets, then where figures come from. Pure.

Fits 80 columns. Three columns throughout: a state, a name, and the rest; further lines are indented below the name.
"""

from __future__ import annotations

import textwrap
from datetime import datetime
from decimal import Decimal

from alarms.money import EXACT, for_people, parse_amount
from alarms.words import day_text
from monitor.clock import from_text
from monitor.status.parts import begins_text, money, most_used_first, percent_used, rate_text, too_few_days
from monitor.status.words import State, ago, local_text, old, one_line, since

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_WIDTH = 80
_INDENT = " " * 12
_ROWS_SHOWN = 20
_LONGEST_NAME = 24
_BAR = 10
_PROBLEMS_SHOWN = 8
_GREEN, _YELLOW, _RED, _MAGENTA = 32, 33, 31, 35
_RUNS = {True: "Daemon running", False: "Daemon not running", None: "Whether a daemon runs is not known here"}
_COLOURS = {
    **dict.fromkeys(("OK", "FRESH", "IN_SYNC"), _GREEN),
    **dict.fromkeys(("WARNING", "LATE", "PARTIAL", "DRIFTED", "MISSING"), _YELLOW),
    **dict.fromkeys(("CRITICAL", "DEAD", "STALE", "NO_ACCESS"), _RED),
    **dict.fromkeys(("UNKNOWN", "NEVER"), _MAGENTA),
}


def render(status: dict[str, Any], *, colour: bool) -> str:
    """Some lines for the result of `judge`; `colour` adds ANSI colours to the states."""
    now = from_text(status["as_of"])
    sections = [_head(status, colour=colour)]
    if status["daemon"]["last_turn"] is not None:
        budgets, sources = _worst_first(most_used_first(status["budgets"])), _worst_first(status["sources"])
        sections += [
            _section("Budgets", [_budget(row, now) for row in budgets], colour=colour),
            _section("Sources", [_source(row, now) for row in sources], colour=colour),
            _section("Receivers", [_receiver(row, now) for row in status["receivers"]], colour=colour),
            _section(
                "Not told for now", [_silence(row, status["timezone"]) for row in status["silences"]], colour=colour
            ),
            _section("Native alarms", [_native(row, now) for row in status["native"]], colour=colour),
            _daemon(status, now),
        ]
    if status["problems"]:
        sections.append(textwrap.wrap("Next: " + status["problems"][0]["do"], _WIDTH, subsequent_indent=" " * 6))
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _worst_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: -State(row["state"]).rank)


def _head(status: dict[str, Any], *, colour: bool) -> list[str]:
    problems = status["problems"]
    texts = [problem["text"] for problem in problems[:_PROBLEMS_SHOWN]] or [one_line(status["summary"])]
    if len(problems) > _PROBLEMS_SHOWN:
        texts.append(f"and {len(problems) - _PROBLEMS_SHOWN} more")
    lines = [line for text in texts for line in textwrap.wrap(text, _WIDTH - 10, subsequent_indent="  ")]
    return [f"{_painted(status['state'], colour=colour)}{lines[0]}", *(f"{'':10}{line}" for line in lines[1:])]


def _section(title: str, rows: list[_Row], *, colour: bool) -> list[str]:
    if not rows:
        return []
    shown = _worth_a_line(rows)
    hidden, rows = len(rows) - len(shown), shown
    width = max(min(len(row.name), _LONGEST_NAME) for row in rows)
    lines = [title]
    for row in rows:
        first = f"{row.name:<{width}}  {row.text}"
        details = row.details
        if len(first) > _WIDTH - len(_INDENT):
            first, details = row.name, [row.text, *details]
        lines.append(f"  {_painted(row.state, colour=colour)}{_cut(first)}".rstrip())
        for detail in details:
            lines += textwrap.wrap(detail, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT + "  ")
    if hidden:
        lines.append(f"  {'':10}and {hidden} more, none of them worse (--json shows all)")
    return lines


def _worth_a_line(rows: list[_Row]) -> list[_Row]:
    """All of a few; of many, those with something to tell, worst first, and no more than a screen of them."""
    if len(rows) <= _ROWS_SHOWN:
        return rows
    return [row for row in rows if row.state not in ("OK", "FRESH", "IN_SYNC")][:_ROWS_SHOWN] or rows[:1]


class _Row:
    __slots__ = ("details", "name", "state", "text")

    def __init__(self, state: str, name: str, text: str, details: list[str]) -> None:
        self.state = state
        self.name = one_line(name)
        self.text = text
        self.details = [one_line(detail) for detail in details]


def _budget(row: dict[str, Any], now: datetime) -> _Row:
    amount = money(row["amount"], row["currency"])
    split = [_split(row, now)] if row["begun"] else []
    details = [*split, *_credits(row), *_views(row), *_outlook(row, now), *_unseen(row)]
    if row["stale"]:
        details.append(f"not up to date: no recent data from {', '.join(row['stale'])}")
    told = [alarm for alarm in row["alarms"] if alarm["state"] in ("PENDING", "FIRING")]
    details += [_alarm(alarm, now) for alarm in sorted(told, key=lambda alarm: -State(alarm["severity"].upper()).rank)]
    if row["watches_nothing"]:
        return _Row(row["state"], row["name"], f"watches nothing, {amount} for each account", details)
    if not row["begun"]:
        return _Row(row["state"], row["name"], begins_text(row), details)
    percent = percent_used(row)
    if row["spend"] is None or percent is None:
        spend = "not known" if row["spend"] is None else money(row["spend"], row["currency"])
        return _Row(row["state"], row["name"], f"{spend}, of {amount}", details)
    spend = money(row["spend"], row["currency"], beside=row["amount"]).rsplit(" ", 1)[0]
    mark = "at least " if row["lower_bound"] else ""
    return _Row(row["state"], row["name"], f"{_bar(percent)} {percent:>3}%  {mark}{spend} of {amount}", details)


def _outlook(row: dict[str, Any], now: datetime) -> Iterator[str]:
    """What is expected, and how fast it goes."""
    if row["forecast"] is not None:
        expected = money(row["forecast"], row["currency"]).rsplit(" ", 1)[0]
        interval = ""
        if row["forecast_low"] is not None and row["forecast_high"] is not None:
            ends = (money(row[key], row["currency"]).rsplit(" ", 1)[0] for key in ("forecast_low", "forecast_high"))
            interval = f" ({' to '.join(ends)})"
        yield f"expected by {day_text(from_text(row['period']['end']))}: {expected}{interval}"
    elif few := too_few_days(row):
        yield few
    if figures := _foreseen(row):
        yield figures
    if told := row["progress"]:
        share = Decimal(told["step"] * 1000 // told["of"]).scaleb(-1)
        yield f"run {told['run']}: step {told['step']:,} of {told['of']:,} ({share}%), {_ago(told['at'], now)}"
    if row["burn_rates"]:
        rates = (f"{rate_text(rate)} over {window}" for window, rate in row["burn_rates"].items())
        yield f"burn rate {', '.join(rates)}"


def _foreseen(row: dict[str, Any]) -> str:
    """What was planned, and what it will be in the end; "" of a plan that has nothing in this period."""
    if row["planned"] in (None, "0") and row["at_completion"] in (None, row["spend"]):
        return ""
    known = (("planned by then", row["planned"]), ("at completion", row["at_completion"]))
    return ", ".join(
        f"{what} {money(text, row['currency']).rsplit(' ', 1)[0]}" for what, text in known if text is not None
    )


def _bar(percent: int) -> str:
    filled = max(0, min(_BAR, percent * _BAR // 100))
    return f"[{'#' * filled}{'-' * (_BAR - filled)}]"


def _split(row: dict[str, Any], now: datetime) -> str:
    # Nothing accrued says nothing as long as no inventory is there to estimate it.
    known = [word for word in ("billed", "accrued") if row[word] not in (None, "0")]
    split = " + ".join(f"{word} {money(row[word], row['currency']).rsplit(' ', 1)[0]}" for word in known)
    data = "no data" if row["data_as_of"] is None else old(from_text(row["data_as_of"]), now)
    return ", ".join(part for part in (split, data, _day(row["period"], now)) if part)


def _credits(row: dict[str, Any]) -> Iterator[str]:
    """What is credited and refunded, where there is any, and whether it counts."""
    if row["gross"] is None or row["net"] is None or row["gross"] == row["net"]:
        return
    gross, net = parse_amount(row["gross"]), parse_amount(row["net"])
    credits_ = for_people(EXACT.subtract(net, gross), row["currency"]).rsplit(" ", 1)[0]
    other, amount = ("before", gross) if row["basis"] == "net" else ("after", net)
    yield f"credits {credits_}; {other} them {for_people(amount, row['currency']).rsplit(' ', 1)[0]}"


def _views(row: dict[str, Any]) -> Iterator[str]:
    """What other sources say of a bill that counts by another one of them."""
    others = [(name, amount) for name, amount in row["views"].items() if name not in row["counted"]]
    if others:
        said = (
            f"{name} says {'nothing' if amount is None else money(amount, row['currency']).rsplit(' ', 1)[0]}"
            for name, amount in others
        )
        counted = (name for name in row["counted"] if name in row["views"])
        yield f"by {', '.join(counted)}; of the same bill {', '.join(said)}"


def _unseen(row: dict[str, Any]) -> list[str]:
    """Names that no charge ever had, which informs; while the spend is not known, they are among what is wrong."""
    return row["unseen"] if row["spend"] is not None and row["begun"] else []


def _day(period: dict[str, str | None], now: datetime) -> str:
    """`day 23 of 30`, `day 23` without an end; of a period that does not hold this instant, when it starts."""
    start = from_text(period["start"] or "")
    if now < start:
        return f"begins on {day_text(start)}"
    if period["end"] is None:
        return f"day {(now - start).days + 1}"
    end = from_text(period["end"])
    if now < end:
        return f"day {(now - start).days + 1} of {max((end - start).days, 1)}"
    return f"period from {day_text(start)}"


def _alarm(alarm: dict[str, Any], now: datetime) -> str:
    lasts = "" if alarm["since"] is None else f" {_since(alarm['since'], now)}"
    earlier = f", period from {day_text(from_text(alarm['period_start']))}" if alarm.get("period_start") else ""
    blind = "" if alarm["data"] == "OK" else ", no data now"
    calm = f", clearly below {_since(alarm['calm_since'], now)}" if alarm.get("calm_since") else ""
    return f"{alarm['state']} {alarm['severity']}: {alarm['on']} {alarm['at']}{lasts}{earlier}{blind}{calm}"


def _source(row: dict[str, Any], now: datetime) -> _Row:
    read = "never read" if row["last_poll"] is None else f"read {_ago(row['last_poll'], now)}"
    if row["empty"] and row["last_attempt"] is not None:
        read = f"answered {_ago(row['last_attempt'], now)}"
    data = "no data" if row["data_as_of"] is None else old(from_text(row["data_as_of"]), now)
    details = [f"missing: {', '.join(row['missing'])}"] if row["missing"] else []
    details += [row["error"]] if row["error"] else []
    return _Row(row["freshness"], row["name"], f"{read}, {data}", details)


def _receiver(row: dict[str, Any], now: datetime) -> _Row:
    told = "nothing sent yet" if row["last_delivery"] is None else f"last message {_ago(row['last_delivery'], now)}"
    owed = f"; {row['undelivered']} not delivered" if row["undelivered"] else ""
    waiting = f", the oldest {_since(row['oldest_due'], now)}" if row["oldest_due"] is not None else ""
    return _Row(row["state"], row["name"], f"{told}{owed}{waiting}", [row["error"]] if row["error"] else [])


def _silence(row: dict[str, Any], timezone: str) -> _Row:
    until = "the level changes" if row["until"] is None else local_text(from_text(row["until"]), timezone)
    details = [f"since {local_text(from_text(row['since']), timezone)}, by {row['by']}"]
    details += [f"why: {row['why']}"] if row["why"] else []
    return _Row(row["kind"].upper(), row["budget"], f"until {until}", details)


def _native(row: dict[str, Any], now: datetime) -> _Row:
    where = f"{row['cloud']} {row.get('place') or ''}".strip()
    details = [row["detail"]] if row.get("detail") else []
    if row.get("drilled_at"):
        went = "went well" if row["drill_ok"] else f"failed: {row['drill_detail']}"
        details.append(f"drilled {_ago(row['drilled_at'], now)}, which {went}")
    return _Row(row["state"], row["budget"], one_line(where), details)


def _daemon(status: dict[str, Any], now: datetime) -> list[str]:
    daemon, cost = status["daemon"], status["self_cost"]
    runs = _RUNS[daemon["running"]]
    spent = money(cost["usd_this_month"], "USD", beside="0")
    lines = [
        f"{runs}, last turn {_ago(daemon['last_turn'], now)}. As of {local_text(now, status['timezone'])}.",
        f"Watching has cost {spent} this month, in {cost['calls_this_month']} calls.",
    ]
    return [line for text in lines for line in textwrap.wrap(text, _WIDTH)]


def _ago(instant: str, now: datetime) -> str:
    return ago(from_text(instant), now)


def _since(instant: str, now: datetime) -> str:
    return since(from_text(instant), now)


def _painted(state: str, *, colour: bool) -> str:
    """The state in ten columns."""
    word = f"{state:<10}"
    return f"\x1b[{_COLOURS[state]}m{word}\x1b[0m" if colour and state in _COLOURS else word


def _cut(text: str) -> str:
    room = _WIDTH - len(_INDENT)
    return text if len(text) <= room else text[: room - 3] + "..."
