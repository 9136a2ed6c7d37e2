"""`forecast`: how far off the forecast of a period is, against two simple ones, on recorded series.

Every day of every whole month and week in the data, from the seventh day of the series on, the period's total is
forecast from the days up to then, and held against what it came to. Reads the folder that BENCHMARK_DATA names, by
default shared/data beside this checkout.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median

from alarms.model import Forecast, Period
from benchmarks.measure import ROOT, Report
from monitor.period import PeriodKind, midnight, period_of
from monitor.projection import FEWEST, forecast, trend

_DATA = Path(os.environ.get("BENCHMARK_DATA", ROOT.parent / "shared" / "data"))
_TEAMS = "helios-3-teams/hourly_focus.csv"
_PURCHASES = "timeseries/purchase-*.csv"
_KINDS = (PeriodKind.MONTH, PeriodKind.WEEK)
_WEEK = 7
_HEAD = """\
| series | period | forecasts | ours | mean so far x days | mean of 7 days | in our interval (80 % is meant) |
|---|---|---|---|---|---|---|"""
_NOTE = (
    "forecast: error in per cent of what the period came to, median (P90); a smaller one is better. {what} "
    "`a run` is made up: 100 a day, from the 10th 1,000 a day; one forecast of the month each."
)

Series = Mapping[date, Decimal]


@dataclass(frozen=True, slots=True)
class Case:
    """A forecast to make: the days so far, those of them that lie in the period, and what the period came to."""

    so_far: Sequence[Decimal]
    inside: int
    period: Period
    total: Decimal

    @property
    def left(self) -> int:
        """Days to come."""
        return (self.period.end - self.period.start).days - self.inside

    @property
    def spent(self) -> Decimal:
        """What is known of the period."""
        return sum(self.so_far[len(self.so_far) - self.inside :], Decimal(0))


@dataclass(slots=True)
class Errors:
    """In per cent, of the three; and how often the total lay in our interval."""

    ours: list[float] = field(default_factory=list)
    so_far: list[float] = field(default_factory=list)
    seven: list[float] = field(default_factory=list)
    held: list[bool] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Forecast it three times."""
        made = ours(case)
        self.ours.append(_error(made.expected, case))
        self.so_far.append(_error(case.spent + case.spent / case.inside * case.left, case))
        last = case.so_far[-_WEEK:]
        self.seven.append(_error(case.spent + sum(last, Decimal(0)) / len(last) * case.left, case))
        # As for people: to a hundredth.
        low, high, total = (amount.quantize(Decimal("0.01")) for amount in (made.low, made.high, case.total))
        self.held.append(low <= total <= high)

    def row(self, name: str, kind: str) -> str:
        """One line of the table."""
        three = (_text(errors) for errors in (self.ours, self.so_far, self.seven))
        held = (
            f"{100 * sum(self.held) / len(self.held):.0f} %" if len(self.held) > 1 else "yes" if self.held[0] else "no"
        )
        cells = (name, kind, str(len(self.ours)), *three, held)
        return f"| {' | '.join(cells)} |"


def run(*, quick: bool) -> Report:
    """Compare, on every series or on one of each kind."""
    groups = {"3 teams on GPUs": _teams(), "purchases": _purchases()}
    groups = {name: series[:1] if quick else series for name, series in groups.items() if series}
    rows = []
    everything: defaultdict[str, Errors] = defaultdict(Errors)
    for name, series in groups.items():
        for kind in _KINDS:
            errors = Errors()
            for case in (case for one in series for case in cases(one, kind)):
                errors.add(case)
                everything["all"].add(case)
            rows.append(errors.row(name, kind))
    rows += [errors.row("all of these", "both") for errors in everything.values()]
    for age in (1, 2, 3, 7):
        errors = Errors()
        errors.add(_run_of_age(age))
        rows.append(errors.row(f"a run, {age} d old", "month"))
    what = f"Of {sum(map(len, groups.values()))} recorded series." if groups else f"No recorded series: no {_DATA}."
    return Report([], [_NOTE.format(what=what)], ["\n".join([_HEAD, *rows])])


def ours(case: Case) -> Forecast:
    """What `monitor status` would show at that midnight."""
    now = case.period.start + timedelta(days=case.inside)
    known = trend(case.so_far, (now - timedelta(days=1)).weekday())
    if known is None:
        raise ValueError("too few days")
    return forecast(known, case.spent, Decimal(0), now, case.period)


def cases(series: Series, kind: PeriodKind) -> Iterator[Case]:
    """Every day of every period of this kind that lies in the series whole, but for those that cost nothing."""
    first, last = min(series), max(series)
    days = [series.get(first + timedelta(days=n), Decimal(0)) for n in range((last - first).days + 1)]
    for place in range(FEWEST, len(days)):
        now = midnight(first + timedelta(days=place))
        period = period_of(kind, now)
        start, end = ((edge.date() - first).days for edge in (period.start, period.end))
        if start < 0 or end > len(days) or start == place or not any(days[start:end]):
            continue
        yield Case(days[:place], place - start, period, sum(days[start:end], Decimal(0)))


def _teams() -> list[Series]:
    path = _DATA / _TEAMS
    return _daily(path, "ChargePeriodStart", "BilledCost", lambda row: row["SubAccountId"]) if path.exists() else []


def _purchases() -> list[Series]:
    paths = sorted(_DATA.glob(_PURCHASES))
    return [series for path in paths for series in _daily(path, "TimeStamp", "Value", lambda _: "")]


def _daily(path: Path, at: str, amount: str, key: Callable[[dict[str, str]], str]) -> list[Series]:
    found: defaultdict[str, defaultdict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[key(row)][date.fromisoformat(row[at][:10])] += Decimal(row[amount])
    return [found[name] for name in sorted(found)]


def _run_of_age(age: int) -> Case:
    """November 2026, and October before it."""
    period = period_of(PeriodKind.MONTH, midnight(date(2026, 11, 10)))
    days = [Decimal(100)] * (31 + 9) + [Decimal(1000)] * 21
    return Case(days[: 31 + 9 + age], 9 + age, period, sum(days[31:], Decimal(0)))


def _error(forecast_: Decimal, case: Case) -> float:
    return float(abs(forecast_ - case.total) / case.total * 100)


def _text(errors: Sequence[float]) -> str:
    if len(errors) == 1:
        return f"{errors[0]:.1f} %"
    worst = sorted(errors)[min(len(errors) - 1, len(errors) * 9 // 10)]
    return f"{median(errors):.1f} ({worst:.0f}) %"
