"""`monitor compare`: from what was asked to the work and its terms, and the answer for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal, DecimalException
from typing import Any

from alarms.money import EXACT, parse_amount, plain, with_cents
from alarms.words import day_text
from monitor.clock import to_text
from monitor.errors import ExitCode, UserError
from monitor.suggestions import unknown_name
from monitor.training.book import CURRENT, Chosen, PriceBook
from monitor.training.catalog import Discount, gpus
from monitor.training.compare import BreakEven, Comparison, LocalRow, OfferRow, compare
from monitor.training.costs import ExchangeRate, Terms, Work
from monitor.training.demand import Demand, demand_of, gpu_of, work_of
from monitor.training.local import Rig
from monitor.training.model import Quote
from monitor.training.plan import P50, Plan
from monitor.training.reasons import Reasons
from monitor.training.spot import Interruptions

DEFAULT_CURRENCY = "USD"
NEVER = "never"
# A century of one machine; a thousand times the largest run known.
_MOST_HOURS = Decimal(1_000_000)
_MOST_GPU_HOURS = Decimal(10_000_000_000)
_FEWEST = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Question:
    """What the command line says, as text; either `plan`, or `gpu_hours` and `gpu`, or `hours` and `on`.

    `quotes` None: those of the plan, else the current ones.
    """

    plan: Plan | None = None
    gpu_hours: str | None = None
    gpu: str | None = None
    hours: str | None = None
    on: str | None = None
    quotes: str | date | None = None
    discount: str | None = None
    new_customer: bool = False
    interruptions: Interruptions | None = None

    @property
    def which(self) -> str | date:
        """The quotes that count."""
        return self.quotes or (CURRENT if self.plan is None else self.plan.which)


def answer(
    question: Question, book: PriceBook, *, rigs: Sequence[Rig], exchange: Sequence[ExchangeRate], now: datetime
) -> Comparison:
    """Compare. Raises UserError: 64 for what cannot be meant, 65 for prices that cannot be reckoned with."""
    plan = question.plan
    start = now if plan is None else plan.start
    chosen = book.choose(question.which, start)
    code = _discount(question, book, start)
    terms = Terms(
        start=start,
        discounts=() if code is None else (code,),
        new_customer=question.new_customer,
        interruptions=question.interruptions,
        exchange=exchange,
    )
    if terms.interruptions is not None and not terms.interruptions.ever_ends:
        raise _wrong("interrupted that often between two checkpoints, the work would never end")
    try:
        work, currency = _work(question, chosen, rigs)
        if plan is None:
            return compare(work, chosen, rigs, terms=terms, currency=currency)
        return compare(work, chosen, rigs, terms=terms_of(plan, terms), currency=currency, demand=demand_of(plan))
    except DecimalException:  # nothing is rounded in silence
        sentence = "amounts this large, this small or with this many digits cannot be multiplied exactly; round them"
        raise UserError(sentence) from None


def plan_named(name: str, plans: Iterable[Plan]) -> Plan:
    """The plan of a config. Raises UserError."""
    known = {plan.name: plan for plan in plans}
    if name not in known:
        raise _wrong(unknown_name("plan", name, known))
    return known[name]


def terms_of(plan: Plan, asked: Terms) -> Terms:
    """What is asked for, and where that says nothing what the phases of the plan have."""
    codes = {phase.discount.seller: phase.discount for phase in plan.phases if phase.discount is not None}
    codes |= {code.seller: code for code in asked.discounts}
    taken = [phase.interruptions for phase in plan.phases if phase.interruptions is not None]
    return replace(
        asked,
        discounts=tuple(codes.values()),
        new_customer=asked.new_customer or any(phase.new_customer for phase in plan.phases),
        # Where they differ the worst counts: it is one offer that does all of the work.
        interruptions=asked.interruptions or max(taken, key=Interruptions.factor, default=None),
    )


def as_json(comparison: Comparison, plan: Plan | None = None) -> str:
    """The document for scripts, schema 1. `plan`: whose work it is."""
    work = {"gpu_hours": plain(comparison.work.gpu_hours), "gpu": comparison.work.gpu.name}
    document = {
        "schema": 1,
        "work": work if plan is None else {**work, **_plan(plan, comparison.demand)},
        "currency": comparison.currency,
        "offers": [_offer(row) for row in comparison.offers],
        "local": [_local(row) for row in comparison.local],
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def _work(question: Question, chosen: Sequence[Chosen], rigs: Iterable[Rig]) -> tuple[Work, str]:
    said = [question.gpu_hours, question.gpu, question.hours, question.on]
    if question.plan is not None:
        if any(one is not None for one in said):
            raise _wrong("the plan says what the work is; leave out --hours, --on, --gpu-hours and --gpu")
        return work_of(question.plan), question.plan.currency
    if question.gpu_hours is not None and question.gpu is not None and question.hours is question.on is None:
        hours = _number("--gpu-hours", question.gpu_hours, _MOST_GPU_HOURS)
        known = {name.casefold(): gpu for name, gpu in gpus().items()}
        gpu = known.get(question.gpu.casefold())
        if gpu is None:
            raise _wrong(unknown_name("GPU", question.gpu, gpus()))
        return Work(gpu, hours), DEFAULT_CURRENCY
    if question.hours is not None and question.on is not None and question.gpu_hours is question.gpu is None:
        hours = _number("--hours", question.hours, _MOST_HOURS)
        host, currency = _host(question.on, [one.quote for one in chosen], rigs)
        gpu = gpus()[host.gpu] if isinstance(host, Quote) else host.gpu
        return Work(gpu, EXACT.multiply(hours, Decimal(host.gpus))), currency
    for name, partner, stray in _strays(question):
        if stray:
            raise _wrong(f"{name} goes with {partner}; leave it out")
    how = "say once what the work is" if all(one is not None for one in said) else "say what the work is"
    raise _wrong(f"{how}: --gpu-hours N --gpu MODEL, or --hours N --on OFFER, or the name of a plan")


def _strays(question: Question) -> list[tuple[str, str, bool]]:
    """Beside work that is said already, each option with the one that it goes with: whether it stands there alone."""
    has_gpu, has_gpu_hours = question.gpu is not None, question.gpu_hours is not None
    has_on, has_hours = question.on is not None, question.hours is not None
    return [
        ("--gpu", "--gpu-hours", has_gpu and not has_gpu_hours and has_on and has_hours),
        ("--gpu-hours", "--gpu", has_gpu_hours and not has_gpu and has_on and has_hours),
        ("--on", "--hours", has_on and not has_hours and has_gpu and has_gpu_hours),
        ("--hours", "--on", has_hours and not has_on and has_gpu and has_gpu_hours),
    ]


def _host(name: str, quotes: Sequence[Quote], rigs: Iterable[Rig]) -> tuple[Quote | Rig, str]:
    hosts: Mapping[str, Quote | Rig] = {
        **{f"local:{rig.name}": rig for rig in rigs},
        **{quote.offer: quote for quote in quotes},
    }
    if name not in hosts:
        raise _wrong(unknown_name("offer", name, hosts))
    currencies = {quote.currency for quote in quotes if quote.offer == name} or {hosts[name].currency}
    return hosts[name], DEFAULT_CURRENCY if DEFAULT_CURRENCY in currencies else min(currencies)


def _number(option: str, text: str, most: Decimal) -> Decimal:
    try:
        number = parse_amount(text)
    except ValueError:
        raise _wrong(f"{option}: expected a plain number such as 500, not {text[:32]!r}") from None
    if not _FEWEST <= number <= most:
        raise _wrong(f"{option} {text}: expected at least {_FEWEST} and at most {most:,}")
    if number != number.quantize(Decimal("1E-6")):
        raise _wrong(f"{option} {text}: expected at most six digits after the point")
    return number


def _discount(question: Question, book: PriceBook, start: datetime) -> Discount | None:
    if question.discount is None:
        if question.new_customer and question.plan is None:
            raise _wrong("--new-customer changes nothing without a --discount")
        return None
    known = {code.code: code for code in book.discounts}
    if question.discount not in known:
        raise _wrong(unknown_name("discount", question.discount, known))
    found = known[question.discount]
    if found.valid_until is not None and found.valid_until <= start:
        raise _wrong(f"the discount {found.code} ended on {day_text(found.valid_until)}")
    return found


def _wrong(sentence: str) -> UserError:
    return UserError(sentence, ExitCode.USAGE)


def quote_json(quote: Quote) -> dict[str, str | None]:
    """Where a price is from, and of when."""
    return {"source": quote.source, "as_of": None if quote.as_of is None else quote.as_of.isoformat()}


def _plan(plan: Plan, demand: Demand) -> dict[str, Any]:
    return {
        "plan": plan.name,
        "phases": [
            {"name": phase.name, "gpu_hours": plain(phase.gpu_hours.quantile(P50)), "gpu": gpu_of(phase).name}
            for phase in plan.phases
        ],
        "data_local": list(demand.kept),
        "needs_gpu_memory": dict(demand.memory),
        "deadline": None if demand.deadline is None else to_text(demand.deadline),
        "within_hours": None if demand.within is None else plain(demand.within),
        "gpus_at_a_time": demand.at_a_time,
        "idle": plain(demand.idle),
    }


def _reasons(reasons: Reasons) -> dict[str, list[str]]:
    return {"for": list(reasons.speaks_for), "against": list(reasons.against)}


def _offer(row: OfferRow) -> dict[str, Any]:
    quote, cost = row.quote, row.cost
    return {
        "on": quote.offer,
        "pricing": quote.pricing.value,
        "region": quote.region,
        "gpu": quote.gpu,
        "gpus": quote.gpus,
        "hours": plain(cost.hours),
        "rate_per_hour": plain(cost.rate_per_hour),
        "currency": cost.currency,
        "cost": with_cents(cost.cost),
        "expected_cost": with_cents(cost.expected),
        "quote": quote_json(quote),
        "flags": list(row.flags),
        "reasons": _reasons(row.reasons),
        "ruled_out": list(row.reasons.ruled_out),
    }


def _local(row: LocalRow) -> dict[str, Any]:
    return {
        "name": row.rig.name,
        "gpu": row.rig.gpu.name,
        "gpus": row.rig.gpus,
        "currency": row.rig.currency,
        "hours": plain(row.hours),
        "hardware": plain(row.rig.hardware),
        "running_per_hour": plain(row.rig.running_per_hour),
        "running": with_cents(row.running),
        "cost": with_cents(row.cost),
        "amortised_cost": None if row.amortised is None else with_cents(row.amortised),
        "owned": row.rig.owned,
        "to_pay": with_cents(row.to_pay),
        "not_counted": list(row.rig.not_counted),
        "flags": list(row.flags),
        "reasons": _reasons(row.reasons),
        "ruled_out": list(row.reasons.ruled_out),
        "break_even": [_break_even(point) for point in row.break_even],
    }


def _break_even(point: BreakEven) -> dict[str, str | None]:
    never = point.hours_of_use is None
    share = None if point.utilisation is None else plain(point.utilisation)
    return {
        "on": point.quote.offer,
        "pricing": point.quote.pricing.value,
        "region": point.quote.region,
        "hours_of_use": NEVER if point.hours_of_use is None else plain(point.hours_of_use),
        "calendar": NEVER if point.calendar_days is None else f"{plain(point.calendar_days)}d",
        "utilisation": NEVER if never else share,
    }


def prices_json(chosen: Iterable[Chosen]) -> str:
    """The price book for scripts, schema 1."""
    rows = [
        {
            "offer": one.quote.offer,
            "seller": one.quote.seller,
            "region": one.quote.region,
            "gpu": one.quote.gpu,
            "memory_gb": gpus()[one.quote.gpu].memory_gb,
            "gpus": one.quote.gpus,
            "pricing": one.quote.pricing.value,
            "currency": one.quote.currency,
            "price_per_hour": plain(one.quote.price_per_hour),
            "valid_from": None if one.quote.valid_from is None else to_text(one.quote.valid_from),
            "valid_until": None if one.quote.valid_until is None else to_text(one.quote.valid_until),
            "quote": quote_json(one.quote),
            "flags": list(one.flags),
        }
        for one in chosen
    ]
    return json.dumps({"schema": 1, "quotes": rows}, indent=1, ensure_ascii=False)
