"""The same work on every offer and on hardware of one's own, cheapest first, and when the hardware pays. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from alarms.money import EXACT
from monitor.training import reasons
from monitor.training.book import Chosen
from monitor.training.catalog import gpus
from monitor.training.costs import Cost, Terms, Work, cost_of, exchange_rate
from monitor.training.demand import Demand
from monitor.training.local import Rig
from monitor.training.model import PRECISE, PRICING_WORDS, Gpu, Quote
from monitor.training.reasons import Owned, Reasons

_HUNDREDTH = Decimal("0.01")
_SHARE = Decimal("0.0001")
# A hundred thousand years.
_FOREVER = Decimal(10**9)
_HOURS_A_DAY = Decimal(24)
_NO_DEMAND = Demand()


@dataclass(frozen=True, slots=True)
class OfferRow:
    """The work on one offer."""

    quote: Quote
    cost: Cost
    flags: tuple[str, ...]
    reasons: Reasons


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
    """The work on one `[[local]]`. `to_pay`: what is still to be paid; `amortised` None: it has no lifetime."""

    rig: Rig
    hours: Decimal
    running: Decimal
    cost: Decimal
    to_pay: Decimal
    amortised: Decimal | None
    break_even: tuple[BreakEven, ...]
    flags: tuple[str, ...]
    reasons: Reasons


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that can do the work, cheapest first; last come offers in another currency, and what is ruled out."""

    work: Work
    currency: str
    offers: tuple[OfferRow, ...]
    local: tuple[LocalRow, ...]
    demand: Demand = _NO_DEMAND


def compare(
    work: Work,
    chosen: Iterable[Chosen],
    rigs: Sequence[Rig],
    *,
    terms: Terms,
    currency: str,
    demand: Demand = _NO_DEMAND,
) -> Comparison:
    """The work on every chosen quote and every rig, with what speaks for and against each."""
    owned = _cheapest_owned(work, rigs, demand)
    rows = (_offer(work, one, terms, currency, demand=demand, owned=owned) for one in chosen)
    offers = sorted(rows, key=lambda row: _order(row, currency))
    local = sorted(
        (_local(work, rig, offers, terms, demand) for rig in rigs),
        key=lambda row: (bool(row.reasons.ruled_out), row.to_pay, row.rig.name),
    )
    return Comparison(work, currency, tuple(offers), tuple(local), demand)


def name_of(quote: Quote) -> str:
    """What it is called beside others of its name: `aws:p4d.24xlarge, spot`."""
    return f"{quote.offer}, {PRICING_WORDS[quote.pricing]}"


def _cheapest_owned(work: Work, rigs: Iterable[Rig], demand: Demand) -> Owned | None:
    """Of what is there already and could do the work."""
    there = (Owned(rig, rig.running(work.hours_on(rig.gpu, rig.gpus))) for rig in rigs if rig.owned)
    able = (one for one in there if not any(reasons.too_small(one.rig.gpu, demand)))
    return min(able, key=lambda one: one.running, default=None)


def _offer(work: Work, chosen: Chosen, terms: Terms, currency: str, *, demand: Demand, owned: Owned | None) -> OfferRow:
    quote = chosen.quote
    gpu = gpus()[quote.gpu]
    hours = work.hours_on(gpu, quote.gpus)
    cost = cost_of(quote, hours, terms, currency)
    said = reasons.of_offer(quote.pricing, gpu, demand, hours=hours, cost=(cost.expected, cost.currency), owned=owned)
    return OfferRow(quote, cost, (*_memory(work.gpu, gpu), *chosen.flags, *cost.flags), said)


def _order(row: OfferRow, currency: str) -> tuple[bool, bool, str, Decimal, Decimal, str, str]:
    cost = row.cost
    return (
        bool(row.reasons.ruled_out),
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


def _local(work: Work, rig: Rig, offers: Sequence[OfferRow], terms: Terms, demand: Demand) -> LocalRow:
    hours = work.hours_on(rig.gpu, rig.gpus)
    running = rig.running(hours)
    share = rig.share_of_hardware(hours)
    life = rig.hours_in_life
    flags = _memory(work.gpu, rig.gpu)
    if life is not None and hours > life:
        flags = (*flags, "longer than its life")
    # What cannot do the work is nothing that own hardware could be cheaper than.
    able = ((row.quote, _cost_in(row, rig, terms)) for row in offers if not row.reasons.ruled_out)
    points = tuple(_break_even(quote, rig, PRECISE.divide(cost, hours)) for quote, cost in able if cost)
    first = points[0] if points else None
    return LocalRow(
        rig=rig,
        hours=hours,
        running=running,
        cost=EXACT.add(rig.hardware, running),
        to_pay=rig.to_pay(hours),
        amortised=None if share is None else PRECISE.add(share, running),
        break_even=points,
        flags=flags,
        reasons=reasons.of_rig(
            rig,
            demand,
            hours=hours,
            running=running,
            against=None if first is None else name_of(first.quote),
            pays_after=None if first is None else first.hours_of_use,
        ),
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
