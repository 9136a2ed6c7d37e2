"""What speaks for and against doing work on an offer or on own hardware, in short sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from alarms.money import for_people
from monitor.training.demand import Demand
from monitor.training.local import HOURS_PER_YEAR, Rig
from monitor.training.model import PRECISE, Gpu, Pricing, number

# Less than a tenth of a plan's time without work is what a restart may take, too.
_WORTH_SAYING = Decimal("0.1")
_YEARS = {Pricing.COMMIT_1Y: 1, Pricing.COMMIT_3Y: 3}


@dataclass(frozen=True, slots=True)
class Reasons:
    """`ruled_out`: why it cannot be used at all; `against` begins with these."""

    speaks_for: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    ruled_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Owned:
    """What own hardware that is there already costs to run for the work: an argument against paying more."""

    rig: Rig
    running: Decimal


def of_offer(
    pricing: Pricing, gpu: Gpu, demand: Demand, *, hours: Decimal, cost: tuple[Decimal, str], owned: Owned | None
) -> Reasons:
    """Of one offer on which the work takes so many hours and costs so much (amount, currency)."""
    out = (*_kept(demand), *too_small(gpu, demand))
    against = [*out, *_unknown_memory(gpu, demand)]
    speaks_for = []
    if pricing in _YEARS:
        years = _YEARS[pricing]
        committed = HOURS_PER_YEAR * years
        text = f"a commitment of {years} year{'s' if years > 1 else ''}, {number(committed)} h"
        if hours < committed:
            against.append(f"{text}, for {number(hours)} h of work")
        else:
            speaks_for.append(f"{text}, which the work fills")
    else:
        speaks_for.append("nothing to buy, paid by the hour")
        if demand.idle >= _WORTH_SAYING:
            speaks_for.append(f"costs nothing while the plan waits, {_percent(demand.idle)} of its time")
    if demand.within is not None:
        speaks_for.append(_in_time(hours, demand.within, demand, elastic=pricing not in _YEARS))
    if pricing is Pricing.SPOT:
        against.append("may be taken away at any time")
    if pricing is Pricing.CAPACITY_BLOCK:
        against.append("paid ahead, for days that are fixed")
    if owned is not None and (owned.rig.currency, True) == (cost[1], owned.running < cost[0]):
        text = for_people(owned.running, owned.rig.currency)
        against.append(f"{owned.rig.name} is there already and takes {text} to run")
    return Reasons(tuple(speaks_for), tuple(against), out)


def of_rig(
    rig: Rig, demand: Demand, *, hours: Decimal, running: Decimal, against: str | None, pays_after: Decimal | None
) -> Reasons:
    """Of own hardware. `against`: the cheapest offer that could do it too; `pays_after`: hours of use, None: never."""
    out = tuple(too_small(rig.gpu, demand))
    speaks_for, contra = [], [*out, *_unknown_memory(rig.gpu, demand)]
    if demand.kept:
        speaks_for.append("the data stays on own hardware")
    if rig.owned:
        speaks_for.append(f"there already: {for_people(running, rig.currency)} to run is all that is to be paid")
    elif against is None:
        contra.append(f"{for_people(rig.hardware, rig.currency)} to buy first")
    elif pays_after is not None and pays_after <= hours:
        speaks_for.append(
            f"has paid for itself after {number(pays_after)} h, against {against}; the work takes {number(hours)}"
        )
    else:
        pays = "never pays" if pays_after is None else f"pays after {number(pays_after)} h of use"
        contra.append(
            f"{for_people(rig.hardware, rig.currency)} to buy first; against {against} it {pays}, "
            f"the work takes {number(hours)}"
        )
    if demand.within is not None:
        text = _in_time(hours, demand.within, demand, elastic=False)
        (speaks_for if hours <= demand.within else contra).append(text)
    if demand.at_a_time > rig.gpus:
        contra.append(f"cannot grow: it has {_gpus(rig.gpus)}, the plan takes up to {demand.at_a_time:,} at a time")
    if not rig.owned and demand.idle >= _WORTH_SAYING:
        contra.append(f"stands still for {_percent(demand.idle)} of the plan's time")
    return Reasons(tuple(speaks_for), tuple(contra), out)


def too_small(gpu: Gpu, demand: Demand) -> Iterator[str]:
    """Why its memory rules it out; nothing if it does not."""
    if gpu.memory_gb is None:
        return
    small = tuple(name for name, needed in demand.memory if needed > gpu.memory_gb)
    if small:
        most = max(needed for _, needed in demand.memory)
        yield f"{gpu.memory_gb} GB per GPU, {most} are needed{_by(small, demand)}"


def _kept(demand: Demand) -> Iterator[str]:
    if demand.kept:
        yield f"the data{_of(demand.kept, demand)} must stay on own hardware"


def _unknown_memory(gpu: Gpu, demand: Demand) -> Iterator[str]:
    if gpu.memory_gb is None and demand.memory:
        most = max(needed for _, needed in demand.memory)
        yield f"memory per GPU not stated, {most} GB are needed"


def _of(names: tuple[str, ...], demand: Demand) -> str:
    return "" if len(names) == demand.phases else f" of {', '.join(names)}"


def _by(names: tuple[str, ...], demand: Demand) -> str:
    return "" if len(names) == demand.phases else f" by {', '.join(names)}"


def _in_time(hours: Decimal, within: Decimal, demand: Demand, *, elastic: bool) -> str:
    there = f"the deadline leaves {number(within)}" if demand.deadline else f"the plan takes {number(within)}"
    if hours <= within:
        return f"takes {number(hours)} h, {there}"
    if not elastic:
        return f"takes {number(hours)} h, {there}, and there is one of it"
    together = PRECISE.divide(hours, within).to_integral_value(ROUND_CEILING)
    return f"elastic: {together:,f} at a time take {number(PRECISE.divide(hours, together))} h, {there}"


def _gpus(count: int) -> str:
    return f"{count:,} GPU{'' if count == 1 else 's'}"


def _percent(share: Decimal) -> str:
    return f"{share.scaleb(2):f} %"
