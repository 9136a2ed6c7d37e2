"""`monitor check-config`: what is wrong with a config, or a summary of what it will watch."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from alarms.errors import OutsideError
from alarms.estimates import limit_text
from alarms.model import Period, Threshold
from alarms.money import plain
from alarms.secrets import secrets_of
from alarms.settings import ReceiverSettings, hours_text, short_duration
from alarms.words import day_text
from monitor import heartbeat, registry
from monitor.advice import advice
from monitor.billing_months import InvoiceCalendar
from monitor.clock import SystemClock, to_text
from monitor.config import Config, load
from monitor.config.prices import read_prices
from monitor.errors import ConfigError, ExitCode, Problem
from monitor.period import Calendar, Run
from monitor.ports import SourceDefaults
from monitor.status.words import one_line
from monitor.wiring import build_notifiers

# Of the last column, beside names of whatever length.
_NARROWEST = 30


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of trying one source, or the secrets of one receiver: a sentence on what was seen, or why it failed."""

    kind: str
    name: str
    ok: bool
    detail: str


def run(path: Path, *, live: bool, as_json: bool, out: TextIO, width: int = sys.maxsize) -> int:
    """Check the config and say so on `out`; with `live`, try each source read-only and look for every secret.

    0 when all is well, else 78.

    77 when it may not be read, and so nothing is known to be wrong with it.

    `width`: where the lines of tables are broken.
    """
    try:
        config = load(path)
        config = replace(config, warnings=(*config.warnings, *advice(config), *read_prices(path)[1]))
    except ConfigError as error:
        out.write(_failure_json(path, error.problems) if as_json else _failure_text(error.problems))
        return error.exit_code
    ready = _receivers(config) if live else []
    probes = [_probe(settings) for settings in config.sources] if live else []
    out.write(_success_json(config, ready, probes) if as_json else _success_text(config, ready, probes, width))
    return ExitCode.OK if all(probe.ok for probe in (*ready, *probes)) else ExitCode.CONFIG


def _probe(settings: SourceDefaults) -> Probe:
    try:
        return Probe("source", settings.name, ok=True, detail=registry.create(settings).probe())
    except OutsideError as error:
        return Probe("source", settings.name, ok=False, detail=str(error))


def _receivers(config: Config) -> list[Probe]:
    """Whether each can be made ready, as for sending, and the heartbeat: its secrets are there, and nothing is sent."""
    probes = [_ready(config, settings) for settings in config.receivers]
    address = config.monitor.heartbeat_url
    if address is not None:
        problem = heartbeat.problem_of(address)
        probes.append(Probe("monitor", "heartbeat_url", ok=problem is None, detail=problem or "its secret is there"))
    return probes


def _ready(config: Config, settings: ReceiverSettings) -> Probe:
    try:
        build_notifiers(replace(config, receivers=(settings,)), SystemClock())
    except ConfigError as error:
        return Probe("receiver", settings.name, ok=False, detail=error.problems[0].message)
    said = "its secrets are there" if secrets_of(settings) else "names no secret"
    return Probe("receiver", settings.name, ok=True, detail=f"{said}; `monitor notify {settings.name}` tries it")


def _failure_text(problems: Sequence[Problem]) -> str:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "".join(f"{problem}\n" for problem in problems) + f"{count}.\n"


def _success_text(config: Config, ready: Sequence[Probe], probes: Sequence[Probe], width: int) -> str:
    lines = [f"{problem} (warning)" for problem in config.warnings]
    failed = {
        f"{sum(not one.ok for one in tried)} of {len(tried)} {what}": not all(one.ok for one in tried)
        for what, tried in (("sources cannot be read", probes), ("receivers cannot be used", ready))
    }
    but = " and ".join(text for text, holds in failed.items() if holds)
    lines += [f"{config.path}: no problems{but and f' in the file, but {but}'}.", ""]
    lines += _table(_rows(config), width)
    for head, tried in (("receivers", ready), ("live", probes)):
        if tried:
            lines += ["", *_table([(head, "result", ""), *_probe_rows(tried)], width)]
    return "\n".join(lines) + "\n"


def _rows(config: Config) -> list[tuple[str, str, str]]:
    return [
        ("what", "name", "how"),
        *(("source", one.name, _source(one)) for one in config.sources),
        *(("receiver", one.name, one.type) for one in config.receivers),
        *(
            (
                "budget",
                one.name + (f"/<{one.each}>" if one.each else ""),
                f"{plain(one.amount)} {one.currency} {_period(one.period)}: "
                + ", ".join(map(_threshold, one.thresholds))
                + f" -> {', '.join(one.receivers) or 'nobody'}",
            )
            for one in config.budgets
        ),
        *(("local", one.name, f"{one.gpus} x {one.gpu.name}, {one.currency}") for one in config.local),
        *(
            ("plan", one.name, f"{len(one.phases)} phases from {day_text(one.start)} -> {one.budget or 'no budget'}")
            for one in config.plans
        ),
    ]


_INVOICES = {1: "month", 3: "quarter", 12: "year"}


def _source(settings: SourceDefaults) -> str:
    return f"{settings.type}, {settings.currency}, every {short_duration(settings.every)}"


def _period(calendar: Calendar) -> str:
    if isinstance(calendar, Period):
        return f"from {day_text(calendar.start)} until {day_text(calendar.end)}"
    if isinstance(calendar, Run):
        start = "its first charge" if calendar.start is None else day_text(calendar.start)
        return f"for a run from {start}{'' if calendar.end is None else f' until {day_text(calendar.end)}'}"
    if isinstance(calendar, InvoiceCalendar):
        return f"a {_INVOICES[calendar.count]} by invoice, {calendar.months}"
    return f"a {calendar}"


def _threshold(threshold: Threshold) -> str:
    windows = f" over {' and '.join(map(hours_text, threshold.over))}" if threshold.over else ""
    return f"{threshold.severity} at {limit_text(threshold.on, threshold.at.text)}{windows}"


def _probe_rows(probes: Iterable[Probe]) -> list[tuple[str, str, str]]:
    # What a source answers is somebody else's text.
    return [(probe.name, "ok" if probe.ok else "FAILED", one_line(probe.detail)) for probe in probes]


def _table(rows: Sequence[tuple[str, str, str]], width: int) -> list[str]:
    """Two columns as wide as they must be, and the third broken where the line ends."""
    first, second = (max(len(row[place]) for row in rows) for place in (0, 1))
    lines = []
    for what, name, how in rows:
        head = f"{what:<{first}}  {name:<{second}}  "
        room = max(_NARROWEST, width - len(head))
        parts = textwrap.wrap(how, room, break_on_hyphens=False, break_long_words=False) or [""]
        lines += [(head if place == 0 else " " * len(head)) + part for place, part in enumerate(parts)]
    return [line.rstrip() for line in lines]


def _failure_json(path: Path, problems: Iterable[Problem]) -> str:
    return _json({"file": str(path), "ok": False, "problems": _problems(problems), "warnings": []})


def _success_json(config: Config, ready: Sequence[Probe], probes: Sequence[Probe]) -> str:
    return _json(
        {
            "file": str(config.path),
            "ok": all(probe.ok for probe in (*ready, *probes)),
            "problems": [],
            "warnings": _problems(config.warnings),
            "sources": [{"name": one.name, "type": one.type, "currency": one.currency} for one in config.sources],
            "receivers": [{"name": one.name, "type": one.type} for one in config.receivers],
            "budgets": [
                {
                    "name": one.name,
                    "amount": plain(one.amount),
                    "currency": one.currency,
                    "period": _period_json(one.period),
                }
                for one in config.budgets
            ],
            "ready": [{one.kind: one.name, "ok": one.ok, "detail": one.detail} for one in ready],
            "live": [{one.kind: one.name, "ok": one.ok, "detail": one.detail} for one in probes],
        }
    )


def _period_json(calendar: Calendar) -> str | dict[str, str]:
    if isinstance(calendar, Period):
        return {"start": to_text(calendar.start), "end": to_text(calendar.end)}
    if isinstance(calendar, InvoiceCalendar):
        return _INVOICES[calendar.count]
    return "run" if isinstance(calendar, Run) else calendar.value


def _json(document: dict[str, Any]) -> str:
    return json.dumps({"schema": 1, **document}, indent=2) + "\n"


def _problems(problems: Iterable[Problem]) -> list[dict[str, str | int | None]]:
    return [{"file": one.file, "line": one.line, "path": one.path, "message": one.message} for one in problems]
