"""A drill is over in time, whatever a cloud does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from alarms.errors import AccessError
from alarms.twins import Owned, Step, Twin
from monitor import native_drill
from monitor.clock import FixedClock
from monitor.config import load
from monitor.natives import Account, Natives, Survey

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
CONFIG = """
[[sources]]
name = "aws"
type = "aws_cloudwatch"
"""


@dataclass
class Cloud:
    """A native whose drill ends when `over` is set, by raising `error` if there is one."""

    over: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def drill(self, twins: Sequence[Twin]) -> list[Step]:
        self.asked += [twin.budget for twin in twins]
        self.over.wait()
        if self.error is not None:
            raise self.error
        return [Step("alarm", ok=True, detail="has called") for _ in twins]


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    made = Cloud()
    yield made
    made.over.set()


def drill(tmp_path: Path, *natives: Any) -> native_drill.Drilled:
    """Of two budgets with a twin each in the account of each of these."""
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    budgets = ("training", "serving")
    accounts = [
        Account(
            cloud="aws",
            place=str(number),
            sources=("aws",),
            native=native,
            budgets=budgets,
            managed=frozenset(),
            twins=(),
            cannot=(),
            owned=Owned(tuple(Twin("alarm", f"p/{budget}", budget, {}) for budget in budgets), {}),
            changes=(),
        )
        for number, native in enumerate(natives)
    ]
    seen = mock.Mock(spec=Natives)
    seen.survey.return_value = Survey(accounts=accounts)
    return native_drill.run(load(path), seen, (), FixedClock(NOW), everybody=False)


def test_a_cloud_that_hangs_ends_the_drill_of_its_account_alone(
    tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_drill, "_BUDGET_S", 0.2)
    monkeypatch.setattr(native_drill, "_TWIN_S", 0.1)
    answering = Cloud()
    answering.over.set()
    drilled = drill(tmp_path, cloud, answering)
    assert [(part.place, part.budget, [step.ok for step in part.steps]) for part in drilled.parts] == [
        ("0", "training", [False]),
        ("0", "serving", [False]),
        ("1", "training", [True]),
        ("1", "serving", [True]),
    ]
    assert cloud.asked == ["training"]
    for row in drilled.rows[:2]:
        assert row["drill_detail"] == "twins: not tried to the end: aws 0 gave no complete answer within 0.3 s"
    assert drilled.ok is False


def test_what_ends_a_drill_early_is_a_step_that_failed(tmp_path: Path, cloud: Cloud) -> None:
    cloud.error = AccessError("no credentials")
    cloud.over.set()
    drilled = drill(tmp_path, cloud)
    assert [row["drill_detail"] for row in drilled.rows] == ["twins: not tried to the end: no credentials"] * 2
