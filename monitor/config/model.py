"""What a checked config is: plain values, for everyone who needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from alarms.model import Severity, Threshold
from alarms.secrets import SecretRef
from alarms.settings import ReceiverSettings
from monitor.errors import Problem
from monitor.model import Basis, Scope
from monitor.period import Calendar
from monitor.ports import SourceDefaults
from monitor.training.costs import ExchangeRate
from monitor.training.local import Rig
from monitor.training.plan import Plan


@dataclass(frozen=True, slots=True)
class MonitorSection:
    """`[monitor]`. `state_dir` is absolute; `receivers` are those of the daemon's own alarms."""

    state_dir: Path
    poll: timedelta
    timezone: str
    receivers: tuple[str, ...]
    heartbeat_url: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """One `[[budgets]]`. `period`: a kind, or fixed dates. `each` "account": one per account seen.

    `repeat` None for a severity: never repeated.
    """

    name: str
    amount: Decimal
    currency: str
    period: Calendar
    scope: Scope
    each: str | None
    receivers: tuple[str, ...]
    thresholds: tuple[Threshold, ...]
    repeat: Mapping[Severity, timedelta | None]
    basis: Basis = Basis.GROSS


@dataclass(frozen=True, slots=True)
class Config:
    """A whole config without errors. `sources` and `receivers` are the `Settings` of their modules."""

    path: Path
    monitor: MonitorSection
    sources: tuple[SourceDefaults, ...]
    receivers: tuple[ReceiverSettings, ...]
    budgets: tuple[BudgetConfig, ...]
    local: tuple[Rig, ...] = ()
    exchange: tuple[ExchangeRate, ...] = ()
    plans: tuple[Plan, ...] = ()
    warnings: tuple[Problem, ...] = ()
