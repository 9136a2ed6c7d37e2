"""What work costs on one offer: hours of equal compute, discounts, interruptions, currencies. Pure."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, Inexact
from fractions import Fraction

from alarms.money import EXACT
from monitor.training.catalog import Discount
from monitor.training.local import Rig
from monitor.training.model import PRECISE, Gpu, Pricing, Quote
from monitor.training.spot import Interruptions

NO_INTERRUPTIONS = "interruptions not stated"

_MICRO = Decimal("1E-6")
_ONE = Decimal(1)
_SECONDS = Decimal(3600)


@dataclass(frozen=True, slots=True)
class Work:
    """So many hours of so many GPUs of a model: what every offer is to do."""

    gpu: Gpu
    gpu_hours: Decimal

    def hours_on(self, gpu: Gpu, gpus: int) -> Decimal:
        """Hours of equal compute, by the dense BF16 peaks of both models: exact, or to a millionth of an hour."""
        whole = Fraction(self.gpu_hours) * Fraction(self.gpu.bf16_tflops)
        hours = whole / (Fraction(gpu.bf16_tflops) * gpus)
        try:
            return EXACT.divide(Decimal(hours.numerator), Decimal(hours.denominator))
        except Inexact:
            return PRECISE.divide(Decimal(hours.numerator), Decimal(hours.denominator)).quantize(
                _MICRO, context=PRECISE
            )


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """One `[[exchange]]`: a unit of `source` is worth `rate` units of `target`."""

    source: str
    target: str
    rate: Decimal
    as_of: date


@dataclass(frozen=True, slots=True)
class Terms:
    """What is agreed beside the quotes. `start`: when the work begins.

    `discounts`: one for each seller at most; `customer_since`: when a new customer's first month begins, None: at the
    start.
    """

    start: datetime
    discounts: Sequence[Discount] = ()
    new_customer: bool = False
    interruptions: Interruptions | None = None
    exchange: Sequence[ExchangeRate] = ()
    customer_since: datetime | None = None

    def discount_of(self, seller: str) -> Discount | None:
        """That of this seller."""
        return next((code for code in self.discounts if code.seller == seller), None)

    @property
    def first_month_left(self) -> Decimal:
        """How many hours of a new customer's first month there are from the start."""
        ends = _month_after(self.customer_since or self.start)
        return _hours(max(ends - self.start, timedelta(0)))


@dataclass(frozen=True, slots=True)
class Cost:
    """What hours of an offer cost. `rate_per_hour` is that of the first hour, after discounts.

    `cost` is the exact product of rate and hours; `expected` has interruptions in it.
    """

    currency: str
    hours: Decimal
    rate_per_hour: Decimal
    cost: Decimal
    expected: Decimal
    flags: tuple[str, ...]


def exchange_rate(rates: Sequence[ExchangeRate], source: str, target: str) -> Decimal | None:
    """What a unit of one currency is worth in the other, by the newest rate for that direction; None: not stated."""
    if source == target:
        return _ONE
    fitting = [rate for rate in rates if (rate.source, rate.target) == (source, target)]
    return max(fitting, key=lambda rate: rate.as_of).rate if fitting else None


def currency_of(hosts: Sequence[Quote | Rig], exchange: Sequence[ExchangeRate], wanted: str | None) -> str | None:
    """The currency that all of these lead to: the wanted one, else that of the first that serves; None: none."""
    candidates: Iterable[str] = dict.fromkeys(host.currency for host in hosts) if wanted is None else (wanted,)
    for candidate in candidates:
        if all(exchange_rate(exchange, host.currency, candidate) is not None for host in hosts):
            return candidate
    return None


def cost_of(quote: Quote, hours: Decimal, terms: Terms, currency: str) -> Cost:
    """What so many hours cost in a currency, or in the quote's own (with a flag) if no rate leads there."""
    worth = exchange_rate(terms.exchange, quote.currency, currency)
    price = quote.price_per_hour if worth is None else EXACT.multiply(quote.price_per_hour, worth)
    discount = terms.discount_of(quote.seller)
    first, later = _rates(discount, price, terms)
    flags = () if worth is not None else (f"in {quote.currency}: no exchange rate to {currency}",)
    if discount is not None and first != price:
        flags = (f"with {discount.code}", *flags)
    expected_hours = hours
    if quote.pricing is Pricing.SPOT:
        if terms.interruptions is None:
            flags = (*flags, NO_INTERRUPTIONS)
        else:
            expected_hours = PRECISE.multiply(hours, terms.interruptions.factor()).quantize(_MICRO, context=PRECISE)
    return Cost(
        currency=quote.currency if worth is None else currency,
        hours=hours,
        rate_per_hour=first,
        cost=_product(first, later, hours, terms),
        expected=_product(first, later, expected_hours, terms),
        flags=flags,
    )


def _rates(discount: Discount | None, price: Decimal, terms: Terms) -> tuple[Decimal, Decimal]:
    """Money per hour in what is left of the customer's first month, and after it."""
    if discount is None:
        return price, price
    later = EXACT.multiply(price, EXACT.subtract(_ONE, discount.off))
    if not terms.new_customer or discount.first_month_off is None or not terms.first_month_left:
        return later, later
    return EXACT.multiply(price, EXACT.subtract(_ONE, discount.first_month_off)), later


def _product(first: Decimal, later: Decimal, hours: Decimal, terms: Terms) -> Decimal:
    if first == later:
        return EXACT.multiply(first, hours)
    in_month = min(hours, terms.first_month_left)
    rest = EXACT.multiply(later, EXACT.subtract(hours, in_month))
    return EXACT.add(EXACT.multiply(first, in_month), rest)


def _hours(span: timedelta) -> Decimal:
    return PRECISE.divide(Decimal(span // timedelta(seconds=1)), _SECONDS).quantize(_MICRO, context=PRECISE)


def _month_after(start: datetime) -> datetime:
    year, month = divmod(start.year * 12 + start.month, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day)
