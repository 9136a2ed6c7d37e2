"""The words for what is not a sum of bills: a forecast, a burn rate. Pure."""

from __future__ import annotations

from datetime import UTC, timedelta, tzinfo
from decimal import ROUND_FLOOR, Decimal

from alarms.model import Facts, On, Reason
from alarms.money import DISPLAY, EXACT, for_people
from alarms.words import clean, duration_text, instant_text

_WHY = {
    On.FORECAST.value: "the spend expected at the period's end has crossed the limit",
    On.BURN_RATE.value: "it is spent faster than the limit in every window",
}
# Nothing is known any more of the end of a period that is over, nor of a budget that is gone.
_NO_ESTIMATE = (Reason.PERIOD_ENDED, Reason.BUDGET_REMOVED)


def limit_text(on: str, at: str) -> str:
    """`80%` of what was spent, `forecast 100%`, `burn rate 2.0`."""
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
        return f"{expected} of {amount} expected by {end.day} {end:%b}, "
    if facts.on == On.BURN_RATE and facts.burn_rates and facts.spend is not None:
        spend = for_people(facts.spend, facts.currency).rpartition(" ")[0]
        return f"{spend} of {amount} spent, burn rate {_rate(min(facts.burn_rates.values()))}, "
    return None


def limit(facts: Facts) -> str | None:
    """What the limit is, and how far from it; None: it is one of spend."""
    at = clean(facts.at, 30)
    if facts.on == On.BURN_RATE:
        return f"{at} times as fast as the budget lasts, burn rate, {facts.severity}"
    if facts.on != On.FORECAST:
        return None
    text = f"{at} expected at the period's end, {facts.severity}"
    if facts.limit is None:
        return text
    if at.endswith("%"):
        money = for_people(facts.limit, facts.currency)
        text = f"{at} of the budget = {money}, expected at the period's end, {facts.severity}"
    if facts.forecast is None or facts.reason in _NO_ESTIMATE:
        return text
    distance = EXACT.subtract(facts.forecast.expected, facts.limit)
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


def pace(facts: Facts) -> str | None:
    """The burn rate in each window; None: not known."""
    if facts.reason in _NO_ESTIMATE:
        return None
    rates = [f"{_rate(rate)} over {_hours(window)}" for window, rate in sorted(facts.burn_rates.items())]
    return f"{', '.join(rates)} up to where data ends; at 1 the budget lasts until the period's end" if rates else None


_ZERO = Decimal(0)


def _hours(window: timedelta) -> str:
    """As in the config: `24 h`, not a day."""
    hours, rest = divmod(window, timedelta(hours=1))
    return duration_text(window) if rest else f"{hours} h"


def _rate(rate: Decimal) -> str:
    """Two digits, downwards: what is below a limit does not show as the limit."""
    return f"{rate.quantize(Decimal('0.01'), rounding=ROUND_FLOOR, context=DISPLAY):,f}"
