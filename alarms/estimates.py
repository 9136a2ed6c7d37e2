"""The words for what is not a sum of bills: a forecast, a burn rate, a plan. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_FLOOR, Decimal

from alarms.model import Facts, Foreseen, On, Reason
from alarms.money import DISPLAY, EXACT, for_people
from alarms.words import clean, day_text, duration_text, instant_text

_WHY = {
    On.FORECAST.value: "the spend expected at the period's end has crossed the limit",
    On.BURN_RATE.value: "it is spent faster than the limit in every window",
    On.PLAN.value: "spend runs ahead of what the plan foresaw by then",
    On.AT_COMPLETION.value: "what will have been spent in the end has crossed the limit",
}
# Nothing is known any more of the end of a period that is over, nor of a budget that is gone.
_NO_ESTIMATE = (Reason.PERIOD_ENDED, Reason.BUDGET_REMOVED)


def limit_text(on: str, at: str) -> str:
    """`80%` of what was spent, `forecast 100%`, `burn rate 2.0`, `120% of the plan`, `100% at completion`."""
    if on == On.PLAN:
        return f"{at} of the plan" if at.endswith("%") else f"{at} above the plan"
    if on == On.AT_COMPLETION:
        return f"{at} at completion"
    return at if on == On.ACTUAL else f"{on.replace('_', ' ')} {at}"


def why(facts: Facts) -> str | None:
    """Why an estimate fired, in a person's words; None: as of any other limit."""
    return _WHY.get(facts.on) if facts.reason is Reason.CROSSED else None


def headline(facts: Facts) -> str | None:
    """The figure that a message about an estimate begins with; None: the spend, as everywhere."""
    if facts.amount is None or facts.reason in _NO_ESTIMATE:
        return None
    amount = for_people(facts.amount, facts.currency)
    if facts.on == On.FORECAST and facts.forecast is not None and facts.period is not None:
        expected = for_people(facts.forecast.expected, facts.currency, beside=facts.limit).rpartition(" ")[0]
        end = facts.period.end.astimezone(UTC)
        return f"{expected} of {amount} expected by {day_text(end)}, "
    if facts.on == On.BURN_RATE and facts.burn_rates and facts.spend is not None:
        spend = for_people(facts.spend, facts.currency).rpartition(" ")[0]
        return f"{spend} of {amount} spent, burn rate {_rate(min(facts.burn_rates.values()))}, "
    return _of_plan(facts, amount)


def limit(facts: Facts) -> str | None:
    """What the limit is, and how far from it; None: it is one of spend."""
    at = clean(facts.at, 30)
    if facts.on == On.BURN_RATE:
        return f"{at} times as fast as the budget lasts, burn rate, {facts.severity}"
    if facts.on not in _OF_WHAT:
        return None
    of_what, what = _OF_WHAT[facts.on]
    if facts.limit is None:
        return f"{at}{what}, {facts.severity}"
    money = for_people(facts.limit, facts.currency)
    if at.endswith("%"):
        text = f"{at} {of_what} = {money},{what}, {facts.severity}"
    elif facts.on == On.PLAN:
        text = f"{at} above the plan = {money}, {facts.severity}"
    else:
        text = f"{at}{what}, {facts.severity}"
    value = _measured(facts)
    if value is None or facts.reason in _NO_ESTIMATE:
        return text
    distance = EXACT.subtract(value, facts.limit)
    if distance == 0:
        return f"{text}, reached exactly"
    return f"{text}, {'over' if distance > 0 else 'under'} by {for_people(abs(distance), facts.currency, beside=_ZERO)}"


def expected(facts: Facts, timezone: tzinfo) -> str | None:
    """The forecast with its interval, when, and on how much it rests; None: there is none, and nobody waits for it."""
    forecast = facts.forecast
    if facts.reason in _NO_ESTIMATE:
        return None
    if forecast is None:
        return "not known: there is not enough data" if facts.on == On.FORECAST else None
    end = "the period's end" if facts.period is None else instant_text(facts.period.end, timezone)
    low, high = (for_people(amount, facts.currency).rpartition(" ")[0] for amount in (forecast.low, forecast.high))
    days = "1 day" if forecast.days == 1 else f"{forecast.days} days"
    return (
        f"{'at least ' if facts.lower_bound else ''}{for_people(forecast.expected, facts.currency)} by {end}, "
        f"in 8 of 10 cases between {low} and {high}; from {days} of data"
    )


def planned(facts: Facts, timezone: tzinfo) -> str | None:
    """What the plan foresaw by then, and how far spend is from it; None: there is no plan."""
    foreseen = facts.foreseen
    if foreseen is None or foreseen.planned is None or facts.as_of is None or facts.reason in _NO_ESTIMATE:
        return None
    text = f"{for_people(foreseen.planned, facts.currency)} by {instant_text(facts.as_of, timezone)}"
    if foreseen.spent is None:
        return text
    lead = EXACT.subtract(foreseen.spent, foreseen.planned)
    if not lead:
        return f"{text}, and so much was spent"
    least = "at least " if facts.lower_bound and lead > 0 else ""
    by = for_people(abs(lead), facts.currency, beside=_ZERO)
    return f"{text}; spend is {least}{by} {'ahead' if lead > 0 else 'behind'}{_share(foreseen)}"


def at_completion(facts: Facts, now: datetime) -> str | None:
    """What will have been spent in the end, and by what; None: it is not known, and nobody waits for it.

    What a run has said more than a day before `now` it may have left far behind, which is said.
    """
    if facts.reason in _NO_ESTIMATE:
        return None
    if facts.foreseen is None or facts.foreseen.at_completion is None:
        return "not known: there is not enough data" if facts.on == On.AT_COMPLETION else None
    amount = for_people(facts.foreseen.at_completion, facts.currency)
    known = "what is spent, and what the plan still foresees"
    if facts.foreseen.done is not None:
        known = f"what is spent, for {_percent(facts.foreseen.done)} of the work"
        said_at = facts.foreseen.done_at
        if said_at is not None and now - said_at > _LONG_SAID:
            known = f"{known.replace('is', 'was')}, as the run said {duration_text(now - said_at)} ago and not since"
    return f"{'at least ' if facts.lower_bound else ''}{amount}: {known}"


def pace(facts: Facts) -> str | None:
    """The burn rate in each window; None: not known."""
    if facts.reason in _NO_ESTIMATE:
        return None
    rates = [f"{_rate(rate)} over {_hours(window)}" for window, rate in sorted(facts.burn_rates.items())]
    return f"{', '.join(rates)} up to where data ends; at 1 the budget lasts until the period's end" if rates else None


_ZERO = Decimal(0)
_LONG_SAID = timedelta(days=1)
# Of what a percentage is one, and what it is that reaches it.
_OF_WHAT = {
    On.FORECAST.value: ("of the budget", " expected at the period's end"),
    On.AT_COMPLETION.value: ("of the budget", " expected at completion"),
    On.PLAN.value: ("of what was planned by then", " spent"),
}


def _measured(facts: Facts) -> Decimal | None:
    """What was held against the limit."""
    if facts.on == On.FORECAST:
        return None if facts.forecast is None else facts.forecast.expected
    if facts.foreseen is None:
        return None
    return facts.foreseen.spent if facts.on == On.PLAN else facts.foreseen.at_completion


def _of_plan(facts: Facts, amount: str) -> str | None:
    foreseen = facts.foreseen
    if foreseen is None:
        return None
    if facts.on == On.PLAN and foreseen.spent is not None and foreseen.planned is not None:
        spent = for_people(foreseen.spent, facts.currency, beside=facts.limit).rpartition(" ")[0]
        return f"{spent} spent, {for_people(foreseen.planned, facts.currency)} planned by then, "
    if facts.on == On.AT_COMPLETION and foreseen.at_completion is not None:
        expected = for_people(foreseen.at_completion, facts.currency, beside=facts.limit).rpartition(" ")[0]
        return f"{expected} of {amount} expected at completion, "
    return None


def _share(foreseen: Foreseen) -> str:
    """` (123.4% of the plan)`."""
    if foreseen.spent is None or not foreseen.planned:
        return ""
    return f" ({_percent(DISPLAY.divide(foreseen.spent, foreseen.planned))} of the plan)"


def _percent(share: Decimal) -> str:
    """One digit, downwards: what is not all shows no 100.0%."""
    return f"{DISPLAY.multiply(share, 100).quantize(Decimal('0.1'), rounding=ROUND_FLOOR, context=DISPLAY):,f}%"


def _hours(window: timedelta) -> str:
    """As in the config: `24 h`, not a day."""
    hours, rest = divmod(window, timedelta(hours=1))
    return duration_text(window) if rest else f"{hours} h"


def _rate(rate: Decimal) -> str:
    """Two digits, downwards: what is below a limit does not show as the limit."""
    return f"{rate.quantize(Decimal('0.01'), rounding=ROUND_FLOOR, context=DISPLAY):,f}"
