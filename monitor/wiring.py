"""What a config says of the world outside, made ready: sources, receivers, the heartbeat's address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from zoneinfo import ZoneInfo

from alarms import registry as receivers_registry
from alarms.errors import OutsideError
from alarms.ports import Notifier
from monitor import heartbeat
from monitor import registry as sources_registry
from monitor.clock import Clock
from monitor.config.model import Config
from monitor.errors import ConfigError, Problem
from monitor.ports import BillingSource


def outside(config: Config, clock: Clock) -> tuple[list[BillingSource], dict[str, Notifier]]:
    """What a config says of the world outside, made ready. Raises ConfigError."""
    problem = heartbeat.problem_of(config.monitor.heartbeat_url)
    problems = [] if problem is None else [Problem(str(config.path), None, "monitor.heartbeat_url", problem)]
    sources: list[BillingSource] = []
    notifiers: dict[str, Notifier] = {}
    with _gathered(problems):
        sources = build_sources(config)
    with _gathered(problems):
        notifiers = build_notifiers(config, clock)
    if problems:
        raise ConfigError(problems)
    return sources, notifiers


@contextmanager
def _gathered(problems: list[Problem]) -> Iterator[None]:
    """All that is wrong is told at once."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def build_sources(config: Config) -> list[BillingSource]:
    """Every configured source; one that cannot start is a failed start, not a skipped cloud. Raises ConfigError."""
    built: list[BillingSource] = []
    problems: list[Problem] = []
    for settings in config.sources:
        try:
            built.append(sources_registry.create(settings))
        except OutsideError as error:
            problems.append(Problem(str(config.path), None, f"source {settings.name}", str(error)))
    if problems:
        raise ConfigError(problems)
    return built


def build_notifiers(config: Config, clock: Clock) -> dict[str, Notifier]:
    """Every configured receiver by name, its secrets resolved. Raises ConfigError."""
    built: dict[str, Notifier] = {}
    problems: list[Problem] = []
    timezone = ZoneInfo(config.monitor.timezone)
    for settings in config.receivers:
        try:
            built[settings.name] = receivers_registry.create(settings, now=clock.now, timezone=timezone)
        except OutsideError as error:
            problems.append(Problem(str(config.path), None, f"receiver {settings.name}", str(error)))
    if problems:
        raise ConfigError(problems)
    return built
