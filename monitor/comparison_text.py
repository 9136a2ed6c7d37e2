"""What `monitor compare` and `monitor prices` show to people: tables of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal

from alarms.money import for_people, with_cents
from alarms.words import day_text
from monitor.columns import (
    WHOLE_ADDRESSES,
    Notes,
    amount,
    cut,
    fitted,
    is_shortened,
    money,
    quotes_text,
    source_of,
    with_notes,
    wrapped,
)
from monitor.training.book import Chosen
from monitor.training.compare import BreakEven, Comparison, LocalRow, OfferRow, name_of
from monitor.training.model import PRICING_WORDS, Pricing, number
from monitor.training.reasons import Reasons

_NAME = 24


def as_text(comparison: Comparison, quotes: str | date, plan: str | None = None) -> str:
    """The whole answer. `plan`: whose work it is."""
    work, notes = comparison.work, Notes()
    of_plan = "" if plan is None else f"{plan}: "
    able = [row for row in comparison.offers if not row.reasons.ruled_out]
    lines = [
        *wrapped(f"{of_plan}{number(work.gpu_hours)} GPU-hours of {work.gpu.name}, as much compute on each offer"),
        f"Quotes: {quotes_text(quotes)}. Cost is rate times hours, in {_currency(comparison)}.",
        "",
        f"{'ON':<{_NAME}} {'PRICING':<9} {'HOURS':>9} {'RATE/H':>8} {'COST':>13}  NOTES",
    ]
    lines += [line for row in able for line in _offer(row, notes)] or ["(no offer is quoted that could do it)"]
    if any(row.cost.expected != row.cost.cost for row in able):
        lines += ["", "With interruptions, in the order above:"]
        lines += [_expected(row) for row in able if row.cost.expected != row.cost.cost]
    local = [line for row in comparison.local for line in _local(row)]
    marked = ["", *notes.lines()] if notes.lines() else []
    lines += [*marked, *_ruled_out(comparison), *local, *_for_and_against(comparison, able)]
    return "\n".join(lines).rstrip()


def prices_text(chosen: Sequence[Chosen], quotes: str | date, now: datetime) -> str:
    """The price book as it counts at an instant."""
    notes = Notes()
    lines = [
        f"Quotes: {quotes_text(quotes)}, for the whole host by the hour, as of {day_text(now)}",
        "",
        f"{'OFFER':<{_NAME}} {'REGION':<10} {'GPUS':<12} {'PRICING':<9} {'PRICE':>13}  NOTES",
    ]
    for one in chosen:
        quote = one.quote
        gpus = cut(f"{quote.gpus}x{quote.gpu}", 12)
        price = fitted(f"{with_cents(quote.price_per_hour)} {quote.currency}", quote.price_per_hour, 13)
        row = f"{cut(quote.offer, _NAME)} {cut(quote.region, 10)} {gpus} {PRICING_WORDS[quote.pricing]:<9} {price}"
        lines += with_notes(row, notes.mark((source_of(quote), *one.flags)))
    lines += ["", *notes.lines()]
    lines += ["", WHOLE_ADDRESSES] if any(is_shortened(one.quote) for one in chosen) else []
    return "\n".join(lines).rstrip()


def _currency(comparison: Comparison) -> str:
    """In which the rows are: a quote that no exchange rate is known for stays in its own, and its note says which."""
    found = {row.cost.currency for row in comparison.offers} or {comparison.currency}
    return found.pop() if len(found) == 1 else f"{comparison.currency} where no note says otherwise"


def _offer(row: OfferRow, notes: Notes) -> list[str]:
    cost = row.cost
    hours = fitted(number(cost.hours), cost.hours, 9)
    text = (
        f"{cut(row.quote.offer, _NAME)} {PRICING_WORDS[row.quote.pricing]:<9} {hours} "
        f"{money(cost.rate_per_hour, cost.currency, 8)} {money(cost.cost, cost.currency, 13)}"
    )
    return with_notes(text, notes.mark(row.flags))


def _ruled_out(comparison: Comparison) -> Iterator[str]:
    """What cannot do the work, by reason: own hardware says it below."""
    by_reason: dict[str, dict[str, None]] = {}
    for row in comparison.offers:
        for reason in row.reasons.ruled_out:
            by_reason.setdefault(reason, {})[row.quote.offer] = None
    everything = len({row.quote.offer for row in comparison.offers})
    for reason, names in by_reason.items():
        which = "every offer" if len(names) == everything else ", ".join(names)
        yield ""
        yield from wrapped(f"Ruled out, for {reason}: {which}.", "  ")


def _for_and_against(comparison: Comparison, able: Sequence[OfferRow]) -> Iterator[str]:
    """Of the cheapest offer, the cheapest that is not taken away, and all own hardware."""
    firm = [row for row in able if row.quote.pricing is Pricing.ON_DEMAND]
    told = {name_of(row.quote): row.reasons for row in (*able[:1], *firm[:1])}
    told |= {row.rig.name: row.reasons for row in comparison.local}
    if not told:
        return
    yield from ("", "FOR (+) AND AGAINST (-)")
    for name, reasons in told.items():
        yield from wrapped(name)
        yield from _reasons(reasons)


def _reasons(reasons: Reasons) -> Iterable[str]:
    signed = [*(("+", text) for text in reasons.speaks_for), *(("-", text) for text in reasons.against)]
    return [line for sign, text in signed for line in wrapped(f"{sign} {text}", "    ", first="  ")]


def _expected(row: OfferRow) -> str:
    name = f"{cut(row.quote.offer, _NAME)} {PRICING_WORDS[row.quote.pricing]:<9}"
    return f"{name} {for_people(row.cost.expected, row.cost.currency):>33}"


def _local(row: LocalRow) -> list[str]:
    rig = row.rig
    to_buy = f"{amount(rig.hardware, rig.currency)} {'paid already' if rig.owned else 'to buy'}"
    per_hour = for_people(rig.running_per_hour, rig.currency, beside=Decimal(0))
    lines = [
        "",
        *wrapped(
            f"{rig.name} ({rig.gpus} x {rig.gpu.name}): {to_buy}, {per_hour} an hour to run. "
            f"{number(row.hours)} hours: {for_people(row.running, rig.currency)} running, "
            f"{for_people(row.cost, rig.currency)} in all"
            + (
                ""
                if row.amortised is None
                else f"; {for_people(row.amortised, rig.currency)} with but the share of its life"
            )
            + "."
        ),
    ]
    if row.reasons.ruled_out:
        lines += wrapped(f"Ruled out, for {'; '.join(row.reasons.ruled_out)}.")
    if row.flags:
        lines += wrapped(f"But: {', '.join(row.flags)}.")
    if rig.not_counted:
        lines += wrapped(f"Not counted, for it is not stated: {', '.join(rig.not_counted)}.")
    if row.break_even:
        lines.append(f"{'PAYS AGAINST':<{_NAME}} {'PRICING':<9} {'AFTER HOURS':>13} {'DAYS':>11} {'OF ITS LIFE':>13}")
        lines += [_break_even(point) for point in row.break_even]
    return lines


def _break_even(point: BreakEven) -> str:
    name = f"{cut(point.quote.offer, _NAME)} {PRICING_WORDS[point.quote.pricing]:<9}"
    if point.hours_of_use is None or point.calendar_days is None:
        return f"{name} {'never':>13}"
    share = "" if point.utilisation is None else f"{point.utilisation.scaleb(2):,.1f} %"
    days = fitted(f"{point.calendar_days:,.1f}", point.calendar_days, 11)
    return f"{name} {fitted(number(point.hours_of_use), point.hours_of_use, 13)} {days} {share:>13}".rstrip()
