"""`[monitor]`, `[[sources]]` and `[[receivers]]`: each table as the settings of the module that its type names."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator

import alarms.registry
import monitor.registry
from alarms.secrets import SecretField, secrets_of
from alarms.settings import Duration, StrictModel
from alarms.twins import PREFIX
from monitor.config import not_yet
from monitor.config.native_keys import not_too_often, usable_prefix
from monitor.config.report import Report, choices, unknown_name
from monitor.config_file import DEFAULT_STATE_DIR
from monitor.config_lines import Loc
from monitor.errors import PermanentError


def as_tuple(value: Any) -> Any:
    """A TOML list as the tuple that settings hold."""
    return tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]


def _at_most_a_day(poll: timedelta) -> timedelta:
    if poll > timedelta(days=1):
        raise ValueError('expected at most a day, such as poll = "5m"')
    return poll


def known_timezone(name: str) -> str:
    """A time zone that this machine knows. Raises ValueError."""
    known = sorted(zoneinfo.available_timezones())
    if name != "UTC" and name not in known:
        raise ValueError(unknown_name("time zone", name, known) if known else 'expected "UTC": no tzdata is installed')
    return name


def _known_database(name: str) -> str:
    if name.startswith(("postgresql://", "postgres://")):
        raise ValueError(f'PostgreSQL is {not_yet.SENTENCE}; write database = "sqlite"')
    if name != "sqlite":
        raise ValueError('expected "sqlite"')
    return name


class MonitorTable(StrictModel):
    """The keys of `[monitor]`."""

    state_dir: str = DEFAULT_STATE_DIR
    poll: Annotated[Duration, AfterValidator(_at_most_a_day)] = timedelta(minutes=5)
    timezone: Annotated[str, AfterValidator(known_timezone)] = "UTC"
    receivers: Names | None = None
    database: Annotated[str, AfterValidator(_known_database)] = "sqlite"
    heartbeat_url: SecretField | None = None
    native_every: Annotated[Duration, AfterValidator(not_too_often)] = timedelta(hours=1)
    native_prefix: Annotated[str, AfterValidator(usable_prefix)] = PREFIX
    drill_every: Duration = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Part:
    """One `[[sources]]` or `[[receivers]]` table. `settings` None: too broken to check any further."""

    loc: Loc
    name: str
    settings: Any


@dataclass(frozen=True, slots=True)
class _Kind:
    table: str
    word: str
    types: Callable[[], Sequence[str]]
    settings_of: Callable[[str], type[BaseModel]]
    types_not_yet: frozenset[str]
    keys_not_yet: frozenset[str] = frozenset()


_SOURCES = _Kind("sources", "source", monitor.registry.names, monitor.registry.settings_of, not_yet.SOURCE_TYPES)
_RECEIVERS = _Kind(
    "receivers",
    "receiver",
    alarms.registry.names,
    alarms.registry.settings_of,
    not_yet.RECEIVER_TYPES,
    not_yet.RECEIVER_KEYS,
)


def read_monitor(report: Report, document: Mapping[str, Any]) -> MonitorTable:
    """`[monitor]`, or its defaults."""
    raw = document.get("monitor", {})
    if not isinstance(raw, dict):
        report.error(("monitor",), "expected a table; write it as [monitor]")
        return MonitorTable()
    table = report.validate(MonitorTable, raw, ("monitor",), {}) or MonitorTable()
    _warn_of_inline_secrets(report, table, ("monitor",))
    return table


def read_sources(report: Report, document: Mapping[str, Any]) -> list[Part]:
    """Every `[[sources]]` table."""
    return _read(report, document, _SOURCES)


def read_receivers(report: Report, document: Mapping[str, Any]) -> list[Part]:
    """Every `[[receivers]]` table."""
    return _read(report, document, _RECEIVERS)


def tables(report: Report, document: Mapping[str, Any], name: str) -> list[tuple[Loc, dict[str, Any]]]:
    """The elements of an array of tables, with their paths."""
    raw = document.get(name, [])
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        report.error((name,), f"expected an array of tables; write [[{name}]] in double brackets above each")
        return []
    return [((name, index), item) for index, item in enumerate(raw)]


def _read(report: Report, document: Mapping[str, Any], kind: _Kind) -> list[Part]:
    parts = []
    for loc, raw in tables(report, document, kind.table):
        name = raw.get("name")
        settings = _settings(report, raw, loc, kind)
        if settings is not None:
            _warn_of_inline_secrets(report, settings, loc)
        parts.append(Part(loc, name if isinstance(name, str) else "", settings))
    return parts


def _settings(report: Report, raw: dict[str, Any], loc: Loc, kind: _Kind) -> BaseModel | None:
    model = _model(report, raw, loc, kind)
    if model is None:
        return None
    wanted = not_yet.without(report, raw, loc, keys=kind.keys_not_yet, values={})
    return report.validate(model, wanted, loc, {"name": ""})


def _model(report: Report, raw: dict[str, Any], loc: Loc, kind: _Kind) -> type[BaseModel] | None:
    type_ = raw.get("type")
    if type_ is None:
        report.error((*loc, "type"), f"missing; add type = {choices(kind.types())} here")
    elif not isinstance(type_, str):
        report.error((*loc, "type"), f"expected {choices(kind.types())}")
    elif type_ in kind.types_not_yet:
        report.error((*loc, "type"), f'the {kind.word} type "{type_}" is {not_yet.SENTENCE}; remove this {kind.word}')
    elif type_ not in kind.types():
        report.error((*loc, "type"), unknown_name(f"{kind.word} type", type_, kind.types()))
    else:
        try:
            return kind.settings_of(type_)
        except PermanentError as error:
            report.error((*loc, "type"), str(error))
    return None


def _warn_of_inline_secrets(report: Report, settings: BaseModel, loc: Loc) -> None:
    for path, reference in secrets_of(settings).items():
        if reference.inline:
            report.inline_secret((*loc, *path))
