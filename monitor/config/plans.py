"""`[[plans]]`: training plans, each looked up in the price book, so that `monitor plan` only reckons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import DecimalException
from pathlib import Path
from typing import Any

from monitor.config import not_yet
from monitor.config.budgets import Draft
from monitor.config.checks import check_names
from monitor.config.parts import tables
from monitor.config.phases import Market, read_phase
from monitor.config.plan_tables import PhaseTable, PlanTable
from monitor.config.prices import read_prices
from monitor.config.report import Report, unknown_name
from monitor.config_lines import Loc
from monitor.errors import ConfigError, ExitCode, Problem
from monitor.training.book import PriceBook
from monitor.training.costs import ExchangeRate, currency_of
from monitor.training.local import Rig
from monitor.training.plan import Phase, Plan, project, schedule

_PHASES = 'expected a list such as [{ name = "pretrain", on = "aws:p4d.24xlarge", hours = 500 }]'
_MOST_PHASES = 200
# As much as an amount of the config may be.
_MOST_MONEY = 10**15
# For a start that could not be read.
_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class Beside:
    """What stands beside plans in a config, for them to refer to. `problems`: those of `prices.toml`."""

    def __init__(
        self, config: Path, rigs: Sequence[Rig], exchange: Sequence[ExchangeRate], budgets: Sequence[Draft]
    ) -> None:
        self.rigs, self.exchange, self.budgets = rigs, tuple(exchange), budgets
        self.problems: Sequence[Problem] = ()
        self._config = config
        self._book: PriceBook | None = None

    def market(self, table: PlanTable) -> Market | None:
        """What its phases may run on; None if `prices.toml` cannot be used, which `problems` then says."""
        if self.problems:
            return None
        if self._book is None:
            try:
                self._book, _ = read_prices(self._config)
            except ConfigError as error:
                if error.exit_code is not ExitCode.CONFIG:
                    raise  # nothing is known to be wrong with it
                self.problems = error.problems
                return None
        return Market(self._book, table.quotes, self._book.select(table.quotes, table.start), self.rigs)


def read_plans(report: Report, document: Mapping[str, Any], beside: Beside) -> tuple[Plan, ...]:
    """Every `[[plans]]` table."""
    plans, named = [], []
    for loc, raw in tables(report, document, "plans"):
        named.append((loc, raw["name"] if isinstance(raw.get("name"), str) else ""))
        table = report.validate(PlanTable, raw, loc, {"name": "", "start": _ANY_TIME, "phases": None})
        plan = None if table is None else _plan(report, table, loc, beside)
        if plan is not None:
            plans.append(plan)
    check_names(report, named)
    return tuple(plans)


def _plan(report: Report, table: PlanTable, loc: Loc, beside: Beside) -> Plan | None:
    budget = _budget(report, table, loc, beside.budgets)
    phases = _phases(report, table, loc, beside)
    if phases is None or report.has_error(loc):
        return None
    stated = None if budget is None else budget.config.currency
    currency = currency_of([phase.host for phase in phases], beside.exchange, stated)
    if currency is None:
        report.error((*loc, "phases"), _two_currencies(phases, stated))
        return None
    plan = Plan(table.name, currency, table.start, table.quotes, phases, table.budget, beside.exchange, table.deadline)
    _check_times(report, plan, loc)
    return None if report.has_error(loc) else plan


def _budget(report: Report, table: PlanTable, loc: Loc, budgets: Sequence[Draft]) -> Draft | None:
    if table.budget is None:
        return None
    known = {draft.config.name: draft for draft in budgets if draft.config.name}
    found = known.get(table.budget)
    if found is None and report.is_unread("budgets", budgets):
        return None
    if found is None:
        report.error((*loc, "budget"), unknown_name("budget", table.budget, known))
    elif found.config.each is not None:
        report.error((*loc, "budget"), f'"{table.budget}" is one budget per account; name one without `each`')
    # A budget whose own currency could not be read says nothing about that of a plan.
    return found if found is not None and found.config.currency else None


def _phases(report: Report, table: PlanTable, loc: Loc, beside: Beside) -> tuple[Phase, ...] | None:
    inside = (*loc, "phases")
    if report.has_error(inside):
        return None
    if not isinstance(table.phases, list) or not table.phases:
        report.error(inside, _PHASES)
        return None
    if len(table.phases) > _MOST_PHASES:
        report.error(inside, f"has {len(table.phases)} phases; expected at most {_MOST_PHASES}")
        return None
    read = [_table(report, item, (*inside, index)) for index, item in enumerate(table.phases)]
    check_names(
        report,
        [((*inside, index), one.name) for index, one in enumerate(read) if one is not None],
    )
    _check_order(report, table, [(index, one) for index, one in enumerate(read) if one is not None], inside)
    market = None if any(report.has_error((*loc, key)) for key in ("start", "quotes")) else beside.market(table)
    if market is None:
        return None
    found = [
        read_phase(report, market, one, table.phases[index], (*inside, index))
        for index, one in enumerate(read)
        if one is not None
    ]
    known = tuple(phase for phase in found if phase is not None)
    # One that cannot be read, even for an error elsewhere, leaves a hole that others may come after.
    return known if len(known) == len(table.phases) else None


def _table(report: Report, item: Any, loc: Loc) -> PhaseTable | None:
    if not isinstance(item, dict):
        report.error(loc, f"expected a table; {_PHASES.removeprefix('expected a list ')}")
        return None
    wanted = not_yet.without(report, item, loc, keys=not_yet.PHASE_KEYS, values={})
    return report.validate(PhaseTable, wanted, loc, {"name": ""})


def _check_order(report: Report, plan: PlanTable, phases: Sequence[tuple[int, PhaseTable]], loc: Loc) -> None:
    """Every `after` names another phase, and no phase waits for itself."""
    after = {table.name: table.after for _, table in phases if table.name}
    told: set[str] = set()
    for index, table in phases:
        at = (*loc, index, "after")
        if table.start is not None and table.start < plan.start and not report.has_error((*loc[:-1], "start")):
            report.error((*loc, index, "start"), f"is before the plan starts, {plan.start:%Y-%m-%d %H:%M} UTC")
        if table.after is None:
            continue
        if table.after not in after:
            report.error(at, unknown_name("phase", table.after, after))
            continue
        circle = _circle(table.name, after)
        if circle and not told & set(circle):
            told |= set(circle)
            report.error(at, f"the phases wait for each other in a circle: {' after '.join((*circle, circle[0]))}")


def _circle(name: str, after: Mapping[str, str | None]) -> list[str]:
    """The phases from this one back to it; empty if it is in no circle."""
    seen = [name]
    following = after.get(name)
    while following is not None and following not in seen:
        seen.append(following)
        following = after.get(following)
    return seen if following == name else []


def _two_currencies(phases: Sequence[Phase], stated: str | None) -> str:
    others = ", ".join(dict.fromkeys(phase.host.currency for phase in phases))
    if stated is not None:
        return f"are paid in {others}, the budget is in {stated}; add an [[exchange]] to {stated}"
    return f"are paid in {others}, and no [[exchange]] leads from one to the other; add one"


def _check_times(report: Report, plan: Plan, loc: Loc) -> None:
    """What only shows once it is known when each phase starts, and what it costs."""
    try:
        times = schedule(plan)
        dearest = project(plan).spread.values[-1]
    except OverflowError:
        report.error((*loc, "phases"), "end after the year 9999; give them fewer hours or more machines")
        return
    except DecimalException:
        sentence = "have amounts too large, too small or with too many digits to be multiplied exactly; round them"
        report.error((*loc, "phases"), sentence)
        return
    end = max(end for _, end in times.values())
    if plan.deadline is not None and plan.deadline <= plan.start:
        report.error((*loc, "deadline"), f"is not after the plan starts, {plan.start:%Y-%m-%d %H:%M} UTC")
    elif plan.deadline is not None and end > plan.deadline:
        report.warn((*loc, "deadline"), f"is before the plan ends, {end:%Y-%m-%d %H:%M} UTC")
    if dearest >= _MOST_MONEY:
        report.error((*loc, "phases"), "cost more than fifteen digits can say; something in them is too large")
    for index, phase in enumerate(plan.phases):
        code, start = phase.discount, times[phase.name][0]
        if code is not None and code.valid_until is not None and code.valid_until <= start:
            ended = f"{code.code} ended on {code.valid_until:%Y-%m-%d}, before this phase starts on {start:%Y-%m-%d}"
            report.error((*loc, "phases", index, "discount"), ended)
