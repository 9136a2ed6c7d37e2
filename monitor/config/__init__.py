"""config.toml -> `Config`: every problem at once, each with its line, its path, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monitor.config import not_yet
from monitor.config.budgets import BudgetTable, read_budgets
from monitor.config.checks import check
from monitor.config.hardware import read_exchange, read_local
from monitor.config.invoices import by_invoice
from monitor.config.model import BudgetConfig, Config, MonitorSection
from monitor.config.native import check_native
from monitor.config.parts import MonitorTable, Part, read_monitor, read_receivers, read_sources
from monitor.config.plans import Beside, read_plans
from monitor.config.report import Report, unknown_key
from monitor.config.runs import check_runs, settled
from monitor.config_file import PRICES_FILE, PRICES_TABLES, check_safety, find_config, parse, read, state_dir
from monitor.errors import ConfigError

__all__ = [
    "BudgetConfig",
    "BudgetTable",
    "Config",
    "MonitorSection",
    "MonitorTable",
    "find_config",
    "load",
    "state_dir",
]

_TABLES = ("monitor", "sources", "receivers", "budgets", "local", "exchange", "plans")


def load(path: Path) -> Config:
    """Read and check a whole config. Raises ConfigError with all problems; needs no secret and no network."""
    file = read(path)
    check_safety(file)
    document = parse(file)
    report = Report(file)
    _check_tables(report, document)
    monitor = read_monitor(report, document)
    sources = read_sources(report, document)
    receivers = read_receivers(report, document)
    names = [part.name for part in receivers]
    budgets = read_budgets(report, document, names)
    local, exchange = read_local(report, document), read_exchange(report, document)
    check(report, monitor, sources, receivers, budgets)
    check_native(report, sources, budgets)
    beside = Beside(path, local, exchange, budgets)
    budgets = by_invoice(report, budgets, sources)
    plans = read_plans(report, document, beside)
    check_runs(report, document, budgets)
    if report.problems or beside.problems:
        raise ConfigError([*report.problems, *beside.problems])
    return Config(
        path=path,
        monitor=_monitor_section(path, monitor, names),
        sources=_settings(sources),
        receivers=_settings(receivers),
        budgets=tuple(settled(draft.config, plans) for draft in budgets),
        local=local,
        exchange=exchange,
        plans=plans,
        warnings=report.warnings,
    )


def _check_tables(report: Report, document: Mapping[str, Any]) -> None:
    for name in document:
        if name in not_yet.TABLES:
            report.error((name,), f"[[{name}]] is {not_yet.SENTENCE}; remove it")
        elif name in PRICES_TABLES:
            report.error((name,), f"unknown key; [[{name}]] belongs into {PRICES_FILE} beside the config")
        elif name in MonitorTable.model_fields and name not in _TABLES:
            report.error((name,), f"unknown key; {name} belongs under [monitor]")
        elif name not in _TABLES:
            report.error((name,), unknown_key(name, _TABLES))


def _monitor_section(path: Path, table: MonitorTable, receivers: Sequence[str]) -> MonitorSection:
    return MonitorSection(
        state_dir=(path.parent / table.state_dir).absolute(),
        poll=table.poll,
        timezone=table.timezone,
        receivers=tuple(receivers) if table.receivers is None else table.receivers,
        heartbeat_url=table.heartbeat_url,
        native_every=table.native_every,
        native_prefix=table.native_prefix,
        drill_every=table.drill_every,
    )


def _settings(parts: Sequence[Part]) -> tuple[Any, ...]:
    return tuple(part.settings for part in parts)
