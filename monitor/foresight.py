"""What the plans of each budget foresee, and what its run says of itself, beside what was spent.

Plans are reckoned once for a config.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from alarms.model import Foreseen, Period, Reading
from alarms.money import EXACT, total
from monitor.config.model import BudgetConfig, Config
from monitor.model import Progress
from monitor.period import Run
from monitor.training.model import PRECISE
from monitor.training.plan import Projection, project

# Finer than that no plan is; and amounts must stay short enough to be multiplied exactly.
_MICRO = Decimal("1E-6")
# Before that a run has spent on setting out, not on steps: what the whole costs cannot be told from so little of it.
_TELLS_FROM = Decimal("0.05")
# A run that has said nothing for longer has stopped, or stopped to report.
_TELLS_FOR = timedelta(days=7)

# instant -> what was spent until then
Spent = Callable[[datetime], Decimal | None]
# What runs said of themselves, by name, the oldest first.
Told = Mapping[str, Sequence[Progress]]


class _Done(NamedTuple):
    """How much of the work was done, and when. `said_at`: when the run said so, if it may be further by now."""

    at: datetime
    share: Decimal
    said_at: datetime | None


class Foresight:
    """The plans and runs of one config. Raises what `project` raises."""

    def __init__(self, config: Config) -> None:
        self._projections: dict[str, list[Projection]] = defaultdict(list)
        for plan in config.plans:
            if plan.budget is not None:
                self._projections[plan.budget].append(project(plan))
        self._runs = {budget.name: runs_of(budget, config) for budget in config.budgets}

    def extend(self, reading: Reading, config: BudgetConfig, told: Told, spent: Spent) -> Reading:
        """The reading with what is foreseen as of its `as_of`."""
        plans, reports = self._projections.get(config.name, ()), self._reports(config, told)
        if reading.as_of is None or not (plans or reports):
            return reading
        so_far = spent(reading.as_of)
        foreseen = _by_plan(plans, reading.period, reading.as_of, so_far) if plans else Foreseen(None, so_far, None)
        return replace(reading, foreseen=_by_progress(foreseen, _known_at(reports, reading.as_of), spent))

    def newest(self, config: BudgetConfig, told: Told) -> Progress | None:
        """What the run of a budget said last."""
        return next(reversed(self._reports(config, told)), None)

    def _reports(self, config: BudgetConfig, told: Told) -> list[Progress]:
        mine = (one for name in self._runs[config.name] for one in told.get(name, ()))
        return sorted(mine, key=lambda one: one.at)


def runs_of(budget: BudgetConfig, config: Config) -> tuple[str, ...]:
    """The names under which the one run of a budget may report: that in its scope, that of its plan.

    None of a budget that is for no run, or for several: how far all of them are cannot be told from that.
    """
    plans = [plan.name for plan in config.plans if plan.budget == budget.name]
    if not isinstance(budget.period, Run) or len(plans) > 1 or len(budget.scope.run) > 1:
        return ()
    return tuple(dict.fromkeys((*budget.scope.run, *plans)))


def _by_plan(projections: Sequence[Projection], period: Period, at: datetime, spent: Decimal | None) -> Foreseen:
    planned = _planned(projections, period, at)
    to_come = EXACT.subtract(_planned(projections, period, period.end), planned)
    return Foreseen(planned, spent, None if spent is None else EXACT.add(spent, to_come))


def _planned(projections: Sequence[Projection], period: Period, until: datetime) -> Decimal:
    """What is planned to be spent in a period until an instant, to a millionth."""
    if until <= period.start:
        return Decimal(0)
    over = until >= period.end
    parts = (
        EXACT.subtract(
            one.planned(period.end, before=True) if over else one.planned(until),
            one.planned(period.start, before=True),
        )
        for one in projections
    )
    return total(parts).quantize(_MICRO, context=PRECISE)


def _by_progress(foreseen: Foreseen, done: _Done | None, spent: Spent) -> Foreseen:
    """As the run says: if so much was spent for a share of the work, the whole costs so much."""
    if done is None or foreseen.spent is None:
        return foreseen
    then = foreseen.spent if done.share == 1 else spent(done.at)
    if then is None:
        return foreseen
    in_the_end = PRECISE.divide(then, done.share).quantize(_MICRO, context=PRECISE)
    # What is spent is spent, whatever was done for it.
    return replace(foreseen, at_completion=max(foreseen.spent, in_the_end), done=done.share, done_at=done.said_at)


def _known_at(reports: Sequence[Progress], as_of: datetime) -> _Done | None:
    """How much was done where data ends, and when: between two reports in a straight line, else as last said before.

    None: it had said nothing by then, was not far enough to tell, or has said nothing for too long.
    """
    before = [one for one in reports if one.at <= as_of]
    if not before:
        return None
    last, after = before[-1], next((one for one in reports if one.at > as_of), None)
    at, share = last.at, _share(last)
    if after is not None:
        passed = PRECISE.divide(_micros(as_of - at), _micros(after.at - at))
        at, share = as_of, PRECISE.add(share, PRECISE.multiply(passed, PRECISE.subtract(_share(after), share)))
    silent = share < 1 and as_of - at > _TELLS_FOR
    if silent or share < _TELLS_FROM:
        return None
    return _Done(at, share, None if share == 1 or after is not None else at)


def _share(report: Progress) -> Decimal:
    return PRECISE.divide(Decimal(report.step), Decimal(report.steps))


def _micros(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(microseconds=1))
