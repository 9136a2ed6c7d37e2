"""One phase of a plan, from its keys to what it runs on and for how long: what does not fit together is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, Inexact
from typing import Any

from alarms.money import EXACT
from monitor.config.phase_keys import check_needs, check_ways
from monitor.config.plan_tables import MOST_HOURS, PhaseTable
from monitor.config.report import Report, choices, unknown_name
from monitor.config_lines import Loc
from monitor.training.book import PriceBook, Selection
from monitor.training.catalog import Discount, gpus
from monitor.training.hours import Training, gpu_hours
from monitor.training.local import Rig
from monitor.training.model import PRECISE, Gpu, Pricing, Quote, Spread
from monitor.training.plan import NO_DURATION, Phase
from monitor.training.spot import Interruptions

LOCAL = "local:"
STATED = "stated in the plan"
_MICRO = Decimal("1E-6")
_OUTSIDE = ("price_per_gpu_hour", "currency")


@dataclass(frozen=True, slots=True)
class Market:
    """What the phases of a plan may run on. `selection`: the quotes that count for it, by its `which`."""

    book: PriceBook
    which: str | date
    selection: Selection
    rigs: Sequence[Rig]


@dataclass(frozen=True, slots=True)
class _Place:
    on: str
    host: Quote | Rig
    flags: tuple[str, ...]

    @property
    def gpu(self) -> Gpu:
        return self.host.gpu if isinstance(self.host, Rig) else gpus()[self.host.gpu]


@dataclass(frozen=True, slots=True)
class _Amount:
    """GPU-hours, hours of one host, and hours on the clock if known."""

    gpu_hours: Spread
    paid: Spread
    duration: Spread | None
    count: int
    flags: tuple[str, ...]


def read_phase(report: Report, market: Market, table: PhaseTable, raw: Mapping[str, Any], loc: Loc) -> Phase | None:
    """The phase; None if it has an error, which is reported."""
    check_ways(report, table, raw, loc)
    discount = _discount(report, market, table, loc)
    interruptions = _interruptions(report, table, raw, loc)
    # Where the keys contradict each other there is nothing to look up; where it is unknown there is nothing to count.
    place = _place(report, market, table, loc) if _says_where(report, raw, loc) else None
    if place is None or report.has_error(loc):
        return None
    if discount is not None and isinstance(place.host, Quote) and discount.seller != place.host.seller:
        sentence = f"{discount.code} is a code of {discount.seller}, but {place.on} is sold by {place.host.seller}"
        report.error((*loc, "discount"), sentence)
    amount = _amount(report, table, place, loc)
    unsure = check_needs(report, table, place.on, place.host, loc)
    if amount is None or report.has_error(loc):
        return None
    return Phase(
        name=table.name,
        on=place.on,
        host=place.host,
        count=amount.count,
        paid=amount.paid,
        gpu_hours=amount.gpu_hours,
        duration=amount.duration,
        discount=discount,
        new_customer=table.new_customer,
        interruptions=interruptions,
        after=table.after,
        start=table.start,
        extent=table.scope,
        flags=(*place.flags, *amount.flags, *unsure),
        data_local=table.data_local,
        needs_gpu_memory=table.needs_gpu_memory,
    )


def _says_where(report: Report, raw: Mapping[str, Any], loc: Loc) -> bool:
    before = report.has_error(loc)
    if "on" in raw:
        for key in _OUTSIDE:
            if key in raw:
                report.error((*loc, key), "belongs to an offer outside the book, which has no `on`; remove it")
        return not any(report.has_error((*loc, key)) for key in ("on", *_OUTSIDE))
    missing = [key for key in ("gpu", *_OUTSIDE) if key not in raw]
    if len(missing) == 1 + len(_OUTSIDE):
        report.error((*loc, "on"), 'missing; add on = "OFFER" (`monitor prices` lists them) or "local:NAME"')
    else:
        for key in missing:
            report.error((*loc, key), f"missing; an offer outside the book needs {key} = …")
    for key in ("region", "count", "discount"):
        if key in raw:
            report.error((*loc, key), "belongs to an offer of the book (`on`); remove it")
    return not missing and not before


def _place(report: Report, market: Market, table: PhaseTable, loc: Loc) -> _Place | None:
    if table.on is None:
        return _outside(report, table, loc)
    if table.on.startswith(LOCAL):
        return _own(report, market, table, table.on, loc)
    return _offer(report, market, table, table.on, loc)


def _outside(report: Report, table: PhaseTable, loc: Loc) -> _Place | None:
    if table.gpu is None or table.price_per_gpu_hour is None or table.currency is None:
        return None
    if table.interruptions_per_hour is not None and table.gpus is None:
        report.error((*loc, "gpus"), "missing; what interruptions cost depends on how long it takes")
    gpu = gpus()[table.gpu]
    quote = Quote(
        offer=gpu.name,
        seller="",
        region="",
        gpu=gpu.name,
        gpus=1,
        pricing=table.pricing,
        currency=table.currency,
        price_per_hour=table.price_per_gpu_hour,
        book="",
        source=STATED,
    )
    return _Place(gpu.name, quote, ())


def _own(report: Report, market: Market, table: PhaseTable, on: str, loc: Loc) -> _Place | None:
    known = {f"{LOCAL}{rig.name}": rig for rig in market.rigs}
    if on not in known:
        # One that is there but broken is reported already.
        if not report.has_error(("local",)):
            sentence = unknown_name("offer", on, known) if known else "there is no [[local]] table; add one"
            report.error((*loc, "on"), sentence)
        return None
    if table.pricing is not Pricing.ON_DEMAND:
        report.error((*loc, "pricing"), "hardware of your own has no pricing; remove it")
    if table.discount is not None:
        report.error((*loc, "discount"), "hardware of your own has no discount; remove it")
    if table.count not in (None, 1):
        report.error((*loc, "count"), "there is one of each [[local]]; remove it")
    return _Place(on, known[on], ())


def _offer(report: Report, market: Market, table: PhaseTable, on: str, loc: Loc) -> _Place | None:
    quoted = market.selection.of(on)
    if not quoted:
        report.error((*loc, "on"), _unknown(market, on))
        return None
    priced = [one for one in quoted if one.quote.pricing is table.pricing]
    if not priced:
        there = sorted({one.quote.pricing.value for one in quoted})
        report.error((*loc, "pricing"), f"{on} has no such price in these quotes; it has {choices(there)}")
        return None
    regions = [one.quote.region for one in priced]
    found = [one for one in priced if table.region in (None, one.quote.region)]
    if not found:
        report.error((*loc, "region"), unknown_name("region", table.region or "", filter(None, regions)))
        return None
    if len(found) > 1:
        report.error((*loc, "region"), f"missing; {on} is quoted in several: add region = {choices(regions)}")
        return None
    return _Place(on, found[0].quote, found[0].flags)


def _unknown(market: Market, on: str) -> str:
    if any(quote.offer == on for quote in market.book.quotes):
        return f'"{on}" has no quote among those of quotes = "{market.which}"; choose others there'
    return unknown_name("offer", on, (*market.selection.offers, *(f"{LOCAL}{rig.name}" for rig in market.rigs)))


def _discount(report: Report, market: Market, table: PhaseTable, loc: Loc) -> Discount | None:
    if table.discount is None:
        return None
    known = {code.code: code for code in market.book.discounts}
    if table.discount not in known:
        report.error((*loc, "discount"), unknown_name("discount", table.discount, known))
    return known.get(table.discount)


def _interruptions(report: Report, table: PhaseTable, raw: Mapping[str, Any], loc: Loc) -> Interruptions | None:
    if table.interruptions_per_hour is None:
        for key in ("checkpoint_every", "restart"):
            if key in raw:
                report.error((*loc, key), "counts only together with interruptions_per_hour; add that or remove this")
        return None
    if table.pricing is not Pricing.SPOT:
        report.error((*loc, "interruptions_per_hour"), 'only spot machines are taken away; add pricing = "spot"')
    found = Interruptions(table.interruptions_per_hour, _hours(table.checkpoint_every), _hours(table.restart))
    if not found.ever_ends:
        report.error(
            (*loc, "interruptions_per_hour"), "interrupted that often between two checkpoints, the work would never end"
        )
        return None
    return found


def _amount(report: Report, table: PhaseTable, place: _Place, loc: Loc) -> _Amount | None:
    count = _count(report, table, place, loc)
    if table.gpu is not None and gpus()[table.gpu] != place.gpu:
        report.error((*loc, "gpu"), f'is "{table.gpu}", but {place.on} has {place.gpu.name}; remove it')
    if count is None:
        return None
    each, flags = Decimal(place.host.gpus), ()  # type: tuple[Decimal, tuple[str, ...]]
    together = Decimal(count * place.host.gpus)
    if table.hours is not None:
        worked = Spread.certain(EXACT.multiply(table.hours, together))
        paid, duration = Spread.certain(EXACT.multiply(table.hours, Decimal(count))), Spread.certain(table.hours)
        return _Amount(worked, paid, duration, count, flags)
    if table.gpu_hours is not None:
        worked = Spread.certain(table.gpu_hours)
    elif table.params is not None and table.tokens is not None:
        try:
            worked, flags = gpu_hours(_training(table, table.params, table.tokens), place.gpu, int(together))
        except ValueError as error:
            report.error((*loc, "precision"), str(error))
            return None
    else:
        return None
    duration = worked.map(lambda value: _divided(value, together))
    if table.on is None and table.gpus is None:
        if table.params is not None:
            report.error((*loc, "gpus"), "missing; on how many GPUs the model is trained")
        return _Amount(worked, worked, None, 1, (NO_DURATION,))
    if duration.values[-1] > MOST_HOURS:
        report.error(loc, f"would take more than a century on {together:f} GPUs; give it more of them")
    return _Amount(worked, worked.map(lambda value: _divided(value, each)), duration, count, flags)


def _count(report: Report, table: PhaseTable, place: _Place, loc: Loc) -> int | None:
    if table.gpus is None:
        if table.on is None and table.hours is not None:
            report.error((*loc, "gpus"), "missing; add gpus = …: on how many GPUs for these hours")
            return None
        return table.count or 1
    if table.count is not None:
        report.error((*loc, "gpus"), "says how many hosts again, beside count; keep one")
        return None
    hosts, rest = divmod(table.gpus, place.host.gpus)
    if rest or (isinstance(place.host, Rig) and hosts != 1):
        report.error((*loc, "gpus"), f"{place.on} comes with {place.host.gpus} GPUs; expected a multiple of that")
        return None
    return hosts


def _training(table: PhaseTable, params: Decimal, tokens: Decimal) -> Training:
    return Training(
        params=params,
        tokens=tokens,
        mfu=table.mfu,
        layers=table.layers,
        width=table.width,
        context=table.context,
        precision=table.precision,
    )


def _divided(value: Decimal, by: Decimal) -> Decimal:
    """Exact, or to a millionth of an hour."""
    try:
        return EXACT.divide(value, by)
    except Inexact:
        return PRECISE.divide(value, by).quantize(_MICRO, context=PRECISE)


def _hours(span: timedelta) -> Decimal:
    return PRECISE.divide(Decimal(span // timedelta(seconds=1)), Decimal(3600))
