"""Budgets and the plans that name them: when a run begins and ends, and what needs a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from alarms.model import OPEN_END, On
from monitor.config.budgets import Draft
from monitor.config.model import BudgetConfig
from monitor.config.report import Report
from monitor.period import Run, day_of
from monitor.training.plan import P90, Plan, schedule

# Runs take longer than planned, and their bills come late: a budget watches as long again as the plan takes, and a week
# at least. Whoever knows better changes the plan.
_SHORTEST_TAIL = timedelta(days=7)

_BY_PLAN = (On.PLAN.value, On.AT_COMPLETION.value)
_NO_RUN = (
    'a run needs to be named: by a plan (budget = "{name}" in a [[plans]] table), or here by '
    'scope = {{ run = "…" }}, the value of the run tag'
)
_NO_PLAN = 'on = "{on}" needs a plan: add budget = "{name}" to a [[plans]] table'
_NO_END = 'a run has no end that a {word} could be made for; use on = "at_completion" or on = "plan", with a plan'


def check_runs(report: Report, document: Mapping[str, Any], drafts: Sequence[Draft]) -> None:
    """Report runs that nothing names, and thresholds that lack the plan they compare with."""
    planned = _named(document)
    for draft in drafts:
        config = draft.config
        # A budget without a readable name cannot be named.
        if not config.name:
            continue
        runs = isinstance(config.period, Run)
        if runs and config.name not in planned and not config.scope.run and not report.has_error((*draft.loc, "scope")):
            report.error((*draft.loc, "period"), _NO_RUN.format(name=config.name))
        for loc, threshold in zip(draft.threshold_locs, config.thresholds, strict=True):
            by_progress = threshold.on == On.AT_COMPLETION and runs and len(config.scope.run) == 1
            if threshold.on in _BY_PLAN and config.name not in planned and not by_progress:
                # With one run in its scope, that may say itself how far it is.
                report.error((*loc, "on"), _NO_PLAN.format(on=threshold.on, name=config.name))
            elif runs and threshold.on in (On.FORECAST, On.BURN_RATE):
                report.error((*loc, "on"), _NO_END.format(word=threshold.on.replace("_", " ")))


def settled(config: BudgetConfig, plans: Sequence[Plan]) -> BudgetConfig:
    """The budget with the start and the end of its run, as its plans say; as it is, if it is not for a run."""
    mine = [plan for plan in plans if plan.budget == config.name]
    if not isinstance(config.period, Run) or not mine:
        return config
    start = min(day_of(begin).start for plan in mine for begin, _ in schedule(plan).values())
    end = None if config.period.by_charges else _end(mine)
    return replace(config, period=replace(config.period, start=start, end=end))


def _end(plans: Sequence[Plan]) -> datetime | None:
    """When the last of them is no longer watched; None: it is not known how long one takes."""
    if any(phase.duration is None for plan in plans for phase in plan.phases):
        return None
    try:
        ends = [(plan.start, max(end for _, end in schedule(plan, P90).values())) for plan in plans]
        last = max(end + max(end - start, _SHORTEST_TAIL) for start, end in ends)
    except OverflowError:
        return None
    return day_of(last - timedelta(microseconds=1)).end if last < OPEN_END else None


def _named(document: Mapping[str, Any]) -> frozenset[str]:
    """The budgets that plans name, whether or not these plans can be read."""
    plans = document.get("plans")
    names = [plan.get("budget") for plan in plans if isinstance(plan, dict)] if isinstance(plans, list) else []
    return frozenset(name for name in names if isinstance(name, str))
