"""What differs between the twins that should be and those that are, and how each budget stands by that.

Pure, but for `carry_out`, which lets a native do it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from alarms.errors import OutsideError
from alarms.ports import Native
from alarms.terms import INEXPRESSIBLE
from alarms.twins import Cannot, Owned, Twin, Value


class Op(StrEnum):
    """What has to be done. BLOCKED: something that is not ours has the name, and is left alone."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    BLOCKED = "blocked"


class TwinState(StrEnum):
    """How the twins of a budget stand in one cloud."""

    IN_SYNC = "IN_SYNC"
    DRIFTED = "DRIFTED"
    MISSING = "MISSING"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not as it should be."""

    field: str
    actual: Value
    wanted: Value


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do. `actual` None: there is none; `wanted` None: there should be none. `why`: of a BLOCKED one."""

    op: Op
    actual: Twin | None
    wanted: Twin | None
    differences: tuple[Difference, ...] = ()
    why: str = ""

    @property
    def twin(self) -> Twin:
        """That which it is about."""
        twin = self.wanted or self.actual
        if twin is None:
            raise ValueError("a change of nothing")
        return twin


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a change; `error` None: done."""

    change: Change
    error: OutsideError | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the twins of a budget stand, and a sentence about it ("" when they are as they should be)."""

    budget: str
    state: TwinState
    detail: str = ""


_NOTHING: Value = ""
# First what lets somebody hear more, then what is left over: at no instant is less watched than before.
_ORDER = {Op.CREATE: 0, Op.UPDATE: 1, Op.BLOCKED: 2, Op.DELETE: 3}


def compare(wanted: Iterable[Twin], owned: Owned) -> tuple[Change, ...]:
    """Everything that has to be done, in the order in which it should be."""
    there = {twin.key: twin for twin in owned.twins}
    should = {twin.key: twin for twin in wanted}
    changes = []
    for key, twin in should.items():
        actual = there.get(key)
        if actual is not None:
            if differing := differences(actual, twin):
                changes.append(Change(Op.UPDATE, actual, twin, differing))
        elif key in owned.foreign:
            changes.append(Change(Op.BLOCKED, None, twin, why=owned.foreign[key]))
        else:
            changes.append(Change(Op.CREATE, None, twin, differences(None, twin)))
    changes += [
        Change(Op.DELETE, twin, None, differences(twin, None)) for key, twin in there.items() if key not in should
    ]
    return tuple(sorted(changes, key=lambda change: (_ORDER[change.op], change.twin.key)))


def differences(actual: Twin | None, wanted: Twin | None) -> tuple[Difference, ...]:
    """Field by field; a field that one of them does not have is nothing there."""
    before = {} if actual is None else actual.fields
    after = {} if wanted is None else wanted.fields
    return tuple(
        Difference(name, before.get(name, _NOTHING), after.get(name, _NOTHING))
        for name in dict.fromkeys((*after, *before))
        if (before.get(name) or _NOTHING) != (after.get(name) or _NOTHING)
    )


def standings(
    budgets: Iterable[str], wanted: Iterable[Twin], cannot: Iterable[Cannot], changes: Sequence[Change]
) -> list[Standing]:
    """How each of these budgets stands, and each that is not among them but has left something behind."""
    twins = {twin.budget for twin in wanted}
    reasons: dict[str, str] = {}
    for one in cannot:
        reasons.setdefault(one.budget, f"{one.what}: {one.reason}")
    named = list(dict.fromkeys((*budgets, *(change.twin.budget for change in changes))))
    return [_standing(name, [c for c in changes if c.twin.budget == name], twins, reasons.get(name)) for name in named]


def carry_out(native: Native, changes: Iterable[Change]) -> list[Outcome]:
    """Do what has to be done; what fails keeps nothing else from being done."""
    outcomes = []
    for change in changes:
        try:
            _carry_out(native, change)
        except OutsideError as error:
            outcomes.append(Outcome(change, error))
        else:
            outcomes.append(Outcome(change))
    return outcomes


def _carry_out(native: Native, change: Change) -> None:
    if change.wanted is None:
        native.delete(change.twin)
    elif change.op is Op.CREATE:
        native.create(change.wanted)
    elif change.actual is not None:
        native.update(change.actual, change.wanted)


def _standing(budget: str, changes: Sequence[Change], twins: set[str], reason: str | None) -> Standing:
    missing = [change for change in changes if change.op in (Op.CREATE, Op.BLOCKED)]
    if missing:
        first = missing[0]
        return Standing(budget, TwinState.MISSING, first.why or f"{_named(first)} is not there{_more(missing)}")
    if changes:
        first = changes[0]
        detail = f"{_named(first)} is left over" if first.wanted is None else f"{_named(first)}: {_fields(first)}"
        return Standing(budget, TwinState.DRIFTED, f"{detail}{_more(changes)}")
    if budget not in twins:
        why = f" ({reason})" if reason else ""
        return Standing(budget, TwinState.MISSING, f"{INEXPRESSIBLE}{why}")
    return Standing(budget, TwinState.IN_SYNC)


def _named(change: Change) -> str:
    return f"{change.twin.kind} {change.twin.name}"


def _fields(change: Change) -> str:
    names = [difference.field for difference in change.differences]
    return f"{', '.join(names)} differ" if len(names) > 1 else f"{names[0]} differs"


def _more(changes: Sequence[Change]) -> str:
    return f", and {len(changes) - 1} more" if len(changes) > 1 else ""
