"""What `monitor compare` and `monitor prices` show to people: tables of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from string import ascii_lowercase

from alarms.money import DISPLAY, for_people, plain
from monitor.status.words import one_line
from monitor.training.book import Chosen
from monitor.training.compare import BreakEven, Comparison, LocalRow, OfferRow
from monitor.training.model import Pricing

_WIDTH = 80
_NAME = 24
_PRICING = {
    Pricing.ON_DEMAND: "on demand",
    Pricing.SPOT: "spot",
    Pricing.COMMIT_1Y: "1 year",
    Pricing.COMMIT_3Y: "3 years",
    Pricing.CAPACITY_BLOCK: "block",
}


class _Notes:
    """Letters for what is to be said of a row, and what each means."""

    def __init__(self) -> None:
        self._notes: dict[str, str] = {}

    def mark(self, flags: Iterable[str]) -> str:
        """The letters of these, in order."""
        for flag in flags:
            self._notes.setdefault(flag, _letter(len(self._notes)))
        return " ".join(self._notes[flag] for flag in flags)

    def lines(self) -> list[str]:
        """One line for each, in the order of the letters."""
        return [line for flag, letter in self._notes.items() for line in _wrapped(f"{letter}  {flag}", "   ")]


def as_text(comparison: Comparison, quotes: str | date) -> str:
    """The whole answer."""
    work, notes = comparison.work, _Notes()
    lines = [
        f"{_number(work.gpu_hours)} GPU-hours of {work.gpu.name}, as much compute on each offer",
        f"Quotes: {quotes}. Cost is rate times hours, in {comparison.currency}.",
        "",
        f"{'ON':<{_NAME}} {'PRICING':<9} {'HOURS':>9} {'RATE/H':>8} {'COST':>13}  NOTES",
    ]
    lines += [_offer(row, notes) for row in comparison.offers] or ["(no offer is quoted for that time)"]
    if any(row.cost.expected != row.cost.cost for row in comparison.offers):
        lines += ["", "With interruptions, in the order above:"]
        lines += [_expected(row) for row in comparison.offers if row.cost.expected != row.cost.cost]
    local = [line for row in comparison.local for line in _local(row)]
    return "\n".join([*lines, "", *notes.lines(), *local]).rstrip()


def prices_text(chosen: Sequence[Chosen], quotes: str | date, now: datetime) -> str:
    """The price book as it counts at an instant."""
    notes = _Notes()
    lines = [
        f"Quotes: {quotes}, for the whole host by the hour, as of {now:%Y-%m-%d}",
        "",
        f"{'OFFER':<{_NAME}} {'REGION':<10} {'GPUS':<12} {'PRICING':<9} {'PRICE':>13}  NOTES",
    ]
    for one in chosen:
        quote = one.quote
        gpus = _cut(f"{quote.gpus}x{quote.gpu}", 12)
        price = f"{plain(quote.price_per_hour)} {quote.currency}"
        lines.append(
            f"{_cut(quote.offer, _NAME)} {_cut(quote.region, 10)} {gpus} {_PRICING[quote.pricing]:<9} {price:>13}"
            f"  {notes.mark((_source(one), *one.flags))}".rstrip()
        )
    return "\n".join([*lines, "", *notes.lines()]).rstrip()


def _source(one: Chosen) -> str:
    as_of = "" if one.quote.as_of is None else f"{one.quote.as_of}: "
    return f"{as_of}{one_line(one.quote.source)}"


def _offer(row: OfferRow, notes: _Notes) -> str:
    cost = row.cost
    hours = _fitted(_number(cost.hours), cost.hours, 9)
    return (
        f"{_cut(row.quote.offer, _NAME)} {_PRICING[row.quote.pricing]:<9} {hours} "
        f"{_money(cost.rate_per_hour, cost.currency, 8)} {_money(cost.cost, cost.currency, 13)}  "
        f"{notes.mark(row.flags)}"
    ).rstrip()


def _expected(row: OfferRow) -> str:
    name = f"{_cut(row.quote.offer, _NAME)} {_PRICING[row.quote.pricing]:<9}"
    return f"{name} {for_people(row.cost.expected, row.cost.currency):>33}"


def _local(row: LocalRow) -> list[str]:
    rig = row.rig
    amount = f"{_amount(rig.hardware, rig.currency)} to buy"
    per_hour = for_people(rig.running_per_hour, rig.currency, beside=Decimal(0))
    lines = [
        "",
        *_wrapped(
            f"{rig.name} ({rig.gpus} x {rig.gpu.name}): {amount}, {per_hour} an hour to run. "
            f"{_number(row.hours)} hours: {for_people(row.running, rig.currency)} running, "
            f"{for_people(row.cost, rig.currency)} in all"
            + (
                ""
                if row.amortised is None
                else f"; {for_people(row.amortised, rig.currency)} with but the share of its life"
            )
            + "."
        ),
    ]
    if row.flags:
        lines += _wrapped(f"But: {', '.join(row.flags)}.")
    if rig.not_counted:
        lines += _wrapped(f"Not counted, for it is not stated: {', '.join(rig.not_counted)}.")
    if row.break_even:
        lines.append(f"{'PAYS AGAINST':<{_NAME}} {'PRICING':<9} {'AFTER HOURS':>13} {'DAYS':>11} {'OF ITS LIFE':>13}")
        lines += [_break_even(point) for point in row.break_even]
    return lines


def _break_even(point: BreakEven) -> str:
    name = f"{_cut(point.quote.offer, _NAME)} {_PRICING[point.quote.pricing]:<9}"
    if point.hours_of_use is None or point.calendar_days is None:
        return f"{name} {'never':>13}"
    share = "" if point.utilisation is None else f"{point.utilisation.scaleb(2):,.1f} %"
    days = _fitted(f"{point.calendar_days:,.1f}", point.calendar_days, 11)
    return f"{name} {_fitted(_number(point.hours_of_use), point.hours_of_use, 13)} {days} {share:>13}".rstrip()


def _amount(amount: Decimal, currency: str) -> str:
    return for_people(amount, currency).removesuffix(f" {currency}")


def _money(amount: Decimal, currency: str, width: int) -> str:
    return _fitted(_amount(amount, currency), amount, width)


def _fitted(text: str, value: Decimal, width: int) -> str:
    """The text at the right of a column, or the value in millions where that is too wide."""
    return f"{text if len(text) <= width else f'{value.scaleb(-6):,.1f}M':>{width}}"


def _number(value: Decimal) -> str:
    rounded = value.quantize(Decimal("0.01"), context=DISPLAY)
    return f"{rounded:,f}".rstrip("0").rstrip(".")


def _cut(text: str, width: int) -> str:
    text = one_line(text)
    return f"{text if len(text) <= width else text[: width - 1] + '…':<{width}}"


def _letter(number: int) -> str:
    return ascii_lowercase[number] if number < len(ascii_lowercase) else f"n{number}"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        one_line(text), _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
