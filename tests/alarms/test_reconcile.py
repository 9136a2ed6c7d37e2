"""What differs between twins that should be and those that are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alarms.errors import PermanentError
from alarms.reconcile import Op, TwinState, carry_out, compare, differences, standings
from alarms.twins import Cannot, Owned, Twin, slug

ALARM = Twin("alarm", "p/training/80", "training", {"Threshold": "80", "Actions": ("a", "b")})
OTHER = Twin("alarm", "p/training/100", "training", {"Threshold": "100"})
GONE = Twin("budget", "p/old", "old", {"Limit": "1 USD"})


def test_the_same_needs_nothing_however_nothing_is_written() -> None:
    empty = replace(ALARM, fields={**ALARM.fields, "OKActions": (), "Unit": ""})
    assert compare([ALARM], Owned((empty,))) == ()
    assert compare([empty], Owned((ALARM,))) == ()


def test_first_what_watches_more_then_what_is_left_over() -> None:
    drifted = replace(ALARM, fields={**ALARM.fields, "Threshold": "8000", "Unit": "Bytes"})
    changes = compare([ALARM, OTHER], Owned((GONE, drifted)))
    assert [(change.op, change.twin.name) for change in changes] == [
        (Op.CREATE, OTHER.name),
        (Op.UPDATE, ALARM.name),
        (Op.DELETE, GONE.name),
    ]
    assert [(one.field, one.actual, one.wanted) for one in changes[1].differences] == [
        ("Threshold", "8000", "80"),
        ("Unit", "Bytes", ""),
    ]


def test_what_has_our_name_but_not_our_tag_is_left_alone() -> None:
    (change,) = compare([ALARM], Owned((), {ALARM.key: "it is somebody else's"}))
    assert (change.op, change.why) == (Op.BLOCKED, "it is somebody else's")
    calls: list[str] = []
    carry_out(Recorder(calls), [change])
    assert calls == []


@pytest.mark.parametrize(
    ("wanted", "there", "state", "words"),
    [
        ([ALARM], [ALARM], TwinState.IN_SYNC, ""),
        ([ALARM], [], TwinState.MISSING, "alarm p/training/80 is not there"),
        ([ALARM, OTHER], [], TwinState.MISSING, "and 1 more"),
        ([ALARM], [replace(ALARM, fields={"Threshold": "80"})], TwinState.DRIFTED, "Actions differs"),
        ([ALARM], [ALARM, OTHER], TwinState.DRIFTED, "alarm p/training/100 is left over"),
        ([ALARM, OTHER], [replace(ALARM, fields={})], TwinState.MISSING, "alarm p/training/100 is not there"),
        ([], [], TwinState.MISSING, "nothing of it can be expressed there (AWS budget: no weeks)"),
    ],
)
def test_how_a_budget_stands(wanted: list[Twin], there: list[Twin], state: TwinState, words: str) -> None:
    cannot = [Cannot("training", "", "AWS budget", "no weeks")]
    (standing,) = standings(["training"], wanted, cannot, compare(wanted, Owned(tuple(there))))
    assert (standing.budget, standing.state) == ("training", state)
    assert words in standing.detail


def test_a_budget_that_is_gone_has_drifted_as_long_as_something_is_left() -> None:
    found = standings(["training"], [ALARM], [], compare([ALARM], Owned((ALARM, GONE))))
    assert [(one.budget, one.state) for one in found] == [
        ("training", TwinState.IN_SYNC),
        ("old", TwinState.DRIFTED),
    ]


class Recorder:
    cloud = "fake"

    def __init__(self, calls: list[str], failing: str = "") -> None:
        self._calls = calls
        self._failing = failing

    def __getattr__(self, name: str) -> object:
        def call(*twins: Twin) -> None:
            if twins[-1].name == self._failing:
                raise PermanentError("no")
            self._calls.append(f"{name} {twins[-1].name}")

        return call


def test_what_fails_keeps_nothing_else_from_being_done() -> None:
    calls: list[str] = []
    drifted = replace(ALARM, fields={})
    outcomes = carry_out(Recorder(calls, OTHER.name), compare([ALARM, OTHER], Owned((drifted, GONE))))
    assert calls == [f"update {ALARM.name}", f"delete {GONE.name}"]
    assert [outcome.error is None for outcome in outcomes] == [False, True, True]


def test_differences_name_every_field_once() -> None:
    assert [one.field for one in differences(None, ALARM)] == ["Threshold", "Actions"]
    assert [one.field for one in differences(ALARM, None)] == ["Threshold", "Actions"]


def test_two_names_that_are_cut_to_the_same_stay_two() -> None:
    long = ["x" * 200 + end for end in ("a", "b")]
    assert len({slug(name, 60) for name in long}) == 2
    assert max(len(slug(name, 60)) for name in long) == 60
    assert slug("training", 60) == "training"
    assert len({slug(name, 60) for name in ("a/b", "a:b", "a-b")}) == 3
    assert slug("ein/action/x", 60).count("/") == 0
