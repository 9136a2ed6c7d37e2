"""`monitor alarms`: what differs, what was done and what a drill showed, for people and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from alarms.reconcile import Change, Difference, Op, Outcome, Standing
from alarms.twins import Cannot, Step, Value, value_text
from monitor.native_drill import Drilled
from monitor.natives import Account, Survey
from monitor.status.words import one_line

_WIDTH = 80
_SIGNS = {Op.CREATE: "+", Op.UPDATE: "~", Op.DELETE: "-", Op.BLOCKED: "!"}
_WORDS = {Op.CREATE: "to create", Op.UPDATE: "to change", Op.DELETE: "to delete", Op.BLOCKED: "not ours"}
_DONE = {Op.CREATE: "created", Op.UPDATE: "changed", Op.DELETE: "deleted", Op.BLOCKED: "not ours"}


def plan_text(survey: Survey) -> str:
    """What would change, in the way of terraform; then what cannot be expressed."""
    # Where there is nothing to say, one only had to look whether something is left over.
    told = [one for one in survey.accounts if one.changes or one.standings or one.cannot]
    blocks = [_account(account) for account in told]
    blocks += [_unread(survey)] if survey.unread else []
    blocks.append(_summary([change for account in survey.accounts for change in account.changes], survey))
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def plan_json(survey: Survey, outcomes: Sequence[Outcome] | None = None) -> str:
    """The same for scripts; `outcomes`: what `apply` did."""
    document: dict[str, Any] = {
        "schema": 1,
        "pending": sum(len(account.changes) for account in survey.accounts),
        "accounts": [_account_json(account) for account in survey.accounts],
        "unread": [
            {
                "cloud": one.cloud,
                "place": one.place or None,
                "sources": list(one.sources),
                "budgets": list(one.budgets),
                "error": str(one.error),
            }
            for one in survey.unread
        ],
    }
    if outcomes is not None:
        document["done"] = [
            {**_change_json(one.change), "error": None if one.error is None else str(one.error)} for one in outcomes
        ]
    return json.dumps(document, indent=1, ensure_ascii=False)


def apply_text(survey: Survey, outcomes: Sequence[Outcome]) -> str:
    """What was done, and how it stands now."""
    lines = []
    for outcome in outcomes:
        sign = _SIGNS[outcome.change.op]
        done = _DONE[outcome.change.op] if outcome.error is None else f"FAILED: {outcome.error}"
        twin = outcome.change.twin
        lines += _wrapped(f"  {sign} {twin.kind} {twin.name}: {done}", "      ")
    if not lines:
        lines = ["Nothing was done."] if survey.unread else ["Nothing had to be done."]
    return "\n".join([*lines, "", plan_text(survey)])


def drill_text(drilled: Drilled) -> str:
    """Every step, the failed ones marked."""
    lines: list[str] = []
    for part in drilled.parts:
        lines += [f"{one_line(part.budget)} in {part.cloud} {part.place}".rstrip()]
        lines += [line for step in part.steps for line in _step(step)] + [""]
    if drilled.receivers:
        lines += ["Receivers", *(line for step in drilled.receivers.values() for line in _step(step)), ""]
    if not drilled.parts:
        lines += ["No budget has native = true: only the receivers were tried.", ""]
    lines.append("The whole way works." if drilled.ok else "Something on the way does not work.")
    return "\n".join(lines)


def drill_json(drilled: Drilled) -> str:
    """The same for scripts."""
    document = {
        "schema": 1,
        "ok": drilled.ok,
        "budgets": [
            {
                "budget": part.budget,
                "cloud": part.cloud,
                "place": part.place or None,
                "steps": [_step_json(step) for step in part.steps],
            }
            for part in drilled.parts
        ],
        "receivers": [{"name": name, **_step_json(step)} for name, step in drilled.receivers.items()],
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def _step(step: Step) -> list[str]:
    word = {True: "ok", False: "FAILED", None: "-"}[step.ok]
    return _wrapped(f"{step.what}: {step.detail}", "          ", f"  {word:<7} ")


def _step_json(step: Step) -> dict[str, Any]:
    return {"what": step.what, "ok": step.ok, "detail": step.detail}


def _account(account: Account) -> list[str]:
    lines = [f"{account.cloud} {account.place} (source {', '.join(account.sources)})"]
    for change in account.changes:
        lines += ["", *_change(change)]
    lines += ["", *_standing_lines(account.standings)]
    if account.cannot:
        lines += ["", "  Cannot be expressed there:"]
        for one in account.cannot:
            lines += _wrapped(f"    {_cannot(one)}", "      ")
    return lines


def _cannot(one: Cannot) -> str:
    threshold = f", {one.threshold}" if one.threshold else ""
    return f"{one.budget}{threshold}: {one.what}: {one.reason}"


def _standing_lines(found: Iterable[Standing]) -> list[str]:
    return [line for one in found for line in _wrapped(one.budget, "            ", f"  {one.state:<9} ")]


def _change(change: Change) -> Iterator[str]:
    twin = change.twin
    yield from _wrapped(f"  {_SIGNS[change.op]} {twin.kind} {twin.name}", "      ")
    if change.op is Op.BLOCKED:
        yield from _wrapped(f"      {change.why}", "      ")
        return
    if change.op is Op.DELETE:
        yield f"      of budget {one_line(twin.budget)}, which has none here any more"
        return
    for difference in change.differences:
        yield from _wrapped(f"      {_difference(difference)}", "          ")


def _difference(one: Difference) -> str:
    actual, wanted = _shown(one.actual), _shown(one.wanted)
    if not one.actual:
        return f"+ {one.field}: {wanted}"
    if not one.wanted:
        return f"- {one.field}: {actual}"
    return f"~ {one.field}: {actual} -> {wanted}"


def _shown(value: Value) -> str:
    return value_text(value)


def _unread(survey: Survey) -> list[str]:
    lines = ["Could not be looked at:"]
    for one in survey.unread:
        where = f"{one.cloud} {one.place}".strip()
        text = f"  {where} (source {', '.join(one.sources)}): {one.error}; no native backstop is known for "
        lines += _wrapped(text + ", ".join(one.budgets), "    ")
    return lines


def _summary(changes: Sequence[Change], survey: Survey) -> list[str]:
    if not survey.accounts and not survey.unread:
        return ["No budget has native = true, and nothing is left over."]
    counts = [
        f"{sum(c.op is op for c in changes)} {word}" for op, word in _WORDS.items() if any(c.op is op for c in changes)
    ]
    return [f"Plan: {', '.join(counts)}."] if counts else ["Nothing to change."] if survey.accounts else []


def _account_json(account: Account) -> dict[str, Any]:
    return {
        "cloud": account.cloud,
        "place": account.place,
        "sources": list(account.sources),
        "changes": [_change_json(change) for change in account.changes],
        "budgets": [
            {"budget": one.budget, "state": one.state.value, "detail": one.detail} for one in account.standings
        ],
        "cannot": [
            {"budget": one.budget, "threshold": one.threshold or None, "what": one.what, "reason": one.reason}
            for one in account.cannot
        ],
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "op": change.op.value,
        "kind": change.twin.kind,
        "name": change.twin.name,
        "budget": change.twin.budget,
        "why": change.why or None,
        "fields": [
            {"field": one.field, "actual": _value_json(one.actual), "wanted": _value_json(one.wanted)}
            for one in change.differences
        ],
    }


def _value_json(value: Value) -> Any:
    return None if not value else value if isinstance(value, str) else list(value)


def _wrapped(text: str, indent: str, lead: str | None = None) -> list[str]:
    """`lead`: what the first line begins with, as it stands; None: the spaces of the text."""
    lead = text[: len(text) - len(text.lstrip())] if lead is None else lead
    # Names inside a cloud may have been written by anybody.
    return textwrap.wrap(one_line(text), _WIDTH, initial_indent=lead, subsequent_indent=indent, break_on_hyphens=False)
