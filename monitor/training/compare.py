"""The same work on every offer and on hardware of one's own, cheapest first, and when the hardware pays. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from alarms.money import EXACT
from monitor.training.book import Chosen
from monitor.training.catalog import gpus
from monitor.training.costs import Cost, Terms, Work, cost_of, exchange_rate
from monitor.training.local import Rig
from monitor.training.model import PRECISE, Gpu, Quote

_HUNDREDTH = Decimal("0.01")
_SHARE = Decimal("0.0001")
# A hundred thousand years.
_FOREVER = Decimal(10**9)
_HOURS_A_DAY = Decimal(24)


@dataclass(frozen=True, slots=True)
class OfferRow:
    """The work on one offer."""

    quote: Quote
    cost: Cost
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BreakEven:
    """When own hardware has cost as little as an offer; each None: never, or (the last) without a lifetime.

    `hours_of_use`: of the hardware; `calendar_days`: at its utilisation; `utilisation`: the share of its life in
    which it would have to work, above 1 if its life is too short.
    """

    quote: Quote
    hours_of_use: Decimal | None
    calendar_days: Decimal | None
    utilisation: Decimal | None


@dataclass(frozen=True, slots=True)
class LocalRow:
    """The work on one `[[local]]`. `amortised` None: it has no lifetime."""

    rig: Rig
    hours: Decimal
    running: Decimal
    cost: Decimal
    amortised: Decimal | None
    break_even: tuple[BreakEven, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that can do the work, cheapest first; offers in another currency come last."""

    work: Work
    currency: str
    offers: tuple[OfferRow, ...]
    local: tuple[LocalRow, ...]


def compare(work: Work, chosen: Iterable[Chosen], rigs: Iterable[Rig], *, terms: Terms, currency: str) -> Comparison:
    """The work on every chosen quote and every rig."""
    offers = sorted((_offer(work, one, terms, currency) for one in chosen), key=lambda row: _order(row, currency))
    local = sorted((_local(work, rig, offers, terms) for rig in rigs), key=lambda row: (row.cost, row.rig.name))
    return Comparison(work, currency, tuple(offers), tuple(local))


def _offer(work: Work, chosen: Chosen, terms: Terms, currency: str) -> OfferRow:
    quote = chosen.quote
    gpu = gpus()[quote.gpu]
    cost = cost_of(quote, work.hours_on(gpu, quote.gpus), terms, currency)
    return OfferRow(quote, cost, (*_memory(work.gpu, gpu), *chosen.flags, *cost.flags))


def _order(row: OfferRow, currency: str) -> tuple[bool, str, Decimal, Decimal, str, str]:
    cost = row.cost
    return (
        cost.currency != currency,
        cost.currency,
        cost.expected,
        cost.cost,
        row.quote.offer,
        f"{row.quote.region} {row.quote.pricing}",
    )


def _memory(wanted: Gpu, offered: Gpu) -> tuple[str, ...]:
    """What is to be said of the memory: work that fits one may not fit the other."""
    if offered.memory_gb is None:
        return ("memory not stated",) if wanted.memory_gb is not None else ()
    if wanted.memory_gb is None or wanted.memory_gb == offered.memory_gb:
        return ()
    return (f"{offered.memory_gb} GB per GPU, not {wanted.memory_gb}",)


def _local(work: Work, rig: Rig, offers: Sequence[OfferRow], terms: Terms) -> LocalRow:
    hours = work.hours_on(rig.gpu, rig.gpus)
    running = rig.running(hours)
    share = rig.share_of_hardware(hours)
    life = rig.hours_in_life
    flags = _memory(work.gpu, rig.gpu)
    if life is not None and hours > life:
        flags = (*flags, "longer than its life")
    found = ((row, _cost_in(row, rig, terms)) for row in offers)
    return LocalRow(
        rig=rig,
        hours=hours,
        running=running,
        cost=EXACT.add(rig.hardware, running),
        amortised=None if share is None else PRECISE.add(share, running),
        break_even=tuple(_break_even(row.quote, rig, PRECISE.divide(cost, hours)) for row, cost in found if cost),
        flags=flags,
    )


def _cost_in(row: OfferRow, rig: Rig, terms: Terms) -> Decimal | None:
    worth = exchange_rate(terms.exchange, row.cost.currency, rig.currency)
    return None if worth is None else PRECISE.multiply(row.cost.expected, worth)


def _break_even(quote: Quote, rig: Rig, cloud_per_hour: Decimal) -> BreakEven:
    """Against what the cloud takes for as much as the rig does in an hour."""
    saved = PRECISE.subtract(cloud_per_hour, rig.running_per_hour)
    exact = PRECISE.divide(rig.to_earn_back, saved) if saved > 0 else _FOREVER
    if exact >= _FOREVER:
        return BreakEven(quote, None, None, None)
    hours = _up(exact, _HUNDREDTH)
    days = _up(PRECISE.divide(hours, PRECISE.multiply(rig.utilisation, _HOURS_A_DAY)), _HUNDREDTH)
    life = rig.lifetime_hours
    share = None if life is None else PRECISE.divide(hours, life).quantize(_SHARE, context=PRECISE)
    return BreakEven(quote, hours, days, share)


def _up(value: Decimal, step: Decimal) -> Decimal:
    return value.quantize(step, rounding=ROUND_CEILING, context=PRECISE)
