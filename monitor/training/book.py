"""Which quote counts: by book or by date, with its age; and prices that look wrong beside others. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from alarms.words import day_text
from monitor.training.catalog import ARTICLE, Discount, shipped_discounts, shipped_quotes
from monitor.training.model import PRECISE, Pricing, Quote

CURRENT = "current"
SPOT_ABOVE = "spot above on demand"
FAR_OFF = "about 8 times off its peers per GPU"

# The ratio at which a price per GPU stands where one for a host of eight belongs, or the other way round.
_FAR = Decimal(5)
_FEWEST_PEERS = 2
# Prices of GPUs have moved by a fifth within a quarter: older than this is said.
_OLD = timedelta(days=30)
# Kept at a time: each may hold thousands of quotes.
_MOST_SELECTIONS = 16


@dataclass(frozen=True, slots=True)
class Chosen:
    """A quote that counts, and what is to be said of it."""

    quote: Quote
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """The quotes that count at a time, in the order of the book."""

    at: datetime
    _known: _Known

    @property
    def chosen(self) -> list[Chosen]:
        """One for each offer, region and pricing."""
        return [self._said(quote) for quote in self._known.quotes]

    @property
    def offers(self) -> Collection[str]:
        """The names of all offers."""
        return self._known.by_offer.keys()

    def of(self, offer: str) -> list[Chosen]:
        """Those of one offer."""
        return [self._said(quote) for quote in self._known.by_offer.get(offer, ())]

    def _said(self, quote: Quote) -> Chosen:
        return Chosen(quote, (*_age(quote, self.at), *self._known.odd.get(quote, ())))


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Every quote and discount that is known, shipped and the user's own."""

    quotes: tuple[Quote, ...]
    discounts: tuple[Discount, ...]
    # A thousand plans may ask: what counts changes only where a quote begins or ends.
    _edges: list[datetime] = field(default_factory=list, init=False, repr=False, compare=False)
    _selections: dict[object, _Known] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        edges = {edge for quote in self.quotes for edge in (quote.valid_from, quote.valid_until) if edge is not None}
        self._edges.extend(sorted(edges))

    def select(self, which: str | date, at: datetime) -> Selection:
        """The quotes that count.

        `which`: "article", its quotes alone; "current", the newest that is known at `at`, even if it has ended or
        bears no date; a date: as "current" was at the end of that day.
        """
        known_at = at if isinstance(which, str) else min(at, _end_of(which))
        article = isinstance(which, str) and which == ARTICLE
        key = ARTICLE if article else bisect_right(self._edges, known_at)
        if key not in self._selections:
            if len(self._selections) >= _MOST_SELECTIONS:
                self._selections.clear()
            found = [quote for quote in self.quotes if quote.book == ARTICLE] if article else None
            self._selections[key] = _Known.of(_newest(self.quotes, known_at) if found is None else found)
        return Selection(known_at, self._selections[key])

    def choose(self, which: str | date, at: datetime) -> list[Chosen]:
        """One quote for each offer, region and pricing, as `select` takes them."""
        return self.select(which, at).chosen

    def with_more(self, quotes: Iterable[Quote], discounts: Iterable[Discount]) -> PriceBook:
        """With those of a user, who may say a discount anew."""
        own = tuple(discounts)
        names = {code.code for code in own}
        kept = tuple(code for code in self.discounts if code.code not in names)
        return replace(self, quotes=(*self.quotes, *quotes), discounts=(*kept, *own))


@dataclass(frozen=True, slots=True)
class _Known:
    """What counts between two edges."""

    quotes: Sequence[Quote]
    by_offer: Mapping[str, Sequence[Quote]]
    odd: Mapping[Quote, tuple[str, ...]]

    @classmethod
    def of(cls, quotes: Sequence[Quote]) -> _Known:
        by_offer: dict[str, list[Quote]] = defaultdict(list)
        for quote in quotes:
            by_offer[quote.offer].append(quote)
        return cls(quotes, dict(by_offer), oddities(quotes))


def shipped() -> PriceBook:
    """What came with the program."""
    return PriceBook(shipped_quotes(), shipped_discounts())


def oddities(quotes: Sequence[Quote]) -> Mapping[Quote, tuple[str, ...]]:
    """What looks wrong about a price beside the others of these; not necessarily is."""
    found: dict[Quote, tuple[str, ...]] = {}
    peers = _Peers(quotes)
    on_demand = {
        (quote.offer, quote.region, quote.book, quote.as_of): quote
        for quote in quotes
        if quote.pricing is Pricing.ON_DEMAND
    }
    for quote in quotes:
        flags = []
        beside = on_demand.get((quote.offer, quote.region, quote.book, quote.as_of))
        if quote.pricing is Pricing.SPOT and beside and quote.price_per_hour > beside.price_per_hour:
            flags.append(SPOT_ABOVE)
        if peers.far_from(quote):
            flags.append(FAR_OFF)
        if flags:
            found[quote] = tuple(flags)
    return found


def _newest(quotes: Iterable[Quote], at: datetime) -> list[Quote]:
    newest: dict[tuple[str, str, Pricing], Quote] = {}
    dated = set()
    for quote in quotes:
        if quote.valid_from is not None and quote.valid_from > at:
            continue
        key = (quote.offer, quote.region, quote.pricing)
        if quote.valid_from is not None:
            dated.add((quote.offer, quote.pricing))
        best = newest.get(key)
        # Of two of the same day the later in the book counts: what a user says goes before what ships.
        if best is None or _worth(quote, at) >= _worth(best, at):
            newest[key] = quote
    # One without a date counts only where there is none with one, whatever its region.
    return [
        quote
        for (offer, _, pricing), quote in newest.items()
        if quote.valid_from is not None or (offer, pricing) not in dated
    ]


def _worth(quote: Quote, at: datetime) -> tuple[bool, datetime]:
    start = quote.valid_from or datetime.min.replace(tzinfo=UTC)
    return (quote.valid_from is not None and quote.is_valid(at), start)


def _age(quote: Quote, at: datetime) -> tuple[str, ...]:
    flags = []
    if quote.as_of is None:
        flags.append("undated")
    else:
        age = at.date() - quote.as_of
        if age > _OLD:
            flags.append(f"{age.days} days old")
    if quote.valid_until is not None and quote.valid_until <= at:
        flags.append(f"ended {day_text(quote.valid_until)}")
    return tuple(flags)


class _Peers:
    """What others take for a GPU of the same model, pricing and currency: one price for each offer."""

    def __init__(self, quotes: Iterable[Quote]) -> None:
        self._prices: dict[tuple[str, Pricing, str], dict[str, Decimal]] = defaultdict(dict)
        for quote in quotes:
            self._prices[_kind(quote)][quote.offer] = quote.price_per_gpu_hour
        self._sorted = {kind: sorted(prices.values()) for kind, prices in self._prices.items()}

    def far_from(self, quote: Quote) -> bool:
        """Whether its price is far from the middle of the others'."""
        ordered = self._sorted[_kind(quote)]
        if len(ordered) <= _FEWEST_PEERS:
            return False
        own = bisect_left(ordered, self._prices[_kind(quote)][quote.offer])
        middle = (len(ordered) - 1) // 2
        other = ordered[middle if middle < own else middle + 1]
        price = quote.price_per_gpu_hour
        return PRECISE.multiply(price, _FAR) < other or PRECISE.multiply(other, _FAR) < price


def _kind(quote: Quote) -> tuple[str, Pricing, str]:
    return (quote.gpu, quote.pricing, quote.currency)


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time.max, UTC)
