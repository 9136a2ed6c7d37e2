"""What `monitor plan` shows to people: at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from alarms.money import for_people
from alarms.words import day_text, instant_text
from monitor.columns import WHOLE_ADDRESSES, cut, is_shortened, money, quotes_text, source_of, wrapped
from monitor.plan_answer import Answer
from monitor.training.gate import Verdict, Way
from monitor.training.model import PRICING_WORDS, Quote, number
from monitor.training.plan import P10, P50, P90, PhaseCost, Projection

_NAME, _ON, _DAY, _MONEY = 12, 24, 11, 15
NO_PLANS = "The config has no [[plans]] table; docs/config.md says how to write one."


def as_text(answers: Iterable[Answer]) -> str:
    """Every plan, one after the other."""
    return "\n\n".join(_plan(one) for one in answers) or NO_PLANS


def _plan(one: Answer) -> str:
    projection = one.projection
    plan = projection.plan
    start = min(phase.start for phase in projection.phases)
    span = f"{day_text(start)} to {day_text(projection.end)}"
    lines = [
        *wrapped(f"{plan.name}: {span}, in {plan.currency}, quotes {quotes_text(plan.which)}"),
        "",
        f"{'PHASE':<{_NAME}} {'ON':<{_ON}} {'STARTS':<{_DAY}} {'HOURS':>10} {'COST':>{_MONEY}}",
        *(_phase(phase, plan.currency) for phase in projection.phases),
        f"{'total':<{_NAME + _ON + _DAY + 13}} {money(projection.total, plan.currency, _MONEY)}",
        "",
        *wrapped(_spread(projection)),
        *_late(projection),
        *_verdict(one),
        *_remarks(projection),
    ]
    return "\n".join(lines).rstrip()


def _phase(cost: PhaseCost, currency: str) -> str:
    phase = cost.phase
    hours = "?" if phase.duration is None else number(phase.duration.quantile(P50))
    on = phase.on if phase.count == 1 else f"{phase.count} x {phase.on}"
    name, on = cut(phase.name, _NAME), cut(on, _ON)
    return f"{name} {on} {day_text(cost.start):<{_DAY}} {hours:>10} {money(cost.cost, currency, _MONEY)}"


def _spread(projection: Projection) -> str:
    currency = projection.plan.currency
    if projection.spread.is_certain:
        return "P10, P50 and P90 are the total: nothing in it is uncertain that the plan states."
    low, middle, high = (for_people(projection.quantile(share), currency) for share in (P10, P50, P90))
    doubts = ", ".join(projection.doubts)
    return f"P10 {low}, P50 {middle}, P90 {high}. What is uncertain, the widest first: {doubts}."


def _late(projection: Projection) -> list[str]:
    deadline = projection.plan.deadline
    if deadline is None or projection.end <= deadline:
        return []
    return wrapped(f"TOO LATE: it ends on {_at(projection.end)}, its deadline is {_at(deadline)}.")


def _verdict(one: Answer) -> list[str]:
    verdict, plan = one.verdict, one.projection.plan
    if verdict is None or plan.budget is None:
        return []
    left = for_people(verdict.left, plan.currency)
    when = _when(verdict)
    share = for_people(verdict.share, plan.currency)
    if verdict.since is not None:
        share += f" for what is to come after {_at(verdict.since)}"
    if verdict.fits:
        return ["", *wrapped(f"Fits: P90 {share} of {left} left in the budget {plan.budget} ({when}).")]
    over = for_people(verdict.share - verdict.left, plan.currency)
    sentence = f"DOES NOT FIT: P90 is {share}, {over} more than the {left} left in the budget {plan.budget} ({when})."
    ways = [_way(way, plan.currency) for way in one.ways]
    fitting = "What would fit:" if ways else "Nothing in the price book would fit in its place."
    return ["", *wrapped(sentence), *wrapped(fitting), *(line for way in ways for line in way)]


def _when(verdict: Verdict) -> str:
    if verdict.period.is_open:
        return f"the run from {day_text(verdict.period.start)} on"
    return f"{day_text(verdict.period.start)} to {day_text(verdict.period.end)}"


def _at(instant: datetime) -> str:
    return instant_text(instant, UTC)


def _way(way: Way, currency: str) -> list[str]:
    name = way.phase.phase.name
    if way.quote is None:
        return wrapped(f"- {name} for at most {number(way.hours or Decimal(0))} {way.unit}", "  ")
    pricing = PRICING_WORDS[way.quote.pricing]
    price = for_people(way.p90, currency)
    return wrapped(f"- {name} on {way.quote.offer}, {pricing}: P90 of the plan {price}", "  ")


def _remarks(projection: Projection) -> list[str]:
    """What is to be said of each phase: ages of quotes, discounts, the share of own hardware."""
    lines = []
    for cost in projection.phases:
        said = list(cost.flags)
        host = cost.phase.host
        if isinstance(host, Quote):
            said = [f"{PRICING_WORDS[host.pricing]}, {source_of(host)}", *said]
        elif cost.amortised is None:
            said.append("running cost; no lifetime is stated, so no share of the hardware")
        else:
            share = for_people(cost.amortised, projection.plan.currency)
            said.append(f"running cost; it also uses up {share} of the hardware")
        lines += wrapped(f"{cost.phase.name}: {'; '.join(said)}", "  ")
    hosts = (cost.phase.host for cost in projection.phases)
    if any(isinstance(host, Quote) and is_shortened(host) for host in hosts):
        lines.append(WHOLE_ADDRESSES)
    return ["", *lines]
