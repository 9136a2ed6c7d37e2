"""`monitor plan`: every plan reckoned and set against what is left in its budget, and the answer for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from alarms.money import plain, with_cents
from monitor.clock import to_text
from monitor.comparison import plan_named, quote_json
from monitor.config import Config
from monitor.period import period_of
from monitor.plan_spend import Booked, booked
from monitor.training.book import PriceBook
from monitor.training.gate import Limit, Verdict, Way, judge, ways_to_fit
from monitor.training.model import Quote
from monitor.training.plan import P10, P50, P90, PhaseCost, Plan, Projection, project


@dataclass(frozen=True, slots=True)
class Answer:
    """One plan. `verdict` None: it names no budget. `ways`: what would fit, if it does not. `ledger`: of its budget."""

    projection: Projection
    verdict: Verdict | None = None
    ways: tuple[Way, ...] = ()
    ledger: Booked | None = None

    @property
    def fits(self) -> bool | None:
        """Whether it fits its budget; None without one."""
        return None if self.verdict is None else self.verdict.fits


def answer(config: Config, name: str | None, book: Callable[[], PriceBook], state: Path, now: datetime) -> list[Answer]:
    """The plans of a config, or the one of this name. Raises UserError, StoreError. The store is only read.

    `book`: what else could be bought; not asked for where every plan fits.
    """
    wanted = config.plans if name is None else (plan_named(name, config.plans),)
    return [_answer(config, plan, book, state, now) for plan in wanted]


def as_json(answers: Iterable[Answer]) -> str:
    """The document for scripts, schema 1."""
    document = {"schema": 1, "plans": [_plan(one) for one in answers]}
    return json.dumps(document, indent=1, ensure_ascii=False)


def _answer(config: Config, plan: Plan, book: Callable[[], PriceBook], state: Path, now: datetime) -> Answer:
    projection = project(plan)
    budget = next((budget for budget in config.budgets if budget.name == plan.budget), None)
    if budget is None:
        return Answer(projection)
    since = period_of(budget.period, min(phase.start for phase in projection.phases)).start
    ledger = booked(config, budget, state, since, now)
    limit = Limit(budget.name, budget.period, budget.amount, ledger.spent, ledger.until)
    verdict = judge(projection, limit)
    if verdict.fits:
        return Answer(projection, verdict, ledger=ledger)
    ways = tuple(ways_to_fit(projection, limit, book().choose(plan.which, plan.start)))
    return Answer(projection, verdict, ways, ledger)


def _plan(one: Answer) -> dict[str, Any]:
    projection = one.projection
    verdict = one.verdict
    return {
        "name": projection.plan.name,
        "currency": projection.plan.currency,
        "total": with_cents(projection.total),
        "p10": with_cents(projection.quantile(P10)),
        "p50": with_cents(projection.quantile(P50)),
        "p90": with_cents(projection.quantile(P90)),
        "spread_from": list(projection.doubts),
        "budget": projection.plan.budget,
        "left_in_budget": None if verdict is None else with_cents(verdict.left),
        "fits": one.fits,
        "period": None if verdict is None else _period(verdict),
        "start": to_text(min(phase.start for phase in projection.phases)),
        "end": to_text(projection.end),
        "deadline": None if projection.plan.deadline is None else to_text(projection.plan.deadline),
        "phases": [_phase(phase) for phase in projection.phases],
        "curve": [{"at": to_text(at), "planned": with_cents(amount)} for at, amount in projection.curve],
        "would_fit": [_way(way) for way in one.ways],
    }


def _period(verdict: Verdict) -> dict[str, str | None]:
    period = verdict.period
    return {
        "start": to_text(period.start),
        "end": None if period.is_open else to_text(period.end),
        "p90": with_cents(verdict.share),
        "p90_since": None if verdict.since is None else to_text(verdict.since),
    }


def _phase(cost: PhaseCost) -> dict[str, Any]:
    phase = cost.phase
    host = phase.host
    return {
        "name": phase.name,
        "on": phase.on,
        "pricing": host.pricing.value if isinstance(host, Quote) else None,
        "count": phase.count,
        "hours": None if phase.duration is None else plain(phase.duration.quantile(P50)),
        "gpu": host.gpu if isinstance(host, Quote) else host.gpu.name,
        "gpu_hours": plain(phase.gpu_hours.quantile(P50)),
        "scope": phase.extent.value,
        "rate_per_hour": plain(cost.rate_per_hour),
        "cost": with_cents(cost.cost),
        "p10": with_cents(cost.quantile(P10)),
        "p90": with_cents(cost.quantile(P90)),
        "amortised": None if cost.amortised is None else plain(cost.amortised),
        "start": to_text(cost.start),
        "end": to_text(cost.end),
        "quote": quote_json(host) if isinstance(host, Quote) else {"source": "config", "as_of": None},
        "flags": list(cost.flags),
        "not_counted": [] if isinstance(host, Quote) else list(host.not_counted),
    }


def _way(way: Way) -> dict[str, Any]:
    phase = way.phase.phase.name
    if way.quote is None:
        key = "hours" if way.unit == "hours" else "gpu_hours"
        return {"phase": phase, key: None if way.hours is None else plain(way.hours)}
    return {"phase": phase, "on": way.quote.offer, "pricing": way.quote.pricing.value, "p90": with_cents(way.p90)}
