"""The words of projections: GPUs, quotes, work, and figures that are not certain. Plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_FLOOR, Context, Decimal
from enum import StrEnum

from alarms.money import DISPLAY

# For rates, hours and shares, which need not be exact; money that is an exact product uses `alarms.money.EXACT`.
PRECISE = Context(prec=28)


class Pricing(StrEnum):
    """How an offer is paid for."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"
    COMMIT_1Y = "commit_1y"
    COMMIT_3Y = "commit_3y"
    CAPACITY_BLOCK = "capacity_block"


PRICING_WORDS: Mapping[Pricing, str] = {
    Pricing.ON_DEMAND: "on demand",
    Pricing.SPOT: "spot",
    Pricing.COMMIT_1Y: "1 year",
    Pricing.COMMIT_3Y: "3 years",
    Pricing.CAPACITY_BLOCK: "block",
}


def number(value: Decimal) -> str:
    """For people: `4,060.25`, two digits after the point at most."""
    return f"{value.quantize(Decimal('0.01'), context=DISPLAY):,f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A model of GPU. Peaks are dense, without sparsity, in TFLOP/s; `fp8_tflops` None: it has no FP8.

    `memory_gb` None: the name stands for several sizes.
    """

    name: str
    memory_gb: int | None
    bf16_tflops: Decimal
    fp8_tflops: Decimal | None
    tdp_watts: int
    source: str


@dataclass(frozen=True, slots=True)
class Quote:
    """One dated price. `price_per_hour` is that of the whole offer with all of its `gpus`.

    Valid in [valid_from, valid_until); None: open. `as_of`: when the source said so, None if it bears no date. `book`:
    the set of quotes that it belongs to. `source`: where it can be read.
    """

    offer: str
    seller: str
    region: str
    gpu: str
    gpus: int
    pricing: Pricing
    currency: str
    price_per_hour: Decimal
    book: str
    source: str
    as_of: date | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @property
    def price_per_gpu_hour(self) -> Decimal:
        """What one of its GPUs costs an hour."""
        return PRECISE.divide(self.price_per_hour, Decimal(self.gpus))

    def is_valid(self, at: datetime) -> bool:
        """Whether the price holds at an instant."""
        return (self.valid_from is None or self.valid_from <= at) and (
            self.valid_until is None or at < self.valid_until
        )


# How many equally likely values stand for an uncertain figure: P10, P50 and P90 are among them.
_POINTS = 41


@dataclass(frozen=True, slots=True)
class Spread:
    """An uncertain figure as equally likely values in ascending order; one value: it is certain."""

    values: tuple[Decimal, ...]

    @classmethod
    def certain(cls, value: Decimal) -> Spread:
        """A figure without doubt."""
        return cls((value,))

    @classmethod
    def through(cls, p10: Decimal, p50: Decimal, p90: Decimal) -> Spread:
        """Straight lines through three quantiles, continued to P0 and P100 at the same slopes; never below zero."""
        below, above = PRECISE.subtract(p50, p10), PRECISE.subtract(p90, p50)
        values = []
        for place in range(_POINTS):
            share = PRECISE.divide(Decimal(place), Decimal(_POINTS - 1))
            from_middle = PRECISE.divide(PRECISE.subtract(share, Decimal("0.5")), Decimal("0.4"))
            slope = below if from_middle < 0 else above
            values.append(max(Decimal(0), PRECISE.add(p50, PRECISE.multiply(slope, from_middle))))
        return cls(tuple(values))

    @property
    def is_certain(self) -> bool:
        """Whether all of its values are the same."""
        return self.values[0] == self.values[-1]

    def quantile(self, share: Decimal) -> Decimal:
        """The value below which that share (0 to 1) lies, interpolated."""
        place = PRECISE.multiply(share, Decimal(len(self.values) - 1))
        lower = int(place.to_integral_value(ROUND_FLOOR))
        if lower >= len(self.values) - 1:
            return self.values[-1]
        step = PRECISE.subtract(self.values[lower + 1], self.values[lower])
        return PRECISE.add(self.values[lower], PRECISE.multiply(step, PRECISE.subtract(place, Decimal(lower))))

    def map(self, change: Callable[[Decimal], Decimal]) -> Spread:
        """Every value changed, in ascending order again."""
        return Spread(tuple(sorted(change(value) for value in self.values)))


def blend(spreads: Iterable[Spread]) -> Spread:
    """One of these, each as likely as the others."""
    return Spread(_thinned(sorted(value for spread in spreads for value in spread.values)))


def sum_of_independent(spreads: Iterable[Spread]) -> Spread:
    """The sum of figures whose doubts have nothing to do with each other: every pair of values, thinned out again."""
    result = Spread.certain(Decimal(0))
    for spread in spreads:
        pairs = sorted(PRECISE.add(one, other) for one in result.values for other in spread.values)
        result = Spread(_thinned(pairs))
    return result


def sum_of_dependent(spreads: Iterable[Spread]) -> Spread:
    """The sum of figures that are low together and high together (one efficiency in several phases)."""
    shares = [PRECISE.divide(Decimal(place), Decimal(_POINTS - 1)) for place in range(_POINTS)]
    known = list(spreads)
    if all(spread.is_certain for spread in known):
        return Spread.certain(_total(spread.values[0] for spread in known))
    return Spread(tuple(_total(spread.quantile(share) for spread in known) for share in shares))


def _total(values: Iterable[Decimal]) -> Decimal:
    result = Decimal(0)
    for value in values:
        result = PRECISE.add(result, value)
    return result


def _thinned(values: Sequence[Decimal]) -> tuple[Decimal, ...]:
    if len(values) <= _POINTS:
        return tuple(values)
    whole = Spread(tuple(values))
    return tuple(whole.quantile(PRECISE.divide(Decimal(place), Decimal(_POINTS - 1))) for place in range(_POINTS))
