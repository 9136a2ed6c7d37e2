"""Whether a plan fits its budget, period by period, and what would fit in its place. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, DecimalException

from alarms.model import Period
from alarms.money import EXACT
from monitor.period import Calendar, period_of, repeats
from monitor.training.book import Chosen
from monitor.training.catalog import gpus
from monitor.training.costs import exchange_rate
from monitor.training.demand import gpu_of
from monitor.training.model import PRECISE, Pricing, Quote, Spread
from monitor.training.plan import P50, P90, Phase, PhaseCost, Plan, Projection, project

_MICRO = Decimal("1E-6")
# A commitment of years is nothing to buy for one run.
_BY_THE_HOUR = (Pricing.ON_DEMAND, Pricing.SPOT, Pricing.CAPACITY_BLOCK)


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget: its name, its periods, how much for each, and what the ledger has booked in one.

    `known_until`: where what is booked ends; None: nothing is. Of a plan that has begun by then, only the rest must
    still fit.
    """

    budget: str
    calendar: Calendar
    amount: Decimal
    spent: Callable[[Period], Decimal]
    known_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a plan stands in one period of its budget: the first it does not fit in, else the last.

    `share`: the part of its P90 that the period has to bear. `since`: from when on that counts, where the plan has
    begun and what was spent on it before is in the ledger; else None.
    """

    period: Period
    left: Decimal
    share: Decimal
    since: datetime | None = None

    @property
    def fits(self) -> bool:
        """Whether its P90 there is no more than what is left."""
        return self.share <= self.left


@dataclass(frozen=True, slots=True)
class Way:
    """A way to make a plan fit: the phase with other hours of work (or GPU-hours: `unit`), or on another offer."""

    phase: PhaseCost
    hours: Decimal | None = None
    unit: str = "hours"
    quote: Quote | None = None
    p90: Decimal = Decimal(0)


def judge(projection: Projection, limit: Limit) -> Verdict:
    """Set a plan's P90 against what is left in every period that it runs in, each in proportion to what is planned."""
    start, known = min(phase.start for phase in projection.phases), limit.known_until
    since = known if known is not None and known > start else None
    rest = _Rest(projection, limit.calendar, since or start)
    for period in rest.periods():
        left = EXACT.subtract(limit.amount, limit.spent(period))
        verdict = Verdict(period, left, rest.share(period), since)
        if not verdict.fits:
            break
    return verdict


def ways_to_fit(projection: Projection, limit: Limit, chosen: Iterable[Chosen]) -> list[Way]:
    """What would fit, of the dearest phase: fewer hours, the cheapest other offer, the cheapest spot machine."""
    known = limit.known_until
    coming = [phase for phase in projection.phases if known is None or phase.end > known]
    if not coming:
        return []
    dearest = max(coming, key=lambda phase: phase.spread.quantile(P90))
    ways = []
    fewer = _fewer_hours(projection, dearest, limit)
    if fewer is not None:
        ways.append(fewer)
    if known is not None and dearest.start < known:
        return ways  # what has begun goes on where it is
    others = sorted(_other_offers(projection, dearest, limit, chosen), key=lambda way: way.p90)
    for spot in (False, True):
        ways += [way for way in others if way.quote and (way.quote.pricing is Pricing.SPOT) is spot][:1]
    return ways


class _Rest:
    """What is planned from an instant on, and which periods of a budget bear it."""

    def __init__(self, projection: Projection, calendar: Calendar, since: datetime) -> None:
        self._projection = projection
        self._calendar = calendar
        self._since = since
        self._p90 = projection.remaining(since, P90)
        self._done = projection.planned(since, before=True)

    def periods(self) -> Iterator[Period]:
        """One at least."""
        at = min(self._since, self._projection.end)
        while True:
            period = period_of(self._calendar, at)
            yield period
            if not repeats(self._calendar) or period.end >= self._projection.end:
                return
            at = period.end

    def share(self, period: Period) -> Decimal:
        """The part of the P90 that a period has to bear, in proportion to what is planned."""
        projection = self._projection
        whole = EXACT.subtract(projection.total, self._done)
        first, last = period.start <= self._since, period.end >= projection.end
        if not repeats(self._calendar) or (first and last) or not whole:
            # Fixed dates are all that such a budget has: what a plan does outside of them counts too.
            return self._p90
        until = projection.total if period.end > projection.end else projection.planned(period.end, before=True)
        here = EXACT.subtract(until, self._done if first else projection.planned(period.start, before=True))
        return PRECISE.divide(PRECISE.multiply(self._p90, here), whole).quantize(_MICRO, context=PRECISE)


def _fewer_hours(projection: Projection, dearest: PhaseCost, limit: Limit) -> Way | None:
    """The most whole hours (GPU-hours where the others are not known) of the dearest phase with which all fits."""
    duration = dearest.phase.duration
    unit = "GPU-hours" if duration is None else "hours"
    hours = (dearest.phase.gpu_hours if duration is None else duration).quantile(P50)
    least, most = 0, int(hours.to_integral_value(ROUND_FLOOR))
    while most > least:
        middle = (most + least + 1) // 2
        phase = _scaled(dearest.phase, PRECISE.divide(Decimal(middle), hours))
        if _fits(_with(projection.plan, phase), limit) is None:
            most = middle - 1
        else:
            least = middle
    return Way(dearest, hours=Decimal(least), unit=unit) if least else None


def _other_offers(projection: Projection, dearest: PhaseCost, limit: Limit, chosen: Iterable[Chosen]) -> Iterator[Way]:
    plan = projection.plan
    for one in chosen:
        quote = one.quote
        if quote == dearest.phase.host or quote.pricing not in _BY_THE_HOUR or dearest.phase.data_local:
            continue
        if exchange_rate(plan.exchange, quote.currency, plan.currency) is None or _is_smaller(quote, dearest.phase):
            continue
        found = _fits(_with(plan, _moved(dearest.phase, quote)), limit)
        if found is not None:
            yield Way(dearest, quote=quote, p90=found.quantile(P90))


def _fits(plan: Plan, limit: Limit) -> Projection | None:
    try:
        projection = project(plan)
        return projection if judge(projection, limit).fits else None
    except (DecimalException, OverflowError):
        return None


def _with(plan: Plan, phase: Phase) -> Plan:
    return replace(plan, phases=tuple(phase if one.name == phase.name else one for one in plan.phases))


def _scaled(phase: Phase, factor: Decimal) -> Phase:
    def less(spread: Spread) -> Spread:
        return spread.map(lambda value: PRECISE.multiply(value, factor).quantize(_MICRO, context=PRECISE))

    duration = None if phase.duration is None else less(phase.duration)
    return replace(phase, paid=less(phase.paid), gpu_hours=less(phase.gpu_hours), duration=duration)


def _moved(phase: Phase, quote: Quote) -> Phase:
    """As much compute on another offer, on about as many GPUs."""
    old, new = gpu_of(phase), gpus()[quote.gpu]
    worth = PRECISE.divide(old.bf16_tflops, new.bf16_tflops)
    hosts = Decimal(phase.count * phase.host.gpus)
    count = int(PRECISE.divide(hosts, Decimal(quote.gpus)).to_integral_value(ROUND_CEILING))
    work = phase.gpu_hours.map(lambda value: PRECISE.multiply(value, worth).quantize(_MICRO, context=PRECISE))
    paid = work.map(lambda value: PRECISE.divide(value, Decimal(quote.gpus)).quantize(_MICRO, context=PRECISE))
    return replace(
        phase,
        on=quote.offer,
        host=quote,
        count=count,
        paid=paid,
        gpu_hours=work,
        duration=paid.map(lambda value: PRECISE.divide(value, Decimal(count)).quantize(_MICRO, context=PRECISE)),
        discount=None,
        new_customer=False,
        interruptions=phase.interruptions if quote.pricing is Pricing.SPOT else None,
    )


def _is_smaller(quote: Quote, phase: Phase) -> bool:
    """Whether its GPUs are known to have less memory than is needed: as stated, else what it is planned on has."""
    needed, there = phase.needs_gpu_memory or gpu_of(phase).memory_gb, gpus()[quote.gpu].memory_gb
    return needed is not None and there is not None and there < needed
