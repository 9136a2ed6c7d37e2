"""A training plan: phases on offers or on own hardware, when each runs, what it costs, and how sure that is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from alarms.money import EXACT, total
from monitor.training.catalog import Discount
from monitor.training.costs import NO_INTERRUPTIONS, ExchangeRate, Terms, cost_of, exchange_rate
from monitor.training.local import Rig
from monitor.training.model import PRECISE, Quote, Spread, blend, sum_of_dependent, sum_of_independent
from monitor.training.spot import Interruptions

P10, P50, P90 = Decimal("0.1"), Decimal("0.5"), Decimal("0.9")
NO_DURATION = "gpus is not stated: how long it takes is not known, all of it counts at its start"
BY_TARIFF = "electricity by its tariff at these hours; the rate is their mean"
WHOLE_PROJECT = "hours of the whole project"

_MICRO = Decimal("1E-6")
_SECONDS = Decimal(3600)
_ONE = Decimal(1)


class Extent(StrEnum):
    """What the hours of a phase are: of one textbook run, or of all that a project ran before and beside it."""

    RUN = "run"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase, with its offer looked up. Hours are those of work, before interruptions.

    `on`: as it is called; `count`: hosts at a time; `paid`: hours of one host in all; `duration`: hours on the clock,
    None if it is not known. `after`: the phase before it; neither that nor `start`: it begins with the plan.
    `data_local`: its data must stay on own hardware; `needs_gpu_memory`: GB that each GPU must have.
    """

    name: str
    on: str
    host: Quote | Rig
    count: int
    paid: Spread
    gpu_hours: Spread
    duration: Spread | None
    discount: Discount | None = None
    new_customer: bool = False
    interruptions: Interruptions | None = None
    after: str | None = None
    start: datetime | None = None
    extent: Extent = Extent.RUN
    flags: tuple[str, ...] = ()
    data_local: bool = False
    needs_gpu_memory: int | None = None

    @property
    def on_the_clock(self) -> Spread | None:
        """Hours until it is through, interruptions included."""
        interruptions = self.interruptions
        if self.duration is None or interruptions is None:
            return self.duration
        return blend(interruptions.paid_hours(hours) for hours in self.duration.values)


@dataclass(frozen=True, slots=True)
class Plan:
    """One `[[plans]]` table; every currency of its phases leads to its own.

    `which`: the quotes that count; `deadline`: when it should be through.
    """

    name: str
    currency: str
    start: datetime
    which: str | date
    phases: tuple[Phase, ...]
    budget: str | None = None
    exchange: tuple[ExchangeRate, ...] = ()
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """What a phase costs: `cost` is the exact product of rate and hours, `spread` has interruptions and doubts in it.

    `hours`: on the clock, of work; `amortised`: the share of its own hardware that it uses up, None if no lifetime is
    stated. `end` equals `start` if it is not known how long the phase takes.
    """

    phase: Phase
    start: datetime
    end: datetime
    rate_per_hour: Decimal
    cost: Decimal
    spread: Spread
    amortised: Decimal | None
    flags: tuple[str, ...]

    def quantile(self, share: Decimal) -> Decimal:
        """Of the cost: exact if it is certain, else to a millionth."""
        return _quantile(self.spread, share)


@dataclass(frozen=True, slots=True)
class Projection:
    """What a plan costs. `doubts`: where the spread comes from, the widest first; none: it is certain."""

    plan: Plan
    total: Decimal
    spread: Spread
    phases: tuple[PhaseCost, ...]
    doubts: tuple[str, ...]

    @property
    def end(self) -> datetime:
        """When the last phase is through."""
        return max(phase.end for phase in self.phases)

    @property
    def curve(self) -> list[tuple[datetime, Decimal]]:
        """What is planned to be spent at each start and end of a phase; in between it grows in a straight line."""
        instants = sorted({instant for phase in self.phases for instant in (phase.start, phase.end)})
        return [(instant, self.planned(instant)) for instant in instants]

    def planned(self, at: datetime, *, before: bool = False) -> Decimal:
        """What is planned to be spent by an instant. `before`: without what counts at once at that very instant."""
        return total(_planned(phase, at, before=before) for phase in self.phases)

    def quantile(self, share: Decimal) -> Decimal:
        """Of the cost: as exact as `total` if it is certain, else to a millionth."""
        return _quantile(self.spread, share)

    def remaining(self, since: datetime, share: Decimal) -> Decimal:
        """Of the cost of what is planned after an instant: of each phase its part, with as much of its doubt."""
        if since <= min(phase.start for phase in self.phases):
            return self.quantile(share)
        return _quantile(_sum([_left(phase, since) for phase in self.phases]), share)


def project(plan: Plan) -> Projection:
    """Reckon a plan. Raises OverflowError if it ends after the year 9999, DecimalException for too many digits."""
    times = schedule(plan)
    phases = tuple(_cost(plan, phase, *times[phase.name]) for phase in plan.phases)
    whole = total(phase.cost for phase in phases)
    unsure = [phase for phase in phases if not phase.spread.is_certain]
    unsure.sort(key=lambda phase: phase.spread.quantile(P10) - phase.spread.quantile(P90))
    return Projection(plan, whole, _sum(phases), phases, tuple(_doubt(phase.phase) for phase in unsure))


def schedule(plan: Plan, share: Decimal = P50) -> Mapping[str, tuple[datetime, datetime]]:
    """When each phase starts and ends, at this quantile of all hours. `after` must name phases and run in no circle."""
    times: dict[str, tuple[datetime, datetime]] = {}
    waiting = list(plan.phases)
    while waiting:
        phase = next(phase for phase in waiting if phase.after is None or phase.after in times)
        waiting.remove(phase)
        ready = plan.start if phase.after is None else times[phase.after][1]
        start = ready if phase.start is None else max(phase.start, ready)
        hours = phase.on_the_clock
        end = start if hours is None else start + _span(hours.quantile(share))
        times[phase.name] = (start, end)
    return times


def _sum(phases: Sequence[PhaseCost]) -> Spread:
    """What they cost together."""
    if all(phase.spread.is_certain and phase.spread.values[0] == phase.cost for phase in phases):
        return Spread.certain(total(phase.cost for phase in phases))
    # One efficiency holds for all phases that are guessed from a model; interruptions come as they please.
    guessed = [phase.spread for phase in phases if _is_guessed(phase.phase)]
    others = [phase.spread for phase in phases if not _is_guessed(phase.phase)]
    return sum_of_independent([sum_of_dependent(guessed), *others])


def _left(phase: PhaseCost, since: datetime) -> PhaseCost:
    """The phase as though it began then: what it costs from there on."""
    done = _planned(phase, since, before=True)
    if not done:
        return phase
    cost = EXACT.subtract(phase.cost, done)
    part = PRECISE.divide(cost, phase.cost)
    spread = phase.spread.map(lambda value: PRECISE.multiply(value, part).quantize(_MICRO, context=PRECISE))
    certain = phase.spread.is_certain and phase.spread.values[0] == phase.cost
    return replace(phase, cost=cost, spread=Spread.certain(cost) if certain else spread)


def _cost(plan: Plan, phase: Phase, start: datetime, end: datetime) -> PhaseCost:
    flags = (*phase.flags, *((WHOLE_PROJECT,) if phase.extent is Extent.PROJECT else ()))
    if isinstance(phase.host, Rig):
        rate, cost, amortised = _own(plan, phase, phase.host, start)
        said: tuple[str, ...] = () if phase.host.tariff is None else (BY_TARIFF,)
    else:
        hours = phase.paid.quantile(P50)
        first = cost_of(phase.host, hours, _terms(plan, phase, start), plan.currency)
        rate, amortised, said = first.rate_per_hour, Decimal(0), first.flags
        cost = first.cost if _is_plain(phase) else _bought(plan, phase, phase.host, start=start, paid=hours)
    return PhaseCost(
        phase, start, end, rate, cost, _spread(plan, phase, start, cost), amortised, (*flags, *_fitting(phase, said))
    )


def _fitting(phase: Phase, flags: Iterable[str]) -> tuple[str, ...]:
    # `cost_of` knows of no interruptions here: they are reckoned below, with how far they may go.
    return tuple(flag for flag in flags if phase.interruptions is None or flag != NO_INTERRUPTIONS)


def _own(plan: Plan, phase: Phase, rig: Rig, start: datetime) -> tuple[Decimal, Decimal, Decimal | None]:
    """Rate, which under a tariff is the mean of these hours; cost; share of the hardware."""
    worth = exchange_rate(plan.exchange, rig.currency, plan.currency) or _ONE
    hours = phase.paid.quantile(P50)
    share = rig.share_of_hardware(hours)
    amortised = None if share is None else EXACT.multiply(share, worth)
    cost = EXACT.multiply(rig.running(hours, start), worth)
    if rig.tariff is None:
        return EXACT.multiply(rig.running_per_hour, worth), cost, amortised
    return PRECISE.divide(cost, hours).quantize(_MICRO, context=PRECISE), cost, amortised


def _bought(plan: Plan, phase: Phase, quote: Quote, *, start: datetime, paid: Decimal) -> Decimal:
    """The price of so many hours of one host, which several may work off at the same time."""
    terms = _terms(plan, phase, start)
    if _is_plain(phase):
        return cost_of(quote, paid, terms, plan.currency).cost
    # The first month is one of the calendar: hours on the clock, not those of all hosts together.
    each = PRECISE.divide(paid, Decimal(phase.count)).quantize(_MICRO, context=PRECISE)
    return EXACT.multiply(cost_of(quote, each, terms, plan.currency).cost, Decimal(phase.count))


def _is_plain(phase: Phase) -> bool:
    """Whether an hour is an hour, on whichever host."""
    return phase.count == 1 or not phase.new_customer


def _terms(plan: Plan, phase: Phase, start: datetime) -> Terms:
    return Terms(
        start=start,
        discounts=() if phase.discount is None else (phase.discount,),
        new_customer=phase.new_customer,
        exchange=plan.exchange,
        # A new customer is one when the plan begins, not again with every phase.
        customer_since=plan.start,
    )


def _spread(plan: Plan, phase: Phase, start: datetime, cost: Decimal) -> Spread:
    """Cost in the end, for each of the values that the hours may have."""
    hours = phase.on_the_clock
    if hours is None or (hours.is_certain and phase.interruptions is None):
        return Spread.certain(cost)
    count = Decimal(phase.count)
    paid = hours.map(lambda value: PRECISE.multiply(value, count).quantize(_MICRO, context=PRECISE))
    host = phase.host
    if isinstance(host, Rig):
        worth = exchange_rate(plan.exchange, host.currency, plan.currency) or _ONE
        return paid.map(lambda value: EXACT.multiply(host.running(value, start), worth))
    return paid.map(lambda value: _bought(plan, phase, host, start=start, paid=value))


def _quantile(spread: Spread, share: Decimal) -> Decimal:
    found = spread.quantile(share)
    return found if spread.is_certain else found.quantize(_MICRO, context=PRECISE)


def _is_guessed(phase: Phase) -> bool:
    return not phase.paid.is_certain


def _doubt(phase: Phase) -> str:
    sources = []
    if _is_guessed(phase):
        sources.append("MFU")
    if phase.interruptions is not None:
        sources.append("interruptions")
    return f"{phase.name} ({' and '.join(sources)})"


def _planned(phase: PhaseCost, at: datetime, *, before: bool) -> Decimal:
    if at < phase.start or (before and at == phase.start):
        return Decimal(0)
    if at >= phase.end:
        return phase.cost
    share = PRECISE.divide(_hours(at - phase.start), _hours(phase.end - phase.start))
    return PRECISE.multiply(phase.cost, share).quantize(_MICRO, context=PRECISE)


def _span(hours: Decimal) -> timedelta:
    return timedelta(seconds=int(PRECISE.multiply(hours, _SECONDS)))


def _hours(span: timedelta) -> Decimal:
    return PRECISE.divide(Decimal(span // timedelta(seconds=1)), _SECONDS)
