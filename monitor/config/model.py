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
from alarms.twins import PREFIX
from monitor.errors import Problem
from monitor.model import Basis, Scope
from monitor.period import Calendar
from monitor.ports import SourceDefaults
from monitor.training.costs import ExchangeRate
from monitor.training.local import Rig
from monitor.training.plan import Plan


@dataclass(frozen=True, slots=True)
class MonitorSection:
    """`[monitor]`. `state_dir` is absolute; `receivers` are those of the daemon's own alarms.

    `native_every`: how often twins are looked at. `native_prefix`: how their names begin. `drill_every`: how old a
    drill may be.
    """

    state_dir: Path
    poll: timedelta
    timezone: str
    receivers: tuple[str, ...]
    heartbeat_url: SecretRef | None = None
    native_every: timedelta = timedelta(hours=1)
    native_prefix: str = PREFIX
    drill_every: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """One `[[budgets]]`. `period`: a kind, or fixed dates. `each` "account": one per account seen.

    `repeat` None for a severity: never repeated. `native`: it has twins inside its clouds; `manage`: they are mended.
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
    native: bool = False
    manage: bool = False


INLINE_SECRET = 'a secret stands in the config itself; "env:NAME", "file:/path" or "credential:NAME" is safer'  # noqa: S105 - it is none itself


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

    @property
    def remarks(self) -> tuple[Problem, ...]:
        """The warnings for any command in passing; of secrets in the file `check-config` and `run` warn."""
        return tuple(one for one in self.warnings if one.message != INLINE_SECRET)
