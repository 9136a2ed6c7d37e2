"""Each part of the facts document as `status` shows it, and what is wrong with it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

from alarms.money import for_people, parse_amount
from alarms.words import day_text
from monitor.clock import from_text
from monitor.freshness import Freshness
from monitor.status.sources import SEE_SOURCE, UNTRUSTED
from monitor.status.words import Problem, State, lasting, local_text, one_line, worst

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

TURN_LIMIT = timedelta(minutes=15)
TURN_LIMIT_POLLS = 3
UNDELIVERED_LIMIT = timedelta(minutes=15)
_ALARM_STATES = ("OK", "PENDING", "FIRING", "CLOSED")
_SEE_SPEND = "run `monitor spend --by service` to see what it is spent on"
_WAIT = "wait until there is more data, or let the source read further back (`backfill`)"
_SEE_SCOPE = "mend the budget's `scope`, or wait for its first charge; `monitor spend --by service` shows what there is"
_SEE_ACCOUNTS = "run `monitor spend --by account` to see which there are; take `each` away if it is one account alone"
_SEE_LOG = "read the daemon's log: `journalctl -u cloud-budget-monitor`"
_START = "start the daemon: `systemctl start cloud-budget-monitor` (by hand: `monitor run`)"
# By whether a daemon runs; None: that cannot be told.
_OVERDUE = {
    True: ("the daemon hangs", _SEE_LOG),
    False: ("the daemon does not run", _START),
    None: ("the daemon hangs or does not run", "see whether it runs: `systemctl status cloud-budget-monitor`"),
}


def turn_overdue(facts: dict[str, Any], now: datetime) -> bool:
    """Whether the last finished turn is older than three polls and a quarter of an hour; True without any."""
    if facts.get("turn_at") is None:
        return True
    limit = max(TURN_LIMIT_POLLS * timedelta(seconds=facts["poll_s"]), TURN_LIMIT)
    return now - from_text(facts["turn_at"]) > limit


def turn_problems(facts: dict[str, Any], now: datetime, *, running: bool | None) -> Iterator[Problem]:
    """A last turn that is missing, too old, or in the future."""
    if facts.get("turn_at") is None:
        yield Problem(State.UNKNOWN, "no turn yet", "run `monitor once` for one turn, `monitor run` for the daemon")
        return
    age = now - from_text(facts["turn_at"])
    if turn_overdue(facts, now):
        text, do = _OVERDUE[running]
        yield Problem(State.CRITICAL, f"{text}: last turn {lasting(age)} ago", do)
    elif age < -TURN_LIMIT:
        text = f"the last turn is {lasting(-age)} in the future"
        yield Problem(State.UNKNOWN, text, "set this machine's clock (or ask with a later --as-of)")


def is_quiet(silence: dict[str, Any], now: datetime) -> bool:
    """Whether a silence (or an ack, which has no end of its own) still holds."""
    return silence["until"] is None or from_text(silence["until"]) > now


def belongs(name: str, budget: str) -> bool:
    """Whether a budget is the one that is asked for, or one of those that `each` has made of it."""
    return budget in (name, name.partition("/")[0])


def covers(silence: dict[str, Any], budget: str) -> bool:
    """Whether it is about this budget: by its name, or by that of all that `each` has made."""
    return belongs(budget, silence["budget"])


def quiet_text(budget: str, silences: list[dict[str, Any]], timezone: str) -> str:
    """`silenced until 24 Nov 2026 04:00 UTC`, `acknowledged`; "" when its alarms are told."""
    mine = [silence for silence in silences if covers(silence, budget)]
    ends = [from_text(silence["until"]) for silence in mine if silence["until"] is not None]
    if ends:
        return f"silenced until {local_text(max(ends), timezone)}"
    return "acknowledged" if mine else ""


def budget_row(budget: dict[str, Any], sources: list[dict[str, Any]], quiet: str, *, now: datetime) -> dict[str, Any]:
    """A budget with its state, and the sources that make its figures doubtful. `quiet`: whether it is not told now."""
    # Of several views of one bill only the one that counts makes the figure doubtful.
    counted = budget.get("counted", budget["sources"])
    feeding = [source for source in sources if source["name"] in counted]
    partial = any(source["freshness"] is Freshness.PARTIAL for source in feeding)
    row = {
        **{key: budget[key] for key in ("name", "currency", "amount", "period", "billed", "accrued", "spend")},
        **{key: budget.get(key) for key in ("forecast", "planned", "at_completion", "progress", "data_as_of")},
        **{key: budget.get(key) for key in ("basis", "gross", "net")},
        **{key: budget.get(key) for key in ("forecast_low", "forecast_high", "forecast_days", "forecast_needs_days")},
        "burn_rates": budget.get("burn_rates", {}),
        "lower_bound": budget["lower_bound"] or partial,
        "stale": [source["name"] for source in feeding if source["freshness"] in UNTRUSTED],
        "sources": budget["sources"],
        "counted": counted,
        "views": budget.get("views", {}),
        "unseen": budget.get("unseen", []),
        "watches_nothing": budget.get("watches_nothing"),
        "alarms": budget["alarms"],
        "quiet": quiet,
        "begun": now >= from_text(budget["period"]["start"]) or parse_amount(budget["spend"] or "0") != 0,
    }
    problems = [*budget_problems(row), *missing_data_problems(row)]
    return {**row, "state": worst(problem.state for problem in problems)}


def budget_problems(row: dict[str, Any]) -> Iterator[Problem]:
    """The loudest FIRING alarm of the present period, and the loudest of earlier ones."""
    for alarm in row["alarms"]:
        if alarm["state"] not in _ALARM_STATES:
            raise ValueError(f"alarm state {alarm['state']!r} is not known")
    firing = [alarm for alarm in row["alarms"] if alarm["state"] == "FIRING"]
    for earlier in (False, True):
        some = [alarm for alarm in firing if (alarm.get("period_start") is not None) == earlier]
        if some:
            loudest = max(some, key=lambda alarm: State(alarm["severity"].upper()).rank)
            yield Problem(State(loudest["severity"].upper()), _alarm_text(row, loudest) + _in_brackets(row), _SEE_SPEND)


def missing_data_problems(row: dict[str, Any]) -> Iterator[Problem]:
    """A spend that is not known, or alarms that have nothing to judge by."""
    blind = [alarm for alarm in row["alarms"] if alarm["data"] != "OK"]
    if row["watches_nothing"]:
        yield Problem(State.UNKNOWN, f"{row['name']}: {row['watches_nothing']}", _SEE_ACCOUNTS)
    elif row["spend"] is None:
        why = f": {row['unseen'][0]}" if row["unseen"] else ""
        yield Problem(State.UNKNOWN, f"{row['name']}: its spend is not known{why}", _SEE_SCOPE if why else SEE_SOURCE)
    elif blind:
        first = f"{blind[0]['on']} {blind[0]['at']}"
        more = f" and {len(blind) - 1} more" if len(blind) > 1 else ""
        few = too_few_days(row)
        text, do = (f"no data to judge {first}{more}", SEE_SOURCE) if few is None else (few, _WAIT)
        yield Problem(State.UNKNOWN, f"{row['name']}: {text}", do)


def too_few_days(row: dict[str, Any]) -> str | None:
    """Why there is no forecast although an alarm waits for it and its sources are fine; None: that is not so."""
    days, needed = row.get("forecast_days"), row.get("forecast_needs_days")
    blind = {alarm["on"] for alarm in row["alarms"] if alarm["data"] != "OK"}
    if blind != {"forecast"} or row["stale"] or days is None or needed is None or days >= needed:
        return None
    return f"not enough data for a forecast: {days} of {needed} complete days"


def most_used_first(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """By spend in per cent of the amount; else as they come."""
    return sorted(rows, key=how_used)


def how_used(row: dict[str, Any]) -> tuple[bool, Decimal]:
    """Sorts budgets, the most used first, and last those whose spend is not known or whose period has not begun."""
    share = _share_used(row) if row["begun"] else None
    return (share is None, -(share or Decimal(0)))


def percent_used(row: dict[str, Any]) -> int | None:
    """Spend in per cent of the amount, rounded down so that 100 means reached; None when not known."""
    share = _share_used(row)
    return None if share is None else int((share * 100).to_integral_value(ROUND_FLOOR))


def _share_used(row: dict[str, Any]) -> Decimal | None:
    if row["spend"] is None:
        return None
    amount = parse_amount(row["amount"])
    return parse_amount(row["spend"]) / amount if amount > 0 else None


def used_text(row: dict[str, Any]) -> str:
    """`training is at 85% of 1,000.00 USD`; then, if it is silenced, until when."""
    return one_line(_used(row) + _in_brackets(row))


def begins_text(row: dict[str, Any]) -> str:
    """`begins on 1 Dec 2026`, of a period that has not: what was spent in it is no figure that anybody measured."""
    return f"begins on {day_text(from_text(row['period']['start']))}"


def _used(row: dict[str, Any]) -> str:
    if not row["begun"]:
        return f"{row['name']} {begins_text(row)}"
    percent, amount, name = percent_used(row), money(row["amount"], row["currency"]), row["name"]
    if percent is None:
        return f"{name}: not known, of {amount}"
    return f"{name} is at {percent}%{' or more' if row['lower_bound'] else ''} of {amount}"


def _in_brackets(row: dict[str, Any]) -> str:
    return f" ({row['quiet']})" if row["quiet"] else ""


def money(text: str, currency: str, *, beside: str | None = None) -> str:
    """`1,234.50 USD` of a stored amount."""
    other: Decimal | None = None if beside is None else parse_amount(beside)
    return for_people(parse_amount(text), currency, beside=other)


def _alarm_text(row: dict[str, Any], alarm: dict[str, Any]) -> str:
    name, amount = row["name"], money(row["amount"], row["currency"])
    of_amount = f"{alarm['at']} of {amount}" if alarm["at"].endswith("%") else alarm["at"]
    percent = percent_used(row)
    if alarm.get("period_start") is not None:
        since = day_text(from_text(alarm["period_start"]))
        return f"{name}: the period from {since} is still over {of_amount} ({alarm['on']})"
    if (text := _estimate_text(row, alarm["on"], amount)) is not None:
        return f"{name}: {text}"
    if alarm["on"] == "burn_rate":
        if alarm.get("rate") is None:  # not known now, or of an older version
            return f"{name}: burns {alarm['at']} times as fast as the budget lasts, or faster"
        return f"{name}: burns {rate_text(alarm['rate'])} times as fast as the budget lasts, limit {alarm['at']}"
    if alarm["on"] != "actual" or percent is None:
        return f"{name}: {alarm['on']} over {of_amount}"
    return _used(row)


def _estimate_text(row: dict[str, Any], on: str, amount: str) -> str | None:
    """What an alarm says that holds more than the spend against the amount; None: it is none, or that is not known."""
    if on == "plan" and row.get("planned") is not None and row["spend"] is not None:
        return f"{_number(row, 'spend')} spent, {money(row['planned'], row['currency'])} planned by then"
    if on == "at_completion" and row.get("at_completion") is not None:
        return f"{_number(row, 'at_completion')} of {amount} expected at completion"
    if on == "forecast" and row.get("forecast") is not None:
        end = from_text(row["period"]["end"])
        return f"{_number(row, 'forecast')} of {amount} expected by {day_text(end)}"
    return None


def rate_text(text: str) -> str:
    """Two digits, downwards: what is below a limit does not show as the limit."""
    return f"{parse_amount(text).quantize(Decimal('0.01'), rounding=ROUND_FLOOR):f}"


def _number(row: dict[str, Any], key: str) -> str:
    return money(row[key], row["currency"]).rsplit(" ", 1)[0]


def receiver_problems(row: dict[str, Any], now: datetime) -> Iterator[Problem]:
    """A DEAD receiver, or a message that it should have had long ago."""
    name = row["name"]
    waiting = timedelta(0) if row["oldest_due"] is None else now - from_text(row["oldest_due"])
    mend = f"mend it, then try it: `monitor notify {name}`"
    if row["state"] != "OK":
        yield Problem(State.CRITICAL, f"receiver {name} is {row['state']}: {row['error'] or 'it refuses all'}", mend)
    elif row["undelivered"] and waiting > UNDELIVERED_LIMIT:
        text = f"receiver {name}: {row['undelivered']} not delivered, the oldest for {lasting(waiting)}"
        yield Problem(State.CRITICAL, text, mend)


def health_problems(rows: list[dict[str, Any]]) -> Iterator[Problem]:
    """The daemon's own alarms; those stored are FIRING."""
    for row in rows:
        text = row["subject"] if not row.get("detail") else f"{row['subject']}: {row['detail']}"
        yield Problem(State(row["severity"].upper()), text, _SEE_LOG)
