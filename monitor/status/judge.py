"""From stored facts to the status: one state, its exit code, and every reason for it. Pure.

The facts document is what the store keeps in its `facts` row; the result is what `monitor status --json` prints. What
cannot be understood raises (KeyError, TypeError, ValueError ...): the caller then says UNKNOWN.
"""

from __future__ import annotations

from datetime import datetime

from alarms.money import parse_amount, plain, total
from monitor.clock import to_text
from monitor.status import natives, parts, sources
from monitor.status.words import Problem, worst

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from typing import Any

SCHEMA = 1
_SUMMED_UP = 2


def judge(
    document: dict[str, Any] | None,
    now: datetime,
    *,
    running: bool | None,
    receivers: list[dict[str, Any]] | None = None,
    budget: str | None = None,
    trouble: Problem | None = None,
) -> dict[str, Any]:
    """The status as of `now`.

    `document`: the stored facts, None if there are none. `running` None: whether a daemon runs cannot be told.
    `receivers`: newer than those of the document. `budget`: this one only (or all that `each` has made of it), with the
    sources that feed it. `trouble`: what was wrong with getting at the facts.
    """
    facts = document or {}
    view = _view(facts, now, budget)
    if receivers is not None:
        view["receivers"] = receivers
    no_facts = document is None and trouble is not None
    turn = [] if no_facts else [*parts.turn_problems(facts, now, running=running)]
    problems = [*([trouble] if trouble else []), *turn, *_problems(view, now)]
    problems.sort(key=lambda problem: -problem.state.rank)
    state = worst(problem.state for problem in problems)
    return {
        "schema": SCHEMA,
        "state": state,
        "exit_code": state.exit_code,
        "summary": _summary(problems, view["budgets"]),
        "as_of": to_text(now),
        "daemon": {"running": running, "last_turn": facts.get("turn_at")},
        **view,
        "self_cost": _self_cost(facts.get("sources", [])),
        "problems": [{"state": problem.state, "text": problem.text, "do": problem.do} for problem in problems],
        "timezone": facts.get("timezone", "UTC"),
    }


def _view(facts: dict[str, Any], now: datetime, budget: str | None) -> dict[str, Any]:
    def wanted(name: str) -> bool:
        return budget is None or parts.belongs(name, budget)

    chosen = [row for row in facts.get("budgets", []) if wanted(row["name"])]
    feeding = {name for row in chosen for name in row["sources"]}
    read = [
        sources.source_row(row, now) for row in facts.get("sources", []) if budget is None or row["name"] in feeding
    ]
    silences = [row for row in facts.get("silences", []) if parts.is_quiet(row, now)]

    def quiet(name: str) -> str:
        return parts.quiet_text(name, silences, facts.get("timezone", "UTC"))

    return {
        "sources": read,
        "budgets": [parts.budget_row(row, read, quiet(row["name"]), now=now) for row in chosen],
        "silences": [row for row in silences if budget is None or parts.covers(row, budget) or wanted(row["budget"])],
        "receivers": facts.get("receivers", []),
        "native": [row for row in facts.get("native", []) if wanted(row["budget"])],
        "health": [row for row in facts.get("health", []) if not _told_by_its_row(row, facts)],
    }


def _told_by_its_row(health: dict[str, Any], facts: dict[str, Any]) -> bool:
    """Whether a fault is that of a source, a receiver or a twin: their own rows are judged, as of now."""
    kinds = (("source", "sources"), ("receiver", "receivers"))
    prefixes = tuple(f"{kind} {row['name']}: " for kind, rows in kinds for row in facts.get(rows, []))
    prefixes += tuple(natives.native_subject(row) for row in facts.get("native", []))
    return str(health["subject"]).startswith(prefixes)


def _problems(view: dict[str, Any], now: datetime) -> list[Problem]:
    """In the order in which a person wants to know, among equals."""
    budgets = parts.most_used_first(view["budgets"])
    return [
        *(problem for row in budgets for problem in parts.budget_problems(row)),
        *(problem for row in view["receivers"] for problem in parts.receiver_problems(row, now)),
        *(problem for row in view["sources"] for problem in sources.source_problems(row, now)),
        *parts.health_problems(view["health"]),
        *natives.native_problems(view["native"], now),
        *(problem for row in budgets for problem in parts.missing_data_problems(row)),
    ]


def _summary(problems: list[Problem], budgets: list[dict[str, Any]]) -> str:
    if problems:
        texts = [problem.text for problem in problems[:_SUMMED_UP]]
        more = [f"{len(problems) - _SUMMED_UP} more"] if len(problems) > _SUMMED_UP else []
        return "; ".join(texts + more)
    if not budgets:
        return "all well; no budget is configured"
    most = parts.most_used_first(budgets)[0]
    noun = "1 budget" if len(budgets) == 1 else f"{len(budgets)} budgets"
    return f"{noun} within limits; {parts.used_text(most)}"


def _self_cost(rows: list[dict[str, Any]]) -> dict[str, Any]:
    cost = total(parse_amount(row.get("cost_usd", "0")) for row in rows)
    return {"usd_this_month": plain(cost), "calls_this_month": sum(row.get("calls", 0) for row in rows)}
