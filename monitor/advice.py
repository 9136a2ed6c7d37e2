"""What works and is hardly meant, or will not work here: what `check-config` alone warns of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from importlib.util import find_spec

from alarms.settings import short_duration
from monitor.config.model import Config
from monitor.config_file import path_text, read
from monitor.config_lines import Lines, Loc, scan
from monitor.errors import Problem

# Of each extra what its modules import, as far as looking for it imports nothing but empty packages around it.
PACKAGES = {
    "aws": ("boto3",),
    "gcp": ("google.cloud.bigquery", "google.cloud.billing_v1", "google.pubsub_v1"),
    "azure": ("azure.identity", "azure.mgmt.costmanagement"),
}
_OF_RECEIVERS = {"sns": "aws"}
_SHORTEST_POLL = timedelta(seconds=10)


def advice(config: Config) -> list[Problem]:
    """The warnings, each with its line."""
    lines = scan(read(config.path).text)
    return [*_missing(config, lines), *_paces(config, lines)]


def _paces(config: Config, lines: Lines) -> Iterator[Problem]:
    """Of a poll that is no use, and of an `every` that is shorter than a turn."""
    poll = config.monitor.poll
    if poll < _SHORTEST_POLL:
        yield _problem(
            config,
            lines,
            ("monitor", "poll"),
            f"all budgets are judged anew every {short_duration(poll)}, and no source is read more often for it; "
            f'write "{short_duration(_SHORTEST_POLL)}" or more',
        )
    for index, source in enumerate(config.sources):
        if "every" in getattr(source, "model_fields_set", ()) and source.every < poll:
            yield _problem(
                config,
                lines,
                ("sources", index, "every"),
                f"is shorter than a turn: it is read every {short_duration(poll)}, as often as [monitor].poll says",
            )


def _missing(config: Config, lines: Lines) -> list[Problem]:
    """For each extra that is not installed, at the first table that needs it; none of its packages is imported."""
    told: dict[str, Problem] = {}
    for extra, loc, verb in _needed(config):
        lacking = [name for name in PACKAGES.get(extra, ()) if not _is_there(name)]
        if lacking and extra not in told:
            message = (
                f"nothing can be {verb}: the package {lacking[0]} is not installed; "
                f"run: pip install 'cloud-budget-monitor[{extra}]'"
            )
            told[extra] = _problem(config, lines, loc, message)
    return list(told.values())


def _problem(config: Config, lines: Lines, loc: Loc, message: str) -> Problem:
    return Problem(str(config.path), lines.line_of(loc), path_text(loc), message)


def _needed(config: Config) -> Iterator[tuple[str, Loc, str]]:
    """(extra, the key that asks for it, what fails without). The extra of a source is the first word of its type."""
    receivers = [_OF_RECEIVERS.get(one.type, "") for one in config.receivers]
    yield from _of("sources", [one.type.partition("_")[0] for one in config.sources], "read")
    yield from _of("receivers", receivers, "sent")


def _of(table: str, extras: Sequence[str], verb: str) -> Iterator[tuple[str, Loc, str]]:
    for index, extra in enumerate(extras):
        yield extra, (table, index, "type"), verb


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # what is around it is not there
        return False
